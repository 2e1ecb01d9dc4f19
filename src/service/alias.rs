//! Aliases: given, moved, taken away, listed.

use super::Services;
use super::caller::Caller;
use super::cmk::total;
use super::data_key::unless_dry_run;
use super::naming::KeyName;
use super::spine::{Ask, KeyRef, until_fresh};
use crate::access::decisions::{
    CREATE_ALIAS, DELETE_ALIAS, LIST_ALIASES, LIST_ALIASES_BY_KEY_ID, On, UPDATE_ALIAS,
};
use crate::error::Result;
use crate::keys::keyring::aliases::AliasEntry;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::key_state::Operation;
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// Gives a CMK a name.
    pub async fn create_alias(
        &self,
        caller: &Caller,
        request: v1::CreateAliasRequest,
    ) -> Result<v1::CreateAliasResponse> {
        let alias = parse_new_alias(&request.alias_name)?;
        let key = self.place.key_id("key_id", &request.key_id)?;
        caller.check_deadline()?;
        let (services, task_caller) = (self.clone(), caller.clone());
        self.change(async move {
            until_fresh!({
                let ask = Ask::new(&task_caller, CREATE_ALIAS);
                let granted = services.granted(ask, On::Key, KeyRef::Named(&key)).await?;
                granted.key.cmk.state.check(Operation::Name)?;
                services.keyring.check_alias_free(&alias).await?;
                services.keyring.check_room_for_alias(granted.key.cmk.id).await?;
                unless_dry_run(request.dry_run)?;
                services.keyring.create_alias(granted.grant, &alias).await?;
                tracing::info!(%alias, key_id = %granted.key.cmk.id, "gave a CMK a name");
                Ok(())
            })
        })
        .await?;
        Ok(v1::CreateAliasResponse { request_id: caller.request_id.clone() })
    }

    /// Makes a name mean another CMK.
    pub async fn update_alias(
        &self,
        caller: &Caller,
        request: v1::UpdateAliasRequest,
    ) -> Result<v1::UpdateAliasResponse> {
        let named = self.parse_alias(&request.alias_name)?;
        let key = self.place.key_id("key_id", &request.key_id)?;
        caller.check_deadline()?;
        let (services, task_caller) = (self.clone(), caller.clone());
        self.change(async move {
            until_fresh!({
                let ask = Ask::new(&task_caller, UPDATE_ALIAS);
                let from = services.granted(ask, On::Key, KeyRef::Named(&named)).await?;
                let to = services.granted(ask, On::Destination, KeyRef::Named(&key)).await?;
                to.key.cmk.state.check(Operation::Rename)?;
                if to.key.cmk.id != from.key.cmk.id {
                    services.keyring.check_room_for_alias(to.key.cmk.id).await?;
                }
                unless_dry_run(request.dry_run)?;
                let alias = known(&named)?;
                services.keyring.update_alias(from.grant, to.grant, alias).await?;
                tracing::info!(%alias, key_id = %to.key.cmk.id, "gave a name to another CMK");
                Ok(())
            })
        })
        .await?;
        Ok(v1::UpdateAliasResponse { request_id: caller.request_id.clone() })
    }

    /// Takes a name away.
    pub async fn delete_alias(
        &self,
        caller: &Caller,
        request: v1::DeleteAliasRequest,
    ) -> Result<v1::DeleteAliasResponse> {
        let named = self.parse_alias(&request.alias_name)?;
        caller.check_deadline()?;
        let (services, task_caller) = (self.clone(), caller.clone());
        self.change(async move {
            until_fresh!({
                let ask = Ask::new(&task_caller, DELETE_ALIAS);
                let granted = services.granted(ask, On::Key, KeyRef::Named(&named)).await?;
                unless_dry_run(request.dry_run)?;
                let alias = known(&named)?;
                services.keyring.delete_alias(granted.grant, alias).await?;
                tracing::info!(%alias, key_id = %granted.key.cmk.id, "took a name away");
                Ok(())
            })
        })
        .await?;
        Ok(v1::DeleteAliasResponse { request_id: caller.request_id.clone() })
    }

    /// Lists all names.
    pub async fn list_aliases(
        &self,
        caller: &Caller,
        request: v1::ListAliasesRequest,
    ) -> Result<v1::ListAliasesResponse> {
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let grant = self.granted_here(Ask::new(caller, LIST_ALIASES))?;
        let listed = self.keyring.list_aliases(grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        Ok(v1::ListAliasesResponse {
            aliases: listed.entries.into_iter().map(|entry| self.alias(entry)).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: caller.request_id.clone(),
        })
    }

    /// Lists the names of one CMK.
    pub async fn list_aliases_by_key_id(
        &self,
        caller: &Caller,
        request: v1::ListAliasesByKeyIdRequest,
    ) -> Result<v1::ListAliasesByKeyIdResponse> {
        let name = self.place.key_name("key_id", &request.key_id)?;
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let ask = Ask::new(caller, LIST_ALIASES_BY_KEY_ID);
        let granted = self.granted(ask, On::Key, KeyRef::Named(&name)).await?;
        let listed = self.keyring.list_aliases_of(granted.grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        Ok(v1::ListAliasesByKeyIdResponse {
            aliases: listed.entries.into_iter().map(|entry| self.alias(entry)).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: caller.request_id.clone(),
        })
    }

    fn alias(&self, entry: AliasEntry) -> v1::Alias {
        v1::Alias {
            alias_arn: self.place.alias_arn(&entry.name),
            alias_name: entry.name,
            key_id: entry.key_id.to_string(),
        }
    }

    /// An alias that may exist. A name that no alias can have is judged and
    /// answered like one that does not exist.
    fn parse_alias(&self, text: &str) -> Result<KeyName> {
        let name = self.place.alias_name("alias_name", text)?;
        Ok(name.map_or(KeyName::UnknownAlias, KeyName::Alias))
    }
}

fn parse_new_alias(text: &str) -> Result<AliasName> {
    if text.is_empty() {
        return Err(crate::error::Error::missing("alias_name"));
    }
    AliasName::parse_new(text)
}

/// The name of an alias for which a grant was given, and which hence exists.
fn known(name: &KeyName) -> Result<&AliasName> {
    match name {
        KeyName::Alias(name) => Ok(name),
        _ => Err(crate::error::Error::internal("an alias was granted without a name")),
    }
}
