//! The law on one file: SQLite, the embedded default.
//!
//! ```text
//!   commit ──▶ queue ──▶ writer thread ──▶ one transaction for all that wait,
//!                                          acknowledged after its COMMIT
//!   read, list, count ──▶ one of a few reading connections, off the runtime
//! ```
//!
//! - `keyferry.db` is in WAL mode with `synchronous=FULL`: a COMMIT that
//!   returned has been synced, and readers never wait for one.
//! - Commits that wait together share a transaction and its sync. Each is
//!   judged after those before it, as the law's one line of commits wants.
//! - One process: an exclusive lock on `keyferry.lock` goes when its holder
//!   does, however that ends.
//! - Opening reads the schema and the revision; nothing else is loaded.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    Changes, PAGE_ENTRIES_MAX, Page, Precondition, Revision, Snapshot, Store, StoreError,
    Versioned, Write, judge_bound, judge_commit, judge_read,
};

mod directory;
mod schema;
mod writer;

pub use directory::OpenStoreError;

use directory::Directory;
use schema::{as_revision, as_stored, succession};
use writer::{CommitJob, Job, Writer};

/// Most reads at once; more wait their turn.
const READERS_MAX: usize = 4;
/// Most commits in the queue; more wait to get in.
const QUEUE_JOBS_MAX: usize = 256;

/// What the writer and the readers tell each other.
#[derive(Debug, Default)]
struct Standing {
    /// The revision of the last commit acknowledged.
    seen: AtomicU64,
    /// A COMMIT failed, and nobody knows yet what a restart would find. Until
    /// the writer has settled that, no read may answer (the law, clause 5).
    in_doubt: AtomicBool,
}

/// A store in one SQLite file.
pub struct SqliteStore {
    /// Taken, and so closed, on drop.
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    standing: Arc<Standing>,
}

impl SqliteStore {
    /// Opens the store in this directory, making both where they are absent,
    /// and holds it against every other process until dropped.
    ///
    /// Blocks on the disk; called once, at start.
    pub fn open(directory: &Path) -> Result<Self, OpenStoreError> {
        let directory = Arc::new(Directory::hold(directory)?);
        let connection = schema::open_or_create(&directory)?;
        let standing = Arc::new(Standing::default());
        let writer = Writer::new(Arc::clone(&directory), connection, Arc::clone(&standing))?;
        let (jobs, queue) = mpsc::channel(QUEUE_JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(|source| directory.io("start the thread that writes", source))?;
        let readers = Arc::new(Readers::new(directory));
        Ok(Self { jobs: Some(jobs), writer: Some(thread), readers, standing })
    }

    /// Has SQLite look the whole file over. Takes time in proportion to it.
    pub async fn check_integrity(&self) -> Result<(), StoreError> {
        let found: String = self
            .reading(|snapshot| snapshot.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)))
            .await?;
        match found.as_str() {
            "ok" => Ok(()),
            _ => Err(StoreError::Unavailable(format!("the file is damaged: {found}").into())),
        }
    }

    /// Runs a read in one snapshot on a reading connection.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.settle_doubt().await?;
        let permit = Arc::clone(&self.readers.permits).acquire_owned().await;
        let permit = permit.map_err(|_| unavailable("the store is closed"))?;
        let readers = Arc::clone(&self.readers);
        let read = move || {
            let _permit = permit;
            readers.read(read)
        };
        let answer = tokio::task::spawn_blocking(read).await;
        answer.map_err(unavailable)?.map_err(unavailable)
    }

    /// Has the writer find out what a failed COMMIT left, if one did.
    async fn settle_doubt(&self) -> Result<(), StoreError> {
        if !self.standing.in_doubt.load(Ordering::SeqCst) {
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
    /// Waits until what was asked for is done and the files are closed: who
    /// opens the directory next finds it free.
    fn drop(&mut self) {
        drop(self.jobs.take());
        self.readers.close();
        if let Some(writer) = self.writer.take() {
            // An error is a panic of the thread, which has told of itself.
            let _ = writer.join();
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// Connections for reading, opened as they are first needed. One that failed
/// is not used again.
struct Readers {
    directory: Arc<Directory>,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    fn new(directory: Arc<Directory>) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self { directory, idle: Mutex::default(), permits }
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::connect_reader(&self.directory)?,
        };
        let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let answer = read(&snapshot)?;
        snapshot.commit()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }

    fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn unavailable(why: impl fmt::Display) -> StoreError {
    StoreError::Unavailable(why.to_string().into())
}

fn current_revision(snapshot: &Transaction<'_>) -> rusqlite::Result<Revision> {
    snapshot.prepare_cached("SELECT revision FROM store")?.query_row([], |row| as_revision(row, 0))
}

const READ: &str = "SELECT revision, value FROM record WHERE path = ?1";

fn read_values(snapshot: &Transaction<'_>, paths: &[String]) -> rusqlite::Result<Snapshot> {
    let revision = current_revision(snapshot)?;
    let mut read = snapshot.prepare_cached(READ)?;
    let found =
        |row: &Row<'_>| Ok(Versioned { revision: as_revision(row, 0)?, value: row.get(1)? });
    let values = paths.iter().map(|path| read.query_row([path], found).optional());
    Ok(Snapshot { revision, values: values.collect::<rusqlite::Result<_>>()? })
}

/// The two ways into the index; `?2` is where the prefix's range ends.
const LIST_FROM: &str = "SELECT path, revision, value FROM record
     WHERE path >= ?1 AND path < ifnull(?2, x'') ORDER BY path LIMIT ?3";
const LIST_AFTER: &str = "SELECT path, revision, value FROM record
     WHERE path > ?1 AND path < ifnull(?2, x'') ORDER BY path LIMIT ?3";

/// What a list asks for.
struct Listing {
    prefix: String,
    after: Option<String>,
    limit: usize,
}

impl Listing {
    fn query(&self) -> (&'static str, &str) {
        match &self.after {
            Some(after) if *after >= self.prefix => (LIST_AFTER, after),
            _ => (LIST_FROM, &self.prefix),
        }
    }

    /// One entry more than asked for is read: it tells whether there is more.
    fn read(&self, snapshot: &Transaction<'_>) -> rusqlite::Result<Page> {
        let revision = current_revision(snapshot)?;
        let (sql, from) = self.query();
        let limit = i64::try_from(self.limit.saturating_add(1)).unwrap_or(i64::MAX);
        let mut list = snapshot.prepare_cached(sql)?;
        let entry = |row: &Row<'_>| {
            Ok((row.get(0)?, Versioned { revision: as_revision(row, 1)?, value: row.get(2)? }))
        };
        let rows = list.query_map(params![from, succession(&self.prefix), limit], entry)?;
        let mut entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let more = entries.len() > self.limit;
        entries.truncate(self.limit);
        Ok(Page { revision, entries, more })
    }
}

/// Answered from the index on paths alone: no value is touched.
const COUNT: &str = "SELECT count(*) FROM record WHERE path >= ?1 AND path < ifnull(?2, x'')";

fn count_paths(snapshot: &Transaction<'_>, prefix: &str) -> rusqlite::Result<u64> {
    let mut count = snapshot.prepare_cached(COUNT)?;
    let count: i64 = count.query_row(params![prefix, succession(prefix)], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

const CHANGES: &str = "SELECT DISTINCT path FROM change WHERE revision > ?1 ORDER BY path";

/// `None` where the log does not reach.
fn read_changes(snapshot: &Transaction<'_>, since: Revision) -> rusqlite::Result<Option<Changes>> {
    let (now, floor) = snapshot
        .prepare_cached("SELECT revision, log_floor FROM store")?
        .query_row([], |row| Ok((as_revision(row, 0)?, as_revision(row, 1)?)))?;
    if since < floor || since > now {
        return Ok(None);
    }
    let mut changes = snapshot.prepare_cached(CHANGES)?;
    let paths = changes.query_map([as_stored(since)], |row| row.get(0))?;
    Ok(Some(Changes { now, paths: paths.collect::<rusqlite::Result<_>>()? }))
}

#[async_trait]
impl Store for SqliteStore {
    async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError> {
        judge_read(paths)?;
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.reading(move |snapshot| read_values(snapshot, &paths)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        judge_bound(prefix)?;
        judge_bound(after.unwrap_or_default())?;
        let listing = Listing {
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit: limit.min(PAGE_ENTRIES_MAX),
        };
        self.reading(move |snapshot| listing.read(snapshot)).await
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        judge_bound(prefix)?;
        let prefix = prefix.to_owned();
        self.reading(move |snapshot| count_paths(snapshot, &prefix)).await
    }

    async fn commit(
        &self,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        judge_commit(preconditions, writes)?;
        let (answer, answered) = oneshot::channel();
        let (preconditions, writes) = (preconditions.to_vec(), writes.to_vec());
        let job = Job::Commit(CommitJob { preconditions, writes, answer });
        self.send(job).await.map_err(|()| StoreError::NotStored("the writer is gone".into()))?;
        let gone = |_| StoreError::MaybeStored("the writer went without an answer".into());
        answered.await.map_err(gone)?
    }

    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError> {
        let changes = self.reading(move |snapshot| read_changes(snapshot, revision)).await?;
        changes.ok_or(StoreError::Compacted)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.reading(current_revision).await.map(drop)
    }

    fn revision_seen(&self) -> Revision {
        Revision(self.standing.seen.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests;
