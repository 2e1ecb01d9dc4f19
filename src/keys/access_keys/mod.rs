//! Access keys: with them, programs sign their requests.
//!
//! Three records stand for one access key, written in one commit: the access
//! key with its secret, sealed; its place in the order of creation; and the list
//! of its service account's access keys.

pub mod list;
pub mod used_nonces;

use std::sync::Arc;

use jiff::Timestamp;

use crate::access::policy::Grant;
use crate::access::principal::Principal;
use crate::access::service_account::ServiceAccount;
use crate::crypto::random::{self, RandomUnavailable};
use crate::crypto::secret::{AccessKeySecret, Reveal};
use crate::error::{Error, Result, Rule};
use crate::ids::{ACCESS_KEY_TAIL_LEN_BYTES, AccessKeyId, AccessKeyPlace};
use crate::keys::guard::records::{RecordKind, v1};
use crate::keys::keyring::{Keyring, Refusal};
use crate::storage::{Precondition, Revision, Versioned, Write};

/// Most access keys that one service account can have.
pub const MAX_ACCESS_KEYS: usize = 10;

const PREFIX: &str = "access-key/";
pub(in crate::keys) const ORDER_PREFIX: &str = "access-key-order/";

/// Whether an access key lets anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessKeyState {
    /// It does.
    Enabled,
    /// It does not, for good.
    Disabled,
}

impl AccessKeyState {
    /// As the contract and the store write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled].into_iter().find(|state| state.as_str() == text)
    }
}

/// An access key.
#[derive(Debug)]
pub struct AccessKey {
    /// Its id, which requests bear.
    pub id: AccessKeyId,
    /// The service account that it is for.
    pub account: ServiceAccount,
    /// Whether it lets anybody in.
    pub state: AccessKeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// What requests are signed with.
    pub secret: AccessKeySecret,
    pub(in crate::keys) place: AccessKeyPlace,
}

impl AccessKey {
    fn generate(account: ServiceAccount, now: Timestamp) -> Result<Self> {
        let mut tail = [0; ACCESS_KEY_TAIL_LEN_BYTES];
        random::fill_base62(&mut tail).map_err(no_randomness)?;
        let id = AccessKeyId::of_tail(tail)
            .map_err(|_| Error::internal("an access key id was drawn that is none"))?;
        Ok(Self {
            id,
            account,
            state: AccessKeyState::Enabled,
            created_at: now,
            secret: AccessKeySecret::generate().map_err(no_randomness)?,
            place: AccessKeyPlace::new(),
        })
    }

    /// Who signs with it.
    #[must_use]
    pub const fn principal(&self) -> &Principal {
        self.account.principal()
    }

    /// Whether it lets anybody in.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.state == AccessKeyState::Enabled
    }
}

/// The access keys of one service account, as the store has them.
pub(in crate::keys) struct StoredAccount {
    path: String,
    pub(in crate::keys) keys: Vec<v1::AccountAccessKey>,
    revision: Option<Revision>,
}

impl Keyring {
    /// The access key of that id, if there is one, whatever its state.
    pub async fn find_access_key(&self, id: &AccessKeyId) -> Result<Option<Arc<AccessKey>>> {
        if let Some(found) = self.access_keys.get(id) {
            return Ok(Some(found));
        }
        let reading = self.access_keys.begin_reading();
        let Some(stored) = self.read_one(&path(*id)).await? else { return Ok(None) };
        let found = Arc::new(self.open_access_key(*id, &stored)?);
        self.access_keys.keep(reading, *id, Arc::clone(&found));
        Ok(Some(found))
    }

    /// Refuses one more access key for a service account that has as many as it
    /// can have.
    pub async fn check_room_for_access_key(&self, account: &ServiceAccount) -> Result<()> {
        self.read_account(account).await?.check_room()
    }

    /// Makes an access key for the service account that was granted.
    pub async fn create_access_key(&self, grant: Grant) -> Result<AccessKey, Refusal> {
        let key = AccessKey::generate(granted_account(&grant)?.clone(), self.now())?;
        let mut account = self.read_account(&key.account).await?;
        account.add(&key)?;
        let preconditions = [Precondition::Absent(path(key.id)), account.unchanged()];
        let writes = [
            self.access_key_write(&key)?,
            Write::Put(order_path(&key), Vec::new()),
            self.account_write(&account)?,
        ];
        self.commit_access_key(key.id, &preconditions, &writes).await?;
        Ok(key)
    }

    /// Lets nobody in by an access key any more.
    pub async fn disable_access_key(&self, grant: Grant, id: AccessKeyId) -> Result<(), Refusal> {
        let (key, revision) = self.granted_access_key(&grant, id).await?;
        if !key.is_enabled() {
            return Ok(());
        }
        let disabled = AccessKey { state: AccessKeyState::Disabled, ..key };
        let unchanged = [Precondition::At(path(id), revision)];
        self.commit_access_key(id, &unchanged, &[self.access_key_write(&disabled)?]).await
    }

    /// Takes an access key away, its secret included.
    pub async fn delete_access_key(&self, grant: Grant, id: AccessKeyId) -> Result<(), Refusal> {
        let (key, revision) = self.granted_access_key(&grant, id).await?;
        let mut account = self.read_account(&key.account).await?;
        account.keys.retain(|entry| entry.access_key_id != id.as_str());
        let preconditions = [Precondition::At(path(id), revision), account.unchanged()];
        // The account's record stays, be it empty: what is put there tells
        // whether a commit of uncertain outcome was made.
        let writes = [
            Write::Delete(path(id)),
            Write::Delete(order_path(&key)),
            self.account_write(&account)?,
        ];
        self.commit_access_key(id, &preconditions, &writes).await
    }

    /// The access key that a grant is for, as the store has it now.
    async fn granted_access_key(
        &self,
        grant: &Grant,
        id: AccessKeyId,
    ) -> Result<(AccessKey, Revision)> {
        let account = granted_account(grant)?;
        let stored = self.read_one(&path(id)).await?.ok_or(Rule::AccessKeyNotFound)?;
        let key = self.open_access_key(id, &stored)?;
        if key.account != *account {
            return Err(Error::internal("a grant was used for another service account"));
        }
        Ok((key, stored.revision))
    }

    async fn commit_access_key(
        &self,
        id: AccessKeyId,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<(), Refusal> {
        let outcome = self.commit(preconditions, writes).await;
        // Forgotten whatever the outcome: an unsettled commit may have happened.
        self.access_keys.forget(&id);
        outcome.map(|_| ())
    }

    pub(in crate::keys) fn open_access_key(
        &self,
        id: AccessKeyId,
        stored: &Versioned,
    ) -> Result<AccessKey> {
        let path = path(id);
        let (record, secret): (v1::AccessKey, _) =
            self.intact(self.seals.open(RecordKind::AccessKey, &path, &stored.value))?;
        let key = || {
            Some(AccessKey {
                id,
                account: ServiceAccount::parse(&record.service_account).ok()?,
                state: AccessKeyState::parse(&record.state)?,
                created_at: Timestamp::from_second(record.created_at_seconds).ok()?,
                secret: AccessKeySecret::from_stored(secret).ok()?,
                place: AccessKeyPlace::parse(&record.place).ok()?,
            })
        };
        key().ok_or_else(|| self.not_intact(&path))
    }

    fn access_key_write(&self, key: &AccessKey) -> Result<Write> {
        let path = path(key.id);
        let record = v1::AccessKey {
            service_account: key.account.name().to_owned(),
            state: key.state.as_str().to_owned(),
            created_at_seconds: key.created_at.as_second(),
            place: key.place.to_string(),
        };
        let secret = key.secret.reveal(Reveal::ToStore);
        let sealed = self.seals.seal(RecordKind::AccessKey, &path, &record, secret)?;
        Ok(Write::Put(path, sealed))
    }

    pub(in crate::keys) async fn read_account(
        &self,
        account: &ServiceAccount,
    ) -> Result<StoredAccount> {
        let path = account_path(account);
        let Some(stored) = self.read_one(&path).await? else {
            return Ok(StoredAccount { path, keys: Vec::new(), revision: None });
        };
        let (record, _): (v1::ServiceAccount, _) =
            self.intact(self.seals.open(RecordKind::ServiceAccount, &path, &stored.value))?;
        Ok(StoredAccount { path, keys: record.access_keys, revision: Some(stored.revision) })
    }

    fn account_write(&self, account: &StoredAccount) -> Result<Write> {
        let record = v1::ServiceAccount { access_keys: account.keys.clone() };
        let sealed = self.seals.seal(RecordKind::ServiceAccount, &account.path, &record, &[])?;
        Ok(Write::Put(account.path.clone(), sealed))
    }
}

impl StoredAccount {
    fn check_room(&self) -> Result<()> {
        if self.keys.len() < MAX_ACCESS_KEYS {
            return Ok(());
        }
        let text = format!(
            "The service account has {MAX_ACCESS_KEYS} access keys, which is the most that one can have."
        );
        Err(Error::from(Rule::StoredLimitReached).saying(text))
    }

    fn add(&mut self, key: &AccessKey) -> Result<()> {
        self.check_room()?;
        let entry = v1::AccountAccessKey {
            place: key.place.to_string(),
            access_key_id: key.id.to_string(),
        };
        let at = self.keys.partition_point(|other| other.place < entry.place);
        self.keys.insert(at, entry);
        Ok(())
    }

    fn unchanged(&self) -> Precondition {
        match self.revision {
            Some(revision) => Precondition::At(self.path.clone(), revision),
            None => Precondition::Absent(self.path.clone()),
        }
    }
}

/// The service account that a grant is for.
fn granted_account(grant: &Grant) -> Result<&ServiceAccount> {
    grant
        .account()
        .ok_or_else(|| Error::internal("a grant for no service account was used for one"))
}

fn no_randomness(error: RandomUnavailable) -> Error {
    Error::internal(error.to_string())
}

pub(in crate::keys) fn path(id: AccessKeyId) -> String {
    format!("{PREFIX}{id}")
}

fn order_path(key: &AccessKey) -> String {
    format!("{ORDER_PREFIX}{}/{}", key.place, key.id)
}

pub(in crate::keys) fn account_path(account: &ServiceAccount) -> String {
    format!("service-account/{}", account.name())
}
