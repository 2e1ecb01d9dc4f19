//! Group commit: one transaction, and so one sync, for all commits that wait
//! together. Each is judged after those before it, as the law's one line of
//! commits wants.

use rusqlite::{OptionalExtension, Transaction, params};

use super::queries::current_revision;
use super::schema::{as_revision, as_stored};
use crate::storage::store::{CHANGES_KEPT_REVISIONS, Precondition, Revision, StoreError, Write};

/// The answer to one commit of a group.
pub(super) type CommitResult = Result<Revision, StoreError>;

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
    pub(super) fn begin(transaction: &'a Transaction<'a>) -> rusqlite::Result<Self> {
        let revision = current_revision(transaction)?;
        Ok(Self { transaction, revision, began_at: revision, deleted: false })
    }

    /// Judges one commit and makes its writes. All of its preconditions come
    /// before its first write, so a `Conflict` leaves nothing to undo.
    pub(super) fn add(
        &mut self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> rusqlite::Result<CommitResult> {
        for precondition in preconditions {
            if !precondition.holds(self.find(precondition.path())?) {
                return Ok(Err(StoreError::Conflict));
            }
        }
        let next = Revision(self.revision.0.saturating_add(1));
        for write in writes {
            if self.write(write, next)? {
                self.log(write.path(), next)?;
                self.revision = next;
            }
        }
        Ok(Ok(self.revision))
    }

    fn find(&self, path: &str) -> rusqlite::Result<Option<Revision>> {
        let mut find = self.transaction.prepare_cached(FIND)?;
        find.query_row([path], |row| as_revision(row, 0)).optional()
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
    pub(super) fn finish(self) -> rusqlite::Result<Finished> {
        if self.revision > self.began_at {
            let floor = Revision(self.revision.0.saturating_sub(CHANGES_KEPT_REVISIONS));
            let (revision, floor) = (as_stored(self.revision), as_stored(floor));
            self.transaction.prepare_cached(CUT_LOG)?.execute([floor])?;
            self.transaction.prepare_cached(SET_REVISION)?.execute([revision, floor])?;
        }
        Ok(Finished { revision: self.revision, deleted: self.deleted })
    }
}
