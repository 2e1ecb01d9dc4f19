//! What each state of a CMK permits, cell by cell and over gRPC: every RPC, on
//! every kind of key, in every state that a caller can bring a key into; each
//! as a dry run first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod calls;
mod cells;
mod faults;
#[path = "../support/mod.rs"]
mod support;
mod table;
