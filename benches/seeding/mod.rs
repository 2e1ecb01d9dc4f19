//! Fills a dev store with CMKs: the keyring makes them as it always does, over a
//! store that gathers what many creations write into commits as large as the
//! law permits.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use keyferry::access::decisions::CREATE_KEY;
use keyferry::access::policy::Policy;
use keyferry::access::principal::Principal;
use keyferry::access::question::{Question, RequestFacts, Subject};
use keyferry::audit::log::AuditLog;
use keyferry::audit::trail::Trail;
use keyferry::ids::KeyId;
use keyferry::keys::Keys;
use keyferry::keys::clock::{Clock, SystemClock};
use keyferry::keys::guard::file_root_key::FileRootKey;
use keyferry::keys::guard::store_keys::{self, StoreMode};
use keyferry::keys::keyring::Keyring;
use keyferry::keys::keyring::version_material::VersionMaterial;
use keyferry::keys::model::cmk::{KeySpec, KeyUsage, NewCmk};
use keyferry::keys::model::rotation::RotationInterval;
use keyferry::keys::model::tags::Tags;
use keyferry::storage::{
    COMMIT_OPERATIONS_MAX, Changes, Listing, Precondition, Revision, Snapshot, SqliteStore, Store,
    StoreError, Write,
};
use tokio::task::JoinSet;

/// Commits on their way at once: the store lets that many share one sync.
const COMMITS_AT_ONCE: usize = 64;
/// Of so many CMKs one is rotated on a schedule.
const ROTATED_ONE_IN: usize = 10;
const ROTATION_SECONDS: u32 = 365 * 24 * 60 * 60;

/// Makes a dev store in this directory, as `serve --dev` lays it out, with so
/// many CMKs in it.
pub async fn seed(data_dir: &Path, count: usize) -> Vec<KeyId> {
    let root = FileRootKey::create(&data_dir.join("root.key")).unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data_dir.join("store")).unwrap());
    let seals = store_keys::create(store.as_ref(), &root, StoreMode::Dev, SystemClock.now());
    let seals = seals.await.unwrap();
    let gathering = Arc::new(Gathering { store, gathered: Mutex::default() });
    let Keys { keyring, .. } = Keys::new(gathering.clone(), seals, Arc::new(SystemClock));
    let mut commits = JoinSet::new();
    let mut keys = Vec::with_capacity(count);
    for n in 0..count {
        keys.push(create(&keyring, n).await);
        if let Some(writes) = gathering.take(COMMIT_OPERATIONS_MAX) {
            if commits.len() == COMMITS_AT_ONCE {
                commits.join_next().await.unwrap().unwrap();
            }
            commits.spawn(gathering.clone().put(writes));
        }
    }
    if let Some(writes) = gathering.take(1) {
        gathering.clone().put(writes).await;
    }
    while let Some(done) = commits.join_next().await {
        done.unwrap();
    }
    keys
}

async fn create(keyring: &Keyring, n: usize) -> KeyId {
    let principal = Principal::dev();
    let question = Question {
        principal: &principal,
        decisions: CREATE_KEY,
        subject: Subject::Instance,
        facts: RequestFacts::default(),
        other: None,
        record: &Trail::of_system(&AuditLog::off()),
    };
    let grant = Policy::dev().authorise(&question).unwrap();
    let rotated = n.is_multiple_of(ROTATED_ONE_IN);
    let rotation = rotated.then(|| RotationInterval::from_seconds(ROTATION_SECONDS).unwrap());
    let new = NewCmk {
        description: format!("tenant {n}"),
        spec: KeySpec::Aes256,
        usage: KeyUsage::EncryptDecrypt,
        rotation,
        tags: Tags::default(),
        creator: "dev".into(),
    };
    let material = VersionMaterial::generate(KeySpec::Aes256).unwrap();
    let (intent, _) = Trail::of_system(&AuditLog::off()).intend(|_| {}).await.unwrap();
    keyring.create(intent, grant, new, &material).await.unwrap().cmk.id
}

/// A store that keeps back what is written. That new ids are new is believed.
struct Gathering {
    store: Arc<dyn Store>,
    gathered: Mutex<Vec<Write>>,
}

impl Gathering {
    /// The next commit, once at least so much was gathered.
    fn take(&self, at_least: usize) -> Option<Vec<Write>> {
        let mut gathered = self.gathered.lock().unwrap();
        let size = gathered.len().min(COMMIT_OPERATIONS_MAX);
        (size >= at_least).then(|| gathered.drain(..size).collect())
    }

    async fn put(self: Arc<Self>, writes: Vec<Write>) {
        self.store.commit(&[], &writes).await.unwrap();
    }
}

#[async_trait]
impl Store for Gathering {
    async fn commit(
        &self,
        _preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        self.gathered.lock().unwrap().extend_from_slice(writes);
        Ok(self.store.revision_seen())
    }

    async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError> {
        self.store.read(paths).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StoreError> {
        self.store.list(prefix, after, limit).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        self.store.count(prefix).await
    }

    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError> {
        self.store.changes_since(revision).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    fn revision_seen(&self) -> Revision {
        self.store.revision_seen()
    }
}
