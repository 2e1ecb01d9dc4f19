//! The `file` provider: a root key in a file that no other user can read or replace
//! (`secret_file.rs`); it is made with mode 0600.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::root_key::{RootKeyError, RootKeyId, RootKeyProvider, WrappedStoreKeys};
use crate::crypto::pem;
use crate::crypto::sealing::SealingKey;
use crate::crypto::secret::{Reveal, RootKey};
use crate::durable;
use crate::secret_file::{self, SecretFileError};

/// The first word of a root key file; the number is the format's.
const FILE_HEAD: &str = "KEYFERRY-ROOT-KEY-1:";
/// Longer than any root key file.
const MAX_FILE_BYTES: usize = 256;

/// A root key that was read from a file.
pub struct FileRootKey {
    path: PathBuf,
    id: RootKeyId,
    sealing: SealingKey,
}

impl FileRootKey {
    /// Reads the root key at `path`.
    pub fn read(path: &Path) -> Result<Self, RootKeyError> {
        let bytes = secret_file::read(path, MAX_FILE_BYTES).map_err(|e| not_read(path, e))?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(|text| Self::decode(path, text)).ok_or_else(|| malformed(path))
    }

    /// Makes a root key and its file; durable when it returns. The caller has
    /// made sure that the store is empty.
    pub fn create(path: &Path) -> Result<Self, RootKeyError> {
        secret_file::check_directories(path).map_err(|error| match error {
            SecretFileError::Absent => unavailable(path, io::ErrorKind::NotFound.into()),
            error => not_read(path, error),
        })?;
        let key = RootKey::generate().map_err(|_| RootKeyError::NoRandomness)?;
        let encoded = Zeroizing::new(STANDARD.encode(key.reveal(Reveal::ToFile)));
        let line = Zeroizing::new([FILE_HEAD, &encoded, "\n"].concat());
        match durable::create_file(path, 0o600, line.as_bytes()) {
            Ok(()) => Ok(Self::holding(path, &key)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RootKeyError::Exists { at: path.display().to_string() })
            }
            Err(source) => Err(unavailable(path, source)),
        }
    }

    fn decode(path: &Path, text: &str) -> Option<Self> {
        // Characters that editors add are passed over, as in PEM.
        let line = pem::without_bom(text.as_bytes()).trim_ascii_start();
        let mut encoded = Zeroizing::new(Vec::with_capacity(line.len()));
        encoded.extend(pem::significant(line.strip_prefix(FILE_HEAD.as_bytes())?));
        let bytes = Zeroizing::new(STANDARD.decode(&*encoded).ok()?);
        let key = RootKey::from_stored(bytes).ok()?;
        Some(Self::holding(path, &key))
    }

    fn holding(path: &Path, key: &RootKey) -> Self {
        let secret = key.reveal(Reveal::ToDeriveKeys);
        let mut digest = Sha256::new_with_prefix(b"keyferry/root-key-id");
        digest.update(secret);
        Self {
            path: path.to_owned(),
            id: RootKeyId::from_digest(digest.finalize().into()),
            sealing: SealingKey::derive(secret, "keyferry/slot", b""),
        }
    }
}

impl RootKeyProvider for FileRootKey {
    fn provider(&self) -> &'static str {
        "file"
    }

    fn id(&self) -> &RootKeyId {
        &self.id
    }

    fn description(&self) -> String {
        self.path.display().to_string()
    }

    fn wrap(&self, aad: &[u8], store_keys: &[u8]) -> Result<WrappedStoreKeys, RootKeyError> {
        let sealed = self.sealing.seal(aad, store_keys).map_err(|_| RootKeyError::NoRandomness)?;
        Ok(WrappedStoreKeys { nonce: sealed.nonce.to_vec(), bytes: sealed.bytes })
    }

    fn unwrap(
        &self,
        aad: &[u8],
        nonce: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RootKeyError> {
        self.sealing.open(aad, nonce, wrapped).map_err(|_| RootKeyError::NotIntact)
    }
}

fn not_read(path: &Path, error: SecretFileError) -> RootKeyError {
    let at = path.display().to_string();
    match error {
        SecretFileError::Absent => RootKeyError::Absent { at },
        SecretFileError::Unsafe(why) => RootKeyError::Unsafe { at, why },
        SecretFileError::TooLong(_) => malformed(path),
        SecretFileError::Unreadable(source) => unavailable(path, source),
    }
}

fn malformed(path: &Path) -> RootKeyError {
    RootKeyError::Malformed {
        at: path.display().to_string(),
        why: format!("it should hold one line that begins with {FILE_HEAD}"),
    }
}

fn unavailable(path: &Path, source: io::Error) -> RootKeyError {
    RootKeyError::Unavailable { at: path.display().to_string(), source: source.into() }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

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
        assert!(matches!(FileRootKey::create(&path), Err(RootKeyError::Exists { .. })));
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused() {
        let folder = folder();
        let path = folder.path().join("root.key");
        FileRootKey::create(&path).unwrap();
        for mode in [0o604, 0o660, 0o644, 0o444] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(FileRootKey::read(&path), Err(RootKeyError::Unsafe { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_folder_for_all_and_an_absent_file_are_refused_and_a_link_is_not() {
        let folder = folder();
        let path = folder.path().join("root.key");
        assert!(matches!(FileRootKey::read(&path), Err(RootKeyError::Absent { .. })));
        let made = FileRootKey::create(&path).unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(FileRootKey::read(&link).unwrap().id(), made.id());
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(FileRootKey::read(&path), Err(RootKeyError::Unsafe { .. })));
        let other = folder.path().join("other.key");
        assert!(matches!(FileRootKey::create(&other), Err(RootKeyError::Unsafe { .. })));
    }

    #[test]
    fn white_space_and_a_byte_order_mark_are_passed_over() {
        let folder = folder();
        let path = folder.path().join("root.key");
        let made = FileRootKey::create(&path).unwrap();
        let line = fs::read_to_string(&path).unwrap().trim_end().to_owned();
        for text in [
            line.clone(),
            format!("\u{feff}{line}\r\n"),
            format!("\n{line}  \n\n"),
            format!("{line}\\n"),
            line.replace(':', ": "),
        ] {
            fs::write(&path, &text).unwrap();
            let read = FileRootKey::read(&path);
            assert!(read.is_ok_and(|read| read.id() == made.id()), "{text:?}");
        }
    }

    #[test]
    fn other_content_is_refused() {
        let folder = folder();
        let path = folder.path().join("root.key");
        let long = format!("KEYFERRY-ROOT-KEY-1:{}", "A".repeat(1_000));
        for content in [
            "",
            "KEYFERRY-ROOT-KEY-1:",
            "KEYFERRY-ROOT-KEY-1:AAAA\n",
            "KEYFERRY-ROOT-KEY-2:x",
            &long,
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            assert!(
                matches!(FileRootKey::read(&path), Err(RootKeyError::Malformed { .. })),
                "{content}"
            );
        }
    }
}
