//! When the write-ahead log moves into the file: after answers, and waiting for
//! nobody.
//!
//! A log that has grown is moved as far as nobody reads in it. After a deletion it
//! is moved whole and cut, as the deleted values still lie in it: the file itself
//! has them overwritten (`secure_delete`). Somebody who reads, be it a backup that
//! takes an hour, is in the way of the cut, not of a commit; it is tried again
//! until it is done. After a second of trying, our own readers stand aside for it.
//!
//! A log that grew long behind such a reader is moved by a thread of its own, beside
//! the writer: all of it at once would hold commits up.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection;
use super::directory::Directory;

/// Pages in the log that are moved together.
const LOG_PAGES: i64 = 1000;
/// Pages in the log, from where on they are moved beside the writer.
const LONG_LOG_PAGES: i64 = 4096;
/// The pause between two such moves, which may find that nothing can be moved yet.
const LONG_LOG_PAUSE: Duration = Duration::from_secs(1);
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
    directory: Arc<Directory>,
    aside: Aside,
}

/// The move of a long log beside the writer.
#[derive(Default)]
struct Aside {
    mover: Option<JoinHandle<()>>,
    not_before: Option<Instant>,
}

impl Aside {
    fn is_under_way(&mut self) -> bool {
        match self.mover.take_if(|mover| mover.is_finished()) {
            Some(ended) => {
                let _ = ended.join();
                self.not_before = Some(Instant::now() + LONG_LOG_PAUSE);
                false
            }
            None => self.mover.is_some(),
        }
    }

    fn begin(&mut self, directory: &Arc<Directory>) {
        if self.not_before.is_some_and(|instant| Instant::now() < instant) {
            return;
        }
        let directory = Arc::clone(directory);
        let mover = std::thread::Builder::new().name("store-log".into()).spawn(move || {
            let moved = connection::checkpointer(&directory)
                .and_then(|connection| checkpoint(&connection, "PASSIVE"));
            if let Err(error) = moved {
                warn_of_log(&error);
            }
        });
        match mover {
            Ok(mover) => self.mover = Some(mover),
            Err(error) => warn_of_log(&error),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(mover) = self.mover.take() {
            // An error is a panic of the thread, which has reported itself.
            let _ = mover.join();
        }
    }
}

impl Checkpoints {
    /// A crash may have left a deletion's last traces in the log.
    pub(super) fn new(directory: Arc<Directory>) -> rusqlite::Result<Self> {
        let connection = connection::checkpointer(&directory)?;
        let mut checkpoints = Self { connection, owed: None, directory, aside: Aside::default() };
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
        let erases = self.idle_for().is_some_and(|idle| idle.is_zero());
        let pages = self.pages_to_move().unwrap_or_default();
        let is_moving = self.aside.is_under_way();
        if is_moving || pages >= LONG_LOG_PAGES {
            if !is_moving {
                self.aside.begin(&self.directory);
            }
            if erases {
                self.postpone();
            }
        } else if erases {
            self.erase();
        } else if pages >= LOG_PAGES {
            self.make_room();
        }
    }

    /// Moves what nobody reads in the log, so that it begins anew where it can.
    pub(super) fn make_room(&self) {
        if let Err(error) = checkpoint(&self.connection, "PASSIVE") {
            warn_of_log(&error);
        }
    }

    fn erase(&mut self) {
        match checkpoint(&self.connection, "TRUNCATE") {
            Ok(true) => self.owed = None,
            Ok(false) => self.postpone(),
            Err(error) => {
                warn_of_log(&error);
                self.postpone();
            }
        }
    }

    fn postpone(&mut self) {
        let pause = self.owed.as_ref().map_or(FIRST_PAUSE, |owed| owed.pause);
        let next = (pause * 2).min(LONGEST_PAUSE);
        if pause < LONGEST_PAUSE && next == LONGEST_PAUSE {
            tracing::warn!("deleted values stay in the store's log while somebody reads it");
        }
        self.owed = Some(ErasureOwed { try_at: Instant::now() + pause, pause: next });
    }

    fn pages_to_move(&self) -> rusqlite::Result<i64> {
        let mut look = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        look.query_row([], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
    }
}

/// Whether a checkpoint was made whole.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

fn warn_of_log(error: &dyn std::error::Error) {
    tracing::warn!(%error, "the store's log could not be moved into its file");
}
