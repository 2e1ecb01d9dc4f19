//! The versions of a CMK: made, the first with the CMK itself; listed; loaded.

use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::{Change, Look};
use crate::audit::trail::Intent;
use crate::crypto::ciphertext_blob::BlobKeys;
use crate::crypto::key_pair::KeyPair;
use crate::crypto::secret::KeyMaterial;
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::guard::records::v1;
use crate::keys::keyring::key_version::{LoadedVersion, VersionKeys};
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::keyring::{Keyring, StoredCmk, other_key};
use crate::keys::model::cmk::{Cmk, KeySpec, NewCmk};
use crate::keys::not_done::NotDone;
use crate::keys::pages::{Page, PageRequest};
use crate::keys::paths::StorePath;
use crate::keys::vault::OpenedRecord;
use crate::keys::vault::Urgency;
use crate::storage::Write;

/// A version without its key material; nothing of it is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionEntry {
    /// The CMK that it belongs to.
    pub key_id: KeyId,
    /// Its id.
    pub id: KeyVersionId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A version as the store has it.
struct StoredVersion {
    entry: VersionEntry,
    spec: KeySpec,
    secret: Zeroizing<Vec<u8>>,
}

impl Keyring {
    /// Makes a CMK with its first version, of this material.
    pub async fn create(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        new: NewCmk,
        material: &VersionMaterial,
    ) -> Result<StoredCmk> {
        grant.instance_for(Action::CreateKey)?;
        let cmk = new.at(self.now());
        let absent = [
            StorePath::Cmk(cmk.id).absent(),
            StorePath::Tombstone(cmk.id).absent(),
            StorePath::Version(cmk.newest_version).absent(),
        ];
        let mut writes = vec![self.cmk_write(&cmk)?];
        writes.extend(self.version_writes(&cmk, material)?);
        writes.extend(cmk.due().map(|due| StorePath::Due(due, cmk.id).mark()));
        match self.vault.commit(&intent, Urgency::Usual, &absent, &writes).await {
            Ok(revision) => Ok(StoredCmk { cmk, aliases: Vec::new(), revision }),
            // Ids are unique: another record at a new id's path is no rival's.
            Err(NotDone::Stale) => Err(Error::internal("a new id was taken already")),
            Err(NotDone::Refused(error)) => Err(error),
        }
    }

    /// Makes the next version of a CMK, of this material. It is the newest from
    /// then on.
    pub async fn create_version(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        old: &StoredCmk,
        material: &VersionMaterial,
    ) -> Result<VersionEntry, NotDone> {
        if grant.key_for(Action::CreateKeyVersion)? != old.identity() {
            return Err(other_key().into());
        }
        self.add_version(&intent, old, material).await
    }

    pub(in crate::keys) async fn add_version(
        &self,
        intent: &Intent,
        old: &StoredCmk,
        material: &VersionMaterial,
    ) -> Result<VersionEntry, NotDone> {
        let new = old.cmk.with_version(KeyVersionId::new(), self.now())?;
        let writes = self.version_writes(&new, material)?;
        self.commit_cmk(intent, old, &new, writes.into()).await?;
        Ok(VersionEntry { key_id: new.id, id: new.newest_version, created_at: new.rotated_at })
    }

    /// The records of a CMK's newest version.
    fn version_writes(&self, cmk: &Cmk, material: &VersionMaterial) -> Result<[Write; 2]> {
        if material.spec() != cmk.spec {
            return Err(Error::internal("key material is of another spec than its key"));
        }
        let id = cmk.newest_version;
        let record = v1::KeyVersion {
            key_id: cmk.id.to_string(),
            key_spec: cmk.spec.as_str().to_owned(),
            created_at_seconds: cmk.rotated_at.as_second(),
        };
        Ok([
            self.vault.put(&StorePath::Version(id), &record, material.reveal())?,
            StorePath::KeyVersion(cmk.id, id).mark(),
        ])
    }

    /// Describes a version.
    pub async fn describe_version(
        &self,
        grant: Grant<Look>,
        version: Option<KeyVersionId>,
    ) -> Result<VersionEntry> {
        let key_id = grant.key_for(Action::DescribeKeyVersion)?.id;
        let unknown = || Error::from(Rule::KeyVersionNotFound);
        let id = version.ok_or_else(unknown)?;
        let found = self.vault.find(&StorePath::Version(id)).await?.ok_or_else(unknown)?;
        let entry = self.to_version(id, found)?.entry;
        if entry.key_id == key_id { Ok(entry) } else { Err(unknown()) }
    }

    /// A page of the versions of a CMK, oldest first.
    pub async fn list_versions(
        &self,
        grant: Grant<Look>,
        page: &PageRequest,
    ) -> Result<Page<VersionEntry>> {
        let key_id = grant.key_for(Action::ListKeyVersions)?.id;
        let listed = self.vault.page(&StorePath::versions_of(key_id), page).await?;
        let listed = listed.try_map(|(path, _)| match path {
            StorePath::KeyVersion(_, id) => Ok(id),
            _ => Err(StorePath::malformed()),
        })?;
        let paths: Vec<_> = listed.entries.iter().map(|id| StorePath::Version(*id)).collect();
        let found = self.vault.find_all(&paths).await?;
        self.check_version_count(key_id, listed.total_count).await?;
        let mut entries = Vec::with_capacity(found.len());
        for (id, found) in listed.entries.iter().zip(found) {
            let Some(found) = found else {
                // Deleted in between with its CMK, or taken away.
                self.check_deleted(key_id, *id).await?;
                continue;
            };
            let entry = self.to_version(*id, found)?.entry;
            if entry.key_id != key_id {
                return Err(self.vault.not_intact(&StorePath::KeyVersion(key_id, *id)));
            }
            entries.push(entry);
        }
        Ok(listed.with(entries))
    }

    /// Refuses an index of versions that does not hold as many as the CMK says.
    async fn check_version_count(&self, id: KeyId, listed: u64) -> Result<()> {
        let kept = self.find(id).await?;
        if kept.is_none_or(|kept| u64::from(kept.cmk.versions) == listed) {
            return Ok(());
        }
        // One was made in between, unless the CMK does not change meanwhile.
        let path = StorePath::Cmk(id);
        let before = self.vault.find::<v1::Cmk>(&path).await?;
        let listed = self.vault.count(&StorePath::versions_of(id)).await?;
        let after = self.vault.find::<v1::Cmk>(&path).await?;
        match (before, after) {
            (Some(before), Some(after))
                if before.revision == after.revision
                    && u64::from(after.record.versions) != listed =>
            {
                Err(self.vault.not_intact(&path))
            }
            _ => Ok(()),
        }
    }

    /// A version is not there: refuses where its CMK still is, which goes first.
    async fn check_deleted(&self, key_id: KeyId, id: KeyVersionId) -> Result<()> {
        match self.vault.find::<v1::Cmk>(&StorePath::Cmk(key_id)).await? {
            Some(_) => Err(self.vault.not_intact(&StorePath::Version(id))),
            None => Ok(()),
        }
    }

    /// The CMKs that these versions belong to; `None` for one that is not there, an
    /// error for one whose record is not intact.
    pub(in crate::keys) async fn owners_of(
        &self,
        versions: &[KeyVersionId],
    ) -> Result<Vec<Result<Option<KeyId>>>> {
        let paths: Vec<_> = versions.iter().map(|id| StorePath::Version(*id)).collect();
        let found = self.vault.find_each(&paths).await?;
        let owner = |(id, found): (&KeyVersionId, Result<Option<_>>)| match found? {
            Some(found) => Ok(Some(self.to_version(*id, found)?.entry.key_id)),
            None => Ok(None),
        };
        Ok(versions.iter().zip(found).map(owner).collect())
    }

    pub(super) async fn load_version(
        &self,
        id: KeyVersionId,
    ) -> Result<Option<Arc<LoadedVersion>>> {
        if let Some(loaded) = self.cached.versions.get(&id) {
            return Ok(Some(loaded));
        }
        let path = StorePath::Version(id);
        let Some(found) = self.vault.find(&path).await? else { return Ok(None) };
        let read_at = found.read_at;
        let StoredVersion { entry, spec, secret } = self.to_version(id, found)?;
        let keys = match spec.pair() {
            None => KeyMaterial::from_stored(secret)
                .map(|material| BlobKeys::derive(&material, entry.key_id, id, spec.as_str()))
                .map(VersionKeys::Symmetric)
                .ok(),
            Some(pair) => {
                KeyPair::from_stored(pair, secret).map(Box::new).map(VersionKeys::Pair).ok()
            }
        };
        let keys = keys.ok_or_else(|| self.vault.not_intact(&path))?;
        let loaded = Arc::new(LoadedVersion { key_id: entry.key_id, id, keys });
        self.cached.versions.keep(read_at, id, Arc::clone(&loaded));
        Ok(Some(loaded))
    }

    fn to_version(
        &self,
        id: KeyVersionId,
        found: OpenedRecord<v1::KeyVersion>,
    ) -> Result<StoredVersion> {
        let OpenedRecord { record, secret, .. } = found;
        let parts = || {
            let key_id = KeyId::parse(&record.key_id).ok()?;
            let created_at = Timestamp::from_second(record.created_at_seconds).ok()?;
            let spec = KeySpec::parse(&record.key_spec)?;
            Some((VersionEntry { key_id, id, created_at }, spec))
        };
        let (entry, spec) =
            parts().ok_or_else(|| self.vault.not_intact(&StorePath::Version(id)))?;
        Ok(StoredVersion { entry, spec, secret })
    }
}
