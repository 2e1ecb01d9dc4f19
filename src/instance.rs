//! An instance: a validated configuration becomes services over an open store.

use std::sync::Arc;

use crate::access::policy::Policy;
use crate::config::{Config, Mode, RootKeyConfig, StoreConfig};
use crate::keys::Keys;
use crate::keys::clock::{Clock, SystemClock};
use crate::keys::guard::records::RecordSeals;
use crate::keys::guard::root_key::{FileRootKey, RootKeyFileError};
use crate::keys::guard::store_keys::{self, StoreMode, UnlockError};
use crate::service::Services;
use crate::service::naming::Arns;
use crate::storage::{OpenStoreError, SqliteStore, Store};

/// Why an instance is not opened, and what would do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store's files.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
    /// The root key.
    #[error(transparent)]
    RootKey(#[from] RootKeyFileError),
    /// The store's keys.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
}

impl OpenError {
    /// The exit code of the contract: 73 for a store in use, else 78.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(OpenStoreError::HeldByAnother { .. }) => 73,
            _ => 78,
        }
    }
}

/// Opens what the configuration names. A dev instance is made where there is
/// none; any other was made by [`init`].
pub async fn open(config: &Config) -> Result<Services, OpenError> {
    let (store, seals) = match store_mode(config) {
        StoreMode::Dev => open_dev(config).await?,
        StoreMode::Production => {
            // Read first: where there is no root key, no store is made.
            let root = FileRootKey::read(root_key_path(config))?;
            let store = open_store(config)?;
            let seals = store_keys::unlock(store.as_ref(), &root, StoreMode::Production).await?;
            (store, seals)
        }
    };
    let keys = Keys::new(store, seals, Arc::new(SystemClock));
    let arns = Arns::new(&config.region, &config.account);
    Ok(Services::new(keys, policy(config), arns))
}

async fn open_dev(config: &Config) -> Result<(Arc<dyn Store>, RecordSeals), OpenError> {
    let store = open_store(config)?;
    let seals = if store_keys::is_empty(store.as_ref()).await? {
        let root = made_or_left_over(config)?;
        store_keys::found(store.as_ref(), &root, StoreMode::Dev, SystemClock.now()).await?
    } else {
        let root = FileRootKey::read(root_key_path(config))?;
        store_keys::unlock(store.as_ref(), &root, StoreMode::Dev).await?
    };
    Ok((store, seals))
}

/// Makes the root key and the store that a configuration names. Both must be
/// new.
pub async fn init(config: &Config) -> Result<(), OpenError> {
    let store = open_store(config)?;
    if !store_keys::is_empty(store.as_ref()).await? {
        return Err(UnlockError::NotEmpty.into());
    }
    let root = FileRootKey::create(root_key_path(config))?;
    store_keys::found(store.as_ref(), &root, store_mode(config), SystemClock.now()).await?;
    Ok(())
}

fn open_store(config: &Config) -> Result<Arc<dyn Store>, OpenError> {
    let StoreConfig::Sqlite { path } = &config.store;
    Ok(Arc::new(SqliteStore::open(path)?))
}

/// A dev instance whose first start was cut off between root key and store has
/// a root key already.
fn made_or_left_over(config: &Config) -> Result<FileRootKey, RootKeyFileError> {
    let path = root_key_path(config);
    match FileRootKey::create(path) {
        Err(RootKeyFileError::Exists(_)) => FileRootKey::read(path),
        made => made,
    }
}

fn root_key_path(config: &Config) -> &std::path::Path {
    let RootKeyConfig::File { path } = &config.root_key;
    path
}

fn store_mode(config: &Config) -> StoreMode {
    match config.mode {
        Mode::Dev => StoreMode::Dev,
        Mode::Config => StoreMode::Production,
    }
}

fn policy(config: &Config) -> Policy {
    match config.mode {
        Mode::Dev => Policy::dev(),
        Mode::Config => Policy::verified_callers(),
    }
}
