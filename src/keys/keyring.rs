//! The keyring: CMKs and key versions, loaded when asked for, kept in bounded
//! caches, and changed by compare-and-swap.
//!
//! Nothing is loaded at start. A change commits, then the cache forgets, then
//! the caller is answered: no request that begins after DisableKey returned
//! succeeds with that key. With several replicas over one store this will take
//! a lease as well, checked in [`Keyring::take`] and again before the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::alias_name::AliasName;
use super::clock::Clock;
use super::cmk::{Cmk, KeySpec, KeyState, KeyUsage, NewCmk, Origin};
use super::fresh_cache::FreshCache;
use super::key_version::{KeyVersion, LoadedVersion};
use super::pages::{Page, PageRequest, PageStart};
use super::records::{RecordKind, RecordNotIntact, RecordSeals, v1};
use crate::access::policy::{Grant, KeyFacts};
use crate::crypto::ciphertext_blob::BlobKeys;
use crate::crypto::secret::{KeyMaterial, Reveal};
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::storage::{Precondition, Revision, Store, StoreError, Versioned, Write, commit_settled};

const CMK_PREFIX: &str = "cmk/";
/// Entries that a list skips at a time on its way to a numbered page.
const SKIP_AT_A_TIME: usize = 1000;
/// Each about half a kilobyte.
const MAX_CACHED_CMKS: u64 = 20_000;
/// Each about two kilobytes.
const MAX_CACHED_VERSIONS: u64 = 20_000;
const MAX_CACHED_ALIASES: u64 = 20_000;

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

/// Loads, keeps and changes CMKs, their versions and their aliases.
pub struct Keyring {
    pub(super) store: Arc<dyn Store>,
    pub(super) seals: RecordSeals,
    clock: Arc<dyn Clock>,
    cmks: FreshCache<KeyId, Arc<StoredCmk>>,
    versions: FreshCache<KeyVersionId, Arc<LoadedVersion>>,
    pub(super) aliases: FreshCache<AliasName, KeyId>,
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
            cmks: FreshCache::new(MAX_CACHED_CMKS),
            versions: FreshCache::new(MAX_CACHED_VERSIONS),
            aliases: FreshCache::new(MAX_CACHED_ALIASES),
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
        let Some(stored) = self.read_one(&cmk_path(id)).await? else { return Ok(None) };
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

    /// The grant is for a key at a revision; here its state is judged, on what
    /// the store holds now.
    async fn take(
        &self,
        grant: Grant,
        version: Option<KeyVersionId>,
    ) -> Result<KeyVersion, Refusal> {
        let granted = granted_key(&grant)?;
        let current = self.find(granted.id).await?.ok_or(Rule::KeyExists)?;
        if current.facts() != granted {
            return Err(Refusal::Stale);
        }
        current.cmk.check_usable()?;
        current.cmk.check_seals()?;
        let id = version.unwrap_or(current.cmk.primary_version);
        let loaded = self.load_version(id).await?.ok_or(Rule::KeyVersionExists)?;
        if loaded.key_id != granted.id {
            return Err(
                Error::internal("a key version was asked for by a grant for another key").into()
            );
        }
        Ok(KeyVersion { loaded, grant })
    }

    /// Makes a CMK with its first version.
    pub async fn create(&self, _grant: Grant, new: NewCmk) -> Result<StoredCmk> {
        let cmk = new.at(self.clock.now());
        let material = KeyMaterial::generate().map_err(|_| Error::internal("no randomness"))?;
        let version = v1::KeyVersion {
            key_id: cmk.id.to_string(),
            key_spec: cmk.spec.as_str().to_owned(),
            created_at_seconds: cmk.created_at.as_second(),
        };
        let paths = [cmk_path(cmk.id), version_path(cmk.primary_version)];
        let [cmk_at, version_at] = paths.clone();
        let sealed_version = self.seals.seal(
            RecordKind::KeyVersion,
            &version_at,
            &version,
            material.reveal(Reveal::ToStore),
        )?;
        let writes =
            [Write::Put(cmk_at, self.seal_cmk(&cmk)?), Write::Put(version_at, sealed_version)];
        let revision =
            self.commit(&paths.map(Precondition::Absent), &writes).await.map_err(|refusal| {
                match refusal {
                    // Ids are unique: another record at a new id's path is no rival's.
                    Refusal::Stale => Error::internal("a new id was taken already"),
                    Refusal::Broken(error) => error,
                }
            })?;
        Ok(StoredCmk { cmk, revision })
    }

    /// Puts a CMK into a state. Nothing is written where it is in it already.
    pub async fn set_state(&self, grant: Grant, state: KeyState) -> Result<(), Refusal> {
        let granted = granted_key(&grant)?;
        let current = self.find(granted.id).await?.ok_or(Rule::KeyExists)?;
        if current.facts() != granted {
            return Err(Refusal::Stale);
        }
        if current.cmk.state == state {
            return Ok(());
        }
        let path = cmk_path(granted.id);
        let sealed = self.seal_cmk(&current.cmk.in_state(state))?;
        let unchanged = [Precondition::At(path.clone(), current.revision)];
        let outcome = self.commit(&unchanged, &[Write::Put(path, sealed)]).await;
        // Forgotten whatever the outcome: an unsettled commit may have happened.
        self.cmks.forget(&granted.id);
        outcome.map(|_| ())
    }

    /// A page of the CMKs, oldest first.
    pub async fn list(&self, _grant: Grant, page: &PageRequest) -> Result<Page<KeyId>> {
        let paths = self.list_paths(CMK_PREFIX, page).await?;
        let entries =
            paths.entries.iter().map(|(path, _)| key_id_at(path)).collect::<Result<_>>()?;
        Ok(Page { entries, total_count: paths.total_count, next_page_token: paths.next_page_token })
    }

    /// A page of what lies under a prefix, in order of creation.
    pub(super) async fn list_paths(
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

    async fn load_version(&self, id: KeyVersionId) -> Result<Option<Arc<LoadedVersion>>> {
        if let Some(loaded) = self.versions.get(&id) {
            return Ok(Some(loaded));
        }
        let reading = self.versions.begin_reading();
        let path = version_path(id);
        let Some(stored) = self.read_one(&path).await? else { return Ok(None) };
        let (version, material): (v1::KeyVersion, _) =
            self.intact(self.seals.open(RecordKind::KeyVersion, &path, &stored.value))?;
        let not_intact = || Error::internal(format!("the stored record at {path} is not intact"));
        let key_id = KeyId::parse(&version.key_id).map_err(|_| not_intact())?;
        let spec = KeySpec::parse(&version.key_spec).ok_or_else(not_intact)?;
        let material = KeyMaterial::from_stored(material).map_err(|_| not_intact())?;
        let keys = BlobKeys::derive(&material, key_id, id, spec.as_str());
        let loaded = Arc::new(LoadedVersion { key_id, id, keys });
        self.versions.keep(reading, id, Arc::clone(&loaded));
        Ok(Some(loaded))
    }

    pub(super) async fn read_one(&self, path: &str) -> Result<Option<Versioned>> {
        Ok(self.store.read(&[path]).await?.values.into_iter().next().flatten())
    }

    /// Commits, and settles an uncertain outcome where a re-read can.
    pub(super) async fn commit(
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
    pub(super) fn intact<T>(&self, opened: Result<T, RecordNotIntact>) -> Result<T> {
        opened.map_err(|not_intact| {
            self.damaged.store(true, Ordering::Relaxed);
            not_intact.into()
        })
    }

    /// Makes the next look at this CMK go to the store.
    pub(super) fn forget(&self, id: KeyId) {
        self.cmks.forget(&id);
    }

    fn open_cmk(&self, id: KeyId, stored: &Versioned) -> Result<StoredCmk> {
        let path = cmk_path(id);
        let (record, _): (v1::Cmk, _) =
            self.intact(self.seals.open(RecordKind::Cmk, &path, &stored.value))?;
        let cmk = cmk_from_record(id, record).ok_or_else(|| {
            Error::internal(format!("the stored record at {path} has an unknown value"))
        })?;
        Ok(StoredCmk { cmk, revision: stored.revision })
    }

    fn seal_cmk(&self, cmk: &Cmk) -> Result<Vec<u8>> {
        self.seals.seal(RecordKind::Cmk, &cmk_path(cmk.id), &record_from_cmk(cmk), &[])
    }
}

/// The key that a grant is for.
pub(super) fn granted_key(grant: &Grant) -> Result<KeyFacts> {
    grant.key().ok_or_else(|| Error::internal("a grant for no key was used for one"))
}

pub(super) fn cmk_path(id: KeyId) -> String {
    format!("{CMK_PREFIX}{id}")
}

fn version_path(id: KeyVersionId) -> String {
    format!("version/{id}")
}

fn key_id_at(path: &str) -> Result<KeyId> {
    path.strip_prefix(CMK_PREFIX)
        .and_then(|id| KeyId::parse(id).ok())
        .ok_or_else(|| Error::internal("a path in the store is malformed"))
}

fn record_from_cmk(cmk: &Cmk) -> v1::Cmk {
    v1::Cmk {
        key_spec: cmk.spec.as_str().to_owned(),
        key_usage: cmk.usage.as_str().to_owned(),
        key_state: cmk.state.as_str().to_owned(),
        origin: cmk.origin.as_str().to_owned(),
        description: cmk.description.clone(),
        creator: cmk.creator.clone(),
        created_at_seconds: cmk.created_at.as_second(),
        primary_version_id: cmk.primary_version.to_string(),
        rotated_at_seconds: cmk.rotated_at.as_second(),
    }
}

fn cmk_from_record(id: KeyId, record: v1::Cmk) -> Option<Cmk> {
    Some(Cmk {
        id,
        spec: KeySpec::parse(&record.key_spec)?,
        usage: KeyUsage::parse(&record.key_usage)?,
        state: KeyState::parse(&record.key_state)?,
        origin: Origin::parse(&record.origin)?,
        description: record.description,
        creator: record.creator,
        created_at: Timestamp::from_second(record.created_at_seconds).ok()?,
        primary_version: KeyVersionId::parse(&record.primary_version_id).ok()?,
        rotated_at: Timestamp::from_second(record.rotated_at_seconds).ok()?,
    })
}
