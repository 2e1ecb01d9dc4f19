//! Keyferry: a self-hosted key management service that carries data keys
//! across trust boundaries.

pub mod cli;
pub mod crypto;
pub mod error;
pub mod ids;
pub mod proto;
