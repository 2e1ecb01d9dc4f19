//! One line of a batch: what it asks for, and what is told of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use prost::Message as _;
use prost_reflect::DynamicMessage;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::lines::{Line, Lines, MAX_LINE_BYTES};
use crate::cli::algorithms::default_number;
use crate::cli::failure::Failure;
use crate::cli::output::{Answer, descriptor, json_line};
use crate::error::Rule;
use crate::proto::v1;
use crate::service::export_stream::MAX_ITEM_ID_BYTES;
use crate::service::grpc::MAX_REQUEST_BYTES;

/// Longest text of what is wrong with a line.
const MAX_FOUND_CHARS: usize = 300;

/// What is meant where a line does not say.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The recipient's public key, and what it is: they go together.
    pub recipient: Option<(Vec<u8>, v1::WrappingKeySpec)>,
    /// How to encrypt; by the recipient's kind where neither says.
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
pub struct Item {
    /// Its name; by default its line's number.
    pub id: String,
    /// What the server is asked, or why it is not asked.
    pub request: Result<v1::ExportDataKeysRequest, v1::ItemError>,
    /// Where the line ends in the batch.
    pub end: u64,
}

/// The items of a batch, in order.
#[derive(Debug)]
pub struct Items<R> {
    lines: Lines<R>,
    number: u64,
    defaults: Defaults,
}

impl<R: BufRead> Items<R> {
    /// From the batch's beginning.
    pub fn new(reader: R, defaults: Defaults) -> Self {
        Self { lines: Lines::new(reader), number: 0, defaults }
    }
}

impl<R: BufRead> Iterator for Items<R> {
    type Item = io::Result<Item>;

    fn next(&mut self) -> Option<io::Result<Item>> {
        let line = self.lines.next().transpose()?;
        self.number += 1;
        Some(line.map(|line| Item {
            end: self.lines.offset(),
            ..Item::read(self.number, &line, &self.defaults)
        }))
    }
}

impl Item {
    /// Reads a line; whatever is wrong with it is the item's own affair.
    fn read(number: u64, line: &Line, defaults: &Defaults) -> Self {
        let mut id = number.to_string();
        let request = object(line)
            .and_then(|object| Shape::of(object, &mut id))
            .and_then(|shape| shape.request(&id, defaults))
            .map_err(|wrong| wrong.error(number));
        Self { id, request, end: 0 }
    }
}

/// What is wrong with a line.
enum Wrong {
    Found(String),
    TooLarge,
}

impl Wrong {
    fn error(self, number: u64) -> v1::ItemError {
        let (rule, found) = match self {
            Self::Found(found) => (Rule::InvalidParameter, found),
            Self::TooLarge => {
                (Rule::RequestTooLarge, "it makes a request of more than 64 KiB".into())
            }
        };
        let found: String = found.chars().take(MAX_FOUND_CHARS).collect();
        v1::ItemError {
            code: rule.code().into(),
            reason: rule.reason().to_owned(),
            message: format!("Line {number} of the batch is not an item: {found}."),
        }
    }
}

/// A line's JSON.
fn object(line: &Line) -> Result<Map<String, Value>, Wrong> {
    let text = match line {
        Line::Whole(text) | Line::Cut(text) => text,
        Line::TooLong => {
            return Err(Wrong::Found(format!("it has more than {MAX_LINE_BYTES} bytes")));
        }
    };
    match serde_json::from_slice(text) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err(Wrong::Found("it is JSON, but no object".into())),
        Err(error) => Err(Wrong::Found(format!("it is no JSON ({error})"))),
    }
}

/// A line as proto-JSON of ExportDataKeysRequest, and whether it has an
/// encryption context, be it an empty one.
struct Shape {
    object: Map<String, Value>,
    has_context: bool,
}

impl Shape {
    /// Takes the item's name, and puts the item's fields where the proto has
    /// them if they stand beside the name.
    fn of(mut object: Map<String, Value>, id: &mut String) -> Result<Self, Wrong> {
        let given = [object.remove("item_id"), object.remove("itemId")];
        for given in given.into_iter().flatten() {
            match given {
                Value::String(given) if given.is_empty() => {}
                Value::String(given) if given.len() <= MAX_ITEM_ID_BYTES => *id = given,
                Value::Null => {}
                Value::String(_) => {
                    let found = format!("its item_id has more than {MAX_ITEM_ID_BYTES} bytes");
                    return Err(Wrong::Found(found));
                }
                _ => return Err(Wrong::Found("its item_id is no string".into())),
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

    fn request(self, id: &str, defaults: &Defaults) -> Result<v1::ExportDataKeysRequest, Wrong> {
        let mut request = self.proto()?;
        id.clone_into(&mut request.item_id);
        let mut item = request.item.take().unwrap_or_default();
        defaults.complete(&mut item, self.has_context);
        request.item = Some(item);
        if request.encoded_len() > MAX_REQUEST_BYTES {
            return Err(Wrong::TooLarge);
        }
        Ok(request)
    }

    fn proto(&self) -> Result<v1::ExportDataKeysRequest, Wrong> {
        let found = |error: &dyn fmt::Display| Wrong::Found(error.to_string());
        let descriptor = descriptor(v1::ExportDataKeysRequest::NAME)
            .ok_or_else(|| found(&"this program does not know its contract"))?;
        let message = DynamicMessage::deserialize(descriptor, Value::Object(self.object.clone()))
            .map_err(|error| found(&error))?;
        message.transcode_to().map_err(|error| found(&error))
    }
}

impl Defaults {
    fn complete(&self, item: &mut v1::ExportDataKeyRequest, has_context: bool) {
        if let (true, Some((key, spec))) = (item.public_key_blob.is_empty(), &self.recipient) {
            item.public_key_blob.clone_from(key);
            if item.wrapping_key_spec() == v1::WrappingKeySpec::Unspecified {
                item.set_wrapping_key_spec(*spec);
            }
        }
        if item.wrapping_algorithm == 0 {
            let by_spec = || default_number(item.wrapping_key_spec());
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

/// A line of the output.
pub fn told(answer: &v1::ExportDataKeysResponse) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&json_line(answer)?).into_owned())
}

/// How the line of the output that tells of an item begins.
pub fn beginning(id: &str) -> String {
    format!("{{\"item_id\":{},", Value::from(id))
}

/// JSON whose objects name each member once: of two, one would be ignored.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(member)) = members.next_element()? {
            array.push(member);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(member))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, member).is_some() {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults {
            recipient: Some((b"their key".to_vec(), v1::WrappingKeySpec::EcSm2)),
            sm2_encoding: v1::Sm2CiphertextEncoding::RawC1c3c2,
            context: BTreeMap::from([("tenant".to_owned(), "acme".to_owned())]),
            ..Default::default()
        }
    }

    fn read(line: &str) -> Item {
        Item::read(7, &Line::Whole(line.into()), &defaults())
    }

    fn asked(line: &str) -> v1::ExportDataKeyRequest {
        read(line).request.unwrap().item.unwrap()
    }

    #[test]
    fn fields_stand_beside_the_name_or_in_the_item() {
        let beside = read(r#"{"item_id":"a","ciphertext_blob":"AAEC"}"#);
        let within = read(r#"{"itemId":"a","item":{"ciphertextBlob":"AAEC"}}"#);
        assert_eq!(beside.id, "a");
        let beside = beside.request.unwrap();
        assert_eq!(beside.item_id, "a");
        assert_eq!(beside.item.clone().unwrap().ciphertext_blob, [0, 1, 2]);
        assert_eq!(beside, within.request.unwrap());
    }

    #[test]
    fn the_lines_number_names_what_has_no_name() {
        for line in ["{}", r#"{"item_id":""}"#, r#"{"item_id":null}"#] {
            assert_eq!(read(line).id, "7");
            assert_eq!(read(line).request.unwrap().item_id, "7", "{line}");
        }
    }

    #[test]
    fn what_a_line_lacks_is_taken_from_the_command_line() {
        let item = asked("{}");
        assert_eq!(item.public_key_blob, b"their key");
        assert_eq!(item.wrapping_key_spec(), v1::WrappingKeySpec::EcSm2);
        assert_eq!(item.wrapping_algorithm(), v1::WrappingAlgorithm::Sm2pke);
        assert_eq!(item.sm2_ciphertext_encoding(), v1::Sm2CiphertextEncoding::RawC1c3c2);
        assert_eq!(item.encryption_context, defaults().context);
        assert!(!item.dry_run);
    }

    #[test]
    fn what_a_line_says_wins() {
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
        let long = Item::read(1, &Line::TooLong, &defaults());
        assert_eq!(long.request.unwrap_err().code, 3);
    }

    #[test]
    fn what_the_server_would_not_read_is_not_sent() {
        let context = "x".repeat(MAX_REQUEST_BYTES);
        let item = read(&format!(r#"{{"encryption_context":{{"k":"{context}"}}}}"#));
        assert_eq!(item.request.unwrap_err().code, 8);
        let id = "x".repeat(MAX_ITEM_ID_BYTES + 1);
        assert_eq!(read(&format!(r#"{{"item_id":"{id}"}}"#)).id, "7");
    }

    #[test]
    fn a_told_line_begins_with_the_items_name() {
        let error = v1::ItemError { code: 3, reason: "r".into(), message: "m".into() };
        let outcome = v1::export_data_keys_response::Outcome::Error(error);
        for id in ["a", "\"é\u{1b}\n", "7"] {
            let answer = v1::ExportDataKeysResponse {
                item_id: id.to_owned(),
                outcome: Some(outcome.clone()),
            };
            let line = told(&answer).unwrap();
            assert!(line.starts_with(&beginning(id)), "{line}");
            assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
            assert!(line.contains(r#""error":{"code":3,"reason":"r","message":"m"}"#), "{line}");
            assert!(!line.contains("exported"), "{line}");
        }
    }
}
