//! Receipts of exports over every face, the keys that sign them, and imports that must
//! come with one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use keyferry::access::policy::Policy;
use keyferry::config::{ReceiptConfig, TrustedIssuer};
use keyferry::crypto::encryption_context::EncryptionContext;
use keyferry::crypto::receipt::{Claims, Delivery, ReceiptKeySet, UnverifiedReceipt};
use keyferry::crypto::wrapping::WrappingAlgorithm;
use keyferry::ids::StoreId;
use keyferry::keys::Keys;
use keyferry::keys::clock::Clock;
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::service::naming::Arns;
use keyferry::storage::memory::InjectedFault;
use keyferry::storage::{MemoryStore, Store};
use keyferry::trusted_issuers::TrustedIssuers;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use crate::support::http::owned;
use crate::support::{
    Founded, ManualClock, Recipient, TestServer, assert_refused, blamed, context, days, dev_caller,
    hours, policies, services_of,
};

const PAIRS: &[(&str, &str)] = &[("tenant", "blue")];

/// A store with a server over it whose time the test tells.
struct World {
    store: Arc<MemoryStore>,
    founded: Founded,
    clock: Arc<ManualClock>,
    keys: Keys,
    server: TestServer,
    key_id: String,
    blob: Vec<u8>,
}

impl World {
    async fn start() -> Self {
        let store = Arc::new(MemoryStore::new());
        let founded = Founded::over(store.clone()).await;
        let clock = Arc::new(ManualClock::default());
        let keys = founded.keys(clock.clone()).await;
        let server = TestServer::serving(services_of(keys.clone())).await;
        let key_id = server.create_key().await;
        let blob = server.generate(&key_id, PAIRS, 32).await;
        Self { store, founded, clock, keys, server, key_id, blob }
    }

    async fn restarted(self) -> Self {
        let Self { store, founded, clock, server, key_id, blob, .. } = self;
        server.stop().await;
        let keys = founded.keys(clock.clone()).await;
        let server = TestServer::serving(services_of(keys.clone())).await;
        Self { store, founded, clock, keys, server, key_id, blob }
    }

    fn request(&self, recipient: &Recipient) -> v1::ExportDataKeyRequest {
        v1::ExportDataKeyRequest { receipt: true, ..recipient.export(&self.blob, PAIRS) }
    }

    async fn export(&self, recipient: &Recipient) -> v1::ExportDataKeyResponse {
        let request = self.request(recipient);
        self.server.kms.clone().export_data_key(request).await.unwrap().into_inner()
    }

    async fn published(&self) -> v1::GetReceiptKeysResponse {
        let request = v1::GetReceiptKeysRequest::default();
        self.server.access.clone().get_receipt_keys(request).await.unwrap().into_inner()
    }

    async fn key_set(&self) -> ReceiptKeySet {
        ReceiptKeySet::parse(self.published().await.jwks.as_bytes()).unwrap()
    }

    /// Whether the store has keys for receipts.
    async fn has_keys(&self) -> bool {
        let snapshot = self.store.read(&["store/receipt-keys"]).await.unwrap();
        snapshot.values[0].is_some()
    }

    /// Time passes, with a look each minute of its last hours.
    async fn pass(&self, time: Duration) {
        self.clock.pass(time.saturating_sub(hours(2)));
        for _ in 0..120 {
            self.clock.pass(Duration::from_secs(60));
            self.keys.schedule.carry_out_due().await.unwrap();
        }
    }
}

fn verify(receipt: &str, keys: &ReceiptKeySet) -> Claims {
    UnverifiedReceipt::parse(receipt).unwrap().verify(keys).unwrap()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    base16ct::lower::encode_string(bytes.as_ref())
}

fn encryption_context() -> EncryptionContext {
    EncryptionContext::new(context(PAIRS)).unwrap()
}

#[track_caller]
fn assert_of(claims: &Claims, recipient: &Recipient, blob: &[u8], exported: &[u8]) {
    let algorithm = WrappingAlgorithm::try_from(recipient.algorithm).ok();
    let recipient_sha256 = Sha256::digest(recipient.private.public_key_der()).into();
    let delivery = Delivery { exported, recipient_sha256: &recipient_sha256, algorithm };
    assert_eq!(claims.check(&delivery), Ok(()));
    assert_eq!(claims.blob_sha256, hex(Sha256::digest(blob)));
    assert!(claims.is_of_context(&encryption_context()));
}

#[tokio::test]
async fn an_export_that_asks_for_a_receipt_has_one() {
    let world = World::start().await;
    let issuer = world.published().await.issuer;
    for recipient in [Recipient::rsa(), Recipient::sm2()] {
        let answer = world.export(&recipient).await;
        let claims = verify(&answer.receipt, &world.key_set().await);
        assert_of(&claims, &recipient, &world.blob, &answer.exported_data_key);
        assert_eq!(claims.iss, issuer);
        assert_eq!(claims.iat, world.clock.now().as_second());
        assert_eq!(
            [&claims.key_id, &claims.key_version_id],
            [&answer.key_id, &answer.key_version_id]
        );
        assert_eq!(
            (&claims.request_id, claims.blob_kind.as_str()),
            (&answer.request_id, "DataKeyUnseen")
        );
        let encoding = (recipient.algorithm == v1::WrappingAlgorithm::Sm2pke).then_some("ASN1_DER");
        assert_eq!(claims.sm2_ciphertext_encoding.as_deref(), encoding);
        // Nothing of the data key, nor of the context's value.
        let decrypt = v1::DecryptRequest {
            ciphertext_blob: world.blob.clone(),
            encryption_context: context(PAIRS),
            ..Default::default()
        };
        let data_key = world.server.kms.clone().decrypt(decrypt).await.unwrap().into_inner();
        let told = URL_SAFE_NO_PAD.decode(answer.receipt.split('.').nth(1).unwrap()).unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(!told.contains(&hex(Sha256::digest(data_key.plaintext))), "{told}");
        assert!(!told.contains("blue") && !told.contains("tenant"), "{told}");
        assert!(!told.contains(&hex(encryption_context().sha256())), "{told}");
    }
}

#[tokio::test]
async fn each_receipt_is_of_its_own_event() {
    let world = World::start().await;
    let (keys, recipient) = (world.key_set().await, Recipient::sm2());
    let mut events = Vec::new();
    for _ in 0..20 {
        events.push(verify(&world.export(&recipient).await.receipt, &keys).jti);
    }
    assert!(events.is_sorted());
    events.dedup();
    assert_eq!(events.len(), 20);
}

#[tokio::test]
async fn generate_and_export_and_streams_give_receipts_item_by_item() {
    let world = World::start().await;
    let (recipient, mut kms) = (Recipient::sm2(), world.server.kms.clone());
    let export = world.request(&recipient);
    let request = v1::GenerateAndExportDataKeyRequest {
        key_id: world.key_id.clone(),
        encryption_context: context(PAIRS),
        public_key_blob: export.public_key_blob.clone(),
        wrapping_algorithm: export.wrapping_algorithm,
        wrapping_key_spec: export.wrapping_key_spec,
        sm2_ciphertext_encoding: v1::Sm2CiphertextEncoding::RawC1c3c2.into(),
        receipt: true,
        ..Default::default()
    };
    let made = kms.generate_and_export_data_key(request.clone()).await.unwrap().into_inner();
    let keys = world.key_set().await;
    let claims = verify(&made.receipt, &keys);
    assert_of(&claims, &recipient, &made.ciphertext_blob, &made.exported_data_key);
    assert_eq!(claims.sm2_ciphertext_encoding.as_deref(), Some("RAW_C1C3C2"));
    let without = v1::GenerateAndExportDataKeyRequest { receipt: false, ..request };
    let made = kms.generate_and_export_data_key(without).await.unwrap().into_inner();
    assert_eq!(made.receipt, "");

    let mut torn = world.blob.clone();
    *torn.last_mut().unwrap() ^= 1;
    let items = [
        export.clone(),
        v1::ExportDataKeyRequest { receipt: false, ..export.clone() },
        v1::ExportDataKeyRequest { ciphertext_blob: torn, ..export.clone() },
        v1::ExportDataKeyRequest { dry_run: true, ..export.clone() },
        export,
    ];
    let items =
        items.map(|item| v1::ExportDataKeysRequest { item_id: String::new(), item: Some(item) });
    let answers = kms.export_data_keys(tokio_stream::iter(items)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().outcome.unwrap()).collect().await;
    let exported = |at: usize| match &answers[at] {
        v1::export_data_keys_response::Outcome::Exported(exported) => exported,
        v1::export_data_keys_response::Outcome::Error(error) => panic!("{error:?}"),
    };
    for at in [0, 4] {
        let claims = verify(&exported(at).receipt, &keys);
        assert_of(&claims, &recipient, &world.blob, &exported(at).exported_data_key);
    }
    assert_eq!(exported(1).receipt, "");
    for at in [2, 3] {
        assert!(matches!(answers[at], v1::export_data_keys_response::Outcome::Error(_)));
    }
}

#[tokio::test]
async fn the_front_door_gives_receipts_and_publishes_their_keys() {
    let world = World::start().await;
    // Signatures are of today.
    world.clock.jump(Timestamp::now().as_second() - world.clock.now().as_second());
    let (recipient, signer) = (Recipient::rsa(), world.server.create_signer("billing").await);
    let mut http = world.server.http().await;
    let none = http.get("/receipt-keys").await;
    assert_eq!((none.status, none.json()["keys"].as_array().map(Vec::len)), (200, Some(0)));
    assert!(!world.has_keys().await, "a stranger makes no key");
    let own = |receipt: &[(&str, &str)]| {
        let public_key = STANDARD.encode(recipient.private.public_key_der());
        let mut own = owned(&[
            ("CiphertextBlob", &STANDARD.encode(&world.blob)),
            ("PublicKeyBlob", &public_key),
            ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"),
            ("WrappingKeySpec", "RSA_2048"),
            ("EncryptionContext", r#"{"tenant":"blue"}"#),
        ]);
        own.extend(owned(receipt));
        own
    };
    let answer = http.v3(&signer, "ExportDataKey", &own(&[("Receipt", "true")])).await.json();
    let published = http.get("/receipt-keys").await;
    assert_eq!(published.header("content-type"), Some("application/jwk-set+json"));
    let keys = ReceiptKeySet::parse(published.body.as_bytes()).unwrap();
    assert_eq!(keys, world.key_set().await, "as over gRPC");
    let claims = verify(answer["Receipt"].as_str().unwrap(), &keys);
    let exported = STANDARD.decode(answer["ExportedDataKey"].as_str().unwrap()).unwrap();
    assert_of(&claims, &recipient, &world.blob, &exported);
    assert_eq!(claims.request_id, answer["RequestId"].as_str().unwrap());
    for receipt in [&[][..], &[("Receipt", "false")]] {
        let answer = http.v3(&signer, "ExportDataKey", &own(receipt)).await.json();
        assert_eq!(answer["Receipt"], "", "none unless it is asked for");
    }
    let mut generate = own(&[("Receipt", "true"), ("KeyId", &world.key_id)]);
    generate.retain(|(name, _)| name != "CiphertextBlob");
    let answer = http.v1(&signer, "GenerateAndExportDataKey", &generate).await.json();
    let blob = STANDARD.decode(answer["CiphertextBlob"].as_str().unwrap()).unwrap();
    let exported = STANDARD.decode(answer["ExportedDataKey"].as_str().unwrap()).unwrap();
    let claims = verify(answer["Receipt"].as_str().unwrap(), &keys);
    assert_of(&claims, &recipient, &blob, &exported);
    http.send("POST /receipt-keys HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(http.answer().await.unwrap().status, 405);
}

#[tokio::test]
async fn what_is_refused_or_dry_makes_no_receipt_and_no_key() {
    let world = World::start().await;
    let (good, mut kms) = (world.request(&Recipient::rsa()), world.server.kms.clone());
    let torn = [&world.blob[..world.blob.len() - 1], &[0]].concat();
    for (request, reason) in [
        (v1::ExportDataKeyRequest { ciphertext_blob: torn, ..good.clone() }, "InvalidParameter"),
        (
            v1::ExportDataKeyRequest { encryption_context: context(&[]), ..good.clone() },
            "InvalidParameter",
        ),
    ] {
        assert_refused(kms.export_data_key(request).await, Code::InvalidArgument, reason);
    }
    let dry = v1::ExportDataKeyRequest { dry_run: true, ..good.clone() };
    assert_refused(
        kms.export_data_key(dry).await,
        Code::FailedPrecondition,
        "DryRunOperationError",
    );
    let dry = v1::GetReceiptKeysRequest { dry_run: true };
    let asked = world.server.access.clone().get_receipt_keys(dry).await;
    assert_refused(asked, Code::FailedPrecondition, "DryRunOperationError");
    assert!(!world.has_keys().await);

    let policy = Policy::written(policies(
        r#"@id("no-exports") permit (principal, action, resource) unless { action == Action::"ExportDataKey" || action == Action::"GetReceiptKeys" };"#,
    ));
    let services = Services::new(world.keys.clone(), policy, Arns::new("local", "0"));
    let denied = services.export_data_key(&dev_caller(), good.clone()).await.unwrap_err();
    assert_eq!(denied.rule().code(), Code::PermissionDenied);
    let request = v1::GetReceiptKeysRequest::default();
    let denied = services.get_receipt_keys(&dev_caller(), request).await.unwrap_err();
    assert_eq!(denied.rule().code(), Code::PermissionDenied);
    assert!(!world.has_keys().await);

    // Without its receipt, the data key is not answered either.
    world.store.fail_next(InjectedFault::Unavailable);
    let failed = kms.export_data_key(good.clone()).await;
    assert_refused(failed, Code::Unavailable, "ServiceUnavailableTemporary");
    assert!(!world.has_keys().await);
    assert!(!kms.export_data_key(good).await.unwrap().into_inner().receipt.is_empty());
}

#[tokio::test]
async fn of_two_processes_that_make_the_first_key_one_wins() {
    let world = World::start().await;
    let other = services_of(world.founded.keys(world.clock.clone()).await);
    let third = services_of(world.founded.keys(world.clock.clone()).await);
    let recipient = Recipient::sm2();
    let asked = async |services: &Services| {
        let answer = services.export_data_key(&dev_caller(), world.request(&recipient)).await;
        answer.unwrap().receipt
    };
    let (ours, theirs, thirds) =
        tokio::join!(world.export(&recipient), asked(&other), asked(&third));
    let published = world.published().await;
    assert_eq!(published.receipt_keys.len(), 1);
    for receipt in [ours.receipt, theirs, thirds, asked(&other).await] {
        let _ = verify(&receipt, &world.key_set().await);
    }
}

#[tokio::test]
async fn a_key_that_was_rotated_still_verifies_after_a_restart() {
    let world = World::start().await;
    let recipient = Recipient::sm2();
    let old = world.export(&recipient).await.receipt;
    let began = world.published().await.receipt_keys[0].signs_from.clone();
    world.pass(days(364)).await;
    assert_eq!(world.published().await.receipt_keys.len(), 1, "not yet");
    world.pass(days(2)).await;
    let published = world.published().await;
    let [first, second] = published.receipt_keys.as_slice() else { panic!("{published:?}") };
    assert_eq!(first.signs_from, began);
    assert_eq!(first.signed_until, second.signs_from, "one ends when the next begins");
    assert_eq!(second.signed_until, "");
    let new = world.export(&recipient).await.receipt;
    let kid = |receipt: &str| UnverifiedReceipt::parse(receipt).unwrap().kid().to_string();
    assert_eq!([kid(&old), kid(&new)], [first.kid.clone(), second.kid.clone()]);
    let world = world.restarted().await;
    let keys = world.key_set().await;
    for receipt in [&old, &new] {
        let _ = verify(receipt, &keys);
    }
    assert_eq!(kid(&world.export(&recipient).await.receipt), second.kid);
    assert_eq!(world.published().await.receipt_keys, published.receipt_keys);
    // The set's own members tell the same.
    let jwks: Value = serde_json::from_str(&published.jwks).unwrap();
    assert_eq!(jwks["keys"][0]["kf_until"], jwks["keys"][1]["kf_from"]);
    assert_eq!(jwks["kf_issuer"], published.issuer.as_str());
    // A wrong clock alone rotates nothing.
    world.clock.jump(3 * 365 * 24 * 60 * 60);
    world.keys.schedule.carry_out_due().await.unwrap();
    assert_eq!(world.published().await.receipt_keys.len(), 2);
}

#[tokio::test]
async fn a_record_of_keys_that_was_tampered_with_signs_nothing() {
    let world = World::start().await;
    let _ = world.export(&Recipient::sm2()).await;
    let path = "store/receipt-keys";
    let stored = world.store.read(&[path]).await.unwrap().values.remove(0).unwrap();
    let mut value = stored.value;
    let last = value.len() - 1;
    value[last] ^= 1;
    let write = keyferry::storage::Write::Put(path.to_owned(), value);
    world.store.commit(&[], &[write]).await.unwrap();
    let world = world.restarted().await;
    let request = world.request(&Recipient::sm2());
    let refused = world.server.kms.clone().export_data_key(request).await;
    assert_refused(refused, Code::Internal, "InternalFailure");
    assert!(!world.keys.keyring.is_healthy().await);
    let unread = world.server.http().await.get("/receipt-keys").await;
    assert_eq!(unread.status, 503);
}

// ---- imports ----

/// The region that imports, and the receipts that it believes.
struct Importer {
    folder: tempfile::TempDir,
    keys: Keys,
    pair: (String, String),
    recipient_der: Vec<u8>,
    key_id: String,
}

impl Importer {
    async fn new() -> Self {
        let founded = Founded::over(Arc::new(MemoryStore::new())).await;
        let keys = founded.keys(Arc::new(ManualClock::default())).await;
        let server = TestServer::serving(services_of(keys.clone())).await;
        let pair = server.create_pair("RSA_2048", "ENCRYPT/DECRYPT").await;
        let key_id = server.create_key().await;
        let request = v1::GetPublicKeyRequest {
            key_id: pair.0.clone(),
            key_version_id: pair.1.clone(),
            ..Default::default()
        };
        let pem = server.kms.clone().get_public_key(request).await.unwrap().into_inner().public_key;
        let (_, recipient_der) = der::pem::decode_vec(pem.as_bytes()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, keys, pair, recipient_der, key_id }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("issuer.jwks")
    }

    fn put_keys(&self, jwks: &str) {
        fs::write(self.file(), jwks).unwrap();
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// A server that believes this issuer by the keys in the file.
    async fn trusting(
        &self,
        issuer: &str,
        require_on_import: bool,
    ) -> (TestServer, Arc<TrustedIssuers>) {
        let issuer = StoreId::parse(issuer).unwrap();
        let trusted = vec![TrustedIssuer { issuer, keys: self.file() }];
        let config = ReceiptConfig { trusted, ..ReceiptConfig::default() };
        let issuers = TrustedIssuers::load(&config).unwrap();
        let services = services_of(self.keys.clone()).trusting(issuers.clone(), require_on_import);
        (TestServer::serving(services).await, issuers)
    }

    /// The request that exports the blob to this region.
    fn export(&self, from: &World) -> v1::ExportDataKeyRequest {
        v1::ExportDataKeyRequest {
            ciphertext_blob: from.blob.clone(),
            public_key_blob: self.recipient_der.clone(),
            wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
            wrapping_key_spec: v1::WrappingKeySpec::Rsa2048.into(),
            encryption_context: context(PAIRS),
            receipt: true,
            ..Default::default()
        }
    }

    fn import(&self, exported: &[u8], receipt: &str) -> v1::ReEncryptRequest {
        v1::ReEncryptRequest {
            ciphertext_blob: exported.to_vec(),
            source_key_id: self.pair.0.clone(),
            source_key_version_id: self.pair.1.clone(),
            source_encryption_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
            destination_key_id: self.key_id.clone(),
            source_receipt: receipt.to_owned(),
            ..Default::default()
        }
    }
}

#[track_caller]
fn assert_does_not_hold<T: std::fmt::Debug>(outcome: Result<T, Status>, what: &str) {
    let refused = assert_refused(outcome, Code::InvalidArgument, "InvalidParameter");
    assert_eq!(blamed(&refused), "source_receipt", "{what}");
    let text = "The specified parameter \"source_receipt\" is not valid: it is not the receipt, by an issuer that this server trusts, of this ciphertext for this public key and algorithm.";
    assert_eq!(refused.message(), text, "{what}: one text for all causes");
}

#[tokio::test]
async fn an_import_with_its_receipt_is_done_and_with_another_it_is_not() {
    let (from, to) = (World::start().await, Importer::new().await);
    let published = from.published().await;
    to.put_keys(&published.jwks);
    let (server, _) = to.trusting(&published.issuer, true).await;
    let mut kms = server.kms.clone();
    let mut export = from.server.kms.clone();
    let exported = export.export_data_key(to.export(&from)).await.unwrap().into_inner();
    let (bytes, receipt) = (exported.exported_data_key.as_slice(), exported.receipt.as_str());
    let good = to.import(bytes, receipt);
    let dry = v1::ReEncryptRequest { dry_run: true, ..good.clone() };
    assert_refused(kms.re_encrypt(dry).await, Code::FailedPrecondition, "DryRunOperationError");
    let imported = kms.re_encrypt(good.clone()).await.unwrap().into_inner();
    let decrypt = |blob: Vec<u8>, pairs: BTreeMap<String, String>| v1::DecryptRequest {
        ciphertext_blob: blob,
        encryption_context: pairs,
        ..Default::default()
    };
    let here = kms.decrypt(decrypt(imported.ciphertext_blob.clone(), context(&[]))).await;
    let there = export.decrypt(decrypt(from.blob.clone(), context(PAIRS))).await;
    assert_eq!(here.unwrap().into_inner().plaintext, there.unwrap().into_inner().plaintext);

    let again = export.export_data_key(to.export(&from)).await.unwrap().into_inner();
    let elsewhere = from.export(&Recipient::rsa()).await;
    let sha_1 = v1::ExportDataKeyRequest {
        wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha1.into(),
        ..to.export(&from)
    };
    let sha_1 = export.export_data_key(sha_1).await.unwrap().into_inner();
    let [head, body, signature] = receipt.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    claims["exported_sha256"] = hex(Sha256::digest(&again.exported_data_key)).into();
    let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let stranger = World::start().await;
    let strangers = stranger
        .server
        .kms
        .clone()
        .export_data_key(to.export(&stranger))
        .await
        .unwrap()
        .into_inner();
    for (what, import) in [
        ("of another export", to.import(&again.exported_data_key, receipt)),
        ("altered", to.import(&again.exported_data_key, &forged)),
        ("for another recipient", to.import(&elsewhere.exported_data_key, &elsewhere.receipt)),
        ("of another algorithm", to.import(&sha_1.exported_data_key, &sha_1.receipt)),
        (
            "of an issuer that is not trusted",
            to.import(&strangers.exported_data_key, &strangers.receipt),
        ),
        ("none", to.import(bytes, "x")),
        ("cut", to.import(bytes, &receipt[..receipt.len() - 4])),
        ("too long", to.import(bytes, &"A".repeat(5000))),
    ] {
        assert_does_not_hold(kms.re_encrypt(import.clone()).await, what);
        let dry = v1::ReEncryptRequest { dry_run: true, ..import };
        assert_does_not_hold(kms.re_encrypt(dry).await, &format!("{what}, dry"));
    }
    let missing = kms.re_encrypt(to.import(bytes, "")).await;
    let missing = assert_refused(missing, Code::InvalidArgument, "MissingParameter");
    assert_eq!(blamed(&missing), "source_receipt");
    // What never left has none, and needs none.
    let resealing = v1::ReEncryptRequest {
        ciphertext_blob: imported.ciphertext_blob,
        destination_key_id: to.key_id.clone(),
        ..Default::default()
    };
    kms.re_encrypt(resealing.clone()).await.unwrap();
    let with_receipt = v1::ReEncryptRequest { source_receipt: receipt.to_owned(), ..resealing };
    let refused = kms.re_encrypt(with_receipt).await;
    let refused = assert_refused(refused, Code::InvalidArgument, "InvalidParameter");
    assert_eq!(blamed(&refused), "source_receipt");
}

#[tokio::test]
async fn where_no_issuer_is_trusted_no_receipt_is_taken() {
    let (from, to) = (World::start().await, Importer::new().await);
    let server = TestServer::serving(services_of(to.keys.clone())).await;
    let exported =
        from.server.kms.clone().export_data_key(to.export(&from)).await.unwrap().into_inner();
    let import = to.import(&exported.exported_data_key, &exported.receipt);
    let refused = server.kms.clone().re_encrypt(import).await;
    let refused = assert_refused(refused, Code::InvalidArgument, "InvalidParameter");
    assert_eq!(blamed(&refused), "source_receipt");
    assert!(refused.message().contains("no issuer of receipts"), "{refused:?}");
    let without = to.import(&exported.exported_data_key, "");
    server.kms.clone().re_encrypt(without).await.unwrap();
}

#[tokio::test]
async fn keys_of_an_issuer_are_followed_and_bound_to_it() {
    let (from, to) = (World::start().await, Importer::new().await);
    let published = from.published().await;
    let other = World::start().await.published().await;
    to.put_keys(&published.jwks);
    let load = |issuer: &str| {
        let issuer = StoreId::parse(issuer).unwrap();
        let trusted = vec![TrustedIssuer { issuer, keys: to.file() }];
        TrustedIssuers::load(&ReceiptConfig { trusted, ..ReceiptConfig::default() })
    };
    let refused = load(&other.issuer).unwrap_err().to_string();
    assert!(refused.contains("issuer.jwks") && refused.contains(&published.issuer), "{refused}");
    let (server, issuers) = to.trusting(&published.issuer, false).await;
    assert_eq!(issuers.reload(), Ok(false));
    from.pass(days(366)).await;
    let exported =
        from.server.kms.clone().export_data_key(to.export(&from)).await.unwrap().into_inner();
    let import = to.import(&exported.exported_data_key, &exported.receipt);
    assert_does_not_hold(server.kms.clone().re_encrypt(import.clone()).await, "a key of later");
    to.put_keys(&from.published().await.jwks);
    assert_eq!(issuers.reload(), Ok(true));
    server.kms.clone().re_encrypt(import.clone()).await.unwrap();
    // What is of no use changes nothing.
    to.put_keys("{\"keys\": [");
    assert!(issuers.reload().unwrap_err().to_string().contains("is no JWK Set"));
    server.kms.clone().re_encrypt(import).await.unwrap();
    fs::set_permissions(to.file(), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(issuers.reload().unwrap_err().to_string().contains("others can change it"));
}
