//! The root key: what wraps the store keys, and nothing else.
//!
//! A provider wraps and unwraps; whether the key ever is in this process is its
//! affair. The `file` provider keeps it in a file that nobody else can read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::crypto::sealing::{OpenFailed, SealFailed, Sealed, SealingKey};
use crate::crypto::secret::{Reveal, RootKey};
use crate::durable;

/// Which root key: 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKeyId(String);

impl RootKeyId {
    /// A digest of the key. The key is 256 random bits, so that its digest
    /// tells nothing of it.
    fn of(key: &RootKey) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"keyferry/root-key-id");
        hash.update(key.reveal(Reveal::ToDeriveKeys));
        let mut digest = hash.finalize().to_vec();
        digest.truncate(16);
        Self(base16ct::lower::encode_string(&digest))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Holds a root key and wraps with it.
pub trait RootKeyProvider: Send + Sync {
    /// The provider's name in the configuration and in the store's slot.
    fn provider(&self) -> &'static str;
    /// Which root key it holds.
    fn id(&self) -> &RootKeyId;
    /// Wraps the store keys.
    fn wrap(&self, aad: &[u8], store_keys: &[u8]) -> Result<Sealed, SealFailed>;
    /// Unwraps the store keys.
    fn unwrap(
        &self,
        aad: &[u8],
        nonce: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenFailed>;
}

/// The first word of a root key file; the number is the format's.
const FILE_HEAD: &str = "KEYFERRY-ROOT-KEY-1:";
/// Longer than any root key file.
const MAX_FILE_BYTES: u64 = 256;

/// Why a root key file is refused, and what would do.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyFileError {
    /// It does not exist.
    #[error(
        "there is no root key at {0}: `keyferry init` makes one for a new store; for an existing store, put its root key there"
    )]
    Absent(PathBuf),
    /// One exists where a new one was to be made.
    #[error("there is a root key at {0} already, and a root key is never overwritten")]
    Exists(PathBuf),
    /// It cannot be read or written.
    #[error("the root key at {path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could read or replace it.
    #[error("the root key at {path} is not safe: {why}")]
    Unsafe {
        /// Where.
        path: PathBuf,
        /// What is wrong, and what would do.
        why: String,
    },
    /// It is not a root key file.
    #[error("{0} is not a root key file: it should hold one line that begins with {FILE_HEAD}")]
    Malformed(PathBuf),
    /// No randomness could be had.
    #[error("no randomness could be had from the kernel")]
    NoRandomness,
}

/// A root key from a file, mode 0600, that no other user can read or replace.
pub struct FileRootKey {
    id: RootKeyId,
    sealing: SealingKey,
}

impl FileRootKey {
    /// Reads the root key at `path`. No symlink is followed at its last step,
    /// and whoever could replace the file or a folder above it must be us or
    /// root.
    pub fn read(path: &Path) -> Result<Self, RootKeyFileError> {
        check_parents(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = open(path, flags)?;
        check_file(path, &file)?;
        let mut text = Zeroizing::new(String::with_capacity(256));
        let read = (&mut file).take(MAX_FILE_BYTES).read_to_string(&mut text);
        read.map_err(|source| io_error(path, source))?;
        Self::decode(&text).ok_or_else(|| RootKeyFileError::Malformed(path.to_owned()))
    }

    /// Makes a root key and its file; durable when it returns. The caller has
    /// made sure that the store is empty.
    pub fn create(path: &Path) -> Result<Self, RootKeyFileError> {
        check_parents(path)?;
        let key = RootKey::generate().map_err(|_| RootKeyFileError::NoRandomness)?;
        let encoded = Zeroizing::new(STANDARD.encode(key.reveal(Reveal::ToFile)));
        let line = Zeroizing::new([FILE_HEAD, &encoded, "\n"].concat());
        match durable::create_file(path, 0o600, line.as_bytes()) {
            Ok(()) => Ok(Self::holding(&key)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RootKeyFileError::Exists(path.to_owned()))
            }
            Err(source) => Err(io_error(path, source)),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(FILE_HEAD)?.trim_ascii_end();
        let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let key = RootKey::from_stored(bytes).ok()?;
        Some(Self::holding(&key))
    }

    fn holding(key: &RootKey) -> Self {
        let sealing = SealingKey::derive(key.reveal(Reveal::ToDeriveKeys), "keyferry/slot", b"");
        Self { id: RootKeyId::of(key), sealing }
    }
}

impl RootKeyProvider for FileRootKey {
    fn provider(&self) -> &'static str {
        "file"
    }

    fn id(&self) -> &RootKeyId {
        &self.id
    }

    fn wrap(&self, aad: &[u8], store_keys: &[u8]) -> Result<Sealed, SealFailed> {
        self.sealing.seal(aad, store_keys)
    }

    fn unwrap(
        &self,
        aad: &[u8],
        nonce: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        self.sealing.open(aad, nonce, wrapped)
    }
}

fn open(path: &Path, flags: OFlags) -> Result<File, RootKeyFileError> {
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map(File::from).map_err(|errno| {
        match errno {
            rustix::io::Errno::NOENT => RootKeyFileError::Absent(path.to_owned()),
            rustix::io::Errno::LOOP => {
                unsafe_file(path, "it is a symbolic link; give the path of the file itself".into())
            }
            other => io_error(path, other.into()),
        }
    })
}

fn check_file(path: &Path, file: &File) -> Result<(), RootKeyFileError> {
    let meta = file.metadata().map_err(|source| io_error(path, source))?;
    let us = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return Err(unsafe_file(path, "it is not an ordinary file".into()));
    }
    if meta.uid() != us {
        let why =
            format!("it belongs to user {}, and this process runs as {us}; chown it", meta.uid());
        return Err(unsafe_file(path, why));
    }
    if meta.mode() & 0o077 != 0 {
        let why = format!(
            "its mode is {:04o}, so that others can reach it; chmod 0600 it, and if others may have read it, move the store to a new root key",
            meta.mode() & 0o7777
        );
        return Err(unsafe_file(path, why));
    }
    Ok(())
}

/// Whoever can write a folder above can put another file in its place.
fn check_parents(path: &Path) -> Result<(), RootKeyFileError> {
    let folder = durable::parent(path).canonicalize().map_err(|source| io_error(path, source))?;
    let us = rustix::process::geteuid().as_raw();
    for folder in folder.ancestors() {
        let meta = folder.metadata().map_err(|source| io_error(folder, source))?;
        let sticky = meta.mode() & 0o1000 != 0;
        if meta.uid() != us && meta.uid() != 0 {
            let why = format!("the folder {} belongs to user {}", folder.display(), meta.uid());
            return Err(unsafe_file(path, why));
        }
        if meta.mode() & 0o022 != 0 && !sticky {
            let why =
                format!("the folder {} can be written by others; chmod go-w it", folder.display());
            return Err(unsafe_file(path, why));
        }
    }
    Ok(())
}

fn io_error(path: &Path, source: io::Error) -> RootKeyFileError {
    RootKeyFileError::Io { path: path.to_owned(), source }
}

fn unsafe_file(path: &Path, why: String) -> RootKeyFileError {
    RootKeyFileError::Unsafe { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn what_one_process_wraps_the_next_unwraps() {
        let folder = folder();
        let path = folder.path().join("root.key");
        let made = FileRootKey::create(&path).unwrap();
        let sealed = made.wrap(b"aad", b"store keys").unwrap();
        let read = FileRootKey::read(&path).unwrap();
        assert_eq!(read.id(), made.id());
        assert_eq!(
            read.unwrap(b"aad", &sealed.nonce, &sealed.bytes).unwrap().as_slice(),
            b"store keys"
        );
        assert!(read.unwrap(b"other", &sealed.nonce, &sealed.bytes).is_err());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_root_key_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("root.key");
        FileRootKey::create(&path).unwrap();
        assert!(matches!(FileRootKey::create(&path), Err(RootKeyFileError::Exists(_))));
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused() {
        let folder = folder();
        let path = folder.path().join("root.key");
        FileRootKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(FileRootKey::read(&path), Err(RootKeyFileError::Unsafe { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_symlink_a_folder_for_all_and_an_absent_file_are_refused() {
        let folder = folder();
        let path = folder.path().join("root.key");
        assert!(matches!(FileRootKey::read(&path), Err(RootKeyFileError::Absent(_))));
        FileRootKey::create(&path).unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(FileRootKey::read(&link), Err(RootKeyFileError::Unsafe { .. })));
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(FileRootKey::read(&path), Err(RootKeyFileError::Unsafe { .. })));
    }

    #[test]
    fn other_content_is_refused() {
        let folder = folder();
        let path = folder.path().join("root.key");
        for content in
            ["", "KEYFERRY-ROOT-KEY-1:", "KEYFERRY-ROOT-KEY-1:AAAA\n", "KEYFERRY-ROOT-KEY-2:x"]
        {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(
                matches!(FileRootKey::read(&path), Err(RootKeyFileError::Malformed(_))),
                "{content}"
            );
        }
    }
}
