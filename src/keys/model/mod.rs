//! What a CMK is, what becomes of it, and what goes with it. Pure.

pub mod alias_name;
pub mod cmk;
pub mod filters;
pub mod key_state;
pub mod life_cycle;
pub mod rotation;
pub mod tags;
