//! A CMK, its life, and its tags, names and filters. Pure.

pub mod alias_name;
pub mod cmk;
pub mod filters;
pub mod key_state;
pub mod life_cycle;
pub(in crate::keys) mod named;
pub mod rotation;
pub mod tags;
