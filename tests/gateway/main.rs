//! The HTTP front door over real sockets.
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

#[path = "../server/certificates.rs"]
mod certificates;
#[path = "../support/mod.rs"]
mod support;

mod both_faces;
mod bounds;
mod callers;
mod shapes;
mod tls;
