//! Key pairs of asymmetric CMKs: the server's side, with one file for each kind
//! of signature. `wrapping` encrypts and decrypts, as for recipients.
//!
//! | spec | encrypts with | signs with |
//! | --- | --- | --- |
//! | `RSA_2048`, `RSA_3072`, `RSA_4096` | `RSAES_OAEP_SHA_256`, `_SHA_1` | `RSA_PSS_SHA_256`, `RSA_PKCS1_SHA_256` |
//! | `EC_P256`, `EC_P256K` | | `ECDSA_SHA_256` |
//! | `EC_SM2` | `SM2PKE` | `SM2DSA` |
//!
//! ```text
//! KeyPair::generate ──▶ PrivateKeyMaterial (PKCS#8) ──sealed record──▶ KeyPair::from_stored
//! digest ──sign──▶ signature ──verify──▶ yes or no
//! Plaintext ──encrypt──▶ ciphertext ──decrypt──▶ UnwrappedKey
//! ```
//!
//! Every operation with a private key is in constant time, and every private key
//! is wiped when its pair is dropped; the files say by whom. A pair may sign and
//! decrypt at once here: that a CMK does only one of these is `keys`' affair.

mod ecdsa;
mod rsa;
mod sm2_dsa;
mod spec;
#[cfg(test)]
mod tests;
mod verifying;

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rsa::KeySize;
use der::Decode;
use der::pem::LineEnding;
use pkcs8::PrivateKeyInfoRef;
use thiserror::Error;
use zeroize::Zeroizing;

use self::ecdsa::{Curve, EcdsaPrivateKey};
use self::rsa::{Padding, RsaPrivateKey};
use self::sm2_dsa::Sm2PrivateKey;
pub use self::spec::{IllegalSigning, KeyPairSpec, SigningAlgorithm};
pub use self::verifying::{UnfitVerifyingKey, VerifyingKey};
use super::secret::{Plaintext, PrivateKeyMaterial, Reveal, UnwrappedKey};
use super::wrapping::rsa_oaep::OaepHash;
use super::wrapping::{
    IllegalMethod, Sm2CiphertextEncoding, WrapFailed, WrappingAlgorithm, WrappingKey,
    WrappingMethod, sm2_pke,
};

/// No pair was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no key pair could be generated")]
pub struct GenerateKeyPairFailed;

/// Stored bytes that are no private key of the spec. Nothing is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored bytes are not a sound private key of their spec")]
pub struct UnfitKeyPair;

/// Parameters of an encryption that do not go with the pair. Its text says what
/// would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IllegalEncryption {
    /// A pair that only signs.
    #[error("a key pair of {0} does not encrypt; one of RSA or EC_SM2 would do")]
    SignsOnly(KeyPairSpec),
    /// Algorithm or encoding.
    #[error(transparent)]
    Method(#[from] IllegalMethod),
}

/// Nothing was decrypted: not intact, not of a length that could be, encrypted
/// under another key or by another algorithm. Which of these it was is not said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it does not decrypt")]
pub struct DecryptFailed;

/// Nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignFailed {
    /// The pair does not sign so. Callers check it beforehand.
    #[error(transparent)]
    Algorithm(#[from] IllegalSigning),
    /// The signing failed, or what came out did not verify.
    #[error("the signing algorithm failed")]
    Signing,
}

/// A key pair, as loaded from the store.
pub struct KeyPair {
    spec: KeyPairSpec,
    private: PrivateHalf,
    public_key_pem: Box<str>,
    verifying_key: VerifyingKey,
    /// For a pair that encrypts: its public key, judged as a recipient's is.
    wrapping_key: Option<WrappingKey>,
}

/// The private key in the form that its operations need.
enum PrivateHalf {
    Rsa(RsaPrivateKey),
    Ecdsa(EcdsaPrivateKey),
    Sm2(Sm2PrivateKey),
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair")
    }
}

impl KeyPair {
    /// A new pair, and the part of it that is to be stored. RSA takes its time: up to a
    /// second or so for 4096 bits.
    pub fn generate(
        spec: KeyPairSpec,
    ) -> Result<(Self, PrivateKeyMaterial), GenerateKeyPairFailed> {
        let material = generate_material(spec).ok_or(GenerateKeyPairFailed)?;
        let pair = Self::from_pkcs8(spec, material.reveal(Reveal::ToDeriveKeys));
        Ok((pair.ok_or(GenerateKeyPairFailed)?, material))
    }

    /// A pair that was stored: a PKCS#8 `PrivateKeyInfo` in DER. One of another
    /// spec is refused.
    #[expect(clippy::needless_pass_by_value, reason = "it is wiped here")]
    pub fn from_stored(
        spec: KeyPairSpec,
        stored: Zeroizing<Vec<u8>>,
    ) -> Result<Self, UnfitKeyPair> {
        Self::from_pkcs8(spec, &stored).ok_or(UnfitKeyPair)
    }

    fn from_pkcs8(spec: KeyPairSpec, der: &[u8]) -> Option<Self> {
        // aws-lc lets bytes follow the key.
        PrivateKeyInfoRef::from_der(der).ok()?;
        let private = PrivateHalf::from_pkcs8(spec, der)?;
        let public = private.public_key_der()?;
        let public_key_pem = der::pem::encode_string("PUBLIC KEY", LineEnding::LF, &public).ok()?;
        let wrapping_key = spec.wrapping().map(|spec| WrappingKey::parse(spec, &public));
        Some(Self {
            spec,
            private,
            public_key_pem: public_key_pem.into_boxed_str(),
            verifying_key: VerifyingKey::from_spki(spec, &public).ok()?,
            wrapping_key: wrapping_key.transpose().ok()?,
        })
    }

    /// The spec.
    #[must_use]
    pub const fn spec(&self) -> KeyPairSpec {
        self.spec
    }

    /// The public key: a `SubjectPublicKeyInfo` in PEM (RFC 7468), lines of 64
    /// characters, the last one ended too.
    #[must_use]
    pub fn public_key_pem(&self) -> &str {
        &self.public_key_pem
    }

    /// The public key that verifies what the pair signs.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// SHA-256 of the public key in DER, of a pair that encrypts: its name as a
    /// recipient.
    #[must_use]
    pub fn recipient_sha256(&self) -> Option<&[u8; 32]> {
        self.wrapping_key.as_ref().map(WrappingKey::sha256)
    }

    /// Judges how to encrypt with this pair. `encoding` is for SM2 alone; none
    /// is `Asn1Der`.
    pub fn method(
        &self,
        algorithm: WrappingAlgorithm,
        encoding: Option<Sm2CiphertextEncoding>,
    ) -> Result<WrappingMethod, IllegalEncryption> {
        let spec = self.spec.wrapping().ok_or(IllegalEncryption::SignsOnly(self.spec))?;
        Ok(WrappingMethod::new(spec, algorithm, encoding)?)
    }

    /// Encrypts a caller's bytes under the public key.
    pub fn encrypt(
        &self,
        plaintext: &Plaintext,
        method: &WrappingMethod,
    ) -> Result<Vec<u8>, WrapFailed> {
        let key = self.wrapping_key.as_ref().ok_or(WrapFailed::WrongKey)?;
        plaintext.encrypt(key, method)
    }

    /// Decrypts a ciphertext that was made with the public key. Both encodings of SM2 are recognised, by the first byte.
    pub fn decrypt(
        &self,
        algorithm: WrappingAlgorithm,
        ciphertext: &[u8],
    ) -> Result<UnwrappedKey, DecryptFailed> {
        let opened = match (&self.private, algorithm) {
            (PrivateHalf::Rsa(key), WrappingAlgorithm::RsaesOaepSha256) => {
                key.unwrapper.unwrap(OaepHash::Sha256, ciphertext)
            }
            (PrivateHalf::Rsa(key), WrappingAlgorithm::RsaesOaepSha1) => {
                key.unwrapper.unwrap(OaepHash::Sha1, ciphertext)
            }
            (PrivateHalf::Sm2(key), WrappingAlgorithm::Sm2Pke) => {
                sm2_pke::unwrap(key.secret_key(), ciphertext)
            }
            _ => None,
        };
        let mut opened = opened.ok_or(DecryptFailed)?;
        Ok(UnwrappedKey::new(std::mem::take(&mut opened)))
    }

    /// Signs a digest: of SHA-256, or SM2's e.
    pub fn sign(
        &self,
        algorithm: SigningAlgorithm,
        digest: &[u8; 32],
    ) -> Result<Vec<u8>, SignFailed> {
        let signature = match (&self.private, algorithm) {
            (PrivateHalf::Rsa(key), SigningAlgorithm::RsaPssSha256) => {
                key.sign(Padding::Pss, digest)
            }
            (PrivateHalf::Rsa(key), SigningAlgorithm::RsaPkcs1Sha256) => {
                key.sign(Padding::Pkcs1, digest)
            }
            (PrivateHalf::Ecdsa(key), SigningAlgorithm::EcdsaSha256) => key.sign(digest),
            (PrivateHalf::Sm2(key), SigningAlgorithm::Sm2Dsa) => {
                let signature = key.sign(digest);
                signature.filter(|signature| self.verify(algorithm, digest, signature) == Ok(true))
            }
            _ => return Err(IllegalSigning { spec: self.spec, algorithm }.into()),
        };
        signature.ok_or(SignFailed::Signing)
    }

    /// Whether a signature of a digest is valid. One that is malformed is not.
    pub fn verify(
        &self,
        algorithm: SigningAlgorithm,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool, IllegalSigning> {
        self.verifying_key.verify(algorithm, digest, signature)
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let private = match &self.private {
            PrivateHalf::Rsa(key) => key.memory_bytes(),
            PrivateHalf::Ecdsa(_) => ecdsa::KEY_BYTES,
            PrivateHalf::Sm2(_) => 0,
        };
        let wrapping_key = self.wrapping_key.as_ref().map_or(0, WrappingKey::memory_bytes);
        size_of::<Self>()
            + private
            + self.public_key_pem.len()
            + self.verifying_key.memory_bytes()
            + wrapping_key
    }
}

impl PrivateHalf {
    fn from_pkcs8(spec: KeyPairSpec, der: &[u8]) -> Option<Self> {
        match spec {
            KeyPairSpec::Rsa2048 | KeyPairSpec::Rsa3072 | KeyPairSpec::Rsa4096 => {
                // The public half is judged for the size.
                RsaPrivateKey::from_pkcs8(der).map(Self::Rsa)
            }
            KeyPairSpec::EcP256 => EcdsaPrivateKey::from_pkcs8(Curve::P256, der).map(Self::Ecdsa),
            KeyPairSpec::EcP256K => {
                EcdsaPrivateKey::from_pkcs8(Curve::Secp256k1, der).map(Self::Ecdsa)
            }
            KeyPairSpec::EcSm2 => Sm2PrivateKey::from_pkcs8(der).map(Self::Sm2),
        }
    }

    /// A `SubjectPublicKeyInfo` in DER.
    fn public_key_der(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(key) => key.public_key_der(),
            Self::Ecdsa(key) => key.public_key_der(),
            Self::Sm2(key) => key.public_key_der(),
        }
    }
}

fn generate_material(spec: KeyPairSpec) -> Option<PrivateKeyMaterial> {
    match spec {
        KeyPairSpec::Rsa2048 => RsaPrivateKey::generate(KeySize::Rsa2048),
        KeyPairSpec::Rsa3072 => RsaPrivateKey::generate(KeySize::Rsa3072),
        KeyPairSpec::Rsa4096 => RsaPrivateKey::generate(KeySize::Rsa4096),
        KeyPairSpec::EcP256 => EcdsaPrivateKey::generate(Curve::P256),
        KeyPairSpec::EcP256K => EcdsaPrivateKey::generate(Curve::Secp256k1),
        KeyPairSpec::EcSm2 => Sm2PrivateKey::generate(),
    }
}

/// A digest that the caller made, in the form that aws-lc signs and verifies.
fn as_digest(digest: &[u8; 32]) -> Option<Digest> {
    Digest::import_less_safe(digest, &SHA256).ok()
}
