//! Key versions, taken for one grant and one use.

use std::sync::Arc;

use crate::access::policy::Grant;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::keyring::key_version::KeyVersion;
use crate::keys::keyring::pair_version::PairVersion;
use crate::keys::keyring::{Keyring, StoredCmk, granted_key};
use crate::keys::model::cmk::KeyUsage;
use crate::keys::model::key_state::Operation;
use crate::keys::not_done::NotDone;

impl Keyring {
    /// The CMK whose version this is, if it is one of this store's.
    pub async fn find_by_version(&self, id: KeyVersionId) -> Result<Option<Arc<StoredCmk>>> {
        match self.load_version(id).await? {
            Some(loaded) => self.find(loaded.key_id).await,
            None => Ok(None),
        }
    }

    /// Takes the version that seals now.
    pub async fn take_primary(&self, grant: Grant) -> Result<KeyVersion, NotDone> {
        self.take(grant, None).await
    }

    /// Takes the version that opens a blob.
    pub async fn take_version(
        &self,
        grant: Grant,
        id: KeyVersionId,
    ) -> Result<KeyVersion, NotDone> {
        self.take(grant, Some(id)).await
    }

    async fn take(
        &self,
        grant: Grant,
        version: Option<KeyVersionId>,
    ) -> Result<KeyVersion, NotDone> {
        let current = self.usable(&grant).await?;
        current.cmk.check_seals()?;
        let id = version.unwrap_or(current.cmk.newest_version);
        let loaded = self.load_version(id).await?.ok_or(Rule::KeyVersionNotFound)?;
        if loaded.key_id != current.cmk.id {
            return Err(
                Error::internal("a key version was asked for by a grant for another key").into()
            );
        }
        Ok(KeyVersion { loaded, grant })
    }

    /// Takes a version of an asymmetric CMK: of that usage, where one is asked
    /// for.
    pub async fn take_pair(
        &self,
        grant: Grant,
        version: Option<KeyVersionId>,
        usage: Option<KeyUsage>,
    ) -> Result<PairVersion, NotDone> {
        let current = self.usable(&grant).await?;
        current.cmk.check_pair(usage)?;
        let unknown = || Error::from(Rule::KeyVersionNotFound);
        let id = version.ok_or_else(unknown)?;
        let loaded = self.load_version(id).await?.ok_or_else(unknown)?;
        if loaded.key_id != current.cmk.id {
            return Err(unknown().into());
        }
        Ok(PairVersion::new(loaded, grant)?)
    }

    /// The grant is for a key at a revision; here its state is judged, on what
    /// the store holds now.
    async fn usable(&self, grant: &Grant) -> Result<Arc<StoredCmk>, NotDone> {
        let granted = granted_key(grant)?;
        let current = self.find(granted.id).await?.ok_or(Rule::KeyNotFound)?;
        if current.facts() != granted {
            return Err(NotDone::Stale);
        }
        current.cmk.state.check(Operation::Use)?;
        Ok(current)
    }
}
