//! Each known way round a pinned recipient, tried. The policies are those of
//! `examples/policies/pinned-exports`, with what an attacker might have beside.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::error::{Error, Result, Rule};
use keyferry::keys::clock::SystemClock;
use keyferry::policy_dir::{Look, PolicyDir};
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::service::caller::Caller;
use keyferry::service::naming::Arns;
use keyferry::storage::MemoryStore;

use crate::support::{Founded, Recipient, TestServer, dev_caller, policies};

const BILLING: &str = "spiffe://kms.example/billing";

fn example() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies/pinned-exports");
    fs::read_to_string(folder.join("exports.cedar")).unwrap()
}

struct World {
    services: Services,
    policy: Policy,
    /// The CMK that alias/payments names, and another one.
    payments: String,
    mine: String,
    /// A blob of payments, under app=billing.
    blob: Vec<u8>,
}

fn named(principal: &str) -> Caller {
    Caller { principal: Principal::parse(principal).unwrap(), ..dev_caller() }
}

fn context() -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), "billing".to_owned())])
}

impl World {
    /// The keys are made first; then these policies decide.
    async fn with(more: &str) -> Self {
        let keys = Founded::over(Arc::new(MemoryStore::new())).await;
        let keys = keys.keys(Arc::new(SystemClock)).await;
        let policy = Policy::dev();
        let services = Services::new(keys, policy.clone(), Arns::new("local", "0"));
        let payments = create(&services).await;
        let mine = create(&services).await;
        for (alias, key_id) in [("alias/payments", &payments), ("alias/mine", &mine)] {
            let named = v1::CreateAliasRequest {
                alias_name: alias.to_owned(),
                key_id: key_id.clone(),
                dry_run: false,
            };
            services.create_alias(&dev_caller(), named).await.unwrap();
        }
        let blob = generate(&services, &dev_caller(), &payments).await.unwrap();
        let world = Self { services, policy, payments, mine, blob };
        world.decide_by(more);
        world
    }

    fn decide_by(&self, more: &str) {
        self.policy.replace(policies(&format!("{}\n{more}", example())));
    }

    /// An export by billing to this recipient.
    async fn export(&self, by: &Caller, blob: &[u8], to: Vec<u8>) -> Result<()> {
        let request = v1::ExportDataKeyRequest {
            ciphertext_blob: blob.to_vec(),
            public_key_blob: to,
            wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
            wrapping_key_spec: v1::WrappingKeySpec::Rsa2048.into(),
            encryption_context: context(),
            ..Default::default()
        };
        self.services.export_data_key(by, request).await.map(drop)
    }
}

async fn create(services: &Services) -> String {
    let made = services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await.unwrap();
    made.key_metadata.unwrap().key_id
}

async fn generate(services: &Services, by: &Caller, key_id: &str) -> Result<Vec<u8>> {
    let request = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: key_id.to_owned(),
        encryption_context: context(),
        ..Default::default()
    };
    let made = services.generate_data_key_without_plaintext(by, request).await?;
    Ok(made.ciphertext_blob)
}

/// The HSM's public key, which the example pins.
fn hsm() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies/pinned-exports");
    pem_block(&fs::read_to_string(folder.join("hsm-a.pem")).unwrap())
}

fn pem_block(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

fn own() -> Vec<u8> {
    Recipient::rsa().private.public_key_der().to_vec()
}

#[track_caller]
fn assert_denied<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.map_err(|error: Error| error.rule()).unwrap_err(), Rule::NotPermitted);
}

#[tokio::test]
async fn the_pinned_export_is_permitted_and_no_other_recipient() {
    let world = World::with("").await;
    let billing = named(BILLING);
    world.export(&billing, &world.blob, hsm()).await.unwrap();
    assert_denied(world.export(&billing, &world.blob, own()).await);
    assert_denied(world.export(&named("spiffe://kms.example/other"), &world.blob, hsm()).await);
}

#[tokio::test]
async fn the_same_principal_is_shown_no_plaintext() {
    let world = World::with("").await;
    let (services, billing) = (&world.services, named(BILLING));
    let request = v1::DecryptRequest {
        ciphertext_blob: world.blob.clone(),
        encryption_context: context(),
        dry_run: false,
    };
    assert_denied(services.decrypt(&billing, request).await);
    let request = v1::GenerateDataKeyRequest {
        key_id: "alias/payments".to_owned(),
        encryption_context: context(),
        ..Default::default()
    };
    assert_denied(services.generate_data_key(&billing, request).await);
}

/// It may do everything with its own key, and still not put a blob of payments under it.
#[tokio::test]
async fn a_blob_is_not_put_under_a_key_that_its_caller_may_decrypt_with() {
    let mine = r#"@id("mine") permit (principal == Spiffe::"spiffe://kms.example/billing", action in [Action::"Decrypt", Action::"ReEncryptFrom", Action::"ReEncryptTo"], resource in Alias::"alias/mine");"#;
    let world = World::with(mine).await;
    let (services, billing) = (&world.services, named(BILLING));
    let to_mine = |blob: &[u8]| v1::ReEncryptRequest {
        ciphertext_blob: blob.to_vec(),
        source_encryption_context: context(),
        destination_key_id: "alias/mine".to_owned(),
        ..Default::default()
    };
    assert_denied(services.re_encrypt(&billing, to_mine(&world.blob)).await);
    // What it permits, it permits: from its own key to its own key.
    world.policy.replace(policies(&format!(
        "{}\n{mine}\n@id(\"make\") permit (principal, action == Action::\"GenerateDataKeyWithoutPlaintext\", resource in Alias::\"alias/mine\");",
        example()
    )));
    let blob = generate(services, &billing, &world.mine).await.unwrap();
    services.re_encrypt(&billing, to_mine(&blob)).await.unwrap();
}

#[tokio::test]
async fn a_pair_here_that_is_a_recipient_decrypts_for_nobody() {
    let world = World::with("").await;
    let services = &world.services;
    let (request, key_id) = {
        world.policy.replace(policies("@id(\"all\") permit (principal, action, resource);"));
        let operator = named("unix:0");
        let (key_id, version) = create_pair(services, &operator).await;
        let public = v1::GetPublicKeyRequest {
            key_id: key_id.clone(),
            key_version_id: version.clone(),
            dry_run: false,
        };
        let public = services.get_public_key(&operator, public).await.unwrap().public_key;
        let export = v1::ExportDataKeyRequest {
            ciphertext_blob: world.blob.clone(),
            public_key_blob: pem_block(&public),
            wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
            wrapping_key_spec: v1::WrappingKeySpec::Rsa2048.into(),
            encryption_context: context(),
            ..Default::default()
        };
        let exported = services.export_data_key(&operator, export).await.unwrap();
        let request = v1::AsymmetricDecryptRequest {
            key_id: key_id.clone(),
            key_version_id: version,
            algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
            ciphertext_blob: exported.exported_data_key,
            ..Default::default()
        };
        (request, key_id)
    };
    // Signing with the pair, or whatever else it is used for, does not open it.
    world.decide_by(&format!(
        "@id(\"pair\") permit (principal == Spiffe::\"{BILLING}\", action in [Action::\"GetPublicKey\", Action::\"AsymmetricEncrypt\"], resource == Key::\"{key_id}\");"
    ));
    assert_denied(services.asymmetric_decrypt(&named(BILLING), request).await);
}

#[tokio::test]
async fn an_alias_is_moved_by_those_who_may_do_it_to_alias_and_both_keys() {
    let world = World::with("").await;
    let services = &world.services;
    let mover = named("unix:7");
    let request = || v1::UpdateAliasRequest {
        alias_name: "alias/payments".to_owned(),
        key_id: world.mine.clone(),
        dry_run: false,
    };
    let permit = |resource: &str| {
        format!(
            "@id(\"{}\") permit (principal == UnixUser::\"7\", action == Action::\"UpdateAlias\", {resource});",
            resource.chars().filter(char::is_ascii_alphanumeric).collect::<String>()
        )
    };
    let alias = permit("resource == Alias::\"alias/payments\"");
    let from = permit(&format!("resource == Key::\"{}\"", world.payments));
    let to = permit(&format!("resource == Key::\"{}\"", world.mine));
    for two in [[&alias, &from], [&alias, &to], [&from, &to]] {
        world.decide_by(&format!("{}\n{}", two[0], two[1]));
        assert_denied(services.update_alias(&mover, request()).await);
    }
    // The decision about payments has been kept meanwhile; after the move the other key
    // is the one that billing may export.
    let billing = named(BILLING);
    world.decide_by(&format!("{alias}\n{from}\n{to}"));
    world.export(&billing, &world.blob, hsm()).await.unwrap();
    services.update_alias(&mover, request()).await.unwrap();
    assert_denied(world.export(&billing, &world.blob, hsm()).await);
}

#[tokio::test]
async fn a_tag_that_policies_go_by_is_changed_by_those_who_may_have_it_so_and_so() {
    let by_tag = r#"
        @id("by-tag") permit (principal == UnixUser::"7", action == Action::"Decrypt", resource is Key)
        when { resource.hasTag("open") && resource.getTag("open") == "yes" };
        @id("tags") permit (principal == UnixUser::"7", action in [Action::"TagResource", Action::"UntagResource"], resource is Key)
        when { !(resource.hasTag("open") && resource.getTag("open") == "yes") };
    "#;
    let world = World::with(by_tag).await;
    let (services, seven) = (&world.services, named("unix:7"));
    let decrypt = || v1::DecryptRequest {
        ciphertext_blob: world.blob.clone(),
        encryption_context: context(),
        dry_run: false,
    };
    let tag = |value: &str| v1::TagResourceRequest {
        key_id: world.payments.clone(),
        tags: vec![v1::Tag { tag_key: "open".to_owned(), tag_value: value.to_owned() }],
        dry_run: false,
    };
    assert_denied(services.decrypt(&seven, decrypt()).await);
    // It may set other values, and not the one that would open the key.
    services.tag_resource(&seven, tag("no")).await.unwrap();
    assert_denied(services.tag_resource(&seven, tag("yes")).await);
    assert_denied(services.decrypt(&seven, decrypt()).await);
    // An operator opens and closes it: no decision outlives that.
    world.decide_by(&format!(
        "{by_tag}\n@id(\"operator\") permit (principal == UnixUser::\"0\", action, resource is Key);"
    ));
    let operator = named("unix:0");
    services.tag_resource(&operator, tag("yes")).await.unwrap();
    services.decrypt(&seven, decrypt()).await.unwrap();
    services.tag_resource(&operator, tag("no")).await.unwrap();
    assert_denied(services.decrypt(&seven, decrypt()).await);
}

#[tokio::test]
async fn nobody_makes_an_access_key_of_a_stronger_account() {
    let world = World::with(
        r#"@id("strong") permit (principal == ServiceAccount::"strong", action == Action::"Decrypt", resource);
           @id("makes") permit (principal == Spiffe::"spiffe://kms.example/billing", action == Action::"CreateAccessKey", resource);"#,
    )
    .await;
    let request = |account: &str| v1::CreateAccessKeyRequest {
        principal: account.to_owned(),
        dry_run: false,
    };
    let (services, billing) = (&world.services, named(BILLING));
    assert_denied(services.create_access_key(&billing, request("strong")).await);
    services.create_access_key(&billing, request("weak")).await.unwrap();
}

#[tokio::test]
async fn the_front_door_is_no_way_round() {
    let world = World::with("").await;
    world.policy.replace(policies("@id(\"all\") permit (principal, action, resource);"));
    let request = v1::CreateAccessKeyRequest { principal: "web".to_owned(), dry_run: false };
    let made = world.services.create_access_key(&named("unix:0"), request).await.unwrap();
    world.decide_by("");
    let server = TestServer::serving(world.services.clone()).await;
    let signer = crate::support::http::Signer {
        access_key_id: made.access_key_id,
        secret: made.access_key_secret,
        version: "2016-01-20",
    };
    let mut http = server.http().await;
    let key = ("KeyId".to_owned(), "alias/payments".to_owned());
    for (action, parameters) in [
        ("GenerateDataKey", vec![key.clone()]),
        ("GenerateDataKeyWithoutPlaintext", vec![key.clone()]),
        ("DescribeKey", vec![key]),
        ("ListKeys", vec![]),
    ] {
        let answer = http.v3(&signer, action, &parameters).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "Forbidden.NoPermission"));
    }
}

#[tokio::test]
async fn made_and_exported_in_one_call_is_pinned_too() {
    let world = World::with("").await;
    let (services, billing) = (&world.services, named(BILLING));
    let request = |to: Vec<u8>| v1::GenerateAndExportDataKeyRequest {
        key_id: "alias/payments".to_owned(),
        encryption_context: context(),
        public_key_blob: to,
        wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
        wrapping_key_spec: v1::WrappingKeySpec::Rsa2048.into(),
        ..Default::default()
    };
    services.generate_and_export_data_key(&billing, request(hsm())).await.unwrap();
    assert_denied(services.generate_and_export_data_key(&billing, request(own())).await);
}

/// A dry run answers as the run does: a stranger learns nothing of what exists.
#[tokio::test]
async fn dry_runs_tell_strangers_nothing() {
    let world = World::with("").await;
    let (services, stranger) = (&world.services, named("spiffe://kms.example/stranger"));
    let unknown = uuid::Uuid::now_v7().to_string();
    let mut refusals = Vec::new();
    for dry_run in [false, true] {
        for key_id in [&world.payments, &unknown, "alias/payments", "alias/none", "nonsense"] {
            let request = v1::DescribeKeyRequest { key_id: key_id.to_owned(), dry_run };
            let refused = services.describe_key(&stranger, request).await.unwrap_err();
            refusals.push((refused.rule(), refused.text().to_owned()));
        }
        let mut foreign = world.blob.clone();
        foreign[..36].copy_from_slice(unknown.as_bytes());
        for ciphertext_blob in [world.blob.clone(), foreign] {
            let request = v1::DecryptRequest { ciphertext_blob, dry_run, ..Default::default() };
            let refused = services.decrypt(&stranger, request).await.unwrap_err();
            refusals.push((refused.rule(), refused.text().to_owned()));
        }
    }
    refusals.dedup();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].0, Rule::NotPermitted);
}

/// A data key whose plaintext its maker knows is of another kind, and the policy wants one
/// that was born unseen.
#[tokio::test]
async fn what_was_brought_or_seen_is_not_exported() {
    let world = World::with("").await;
    let services = &world.services;
    world.policy.replace(policies("@id(\"all\") permit (principal, action, resource);"));
    let operator = named("unix:0");
    let encrypt = v1::EncryptRequest {
        key_id: world.payments.clone(),
        plaintext: vec![7; 32],
        encryption_context: context(),
        dry_run: false,
    };
    let brought = services.encrypt(&operator, encrypt).await.unwrap().ciphertext_blob;
    let seen = v1::GenerateDataKeyRequest {
        key_id: world.payments.clone(),
        encryption_context: context(),
        ..Default::default()
    };
    let seen = services.generate_data_key(&operator, seen).await.unwrap().ciphertext_blob;
    world.decide_by("");
    let billing = named(BILLING);
    for blob in [brought, seen] {
        assert_denied(world.export(&billing, &blob, hsm()).await);
    }
    // Key material from outside is offered nowhere.
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let answer = server.http().await.v3(&signer, "ImportKeyMaterial", &[]).await;
    assert_eq!(answer.code(), "InvalidAction.NotFound");
}

/// A data key that its maker wrapped for a pair here, and so knows, is of a kind of its
/// own, too.
#[tokio::test]
async fn what_was_imported_is_not_exported() {
    let world = World::with("").await;
    let services = &world.services;
    world.policy.replace(policies("@id(\"all\") permit (principal, action, resource);"));
    let operator = named("unix:0");
    let (pair, version) = create_pair(services, &operator).await;
    // Anybody can make this: it takes the public key alone.
    let wrapped = v1::AsymmetricEncryptRequest {
        key_id: pair.clone(),
        key_version_id: version.clone(),
        algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
        plaintext: vec![7; 32],
        ..Default::default()
    };
    let wrapped = services.asymmetric_encrypt(&operator, wrapped).await.unwrap();
    let import = v1::ReEncryptRequest {
        ciphertext_blob: wrapped.ciphertext_blob,
        source_key_id: pair,
        source_key_version_id: version,
        source_encryption_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
        destination_key_id: world.payments.clone(),
        destination_encryption_context: context(),
        ..Default::default()
    };
    let imported = services.re_encrypt(&operator, import).await.unwrap().ciphertext_blob;
    // The blob is whole, and those who may do everything may export it.
    world.export(&operator, &imported, hsm()).await.unwrap();
    world.decide_by("");
    let billing = named(BILLING);
    world.export(&billing, &world.blob, hsm()).await.unwrap();
    assert_denied(world.export(&billing, &imported, hsm()).await);
}

/// An RSA key pair, and its one version.
async fn create_pair(services: &Services, by: &Caller) -> (String, String) {
    let made = v1::CreateKeyRequest {
        key_spec: "RSA_2048".to_owned(),
        key_usage: "ENCRYPT/DECRYPT".to_owned(),
        ..Default::default()
    };
    let key_id = services.create_key(by, made).await.unwrap().key_metadata.unwrap().key_id;
    let listed = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
    let listed = services.list_key_versions(by, listed).await.unwrap();
    (key_id, listed.key_versions[0].key_version_id.clone())
}

/// Who is in a group is a part of what decides: with other groups, nothing that was kept
/// counts any more, though no policy has changed.
#[tokio::test]
async fn no_decision_outlives_the_groups_that_made_it() {
    const EXPORTERS: &str = r#"@id("exporters") permit (principal in Group::"exporters", action == Action::"ExportDataKey", resource);"#;
    let (with, without) = ("exporters = [\"unix:7\"]\n", "exporters = [\"unix:8\"]\n");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("exports.cedar"), EXPORTERS).unwrap();
    let groups = folder.path().join("groups.toml");
    fs::write(&groups, with).unwrap();
    let mut dir = PolicyDir::open(folder.path()).unwrap();
    let keys = Founded::over(Arc::new(MemoryStore::new())).await;
    let keys = keys.keys(Arc::new(SystemClock)).await;
    let all = Services::new(keys.clone(), Policy::dev(), Arns::new("local", "0"));
    let payments = create(&all).await;
    let blob = generate(&all, &dev_caller(), &payments).await.unwrap();
    let services = Services::new(keys, dir.policy(), Arns::new("local", "0"));
    let world =
        World { services, policy: dir.policy(), payments: payments.clone(), mine: payments, blob };
    // One recipient, as the decision is about it.
    let (seven, recipient) = (named("unix:7"), own());
    for _ in 0..3 {
        // The second is allowed by the decision that was kept.
        for _ in 0..2 {
            world.export(&seven, &world.blob, recipient.clone()).await.unwrap();
        }
        fs::write(&groups, without).unwrap();
        assert_eq!(dir.look(true), Look::Taken);
        assert_denied(world.export(&seven, &world.blob, recipient.clone()).await);
        fs::write(&groups, with).unwrap();
        assert_eq!(dir.look(true), Look::Taken);
    }
}

#[tokio::test]
async fn no_decision_outlives_the_policies_that_made_it() {
    let world = World::with("").await;
    let billing = named(BILLING);
    for _ in 0..3 {
        world.export(&billing, &world.blob, hsm()).await.unwrap();
        world.decide_by(
            "@id(\"stop\") forbid (principal, action == Action::\"ExportDataKey\", resource);",
        );
        assert_denied(world.export(&billing, &world.blob, hsm()).await);
        world.decide_by("");
    }
}
