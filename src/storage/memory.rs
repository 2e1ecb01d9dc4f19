//! The law in memory, for tests: with faults, in pairs, and with a way to hold a
//! commit at its two moments.
//!
//! It keeps nothing past its own life: durability is the one clause that it
//! cannot obey. Only tests make one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::limits::{check_commit, check_listing, check_read};
use super::store::{
    CHANGES_KEPT_REVISIONS, Changes, LISTING_ENTRIES_MAX, Listing, Precondition, Revision,
    Snapshot, Store, StoreError, Versioned, Write,
};

/// A failure that is to happen once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// The next commit fails, is not stored, and says so.
    NotStored,
    /// The next commit fails, is not stored, and cannot tell.
    MaybeStoredNot,
    /// The next commit fails, is stored all the same, and cannot tell.
    MaybeStoredBut,
    /// The next read of any kind fails.
    Unavailable,
}

/// When a commit can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Asked for, not yet judged: a caller cancelled here changed nothing.
    Before,
    /// Made (or failed), not yet answered: a caller cancelled here has changed
    /// what it changed.
    After,
}

/// A commit that is held at a moment, until it is released or this is dropped.
#[derive(Debug)]
pub struct HeldCommit {
    reached: Option<oneshot::Receiver<()>>,
    released: oneshot::Sender<()>,
}

impl HeldCommit {
    /// Waits until a commit has come to the moment.
    pub async fn reached(&mut self) {
        if let Some(reached) = self.reached.take() {
            // An error means that the commit's caller is gone: it was there.
            let _ = reached.await;
        }
    }

    /// Lets it go on.
    pub fn release(self) {
        // An error means that the commit's caller is gone.
        let _ = self.released.send(());
    }
}

/// The commit's side of a [`HeldCommit`].
#[derive(Debug)]
struct Hold {
    moment: Moment,
    reached: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

#[derive(Debug, Default)]
struct Contents {
    revision: Revision,
    records: BTreeMap<String, Versioned>,
    changes: BTreeMap<Revision, Vec<String>>,
    faults: VecDeque<InjectedFault>,
    holds: VecDeque<Hold>,
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    contents: Mutex<Contents>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next call of the fault's kind (commit, or read) fail. Faults
    /// of one kind queue up.
    pub fn fail_next(&self, fault: InjectedFault) {
        self.contents().faults.push_back(fault);
    }

    /// Holds the next commit that comes to this moment.
    pub fn hold_next_commit(&self, moment: Moment) -> HeldCommit {
        let (reach, reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        self.contents().holds.push_back(Hold { moment, reached: reach, released });
        HeldCommit { reached: Some(reached), released: release }
    }

    /// No method panics with the lock held. If one did, the contents would be
    /// whole: a commit that can fail fails before it changes anything.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contents for a read, unless one is to fail.
    fn readable(&self) -> Result<MutexGuard<'_, Contents>, StoreError> {
        let mut contents = self.contents();
        match contents.take_fault(|fault| fault == InjectedFault::Unavailable) {
            Some(_) => Err(StoreError::Unavailable("a fault was asked for".into())),
            None => Ok(contents),
        }
    }

    async fn pause(&self, moment: Moment) {
        let hold = self.contents().take_hold(moment);
        if let Some(Hold { reached, released, .. }) = hold {
            let _ = reached.send(());
            let _ = released.await;
        }
    }
}

impl Contents {
    fn take_fault(&mut self, is_kind: impl Fn(InjectedFault) -> bool) -> Option<InjectedFault> {
        let at = self.faults.iter().position(|fault| is_kind(*fault))?;
        self.faults.remove(at)
    }

    fn take_hold(&mut self, moment: Moment) -> Option<Hold> {
        let at = self.holds.iter().position(|hold| hold.moment == moment)?;
        self.holds.remove(at)
    }

    fn commit(
        &mut self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        let maybe = || Err(StoreError::MaybeStored("a fault was asked for".into()));
        match self.take_fault(|fault| fault != InjectedFault::Unavailable) {
            None | Some(InjectedFault::Unavailable) => self.apply(preconditions, writes),
            Some(InjectedFault::NotStored) => {
                Err(StoreError::NotStored("a fault was asked for".into()))
            }
            Some(InjectedFault::MaybeStoredNot) => maybe(),
            Some(InjectedFault::MaybeStoredBut) => {
                self.apply(preconditions, writes)?;
                maybe()
            }
        }
    }

    fn apply(
        &mut self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        let found = |path: &str| self.records.get(path).map(|record| record.revision);
        if !preconditions.iter().all(|p| p.holds(found(p.path()))) {
            return Err(StoreError::Conflict);
        }
        let next = Revision(self.revision.0.saturating_add(1));
        let changed: Vec<String> =
            writes.iter().filter_map(|write| self.write(write, next)).collect();
        if !changed.is_empty() {
            self.revision = next;
            self.changes.insert(next, changed);
            let floor = self.log_floor();
            self.changes.retain(|revision, _| *revision > floor);
        }
        Ok(self.revision)
    }

    /// Makes one write; the path, if that changed anything.
    fn write(&mut self, write: &Write, revision: Revision) -> Option<String> {
        match write {
            Write::Put(path, value) => {
                let record = Versioned { value: value.clone(), revision };
                self.records.insert(path.clone(), record);
                Some(path.clone())
            }
            Write::Delete(path) => self.records.remove(path).map(|_| path.clone()),
        }
    }

    /// The revision up to which the log of changes is cut.
    fn log_floor(&self) -> Revision {
        Revision(self.revision.0.saturating_sub(CHANGES_KEPT_REVISIONS))
    }

    fn under<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a Versioned)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.records
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(prefix))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError> {
        check_read(paths)?;
        let contents = self.readable()?;
        let values = paths.iter().map(|path| contents.records.get(*path).cloned()).collect();
        Ok(Snapshot { revision: contents.revision, values })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StoreError> {
        check_listing(prefix, after)?;
        let contents = self.readable()?;
        let mut found = contents.under(prefix, after);
        let entries = found
            .by_ref()
            .take(limit.min(LISTING_ENTRIES_MAX))
            .map(|(path, record)| (path.clone(), record.clone()))
            .collect();
        let more = found.next().is_some();
        Ok(Listing { revision: contents.revision, entries, more })
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        check_listing(prefix, None)?;
        let contents = self.readable()?;
        let count = contents.under(prefix, None).count();
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        check_commit(preconditions, writes)?;
        self.pause(Moment::Before).await;
        let result = self.contents().commit(preconditions, writes);
        self.pause(Moment::After).await;
        result
    }

    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError> {
        let contents = self.readable()?;
        if revision < contents.log_floor() || revision > contents.revision {
            return Err(StoreError::Compacted);
        }
        let after = (Bound::Excluded(revision), Bound::Unbounded);
        let paths: BTreeSet<&String> = contents.changes.range(after).flat_map(|(_, p)| p).collect();
        Ok(Changes { now: contents.revision, paths: paths.into_iter().cloned().collect() })
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.readable().map(drop)
    }

    fn revision_seen(&self) -> Revision {
        self.contents().revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &str) -> [Write; 1] {
        [Write::Put(path.into(), b"sealed".to_vec())]
    }

    #[tokio::test]
    async fn a_failure_of_each_kind_comes_once_and_leaves_what_it_says() {
        let rows = [
            (InjectedFault::NotStored, false),
            (InjectedFault::MaybeStoredNot, false),
            (InjectedFault::MaybeStoredBut, true),
        ];
        for (fault, stored) in rows {
            let store = MemoryStore::new();
            store.fail_next(fault);
            store.commit(&[], &put("a")).await.unwrap_err();
            assert_eq!(store.count("").await, Ok(u64::from(stored)), "{fault:?}");
            store.commit(&[], &put("b")).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_failed_read_comes_once_and_spares_commits() {
        let store = MemoryStore::new();
        store.fail_next(InjectedFault::Unavailable);
        store.commit(&[], &put("a")).await.unwrap();
        assert!(matches!(store.read(&["a"]).await, Err(StoreError::Unavailable(_))));
        assert_eq!(store.count("").await, Ok(1));
    }

    /// Starts a commit, holds it at a moment, and drops it there.
    async fn cancelled_at(moment: Moment) -> u64 {
        let store = MemoryStore::new();
        let mut held = store.hold_next_commit(moment);
        let writes = put("a");
        tokio::select! {
            biased;
            _ = store.commit(&[], &writes) => panic!("it is held"),
            () = held.reached() => {}
        }
        store.count("").await.unwrap()
    }

    #[tokio::test]
    async fn a_caller_can_be_cancelled_before_and_after() {
        assert_eq!(cancelled_at(Moment::Before).await, 0);
        assert_eq!(cancelled_at(Moment::After).await, 1);
    }
}
