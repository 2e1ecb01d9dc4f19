//! Other people's programs against the real server: clients in other
//! languages, a terminal, a sidecar, a cryptographic module, and other
//! implementations of RSA-OAEP and SM2.
//!
//! `scripts/peers` installs them; a test whose peer is missing says so and is
//! left out, which with `CI=true` is a failure. The clients are written as
//! their users would write them, in the folders beside this file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "tests"
)]

mod clients;
mod envoy;
mod grpcurl;
mod harness;
mod openssl;
mod openssl_pairs;
mod recipient;
mod sm2;
mod softhsm;
