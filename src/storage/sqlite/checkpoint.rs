//! When the write-ahead log moves into the file: after answers, and waiting for
//! nobody.
//!
//! A log that has grown is moved as far as nobody reads in it. After a deletion it
//! is moved whole and cut, as the deleted values still lie in it: the file itself
//! has them overwritten (`secure_delete`). Somebody who reads, be it a backup that
//! takes an hour, is in the way of the cut, not of a commit; it is tried again
//! until it is done. After a second of trying, our own readers stand aside for it.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection;
use super::directory::Directory;

/// Pages in the log that are moved together.
const LOG_PAGES: i64 = 1000;
/// The pause after the first try, which doubles with each up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A deletion whose traces are still in the log.
struct ErasureOwed {
    try_at: Instant,
    pause: Duration,
}

pub(super) struct Checkpoints {
    /// Open as long as the store is, whatever becomes of the other connections.
    connection: Connection,
    owed: Option<ErasureOwed>,
}

impl Checkpoints {
    /// A crash may have left a deletion's last traces in the log.
    pub(super) fn new(directory: &Directory) -> rusqlite::Result<Self> {
        let connection = connection::checkpointer(directory)?;
        let mut checkpoints = Self { connection, owed: None };
        checkpoints.owe_erasure();
        Ok(checkpoints)
    }

    /// Something was deleted.
    pub(super) fn owe_erasure(&mut self) {
        let (try_at, pause) = (Instant::now(), FIRST_PAUSE);
        self.owed.get_or_insert(ErasureOwed { try_at, pause });
    }

    /// How long there is nothing to do here, unless something is committed;
    /// `None`: for ever.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        self.owed.as_ref().map(|owed| owed.try_at.saturating_duration_since(Instant::now()))
    }

    /// Whether an erasure is to be tried now that was in vain for a while.
    pub(super) fn needs_pause(&self) -> bool {
        let is_slow = |owed: &ErasureOwed| owed.pause == LONGEST_PAUSE;
        self.owed.as_ref().is_some_and(|owed| is_slow(owed) && owed.try_at <= Instant::now())
    }

    /// Does what is to be done now.
    pub(super) fn run(&mut self) {
        if self.idle_for().is_some_and(|idle| idle.is_zero()) {
            self.erase();
        } else if self.pages_to_move().is_ok_and(|pages| pages >= LOG_PAGES) {
            self.make_room();
        }
    }

    /// Moves what nobody reads in the log, so that it begins anew where it can.
    pub(super) fn make_room(&self) {
        if let Err(error) = self.make("PASSIVE") {
            tracing::warn!(%error, "the store's log could not be moved into its file");
        }
    }

    fn erase(&mut self) {
        let made = self.make("TRUNCATE");
        if matches!(made, Ok(true)) {
            self.owed = None;
            return;
        }
        let pause = self.owed.as_ref().map_or(FIRST_PAUSE, |owed| owed.pause);
        let next = (pause * 2).min(LONGEST_PAUSE);
        if pause < LONGEST_PAUSE && next == LONGEST_PAUSE {
            tracing::warn!(?made, "deleted values stay in the store's log while somebody reads it");
        }
        self.owed = Some(ErasureOwed { try_at: Instant::now() + pause, pause: next });
    }

    /// Whether a checkpoint was made whole.
    fn make(&self, mode: &str) -> rusqlite::Result<bool> {
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        self.connection.query_row(&sql, [], |row| Ok(row.get::<_, i64>(0)? == 0))
    }

    fn pages_to_move(&self) -> rusqlite::Result<i64> {
        let mut look = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        look.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
    }
}
