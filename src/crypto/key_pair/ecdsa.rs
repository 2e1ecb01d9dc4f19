//! ECDSA (FIPS 186-5, section 6; SEC 1, section 4.1) with SHA-256 on P-256 and
//! secp256k1, over digests that callers give. Signatures are `SEQUENCE { r
//! INTEGER, s INTEGER }` in DER (RFC 3279, section 2.2.3).
//!
//! aws-lc does all of it, in constant time, and wipes what it frees. Its k comes
//! from a DRBG that is seeded by the kernel and takes SHA-512 of private key and
//! digest with it: should two clones of a machine draw alike, they still sign
//! two digests with two k.
//!
//! Either s of the two that are valid, s and n − s, is accepted and may come
//! out: the rule that only the lower one counts is Bitcoin's, not ECDSA's.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1,
    ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};

use super::as_digest;
use crate::crypto::secret::PrivateKeyMaterial;

/// About how much memory a key of aws-lc's takes.
pub(super) const KEY_BYTES: usize = 512;

/// A curve that ECDSA is done on.
#[derive(Clone, Copy)]
pub(super) enum Curve {
    P256,
    Secp256k1,
}

impl Curve {
    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::Secp256k1 => &ECDSA_P256K1_SHA256_ASN1_SIGNING,
        }
    }

    const fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::Secp256k1 => &ECDSA_P256K1_SHA256_ASN1,
        }
    }
}

/// The private half.
pub(super) struct EcdsaPrivateKey(EcdsaKeyPair);

impl EcdsaPrivateKey {
    /// A new key in PKCS#8, of aws-lc's DRBG (FIPS 186-5, appendix A.2.2).
    pub(super) fn generate(curve: Curve) -> Option<PrivateKeyMaterial> {
        let pkcs8 = EcdsaKeyPair::generate(curve.signing()).ok()?.to_pkcs8v1().ok()?;
        Some(PrivateKeyMaterial::from_pkcs8(pkcs8.as_ref()))
    }

    pub(super) fn from_pkcs8(curve: Curve, der: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_pkcs8(curve.signing(), der).ok().map(Self)
    }

    /// A `SubjectPublicKeyInfo` in DER: named curve, uncompressed point.
    pub(super) fn public_key_der(&self) -> Option<Vec<u8>> {
        self.0.public_key().as_der().ok().map(|der| der.as_ref().to_vec())
    }

    pub(super) fn sign(&self, digest: &[u8; 32]) -> Option<Vec<u8>> {
        self.0.sign_digest(&as_digest(digest)?).ok().map(|signature| signature.as_ref().to_vec())
    }
}

/// The public half.
pub(super) struct EcdsaVerifier(ParsedPublicKey);

impl EcdsaVerifier {
    /// The key of a `SubjectPublicKeyInfo` on that curve.
    pub(super) fn from_spki(curve: Curve, der: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(curve.verification(), der).ok().map(Self)
    }

    pub(super) fn verify(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        as_digest(digest).is_some_and(|digest| self.0.verify_digest_sig(&digest, signature).is_ok())
    }
}
