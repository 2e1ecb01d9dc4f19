//! The [`Store`] trait with its law, and the types that it is written in.

use std::borrow::Cow;
use std::fmt;

use async_trait::async_trait;

use crate::error::{Error, Rule};

/// Most preconditions and writes, taken together, in one commit.
pub const COMMIT_OPERATIONS_MAX: usize = 64;
/// Longest value.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Longest path.
pub const PATH_BYTES_MAX: usize = 512;
/// Most paths in one read.
pub const READ_PATHS_MAX: usize = 128;
/// Most entries in one listing. A caller that asks for more gets this many.
pub const LISTING_ENTRIES_MAX: usize = 1000;
/// How many revisions back [`Store::changes_since`] can tell, at least.
pub const CHANGES_KEPT_REVISIONS: u64 = 4096;

/// A small key-value store with one global revision.
///
/// # The law
///
/// Every backend obeys it to the letter; `tests/it/storage_contract.rs` holds
/// one test for each clause and runs against every backend.
///
/// 1. **Serialisable, commit by commit.** All commits form one line. A
///    commit's preconditions are judged, and its writes made, at one point of
///    that line, with nothing in between: all of its writes, or none.
/// 2. **One revision.** A commit that changes something makes the next
///    revision, greater than every one before, and returns it; each value that
///    it put bears it. A commit that changes nothing (no writes, or only
///    deletions of what is absent) is still judged, and returns the revision
///    that it was judged at. Revisions are never used twice.
/// 3. **Read after write.** What a returned commit wrote is seen by every read
///    that begins afterwards, in this process or another, before a restart or
///    after. A read sees one revision, never half a commit, and later reads
///    never see an earlier revision.
/// 4. **Durable when it returns.** A commit that returned stands after the
///    process is killed and after the power is cut.
/// 5. **Errors mean what they say.** `Conflict` and `NotStored`: nothing was
///    changed and nothing will be. `MaybeStored`: all of it or nothing; the
///    first read that succeeds afterwards tells which, and that stays so.
///    `Unavailable`: nothing is known. `Damaged`: the store's own files are
///    broken, or somebody altered them; nothing was changed, and [`Store::probe`]
///    fails from then on. No error leaves half a commit behind.
/// 6. **A dropped future is a `MaybeStored`.** A caller that stops waiting for
///    a commit has not stopped the commit.
/// 7. **Absent is a value.** Reading, counting or deleting an absent path is no
///    error. After a deletion a path is as absent as one never written.
/// 8. **Order.** Listings are in bytewise order of paths. A caller that goes
///    from listing to listing sees each path that stands meanwhile exactly once,
///    whatever else is written.
/// 9. **Concurrent.** Every method may be called at any time from any number
///    of tasks. A read never waits for a commit to reach the disk.
/// 10. **Sealed values.** A store neither reads nor checks values. Callers
///     seal them before, with a nonce drawn at random, so that no two puts are
///     of the same bytes (empty values, where only presence counts, aside).
///     A deletion erases the value from the store's own files as well as the
///     file system lets it, soon after its answer.
/// 11. **Limits.** A commit holds at most [`COMMIT_OPERATIONS_MAX`]
///     preconditions and writes in all and writes no path twice; values are at
///     most [`VALUE_BYTES_MAX`]; paths are 1 to [`PATH_BYTES_MAX`] bytes of
///     UTF-8 without NUL. A commit beyond a limit is `NotStored`, a read
///     beyond one (or of more than [`READ_PATHS_MAX`] paths) `Unavailable`:
///     both are faults of the program, never of a caller outside. `limits.rs`
///     checks them for every backend.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The values at these paths, all at one revision, in the order asked.
    async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError>;

    /// At most `limit` entries whose paths begin with `prefix` and come
    /// strictly after `after`, in bytewise order. The empty prefix is all.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StoreError>;

    /// How many paths begin with `prefix`.
    async fn count(&self, prefix: &str) -> Result<u64, StoreError>;

    /// Makes all of these writes if all of these preconditions hold.
    async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError>;

    /// The same, for a commit that takes a permission away from somebody: a backend
    /// that keeps room for such on a full disk lets it use that.
    async fn commit_urgently(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        self.commit(preconditions, writes).await
    }

    /// Every path changed after `revision`, up to now. `Compacted` where the
    /// log was cut above it, or it is not a revision of this store's yet.
    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError>;

    /// Whether the store answers: one small real read.
    async fn probe(&self) -> Result<(), StoreError>;

    /// A revision that the store has reached, without asking it: no commit
    /// that begins now can have one as low. Zero is always true.
    fn revision_seen(&self) -> Revision;
}

/// A point in the one line of history that a store has.
///
/// An empty store is at revision 0. Each commit that changes something makes
/// the next revision; nothing else does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value and the revision of the commit that put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// The bytes, as they were put.
    pub value: Vec<u8>,
    /// The commit that put them.
    pub revision: Revision,
}

/// The values at several paths, all at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision when it was read.
    pub revision: Revision,
    /// The values, in the order of the paths asked for; `None` is absent.
    pub values: Vec<Option<Versioned>>,
}

/// Paths under a prefix with their values, all at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The store's revision when it was read.
    pub revision: Revision,
    /// Paths and values, in bytewise order of paths.
    pub entries: Vec<(String, Versioned)>,
    /// Whether there is more after the last entry.
    pub more: bool,
}

/// The paths that changed between two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The store's revision when it was asked: where to go on from next time.
    pub now: Revision,
    /// Each path that was put or deleted, once, in bytewise order.
    pub paths: Vec<String>,
}

/// A condition of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing is at this path: never was, or was deleted.
    Absent(String),
    /// The value at this path was put there by the commit of this revision. A
    /// value that was deleted and put again has another revision, even where
    /// its bytes are the same.
    At(String, Revision),
}

impl Precondition {
    /// The path that it is about.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Absent(path) | Self::At(path, _) => path,
        }
    }

    /// Whether it holds where `found` is the revision of the value at the path.
    pub(crate) fn holds(&self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent(_) => found.is_none(),
            Self::At(_, revision) => found == Some(*revision),
        }
    }
}

/// One change of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Puts a value, over the one that is there.
    Put(String, Vec<u8>),
    /// Deletes a value. Where none is, nothing is changed.
    Delete(String),
}

impl Write {
    /// The path that it changes.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Put(path, _) | Self::Delete(path) => path,
        }
    }
}

/// Why a store did not do what it was asked. The texts are for the log alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold. Nothing was changed.
    #[error("a precondition of the commit does not hold")]
    Conflict,
    /// The commit failed, nothing was changed and nothing will be.
    #[error("not stored: {0}")]
    NotStored(Cow<'static, str>),
    /// The commit failed and may have been made all the same, whole. A caller
    /// that must know reads again: see [`commit_settled`](super::commit_settled).
    #[error("perhaps stored, perhaps not: {0}")]
    MaybeStored(Cow<'static, str>),
    /// A read failed. It says nothing about the stored values.
    #[error("the store cannot be read: {0}")]
    Unavailable(Cow<'static, str>),
    /// The backend's own files are not as it left them: a disk has failed, or
    /// somebody has altered them. Nothing was changed.
    #[error("the store is damaged or was altered: {0}")]
    Damaged(Cow<'static, str>),
    /// The log of changes does not reach back that far, or the revision is
    /// none of this store's: forget everything and read again.
    #[error("the log of changes does not reach that far")]
    Compacted,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let base = Self::from(Rule::StoreUnreachable).logging(error.to_string());
        match error {
            StoreError::MaybeStored(_) => base.saying(
                "The store did not answer in time: the change may have happened. Look before you try it again.",
            ),
            StoreError::Damaged(_) => Self::internal(error.to_string()),
            _ => base,
        }
    }
}
