//! The reasons why a store is not opened, of every backend.

use std::borrow::Cow;
use std::error::Error;
use std::path::PathBuf;

/// A store could not be opened. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// Another process has it open, or this one twice.
    #[error(
        "the store in {store} is in use by another keyferry{}; stop that one, or name another directory",
        process.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    HeldByAnother {
        /// The store.
        store: String,
        /// The process that holds it, where it left its id.
        process: Option<u32>,
    },
    /// Others on the machine may get at it.
    #[error(
        "{} has mode {mode:04o}, open to others on this machine; run `chmod {wanted:04o} {}` or name a directory that does not exist yet",
        path.display(),
        path.display()
    )]
    Exposed {
        /// The directory or file.
        path: PathBuf,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// Another program's data, or none at all, is where the store's should be.
    #[error("{store} is not a Keyferry store ({found}); name another directory")]
    Foreign {
        /// The store.
        store: String,
        /// The thing that is there.
        found: String,
    },
    /// Somebody changed what this program alone makes.
    #[error(
        "{store} was altered: {how}. Somebody who can write it has changed what Keyferry does with it; find out who, and restore a copy from before"
    )]
    Altered {
        /// The store.
        store: String,
        /// The alteration.
        how: Cow<'static, str>,
    },
    /// A later Keyferry wrote it.
    #[error(
        "{store} was written by a newer Keyferry (format {found}, this one knows up to {known}); use that one, or restore a copy from before"
    )]
    Newer {
        /// The store.
        store: String,
        /// Its format.
        found: i64,
        /// The newest format that this program knows.
        known: i64,
    },
    /// The disk has no room for what every opening makes.
    #[error("cannot open {store}: {source}; make room on its disk")]
    Full {
        /// The store.
        store: String,
        /// The error of the database.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The system or the database refused.
    #[error("cannot {doing} {store}: {source}; {advice}")]
    Failed {
        /// The step that failed.
        doing: &'static str,
        /// The store, or the part of it.
        store: String,
        /// The error of the system or the database.
        source: Box<dyn Error + Send + Sync>,
        /// The advice.
        advice: &'static str,
    },
}
