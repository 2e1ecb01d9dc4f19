//! Aliases: names that mean a CMK.
//!
//! Three records stand for one alias, written in one commit: what the name
//! means, its place in the order of creation, and the list of its CMK's names.

use crate::access::policy::Grant;
use crate::error::{Error, Result, Rule};
use crate::ids::{AliasId, KeyId};
use crate::keys::guard::records::{RecordKind, v1};
use crate::keys::keyring::{Keyring, Refusal, cmk_path, granted_key};
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::MAX_ALIASES;
use crate::keys::pages::{Page, PageRequest};
use crate::storage::{Precondition, Revision, Versioned, Write};

const ORDER_PREFIX: &str = "alias-order/";

/// A name in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasEntry {
    /// The name.
    pub name: String,
    /// The CMK that it means.
    pub key_id: KeyId,
}

/// What a name means, as the store has it.
struct StoredAlias {
    key_id: KeyId,
    alias_id: AliasId,
    revision: Revision,
}

/// The names of one CMK, as the store has them.
struct StoredNames {
    names: v1::KeyAliases,
    revision: Option<Revision>,
}

impl Keyring {
    /// The CMK that a name means, if it means one.
    pub async fn find_alias(&self, name: &AliasName) -> Result<Option<KeyId>> {
        if let Some(found) = self.aliases.get(name) {
            return Ok(Some(found));
        }
        let reading = self.aliases.begin_reading();
        let Some(stored) = self.read_alias(name).await? else { return Ok(None) };
        self.aliases.keep(reading, name.clone(), stored.key_id);
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

    /// Gives a CMK a name that is free.
    pub async fn create_alias(&self, grant: Grant, name: &AliasName) -> Result<(), Refusal> {
        let granted = granted_key(&grant)?;
        let mut names = self.read_names(granted.id).await?;
        let alias =
            v1::Alias { key_id: granted.id.to_string(), alias_id: AliasId::new().to_string() };
        names.add(&alias.alias_id, name)?;
        let order_path = order_path(&alias.alias_id);
        let preconditions = [
            Precondition::At(cmk_path(granted.id), Revision(granted.revision)),
            Precondition::Absent(name.as_str().to_owned()),
            Precondition::Absent(order_path),
            names.unchanged(granted.id),
        ];
        let mut writes = self.alias_writes(name, &alias)?;
        writes.push(self.names_write(granted.id, &names)?);
        self.commit_alias(name, granted.id, &preconditions, &writes).await
    }

    /// Makes a name mean another CMK. The grants are for the CMK that it means
    /// and for the one that it shall mean.
    pub async fn update_alias(
        &self,
        from: Grant,
        to: Grant,
        name: &AliasName,
    ) -> Result<(), Refusal> {
        let (old, new) = (granted_key(&from)?, granted_key(&to)?);
        let stored = self.read_alias(name).await?.ok_or_else(alias_not_found)?;
        if stored.key_id != old.id {
            self.aliases.forget(name);
            return Err(Refusal::Stale);
        }
        if old.id == new.id {
            return Ok(());
        }
        let (mut old_names, mut new_names) =
            (self.read_names(old.id).await?, self.read_names(new.id).await?);
        let alias = v1::Alias { key_id: new.id.to_string(), alias_id: stored.alias_id.to_string() };
        old_names.remove(name);
        new_names.add(&alias.alias_id, name)?;
        let preconditions = [
            Precondition::At(name.as_str().to_owned(), stored.revision),
            Precondition::At(cmk_path(new.id), Revision(new.revision)),
            old_names.unchanged(old.id),
            new_names.unchanged(new.id),
        ];
        let mut writes = self.alias_writes(name, &alias)?;
        writes.push(self.names_write(old.id, &old_names)?);
        writes.push(self.names_write(new.id, &new_names)?);
        self.commit_alias(name, new.id, &preconditions, &writes).await
    }

    /// Takes a name away.
    pub async fn delete_alias(&self, grant: Grant, name: &AliasName) -> Result<(), Refusal> {
        self.erase_name(granted_key(&grant)?.id, name).await
    }

    /// Takes a name away, if it is that CMK's.
    pub(in crate::keys) async fn erase_name(
        &self,
        id: KeyId,
        name: &AliasName,
    ) -> Result<(), Refusal> {
        let stored = self.read_alias(name).await?.ok_or_else(alias_not_found)?;
        if stored.key_id != id {
            self.aliases.forget(name);
            return Err(Refusal::Stale);
        }
        let mut names = self.read_names(id).await?;
        names.remove(name);
        let preconditions =
            [Precondition::At(name.as_str().to_owned(), stored.revision), names.unchanged(id)];
        let writes = [
            Write::Delete(name.as_str().to_owned()),
            Write::Delete(order_path(&stored.alias_id.to_string())),
            self.names_write(id, &names)?,
        ];
        self.commit_alias(name, id, &preconditions, &writes).await
    }

    /// Whether a name means that CMK, by the store.
    pub(in crate::keys) async fn is_name_of(&self, id: KeyId, name: &AliasName) -> Result<bool> {
        Ok(self.read_alias(name).await?.is_some_and(|stored| stored.key_id == id))
    }

    /// Every name of a CMK.
    pub(in crate::keys) async fn names_of(&self, id: KeyId) -> Result<Vec<String>> {
        let names = self.read_names(id).await?.names.aliases;
        Ok(names.into_iter().map(|alias| alias.alias_name).collect())
    }

    /// A page of all names, oldest first.
    pub async fn list_aliases(
        &self,
        _grant: Grant,
        page: &PageRequest,
    ) -> Result<Page<AliasEntry>> {
        let paths = self.list_paths(ORDER_PREFIX, page).await?;
        let entries = paths
            .entries
            .iter()
            .map(|(path, stored)| self.open_order(path, stored))
            .collect::<Result<_>>()?;
        Ok(Page { entries, total_count: paths.total_count, next_page_token: paths.next_page_token })
    }

    /// A page of the names of one CMK, oldest first.
    pub async fn list_aliases_of(
        &self,
        grant: Grant,
        page: &PageRequest,
    ) -> Result<Page<AliasEntry>> {
        let key_id = granted_key(&grant)?.id;
        let path = names_path(key_id);
        let names = self.read_names(key_id).await?.names.aliases;
        let (shown, next_page_token) =
            self.seals.page_of(&path, &names, |alias| &alias.alias_id, page)?;
        let entries = shown
            .iter()
            .map(|alias| AliasEntry { name: alias.alias_name.clone(), key_id })
            .collect();
        Ok(Page { entries, total_count: names.len() as u64, next_page_token })
    }

    async fn commit_alias(
        &self,
        name: &AliasName,
        key_id: KeyId,
        preconditions: &[Precondition],
        writes: &[Write],
    ) -> Result<(), Refusal> {
        let outcome = self.commit(preconditions, writes).await;
        // Forgotten whatever the outcome: an unsettled commit may have happened,
        // and a conflict means that what was judged is stale.
        self.aliases.forget(name);
        self.forget(key_id);
        outcome.map(|_| ())
    }

    async fn read_alias(&self, name: &AliasName) -> Result<Option<StoredAlias>> {
        let path = name.as_str();
        let Some(stored) = self.read_one(path).await? else { return Ok(None) };
        let (alias, _): (v1::Alias, _) =
            self.intact(self.seals.open(RecordKind::Alias, path, &stored.value))?;
        let key_id = KeyId::parse(&alias.key_id).map_err(|_| malformed())?;
        let alias_id = AliasId::parse(&alias.alias_id).map_err(|_| malformed())?;
        Ok(Some(StoredAlias { key_id, alias_id, revision: stored.revision }))
    }

    async fn read_names(&self, key_id: KeyId) -> Result<StoredNames> {
        let path = names_path(key_id);
        let Some(stored) = self.read_one(&path).await? else {
            return Ok(StoredNames { names: v1::KeyAliases::default(), revision: None });
        };
        let (names, _): (v1::KeyAliases, _) =
            self.intact(self.seals.open(RecordKind::KeyAliases, &path, &stored.value))?;
        Ok(StoredNames { names, revision: Some(stored.revision) })
    }

    fn open_order(&self, path: &str, stored: &Versioned) -> Result<AliasEntry> {
        let (order, _): (v1::AliasOrder, _) =
            self.intact(self.seals.open(RecordKind::AliasOrder, path, &stored.value))?;
        let key_id = KeyId::parse(&order.key_id).map_err(|_| malformed())?;
        Ok(AliasEntry { name: order.alias_name, key_id })
    }

    /// The two records that say what a name means.
    fn alias_writes(&self, name: &AliasName, alias: &v1::Alias) -> Result<Vec<Write>> {
        let order_path = order_path(&alias.alias_id);
        let order =
            v1::AliasOrder { alias_name: name.as_str().to_owned(), key_id: alias.key_id.clone() };
        let sealed_alias = self.seals.seal(RecordKind::Alias, name.as_str(), alias, &[])?;
        let sealed_order = self.seals.seal(RecordKind::AliasOrder, &order_path, &order, &[])?;
        Ok(vec![
            Write::Put(name.as_str().to_owned(), sealed_alias),
            Write::Put(order_path, sealed_order),
        ])
    }

    fn names_write(&self, key_id: KeyId, names: &StoredNames) -> Result<Write> {
        let path = names_path(key_id);
        let sealed = self.seals.seal(RecordKind::KeyAliases, &path, &names.names, &[])?;
        Ok(Write::Put(path, sealed))
    }
}

impl StoredNames {
    fn check_room(&self) -> Result<()> {
        if self.names.aliases.len() >= MAX_ALIASES {
            let text =
                format!("The key has {MAX_ALIASES} aliases, which is the most that one can have.");
            return Err(Error::from(Rule::StoredLimitReached).saying(text));
        }
        Ok(())
    }

    fn add(&mut self, alias_id: &str, name: &AliasName) -> Result<()> {
        self.check_room()?;
        let alias =
            v1::KeyAlias { alias_id: alias_id.to_owned(), alias_name: name.as_str().to_owned() };
        let at = self.names.aliases.partition_point(|other| other.alias_id < alias.alias_id);
        self.names.aliases.insert(at, alias);
        Ok(())
    }

    fn remove(&mut self, name: &AliasName) {
        self.names.aliases.retain(|alias| alias.alias_name != name.as_str());
    }

    fn unchanged(&self, key_id: KeyId) -> Precondition {
        match self.revision {
            Some(revision) => Precondition::At(names_path(key_id), revision),
            None => Precondition::Absent(names_path(key_id)),
        }
    }
}

fn alias_not_found() -> Error {
    Error::from(Rule::AliasNotFound).blaming("alias_name")
}

fn malformed() -> Error {
    Error::internal("an alias record is malformed")
}

fn order_path(alias_id: &str) -> String {
    format!("{ORDER_PREFIX}{alias_id}")
}

pub(in crate::keys) fn names_path(key_id: KeyId) -> String {
    format!("key-aliases/{key_id}")
}
