//! The writer: a thread with the only writing connection.

use std::sync::Arc;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::directory::Directory;
use super::group_commit::{CommitResult, GroupCommit};
use super::queries::{current_revision, unavailable};
use super::schema;
use super::status::Status;
use crate::storage::open::OpenStoreError;
use crate::storage::store::{Precondition, StoreError, Write};

/// Most commits in one transaction: a bound on how long the first waits for
/// the last, and on how much one rollback undoes.
const GROUP_COMMITS_MAX: usize = 64;

pub(super) struct CommitJob {
    pub(super) preconditions: Vec<Precondition>,
    pub(super) writes: Vec<Write>,
    pub(super) answer: oneshot::Sender<CommitResult>,
}

pub(super) enum Job {
    Commit(CommitJob),
    /// Settle whether a failed COMMIT stands, so that reads may go on.
    Settle(oneshot::Sender<Result<(), StoreError>>),
}

/// Jobs taken from the queue together.
#[derive(Default)]
struct JobGroup {
    commits: Vec<CommitJob>,
    settles: Vec<oneshot::Sender<Result<(), StoreError>>>,
}

impl JobGroup {
    /// The next job, and the jobs that wait behind it.
    fn take(queue: &mut mpsc::Receiver<Job>) -> Option<Self> {
        let mut group = Self::default();
        group.push(queue.blocking_recv()?);
        while group.commits.len() < GROUP_COMMITS_MAX
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        Some(group)
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
    status: Arc<Status>,
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
        status: Arc<Status>,
    ) -> Result<Self, OpenStoreError> {
        let seen = connection.transaction().and_then(|snapshot| current_revision(&snapshot));
        let seen = seen.map_err(|source| schema::not_opened(&directory, source))?;
        status.set_revision_seen(seen);
        // A crash may have left a deletion's last traces in the WAL.
        Ok(Self { directory, status, connection: Some(connection), erasure_owed: true })
    }

    /// Works until the store is dropped, and then to the end of the queue.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        self.erase_if_owed();
        while let Some(group) = JobGroup::take(&mut queue) {
            self.work(group);
        }
    }

    fn work(&mut self, group: JobGroup) {
        if !group.settles.is_empty() {
            let settled = self.settle_doubt().map_err(unavailable);
            for answer in group.settles {
                let _ = answer.send(settled.clone());
            }
        }
        if group.commits.is_empty() {
            return;
        }
        let answers = self.commit_all(&group.commits);
        for (job, answer) in group.commits.into_iter().zip(answers) {
            // An error means that the caller no longer waits for the answer.
            let _ = job.answer.send(answer);
        }
    }

    /// One transaction for all. Even a `Conflict` is answered only after COMMIT:
    /// it may be with a commit of this group.
    fn commit_all(&mut self, jobs: &[CommitJob]) -> Vec<CommitResult> {
        match self.try_commit_all(jobs) {
            Ok(answers) => answers,
            Err(failure) => {
                self.connection = None;
                tracing::error!(%failure, "a commit to the store failed");
                vec![Err(failure); jobs.len()]
            }
        }
    }

    fn try_commit_all(&mut self, jobs: &[CommitJob]) -> Result<Vec<CommitResult>, StoreError> {
        self.settle_doubt().map_err(not_stored)?;
        let connection = connected(&mut self.connection, &self.directory).map_err(not_stored)?;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(not_stored)?;
        let mut group = GroupCommit::begin(&transaction).map_err(not_stored)?;
        let results = jobs.iter().map(|job| group.add(&job.preconditions, &job.writes));
        let results = results.collect::<rusqlite::Result<_>>().map_err(not_stored)?;
        let finished = group.finish().map_err(not_stored)?;
        transaction.commit().map_err(|error| self.doubt(&error))?;
        self.status.set_revision_seen(finished.revision);
        self.erasure_owed |= finished.deleted;
        self.erase_if_owed();
        Ok(results)
    }

    /// A COMMIT failed. Its frames may be whole in the WAL although no sync
    /// vouches for them: readers here do not see them, yet a restart could. So no
    /// read may answer until that is settled, or a restart would contradict it.
    fn doubt(&self, error: &rusqlite::Error) -> StoreError {
        self.status.set_in_doubt(true);
        StoreError::MaybeStored(error.to_string().into())
    }

    /// Settles whether a failed COMMIT stands: the frames of a small COMMIT that
    /// succeeds lie over its frames in the WAL, or after them if they count.
    fn settle_doubt(&mut self) -> rusqlite::Result<()> {
        if !self.status.is_in_doubt() {
            return Ok(());
        }
        self.connection = None;
        let connection = connected(&mut self.connection, &self.directory)?;
        let settling = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        settling.execute("UPDATE store SET doubts = doubts + 1", [])?;
        let revision = current_revision(&settling)?;
        settling.commit()?;
        self.status.set_revision_seen(revision);
        self.status.set_in_doubt(false);
        Ok(())
    }

    /// Moves the WAL into the file, where `secure_delete` has overwritten the
    /// deleted values, and cuts it. If a foreign reader is in the way, it is tried
    /// again after the next commit: the deletion itself stands.
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
                "deleted values are still in the store's write-ahead log; trying again later"
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
