//! Files and directories that stand after a power cut.
//!
//! A file's bytes are on the disk once the file is synced, its name once the
//! directory that holds it is. Each function returns when both are, and makes
//! these system calls in this order:
//!
//! ```text
//! create_directory(D)    mkdir(D, mode)                     fsync(parent of D)
//! create_directories(D)  the same for each absent directory above D, then for D
//! create_file(F)         open(F, O_CREAT|O_EXCL, mode)  write  fsync(F)
//!                                                           fsync(parent of F)
//! place_file(T, F)       fsync(T)
//!     Replace            rename(T, F)                       fsync(parent of F)
//!     Keep               renameat2(T, F, RENAME_NOREPLACE)  fsync(parent of F)
//!                        (or, where the file system has none, link and unlink)
//! place_directory(T, D)  fsync(T)  rename(T, D)             fsync(parent of D)
//! ```
//!
//! `O_EXCL` follows no symbolic link, and neither do `rename` and `link` at the
//! last step of `F`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};

/// The treatment of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced, in one step.
    Replace,
    /// It stays, and the call fails with [`io::ErrorKind::AlreadyExists`].
    Keep,
}

/// Makes a directory. Its parent must exist, and its name must be free.
pub fn create_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    sync_parent(path)
}

/// Makes a directory and those above it, as far as they are absent.
pub fn create_directories(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    create_directories(parent(path), mode)?;
    match create_directory(path, mode) {
        // `a/..` exists as soon as `a` does, and another process may be faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        outcome => outcome,
    }
}

/// Makes a file with these bytes. Its name must be free. A file that could not
/// be written whole is removed again; a power cut meanwhile may leave a part.
pub fn create_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    sync_parent(path)
}

/// An empty file beside `path`, to be filled and put there by [`place_file`].
/// It is removed when it is dropped before.
pub fn temporary_beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".keyferry-").make_in(parent(path), |temporary| {
        OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)
    })
}

/// Gives a finished file its name: readers see the whole file or none of it.
pub fn place_file(file: NamedTempFile, path: &Path, existing: Existing) -> io::Result<()> {
    file.as_file().sync_all()?;
    match existing {
        Existing::Replace => file.persist(path)?,
        Existing::Keep => file.persist_noclobber(path)?,
    };
    sync_parent(path)
}

/// Gives a finished directory its name: readers see all of it or nothing. It takes the
/// place of an empty directory alone (`rename(2)`).
pub fn place_directory(directory: TempDir, path: &Path) -> io::Result<()> {
    File::open(directory.path())?.sync_all()?;
    fs::rename(directory.path(), path)?;
    // Nothing has the old name any more.
    let _ = directory.keep();
    sync_parent(path)
}

/// Makes durable that a name is, or is no longer, in its directory.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// The directory that holds a name.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn persist(path: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
        let mut file = temporary_beside(path, 0o600)?;
        file.write_all(bytes)?;
        place_file(file, path, existing)
    }

    fn is_taken(result: io::Result<()>) -> bool {
        result.unwrap_err().kind() == io::ErrorKind::AlreadyExists
    }

    #[test]
    fn directories_are_made_down_to_the_last_and_found_there_again() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("a/../b/c");
        for _ in 0..2 {
            create_directories(&deep, 0o700).unwrap();
        }
        for made in ["a", "b", "b/c"] {
            assert_eq!(mode(&home.path().join(made)), 0o700, "{made}");
        }
        assert!(is_taken(create_directory(&deep, 0o700)));
        let file = home.path().join("file");
        create_file(&file, 0o600, b"").unwrap();
        create_directories(&file, 0o700).unwrap_err();
        create_directories(&file.join("below"), 0o700).unwrap_err();
    }

    #[test]
    fn a_new_file_takes_no_name_that_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        create_file(&path, 0o600, b"one").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"one"[..], 0o600));
        assert!(is_taken(create_file(&path, 0o600, b"two")));
        let link = home.path().join("link");
        symlink(home.path().join("elsewhere"), &link).unwrap();
        assert!(is_taken(create_file(&link, 0o600, b"two")));
        assert!(is_taken(persist(&link, b"two", Existing::Keep)));
        assert!(is_taken(persist(&path, b"two", Existing::Keep)));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn a_finished_file_is_placed_or_replaces() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        for (bytes, existing) in [(b"one", Existing::Keep), (b"two", Existing::Replace)] {
            persist(&path, bytes, existing).unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&bytes[..], 0o600));
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_finished_directory_is_placed_and_replaces_none_that_holds_something() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("made");
        let making = || {
            let making = tempfile::tempdir_in(home.path()).unwrap();
            create_file(&making.path().join("file"), 0o600, b"one").unwrap();
            making
        };
        place_directory(making(), &path).unwrap();
        place_directory(making(), &path).unwrap_err();
        assert_eq!(fs::read(path.join("file")).unwrap(), b"one");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no temporary directory stays");
    }

    #[test]
    fn a_bare_name_is_in_the_current_directory() {
        assert_eq!(parent(Path::new("name")), Path::new("."));
        assert_eq!(parent(Path::new("/")), Path::new("."));
        assert_eq!(parent(Path::new("/name")), Path::new("/"));
        sync_parent(Path::new("Cargo.toml")).unwrap();
    }
}
