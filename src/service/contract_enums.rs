//! The contract's enums and the core's: each pair of values stands here once.

use crate::crypto::key_pair::SigningAlgorithm;
use crate::crypto::wrapping::{Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKeySpec};
use crate::proto::v1;

/// The value of the contract that stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unspecified;

/// Writes both directions between the two enums of one name.
macro_rules! same_values {
    ($($name:ident { $($theirs:ident = $ours:ident,)+ })+) => {$(
        impl From<$name> for v1::$name {
            fn from(value: $name) -> Self {
                match value { $($name::$ours => Self::$theirs),+ }
            }
        }

        impl TryFrom<v1::$name> for $name {
            type Error = Unspecified;

            fn try_from(value: v1::$name) -> Result<Self, Unspecified> {
                match value {
                    v1::$name::Unspecified => Err(Unspecified),
                    $(v1::$name::$theirs => Ok(Self::$ours),)+
                }
            }
        }
    )+};
}

same_values! {
    WrappingAlgorithm {
        RsaesOaepSha256 = RsaesOaepSha256,
        RsaesOaepSha1 = RsaesOaepSha1,
        Sm2pke = Sm2Pke,
    }
    WrappingKeySpec {
        Rsa2048 = Rsa2048,
        Rsa3072 = Rsa3072,
        Rsa4096 = Rsa4096,
        EcSm2 = EcSm2,
    }
    SigningAlgorithm {
        RsaPssSha256 = RsaPssSha256,
        RsaPkcs1Sha256 = RsaPkcs1Sha256,
        EcdsaSha256 = EcdsaSha256,
        Sm2dsa = Sm2Dsa,
    }
    Sm2CiphertextEncoding {
        Asn1Der = Asn1Der,
        RawC1c3c2 = RawC1C3C2,
    }
}
