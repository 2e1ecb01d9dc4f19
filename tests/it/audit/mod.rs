//! The audit log: what it says of what is done, how it fails and recovers, and what a start
//! makes of what it finds.

mod lines;
mod restarts;
mod trouble;
pub mod world;
