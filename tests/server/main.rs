//! The server over real sockets: the edge, TLS, Unix sockets, the drain.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_docs,
    reason = "tests"
)]

mod config;
mod drain;
mod edge;
mod forwarded;
mod health;
mod log_lines;
mod permissions;
mod process;
mod script;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tokens;
mod unix;
mod wire;
mod world;
