//! The public key of an issuer of receipts: a point on P-256 (FIPS 186-5), its JWK (RFC
//! 7517, RFC 7518, section 6.2) and its thumbprint (RFC 7638).

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Length of `04 ‖ x ‖ y`.
pub(super) const POINT_LEN_BYTES: usize = 65;
/// Length of `r ‖ s` (RFC 7518, section 3.4).
pub(super) const SIGNATURE_LEN_BYTES: usize = 64;

/// Bytes that are no public key on P-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is no public key on P-256")]
pub struct UnfitReceiptKey;

/// Text that is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is no thumbprint of a key: 43 characters of Base64url (RFC 7638, SHA-256)")]
pub struct MalformedThumbprint;

/// The thumbprint of a key, which names it and nothing else: SHA-256 of its JWK's required
/// members (RFC 7638).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Reads one. Each has one text.
    pub fn parse(text: &str) -> Result<Self, MalformedThumbprint> {
        let decoded = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedThumbprint)?;
        decoded.try_into().map(Self).map_err(|_| MalformedThumbprint)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A public key that verifies receipts.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptPublicKey {
    point: [u8; POINT_LEN_BYTES],
    thumbprint: Thumbprint,
}

impl fmt::Debug for ReceiptPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptPublicKey({})", self.thumbprint)
    }
}

impl ReceiptPublicKey {
    /// The key of an uncompressed point (SEC 1, section 2.3.4).
    pub fn from_point(point: &[u8]) -> Result<Self, UnfitReceiptKey> {
        let point: [u8; POINT_LEN_BYTES] = point.try_into().map_err(|_| UnfitReceiptKey)?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| UnfitReceiptKey)?;
        let thumbprint = thumbprint_of(&point);
        Ok(Self { point, thumbprint })
    }

    /// The key of the coordinates of a JWK.
    pub(super) fn from_jwk(x: &str, y: &str) -> Result<Self, UnfitReceiptKey> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| UnfitReceiptKey);
        let (x, y) = (decode(x)?, decode(y)?);
        if x.len() != y.len() {
            return Err(UnfitReceiptKey);
        }
        Self::from_point(&[&[0x04], x.as_slice(), &y].concat())
    }

    /// The key of this thumbprint that made this signature, if any did. An ECDSA
    /// signature leaves but two keys or four that can have made it (SEC 1, section
    /// 4.1.6), and the thumbprint tells which: so it stands in for the key.
    #[must_use]
    pub fn of_signature(
        thumbprint: Thumbprint,
        message: &[u8],
        signature: &[u8; SIGNATURE_LEN_BYTES],
    ) -> Option<Self> {
        let digest = Sha256::digest(message);
        let signature = Signature::from_slice(signature).ok()?;
        (0..=RecoveryId::MAX).filter_map(RecoveryId::from_byte).find_map(|id| {
            let key = VerifyingKey::recover_from_prehash(&digest, &signature, id).ok()?;
            let key = Self::from_point(key.to_sec1_point(false).as_bytes()).ok()?;
            (key.thumbprint == thumbprint).then_some(key)
        })
    }

    /// The point, uncompressed.
    #[must_use]
    pub const fn point(&self) -> &[u8; POINT_LEN_BYTES] {
        &self.point
    }

    /// The name of the key.
    #[must_use]
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Whether a signature of a message is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point);
        key.is_ok_and(|key| key.verify_sig(message, signature).is_ok())
    }

    /// Its JWK.
    #[must_use]
    pub fn to_jwk(&self) -> Map<String, Value> {
        let (x, y) = coordinates(&self.point);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y,
            "kid": self.thumbprint.to_string(), "alg": "ES256", "use": "sig",
        });
        jwk.as_object().cloned().unwrap_or_default()
    }
}

fn thumbprint_of(point: &[u8; POINT_LEN_BYTES]) -> Thumbprint {
    let (x, y) = coordinates(point);
    // RFC 7638, section 3: the required members in the order of their names, no spaces.
    let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Thumbprint(Sha256::digest(members).into())
}

fn coordinates(point: &[u8; POINT_LEN_BYTES]) -> (String, String) {
    let [_, coordinates @ ..] = point;
    let (x, y) = coordinates.split_at(32);
    (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
}
