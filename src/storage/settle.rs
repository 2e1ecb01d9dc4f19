//! A `MaybeStored` turned into an answer, where a re-read can.

use super::store::{Precondition, Revision, Snapshot, Store, StoreError, Versioned, Write};

/// Commits. If the store cannot say whether it did, reads to find out.
///
/// By the law (clauses 5 and 10) the first read afterwards settles whether the
/// commit was made, a commit is whole, and no two puts are of the same bytes.
/// So:
///
/// - one of its puts is there: stored, at the revision that it bears;
/// - none of its paths has changed since before it began: `NotStored`;
/// - a value that it was to replace is still there, at the revision that a
///   precondition demands: `NotStored`;
/// - otherwise another writer came in between, before this commit or over it,
///   and it cannot be known: it stays `MaybeStored`.
///
/// It also stays so where the read fails. Deletions leave no trace of which
/// commit made them: a commit that must be settled puts something, too.
pub async fn commit_settled(
    store: &dyn Store,
    preconditions: &[Precondition],
    writes: &[Write],
) -> Result<Revision, StoreError> {
    let before = store.revision_seen();
    let outcome = store.commit(preconditions, writes).await;
    settled(store, before, outcome, preconditions, writes).await
}

/// The same for a commit that is urgent.
pub async fn commit_urgently_settled(
    store: &dyn Store,
    preconditions: &[Precondition],
    writes: &[Write],
) -> Result<Revision, StoreError> {
    let before = store.revision_seen();
    let outcome = store.commit_urgently(preconditions, writes).await;
    settled(store, before, outcome, preconditions, writes).await
}

async fn settled(
    store: &dyn Store,
    before: Revision,
    outcome: Result<Revision, StoreError>,
    preconditions: &[Precondition],
    writes: &[Write],
) -> Result<Revision, StoreError> {
    match outcome {
        Err(StoreError::MaybeStored(why)) => {
            tracing::warn!(why = %why, "the store cannot say whether it stored; looking");
            let found = look(store, before, preconditions, writes).await;
            found.unwrap_or(Err(StoreError::MaybeStored(why)))
        }
        definite => definite,
    }
}

/// Whether a commit was made; `None` where that cannot be known.
async fn look(
    store: &dyn Store,
    before: Revision,
    preconditions: &[Precondition],
    writes: &[Write],
) -> Option<Result<Revision, StoreError>> {
    let paths: Vec<&str> = writes.iter().map(Write::path).collect();
    let snapshot = store.read(&paths).await.ok()?;
    if let Some(revision) = stored_at(&snapshot, before, writes) {
        return Some(Ok(revision));
    }
    let untouched = unreplaced(&snapshot, preconditions, writes)
        || unchanged_since(store, before, writes).await;
    untouched.then(|| Err(StoreError::NotStored("looked, and it is not there".into())))
}

/// The revision of the first put that is there. An empty value proves nothing:
/// any two are the same.
fn stored_at(snapshot: &Snapshot, before: Revision, writes: &[Write]) -> Option<Revision> {
    let is_ours = |write: &Write, found: &Versioned| {
        let Write::Put(_, value) = write else { return false };
        !value.is_empty() && *value == found.value && found.revision > before
    };
    writes.iter().zip(&snapshot.values).find_map(|(write, found)| {
        found.as_ref().filter(|found| is_ours(write, found)).map(|found| found.revision)
    })
}

/// Whether a path that the commit writes is still as a precondition demands.
/// Only `At` will do: `Absent` may be true again after a deletion, where a
/// revision never comes back.
fn unreplaced(snapshot: &Snapshot, preconditions: &[Precondition], writes: &[Write]) -> bool {
    writes.iter().zip(&snapshot.values).any(|(write, found)| {
        let found = found.as_ref().map(|found| found.revision);
        preconditions.iter().any(|precondition| {
            matches!(precondition, Precondition::At(path, _) if path == write.path())
                && precondition.holds(found)
        })
    })
}

/// Whether none of the commit's paths has changed.
async fn unchanged_since(store: &dyn Store, before: Revision, writes: &[Write]) -> bool {
    let Ok(changes) = store.changes_since(before).await else { return false };
    !writes.iter().any(|write| changes.paths.iter().any(|path| path == write.path()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStore;
    use crate::storage::memory::{InjectedFault, Moment};

    const PATH: &str = "cmk/1";

    fn put(value: &[u8]) -> Vec<Write> {
        vec![Write::Put(PATH.into(), value.to_vec())]
    }

    fn absent() -> Vec<Precondition> {
        vec![Precondition::Absent(PATH.into())]
    }

    fn is_not_stored(result: &Result<Revision, StoreError>) -> bool {
        matches!(result, Err(StoreError::NotStored(_)))
    }

    fn is_open(result: &Result<Revision, StoreError>) -> bool {
        matches!(result, Err(StoreError::MaybeStored(_)))
    }

    #[tokio::test]
    async fn failed_and_not_stored_is_not_stored() {
        for fault in [InjectedFault::NotStored, InjectedFault::MaybeStoredNot] {
            let store = MemoryStore::new();
            store.fail_next(fault);
            let result = commit_settled(&store, &absent(), &put(b"one")).await;
            assert!(is_not_stored(&result), "{fault:?}: {result:?}");
            assert_eq!(commit_settled(&store, &absent(), &put(b"two")).await, Ok(Revision(1)));
        }
    }

    #[tokio::test]
    async fn failed_but_stored_is_stored_at_its_revision() {
        let store = MemoryStore::new();
        store.commit(&[], &[Write::Put("other".into(), b"x".to_vec())]).await.unwrap();
        store.fail_next(InjectedFault::MaybeStoredBut);
        assert_eq!(commit_settled(&store, &absent(), &put(b"one")).await, Ok(Revision(2)));
    }

    #[tokio::test]
    async fn a_replacement_is_settled_both_ways() {
        for (fault, stored) in
            [(InjectedFault::MaybeStoredNot, false), (InjectedFault::MaybeStoredBut, true)]
        {
            let store = MemoryStore::new();
            let first = store.commit(&[], &put(b"one")).await.unwrap();
            let at = [Precondition::At(PATH.into(), first)];
            store.fail_next(fault);
            let result = commit_settled(&store, &at, &put(b"two")).await;
            assert_eq!(result == Ok(Revision(2)), stored, "{result:?}");
            assert_eq!(is_not_stored(&result), !stored, "{result:?}");
        }
    }

    #[tokio::test]
    async fn definite_answers_pass_through() {
        let store = MemoryStore::new();
        store.commit(&[], &put(b"one")).await.unwrap();
        assert_eq!(
            commit_settled(&store, &absent(), &put(b"two")).await,
            Err(StoreError::Conflict)
        );
    }

    #[tokio::test]
    async fn where_looking_fails_it_stays_open() {
        for fault in [InjectedFault::MaybeStoredNot, InjectedFault::MaybeStoredBut] {
            let store = MemoryStore::new();
            store.fail_next(fault);
            store.fail_next(InjectedFault::Unavailable);
            let result = commit_settled(&store, &absent(), &put(b"one")).await;
            assert!(is_open(&result), "{fault:?}: {result:?}");
        }
    }

    /// Runs a commit whose answer is held back while `between` runs.
    async fn overtaken(fault: InjectedFault, between: Vec<Write>) -> Result<Revision, StoreError> {
        let store = MemoryStore::new();
        store.fail_next(fault);
        let mut held = store.hold_next_commit(Moment::After);
        let (preconditions, writes) = (absent(), put(b"one"));
        let ours = commit_settled(&store, &preconditions, &writes);
        let other = async {
            held.reached().await;
            store.commit(&[], &between).await.unwrap();
            held.release();
        };
        tokio::join!(ours, other).0
    }

    #[tokio::test]
    async fn another_writer_over_it_leaves_it_open() {
        for fault in [InjectedFault::MaybeStoredNot, InjectedFault::MaybeStoredBut] {
            let result = overtaken(fault, put(b"theirs")).await;
            assert!(is_open(&result), "{fault:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn made_and_deleted_since_is_never_called_not_stored() {
        let result =
            overtaken(InjectedFault::MaybeStoredBut, vec![Write::Delete(PATH.into())]).await;
        assert!(is_open(&result), "{result:?}");
    }

    #[tokio::test]
    async fn another_writer_elsewhere_does_not_matter() {
        let elsewhere = || vec![Write::Put("other".into(), b"x".to_vec())];
        assert_eq!(overtaken(InjectedFault::MaybeStoredBut, elsewhere()).await, Ok(Revision(1)));
        assert!(is_not_stored(&overtaken(InjectedFault::MaybeStoredNot, elsewhere()).await));
    }

    #[tokio::test]
    async fn an_empty_value_proves_nothing() {
        let result = overtaken(InjectedFault::MaybeStoredNot, put(b"")).await;
        assert!(is_open(&result), "{result:?}");
        let store = MemoryStore::new();
        store.fail_next(InjectedFault::MaybeStoredBut);
        let result = commit_settled(&store, &absent(), &put(b"")).await;
        assert!(is_open(&result), "{result:?}");
    }

    #[tokio::test]
    async fn a_deletion_not_made_is_not_stored_and_one_made_stays_open() {
        for (fault, made) in
            [(InjectedFault::MaybeStoredNot, false), (InjectedFault::MaybeStoredBut, true)]
        {
            let store = MemoryStore::new();
            let first = store.commit(&[], &put(b"one")).await.unwrap();
            store.fail_next(fault);
            let at = [Precondition::At(PATH.into(), first)];
            let result = commit_settled(&store, &at, &[Write::Delete(PATH.into())]).await;
            assert_eq!(is_open(&result), made, "{result:?}");
            assert_eq!(is_not_stored(&result), !made, "{result:?}");
        }
    }
}
