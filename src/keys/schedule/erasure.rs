//! A deleted CMK: its tombstone, and the erasure of its material and names.
//!
//! The tombstone stays for ever: it proves that the CMK was deleted here, and
//! its id is not used again.

use crate::error::{Error, Result, Rule};
use crate::ids::KeyId;
use crate::keys::guard::records::{RecordKind, v1};
use crate::keys::keyring::versions::{index_prefix, version_at, version_path};
use crate::keys::keyring::{Keyring, Refusal, StoredCmk, cmk_path, tombstone_path};
use crate::keys::model::alias_name::AliasName;
use crate::keys::schedule::due;
use crate::storage::{Precondition, Write};

/// Where the marks of what is to be erased stand.
pub(in crate::keys) const PREFIX: &str = "erasure/";
/// Versions that one commit erases, two records each.
const VERSIONS_AT_A_TIME: usize = 30;

fn mark_path(id: KeyId) -> String {
    format!("{PREFIX}{id}")
}

/// The CMK whose material is to be erased.
pub(in crate::keys) fn parse(path: &str) -> Option<KeyId> {
    KeyId::parse(path.strip_prefix(PREFIX)?).ok()
}

impl Keyring {
    /// Puts a tombstone in the CMK's place. From here on it does not exist.
    pub(in crate::keys) async fn entomb(&self, stored: &StoredCmk) -> Result<(), Refusal> {
        let cmk = &stored.cmk;
        let path = tombstone_path(cmk.id);
        let tombstone = v1::Tombstone {
            key_spec: cmk.spec.as_str().to_owned(),
            creator: cmk.creator.clone(),
            created_at_seconds: cmk.created_at.as_second(),
            deleted_at_seconds: self.now().as_second(),
        };
        let sealed = self.seals.seal(RecordKind::Tombstone, &path, &tombstone, &[])?;
        let preconditions = [
            Precondition::At(cmk_path(cmk.id), stored.revision),
            Precondition::Absent(path.clone()),
        ];
        let mut writes = vec![
            Write::Put(path, sealed),
            Write::Put(mark_path(cmk.id), Vec::new()),
            Write::Delete(cmk_path(cmk.id)),
        ];
        writes.extend(cmk.due().map(|due| Write::Delete(due::path(due, cmk.id))));
        let outcome = self.commit(&preconditions, &writes).await;
        self.forget(cmk.id);
        outcome.map(|_| ())
    }

    /// Erases what is left of a CMK that has a tombstone. May be begun again
    /// wherever it was broken off.
    pub(in crate::keys) async fn erase(&self, id: KeyId) -> Result<()> {
        if !self.is_entombed(id).await? {
            return Err(Error::internal("a CMK without a tombstone was to be erased"));
        }
        self.erase_versions(id).await?;
        self.erase_names(id).await?;
        let mark = Write::Delete(mark_path(id));
        self.commit(&[], &[mark]).await.map_err(unexpected)?;
        tracing::info!(key_id = %id, "erased the material of a deleted CMK");
        Ok(())
    }

    /// A mark proves nothing; a tombstone that opens does, where no CMK stands.
    async fn is_entombed(&self, id: KeyId) -> Result<bool> {
        let path = tombstone_path(id);
        let Some(stored) = self.read_one(&path).await? else { return Ok(false) };
        let _: (v1::Tombstone, _) =
            self.intact(self.seals.open(RecordKind::Tombstone, &path, &stored.value))?;
        Ok(self.read_one(&cmk_path(id)).await?.is_none())
    }

    async fn erase_versions(&self, id: KeyId) -> Result<()> {
        let prefix = index_prefix(id);
        loop {
            let listed = self.store.list(&prefix, None, VERSIONS_AT_A_TIME).await?;
            if listed.entries.is_empty() {
                return Ok(());
            }
            let mut writes = Vec::with_capacity(2 * listed.entries.len());
            for (path, _) in listed.entries {
                let version = version_at(&prefix, &path)?;
                writes.extend([Write::Delete(version_path(version)), Write::Delete(path)]);
            }
            let outcome = self.commit(&[], &writes).await;
            for write in &writes {
                self.forget_version_at(write.path());
            }
            outcome.map_err(unexpected)?;
        }
    }

    async fn erase_names(&self, id: KeyId) -> Result<()> {
        for name in self.names_of(id).await? {
            let name = AliasName::parse(&name)
                .ok_or_else(|| Error::internal("the names of a CMK are malformed"))?;
            self.erase_name_for_good(id, &name).await?;
        }
        let names = Write::Delete(crate::keys::keyring::aliases::names_path(id));
        self.commit(&[], &[names]).await.map(|_| ()).map_err(unexpected)
    }

    /// Takes a name away, whatever others do meanwhile with it and with the
    /// CMK's other names: who was granted before the deletion may still move
    /// one away, and another keyring may be erasing, too.
    async fn erase_name_for_good(&self, id: KeyId, name: &AliasName) -> Result<()> {
        while self.is_name_of(id, name).await? {
            match self.erase_name(id, name).await {
                Ok(()) | Err(Refusal::Stale) => {}
                Err(Refusal::Broken(error)) if error.rule() == Rule::AliasNotFound => {}
                Err(Refusal::Broken(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A commit without preconditions meets no conflict.
fn unexpected(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Stale => Error::internal("a commit without preconditions met a conflict"),
        Refusal::Broken(error) => error,
    }
}
