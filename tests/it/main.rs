//! Tests that run in this process: the library's parts, and the whole service over
//! loopback. Nothing here is told by a log or by the process as a whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_docs,
    reason = "tests"
)]

mod access_keys;
mod admission;
mod audit;
mod audit_verification;
mod concurrent_changes;
mod contract_listing;
mod crypto_vectors;
mod decisions;
mod due;
mod export_stream;
mod faults;
mod full_disk;
mod fuzz_corpus;
mod gateway;
mod gateway_signatures;
mod key_management;
mod key_states;
mod kms;
mod life_cycle_model;
mod policy_dir;
mod public_key_refusals;
mod quotas;
mod receipts;
mod refusals;
mod stale_grants;
mod storage_contract;
#[path = "../support/mod.rs"]
mod support;
mod tampering;
mod ways_round;
mod wycheproof;
