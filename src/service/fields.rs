//! From the contract's fields to the core's types, and refusals that name the
//! field. Everything of a request is parsed before anything is decided.

use std::collections::BTreeMap;

use super::contract_enums::Unspecified;
use super::cost::Cost;
use crate::crypto::ciphertext_blob::CiphertextBlob;
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::key_pair::SigningAlgorithm;
use crate::crypto::recipients::{Recipient, Recipients};
use crate::crypto::wrapping::{
    IllegalMethod, Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKeySpec, WrappingMethod,
};
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::model::rotation::RotationInterval;
use crate::keys::model::tags::Tags;
use crate::limits::{DATA_KEY_BYTES, DATA_KEY_BYTES_DEFAULT, DIGEST_BYTES};
use crate::proto::v1;

/// The encryption context.
pub(super) fn context(
    field: &'static str,
    pairs: BTreeMap<String, String>,
) -> Result<EncryptionContext> {
    EncryptionContext::new(pairs).map_err(|found| Error::invalid(field, found))
}

/// The length of a data key: `number_of_bytes` wins over `key_spec`, whatever
/// that says.
pub(super) fn data_key_len(spec: i32, number_of_bytes: Option<u32>) -> Result<usize> {
    match number_of_bytes {
        Some(bytes) if DATA_KEY_BYTES.allows(bytes) => Ok(bytes as usize),
        Some(bytes) => {
            let found = format_args!("it is {bytes}, and a data key has {DATA_KEY_BYTES}");
            Err(Error::invalid("number_of_bytes", found))
        }
        None => match v1::DataKeySpec::try_from(spec) {
            Ok(v1::DataKeySpec::Unspecified) => Ok(DATA_KEY_BYTES_DEFAULT),
            Ok(v1::DataKeySpec::Aes256) => Ok(32),
            Ok(v1::DataKeySpec::Aes128) => Ok(16),
            Err(_) => Err(unknown_value("key_spec")),
        },
    }
}

/// A ciphertext blob. Any other bytes get the answer of a blob that does not
/// open.
pub(super) fn blob(bytes: &[u8]) -> Result<CiphertextBlob> {
    if bytes.is_empty() {
        return Err(Error::missing("ciphertext_blob"));
    }
    CiphertextBlob::parse(bytes)
        .map_err(|_| Error::from(Rule::BlobDoesNotOpen).blaming("ciphertext_blob"))
}

/// Whose public key, and how to wrap under it.
pub(super) struct Wrapping {
    pub(super) method: WrappingMethod,
    pub(super) recipient: Recipient,
}

/// The four fields that say how a data key leaves.
pub(super) struct WrappingFields<'a> {
    pub(super) public_key_blob: &'a [u8],
    pub(super) wrapping_algorithm: i32,
    pub(super) wrapping_key_spec: i32,
    pub(super) sm2_ciphertext_encoding: i32,
}

impl WrappingFields<'_> {
    pub(super) fn parse(&self, recipients: &Recipients, principal: &str) -> Result<Wrapping> {
        if self.public_key_blob.is_empty() {
            return Err(Error::missing("public_key_blob"));
        }
        let algorithm = wrapping_algorithm("wrapping_algorithm", self.wrapping_algorithm)?;
        let spec = wrapping_key_spec("wrapping_key_spec", self.wrapping_key_spec)?;
        let encoding = sm2_ciphertext_encoding(self.sm2_ciphertext_encoding)?;
        let method = WrappingMethod::new(spec, algorithm, encoding).map_err(|found| {
            let field = match found {
                IllegalMethod::Algorithm { .. } => "wrapping_algorithm",
                IllegalMethod::Encoding { .. } => "sm2_ciphertext_encoding",
            };
            Error::invalid(field, found)
        })?;
        let recipient = recipients
            .find(principal, spec, self.public_key_blob)
            .map_err(|found| Error::invalid("public_key_blob", found))?;
        Ok(Wrapping { method, recipient })
    }
}

impl Wrapping {
    /// The cost of the wrap.
    pub(super) fn cost(&self) -> Cost {
        Cost::of_wrap(self.method.algorithm(), self.recipient.key())
    }

    /// Refuses what is too long for the recipient's key, before any key is
    /// touched.
    pub(super) fn check_fits(&self, field: &'static str, len: usize) -> Result<()> {
        let longest = self.method.longest_data_key_bytes().min(DATA_KEY_BYTES.max);
        if len <= longest {
            return Ok(());
        }
        let found = format_args!(
            "the key to be exported has {len} bytes, and {} with {} takes at most {longest}",
            self.method.spec(),
            self.method.algorithm(),
        );
        Err(Error::invalid(field, found))
    }
}

/// The algorithm to encrypt with under a public key.
pub(super) fn wrapping_algorithm(field: &'static str, value: i32) -> Result<WrappingAlgorithm> {
    chosen::<v1::WrappingAlgorithm, _>(field, value)?.ok_or_else(|| Error::missing(field))
}

fn wrapping_key_spec(field: &'static str, value: i32) -> Result<WrappingKeySpec> {
    chosen::<v1::WrappingKeySpec, _>(field, value)?.ok_or_else(|| Error::missing(field))
}

/// The algorithm to sign a digest with.
pub(super) fn signing_algorithm(field: &'static str, value: i32) -> Result<SigningAlgorithm> {
    chosen::<v1::SigningAlgorithm, _>(field, value)?.ok_or_else(|| Error::missing(field))
}

/// The encoding of SM2 ciphertexts; `None` where it is not given.
pub(super) fn sm2_ciphertext_encoding(value: i32) -> Result<Option<Sm2CiphertextEncoding>> {
    chosen::<v1::Sm2CiphertextEncoding, _>("sm2_ciphertext_encoding", value)
}

/// The core's value of an enum field; `None` where it is not given.
fn chosen<Theirs, Ours>(field: &'static str, value: i32) -> Result<Option<Ours>>
where
    Theirs: TryFrom<i32>,
    Ours: TryFrom<Theirs, Error = Unspecified>,
{
    let value = Theirs::try_from(value).map_err(|_| unknown_value(field))?;
    Ok(Ours::try_from(value).ok())
}

/// The digest that is signed: of SHA-256, or SM2's e.
pub(super) fn digest(field: &'static str, bytes: &[u8]) -> Result<[u8; 32]> {
    if bytes.is_empty() {
        return Err(Error::missing(field));
    }
    bytes.try_into().map_err(|_| {
        let length = bytes.len();
        Error::invalid(
            field,
            format_args!("it has {length} bytes, and a digest has {DIGEST_BYTES}"),
        )
    })
}

/// Bytes that must be there.
pub(super) fn present(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>> {
    if bytes.is_empty() { Err(Error::missing(field)) } else { Ok(bytes) }
}

/// A key version's id. `None`: it is no id, and hence of no version.
pub(super) fn version_id(field: &'static str, text: &str) -> Result<Option<KeyVersionId>> {
    if text.is_empty() { Err(Error::missing(field)) } else { Ok(KeyVersionId::parse(text).ok()) }
}

/// How often a CMK is rotated, if it is at all. With rotation off, callers that
/// hold the interval as a setting of its own send it all the same.
pub(super) fn rotation(on: bool, interval: &str) -> Result<Option<RotationInterval>> {
    let field = "rotation_interval";
    match (on, interval) {
        (true, "") => Err(Error::missing(field)),
        (true, text) => {
            RotationInterval::parse(text).map(Some).map_err(|found| Error::invalid(field, found))
        }
        (false, _) => Ok(None),
    }
}

/// The tags that a request names.
pub(super) fn tags(tags: Vec<v1::Tag>) -> Result<Tags> {
    Tags::parse(tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)))
}

fn unknown_value(field: &'static str) -> Error {
    Error::invalid(field, "it is none of the values that there are")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_bytes_wins_over_any_spec() {
        assert_eq!(data_key_len(0, None).unwrap(), 32);
        assert_eq!(data_key_len(1, None).unwrap(), 32);
        assert_eq!(data_key_len(2, None).unwrap(), 16);
        assert_eq!(data_key_len(2, Some(1024)).unwrap(), 1024);
        assert_eq!(data_key_len(99, Some(1)).unwrap(), 1);
        for (spec, bytes) in [(99, None), (1, Some(0)), (1, Some(1025)), (1, Some(u32::MAX))] {
            assert_eq!(data_key_len(spec, bytes).unwrap_err().rule(), Rule::InvalidParameter);
        }
    }
}
