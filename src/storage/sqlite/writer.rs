//! The one that writes: a thread with the only writing connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::directory::{Directory, OpenStoreError};
use super::schema::{self, as_revision, as_stored};
use super::{Standing, current_revision, unavailable};
use crate::storage::{CHANGES_KEPT_REVISIONS, Precondition, Revision, StoreError, Write};

/// Most commits in one transaction: a bound on how long the first waits for
/// the last, and on what one rollback takes with it.
const BATCH_JOBS_MAX: usize = 64;

pub(super) type Answer = Result<Revision, StoreError>;

pub(super) struct CommitJob {
    pub(super) preconditions: Vec<Precondition>,
    pub(super) writes: Vec<Write>,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) enum Job {
    Commit(CommitJob),
    /// Find out what a failed COMMIT left, so that reads may go on.
    Settle(oneshot::Sender<Result<(), StoreError>>),
}

/// Jobs taken from the queue together.
#[derive(Default)]
struct Batch {
    commits: Vec<CommitJob>,
    settles: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl Batch {
    /// The next job, and whatever waits behind it.
    fn take(queue: &mut mpsc::Receiver<Job>) -> Option<Self> {
        let mut batch = Self::default();
        batch.push(queue.blocking_recv()?);
        while batch.commits.len() < BATCH_JOBS_MAX
            && let Ok(job) = queue.try_recv()
        {
            batch.push(job);
        }
        Some(batch)
    }

    fn push(&mut self, job: Job) {
        match job {
            Job::Commit(commit) => self.commits.push(commit),
            Job::Settle(answer) => self.settles.push(answer),
        }
    }
}

pub(super) struct Writer {
    directory: Arc<Directory>,
    standing: Arc<Standing>,
    /// `None` after a failure: a connection whose transaction went wrong is
    /// closed, which rolls back, and a new one is opened when next needed.
    connection: Option<Connection>,
    /// Something was deleted and may still lie in the WAL.
    erasure_owed: bool,
}

impl Writer {
    pub(super) fn new(
        directory: Arc<Directory>,
        mut connection: Connection,
        standing: Arc<Standing>,
    ) -> Result<Self, OpenStoreError> {
        let path = directory.database();
        let seen = connection.transaction().and_then(|snapshot| current_revision(&snapshot));
        let seen = seen.map_err(|source| OpenStoreError::Database { path, source })?;
        standing.seen.store(seen.0, Ordering::SeqCst);
        // A crash may have left a deletion's last traces in the WAL.
        Ok(Self { directory, standing, connection: Some(connection), erasure_owed: true })
    }

    /// Works until the store is dropped, and then to the end of the queue.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        self.erase_if_owed();
        while let Some(batch) = Batch::take(&mut queue) {
            self.work(batch);
        }
    }

    fn work(&mut self, batch: Batch) {
        if !batch.settles.is_empty() {
            let settled = self.settle_doubt().map_err(unavailable);
            for answer in batch.settles {
                let _ = answer.send(settled.clone());
            }
        }
        if batch.commits.is_empty() {
            return;
        }
        let answers = self.commit_all(&batch.commits);
        for (job, answer) in batch.commits.into_iter().zip(answers) {
            // An error means that nobody waits for the answer any more.
            let _ = job.answer.send(answer);
        }
    }

    /// One transaction for all. Even a `Conflict` is told only after COMMIT:
    /// it may be with a commit of this batch.
    fn commit_all(&mut self, jobs: &[CommitJob]) -> Vec<Answer> {
        match self.try_commit_all(jobs) {
            Ok(answers) => answers,
            Err(failure) => {
                self.connection = None;
                tracing::error!(%failure, "a commit to the store failed");
                vec![Err(failure); jobs.len()]
            }
        }
    }

    fn try_commit_all(&mut self, jobs: &[CommitJob]) -> Result<Vec<Answer>, StoreError> {
        self.settle_doubt().map_err(not_stored)?;
        let connection = connected(&mut self.connection, &self.directory).map_err(not_stored)?;
        let (ledger, answers) = {
            let transaction = connection
                .transaction_with_behavior(TransactionBehavior::Immediate)
                .map_err(not_stored)?;
            let mut ledger = Ledger::open(&transaction).map_err(not_stored)?;
            let answers = jobs.iter().map(|job| ledger.enter(job)).collect::<rusqlite::Result<_>>();
            let answers = answers.map_err(not_stored)?;
            let ledger = ledger.close().map_err(not_stored)?;
            transaction.commit().map_err(|error| self.doubt(&error))?;
            (ledger, answers)
        };
        self.standing.seen.store(ledger.revision.0, Ordering::SeqCst);
        self.erasure_owed |= ledger.deleted;
        self.erase_if_owed();
        Ok(answers)
    }

    /// A COMMIT failed. Its frames may be whole in the WAL although no sync
    /// vouches for them: readers here do not see them, yet a restart could. So
    /// nobody may read until that is settled, or a read would be taken back.
    fn doubt(&self, error: &rusqlite::Error) -> StoreError {
        self.standing.in_doubt.store(true, Ordering::SeqCst);
        StoreError::MaybeStored(error.to_string().into())
    }

    /// Makes what a failed COMMIT left definite: a small COMMIT that succeeds
    /// lies over its frames in the WAL, or after them if they count.
    fn settle_doubt(&mut self) -> rusqlite::Result<()> {
        if !self.standing.in_doubt.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.connection = None;
        let connection = connected(&mut self.connection, &self.directory)?;
        let settling = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        settling.execute("UPDATE store SET doubts = doubts + 1", [])?;
        let revision = current_revision(&settling)?;
        settling.commit()?;
        self.standing.seen.store(revision.0, Ordering::SeqCst);
        self.standing.in_doubt.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Moves the WAL into the file, where `secure_delete` has overwritten what
    /// was deleted, and cuts it. What cannot be done now (a foreign reader is
    /// in the way) is tried again after the next commit: the deletion itself
    /// stands.
    fn erase_if_owed(&mut self) {
        let Some(connection) = self.connection.as_ref().filter(|_| self.erasure_owed) else {
            return;
        };
        let busy =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        self.erasure_owed = !matches!(busy, Ok(0));
        if self.erasure_owed {
            tracing::warn!(
                ?busy,
                "what was deleted still lies in the store's log; trying again later"
            );
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn not_stored(error: rusqlite::Error) -> StoreError {
    StoreError::NotStored(error.to_string().into())
}

fn connected<'a>(
    connection: &'a mut Option<Connection>,
    directory: &Directory,
) -> rusqlite::Result<&'a mut Connection> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(schema::connect_writer(directory)?)),
    }
}

/// What is left to do once a batch is durable.
struct Closed {
    revision: Revision,
    deleted: bool,
}

/// The store's one row while a batch is entered.
struct Ledger<'a> {
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
const CLOSE: &str = "UPDATE store SET revision = ?1, log_floor = max(log_floor, ?2)";

impl<'a> Ledger<'a> {
    fn open(transaction: &'a Transaction<'a>) -> rusqlite::Result<Self> {
        let revision = current_revision(transaction)?;
        Ok(Self { transaction, revision, began_at: revision, deleted: false })
    }

    /// Judges one commit and makes its writes. All of its preconditions come
    /// before its first write, so a `Conflict` leaves nothing to undo.
    fn enter(&mut self, job: &CommitJob) -> rusqlite::Result<Answer> {
        for precondition in &job.preconditions {
            if !precondition.holds(self.find(precondition.path())?) {
                return Ok(Err(StoreError::Conflict));
            }
        }
        let next = Revision(self.revision.0.saturating_add(1));
        for write in &job.writes {
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
    fn close(self) -> rusqlite::Result<Closed> {
        if self.revision > self.began_at {
            let floor = Revision(self.revision.0.saturating_sub(CHANGES_KEPT_REVISIONS));
            let (revision, floor) = (as_stored(self.revision), as_stored(floor));
            self.transaction.prepare_cached(CUT_LOG)?.execute([floor])?;
            self.transaction.prepare_cached(CLOSE)?.execute([revision, floor])?;
        }
        Ok(Closed { revision: self.revision, deleted: self.deleted })
    }
}
