//! The law in memory, for tests: with faults, in pairs, and with gates to hold
//! a commit at its two moments.
//!
//! It keeps nothing past its own life, which is the one clause that it cannot
//! obey, and nothing but tests makes one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{
    CHANGES_KEPT_REVISIONS, Changes, PAGE_ENTRIES_MAX, Page, Precondition, Revision, Snapshot,
    Store, StoreError, Versioned, Write, judge_bound, judge_commit, judge_read,
};

/// What is to go wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next commit fails, is not stored, and says so.
    NotStored,
    /// The next commit fails, is not stored, and cannot tell.
    MaybeStoredNot,
    /// The next commit fails, is stored all the same, and cannot tell.
    MaybeStoredBut,
    /// The next read of any kind fails.
    Unavailable,
}

/// Where a commit can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Asked for, not yet judged: a caller cancelled here changed nothing.
    Before,
    /// Made (or failed), not yet answered: a caller cancelled here has changed
    /// what it changed.
    After,
}

/// Holds one commit until opened or dropped.
#[derive(Debug)]
pub struct Gate {
    reached: Option<oneshot::Receiver<()>>,
    open: oneshot::Sender<()>,
}

impl Gate {
    /// Waits until a commit stands at the gate.
    pub async fn reached(&mut self) {
        if let Some(reached) = self.reached.take() {
            // An error means that the commit's caller is gone: it was there.
            let _ = reached.await;
        }
    }

    /// Lets it go on.
    pub fn open(self) {
        // An error means that nobody waits any more.
        let _ = self.open.send(());
    }
}

/// A gate's other side.
#[derive(Debug)]
struct Hold {
    moment: Moment,
    reached: oneshot::Sender<()>,
    open: oneshot::Receiver<()>,
}

impl Hold {
    async fn wait(self) {
        let _ = self.reached.send(());
        let _ = self.open.await;
    }
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    records: BTreeMap<String, Versioned>,
    changes: BTreeMap<Revision, Vec<String>>,
    faults: VecDeque<Fault>,
    holds: VecDeque<Hold>,
}

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next call of the fault's kind (commit, or read) fail. Faults
    /// of one kind queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Holds the next commit that comes to this moment.
    pub fn hold_next_commit(&self, moment: Moment) -> Gate {
        let (reached, reached_receiver) = oneshot::channel();
        let (open, open_receiver) = oneshot::channel();
        self.state().holds.push_back(Hold { moment, reached, open: open_receiver });
        Gate { reached: Some(reached_receiver), open }
    }

    /// No method panics with the lock held; were one to, the state is whole:
    /// what can fail in it is judged before anything is changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for a read, unless one is to fail.
    fn readable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.state();
        match state.take_fault(|fault| fault == Fault::Unavailable) {
            Some(_) => Err(StoreError::Unavailable("a fault was asked for".into())),
            None => Ok(state),
        }
    }

    async fn pause(&self, moment: Moment) {
        let hold = self.state().take_hold(moment);
        if let Some(hold) = hold {
            hold.wait().await;
        }
    }
}

impl State {
    fn take_fault(&mut self, is_kind: impl Fn(Fault) -> bool) -> Option<Fault> {
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
        match self.take_fault(|fault| fault != Fault::Unavailable) {
            None | Some(Fault::Unavailable) => self.apply(preconditions, writes),
            Some(Fault::NotStored) => Err(StoreError::NotStored("a fault was asked for".into())),
            Some(Fault::MaybeStoredNot) => maybe(),
            Some(Fault::MaybeStoredBut) => {
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
        judge_read(paths)?;
        let state = self.readable()?;
        let values = paths.iter().map(|path| state.records.get(*path).cloned()).collect();
        Ok(Snapshot { revision: state.revision, values })
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        judge_bound(prefix)?;
        judge_bound(after.unwrap_or_default())?;
        let state = self.readable()?;
        let mut found = state.under(prefix, after);
        let entries = found
            .by_ref()
            .take(limit.min(PAGE_ENTRIES_MAX))
            .map(|(path, record)| (path.clone(), record.clone()))
            .collect();
        let more = found.next().is_some();
        Ok(Page { revision: state.revision, entries, more })
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        judge_bound(prefix)?;
        let state = self.readable()?;
        let count = state.under(prefix, None).count();
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        judge_commit(preconditions, writes)?;
        self.pause(Moment::Before).await;
        let result = self.state().commit(preconditions, writes);
        self.pause(Moment::After).await;
        result
    }

    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError> {
        let state = self.readable()?;
        if revision < state.log_floor() || revision > state.revision {
            return Err(StoreError::Compacted);
        }
        let after = (Bound::Excluded(revision), Bound::Unbounded);
        let paths: BTreeSet<&String> = state.changes.range(after).flat_map(|(_, p)| p).collect();
        Ok(Changes { now: state.revision, paths: paths.into_iter().cloned().collect() })
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.readable().map(drop)
    }

    fn revision_seen(&self) -> Revision {
        self.state().revision
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
            (Fault::NotStored, false),
            (Fault::MaybeStoredNot, false),
            (Fault::MaybeStoredBut, true),
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
        store.fail_next(Fault::Unavailable);
        store.commit(&[], &put("a")).await.unwrap();
        assert!(matches!(store.read(&["a"]).await, Err(StoreError::Unavailable(_))));
        assert_eq!(store.count("").await, Ok(1));
    }

    /// Starts a commit, lets it come to the gate, and drops it there.
    async fn cancelled_at(moment: Moment) -> u64 {
        let store = MemoryStore::new();
        let mut gate = store.hold_next_commit(moment);
        let writes = put("a");
        tokio::select! {
            biased;
            _ = store.commit(&[], &writes) => panic!("the gate was shut"),
            () = gate.reached() => {}
        }
        store.count("").await.unwrap()
    }

    #[tokio::test]
    async fn a_caller_can_be_cancelled_before_and_after() {
        assert_eq!(cancelled_at(Moment::Before).await, 0);
        assert_eq!(cancelled_at(Moment::After).await, 1);
    }
}
