//! What is due and when, carried out by clocks that can be trusted.

pub mod clock;
pub mod clock_watch;
pub mod due;
pub mod due_work;
pub(in crate::keys) mod erasure;
