//! RSA pairs: RSASSA-PSS and RSASSA-PKCS1-v1_5 (RFC 8017, sections 8.1 and
//! 8.2) with SHA-256, over digests that callers give.
//!
//! aws-lc does all of it. Its private operation is in constant time and blinded,
//! checks its own result with the public exponent, so that a fault in one of the
//! two halves of the Chinese remainder does not give a factor away (Boneh,
//! DeMillo and Lipton), and wipes what it frees.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaSignatureEncoding,
};

use super::as_digest;
use crate::crypto::secret::PrivateKeyMaterial;
use crate::crypto::wrapping::rsa_oaep::RsaUnwrapper;

/// How a digest is padded.
#[derive(Clone, Copy)]
pub(super) enum Padding {
    /// EMSA-PSS, with MGF1 of SHA-256 and a salt as long as the digest.
    Pss,
    /// EMSA-PKCS1-v1_5.
    Pkcs1,
}

impl Padding {
    const fn encoding(self) -> &'static RsaSignatureEncoding {
        match self {
            Self::Pss => &RSA_PSS_SHA256,
            Self::Pkcs1 => &RSA_PKCS1_SHA256,
        }
    }
}

/// The private half. The library has one type that signs and one that decrypts.
pub(super) struct RsaPrivateKey {
    signer: RsaKeyPair,
    pub(super) unwrapper: RsaUnwrapper,
}

impl RsaPrivateKey {
    /// A new key in PKCS#8: exponent 65537, primes of aws-lc's DRBG, tested as
    /// FIPS 186-5, appendix A.1.3 asks.
    pub(super) fn generate(size: KeySize) -> Option<PrivateKeyMaterial> {
        let pkcs8 = PrivateDecryptingKey::generate(size).ok()?.as_der().ok()?;
        Some(PrivateKeyMaterial::from_pkcs8(pkcs8.as_ref()))
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let signer = RsaKeyPair::from_pkcs8(der).ok()?;
        Some(Self { signer, unwrapper: RsaUnwrapper::from_pkcs8(der)? })
    }

    /// A `SubjectPublicKeyInfo` in DER.
    pub(super) fn public_key_der(&self) -> Option<Vec<u8>> {
        self.signer.public_key().as_der().ok().map(|der| der.as_ref().to_vec())
    }

    /// As many bytes as the modulus has. A salt is of aws-lc's DRBG.
    pub(super) fn sign(&self, padding: Padding, digest: &[u8; 32]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.signer.public_modulus_len()];
        self.signer.sign_digest(padding.encoding(), &as_digest(digest)?, &mut signature).ok()?;
        Some(signature)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        // Each of the two keys has the modulus 8 times over as numbers, as much
        // again in Montgomery form once it was used, and 2 KiB of structures.
        2 * (2048 + 16 * self.signer.public_modulus_len())
    }
}

/// The public half: the library has a parsed key for each padding.
pub(super) struct RsaVerifier {
    pss: ParsedPublicKey,
    pkcs1: ParsedPublicKey,
}

impl RsaVerifier {
    /// The key of a `SubjectPublicKeyInfo` with a modulus of so many bits.
    pub(super) fn from_spki(der: &[u8], modulus_bits: usize) -> Option<Self> {
        let key = PublicEncryptingKey::from_der(der).ok()?;
        if key.key_size_bits() != modulus_bits {
            return None;
        }
        Some(Self {
            pss: ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, der).ok()?,
            pkcs1: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()?,
        })
    }

    /// A signature is as long as the modulus and below it; a salt has 32 bytes,
    /// and padding is DER of the one form that RFC 8017, section 9.2 has.
    pub(super) fn verify(&self, padding: Padding, digest: &[u8; 32], signature: &[u8]) -> bool {
        let key = match padding {
            Padding::Pss => &self.pss,
            Padding::Pkcs1 => &self.pkcs1,
        };
        as_digest(digest).is_some_and(|digest| key.verify_digest_sig(&digest, signature).is_ok())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        2 * (1024 + 3 * self.pss.as_ref().len())
    }
}
