//! Algorithms and encodings on a command line, by the contract's names.

use clap::ValueEnum;

use super::connection::Session;
use super::exit::Exit;
use super::failure::Failure;
use crate::crypto::wrapping::{
    Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKeySpec, WrappingMethod,
};
use crate::proto::v1;

/// `--algorithm`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AlgorithmName {
    /// RSA: OAEP with SHA-256 for label and MGF1
    #[value(name = "RSAES_OAEP_SHA_256")]
    RsaesOaepSha256,
    /// RSA: OAEP with SHA-1 for label and MGF1
    #[value(name = "RSAES_OAEP_SHA_1")]
    RsaesOaepSha1,
    /// SM2 (GB/T 32918.4) with SM3
    #[value(name = "SM2PKE")]
    Sm2Pke,
}

/// `--algorithm` of signatures
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SigningName {
    /// RSA: PSS with SHA-256, salt of 32 bytes
    #[value(name = "RSA_PSS_SHA_256")]
    RsaPssSha256,
    /// RSA: PKCS #1 v1.5 with SHA-256
    #[value(name = "RSA_PKCS1_SHA_256")]
    RsaPkcs1Sha256,
    /// ECDSA over a SHA-256 digest
    #[value(name = "ECDSA_SHA_256")]
    EcdsaSha256,
    /// SM2 over SM3(ZA || M)
    #[value(name = "SM2DSA")]
    Sm2Dsa,
}

/// `--sm2-encoding`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EncodingName {
    /// GM/T 0009
    #[value(name = "asn1-der", alias = "ASN1_DER")]
    Asn1Der,
    /// 04 || x || y || C3 || C2
    #[value(name = "raw-c1c3c2", alias = "RAW_C1C3C2")]
    RawC1C3C2,
}

impl From<AlgorithmName> for WrappingAlgorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::RsaesOaepSha256 => Self::RsaesOaepSha256,
            AlgorithmName::RsaesOaepSha1 => Self::RsaesOaepSha1,
            AlgorithmName::Sm2Pke => Self::Sm2Pke,
        }
    }
}

impl From<EncodingName> for Sm2CiphertextEncoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Asn1Der => Self::Asn1Der,
            EncodingName::RawC1C3C2 => Self::RawC1C3C2,
        }
    }
}

impl From<SigningName> for v1::SigningAlgorithm {
    fn from(name: SigningName) -> Self {
        match name {
            SigningName::RsaPssSha256 => Self::RsaPssSha256,
            SigningName::RsaPkcs1Sha256 => Self::RsaPkcs1Sha256,
            SigningName::EcdsaSha256 => Self::EcdsaSha256,
            SigningName::Sm2Dsa => Self::Sm2dsa,
        }
    }
}

/// The algorithm that is meant where none is named.
pub fn default_algorithm(spec: WrappingKeySpec) -> WrappingAlgorithm {
    match spec {
        WrappingKeySpec::EcSm2 => WrappingAlgorithm::Sm2Pke,
        WrappingKeySpec::Rsa2048 | WrappingKeySpec::Rsa3072 | WrappingKeySpec::Rsa4096 => {
            WrappingAlgorithm::RsaesOaepSha256
        }
    }
}

/// The same for a recipient as requests name it.
pub fn default_number(spec: v1::WrappingKeySpec) -> v1::WrappingAlgorithm {
    let known = WrappingKeySpec::ALL.into_iter().find(|known| spec_number(*known) == spec);
    known.map_or(v1::WrappingAlgorithm::Unspecified, |known| {
        algorithm_number(default_algorithm(known))
    })
}

/// The same for a CMK of that spec. `None`: it does not encrypt.
fn encryption_of(key_spec: &str) -> Option<v1::WrappingAlgorithm> {
    let known = WrappingKeySpec::ALL.into_iter().find(|known| known.as_str() == key_spec)?;
    Some(algorithm_number(default_algorithm(known)))
}

/// The same for what it signs by.
fn signing_of(key_spec: &str) -> Option<v1::SigningAlgorithm> {
    match key_spec {
        "EC_SM2" => Some(v1::SigningAlgorithm::Sm2dsa),
        "EC_P256" | "EC_P256K" => Some(v1::SigningAlgorithm::EcdsaSha256),
        spec if spec.starts_with("RSA_") => Some(v1::SigningAlgorithm::RsaPssSha256),
        _ => None,
    }
}

/// How a CMK encrypts: as named, or as its spec has it by default, for which the
/// server is asked.
pub async fn encryption(
    session: &Session,
    key: &str,
    named: Option<AlgorithmName>,
) -> Result<v1::WrappingAlgorithm, Failure> {
    match named {
        Some(name) => Ok(algorithm_number(name.into())),
        None => by_spec(session, key, encryption_of).await,
    }
}

/// How a CMK signs, likewise.
pub async fn signing(
    session: &Session,
    key: &str,
    named: Option<SigningName>,
) -> Result<v1::SigningAlgorithm, Failure> {
    match named {
        Some(name) => Ok(name.into()),
        None => by_spec(session, key, signing_of).await,
    }
}

async fn by_spec<A>(
    session: &Session,
    key: &str,
    of: impl Fn(&str) -> Option<A>,
) -> Result<A, Failure> {
    let request = v1::DescribeKeyRequest { key_id: key.to_owned(), dry_run: false };
    let asked = session.key_management().describe_key(session.request(request)).await;
    let described = session.learnt(asked).map_err(|failure| match failure.exit() {
        Exit::NotPermitted => failure.advising(
            "Give --algorithm, so that the server need not be asked what kind of key it is.",
        ),
        _ => failure,
    })?;
    let key_spec = described.key_metadata.unwrap_or_default().key_spec;
    of(&key_spec).ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            format!("{key} is a CMK of spec {key_spec}, which has no algorithm for this."),
            "`keyferry key create --help` says what CMKs there are; --key-spec makes a key pair.",
        )
    })
}

/// Refuses an algorithm or an encoding that the key cannot have, before the
/// server is asked.
pub fn fits(
    spec: WrappingKeySpec,
    algorithm: WrappingAlgorithm,
    encoding: Option<EncodingName>,
) -> Result<(), Failure> {
    WrappingMethod::new(spec, algorithm, encoding.map(Into::into)).map(drop).map_err(|illegal| {
        Failure::usage(
            format!("The recipient's key is {}: {illegal}.", spec.as_str()),
            "`keyferry recipient show FILE` lists what fits.",
        )
    })
}

pub fn spec_number(spec: WrappingKeySpec) -> v1::WrappingKeySpec {
    match spec {
        WrappingKeySpec::Rsa2048 => v1::WrappingKeySpec::Rsa2048,
        WrappingKeySpec::Rsa3072 => v1::WrappingKeySpec::Rsa3072,
        WrappingKeySpec::Rsa4096 => v1::WrappingKeySpec::Rsa4096,
        WrappingKeySpec::EcSm2 => v1::WrappingKeySpec::EcSm2,
    }
}

pub fn algorithm_number(algorithm: WrappingAlgorithm) -> v1::WrappingAlgorithm {
    match algorithm {
        WrappingAlgorithm::RsaesOaepSha256 => v1::WrappingAlgorithm::RsaesOaepSha256,
        WrappingAlgorithm::RsaesOaepSha1 => v1::WrappingAlgorithm::RsaesOaepSha1,
        WrappingAlgorithm::Sm2Pke => v1::WrappingAlgorithm::Sm2pke,
    }
}

pub fn encoding_number(encoding: Option<EncodingName>) -> v1::Sm2CiphertextEncoding {
    match encoding {
        None => v1::Sm2CiphertextEncoding::Unspecified,
        Some(EncodingName::Asn1Der) => v1::Sm2CiphertextEncoding::Asn1Der,
        Some(EncodingName::RawC1C3C2) => v1::Sm2CiphertextEncoding::RawC1c3c2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_has_the_algorithm_that_fits_it() {
        use v1::{SigningAlgorithm as Signing, WrappingAlgorithm as Wrapping};
        for (spec, encryption, signing) in [
            ("Aliyun_AES_256", None, None),
            ("RSA_2048", Some(Wrapping::RsaesOaepSha256), Some(Signing::RsaPssSha256)),
            ("RSA_4096", Some(Wrapping::RsaesOaepSha256), Some(Signing::RsaPssSha256)),
            ("EC_P256", None, Some(Signing::EcdsaSha256)),
            ("EC_P256K", None, Some(Signing::EcdsaSha256)),
            ("EC_SM2", Some(Wrapping::Sm2pke), Some(Signing::Sm2dsa)),
        ] {
            assert_eq!((encryption_of(spec), signing_of(spec)), (encryption, signing), "{spec}");
        }
    }
}
