//! Who may do what, over real connections: every RPC and every action, by callers that are
//! known in each way, on their own keys, on others', and on what does not exist.
//!
//! For each row of the decision table, a set of policies permits exactly what the row
//! needs, to one caller, on some keys, under one encryption context. The same request is
//! then made as it is permitted, and with one thing of it changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::PathAndQuery;
use jsonwebtoken::Algorithm;
use keyferry::access::decisions::{Decision, Resource, Row, TABLE};
use keyferry::access::operations::Action;
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::config::Config;
use keyferry::gateway::Gateway;
use keyferry::gateway::actions::ApiAction;
use keyferry::keys::clock::SystemClock;
use keyferry::policy_dir::{self, Reader};
use keyferry::proto::v1;
use keyferry::server::{Faces, Health, Limits, Listener, run};
use keyferry::service::Services;
use keyferry::service::naming::Arns;
use keyferry::storage::MemoryStore;
use prost::Message;
use prost::bytes::{Buf, BufMut};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, SanType};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::certificates::tls_channel;
use crate::support::http::{Http, Signer};
use crate::support::{Founded, Recipient, dev_caller, policies};
use crate::tokens::{self, AUTHORIZATION};
use crate::world::{TlsFiles, unix_channel};

const SPIFFE: &str = "spiffe://kms.example/billing";

// ---- messages as bytes, so that one client calls every RPC ----

#[derive(Clone, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining()).to_vec()))
    }
}

fn method(rpc: &str) -> MethodDescriptor {
    let pool = DescriptorPool::decode(keyferry::proto::CONTRACT).unwrap();
    let (service, method) = rpc.split_once('/').unwrap();
    let service = pool.get_service_by_name(&format!("keyferry.v1.{service}")).unwrap();
    service.methods().find(|found| found.name() == method).unwrap()
}

/// What came of a request: nothing refused, or the code and text of the refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Allowed,
    Denied(String),
    Other(String),
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        let text = format!("{:?} {}", status.code(), status.message());
        match status.code() {
            Code::PermissionDenied => Self::Denied(text),
            // A dry run that would have worked, or a state that forbids it now: it was
            // permitted.
            Code::FailedPrecondition => Self::Allowed,
            _ => Self::Other(text),
        }
    }
}

/// A caller that is known in one way.
enum Caller {
    Rpc { channel: Channel, lines: Vec<(&'static str, String)> },
    Signed { http: Box<Http>, signer: Signer },
}

impl Caller {
    async fn call(&mut self, rpc: &str, request: &Value) -> Outcome {
        match self {
            Self::Rpc { channel, lines } => call_rpc(channel.clone(), lines, rpc, request).await,
            Self::Signed { http, signer } => call_action(http, signer, rpc, request).await,
        }
    }

    fn can_call(&self, rpc: &str) -> bool {
        match self {
            Self::Rpc { .. } => true,
            Self::Signed { .. } => action_of(rpc).is_some(),
        }
    }
}

fn action_of(rpc: &str) -> Option<&'static ApiAction> {
    keyferry::gateway::actions::TABLE.iter().find(|action| action.rpc == rpc)
}

async fn call_rpc(
    channel: Channel,
    lines: &[(&'static str, String)],
    rpc: &str,
    request: &Value,
) -> Outcome {
    let described = method(rpc);
    let message = DynamicMessage::deserialize(described.input(), request.clone())
        .unwrap_or_else(|error| panic!("{rpc}: {error}"));
    let bytes = message.encode_to_vec();
    let path: PathAndQuery = format!("/keyferry.v1.{rpc}").parse().unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    if described.is_client_streaming() {
        let mut request = Request::new(tokio_stream::once(bytes));
        for (name, line) in lines {
            request.metadata_mut().append(*name, line.parse().unwrap());
        }
        let mut answers = match client.streaming(request, path, Raw).await {
            Ok(answers) => answers.into_inner(),
            Err(refused) => return refused.into(),
        };
        let answer = answers.message().await.unwrap().unwrap();
        let answer = v1::ExportDataKeysResponse::decode(answer.as_slice()).unwrap();
        return match answer.outcome.unwrap() {
            v1::export_data_keys_response::Outcome::Exported(_) => Outcome::Allowed,
            v1::export_data_keys_response::Outcome::Error(error) => {
                Status::new(Code::from(error.code), error.message).into()
            }
        };
    }
    let mut request = Request::new(bytes);
    for (name, line) in lines {
        request.metadata_mut().append(*name, line.parse().unwrap());
    }
    match client.unary(request, path, Raw).await {
        Ok(_) => Outcome::Allowed,
        Err(refused) => refused.into(),
    }
}

async fn call_action(http: &mut Http, signer: &Signer, rpc: &str, request: &Value) -> Outcome {
    let action = action_of(rpc).unwrap();
    let parameters: Vec<(String, String)> = request
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (pascal(name), parameter(name, value)))
        .collect();
    let answer = http.v3(signer, action.name, &parameters).await;
    if answer.status == 200 {
        return Outcome::Allowed;
    }
    let (code, message) = (answer.code(), answer.json()["Message"].as_str().unwrap().to_owned());
    match answer.status {
        403 => Outcome::Denied(format!("{code} {message}")),
        409 => Outcome::Allowed,
        400 if code == "DryRunOperationError" => Outcome::Allowed,
        _ => Outcome::Other(format!("{code} {message}")),
    }
}

fn pascal(name: &str) -> String {
    let words = name.split('_');
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// Enums without their prefix, structures as JSON.
fn parameter(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => {
            let prefix = ["WRAPPING_ALGORITHM_", "WRAPPING_KEY_SPEC_", "SIGNING_ALGORITHM_"]
                .into_iter()
                .find(|prefix| text.starts_with(prefix));
            prefix.map_or(text.as_str(), |prefix| &text[prefix.len()..]).to_owned()
        }
        Value::Array(members) if name == "tags" => {
            let tag = |tag: &Value| json!({"TagKey": tag["tag_key"], "TagValue": tag["tag_value"]});
            json!(members.iter().map(tag).collect::<Vec<_>>()).to_string()
        }
        other => other.to_string(),
    }
}

// ---- keys, and the requests about them ----

/// The things that requests are about: of the caller, of others, or of nobody.
#[derive(Clone)]
struct Things {
    key: String,
    key_version: String,
    pair: String,
    pair_version: String,
    ciphertext: String,
    signer: String,
    signer_version: String,
    signature: String,
    blob: String,
    alias: String,
    new_alias: String,
    access_key: String,
    account: String,
}

impl Things {
    async fn make(services: &Services, name: &str) -> Self {
        let dev = dev_caller();
        let key = create(services, "", "").await;
        let pair = create(services, "EC_SM2", "ENCRYPT/DECRYPT").await;
        let signer = create(services, "EC_SM2", "SIGN/VERIFY").await;
        let encrypted = services
            .asymmetric_encrypt(
                &dev,
                v1::AsymmetricEncryptRequest {
                    key_id: pair.0.clone(),
                    key_version_id: pair.1.clone(),
                    algorithm: v1::WrappingAlgorithm::Sm2pke.into(),
                    plaintext: vec![1; 16],
                    ..Default::default()
                },
            )
            .await
            .unwrap();
        let verified = services
            .asymmetric_sign(
                &dev,
                v1::AsymmetricSignRequest {
                    key_id: signer.0.clone(),
                    key_version_id: signer.1.clone(),
                    algorithm: v1::SigningAlgorithm::Sm2dsa.into(),
                    digest: vec![7; 32],
                    dry_run: false,
                },
            )
            .await
            .unwrap();
        let generated = services
            .generate_data_key_without_plaintext(
                &dev,
                v1::GenerateDataKeyWithoutPlaintextRequest {
                    key_id: key.0.clone(),
                    encryption_context: BTreeMap::from([("app".into(), "billing".into())]),
                    ..Default::default()
                },
            )
            .await
            .unwrap();
        let alias = format!("alias/{name}");
        let named = v1::CreateAliasRequest {
            alias_name: alias.clone(),
            key_id: key.0.clone(),
            dry_run: false,
        };
        services.create_alias(&dev, named).await.unwrap();
        let made = v1::CreateAccessKeyRequest { principal: name.to_owned(), dry_run: false };
        let made = services.create_access_key(&dev, made).await.unwrap();
        Self {
            key: key.0,
            key_version: key.1,
            pair: pair.0,
            pair_version: pair.1,
            ciphertext: STANDARD.encode(encrypted.ciphertext_blob),
            signer: signer.0,
            signer_version: signer.1,
            signature: STANDARD.encode(verified.value),
            blob: STANDARD.encode(generated.ciphertext_blob),
            alias,
            new_alias: format!("alias/{name}-new"),
            access_key: made.access_key_id,
            account: name.to_owned(),
        }
    }

    /// Things that nobody made, of the same form.
    fn unknown(like: &Self) -> Self {
        let id = || uuid::Uuid::now_v7().to_string();
        let mut blob = STANDARD.decode(&like.blob).unwrap();
        blob[..36].copy_from_slice(id().as_bytes());
        let mut access_key = like.access_key.clone();
        let last = access_key.pop().unwrap();
        access_key.push(if last == 'a' { 'b' } else { 'a' });
        Self {
            key: id(),
            key_version: id(),
            pair: id(),
            pair_version: id(),
            signer: id(),
            signer_version: id(),
            blob: STANDARD.encode(blob),
            alias: "alias/nobodys".to_owned(),
            new_alias: "alias/nobodys-new".to_owned(),
            access_key,
            account: "nobodys".to_owned(),
            ..like.clone()
        }
    }

    fn keys(&self) -> [&str; 3] {
        [&self.key, &self.pair, &self.signer]
    }
}

/// A CMK and its newest version.
async fn create(services: &Services, spec: &str, usage: &str) -> (String, String) {
    let request = v1::CreateKeyRequest {
        key_spec: spec.to_owned(),
        key_usage: usage.to_owned(),
        ..Default::default()
    };
    let made = services.create_key(&dev_caller(), request).await.unwrap();
    let key_id = made.key_metadata.unwrap().key_id;
    let request = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
    let listed = services.list_key_versions(&dev_caller(), request).await.unwrap();
    (key_id, listed.key_versions[0].key_version_id.clone())
}

/// The request of an RPC about these things, under this context. Changes are dry runs, so
/// that the next request finds what this one found.
fn request(rpc: &str, of: &Things, app: &str, recipient: &Recipient) -> Value {
    let context = json!({ "app": app });
    let export = json!({
        "ciphertext_blob": of.blob,
        "public_key_blob": STANDARD.encode(recipient.private.public_key_der()),
        "wrapping_algorithm": "WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256",
        "wrapping_key_spec": "WRAPPING_KEY_SPEC_RSA_2048",
        "encryption_context": context,
    });
    let pair = |algorithm: &str| json!({ "key_id": of.pair, "key_version_id": of.pair_version, "algorithm": algorithm });
    let signer = || {
        json!({
            "key_id": of.signer, "key_version_id": of.signer_version,
            "algorithm": "SIGNING_ALGORITHM_SM2DSA", "digest": STANDARD.encode([7; 32]),
        })
    };
    let key = || json!({ "key_id": of.key });
    let of_key = json!({ "key_id": of.key, "encryption_context": context });
    let tags = json!([{ "tag_key": "team", "tag_value": "payments" }]);
    let with = |mut request: Value, more: Value| {
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let (service, name) = rpc.split_once('/').unwrap();
    let request = match name {
        "GenerateDataKeyWithoutPlaintext" | "GenerateDataKey" => of_key,
        "ExportDataKey" => export,
        "ExportDataKeys" => json!({ "item_id": "1", "item": export }),
        "GenerateAndExportDataKey" => {
            let mut both = with(export, of_key);
            both.as_object_mut().unwrap().remove("ciphertext_blob");
            both
        }
        "Encrypt" => with(of_key, json!({ "plaintext": STANDARD.encode("a") })),
        "Decrypt" => json!({ "ciphertext_blob": of.blob, "encryption_context": context }),
        "ReEncrypt" => json!({
            "ciphertext_blob": of.blob, "source_encryption_context": context,
            "destination_key_id": of.key, "destination_encryption_context": context,
        }),
        "GetPublicKey" => json!({ "key_id": of.pair, "key_version_id": of.pair_version }),
        "AsymmetricEncrypt" => {
            let plaintext = json!({ "plaintext": STANDARD.encode([1; 16]) });
            with(pair("WRAPPING_ALGORITHM_SM2PKE"), plaintext)
        }
        "AsymmetricDecrypt" => {
            let ciphertext = json!({ "ciphertext_blob": of.ciphertext });
            with(pair("WRAPPING_ALGORITHM_SM2PKE"), ciphertext)
        }
        "AsymmetricSign" => signer(),
        "AsymmetricVerify" => with(signer(), json!({ "value": of.signature })),
        "CreateKey" => json!({ "tags": tags }),
        "UpdateKeyDescription" => with(key(), json!({ "description": "other" })),
        "ScheduleKeyDeletion" => with(key(), json!({ "pending_window_in_days": 7 })),
        "SetDeletionProtection" => json!({
            "protected_resource_arn": of.key, "enable_deletion_protection": true,
        }),
        "DescribeKeyVersion" => with(key(), json!({ "key_version_id": of.key_version })),
        "UpdateRotationPolicy" => with(key(), json!({ "enable_automatic_rotation": false })),
        "CreateAlias" => with(key(), json!({ "alias_name": of.new_alias })),
        "UpdateAlias" => json!({ "alias_name": of.alias, "key_id": of.pair }),
        "DeleteAlias" => json!({ "alias_name": of.alias }),
        "TagResource" => with(key(), json!({ "tags": tags })),
        "UntagResource" => with(key(), json!({ "tag_keys": ["team"] })),
        "TagResources" => json!({ "resource_type": "key", "resource_ids": [of.key], "tags": tags }),
        "UntagResources" => {
            json!({ "resource_type": "key", "resource_ids": [of.key], "tag_keys": ["team"] })
        }
        "ListTagResources" => json!({ "resource_type": "key", "resource_ids": [of.key] }),
        "ListKeys" | "ListAliases" | "DescribeRegions" | "ListAccessKeys" | "GetReceiptKeys" => {
            json!({})
        }
        "CreateAccessKey" => json!({ "principal": of.account }),
        "DisableAccessKey" | "DeleteAccessKey" => json!({ "access_key_id": of.access_key }),
        _ => key(),
    };
    let changes = TABLE.iter().any(|row| row.rpc == rpc && row.purpose == "Change");
    debug_assert!(!service.is_empty());
    if changes { with(request, json!({ "dry_run": true })) } else { request }
}

// ---- policies ----

const UNDER_BILLING: &str = "context.encryption_context.hasTag(\"app\") && context.encryption_context.getTag(\"app\") == \"billing\"";

fn has_context(action: Action) -> bool {
    matches!(
        action,
        Action::GenerateDataKeyWithoutPlaintext
            | Action::GenerateDataKey
            | Action::Encrypt
            | Action::Decrypt
            | Action::ExportDataKey
            | Action::ReEncryptFrom
            | Action::ReEncryptTo
    )
}

/// Policies that permit a caller these decisions on these things, and nothing else.
fn permitting(principal: &str, decisions: &[Decision], on: &Things) -> String {
    let mut text = String::new();
    for (number, Decision { action, resource }) in decisions.iter().enumerate() {
        let resources: Vec<String> = match resource {
            Resource::Instance => vec!["resource == Instance::\"this\"".to_owned()],
            Resource::Key | Resource::Destination => {
                on.keys().iter().map(|key| format!("resource == Key::\"{key}\"")).collect()
            }
            Resource::NewKey => vec!["resource is Key".to_owned()],
            Resource::Alias => [&on.alias, &on.new_alias]
                .iter()
                .map(|alias| format!("resource == Alias::\"{alias}\""))
                .collect(),
            Resource::Account => vec![format!("resource == ServiceAccount::\"{}\"", on.account)],
        };
        let under = if has_context(*action) {
            format!("when {{ {UNDER_BILLING} }}")
        } else {
            String::new()
        };
        for (other, resource) in resources.iter().enumerate() {
            let _ = writeln!(
                text,
                "@id(\"p{number}-{other}\") permit (principal == {principal}, action == Action::\"{action}\", {resource}) {under};"
            );
        }
    }
    text
}

fn cedar(principal: &str) -> String {
    match Principal::parse(principal).unwrap() {
        it if principal.starts_with("spiffe://") => format!("Spiffe::\"{it}\""),
        it if principal.starts_with("unix:") => format!("UnixUser::\"{}\"", it.name()),
        it if principal.starts_with("access-key:") => format!("ServiceAccount::\"{}\"", it.name()),
        it => format!("JwtSubject::\"{}#{}\"", it.authority(), it.name()),
    }
}

// ---- the server, and a caller of each kind ----

struct World {
    policy: Policy,
    callers: Vec<(String, Caller)>,
    mine: Things,
    others: Things,
    /// A blob of mine, whose data key its caller was shown.
    shown: String,
    _files: TlsFiles,
}

impl World {
    async fn new() -> Self {
        let files = TlsFiles::new();
        let directory = files.directory.path();
        let token_key = tokens::Key::new("es", Algorithm::ES256);
        tokens::put_keys(directory, &[token_key.public()]);
        let uid = std::fs::metadata("/proc/self").unwrap().uid();
        let tls = r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem""#;
        let more = format!(
            "[[listener]]\naddress = \"unix:plain.sock\"\ngateway = true\n\
             [[listener]]\naddress = \"unix:mesh.sock\"\n\
             forwarded_client_cert = {{ from = [\"unix:{uid}\"] }}\n\
             [[listener]]\naddress = \"unix:token.sock\"\njwt = true\n\
             [auth.unix]\n[auth.access_key]\n{}",
            tokens::TABLE
        );
        let config = Config::parse(&files.text(tls, &more), directory, []).unwrap();
        let keys = Founded::over(Arc::new(MemoryStore::new())).await;
        let keys = keys.keys(Arc::new(SystemClock)).await;
        // What requests are about is made before policies decide.
        let policy = Policy::dev();
        let services = Services::new(keys, policy.clone(), Arns::new("local", "0"));
        let (mine, others) =
            (Things::make(&services, "payments").await, Things::make(&services, "others").await);
        let shown = v1::GenerateDataKeyRequest {
            key_id: mine.key.clone(),
            encryption_context: BTreeMap::from([("app".into(), "billing".into())]),
            ..Default::default()
        };
        let shown = services.generate_data_key(&dev_caller(), shown).await.unwrap();
        let access_key = services
            .create_access_key(
                &dev_caller(),
                v1::CreateAccessKeyRequest { principal: "me".to_owned(), dry_run: false },
            )
            .await
            .unwrap();
        let address = serve(&config, services).await;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(SPIFFE).unwrap())];
        let issued = files.authority.issue(&params);
        let over_tls = tls_channel(address.parse().unwrap(), files.trusting(Some(&issued))).await;
        let socket = async |name: &str| unix_channel(&directory.join(name)).await.unwrap();
        let plain = |channel| Caller::Rpc { channel, lines: Vec::new() };
        let xfcc = ("x-forwarded-client-cert", format!("Hash=00;URI={SPIFFE}"));
        let token = (AUTHORIZATION, tokens::bearing(&token_key.sign(&tokens::claims())));
        let signer = Signer {
            access_key_id: access_key.access_key_id,
            secret: access_key.access_key_secret,
            version: "2016-01-20",
        };
        let callers = vec![
            (SPIFFE.to_owned(), plain(over_tls.unwrap())),
            (format!("unix:{uid}"), plain(socket("plain.sock").await)),
            (
                SPIFFE.to_owned(),
                Caller::Rpc { channel: socket("mesh.sock").await, lines: vec![xfcc] },
            ),
            (
                tokens::ALICE.to_owned(),
                Caller::Rpc { channel: socket("token.sock").await, lines: vec![token] },
            ),
            (
                "access-key:me".to_owned(),
                Caller::Signed { http: Box::new(http_over(directory).await), signer },
            ),
        ];
        Self {
            policy,
            callers,
            mine,
            others,
            shown: STANDARD.encode(shown.ciphertext_blob),
            _files: files,
        }
    }
}

async fn http_over(directory: &Path) -> Http {
    Http::over(UnixStream::connect(directory.join("plain.sock")).await.unwrap(), "localhost")
}

/// Serves on every listener, and gives the address of the first.
async fn serve(config: &Config, services: Services) -> String {
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        listeners.push(Listener::bind(listener).await.unwrap());
    }
    let address = listeners[0].address().to_string();
    let health = Health::new(&Services::NAMES, || async { true });
    let gateway = Gateway::new(services.clone(), config.gateway).unwrap();
    let faces = Faces { rpcs: services.routes(), gateway: Some(gateway) };
    tokio::spawn(run(listeners, faces, health, Limits::default(), std::future::pending()));
    address
}

/// Whether the same policies here permit both: the keys of two-key RPCs are mine both.
fn are_one(one: Decision, other: Decision) -> bool {
    let is_key = |it: Decision| matches!(it.resource, Resource::Key | Resource::Destination);
    one.action == other.action && is_key(one) && is_key(other)
}

/// Whether a row is about something that can be another's.
fn is_about_things(row: &Row) -> bool {
    row.required.iter().any(|it| !matches!(it.resource, Resource::Instance | Resource::NewKey))
}

#[tokio::test]
async fn every_rpc_and_action_is_for_those_who_may() {
    let World { policy, mut callers, mine, others, _files, .. } = World::new().await;
    let (unknown, recipient) = (Things::unknown(&mine), Recipient::rsa());
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut asked = 0;
    for row in TABLE {
        for (principal, caller) in &mut callers {
            if !caller.can_call(row.rpc) {
                continue;
            }
            assert!(Instant::now() < deadline, "{asked} requests took too long");
            let name = format!("{} by {principal}", row.rpc);
            let permits = |principal: &str, decisions: &[Decision]| {
                policy.replace(policies(&permitting(principal, decisions, &mine)));
            };
            let own = request(row.rpc, &mine, "billing", &recipient);
            permits(&cedar(principal), row.required);
            assert_eq!(caller.call(row.rpc, &own).await, Outcome::Allowed, "{name}");
            asked += 1;
            if is_about_things(row) {
                let on_others = request(row.rpc, &others, "billing", &recipient);
                let on_nothing = request(row.rpc, &unknown, "billing", &recipient);
                let denied = caller.call(row.rpc, &on_others).await;
                assert!(matches!(denied, Outcome::Denied(_)), "{name}, on another's: {denied:?}");
                let nothing = caller.call(row.rpc, &on_nothing).await;
                assert_eq!(nothing, denied, "{name}: denied and unknown are one answer");
                asked += 2;
            }
            if row.required.iter().any(|decision| has_context(decision.action)) {
                let elsewhere = request(row.rpc, &mine, "shipping", &recipient);
                let denied = caller.call(row.rpc, &elsewhere).await;
                assert!(
                    matches!(denied, Outcome::Denied(_)),
                    "{name}, in another context: {denied:?}"
                );
                asked += 1;
            }
            // Each of the decisions is needed.
            for (left_out, _) in row.required.iter().enumerate() {
                let mut others = row.required.to_vec();
                let missing = others.remove(left_out);
                if others.iter().any(|other| are_one(*other, missing)) {
                    continue;
                }
                permits(&cedar(principal), &others);
                let denied = caller.call(row.rpc, &own).await;
                assert!(
                    matches!(denied, Outcome::Denied(_)),
                    "{name}, without {missing:?}: {denied:?}"
                );
                asked += 1;
            }
            permits("UnixUser::\"4294967294\"", row.required);
            let denied = caller.call(row.rpc, &own).await;
            assert!(matches!(denied, Outcome::Denied(_)), "{name}, for another: {denied:?}");
            asked += 1;
        }
    }
    assert!(asked > 700, "{asked}");
}

/// The billing service may export keys of alias/payments, only to these two HSMs, only
/// under the context app=billing, only keys that were born unseen; nobody else may export
/// anything.
#[tokio::test]
async fn the_example_of_pinned_exports_holds() {
    let World { policy, mut callers, mine, others, shown, _files } = World::new().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies/pinned-exports");
    policy.replace(policy_dir::load(&folder, Reader::Reviewer).unwrap());
    let hsm = |name: &str| {
        let pem = std::fs::read_to_string(folder.join(name)).unwrap();
        json!(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>())
    };
    let recipient = Recipient::rsa();
    let export = |of: &Things, app: &str, changes: Value| {
        let mut request = request("Kms/ExportDataKey", of, app, &recipient);
        request["public_key_blob"] = hsm("hsm-a.pem");
        request.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        request
    };
    let to_the_other = json!({
        "public_key_blob": hsm("hsm-b.pem"),
        "wrapping_key_spec": "WRAPPING_KEY_SPEC_EC_SM2",
        "wrapping_algorithm": "WRAPPING_ALGORITHM_SM2PKE",
    });
    let to_its_own = json!({
        "public_key_blob": STANDARD.encode(recipient.private.public_key_der()),
    });
    let permitted = [export(&mine, "billing", json!({})), export(&mine, "billing", to_the_other)];
    let denied = [
        ("another recipient", export(&mine, "billing", to_its_own)),
        ("another context", export(&mine, "shipping", json!({}))),
        ("a key that was seen", export(&mine, "billing", json!({ "ciphertext_blob": shown }))),
        ("another key", export(&others, "billing", json!({}))),
    ];
    let plaintext = request("Kms/Decrypt", &mine, "billing", &recipient);
    for (principal, caller) in &mut callers {
        let is_billing = principal == SPIFFE;
        for request in &permitted {
            let outcome = caller.call("Kms/ExportDataKey", request).await;
            assert_eq!(outcome == Outcome::Allowed, is_billing, "{principal}: {outcome:?}");
        }
        for (what, request) in &denied {
            let outcome = caller.call("Kms/ExportDataKey", request).await;
            assert!(matches!(outcome, Outcome::Denied(_)), "{principal}, {what}: {outcome:?}");
        }
        let outcome = caller.call("Kms/Decrypt", &plaintext).await;
        assert!(matches!(outcome, Outcome::Denied(_)), "{principal}, plaintext: {outcome:?}");
    }
}

/// The items of a stream are judged by the policies of their own moment, not by those of
/// its beginning.
#[tokio::test]
async fn a_stream_that_is_open_is_narrowed_with_the_policies() {
    let World { policy, callers, mine, _files, .. } = World::new().await;
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let (name, Caller::Rpc { channel, .. }) = &callers[1] else { panic!("a Unix socket") };
    assert_eq!(*name, format!("unix:{uid}"));
    let item = |item_id: &str| v1::ExportDataKeysRequest {
        item_id: item_id.to_owned(),
        item: Some(
            Recipient::rsa().export(&STANDARD.decode(&mine.blob).unwrap(), &[("app", "billing")]),
        ),
    };
    let (sender, items) = tokio::sync::mpsc::channel(1);
    let items = tokio_stream::wrappers::ReceiverStream::new(items);
    let mut kms = v1::kms_client::KmsClient::new(channel.clone());
    let wide = "@id(\"all\") permit (principal, action, resource);";
    policy.replace(policies(wide));
    let mut answers = kms.export_data_keys(items).await.unwrap().into_inner();
    for (round, text) in [wide, "", wide, "", wide].into_iter().enumerate() {
        policy.replace(policies(text));
        sender.send(item(&round.to_string())).await.unwrap();
        let answer = answers.message().await.unwrap().expect("an answer");
        assert_eq!(answer.item_id, round.to_string());
        match answer.outcome.unwrap() {
            v1::export_data_keys_response::Outcome::Exported(_) => assert_eq!(text, wide),
            v1::export_data_keys_response::Outcome::Error(error) => {
                assert_eq!((text, error.reason.as_str()), ("", "Forbidden.NoPermission"));
            }
        }
    }
}
