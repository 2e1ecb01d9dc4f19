//! The cost of cryptography, in units of an RSA wrap. It is admitted by weight: a
//! principal that asks for much heavy work waits for itself, and others pass.
//!
//! The weights are measured as time of the whole RPC above that of an empty one
//! (`cargo bench`). The generation of RSA keys has a queue of its own
//! (`private_key_pool.rs`), and changes are written one after the other: both count
//! towards quotas alone (`quotas.rs`).

use crate::crypto::key_pair::SigningAlgorithm;
use crate::crypto::wrapping::{WrappingAlgorithm, WrappingKey};
use crate::rate::LEAST_BURST;

/// Of a request, whatever it asks for.
pub const REQUEST: u32 = 1;
/// Of a change, which is written and synced to the disk.
pub(super) const CHANGE: u32 = 20;
/// Of a receipt: an ECDSA signature.
pub(super) const RECEIPT: u32 = 1;
/// Of the generation of an RSA key, the most costly operation of all.
pub(super) const RSA_GENERATION: u32 = 2000;
/// The most that a request has used before its last operation.
pub(super) const BEFORE: u32 = REQUEST + CHANGE;
const _: () = assert!(BEFORE + RSA_GENERATION <= LEAST_BURST.get(), "it fits into every quota");

/// The cost of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// An operation with an RSA public key.
    RsaPublic,
    /// One with an SM2 public key for which there is a table.
    Sm2Prepared,
    /// One with any other public key on a curve.
    CurvePublic,
    /// One with a private key.
    Private,
}

impl Cost {
    /// Its weight.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::RsaPublic => 1,
            Self::Sm2Prepared => 4,
            Self::CurvePublic => 7,
            Self::Private => 40,
        }
    }

    /// Of wrapping under a recipient's key.
    pub(super) fn of_wrap(algorithm: WrappingAlgorithm, key: &WrappingKey) -> Self {
        match Self::of_encryption(algorithm) {
            Self::CurvePublic if key.is_prepared() => Self::Sm2Prepared,
            cost => cost,
        }
    }

    /// Of encrypting under the public key of a CMK.
    pub(super) const fn of_encryption(algorithm: WrappingAlgorithm) -> Self {
        match algorithm {
            WrappingAlgorithm::RsaesOaepSha256 | WrappingAlgorithm::RsaesOaepSha1 => {
                Self::RsaPublic
            }
            WrappingAlgorithm::Sm2Pke => Self::CurvePublic,
        }
    }

    /// Of verifying a signature.
    pub(super) const fn of_verification(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::RsaPssSha256 | SigningAlgorithm::RsaPkcs1Sha256 => Self::RsaPublic,
            SigningAlgorithm::EcdsaSha256 | SigningAlgorithm::Sm2Dsa => Self::CurvePublic,
        }
    }
}
