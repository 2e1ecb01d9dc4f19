//! Lists of access keys, oldest first, without their secrets.

use jiff::Timestamp;

use crate::access::policy::Grant;
use crate::access::service_account::ServiceAccount;
use crate::error::{Error, Result};
use crate::ids::{AccessKeyId, AccessKeyPlace};
use crate::keys::access_keys::{AccessKey, AccessKeyState, ORDER_PREFIX, account_path, path};
use crate::keys::guard::records::v1;
use crate::keys::keyring::Keyring;
use crate::keys::pages::{Page, PageRequest};

/// What is known of an access key; nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyEntry {
    /// Its id.
    pub id: AccessKeyId,
    /// The service account that it is for.
    pub account: ServiceAccount,
    /// Whether it lets anybody in.
    pub state: AccessKeyState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An access key as an index names it, which proves nothing.
struct Indexed {
    place: AccessKeyPlace,
    id: AccessKeyId,
}

impl Keyring {
    /// A page of all access keys.
    pub async fn list_access_keys(
        &self,
        _grant: Grant,
        page: &PageRequest,
    ) -> Result<Page<AccessKeyEntry>> {
        let listed = self.list_paths(ORDER_PREFIX, page).await?;
        let indexed = listed.entries.iter().map(|(path, _)| Indexed::at(path));
        let keys = self.read_indexed(indexed.collect::<Result<_>>()?).await?;
        let entries = keys.into_iter().map(AccessKeyEntry::from).collect();
        let Page { total_count, next_page_token, .. } = listed;
        Ok(Page { entries, total_count, next_page_token })
    }

    /// A page of the access keys of one service account.
    pub async fn list_access_keys_of(
        &self,
        _grant: Grant,
        account: &ServiceAccount,
        page: &PageRequest,
    ) -> Result<Page<AccessKeyEntry>> {
        let all = self.read_account(account).await?.keys;
        let path = account_path(account);
        let (shown, next_page_token) =
            self.seals.page_of(&path, &all, |entry| &entry.place, page)?;
        let indexed = shown.iter().map(Indexed::of);
        let keys = self.read_indexed(indexed.collect::<Result<_>>()?).await?;
        if keys.iter().any(|key| key.account != *account) {
            return Err(self.not_intact(&path));
        }
        let entries = keys.into_iter().map(AccessKeyEntry::from).collect();
        Ok(Page { entries, total_count: all.len() as u64, next_page_token })
    }

    /// The access keys that an index names, all as of one moment. What was
    /// deleted in between is passed over.
    async fn read_indexed(&self, indexed: Vec<Indexed>) -> Result<Vec<AccessKey>> {
        let paths: Vec<_> = indexed.iter().map(|entry| path(entry.id)).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let read = self.store.read(&paths).await?.values;
        let mut keys = Vec::with_capacity(indexed.len());
        for (Indexed { place, id }, stored) in indexed.into_iter().zip(read) {
            let Some(stored) = stored else { continue };
            let key = self.open_access_key(id, &stored)?;
            if key.place != place {
                return Err(self.not_intact(ORDER_PREFIX));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

impl Indexed {
    fn at(path: &str) -> Result<Self> {
        let (place, id) = path
            .strip_prefix(ORDER_PREFIX)
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(malformed)?;
        Self::parse(place, id)
    }

    fn of(entry: &v1::AccountAccessKey) -> Result<Self> {
        Self::parse(&entry.place, &entry.access_key_id)
    }

    fn parse(place: &str, id: &str) -> Result<Self> {
        let place = AccessKeyPlace::parse(place).map_err(|_| malformed())?;
        let id = AccessKeyId::parse(id).map_err(|_| malformed())?;
        Ok(Self { place, id })
    }
}

impl From<AccessKey> for AccessKeyEntry {
    fn from(key: AccessKey) -> Self {
        let AccessKey { id, account, state, created_at, .. } = key;
        Self { id, account, state, created_at }
    }
}

fn malformed() -> Error {
    Error::internal("an index of access keys is malformed")
}
