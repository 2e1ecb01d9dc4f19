//! The writer: a thread with the only writing connection.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Transaction, TransactionBehavior};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::error::Elapsed;

use super::checkpoint::Checkpoints;
use super::connection::CheckedConnection;
use super::directory::Directory;
use super::fault::Fault;
use super::group_commit::{CommitResult, GroupCommit};
use super::opening;
use super::queries::{current_revision, revision_from};
use super::readers::Readers;
use super::status::Status;
use crate::reserve::Reserve;
use crate::storage::open::OpenStoreError;
use crate::storage::store::{Precondition, StoreError, Write};

/// Most commits in one transaction: a bound on how long the first waits for
/// the last, and on how much one rollback undoes.
const GROUP_COMMITS_MAX: usize = 64;

/// How long our own readers are waited for, where they are in the way of an erasure:
/// a read takes less, but for the check of the whole file.
const PAUSE_PATIENCE: Duration = Duration::from_millis(100);

pub(super) struct CommitJob {
    pub(super) preconditions: Vec<Precondition>,
    pub(super) writes: Vec<Write>,
    /// Whether it may use the room that is kept on a full disk.
    pub(super) urgent: bool,
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
    /// A job, and the jobs that wait behind it.
    fn take(first: Job, queue: &mut mpsc::Receiver<Job>) -> Self {
        let mut group = Self::default();
        group.push(first);
        while group.commits.len() < GROUP_COMMITS_MAX
            && let Ok(job) = queue.try_recv()
        {
            group.push(job);
        }
        group
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
    readers: Arc<Readers>,
    status: Arc<Status>,
    /// `None` after a failure: a connection whose transaction went wrong is
    /// closed, which rolls back, and a new one is opened when next needed.
    connection: Option<CheckedConnection>,
    checkpoints: Checkpoints,
    reserve: Reserve,
    /// For waiting with a limit alone.
    waiting: Runtime,
}

impl Writer {
    pub(super) fn new(
        directory: Arc<Directory>,
        readers: Arc<Readers>,
        mut connection: CheckedConnection,
        reserve: Reserve,
        status: Arc<Status>,
    ) -> Result<Self, OpenStoreError> {
        let seen = connection
            .begin(TransactionBehavior::Deferred)
            .and_then(|snapshot| current_revision(&snapshot));
        status.set_revision_seen(seen.map_err(|fault| opening::not_opened(&directory, fault))?);
        let checkpoints = Checkpoints::new(Arc::clone(&directory))
            .map_err(|source| opening::not_opened(&directory, source.into()))?;
        let waiting = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|source| directory.failed("start the writing thread of", source))?;
        let connection = Some(connection);
        Ok(Self { directory, readers, status, connection, checkpoints, reserve, waiting })
    }

    /// Works until the store is dropped, and then to the end of the queue.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        loop {
            // Every commit before is answered by now.
            self.checkpoint();
            match self.next(&mut queue) {
                Ok(Some(job)) => self.work(JobGroup::take(job, &mut queue)),
                Ok(None) => return,
                Err(_) => {}
            }
        }
    }

    /// Our own readers stand aside for an erasure that they were in the way of.
    fn checkpoint(&mut self) {
        let paused = self
            .checkpoints
            .needs_pause()
            .then(|| self.waiting.block_on(self.readers.pause(PAUSE_PATIENCE)));
        self.checkpoints.run();
        drop(paused);
    }

    /// The next job, or none for ever; or it is time for a checkpoint.
    fn next(&self, queue: &mut mpsc::Receiver<Job>) -> Result<Option<Job>, Elapsed> {
        let idle = self.checkpoints.idle_for().unwrap_or(Duration::MAX);
        self.waiting.block_on(async { tokio::time::timeout(idle, queue.recv()).await })
    }

    fn work(&mut self, group: JobGroup) {
        if !group.settles.is_empty() {
            let settled = self.settle_with_reserve().map_err(|fault| {
                self.status.note(&fault);
                fault.unread()
            });
            for answer in group.settles {
                let _ = answer.send(settled.clone());
            }
        }
        let mut jobs = group.commits;
        if self.reserve.is_in_use() {
            let full = StoreError::NotStored("the disk is full: what room is left is kept".into());
            jobs = answer_ordinary(jobs, &full);
        }
        while !jobs.is_empty() {
            jobs = self.commit_all(jobs);
        }
    }

    /// One transaction for all. Even a `Conflict` is answered only after COMMIT:
    /// it may be with a commit of this group. Gives back those that are to be tried
    /// once more: the urgent ones, where there was no room.
    fn commit_all(&mut self, jobs: Vec<CommitJob>) -> Vec<CommitJob> {
        let failure = match self.try_commit_all(&jobs) {
            Ok(answers) => {
                answer_each(jobs, answers);
                return Vec::new();
            }
            Err(failure) => failure,
        };
        self.connection = None;
        let out_of_room = failure.fault.is_out_of_room() && !failure.in_doubt;
        let told = self.told(failure);
        tracing::error!(failure = %told, "a commit to the store failed");
        let had = jobs.len();
        let urgent = if out_of_room { answer_ordinary(jobs, &told) } else { jobs };
        if out_of_room && !urgent.is_empty() && (urgent.len() < had || self.reserve.give_up()) {
            self.checkpoints.make_room();
            return urgent;
        }
        answer_all(urgent, &told);
        Vec::new()
    }

    fn try_commit_all(&mut self, jobs: &[CommitJob]) -> Result<Vec<CommitResult>, FailedGroup> {
        self.settle_with_reserve()?;
        let connection = connected(&mut self.connection, &self.directory)?;
        let transaction = connection.begin(TransactionBehavior::Immediate)?;
        let mut group = GroupCommit::begin(&transaction, self.status.revision_seen())?;
        let results = jobs.iter().map(|job| group.add(&job.preconditions, &job.writes));
        let results = results.collect::<Result<_, Fault>>()?;
        let finished = group.finish()?;
        commit(transaction, &self.status).map_err(FailedGroup::of_commit)?;
        self.status.set_revision_seen(finished.revision);
        if finished.deleted {
            self.checkpoints.owe_erasure();
        }
        Ok(results)
    }

    /// The answer to callers after a failure.
    ///
    /// The frames of a COMMIT that failed may be whole in the WAL although no sync
    /// vouches for them: readers here do not see them, yet a restart could. So no
    /// read may answer until that is settled, or a restart would contradict it.
    fn told(&self, failure: FailedGroup) -> StoreError {
        self.status.note(&failure.fault);
        if !failure.in_doubt {
            return failure.fault.not_stored();
        }
        self.status.set_in_doubt(true);
        StoreError::MaybeStored(failure.fault.to_string().into())
    }

    /// Nobody reads while there is a doubt: that is worth the room that is kept.
    fn settle_with_reserve(&mut self) -> Result<(), Fault> {
        match self.settle_doubt() {
            Err(fault) if fault.may_be_out_of_room() && self.reserve.give_up() => {
                self.settle_doubt()
            }
            settled => settled,
        }
    }

    /// Settles whether a failed COMMIT stands: the frames of a small COMMIT that
    /// succeeds lie over its frames in the WAL, or after them if they count.
    fn settle_doubt(&mut self) -> Result<(), Fault> {
        if !self.status.is_in_doubt() {
            return Ok(());
        }
        self.connection = None;
        let connection = connected(&mut self.connection, &self.directory)?;
        let settling = connection.begin(TransactionBehavior::Immediate)?;
        let revision = revision_from(self.status.revision_seen(), &settling)?;
        settling.execute("UPDATE store SET doubts = doubts + 1", [])?;
        #[cfg(test)]
        self.status.failing.settle()?;
        settling.commit()?;
        self.status.set_revision_seen(revision);
        self.status.set_in_doubt(false);
        Ok(())
    }
}

// An answer that cannot be sent: its caller no longer waits for it.

fn answer_each(jobs: Vec<CommitJob>, answers: Vec<CommitResult>) {
    for (job, answer) in jobs.into_iter().zip(answers) {
        let _ = job.answer.send(answer);
    }
}

fn answer_all(jobs: Vec<CommitJob>, failure: &StoreError) {
    for job in jobs {
        let _ = job.answer.send(Err(failure.clone()));
    }
}

/// Answers all that may not use the room that is kept, and gives back the others.
fn answer_ordinary(jobs: Vec<CommitJob>, failure: &StoreError) -> Vec<CommitJob> {
    let (urgent, ordinary) = jobs.into_iter().partition(|job| job.urgent);
    answer_all(ordinary, failure);
    urgent
}

/// A group of commits that failed.
struct FailedGroup {
    fault: Fault,
    /// A restart may find it stored.
    in_doubt: bool,
}

impl FailedGroup {
    fn of_commit(fault: Fault) -> Self {
        Self { in_doubt: !fault.wrote_no_commit(), fault }
    }
}

impl From<Fault> for FailedGroup {
    fn from(fault: Fault) -> Self {
        Self { fault, in_doubt: false }
    }
}

#[cfg_attr(not(test), expect(unused_variables, reason = "tests make it fail"))]
fn commit(transaction: Transaction<'_>, status: &Status) -> Result<(), Fault> {
    #[cfg(test)]
    status.failing.commit()?;
    Ok(transaction.commit()?)
}

fn connected<'a>(
    connection: &'a mut Option<CheckedConnection>,
    directory: &Directory,
) -> Result<&'a mut CheckedConnection, Fault> {
    match connection {
        Some(connection) => Ok(connection),
        None => Ok(connection.insert(CheckedConnection::writer(directory)?)),
    }
}
