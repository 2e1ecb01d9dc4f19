//! From a message of the contract to the API's JSON or XML, by its descriptor.
//!
//! Lists are doubly nested, unset strings are `""`, bytes are Base64. A message
//! becomes a tree first, from which both formats are written.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use prost::bytes::Bytes;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage as _, Value,
};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use zeroize::Zeroizing;

use super::descriptors::value_prefix;
use super::names;
use crate::error::{Error, Result};
use crate::proto::ZeroizingMessage;

/// The format of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The default.
    #[default]
    Json,
    /// For older clients.
    Xml,
}

impl Format {
    /// The format of that name, in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [("JSON", Self::Json), ("XML", Self::Xml)]
            .into_iter()
            .find_map(|(name, format)| name.eq_ignore_ascii_case(text.trim()).then_some(format))
    }

    /// The content type. Clients compare it letter by letter.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Xml => "text/xml;charset=utf-8",
        }
    }

    /// Writes a reply.
    pub(super) fn write(self, root: &str, reply: &ReplyMessage) -> Result<Bytes> {
        // Allocated once: a buffer that grows leaves copies behind.
        let mut written = Zeroizing::new(Vec::with_capacity(512 + 2 * reply.size_bytes()));
        let wrote = match self {
            Self::Json => serde_json::to_writer(&mut *written, reply).map_err(io::Error::from),
            Self::Xml => to_xml(&mut written, root, reply),
        };
        wrote.map_err(|_| Error::internal("an answer could not be written"))?;
        Ok(Bytes::from_owner(written))
    }
}

/// A reply, or a part of one, before it is written in a format.
pub(super) enum ReplyMessage {
    /// Text, which may be secret.
    Text(Zeroizing<String>),
    Number(u64),
    Truth(bool),
    Members(Vec<(String, ReplyMessage)>),
    List(Vec<ReplyMessage>),
}

impl ReplyMessage {
    /// A message of the contract.
    pub(super) fn of<M: Message>(descriptor: MessageDescriptor, message: &M) -> Result<Self> {
        let encoded = Zeroizing::new(message.encode_to_vec());
        let decoded = DynamicMessage::decode(descriptor, encoded.as_slice());
        let message =
            decoded.map_err(|_| Error::internal("a message was not what its descriptor says"))?;
        members(&ZeroizingMessage(message).0)
    }

    /// Members whose values are texts.
    pub(super) fn texts(texts: &[(&str, &str)]) -> Self {
        let text = |text: &str| Self::Text(Zeroizing::new(text.to_owned()));
        Self::Members(texts.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect())
    }

    fn size_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + 8,
            Self::Number(_) | Self::Truth(_) => 20,
            Self::Members(members) => {
                members.iter().map(|(name, value)| 2 * name.len() + 8 + value.size_bytes()).sum()
            }
            Self::List(items) => items.iter().map(|item| 32 + item.size_bytes()).sum(),
        }
    }
}

fn members(message: &DynamicMessage) -> Result<ReplyMessage> {
    let fields = message.descriptor();
    let fields = fields.fields().filter(|field| names::is_offered(field.name()));
    let member = |field: FieldDescriptor| {
        let value = member(&field, &message.get_field(&field))?;
        Ok((names::of(field.name()), value))
    };
    fields.map(member).collect::<Result<_>>().map(ReplyMessage::Members)
}

fn member(field: &FieldDescriptor, value: &Value) -> Result<ReplyMessage> {
    Ok(match value {
        Value::String(text) => ReplyMessage::Text(Zeroizing::new(text.clone())),
        Value::Bytes(bytes) => ReplyMessage::Text(Zeroizing::new(STANDARD.encode(bytes))),
        Value::Bool(value) => ReplyMessage::Truth(*value),
        Value::U32(number) => ReplyMessage::Number((*number).into()),
        Value::U64(number) => ReplyMessage::Number(*number),
        Value::EnumNumber(number) => ReplyMessage::Text(Zeroizing::new(value_name(field, *number))),
        Value::Message(message) => members(message)?,
        Value::List(items) => {
            let items = items.iter().map(|item| member(field, item)).collect::<Result<_>>()?;
            let plural = names::of(field.name());
            ReplyMessage::Members(vec![(
                names::singular(&plural).to_owned(),
                ReplyMessage::List(items),
            )])
        }
        _ => return Err(Error::internal("a field of a kind that no answer has")),
    })
}

fn value_name(field: &FieldDescriptor, number: i32) -> String {
    let kind = field.kind();
    let Some(named) = kind.as_enum() else { return String::new() };
    let prefix = value_prefix(named);
    let value = named.get_value(number).filter(|value| value.number() != 0);
    value
        .and_then(|value| value.name().strip_prefix(&prefix).map(str::to_owned))
        .unwrap_or_default()
}

impl Serialize for ReplyMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Truth(value) => serializer.serialize_bool(*value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Members(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

fn to_xml(out: &mut Vec<u8>, root: &str, reply: &ReplyMessage) -> io::Result<()> {
    let mut writer = Writer::new(out);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    element(&mut writer, root, reply)
}

fn element(writer: &mut Writer<&mut Vec<u8>>, name: &str, value: &ReplyMessage) -> io::Result<()> {
    match value {
        ReplyMessage::List(items) => items.iter().try_for_each(|item| element(writer, name, item)),
        ReplyMessage::Members(members) => {
            let inside = |writer: &mut Writer<&mut Vec<u8>>| {
                members.iter().try_for_each(|(name, value)| element(writer, name, value))
            };
            writer.create_element(name).write_inner_content(inside).map(|_| ())
        }
        ReplyMessage::Text(text) => leaf(writer, name, text),
        ReplyMessage::Number(number) => leaf(writer, name, &number.to_string()),
        ReplyMessage::Truth(value) => leaf(writer, name, &value.to_string()),
    }
}

fn leaf(writer: &mut Writer<&mut Vec<u8>>, name: &str, text: &str) -> io::Result<()> {
    writer.create_element(name).write_inner_content(|writer| write_text(writer, text)).map(|_| ())
}

/// Writes text run by run: escaping all of it at once would leave a copy behind.
fn write_text(writer: &mut Writer<&mut Vec<u8>>, text: &str) -> io::Result<()> {
    let is_plain = |c: char| is_printable(c) && !matches!(c, '<' | '>' | '&' | '\'' | '"' | '\r');
    for run in text.split_inclusive(|c| !is_plain(c)) {
        let last = run.chars().next_back().filter(|c| !is_plain(*c));
        let plain = last.and_then(|last| run.strip_suffix(last)).unwrap_or(run);
        writer.write_event(Event::Text(BytesText::from_escaped(plain)))?;
        // Readers make a bare one a line feed (XML 1.0, 2.11).
        if last == Some('\r') {
            writer.write_event(Event::Text(BytesText::from_escaped("&#13;")))?;
        } else if let Some(c) = last {
            let shown = if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER };
            writer.write_event(Event::Text(BytesText::new(&shown.to_string())))?;
        }
    }
    Ok(())
}

/// Most control characters cannot stand in a document at all (XML 1.0, 2.2).
const fn is_printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
