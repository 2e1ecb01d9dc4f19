//! The providers of root keys, a row for each. The configuration chooses.

use super::file_root_key::FileRootKey;
use super::root_key::{RootKeyError, RootKeyProvider};
use crate::config::RootKeyConfig;

/// Opens the root key that is configured.
pub fn open(config: &RootKeyConfig) -> Result<Box<dyn RootKeyProvider>, RootKeyError> {
    Ok(match config {
        RootKeyConfig::File { path } => Box::new(FileRootKey::read(path)?),
    })
}

/// Makes the root key that is configured. The caller has made sure that the store
/// is empty.
pub fn create(config: &RootKeyConfig) -> Result<Box<dyn RootKeyProvider>, RootKeyError> {
    Ok(match config {
        RootKeyConfig::File { path } => Box::new(FileRootKey::create(path)?),
    })
}
