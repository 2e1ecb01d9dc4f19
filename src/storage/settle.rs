//! A `MaybeStored` turned into an answer, where a re-read can.

use super::{Precondition, Revision, Store, StoreError, Versioned, Write};

/// How often an unreadable store is asked again.
const READ_ATTEMPTS: usize = 3;

/// Commits, and where the store cannot say whether it did, looks.
///
/// What tells the two outcomes apart (the law, clauses 5 and 10): no two puts
/// are of the same bytes, so whoever finds the bytes of this commit's put finds
/// this commit; and a commit is whole, so one of its writes stands for all.
///
/// - One of its puts is there: stored, at the revision that it bears.
/// - None is, and every precondition still holds: `NotStored`. (Had it been
///   made and undone since, the paths would bear later revisions; only a
///   commit whose preconditions its own success leaves true needs more, see
///   below.)
/// - Neither: another writer came in between, perhaps over this commit. That
///   stays `MaybeStored`, for nobody can know.
///
/// A re-read that fails leaves it `MaybeStored` too, with both reasons.
pub async fn commit_settled(
    store: &dyn Store,
    preconditions: &[Precondition],
    writes: &[Write],
) -> Result<Revision, StoreError> {
    match store.commit(preconditions, writes).await {
        Err(StoreError::MaybeStored(why)) => settle(store, preconditions, writes, &why).await,
        definite => definite,
    }
}
