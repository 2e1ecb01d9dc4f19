//! Keyferry: a self-hosted key management service that carries data keys
//! across trust boundaries.
//!
//! A data key is born inside, leaves only encrypted, and reaches another
//! region or module under *that* side's public key.
//!
//! ```text
//! caller ──GenerateDataKeyWithoutPlaintext──▶ ciphertext blob ──ExportDataKey──▶ wrapped for the recipient
//! ```
//!
//! # The rooms, from the top down
//!
//! | room | what it does |
//! | --- | --- |
//! | [`cli`] | the command line: a client of the public contract; starts servers |
//! | [`instance`] | a validated [`config`] becomes services over an open store, and a bound server; chooses the storage backend |
//! | [`server`] | sockets, TLS, the edge that every request passes, health, drain |
//! | [`gateway`] | the HTTP front door: parameters and a signature in, the same services, JSON or XML out |
//! | [`service`] | a function for each RPC: parse → authorise → act → reply |
//! | [`keys`] | CMKs, versions, states, names; the keyring; root and store keys |
//! | [`audit`] | the audit log: what was decided and done, by whom, in a chain that can be verified |
//! | [`access`] | who calls, and whether they may: alone makes a `Grant` |
//! | [`crypto`] | secrets, the blob, wrapping |
//! | [`storage`] | the store's law, and the backends that obey it |
//! | [`durable`] | files and directories that stand after a power cut |
//! | [`reserve`] | room on a disk for what takes a permission away |
//! | [`secret_file`] | files that nobody else can read or replace |
//! | [`policy_dir`] | the directory of policies, read again when it changes |
//! | [`trusted_issuers`] | whose receipts are believed, read again when it changes |
//! | [`error`], [`limits`], [`ids`], [`printable`], [`proto`] | the table of errors; the table of limits; ids; text that is safe on a terminal; the contract |
//!
//! Imports run downward only. No key version without a grant, no data key
//! without a key version and the right context: the types see to it.
//!
//! # One ExportDataKey
//!
//! `server/edge.rs` (who calls, until when) → `service/data_key.rs` (parse) →
//! `keys/keyring` (whose version is this?) → `access/policy.rs` (may they? →
//! `Grant`) → `keyring` (the state; → `KeyVersion`) →
//! `crypto/ciphertext_blob.rs` (open → `DataKey`) → `crypto/wrapping` (wrap,
//! which consumes and wipes it).

pub mod access;
pub mod audit;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod durable;
pub mod error;
pub mod gateway;
pub mod ids;
pub mod instance;
pub mod keys;
pub mod limits;
pub mod policy_dir;
pub mod printable;
pub mod proto;
pub mod rate;
pub mod reserve;
pub mod secret_file;
pub mod server;
pub mod service;
pub mod storage;
pub mod trusted_issuers;
