//! The audit log: what was decided and done, by whom, in a chain of lines that can be
//! verified without this program.
//!
//! ```text
//! event_ids.rs   the id of each event
//! entry.rs       what a line says
//! chain.rs       how lines hang together
//! ```

pub mod chain;
pub mod entry;
pub mod event_ids;
