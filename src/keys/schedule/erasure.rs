//! A deleted CMK: its tombstone, and the erasure of its material and names.
//!
//! The tombstone stays for ever: it proves that the CMK was deleted here, and
//! its id is not used again.
//!
//! The index of versions proves nothing: a version is opened before it is erased,
//! and only one that belongs to the CMK is. The tombstone tells how many versions
//! there were; where fewer are in the index, somebody took entries out, or the
//! erasure was broken off, and all versions of the store are looked through.

use crate::audit::trail::Intent;
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::guard::records::v1;
use crate::keys::keyring::StoredCmk;
use crate::keys::model::alias_name::AliasName;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::schedule::Schedule;
use crate::keys::vault::Urgency;
use crate::storage::{Versioned, Write};

/// Versions that one commit erases, two records each.
const VERSIONS_AT_A_TIME: usize = 30;

impl Schedule {
    /// Puts a tombstone in the CMK's place. From here on it does not exist.
    pub(super) async fn entomb(&self, intent: &Intent, stored: &StoredCmk) -> Result<(), NotDone> {
        let cmk = &stored.cmk;
        let (path, tombstone_path) = (StorePath::Cmk(cmk.id), StorePath::Tombstone(cmk.id));
        let tombstone = v1::Tombstone {
            key_spec: cmk.spec.as_str().to_owned(),
            creator: cmk.creator.clone(),
            created_at_seconds: cmk.created_at.as_second(),
            deleted_at_seconds: self.clock.whole_second().as_second(),
            versions: cmk.versions,
        };
        let preconditions = [path.at(stored.revision), tombstone_path.absent()];
        let mut writes = vec![
            self.vault.put(&tombstone_path, &tombstone, &[])?,
            StorePath::Erasure(cmk.id).mark(),
            path.delete(),
        ];
        writes.extend(cmk.due().map(|due| StorePath::Due(due, cmk.id).delete()));
        self.vault.commit(intent, Urgency::Urgent, &preconditions, &writes).await.map(drop)
    }

    /// Erases what is left of a CMK that has a tombstone. May be begun again
    /// wherever it was broken off. A record that does not open stops nothing but the
    /// end of it.
    pub(super) async fn erase(&self, id: KeyId) -> Result<()> {
        let Some(tombstone) = self.entombed(id).await? else {
            return Err(Error::internal("a CMK without a tombstone was to be erased"));
        };
        self.complete_index(id, tombstone.versions).await?;
        let unreadable = self.erase_versions(id).await?;
        self.erase_names(id).await?;
        if unreadable > 0 {
            let text = format!("{unreadable} versions of a deleted CMK are not intact, and stay");
            return Err(Error::internal(text));
        }
        self.commit_all(&[StorePath::Erasure(id).delete()]).await?;
        tracing::info!(key_id = %id, "erased the material of a deleted CMK");
        Ok(())
    }

    /// A mark proves nothing; a tombstone that opens does, where no CMK stands.
    async fn entombed(&self, id: KeyId) -> Result<Option<v1::Tombstone>> {
        let tombstone = self.vault.find::<v1::Tombstone>(&StorePath::Tombstone(id)).await?;
        let (cmk, _) = self.vault.read(&[StorePath::Cmk(id)]).await?;
        let is_gone = cmk.iter().all(Option::is_none);
        Ok(tombstone.filter(|_| is_gone).map(|tombstone| tombstone.record))
    }

    /// Puts versions of a CMK back into the index where some are missing there, so
    /// that their material is erased, too. Where the erasure was broken off before,
    /// there are fewer of them by right, and none is found.
    async fn complete_index(&self, id: KeyId, versions: u32) -> Result<()> {
        if self.count_versions(id).await? >= versions {
            return Ok(());
        }
        let mut walk = self.vault.walk(StorePath::VERSIONS, VERSIONS_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            let its = self.versions_that_are(id, &self.versions_at(id, &entries)).await?;
            let entries: Vec<_> =
                its.into_iter().map(|version| StorePath::KeyVersion(id, version)).collect();
            let (listed, _) = self.vault.read(&entries).await?;
            let missing = entries.iter().zip(listed).filter(|(_, listed)| listed.is_none());
            let marks: Vec<_> = missing.map(|(entry, _)| entry.mark()).collect();
            if !marks.is_empty() {
                self.report(id, &StorePath::Cmk(id), "versions were taken out of its index");
                self.commit_all(&marks).await?;
            }
        }
        Ok(())
    }

    /// How many versions of a CMK are in the index and open as its own.
    async fn count_versions(&self, id: KeyId) -> Result<u32> {
        let (prefix, mut count) = (StorePath::versions_of(id), 0);
        let mut walk = self.vault.walk(&prefix, VERSIONS_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            let its = self.versions_that_are(id, &self.versions_at(id, &entries)).await?;
            count += u32::try_from(its.len()).unwrap_or(u32::MAX);
        }
        Ok(count)
    }

    /// Those of the versions that are there, open, and belong to a CMK.
    async fn versions_that_are(
        &self,
        id: KeyId,
        versions: &[KeyVersionId],
    ) -> Result<Vec<KeyVersionId>> {
        let owners = self.keyring.owners_of(versions).await?;
        let with_owners = versions.iter().zip(owners);
        let its = with_owners.filter(|(_, owner)| matches!(owner, Ok(Some(owner)) if *owner == id));
        Ok(its.map(|(version, _)| *version).collect())
    }

    /// The versions that listed paths name. A path that names none is somebody
    /// else's doing, and is in the way of none of them.
    fn versions_at(&self, id: KeyId, entries: &[(String, Versioned)]) -> Vec<KeyVersionId> {
        let version = |(path, _): &(String, Versioned)| {
            let version = version_at(path);
            if version.is_none() {
                let path = StorePath::Cmk(id);
                self.report(id, &path, "an entry was put among versions that names none");
            }
            version
        };
        entries.iter().filter_map(version).collect()
    }

    /// Erases the versions of a CMK, and their index whatever it holds; tells how many
    /// stay because their records are not intact, and so may be another CMK's.
    async fn erase_versions(&self, id: KeyId) -> Result<usize> {
        let (prefix, mut unreadable) = (StorePath::versions_of(id), 0);
        let mut walk = self.vault.walk(&prefix, VERSIONS_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            let named = self.versions_at(id, &entries);
            let strays = entries.iter().filter(|(path, _)| version_at(path).is_none());
            let mut writes: Vec<_> = strays.map(|(path, _)| Write::Delete(path.clone())).collect();
            let owners = self.keyring.owners_of(&named).await?;
            for (version, owner) in named.into_iter().zip(owners) {
                let entry = StorePath::KeyVersion(id, version);
                match owner {
                    Err(error) => {
                        unreadable += 1;
                        let log = error.log();
                        tracing::error!(alarm = "store", key_id = %id, log, "a version cannot be erased");
                        continue;
                    }
                    Ok(Some(owner)) if owner == id => {
                        writes.push(StorePath::Version(version).delete());
                    }
                    Ok(Some(owner)) => {
                        self.report(owner, &entry, "its version was to go with another");
                    }
                    Ok(None) => {}
                }
                writes.push(entry.delete());
            }
            self.commit_all(&writes).await?;
        }
        Ok(unreadable)
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
    /// CMK's other names: another keyring may be erasing, too, and the name may be
    /// given to another CMK as soon as it is free.
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

    /// Commits on no condition, and so meets no conflict. An erasure goes on when the
    /// disk is full: it makes room.
    async fn commit_all(&self, writes: &[Write]) -> Result<()> {
        match self.vault.keep_up_urgently(&[], writes).await {
            Ok(_) => Ok(()),
            Err(NotDone::Refused(error)) => Err(error),
            Err(NotDone::Stale) => {
                Err(Error::internal("a commit without preconditions met a conflict"))
            }
        }
    }
}

/// The version at a path, or in an entry of the index.
fn version_at(path: &str) -> Option<KeyVersionId> {
    match StorePath::parse(path)? {
        StorePath::Version(version) | StorePath::KeyVersion(_, version) => Some(version),
        _ => None,
    }
}
