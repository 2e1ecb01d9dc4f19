//! Signatures of requests: those that the SDKs' own code makes verify, and what
//! was changed after signing does not.
//!
//! `scripts/peers` installs the SDKs; without them their tests say so and are
//! left out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod attacks;
#[path = "../interop/harness.rs"]
mod harness;
mod request;
mod sdks;
