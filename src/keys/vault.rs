//! The vault: the store and the seals of its records in one.
//!
//! It opens the records that it reads and seals those that it writes. It
//! remembers that a record was not intact, and tells the caches what each commit
//! has made stale.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use crate::audit::trail::Intent;
use crate::error::{Error, Result};
use crate::keys::caches::{Caches, ReadAt};
use crate::keys::guard::records::{Record, RecordSeals};
use crate::keys::not_done::NotDone;
use crate::keys::pages::{Page, PageRequest, PageStart};
use crate::keys::paths::StorePath;
use crate::storage::{
    COMMIT_OPERATIONS_MAX, Precondition, Revision, Snapshot, Store, StoreError, Versioned, Write,
    commit_settled, commit_urgently_settled,
};

/// Marks of changes that are ended, which one commit takes away.
const CLOSED_AT_A_TIME: usize = 16;

/// Whether a change may use the room that a store keeps for what takes a permission away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It may not.
    Usual,
    /// It may: it is stored on a full disk, too.
    Urgent,
}

/// Entries that a list skips at a time on its way to a numbered page.
const SKIP_AT_A_TIME: usize = 1000;

/// The store, and the seals of its records.
pub struct Vault {
    store: Arc<dyn Store>,
    seals: RecordSeals,
    caches: Caches,
    damaged: AtomicBool,
}

/// A record that was read and opened.
pub struct OpenedRecord<R> {
    /// Its plain fields.
    pub record: R,
    /// Its secret bytes.
    pub secret: Zeroizing<Vec<u8>>,
    /// The commit that put it.
    pub revision: Revision,
    /// When it was read.
    pub read_at: ReadAt,
}

impl Vault {
    /// A vault over a store that is open, and the caches in front of it.
    pub fn new(store: Arc<dyn Store>, seals: RecordSeals, caches: Caches) -> Self {
        Self { store, seals, caches, damaged: AtomicBool::new(false) }
    }

    /// Whether the store answers and every record that was opened was intact.
    pub async fn is_healthy(&self) -> bool {
        !self.damaged.load(Ordering::Relaxed) && self.store.probe().await.is_ok()
    }

    /// The seals, for page tokens, which lie at no path.
    pub fn seals(&self) -> &RecordSeals {
        &self.seals
    }

    /// The values at these paths, sealed, all at one revision.
    pub async fn read(&self, paths: &[StorePath]) -> Result<(Vec<Option<Versioned>>, ReadAt)> {
        let doubts = self.caches.doubts();
        let paths: Vec<_> = paths.iter().map(StorePath::to_string).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let Snapshot { revision, values } = self.store.read(&paths).await?;
        Ok((values, ReadAt::new(doubts, revision)))
    }

    /// The record at a path, if there is one.
    pub async fn find<R: Record>(&self, path: &StorePath) -> Result<Option<OpenedRecord<R>>> {
        Ok(self.find_all(std::slice::from_ref(path)).await?.into_iter().next().flatten())
    }

    /// The records at these paths, all as of one moment. One that is not intact fails
    /// them all.
    pub async fn find_all<R: Record>(
        &self,
        paths: &[StorePath],
    ) -> Result<Vec<Option<OpenedRecord<R>>>> {
        self.find_each(paths).await?.into_iter().collect()
    }

    /// The same, for those who judge each by itself.
    pub async fn find_each<R: Record>(
        &self,
        paths: &[StorePath],
    ) -> Result<Vec<Result<Option<OpenedRecord<R>>>>> {
        let (values, read_at) = self.read(paths).await?;
        let open = |(path, stored): (_, Option<Versioned>)| {
            let Some(stored) = stored else { return Ok(None) };
            let (record, secret) = self.open(path, &stored)?;
            Ok(Some(OpenedRecord { record, secret, revision: stored.revision, read_at }))
        };
        Ok(paths.iter().zip(values).map(open).collect())
    }

    /// Opens what was read at a path: its plain fields and its secret bytes.
    pub fn open<R: Record>(
        &self,
        path: &StorePath,
        stored: &Versioned,
    ) -> Result<(R, Zeroizing<Vec<u8>>)> {
        self.seals.open(R::KIND, &path.to_string(), &stored.value).map_err(|not_intact| {
            self.damaged.store(true, Ordering::Relaxed);
            not_intact.into()
        })
    }

    /// A record that is intact and yet is not what it should be.
    pub fn not_intact(&self, path: &StorePath) -> Error {
        self.damaged.store(true, Ordering::Relaxed);
        Error::internal(format!("the stored record at {path} is not what it should be"))
    }

    /// The write that puts a record at its path, sealed.
    pub fn put<R: Record>(&self, path: &StorePath, record: &R, secret: &[u8]) -> Result<Write> {
        let path = path.to_string();
        let sealed = self.seals.seal(R::KIND, &path, record, secret)?;
        Ok(Write::Put(path, sealed))
    }

    /// Commits a change whose intent is recorded, with a mark by which a later start
    /// tells that it was made.
    pub async fn commit(
        &self,
        intent: &Intent,
        urgency: Urgency,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, NotDone> {
        let room = COMMIT_OPERATIONS_MAX.saturating_sub(preconditions.len() + writes.len() + 1);
        let closed = intent.take_closed(room.min(CLOSED_AT_A_TIME));
        let mut writes = writes.to_vec();
        writes.extend(intent.event().map(|event| StorePath::AuditOpen(event).mark()));
        writes.extend(closed.iter().map(|event| StorePath::AuditOpen(*event).delete()));
        let store = self.store.as_ref();
        let outcome = match urgency {
            Urgency::Usual => commit_settled(store, preconditions, &writes).await,
            Urgency::Urgent => commit_urgently_settled(store, preconditions, &writes).await,
        };
        if let Err(error) = &outcome {
            intent.give_back_closed(closed);
            if matches!(error, StoreError::MaybeStored(_)) {
                intent.doubt();
            }
        }
        self.conclude(outcome, preconditions, &writes)
    }

    /// Commits what is no change of anybody's: nonces, indexes, what is erased. Settles
    /// an uncertain outcome where a re-read can. Then the
    /// caches forget what this made stale, and only then it is answered: so a
    /// change of what is cached runs in a task that no caller can cancel.
    pub async fn keep_up(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, NotDone> {
        let outcome = commit_settled(self.store.as_ref(), preconditions, writes).await;
        self.conclude(outcome, preconditions, writes)
    }

    /// The same, for what takes a permission away: it is stored on a full disk, too.
    pub async fn keep_up_urgently(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, NotDone> {
        let outcome = commit_urgently_settled(self.store.as_ref(), preconditions, writes).await;
        self.conclude(outcome, preconditions, writes)
    }

    fn conclude(
        &self,
        outcome: Result<Revision, StoreError>,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, NotDone> {
        let written = writes.iter().map(Write::path);
        match outcome {
            Ok(revision) => {
                self.caches.forget(written, Some(revision));
                Ok(revision)
            }
            // It may have been made all the same, or another process has changed
            // what was judged.
            Err(error) => {
                let judged = preconditions.iter().map(Precondition::path);
                self.caches.forget(written.chain(judged), None);
                Err(match error {
                    StoreError::Conflict => NotDone::Stale,
                    error => error.into(),
                })
            }
        }
    }

    /// Makes the next look at this path go to the store.
    pub fn forget(&self, path: &StorePath) {
        self.caches.forget(std::iter::once(path.to_string().as_str()), None);
    }

    /// How many paths begin with a prefix.
    pub async fn count(&self, prefix: &str) -> Result<u64> {
        Ok(self.store.count(prefix).await?)
    }

    /// A page of what lies under a prefix.
    pub async fn page(
        &self,
        prefix: &str,
        page: &PageRequest,
    ) -> Result<Page<(StorePath, Versioned)>> {
        let total_count = self.store.count(prefix).await?;
        let after = match &page.start {
            PageStart::Token(token) => Some(self.seals.page_cursor(prefix, token)?),
            PageStart::Number(number) => {
                let skip = u64::from(number.saturating_sub(1)) * u64::from(page.size);
                if skip >= total_count && skip > 0 {
                    let next_page_token = String::new();
                    return Ok(Page { entries: Vec::new(), total_count, next_page_token });
                }
                self.skip(prefix, usize::try_from(skip).unwrap_or(usize::MAX)).await?
            }
        };
        let listed = self.store.list(prefix, after.as_deref(), page.size as usize).await?;
        let next_page_token = match listed.entries.last() {
            Some((last, _)) if listed.more => self.seals.page_token(prefix, last)?,
            _ => String::new(),
        };
        let parse = |(path, stored): (String, _)| Ok((StorePath::listed(&path)?, stored));
        let entries = listed.entries.into_iter().map(parse).collect::<Result<_>>()?;
        Ok(Page { entries, total_count, next_page_token })
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

    /// A walk through all that lies under a prefix, so many entries at a time.
    pub fn walk<'a>(&'a self, prefix: &'a str, at_a_time: usize) -> Walk<'a> {
        Walk { store: self.store.as_ref(), prefix, at_a_time, after: None, ended: false }
    }
}

/// A walk through a list.
pub struct Walk<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    at_a_time: usize,
    after: Option<String>,
    ended: bool,
}

impl Walk<'_> {
    /// The next entries, in order of paths; `None` where there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<(String, Versioned)>>> {
        if self.ended {
            return Ok(None);
        }
        let listed = self.store.list(self.prefix, self.after.as_deref(), self.at_a_time).await?;
        self.after = listed.entries.last().map(|(path, _)| path.clone());
        self.ended = !listed.more;
        Ok(self.after.is_some().then_some(listed.entries))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::sync::oneshot;

    use super::*;
    use crate::crypto::secret::StoreKey;
    use crate::ids::{AliasId, KeyId, StoreId, StoreKeyId};
    use crate::keys::caches::FreshCache;
    use crate::keys::guard::records::v1;
    use crate::keys::model::alias_name::AliasName;
    use crate::storage::memory::InjectedFault;
    use crate::storage::{Changes, MemoryStore};

    /// A store whose next read, once it has read, waits before it answers.
    #[derive(Default)]
    struct SlowStore {
        store: MemoryStore,
        next_read: Mutex<Option<Slow>>,
    }

    struct Slow {
        has_read: oneshot::Sender<()>,
        answer: oneshot::Receiver<()>,
    }

    #[async_trait]
    impl Store for SlowStore {
        async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError> {
            let slow = self.next_read.lock().unwrap().take();
            let read = self.store.read(paths).await;
            if let Some(Slow { has_read, answer }) = slow {
                has_read.send(()).unwrap();
                answer.await.unwrap();
            }
            read
        }

        async fn list(
            &self,
            prefix: &str,
            after: Option<&str>,
            limit: usize,
        ) -> Result<crate::storage::Listing, StoreError> {
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
            self.store.commit(preconditions, writes).await
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

    /// A vault with one alias in it, and a cache of what aliases mean.
    struct World {
        store: Arc<SlowStore>,
        vault: Vault,
        aliases: FreshCache<AliasName, String>,
        name: AliasName,
    }

    impl World {
        async fn new() -> Self {
            let store = Arc::new(SlowStore::default());
            let keys = [(StoreKeyId::new(), StoreKey::generate().unwrap())];
            let mut caches = Caches::default();
            let aliases = caches.counted(10, |path| match path {
                StorePath::Alias(name) => Some(name.clone()),
                _ => None,
            });
            let vault = Vault::new(store.clone(), RecordSeals::new(StoreId::new(), &keys), caches);
            let name = AliasName::parse("alias/a").unwrap();
            let world = Self { store, vault, aliases, name };
            world.change("old").await.unwrap();
            world
        }

        fn path(&self) -> StorePath {
            StorePath::Alias(self.name.clone())
        }

        async fn change(&self, key_id: &str) -> Result<Revision, NotDone> {
            let alias = v1::Alias { key_id: key_id.into(), alias_id: AliasId::new().to_string() };
            let write = self.vault.put(&self.path(), &alias, &[])?;
            self.vault.keep_up(&[], &[write]).await
        }

        /// The CMK of the alias: from the cache, or from the store and kept.
        async fn look(&self) -> String {
            if let Some(found) = self.aliases.get(&self.name) {
                return found;
            }
            let found = self.vault.find::<v1::Alias>(&self.path()).await.unwrap().unwrap();
            self.aliases.keep(found.read_at, self.name.clone(), found.record.key_id.clone());
            found.record.key_id
        }

        /// Looks, and does `meanwhile` after the store was read.
        async fn look_slowly(&self, meanwhile: impl AsyncFnOnce()) -> String {
            let ((has_read, reached), (answer, held)) = (oneshot::channel(), oneshot::channel());
            *self.store.next_read.lock().unwrap() = Some(Slow { has_read, answer: held });
            let (looked, ()) = tokio::join!(self.look(), async {
                reached.await.unwrap();
                meanwhile().await;
                answer.send(()).unwrap();
            });
            looked
        }
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_outlive_a_commit() {
        let world = World::new().await;
        let looked = world.look_slowly(async || {
            world.change("new").await.unwrap();
        });
        let looked = looked.await;
        assert_eq!(looked, "old", "the read was before the commit");
        assert_eq!(world.aliases.get(&world.name), None);
        assert_eq!(world.look().await, "new");
        assert_eq!(world.aliases.get(&world.name).as_deref(), Some("new"));
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_outlive_a_commit_of_unknown_outcome() {
        for (fault, is) in
            [(InjectedFault::MaybeStoredBut, "new"), (InjectedFault::MaybeStoredNot, "old")]
        {
            let world = World::new().await;
            let looked = world.look_slowly(async || {
                world.store.store.fail_next(fault);
                // Nor can it be settled: the read that would tell fails.
                world.store.store.fail_next(InjectedFault::Unavailable);
                assert!(matches!(world.change("new").await, Err(NotDone::Refused(_))));
            });
            assert_eq!(looked.await, "old");
            assert_eq!(world.aliases.get(&world.name), None, "{fault:?}");
            assert_eq!(world.look().await, is);
            assert_eq!(world.aliases.get(&world.name).as_deref(), Some(is), "it is kept again");
        }
    }

    #[tokio::test]
    async fn a_conflict_makes_the_next_look_go_to_the_store() {
        let world = World::new().await;
        assert_eq!(world.look().await, "old");
        // Another process changes what is kept here.
        let alias = v1::Alias { key_id: "new".into(), alias_id: AliasId::new().to_string() };
        let write = world.vault.put(&world.path(), &alias, &[]).unwrap();
        world.store.store.commit(&[], &[write]).await.unwrap();
        assert_eq!(world.look().await, "old");
        // Judged paths are forgotten, not only those that were to be written.
        let unchanged = [world.path().at(Revision(1))];
        let mark = StorePath::Erasure(KeyId::new()).mark();
        assert!(matches!(world.vault.keep_up(&unchanged, &[mark]).await, Err(NotDone::Stale)));
        assert_eq!(world.look().await, "new");
    }

    #[tokio::test]
    async fn a_walk_comes_by_every_entry_once() {
        let world = World::new().await;
        let ids: Vec<_> = (0..5).map(|_| KeyId::new()).collect();
        let writes: Vec<_> = ids.iter().map(|id| StorePath::Erasure(*id).mark()).collect();
        world.vault.keep_up(&[], &writes).await.unwrap();
        for at_a_time in 1..7 {
            let mut walk = world.vault.walk(StorePath::ERASURES, at_a_time);
            let mut met = Vec::new();
            while let Some(entries) = walk.next().await.unwrap() {
                assert!((1..=at_a_time).contains(&entries.len()));
                met.extend(entries.into_iter().map(|(path, _)| StorePath::parse(&path).unwrap()));
            }
            assert!(met.into_iter().eq(ids.iter().map(|id| StorePath::Erasure(*id))));
            assert!(walk.next().await.unwrap().is_none());
        }
    }
}
