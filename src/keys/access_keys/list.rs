//! Lists of access keys, oldest first, without their secrets.

use jiff::Timestamp;

use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::Look;
use crate::access::service_account::ServiceAccount;
use crate::error::{Error, Result};
use crate::ids::{AccessKeyId, AccessKeyOrder};
use crate::keys::access_keys::{AccessKey, AccessKeyState, AccessKeys};
use crate::keys::pages::{Page, PageRequest};
use crate::keys::paths::StorePath;

/// An access key in a list; nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyEntry {
    /// Its id.
    pub id: AccessKeyId,
    /// The service account that it is for.
    pub account: ServiceAccount,
    /// Whether what it signs is accepted.
    pub state: AccessKeyState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An access key as an index names it, which proves nothing.
type Indexed = (AccessKeyOrder, AccessKeyId);

impl AccessKeys {
    /// A page of all access keys.
    pub async fn list(
        &self,
        grant: Grant<Look>,
        page: &PageRequest,
    ) -> Result<Page<AccessKeyEntry>> {
        grant.instance_for(Action::ListAccessKeys)?;
        let listed = self.vault.page(StorePath::ACCESS_KEY_ORDER, page).await?;
        let listed = listed.try_map(|(path, _)| match path {
            StorePath::AccessKeyOrder(order, id) => Ok((order, id)),
            _ => Err(StorePath::malformed()),
        })?;
        let keys = self.read_indexed(&listed.entries).await?;
        for key in &keys {
            self.check_listed(key).await?;
        }
        Ok(listed.with(keys.into_iter().map(AccessKeyEntry::from).collect()))
    }

    /// A page of the access keys of one service account.
    pub async fn list_of(
        &self,
        grant: Grant<Look>,
        account: &ServiceAccount,
        page: &PageRequest,
    ) -> Result<Page<AccessKeyEntry>> {
        grant.instance_for(Action::ListAccessKeys)?;
        let stored = self.read_account(account).await?;
        let path = stored.path.to_string();
        let listed = self.vault.seals().page_of(&path, stored.keys, |entry| &entry.order, page)?;
        let listed = listed.try_map(|entry| {
            let malformed = |_| Error::internal("the access keys of an account are malformed");
            let order = AccessKeyOrder::parse(&entry.order).map_err(malformed)?;
            let id = AccessKeyId::parse(&entry.access_key_id).map_err(malformed)?;
            Ok((order, id))
        })?;
        let keys = self.read_indexed(&listed.entries).await?;
        if keys.iter().any(|key| key.account != *account) {
            return Err(self.vault.not_intact(&stored.path));
        }
        Ok(listed.with(keys.into_iter().map(AccessKeyEntry::from).collect()))
    }

    /// The access keys that an index names, all as of one moment. One that was
    /// deleted in between is passed over.
    async fn read_indexed(&self, indexed: &[Indexed]) -> Result<Vec<AccessKey>> {
        let paths: Vec<_> = indexed.iter().map(|(_, id)| StorePath::AccessKey(*id)).collect();
        let found = self.vault.find_all(&paths).await?;
        let mut keys = Vec::with_capacity(indexed.len());
        for ((order, id), found) in indexed.iter().zip(found) {
            let Some(found) = found else { continue };
            let key = self.to_access_key(*id, found)?.key;
            if key.order != *order {
                return Err(self.vault.not_intact(&StorePath::AccessKeyOrder(*order, *id)));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

impl From<AccessKey> for AccessKeyEntry {
    fn from(key: AccessKey) -> Self {
        let AccessKey { id, account, state, created_at, .. } = key;
        Self { id, account, state, created_at }
    }
}
