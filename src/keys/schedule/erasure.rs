//! A deleted CMK: its tombstone, and the erasure of its material and names.
//!
//! The tombstone stays for ever: it proves that the CMK was deleted here, and
//! its id is not used again.
//!
//! The index of versions proves nothing: a version is opened before it is erased,
//! and only one that belongs to the CMK is. A CMK knows how many versions it has;
//! where fewer are in the index, somebody took entries out, and all versions of the
//! store are looked through.

use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
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

    /// Puts versions of a CMK that is now entombed back into the index where some
    /// are missing there, so that their material is erased, too.
    pub(super) async fn complete_index(&self, stored: &StoredCmk) -> Result<()> {
        let id = stored.cmk.id;
        if self.count_versions(id).await? == stored.cmk.versions {
            return Ok(());
        }
        self.report(id, &StorePath::Cmk(id), "versions were taken out of its index or put into it");
        let mut walk = self.vault.walk(StorePath::VERSIONS, VERSIONS_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            let versions = entries.iter().map(|(path, _)| version_at(path));
            let its = self.versions_that_are(id, versions.collect::<Result<_>>()?).await?;
            let marks: Vec<_> =
                its.into_iter().map(|version| StorePath::KeyVersion(id, version).mark()).collect();
            self.commit_all(&marks).await?;
        }
        Ok(())
    }

    /// How many versions of a CMK are in the index and open as its own.
    async fn count_versions(&self, id: KeyId) -> Result<u32> {
        let (prefix, mut count) = (StorePath::versions_of(id), 0);
        let mut walk = self.vault.walk(&prefix, VERSIONS_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            let versions = entries.iter().map(|(path, _)| version_at(path));
            let its = self.versions_that_are(id, versions.collect::<Result<_>>()?).await?;
            count += u32::try_from(its.len()).unwrap_or(u32::MAX);
        }
        Ok(count)
    }

    /// Those of the versions that are there and belong to a CMK.
    async fn versions_that_are(
        &self,
        id: KeyId,
        versions: Vec<KeyVersionId>,
    ) -> Result<Vec<KeyVersionId>> {
        let owners = self.keyring.owners_of(&versions).await?;
        let with_owners = versions.into_iter().zip(owners);
        Ok(with_owners
            .filter(|(_, owner)| *owner == Some(id))
            .map(|(version, _)| version)
            .collect())
    }

    /// Erases what is left of a CMK that has a tombstone. May be begun again
    /// wherever it was broken off.
    pub(super) async fn erase(&self, id: KeyId) -> Result<()> {
        if !self.is_entombed(id).await? {
            return Err(Error::internal("a CMK without a tombstone was to be erased"));
        }
        self.erase_versions(id).await?;
        self.erase_names(id).await?;
        self.commit_all(&[StorePath::Erasure(id).delete()]).await?;
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
            let versions = entries.iter().map(|(path, _)| version_at(path));
            let versions: Vec<_> = versions.collect::<Result<_>>()?;
            let owners = self.keyring.owners_of(&versions).await?;
            let mut writes = Vec::with_capacity(2 * entries.len());
            for (version, owner) in versions.into_iter().zip(owners) {
                let entry = StorePath::KeyVersion(id, version);
                writes.push(entry.delete());
                match owner {
                    Some(owner) if owner == id => writes.push(StorePath::Version(version).delete()),
                    Some(owner) => self.report(owner, &entry, "its version was to go with another"),
                    None => {}
                }
            }
            self.commit_all(&writes).await?;
        }
        Ok(())
    }

    /// An index that somebody altered.
    fn report(&self, key_id: KeyId, path: &StorePath, what: &str) {
        let error = self.vault.not_intact(path);
        tracing::error!(alarm = "store", %key_id, log = error.log(), "the store was altered: {what}");
    }

    async fn erase_names(&self, id: KeyId) -> Result<()> {
        for name in self.keyring.names_of(id).await? {
            let name = AliasName::parse(&name)
                .ok_or_else(|| Error::internal("the names of a CMK are malformed"))?;
            self.erase_name_for_good(id, &name).await?;
        }
        self.commit_all(&[StorePath::KeyAliases(id).delete()]).await
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

    /// Commits on no condition, and so meets no conflict.
    async fn commit_all(&self, writes: &[Write]) -> Result<()> {
        match self.vault.commit(&[], writes).await {
            Ok(_) => Ok(()),
            Err(NotDone::Refused(error)) => Err(error),
            Err(NotDone::Stale) => {
                Err(Error::internal("a commit without preconditions met a conflict"))
            }
        }
    }
}

/// The version at a path, or in an entry of the index.
fn version_at(path: &str) -> Result<KeyVersionId> {
    match StorePath::listed(path)? {
        StorePath::Version(version) | StorePath::KeyVersion(_, version) => Ok(version),
        _ => Err(StorePath::malformed()),
    }
}
