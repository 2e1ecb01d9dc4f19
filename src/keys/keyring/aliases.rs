//! Aliases: names that mean a CMK.
//!
//! Three records stand for one alias, written in one commit: the name with the
//! CMK that it means, its place in the order of creation, and the list of its
//! CMK's names. The commit puts the CMK again, too: policies may speak of aliases, so
//! that a grant is stale once one of its key's names has come or gone.

use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::{Change, Look};
use crate::audit::trail::Intent;
use crate::error::{Error, Result, Rule};
use crate::ids::{AliasId, KeyId};
use crate::keys::caches::ReadAt;
use crate::keys::guard::records::v1;
use crate::keys::keyring::Keyring;
use crate::keys::model::alias_name::AliasName;
use crate::keys::not_done::NotDone;
use crate::keys::pages::{Page, PageRequest};
use crate::keys::paths::StorePath;
use crate::keys::vault::Urgency;
use crate::keys::written::Written;
use crate::limits::ALIASES;
use crate::storage::{Precondition, Revision, Write};

/// A name in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasEntry {
    /// The name.
    pub name: String,
    /// The CMK that it means.
    pub key_id: KeyId,
}

impl AliasEntry {
    fn parsed_name(&self) -> Result<AliasName> {
        AliasName::parse(&self.name).ok_or_else(malformed)
    }
}

/// A name and the CMK that it means, as the store has them.
struct StoredAlias {
    key_id: KeyId,
    alias_id: AliasId,
    revision: Revision,
    read_at: ReadAt,
}

/// The names of one CMK, as the store has them.
struct StoredNames {
    path: StorePath,
    names: v1::KeyAliases,
    revision: Option<Revision>,
}

/// What takes a name away from its CMK.
struct TakenName {
    preconditions: Vec<Precondition>,
    writes: Vec<Write>,
}

impl Keyring {
    /// The CMK that a name means, if it means one.
    pub async fn find_alias(&self, name: &AliasName) -> Result<Option<KeyId>> {
        if let Some(found) = self.cached.aliases.get(name) {
            return Ok(Some(found));
        }
        let Some(stored) = self.read_alias(name).await? else { return Ok(None) };
        self.check_agree(name, stored.key_id).await?;
        self.cached.aliases.keep(stored.read_at, name.clone(), stored.key_id);
        Ok(Some(stored.key_id))
    }

    /// Refuses a name that is taken.
    pub async fn check_alias_free(&self, name: &AliasName) -> Result<()> {
        match self.read_alias(name).await? {
            Some(_) => Err(Error::from(Rule::AliasTaken).blaming("alias_name")),
            None => Ok(()),
        }
    }

    /// Refuses one more name for a CMK that has as many as it can have.
    pub async fn check_room_for_alias(&self, id: KeyId) -> Result<()> {
        self.read_names(id).await?.check_room()
    }

    /// Refuses a name and a CMK's list of names that do not agree. So a list that was
    /// taken away is found at any of its names, and no limit begins anew.
    async fn check_agree(&self, name: &AliasName, id: KeyId) -> Result<()> {
        let paths @ [alias_path, names_path] =
            &[StorePath::Alias(name.clone()), StorePath::KeyAliases(id)];
        let (values, _) = self.vault.read(paths).await?;
        let mut values = values.into_iter();
        let means_it = match values.next().flatten() {
            Some(stored) => {
                let (alias, _): (v1::Alias, _) = self.vault.open(alias_path, &stored)?;
                alias.key_id == id.to_string()
            }
            None => false,
        };
        let is_listed = match values.next().flatten() {
            Some(stored) => {
                let (names, _): (v1::KeyAliases, _) = self.vault.open(names_path, &stored)?;
                names.aliases.iter().any(|alias| alias.alias_name == name.as_str())
            }
            None => false,
        };
        if means_it == is_listed { Ok(()) } else { Err(self.vault.not_intact(names_path)) }
    }

    /// Gives a CMK a name that is free.
    pub async fn create_alias(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        name: &AliasName,
    ) -> Result<(), NotDone> {
        let key = self.granted(grant.key_for(Action::CreateAlias)?).await?;
        let id = key.cmk.id;
        self.check_agree(name, id).await?;
        let mut names = self.read_names(id).await?;
        let alias_id = AliasId::new();
        names.add(alias_id, name)?;
        let preconditions = [
            StorePath::Cmk(id).at(key.revision),
            StorePath::Alias(name.clone()).absent(),
            StorePath::AliasOrder(alias_id).absent(),
            names.unchanged(),
        ];
        let [alias, order] = self.alias_writes(name, alias_id, id)?;
        let writes = [alias, order, self.names_write(&names)?, self.cmk_write(&key.cmk)?];
        self.vault.commit(&intent, Urgency::Usual, &preconditions, &writes).await.map(drop)
    }

    /// Makes a name mean another CMK. The grants are for the CMK that it means
    /// and for the one that it shall mean.
    pub async fn update_alias(
        &self,
        intent: Intent,
        from: Grant<Change>,
        to: Grant<Change>,
        name: &AliasName,
    ) -> Result<Written, NotDone> {
        let (from, to) = (from.key_for(Action::UpdateAlias)?, to.key_for(Action::UpdateAlias)?);
        let stored = self.read_alias_of(from.id, name).await?;
        if from.id == to.id {
            return Ok(Written::AsItWas);
        }
        let (old, new) = (self.granted(from).await?, self.granted(to).await?);
        let (mut old_names, mut new_names) =
            (self.read_names(from.id).await?, self.read_names(to.id).await?);
        old_names.remove(name);
        new_names.add(stored.alias_id, name)?;
        let preconditions = [
            StorePath::Alias(name.clone()).at(stored.revision),
            StorePath::Cmk(from.id).at(old.revision),
            StorePath::Cmk(to.id).at(new.revision),
            old_names.unchanged(),
            new_names.unchanged(),
        ];
        let [alias, order] = self.alias_writes(name, stored.alias_id, to.id)?;
        let writes = [
            alias,
            order,
            self.names_write(&old_names)?,
            self.names_write(&new_names)?,
            self.cmk_write(&old.cmk)?,
            self.cmk_write(&new.cmk)?,
        ];
        self.vault.commit(&intent, Urgency::Usual, &preconditions, &writes).await?;
        Ok(Written::Changed)
    }

    /// Takes a name away.
    pub async fn delete_alias(
        &self,
        intent: Intent,
        grant: Grant<Change>,
        name: &AliasName,
    ) -> Result<(), NotDone> {
        let key = self.granted(grant.key_for(Action::DeleteAlias)?).await?;
        let unchanged = StorePath::Cmk(key.cmk.id).at(key.revision);
        let again = self.cmk_write(&key.cmk)?;
        let TakenName { mut preconditions, mut writes } = self.take_name(key.cmk.id, name).await?;
        preconditions.push(unchanged);
        writes.push(again);
        self.vault.commit(&intent, Urgency::Usual, &preconditions, &writes).await.map(drop)
    }

    /// Takes a name of a deleted CMK away.
    pub(in crate::keys) async fn erase_name(
        &self,
        id: KeyId,
        name: &AliasName,
    ) -> Result<(), NotDone> {
        let TakenName { preconditions, writes } = self.take_name(id, name).await?;
        self.vault.keep_up(&preconditions, &writes).await.map(drop)
    }

    /// What takes a name away, if it is that CMK's.
    async fn take_name(&self, id: KeyId, name: &AliasName) -> Result<TakenName, NotDone> {
        let stored = self.read_alias_of(id, name).await?;
        let mut names = self.read_names(id).await?;
        names.remove(name);
        let alias = StorePath::Alias(name.clone());
        let preconditions = vec![alias.at(stored.revision), names.unchanged()];
        let writes = vec![
            alias.delete(),
            StorePath::AliasOrder(stored.alias_id).delete(),
            self.names_write(&names)?,
        ];
        Ok(TakenName { preconditions, writes })
    }

    /// Whether a name means that CMK, by the store.
    pub(in crate::keys) async fn is_name_of(&self, id: KeyId, name: &AliasName) -> Result<bool> {
        Ok(self.read_alias(name).await?.is_some_and(|stored| stored.key_id == id))
    }

    /// Every name of a CMK.
    pub(in crate::keys) async fn names_of(&self, id: KeyId) -> Result<Vec<String>> {
        Ok(names_in(self.read_names(id).await?.names))
    }

    /// A page of all names, oldest first.
    pub async fn list_aliases(
        &self,
        grant: Grant<Look>,
        page: &PageRequest,
    ) -> Result<Page<AliasEntry>> {
        grant.instance_for(Action::ListAliases)?;
        let listed = self.vault.page(StorePath::ALIAS_ORDER, page).await?;
        let listed = listed.try_map(|(path, stored)| {
            let (order, _): (v1::AliasOrder, _) = self.vault.open(&path, &stored)?;
            let key_id = KeyId::parse(&order.key_id).map_err(|_| malformed())?;
            Ok((path, AliasEntry { name: order.alias_name, key_id }))
        })?;
        for (path, entry) in &listed.entries {
            if self.find_alias(&entry.parsed_name()?).await? != Some(entry.key_id) {
                self.check_order(path).await?;
            }
        }
        listed.try_map(|(_, entry)| Ok(entry))
    }

    /// Refuses a place in the order of creation whose name is not there, or means
    /// another CMK: the three are changed in one commit.
    async fn check_order(&self, path: &StorePath) -> Result<()> {
        let Some(order) = self.vault.find::<v1::AliasOrder>(path).await? else { return Ok(()) };
        let name = AliasName::parse(&order.record.alias_name).ok_or_else(malformed)?;
        let paths = [path.clone(), StorePath::Alias(name.clone())];
        let (values, _) = self.vault.read(&paths).await?;
        let mut values = values.into_iter();
        let (now, alias) = (values.next().flatten(), values.next().flatten());
        if now.is_none_or(|now| now.revision != order.revision) {
            return Ok(());
        }
        let alias_path = StorePath::Alias(name);
        let alias = alias.ok_or_else(|| self.vault.not_intact(&alias_path))?;
        let (alias, _): (v1::Alias, _) = self.vault.open(&alias_path, &alias)?;
        if alias.key_id == order.record.key_id {
            return Ok(());
        }
        Err(self.vault.not_intact(&alias_path))
    }

    /// A page of the names of one CMK, oldest first.
    pub async fn list_aliases_of(
        &self,
        grant: Grant<Look>,
        page: &PageRequest,
    ) -> Result<Page<AliasEntry>> {
        let key_id = grant.key_for(Action::ListAliasesByKeyId)?.id;
        let StoredNames { path, names, .. } = self.read_names(key_id).await?;
        let listed = self.vault.seals().page_of(
            &path.to_string(),
            names.aliases,
            |alias| &alias.alias_id,
            page,
        )?;
        for alias in &listed.entries {
            let name = AliasName::parse(&alias.alias_name).ok_or_else(malformed)?;
            if self.find_alias(&name).await? != Some(key_id) {
                self.check_agree(&name, key_id).await?;
            }
        }
        listed.try_map(|alias| Ok(AliasEntry { name: alias.alias_name, key_id }))
    }

    /// A name that is to mean that CMK. Where it means another, what is kept of
    /// it may be stale.
    async fn read_alias_of(&self, id: KeyId, name: &AliasName) -> Result<StoredAlias, NotDone> {
        let not_found = || Error::from(Rule::AliasNotFound).blaming("alias_name");
        let stored = self.read_alias(name).await?.ok_or_else(not_found)?;
        if stored.key_id != id {
            self.vault.forget(&StorePath::Alias(name.clone()));
            return Err(NotDone::Stale);
        }
        Ok(stored)
    }

    async fn read_alias(&self, name: &AliasName) -> Result<Option<StoredAlias>> {
        let found = self.vault.find::<v1::Alias>(&StorePath::Alias(name.clone())).await?;
        let Some(found) = found else { return Ok(None) };
        let key_id = KeyId::parse(&found.record.key_id).map_err(|_| malformed())?;
        let alias_id = AliasId::parse(&found.record.alias_id).map_err(|_| malformed())?;
        let (revision, read_at) = (found.revision, found.read_at);
        Ok(Some(StoredAlias { key_id, alias_id, revision, read_at }))
    }

    async fn read_names(&self, key_id: KeyId) -> Result<StoredNames> {
        let path = StorePath::KeyAliases(key_id);
        let (names, revision) = match self.vault.find(&path).await? {
            Some(found) => (found.record, Some(found.revision)),
            None => (v1::KeyAliases::default(), None),
        };
        Ok(StoredNames { path, names, revision })
    }

    /// The two records that say what a name means.
    fn alias_writes(
        &self,
        name: &AliasName,
        alias_id: AliasId,
        key_id: KeyId,
    ) -> Result<[Write; 2]> {
        let key_id = key_id.to_string();
        let alias = v1::Alias { key_id: key_id.clone(), alias_id: alias_id.to_string() };
        let order = v1::AliasOrder { alias_name: name.to_string(), key_id };
        Ok([
            self.vault.put(&StorePath::Alias(name.clone()), &alias, &[])?,
            self.vault.put(&StorePath::AliasOrder(alias_id), &order, &[])?,
        ])
    }

    fn names_write(&self, names: &StoredNames) -> Result<Write> {
        self.vault.put(&names.path, &names.names, &[])
    }
}

impl StoredNames {
    fn check_room(&self) -> Result<()> {
        if self.names.aliases.len() >= ALIASES.max {
            let text = format!("The key has no room for another alias: it can have {ALIASES}.");
            return Err(Error::from(Rule::StoredLimitReached).saying(text));
        }
        Ok(())
    }

    fn add(&mut self, alias_id: AliasId, name: &AliasName) -> Result<()> {
        self.check_room()?;
        let alias = v1::KeyAlias { alias_id: alias_id.to_string(), alias_name: name.to_string() };
        let at = self.names.aliases.partition_point(|other| other.alias_id < alias.alias_id);
        self.names.aliases.insert(at, alias);
        Ok(())
    }

    fn remove(&mut self, name: &AliasName) {
        self.names.aliases.retain(|alias| alias.alias_name != name.as_str());
    }

    fn unchanged(&self) -> Precondition {
        self.path.unchanged(self.revision)
    }
}

/// The names in a CMK's list.
pub(super) fn names_in(list: v1::KeyAliases) -> Vec<String> {
    list.aliases.into_iter().map(|alias| alias.alias_name).collect()
}

fn malformed() -> Error {
    Error::internal("an alias record is malformed")
}
