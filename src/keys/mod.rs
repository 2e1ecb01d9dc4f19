//! CMKs, their key versions, states and names; how they are stored, loaded and
//! changed; and the root and store keys that guard them.
//!
//! | room | what it does |
//! | --- | --- |
//! | [`keyring`] | loads, keeps and changes CMKs, their versions and names |
//! | [`access_keys`] | access keys, their lists, and the nonces of what they signed |
//! | [`schedule`] | what is due, and its carrying out; the clocks; erasure |
//! | [`pages`] | pages of lists and their tokens |
//! | [`guard`] | root key, store keys, sealed records |
//! | [`model`] | what a CMK is and becomes; no IO |

pub mod access_keys;
mod fresh_cache;
pub mod guard;
pub mod keyring;
pub mod model;
pub mod pages;
pub mod schedule;
