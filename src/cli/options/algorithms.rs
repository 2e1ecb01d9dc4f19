//! Algorithms and encodings on a command line: the contract's own enums, by the
//! contract's names.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::cli::client::session::Session;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::crypto::wrapping::{WrappingKeySpec, WrappingMethod};
use crate::proto::v1;

impl ValueEnum for v1::WrappingAlgorithm {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::RsaesOaepSha256, Self::RsaesOaepSha1, Self::Sm2pke]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Unspecified => return None,
            Self::RsaesOaepSha256 => "RSA: OAEP with SHA-256 for label and MGF1",
            Self::RsaesOaepSha1 => "RSA: OAEP with SHA-1 for label and MGF1",
            Self::Sm2pke => "SM2 (GB/T 32918.4) with SM3",
        };
        let name = self.as_str_name().trim_start_matches("WRAPPING_ALGORITHM_");
        Some(PossibleValue::new(name).help(help))
    }
}

impl ValueEnum for v1::SigningAlgorithm {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::RsaPssSha256, Self::RsaPkcs1Sha256, Self::EcdsaSha256, Self::Sm2dsa]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Unspecified => return None,
            Self::RsaPssSha256 => "RSA: PSS with SHA-256, salt of 32 bytes",
            Self::RsaPkcs1Sha256 => "RSA: PKCS #1 v1.5 with SHA-256",
            Self::EcdsaSha256 => "ECDSA over a SHA-256 digest",
            Self::Sm2dsa => "SM2 over SM3(ZA || M)",
        };
        Some(PossibleValue::new(signing_name(*self)).help(help))
    }
}

impl ValueEnum for v1::Sm2CiphertextEncoding {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Asn1Der, Self::RawC1c3c2]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Unspecified => None,
            Self::Asn1Der => {
                Some(PossibleValue::new("asn1-der").alias("ASN1_DER").help("GM/T 0009"))
            }
            Self::RawC1c3c2 => Some(
                PossibleValue::new("raw-c1c3c2")
                    .alias("RAW_C1C3C2")
                    .help("04 || x || y || C3 || C2"),
            ),
        }
    }
}

/// The name of a signing algorithm.
pub fn signing_name(algorithm: v1::SigningAlgorithm) -> &'static str {
    algorithm.as_str_name().trim_start_matches("SIGNING_ALGORITHM_")
}

/// The algorithm for a recipient of that spec, where none is named.
pub fn default_algorithm(spec: v1::WrappingKeySpec) -> v1::WrappingAlgorithm {
    use v1::WrappingKeySpec::{EcSm2, Rsa2048, Rsa3072, Rsa4096, Unspecified};
    match spec {
        Unspecified => v1::WrappingAlgorithm::Unspecified,
        Rsa2048 | Rsa3072 | Rsa4096 => v1::WrappingAlgorithm::RsaesOaepSha256,
        EcSm2 => v1::WrappingAlgorithm::Sm2pke,
    }
}

/// The algorithm that a CMK of that spec encrypts with by default. `None`: it does
/// not encrypt.
fn default_encryption(key_spec: &str) -> Option<v1::WrappingAlgorithm> {
    v1::WrappingKeySpec::from_str_name(&format!("WRAPPING_KEY_SPEC_{key_spec}"))
        .map(default_algorithm)
}

/// The algorithm that a CMK of that spec signs with by default. `None`: it does not
/// sign.
fn default_signature(key_spec: &str) -> Option<v1::SigningAlgorithm> {
    match key_spec {
        "EC_SM2" => Some(v1::SigningAlgorithm::Sm2dsa),
        "EC_P256" | "EC_P256K" => Some(v1::SigningAlgorithm::EcdsaSha256),
        spec if spec.starts_with("RSA_") => Some(v1::SigningAlgorithm::RsaPssSha256),
        _ => None,
    }
}

/// The algorithm to encrypt with under a CMK: the one that is named, or the
/// default of the CMK's spec, for which the server is asked.
pub async fn encryption(
    session: &Session,
    key: &str,
    named: Option<v1::WrappingAlgorithm>,
) -> Result<v1::WrappingAlgorithm, Failure> {
    match named {
        Some(algorithm) => Ok(algorithm),
        None => by_key_spec(session, key, default_encryption).await,
    }
}

/// The algorithm to sign with under a CMK, likewise.
pub async fn signing(
    session: &Session,
    key: &str,
    named: Option<v1::SigningAlgorithm>,
) -> Result<v1::SigningAlgorithm, Failure> {
    match named {
        Some(algorithm) => Ok(algorithm),
        None => by_key_spec(session, key, default_signature).await,
    }
}

async fn by_key_spec<A>(
    session: &Session,
    key: &str,
    default: impl Fn(&str) -> Option<A>,
) -> Result<A, Failure> {
    let request = v1::DescribeKeyRequest { key_id: key.to_owned(), dry_run: false };
    let described = session.key_management().describe_key(session.request(request)).await;
    let described = session.lookup(described).map_err(|failure| match failure.exit() {
        Exit::NotPermitted => failure.with_advice(
            "Give --algorithm, so that the server need not be asked what kind of key it is.",
        ),
        _ => failure,
    })?;
    let key_spec = described.key_metadata.unwrap_or_default().key_spec;
    default(&key_spec).ok_or_else(|| {
        Failure::new(
            Exit::Refused,
            format!("{key} is a CMK of spec {key_spec}, which has no algorithm for this."),
            "`keyferry key create --help` lists the kinds of CMKs; --key-spec makes a key pair.",
        )
    })
}

/// Refuses an algorithm or an encoding that does not fit the recipient's key,
/// before the server is asked.
pub fn check_fit(
    spec: WrappingKeySpec,
    algorithm: v1::WrappingAlgorithm,
    encoding: v1::Sm2CiphertextEncoding,
) -> Result<(), Failure> {
    let Ok(algorithm) = algorithm.try_into() else { return Ok(()) };
    let encoding = encoding.try_into().ok();
    WrappingMethod::new(spec, algorithm, encoding).map(drop).map_err(|illegal| {
        Failure::usage(
            format!("The recipient's key is {spec}: {illegal}."),
            "`keyferry recipient show FILE` lists the algorithms that fit.",
        )
    })
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
            let found = (default_encryption(spec), default_signature(spec));
            assert_eq!(found, (encryption, signing), "{spec}");
        }
    }
}
