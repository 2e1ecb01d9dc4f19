//! The cost of the keyring: a key version that is known, and one that must be
//! read from the store and opened first.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use keyferry::access::decisions::{CREATE_KEY, DECRYPT, Decisions};
use keyferry::access::grant::Grant;
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::access::purpose::Purpose;
use keyferry::access::question::{Question, RequestFacts, Subject};
use keyferry::audit::log::AuditLog;
use keyferry::audit::trail::Trail;
use keyferry::crypto::secret::StoreKey;
use keyferry::ids::{KeyVersionId, StoreId, StoreKeyId};
use keyferry::keys::Keys;
use keyferry::keys::clock::SystemClock;
use keyferry::keys::guard::records::RecordSeals;
use keyferry::keys::keyring::Keyring;
use keyferry::keys::keyring::version_material::VersionMaterial;
use keyferry::keys::model::cmk::{KeySpec, KeyUsage, NewCmk};
use keyferry::keys::model::tags::Tags;
use keyferry::storage::{SqliteStore, Store};
use tokio::runtime::Runtime;

fn grant<P: Purpose>(decisions: Decisions<P>, subject: Subject<'_>) -> Grant<P> {
    let principal = Principal::dev();
    let question = Question {
        principal: &principal,
        decisions,
        subject,
        facts: RequestFacts::default(),
        other: None,
        record: &Trail::of_system(&AuditLog::off()),
    };
    Policy::dev().authorise(&question).unwrap()
}

/// Finds a version's CMK and takes the version, as every opening does.
async fn take(keyring: &Keyring, version: KeyVersionId) {
    let found = keyring.find_by_version(version).await.unwrap().expect("a CMK");
    let grant = grant(DECRYPT, Subject::Key(Some(found.facts())));
    let _ = black_box(keyring.take_version(grant, version).await.unwrap());
}

fn keyring(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&home.path().join("store")).unwrap());
    let (store_id, key_id, key) =
        (StoreId::new(), StoreKeyId::new(), StoreKey::generate().unwrap());
    let keys = [(key_id, key)];
    let open = || {
        Keys::new(store.clone(), RecordSeals::new(store_id, &keys), Arc::new(SystemClock)).keyring
    };
    let warm = open();
    let new = NewCmk {
        description: String::new(),
        spec: KeySpec::Aes256,
        usage: KeyUsage::EncryptDecrypt,
        rotation: None,
        tags: Tags::default(),
        creator: "dev".into(),
    };
    let material = VersionMaterial::generate(new.spec).unwrap();
    let trail = Trail::of_system(&AuditLog::off());
    let (intent, _) = runtime.block_on(trail.intend(|_| {})).unwrap();
    let creation = warm.create(intent, grant(CREATE_KEY, Subject::Instance), new, &material);
    let version = runtime.block_on(creation).unwrap().cmk.newest_version;

    criterion.bench_function("keyring hit", |bencher| {
        bencher.to_async(&runtime).iter(|| take(&warm, version));
    });
    criterion.bench_function("keyring miss", |bencher| {
        bencher.iter_batched(
            open,
            |cold| runtime.block_on(take(&cold, version)),
            criterion::BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, keyring);
criterion_main!(benches);
