//! The directory that a store lives in: made, judged, and held.
//!
//! The steps, each durable before the next (`durable.rs`):
//!
//! 1. make the directory, mode 0700, where it is absent;
//! 2. lock `keyferry.lock`, before anything else in it is touched;
//! 3. make `keyferry.db`, empty, mode 0600, where it is absent.
//!
//! From there on SQLite syncs its own files, and the directory when it makes a
//! WAL.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::durable;

const DATABASE: &str = "keyferry.db";
const LOCK: &str = "keyferry.lock";

/// Why a store could not be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Another process has it open, or this one twice.
    #[error(
        "the store in {} is in use by another keyferry{}; stop that one, or name another directory",
        directory.display(),
        process.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    HeldByAnother {
        /// The store's directory.
        directory: PathBuf,
        /// Who holds it, where it said so.
        process: Option<u32>,
    },
    /// Others on the machine may get at it.
    #[error(
        "{} has mode {mode:04o}, open to others on this machine; run `chmod {wanted:04o} {}` or name a directory that does not exist yet",
        path.display(),
        path.display()
    )]
    Exposed {
        /// The directory or file.
        path: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// A file of another program, or no file at all, is where the store's
    /// should be.
    #[error("{} is not a Keyferry store ({found}); name another directory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        found: String,
    },
    /// A later Keyferry wrote it.
    #[error(
        "{} was written by a newer Keyferry (format {found}, this one knows up to {known}); use that one, or restore a copy from before",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// The system refused.
    #[error("cannot {doing} in {}: {source}; check the disk and the permissions", directory.display())]
    Io {
        /// The store's directory.
        directory: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot open {}: {source}; check the disk, or restore a copy", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// A store's directory, held against other processes as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory where it is absent, judges it, and takes it.
    pub(super) fn hold(path: &Path) -> Result<Self, OpenStoreError> {
        let fault = |doing, source| io_fault(path, doing, source);
        durable::create_directories(path, 0o700)
            .map_err(|source| fault("make the directory", source))?;
        // SQLite is told to follow no link; those on the way here are the
        // operator's own and are followed once, now.
        let path = path.canonicalize().map_err(|source| fault("find the directory", source))?;
        // Who can write here can put another file in our file's place. Who can
        // only read sees names: the files themselves are for the owner alone.
        judge_mode(&path, 0o022, 0o700)?;
        let lock = lock(&path)?;
        let directory = Self { path, _lock: lock };
        directory.make_database()?;
        Ok(directory)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(super) fn io(&self, doing: &'static str, source: io::Error) -> OpenStoreError {
        io_fault(&self.path, doing, source)
    }

    /// An empty file of the right mode, which SQLite's own files inherit.
    fn make_database(&self) -> Result<(), OpenStoreError> {
        let path = self.database();
        match durable::create_file(&path, 0o600, b"") {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => judge_file(&path),
            Err(source) => Err(self.io("make the database", source)),
        }
    }
}

fn io_fault(directory: &Path, doing: &'static str, source: io::Error) -> OpenStoreError {
    OpenStoreError::Io { directory: directory.to_owned(), doing, source }
}

/// Refuses a mode with any of the `refused` bits.
fn judge_mode(path: &Path, refused: u32, wanted: u32) -> Result<(), OpenStoreError> {
    let found = fs::symlink_metadata(path);
    let mode = found.map_err(|source| io_fault(path, "look", source))?.mode() & 0o7777;
    if mode & refused == 0 {
        return Ok(());
    }
    Err(OpenStoreError::Exposed { path: path.to_owned(), mode, wanted })
}

fn judge_file(path: &Path) -> Result<(), OpenStoreError> {
    let found = fs::symlink_metadata(path).map_err(|source| io_fault(path, "look", source))?;
    if !found.is_file() {
        let found = "not a regular file".to_owned();
        return Err(OpenStoreError::Foreign { path: path.to_owned(), found });
    }
    judge_mode(path, 0o077, 0o600)
}

/// Takes the lock, or tells who has it. The kernel gives it back when the
/// holder is gone, and a child does not inherit it (`O_CLOEXEC`).
fn lock(directory: &Path) -> Result<File, OpenStoreError> {
    let fault = |source| io_fault(directory, "take the lock", source);
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(directory.join(LOCK))
        .map_err(fault)?;
    match file.try_lock() {
        Ok(()) => sign(&mut file).map_err(fault).map(|()| file),
        Err(TryLockError::WouldBlock) => {
            let process = holder(&mut file);
            Err(OpenStoreError::HeldByAnother { directory: directory.to_owned(), process })
        }
        Err(TryLockError::Error(source)) => Err(fault(source)),
    }
}

/// Leaves our process id, for the text that the next one gets.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

fn holder(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
