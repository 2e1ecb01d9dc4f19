//! The guard of the store: the root key wraps the store keys, and they seal its
//! records.

pub mod records;
pub mod root_key;
pub mod store_keys;
