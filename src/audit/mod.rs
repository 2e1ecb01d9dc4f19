//! The audit log: what was decided and done, by whom, in a chain of lines that can be
//! verified without this program.
//!
//! ```text
//! trail.rs       one request: its decisions, its line, its reply
//! log.rs         lines in, and word back once they are on the disk
//! writer.rs      the one thread that chains, writes and syncs them
//! denials.rs     refusals of known callers, counted where they are many
//! opening.rs     what is there is read, and gone on with
//! files.rs       the files: numbered, appended to, rotated, recovered
//! note.rs        checkpoints: signed notes (C2SP signed-note)
//! secrets.rs     what signs them, and what makes digests of contexts
//! chain.rs       how lines hang together
//! entry.rs       what a line says
//! event_ids.rs   the id of each event
//! reading.rs     files and lines, in order and in bounded memory
//! verification/  whether all of it is as it was written
//! selection.rs   which lines somebody wants to see
//! usage.rs       what was exported, used and refused, counted
//! ```

pub mod chain;
mod denials;
pub mod entry;
pub mod event_ids;
pub mod files;
pub mod log;
pub mod note;
pub mod opening;
pub mod reading;
pub mod secrets;
pub mod selection;
pub mod trail;
pub mod usage;
pub mod verification;
pub mod writer;
