//! The cost of deciding by policies: a decision that was made before, one that is made
//! anew by the ten that can matter of a thousand, and exports with a hundred policies
//! beside exports without any, in the same run.
//!
//! `cargo bench --bench policy`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use keyferry::access::cedar::policy_set::{Ask, PolicySet};
use keyferry::access::cedar::source::{PolicyTexts, Text};
use keyferry::access::grant::KeyIdentity;
use keyferry::access::operations::Action;
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::access::question::{KeyFacts, RecipientFacts, RequestFacts, Subject};
use keyferry::access::token_groups::TokenGroups;
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
use keyferry::service::Services;
use keyferry::service::caller::Caller;
use keyferry::service::naming::Arns;
use keyferry::service::permits::Permits;
use keyferry::service::quotas::Quota;
use keyferry::storage::MemoryStore;
use tokio::runtime::Runtime;

/// More than one principal's kept decisions.
const CONTEXTS: usize = 40_000;

/// So many policies, of which ten are about `unix:7`, as a pinned export is written.
fn policies(count: usize) -> PolicySet {
    let policy = |number: usize| {
        let uid = if number < 10 { 7 } else { 1000 + number };
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
    let generate = "@id(\"generate\") permit (principal == UnixUser::\"7\",\n\
                    action == Action::\"GenerateDataKeyWithoutPlaintext\", resource);\n";
    let text: String = (0..count).map(policy).chain([generate.to_owned()]).collect();
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
    let policies = policies(1000);
    assert!(policies.decide(&ask).allowed);
    criterion.bench_function("decision, made before", |bencher| {
        bencher.iter(|| black_box(policies.decide(black_box(&ask))));
    });
    criterion.bench_function("decision, ten relevant of 1,000 policies", |bencher| {
        bencher.iter(|| black_box(policies.decide_anew(black_box(&ask))));
    });
}

/// Services by this policy, their caller, and a request for an export under each context.
struct Exports {
    services: Services,
    caller: Caller,
    requests: Vec<v1::ExportDataKeyRequest>,
}

impl Exports {
    async fn under(policies: Option<PolicySet>, recipient: &RecipientPrivateKey) -> Self {
        let (store_id, key_id) = (StoreId::new(), StoreKeyId::new());
        let keys = [(key_id, StoreKey::generate().unwrap())];
        let seals = RecordSeals::new(store_id, &keys);
        let keys = Keys::new(Arc::new(MemoryStore::new()), seals, Arc::new(SystemClock));
        // What is exported is made before the policies decide.
        let (policy, dev) = (Policy::dev(), caller(Principal::dev()));
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
        let Some(policies) = policies else { return Self { services, caller: dev, requests } };
        policy.replace(policies);
        Self { services, caller: caller(Principal::unix(7)), requests }
    }

    async fn export(&self, number: usize) {
        let request = self.requests[number % CONTEXTS].clone();
        let caller = Caller { deadline: Instant::now() + LONG, ..self.caller.clone() };
        black_box(self.services.export_data_key(&caller, request).await.unwrap());
    }
}

const LONG: Duration = Duration::from_secs(30);

fn caller(principal: Principal) -> Caller {
    Caller {
        quota: Quota::of(&Arc::default(), &principal),
        principal,
        groups: TokenGroups::default(),
        request_id: "bench".to_owned(),
        deadline: Instant::now() + LONG,
        work: Permits::new(512, 256).share_of(&()),
        permit: None,
        begun: None,
    }
}

fn exports(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let recipient = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).unwrap();
    let without = runtime.block_on(Exports::under(None, &recipient));
    let with = runtime.block_on(Exports::under(Some(policies(100)), &recipient));
    for (name, exports) in [("without policies", &without), ("100 policies", &with)] {
        criterion.bench_function(&format!("export, {name}, one question"), |bencher| {
            bencher.to_async(&runtime).iter(|| exports.export(0));
        });
        let next = AtomicUsize::new(0);
        criterion.bench_function(&format!("export, {name}, ever new contexts"), |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| exports.export(next.fetch_add(1, Ordering::Relaxed)));
        });
    }
}

criterion_group!(benches, decisions, exports);
criterion_main!(benches);
