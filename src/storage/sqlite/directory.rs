//! The directory that a store lives in: made, checked, and held.
//!
//! 1. Make the directory, mode 0700, where it is absent, durably.
//! 2. Lock `keyferry.lock`, before anything else in it is touched.
//! 3. Make `keyferry.db`, empty, mode 0600, where it is absent, durably.
//! 4. Keep `keyferry.reserve`, room for what must be stored on a full disk.
//!
//! From there on SQLite syncs its own files, and the directory when it makes a
//! WAL.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::durable;
use crate::storage::open::OpenStoreError;

const DATABASE: &str = "keyferry.db";
const LOCK: &str = "keyferry.lock";
const RESERVE: &str = "keyferry.reserve";

/// A store's directory, held against other processes as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// None where it is only looked at.
    _lock: Option<File>,
}

impl Directory {
    /// Makes the directory where it is absent, checks it, and takes it.
    pub(super) fn hold(path: &Path) -> Result<Self, OpenStoreError> {
        durable::create_directories(path, 0o700)
            .map_err(|source| failed("make the directory", path, source))?;
        // SQLite is told to follow no link. The links on the way here are the
        // operator's own and are followed once, now.
        let path =
            path.canonicalize().map_err(|source| failed("find the directory", path, source))?;
        // A user who can write here can replace our file. A user who can only
        // read sees names: the files themselves are for the owner alone.
        check_mode(&path, 0o022, 0o700)?;
        let lock = lock(&path)?;
        let directory = Self { path, _lock: Some(lock) };
        directory.make_database()?;
        Ok(directory)
    }

    /// The directory as it lies, checked and not held; `None` where no database is.
    pub(super) fn look(path: &Path) -> Result<Option<Self>, OpenStoreError> {
        let path = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|source| failed("find the directory", path, source))?,
        };
        check_mode(&path, 0o022, 0o700)?;
        let directory = Self { path, _lock: None };
        let database = directory.database();
        match fs::symlink_metadata(&database) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => check_file(&database).map(|()| Some(directory)),
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Where room is kept for what must be stored on a full disk.
    pub(super) fn reserve(&self) -> PathBuf {
        self.path.join(RESERVE)
    }

    /// The system refused something about this store.
    pub(super) fn failed(&self, doing: &'static str, source: io::Error) -> OpenStoreError {
        failed(doing, &self.path, source)
    }

    /// An empty file of the right mode, which SQLite's own files inherit.
    fn make_database(&self) -> Result<(), OpenStoreError> {
        let path = self.database();
        match durable::create_file(&path, 0o600, b"") {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_file(&path),
            Err(source) => Err(failed("make the database", &path, source)),
        }
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> OpenStoreError {
    let (store, source) = (path.display().to_string(), source.into());
    let advice = "check the disk and the permissions";
    OpenStoreError::Failed { doing, store, source, advice }
}

/// Refuses a mode with any of the `refused` bits.
fn check_mode(path: &Path, refused: u32, wanted: u32) -> Result<(), OpenStoreError> {
    let found = fs::symlink_metadata(path);
    let mode = found.map_err(|source| failed("look at", path, source))?.mode() & 0o7777;
    if mode & refused == 0 {
        return Ok(());
    }
    Err(OpenStoreError::Exposed { path: path.to_owned(), mode, wanted })
}

fn check_file(path: &Path) -> Result<(), OpenStoreError> {
    let found = fs::symlink_metadata(path).map_err(|source| failed("look at", path, source))?;
    if !found.is_file() {
        let found = "not a regular file".to_owned();
        return Err(OpenStoreError::Foreign { store: path.display().to_string(), found });
    }
    check_mode(path, 0o077, 0o600)
}

/// Takes the lock, or tells which process has it. The kernel gives it back when
/// the holder is gone, and a child does not inherit it (`O_CLOEXEC`).
fn lock(directory: &Path) -> Result<File, OpenStoreError> {
    let failed = |source| failed("take the lock in", directory, source);
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(directory.join(LOCK))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {
            // A full disk may have no room for it, and it is for people alone.
            let _ = sign(&mut file);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let store = directory.display().to_string();
            Err(OpenStoreError::HeldByAnother { store, process: holder(&mut file) })
        }
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Leaves our process id in the lock, for [`holder`].
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// The process id that the holder of the lock left in it.
fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
