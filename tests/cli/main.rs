//! The real program in processes of its own: its command line, its servers, what
//! they log, and what a killed one leaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_docs,
    reason = "tests"
)]

mod access_keys;
mod asymmetric;
mod audit;
mod audit_crash;
mod batch;
mod cases;
mod client;
mod command;
mod crash;
mod hostile;
mod keys;
mod log_scan;
mod policies;
mod profiles;
mod quickstart;
mod readme;
mod receipts;
mod secured;
mod serve;
#[path = "../support/mod.rs"]
mod support;
