//! Raw bytes to a file or to standard output.
//!
//! A file is written whole or not at all: a temporary file beside it is made
//! durable and then given its name. A secret gets mode 0600 and never replaces a
//! file unasked. Raw bytes never go to a terminal.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
        match self {
            Self::Stdout => refuse_terminal(&io::stdout(), self, sensitivity),
            Self::File(path)
                if !sensitivity.may_replace()
                    && !is_special(path)
                    && fs::symlink_metadata(path).is_ok() =>
            {
                Err(exists(path))
            }
            Self::File(_) => Ok(()),
        }
    }

    /// Writes all of the bytes.
    pub fn write(&self, bytes: &[u8], sensitivity: Sensitivity) -> Result<(), EarlyExit> {
        let stream = match self {
            Self::Stdout => unbuffered(io::stdout()),
            Self::File(path) if is_special(path) => OpenOptions::new().write(true).open(path),
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
        stream.write_all(bytes).map_err(|error| cannot_write(self, &error))
    }
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
/// nothing may be replaced, a link is a name that is taken.
fn write_atomically(path: &Path, bytes: &[u8], sensitivity: Sensitivity) -> io::Result<()> {
    let may_replace = sensitivity.may_replace();
    let path = if may_replace && path.is_symlink() && path.exists() {
        path.canonicalize()?
    } else {
        path.to_owned()
    };
    let mode = if matches!(sensitivity, Sensitivity::Secret { .. }) { 0o600 } else { 0o666 };
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
}
