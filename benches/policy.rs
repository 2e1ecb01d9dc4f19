//! The cost of deciding by policies: a decision that was made before, one that is made
//! anew by the ten that can matter of a thousand, and exports with a hundred policies
//! beside exports without any, in the same run.
//!
//! `cargo bench --bench policy`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "a benchmark"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use hyper_util::rt::TokioIo;
use keyferry::access::cedar::policy_set::{Ask, PolicySet};
use keyferry::access::cedar::source::{PolicyTexts, Text};
use keyferry::access::grant::KeyIdentity;
use keyferry::access::operations::Action;
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::access::question::{KeyFacts, RecipientFacts, RequestFacts, Subject};
use keyferry::access::token_groups::TokenGroups;
use keyferry::config::{Address, Config};
use keyferry::crypto::ciphertext_blob::BlobKind;
use keyferry::crypto::encryption_context::EncryptionContext;
use keyferry::crypto::secret::StoreKey;
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use keyferry::ids::{KeyId, StoreId, StoreKeyId};
use keyferry::keys::Keys;
use keyferry::keys::clock::SystemClock;
use keyferry::keys::guard::records::RecordSeals;
use keyferry::proto::v1;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::server::{Health, Limits, Listener, run};
use keyferry::service::Services;
use keyferry::service::caller::Caller;
use keyferry::service::naming::Arns;
use keyferry::service::permits::Permits;
use keyferry::service::quotas::Quota;
use keyferry::storage::MemoryStore;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// More than one principal's kept decisions.
const CONTEXTS: usize = 40_000;

/// So many policies, of which ten are about this user, as a pinned export is written.
fn policies(count: usize, uid: u32) -> PolicySet {
    let policy = |number: usize| {
        let uid = if number < 10 { u64::from(uid) } else { 1_000_000 + number as u64 };
        let digest = if number == 0 { "resource".to_owned() } else { format!("{number:064x}") };
        let recipient = if number == 0 {
            "true".to_owned()
        } else {
            format!("context.recipient.public_key_sha256 == \"{digest}\"")
        };
        format!(
            "@id(\"p{number}\") permit (principal == UnixUser::\"{uid}\", action, resource is Key)\n\
             when {{ context has recipient && {recipient} &&\n\
             context.encryption_context.hasTag(\"app\") &&\n\
             context.encryption_context.getTag(\"app\") == \"billing\" &&\n\
             context.blob.kind == \"DataKeyUnseen\" }};\n"
        )
    };
    let text: String = (0..count).map(policy).collect();
    let policies = vec![Text { file: "a.cedar".to_owned(), text }];
    PolicySet::read(&PolicyTexts { policies, groups: None }).unwrap()
}

fn context(number: usize) -> BTreeMap<String, String> {
    let pair = |key: &str, value: String| (key.to_owned(), value);
    BTreeMap::from([pair("app", "billing".to_owned()), pair("order", number.to_string())])
}

fn decisions(criterion: &mut Criterion) {
    let (principal, tags) = (Principal::unix(7), BTreeMap::new());
    let context = EncryptionContext::new(context(0)).unwrap();
    let aliases = ["alias/payments".to_owned()];
    let key = KeyFacts {
        identity: KeyIdentity { id: KeyId::new(), revision: 1 },
        spec: "Aliyun_AES_256",
        usage: "ENCRYPT/DECRYPT",
        state: "Enabled",
        creator: "unix:0",
        tags: &tags,
        aliases: &aliases,
    };
    let ask = Ask {
        principal: &principal,
        rpc: "Kms/ExportDataKey",
        action: Action::ExportDataKey,
        subject: Subject::Key(Some(key)),
        facts: RequestFacts {
            context: Some(&context),
            recipient: Some(RecipientFacts { sha256: [0xab; 32], spec: "RSA_2048" }),
            algorithm: Some("RSAES_OAEP_SHA_256"),
            blob_kind: Some(BlobKind::DataKeyUnseen),
            number_of_bytes: Some(32),
            ..RequestFacts::default()
        },
        other: None,
    };
    let policies = policies(1000, 7);
    assert!(policies.decide(&ask).allowed);
    criterion.bench_function("decision, made before", |bencher| {
        bencher.iter(|| black_box(policies.decide(black_box(&ask))));
    });
    criterion.bench_function("decision, ten relevant of 1,000 policies", |bencher| {
        bencher.iter(|| black_box(policies.decide_anew(black_box(&ask))));
    });
}

/// A server on a Unix socket, and a request for an export under each context.
struct Exports {
    kms: KmsClient<Channel>,
    requests: Vec<v1::ExportDataKeyRequest>,
    _folder: TempDir,
}

impl Exports {
    /// Without policies every caller is `dev`; with them, this process's user.
    async fn under(policies: Option<PolicySet>, recipient: &RecipientPrivateKey) -> Self {
        let (store_id, key_id) = (StoreId::new(), StoreKeyId::new());
        let keys = [(key_id, StoreKey::generate().unwrap())];
        let seals = RecordSeals::new(store_id, &keys);
        let keys = Keys::new(Arc::new(MemoryStore::new()), seals, Arc::new(SystemClock));
        // What is exported is made before the policies decide.
        let (policy, dev) = (Policy::dev(), caller());
        let services = Services::new(keys, policy.clone(), Arns::new("local", "0"));
        let made = services.create_key(&dev, v1::CreateKeyRequest::default()).await.unwrap();
        let key_id = made.key_metadata.unwrap().key_id;
        let mut requests = Vec::new();
        for number in 0..CONTEXTS {
            let request = v1::GenerateDataKeyWithoutPlaintextRequest {
                key_id: key_id.clone(),
                encryption_context: context(number),
                ..Default::default()
            };
            let made = services.generate_data_key_without_plaintext(&dev, request).await.unwrap();
            requests.push(v1::ExportDataKeyRequest {
                ciphertext_blob: made.ciphertext_blob,
                public_key_blob: recipient.public_key_der().to_vec(),
                wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
                wrapping_key_spec: v1::WrappingKeySpec::Rsa2048.into(),
                encryption_context: context(number),
                ..Default::default()
            });
        }
        let folder = tempfile::tempdir().unwrap();
        let config = match policies {
            None => {
                let socket = format!("unix:{}", folder.path().join("kf.sock").display());
                Config::dev(folder.path(), Some(&socket)).unwrap()
            }
            Some(policies) => {
                policy.replace(policies);
                Config::parse(OVER_UNIX, folder.path(), []).unwrap()
            }
        };
        let kms = connect(&config, services).await;
        Self { kms, requests, _folder: folder }
    }

    async fn export(&self, number: usize) {
        let request = self.requests[number % CONTEXTS].clone();
        black_box(self.kms.clone().export_data_key(request).await.unwrap());
    }
}

const OVER_UNIX: &str = r#"
[[listener]]
address = "unix:kf.sock"
[auth.unix]
[store]
kind = "sqlite"
path = "store"
[root_key]
provider = "file"
path = "root.key"
[policy]
dir = "policies"
"#;

/// Serves on the one listener, and connects to it.
async fn connect(config: &Config, services: Services) -> KmsClient<Channel> {
    let Address::Unix(path) = config.listeners[0].address().clone() else { panic!("a socket") };
    let listener = Listener::bind(&config.listeners[0]).await.unwrap();
    let health = Health::new(&Services::NAMES, || async { true });
    let forever = std::future::pending();
    tokio::spawn(run(vec![listener], services.routes(), health, Limits::default(), forever));
    let connector = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    KmsClient::new(endpoint.connect_with_connector(connector).await.unwrap())
}

fn caller() -> Caller {
    Caller {
        quota: Quota::of(&Arc::default(), &Principal::dev()),
        principal: Principal::dev(),
        by: None,
        peer: None,
        groups: TokenGroups::default(),
        request_id: "bench".to_owned(),
        deadline: Instant::now() + Duration::from_mins(10),
        work: Permits::new(512, 256).share_of(&()),
        permit: None,
        begun: None,
    }
}

fn exports(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let recipient = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let without = runtime.block_on(Exports::under(None, &recipient));
    let with = runtime.block_on(Exports::under(Some(policies(100, uid)), &recipient));
    for (name, exports) in [("without policies", &without), ("100 policies", &with)] {
        criterion.bench_function(&format!("ExportDataKey, {name}, one question"), |bencher| {
            bencher.to_async(&runtime).iter(|| exports.export(0));
        });
        let next = AtomicUsize::new(0);
        criterion.bench_function(&format!("ExportDataKey, {name}, ever new contexts"), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| exports.export(next.fetch_add(1, Ordering::Relaxed)));
        });
    }
}

criterion_group!(benches, decisions, exports);
criterion_main!(benches);
