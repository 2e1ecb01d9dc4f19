//! The life cycle of CMKs, told again in few words: written from the contract
//! and the reference, and never by asking the code under test.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::{
    Call, DAY, DESCRIPTION, INTERVALS, PROTECTION, Rotation, Spec, TagRow, Target, Words, alias,
};
use super::watch::Watch;

/// Why a call is refused: the reason of its `ErrorInfo`.
pub type Reason = &'static str;

pub const UNAVAILABLE: Reason = "ServiceUnavailableTemporary";
pub const DRY_RUN: Reason = "DryRunOperationError";
const MISSING: Reason = "MissingParameter";
const INVALID: Reason = "InvalidParameter";
const NO_KEY: Reason = "Forbidden.KeyNotFound";
const NO_ALIAS: Reason = "Forbidden.AliasNotFound";
const DISABLED: Reason = "Rejected.Disabled";
const PENDING: Reason = "Rejected.PendingDeletion";
const STATE: Reason = "Rejected.StateModifiedFailed";
const LIMIT: Reason = "Rejected.LimitExceeded";

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Model {
    pub stored: Stored,
    pub watch: Watch,
}

/// The expected content of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Every CMK that was ever made, oldest first.
    pub keys: Vec<Key>,
    /// Every alias and the CMK that it means, oldest first.
    pub names: Vec<(String, usize)>,
}

/// A CMK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Empty until it is learnt from the store.
    pub id: String,
    pub spec: Spec,
    pub life: Life,
    pub description: String,
    pub tags: BTreeMap<String, String>,
    pub interval: Option<i64>,
    pub protected: bool,
    pub protection_description: String,
    pub created_at: i64,
    pub rotated_at: i64,
    /// Oldest first; empty until it is learnt from the store.
    pub versions: Vec<String>,
    /// Whether it ever had an alias.
    pub was_named: bool,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Enabled,
    Disabled,
    PendingDeletion { due: i64 },
    Deleted { erased: bool },
}

/// Work on a CMK that is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Deletion(i64),
    Rotation(i64),
}

impl Key {
    pub fn is_deleted(&self) -> bool {
        matches!(self.life, Life::Deleted { .. })
    }

    pub fn is_pair(&self) -> bool {
        self.spec != Spec::Symmetric
    }

    pub fn spec_name(&self) -> &'static str {
        match self.spec {
            Spec::Symmetric => "Aliyun_AES_256",
            Spec::Sm2 => "EC_SM2",
            Spec::P256 => "EC_P256",
        }
    }

    pub fn state(&self) -> &'static str {
        match self.life {
            Life::Enabled => "Enabled",
            Life::Disabled => "Disabled",
            Life::PendingDeletion { .. } => "PendingDeletion",
            Life::Deleted { .. } => unreachable!("nobody sees it"),
        }
    }

    pub fn next_rotation(&self) -> Option<i64> {
        self.interval.filter(|_| self.life == Life::Enabled).map(|every| self.rotated_at + every)
    }

    pub fn due(&self) -> Option<Due> {
        match self.life {
            Life::PendingDeletion { due } => Some(Due::Deletion(due)),
            _ => self.next_rotation().map(Due::Rotation),
        }
    }

    /// Refuses where the state is another than these, in the words of each.
    fn permits(&self, disabled: Option<Reason>, pending: Option<Reason>) -> Result<(), Reason> {
        let refusal = match self.life {
            Life::Enabled => None,
            Life::Disabled => disabled,
            Life::PendingDeletion { .. } => pending,
            Life::Deleted { .. } => Some(NO_KEY),
        };
        refusal.map_or(Ok(()), Err)
    }

    /// For whatever uses or rotates it.
    fn permits_use(&self) -> Result<(), Reason> {
        self.permits(Some(DISABLED), Some(PENDING))
    }

    fn rotate(&mut self, now: i64) {
        self.versions.push(String::new());
        self.rotated_at = now;
    }
}

/// Reads a description.
fn read_words(words: Words, longest: usize) -> Result<String, Reason> {
    if matches!(words, Words::TooLong) { Err(INVALID) } else { Ok(words.text(longest)) }
}

/// Reads tags.
fn read_tags(row: TagRow) -> Result<BTreeMap<String, String>, Reason> {
    if row.count > 20 {
        Err(INVALID)
    } else {
        Ok(row.keys().map(|key| (key, row.value.to_string())).collect())
    }
}

/// Reads a rotation policy.
fn read_rotation(rotation: Rotation) -> Result<Option<i64>, Reason> {
    match (rotation.on, INTERVALS[rotation.interval]) {
        (true, ("", _)) => Err(MISSING),
        (true, (_, seconds)) => seconds.map(Some).ok_or(INVALID),
        (false, _) => Ok(None),
    }
}

impl Model {
    pub fn starting(wall: i64, elapsed: i64) -> Self {
        Self { stored: Stored::default(), watch: Watch::starting(wall, elapsed) }
    }

    /// The number of the CMK that a request points at.
    pub fn find(&self, target: Target) -> Result<usize, Reason> {
        let keys = &self.stored.keys;
        let found = match target {
            Target::Id(number) | Target::Arn(number) if !keys.is_empty() => number % keys.len(),
            Target::Id(_) | Target::Arn(_) | Target::Foreign => return Err(NO_KEY),
            Target::Alias(number) | Target::AliasArn(number) => {
                let found = self.meaning(&alias(number)).ok_or(NO_ALIAS)?;
                return if keys[found].is_deleted() { Err(NO_ALIAS) } else { Ok(found) };
            }
        };
        if keys[found].is_deleted() { Err(NO_KEY) } else { Ok(found) }
    }

    /// Refuses an alias where only an id or a key's ARN will do.
    fn no_alias(target: Target) -> Result<(), Reason> {
        match target {
            Target::Alias(_) | Target::AliasArn(_) => Err(INVALID),
            _ => Ok(()),
        }
    }

    fn meaning(&self, name: &str) -> Option<usize> {
        self.stored.names.iter().find(|(known, _)| known == name).map(|(_, key)| *key)
    }

    pub fn names_of(&self, key: usize) -> impl Iterator<Item = &str> {
        self.stored
            .names
            .iter()
            .filter(move |(_, other)| *other == key)
            .map(|(name, _)| name.as_str())
    }

    fn has_full_names(&self, key: usize) -> bool {
        self.names_of(key).count() >= 50
    }

    /// Predicts the outcome of a call, and changes the model by it. `opened`: the CMK
    /// that sealed the blob of the call.
    pub fn apply(&mut self, call: &Call, opened: Option<usize>) -> Result<(), Reason> {
        let now = self.watch.wall;
        match *call {
            Call::CreateKey { spec, description, rotation, tags } => {
                self.create(spec, description, rotation, tags)
            }
            Call::DescribeKey(key)
            | Call::ListResourceTags(key)
            | Call::ListKeyVersions(key, _)
            | Call::ListAliasesByKeyId(key, _) => self.find(key).map(drop),
            Call::ListKeys(..) | Call::ListAliases(_) => Ok(()),
            Call::EnableKey(key) => self.switch(key, Life::Enabled),
            Call::DisableKey(key) => self.switch(key, Life::Disabled),
            Call::ScheduleKeyDeletion(key, days) => self.schedule_deletion(key, days),
            Call::CancelKeyDeletion(key) => self.cancel_deletion(key),
            Call::SetDeletionProtection(key, on, words) => self.protect(key, on, words),
            Call::UpdateKeyDescription(key, words) => {
                let description = read_words(words, DESCRIPTION)?;
                self.annotate(key)?.description = description;
                Ok(())
            }
            Call::TagResource(key, row) => self.tag(key, row),
            Call::UntagResource(key, row) => self.untag(key, row),
            Call::CreateKeyVersion(key) => self.create_version(key, now),
            Call::UpdateRotationPolicy(key, rotation) => self.set_rotation(key, rotation),
            Call::CreateAlias(name, key) => self.create_alias(name, key),
            Call::CreateAliases(..) => unreachable!("taken apart before"),
            Call::UpdateAlias(name, key) => self.update_alias(name, key),
            Call::DeleteAlias(name) => {
                self.find(Target::Alias(name))?;
                self.stored.names.retain(|(known, _)| *known != alias(name));
                Ok(())
            }
            Call::Generate(key) | Call::Encrypt(key, _) => self.seal(key),
            Call::Decrypt { right_context, .. } => {
                self.open(opened)?;
                if right_context { Ok(()) } else { Err(INVALID) }
            }
            Call::ReEncrypt { to, .. } => self.re_encrypt(opened, to),
        }
    }

    fn key(&mut self, target: Target) -> Result<&mut Key, Reason> {
        let found = self.find(target)?;
        Ok(&mut self.stored.keys[found])
    }

    fn create(
        &mut self,
        spec: Spec,
        description: Words,
        rotation: Rotation,
        tags: TagRow,
    ) -> Result<(), Reason> {
        let (description, interval) =
            (read_words(description, DESCRIPTION)?, read_rotation(rotation)?);
        if spec != Spec::Symmetric && interval.is_some() {
            return Err(INVALID);
        }
        let now = self.watch.wall;
        self.stored.keys.push(Key {
            id: String::new(),
            spec,
            life: Life::Enabled,
            description,
            tags: read_tags(tags)?,
            interval,
            protected: false,
            protection_description: String::new(),
            created_at: now,
            rotated_at: now,
            versions: vec![String::new()],
            was_named: false,
        });
        Ok(())
    }

    fn switch(&mut self, target: Target, life: Life) -> Result<(), Reason> {
        let key = self.key(target)?;
        key.permits(None, Some(STATE))?;
        key.life = life;
        Ok(())
    }

    fn schedule_deletion(&mut self, target: Target, days: Option<u32>) -> Result<(), Reason> {
        let days = days.ok_or(MISSING)?;
        if !(7..=366).contains(&days) {
            return Err(INVALID);
        }
        let found = self.find(target)?;
        let key = &self.stored.keys[found];
        key.permits(None, Some(STATE))?;
        if key.protected {
            return Err("Rejected.DeletionProtection");
        }
        // A date is taken only from a clock that is steady.
        self.watch.read();
        if self.watch.jumped() {
            return Err(UNAVAILABLE);
        }
        let due = self.watch.wall + i64::from(days) * DAY;
        self.stored.keys[found].life = Life::PendingDeletion { due };
        Ok(())
    }

    fn cancel_deletion(&mut self, target: Target) -> Result<(), Reason> {
        let key = self.key(target)?;
        if !matches!(key.life, Life::PendingDeletion { .. }) {
            return Err(STATE);
        }
        key.life = Life::Enabled;
        Ok(())
    }

    fn protect(&mut self, target: Target, on: Option<bool>, words: Words) -> Result<(), Reason> {
        Self::no_alias(target)?;
        let (on, description) = (on.ok_or(MISSING)?, read_words(words, PROTECTION)?);
        let key = self.key(target)?;
        key.permits(None, Some(STATE))?;
        key.protected = on;
        key.protection_description = description;
        Ok(())
    }

    /// A CMK whose words may be changed.
    fn annotate(&mut self, target: Target) -> Result<&mut Key, Reason> {
        let key = self.key(target)?;
        key.permits(None, Some(PENDING))?;
        Ok(key)
    }

    fn tag(&mut self, target: Target, row: TagRow) -> Result<(), Reason> {
        let tags = read_tags(row)?;
        if tags.is_empty() {
            return Err(MISSING);
        }
        let key = self.annotate(target)?;
        let keys: BTreeSet<_> = key.tags.keys().chain(tags.keys()).collect();
        if keys.len() > 20 {
            return Err(LIMIT);
        }
        key.tags.extend(tags);
        Ok(())
    }

    fn untag(&mut self, target: Target, row: TagRow) -> Result<(), Reason> {
        match row.count {
            0 => return Err(MISSING),
            1..=20 => {}
            _ => return Err(INVALID),
        }
        let key = self.annotate(target)?;
        key.tags.retain(|known, _| row.keys().all(|gone| gone != *known));
        Ok(())
    }

    fn create_version(&mut self, target: Target, now: i64) -> Result<(), Reason> {
        let key = self.key(target)?;
        key.permits_use()?;
        if key.is_pair() && now - key.rotated_at < 7 * DAY {
            return Err("Rejected.UnsupportedOperation");
        }
        let most = if key.is_pair() { 50 } else { 1000 };
        if key.versions.len() >= most {
            return Err(LIMIT);
        }
        key.rotate(now);
        Ok(())
    }

    fn set_rotation(&mut self, target: Target, rotation: Rotation) -> Result<(), Reason> {
        let interval = read_rotation(rotation)?;
        let key = self.key(target)?;
        key.permits_use()?;
        if key.is_pair() {
            return Err("Rejected.UnsupportedOperation");
        }
        key.interval = interval;
        Ok(())
    }

    fn create_alias(&mut self, name: usize, target: Target) -> Result<(), Reason> {
        Self::no_alias(target)?;
        let found = self.find(target)?;
        self.stored.keys[found].permits(None, Some(STATE))?;
        if self.meaning(&alias(name)).is_some() {
            return Err("AliasAlreadyExists");
        }
        if self.has_full_names(found) {
            return Err(LIMIT);
        }
        self.stored.names.push((alias(name), found));
        self.stored.keys[found].was_named = true;
        Ok(())
    }

    fn update_alias(&mut self, name: usize, target: Target) -> Result<(), Reason> {
        Self::no_alias(target)?;
        let old = self.find(Target::Alias(name))?;
        let new = self.find(target)?;
        self.stored.keys[new].permits(None, Some(PENDING))?;
        if old == new {
            return Ok(());
        }
        if self.has_full_names(new) {
            return Err(LIMIT);
        }
        for (known, key) in &mut self.stored.names {
            if *known == alias(name) {
                *key = new;
            }
        }
        self.stored.keys[new].was_named = true;
        Ok(())
    }

    fn seal(&self, target: Target) -> Result<(), Reason> {
        self.seal_under(self.find(target)?)
    }

    fn seal_under(&self, key: usize) -> Result<(), Reason> {
        let key = &self.stored.keys[key];
        key.permits_use()?;
        if key.is_pair() { Err("UnsupportedOperation") } else { Ok(()) }
    }

    /// Whether a blob of that CMK opens.
    pub fn open(&self, key: Option<usize>) -> Result<(), Reason> {
        key.map_or(Err(NO_KEY), |key| self.stored.keys[key].permits_use())
    }

    /// Both keys are found before the state of either is judged.
    fn re_encrypt(&self, source: Option<usize>, to: Target) -> Result<(), Reason> {
        let source = source.filter(|key| !self.stored.keys[*key].is_deleted()).ok_or(NO_KEY)?;
        let to = self.find(to)?;
        self.open(Some(source))?;
        self.seal_under(to)
    }

    /// A look at what is due: how many CMKs are deleted, and rotated.
    pub fn look(&mut self) -> (u32, u32) {
        self.watch.read();
        let now = self.watch.wall;
        let mut carried = (0, 0);
        for key in &mut self.stored.keys {
            match (key.due(), self.watch.settled()) {
                (Some(Due::Deletion(at)), Some(settled)) if at <= settled => {
                    key.life = Life::Deleted { erased: true };
                    carried.0 += 1;
                }
                (Some(Due::Rotation(at)), Some(settled)) if at <= settled => {
                    key.rotate(now);
                    carried.1 += 1;
                }
                _ => {}
            }
            // An erasure that was broken off is ended, whatever the clock says.
            if key.is_deleted() {
                key.life = Life::Deleted { erased: true };
            }
        }
        let keys = &self.stored.keys;
        self.stored.names.retain(|(_, key)| !keys[*key].is_deleted());
        carried
    }
}
