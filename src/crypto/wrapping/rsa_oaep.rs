//! RSA-OAEP (RFC 8017, section 7.1): the named hash for both the label and
//! MGF1, with an empty label.

use std::fmt;

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use zeroize::Zeroizing;

use super::WrapFailed;

/// The hash of both label and MGF1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OaepHash {
    /// SHA-256.
    Sha256,
    /// SHA-1: OAEP asks no collision resistance of its hash, and older modules
    /// offer no other.
    Sha1,
}

impl OaepHash {
    const fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
            Self::Sha1 => &OAEP_SHA1_MGF1SHA1,
        }
    }

    const fn len_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha1 => 20,
        }
    }

    /// mLen ≤ k − 2 hLen − 2 (RFC 8017, section 7.1.1).
    pub(super) const fn longest_message_bytes(self, modulus_bytes: usize) -> usize {
        modulus_bytes - 2 * self.len_bytes() - 2
    }
}

/// A recipient's RSA key, parsed once. INVARIANT: `public_key` has judged it.
pub(super) struct RsaRecipientKey(OaepPublicEncryptingKey);

impl fmt::Debug for RsaRecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaRecipientKey")
    }
}

impl RsaRecipientKey {
    /// The key of a `SubjectPublicKeyInfo`.
    pub(super) fn from_spki(der: &[u8]) -> Option<Self> {
        let key = PublicEncryptingKey::from_der(der).ok()?;
        OaepPublicEncryptingKey::new(key).ok().map(Self)
    }

    /// RSAES-OAEP-ENCRYPT, with a seed of aws-lc's DRBG.
    pub(super) fn wrap(&self, hash: OaepHash, message: &[u8]) -> Result<Vec<u8>, WrapFailed> {
        let mut wrapped = vec![0; self.0.ciphertext_size()];
        let written = self
            .0
            .encrypt(hash.algorithm(), message, &mut wrapped, None)
            .map_err(|_| WrapFailed::Algorithm)?
            .len();
        wrapped.truncate(written);
        Ok(wrapped)
    }

    /// About how much memory it takes: modulus, Montgomery form and
    /// aws-lc's own structures.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + 1024 + 4 * self.0.key_size_bytes()
    }
}

/// The recipient's side: a private key that unwraps.
pub(in crate::crypto) struct RsaUnwrapper(OaepPrivateDecryptingKey);

impl fmt::Debug for RsaUnwrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaUnwrapper")
    }
}

impl RsaUnwrapper {
    /// The key of a PKCS#8 `PrivateKeyInfo`.
    pub(in crate::crypto) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let key = PrivateDecryptingKey::from_pkcs8(der).ok()?;
        OaepPrivateDecryptingKey::new(key).ok().map(Self)
    }

    /// RSAES-OAEP-DECRYPT, blinded and in constant time; aws-lc also refuses a
    /// first octet other than 0 (RFC 8017, section 7.1.2, step 3.g), which the
    /// `rsa` crate lets pass. `None` says nothing of why.
    pub(in crate::crypto) fn unwrap(
        &self,
        hash: OaepHash,
        wrapped: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut message = Zeroizing::new(vec![0; self.0.min_output_size()]);
        let opened = self.0.decrypt(hash.algorithm(), wrapped, &mut message, None).ok()?.len();
        message.truncate(opened);
        Some(message)
    }
}
