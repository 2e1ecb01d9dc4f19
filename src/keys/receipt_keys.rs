//! The keys that sign receipts of exports.
//!
//! They lie in one record, which is read once and kept: the public keys with their dates,
//! and the private key of the newest. The first is made when it is first needed, and a
//! rotation puts a new one beside it and erases the old private key, each in one commit
//! on the record as it was found: of several processes that try, one succeeds, and the
//! others take its key.
//!
//! They are no CMK, so that no operation on CMKs signs with them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::Look;
use crate::config::ReceiptConfig;
use crate::crypto::receipt::{
    Claims, DatedKey, ReceiptKeySet, ReceiptPublicKey, ReceiptSigningKey,
};
use crate::crypto::secret::Reveal;
use crate::error::{Error, Result};
use crate::ids::StoreId;
use crate::keys::caches::{Caches, FreshCache};
use crate::keys::clock::Clock;
use crate::keys::guard::records::v1;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::vault::Vault;
use crate::storage::Revision;

/// More would not fit into a value of the store: then the oldest goes.
const MAX_KEYS: usize = 300;
/// Processes that make a key at the same time are few.
const MAX_ATTEMPTS: usize = 8;

/// The keys as the store has them: none before the first is needed.
#[derive(Default)]
struct StoredKeys {
    keys: Vec<DatedKey>,
    newest: Option<ReceiptSigningKey>,
    revision: Option<Revision>,
}

/// Loads, makes and rotates the keys that sign receipts, and signs with them.
pub struct ReceiptKeys {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    cached: Cached,
    rotation_days: AtomicU32,
}

/// The keys that are kept.
#[derive(Clone)]
pub(in crate::keys) struct Cached(FreshCache<(), Arc<StoredKeys>>);

pub(in crate::keys) fn cached_among(caches: &mut Caches) -> Cached {
    Cached(caches.counted(1, |path| matches!(path, StorePath::ReceiptKeys).then_some(())))
}

impl ReceiptKeys {
    pub(in crate::keys) fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>, cached: Cached) -> Self {
        let rotation_days = AtomicU32::new(ReceiptConfig::default().rotate_days.get());
        Self { vault, clock, cached, rotation_days }
    }

    /// Lets each key sign for so many days from now on.
    pub fn rotate_every(&self, days: NonZeroU32) {
        self.rotation_days.store(days.get(), Ordering::Relaxed);
    }

    /// The issuer of the receipts: the store.
    #[must_use]
    pub fn issuer(&self) -> StoreId {
        self.vault.seals().store_id()
    }

    /// The public keys, for anybody; none before the first is needed.
    pub async fn published(&self) -> Result<ReceiptKeySet> {
        let stored = self.find().await?;
        Ok(self.set_of(&stored))
    }

    /// The public keys, of which there is one at least.
    pub async fn publish(self: &Arc<Self>, grant: Grant<Look>) -> Result<ReceiptKeySet> {
        grant.instance_for(Action::GetReceiptKeys)?;
        let stored = self.find_or_make().await?;
        Ok(self.set_of(&stored))
    }

    /// The receipt that says this.
    pub async fn sign(self: &Arc<Self>, claims: &Claims) -> Result<String> {
        let stored = self.find_or_make().await?;
        let newest = stored.newest.as_ref().ok_or_else(no_key)?;
        newest.sign(claims).map_err(|_| Error::internal("a receipt could not be signed"))
    }

    /// Puts a new key in the place of one that has signed for long enough at that time.
    pub(in crate::keys) async fn rotate_if_due(self: &Arc<Self>, at: Timestamp) -> Result<bool> {
        let found = self.find().await?;
        let since = found.keys.last().and_then(|newest| newest.from);
        let hours = i64::from(self.rotation_days.load(Ordering::Relaxed)) * 24;
        let is_due = since
            .and_then(|since| since.checked_add(SignedDuration::from_hours(hours)).ok())
            .is_some_and(|due| due <= at);
        if !is_due {
            return Ok(false);
        }
        match self.add(found).await {
            Ok(()) => Ok(true),
            // Another process came first.
            Err(NotDone::Stale) => Ok(false),
            Err(NotDone::Refused(error)) => Err(error),
        }
    }

    fn set_of(&self, stored: &StoredKeys) -> ReceiptKeySet {
        ReceiptKeySet::new(self.issuer(), stored.keys.clone())
    }

    async fn find_or_make(self: &Arc<Self>) -> Result<Arc<StoredKeys>> {
        for _ in 0..MAX_ATTEMPTS {
            let found = self.find().await?;
            if found.newest.is_some() {
                return Ok(found);
            }
            match self.add(found).await {
                Ok(()) | Err(NotDone::Stale) => {}
                Err(NotDone::Refused(error)) => return Err(error),
            }
        }
        Err(no_key())
    }

    async fn find(&self) -> Result<Arc<StoredKeys>> {
        if let Some(found) = self.cached.0.get(&()) {
            return Ok(found);
        }
        let path = StorePath::ReceiptKeys;
        let (values, read_at) = self.vault.read(std::slice::from_ref(&path)).await?;
        let stored = match values.into_iter().next().flatten() {
            None => StoredKeys::default(),
            Some(found) => {
                let (record, secret) = self.vault.open(&path, &found)?;
                let stored = to_stored(&record, secret, found.revision);
                stored.ok_or_else(|| self.vault.not_intact(&path))?
            }
        };
        let stored = Arc::new(stored);
        // That there are none is kept too: strangers may ask.
        self.cached.0.keep(read_at, (), stored.clone());
        Ok(stored)
    }

    /// Makes a key that signs from now on, in the place of those that were found. In a
    /// task of its own: whoever asked may leave.
    async fn add(self: &Arc<Self>, found: Arc<StoredKeys>) -> Result<(), NotDone> {
        let this = self.clone();
        let task = tokio::spawn(async move { this.commit_another(&found).await });
        task.await.map_err(|why| Error::internal(format!("a key was not made: {why}")))?
    }

    async fn commit_another(&self, found: &StoredKeys) -> Result<(), NotDone> {
        let (key, material) = ReceiptSigningKey::generate()
            .map_err(|_| Error::internal("no key for receipts could be generated"))?;
        let now = self.clock.whole_second();
        let mut keys: Vec<_> = found.keys.iter().map(|key| to_record(key, now)).collect();
        keys.drain(..(keys.len() + 1).saturating_sub(MAX_KEYS));
        keys.push(v1::ReceiptKey {
            public_key: key.public().point().to_vec(),
            signs_from_seconds: now.as_second(),
            signed_until_seconds: 0,
        });
        let (path, record) = (StorePath::ReceiptKeys, v1::ReceiptKeys { keys });
        let write = self.vault.put(&path, &record, material.reveal(Reveal::ToStore))?;
        self.vault.keep_up(&[path.unchanged(found.revision)], &[write]).await?;
        let kid = key.public().thumbprint();
        tracing::info!(%kid, keys = record.keys.len(), "a new key signs receipts");
        Ok(())
    }
}

/// One that was found, which ends now unless it has ended.
fn to_record(key: &DatedKey, now: Timestamp) -> v1::ReceiptKey {
    let seconds = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_second);
    v1::ReceiptKey {
        public_key: key.key.point().to_vec(),
        signs_from_seconds: seconds(key.from),
        signed_until_seconds: seconds(key.until.or(Some(now))),
    }
}

fn to_stored(
    record: &v1::ReceiptKeys,
    secret: Zeroizing<Vec<u8>>,
    revision: Revision,
) -> Option<StoredKeys> {
    let newest = ReceiptSigningKey::from_stored(secret).ok()?;
    let keys = record.keys.iter().map(to_dated).collect::<Option<Vec<_>>>()?;
    let (last, ended) = keys.split_last()?;
    let in_order = last.until.is_none() && ended.iter().all(|key| key.until.is_some());
    let fits = in_order && last.key == *newest.public();
    fits.then_some(StoredKeys { keys, newest: Some(newest), revision: Some(revision) })
}

fn to_dated(record: &v1::ReceiptKey) -> Option<DatedKey> {
    let until = match record.signed_until_seconds {
        0 => None,
        seconds => Some(Timestamp::from_second(seconds).ok()?),
    };
    Some(DatedKey {
        key: ReceiptPublicKey::from_point(&record.public_key).ok()?,
        from: Some(Timestamp::from_second(record.signs_from_seconds).ok()?),
        until,
    })
}

fn no_key() -> Error {
    Error::internal("there is no key that signs receipts")
}
