//! Keyferry: a self-hosted key management service that carries data keys
//! across trust boundaries.

pub mod access;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod error;
pub mod ids;
pub mod instance;
pub mod keys;
pub mod proto;
pub mod server;
pub mod service;
pub mod storage;
