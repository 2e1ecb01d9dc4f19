//! The keyring: CMKs and key versions, loaded when asked for, kept in bounded
//! caches, and changed by compare-and-swap.
//!
//! Nothing is loaded at start. A change commits, then the cache forgets, then
//! the caller is answered: no request that begins after DisableKey returned
//! succeeds with that key. With several replicas over one store this will take
//! a lease as well, checked in [`Keyring::take`] and again before the answer.

pub mod aliases;
mod cmk_list;
mod cmk_record;
pub mod key_version;
pub mod pair_version;
pub mod version_material;
pub mod versions;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::access::policy::{Grant, KeyFacts};
use crate::error::{Error, Result, Rule};
use crate::ids::{AccessKeyId, KeyId, KeyVersionId};
use crate::keys::access_keys::AccessKey;
use crate::keys::fresh_cache::FreshCache;
use crate::keys::guard::records::{RecordKind, RecordNotIntact, RecordSeals, v1};
use crate::keys::keyring::key_version::{KeyVersion, LoadedVersion};
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::keyring::versions::version_path;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::{Cmk, NewCmk};
use crate::keys::model::key_state::Operation;
use crate::keys::pages::{Page, PageRequest, PageStart};
use crate::keys::schedule::clock::Clock;
use crate::keys::schedule::clock_watch::ClockWatch;
use crate::keys::schedule::due;
use crate::storage::{Precondition, Revision, Store, StoreError, Versioned, Write, commit_settled};

pub(in crate::keys) const CMK_PREFIX: &str = "cmk/";
/// Entries that a list skips at a time on its way to a numbered page.
const SKIP_AT_A_TIME: usize = 1000;
const MAX_CACHED_CMK_BYTES: u64 = 16 << 20;
/// Some 20,000 symmetric versions; an RSA key pair weighs ten times as much.
const MAX_CACHED_VERSION_BYTES: u64 = 48 << 20;
const MAX_CACHED_ALIASES: u64 = 20_000;
const MAX_CACHED_ACCESS_KEYS: u64 = 20_000;

/// A CMK as the store has it.
#[derive(Clone, Debug)]
pub struct StoredCmk {
    /// The CMK.
    pub cmk: Cmk,
    /// The store's revision of it.
    pub revision: Revision,
}

impl StoredCmk {
    /// What a decision may depend on.
    #[must_use]
    pub fn facts(&self) -> KeyFacts {
        KeyFacts { id: self.cmk.id, revision: self.revision.0 }
    }
}

/// Why something granted was not done.
#[derive(Debug)]
pub enum Refusal {
    /// The key has changed since the grant was given: ask again.
    Stale,
    /// A rule was broken.
    Broken(Error),
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Loads, keeps and changes CMKs, their versions and their aliases, and access
/// keys.
pub struct Keyring {
    pub(in crate::keys) store: Arc<dyn Store>,
    pub(in crate::keys) seals: RecordSeals,
    pub(in crate::keys) clock: Arc<dyn Clock>,
    watch: Mutex<ClockWatch>,
    cmks: FreshCache<KeyId, Arc<StoredCmk>>,
    pub(in crate::keys) versions: FreshCache<KeyVersionId, Arc<LoadedVersion>>,
    pub(in crate::keys) aliases: FreshCache<AliasName, KeyId>,
    pub(in crate::keys) access_keys: FreshCache<AccessKeyId, Arc<AccessKey>>,
    damaged: AtomicBool,
}

impl Keyring {
    /// A keyring over a store that is open.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, seals: RecordSeals, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            seals,
            clock,
            watch: Mutex::default(),
            cmks: FreshCache::weighed(MAX_CACHED_CMK_BYTES, |stored: &Arc<StoredCmk>| {
                stored.cmk.memory_bytes()
            }),
            versions: FreshCache::weighed(
                MAX_CACHED_VERSION_BYTES,
                |loaded: &Arc<LoadedVersion>| loaded.memory_bytes(),
            ),
            aliases: FreshCache::new(MAX_CACHED_ALIASES),
            access_keys: FreshCache::new(MAX_CACHED_ACCESS_KEYS),
            damaged: AtomicBool::new(false),
        }
    }

    /// Whether the store answers and every record that was opened was intact.
    pub async fn is_healthy(&self) -> bool {
        !self.damaged.load(Ordering::Relaxed) && self.store.probe().await.is_ok()
    }

    /// The CMK of that id, if there is one.
    pub async fn find(&self, id: KeyId) -> Result<Option<Arc<StoredCmk>>> {
        if let Some(found) = self.cmks.get(&id) {
            return Ok(Some(found));
        }
        let reading = self.cmks.begin_reading();
        let paths = [cmk_path(id), tombstone_path(id)];
        let read = self.store.read(&paths.each_ref().map(String::as_str)).await?;
        let mut values = read.values.into_iter();
        let Some(stored) = values.next().flatten() else { return Ok(None) };
        // A deletion puts the one in the other's place: somebody put it back.
        if values.next().flatten().is_some() {
            return Err(self.not_intact(&cmk_path(id)));
        }
        let found = Arc::new(self.open_cmk(id, &stored)?);
        self.cmks.keep(reading, id, Arc::clone(&found));
        Ok(Some(found))
    }

    /// The CMK whose version this is, if it is one of this store's.
    pub async fn find_by_version(&self, id: KeyVersionId) -> Result<Option<Arc<StoredCmk>>> {
        match self.load_version(id).await? {
            Some(loaded) => self.find(loaded.key_id).await,
            None => Ok(None),
        }
    }

    /// Takes the version that seals now.
    pub async fn take_primary(&self, grant: Grant) -> Result<KeyVersion, Refusal> {
        self.take(grant, None).await
    }

    /// Takes the version that opens a blob.
    pub async fn take_version(
        &self,
        grant: Grant,
        id: KeyVersionId,
    ) -> Result<KeyVersion, Refusal> {
        self.take(grant, Some(id)).await
    }

    async fn take(
        &self,
        grant: Grant,
        version: Option<KeyVersionId>,
    ) -> Result<KeyVersion, Refusal> {
        let current = self.usable(&grant).await?;
        current.cmk.check_seals()?;
        let id = version.unwrap_or(current.cmk.newest_version);
        let loaded = self.load_version(id).await?.ok_or(Rule::KeyVersionNotFound)?;
        if loaded.key_id != current.cmk.id {
            return Err(
                Error::internal("a key version was asked for by a grant for another key").into()
            );
        }
        Ok(KeyVersion { loaded, grant })
    }

    /// The grant is for a key at a revision; here its state is judged, on what
    /// the store holds now.
    pub(in crate::keys) async fn usable(&self, grant: &Grant) -> Result<Arc<StoredCmk>, Refusal> {
        let granted = granted_key(grant)?;
        let current = self.find(granted.id).await?.ok_or(Rule::KeyNotFound)?;
        if current.facts() != granted {
            return Err(Refusal::Stale);
        }
        current.cmk.state.check(Operation::Use)?;
        Ok(current)
    }

    pub(in crate::keys) fn watch(&self) -> MutexGuard<'_, ClockWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock that it goes by.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// The time, in whole seconds, as records keep it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// Makes a CMK with its first version, of this material.
    pub async fn create(
        &self,
        _grant: Grant,
        new: NewCmk,
        material: &VersionMaterial,
    ) -> Result<StoredCmk> {
        let cmk = new.at(self.now());
        let absent = [
            Precondition::Absent(cmk_path(cmk.id)),
            Precondition::Absent(tombstone_path(cmk.id)),
            Precondition::Absent(version_path(cmk.newest_version)),
        ];
        let mut writes = vec![Write::Put(cmk_path(cmk.id), self.seal_cmk(&cmk)?)];
        writes.extend(self.version_writes(&cmk, material)?);
        writes.extend(cmk.due().map(|due| Write::Put(due::path(due, cmk.id), Vec::new())));
        let revision = self.commit(&absent, &writes).await.map_err(|refusal| match refusal {
            // Ids are unique: another record at a new id's path is no rival's.
            Refusal::Stale => Error::internal("a new id was taken already"),
            Refusal::Broken(error) => error,
        })?;
        Ok(StoredCmk { cmk, revision })
    }

    /// Puts a changed CMK in the place of the one that was granted. Nothing is
    /// written where nothing changed.
    pub async fn replace(&self, grant: Grant, old: &StoredCmk, new: &Cmk) -> Result<(), Refusal> {
        if granted_key(&grant)? != old.facts() || new.id != old.cmk.id {
            return Err(Error::internal("a grant was used for another key or revision").into());
        }
        if *new == old.cmk {
            return self.unless_stale(old).await;
        }
        self.commit_cmk(old, new, Vec::new()).await
    }

    /// Commits a changed CMK, its place in the index of what is due, and other
    /// writes that belong to the change.
    pub(in crate::keys) async fn commit_cmk(
        &self,
        old: &StoredCmk,
        new: &Cmk,
        others: Vec<Write>,
    ) -> Result<(), Refusal> {
        let path = cmk_path(new.id);
        let unchanged = [Precondition::At(path.clone(), old.revision)];
        let mut writes = others;
        writes.push(Write::Put(path, self.seal_cmk(new)?));
        writes.extend(due::moves(&old.cmk, new));
        let outcome = self.commit(&unchanged, &writes).await;
        // Forgotten whatever the outcome: an unsettled commit may have happened.
        self.cmks.forget(&new.id);
        outcome.map(|_| ())
    }

    /// Refuses where the CMK is not what it was: in the store, as another
    /// keyring over it may have changed what is kept here.
    async fn unless_stale(&self, old: &StoredCmk) -> Result<(), Refusal> {
        match self.read_one(&cmk_path(old.cmk.id)).await? {
            Some(current) if current.revision == old.revision => Ok(()),
            _ => {
                self.forget(old.cmk.id);
                Err(Refusal::Stale)
            }
        }
    }

    /// A page of what lies under a prefix, in order of creation.
    pub(in crate::keys) async fn list_paths(
        &self,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<Page<(String, Versioned)>> {
        let total_count = self.store.count(prefix).await?;
        let after = match &page.start {
            PageStart::Token(token) => Some(self.seals.page_cursor(prefix, token)?),
            PageStart::Number(number) => {
                let skip = u64::from(number.saturating_sub(1)) * u64::from(page.size);
                if skip >= total_count && skip > 0 {
                    return Ok(Page {
                        entries: Vec::new(),
                        total_count,
                        next_page_token: String::new(),
                    });
                }
                self.skip(prefix, usize::try_from(skip).unwrap_or(usize::MAX)).await?
            }
        };
        let listed = self.store.list(prefix, after.as_deref(), page.size as usize).await?;
        let next_page_token = match listed.entries.last() {
            Some((last, _)) if listed.more => self.seals.page_token(prefix, last)?,
            _ => String::new(),
        };
        Ok(Page { entries: listed.entries, total_count, next_page_token })
    }

    /// The path of the last of `skip` entries.
    async fn skip(&self, prefix: &str, mut skip: usize) -> Result<Option<String>> {
        let mut after = None;
        while skip > 0 {
            let page = self.store.list(prefix, after.as_deref(), skip.min(SKIP_AT_A_TIME)).await?;
            let Some((last, _)) = page.entries.last() else { break };
            after = Some(last.clone());
            skip -= page.entries.len().min(skip);
        }
        Ok(after)
    }

    pub(in crate::keys) async fn read_one(&self, path: &str) -> Result<Option<Versioned>> {
        Ok(self.store.read(&[path]).await?.values.into_iter().next().flatten())
    }

    /// Commits, and settles an uncertain outcome where a re-read can.
    pub(in crate::keys) async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, Refusal> {
        match commit_settled(self.store.as_ref(), preconditions, writes).await {
            Ok(revision) => Ok(revision),
            Err(StoreError::Conflict) => Err(Refusal::Stale),
            Err(error) => Err(Refusal::Broken(error.into())),
        }
    }

    /// Lets through what is intact, and remembers what is not.
    pub(in crate::keys) fn intact<T>(&self, opened: Result<T, RecordNotIntact>) -> Result<T> {
        opened.map_err(|not_intact| {
            self.damaged.store(true, Ordering::Relaxed);
            not_intact.into()
        })
    }

    /// A record that is intact and yet is not what it should be.
    pub(in crate::keys) fn not_intact(&self, path: &str) -> Error {
        self.damaged.store(true, Ordering::Relaxed);
        Error::internal(format!("the stored record at {path} is not what it should be"))
    }

    /// Makes the next look at this CMK go to the store.
    pub(in crate::keys) fn forget(&self, id: KeyId) {
        self.cmks.forget(&id);
    }

    pub(in crate::keys) fn open_cmk(&self, id: KeyId, stored: &Versioned) -> Result<StoredCmk> {
        let path = cmk_path(id);
        let (record, _): (v1::Cmk, _) =
            self.intact(self.seals.open(RecordKind::Cmk, &path, &stored.value))?;
        let cmk = cmk_record::to_cmk(id, record).ok_or_else(|| {
            Error::internal(format!("the stored record at {path} has an unknown value"))
        })?;
        Ok(StoredCmk { cmk, revision: stored.revision })
    }

    fn seal_cmk(&self, cmk: &Cmk) -> Result<Vec<u8>> {
        self.seals.seal(RecordKind::Cmk, &cmk_path(cmk.id), &cmk_record::from_cmk(cmk), &[])
    }
}

/// The key that a grant is for.
pub(in crate::keys) fn granted_key(grant: &Grant) -> Result<KeyFacts> {
    grant.key().ok_or_else(|| Error::internal("a grant for no key was used for one"))
}

pub(in crate::keys) fn cmk_path(id: KeyId) -> String {
    format!("{CMK_PREFIX}{id}")
}

pub(in crate::keys) fn tombstone_path(id: KeyId) -> String {
    format!("tombstone/{id}")
}
