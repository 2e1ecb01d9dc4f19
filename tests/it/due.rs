//! Deletion and rotation on a schedule, over gRPC and with clocks that the test
//! moves: carried out once, when due at two readings, whatever was stopped or
//! set wrong in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use keyferry::ids::AccessKeyId;
use keyferry::keys::Keys;
use keyferry::keys::access_keys::used_nonces::SpentNonce;
use keyferry::keys::clock::Clock;
use keyferry::keys::schedule::due_work::Carried;
use keyferry::proto::v1;
use keyferry::storage::{
    Changes, Listing, MemoryStore, Precondition, Revision, Snapshot, SqliteStore, Store,
    StoreError, Write,
};
use tonic::Code;

use crate::support::{Founded, ManualClock, TestServer, assert_refused, days, hours, services_of};

const NOTHING: Carried = Carried { deleted: 0, rotated: 0, failed: 0 };
const ONE_DELETED: Carried = Carried { deleted: 1, ..NOTHING };
const ONE_ROTATED: Carried = Carried { rotated: 1, ..NOTHING };
const YEAR_SECONDS: i64 = 365 * 24 * 60 * 60;

/// A server whose time the test tells.
struct World {
    founded: Founded,
    clock: Arc<ManualClock>,
    keys: Keys,
    server: TestServer,
}

impl World {
    async fn start() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    async fn over(store: Arc<dyn Store>) -> Self {
        let founded = Founded::over(store).await;
        let clock = Arc::new(ManualClock::default());
        let keys = founded.keys(clock.clone()).await;
        let server = TestServer::serving(services_of(keys.clone())).await;
        Self { founded, clock, keys, server }
    }

    /// Time passes, with a look each minute of its last hours.
    async fn pass(&self, time: Duration) -> Carried {
        let watched = hours(2).min(time);
        self.clock.pass(time.saturating_sub(watched));
        let mut sum = NOTHING;
        for _ in 0..watched.as_secs() / 60 {
            self.clock.pass(Duration::from_secs(60));
            let carried = self.keys.schedule.carry_out_due().await.unwrap();
            sum.deleted += carried.deleted;
            sum.rotated += carried.rotated;
            sum.failed += carried.failed;
        }
        sum
    }

    /// The server stops and starts again.
    async fn restart(self) -> Self {
        let Self { founded, clock, server, .. } = self;
        server.stop().await;
        let keys = founded.keys(clock.clone()).await;
        let server = TestServer::serving(services_of(keys.clone())).await;
        Self { founded, clock, keys, server }
    }

    async fn schedule_deletion(&self, key_id: &str) -> Result<(), tonic::Status> {
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: key_id.into(),
            pending_window_in_days: Some(7),
            ..Default::default()
        };
        self.server.management.clone().schedule_key_deletion(request).await.map(|_| ())
    }

    async fn rotate_every(&self, key_id: &str, interval: &str) {
        let request = v1::UpdateRotationPolicyRequest {
            key_id: key_id.into(),
            enable_automatic_rotation: Some(true),
            rotation_interval: interval.into(),
            ..Default::default()
        };
        self.server.management.clone().update_rotation_policy(request).await.unwrap();
    }

    async fn describe(&self, key_id: &str) -> Result<v1::KeyMetadata, tonic::Status> {
        let request = v1::DescribeKeyRequest { key_id: key_id.into(), ..Default::default() };
        let answer = self.server.management.clone().describe_key(request).await?;
        Ok(answer.into_inner().key_metadata.unwrap())
    }

    async fn decrypt(&self, blob: &[u8]) -> Result<Vec<u8>, tonic::Status> {
        let request = v1::DecryptRequest { ciphertext_blob: blob.into(), ..Default::default() };
        Ok(self.server.kms.clone().decrypt(request).await?.into_inner().plaintext)
    }

    async fn versions(&self, key_id: &str) -> Vec<v1::KeyVersion> {
        let request = v1::ListKeyVersionsRequest {
            key_id: key_id.into(),
            page_size: Some(100),
            ..Default::default()
        };
        let listed = self.server.management.clone().list_key_versions(request).await.unwrap();
        listed.into_inner().key_versions
    }

    async fn rotate(&self, key_id: &str) {
        let request = v1::CreateKeyVersionRequest { key_id: key_id.into(), ..Default::default() };
        self.server.management.clone().create_key_version(request).await.unwrap();
    }

    /// An attacker puts an empty record there.
    async fn put(&self, path: &str) {
        let put = Write::Put(path.to_owned(), Vec::new());
        self.founded.store.commit(&[], &[put]).await.unwrap();
    }

    async fn paths(&self) -> Vec<String> {
        let page = self.founded.store.list("", None, 1000).await.unwrap();
        page.entries.into_iter().map(|(path, _)| path).collect()
    }
}

/// A store that takes so many commits and then no more.
struct BreaksOff {
    store: Arc<dyn Store>,
    commits: AtomicUsize,
}

#[tonic::async_trait]
impl Store for BreaksOff {
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

    async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        let left =
            self.commits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        match left {
            Ok(_) => self.store.commit(preconditions, writes).await,
            Err(_) => Err(StoreError::NotStored("it is broken off".into())),
        }
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

#[tokio::test]
async fn a_deletion_is_carried_out_an_hour_after_it_is_due() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    let blob = world.server.generate(&key, &[], 32).await;
    assert_eq!(world.pass(hours(2)).await, NOTHING);
    world.schedule_deletion(&key).await.unwrap();
    let due = world.describe(&key).await.unwrap().delete_date;
    assert!(due.starts_with("2027-"), "{due}");
    assert_eq!(world.pass(days(7)).await, NOTHING, "due at one reading");
    assert_eq!(world.describe(&key).await.unwrap().key_state, "PendingDeletion");
    assert_eq!(world.pass(hours(1) + Duration::from_secs(60)).await, ONE_DELETED);
    assert_refused(world.describe(&key).await, Code::NotFound, "Forbidden.KeyNotFound");
    assert_refused(world.decrypt(&blob).await, Code::NotFound, "Forbidden.KeyNotFound");
    assert_eq!(world.pass(days(400)).await, NOTHING);
}

#[tokio::test]
async fn a_deletion_that_fell_due_while_the_server_was_down_is_carried_out_an_hour_later() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    world.schedule_deletion(&key).await.unwrap();
    world.clock.pass(days(30));
    let world = world.restart().await;
    assert_eq!(world.keys.schedule.carry_out_due().await.unwrap(), NOTHING);
    world.clock.pass(Duration::from_secs(60 * 60 - 1));
    assert_eq!(world.keys.schedule.carry_out_due().await.unwrap(), NOTHING);
    world.clock.pass(Duration::from_secs(1));
    assert_eq!(world.keys.schedule.carry_out_due().await.unwrap(), ONE_DELETED);
}

#[tokio::test]
async fn a_clock_a_year_ahead_for_a_minute_destroys_nothing() {
    let world = World::start().await;
    let [doomed, rotated] = [world.server.create_key().await, world.server.create_key().await];
    world.schedule_deletion(&doomed).await.unwrap();
    world.rotate_every(&rotated, "30d").await;
    assert_eq!(world.pass(hours(3)).await, NOTHING);
    world.clock.jump(YEAR_SECONDS);
    assert_eq!(world.keys.schedule.carry_out_due().await.unwrap(), NOTHING);
    let other = world.server.create_key().await;
    let refused = world.schedule_deletion(&other).await;
    assert_refused(refused, Code::Unavailable, "ServiceUnavailableTemporary");
    world.clock.pass(Duration::from_secs(60));
    assert_eq!(world.keys.schedule.carry_out_due().await.unwrap(), NOTHING);
    world.clock.jump(-YEAR_SECONDS);
    assert_eq!(world.pass(hours(5)).await, NOTHING);
    world.schedule_deletion(&other).await.unwrap();
    assert_eq!(world.versions(&rotated).await.len(), 1);
    assert_eq!(world.pass(days(7)).await, ONE_DELETED, "the first one's day has come");
}

#[tokio::test]
async fn a_date_is_not_taken_from_a_clock_that_was_just_set_back() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    world.pass(hours(2)).await;
    // Due a year ago, once the clock is right again.
    world.clock.jump(-YEAR_SECONDS);
    let refused = world.schedule_deletion(&key).await;
    assert_refused(refused, Code::Unavailable, "ServiceUnavailableTemporary");
    world.clock.jump(YEAR_SECONDS);
    assert_eq!(world.pass(days(2)).await, NOTHING);
    assert_eq!(world.describe(&key).await.unwrap().key_state, "Enabled");
}

#[tokio::test]
async fn a_cancelled_deletion_leaves_nothing_due() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    let blob = world.server.generate(&key, &[], 32).await;
    world.schedule_deletion(&key).await.unwrap();
    world.pass(days(6)).await;
    let cancel = v1::CancelKeyDeletionRequest { key_id: key.clone(), ..Default::default() };
    world.server.management.clone().cancel_key_deletion(cancel).await.unwrap();
    assert!(!world.paths().await.iter().any(|path| path.starts_with("due/")));
    assert_eq!(world.pass(days(400)).await, NOTHING);
    assert_eq!(world.decrypt(&blob).await.unwrap().len(), 32);
}

#[tokio::test]
async fn what_is_deleted_leaves_a_tombstone_alone() {
    let world = World::start().await;
    let kept = world.server.create_key().await;
    let kept_paths = world.paths().await;
    let key = world.server.create_key().await;
    for number in 0..40 {
        let request = v1::CreateKeyVersionRequest { key_id: key.clone(), ..Default::default() };
        world.server.management.clone().create_key_version(request).await.unwrap();
        let alias_name = format!("alias/doomed-{number}");
        let request =
            v1::CreateAliasRequest { alias_name, key_id: key.clone(), ..Default::default() };
        world.server.management.clone().create_alias(request).await.unwrap();
    }
    world.schedule_deletion(&key).await.unwrap();
    assert_eq!(world.pass(days(8)).await, ONE_DELETED);
    let mut expected = kept_paths;
    expected.push(format!("tombstone/{key}"));
    expected.sort();
    assert_eq!(world.paths().await, expected);
    assert_eq!(world.describe(&kept).await.unwrap().key_state, "Enabled");
    let again = v1::CreateAliasRequest {
        alias_name: "alias/doomed-7".into(),
        key_id: kept,
        ..Default::default()
    };
    world.server.management.clone().create_alias(again).await.unwrap();
}

#[tokio::test]
async fn an_erasure_that_was_broken_off_goes_on_at_the_next_start() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    for _ in 0..70 {
        let request = v1::CreateKeyVersionRequest { key_id: key.clone(), ..Default::default() };
        world.server.management.clone().create_key_version(request).await.unwrap();
    }
    world.schedule_deletion(&key).await.unwrap();
    world.clock.pass(days(7));
    // The tombstone is put, some versions are erased, then the store is gone.
    let store = BreaksOff { store: world.founded.store.clone(), commits: AtomicUsize::new(2) };
    let keys = world.founded.keys_through(Arc::new(store), world.clock.clone()).await;
    assert_eq!(keys.schedule.carry_out_due().await.unwrap(), NOTHING);
    world.clock.pass(hours(1));
    let carried = keys.schedule.carry_out_due().await.unwrap();
    assert_eq!(carried, Carried { failed: 1, ..NOTHING });
    let world = world.restart().await;
    assert_refused(world.describe(&key).await, Code::NotFound, "Forbidden.KeyNotFound");
    let left =
        |paths: Vec<String>| paths.iter().filter(|path| path.starts_with("version/")).count();
    assert_eq!(left(world.paths().await), 41);
    assert_eq!(world.keys.schedule.carry_out_due().await.unwrap(), NOTHING, "no clock is needed");
    let paths = world.paths().await;
    assert!(paths.contains(&format!("tombstone/{key}")));
    assert!(!paths.iter().any(|path| path.starts_with("erasure/")));
    assert_eq!(left(paths), 0);
}

#[tokio::test]
async fn a_cmk_is_rotated_on_schedule_and_its_old_blobs_open() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    world.rotate_every(&key, "30d").await;
    let first = world.server.generate(&key, &[], 16).await;
    assert_eq!(world.pass(days(30)).await, NOTHING);
    assert_eq!(world.pass(hours(2)).await, ONE_ROTATED);
    let second = world.server.generate(&key, &[], 16).await;
    assert_ne!(first[..36], second[..36]);
    let versions = world.versions(&key).await;
    let primary = world.describe(&key).await.unwrap().primary_key_version;
    assert_eq!(versions.len(), 2);
    assert_eq!(primary, versions[1].key_version_id);
    assert_eq!(second[..36], *primary.as_bytes());
    let world = world.restart().await;
    for blob in [&first, &second] {
        assert_eq!(world.decrypt(blob).await.unwrap().len(), 16);
    }
    assert_eq!(world.pass(days(31)).await, ONE_ROTATED);
    assert_eq!(world.versions(&key).await.len(), 3);
}

#[tokio::test]
async fn a_disabled_cmk_is_not_rotated_and_catches_up_once() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    world.rotate_every(&key, "7d").await;
    let disable = v1::DisableKeyRequest { key_id: key.clone(), ..Default::default() };
    world.server.management.clone().disable_key(disable).await.unwrap();
    assert_eq!(world.describe(&key).await.unwrap().automatic_rotation, "Suspended");
    assert_eq!(world.pass(days(100)).await, NOTHING);
    let enable = v1::EnableKeyRequest { key_id: key.clone(), ..Default::default() };
    world.server.management.clone().enable_key(enable).await.unwrap();
    assert_eq!(world.pass(hours(1)).await, ONE_ROTATED);
    assert_eq!(world.versions(&key).await.len(), 2);
}

#[tokio::test]
async fn two_keyrings_over_one_store_do_each_thing_once() {
    let world = World::start().await;
    let mut keys = Vec::new();
    for _ in 0..20 {
        let key = world.server.create_key().await;
        world.rotate_every(&key, "7d").await;
        keys.push(key);
    }
    for key in &keys[..10] {
        world.schedule_deletion(key).await.unwrap();
    }
    let other = world.founded.keys(world.clock.clone()).await;
    let mut sum = NOTHING;
    for _ in 0..20 {
        world.clock.pass(hours(12));
        let both =
            tokio::join!(world.keys.schedule.carry_out_due(), other.schedule.carry_out_due());
        for carried in [both.0.unwrap(), both.1.unwrap()] {
            sum.deleted += carried.deleted;
            sum.rotated += carried.rotated;
            sum.failed += carried.failed;
        }
    }
    assert_eq!(sum, Carried { deleted: 10, rotated: 10, failed: 0 });
    for key in &keys[10..] {
        assert_eq!(world.versions(key).await.len(), 2);
    }
}

#[tokio::test]
async fn a_spent_nonce_is_kept_while_its_signature_is_good_and_not_for_ever() {
    let world = World::start().await;
    let request = v1::CreateAccessKeyRequest { principal: "billing".into(), dry_run: false };
    let made = world.server.access.clone().create_access_key(request).await.unwrap().into_inner();
    let access_key_id = AccessKeyId::parse(&made.access_key_id).unwrap();
    let past_at = world.clock.now() + SignedDuration::from_mins(15);
    let spend = async |nonce: &str| {
        let spent = SpentNonce { access_key_id: &access_key_id, nonce, past_at, takes_away: false };
        world.keys.access_keys.spend_nonce(&spent).await.map(drop)
    };
    for number in 0..150 {
        spend(&number.to_string()).await.unwrap();
    }
    let again = spend("7").await.unwrap_err();
    assert_eq!(again.rule().reason(), "SignatureNonceUsed");
    let kept =
        async || world.paths().await.iter().filter(|path| path.starts_with("used-nonce/")).count();
    world.pass(hours(1)).await;
    assert_eq!(kept().await, 150);
    world.clock.jump(YEAR_SECONDS);
    world.pass(Duration::from_secs(60)).await;
    world.clock.jump(-YEAR_SECONDS);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(kept().await, 150, "a wrong clock forgets nothing");
    world.pass(hours(2)).await;
    assert_eq!(kept().await, 0);
}

/// An attacker who can write the store and has kept old records of it.
#[tokio::test]
async fn a_deleted_cmk_does_not_come_back_where_its_records_are_put_back() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    let blob = world.server.generate(&key, &[], 32).await;
    let old = world.founded.store.list("", None, 1000).await.unwrap().entries;
    world.schedule_deletion(&key).await.unwrap();
    assert_eq!(world.pass(days(8)).await, ONE_DELETED);
    for (path, record) in old {
        if world.founded.store.read(&[path.as_str()]).await.unwrap().values[0].is_none() {
            let put = Write::Put(path, record.value);
            world.founded.store.commit(&[], &[put]).await.unwrap();
        }
    }
    let world = world.restart().await;
    assert_refused(world.decrypt(&blob).await, Code::Internal, "InternalFailure");
    assert_refused(world.describe(&key).await, Code::Internal, "InternalFailure");
}

#[tokio::test]
async fn an_index_that_lies_changes_nothing() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    let lies = [
        format!("due/deletion/000000000001/{key}"),
        format!("due/rotation/000000000001/{key}"),
        "due/deletion/000000000001/no-key".to_owned(),
        format!("erasure/{key}"),
    ];
    for path in &lies {
        let lie = Write::Put(path.clone(), Vec::new());
        world.founded.store.commit(&[], &[lie]).await.unwrap();
    }
    assert_eq!(world.pass(hours(2)).await, NOTHING);
    assert_eq!(world.describe(&key).await.unwrap().key_state, "Enabled");
    assert_eq!(world.versions(&key).await.len(), 1);
}

/// An attacker puts entries among the versions of a CMK that is to be deleted: one
/// that names no version, and one that names another CMK's, which no longer opens.
#[tokio::test]
async fn entries_that_were_planted_do_not_keep_a_cmk_from_being_erased() {
    let world = World::start().await;
    let (doomed, broken) = (world.server.create_key().await, world.server.create_key().await);
    world.rotate(&doomed).await;
    let its: Vec<_> = world.versions(&doomed).await;
    let others = world.describe(&broken).await.unwrap().primary_key_version;
    let others = format!("version/{others}");
    world.put(&format!("key-version/{doomed}/zzz")).await;
    world.put(&format!("key-{}", others.replace('/', &format!("/{doomed}/")))).await;
    world.put(&others).await;
    world.schedule_deletion(&doomed).await.unwrap();
    assert!(world.keys.keyring.is_healthy().await);
    let carried = world.pass(days(8)).await;
    assert_eq!((carried.deleted, carried.rotated), (0, 0), "its turn ends where it is broken off");
    assert!(!world.keys.keyring.is_healthy().await);
    let paths = world.paths().await;
    for version in its {
        let id = version.key_version_id;
        assert!(!paths.iter().any(|path| path.contains(&id)), "{id}");
    }
    assert!(paths.contains(&others), "it may be another CMK's");
    assert!(!paths.contains(&format!("key-version/{doomed}/zzz")));
    assert!(paths.contains(&format!("erasure/{doomed}")), "it is not at its end");
    // Once that record is gone or put right, the erasure comes to its end.
    let gone = Write::Delete(others);
    world.founded.store.commit(&[], &[gone]).await.unwrap();
    assert_eq!(world.pass(hours(1)).await, NOTHING);
    let paths = world.paths().await;
    let left: Vec<_> = paths.iter().filter(|path| path.contains(&doomed)).collect();
    assert_eq!(left, [&format!("tombstone/{doomed}")]);
}

/// The server stops after the tombstone; meanwhile somebody takes a version out of
/// the index.
#[tokio::test]
async fn an_erasure_that_is_taken_up_again_finds_versions_that_the_index_lacks() {
    let world = World::start().await;
    let key = world.server.create_key().await;
    world.rotate(&key).await;
    let version = world.versions(&key).await.remove(0).key_version_id;
    let path = format!("version/{version}");
    let record = world.founded.store.read(&[path.as_str()]).await.unwrap().values.remove(0);
    world.schedule_deletion(&key).await.unwrap();
    assert_eq!(world.pass(days(8)).await, ONE_DELETED);
    let again = [Write::Put(path.clone(), record.unwrap().value)];
    world.founded.store.commit(&[], &again).await.unwrap();
    world.put(&format!("erasure/{key}")).await;
    let world = world.restart().await;
    assert!(world.keys.keyring.is_healthy().await);
    assert_eq!(world.pass(hours(1)).await, NOTHING);
    assert!(!world.paths().await.contains(&path));
    assert!(!world.keys.keyring.is_healthy().await, "somebody altered the index");
}

/// An attacker has another CMK's version erased with a CMK that is to be deleted,
/// or keeps a version of that one from being erased.
#[tokio::test]
async fn a_deletion_erases_its_own_versions_and_no_others() {
    let world = World::start().await;
    let (doomed, kept) = (world.server.create_key().await, world.server.create_key().await);
    let blob = world.server.generate(&kept, &[], 32).await;
    let version_of = async |key: &str| world.describe(key).await.unwrap().primary_key_version;
    let (its, others) = (version_of(&doomed).await, version_of(&kept).await);
    let planted = Write::Put(format!("key-version/{doomed}/{others}"), Vec::new());
    let taken = Write::Delete(format!("key-version/{doomed}/{its}"));
    world.founded.store.commit(&[], &[planted, taken]).await.unwrap();
    world.schedule_deletion(&doomed).await.unwrap();
    assert!(world.keys.keyring.is_healthy().await);
    assert_eq!(world.pass(days(8)).await, ONE_DELETED);
    assert!(!world.keys.keyring.is_healthy().await, "the alarm");
    let world = world.restart().await;
    assert_eq!(world.decrypt(&blob).await.unwrap().len(), 32);
    let paths = world.paths().await;
    assert!(paths.contains(&format!("version/{others}")));
    let left: Vec<_> =
        paths.iter().filter(|path| path.contains(&doomed) || path.contains(&its)).collect();
    assert_eq!(left, [&format!("tombstone/{doomed}")]);
}

#[tokio::test]
async fn a_deleted_version_is_in_no_file_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path()).unwrap());
    let world = World::over(store.clone()).await;
    let key = world.server.create_key().await;
    let version = world.describe(&key).await.unwrap().primary_key_version;
    let path = format!("version/{version}");
    let read = store.read(&[path.as_str()]).await.unwrap();
    let sealed = read.values[0].clone().unwrap().value;
    // The tail is ciphertext and tag: nothing else looks like it.
    let needle = &sealed[sealed.len() - 40..];
    assert!(holds(folder.path(), needle), "it is found while it is there");
    world.schedule_deletion(&key).await.unwrap();
    assert_eq!(world.pass(days(8)).await, ONE_DELETED);
    // The log is cut after the answer.
    let until = Instant::now() + Duration::from_secs(20);
    while holds(folder.path(), needle) {
        assert!(Instant::now() < until, "the deleted version is still in a file");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether any file of a folder holds these bytes: the database, and its log. The
/// log is read first, as it may move into the database meanwhile.
fn holds(folder: &std::path::Path, needle: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    assert!(!files.is_empty());
    files.into_iter().any(|path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}
