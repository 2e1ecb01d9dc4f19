//! The same calls over gRPC and through the front door: equal answers, equal
//! refusals.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use keyferry::gateway::actions::TABLE;
use keyferry::proto::CONTRACT;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Map, Value, json};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_types::StatusExt;

use crate::support::TestServer;
use crate::support::http::{Answer, Http, Signer};

/// Messages by their descriptors.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = tonic::Status;

    fn encode(
        &mut self,
        item: DynamicMessage,
        buf: &mut EncodeBuf<'_>,
    ) -> Result<(), tonic::Status> {
        item.encode(buf).map_err(|error| tonic::Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = tonic::Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, tonic::Status> {
        let decoded = DynamicMessage::decode(self.0.clone(), buf);
        decoded.map(Some).map_err(|error| tonic::Status::internal(error.to_string()))
    }
}

/// An answer in the API's shape, or a code.
type Outcome = Result<Value, String>;

async fn over_grpc(server: &TestServer, rpc: &str, request: &Value) -> Outcome {
    let pool = DescriptorPool::decode(CONTRACT).unwrap();
    let (service, method) = rpc.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("keyferry.v1.{service}")).unwrap();
    let method = service.methods().find(|known| known.name() == method).unwrap();
    let message = DynamicMessage::deserialize(method.input(), request).unwrap();
    let path = format!("/{}/{}", service.full_name(), method.name());
    let mut grpc = tonic::client::Grpc::new(server.channel.clone());
    grpc.ready().await.unwrap();
    let codec = Dynamic(method.output());
    let answered = grpc.unary(tonic::Request::new(message), path.parse().unwrap(), codec).await;
    match answered {
        Ok(answer) => Ok(in_shape(&answer.into_inner())),
        Err(status) => Err(status.get_details_error_info().unwrap().reason),
    }
}

/// The shape of the API, by rules of the test's own.
fn in_shape(message: &DynamicMessage) -> Value {
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let plain = message.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
    nested(plain)
}

fn nested(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let members = members.into_iter().filter(|(name, _)| name != "next_page_token");
    let shaped = members.map(|(name, value)| match value {
        Value::Array(items) => {
            let plural = pascal(&name);
            let one = plural.strip_suffix(if plural == "Aliases" { "es" } else { "s" }).unwrap();
            let items: Vec<Value> = items.into_iter().map(nested).collect();
            (plural.clone(), json!({ one: items }))
        }
        value => (pascal(&name), nested(value)),
    });
    Value::Object(shaped.collect())
}

fn pascal(name: &str) -> String {
    if name == "dkms_instance_id" {
        return "DKMSInstanceId".to_owned();
    }
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// A request's parameters.
fn parameters(request: &Value) -> Vec<(String, String)> {
    let members = request.as_object().unwrap().iter();
    members.map(|(name, value)| (pascal(name), text(value))).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let prefixes = [
                "DATA_KEY_SPEC_",
                "WRAPPING_ALGORITHM_",
                "WRAPPING_KEY_SPEC_",
                "SIGNING_ALGORITHM_",
                "SM2_CIPHERTEXT_ENCODING_",
            ];
            let bare = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
            bare.unwrap_or(text).to_owned()
        }
        Value::Array(items) => Value::Array(items.iter().map(renamed).collect()).to_string(),
        value => value.to_string(),
    }
}

fn renamed(item: &Value) -> Value {
    match item {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (pascal(name), value.clone()))
            .collect::<Map<_, _>>()
            .into(),
        value => value.clone(),
    }
}

/// Signed in one of three ways.
async fn through_the_door(
    http: &mut Http,
    signer: &Signer,
    action: &str,
    request: &Value,
    way: usize,
) -> Outcome {
    let own = parameters(request);
    let answer: Answer = match way % 3 {
        0 => http.v3(signer, action, &own).await,
        1 => http.v1(signer, action, &own).await,
        _ => http.v1_form(signer, action, &own).await,
    };
    if answer.status == 200 { Ok(answer.json()) } else { Err(answer.code()) }
}

/// Replaces members that cannot be equal by whether they are there.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let one = |(name, value): (&String, &Value)| {
                let value = match name.as_str() {
                    "RequestId" | "CiphertextBlob" | "ExportedDataKey" | "Arn" | "CreationDate"
                    | "LastRotationDate" | "NextRotationDate" | "DeleteDate"
                    | "PrimaryKeyVersion" | "KeyVersionId" | "KeyId" | "Creator" | "AliasName"
                    | "AliasArn" | "KeyArn" | "ResourceId" => {
                        json!(!value.as_str().unwrap().is_empty())
                    }
                    _ => comparable(value),
                };
                (name.clone(), value)
            };
            Value::Object(members.iter().map(one).collect())
        }
        Value::Array(items) => items.iter().map(comparable).collect(),
        value => value.clone(),
    }
}

struct Face {
    names: BTreeMap<&'static str, String>,
}

impl Face {
    fn filled(&self, request: &Value) -> Value {
        let mut text = request.to_string();
        for (name, value) in &self.names {
            text = text.replace(&format!("<{name}>"), value);
        }
        assert!(!text.contains('<'), "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

async fn faces(server: &TestServer) -> [Face; 2] {
    let sym = server.create_key().await;
    let blob = STANDARD.encode(server.generate(&sym, &[("a", "b")], 24).await);
    let (rsa, rsa_version) = server.create_pair("RSA_2048", "ENCRYPT/DECRYPT").await;
    let (signing, signing_version) = server.create_pair("EC_P256", "SIGN/VERIFY").await;
    let recipient = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).unwrap();
    let public_key = STANDARD.encode(recipient.public_key_der());
    let mut both = Vec::new();
    let pair = json!({"key_id": rsa, "key_version_id": rsa_version, "plaintext": "c2VjcmV0",
        "algorithm": "WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256"});
    let Ok(encrypted) = over_grpc(server, "Kms/AsymmetricEncrypt", &pair).await else { panic!() };
    let digest = STANDARD.encode([7; 32]);
    let to_sign = json!({"key_id": signing, "key_version_id": signing_version, "digest": digest,
        "algorithm": "SIGNING_ALGORITHM_ECDSA_SHA_256"});
    let Ok(signed) = over_grpc(server, "Kms/AsymmetricSign", &to_sign).await else { panic!() };
    for face in ["grpc", "door"] {
        let victim = server.create_key().await;
        let names = [
            ("face", face.to_owned()),
            ("victim", victim),
            ("sym", sym.clone()),
            ("blob", blob.clone()),
            ("rsa", rsa.clone()),
            ("rsa-version", rsa_version.clone()),
            ("signing", signing.clone()),
            ("signing-version", signing_version.clone()),
            ("public-key", public_key.clone()),
            ("digest", digest.clone()),
            ("rsa-ciphertext", encrypted["CiphertextBlob"].as_str().unwrap().to_owned()),
            ("signature", signed["Value"].as_str().unwrap().to_owned()),
        ];
        both.push(Face { names: names.into() });
    }
    both.try_into().unwrap_or_else(|_| panic!("two"))
}

const OAEP: &str = "WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256";
const RSA: &str = "WRAPPING_KEY_SPEC_RSA_2048";
const ECDSA: &str = "SIGNING_ALGORITHM_ECDSA_SHA_256";

/// Actions, requests, and the refusal that is expected, if one is.
fn calls() -> Vec<(&'static str, Value, &'static str)> {
    let context = json!({"a": "b"});
    let mut calls = vec![
        ("CreateKey", json!({}), ""),
        (
            "CreateKey",
            json!({"description": "a <face> & \"b\"", "key_spec": "EC_P256", "tags": [{"tag_key": "k", "tag_value": "v"}]}),
            "",
        ),
        ("CreateKey", json!({"enable_automatic_rotation": true, "rotation_interval": "30d"}), ""),
        ("CreateKey", json!({"key_spec": "Nope"}), "InvalidParameter"),
        ("CreateKey", json!({"origin": "EXTERNAL"}), "Unsupported.Origin"),
        ("CreateKey", json!({"dry_run": true}), "DryRunOperationError"),
        ("DescribeKey", json!({"key_id": "<sym>"}), ""),
        ("DescribeKey", json!({}), "MissingParameter"),
        ("DescribeKey", json!({"key_id": "nothing"}), "Forbidden.KeyNotFound"),
        ("DescribeKey", json!({"key_id": "alias/nothing"}), "Forbidden.AliasNotFound"),
        ("ListKeys", json!({"page_size": 2, "page_number": 2}), ""),
        ("ListKeys", json!({"filters": [{"key": "KeySpec", "values": ["EC_P256", "EC_SM2"]}]}), ""),
        ("ListKeys", json!({"page_size": 101}), "InvalidParameter"),
        (
            "ListKeys",
            json!({"filters": [{"key": "Colour", "values": ["red"]}]}),
            "InvalidParameter",
        ),
        ("UpdateKeyDescription", json!({"key_id": "<victim>", "description": "π"}), ""),
        ("DescribeKey", json!({"key_id": "<victim>"}), ""),
        ("DisableKey", json!({"key_id": "<victim>"}), ""),
        ("Encrypt", json!({"key_id": "<victim>", "plaintext": "AAAA"}), "Rejected.Disabled"),
        ("EnableKey", json!({"key_id": "<victim>"}), ""),
        ("ScheduleKeyDeletion", json!({"key_id": "<victim>"}), "MissingParameter"),
        (
            "ScheduleKeyDeletion",
            json!({"key_id": "<victim>", "pending_window_in_days": 6}),
            "InvalidParameter",
        ),
        ("ScheduleKeyDeletion", json!({"key_id": "<victim>", "pending_window_in_days": 7}), ""),
        ("EnableKey", json!({"key_id": "<victim>"}), "Rejected.StateModifiedFailed"),
        ("CancelKeyDeletion", json!({"key_id": "<victim>"}), ""),
        (
            "SetDeletionProtection",
            json!({"protected_resource_arn": "<victim>", "enable_deletion_protection": true}),
            "",
        ),
        (
            "ScheduleKeyDeletion",
            json!({"key_id": "<victim>", "pending_window_in_days": 7}),
            "Rejected.DeletionProtection",
        ),
        ("CreateKeyVersion", json!({"key_id": "<victim>"}), ""),
        ("CreateKeyVersion", json!({"key_id": "<signing>"}), "Rejected.UnsupportedOperation"),
        ("DescribeKeyVersion", json!({"key_id": "<rsa>", "key_version_id": "<rsa-version>"}), ""),
        ("ListKeyVersions", json!({"key_id": "<victim>"}), ""),
        (
            "UpdateRotationPolicy",
            json!({"key_id": "<victim>", "enable_automatic_rotation": true, "rotation_interval": "604800"}),
            "",
        ),
        (
            "UpdateRotationPolicy",
            json!({"key_id": "<victim>", "rotation_interval": "7d"}),
            "MissingParameter",
        ),
        ("CreateAlias", json!({"alias_name": "alias/<face>", "key_id": "<victim>"}), ""),
        (
            "CreateAlias",
            json!({"alias_name": "alias/<face>", "key_id": "<victim>"}),
            "AliasAlreadyExists",
        ),
        (
            "CreateAlias",
            json!({"alias_name": "alias/acs-x", "key_id": "<victim>"}),
            "Unsupported.Alias",
        ),
        ("ListAliases", json!({}), ""),
        ("UpdateAlias", json!({"alias_name": "alias/<face>", "key_id": "<sym>"}), ""),
        ("ListAliasesByKeyId", json!({"key_id": "<victim>"}), ""),
        ("DeleteAlias", json!({"alias_name": "alias/<face>"}), ""),
        ("DeleteAlias", json!({"alias_name": "alias/<face>"}), "Forbidden.AliasNotFound"),
        (
            "TagResource",
            json!({"key_id": "<victim>", "tags": [{"tag_key": "a", "tag_value": "1"}, {"tag_key": "b"}]}),
            "",
        ),
        ("TagResource", json!({"key_id": "<victim>"}), "MissingParameter"),
        ("ListResourceTags", json!({"key_id": "<victim>"}), ""),
        ("UntagResource", json!({"key_id": "<victim>", "tag_keys": ["a", "b"]}), ""),
        (
            "TagResources",
            json!({"resource_type": "key", "resource_ids": ["<victim>", "<sym>"], "tags": [{"tag_key": "a", "tag_value": "1"}]}),
            "",
        ),
        (
            "TagResources",
            json!({"resource_type": "secret", "resource_ids": ["<victim>"], "tags": [{"tag_key": "a"}]}),
            "InvalidParameter",
        ),
        (
            "ListTagResources",
            json!({"resource_type": "key", "resource_ids": ["<victim>", "<sym>"]}),
            "",
        ),
        ("ListTagResources", json!({"resource_type": "key"}), "MissingParameter"),
        (
            "UntagResources",
            json!({"resource_type": "key", "resource_ids": ["<victim>", "<sym>"], "tag_keys": ["a"]}),
            "",
        ),
        ("DescribeRegions", json!({}), ""),
    ];
    calls.extend([
        ("GenerateDataKeyWithoutPlaintext", json!({"key_id": "<sym>", "number_of_bytes": 1, "encryption_context": context}), ""),
        ("GenerateDataKeyWithoutPlaintext", json!({"key_id": "<sym>", "number_of_bytes": 1025}), "InvalidParameter"),
        ("GenerateDataKeyWithoutPlaintext", json!({"key_id": "<rsa>"}), "UnsupportedOperation"),
        ("ExportDataKey", json!({"ciphertext_blob": "<blob>", "public_key_blob": "<public-key>", "wrapping_algorithm": OAEP, "wrapping_key_spec": RSA, "encryption_context": context}), ""),
        ("ExportDataKey", json!({"ciphertext_blob": "<blob>", "public_key_blob": "<public-key>", "wrapping_algorithm": OAEP, "wrapping_key_spec": RSA}), "InvalidParameter"),
        ("ExportDataKey", json!({"ciphertext_blob": "<blob>", "public_key_blob": "<public-key>", "wrapping_algorithm": OAEP}), "MissingParameter"),
        ("GenerateAndExportDataKey", json!({"key_id": "<sym>", "public_key_blob": "<public-key>", "wrapping_algorithm": OAEP, "wrapping_key_spec": RSA}), ""),
        ("Encrypt", json!({"key_id": "<sym>", "plaintext": "c2VjcmV0"}), ""),
        ("Encrypt", json!({"key_id": "<sym>"}), "MissingParameter"),
        ("Decrypt", json!({"ciphertext_blob": "<blob>", "encryption_context": context}), ""),
        ("Decrypt", json!({"ciphertext_blob": "<blob>", "encryption_context": {"a": "c"}}), "InvalidParameter"),
        ("Decrypt", json!({"ciphertext_blob": "AAAA"}), "InvalidParameter"),
        ("ReEncrypt", json!({"ciphertext_blob": "<blob>", "source_encryption_context": context, "destination_key_id": "<sym>", "destination_encryption_context": {"c": "d"}}), ""),
        ("GetPublicKey", json!({"key_id": "<rsa>", "key_version_id": "<rsa-version>"}), ""),
        ("GetPublicKey", json!({"key_id": "<rsa>", "key_version_id": "none"}), "Forbidden.KeyVersionNotFound"),
        ("AsymmetricEncrypt", json!({"key_id": "<rsa>", "key_version_id": "<rsa-version>", "algorithm": OAEP, "plaintext": "c2VjcmV0"}), ""),
        ("AsymmetricDecrypt", json!({"key_id": "<rsa>", "key_version_id": "<rsa-version>", "algorithm": OAEP, "ciphertext_blob": "<rsa-ciphertext>"}), ""),
        ("AsymmetricDecrypt", json!({"key_id": "<rsa>", "key_version_id": "<rsa-version>", "algorithm": OAEP, "ciphertext_blob": "AAAA"}), "InvalidParameter"),
        ("AsymmetricVerify", json!({"key_id": "<signing>", "key_version_id": "<signing-version>", "algorithm": ECDSA, "digest": "<digest>", "value": "<signature>"}), ""),
        ("AsymmetricVerify", json!({"key_id": "<signing>", "key_version_id": "<signing-version>", "algorithm": ECDSA, "digest": "<digest>", "value": "AAAA"}), ""),
        ("AsymmetricVerify", json!({"key_id": "<signing>", "key_version_id": "<signing-version>", "algorithm": ECDSA, "digest": "AAAA", "value": "AAAA"}), "InvalidParameter"),
    ]);
    calls
}

/// Actions whose answers hold what is new each time.
fn new_calls() -> Vec<(&'static str, Value)> {
    vec![
        ("GenerateDataKey", json!({"key_id": "<sym>", "key_spec": "DATA_KEY_SPEC_AES_128"})),
        (
            "AsymmetricSign",
            json!({"key_id": "<signing>", "key_version_id": "<signing-version>", "algorithm": ECDSA, "digest": "<digest>"}),
        ),
    ]
}

#[tokio::test]
async fn both_faces_answer_alike() {
    let server = TestServer::start().await;
    let signer = server.create_signer("both").await;
    let [grpc, door] = faces(&server).await;
    let mut http = server.http().await;
    let mut answered = BTreeSet::new();
    for (way, (action, request, refused)) in calls().into_iter().enumerate() {
        let rpc = TABLE.iter().find(|row| row.name == action).unwrap().rpc;
        let one = over_grpc(&server, rpc, &grpc.filled(&request)).await;
        let other = through_the_door(&mut http, &signer, action, &door.filled(&request), way).await;
        let what = format!("{action} {request}");
        if let (Ok(one), Ok(other)) = (&one, &other) {
            assert_eq!(refused, "", "{what}");
            let [one, other] = [(one, &grpc), (other, &door)].map(|(value, face)| {
                comparable(value).to_string().replace(&face.names["face"], "<face>")
            });
            assert_eq!(one, other, "{what}");
            answered.insert(action);
        } else {
            assert_eq!(one.as_ref().err().map(String::as_str), Some(refused), "{what}: {one:?}");
            assert_eq!(one, other, "{what}");
        }
    }
    for (action, request) in new_calls() {
        let rpc = TABLE.iter().find(|row| row.name == action).unwrap().rpc;
        let one = over_grpc(&server, rpc, &grpc.filled(&request)).await.unwrap();
        let other =
            through_the_door(&mut http, &signer, action, &door.filled(&request), 0).await.unwrap();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&one), names(&other), "{action}");
        answered.insert(action);
    }
    let all: BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
    assert_eq!(answered, all, "each action answers");
}
