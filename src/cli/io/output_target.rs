//! Raw bytes to a file or to standard output.
//!
//! A file is written whole or not at all: a temporary file beside it is made
//! durable and then given its name. A secret gets mode 0600 and never replaces a
//! file unasked. Raw bytes never go to a terminal.
//!
//! Anyone may have put a name there: a link to elsewhere, or a pipe that they read.
//! So a secret is written through no link, and into a pipe or a device only if what
//! was opened is ours alone.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};

use super::stream::{cannot_write, unbuffered};
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::durable::{self, Existing};

/// Where bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputTarget {
    /// `-`
    Stdout,
    /// A file.
    File(PathBuf),
}

impl FromStr for OutputTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Stdout } else { Self::File(PathBuf::from(text)) })
    }
}

impl fmt::Display for OutputTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The kind of the bytes. It decides the mode of a file, whether an existing one is
/// replaced, and whether a terminal may show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Text for everyone. It may go to a terminal.
    Public,
    /// Ciphertext, a signature, or other raw bytes that are not secret.
    Encrypted,
    /// A key or another plaintext: for its owner alone.
    Secret {
        /// Whether it may replace an existing file.
        replace: bool,
    },
}

impl Sensitivity {
    fn may_replace(self) -> bool {
        self != Self::Secret { replace: false }
    }
}

impl OutputTarget {
    /// Refuses an unfit target before the server is asked or a file is opened.
    pub fn check(&self, sensitivity: Sensitivity) -> Result<(), Failure> {
        match (self, sensitivity) {
            (Self::Stdout, _) => refuse_terminal(&io::stdout(), self, sensitivity),
            (Self::File(path), Sensitivity::Secret { replace }) => check_secret(path, replace),
            (Self::File(_), _) => Ok(()),
        }
    }

    /// Writes all of the bytes.
    pub fn write(&self, bytes: &[u8], sensitivity: Sensitivity) -> Result<(), EarlyExit> {
        self.check(sensitivity)?;
        let stream = match self {
            Self::Stdout => unbuffered(io::stdout()),
            Self::File(path) if is_special(path) => open_special(path, sensitivity),
            Self::File(path) => {
                return write_atomically(path, bytes, sensitivity).map_err(|error| {
                    if error.kind() == io::ErrorKind::AlreadyExists && !sensitivity.may_replace() {
                        exists(path).into()
                    } else {
                        cannot_write(self, &error)
                    }
                });
            }
        };
        let mut stream = stream.map_err(|error| cannot_write(self, &error))?;
        refuse_terminal(&stream, self, sensitivity)?;
        if let (Self::File(path), Sensitivity::Secret { .. }) = (self, sensitivity) {
            let opened = stream.metadata().map_err(|error| cannot_write(self, &error))?;
            refuse_foreign(path, &opened)?;
        }
        stream.write_all(bytes).map_err(|error| cannot_write(self, &error))
    }
}

/// Judges what has the name now. A pipe is judged before it is opened, as opening
/// one waits for its reader; what was opened is judged again.
fn check_secret(path: &Path, replace: bool) -> Result<(), Failure> {
    if is_own_descriptor(path) && is_special(path) {
        return Ok(());
    }
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_fifo() => refuse_foreign(path, &found),
        Ok(found) if found.is_symlink() && replace => Err(Failure::new(
            Exit::InUse,
            format!(
                "{} is a symbolic link, and key bytes are not written through one.",
                path.display()
            ),
            "Give --out the path of the file itself.",
        )),
        Ok(found) if (found.is_file() || found.is_dir() || found.is_symlink()) && !replace => {
            Err(exists(path))
        }
        // A device is judged when it is open. A name that is absent is free, and any
        // other fault is told by the write.
        _ => Ok(()),
    }
}

/// `/dev/stdout`, `/dev/fd/63`: a stream that this process was started with, like
/// `-`. Only the system makes these names.
fn is_own_descriptor(path: &Path) -> bool {
    let in_a_folder_of_the_system = path.parent().is_some_and(|folder| {
        folder == Path::new("/dev/fd") || folder == Path::new("/proc/self/fd")
    });
    in_a_folder_of_the_system
        || path == Path::new("/dev/stdout")
        || path == Path::new("/dev/stderr")
}

/// Opens a pipe or a device; a secret's through no link.
fn open_special(path: &Path, sensitivity: Sensitivity) -> io::Result<File> {
    if !matches!(sensitivity, Sensitivity::Secret { .. }) || is_own_descriptor(path) {
        return OpenOptions::new().write(true).open(path);
    }
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// Refuses a pipe or a device that another user owns or can read, but for those
/// that nobody can read.
fn refuse_foreign(path: &Path, found: &Metadata) -> Result<(), Failure> {
    if is_own_descriptor(path) || is_null(found) {
        return Ok(());
    }
    let us = rustix::process::geteuid().as_raw();
    let why = if found.is_file() {
        "has become a file meanwhile".to_owned()
    } else if found.uid() != us {
        format!("belongs to user {}, and this is user {us}", found.uid())
    } else if found.mode() & 0o044 != 0 {
        format!("has mode {:04o}, so that other users can read from it", found.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(Failure::new(
        Exit::InUse,
        format!("{} {why}: key bytes are not written into it.", path.display()),
        "Give --out a new name, a pipe of your own made with `mkfifo -m 600`, or - for standard output.",
    ))
}

/// `/dev/null`, which is root's and keeps nothing.
fn is_null(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == rustix::fs::makedev(1, 3)
}

/// A pipe, a terminal or another device: it is written to, never replaced.
pub fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn refuse_terminal(
    stream: &impl IsTerminal,
    target: &OutputTarget,
    sensitivity: Sensitivity,
) -> Result<(), Failure> {
    let what = match sensitivity {
        Sensitivity::Public => return Ok(()),
        _ if !stream.is_terminal() => return Ok(()),
        Sensitivity::Encrypted => "Raw bytes",
        Sensitivity::Secret { .. } => "Key bytes",
    };
    Err(Failure::usage(
        format!("{what} are not written to a terminal, and {target} is one."),
        "Give --out FILE, or send standard output to a file or a program.",
    ))
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} already exists and may hold another key.", path.display()),
        "Give another --out, or --force to replace the file.",
    )
}

/// A link to a file (/dev/stdout may be one) stays: its target is replaced. Where
/// nothing may be replaced, a link is a name that is taken; and a secret goes through no
/// link.
fn write_atomically(path: &Path, bytes: &[u8], sensitivity: Sensitivity) -> io::Result<()> {
    let may_replace = sensitivity.may_replace();
    let is_secret = matches!(sensitivity, Sensitivity::Secret { .. });
    let path = if may_replace && !is_secret && path.is_symlink() && path.exists() {
        path.canonicalize()?
    } else {
        path.to_owned()
    };
    let mode = if is_secret { 0o600 } else { 0o666 };
    let existing = if may_replace { Existing::Replace } else { Existing::Keep };
    let mut temporary = durable::temporary_beside(&path, mode)?;
    temporary.as_file_mut().write_all(bytes)?;
    durable::place_file(temporary, &path, existing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const SECRET: Sensitivity = Sensitivity::Secret { replace: false };
    const REPLACING: Sensitivity = Sensitivity::Secret { replace: true };

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn in_folder(dir: &Path) -> (PathBuf, OutputTarget) {
        let path = dir.join("key");
        (path.clone(), OutputTarget::File(path))
    }

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_secret_is_its_owners_alone_and_replaces_nothing_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = in_folder(dir.path());
        target.write(b"one", SECRET).unwrap();
        assert_eq!(mode(&path), 0o600);

        assert!(target.check(SECRET).is_err());
        assert!(target.write(b"two", SECRET).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");

        target.write(b"two", REPLACING).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(dir.path()), 1, "no temporary file stays");
    }

    #[test]
    fn a_replaced_file_that_was_readable_by_all_is_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = in_folder(dir.path());
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        target.write(b"new", REPLACING).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_secret_is_not_written_through_a_dangling_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = in_folder(dir.path());
        let elsewhere = dir.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(target.write(b"one", SECRET).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = in_folder(dir.path());
        let real = dir.path().join("real");
        fs::write(&real, b"old").unwrap();
        std::os::unix::fs::symlink(&real, &path).unwrap();
        target.write(b"new", Sensitivity::Encrypted).unwrap();
        assert!(path.is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"new");
    }

    #[test]
    fn a_directory_in_the_way_is_said_so_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = in_folder(dir.path());
        fs::create_dir(&path).unwrap();
        assert!(target.write(b"one", Sensitivity::Encrypted).is_err());
        assert_eq!(names(dir.path()), 1);
    }

    #[test]
    fn a_device_is_written_into_and_stays_a_device() {
        let null = OutputTarget::File("/dev/null".into());
        null.check(SECRET).unwrap();
        null.write(b"one", SECRET).unwrap();
        assert!(is_special(Path::new("/dev/null")));
    }

    #[test]
    fn a_secret_is_not_written_through_a_link_even_to_replace() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = in_folder(dir.path());
        for elsewhere in [dir.path().join("elsewhere"), PathBuf::from("/dev/null")] {
            let _ = fs::remove_file(&path);
            std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
            assert!(target.check(REPLACING).is_err() && target.check(SECRET).is_err());
            assert!(target.write(b"one", REPLACING).is_err());
            assert!(path.is_symlink() && !dir.path().join("elsewhere").exists());
        }
    }
}
