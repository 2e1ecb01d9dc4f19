//! One line of a batch: its request, and the line that answers it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde_json::{Map, Value};

use super::lines::{InputLine, Lines, MAX_LINE_BYTES};
use super::strict_json::StrictJson;
use crate::cli::failure::Failure;
use crate::cli::io::response::{descriptor, json_line};
use crate::cli::options::algorithms::default_algorithm;
use crate::error::Rule;
use crate::limits::{ITEM_ID_BYTES, REQUEST_BYTES};
use crate::proto::v1;

/// The longest text of a line's fault.
const MAX_FAULT_CHARS: usize = 300;

/// The values of members that a line lacks.
#[derive(Clone, Debug, Default)]
pub struct ItemDefaults {
    /// The recipient's public key and its spec, which go together.
    pub recipient: Option<(Vec<u8>, v1::WrappingKeySpec)>,
    /// The algorithm; if there is none here either, the recipient's spec decides.
    pub algorithm: Option<v1::WrappingAlgorithm>,
    /// For SM2PKE alone.
    pub sm2_encoding: v1::Sm2CiphertextEncoding,
    /// The encryption context.
    pub context: BTreeMap<String, String>,
    /// Whether every item is only checked.
    pub dry_run: bool,
}

/// A line of the batch, read.
#[derive(Clone, Debug)]
pub struct BatchItem {
    /// Its id; by default its line's number.
    pub id: String,
    /// The request, or the fault because of which there is none.
    pub request: Result<v1::ExportDataKeysRequest, v1::ItemError>,
    /// Where the line ends in the batch.
    pub end: u64,
}

/// The items of a batch, in order.
#[derive(Debug)]
pub struct BatchItems<R> {
    lines: Lines<R>,
    number: u64,
    defaults: ItemDefaults,
}

impl<R: BufRead> BatchItems<R> {
    /// From the batch's beginning.
    pub fn new(reader: R, defaults: ItemDefaults) -> Self {
        Self { lines: Lines::new(reader), number: 0, defaults }
    }
}

impl<R: BufRead> Iterator for BatchItems<R> {
    type Item = io::Result<BatchItem>;

    fn next(&mut self) -> Option<io::Result<BatchItem>> {
        let line = self.lines.next().transpose()?;
        self.number += 1;
        Some(line.map(|line| BatchItem {
            end: self.lines.offset(),
            ..BatchItem::read(self.number, &line, &self.defaults)
        }))
    }
}

impl BatchItem {
    /// Reads a line. A fault refuses this item alone.
    fn read(number: u64, line: &InputLine, defaults: &ItemDefaults) -> Self {
        let mut id = number.to_string();
        let request = object(line)
            .and_then(|object| ItemJson::new(object, &mut id))
            .and_then(|item| item.request(&id, defaults))
            .map_err(|fault| fault.error(number));
        Self { id, request, end: 0 }
    }
}

/// The fault of a line.
enum ItemFault {
    Malformed(String),
    TooLarge,
}

impl ItemFault {
    fn error(self, number: u64) -> v1::ItemError {
        let (rule, fault) = match self {
            Self::Malformed(fault) => (Rule::InvalidParameter, fault),
            Self::TooLarge => {
                (Rule::RequestTooLarge, "it makes a request of more than 64 KiB".into())
            }
        };
        let fault: String = fault.chars().take(MAX_FAULT_CHARS).collect();
        v1::ItemError {
            code: rule.code().into(),
            reason: rule.reason().to_owned(),
            message: format!("Line {number} of the batch is not an item: {fault}."),
        }
    }
}

/// A line's JSON.
fn object(line: &InputLine) -> Result<Map<String, Value>, ItemFault> {
    let text = match line {
        InputLine::Whole(text) | InputLine::Cut(text) => text,
        InputLine::TooLong => {
            return Err(ItemFault::Malformed(format!("it has more than {MAX_LINE_BYTES} bytes")));
        }
    };
    match serde_json::from_slice(text) {
        Ok(StrictJson(Value::Object(object))) => Ok(object),
        Ok(_) => Err(ItemFault::Malformed("it is JSON, but not an object".into())),
        Err(error) => Err(ItemFault::Malformed(format!("it is not JSON ({error})"))),
    }
}

/// A line as proto-JSON of ExportDataKeysRequest, and whether it has an
/// encryption context, be it an empty one.
struct ItemJson {
    object: Map<String, Value>,
    has_context: bool,
}

impl ItemJson {
    /// Takes the item's id, and puts the item's fields where the proto has them if
    /// they stand beside the id.
    fn new(mut object: Map<String, Value>, id: &mut String) -> Result<Self, ItemFault> {
        let given = [object.remove("item_id"), object.remove("itemId")];
        for given in given.into_iter().flatten() {
            match given {
                Value::String(given) if given.is_empty() => {}
                Value::String(given) if ITEM_ID_BYTES.allows(given.len()) => *id = given,
                Value::Null => {}
                Value::String(_) => {
                    let fault =
                        format!("its item_id has too many bytes: {ITEM_ID_BYTES} are accepted");
                    return Err(ItemFault::Malformed(fault));
                }
                _ => return Err(ItemFault::Malformed("its item_id is not a string".into())),
            }
        }
        if !object.contains_key("item") {
            object = Map::from_iter([("item".to_owned(), Value::Object(object))]);
        }
        let names = ["encryption_context", "encryptionContext"];
        let context = |name| object.get("item").and_then(|item| item.get(name));
        let has_context = names.into_iter().filter_map(context).any(|context| !context.is_null());
        Ok(Self { object, has_context })
    }

    fn request(
        self,
        id: &str,
        defaults: &ItemDefaults,
    ) -> Result<v1::ExportDataKeysRequest, ItemFault> {
        let has_context = self.has_context;
        let mut request = self.proto()?;
        id.clone_into(&mut request.item_id);
        let mut item = request.item.take().unwrap_or_default();
        defaults.complete(&mut item, has_context);
        request.item = Some(item);
        if !REQUEST_BYTES.allows(request.encoded_len()) {
            return Err(ItemFault::TooLarge);
        }
        Ok(request)
    }

    fn proto(self) -> Result<v1::ExportDataKeysRequest, ItemFault> {
        let malformed = |error: &dyn fmt::Display| ItemFault::Malformed(error.to_string());
        let descriptor = descriptor::<v1::ExportDataKeysRequest>()
            .ok_or_else(|| malformed(&"this program does not know its contract"))?;
        let message = DynamicMessage::deserialize(descriptor, Value::Object(self.object))
            .map_err(|error| malformed(&error))?;
        message.transcode_to().map_err(|error| malformed(&error))
    }
}

impl ItemDefaults {
    fn complete(&self, item: &mut v1::ExportDataKeyRequest, has_context: bool) {
        if let (true, Some((key, spec))) = (item.public_key_blob.is_empty(), &self.recipient) {
            item.public_key_blob.clone_from(key);
            if item.wrapping_key_spec() == v1::WrappingKeySpec::Unspecified {
                item.set_wrapping_key_spec(*spec);
            }
        }
        if item.wrapping_algorithm == 0 {
            let by_spec = || default_algorithm(item.wrapping_key_spec());
            item.set_wrapping_algorithm(self.algorithm.unwrap_or_else(by_spec));
        }
        let is_sm2 = item.wrapping_algorithm() == v1::WrappingAlgorithm::Sm2pke;
        if is_sm2 && item.sm2_ciphertext_encoding == 0 {
            item.set_sm2_ciphertext_encoding(self.sm2_encoding);
        }
        if !has_context {
            item.encryption_context.clone_from(&self.context);
        }
        item.dry_run |= self.dry_run;
    }
}

/// The line of the output that answers an item.
pub fn answer_line(answer: &v1::ExportDataKeysResponse) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&json_line(answer)?).into_owned())
}

/// The beginning of the line that answers an item.
pub fn answer_prefix(id: &str) -> String {
    format!("{{\"item_id\":{},", Value::from(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> ItemDefaults {
        ItemDefaults {
            recipient: Some((b"their key".to_vec(), v1::WrappingKeySpec::EcSm2)),
            sm2_encoding: v1::Sm2CiphertextEncoding::RawC1c3c2,
            context: BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]),
            ..Default::default()
        }
    }

    fn read(line: &str) -> BatchItem {
        BatchItem::read(7, &InputLine::Whole(line.into()), &defaults())
    }

    fn asked(line: &str) -> v1::ExportDataKeyRequest {
        read(line).request.unwrap().item.unwrap()
    }

    #[test]
    fn fields_stand_beside_the_id_or_in_the_item() {
        let beside = read(r#"{"item_id":"a","ciphertext_blob":"AAEC"}"#);
        let within = read(r#"{"itemId":"a","item":{"ciphertextBlob":"AAEC"}}"#);
        assert_eq!(beside.id, "a");
        let beside = beside.request.unwrap();
        assert_eq!(beside.item_id, "a");
        assert_eq!(beside.item.clone().unwrap().ciphertext_blob, [0, 1, 2]);
        assert_eq!(beside, within.request.unwrap());
    }

    #[test]
    fn an_item_without_an_id_gets_its_lines_number() {
        for line in ["{}", r#"{"item_id":""}"#, r#"{"item_id":null}"#] {
            assert_eq!(read(line).id, "7");
            assert_eq!(read(line).request.unwrap().item_id, "7", "{line}");
        }
    }

    #[test]
    fn members_that_a_line_lacks_are_taken_from_the_command_line() {
        let item = asked("{}");
        assert_eq!(item.public_key_blob, b"their key");
        assert_eq!(item.wrapping_key_spec(), v1::WrappingKeySpec::EcSm2);
        assert_eq!(item.wrapping_algorithm(), v1::WrappingAlgorithm::Sm2pke);
        assert_eq!(item.sm2_ciphertext_encoding(), v1::Sm2CiphertextEncoding::RawC1c3c2);
        assert_eq!(item.encryption_context, defaults().context);
        assert!(!item.dry_run);
    }

    #[test]
    fn the_members_of_a_line_come_first() {
        let item = asked(
            r#"{"public_key_blob":"AA==","wrapping_key_spec":"WRAPPING_KEY_SPEC_RSA_2048","encryption_context":{}}"#,
        );
        assert_eq!(item.public_key_blob, [0]);
        assert_eq!(item.wrapping_key_spec(), v1::WrappingKeySpec::Rsa2048);
        assert_eq!(item.wrapping_algorithm(), v1::WrappingAlgorithm::RsaesOaepSha256);
        assert_eq!(item.sm2_ciphertext_encoding, 0, "with RSA it must be left out");
        assert!(item.encryption_context.is_empty(), "an empty one is one");
        let item = asked(r#"{"sm2_ciphertext_encoding":"SM2_CIPHERTEXT_ENCODING_ASN1_DER"}"#);
        assert_eq!(item.sm2_ciphertext_encoding(), v1::Sm2CiphertextEncoding::Asn1Der);
    }

    #[test]
    fn the_spec_of_another_key_is_not_taken() {
        let item = asked(r#"{"public_key_blob":"AA=="}"#);
        assert_eq!((item.wrapping_key_spec, item.wrapping_algorithm), (0, 0));
    }

    #[test]
    fn a_broken_line_is_an_error_of_its_own() {
        for (line, id) in [
            ("", "7"),
            ("no JSON", "7"),
            ("[]", "7"),
            (r#"{"item_id":7}"#, "7"),
            (r#"{"item_id":"a","ciphertext_blob":"!"}"#, "a"),
            (r#"{"item_id":"a","wrapping_algorithm":"RSA"}"#, "a"),
            (r#"{"item_id":"a","unknown":1}"#, "a"),
            (r#"{"item_id":"a","item":{},"ciphertext_blob":""}"#, "a"),
            (r#"{"item_id":"a","encryption_context":{"k":"1","k":"2"}}"#, "7"),
        ] {
            let item = read(line);
            assert_eq!(item.id, id, "{line}");
            let error = item.request.unwrap_err();
            assert_eq!((error.code, error.reason.as_str()), (3, "InvalidParameter"), "{line}");
            assert!(error.message.starts_with("Line 7 of the batch is not an item"), "{error:?}");
        }
        let long = BatchItem::read(1, &InputLine::TooLong, &defaults());
        assert_eq!(long.request.unwrap_err().code, 3);
    }

    #[test]
    fn an_item_that_is_too_large_is_not_sent() {
        let context = "x".repeat(REQUEST_BYTES.max);
        let item = read(&format!(r#"{{"encryption_context":{{"k":"{context}"}}}}"#));
        assert_eq!(item.request.unwrap_err().code, 8);
        let id = "x".repeat(ITEM_ID_BYTES.max + 1);
        assert_eq!(read(&format!(r#"{{"item_id":"{id}"}}"#)).id, "7");
    }

    #[test]
    fn an_answer_begins_with_the_items_id() {
        let error = v1::ItemError { code: 3, reason: "r".into(), message: "m".into() };
        let outcome = v1::export_data_keys_response::Outcome::Error(error);
        for id in ["a", "\"é\u{1b}\n", "7"] {
            let answer = v1::ExportDataKeysResponse {
                item_id: id.to_owned(),
                outcome: Some(outcome.clone()),
            };
            let line = answer_line(&answer).unwrap();
            assert!(line.starts_with(&answer_prefix(id)), "{line}");
            assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
            assert!(line.contains(r#""error":{"code":3,"reason":"r","message":"m"}"#), "{line}");
            assert!(!line.contains("exported"), "{line}");
        }
    }
}
