//! The description of the API for programs, in OpenAPI 3.1: made from the table
//! of actions, the contract's descriptors and comments, and the table of limits.
//!
//! OpenAPI tells operations apart by their paths, and the API has one path for
//! all. So each action is described under a path of its own (`/Encrypt`), which
//! is accepted too, and with its name in the signed header.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use prost::bytes::Bytes;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use super::actions::{ApiAction, TABLE};
use super::descriptors::{self, value_prefix};
use super::{DESCRIPTION, Format, RECEIPT_KEYS, VERSION, names};
use crate::error::Rule;
use crate::limits::Limit;
use crate::proto::{field_comment, rpc_comment};

/// The document.
pub(super) fn document() -> Bytes {
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&described()).unwrap_or_default().into());
    DOCUMENT.clone()
}

fn described() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Keyferry: the HTTP front door",
            "version": VERSION,
            "description": "The RPC style of the Alibaba Cloud KMS API. Requests go to `/`, by GET or POST, with their parameters in the query or in the form; the paths below do too, each for its own action. Lists and maps may also be flattened (`Tag.1.Key`). Signatures of version 1.0 (HMAC-SHA1, in the parameters) do unless they are turned off.",
        },
        "servers": [{"url": "/"}],
        "security": [{"signature": []}],
        "paths": paths(),
        "components": {
            "securitySchemes": {"signature": {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "ACS3-HMAC-SHA256 Credential=<access key id>,SignedHeaders=<names>,Signature=<hexadecimal>. Signed are host and all x-acs- headers, among them x-acs-date, x-acs-signature-nonce and x-acs-content-sha256.",
            }},
            "schemas": {"Error": error_schema()},
        },
    })
}

fn paths() -> Value {
    let actions = TABLE.iter().filter_map(|action| {
        let rpc = descriptors::rpc(action.rpc).ok()?;
        Some((format!("/{}", action.name), json!({"post": operation(action, &rpc)})))
    });
    let mut paths: Map<String, Value> = actions.collect();
    for (path, summary, statuses) in [
        ("/healthz", "Whether the process is alive.", &[200][..]),
        ("/readyz", "Whether the services could do their work now.", &[200, 503]),
        (DESCRIPTION, "This description.", &[200]),
        (RECEIPT_KEYS, "The public keys that verify receipts, a JWK Set (RFC 7517).", &[200, 503]),
    ] {
        let content = json!({media_type_of(path): {"schema": {}}});
        let responses = statuses.iter().map(|status| {
            (status.to_string(), json!({"description": summary, "content": content}))
        });
        let responses: Map<_, _> = responses.collect();
        let get = json!({"summary": summary, "security": [], "responses": responses});
        paths.insert(path.to_owned(), json!({"get": get}));
    }
    paths.into()
}

fn media_type_of(path: &str) -> &'static str {
    match path {
        DESCRIPTION => "application/json",
        RECEIPT_KEYS => "application/jwk-set+json",
        _ => "text/plain",
    }
}

fn operation(action: &ApiAction, rpc: &MethodDescriptor) -> Value {
    let form = form(&rpc.input());
    let body = json!({"content": {"application/x-www-form-urlencoded": form}});
    json!({
        "operationId": action.name,
        "tags": [rpc.parent_service().name()],
        "summary": rpc_comment(rpc),
        "parameters": [
            constant("header", "x-acs-action", action.name),
            constant("header", "x-acs-version", VERSION),
            {"in": "query", "name": "Format", "required": false,
                "schema": {"enum": ["JSON", "XML"], "default": "JSON"}},
        ],
        "requestBody": body,
        "responses": responses(&rpc.output()),
    })
}

fn constant(location: &str, name: &str, value: &str) -> Value {
    json!({"in": location, "name": name, "required": true, "schema": {"const": value}, "example": value})
}

// ---- requests ----

fn form(message: &MessageDescriptor) -> Value {
    let fields = message.fields().filter(|field| names::is_offered(field.name()));
    let (mut properties, mut required, mut example) = (Map::new(), Vec::new(), Map::new());
    for field in fields {
        let (name, schema) = (names::of(field.name()), parameter(&field));
        if field_comment(&field).starts_with("Required.") {
            example.insert(name.clone(), sample(&field));
            required.push(name.clone());
        }
        properties.insert(name, schema);
    }
    let schema = json!({"type": "object", "properties": properties, "required": required});
    json!({"schema": schema, "example": example})
}

fn parameter(field: &FieldDescriptor) -> Value {
    let about = field_comment(field);
    let mut schema = if field.is_map() || field.is_list() {
        json!({"type": "string", "contentMediaType": "application/json"})
    } else {
        of_kind(&field.kind())
    };
    if let Some(schema) = schema.as_object_mut() {
        schema.extend(bounds(field));
        schema.insert("description".to_owned(), about.into());
        schema.insert("examples".to_owned(), json!([sample(field)]));
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Uint32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Enum(named) => json!({"type": "string", "enum": values(named)}),
        _ => json!({"type": "string"}),
    }
}

fn values(named: &EnumDescriptor) -> Vec<String> {
    let prefix = value_prefix(named);
    let values = named.values().filter(|value| value.number() != 0);
    values.filter_map(|value| value.name().strip_prefix(&prefix).map(str::to_owned)).collect()
}

/// The limits of a parameter, as a schema says them.
fn bounds(field: &FieldDescriptor) -> Map<String, Value> {
    let mut bounds = Map::new();
    for limit in Limit::of_field(field.parent_message().name(), field.name()) {
        let base64 = |bytes: usize| bytes.div_ceil(3) * 4;
        let (min, max) = (limit.min, limit.max);
        let (at_least, min, at_most, max) = match field.kind() {
            Kind::Uint32 => ("minimum", min, "maximum", max),
            Kind::String if limit.unit.ends_with("characters") => {
                ("minLength", min, "maxLength", max)
            }
            Kind::Bytes => ("minLength", base64(min), "maxLength", base64(max)),
            _ => continue,
        };
        if min > 0 {
            bounds.insert(at_least.to_owned(), min.into());
        }
        if max < usize::MAX {
            bounds.insert(at_most.to_owned(), max.into());
        }
    }
    bounds
}

/// A value that is of the right form.
fn sample(field: &FieldDescriptor) -> Value {
    if field.is_map() {
        return r#"{"purpose":"example"}"#.into();
    }
    match (field.name(), field.kind()) {
        ("tags", _) => r#"[{"TagKey":"team","TagValue":"payments"}]"#.into(),
        ("tag_keys", _) => r#"["team"]"#.into(),
        ("resource_ids", _) => r#"["alias/payments"]"#.into(),
        ("resource_type", _) => "key".into(),
        ("filters", _) => r#"[{"Key":"KeyState","Values":["Enabled"]}]"#.into(),
        ("alias_name" | "key_id" | "destination_key_id", _) => "alias/payments".into(),
        ("rotation_interval", _) => "365d".into(),
        ("key_spec", Kind::String) => "Aliyun_AES_256".into(),
        ("key_usage", _) => "ENCRYPT/DECRYPT".into(),
        (name, Kind::String) if name.ends_with("id") || name.ends_with("arn") => {
            "0192f3a1-7c5e-7d2b-9f60-3a1b2c4d5e6f".into()
        }
        (_, Kind::Bool) => false.into(),
        (_, Kind::Uint32) => 32.into(),
        (_, Kind::Bytes) => "a2V5ZmVycnk=".into(),
        (_, Kind::Enum(named)) => values(&named).into_iter().next().into(),
        _ => "example".into(),
    }
}

// ---- answers ----

fn responses(answer: &MessageDescriptor) -> Value {
    let mut responses = refusals();
    let good = in_both_formats(&message_schema(answer));
    responses.insert("200".to_owned(), json!({"description": "Done.", "content": good}));
    responses.into()
}

/// By HTTP status, the codes that come with it.
fn refusals() -> Map<String, Value> {
    let mut by_status = BTreeMap::<u16, BTreeSet<&str>>::new();
    for rule in Rule::ALL {
        by_status.entry(rule.http_status()).or_default().insert(rule.reason());
    }
    let content = in_both_formats(&json!({"$ref": "#/components/schemas/Error"}));
    let refusal = |(status, codes): (u16, BTreeSet<&str>)| {
        let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
        (status.to_string(), json!({"description": codes, "content": content}))
    };
    by_status.into_iter().map(refusal).collect()
}

fn in_both_formats(schema: &Value) -> Value {
    let formats = [Format::Json, Format::Xml].map(Format::content_type);
    let media_types = formats.map(|full| full.split(';').next().unwrap_or(full).to_owned());
    let contents = media_types.map(|media_type| (media_type, json!({"schema": schema})));
    contents.into_iter().collect::<Map<_, _>>().into()
}

fn error_schema() -> Value {
    let codes: BTreeSet<&str> = Rule::ALL.into_iter().map(Rule::reason).collect();
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["Code", "Message", "RequestId", "HostId", "Recommend"],
        "properties": {
            "Code": {"type": "string", "enum": codes},
            "Message": text, "RequestId": text, "HostId": text, "Recommend": text,
        },
        "examples": [{
            "Code": Rule::KeyNotFound.reason(), "Message": "The specified key is not found.",
            "RequestId": "0D4B4A5C-51B5-4A8E-8D0F-2C0C2A6A7E11", "HostId": "127.0.0.1:7311",
            "Recommend": "",
        }],
    })
}

fn message_schema(message: &MessageDescriptor) -> Value {
    let fields = message.fields().filter(|field| names::is_offered(field.name()));
    let properties: Map<String, Value> =
        fields.map(|field| (names::of(field.name()), member_schema(&field))).collect();
    let required: Vec<String> = properties.keys().cloned().collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn member_schema(field: &FieldDescriptor) -> Value {
    let one = match field.kind() {
        Kind::Message(message) => message_schema(&message),
        kind => of_kind(&kind),
    };
    let mut schema = if field.is_list() {
        let plural = names::of(field.name());
        let singular = names::singular(&plural);
        let properties = json!({singular: {"type": "array", "items": one}});
        json!({"type": "object", "properties": properties, "required": [singular]})
    } else {
        one
    };
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), field_comment(field).into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(action: &str) -> Value {
        let described = described();
        let body = &described["paths"][format!("/{action}")]["post"]["requestBody"];
        body["content"]["application/x-www-form-urlencoded"].clone()
    }

    #[test]
    fn each_action_is_described() {
        let described = described();
        for action in TABLE {
            let post = &described["paths"][format!("/{}", action.name)]["post"];
            assert_eq!(post["operationId"], action.name);
            assert!(!post["summary"].as_str().unwrap().is_empty(), "{}", action.name);
            assert!(post["responses"]["200"].is_object() && post["responses"]["409"].is_object());
        }
    }

    #[test]
    fn limits_are_those_of_the_table() {
        let form = form_of("GenerateDataKey");
        let bytes = &form["schema"]["properties"]["NumberOfBytes"];
        assert_eq!((&bytes["minimum"], &bytes["maximum"]), (&json!(1), &json!(1024)));
        assert_eq!(form["schema"]["required"], json!(["KeyId"]));
        assert_eq!(form["schema"]["properties"]["KeySpec"]["enum"], json!(["AES_256", "AES_128"]));
        let days = &form_of("ScheduleKeyDeletion")["schema"]["properties"]["PendingWindowInDays"];
        assert_eq!((&days["minimum"], &days["maximum"]), (&json!(7), &json!(366)));
        let page = form_of("ListKeys");
        assert_eq!(page["schema"]["properties"]["PageNumber"]["minimum"], 1);
        assert!(page["schema"]["properties"].get("PageToken").is_none());
        let plaintext = &form_of("Encrypt")["schema"]["properties"]["Plaintext"];
        assert_eq!((&plaintext["minLength"], &plaintext["maxLength"]), (&json!(4), &json!(8192)));
        let description = &form_of("CreateKey")["schema"]["properties"]["Description"];
        assert_eq!(description["maxLength"], 8192);
        let digest = &form_of("AsymmetricSign")["schema"]["properties"]["Digest"];
        assert_eq!((&digest["minLength"], &digest["maxLength"]), (&json!(44), &json!(44)));
    }

    #[test]
    fn answers_are_described_as_they_are() {
        let described = described();
        let answer = &described["paths"]["/ListKeys"]["post"]["responses"]["200"]["content"];
        let schema = &answer["application/json"]["schema"];
        let keys = &schema["properties"]["Keys"]["properties"]["Key"];
        assert_eq!(keys["type"], "array");
        assert_eq!(keys["items"]["required"], json!(["KeyId", "KeyArn"]));
    }
}
