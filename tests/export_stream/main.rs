//! ExportDataKeys: a stream of items that fail by themselves, and peers that
//! vanish, fall silent or never read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod ends;
mod items;
mod lines;
mod peers;
#[path = "../support/mod.rs"]
mod support;
mod talk;
