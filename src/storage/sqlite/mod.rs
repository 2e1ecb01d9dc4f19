//! The law on one file: SQLite, the embedded default.
//!
//! ```text
//!   commit ──▶ queue ──▶ writer thread ──▶ group commit: one transaction for all
//!                        (writer.rs)       that wait, answered after its COMMIT
//!   read, list, count ──▶ one of a few reading connections, off the runtime
//!                         (readers.rs, queries.rs)
//! ```
//!
//! - `keyferry.db` is in WAL mode with `synchronous=FULL`: a COMMIT that
//!   returned has been synced, and readers never wait for one.
//! - Commits that wait together share a transaction and its sync. Each is
//!   judged after those before it, as the law's one line of commits wants.
//! - One process: an exclusive lock on `keyferry.lock` goes when its holder
//!   does, however that ends.
//! - The log moves into the file after answers, and waits for nobody
//!   (checkpoint.rs): another process may read the database, as backups do.
//! - A full disk stops commits, not reads: the log and its index stay open, and a
//!   COMMIT that found no room is no doubt. Room is kept for urgent commits
//!   (crate::reserve).
//! - The file is believed as data alone: its schema is compared with ours before a
//!   transaction begins on it (connection.rs), and what a commit wrote is read back
//!   in its own transaction (group_commit.rs).
//! - Opening reads the schema and the revision; nothing else is loaded.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::Transaction;
use tokio::sync::{mpsc, oneshot};

use super::limits::{check_commit, check_listing, check_read};
use super::open::OpenStoreError;
use super::store::{
    Changes, LISTING_ENTRIES_MAX, Listing, Precondition, Revision, Snapshot, Store, StoreError,
    Write,
};

mod at_rest;
mod checkpoint;
mod connection;
mod directory;
mod fault;
mod group_commit;
mod opening;
mod queries;
mod readers;
mod schema;
mod status;
mod writer;

pub use at_rest::StoreAtRest;
use directory::Directory;
use fault::Fault;
use queries::ListQuery;
use readers::Readers;
use status::Status;
use writer::{CommitJob, Job, Writer};

use crate::reserve::Reserve;

/// The room that is kept: some thousand changes, each in the log and in the database.
const RESERVE_BYTES: u64 = 16 << 20;

/// Most commits in the queue; more wait to get in.
const QUEUE_JOBS_MAX: usize = 256;

/// A store in one SQLite file.
pub struct SqliteStore {
    /// Taken, and so closed, on drop.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    status: Arc<Status>,
}

impl SqliteStore {
    /// Opens the store in this directory, making both where they are absent,
    /// and holds it against every other process until dropped.
    ///
    /// Blocks on the disk; called once, at start.
    pub fn open(directory: &Path) -> Result<Self, OpenStoreError> {
        let directory = Arc::new(Directory::hold(directory)?);
        let mut reserve = Reserve::keep(directory.reserve(), RESERVE_BYTES, "the store");
        let connection = match opening::open_or_create(&directory) {
            // A log and its index are made at each start, and need room.
            Err(OpenStoreError::Full { .. }) if reserve.give_up() => {
                opening::open_or_create(&directory)?
            }
            opened => opened?,
        };
        let status = Arc::new(Status::default());
        let readers = Arc::new(Readers::new(Arc::clone(&directory)));
        let writer = Writer::new(
            Arc::clone(&directory),
            Arc::clone(&readers),
            connection,
            reserve,
            Arc::clone(&status),
        )?;
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(|source| directory.failed("start the writing thread of", source))?;
        Ok(Self { jobs: Some(jobs), writer: Some(thread), readers, status })
    }

    /// Has SQLite check the whole file. Takes time in proportion to it.
    pub async fn check_integrity(&self) -> Result<(), StoreError> {
        let check = "PRAGMA quick_check(1)";
        let found: String =
            self.reading(|snapshot| Ok(snapshot.query_row(check, [], |row| row.get(0))?)).await?;
        match found.as_str() {
            "ok" => Ok(()),
            _ => Err(self.unread(Fault::altered(found))),
        }
    }

    async fn submit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
        urgent: bool,
    ) -> Result<Revision, StoreError> {
        let (answer, answered) = oneshot::channel();
        let (preconditions, writes) = (preconditions.to_vec(), writes.to_vec());
        let job = Job::Commit(CommitJob { preconditions, writes, urgent, answer });
        self.send(job).await.map_err(|()| StoreError::NotStored("the writer is gone".into()))?;
        let gone = |_| StoreError::MaybeStored("the writer went without an answer".into());
        answered.await.map_err(gone)?
    }

    /// Runs a read in one snapshot on a reading connection.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> fault::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.settle_doubt().await?;
        let permit =
            self.readers.permit().await.ok_or_else(|| unavailable("the store is closed"))?;
        let readers = Arc::clone(&self.readers);
        let seen = self.status.revision_seen();
        let read = move || {
            let _permit = permit;
            readers.read(seen, read)
        };
        let answer = tokio::task::spawn_blocking(read).await;
        answer.map_err(unavailable)?.map_err(|fault| self.unread(fault))
    }

    fn unread(&self, fault: Fault) -> StoreError {
        self.status.note(&fault);
        fault.unread()
    }

    /// Has the writer settle whether a failed COMMIT stands, if one failed.
    async fn settle_doubt(&self) -> Result<(), StoreError> {
        if !self.status.is_in_doubt() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.send(Job::Settle(answer)).await.map_err(|()| unavailable("the writer is gone"))?;
        answered.await.map_err(|_| unavailable("the writer is gone"))?
    }

    async fn send(&self, job: Job) -> Result<(), ()> {
        let Some(jobs) = &self.jobs else { return Err(()) };
        jobs.send(job).await.map_err(|_| ())
    }
}

impl Drop for SqliteStore {
    /// Waits until every commit in the queue is made and the files are closed, so
    /// that the next opening finds the directory free.
    fn drop(&mut self) {
        drop(self.jobs.take());
        self.readers.close();
        if let Some(writer) = self.writer.take() {
            // An error is a panic of the thread, which has reported itself.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("status", &self.status).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError> {
        check_read(paths)?;
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.reading(move |snapshot| queries::read(snapshot, &paths)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StoreError> {
        check_listing(prefix, after)?;
        let query = ListQuery {
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit: limit.min(LISTING_ENTRIES_MAX),
        };
        self.reading(move |snapshot| query.run(snapshot)).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        check_listing(prefix, None)?;
        let prefix = prefix.to_owned();
        self.reading(move |snapshot| queries::count(snapshot, &prefix)).await
    }

    async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        check_commit(preconditions, writes)?;
        self.submit(preconditions, writes, false).await
    }

    async fn commit_urgently(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        check_commit(preconditions, writes)?;
        self.submit(preconditions, writes, true).await
    }

    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError> {
        let changes =
            self.reading(move |snapshot| queries::changes_since(snapshot, revision)).await?;
        changes.ok_or(StoreError::Compacted)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        if self.status.is_altered() {
            return Err(StoreError::Damaged("its file was found damaged or altered".into()));
        }
        self.reading(queries::current_revision).await.map(drop)
    }

    fn revision_seen(&self) -> Revision {
        self.status.revision_seen()
    }
}

/// A read that failed.
fn unavailable(why: impl fmt::Display) -> StoreError {
    StoreError::Unavailable(why.to_string().into())
}

#[cfg(test)]
mod tests;
