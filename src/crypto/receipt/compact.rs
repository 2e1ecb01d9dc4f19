//! The compact form of a receipt, `header.claims.signature`, read strictly: one header,
//! one encoding, no member twice.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use super::public_key::SIGNATURE_LEN_BYTES;
use super::{Claims, RECEIPT_TYPE, ReceiptKeySet, ReceiptPublicKey, Thumbprint};
use crate::limits::RECEIPT_BYTES;

/// Text that is no receipt. Its text follows "it".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MalformedReceipt {
    /// Too long, or of other parts than three.
    #[error("is no compact JWS, three parts of Base64url with dots between")]
    Form,
    /// Another header than every receipt's.
    #[error("has another header than a receipt's: alg ES256, typ {RECEIPT_TYPE}, and a kid")]
    Header,
    /// Claims that are not a receipt's.
    #[error("lacks claims of a receipt, or has one twice or in another form")]
    Claims,
    /// No signature of ES256.
    #[error("has a signature that is none of ES256")]
    Signature,
}

/// Why a receipt proves nothing. Each text follows "the receipt".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RefusedReceipt {
    /// None of the keys is the one that it names.
    #[error("names a key that is none of the trusted ones")]
    UnknownKey,
    /// The key that it names did not sign it.
    #[error("is not signed by the key that it names, or was altered")]
    Signature,
    /// The keys are another issuer's.
    #[error("names another issuer than that of the keys")]
    Issuer,
    /// Its key did not sign any more.
    #[error("is of a time when its key did not sign any more")]
    KeyRetired,
}

/// The header, which has no other member: one that says how it is to be understood
/// (`crit`, `b64`) or that brings a key along (`jwk`, `jku`, `x5c`) is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A receipt whose signature was not verified: nothing of it may be believed.
#[derive(Clone, Debug)]
pub struct UnverifiedReceipt {
    kid: Thumbprint,
    claims: Claims,
    signed: String,
    signature: [u8; SIGNATURE_LEN_BYTES],
}

impl UnverifiedReceipt {
    /// Reads a receipt; a newline at its end is a text file's.
    pub fn parse(text: &str) -> Result<Self, MalformedReceipt> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        if !RECEIPT_BYTES.allows(text.len()) {
            return Err(MalformedReceipt::Form);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MalformedReceipt::Form);
        };
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| MalformedReceipt::Header)?;
        if header.alg != "ES256" || header.typ != RECEIPT_TYPE {
            return Err(MalformedReceipt::Header);
        }
        let kid = Thumbprint::parse(&header.kid).map_err(|_| MalformedReceipt::Header)?;
        let signature = decode(signature)?.try_into().map_err(|_| MalformedReceipt::Signature)?;
        let claims = decode(claims)?;
        let claims = serde_json::from_slice(&claims).map_err(|_| MalformedReceipt::Claims)?;
        let signed_len = text.rfind('.').unwrap_or_default();
        let signed = text.get(..signed_len).unwrap_or_default().to_owned();
        Ok(Self { kid, claims, signed, signature })
    }

    /// The name of the key that is said to have signed it.
    #[must_use]
    pub const fn kid(&self) -> Thumbprint {
        self.kid
    }

    /// What it says, for people to see.
    #[must_use]
    pub const fn unverified_claims(&self) -> &Claims {
        &self.claims
    }

    fn is_signed_by(&self, key: &ReceiptPublicKey) -> bool {
        self.kid == key.thumbprint() && key.verifies(self.signed.as_bytes(), &self.signature)
    }

    /// What it says, if one of these keys signed it while it was the issuer's.
    pub fn verify(self, keys: &ReceiptKeySet) -> Result<Claims, RefusedReceipt> {
        let key = keys.find(self.kid).ok_or(RefusedReceipt::UnknownKey)?;
        if !self.is_signed_by(&key.key) {
            return Err(RefusedReceipt::Signature);
        }
        if keys.issuer().is_some_and(|issuer| self.claims.iss != issuer.to_string()) {
            return Err(RefusedReceipt::Issuer);
        }
        let at = Timestamp::from_second(self.claims.iat).map_err(|_| RefusedReceipt::KeyRetired)?;
        if key.signed_at(at) { Ok(self.claims) } else { Err(RefusedReceipt::KeyRetired) }
    }

    /// What it says, if the key of this thumbprint signed it.
    pub fn verify_by_thumbprint(self, thumbprint: Thumbprint) -> Result<Claims, RefusedReceipt> {
        if self.kid != thumbprint {
            return Err(RefusedReceipt::UnknownKey);
        }
        let key =
            ReceiptPublicKey::of_signature(thumbprint, self.signed.as_bytes(), &self.signature);
        let signed = key.is_some_and(|key| self.is_signed_by(&key));
        if signed { Ok(self.claims) } else { Err(RefusedReceipt::Signature) }
    }
}

/// Base64url without padding (RFC 7515, section 2): bits beyond the last byte are zero.
fn decode(part: &str) -> Result<Vec<u8>, MalformedReceipt> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| MalformedReceipt::Form)
}
