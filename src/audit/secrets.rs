//! The secrets of a log: what signs its checkpoints, and what makes digests of
//! encryption contexts that nobody else can make.

use aws_lc_rs::hmac;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::note::CheckpointKey;
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::secret::{AuditKey, KEY_LEN_BYTES, Reveal};
use crate::error::{Error, Result};
use crate::ids::StoreId;

/// Makes digests of encryption contexts: equal for equal ones, and of no use to those who
/// guess, without the key.
pub struct ContextKey(hmac::Key);

impl ContextKey {
    /// The digest of a context, in hexadecimal; none of an empty one.
    #[must_use]
    pub fn digest(&self, context: &EncryptionContext) -> Option<String> {
        if context.pairs().is_empty() {
            return None;
        }
        let tag = hmac::sign(&self.0, &context.sha256());
        Some(base16ct::lower::encode_string(tag.as_ref()))
    }
}

/// The two keys that are derived from one (RFC 5869), for the log of this store.
pub fn derive(store: StoreId, key: &AuditKey) -> Result<(CheckpointKey, ContextKey)> {
    let hkdf = Hkdf::<Sha256>::new(Some(store.as_bytes()), key.reveal(Reveal::ToDeriveKeys));
    let derived = |label: &str| {
        let mut bytes = Zeroizing::new([0; KEY_LEN_BYTES]);
        hkdf.expand(label.as_bytes(), bytes.as_mut_slice())
            .map_err(|_| Error::internal("a key of the audit log could not be derived"))?;
        Ok::<_, Error>(bytes)
    };
    let signing = derived("keyferry/audit/checkpoint")?;
    let signing = CheckpointKey::from_seed(store, &signing)
        .map_err(|_| Error::internal("the audit log's signing key is of no use"))?;
    let context = derived("keyferry/audit/context")?;
    Ok((signing, ContextKey(hmac::Key::new(hmac::HMAC_SHA256, context.as_slice()))))
}
