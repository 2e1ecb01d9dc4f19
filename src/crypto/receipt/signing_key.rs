//! The private key that signs receipts: ECDSA (FIPS 186-5, section 6) with SHA-256 on
//! P-256, by aws-lc, in constant time. It signs receipts and nothing else.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Claims, RECEIPT_TYPE, ReceiptPublicKey};
use crate::crypto::secret::{ReceiptKeyMaterial, Reveal};

/// Stored bytes that are no signing key. Nothing is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored bytes are not a sound private key for receipts")]
pub struct UnfitSigningKey;

/// Nothing was signed, or no key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signing algorithm failed")]
pub struct ReceiptSigningFailed;

/// A key that signs receipts. aws-lc wipes the private half when it is dropped.
pub struct ReceiptSigningKey {
    pair: EcdsaKeyPair,
    public: ReceiptPublicKey,
    /// The header of every receipt that it signs, encoded.
    header: String,
}

impl fmt::Debug for ReceiptSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptSigningKey({})", self.public.thumbprint())
    }
}

impl ReceiptSigningKey {
    /// A new key, and what is to be stored of it.
    pub fn generate() -> Result<(Self, ReceiptKeyMaterial), ReceiptSigningFailed> {
        let made = || {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
            let material = ReceiptKeyMaterial::from_pkcs8(pair.to_pkcs8v1().ok()?.as_ref());
            Some((Self::from_pkcs8(material.reveal(Reveal::ToDeriveKeys))?, material))
        };
        made().ok_or(ReceiptSigningFailed)
    }

    /// One that was stored: PKCS#8 in DER.
    #[expect(clippy::needless_pass_by_value, reason = "it is wiped here")]
    pub fn from_stored(stored: Zeroizing<Vec<u8>>) -> Result<Self, UnfitSigningKey> {
        Self::from_pkcs8(&stored).ok_or(UnfitSigningKey)
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        let public = ReceiptPublicKey::from_point(pair.public_key().as_ref()).ok()?;
        let kid = public.thumbprint().to_string();
        let header = json!({"alg": "ES256", "typ": RECEIPT_TYPE, "kid": kid}).to_string();
        Some(Self { pair, public, header: URL_SAFE_NO_PAD.encode(header) })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &ReceiptPublicKey {
        &self.public
    }

    /// The receipt that says this: a compact JWS.
    pub fn sign(&self, claims: &Claims) -> Result<String, ReceiptSigningFailed> {
        let claims = serde_json::to_vec(claims).map_err(|_| ReceiptSigningFailed)?;
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| ReceiptSigningFailed)?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A signature of any bytes, for receipts that are none.
    #[cfg(test)]
    pub(super) fn sign_raw(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec()
    }
}
