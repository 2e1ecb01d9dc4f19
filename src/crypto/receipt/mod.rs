//! Receipts of exports: a signed statement of what was exported, to whom, and how.
//!
//! A receipt is a compact JWS (RFC 7515) by ES256. It holds digests of what left, none
//! of the data key, and nothing of a context but a salted digest.
//!
//! ```text
//! Export ──Claims::of──▶ Claims ──ReceiptSigningKey::sign──▶ text
//! text ──UnverifiedReceipt::parse──▶ UnverifiedReceipt ──verify──▶ Claims ──check──▶ of this delivery
//! ```
//!
//! | file | what is in it |
//! | --- | --- |
//! | `mod.rs` | what a receipt says |
//! | `signing_key.rs` | the private key that signs |
//! | `public_key.rs` | the public key that verifies: its thumbprint, its JWK, found by its thumbprint |
//! | `key_set.rs` | the keys of an issuer with their dates, as a JWK Set |
//! | `compact.rs` | the compact form, read strictly, and verified |

mod compact;
mod key_set;
mod public_key;
mod signing_key;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::compact::{MalformedReceipt, RefusedReceipt, UnverifiedReceipt};
pub use self::key_set::{DatedKey, ReceiptKeySet, UnfitKeySet};
pub use self::public_key::{MalformedThumbprint, ReceiptPublicKey, Thumbprint, UnfitReceiptKey};
pub use self::signing_key::{ReceiptSigningFailed, ReceiptSigningKey, UnfitSigningKey};
use super::ciphertext_blob::CiphertextBlob;
use super::encryption_context::EncryptionContext;
use super::random::{self, RandomUnavailable};
use super::wrapping::{Sm2CiphertextEncoding, WrappingAlgorithm, WrappingMethod};
use crate::ids::{EventId, KeyId, KeyVersionId, StoreId};

/// The type of every receipt, so that nothing takes one for another signed statement
/// (RFC 8725, 3.11).
pub const RECEIPT_TYPE: &str = "keyferry-export-receipt+jws";

/// Length of the salt of a context's digest.
const SALT_LEN_BYTES: usize = 32;

/// What a receipt says. Digests and the salt are lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The store that exported.
    pub iss: String,
    /// When, in seconds since 1970.
    pub iat: i64,
    /// The id of the event: of this export, and of no other.
    pub jti: String,
    /// The caller's id of the request, which proves nothing.
    pub request_id: String,
    /// The CMK of the blob.
    pub key_id: String,
    /// The version that opened it, or sealed it.
    pub key_version_id: String,
    /// The kind of the blob.
    pub blob_kind: String,
    /// SHA-256 of the blob.
    pub blob_sha256: String,
    /// SHA-256 of the recipient's public key, a `SubjectPublicKeyInfo` in DER.
    pub recipient_sha256: String,
    /// SHA-256 of the exported data key: of the bytes that left, which are encrypted.
    pub exported_sha256: String,
    /// How many bytes these are.
    pub exported_bytes: u64,
    /// How the data key was encrypted.
    pub wrapping_algorithm: String,
    /// The layout, where it is SM2 ciphertext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm2_ciphertext_encoding: Option<String>,
    /// 32 random bytes.
    pub context_salt: String,
    /// SHA-256 of the salt and the encoding of the encryption context.
    pub context_sha256: String,
}

/// An export that was done.
pub struct Export<'a> {
    /// The caller's id of the request.
    pub request_id: &'a str,
    /// The CMK of the blob.
    pub key_id: KeyId,
    /// Its version.
    pub version_id: KeyVersionId,
    /// The blob.
    pub blob: &'a CiphertextBlob,
    /// SHA-256 of the recipient's public key.
    pub recipient_sha256: &'a [u8; 32],
    /// How the data key was wrapped.
    pub method: &'a WrappingMethod,
    /// The bytes that leave.
    pub exported: &'a [u8],
    /// The encryption context of the blob.
    pub context: &'a EncryptionContext,
}

/// What a recipient has in hand, for which a receipt must be.
pub struct Delivery<'a> {
    /// The exported data key.
    pub exported: &'a [u8],
    /// SHA-256 of the recipient's public key.
    pub recipient_sha256: &'a [u8; 32],
    /// How it is encrypted, where that is known.
    pub algorithm: Option<WrappingAlgorithm>,
}

/// Why a receipt is not one of what is in hand. Each text follows "the receipt".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReceiptMismatch {
    /// The recipient.
    #[error("is for another recipient's public key")]
    Recipient,
    /// The exported bytes.
    #[error("is for another exported data key")]
    Exported,
    /// The algorithm.
    #[error("tells another wrapping algorithm")]
    Algorithm,
}

impl Claims {
    /// What the receipt of this export says.
    pub fn of(
        issuer: StoreId,
        event: EventId,
        at: Timestamp,
        export: &Export<'_>,
    ) -> Result<Self, RandomUnavailable> {
        let salt: [u8; SALT_LEN_BYTES] = random::array()?;
        Ok(Self {
            iss: issuer.to_string(),
            iat: at.as_second(),
            jti: event.to_string(),
            request_id: export.request_id.to_owned(),
            key_id: export.key_id.to_string(),
            key_version_id: export.version_id.to_string(),
            blob_kind: export.blob.kind().as_str().to_owned(),
            blob_sha256: sha256_hex(export.blob.as_bytes()),
            recipient_sha256: hex(export.recipient_sha256),
            exported_sha256: sha256_hex(export.exported),
            exported_bytes: export.exported.len() as u64,
            wrapping_algorithm: export.method.algorithm().as_str().to_owned(),
            sm2_ciphertext_encoding: export
                .method
                .sm2_encoding()
                .map(|encoding| encoding.as_str().to_owned()),
            context_salt: hex(&salt),
            context_sha256: context_digest(&salt, export.context),
        })
    }

    /// Refuses what is in hand where the receipt is of something else.
    pub fn check(&self, delivery: &Delivery<'_>) -> Result<(), ReceiptMismatch> {
        if self.recipient_sha256 != hex(delivery.recipient_sha256) {
            return Err(ReceiptMismatch::Recipient);
        }
        let is_long = self.exported_bytes == delivery.exported.len() as u64;
        if !is_long || self.exported_sha256 != sha256_hex(delivery.exported) {
            return Err(ReceiptMismatch::Exported);
        }
        match delivery.algorithm {
            Some(algorithm) if algorithm.as_str() != self.wrapping_algorithm => {
                Err(ReceiptMismatch::Algorithm)
            }
            _ => Ok(()),
        }
    }

    /// The algorithm that it tells, where it is one of ours.
    #[must_use]
    pub fn algorithm(&self) -> Option<WrappingAlgorithm> {
        WrappingAlgorithm::ALL.into_iter().find(|one| one.as_str() == self.wrapping_algorithm)
    }

    /// Whether the blob was made with this context.
    #[must_use]
    pub fn is_of_context(&self, context: &EncryptionContext) -> bool {
        let salt = base16ct::lower::decode_vec(&self.context_salt).unwrap_or_default();
        salt.len() == SALT_LEN_BYTES && self.context_sha256 == context_digest(&salt, context)
    }
}

impl Sm2CiphertextEncoding {
    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asn1Der => "ASN1_DER",
            Self::RawC1C3C2 => "RAW_C1C3C2",
        }
    }
}

/// With the salt two receipts of one context differ, and no table made beforehand tells
/// which context it was. The salt has one length, so that it can't run into the context.
fn context_digest(salt: &[u8], context: &EncryptionContext) -> String {
    let mut salted = Vec::with_capacity(salt.len() + context.encoded_len());
    salted.extend_from_slice(salt);
    context.encode(&mut salted);
    sha256_hex(&salted)
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}
