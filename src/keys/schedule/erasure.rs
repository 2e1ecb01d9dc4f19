//! A deleted CMK: its tombstone, and the erasure of its material and names.
//!
//! The tombstone stays for ever: it proves that the CMK was deleted here, and
//! its id is not used again.

use crate::error::{Error, Result, Rule};
use crate::ids::KeyId;
use crate::keys::guard::records::v1;
use crate::keys::keyring::StoredCmk;
use crate::keys::model::alias_name::AliasName;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::schedule::Schedule;
use crate::storage::Write;

/// Versions that one commit erases, two records each.
const VERSIONS_AT_A_TIME: usize = 30;

impl Schedule {
    /// Puts a tombstone in the CMK's place. From here on it does not exist.
    pub(super) async fn entomb(&self, stored: &StoredCmk) -> Result<(), NotDone> {
        let cmk = &stored.cmk;
        let (path, tombstone_path) = (StorePath::Cmk(cmk.id), StorePath::Tombstone(cmk.id));
        let tombstone = v1::Tombstone {
            key_spec: cmk.spec.as_str().to_owned(),
            creator: cmk.creator.clone(),
            created_at_seconds: cmk.created_at.as_second(),
            deleted_at_seconds: self.clock.whole_second().as_second(),
        };
        let preconditions = [path.at(stored.revision), tombstone_path.absent()];
        let mut writes = vec![
            self.vault.put(&tombstone_path, &tombstone, &[])?,
            StorePath::Erasure(cmk.id).mark(),
            path.delete(),
        ];
        writes.extend(cmk.due().map(|due| StorePath::Due(due, cmk.id).delete()));
        self.vault.commit(&preconditions, &writes).await.map(drop)
    }

    /// Erases what is left of a CMK that has a tombstone. May be begun again
    /// wherever it was broken off.
    pub(super) async fn erase(&self, id: KeyId) -> Result<()> {
        if !self.is_entombed(id).await? {
            return Err(Error::internal("a CMK without a tombstone was to be erased"));
        }
        self.erase_versions(id).await?;
        self.erase_names(id).await?;
        self.erase_all(&[StorePath::Erasure(id).delete()]).await?;
        tracing::info!(key_id = %id, "erased the material of a deleted CMK");
        Ok(())
    }

    /// A mark proves nothing; a tombstone that opens does, where no CMK stands.
    async fn is_entombed(&self, id: KeyId) -> Result<bool> {
        let tombstone = self.vault.find::<v1::Tombstone>(&StorePath::Tombstone(id)).await?;
        if tombstone.is_none() {
            return Ok(false);
        }
        let (cmk, _) = self.vault.read(&[StorePath::Cmk(id)]).await?;
        Ok(cmk.iter().all(Option::is_none))
    }

    async fn erase_versions(&self, id: KeyId) -> Result<()> {
        let prefix = StorePath::versions_of(id);
        while let Some(entries) = self.vault.walk(&prefix, VERSIONS_AT_A_TIME).next().await? {
            let mut writes = Vec::with_capacity(2 * entries.len());
            for (path, _) in entries {
                let StorePath::KeyVersion(_, version) = StorePath::listed(&path)? else {
                    return Err(StorePath::malformed());
                };
                writes.extend([StorePath::Version(version).delete(), Write::Delete(path)]);
            }
            self.erase_all(&writes).await?;
        }
        Ok(())
    }

    async fn erase_names(&self, id: KeyId) -> Result<()> {
        for name in self.keyring.names_of(id).await? {
            let name = AliasName::parse(&name)
                .ok_or_else(|| Error::internal("the names of a CMK are malformed"))?;
            self.erase_name_for_good(id, &name).await?;
        }
        self.erase_all(&[StorePath::KeyAliases(id).delete()]).await
    }

    /// Takes a name away, whatever others do meanwhile with it and with the
    /// CMK's other names: a caller who was granted it before the deletion may
    /// still move one away, and another keyring may be erasing, too.
    async fn erase_name_for_good(&self, id: KeyId, name: &AliasName) -> Result<()> {
        while self.keyring.is_name_of(id, name).await? {
            match self.keyring.erase_name(id, name).await {
                Ok(()) | Err(NotDone::Stale) => {}
                Err(NotDone::Refused(error)) if error.rule() == Rule::AliasNotFound => {}
                Err(NotDone::Refused(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Commits deletions on no condition, so that they meet no conflict.
    async fn erase_all(&self, deletions: &[Write]) -> Result<()> {
        match self.vault.commit(&[], deletions).await {
            Ok(_) => Ok(()),
            Err(NotDone::Refused(error)) => Err(error),
            Err(NotDone::Stale) => {
                Err(Error::internal("a commit without preconditions met a conflict"))
            }
        }
    }
}
