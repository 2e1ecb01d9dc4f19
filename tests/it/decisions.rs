//! The decision table: a row for each RPC, and each RPC asks what its row says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use keyferry::access::decisions::TABLE;
use keyferry::proto::v1;
use prost_reflect::DescriptorPool;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Recipient, TestServer};

fn rpcs_of_the_contract() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(keyferry::proto::CONTRACT).unwrap();
    let services = pool.services().filter(|service| service.package_name() == "keyferry.v1");
    services
        .flat_map(|service| {
            let name = service.name().to_owned();
            service.methods().map(|method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_rpc_has_one_row() {
    let rows: Vec<String> = TABLE.iter().map(|row| row.rpc.to_owned()).collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), rpcs_of_the_contract());
    assert_eq!(rows.len(), rpcs_of_the_contract().len());
}

#[test]
fn messages_with_secrets_are_shown_by_name_only() {
    use keyferry::proto::v1;
    let planted = b"planted-secret".to_vec();
    let shown = [
        format!("{:?}", v1::DecryptResponse { plaintext: planted.clone(), ..Default::default() }),
        format!("{:?}", v1::EncryptRequest { plaintext: planted.clone(), ..Default::default() }),
        format!("{:?}", v1::GenerateDataKeyResponse { plaintext: planted, ..Default::default() }),
        format!(
            "{:?}",
            v1::CreateAccessKeyResponse {
                access_key_secret: "planted-secret".into(),
                ..Default::default()
            }
        ),
    ];
    let names =
        ["DecryptResponse", "EncryptRequest", "GenerateDataKeyResponse", "CreateAccessKeyResponse"];
    assert_eq!(shown, names);
}

/// The decisions by RPC, each with the names of the facts that were at hand: what the
/// policy logs, in the span of the request.
#[derive(Clone, Default)]
struct Decided(Arc<Mutex<BTreeMap<String, FactsByAction>>>);

/// The names of facts, by action.
type FactsByAction = BTreeMap<String, BTreeSet<String>>;

impl<S> Layer<S> for Decided
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(path) = Texts::of(|texts| attributes.record(texts)).0.remove("rpc") {
            context.span(id).unwrap().extensions_mut().insert(Rpc(path));
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        if event.metadata().target() != "keyferry::access" {
            return;
        }
        let mut facts = Texts::of(|texts| event.record(texts)).0;
        let action = facts.remove("decision").unwrap();
        for always in ["message", "allowed", "policies", "dry_run"] {
            facts.remove(always).unwrap();
        }
        let mut spans = context.event_scope(event).into_iter().flatten();
        let rpc = spans.find_map(|span| Some(span.extensions().get::<Rpc>()?.0.clone()));
        let rpc = rpc.expect("a request's span");
        let rpc = rpc.strip_prefix("/keyferry.v1.").unwrap().to_owned();
        let mut decided = self.0.lock().unwrap();
        let known = decided.entry(rpc).or_default().entry(action).or_default();
        known.extend(facts.into_keys());
    }
}

/// The path of an RPC, kept with the span of its request.
struct Rpc(String);

/// The fields of an event or a span, as text.
#[derive(Default)]
struct Texts(BTreeMap<String, String>);

impl Texts {
    fn of(record: impl FnOnce(&mut Self)) -> Self {
        let mut texts = Self::default();
        record(&mut texts);
        texts
    }
}

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[tokio::test]
async fn every_rpc_asks_what_its_row_says() {
    let decided = Decided::default();
    // With one subscriber in the process, tracing asks the thread that comes first to
    // a callsite whether anybody listens there, and another test's thread says no.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // The server decides on this test's own thread, and tells only its subscriber.
    let _heard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(decided.clone()));
    let server = TestServer::start().await;
    use_keys(&server).await;
    use_pairs(&server).await;
    manage_keys(&server).await;
    manage_lives(&server).await;
    manage_access_keys(&server).await;
    let facts = decided.0.lock().unwrap().clone();
    let decided: BTreeMap<_, BTreeSet<_>> =
        facts.iter().map(|(rpc, by)| (rpc.clone(), by.keys().cloned().collect())).collect();
    let table: BTreeMap<String, BTreeSet<String>> = TABLE
        .iter()
        .map(|row| {
            let actions = row.required.iter().map(|decision| decision.action.to_string()).collect();
            (row.rpc.to_owned(), actions)
        })
        .collect();
    assert_eq!(decided, table);
    for (rpc, by_action) in facts {
        for (action, facts) in by_action {
            let facts: Vec<_> = facts.iter().map(String::as_str).collect();
            assert_eq!(facts, facts_of(&rpc, &action), "{rpc}: {action}");
        }
    }
}

/// The facts that a policy may read in a decision of an RPC, by name and in order,
/// beside the caller and whether it is a dry run.
fn facts_of(rpc: &str, action: &str) -> Vec<&'static str> {
    let sealed = ["blob_kind", "context_sha256", "number_of_bytes"].as_slice();
    let wrapped = ["algorithm", "recipient_sha256", "recipient_spec"].as_slice();
    let key = ["aliases", "key_id"].as_slice();
    let other = ["other_context_sha256", "other_key_id"].as_slice();
    let (service, method) = rpc.split_once('/').unwrap();
    let own: &[&[&str]] = match (service, method, action) {
        ("Kms", "ExportDataKey" | "ExportDataKeys" | "GenerateAndExportDataKey", _) => {
            &[key, sealed, wrapped]
        }
        ("Kms", "ReEncrypt", _) => &[key, sealed, other],
        ("Kms", "GetPublicKey", _) => &[key],
        ("Kms", method, _) if method.starts_with("Asymmetric") => &[key, &["algorithm"]],
        ("Kms", ..) => &[key, sealed],
        ("KeyManagement", "CreateKey", _) => &[&["new_key_spec", "new_key_usage", "new_tags"]],
        ("KeyManagement", "UpdateAlias", _) => &[key, &["alias", "other_key_id"]],
        ("KeyManagement", "CreateAlias" | "DeleteAlias", _) => &[key, &["alias"]],
        ("KeyManagement", _, "TagResource" | "UntagResource") => &[key, &["new_tags"]],
        ("KeyManagement", "ListKeys" | "ListAliases" | "DescribeRegions", _) => &[],
        ("KeyManagement", ..) => &[key],
        (_, "ListAccessKeys" | "GetReceiptKeys", _) => &[],
        _ => &[&["account"]],
    };
    let mut facts: Vec<_> = own.concat();
    facts.sort_unstable();
    facts
}

async fn use_keys(server: &TestServer) {
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    let (mut kms, recipient) = (server.kms.clone(), Recipient::rsa());
    kms.export_data_key(recipient.export(&blob, &[])).await.unwrap();
    let generate = v1::GenerateDataKeyRequest { key_id: key_id.clone(), ..Default::default() };
    kms.generate_data_key(generate).await.unwrap();
    let both = v1::GenerateAndExportDataKeyRequest {
        key_id: key_id.clone(),
        public_key_blob: recipient.private.public_key_der().to_vec(),
        wrapping_algorithm: recipient.algorithm.into(),
        wrapping_key_spec: recipient.spec.into(),
        ..Default::default()
    };
    kms.generate_and_export_data_key(both).await.unwrap();
    let encrypt =
        v1::EncryptRequest { key_id: key_id.clone(), plaintext: vec![1], ..Default::default() };
    kms.encrypt(encrypt).await.unwrap();
    let decrypt = v1::DecryptRequest { ciphertext_blob: blob.clone(), ..Default::default() };
    kms.decrypt(decrypt).await.unwrap();
    let re_encrypt = v1::ReEncryptRequest {
        ciphertext_blob: blob,
        destination_key_id: key_id,
        ..Default::default()
    };
    kms.re_encrypt(re_encrypt).await.unwrap();
}

async fn use_pairs(server: &TestServer) {
    let mut kms = server.kms.clone();
    let (key_id, key_version_id) = server.create_pair("EC_SM2", "ENCRYPT/DECRYPT").await;
    let name = (key_id.clone(), key_version_id.clone());
    let public = v1::GetPublicKeyRequest { key_id, key_version_id, ..Default::default() };
    kms.get_public_key(public).await.unwrap();
    let algorithm = v1::WrappingAlgorithm::Sm2pke.into();
    let (key_id, key_version_id) = name.clone();
    let plaintext = vec![1; 16];
    let encrypt = v1::AsymmetricEncryptRequest {
        key_id,
        key_version_id,
        algorithm,
        plaintext,
        ..Default::default()
    };
    let ciphertext_blob =
        kms.asymmetric_encrypt(encrypt).await.unwrap().into_inner().ciphertext_blob;
    let (key_id, key_version_id) = name;
    let decrypt = v1::AsymmetricDecryptRequest {
        key_id,
        key_version_id,
        algorithm,
        ciphertext_blob,
        ..Default::default()
    };
    kms.asymmetric_decrypt(decrypt).await.unwrap();
    let (key_id, key_version_id) = server.create_pair("EC_P256", "SIGN/VERIFY").await;
    let algorithm = v1::SigningAlgorithm::EcdsaSha256.into();
    let digest = vec![7; 32];
    let sign = v1::AsymmetricSignRequest {
        key_id: key_id.clone(),
        key_version_id: key_version_id.clone(),
        algorithm,
        digest: digest.clone(),
        ..Default::default()
    };
    let value = kms.asymmetric_sign(sign).await.unwrap().into_inner().value;
    let verify = v1::AsymmetricVerifyRequest {
        key_id,
        key_version_id,
        algorithm,
        digest,
        value,
        ..Default::default()
    };
    assert!(kms.asymmetric_verify(verify).await.unwrap().into_inner().value);
    let blob = server.generate(&server.create_key().await, &[], 16).await;
    let item = Some(Recipient::rsa().export(&blob, &[]));
    let items = tokio_stream::once(v1::ExportDataKeysRequest { item, ..Default::default() });
    let mut answers = kms.export_data_keys(items).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().outcome.is_some());
}

async fn manage_lives(server: &TestServer) {
    let mut management = server.management.clone();
    let key_id = server.create_key().await;
    let dry_run = false;
    let description = "other".to_owned();
    let describe = v1::UpdateKeyDescriptionRequest { key_id: key_id.clone(), description, dry_run };
    management.update_key_description(describe).await.unwrap();
    let made = v1::CreateKeyVersionRequest { key_id: key_id.clone(), dry_run };
    let made = management.create_key_version(made).await.unwrap().into_inner().key_version.unwrap();
    let version = v1::DescribeKeyVersionRequest {
        key_id: key_id.clone(),
        key_version_id: made.key_version_id,
        dry_run,
    };
    management.describe_key_version(version).await.unwrap();
    let versions = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
    management.list_key_versions(versions).await.unwrap();
    let rotation = v1::UpdateRotationPolicyRequest {
        key_id: key_id.clone(),
        enable_automatic_rotation: Some(true),
        rotation_interval: "90d".into(),
        dry_run,
    };
    management.update_rotation_policy(rotation).await.unwrap();
    let tags = vec![v1::Tag { tag_key: "team".into(), tag_value: "payments".into() }];
    let tag = v1::TagResourceRequest { key_id: key_id.clone(), tags, dry_run };
    management.tag_resource(tag).await.unwrap();
    let list = v1::ListResourceTagsRequest { key_id: key_id.clone(), dry_run };
    management.list_resource_tags(list).await.unwrap();
    let tag_keys = vec!["team".to_owned()];
    let untag = v1::UntagResourceRequest { key_id: key_id.clone(), tag_keys, dry_run };
    management.untag_resource(untag).await.unwrap();
    let (resource_type, resource_ids) = ("key".to_owned(), vec![key_id.clone()]);
    let tags = vec![v1::Tag { tag_key: "team".into(), tag_value: "payments".into() }];
    let tag = v1::TagResourcesRequest {
        resource_type: resource_type.clone(),
        resource_ids: resource_ids.clone(),
        tags,
        dry_run,
    };
    management.tag_resources(tag).await.unwrap();
    let list = v1::ListTagResourcesRequest {
        resource_type: resource_type.clone(),
        resource_ids: resource_ids.clone(),
        tags: vec![],
        dry_run,
    };
    management.list_tag_resources(list).await.unwrap();
    let untag = v1::UntagResourcesRequest {
        resource_type,
        resource_ids,
        tag_keys: vec!["team".to_owned()],
        all: false,
        dry_run,
    };
    management.untag_resources(untag).await.unwrap();
    management.describe_regions(v1::DescribeRegionsRequest { dry_run }).await.unwrap();
    let protection = v1::SetDeletionProtectionRequest {
        protected_resource_arn: key_id.clone(),
        enable_deletion_protection: Some(false),
        ..Default::default()
    };
    management.set_deletion_protection(protection).await.unwrap();
    let schedule = v1::ScheduleKeyDeletionRequest {
        key_id: key_id.clone(),
        pending_window_in_days: Some(7),
        dry_run,
    };
    management.schedule_key_deletion(schedule).await.unwrap();
    let cancel = v1::CancelKeyDeletionRequest { key_id, dry_run };
    management.cancel_key_deletion(cancel).await.unwrap();
}

async fn manage_access_keys(server: &TestServer) {
    let (access_key_id, _) = server.create_access_key("billing").await;
    let (mut access, dry_run) = (server.access.clone(), false);
    access.list_access_keys(v1::ListAccessKeysRequest::default()).await.unwrap();
    let disable = v1::DisableAccessKeyRequest { access_key_id: access_key_id.clone(), dry_run };
    access.disable_access_key(disable).await.unwrap();
    let delete = v1::DeleteAccessKeyRequest { access_key_id, dry_run };
    access.delete_access_key(delete).await.unwrap();
    access.get_receipt_keys(v1::GetReceiptKeysRequest { dry_run }).await.unwrap();
}

async fn manage_keys(server: &TestServer) {
    let (one, two) = (server.create_key().await, server.create_key().await);
    let mut management = server.management.clone();
    let tags = vec![v1::Tag { tag_key: "team".into(), tag_value: "payments".into() }];
    let tagged = v1::CreateKeyRequest { tags, ..Default::default() };
    management.create_key(tagged).await.unwrap();
    let (key_id, dry_run) = (one, false);
    let alias_name = "alias/a".to_owned();
    management
        .describe_key(v1::DescribeKeyRequest { key_id: key_id.clone(), dry_run })
        .await
        .unwrap();
    management.list_keys(v1::ListKeysRequest::default()).await.unwrap();
    management
        .disable_key(v1::DisableKeyRequest { key_id: key_id.clone(), dry_run })
        .await
        .unwrap();
    management.enable_key(v1::EnableKeyRequest { key_id: key_id.clone(), dry_run }).await.unwrap();
    let create = v1::CreateAliasRequest { alias_name: alias_name.clone(), key_id, dry_run };
    management.create_alias(create).await.unwrap();
    let update =
        v1::UpdateAliasRequest { alias_name: alias_name.clone(), key_id: two.clone(), dry_run };
    management.update_alias(update).await.unwrap();
    management.list_aliases(v1::ListAliasesRequest::default()).await.unwrap();
    let of_key = v1::ListAliasesByKeyIdRequest { key_id: two, ..Default::default() };
    management.list_aliases_by_key_id(of_key).await.unwrap();
    management.delete_alias(v1::DeleteAliasRequest { alias_name, dry_run }).await.unwrap();
}
