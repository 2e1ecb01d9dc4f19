//! `--public-key` and its options: the recipient that a data key is encrypted for.

use clap::Args;

use super::public_key;
use crate::cli::failure::Failure;
use crate::cli::io::input::Input;
use crate::cli::options::algorithms::{check_fit, default_algorithm};
use crate::proto::v1;

/// A recipient, and how to encrypt for it.
#[derive(Args, Debug)]
pub struct RecipientArgs {
    /// The recipient's public key (SubjectPublicKeyInfo), PEM or DER: RSA of
    /// 2048, 3072 or 4096 bits, or SM2. `keyferry recipient show` checks it
    #[arg(long, value_name = "FILE")]
    public_key: Option<Input>,
    /// How to encrypt under it; by default RSAES_OAEP_SHA_256 for RSA and
    /// SM2PKE for SM2
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<v1::WrappingAlgorithm>,
    /// The layout of SM2 ciphertext; by default asn1-der, which OpenSSL and
    /// GmSSL read
    #[arg(long, value_name = "ENCODING", ignore_case = true)]
    sm2_encoding: Option<v1::Sm2CiphertextEncoding>,
}

/// The recipient's fields of a request.
#[derive(Clone, Debug)]
pub struct RecipientFields {
    /// The key in our own encoding, which its digest is of.
    pub public_key_blob: Vec<u8>,
    /// The kind of key.
    pub wrapping_key_spec: v1::WrappingKeySpec,
    /// How to encrypt under it.
    pub wrapping_algorithm: v1::WrappingAlgorithm,
    /// For SM2 alone.
    pub sm2_ciphertext_encoding: v1::Sm2CiphertextEncoding,
}

impl RecipientArgs {
    /// The file of the public key, if one is named.
    pub fn file(&self) -> Option<&Input> {
        self.public_key.as_ref()
    }

    /// The algorithm, if one is named.
    pub fn algorithm(&self) -> Option<v1::WrappingAlgorithm> {
        self.algorithm
    }

    /// The encoding, unspecified if none is named.
    pub fn sm2_encoding(&self) -> v1::Sm2CiphertextEncoding {
        self.sm2_encoding.unwrap_or_default()
    }

    /// Reads and checks the recipient, which must be named.
    pub fn read(&self) -> Result<RecipientFields, Failure> {
        let recipient = self.read_if_named()?;
        recipient.ok_or_else(|| {
            Failure::usage("There is no recipient.", "Give its public key: --public-key FILE.")
        })
    }

    /// Reads and checks the recipient, if one is named.
    pub fn read_if_named(&self) -> Result<Option<RecipientFields>, Failure> {
        let Some(file) = &self.public_key else { return Ok(None) };
        let key = public_key::read(file)?;
        let spec = key.spec().into();
        let algorithm = self.algorithm.unwrap_or_else(|| default_algorithm(spec));
        check_fit(key.spec(), algorithm, self.sm2_encoding())?;
        Ok(Some(RecipientFields {
            public_key_blob: key.to_der().to_vec(),
            wrapping_key_spec: spec,
            wrapping_algorithm: algorithm,
            sm2_ciphertext_encoding: self.sm2_encoding(),
        }))
    }
}
