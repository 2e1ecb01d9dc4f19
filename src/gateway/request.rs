//! From parameters to a message of the contract, by its descriptor.
//!
//! Only the form of a value is judged here; the services judge the value. So a
//! name that an enum does not have becomes a number that it does not have, which
//! the service refuses or ignores as it would over gRPC.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use zeroize::Zeroizing;

use super::descriptors::value_prefix;
use super::names;
use super::parameter_tree::{Form, ParameterTree};
use crate::crypto::wrapping::public_key;
use crate::error::{Error, Result};
use crate::proto::ZeroizingMessage;

/// A number that no enum of the contract has.
const NO_SUCH_VALUE: i32 = -1;

/// The one parameter that also takes PEM.
const PUBLIC_KEY: &str = "public_key_blob";

/// The message made from the parameters.
pub(super) fn read<M: Message + Default>(
    descriptor: &MessageDescriptor,
    parameters: &ParameterTree<'_>,
) -> Result<M> {
    let filled = ZeroizingMessage(filled(descriptor, parameters)?);
    let encoded = Zeroizing::new(filled.0.encode_to_vec());
    M::decode(encoded.as_slice())
        .map_err(|_| Error::internal("a message was not what its descriptor says"))
}

fn filled(descriptor: &MessageDescriptor, tree: &ParameterTree<'_>) -> Result<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields().filter(|field| names::is_offered(field.name())) {
        if let Some(value) = value(&field, tree)? {
            message.set_field(&field, value);
        }
    }
    Ok(message)
}

fn value(field: &FieldDescriptor, tree: &ParameterTree<'_>) -> Result<Option<Value>> {
    let name = names::of(field.name());
    if field.is_map() {
        return pairs(field, &name, tree);
    }
    if field.is_list() {
        return items(field, &name, tree);
    }
    let text = tree.get(&name).or_else(|| tree.get(short(field, &name)));
    let text = text.or_else(|| tree.get(names::also(field.name())?));
    text.map_or(Ok(None), |text| scalar(field, text))
}

/// `TagKey` of a `Tag` in a list is also called `Key`.
fn short<'n>(field: &FieldDescriptor, name: &'n str) -> &'n str {
    match name.strip_prefix(field.parent_message().name()) {
        None | Some("") => name,
        Some(short) => short,
    }
}

/// A single value; `None` where the text is empty and the field is no string.
fn scalar(field: &FieldDescriptor, text: &str) -> Result<Option<Value>> {
    let kind = field.kind();
    let trimmed = text.trim();
    if trimmed.is_empty() && kind != Kind::String {
        return Ok(None);
    }
    let value = match kind {
        Kind::String => Some(Value::String(text.to_owned())),
        Kind::Bool => truth(trimmed).map(Value::Bool),
        Kind::Uint32 => whole(trimmed).map(Value::U32),
        Kind::Uint64 => whole(trimmed).map(Value::U64),
        Kind::Int64 => whole(trimmed).map(Value::I64),
        Kind::Enum(named) => Some(Value::EnumNumber(number(&named, trimmed))),
        Kind::Bytes if field.name() == PUBLIC_KEY => {
            Some(Value::Bytes(public_key::from_text(text).into()))
        }
        Kind::Bytes => return from_base64(field, text).map(|bytes| Some(Value::Bytes(bytes))),
        _ => return Err(Error::internal("a field of a kind that no parameter has")),
    };
    let wanted = || Error::invalid(field.name().to_owned(), wanted(&field.kind()));
    value.map(Some).ok_or_else(wanted)
}

/// The form that a value should have had. The value is not repeated: it may be
/// secret.
fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Bool => "it must be true or false",
        _ => "it must be a whole number in decimal digits",
    }
}

pub(super) fn truth(text: &str) -> Option<bool> {
    [("true", true), ("false", false)]
        .into_iter()
        .find_map(|(name, value)| name.eq_ignore_ascii_case(text).then_some(value))
}

fn whole<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn number(named: &EnumDescriptor, text: &str) -> i32 {
    let value = named.get_value_by_name(&(value_prefix(named) + text));
    let value = value.map(|value| value.number()).filter(|number| *number != 0);
    value.unwrap_or(NO_SUCH_VALUE)
}

/// Base64, which may be wrapped into lines. Spaces are no wrapping: each may
/// have been a `+` that was not escaped, and without it other bytes would come
/// out.
fn from_base64(field: &FieldDescriptor, text: &str) -> Result<Bytes> {
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n' | b'\t');
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    letters.extend(text.bytes().filter(|byte| !is_break(byte)));
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(letters.len())]);
    let length = STANDARD.decode_slice(&*letters, &mut decoded).ok();
    let bytes = length.and_then(|length| decoded.get(..length)).map(Bytes::copy_from_slice);
    bytes.ok_or_else(|| Error::invalid(field.name().to_owned(), no_base64(&letters)))
}

/// Why a text is not Base64. It is not repeated: it may be secret.
fn no_base64(text: &[u8]) -> &'static str {
    if text.contains(&b' ') {
        "it must be Base64 of the standard alphabet, padded, and holds a space: a + is sent as %2B"
    } else if text.contains(&b'-') || text.contains(&b'_') {
        "it must be Base64 of the standard alphabet, padded, and holds letters of the URL alphabet: - is + there, and _ is /"
    } else {
        "it must be Base64 of the standard alphabet, padded: bytes are sent encoded"
    }
}

fn pairs(field: &FieldDescriptor, name: &str, tree: &ParameterTree<'_>) -> Result<Option<Value>> {
    // SDKs write a map that is not set as null.
    let text = tree.get(name).filter(|text| !matches!(text.trim(), "" | "null"));
    let wanted = "it must be one JSON object whose members are strings, each name once";
    let from_text = text.map(|text| {
        let read = ParameterTree::from_json(text, Form::Pairs);
        read.ok_or_else(|| Error::invalid(field.name().to_owned(), wanted))
    });
    let pairs = one_of(field, [from_text.transpose()?.unwrap_or_default(), tree.under(name)])?;
    let entry = |(key, value)| (MapKey::String(key), Value::String(value));
    Ok((!pairs.is_empty()).then(|| Value::Map(pairs.into_pairs().map(entry).collect())))
}

fn items(field: &FieldDescriptor, name: &str, tree: &ParameterTree<'_>) -> Result<Option<Value>> {
    let text = tree.get(name).filter(|text| !text.trim().is_empty());
    let invalid = |found| Error::invalid(field.name().to_owned(), found);
    let from_text = match text {
        None => ParameterTree::default(),
        Some(text) if field.kind() == Kind::String && !text.trim_start().starts_with('[') => {
            ParameterTree::by_commas(text)
        }
        Some(text) => ParameterTree::from_json(text, Form::Items)
            .ok_or_else(|| invalid("it must be a JSON array, each name in an object once"))?,
    };
    let (many, one) = (tree.under(name), tree.under(names::singular(name)));
    let listed = one_of(field, [from_text, many, one])?;
    let items = listed.items().ok_or_else(|| invalid("its members are numbered from 1"))?;
    let items: Vec<Value> =
        items.values().map(|item| list_item(field, item)).collect::<Result<_>>()?;
    Ok((!items.is_empty()).then_some(Value::List(items)))
}

fn list_item(field: &FieldDescriptor, item: &ParameterTree<'_>) -> Result<Value> {
    match (field.kind(), item.get("")) {
        (Kind::Message(member), _) => Ok(Value::Message(filled(&member, item)?)),
        (Kind::String, Some(text)) => Ok(Value::String(text.to_owned())),
        _ => Err(Error::invalid(field.name().to_owned(), "its members are strings")),
    }
}

/// The form in which a list or map was given; it must be one.
fn one_of<'a, const N: usize>(
    field: &FieldDescriptor,
    forms: [ParameterTree<'a>; N],
) -> Result<ParameterTree<'a>> {
    let mut found = forms.into_iter().filter(|form| !form.is_empty());
    let one = found.next().unwrap_or_default();
    if found.next().is_some() {
        return Err(Error::invalid(field.name().to_owned(), "it is given in two forms"));
    }
    Ok(one)
}
