//! Files and streams: raw bytes in and out.
//!
//! What goes out is written whole or not at all: a temporary file beside the
//! target, made durable and then given its name. Secrets get mode 0600 and
//! never replace a file unasked. Bytes never go to a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::output::stop_writing;
use crate::service::grpc::MAX_REQUEST_BYTES;

/// A request is at most this long; no blob, ciphertext or signature is longer.
pub const MAX_BLOB_BYTES: usize = MAX_REQUEST_BYTES;

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `-`
    Stdin,
    /// A file.
    File(PathBuf),
}

impl FromStr for Input {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" { Self::Stdin } else { Self::File(PathBuf::from(text)) })
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl std::fmt::Display for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Input {
    /// Opens it for a reader that takes it piece by piece, and says how long it
    /// is if it is a file; `what` is what it should be.
    pub fn open(&self, what: &str) -> Result<(File, Option<u64>), Failure> {
        let opened = match self {
            Self::Stdin => unbuffered(io::stdin()),
            Self::File(path) => File::open(path),
        };
        let measured = opened.and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata.is_file().then_some(metadata.len())))
        });
        measured.map_err(|error| self.unreadable(what, &error))
    }

    fn unreadable(&self, what: &str, error: &io::Error) -> Failure {
        Failure::input(
            format!("The {what} cannot be read from {self}: {error}."),
            "See that the file is there and that you may read it.",
        )
    }

    /// All of it; `what` is what it should be. More than `max_bytes`, or
    /// nothing at all, is refused. The bytes are wiped after use, since they
    /// may be a private key.
    pub fn read(&self, what: &str, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        // One allocation of full size: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(max_bytes + 1));
        let limit = max_bytes as u64 + 1;
        let read = match self {
            Self::Stdin => {
                unbuffered(io::stdin()).and_then(|file| file.take(limit).read_to_end(&mut bytes))
            }
            Self::File(path) => {
                File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
            }
        };
        read.map_err(|error| self.unreadable(what, &error))?;
        if bytes.is_empty() {
            return Err(Failure::input(
                format!("The {what} in {self} is empty."),
                "See that what should have written it did so.",
            ));
        }
        if bytes.len() > max_bytes {
            return Err(Failure::input(
                format!("What is in {self} is larger than {max_bytes} bytes: not a {what}."),
                "See that it is the right file.",
            ));
        }
        Ok(bytes)
    }
}

/// A standard stream without the buffer of std, which would keep a copy of a
/// key for the life of the process.
pub(super) fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// Standard input can only be read once.
pub fn refuse_two_stdins(inputs: &[&Input]) -> Result<(), Failure> {
    if inputs.iter().filter(|input| ***input == Input::Stdin).count() < 2 {
        return Ok(());
    }
    Err(Failure::usage(
        "Standard input can only be read once, but two options name it.",
        "Give a file for one of them.",
    ))
}

/// Where bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `-`
    Stdout,
    /// A file.
    File(PathBuf),
}

impl FromStr for Destination {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(PathBuf::from(text)) })
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// How carefully bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// For everyone to read, on a terminal too: an existing file is replaced.
    Public,
    /// Encrypted: an existing file is replaced.
    Encrypted,
    /// A key in the clear: for its owner alone, and no existing file is
    /// replaced.
    Secret,
    /// A key in the clear that may replace an existing file.
    SecretReplacing,
}

impl Care {
    /// Of a key in the clear.
    pub fn secret(may_replace: bool) -> Self {
        if may_replace { Self::SecretReplacing } else { Self::Secret }
    }
}

impl Destination {
    /// Refuses what cannot be written well, before anything is asked of a
    /// server or opened.
    pub fn check(&self, care: Care) -> Result<(), Failure> {
        match self {
            Self::Stdout => refuse_terminal(&io::stdout(), self, care),
            Self::File(path) if is_special(path) => Ok(()),
            Self::File(path) if care == Care::Secret && fs::symlink_metadata(path).is_ok() => {
                Err(exists(path))
            }
            Self::File(_) => Ok(()),
        }
    }

    /// Writes it all.
    pub fn write(&self, bytes: &[u8], care: Care) -> Result<(), Stop> {
        let place = self.to_string();
        match self {
            Self::Stdout => {
                refuse_terminal(&io::stdout(), self, care)?;
                unbuffered(io::stdout())
                    .and_then(|mut stdout| stdout.write_all(bytes))
                    .map_err(|error| stop_writing(&error, &place))
            }
            Self::File(path) if is_special(path) => {
                let mut file = OpenOptions::new()
                    .write(true)
                    .open(path)
                    .map_err(|error| stop_writing(&error, &place))?;
                refuse_terminal(&file, self, care)?;
                file.write_all(bytes).map_err(|error| stop_writing(&error, &place))
            }
            Self::File(path) => {
                write_whole(path, bytes, care).map_err(|error| match (error.kind(), care) {
                    (io::ErrorKind::AlreadyExists, Care::Secret) => exists(path).into(),
                    _ => stop_writing(&error, &place),
                })
            }
        }
    }
}

/// A pipe, a terminal, /dev/null: it is written into, never replaced.
pub fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn refuse_terminal(
    stream: &impl IsTerminal,
    place: &Destination,
    care: Care,
) -> Result<(), Failure> {
    let what = match care {
        Care::Public => return Ok(()),
        _ if !stream.is_terminal() => return Ok(()),
        Care::Encrypted => "Raw bytes",
        Care::Secret | Care::SecretReplacing => "Key bytes",
    };
    Err(Failure::usage(
        format!("{what} are not written to a terminal, and {place} is one."),
        "Give --out FILE, or send standard output to a file or a program.",
    ))
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} is already there and may hold another key.", path.display()),
        "Give another --out, or --force to replace it.",
    )
}

/// 0. a link to a file (/dev/stdout may be one) stays: its target is replaced;
///    where nothing may be replaced, a link is a name that is taken
/// 1. make DIR/.keyferry-<random> exclusively, so that no link is followed
/// 2. write, fsync
/// 3. rename it over the target; or, where nothing may be replaced, link it
///    there, which fails if the name is taken, and remove the first name
/// 4. fsync DIR, so that the name survives a crash
fn write_whole(path: &Path, bytes: &[u8], care: Care) -> io::Result<()> {
    let resolved = if care != Care::Secret && path.is_symlink() && path.exists() {
        Some(path.canonicalize()?)
    } else {
        None
    };
    let path = resolved.as_deref().unwrap_or(path);
    let temporary = Temporary(folder_of(path).join(format!(".keyferry-{}", Uuid::new_v4())));
    let mode = match care {
        Care::Public | Care::Encrypted => 0o666,
        Care::Secret | Care::SecretReplacing => 0o600,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary.0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    match care {
        Care::Secret => fs::hard_link(&temporary.0, path)?,
        Care::Public | Care::Encrypted | Care::SecretReplacing => fs::rename(&temporary.0, path)?,
    }
    sync_folder_of(path)
}

/// Makes a new name durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A file that is gone when this is.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn target(dir: &Path) -> (PathBuf, Destination) {
        let path = dir.join("key");
        (path.clone(), Destination::File(path))
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_secret_is_its_owners_alone_and_replaces_nothing_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let (path, destination) = target(dir.path());
        destination.write(b"one", Care::Secret).unwrap();
        assert_eq!(mode(&path), 0o600);

        assert!(destination.check(Care::Secret).is_err());
        assert!(destination.write(b"two", Care::Secret).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");

        destination.write(b"two", Care::SecretReplacing).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), 1, "no temporary file stays");
    }

    #[test]
    fn a_replaced_file_that_was_readable_by_all_is_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let (path, destination) = target(dir.path());
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        destination.write(b"new", Care::SecretReplacing).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_secret_is_not_written_through_a_dangling_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, destination) = target(dir.path());
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(destination.write(b"one", Care::Secret).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, destination) = target(dir.path());
        let real = dir.path().join("real");
        fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        destination.write(b"new", Care::Encrypted).unwrap();
        assert!(path.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_directory_in_the_way_is_said_so_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, destination) = target(dir.path());
        fs::create_dir(&path).unwrap();
        assert!(destination.write(b"one", Care::Encrypted).is_err());
        assert_eq!(names(dir.path()), 1);
    }

    #[test]
    fn a_device_is_written_into_and_stays_a_device() {
        let null = Destination::File("/dev/null".into());
        null.check(Care::Secret).unwrap();
        null.write(b"one", Care::Secret).unwrap();
        assert!(is_special(Path::new("/dev/null")));
    }

    #[test]
    fn input_has_a_limit_and_must_not_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in");
        for (content, fits) in [(&b""[..], false), (b"1234", true), (b"12345", false)] {
            fs::write(&path, content).unwrap();
            assert_eq!(Input::from(path.as_path()).read("blob", 4).is_ok(), fits, "{content:?}");
        }
    }
}
