//! The decision table: a row for each RPC, and each RPC asks what its row says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use keyferry::access::decisions::TABLE;
use keyferry::proto::v1;
use prost_reflect::DescriptorPool;
use support::{Recipient, TestServer};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

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
    ];
    assert_eq!(shown, ["DecryptResponse", "EncryptRequest", "GenerateDataKeyResponse"]);
}

/// What was decided, from the events that the policy tells.
#[derive(Clone, Default)]
struct Decided(Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>);

impl<S: tracing::Subscriber> Layer<S> for Decided {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "keyferry::access" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            self.0.lock().unwrap().entry(fields.rpc).or_default().insert(fields.action);
        }
    }
}

#[derive(Default)]
struct Fields {
    rpc: String,
    action: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "rpc" {
            value.clone_into(&mut self.rpc);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "action" {
            self.action = format!("{value:?}");
        }
    }
}

#[tokio::test]
async fn every_rpc_asks_what_its_row_says() {
    let decided = Decided::default();
    let telling = tracing_subscriber::registry().with(decided.clone());
    tracing::subscriber::set_global_default(telling).unwrap();
    let server = TestServer::start().await;
    use_keys(&server).await;
    manage_keys(&server).await;
    let decided = decided.0.lock().unwrap().clone();
    let table: BTreeMap<String, BTreeSet<String>> = TABLE
        .iter()
        .map(|row| {
            let actions = row.needs.iter().map(|need| need.action.to_string()).collect();
            (row.rpc.to_owned(), actions)
        })
        .collect();
    assert_eq!(decided, table);
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

async fn manage_keys(server: &TestServer) {
    let (one, two) = (server.create_key().await, server.create_key().await);
    let mut management = server.management.clone();
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
