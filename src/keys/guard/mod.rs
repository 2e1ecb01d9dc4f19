//! The guard of the store: the root key wraps the store keys, and they seal its
//! records.

pub mod file_root_key;
pub mod records;
pub mod root_key;
pub mod root_key_providers;
pub mod store_keys;
