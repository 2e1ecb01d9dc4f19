//! The audit log: what was decided and done, by whom, in a chain of lines that can be
//! verified without this program.
//!
//! ```text
//! event_ids.rs   the id of each event
//! entry.rs       what a line says
//! chain.rs       how lines hang together
//! note.rs        checkpoints: signed notes over all lines before them
//! reading.rs     files and lines, in order and in bounded memory
//! verification/  whether all of it is as it was written
//! selection.rs   which lines somebody wants to see
//! usage.rs       what was exported, used and refused, counted
//! ```

pub mod chain;
pub mod entry;
pub mod event_ids;
pub mod note;
pub mod reading;
pub mod selection;
pub mod usage;
pub mod verification;
