//! The versions of a CMK: made, listed, loaded.

use std::sync::Arc;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::access::policy::Grant;
use crate::crypto::ciphertext_blob::BlobKeys;
use crate::crypto::key_pair::KeyPair;
use crate::crypto::secret::KeyMaterial;
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::guard::records::{RecordKind, v1};
use crate::keys::keyring::key_version::{LoadedVersion, VersionKeys};
use crate::keys::keyring::pair_version::PairVersion;
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::keyring::{Keyring, Refusal, StoredCmk, granted_key};
use crate::keys::model::cmk::{Cmk, KeySpec, KeyUsage};
use crate::keys::pages::{Page, PageRequest};
use crate::storage::{Versioned, Write};

const VERSION_PREFIX: &str = "version/";

/// What is known of a version; nothing of it is secret.
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
    /// Makes the next version of a CMK, of this material. It is the newest from
    /// then on.
    pub async fn create_version(
        &self,
        grant: Grant,
        old: &StoredCmk,
        material: &VersionMaterial,
    ) -> Result<VersionEntry, Refusal> {
        if granted_key(&grant)? != old.facts() {
            return Err(Error::internal("a grant was used for another key or revision").into());
        }
        self.add_version(old, material).await
    }

    pub(in crate::keys) async fn add_version(
        &self,
        old: &StoredCmk,
        material: &VersionMaterial,
    ) -> Result<VersionEntry, Refusal> {
        let new = old.cmk.with_version(KeyVersionId::new(), self.now())?;
        let writes = self.version_writes(&new, material)?;
        self.commit_cmk(old, &new, writes.into()).await?;
        Ok(VersionEntry { key_id: new.id, id: new.newest_version, created_at: new.rotated_at })
    }

    /// The records of a CMK's newest version.
    pub(in crate::keys) fn version_writes(
        &self,
        cmk: &Cmk,
        material: &VersionMaterial,
    ) -> Result<[Write; 2]> {
        if material.spec() != cmk.spec {
            return Err(Error::internal("key material is of another spec than its key"));
        }
        let id = cmk.newest_version;
        let record = v1::KeyVersion {
            key_id: cmk.id.to_string(),
            key_spec: cmk.spec.as_str().to_owned(),
            created_at_seconds: cmk.rotated_at.as_second(),
        };
        let path = version_path(id);
        let sealed = self.seals.seal(RecordKind::KeyVersion, &path, &record, material.reveal())?;
        Ok([Write::Put(path, sealed), Write::Put(index_path(cmk.id, id), Vec::new())])
    }

    /// Takes a version of an asymmetric CMK: of that usage, where one is asked
    /// for.
    pub async fn take_pair(
        &self,
        grant: Grant,
        version: Option<KeyVersionId>,
        usage: Option<KeyUsage>,
    ) -> Result<PairVersion, Refusal> {
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

    /// What is known of a version.
    pub async fn describe_version(
        &self,
        grant: Grant,
        version: Option<KeyVersionId>,
    ) -> Result<VersionEntry> {
        let key_id = granted_key(&grant)?.id;
        let unknown = || Error::from(Rule::KeyVersionNotFound);
        let id = version.ok_or_else(unknown)?;
        let stored = self.read_one(&version_path(id)).await?.ok_or_else(unknown)?;
        let entry = self.open_version(id, &stored)?.entry;
        if entry.key_id == key_id { Ok(entry) } else { Err(unknown()) }
    }

    /// A page of the versions of a CMK, oldest first.
    pub async fn list_versions(
        &self,
        grant: Grant,
        page: &PageRequest,
    ) -> Result<Page<VersionEntry>> {
        let key_id = granted_key(&grant)?.id;
        let prefix = index_prefix(key_id);
        let listed = self.list_paths(&prefix, page).await?;
        let ids = listed.entries.iter().map(|(path, _)| version_at(&prefix, path));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let paths: Vec<_> = ids.iter().map(|id| version_path(*id)).collect();
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        let read = self.store.read(&paths).await?.values;
        let mut entries = Vec::with_capacity(ids.len());
        for (id, stored) in ids.into_iter().zip(read) {
            // What was deleted in between is passed over.
            let Some(stored) = stored else { continue };
            let entry = self.open_version(id, &stored)?.entry;
            if entry.key_id != key_id {
                return Err(self.not_intact(&index_path(key_id, id)));
            }
            entries.push(entry);
        }
        let Page { total_count, next_page_token, .. } = listed;
        Ok(Page { entries, total_count, next_page_token })
    }

    pub(in crate::keys) async fn load_version(
        &self,
        id: KeyVersionId,
    ) -> Result<Option<Arc<LoadedVersion>>> {
        if let Some(loaded) = self.versions.get(&id) {
            return Ok(Some(loaded));
        }
        let reading = self.versions.begin_reading();
        let path = version_path(id);
        let Some(stored) = self.read_one(&path).await? else { return Ok(None) };
        let StoredVersion { entry, spec, secret } = self.open_version(id, &stored)?;
        let keys = match spec.pair() {
            None => KeyMaterial::from_stored(secret)
                .map(|material| BlobKeys::derive(&material, entry.key_id, id, spec.as_str()))
                .map(VersionKeys::Symmetric)
                .ok(),
            Some(pair) => {
                KeyPair::from_stored(pair, secret).map(Box::new).map(VersionKeys::Pair).ok()
            }
        };
        let keys = keys.ok_or_else(|| self.not_intact(&path))?;
        let loaded = Arc::new(LoadedVersion { key_id: entry.key_id, id, keys });
        self.versions.keep(reading, id, Arc::clone(&loaded));
        Ok(Some(loaded))
    }

    /// Drops the keys of the version at a path, if one is there.
    pub(in crate::keys) fn forget_version_at(&self, path: &str) {
        let id = path.strip_prefix(VERSION_PREFIX).and_then(|id| KeyVersionId::parse(id).ok());
        if let Some(id) = id {
            self.versions.forget(&id);
        }
    }

    fn open_version(&self, id: KeyVersionId, stored: &Versioned) -> Result<StoredVersion> {
        let path = version_path(id);
        let (record, secret): (v1::KeyVersion, _) =
            self.intact(self.seals.open(RecordKind::KeyVersion, &path, &stored.value))?;
        let parts = || {
            let key_id = KeyId::parse(&record.key_id).ok()?;
            let created_at = Timestamp::from_second(record.created_at_seconds).ok()?;
            let spec = KeySpec::parse(&record.key_spec)?;
            Some((VersionEntry { key_id, id, created_at }, spec))
        };
        let (entry, spec) = parts().ok_or_else(|| self.not_intact(&path))?;
        Ok(StoredVersion { entry, spec, secret })
    }
}

pub(in crate::keys) fn version_path(id: KeyVersionId) -> String {
    format!("{VERSION_PREFIX}{id}")
}

pub(in crate::keys) fn index_prefix(key_id: KeyId) -> String {
    format!("key-version/{key_id}/")
}

pub(in crate::keys) fn index_path(key_id: KeyId, id: KeyVersionId) -> String {
    format!("{}{id}", index_prefix(key_id))
}

pub(in crate::keys) fn version_at(prefix: &str, path: &str) -> Result<KeyVersionId> {
    path.strip_prefix(prefix)
        .and_then(|id| KeyVersionId::parse(id).ok())
        .ok_or_else(|| Error::internal("a path in the store is malformed"))
}
