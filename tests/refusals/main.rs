//! What is refused over gRPC, with every detail of the refusal, and what is not
//! quite: fields, limits, key pairs, re-encryption, lists and their filters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod asymmetric;
mod fields;
mod filters;
mod limits;
mod lists;
mod re_encryption;
#[path = "../support/mod.rs"]
mod support;
mod world;
