//! Aliases: created, moved to another CMK, deleted, listed.

use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::change::Event;
use super::cmk::total;
use super::naming::KeyName;
use super::{Services, unless_dry_run};
use crate::access::decisions::{
    CREATE_ALIAS, DELETE_ALIAS, LIST_ALIASES, LIST_ALIASES_BY_KEY_ID, UPDATE_ALIAS,
};
use crate::access::question::Subject;
use crate::audit::trail::Reply;
use crate::error::{Error, Result};
use crate::keys::keyring::aliases::AliasEntry;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::key_state::Operation;
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// Gives a CMK an alias.
    pub(super) async fn answer_create_alias(
        &self,
        call: &Call<'_>,
        request: v1::CreateAliasRequest,
    ) -> Result<Reply<v1::CreateAliasResponse>> {
        if request.alias_name.is_empty() {
            return Err(Error::missing("alias_name"));
        }
        let alias = AliasName::parse_new(&request.alias_name)?;
        let key = self.arns.key_id("key_id", &request.key_id)?;
        let input = (alias, key);
        self.change(call, CREATE_ALIAS, request.dry_run, input, |change, (alias, key)| {
            Box::pin(async move {
                let keyring = change.keyring();
                let access = change.access().with_alias(alias);
                change.services.check_alias(access)?;
                let granted = change.services.authorise_key(access, KeyRef::Named(key)).await?;
                granted.key.cmk.state.check(Operation::Name)?;
                keyring.check_alias_free(alias).await?;
                keyring.check_room_for_alias(granted.key.cmk.id).await?;
                let event = Event::of_key("alias created", &granted).with_alias(alias);
                let grant = granted.grant;
                change.commit(event, |intent| keyring.create_alias(intent, grant, alias)).await
            })
        })
        .await?;
        Ok(call.reply(v1::CreateAliasResponse { request_id: call.request_id.clone() }))
    }

    /// Makes an alias name another CMK.
    pub(super) async fn answer_update_alias(
        &self,
        call: &Call<'_>,
        request: v1::UpdateAliasRequest,
    ) -> Result<Reply<v1::UpdateAliasResponse>> {
        let alias = self.parse_alias(&request.alias_name)?;
        let key = self.arns.key_id("key_id", &request.key_id)?;
        let input = (alias, key);
        self.change(call, UPDATE_ALIAS, request.dry_run, input, |change, (alias, key)| {
            Box::pin(async move {
                let keyring = change.keyring();
                let access = change.access().with_name(alias);
                change.services.check_alias(access)?;
                let from = (access, KeyRef::Named(alias));
                let to = (access, KeyRef::Destination(key));
                let [from, to] = change.services.authorise_keys(&[from, to]).await?;
                to.key.cmk.state.check(Operation::Rename)?;
                if to.key.cmk.id != from.key.cmk.id {
                    keyring.check_room_for_alias(to.key.cmk.id).await?;
                }
                let alias = existing(alias)?;
                let event = Event::of_key("alias moved to another CMK", &to).with_alias(alias);
                let (from, to) = (from.grant, to.grant);
                let update = |intent| keyring.update_alias(intent, from, to, alias);
                change.commit(event, update).await
            })
        })
        .await?;
        Ok(call.reply(v1::UpdateAliasResponse { request_id: call.request_id.clone() }))
    }

    /// Deletes an alias.
    pub(super) async fn answer_delete_alias(
        &self,
        call: &Call<'_>,
        request: v1::DeleteAliasRequest,
    ) -> Result<Reply<v1::DeleteAliasResponse>> {
        let alias = self.parse_alias(&request.alias_name)?;
        self.change(call, DELETE_ALIAS, request.dry_run, alias, |change, alias| {
            Box::pin(async move {
                change.services.check_alias(change.access().with_name(alias))?;
                let granted = change.authorise_key(KeyRef::Named(alias)).await?;
                let alias = existing(alias)?;
                let event = Event::of_key("alias deleted", &granted).with_alias(alias);
                let (keyring, grant) = (change.keyring(), granted.grant);
                change.commit(event, |intent| keyring.delete_alias(intent, grant, alias)).await
            })
        })
        .await?;
        Ok(call.reply(v1::DeleteAliasResponse { request_id: call.request_id.clone() }))
    }

    /// Lists all aliases.
    pub(super) async fn answer_list_aliases(
        &self,
        call: &Call<'_>,
        request: v1::ListAliasesRequest,
    ) -> Result<Reply<v1::ListAliasesResponse>> {
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let grant = self.authorise(
            AccessRequest::new(call, LIST_ALIASES, request.dry_run),
            Subject::Instance,
        )?;
        let listed = self.keyring.list_aliases(grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::ListAliasesResponse {
            aliases: listed.entries.into_iter().map(|entry| self.alias(entry)).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: call.request_id.clone(),
        }))
    }

    /// Lists the aliases of one CMK.
    pub(super) async fn answer_list_aliases_by_key_id(
        &self,
        call: &Call<'_>,
        request: v1::ListAliasesByKeyIdRequest,
    ) -> Result<Reply<v1::ListAliasesByKeyIdResponse>> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let access = AccessRequest::new(call, LIST_ALIASES_BY_KEY_ID, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let listed = self.keyring.list_aliases_of(granted.grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::ListAliasesByKeyIdResponse {
            aliases: listed.entries.into_iter().map(|entry| self.alias(entry)).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: call.request_id.clone(),
        }))
    }

    fn alias(&self, entry: AliasEntry) -> v1::Alias {
        v1::Alias {
            alias_arn: self.arns.alias_arn(&entry.name),
            alias_name: entry.name,
            key_id: entry.key_id.to_string(),
        }
    }

    /// An alias that may exist. A name that no alias can have is judged and
    /// answered like one that does not exist.
    fn parse_alias(&self, text: &str) -> Result<KeyName> {
        let name = self.arns.alias_name("alias_name", text)?;
        Ok(name.map_or(KeyName::UnknownAlias, KeyName::Alias))
    }
}

/// The name of an alias for which a grant was given, and which hence exists.
fn existing(alias: &KeyName) -> Result<&AliasName> {
    match alias {
        KeyName::Alias(name) => Ok(name),
        _ => Err(Error::internal("a grant was given for an alias that cannot exist")),
    }
}
