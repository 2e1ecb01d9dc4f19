//! Where records are kept: the [`Store`] trait with its law, and the backends
//! that obey it.
//!
//! ```text
//!           keys, access
//!                │  read · list · count · commit · changes_since
//!         ┌──────┴──────┐
//!   commit_settled      │        a MaybeStored turned into an answer
//!         └──────┬──────┘
//!              Store             the law (store.rs)
//!         ┌──────┴──────┐
//!    SqliteStore   MemoryStore   one file on a disk · tests, with faults
//! ```
//!
//! A store knows nothing of what its values mean. They arrive sealed, so that
//! the disk alone gives away nothing but paths, and no path is ever made of a
//! secret.
//!
//! # To add a backend
//!
//! 1. Implement [`Store`] in a file or directory beside `sqlite/`, with the
//!    checks of `limits.rs` first in each method. `memory.rs` is the law at its
//!    shortest.
//! 2. Give it a function that opens it, or says why not as an
//!    [`OpenStoreError`].
//! 3. Add it to the list of backends in `tests/it/storage_contract.rs`, which
//!    holds one test for each clause.
//! 4. Add its variant to [`StoreConfig`](crate::config::StoreConfig), and its row
//!    to `open_store` in `instance.rs`: no other room knows which backend is
//!    used.

mod limits;
pub mod memory;
mod open;
pub mod settle;
pub mod sqlite;
mod store;

pub use memory::MemoryStore;
pub use open::OpenStoreError;
pub use settle::{commit_settled, commit_urgently_settled};
pub use sqlite::{SqliteStore, StoreAtRest};
pub use store::{
    CHANGES_KEPT_REVISIONS, COMMIT_OPERATIONS_MAX, Changes, LISTING_ENTRIES_MAX, Listing,
    PATH_BYTES_MAX, Precondition, READ_PATHS_MAX, Revision, Snapshot, Store, StoreError,
    VALUE_BYTES_MAX, Versioned, Write,
};
