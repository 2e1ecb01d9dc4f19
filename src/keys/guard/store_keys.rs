//! Store keys: they seal the store's records, and lie in the store themselves,
//! wrapped under the root key, in one slot per root key.
//!
//! Moving to another root key is: add a slot, open it, remove the old one. No
//! record is touched.

use std::fmt;

use jiff::Timestamp;
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::secret::{Reveal, StoreKey};
use crate::ids::{StoreId, StoreKeyId};
use crate::keys::guard::records::{FORMAT_VERSION, RecordKind, RecordSeals, v1};
use crate::keys::guard::root_key::{RootKeyError, RootKeyId, RootKeyProvider};
use crate::keys::paths::StorePath;
use crate::storage::{Precondition, Store, StoreError, Write, commit_settled};

const IDENTITY_PATH: &str = StorePath::IDENTITY;
/// More slots than any store needs.
const MAX_SLOTS: usize = 16;

/// The purpose that a store was made for. A server of one mode refuses stores of
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreMode {
    /// Trying things out: its root key may lie beside it.
    Dev,
    /// Keys that matter.
    Production,
}

impl fmt::Display for StoreMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dev => "development",
            Self::Production => "production",
        })
    }
}

/// A store is not unlocked. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// There are no keys in it.
    #[error(
        "the store is empty: `keyferry init DIR` makes a store and its root key in a new directory; if there is a store, give its path"
    )]
    Empty,
    /// There are records in it.
    #[error(
        "the store is not empty, and a root key is made only for an empty store: give the root key that it was made with"
    )]
    NotEmpty,
    /// It was made for another mode.
    #[error("this is a {made_for} store, and this server runs in {running} mode: {}", advice(*made_for))]
    OtherMode {
        /// The store's mode.
        made_for: StoreMode,
        /// The server's mode.
        running: StoreMode,
    },
    /// It was made with another root key.
    #[error(
        "the store wants the root key {}, and the one at {at} is {given}: put the right one there",
        wanted.join(" or ")
    )]
    OtherRootKey {
        /// The root keys that the store has slots for.
        wanted: Vec<String>,
        /// The configured root key.
        given: RootKeyId,
        /// The place of the configured root key.
        at: String,
    },
    /// It was tampered with or damaged.
    #[error(
        "the store's {0} is not intact: restore the store from a backup, and find out who wrote to it"
    )]
    NotIntact(&'static str),
    /// It cannot be read or written.
    #[error("the store cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The root key cannot be used.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// No randomness could be had.
    #[error("the kernel gave no random bytes")]
    NoRandomness,
}

fn advice(made_for: StoreMode) -> &'static str {
    match made_for {
        StoreMode::Dev => "open it with `keyferry serve --dev --data-dir`, or give another path",
        StoreMode::Production => {
            "open it with `keyferry serve --config`, or give another directory"
        }
    }
}

/// Whether nothing was ever put into this store.
pub async fn is_empty(store: &dyn Store) -> Result<bool, UnlockError> {
    Ok(store.list("", None, 1).await?.entries.is_empty())
}

/// Makes the keys of an empty store and wraps them under this root key.
pub async fn create(
    store: &dyn Store,
    root: &dyn RootKeyProvider,
    mode: StoreMode,
    now: Timestamp,
) -> Result<RecordSeals, UnlockError> {
    if !is_empty(store).await? {
        return Err(UnlockError::NotEmpty);
    }
    let store_id = StoreId::new();
    let key = StoreKey::generate().map_err(|_| UnlockError::NoRandomness)?;
    let store_keys = [(StoreKeyId::new(), key)];
    let slot = make_slot(root, store_id, &store_keys)?;
    let seals = RecordSeals::new(store_id, &store_keys);
    let identity = v1::StoreIdentity {
        store_id: store_id.as_bytes().to_vec(),
        dev: mode == StoreMode::Dev,
        created_at_seconds: now.as_second(),
    };
    let identity = seals
        .seal(RecordKind::Identity, IDENTITY_PATH, &identity, &[])
        .map_err(|_| UnlockError::NoRandomness)?;
    let slot_path = slot_path(root.id().as_str());
    let absent =
        [Precondition::Absent(IDENTITY_PATH.into()), Precondition::Absent(slot_path.clone())];
    let writes = [Write::Put(IDENTITY_PATH.into(), identity), Write::Put(slot_path, slot)];
    commit_settled(store, &absent, &writes).await?;
    Ok(seals)
}

/// Opens a store with its root key.
pub async fn unlock(
    store: &dyn Store,
    root: &dyn RootKeyProvider,
    mode: StoreMode,
) -> Result<RecordSeals, UnlockError> {
    let slot_path = slot_path(root.id().as_str());
    let snapshot = store.read(&[IDENTITY_PATH, &slot_path]).await?;
    let mut values = snapshot.values.into_iter();
    let (identity, slot) = (values.next().flatten(), values.next().flatten());
    let Some(identity) = identity else {
        return Err(if is_empty(store).await? {
            UnlockError::Empty
        } else {
            UnlockError::NotIntact("identity")
        });
    };
    let Some(slot) = slot else {
        return Err(other_root_key(store, root).await?);
    };
    let (store_id, store_keys) = open_slot(root, &slot.value)?;
    let seals = RecordSeals::new(store_id, &store_keys);
    let (identity, _): (v1::StoreIdentity, _) = seals
        .open(RecordKind::Identity, IDENTITY_PATH, &identity.value)
        .map_err(|_| UnlockError::NotIntact("identity"))?;
    let made_for = if identity.dev { StoreMode::Dev } else { StoreMode::Production };
    if made_for == mode {
        Ok(seals)
    } else {
        Err(UnlockError::OtherMode { made_for, running: mode })
    }
}

async fn other_root_key(
    store: &dyn Store,
    root: &dyn RootKeyProvider,
) -> Result<UnlockError, UnlockError> {
    let slots = store.list(StorePath::ROOT_KEY_SLOTS, None, MAX_SLOTS).await?;
    let ids =
        slots.entries.iter().filter_map(|(path, _)| path.strip_prefix(StorePath::ROOT_KEY_SLOTS));
    Ok(UnlockError::OtherRootKey {
        wanted: ids.map(str::to_owned).collect(),
        given: root.id().clone(),
        at: root.description(),
    })
}

fn slot_path(root_key_id: &str) -> String {
    StorePath::RootKeySlot(root_key_id.to_owned()).to_string()
}

/// The data that is authenticated beside the wrapped store keys: lengths first, so
/// that no two slots share one encoding.
fn slot_aad(store_id: StoreId, root_key_id: &str, provider: &str) -> Vec<u8> {
    let mut aad = b"keyferry/slot".to_vec();
    aad.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
    aad.extend_from_slice(store_id.as_bytes());
    for part in [root_key_id, provider] {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part.as_bytes());
    }
    aad
}

fn make_slot(
    root: &dyn RootKeyProvider,
    store_id: StoreId,
    store_keys: &[(StoreKeyId, StoreKey)],
) -> Result<Vec<u8>, UnlockError> {
    let mut keys = v1::StoreKeys {
        store_keys: store_keys
            .iter()
            .map(|(id, key)| v1::StoreKey {
                id: id.as_bytes().to_vec(),
                key: key.reveal(Reveal::ToStore).to_vec(),
            })
            .collect(),
    };
    let encoded = Zeroizing::new(keys.encode_to_vec());
    wipe(&mut keys);
    let aad = slot_aad(store_id, root.id().as_str(), root.provider());
    let wrapped = root.wrap(&aad, &encoded)?;
    let slot = v1::RootKeySlot {
        format_version: FORMAT_VERSION,
        root_key_id: root.id().to_string(),
        provider: root.provider().to_owned(),
        store_id: store_id.as_bytes().to_vec(),
        nonce: wrapped.nonce,
        wrapped_store_keys: wrapped.bytes,
    };
    Ok(slot.encode_to_vec())
}

fn open_slot(
    root: &dyn RootKeyProvider,
    value: &[u8],
) -> Result<(StoreId, Vec<(StoreKeyId, StoreKey)>), UnlockError> {
    let not_intact = || UnlockError::NotIntact("root key slot");
    let slot = v1::RootKeySlot::decode(value).map_err(|_| not_intact())?;
    if slot.format_version != FORMAT_VERSION {
        return Err(not_intact());
    }
    let store_id = StoreId::from_bytes(&slot.store_id).map_err(|_| not_intact())?;
    let aad = slot_aad(store_id, &slot.root_key_id, &slot.provider);
    let unwrapped = root.unwrap(&aad, &slot.nonce, &slot.wrapped_store_keys);
    let encoded = unwrapped.map_err(|error| match error {
        RootKeyError::NotIntact => not_intact(),
        other => other.into(),
    })?;
    let mut keys = v1::StoreKeys::decode(encoded.as_slice()).map_err(|_| not_intact())?;
    let store_keys = keys.store_keys.iter_mut().map(take_store_key).collect::<Option<Vec<_>>>();
    wipe(&mut keys);
    Ok((store_id, store_keys.ok_or_else(not_intact)?))
}

fn take_store_key(key: &mut v1::StoreKey) -> Option<(StoreKeyId, StoreKey)> {
    let bytes = Zeroizing::new(std::mem::take(&mut key.key));
    Some((StoreKeyId::from_bytes(&key.id).ok()?, StoreKey::from_stored(bytes).ok()?))
}

fn wipe(keys: &mut v1::StoreKeys) {
    for key in &mut keys.store_keys {
        key.key.zeroize();
    }
}
