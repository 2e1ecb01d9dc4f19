//! Other people's programs against the real server.
//!
//! `scripts/peers` installs them. A test whose peer is missing says so and is left
//! out, which with `CI=true` is a failure.

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

mod gateway_sdks;
mod gateway_signatures;
mod interop;
mod proxies;
mod recipient;
#[path = "../support/mod.rs"]
mod support;
mod two_regions;
