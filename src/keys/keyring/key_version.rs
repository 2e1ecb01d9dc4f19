//! One generation of a CMK, taken for one grant and one use.

use std::sync::Arc;

use crate::access::policy::Grant;
use crate::crypto::ciphertext_blob::{BlobKeys, BlobKind, CiphertextBlob};
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::key_pair::KeyPair;
use crate::crypto::secret::{DataKey, Plaintext, Reveal};
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};

/// A key version's own keys, as loaded from the store. Immutable.
pub(crate) struct LoadedVersion {
    pub(crate) key_id: KeyId,
    pub(crate) id: KeyVersionId,
    pub(crate) keys: VersionKeys,
}

impl LoadedVersion {
    /// About how much memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let keys = match &self.keys {
            VersionKeys::Symmetric(keys) => keys.memory_bytes(),
            VersionKeys::Pair(pair) => pair.memory_bytes(),
        };
        size_of::<Self>() + keys
    }
}

/// The keys of a version.
pub(crate) enum VersionKeys {
    /// Of a symmetric CMK.
    Symmetric(BlobKeys),
    /// Of an asymmetric one.
    Pair(Box<KeyPair>),
}

/// A key version that a caller may use, once. Only the keyring makes one, and
/// only for a [`Grant`] and a CMK whose state permits it.
#[must_use]
pub struct KeyVersion {
    pub(super) loaded: Arc<LoadedVersion>,
    pub(super) grant: Grant,
}

impl std::fmt::Debug for KeyVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyVersion")
    }
}

impl KeyVersion {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyVersionId {
        self.loaded.id
    }

    /// The CMK that it belongs to.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.loaded.key_id
    }

    /// Makes a data key of `len` random bytes and seals it.
    pub fn generate(
        self,
        kind: BlobKind,
        len: usize,
        context: &EncryptionContext,
        recipient_sha256: Option<[u8; 32]>,
    ) -> Result<(DataKey, CiphertextBlob)> {
        self.grant.check(context.sha256(), recipient_sha256)?;
        let data_key = DataKey::random(len)?;
        let blob = self.seal(kind, data_key.reveal(Reveal::ToSeal), context)?;
        Ok((data_key, blob))
    }

    /// Opens a blob. All that can be wrong with it has one answer.
    pub fn open(
        self,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
        recipient_sha256: Option<[u8; 32]>,
    ) -> Result<DataKey> {
        self.grant.check(context.sha256(), recipient_sha256)?;
        self.blob_keys()?
            .open(blob, context)
            .map_err(|_| Error::from(Rule::BlobDoesNotOpen).blaming("ciphertext_blob"))
    }

    /// Seals bytes of the caller's.
    pub fn encrypt(
        self,
        plaintext: &Plaintext,
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob> {
        self.grant.check(context.sha256(), None)?;
        self.seal(BlobKind::CallerBytes, plaintext.reveal(Reveal::ToSeal), context)
    }

    /// Seals a data key that another key version opened. The kind stays.
    pub fn reseal(
        self,
        kind: BlobKind,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob> {
        self.grant.check(context.sha256(), None)?;
        self.seal(kind, data_key.reveal(Reveal::ToSeal), context)
    }

    fn blob_keys(&self) -> Result<&BlobKeys> {
        match &self.loaded.keys {
            VersionKeys::Symmetric(keys) => Ok(keys),
            VersionKeys::Pair(_) => {
                Err(Error::internal("a key pair was taken for a symmetric key version"))
            }
        }
    }

    fn seal(
        &self,
        kind: BlobKind,
        contents: &[u8],
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob> {
        self.blob_keys()?
            .seal(kind, contents, context)
            .map_err(|_| Error::internal("a blob could not be sealed"))
    }
}
