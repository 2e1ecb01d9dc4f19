//! The recipient's side: a private key that unwraps exported data keys. For
//! the command line and tests; the server holds no recipient's private key.

use std::fmt;

use der::pem::LineEnding;
use der::{Decode, SecretDocument};
use elliptic_curve::Generate;
use pkcs8::{EncodePrivateKey, EncodePublicKey, PrivateKeyInfoRef};
use rsa::traits::PublicKeyParts;
use sm2::SecretKey;
use thiserror::Error;
use zeroize::Zeroizing;

use super::pem::{self, PRIVATE_KEY_LABEL};
use super::random::KernelRng;
use super::secret::UnwrappedKey;
use super::wrapping::rsa_oaep::{OaepHash, RsaUnwrapper};
use super::wrapping::{WrappingAlgorithm, WrappingKeySpec, sm2_pke};

/// The longest PEM that is read: a key of 4096 bits has 3.3 KiB.
pub const MAX_PEM_BYTES: usize = 16 * 1024;

/// A private key that is refused. Its text says what was found and what would
/// do, and nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnfitPrivateKey {
    /// Not PEM.
    #[error("it is not PEM; a PKCS#8 PRIVATE KEY in PEM would do")]
    NotPem,
    /// Too long to be a key.
    #[error("it has more than {MAX_PEM_BYTES} bytes; a PKCS#8 PRIVATE KEY in PEM would do")]
    TooLong,
    /// Encrypted under a passphrase.
    #[error(
        "it is encrypted under a passphrase; decrypt it first: openssl pkcs8 -in KEY -out CLEAR"
    )]
    Encrypted,
    /// PKCS#1 or SEC 1.
    #[error(
        "it is a private key in an older form than PKCS#8; convert it first: \
         openssl pkcs8 -topk8 -nocrypt -in KEY -out PKCS8"
    )]
    OlderForm,
    /// A public key.
    #[error("it is a public key; the private key that belongs to it would do")]
    PublicKey,
    /// PEM of something else.
    #[error("it is PEM of something else; a PKCS#8 PRIVATE KEY in PEM would do")]
    OtherPem,
    /// PKCS#8, but not a sound key of a kind that unwraps.
    #[error("it is not a sound RSA or SM2 key in PKCS#8; one of those would do")]
    Unsound,
    /// RSA of another size.
    #[error("its RSA modulus has {0} bits; 2048, 3072 or 4096 would do")]
    ModulusBits(u32),
}

/// Nothing was unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnwrapFailed {
    /// The algorithm is not one of the key's.
    #[error("{algorithm} does not go with a private key of {spec}")]
    WrongAlgorithm {
        /// The private key's spec.
        spec: WrappingKeySpec,
        /// The algorithm.
        algorithm: WrappingAlgorithm,
    },
    /// It did not unwrap: not intact, wrapped for another key, or by another
    /// algorithm. Which of these it was is not said.
    #[error("it does not unwrap: not intact, for another key, or by another algorithm")]
    DoesNotOpen,
}

/// No key was generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no private key could be generated")]
pub struct GeneratePrivateKeyFailed;

/// A recipient's private key.
pub struct RecipientPrivateKey {
    spec: WrappingKeySpec,
    pem: Zeroizing<String>,
    public_key_der: Vec<u8>,
    unwrapper: Unwrapper,
}

/// The key in the form that unwrapping needs.
enum Unwrapper {
    Rsa(RsaUnwrapper),
    Sm2(SecretKey),
}

impl fmt::Debug for RecipientPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientPrivateKey")
    }
}

impl RecipientPrivateKey {
    /// Reads PKCS#8 (RFC 5958) in PEM, of any lax form.
    pub fn parse_pem(pem: &[u8]) -> Result<Self, UnfitPrivateKey> {
        if pem.len() > MAX_PEM_BYTES {
            return Err(UnfitPrivateKey::TooLong);
        }
        let block = pem::one_block(pem).map_err(|_| UnfitPrivateKey::NotPem)?;
        judge_label(block.label)?;
        let pkcs8 = block.decode().map_err(|_| UnfitPrivateKey::NotPem)?;
        Self::parse_der(&pkcs8)
    }

    /// Reads PKCS#8 in DER.
    pub fn parse_der(pkcs8: &[u8]) -> Result<Self, UnfitPrivateKey> {
        let info = PrivateKeyInfoRef::from_der(pkcs8).map_err(|_| UnfitPrivateKey::Unsound)?;
        if let Ok(key) = rsa::PrivateKey::try_from(info.clone()) {
            return Self::from_rsa(&key);
        }
        let key = SecretKey::try_from(info).map_err(|_| UnfitPrivateKey::Unsound)?;
        Self::from_sm2(key).ok_or(UnfitPrivateKey::Unsound)
    }

    /// A new key.
    pub fn generate(spec: WrappingKeySpec) -> Result<Self, GeneratePrivateKeyFailed> {
        let Some(bits) = spec.modulus_bits() else {
            let key = SecretKey::try_generate_from_rng(&mut KernelRng);
            return key.ok().and_then(Self::from_sm2).ok_or(GeneratePrivateKeyFailed);
        };
        let key =
            rsa::PrivateKey::new(&mut KernelRng, bits).map_err(|_| GeneratePrivateKeyFailed)?;
        Self::from_rsa(&key).map_err(|_| GeneratePrivateKeyFailed)
    }

    fn from_rsa(key: &rsa::PrivateKey) -> Result<Self, UnfitPrivateKey> {
        let bits = key.n().bit_width_vartime();
        let spec = WrappingKeySpec::ALL
            .into_iter()
            .find(|spec| spec.modulus_bits() == usize::try_from(bits).ok())
            .ok_or(UnfitPrivateKey::ModulusBits(bits))?;
        let parts = || {
            let pkcs8 = key.to_pkcs8_der().ok()?;
            let public = key.as_public_key().to_public_key_der().ok()?.into_vec();
            let unwrapper = Unwrapper::Rsa(RsaUnwrapper::from_pkcs8(pkcs8.as_bytes())?);
            Some(Self { spec, pem: to_pem(&pkcs8)?, public_key_der: public, unwrapper })
        };
        parts().ok_or(UnfitPrivateKey::Unsound)
    }

    fn from_sm2(key: SecretKey) -> Option<Self> {
        let pkcs8 = key.to_pkcs8_der().ok()?;
        let public_key_der = key.public_key().to_public_key_der().ok()?.into_vec();
        let spec = WrappingKeySpec::EcSm2;
        Some(Self { spec, pem: to_pem(&pkcs8)?, public_key_der, unwrapper: Unwrapper::Sm2(key) })
    }

    /// The spec of the wrapping key that it belongs to.
    #[must_use]
    pub const fn spec(&self) -> WrappingKeySpec {
        self.spec
    }

    /// The public half: a `SubjectPublicKeyInfo` in DER.
    #[must_use]
    pub fn public_key_der(&self) -> &[u8] {
        &self.public_key_der
    }

    /// The private key in PKCS#8 and PEM, for a file of its owner's.
    #[must_use]
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        self.pem.clone()
    }

    /// Unwraps what was exported for this key. No algorithm is
    /// `RSAES_OAEP_SHA_256` for RSA and `SM2PKE` for SM2; both encodings of SM2
    /// are recognised.
    pub fn unwrap(
        &self,
        algorithm: Option<WrappingAlgorithm>,
        exported: &[u8],
    ) -> Result<UnwrappedKey, UnwrapFailed> {
        let opened = match (&self.unwrapper, algorithm) {
            (Unwrapper::Rsa(key), None | Some(WrappingAlgorithm::RsaesOaepSha256)) => {
                key.unwrap(OaepHash::Sha256, exported)
            }
            (Unwrapper::Rsa(key), Some(WrappingAlgorithm::RsaesOaepSha1)) => {
                key.unwrap(OaepHash::Sha1, exported)
            }
            (Unwrapper::Sm2(key), None | Some(WrappingAlgorithm::Sm2Pke)) => {
                sm2_pke::unwrap(key, exported)
            }
            (_, Some(algorithm)) => {
                return Err(UnwrapFailed::WrongAlgorithm { spec: self.spec, algorithm });
            }
        };
        let mut opened = opened.ok_or(UnwrapFailed::DoesNotOpen)?;
        Ok(UnwrappedKey::new(std::mem::take(&mut opened)))
    }
}

fn to_pem(pkcs8: &SecretDocument) -> Option<Zeroizing<String>> {
    pkcs8.to_pem(PRIVATE_KEY_LABEL, LineEnding::LF).ok()
}

fn judge_label(label: &str) -> Result<(), UnfitPrivateKey> {
    match label {
        PRIVATE_KEY_LABEL => Ok(()),
        "ENCRYPTED PRIVATE KEY" => Err(UnfitPrivateKey::Encrypted),
        "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "SM2 PRIVATE KEY" => Err(UnfitPrivateKey::OlderForm),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Err(UnfitPrivateKey::PublicKey),
        _ => Err(UnfitPrivateKey::OtherPem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::{DataKey, Reveal};
    use crate::crypto::wrapping::{Sm2CiphertextEncoding, WrappingKey, WrappingMethod};

    fn round_trip(key: &RecipientPrivateKey, method: WrappingMethod, len_bytes: usize) {
        let public = WrappingKey::parse(key.spec(), key.public_key_der()).expect("our own key");
        let data_key = DataKey::random(len_bytes).expect("random");
        let expected = data_key.reveal(Reveal::ToCaller).to_vec();
        let exported = data_key.wrap(&public, &method).expect("wrapped");
        let opened = key.unwrap(Some(method.algorithm()), &exported).expect("unwraps");
        assert_eq!(opened.reveal(Reveal::ToFile), expected);
        let mut broken = exported.clone();
        *broken.last_mut().expect("not empty") ^= 1;
        let refused = key.unwrap(Some(method.algorithm()), &broken).err();
        assert_eq!(refused, Some(UnwrapFailed::DoesNotOpen));
    }

    fn every_method(key: &RecipientPrivateKey) {
        for algorithm in WrappingAlgorithm::ALL {
            let Ok(method) = WrappingMethod::new(key.spec(), algorithm, None) else {
                let refused = key.unwrap(Some(algorithm), &[]).err();
                let expected = UnwrapFailed::WrongAlgorithm { spec: key.spec(), algorithm };
                assert_eq!(refused, Some(expected));
                continue;
            };
            for len_bytes in [1, 16, 32, method.longest_data_key_bytes()] {
                round_trip(key, method, len_bytes);
            }
            let public = WrappingKey::parse(key.spec(), key.public_key_der()).expect("a key");
            for len_bytes in [0, method.longest_data_key_bytes() + 1] {
                let refused = DataKey::random(len_bytes).expect("random").wrap(&public, &method);
                assert_eq!(refused, Err(crate::crypto::wrapping::WrapFailed::Length));
            }
        }
    }

    #[test]
    fn an_rsa_key_makes_the_round_trip() {
        let key = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).expect("a key");
        every_method(&key);
        let again = RecipientPrivateKey::parse_pem(key.to_pkcs8_pem().as_bytes()).expect("a key");
        assert_eq!(again.public_key_der(), key.public_key_der());
        assert_eq!(again.to_pkcs8_pem(), key.to_pkcs8_pem());
    }

    #[test]
    fn an_sm2_key_makes_the_round_trip() {
        let key = RecipientPrivateKey::generate(WrappingKeySpec::EcSm2).expect("a key");
        every_method(&key);
        let again = RecipientPrivateKey::parse_pem(key.to_pkcs8_pem().as_bytes()).expect("a key");
        assert_eq!(again.public_key_der(), key.public_key_der());
        for encoding in [Sm2CiphertextEncoding::Asn1Der, Sm2CiphertextEncoding::RawC1C3C2] {
            let method = WrappingMethod::new(key.spec(), WrappingAlgorithm::Sm2Pke, Some(encoding));
            round_trip(&again, method.expect("legal"), 32);
        }
    }

    #[test]
    fn a_key_of_another_spec_wraps_nothing() {
        let key = RecipientPrivateKey::generate(WrappingKeySpec::EcSm2).expect("a key");
        let public = WrappingKey::parse(key.spec(), key.public_key_der()).expect("a key");
        let method =
            WrappingMethod::new(WrappingKeySpec::Rsa2048, WrappingAlgorithm::RsaesOaepSha256, None);
        let wrapped = DataKey::random(16).expect("random").wrap(&public, &method.expect("legal"));
        assert_eq!(wrapped, Err(crate::crypto::wrapping::WrapFailed::WrongKey));
    }

    #[test]
    fn debug_prints_the_name_of_the_type_alone() {
        let key = RecipientPrivateKey::generate(WrappingKeySpec::EcSm2).expect("a key");
        assert_eq!(format!("{key:?}"), "RecipientPrivateKey");
    }

    #[test]
    fn refusals_say_what_would_do() {
        let refusal = |pem: &str| RecipientPrivateKey::parse_pem(pem.as_bytes()).unwrap_err();
        let labelled = |label: &str| {
            refusal(&format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"))
        };
        assert_eq!(refusal(""), UnfitPrivateKey::NotPem);
        assert_eq!(refusal(&"a".repeat(MAX_PEM_BYTES + 1)), UnfitPrivateKey::TooLong);
        assert_eq!(labelled("PRIVATE KEY"), UnfitPrivateKey::Unsound);
        assert_eq!(labelled("ENCRYPTED PRIVATE KEY"), UnfitPrivateKey::Encrypted);
        assert_eq!(labelled("RSA PRIVATE KEY"), UnfitPrivateKey::OlderForm);
        assert_eq!(labelled("EC PRIVATE KEY"), UnfitPrivateKey::OlderForm);
        assert_eq!(labelled("PUBLIC KEY"), UnfitPrivateKey::PublicKey);
        assert_eq!(labelled("CERTIFICATE"), UnfitPrivateKey::OtherPem);
        assert!(labelled("RSA PRIVATE KEY").to_string().contains("openssl pkcs8 -topk8"));
        let small = rsa::PrivateKey::new(&mut KernelRng, 1024).expect("a key");
        let pem = small.to_pkcs8_pem(LineEnding::LF).expect("PEM");
        assert_eq!(refusal(&pem), UnfitPrivateKey::ModulusBits(1024));
    }
}
