//! `--public-key` and what goes with it: who a data key is encrypted for.

use clap::Args;

use super::algorithms::{
    AlgorithmName, EncodingName, algorithm_number, default_algorithm, encoding_number, fits,
    spec_number,
};
use super::failure::Failure;
use super::files::Input;
use super::recipient;
use crate::proto::v1;

/// A recipient, and how to encrypt for it.
#[derive(Args, Debug)]
pub struct RecipientArgs {
    /// The recipient's public key (SubjectPublicKeyInfo), PEM or DER: RSA of
    /// 2048, 3072 or 4096 bits, or SM2. `keyferry recipient show` judges it
    #[arg(long, value_name = "FILE")]
    public_key: Option<Input>,
    /// How to encrypt under it; by default RSAES_OAEP_SHA_256 for RSA and
    /// SM2PKE for SM2
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<AlgorithmName>,
    /// How SM2 ciphertext is laid out: asn1-der, also the default, is what
    /// OpenSSL and GmSSL read
    #[arg(long, value_name = "ENCODING", ignore_case = true)]
    sm2_encoding: Option<EncodingName>,
}

/// A recipient as requests name it.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Our own encoding of the key: what its digest is of.
    pub public_key_blob: Vec<u8>,
    /// What the key is.
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
        self.algorithm.map(|name| algorithm_number(name.into()))
    }

    /// The encoding, unspecified if none is named.
    pub fn sm2_encoding(&self) -> v1::Sm2CiphertextEncoding {
        encoding_number(self.sm2_encoding)
    }

    /// The recipient, which must be named.
    pub fn read(&self) -> Result<Recipient, Failure> {
        let found = self.read_if_named()?;
        found.ok_or_else(|| {
            Failure::usage("There is no recipient.", "Give its public key: --public-key FILE.")
        })
    }

    /// Reads and judges the recipient, if one is named.
    pub fn read_if_named(&self) -> Result<Option<Recipient>, Failure> {
        let Some(file) = &self.public_key else { return Ok(None) };
        let key = recipient::read(file)?;
        let by_default = || default_algorithm(key.spec());
        let algorithm = self.algorithm.map_or_else(by_default, Into::into);
        fits(key.spec(), algorithm, self.sm2_encoding)?;
        Ok(Some(Recipient {
            public_key_blob: key.to_der().to_vec(),
            wrapping_key_spec: spec_number(key.spec()),
            wrapping_algorithm: algorithm_number(algorithm),
            sm2_ciphertext_encoding: self.sm2_encoding(),
        }))
    }
}
