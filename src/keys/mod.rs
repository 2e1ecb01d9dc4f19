//! CMKs, their key versions, states and names; how they are stored, loaded and
//! changed; and the root and store keys that guard them.

pub mod access_key_list;
pub mod access_keys;
pub mod alias_name;
pub mod aliases;
pub mod clock;
pub mod clock_watch;
pub mod cmk;
mod cmk_list;
mod cmk_record;
pub mod due;
pub mod due_work;
mod erasure;
pub mod filters;
mod fresh_cache;
pub mod key_state;
pub mod key_version;
pub mod keyring;
pub mod life_cycle;
pub mod pages;
pub mod pair_version;
pub mod records;
pub mod root_key;
pub mod rotation;
pub mod store_keys;
pub mod tags;
pub mod used_nonces;
pub mod version_material;
pub mod versions;
