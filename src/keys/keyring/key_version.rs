//! One generation of a CMK, taken for one grant and one use.

use std::sync::Arc;

use crate::access::actions::Actions;
use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::Use;
use crate::crypto::ciphertext_blob::{BlobKeys, BlobKind, CiphertextBlob};
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::key_pair::KeyPair;
use crate::crypto::secret::{DataKey, Plaintext, Reveal};
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};

/// The actions that generate a data key.
pub(super) const GENERATING: Actions =
    Actions::of(&[Action::GenerateDataKey, Action::GenerateDataKeyWithoutPlaintext]);
/// The actions that open a blob.
pub(super) const OPENING: Actions =
    Actions::of(&[Action::Decrypt, Action::ExportDataKey, Action::ReEncryptFrom]);

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
    pub(super) grant: Grant<Use>,
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
        let keys = self.keys_for(GENERATING, context, recipient_sha256)?;
        let data_key = DataKey::random(len)?;
        let blob = seal(keys, kind, data_key.reveal(Reveal::ToSeal), context)?;
        Ok((data_key, blob))
    }

    /// Opens a blob. All that can be wrong with it has one answer.
    pub fn open(
        self,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
        recipient_sha256: Option<[u8; 32]>,
    ) -> Result<DataKey> {
        self.keys_for(OPENING, context, recipient_sha256)?
            .open(blob, context)
            .map_err(|_| Error::from(Rule::BlobDoesNotOpen).blaming("ciphertext_blob"))
    }

    /// Seals bytes of the caller's.
    pub fn encrypt(
        self,
        plaintext: &Plaintext,
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob> {
        let keys = self.keys_for(Action::Encrypt, context, None)?;
        seal(keys, BlobKind::CallerBytes, plaintext.reveal(Reveal::ToSeal), context)
    }

    /// Seals a data key that another key version opened. The kind stays.
    pub fn reseal(
        self,
        kind: BlobKind,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob> {
        let keys = self.keys_for(Action::ReEncryptTo, context, None)?;
        seal(keys, kind, data_key.reveal(Reveal::ToSeal), context)
    }

    /// The keys, for a use that the grant is good for.
    fn keys_for(
        &self,
        served: impl Into<Actions>,
        context: &EncryptionContext,
        recipient_sha256: Option<[u8; 32]>,
    ) -> Result<&BlobKeys> {
        self.grant.check(served, context.sha256(), recipient_sha256)?;
        match &self.loaded.keys {
            VersionKeys::Symmetric(keys) => Ok(keys),
            VersionKeys::Pair(_) => {
                Err(Error::internal("a key pair was taken for a symmetric key version"))
            }
        }
    }
}

fn seal(
    keys: &BlobKeys,
    kind: BlobKind,
    contents: &[u8],
    context: &EncryptionContext,
) -> Result<CiphertextBlob> {
    keys.seal(kind, contents, context).map_err(|_| Error::internal("a blob could not be sealed"))
}
