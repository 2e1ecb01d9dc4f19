//! The public half of a key pair: it verifies signatures.

use std::fmt;

use thiserror::Error;

use super::ecdsa::{self, Curve, EcdsaVerifier};
use super::rsa::{Padding, RsaVerifier};
use super::sm2_dsa::Sm2Verifier;
use super::spec::{IllegalSigning, KeyPairSpec, SigningAlgorithm};

/// A public key that is not one of the spec, or not sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the public key is not a sound one of its spec")]
pub struct UnfitVerifyingKey;

/// A public key that verifies signatures. All that it does is with public
/// bytes, in whatever time it takes.
pub struct VerifyingKey {
    spec: KeyPairSpec,
    verifier: Verifier,
}

enum Verifier {
    Rsa(RsaVerifier),
    Ecdsa(EcdsaVerifier),
    Sm2(Sm2Verifier),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

impl VerifyingKey {
    /// Reads a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7) in DER: of an
    /// RSA key with a modulus of the spec's size, or of a point on the spec's
    /// curve.
    pub fn from_spki(spec: KeyPairSpec, der: &[u8]) -> Result<Self, UnfitVerifyingKey> {
        let rsa = |bits| RsaVerifier::from_spki(der, bits).map(Verifier::Rsa);
        let ecdsa = |curve| EcdsaVerifier::from_spki(curve, der).map(Verifier::Ecdsa);
        let verifier = match spec {
            KeyPairSpec::Rsa2048 => rsa(2048),
            KeyPairSpec::Rsa3072 => rsa(3072),
            KeyPairSpec::Rsa4096 => rsa(4096),
            KeyPairSpec::EcP256 => ecdsa(Curve::P256),
            KeyPairSpec::EcP256K => ecdsa(Curve::Secp256k1),
            KeyPairSpec::EcSm2 => Sm2Verifier::from_spki(der).map(Verifier::Sm2),
        };
        Ok(Self { spec, verifier: verifier.ok_or(UnfitVerifyingKey)? })
    }

    /// Whether a signature of a digest is valid. One that is malformed is not.
    pub fn verify(
        &self,
        algorithm: SigningAlgorithm,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool, IllegalSigning> {
        match (&self.verifier, algorithm) {
            (Verifier::Rsa(key), SigningAlgorithm::RsaPssSha256) => {
                Ok(key.verify(Padding::Pss, digest, signature))
            }
            (Verifier::Rsa(key), SigningAlgorithm::RsaPkcs1Sha256) => {
                Ok(key.verify(Padding::Pkcs1, digest, signature))
            }
            (Verifier::Ecdsa(key), SigningAlgorithm::EcdsaSha256) => {
                Ok(key.verify(digest, signature))
            }
            (Verifier::Sm2(key), SigningAlgorithm::Sm2Dsa) => Ok(key.verify(digest, signature)),
            _ => Err(IllegalSigning { spec: self.spec, algorithm }),
        }
    }

    /// About how much memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.verifier {
                Verifier::Rsa(key) => key.memory_bytes(),
                Verifier::Ecdsa(_) => ecdsa::KEY_BYTES,
                Verifier::Sm2(_) => 0,
            }
    }
}
