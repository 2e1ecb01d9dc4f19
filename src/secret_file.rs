//! Files that hold secrets: the root key's, and the private key's of TLS. They are
//! read only if nobody else can read or replace them.
//!
//! ```text
//! each link on the way    belongs to us or root
//! each directory on it    belongs to us or root, and nobody else writes there but
//!                         under the sticky bit
//! the file at the end     an ordinary file of ours or root's, which its owner and
//!                         our own group can read, and its owner alone can write
//! ```
//!
//! "Us" is the effective user, and our groups are those of this process. So a secret
//! that Kubernetes mounts can be read: symbolic links of root's in a sticky directory
//! lead to a file of root's, mode 0440, whose group is the pod's `fsGroup`.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::durable;

/// As many links as the kernel follows (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// Why a secret is not read. Each text follows the file's name.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Nothing is there.
    #[error("does not exist")]
    Absent,
    /// Others could read or replace it.
    #[error("is not safe: {0}")]
    Unsafe(String),
    /// It is no such secret.
    #[error("has more than {0} bytes, too many for what it should hold")]
    TooLong(usize),
    /// The system refused.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
}

impl From<io::Error> for SecretFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ => Self::Unreadable(error),
        }
    }
}

/// Reads a secret, once it is known that nobody else can have it.
pub fn read(path: &Path, max_bytes: usize) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let mut file = open(&at_the_end(path)?)?;
    check_file(&file)?;
    // One allocation of full size: growing would leave copies behind.
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.min(max_bytes) + 1));
    (&mut file).take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > max_bytes {
        return Err(SecretFileError::TooLong(max_bytes));
    }
    Ok(bytes)
}

/// Opens a file that is no secret, but that nobody else may write: policies, which say
/// who may do what.
pub fn open_unless_others_can_write(path: &Path) -> Result<File, SecretFileError> {
    let file = open(&at_the_end(path)?)?;
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    let why = if !found.is_file() {
        "it is not an ordinary file".to_owned()
    } else if !is_ours_or_roots(found.uid()) {
        format!("it belongs to user {}, who could change it", found.uid())
    } else if mode & 0o022 != 0 {
        format!("its mode is {mode:04o}, so that others can change it; chmod go-w it")
    } else {
        return Ok(file);
    };
    Err(SecretFileError::Unsafe(why))
}

/// A user who can write a directory above can replace the file.
pub fn check_directories(path: &Path) -> Result<(), SecretFileError> {
    at_the_end(durable::parent(path)).map(drop)
}

/// Follows a path as the kernel does, and judges each directory and each link that it
/// leads through. What is there at its end is judged once it is open.
fn at_the_end(path: &Path) -> Result<PathBuf, SecretFileError> {
    let mut ahead = Vec::new();
    let mut links = 0;
    let mut at = PathBuf::new();
    put_ahead(&mut ahead, &std::path::absolute(path)?);
    while let Some(step) = ahead.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        // The root is a step that begins anew.
        let next = at.join(&step);
        let found = fs::symlink_metadata(&next)?;
        if found.is_symlink() {
            check_link(&next, &found)?;
            links += 1;
            if links > LINKS_MAX {
                return Err(SecretFileError::Unreadable(Errno::LOOP.into()));
            }
            put_ahead(&mut ahead, &fs::read_link(&next)?);
            continue;
        }
        if found.is_dir() {
            check_directory(&next, &found)?;
        }
        at = next;
    }
    Ok(at)
}

/// The steps of a path in front of those that are still ahead; the next is the last.
fn put_ahead(ahead: &mut Vec<OsString>, path: &Path) {
    let steps = path.components().filter(|step| *step != Component::CurDir);
    ahead.extend(steps.rev().map(|step| step.as_os_str().to_owned()));
}

fn check_link(path: &Path, found: &Metadata) -> Result<(), SecretFileError> {
    if is_ours_or_roots(found.uid()) {
        return Ok(());
    }
    let why = format!("the symbolic link {} belongs to user {}", path.display(), found.uid());
    Err(SecretFileError::Unsafe(why))
}

fn check_directory(path: &Path, found: &Metadata) -> Result<(), SecretFileError> {
    let name = path.display();
    if !is_ours_or_roots(found.uid()) {
        let why = format!("the directory {name} belongs to user {}", found.uid());
        return Err(SecretFileError::Unsafe(why));
    }
    let sticky = found.mode() & 0o1000 != 0;
    if found.mode() & 0o022 != 0 && !sticky {
        let why = format!("the directory {name} can be written by others; chmod go-w it");
        return Err(SecretFileError::Unsafe(why));
    }
    Ok(())
}

/// Does not wait for the writer of a pipe, and follows no link that was put there
/// meanwhile.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags | OFlags::NOCTTY, Mode::empty())?.into())
}

fn check_file(file: &File) -> Result<(), SecretFileError> {
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    let why = if !found.is_file() {
        "it is not an ordinary file".to_owned()
    } else if !is_ours_or_roots(found.uid()) {
        let us = rustix::process::geteuid().as_raw();
        format!("it belongs to user {}, and this process runs as {us}; chown it", found.uid())
    } else if mode & 0o037 != 0 {
        format!(
            "its mode is {mode:04o}, open to more than its owner and their group's readers; chmod 0600 it, or 0440 where the group is the server's own, and take the secret as known to those who could read it"
        )
    } else if mode & 0o040 != 0 && !is_our_group(found.gid())? {
        format!(
            "its mode is {mode:04o}, and its group {} is none of this process's; chmod 0600 it, and take the secret as known to that group",
            found.gid()
        )
    } else if mode & 0o040 != 0 && has_access_list(file) {
        "an access control list lets further users read it; remove that with `setfacl -b`"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(SecretFileError::Unsafe(why))
}

fn is_ours_or_roots(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

fn is_our_group(group: u32) -> io::Result<bool> {
    let ours = rustix::process::getgroups()?;
    Ok(group == rustix::process::getegid().as_raw() || ours.iter().any(|one| one.as_raw() == group))
}

/// An access control list (`acl(5)`). Its mask stands where the group's bits are, so
/// that without these it gives nobody anything.
fn has_access_list(file: &File) -> bool {
    let mut nothing: [u8; 0] = [];
    let size = rustix::fs::fgetxattr(file, "system.posix_acl_access", &mut nothing);
    size.is_ok_and(|size| size > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A group that no process of ours is in.
    const STRANGERS: u32 = 65_533;

    fn secret(folder: &Path, mode: u32) -> PathBuf {
        let path = folder.join("secret");
        let _ = fs::remove_file(&path);
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    #[track_caller]
    fn is_unsafe(path: &Path, says: &str) {
        match read(path, 100) {
            Err(SecretFileError::Unsafe(why)) => assert!(why.contains(says), "{says:?}: {why}"),
            other => panic!("{says:?}: {:?}", other.map(|bytes| bytes.len())),
        }
    }

    #[test]
    fn the_owner_and_our_own_group_may_read_it_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = secret(folder.path(), 0o600);
        for mode in [0o600, 0o400, 0o440, 0o640] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, 100).unwrap().as_slice(), b"secret", "{mode:o}");
        }
        for mode in [0o604, 0o644, 0o660, 0o602, 0o620, 0o444, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            is_unsafe(&path, "its mode is");
        }
    }

    #[test]
    fn another_user_or_group_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = secret(folder.path(), 0o440);
        chown(&path, None, Some(STRANGERS)).unwrap();
        is_unsafe(&path, "none of this process's");
        chown(&path, Some(65_534), Some(0)).unwrap();
        is_unsafe(&path, "belongs to user 65534");
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        chown(&path, Some(0), Some(STRANGERS)).unwrap();
        read(&path, 100).unwrap();
        chown(folder.path(), Some(65_534), None).unwrap();
        is_unsafe(&path, "belongs to user 65534");
    }

    /// `..data` is a link to a directory, and the files are links through it; the
    /// directory is open to all, under the sticky bit.
    #[test]
    fn a_secret_that_kubernetes_mounts_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o3777)).unwrap();
        let data = folder.path().join("..2026_11_26");
        fs::create_dir(&data).unwrap();
        secret(&data, 0o440);
        symlink("..2026_11_26", folder.path().join("..data")).unwrap();
        let path = folder.path().join("secret");
        symlink("..data/secret", &path).unwrap();
        assert_eq!(read(&path, 100).unwrap().as_slice(), b"secret");
        secret(&data, 0o444);
        is_unsafe(&path, "its mode is 0444");
        if rustix::process::geteuid().is_root() {
            secret(&data, 0o400);
            std::os::unix::fs::lchown(&path, Some(65_534), None).unwrap();
            is_unsafe(&path, "the symbolic link");
        }
    }

    #[test]
    fn each_links_directory_is_judged() {
        let (folder, open) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = secret(folder.path(), 0o600);
        let (first, last) = (folder.path().join("first"), open.path().join("last"));
        symlink(&path, &last).unwrap();
        symlink(&last, &first).unwrap();
        read(&first, 100).unwrap();
        fs::set_permissions(open.path(), Permissions::from_mode(0o777)).unwrap();
        is_unsafe(&first, "can be written by others");
        // In the middle of the way, too.
        let (middle, beside) = (open.path().join("middle"), folder.path().join("beside"));
        symlink(folder.path(), &middle).unwrap();
        is_unsafe(&middle.join("secret"), "can be written by others");
        is_unsafe(&open.path().join("middle/../secret"), "can be written by others");
        fs::create_dir(&beside).unwrap();
        symlink("beside/../secret", folder.path().join("about")).unwrap();
        assert_eq!(read(&folder.path().join("about"), 100).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        is_unsafe(folder.path(), "not an ordinary file");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), fifo, Mode::from(0o600), 0).unwrap();
        is_unsafe(&at("pipe"), "not an ordinary file");
        assert!(matches!(read(&at("none"), 100), Err(SecretFileError::Absent)));
        symlink("nowhere", at("dangling")).unwrap();
        assert!(matches!(read(&at("dangling"), 100), Err(SecretFileError::Absent)));
        symlink("round", at("round")).unwrap();
        assert!(matches!(read(&at("round"), 100), Err(SecretFileError::Unreadable(_))));
        let path = secret(folder.path(), 0o600);
        assert!(matches!(read(&path, 5), Err(SecretFileError::TooLong(5))));
        assert_eq!(read(&path, 6).unwrap().len(), 6);
    }
}
