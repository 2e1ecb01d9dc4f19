//! A server that lives through a history, beside the model of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keyferry::keys::Keys;
use keyferry::keys::schedule::due_work::Carried;
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::storage::memory::InjectedFault;
use keyferry::storage::{MemoryStore, Store};

use super::at_rest::Paths;
use super::calls::{Blob, PLACE, Reply, context, perform};
use super::model::{DRY_RUN, Key, Life, Model, Reason, UNAVAILABLE};
use super::steps::{Call, Event, HOUR, ListedBy, MINUTE, Paging, Step, Target, Trouble, alias};
use super::watch::Watch;
use crate::support::{Founded, ManualClock, dev_caller, services_of};

/// Most blobs that are remembered.
const BLOBS: usize = 10;
/// Where a test's clocks begin.
const WALL: i64 = 1_800_000_000;
const ELAPSED: i64 = 1_000_000;
/// How far the wall clock may be set.
const WALLS: std::ops::Range<i64> = 1_000_000_000..100_000_000_000;

/// The server and its model.
pub struct World {
    founded: Founded,
    memory: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    keys: Keys,
    services: Services,
    model: Model,
    blobs: Vec<Blob>,
    /// How far the wall clock was set wrong.
    off: i64,
}

impl World {
    pub async fn start() -> Self {
        let memory = Arc::new(MemoryStore::new());
        let founded = Founded::over(memory.clone()).await;
        let clock = Arc::new(ManualClock::default());
        let keys = founded.keys(clock.clone()).await;
        let services = services_of(keys.clone());
        let (model, blobs) = (Model::starting(WALL, ELAPSED), Vec::new());
        Self { founded, memory, clock, keys, services, model, blobs, off: 0 }
    }

    /// Lives through a history.
    pub async fn live(&mut self, history: &[Step]) {
        for step in history {
            self.step(step).await;
            let paths = self.paths().await;
            if let Some(wrong) = self.disagreement(&self.model, &paths).await {
                panic!("after {step:?}: {wrong}");
            }
            self.check_blobs().await;
        }
        // A restart changes nothing: memory and store agree.
        self.restart().await;
        let paths = self.paths().await;
        assert_eq!(self.disagreement(&self.model, &paths).await, None);
        self.check_blobs().await;
        self.check_lists().await;
    }

    async fn step(&mut self, step: &Step) {
        match &step.event {
            Event::Call(Call::CreateAliases(first, count, key)) => {
                for name in *first..first + count {
                    self.call(&Call::CreateAlias(name, *key), step.dry_run, None).await;
                }
            }
            Event::Call(call) => self.call(call, step.dry_run, step.trouble).await,
            Event::Pass(seconds) => self.pass(i64::from(*seconds)),
            Event::Jump(seconds) => self.jump(*seconds),
            Event::SetRight => self.jump(-self.off),
            Event::Look => self.look(step.trouble).await,
            Event::Watch(hours) => {
                let mut trouble = step.trouble;
                for _ in 0..i64::from(*hours) * HOUR / (10 * MINUTE) {
                    self.pass(10 * MINUTE);
                    // It meets the first look that has something to do.
                    let idle = self.model.clone().look() == (0, 0);
                    self.look(if idle { None } else { trouble.take() }).await;
                }
            }
            Event::Restart => self.restart().await,
        }
    }

    fn pass(&mut self, seconds: i64) {
        self.clock.pass(Duration::from_secs(seconds.unsigned_abs()));
        self.model.watch.wall += seconds;
        self.model.watch.elapsed += seconds;
    }

    fn jump(&mut self, seconds: i64) {
        if WALLS.contains(&(self.model.watch.wall + seconds)) {
            self.clock.jump(seconds);
            self.model.watch.wall += seconds;
            self.off += seconds;
        }
    }

    async fn restart(&mut self) {
        self.keys = self.founded.keys(self.clock.clone()).await;
        self.services = services_of(self.keys.clone());
        let watch = &mut self.model.watch;
        *watch = Watch::starting(watch.wall, watch.elapsed);
    }

    fn arm(&self, trouble: Option<Trouble>) {
        let Some(trouble) = trouble else { return };
        for fault in trouble.faults() {
            self.memory.fail_next(*fault);
        }
    }

    /// Takes away the faults that met nothing.
    async fn disarm(&self) {
        let _ = self.memory.commit(&[], &[]).await;
        let _ = self.memory.probe().await;
    }

    async fn paths(&self) -> Paths {
        let (mut paths, mut after) = (Paths::new(), None);
        loop {
            let page = self.memory.list("", after.as_deref(), 1000).await.unwrap();
            after = page.entries.last().map(|(path, _)| path.clone());
            paths.extend(page.entries.into_iter().map(|(path, _)| path));
            if !page.more {
                return paths;
            }
        }
    }

    /// Makes a call, and compares what it came to with the model.
    async fn call(&mut self, call: &Call, dry_run: bool, trouble: Option<Trouble>) {
        let opened = match call {
            Call::Decrypt { .. } | Call::ReEncrypt { .. } if self.blobs.is_empty() => return,
            Call::Decrypt { blob, .. } | Call::ReEncrypt { blob, .. } => {
                Some(self.blobs[blob % self.blobs.len()].key)
            }
            _ => None,
        };
        let before = self.model.clone();
        let mut after = before.clone();
        let mut expected = after.apply(call, opened);
        if dry_run && expected.is_ok() {
            expected = Err(DRY_RUN);
            after.stored = before.stored.clone();
        }
        self.arm(trouble);
        let outcome = perform(&self.services, &before, &self.blobs, call, dry_run).await;
        self.disarm().await;
        after.stored.learn(&self.paths().await);
        let unavailable = outcome == Err(UNAVAILABLE);
        match trouble {
            Some(trouble) if unavailable && expected != Err(UNAVAILABLE) => {
                let changes = after.stored != before.stored;
                assert!(trouble.reads() || changes, "{call:?} failed and makes no commit");
                self.model = self.what_became(trouble, &before, &after).await;
            }
            _ => {
                let found = outcome.as_ref().map(drop).map_err(|reason| *reason);
                assert_eq!(found, expected, "{call:?}, dry run: {dry_run}, trouble: {trouble:?}");
                let surely = matches!(trouble, Some(Trouble::NotStored | Trouble::MaybeStoredNot));
                assert!(!surely || after.stored == before.stored, "{call:?} must have failed");
                self.model = after;
                if let Ok(reply) = outcome {
                    self.check_reply(call, reply).await;
                }
            }
        }
        if unavailable && trouble.is_some_and(Trouble::reads) {
            // It may be the store that was unavailable, or time that was not to be
            // told. Whether the clocks were read is not known: they are now.
            self.model.watch = before.watch;
            self.look(None).await;
        }
    }

    /// The model after a call that failed as the store did: what was, or what
    /// was asked for, and nothing in between.
    async fn what_became(&self, trouble: Trouble, before: &Model, after: &Model) -> Model {
        let unchanged = Model { stored: before.stored.clone(), watch: after.watch.clone() };
        let paths = self.paths().await;
        let Some(neither) = self.disagreement(&unchanged, &paths).await else { return unchanged };
        assert_eq!(trouble, Trouble::UnsettledBut, "it was not stored: {neither}");
        assert_eq!(self.disagreement(after, &paths).await, None, "neither: {neither}");
        after.clone()
    }

    /// Looks at what is due, and compares.
    async fn look(&mut self, trouble: Option<Trouble>) {
        let before = self.model.clone();
        let (deleted, rotated) = self.model.look();
        self.arm(trouble);
        let outcome = self.keys.schedule.carry_out_due().await;
        self.disarm().await;
        let paths = self.paths().await;
        if trouble.is_none() {
            assert_eq!(outcome.unwrap(), Carried { deleted, rotated, failed: 0 });
            self.model.stored.learn(&paths);
        } else {
            self.model.stored = before.stored.after_part_of(&self.model.stored, &paths);
        }
        self.check_turns(&before);
    }

    /// The laws of what is carried out.
    fn check_turns(&self, before: &Model) {
        let watch = &self.model.watch;
        for (old, new) in before.stored.keys.iter().zip(&self.model.stored.keys) {
            if new.is_deleted() && !old.is_deleted() {
                let Life::PendingDeletion { due } = old.life else { panic!("not pending") };
                assert!(watch.reached_twice(due), "deleted before its day: {old:?}");
                assert!(!old.protected, "deleted though protected: {old:?}");
            }
            if new.versions.len() > old.versions.len() {
                assert_eq!(new.versions.len(), old.versions.len() + 1);
                let every = old.interval.unwrap();
                assert!(new.rotated_at >= old.rotated_at + every, "rotated early: {old:?}");
            }
        }
    }

    /// Where server and store differ from a model.
    async fn disagreement(&self, model: &Model, paths: &Paths) -> Option<String> {
        if let Some(wrong) = model.wrong_with(paths) {
            return Some(wrong);
        }
        for number in 0..model.stored.keys.len() {
            let key = Target::Id(number);
            for call in [Call::DescribeKey(key), Call::ListResourceTags(key)] {
                let expected = expected_look(model, &call);
                let found = perform(&self.services, model, &[], &call, false).await;
                if found != expected {
                    return Some(format!("{call:?}: expected {expected:?}, found {found:?}"));
                }
            }
        }
        None
    }

    /// Every blob opens if and only if its CMK is enabled.
    async fn check_blobs(&self) {
        for number in 0..self.blobs.len() {
            let call = Call::Decrypt { blob: number, right_context: true };
            let blob = &self.blobs[number];
            let expected = self.model.open(Some(blob.key)).map(|()| opened(&self.model, blob));
            let found = perform(&self.services, &self.model, &self.blobs, &call, false).await;
            assert_eq!(found, expected, "{call:?}");
        }
    }

    /// Every list, in one page and in many.
    async fn check_lists(&self) {
        for (size, numbered) in [(100, true), (2, false)] {
            let paging = Paging { size, numbered };
            let keys = (0..self.model.stored.keys.len()).map(Target::Id);
            let of_keys = keys.flat_map(|key| {
                [Call::ListKeyVersions(key, paging), Call::ListAliasesByKeyId(key, paging)]
            });
            let all = [Call::ListKeys(ListedBy::Everything, paging), Call::ListAliases(paging)];
            for call in of_keys.chain(all) {
                let found = perform(&self.services, &self.model, &[], &call, false).await;
                let expected = expected_look(&self.model, &call);
                assert_eq!(found.map(without_dates), expected, "{call:?}");
            }
        }
    }

    /// Compares the answer of a call that succeeded, and keeps its blob.
    async fn check_reply(&mut self, call: &Call, reply: Reply) {
        let model = &self.model;
        match (call, reply) {
            (Call::CreateKey { .. }, Reply::Metadata(made)) => {
                assert_eq!(*made, metadata(model.stored.keys.last().unwrap()));
            }
            (Call::CreateKeyVersion(target), Reply::Version(made)) => {
                let key = &model.stored.keys[model.find(*target).unwrap()];
                let version = v1::KeyVersion {
                    key_id: key.id.clone(),
                    key_version_id: key.versions.last().unwrap().clone(),
                    creation_date: date(key.rotated_at),
                };
                assert_eq!(made, version);
            }
            (Call::Decrypt { blob, .. }, reply) => {
                assert_eq!(reply, opened(model, &self.blobs[blob % self.blobs.len()]));
            }
            (call, Reply::Sealed { blob, key, version }) => {
                self.keep(call, blob, &key, &version).await;
            }
            (_, Reply::Done) => {}
            (call, reply) => assert_eq!(Ok(without_dates(reply)), expected_look(model, call)),
        }
    }

    /// Keeps a new blob; the primary version has sealed it.
    async fn keep(&mut self, call: &Call, bytes: Vec<u8>, key: &str, version: &str) {
        let (target, context, source) = match *call {
            Call::Generate(target) => (target, 0, None),
            Call::Encrypt(target, _) => (target, 1, None),
            Call::ReEncrypt { blob, to } => {
                (to, 2, Some(self.blobs[blob % self.blobs.len()].clone()))
            }
            _ => unreachable!("it makes no blob"),
        };
        let number = self.model.find(target).unwrap();
        let sealing = &self.model.stored.keys[number];
        let primary = sealing.versions.last().unwrap().clone();
        assert_eq!(bytes[..36], *primary.as_bytes(), "new blobs use the primary version");
        let by = match &source {
            Some(blob) => (self.model.stored.keys[blob.key].id.as_str(), blob.version.as_str()),
            None => (sealing.id.as_str(), primary.as_str()),
        };
        assert_eq!((key, version), by);
        let plaintext = match (call, source) {
            (Call::Encrypt(_, byte), _) => vec![*byte; 24],
            (_, Some(source)) => source.plaintext,
            _ => self.decrypt(&bytes, context).await,
        };
        let blob = Blob { bytes, key: number, version: primary, plaintext, context };
        if self.blobs.len() < BLOBS {
            self.blobs.push(blob);
        } else {
            let at = usize::from(blob.bytes[40]) % BLOBS;
            self.blobs[at] = blob;
        }
    }

    async fn decrypt(&self, blob: &[u8], number: usize) -> Vec<u8> {
        let request = v1::DecryptRequest {
            ciphertext_blob: blob.to_vec(),
            encryption_context: context(number),
            dry_run: false,
        };
        self.services.decrypt(&dev_caller(), request).await.unwrap().plaintext
    }
}

impl Trouble {
    fn faults(self) -> &'static [InjectedFault] {
        match self {
            Self::NotStored => &[InjectedFault::NotStored],
            Self::MaybeStoredNot => &[InjectedFault::MaybeStoredNot],
            Self::MaybeStoredBut => &[InjectedFault::MaybeStoredBut],
            Self::Unread => &[InjectedFault::Unavailable],
            Self::UnsettledNot => &[InjectedFault::MaybeStoredNot, InjectedFault::Unavailable],
            Self::UnsettledBut => &[InjectedFault::MaybeStoredBut, InjectedFault::Unavailable],
        }
    }

    /// Whether a read fails.
    fn reads(self) -> bool {
        self.faults().contains(&InjectedFault::Unavailable)
    }
}

/// The outcome of a look at CMKs.
fn expected_look(model: &Model, call: &Call) -> Result<Reply, Reason> {
    let stored = &model.stored;
    let live = || stored.keys.iter().enumerate().filter(|(_, key)| !key.is_deleted());
    Ok(match *call {
        Call::DescribeKey(key) => {
            Reply::Metadata(Box::new(metadata(&stored.keys[model.find(key)?])))
        }
        Call::ListResourceTags(key) => Reply::Tags(stored.keys[model.find(key)?].tags.clone()),
        Call::ListKeyVersions(key, _) => {
            let key = &stored.keys[model.find(key)?];
            let entry = |id: &String| v1::KeyVersion {
                key_id: key.id.clone(),
                key_version_id: id.clone(),
                creation_date: String::new(),
            };
            Reply::Versions(key.versions.iter().map(entry).collect())
        }
        Call::ListKeys(by, _) => {
            let fits = |(number, key): &(usize, &Key)| match by {
                ListedBy::Everything => true,
                ListedBy::State(state) => key.state() == state,
                ListedBy::Tag(tag) => key.tags.contains_key(&format!("tag-{tag:02}")),
                ListedBy::Alias(name) => stored.names.contains(&(alias(name), *number)),
            };
            let ids: Vec<_> = live().filter(fits).map(|(_, key)| key.id.clone()).collect();
            let total = ids.len();
            Reply::Keys(ids, total)
        }
        Call::ListAliases(_) => names(model, |_| true),
        Call::ListAliasesByKeyId(key, _) => {
            let key = model.find(key)?;
            names(model, |other| other == key)
        }
        _ => unreachable!("it is no look"),
    })
}

fn names(model: &Model, fits: impl Fn(usize) -> bool) -> Reply {
    let stored = &model.stored;
    let fit = stored.names.iter().filter(|(_, key)| fits(*key));
    let names: Vec<_> =
        fit.map(|(name, key)| (name.clone(), stored.keys[*key].id.clone())).collect();
    let total = names.len();
    Reply::Names(names, total)
}

/// Versions without the dates that the model does not keep.
fn without_dates(reply: Reply) -> Reply {
    let Reply::Versions(versions) = reply else { return reply };
    let undated = versions
        .into_iter()
        .map(|version| v1::KeyVersion { creation_date: String::new(), ..version });
    Reply::Versions(undated.collect())
}

fn opened(model: &Model, blob: &Blob) -> Reply {
    Reply::Opened {
        plaintext: blob.plaintext.clone(),
        key: model.stored.keys[blob.key].id.clone(),
        version: blob.version.clone(),
    }
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A CMK as DescribeKey shows it.
fn metadata(key: &Key) -> v1::KeyMetadata {
    let usage = if key.is_pair() { "SIGN/VERIFY" } else { "ENCRYPT/DECRYPT" };
    let delete_date = match key.life {
        Life::PendingDeletion { due } => date(due),
        _ => String::new(),
    };
    let primary = key.versions.last().filter(|_| !key.is_pair());
    let rotation = match (key.interval, key.life) {
        (None, _) => "Disabled",
        (Some(_), Life::Enabled) => "Enabled",
        (Some(_), _) => "Suspended",
    };
    v1::KeyMetadata {
        key_id: key.id.clone(),
        arn: format!("{PLACE}key/{}", key.id),
        key_spec: key.spec_name().into(),
        key_usage: usage.into(),
        key_state: key.state().into(),
        origin: "Aliyun_KMS".into(),
        protection_level: "SOFTWARE".into(),
        description: key.description.clone(),
        creator: "dev".into(),
        creation_date: date(key.created_at),
        delete_date,
        primary_key_version: primary.cloned().unwrap_or_default(),
        automatic_rotation: rotation.into(),
        last_rotation_date: date(key.rotated_at),
        next_rotation_date: key.next_rotation().map(date).unwrap_or_default(),
        rotation_interval: key.interval.map(|every| format!("{every}s")).unwrap_or_default(),
        material_expire_time: String::new(),
        dkms_instance_id: String::new(),
        deletion_protection: if key.protected { "Enabled" } else { "Disabled" }.into(),
        deletion_protection_description: key.protection_description.clone(),
    }
}
