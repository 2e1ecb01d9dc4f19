//! CMKs, their key versions, states and names; how they are stored, loaded and
//! changed; and the root and store keys that guard them.

pub mod alias_name;
pub mod aliases;
pub mod clock;
pub mod cmk;
mod fresh_cache;
pub mod key_version;
pub mod keyring;
pub mod pages;
pub mod records;
pub mod root_key;
pub mod store_keys;
