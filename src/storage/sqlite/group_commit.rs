//! Group commit: one transaction, and so one sync, for all commits that wait
//! together. Each is judged after those before it, as the law's one line of
//! commits wants.

use rusqlite::{OptionalExtension, Transaction, params};

use super::fault::{Fault, Result};
use super::queries::{check_past, current_revision, read_one, revision_from};
use super::schema::{as_revision, as_stored};
use crate::storage::store::{CHANGES_KEPT_REVISIONS, Precondition, Revision, StoreError, Write};

/// The answer to one commit of a group.
pub(super) type CommitResult = std::result::Result<Revision, StoreError>;

/// The effect of a group; the writer acts on it once the COMMIT has returned.
pub(super) struct Finished {
    pub(super) revision: Revision,
    /// Whether anything was deleted.
    pub(super) deleted: bool,
}

/// A transaction that is being filled with commits.
pub(super) struct GroupCommit<'a> {
    transaction: &'a Transaction<'a>,
    revision: Revision,
    began_at: Revision,
    deleted: bool,
}

const FIND: &str = "SELECT revision FROM record WHERE path = ?1";
const PUT: &str = "INSERT INTO record (path, revision, value) VALUES (?1, ?2, ?3)
    ON CONFLICT (path) DO UPDATE SET revision = excluded.revision, value = excluded.value";
const DELETE: &str = "DELETE FROM record WHERE path = ?1";
const LOG: &str = "INSERT INTO change (revision, path) VALUES (?1, ?2)";
const CUT_LOG: &str = "DELETE FROM change WHERE revision <= ?1";
const SET_REVISION: &str = "UPDATE store SET revision = ?1, log_floor = max(log_floor, ?2)";

impl<'a> GroupCommit<'a> {
    /// Begins on a store that has reached `seen`.
    pub(super) fn begin(transaction: &'a Transaction<'a>, seen: Revision) -> Result<Self> {
        let revision = revision_from(seen, transaction)?;
        Ok(Self { transaction, revision, began_at: revision, deleted: false })
    }

    /// Judges one commit and makes its writes. All of its preconditions come
    /// before its first write, so a `Conflict` leaves nothing to undo.
    ///
    /// Its writes are read back at once: an index that leads elsewhere than it did
    /// when it was written to lets none of them pass for made.
    pub(super) fn add(
        &mut self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<CommitResult> {
        for precondition in preconditions {
            if !precondition.holds(self.find(precondition.path())?) {
                return Ok(Err(StoreError::Conflict));
            }
        }
        let next = next_after(self.revision)?;
        for write in writes {
            if self.write(write, next)? {
                self.log(write.path(), next)?;
                self.revision = next;
            }
        }
        writes.iter().try_for_each(|write| self.read_back(write, next))?;
        Ok(Ok(self.revision))
    }

    fn find(&self, path: &str) -> Result<Option<Revision>> {
        let mut find = self.transaction.prepare_cached(FIND)?;
        let found = find.query_row([path], |row| as_revision(row, 0)).optional()?;
        found.iter().try_for_each(|found| check_past(self.revision, *found))?;
        Ok(found)
    }

    fn read_back(&self, write: &Write, revision: Revision) -> Result<()> {
        let found = read_one(self.transaction, write.path())?;
        let stands = match (write, found) {
            (Write::Put(_, value), Some(found)) => {
                found.revision == revision && found.value == *value
            }
            (Write::Delete(_), None) => true,
            _ => false,
        };
        if stands { Ok(()) } else { Err(Fault::altered("what was written is not what is read")) }
    }

    /// Whether it changed anything.
    fn write(&mut self, write: &Write, revision: Revision) -> rusqlite::Result<bool> {
        let changed = match write {
            Write::Put(path, value) => {
                let put = params![path, as_stored(revision), value];
                self.transaction.prepare_cached(PUT)?.execute(put)?
            }
            Write::Delete(path) => self.transaction.prepare_cached(DELETE)?.execute([path])?,
        };
        self.deleted |= changed > 0 && matches!(write, Write::Delete(_));
        Ok(changed > 0)
    }

    fn log(&self, path: &str, revision: Revision) -> rusqlite::Result<()> {
        let row = params![as_stored(revision), path];
        self.transaction.prepare_cached(LOG)?.execute(row).map(drop)
    }

    /// Writes the row back and cuts the log's end off.
    pub(super) fn finish(self) -> Result<Finished> {
        if self.revision > self.began_at {
            let floor = Revision(self.revision.0.saturating_sub(CHANGES_KEPT_REVISIONS));
            let (revision, floor) = (as_stored(self.revision), as_stored(floor));
            self.transaction.prepare_cached(CUT_LOG)?.execute([floor])?;
            self.transaction.prepare_cached(SET_REVISION)?.execute([revision, floor])?;
        }
        if current_revision(self.transaction)? != self.revision {
            return Err(Fault::altered("its revision does not stay as it is set"));
        }
        Ok(Finished { revision: self.revision, deleted: self.deleted })
    }
}

/// The revision after this one. None comes near the end of SQLite's integers, but
/// one that somebody put there: revisions from there on would all be the same.
fn next_after(revision: Revision) -> Result<Revision> {
    match revision.0.checked_add(1).map(Revision) {
        Some(next) if i64::try_from(next.0).is_ok() => Ok(next),
        _ => Err(Fault::altered("its revisions have come to an end")),
    }
}
