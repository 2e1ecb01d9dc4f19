//! The kinds of key pairs, and the algorithms that each signs with.

use std::fmt;

use thiserror::Error;

use crate::crypto::wrapping::WrappingKeySpec;

/// The kind of key pair of an asymmetric CMK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyPairSpec {
    /// RSA with a modulus of exactly 2048 bits.
    Rsa2048,
    /// RSA with a modulus of exactly 3072 bits.
    Rsa3072,
    /// RSA with a modulus of exactly 4096 bits.
    Rsa4096,
    /// The curve P-256 (SP 800-186, section 3.2.1.3).
    EcP256,
    /// The curve secp256k1 (SEC 2, section 2.4.1).
    EcP256K,
    /// The curve sm2p256v1 (GB/T 32918.5).
    EcSm2,
}

impl KeyPairSpec {
    /// Every spec.
    pub const ALL: [Self; 6] =
        [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096, Self::EcP256, Self::EcP256K, Self::EcSm2];

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA_2048",
            Self::Rsa3072 => "RSA_3072",
            Self::Rsa4096 => "RSA_4096",
            Self::EcP256 => "EC_P256",
            Self::EcP256K => "EC_P256K",
            Self::EcSm2 => "EC_SM2",
        }
    }

    /// The spec of its public key as a wrapping key; `None` for a pair that does
    /// not encrypt.
    #[must_use]
    pub const fn wrapping(self) -> Option<WrappingKeySpec> {
        match self {
            Self::Rsa2048 => Some(WrappingKeySpec::Rsa2048),
            Self::Rsa3072 => Some(WrappingKeySpec::Rsa3072),
            Self::Rsa4096 => Some(WrappingKeySpec::Rsa4096),
            Self::EcSm2 => Some(WrappingKeySpec::EcSm2),
            Self::EcP256 | Self::EcP256K => None,
        }
    }

    /// Refuses an algorithm that a pair of this spec does not sign with.
    pub const fn check_signs(self, algorithm: SigningAlgorithm) -> Result<(), IllegalSigning> {
        let fits = match algorithm {
            SigningAlgorithm::RsaPssSha256 | SigningAlgorithm::RsaPkcs1Sha256 => {
                matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
            }
            SigningAlgorithm::EcdsaSha256 => matches!(self, Self::EcP256 | Self::EcP256K),
            SigningAlgorithm::Sm2Dsa => matches!(self, Self::EcSm2),
        };
        if fits { Ok(()) } else { Err(IllegalSigning { spec: self, algorithm }) }
    }

    const fn fitting(self) -> &'static str {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => "RSA_PSS_SHA_256 or RSA_PKCS1_SHA_256",
            Self::EcP256 | Self::EcP256K => "ECDSA_SHA_256",
            Self::EcSm2 => "SM2DSA",
        }
    }
}

impl fmt::Display for KeyPairSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a digest is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    /// RSASSA-PSS (RFC 8017, section 8.1) with SHA-256 for digest and MGF1, and
    /// a salt of 32 bytes.
    RsaPssSha256,
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2) with SHA-256.
    RsaPkcs1Sha256,
    /// ECDSA (FIPS 186-5, section 6) with SHA-256, on either curve.
    EcdsaSha256,
    /// SM2's digital signature (GB/T 32918.2) of e, the digest that includes
    /// Z_A.
    Sm2Dsa,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] =
        [Self::RsaPssSha256, Self::RsaPkcs1Sha256, Self::EcdsaSha256, Self::Sm2Dsa];

    /// Its name in the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RsaPssSha256 => "RSA_PSS_SHA_256",
            Self::RsaPkcs1Sha256 => "RSA_PKCS1_SHA_256",
            Self::EcdsaSha256 => "ECDSA_SHA_256",
            Self::Sm2Dsa => "SM2DSA",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An algorithm that a key pair does not sign with. Its text says which would
/// do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{algorithm} does not go with {spec}; {} would do", .spec.fitting())]
pub struct IllegalSigning {
    /// The pair's spec.
    pub spec: KeyPairSpec,
    /// The algorithm.
    pub algorithm: SigningAlgorithm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_signs_and_says_with_what() {
        for spec in KeyPairSpec::ALL {
            for algorithm in SigningAlgorithm::ALL {
                let judged = spec.check_signs(algorithm);
                let named = spec.fitting().split(" or ").any(|name| name == algorithm.as_str());
                assert_eq!(judged.is_ok(), named, "{spec} {algorithm}");
            }
        }
        assert_eq!(
            KeyPairSpec::EcP256K.check_signs(SigningAlgorithm::Sm2Dsa).unwrap_err().to_string(),
            "SM2DSA does not go with EC_P256K; ECDSA_SHA_256 would do"
        );
    }

    #[test]
    fn a_pair_that_encrypts_has_a_wrapping_key_of_its_name() {
        for spec in KeyPairSpec::ALL {
            assert!(spec.wrapping().is_none_or(|wrapping| wrapping.as_str() == spec.as_str()));
        }
    }
}
