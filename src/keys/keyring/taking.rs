//! Key versions, taken for one grant and one use.

use std::sync::Arc;

use crate::access::actions::Actions;
use crate::access::grant::{Grant, KeyIdentity};
use crate::access::operations::Action;
use crate::access::purpose::Use;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::keyring::key_version::{GENERATING, KeyVersion, OPENING};
use crate::keys::keyring::pair_version::PairVersion;
use crate::keys::keyring::{Keyring, StoredCmk};
use crate::keys::model::cmk::KeyUsage;
use crate::keys::model::key_state::Operation;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;

/// The actions that seal.
const SEALING: Actions = GENERATING.with(Action::Encrypt).with(Action::ReEncryptTo);
/// The actions on key pairs.
const PAIRS: Actions = Actions::of(&[
    Action::GetPublicKey,
    Action::AsymmetricEncrypt,
    Action::AsymmetricDecrypt,
    Action::AsymmetricSign,
    Action::AsymmetricVerify,
    Action::ReEncryptFrom,
]);

impl Keyring {
    /// The CMK whose version this is, if it is one of this store's.
    pub async fn find_by_version(&self, id: KeyVersionId) -> Result<Option<Arc<StoredCmk>>> {
        let Some(loaded) = self.load_version(id).await? else { return Ok(None) };
        let found = self.find(loaded.key_id).await?;
        if found.is_none() {
            self.check_entombed(loaded.key_id).await?;
        }
        Ok(found)
    }

    /// Takes the version that seals now.
    pub async fn take_primary(&self, grant: Grant<Use>) -> Result<KeyVersion, NotDone> {
        let key = grant.key_for(SEALING)?;
        self.take(grant, key, None).await
    }

    /// Takes the version that opens a blob.
    pub async fn take_version(
        &self,
        grant: Grant<Use>,
        id: KeyVersionId,
    ) -> Result<KeyVersion, NotDone> {
        let key = grant.key_for(OPENING)?;
        self.take(grant, key, Some(id)).await
    }

    async fn take(
        &self,
        grant: Grant<Use>,
        key: KeyIdentity,
        version: Option<KeyVersionId>,
    ) -> Result<KeyVersion, NotDone> {
        let current = self.usable(key).await?;
        current.cmk.check_seals()?;
        let id = version.unwrap_or(current.cmk.newest_version);
        let loaded = match self.load_version(id).await? {
            Some(loaded) => loaded,
            None if version.is_some() => return Err(Rule::KeyVersionNotFound.into()),
            // The CMK names it: somebody took it away, unless both are deleted now.
            None => {
                self.unless_stale(&current).await?;
                return Err(self.vault.not_intact(&StorePath::Version(id)).into());
            }
        };
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
        grant: Grant<Use>,
        version: Option<KeyVersionId>,
        usage: Option<KeyUsage>,
    ) -> Result<PairVersion, NotDone> {
        let current = self.usable(grant.key_for(PAIRS)?).await?;
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
    async fn usable(&self, granted: KeyIdentity) -> Result<Arc<StoredCmk>, NotDone> {
        let current = self.granted(granted).await?;
        current.cmk.state.check(Operation::Use)?;
        Ok(current)
    }
}
