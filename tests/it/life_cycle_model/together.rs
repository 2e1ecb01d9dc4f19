//! Two keyrings over one store, at work at once: what is due is done once, and
//! nothing that was answered as done is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keyferry::keys::Keys;
use keyferry::keys::schedule::due_work::Carried;
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::storage::memory::Moment;
use keyferry::storage::{MemoryStore, Store};
use proptest::prelude::*;

use super::model::Reason;
use crate::support::{Founded, ManualClock, days, dev_caller, hours, services_of};

/// CMKs that are rotated on a schedule, that are neither, and that are doomed.
const ROTATED: std::ops::Range<usize> = 0..2;
const PLAIN: std::ops::Range<usize> = 2..4;
const DOOMED: std::ops::Range<usize> = 4..6;
const KEYS: usize = 6;
/// Names of each doomed CMK.
const DOOMED_NAMES: usize = 4;

/// One act of a worker.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Looks at what is due.
    Look,
    /// Gives a CMK a tag of its own.
    Tag(usize),
    /// Gives a CMK an alias of its own.
    Name(usize),
    /// Moves an alias of a doomed CMK to another.
    Rescue { name: usize, to: usize },
    /// Moves the last alias that it gave.
    Move(usize),
    /// Describes a CMK that is not doomed.
    Describe(usize),
    /// Enables or disables a plain CMK.
    Switch(usize, bool),
    /// Makes a version of a plain CMK.
    Version(usize),
    /// Lets others go first.
    Yield(u8),
}

/// Acts that happen at once.
#[derive(Clone, Debug)]
pub struct Together {
    /// Each works on one of the two keyrings, in turn.
    pub workers: Vec<Vec<Act>>,
    /// Commits that are held for so many turns of the others, one at a time.
    pub held: Vec<u8>,
    /// Whether threads run at once, or tasks take turns.
    pub threads: bool,
}

pub fn together() -> BoxedStrategy<Together> {
    let living = || 0..DOOMED.start;
    let act = prop_oneof![
        3 => Just(Act::Look),
        2 => (0..KEYS).prop_map(Act::Tag),
        2 => (0..KEYS).prop_map(Act::Name),
        3 => (0..DOOMED.len() * DOOMED_NAMES, living()).prop_map(|(name, to)| Act::Rescue { name, to }),
        1 => living().prop_map(Act::Move),
        1 => living().prop_map(Act::Describe),
        2 => (PLAIN, any::<bool>()).prop_map(|(key, on)| Act::Switch(key, on)),
        1 => PLAIN.prop_map(Act::Version),
        1 => (1..5_u8).prop_map(Act::Yield),
    ];
    let workers = prop::collection::vec(prop::collection::vec(act, 4..10), 4);
    let held = prop::collection::vec(0..30_u8, 0..8);
    (workers, held, any::<bool>())
        .prop_map(|(workers, held, threads)| Together { workers, held, threads })
        .boxed()
}

/// The store, and the ids of its CMKs.
struct Shared {
    memory: Arc<MemoryStore>,
    founded: Founded,
    clock: Arc<ManualClock>,
    ids: Arc<Vec<String>>,
}

/// Changes that a worker was told are done.
#[derive(Debug, Default)]
struct Done {
    carried: Vec<Carried>,
    tags: BTreeSet<(usize, String)>,
    names: BTreeMap<String, usize>,
    descriptions: BTreeMap<usize, String>,
    switched: BTreeMap<usize, bool>,
    versions: BTreeMap<usize, usize>,
}

/// One who works through acts.
struct Worker {
    number: usize,
    keys: Keys,
    services: Services,
    ids: Arc<Vec<String>>,
    done: Done,
    last_name: Option<String>,
}

fn doomed_name(number: usize) -> String {
    format!("alias/doomed-{number}")
}

impl Shared {
    /// Some CMKs, with something due for most of them.
    async fn prepare() -> (Self, [Keys; 2]) {
        let memory = Arc::new(MemoryStore::new());
        let founded = Founded::over(memory.clone()).await;
        let clock = Arc::new(ManualClock::default());
        let keyrings = [founded.keys(clock.clone()).await, founded.keys(clock.clone()).await];
        let services = services_of(keyrings[0].clone());
        let mut ids = Vec::new();
        for number in 0..KEYS {
            let mut request = v1::CreateKeyRequest::default();
            if ROTATED.contains(&number) {
                request.enable_automatic_rotation = true;
                request.rotation_interval = "7d".into();
            }
            let made = services.create_key(&dev_caller(), request).await.unwrap();
            ids.push(made.key_metadata.unwrap().key_id);
        }
        for number in 0..DOOMED.len() * DOOMED_NAMES {
            let key = DOOMED.start + number % DOOMED.len();
            create_alias(&services, &doomed_name(number), &ids[key]).await.unwrap();
        }
        for key in DOOMED {
            let request = v1::ScheduleKeyDeletionRequest {
                key_id: ids[key].clone(),
                pending_window_in_days: Some(7),
                dry_run: false,
            };
            services.schedule_key_deletion(&dev_caller(), request).await.unwrap();
        }
        clock.pass(days(8));
        for keys in &keyrings {
            assert_eq!(keys.schedule.carry_out_due().await.unwrap(), Carried::default());
        }
        clock.pass(hours(1));
        (Self { memory, founded, clock, ids: Arc::new(ids) }, keyrings)
    }

    /// Holds commits, one after the other.
    async fn hold(memory: Arc<MemoryStore>, held: Vec<u8>) {
        for turns in held {
            let mut gate = memory.hold_next_commit(Moment::Before);
            let reached = tokio::time::timeout(Duration::from_millis(5), gate.reached()).await;
            if reached.is_err() {
                return;
            }
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            gate.release();
        }
    }
}

async fn create_alias(services: &Services, name: &str, key_id: &str) -> Result<(), Reason> {
    let request =
        v1::CreateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run: false };
    answered(services.create_alias(&dev_caller(), request).await)
}

async fn update_alias(services: &Services, name: &str, key_id: &str) -> Result<(), Reason> {
    let request =
        v1::UpdateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run: false };
    answered(services.update_alias(&dev_caller(), request).await)
}

fn answered<T>(outcome: keyferry::error::Result<T>) -> Result<(), Reason> {
    outcome.map(drop).map_err(|error| error.rule().reason())
}

impl Worker {
    async fn work(mut self, acts: Vec<Act>) -> Done {
        for (turn, act) in acts.into_iter().enumerate() {
            self.act(act, &format!("{}-{turn}", self.number)).await;
        }
        self.done
    }

    /// Does something, under a word that nobody else uses.
    async fn act(&mut self, act: Act, word: &str) {
        match act {
            Act::Look => self.done.carried.push(self.keys.schedule.carry_out_due().await.unwrap()),
            Act::Tag(key) => self.tag(key, word).await,
            Act::Name(key) => self.name(key, word).await,
            Act::Rescue { name, to } => {
                let name = doomed_name(name);
                let moved = update_alias(&self.services, &name, &self.ids[to]).await;
                if expected(to, moved) {
                    self.done.names.insert(name, to);
                }
            }
            Act::Move(to) => {
                let Some(name) = self.last_name.clone() else { return };
                if expected(to, update_alias(&self.services, &name, &self.ids[to]).await) {
                    self.done.names.insert(name, to);
                }
            }
            Act::Describe(key) => self.describe(key, word).await,
            Act::Switch(key, on) => self.switch(key, on).await,
            Act::Version(key) => {
                let request =
                    v1::CreateKeyVersionRequest { key_id: self.ids[key].clone(), dry_run: false };
                let made = answered(self.services.create_key_version(&dev_caller(), request).await);
                if made != Err("Rejected.Disabled") && expected(key, made) {
                    *self.done.versions.entry(key).or_default() += 1;
                }
            }
            Act::Yield(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn tag(&mut self, key: usize, word: &str) {
        let request = v1::TagResourceRequest {
            key_id: self.ids[key].clone(),
            tags: vec![v1::Tag { tag_key: word.into(), tag_value: String::new() }],
            dry_run: false,
        };
        let tagged = answered(self.services.tag_resource(&dev_caller(), request).await);
        // So many are made that a CMK can be full.
        if tagged != Err("Rejected.LimitExceeded") && expected(key, tagged) {
            self.done.tags.insert((key, word.to_owned()));
        }
    }

    async fn name(&mut self, key: usize, word: &str) {
        let name = format!("alias/{word}");
        if expected(key, create_alias(&self.services, &name, &self.ids[key]).await) {
            self.done.names.insert(name.clone(), key);
            self.last_name = Some(name);
        }
    }

    async fn describe(&mut self, key: usize, word: &str) {
        let request = v1::UpdateKeyDescriptionRequest {
            key_id: self.ids[key].clone(),
            description: word.into(),
            dry_run: false,
        };
        let described = self.services.update_key_description(&dev_caller(), request).await;
        if expected(key, answered(described)) {
            self.done.descriptions.insert(key, word.to_owned());
        }
    }

    async fn switch(&mut self, key: usize, on: bool) {
        let (key_id, dry_run) = (self.ids[key].clone(), false);
        let switched = if on {
            let request = v1::EnableKeyRequest { key_id, dry_run };
            answered(self.services.enable_key(&dev_caller(), request).await)
        } else {
            let request = v1::DisableKeyRequest { key_id, dry_run };
            answered(self.services.disable_key(&dev_caller(), request).await)
        };
        if expected(key, switched) {
            self.done.switched.insert(key, on);
        }
    }
}

/// Whether it was done. Only what is doomed refuses, or what is contested.
fn expected(key: usize, outcome: Result<(), Reason>) -> bool {
    let refusals: &[Reason] = if DOOMED.contains(&key) {
        &[
            "Forbidden.KeyNotFound",
            "Rejected.PendingDeletion",
            "Rejected.StateModifiedFailed",
            "Rejected.Throttling",
        ]
    } else {
        // The name of a doomed CMK may be gone.
        &["Forbidden.AliasNotFound", "Rejected.Throttling"]
    };
    let Err(reason) = outcome else { return true };
    assert!(refusals.contains(&reason), "{reason} on CMK {key}");
    false
}

/// Lets all of it happen, and looks at what came of it.
pub async fn happen(together: Together) {
    let (shared, keyrings) = Shared::prepare().await;
    let workers = together.workers.into_iter().enumerate().map(|(number, acts)| {
        let keys = keyrings[number % keyrings.len()].clone();
        let (services, ids) = (services_of(keys.clone()), shared.ids.clone());
        let (done, last_name) = (Done::default(), None);
        let worker = Worker { number, keys, services, ids, done, last_name };
        tokio::spawn(worker.work(acts))
    });
    let workers: Vec<_> = workers.collect();
    Shared::hold(shared.memory.clone(), together.held).await;
    let mut done = Vec::new();
    for worker in workers {
        done.push(worker.await.unwrap());
    }
    for keys in &keyrings {
        let last = keys.schedule.carry_out_due().await.unwrap();
        done.push(Done { carried: vec![last], ..Done::default() });
    }
    shared.check(&done).await;
}

impl Shared {
    async fn check(&self, done: &[Done]) {
        let services = services_of(self.founded.keys(self.clock.clone()).await);
        let carried: Vec<_> = done.iter().flat_map(|done| &done.carried).collect();
        let sum = |count: fn(&Carried) -> u32| carried.iter().map(|one| count(one)).sum::<u32>();
        assert_eq!(sum(|one| one.rotated) as usize, ROTATED.len());
        assert_eq!(sum(|one| one.deleted) as usize, DOOMED.len());
        assert_eq!(sum(|one| one.failed), 0);
        self.check_names(&services, done).await;
        for key in 0..KEYS {
            self.check_key(&services, key, done).await;
        }
        self.check_erased().await;
    }

    async fn check_names(&self, services: &Services, done: &[Done]) {
        // A name is moved by several only where it was a doomed CMK's.
        let request = v1::ListAliasesRequest { page_size: Some(100), ..Default::default() };
        let listed = services.list_aliases(&dev_caller(), request).await.unwrap().aliases;
        let found: BTreeMap<_, _> =
            listed.into_iter().map(|alias| (alias.alias_name, alias.key_id)).collect();
        let given: BTreeSet<_> = done.iter().flat_map(|done| done.names.keys()).collect();
        assert_eq!(found.keys().collect::<BTreeSet<_>>(), given);
        for (name, id) in &found {
            let mut ends = done.iter().filter_map(|done| done.names.get(name));
            assert!(ends.any(|key| self.ids[*key] == *id), "{name} means {id}");
        }
    }

    async fn check_key(&self, services: &Services, key: usize, done: &[Done]) {
        let request = v1::DescribeKeyRequest { key_id: self.ids[key].clone(), dry_run: false };
        let found = services.describe_key(&dev_caller(), request).await;
        if DOOMED.contains(&key) {
            assert_eq!(answered(found), Err("Forbidden.KeyNotFound"));
            return;
        }
        let found = found.unwrap().key_metadata.unwrap();
        let descriptions: Vec<_> =
            done.iter().filter_map(|done| done.descriptions.get(&key)).collect();
        let last = descriptions.iter().any(|last| **last == found.description);
        assert!(last || descriptions.is_empty(), "{descriptions:?}: {}", found.description);
        let switched: Vec<_> = done.iter().filter_map(|done| done.switched.get(&key)).collect();
        let is_on = found.key_state == "Enabled";
        assert!(switched.contains(&&is_on) || switched.is_empty() && is_on, "{switched:?}");
        let request = v1::ListResourceTagsRequest { key_id: found.key_id.clone(), dry_run: false };
        let tags = services.list_resource_tags(&dev_caller(), request).await.unwrap().tags;
        let tags: BTreeSet<_> = tags.into_iter().map(|tag| (key, tag.tag_key)).collect();
        let given = done.iter().flat_map(|done| done.tags.iter().filter(|tag| tag.0 == key));
        assert_eq!(tags, given.cloned().collect());
        let made: usize = done.iter().filter_map(|done| done.versions.get(&key)).sum();
        let rotated = usize::from(ROTATED.contains(&key));
        let versions = self.memory.count(&format!("key-version/{}/", found.key_id)).await.unwrap();
        assert_eq!(usize::try_from(versions).unwrap(), 1 + rotated + made);
    }

    /// Nothing is left of what was deleted but its tombstone.
    async fn check_erased(&self) {
        let page = self.memory.list("", None, 1000).await.unwrap();
        for (path, _) in page.entries {
            let mut gone = self.ids[DOOMED].iter().filter(|id| path.contains(id.as_str()));
            assert!(gone.all(|id| path == format!("tombstone/{id}")), "{path}");
            assert!(!path.starts_with("erasure/"), "{path}");
        }
        let versions = self.memory.count("version/").await.unwrap();
        assert_eq!(versions, self.memory.count("key-version/").await.unwrap());
        assert_eq!(
            self.memory.count("alias/").await.unwrap(),
            self.memory.count("alias-order/").await.unwrap()
        );
    }
}
