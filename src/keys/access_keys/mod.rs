//! Access keys: with them, programs sign their requests.
//!
//! Three records stand for one access key, written in one commit: the access
//! key with its secret, sealed; an index entry in the order of creation; and the
//! list of its service account's access keys.

pub mod list;
pub mod refused_changes;
pub mod used_nonces;

use std::sync::Arc;

use jiff::Timestamp;

use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::purpose::Change;
use crate::access::service_account::ServiceAccount;
use crate::audit::trail::Intent;
use crate::crypto::random;
use crate::crypto::secret::{AccessKeySecret, Reveal};
use crate::error::{Error, Result, Rule};
use crate::ids::{ACCESS_KEY_TAIL_LEN_BYTES, AccessKeyId, AccessKeyOrder};
use crate::keys::access_keys::refused_changes::RefusedChanges;
use crate::keys::caches::{Caches, FreshCache};
use crate::keys::clock::Clock;
use crate::keys::guard::records::v1;
use crate::keys::model::named::named;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::vault::Urgency;
use crate::keys::vault::{OpenedRecord, Vault};
use crate::keys::written::Written;
use crate::limits::ACCESS_KEYS;
use crate::storage::{Precondition, Revision, Write};

const MAX_CACHED_ACCESS_KEYS: u64 = 20_000;

named! {
    /// Whether what an access key signs is accepted.
    AccessKeyState {
        /// It is.
        Enabled = "Enabled",
        /// It is not, for good.
        Disabled = "Disabled",
    }
}

/// An access key.
#[derive(Debug)]
pub struct AccessKey {
    /// Its id, which requests bear.
    pub id: AccessKeyId,
    /// The service account that it is for.
    pub account: ServiceAccount,
    /// Whether what it signs is accepted.
    pub state: AccessKeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// The secret that requests are signed with.
    pub secret: AccessKeySecret,
    order: AccessKeyOrder,
}

impl AccessKey {
    fn generate(account: ServiceAccount, now: Timestamp) -> Result<Self> {
        let mut tail = [0; ACCESS_KEY_TAIL_LEN_BYTES];
        random::fill_base62(&mut tail)?;
        let id = AccessKeyId::of_tail(tail)
            .map_err(|_| Error::internal("an access key id was drawn that is none"))?;
        Ok(Self {
            id,
            account,
            state: AccessKeyState::Enabled,
            created_at: now,
            secret: AccessKeySecret::generate()?,
            order: AccessKeyOrder::new(),
        })
    }

    /// The caller that signs with it.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        self.account.principal()
    }

    /// Whether what it signs is accepted.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state == AccessKeyState::Enabled
    }
}

/// The access keys of one service account, as the store has them.
struct StoredAccount {
    path: StorePath,
    keys: Vec<v1::AccountAccessKey>,
    revision: Option<Revision>,
}

/// An access key as the store has it.
struct StoredAccessKey {
    key: AccessKey,
    revision: Revision,
}

/// Loads, keeps and changes access keys.
pub struct AccessKeys {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    cached: Cached,
    refused: Arc<RefusedChanges>,
}

/// The access keys that are kept.
pub(in crate::keys) type Cached = FreshCache<AccessKeyId, Arc<AccessKey>>;

pub(in crate::keys) fn cached_among(caches: &mut Caches) -> Cached {
    caches.counted(MAX_CACHED_ACCESS_KEYS, |path| match path {
        StorePath::AccessKey(id) => Some(*id),
        _ => None,
    })
}

impl AccessKeys {
    pub(in crate::keys) fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>, cached: Cached) -> Self {
        Self { vault, clock, cached, refused: Arc::default() }
    }

    /// The access key of that id, if there is one, whatever its state.
    pub async fn find(&self, id: &AccessKeyId) -> Result<Option<Arc<AccessKey>>> {
        if let Some(found) = self.cached.get(id) {
            return Ok(Some(found));
        }
        let Some(found) = self.vault.find(&StorePath::AccessKey(*id)).await? else {
            return Ok(None);
        };
        let read_at = found.read_at;
        let found = Arc::new(self.to_access_key(*id, found)?.key);
        self.check_listed(&found).await?;
        self.cached.keep(read_at, *id, Arc::clone(&found));
        Ok(Some(found))
    }

    /// Refuses an access key that its service account does not list. So an account
    /// whose list was taken away is found at any of its access keys, and its limit
    /// does not begin anew: of what was there before, nothing is accepted.
    async fn check_listed(&self, key: &AccessKey) -> Result<()> {
        let account_path = StorePath::ServiceAccount(key.account.clone());
        let paths = [StorePath::AccessKey(key.id), account_path.clone()];
        let (values, _) = self.vault.read(&paths).await?;
        let mut values = values.into_iter();
        if values.next().flatten().is_none() {
            // Both go in one commit.
            return Ok(());
        }
        let lost = || self.vault.not_intact(&account_path);
        let account = values.next().flatten().ok_or_else(lost)?;
        let (account, _): (v1::ServiceAccount, _) = self.vault.open(&account_path, &account)?;
        let id = key.id.as_str();
        let is_listed = account.access_keys.iter().any(|entry| entry.access_key_id == id);
        if is_listed { Ok(()) } else { Err(lost()) }
    }

    /// Refuses one more access key for a service account that has as many as it
    /// can have.
    pub async fn check_room(&self, account: &ServiceAccount) -> Result<()> {
        self.read_account(account).await?.check_room()
    }

    /// Makes an access key for the service account that was granted.
    pub async fn create(&self, intent: Intent, grant: Grant<Change>) -> Result<AccessKey, NotDone> {
        let account = grant.account_for(Action::CreateAccessKey)?.clone();
        let key = AccessKey::generate(account, self.clock.whole_second())?;
        let mut account = self.read_account(&key.account).await?;
        account.add(&key)?;
        let preconditions = [StorePath::AccessKey(key.id).absent(), account.unchanged()];
        let writes = [
            self.access_key_write(&key)?,
            StorePath::AccessKeyOrder(key.order, key.id).mark(),
            self.account_write(&account)?,
        ];
        self.vault.commit(&intent, Urgency::Usual, &preconditions, &writes).await?;
        Ok(key)
    }

    /// Disables an access key, for good.
    pub async fn disable(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        id: AccessKeyId,
    ) -> Result<Written, NotDone> {
        let StoredAccessKey { key, revision } =
            self.granted(grant.account_for(Action::DisableAccessKey)?, id).await?;
        if !key.is_enabled() {
            return Ok(Written::AsItWas);
        }
        let disabled = AccessKey { state: AccessKeyState::Disabled, ..key };
        let unchanged = [StorePath::AccessKey(id).at(revision)];
        let writes = [self.access_key_write(&disabled)?];
        self.vault.commit(&intent, Urgency::Urgent, &unchanged, &writes).await?;
        Ok(Written::Changed)
    }

    /// Takes an access key away, its secret included.
    pub async fn delete(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        id: AccessKeyId,
    ) -> Result<(), NotDone> {
        let StoredAccessKey { key, revision } =
            self.granted(grant.account_for(Action::DeleteAccessKey)?, id).await?;
        let mut account = self.read_account(&key.account).await?;
        account.keys.retain(|entry| entry.access_key_id != id.as_str());
        let path = StorePath::AccessKey(id);
        let preconditions = [path.at(revision), account.unchanged()];
        // The account's record stays, be it empty: what is put there tells
        // whether a commit of uncertain outcome was made.
        let writes = [
            path.delete(),
            StorePath::AccessKeyOrder(key.order, id).delete(),
            self.account_write(&account)?,
        ];
        self.vault.commit(&intent, Urgency::Urgent, &preconditions, &writes).await.map(drop)
    }

    /// An access key of the account that was granted, as the store has it now.
    async fn granted(&self, account: &ServiceAccount, id: AccessKeyId) -> Result<StoredAccessKey> {
        let found = self.vault.find(&StorePath::AccessKey(id)).await?;
        let stored = self.to_access_key(id, found.ok_or(Rule::AccessKeyNotFound)?)?;
        if stored.key.account != *account {
            return Err(Error::internal("a grant was used for another service account"));
        }
        Ok(stored)
    }

    fn to_access_key(
        &self,
        id: AccessKeyId,
        found: OpenedRecord<v1::AccessKey>,
    ) -> Result<StoredAccessKey> {
        let OpenedRecord { record, secret, revision, .. } = found;
        let key = || {
            Some(AccessKey {
                id,
                account: ServiceAccount::parse(&record.service_account).ok()?,
                state: AccessKeyState::parse(&record.state)?,
                created_at: Timestamp::from_second(record.created_at_seconds).ok()?,
                secret: AccessKeySecret::from_stored(secret).ok()?,
                order: AccessKeyOrder::parse(&record.order).ok()?,
            })
        };
        let key = key().ok_or_else(|| self.vault.not_intact(&StorePath::AccessKey(id)))?;
        Ok(StoredAccessKey { key, revision })
    }

    fn access_key_write(&self, key: &AccessKey) -> Result<Write> {
        let record = v1::AccessKey {
            service_account: key.account.name().to_owned(),
            state: key.state.as_str().to_owned(),
            created_at_seconds: key.created_at.as_second(),
            order: key.order.to_string(),
        };
        self.vault.put(&StorePath::AccessKey(key.id), &record, key.secret.reveal(Reveal::ToStore))
    }

    async fn read_account(&self, account: &ServiceAccount) -> Result<StoredAccount> {
        let path = StorePath::ServiceAccount(account.clone());
        let (keys, revision) = match self.vault.find::<v1::ServiceAccount>(&path).await? {
            Some(found) => (found.record.access_keys, Some(found.revision)),
            None => (Vec::new(), None),
        };
        Ok(StoredAccount { path, keys, revision })
    }

    fn account_write(&self, account: &StoredAccount) -> Result<Write> {
        let record = v1::ServiceAccount { access_keys: account.keys.clone() };
        self.vault.put(&account.path, &record, &[])
    }
}

impl StoredAccount {
    fn check_room(&self) -> Result<()> {
        if self.keys.len() < ACCESS_KEYS.max {
            return Ok(());
        }
        let text = format!(
            "The service account has no room for another access key: it can have {ACCESS_KEYS}."
        );
        Err(Error::from(Rule::StoredLimitReached).saying(text))
    }

    fn add(&mut self, key: &AccessKey) -> Result<()> {
        self.check_room()?;
        let entry = v1::AccountAccessKey {
            order: key.order.to_string(),
            access_key_id: key.id.to_string(),
        };
        let at = self.keys.partition_point(|other| other.order < entry.order);
        self.keys.insert(at, entry);
        Ok(())
    }

    fn unchanged(&self) -> Precondition {
        self.path.unchanged(self.revision)
    }
}
