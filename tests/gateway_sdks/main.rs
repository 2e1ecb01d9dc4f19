//! Alibaba Cloud's own SDKs, unmodified but for the endpoint that they are told,
//! against the real server's HTTP front door.
//!
//! `scripts/peers` installs them; one that is missing is said and left out, which
//! with `CI=true` is a failure. What they do is written once for each language,
//! in the folders beside this file, and what they sent is judged here.

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

#[path = "../interop/harness.rs"]
mod harness;
#[path = "../interop/recipient.rs"]
mod recipient;
#[path = "../support/mod.rs"]
mod support;

mod clients;
mod described;
mod front_door;
mod readme;
mod recorder;
mod throttled;
mod travel;
