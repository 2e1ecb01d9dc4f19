//! Faults that the histories and the races have found, each in a test of its own.

use std::sync::Arc;

use keyferry::error::Rule;
use keyferry::keys::Keys;
use keyferry::keys::schedule::due_work::Carried;
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::storage::memory::{HeldCommit, Moment};
use keyferry::storage::{MemoryStore, Store};

use crate::support::{Founded, ManualClock, days, dev_caller, hours, services_of};

/// A server over a store that others may share.
struct Server {
    memory: Arc<MemoryStore>,
    founded: Founded,
    clock: Arc<ManualClock>,
    keys: Keys,
    services: Services,
}

impl Server {
    async fn start() -> Self {
        let memory = Arc::new(MemoryStore::new());
        let founded = Founded::over(memory.clone()).await;
        let clock = Arc::new(ManualClock::default());
        let keys = founded.keys(clock.clone()).await;
        let services = services_of(keys.clone());
        Self { memory, founded, clock, keys, services }
    }

    /// Another server over the same store.
    async fn another(&self) -> (Keys, Services) {
        let keys = self.founded.keys(self.clock.clone()).await;
        (keys.clone(), services_of(keys))
    }

    async fn create_key(&self) -> String {
        let made = self.services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await;
        made.unwrap().key_metadata.unwrap().key_id
    }

    async fn name(&self, name: &str, key_id: &str) {
        let request = v1::CreateAliasRequest {
            alias_name: name.into(),
            key_id: key_id.into(),
            dry_run: false,
        };
        self.services.create_alias(&dev_caller(), request).await.unwrap();
    }

    /// A CMK with these names, whose deletion is due.
    async fn doomed(&self, names: &[&str]) -> String {
        let key_id = self.create_key().await;
        for name in names {
            self.name(name, &key_id).await;
        }
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: key_id.clone(),
            pending_window_in_days: Some(7),
            dry_run: false,
        };
        self.services.schedule_key_deletion(&dev_caller(), request).await.unwrap();
        self.clock.pass(days(8));
        key_id
    }

    async fn paths(&self, prefix: &str) -> Vec<String> {
        let page = self.memory.list(prefix, None, 1000).await.unwrap();
        page.entries.into_iter().map(|(path, _)| path).collect()
    }

    /// Lets the commit at a gate go on, and holds the one after it.
    async fn next_commit(&self, mut gate: HeldCommit) -> HeldCommit {
        gate.reached().await;
        let next = self.memory.hold_next_commit(Moment::Before);
        gate.release();
        next
    }
}

fn update_alias(name: &str, key_id: &str, dry_run: bool) -> v1::UpdateAliasRequest {
    v1::UpdateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run }
}

#[tokio::test]
async fn a_dry_run_of_an_alias_too_many_is_refused_as_the_run_is() {
    let server = Server::start().await;
    let [full, other] = [server.create_key().await, server.create_key().await];
    for number in 0..50 {
        server.name(&format!("alias/{number}"), &full).await;
    }
    server.name("alias/other", &other).await;
    for dry_run in [true, false] {
        let request = v1::CreateAliasRequest {
            alias_name: "alias/more".into(),
            key_id: full.clone(),
            dry_run,
        };
        let created = server.services.create_alias(&dev_caller(), request).await.unwrap_err();
        let moved = update_alias("alias/other", &full, dry_run);
        let moved = server.services.update_alias(&dev_caller(), moved).await.unwrap_err();
        for error in [created, moved] {
            assert_eq!(error.rule().reason(), "Rejected.LimitExceeded", "dry run: {dry_run}");
        }
    }
    // A name that is the CMK's already is none more.
    let same = update_alias("alias/7", &full, false);
    server.services.update_alias(&dev_caller(), same).await.unwrap();
}

#[tokio::test]
async fn the_longest_words_about_a_cmk_fit_into_the_store() {
    let server = Server::start().await;
    let long = |chars| "𠮷".repeat(chars);
    let tag = |number: usize| v1::Tag {
        tag_key: format!("{number:02}{}", long(126)),
        tag_value: long(128),
    };
    let request = v1::CreateKeyRequest {
        description: long(8192),
        tags: (0..20).map(tag).collect(),
        ..Default::default()
    };
    let made = server.services.create_key(&dev_caller(), request).await.unwrap();
    let request = |chars| v1::SetDeletionProtectionRequest {
        protected_resource_arn: made.key_metadata.clone().unwrap().arn,
        enable_deletion_protection: Some(true),
        deletion_protection_description: long(chars),
        dry_run: false,
    };
    server.services.set_deletion_protection(&dev_caller(), request(1024)).await.unwrap();
    let refused = server.services.set_deletion_protection(&dev_caller(), request(1025)).await;
    assert_eq!(refused.unwrap_err().rule().reason(), "InvalidParameter");
}

#[tokio::test]
async fn a_change_that_seems_to_change_nothing_is_judged_on_what_the_store_holds() {
    let server = Server::start().await;
    let (_, other) = server.another().await;
    let key_id = server.create_key().await;
    let describe = v1::DescribeKeyRequest { key_id: key_id.clone(), dry_run: false };
    other.describe_key(&dev_caller(), describe.clone()).await.unwrap();
    let disable = v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false };
    server.services.disable_key(&dev_caller(), disable).await.unwrap();
    // The other one still has it as enabled.
    let enable = v1::EnableKeyRequest { key_id, dry_run: false };
    other.enable_key(&dev_caller(), enable).await.unwrap();
    let (_, third) = server.another().await;
    let found = third.describe_key(&dev_caller(), describe).await.unwrap();
    assert_eq!(found.key_metadata.unwrap().key_state, "Enabled");
}

#[tokio::test]
async fn a_name_is_not_moved_away_from_a_cmk_that_is_being_erased() {
    let server = Server::start().await;
    let heir = server.create_key().await;
    let doomed = server.doomed(&["alias/first", "alias/second"]).await;
    server.keys.schedule.carry_out_due().await.unwrap();
    server.clock.pass(hours(1));
    // The move is granted before the deletion, and comes to be committed in its midst.
    let mut moving = server.memory.hold_next_commit(Moment::Before);
    let services = server.services.clone();
    let request = update_alias("alias/second", &heir, false);
    let moved = tokio::spawn(async move { services.update_alias(&dev_caller(), request).await });
    moving.reached().await;
    let first = server.memory.hold_next_commit(Moment::Before);
    let keys = server.keys.clone();
    let look = tokio::spawn(async move { keys.schedule.carry_out_due().await });
    // After the tombstone and the versions, the first name is to go.
    let versions = server.next_commit(first).await;
    let mut name = server.next_commit(versions).await;
    name.reached().await;
    moving.release();
    let refused = moved.await.unwrap().unwrap_err();
    assert_eq!(refused.rule(), Rule::AliasNotFound);
    name.release();
    let carried = look.await.unwrap().unwrap();
    assert_eq!(carried, Carried { deleted: 1, rotated: 0, failed: 0 });
    for prefix in ["alias/", "alias-order/", "key-aliases/"] {
        assert_eq!(server.paths(prefix).await, [""; 0], "of {doomed}");
    }
    server.name("alias/first", &heir).await;
}

#[tokio::test]
async fn two_that_erase_the_same_cmk_do_not_fail_over_each_others_work() {
    let server = Server::start().await;
    let doomed = server.doomed(&["alias/first", "alias/second"]).await;
    let (other, _) = server.another().await;
    for keys in [&server.keys, &other] {
        keys.schedule.carry_out_due().await.unwrap();
    }
    server.clock.pass(hours(1));
    let first = server.memory.hold_next_commit(Moment::Before);
    let keys = server.keys.clone();
    let look = tokio::spawn(async move { keys.schedule.carry_out_due().await });
    let versions = server.next_commit(first).await;
    let mut name = server.next_commit(versions).await;
    name.reached().await;
    // The other one finds the mark and does all of it.
    other.schedule.carry_out_due().await.unwrap();
    assert_eq!(server.paths("alias/").await, [""; 0]);
    name.release();
    let carried = look.await.unwrap().unwrap();
    assert_eq!(carried, Carried { deleted: 1, rotated: 0, failed: 0 });
    for prefix in ["alias", "erasure/", "version/", "key-version/", "key-aliases/"] {
        let own = server.paths(prefix).await;
        assert!(own.is_empty(), "{own:?} of {doomed}");
    }
}
