//! Wrapping: a data key under a recipient's public key. One file per method,
//! each with both sides, wrap and unwrap.
//!
//! | wrapping key | algorithm | longest data key |
//! | --- | --- | --- |
//! | `RSA_2048` | `RSAES_OAEP_SHA_256` / `_SHA_1` | 190 / 214 bytes |
//! | `RSA_3072` | the same two | 318 / 342 |
//! | `RSA_4096` | the same two | 446 / 470 |
//! | `EC_SM2` | `SM2PKE` | 1024 |

pub mod mistaken_key;
pub mod public_key;
pub mod rsa_oaep;
pub mod sm2_pke;

use std::fmt;

use thiserror::Error;

use self::public_key::RecipientKey;
pub use self::public_key::{UnfitPublicKey, WrappingKey};
use self::rsa_oaep::OaepHash;
use super::random::RandomUnavailable;
use super::secret::{DataKey, Plaintext, Reveal, UnwrappedKey};
use crate::limits::{DATA_KEY_BYTES, SM2_PLAINTEXT_BYTES};

/// The kind of a recipient's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrappingKeySpec {
    /// RSA with a modulus of exactly 2048 bits.
    Rsa2048,
    /// RSA with a modulus of exactly 3072 bits.
    Rsa3072,
    /// RSA with a modulus of exactly 4096 bits.
    Rsa4096,
    /// The curve sm2p256v1 of GB/T 32918.5.
    EcSm2,
}

impl WrappingKeySpec {
    /// Every spec.
    pub const ALL: [Self; 4] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcSm2];

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA_2048",
            Self::Rsa3072 => "RSA_3072",
            Self::Rsa4096 => "RSA_4096",
            Self::EcSm2 => "EC_SM2",
        }
    }

    /// Bits of an RSA modulus.
    #[must_use]
    pub const fn modulus_bits(self) -> Option<usize> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            Self::EcSm2 => None,
        }
    }
}

impl fmt::Display for WrappingKeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a data key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrappingAlgorithm {
    /// RSA-OAEP with SHA-256 for label and MGF1, empty label.
    RsaesOaepSha256,
    /// RSA-OAEP with SHA-1 for label and MGF1, empty label.
    RsaesOaepSha1,
    /// SM2 public-key encryption (GB/T 32918.4) with SM3.
    Sm2Pke,
}

impl WrappingAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::RsaesOaepSha256, Self::RsaesOaepSha1, Self::Sm2Pke];

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaesOaepSha256 => "RSAES_OAEP_SHA_256",
            Self::RsaesOaepSha1 => "RSAES_OAEP_SHA_1",
            Self::Sm2Pke => "SM2PKE",
        }
    }

    /// The hash of an OAEP algorithm.
    const fn oaep_hash(self) -> Option<OaepHash> {
        match self {
            Self::RsaesOaepSha256 => Some(OaepHash::Sha256),
            Self::RsaesOaepSha1 => Some(OaepHash::Sha1),
            Self::Sm2Pke => None,
        }
    }
}

impl fmt::Display for WrappingAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How SM2 ciphertext is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sm2CiphertextEncoding {
    /// GM/T 0009's `SEQUENCE { x, y, hash, ciphertext }`, in DER.
    #[default]
    Asn1Der,
    /// `04 ‖ x ‖ y ‖ C3 ‖ C2`.
    RawC1C3C2,
}

/// Parameters that do not go together. Its text says what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IllegalMethod {
    /// The algorithm is not one of the wrapping key's.
    #[error("{algorithm} does not go with {spec}; {} would do", fitting(*.spec))]
    Algorithm {
        /// The wrapping key's spec.
        spec: WrappingKeySpec,
        /// The algorithm.
        algorithm: WrappingAlgorithm,
    },
    /// An encoding of SM2 ciphertext for an RSA key.
    #[error("it is for EC_SM2 alone and does not go with {spec}; leave it unspecified")]
    Encoding {
        /// The wrapping key's spec.
        spec: WrappingKeySpec,
    },
}

const fn fitting(spec: WrappingKeySpec) -> &'static str {
    match spec {
        WrappingKeySpec::EcSm2 => "SM2PKE",
        _ => "RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1",
    }
}

/// A legal choice of wrapping key spec, algorithm and encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WrappingMethod {
    spec: WrappingKeySpec,
    mechanism: Mechanism,
}

/// The way a method wraps, with its parameters alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mechanism {
    Oaep(OaepHash, usize),
    Sm2(Sm2CiphertextEncoding),
}

impl WrappingMethod {
    /// Judges a choice. `encoding` is for SM2 alone; none is `Asn1Der`.
    pub fn new(
        spec: WrappingKeySpec,
        algorithm: WrappingAlgorithm,
        encoding: Option<Sm2CiphertextEncoding>,
    ) -> Result<Self, IllegalMethod> {
        let mechanism = match (spec.modulus_bits(), algorithm.oaep_hash(), encoding) {
            (Some(bits), Some(hash), None) => Mechanism::Oaep(hash, bits),
            (None, None, encoding) => Mechanism::Sm2(encoding.unwrap_or_default()),
            (Some(_), Some(_), Some(_)) => return Err(IllegalMethod::Encoding { spec }),
            _ => return Err(IllegalMethod::Algorithm { spec, algorithm }),
        };
        Ok(Self { spec, mechanism })
    }

    /// The wrapping key's spec.
    #[must_use]
    pub const fn spec(&self) -> WrappingKeySpec {
        self.spec
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> WrappingAlgorithm {
        match self.mechanism {
            Mechanism::Oaep(OaepHash::Sha256, _) => WrappingAlgorithm::RsaesOaepSha256,
            Mechanism::Oaep(OaepHash::Sha1, _) => WrappingAlgorithm::RsaesOaepSha1,
            Mechanism::Sm2(_) => WrappingAlgorithm::Sm2Pke,
        }
    }

    /// How the ciphertext of SM2 is written.
    #[must_use]
    pub const fn sm2_encoding(&self) -> Option<Sm2CiphertextEncoding> {
        match self.mechanism {
            Mechanism::Oaep(..) => None,
            Mechanism::Sm2(encoding) => Some(encoding),
        }
    }

    /// The longest data key that it wraps.
    #[must_use]
    pub const fn longest_data_key_bytes(&self) -> usize {
        match self.mechanism {
            Mechanism::Oaep(hash, bits) => hash.longest_message_bytes(bits / 8),
            Mechanism::Sm2(_) => DATA_KEY_BYTES.max,
        }
    }

    /// The longest bytes of a caller's that it encrypts.
    #[must_use]
    pub const fn longest_plaintext_bytes(&self) -> usize {
        match self.mechanism {
            Mechanism::Oaep(..) => self.longest_data_key_bytes(),
            Mechanism::Sm2(_) => SM2_PLAINTEXT_BYTES.max,
        }
    }
}

/// Nothing was wrapped. Callers check lengths and specs beforehand, so that
/// each of these is a fault of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WrapFailed {
    /// The wrapping key is not of the method's spec.
    #[error("the wrapping key is not of the method's spec")]
    WrongKey,
    /// The data key or plaintext is empty or too long for the wrapping key.
    #[error("the message is of a length that the wrapping key cannot carry")]
    Length,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
    /// The algorithm failed.
    #[error("the wrapping algorithm failed")]
    Algorithm,
}

impl DataKey {
    /// A key that was exported elsewhere, if it has the length of a data key.
    pub(crate) fn imported(unwrapped: UnwrappedKey) -> Option<Self> {
        let fits = DATA_KEY_BYTES.allows(unwrapped.len());
        fits.then(|| unwrapped.into_data_key())
    }

    /// Wraps the data key for a recipient, and wipes it.
    pub fn wrap(self, key: &WrappingKey, method: &WrappingMethod) -> Result<Vec<u8>, WrapFailed> {
        wrap(self.reveal(Reveal::ToWrap), method.longest_data_key_bytes(), key, method)
    }
}

impl Plaintext {
    /// Encrypts a caller's bytes under a public key, as anybody with that key
    /// can.
    pub fn encrypt(
        &self,
        key: &WrappingKey,
        method: &WrappingMethod,
    ) -> Result<Vec<u8>, WrapFailed> {
        wrap(self.reveal(Reveal::ToWrap), method.longest_plaintext_bytes(), key, method)
    }
}

fn wrap(
    message: &[u8],
    longest_bytes: usize,
    key: &WrappingKey,
    method: &WrappingMethod,
) -> Result<Vec<u8>, WrapFailed> {
    if !(1..=longest_bytes).contains(&message.len()) {
        return Err(WrapFailed::Length);
    }
    if key.spec() != method.spec {
        return Err(WrapFailed::WrongKey);
    }
    match (key.recipient_key(), method.mechanism) {
        (RecipientKey::Rsa(key), Mechanism::Oaep(hash, _)) => key.wrap(hash, message),
        (RecipientKey::Sm2(key), Mechanism::Sm2(encoding)) => key.wrap(encoding, message),
        _ => Err(WrapFailed::WrongKey),
    }
}

#[cfg(test)]
mod tests {
    use super::WrappingAlgorithm::{RsaesOaepSha1, RsaesOaepSha256, Sm2Pke};
    use super::WrappingKeySpec::{EcSm2, Rsa2048, Rsa3072, Rsa4096};
    use super::*;

    #[test]
    fn every_pair_is_judged() {
        for spec in WrappingKeySpec::ALL {
            for algorithm in WrappingAlgorithm::ALL {
                let is_sm2 = spec == WrappingKeySpec::EcSm2;
                let legal = is_sm2 == (algorithm == WrappingAlgorithm::Sm2Pke);
                let method = WrappingMethod::new(spec, algorithm, None);
                assert_eq!(method.is_ok(), legal, "{spec} {algorithm}");
                if let Ok(method) = method {
                    assert_eq!((method.spec(), method.algorithm()), (spec, algorithm));
                }
                for encoding in [Sm2CiphertextEncoding::Asn1Der, Sm2CiphertextEncoding::RawC1C3C2] {
                    let method = WrappingMethod::new(spec, algorithm, Some(encoding));
                    assert_eq!(method.is_ok(), legal && is_sm2, "{spec} {algorithm} {encoding:?}");
                    assert!(method.is_err() || method.unwrap().sm2_encoding() == Some(encoding));
                }
            }
        }
    }

    #[test]
    fn an_imported_data_key_has_1_to_1024_bytes() {
        for (len, fits) in [(0, false), (1, true), (1024, true), (1025, false), (6047, false)] {
            let imported = DataKey::imported(UnwrappedKey::new(vec![7; len]));
            assert_eq!(imported.is_some(), fits, "{len}");
            assert!(imported.is_none_or(|key| key.reveal(Reveal::ToSeal) == vec![7; len]));
        }
    }

    #[test]
    fn refusals_say_what_would_do() {
        let refusal = |spec, algorithm, encoding| {
            WrappingMethod::new(spec, algorithm, encoding).expect_err("illegal").to_string()
        };
        assert_eq!(
            refusal(WrappingKeySpec::EcSm2, WrappingAlgorithm::RsaesOaepSha1, None),
            "RSAES_OAEP_SHA_1 does not go with EC_SM2; SM2PKE would do"
        );
        assert_eq!(
            refusal(WrappingKeySpec::Rsa3072, WrappingAlgorithm::Sm2Pke, None),
            "SM2PKE does not go with RSA_3072; RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1 would do"
        );
        assert_eq!(
            refusal(
                WrappingKeySpec::Rsa2048,
                WrappingAlgorithm::RsaesOaepSha256,
                Some(Sm2CiphertextEncoding::Asn1Der)
            ),
            "it is for EC_SM2 alone and does not go with RSA_2048; leave it unspecified"
        );
    }

    #[test]
    fn the_longest_data_keys_are_the_contract_s() {
        let longest = |spec, algorithm| {
            WrappingMethod::new(spec, algorithm, None).expect("legal").longest_data_key_bytes()
        };
        assert_eq!(
            [Rsa2048, Rsa3072, Rsa4096].map(|s| longest(s, RsaesOaepSha256)),
            [190, 318, 446]
        );
        assert_eq!([Rsa2048, Rsa3072, Rsa4096].map(|s| longest(s, RsaesOaepSha1)), [214, 342, 470]);
        assert_eq!(longest(EcSm2, Sm2Pke), 1024);
    }
}
