//! CMKs: found, and changed by compare-and-swap.

use std::sync::Arc;

use crate::access::actions::Actions;
use crate::access::grant::{Grant, KeyIdentity};
use crate::access::operations::Action;
use crate::access::purpose::Change;
use crate::audit::trail::Intent;
use crate::error::{Error, Result};
use crate::ids::KeyId;
use crate::keys::guard::records::v1;
use crate::keys::keyring::aliases::names_in;
use crate::keys::keyring::{Keyring, StoredCmk, cmk_record, other_key};
use crate::keys::model::cmk::Cmk;
use crate::keys::model::key_state::Operation;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::vault::Urgency;
use crate::keys::written::Written;
use crate::storage::{Versioned, Write};

/// The actions that change a CMK itself.
const LIFE_CYCLE: Actions = Actions::of(&[
    Action::EnableKey,
    Action::DisableKey,
    Action::UpdateKeyDescription,
    Action::ScheduleKeyDeletion,
    Action::CancelKeyDeletion,
    Action::SetDeletionProtection,
    Action::UpdateRotationPolicy,
    Action::TagResource,
    Action::UntagResource,
]);

impl Keyring {
    /// The CMK of that id, if there is one.
    pub async fn find(&self, id: KeyId) -> Result<Option<Arc<StoredCmk>>> {
        if let Some(found) = self.cached.cmks.get(&id) {
            return Ok(Some(found));
        }
        let path = StorePath::Cmk(id);
        let names_path = StorePath::KeyAliases(id);
        let paths = [path.clone(), StorePath::Tombstone(id), names_path.clone()];
        let (values, read_at) = self.vault.read(&paths).await?;
        let mut values = values.into_iter();
        let stored = match (values.next().flatten(), values.next().flatten()) {
            (Some(stored), None) => stored,
            // A deletion puts the one in the other's place: somebody put it back.
            (Some(_), Some(_)) => return Err(self.vault.not_intact(&path)),
            (None, Some(_)) => return self.check_entombed(id).await.map(|()| None),
            (None, None) => return self.check_never_was(id).await.map(|()| None),
        };
        let aliases = match values.next().flatten() {
            Some(names) => names_in(self.vault.open(&names_path, &names)?.0),
            None => Vec::new(),
        };
        let (cmk, revision) = (self.open_cmk(id, &stored)?, stored.revision);
        let found = Arc::new(StoredCmk { cmk, aliases, revision });
        self.cached.cmks.keep(read_at, id, Arc::clone(&found));
        Ok(Some(found))
    }

    /// Refuses where no tombstone tells what became of a CMK that was here.
    pub(super) async fn check_entombed(&self, id: KeyId) -> Result<()> {
        match self.vault.find::<v1::Tombstone>(&StorePath::Tombstone(id)).await? {
            Some(_) => Ok(()),
            None => Err(self.vault.not_intact(&StorePath::Cmk(id))),
        }
    }

    /// Refuses where versions are left of a CMK that is not there: they come with
    /// it, and do not go before it has a tombstone.
    async fn check_never_was(&self, id: KeyId) -> Result<()> {
        if self.vault.count(&StorePath::versions_of(id)).await? == 0 {
            return Ok(());
        }
        let paths = [StorePath::Cmk(id), StorePath::Tombstone(id)];
        let (values, _) = self.vault.read(&paths).await?;
        if values.iter().all(Option::is_none) {
            return Err(self.vault.not_intact(&StorePath::Cmk(id)));
        }
        Ok(())
    }

    /// Puts a changed CMK in the place of the one that was granted. Nothing is
    /// written where nothing changed.
    pub async fn replace(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        old: &StoredCmk,
        new: &Cmk,
    ) -> Result<Written, NotDone> {
        if grant.key_for(LIFE_CYCLE)? != old.identity() || new.id != old.cmk.id {
            return Err(other_key().into());
        }
        if *new == old.cmk {
            self.unless_stale(old).await?;
            return Ok(Written::AsItWas);
        }
        self.commit_cmk(&intent, old, new, Vec::new()).await?;
        Ok(Written::Changed)
    }

    /// Commits a changed CMK, its entry in the index of what is due, and other
    /// writes that belong to the change. A change after which nobody may use it is stored
    /// on a full disk, too.
    pub(super) async fn commit_cmk(
        &self,
        intent: &Intent,
        old: &StoredCmk,
        new: &Cmk,
        others: Vec<Write>,
    ) -> Result<(), NotDone> {
        let mut writes = others;
        writes.push(self.cmk_write(new)?);
        let due_path = |cmk: &Cmk| cmk.due().map(|due| StorePath::Due(due, cmk.id).to_string());
        let (left, taken) = (due_path(&old.cmk), due_path(new));
        if left != taken {
            writes.extend(left.map(Write::Delete));
            writes.extend(taken.map(|path| Write::Put(path, Vec::new())));
        }
        let unchanged = [StorePath::Cmk(new.id).at(old.revision)];
        let takes_away = new.state != old.cmk.state && new.state.check(Operation::Use).is_err();
        let urgency = if takes_away { Urgency::Urgent } else { Urgency::Usual };
        self.vault.commit(intent, urgency, &unchanged, &writes).await.map(drop)
    }

    /// Refuses where the CMK is not what it was: in the store, as another
    /// keyring over it may have changed what is kept here.
    pub(super) async fn unless_stale(&self, old: &StoredCmk) -> Result<(), NotDone> {
        let path = StorePath::Cmk(old.cmk.id);
        let (values, _) = self.vault.read(std::slice::from_ref(&path)).await?;
        match values.into_iter().next().flatten() {
            Some(current) if current.revision == old.revision => Ok(()),
            _ => {
                self.vault.forget(&path);
                Err(NotDone::Stale)
            }
        }
    }

    /// The CMK that was granted, as the store has it now. One that has gone since is
    /// stale too: what it was found by, an alias or a version, is to be looked up anew.
    pub(super) async fn granted(&self, granted: KeyIdentity) -> Result<Arc<StoredCmk>, NotDone> {
        match self.find(granted.id).await? {
            Some(current) if current.identity() == granted => Ok(current),
            _ => Err(NotDone::Stale),
        }
    }

    pub(super) fn open_cmk(&self, id: KeyId, stored: &Versioned) -> Result<Cmk> {
        let path = StorePath::Cmk(id);
        let (record, _) = self.vault.open(&path, stored)?;
        cmk_record::to_cmk(id, record).ok_or_else(|| {
            Error::internal(format!("the stored record at {path} has an unknown value"))
        })
    }

    pub(super) fn cmk_write(&self, cmk: &Cmk) -> Result<Write> {
        self.vault.put(&StorePath::Cmk(cmk.id), &cmk_record::from_cmk(cmk), &[])
    }
}
