//! Access keys: created, listed, disabled, deleted; and found, to verify a
//! signature.

use std::sync::Arc;

use super::authorise::AccessRequest;
use super::call::Call;
use super::change::{Event, PendingChange};
use super::cmk::{date, total};
use super::{Services, unless_dry_run};
use crate::access::decisions::{
    CREATE_ACCESS_KEY, DELETE_ACCESS_KEY, DISABLE_ACCESS_KEY, LIST_ACCESS_KEYS,
};
use crate::access::grant::Grant;
use crate::access::purpose;
use crate::access::question::Subject;
use crate::access::service_account::ServiceAccount;
use crate::audit::trail::Reply;
use crate::crypto::secret::Reveal;
use crate::error::{Error, Result, Rule};
use crate::ids::AccessKeyId;
use crate::keys::access_keys::AccessKey;
use crate::keys::access_keys::list::AccessKeyEntry;
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// The access key of that id, whatever its state, to verify a signature. No
    /// decision is needed: callers are told nothing of it.
    pub async fn find_access_key(&self, id: &str) -> Result<Option<Arc<AccessKey>>> {
        match AccessKeyId::parse(id) {
            Ok(id) => self.access_keys.find(&id).await,
            Err(_) => Ok(None),
        }
    }

    /// Creates an access key.
    pub(super) async fn answer_create_access_key(
        &self,
        call: &Call<'_>,
        request: v1::CreateAccessKeyRequest,
    ) -> Result<Reply<v1::CreateAccessKeyResponse>> {
        let account =
            parse_account(&request.principal)?.ok_or_else(|| Error::missing(PRINCIPAL))?;
        let made = self
            .change(call, CREATE_ACCESS_KEY, request.dry_run, account, |change, account| {
                Box::pin(async move {
                    let access_keys = &change.services.access_keys;
                    let grant = change.authorise(Subject::Account(Some(account)))?;
                    access_keys.check_room(account).await?;
                    let event = Event {
                        creator: Some(change.caller.principal.to_string()),
                        ..Event::of("access key created", &grant)
                    };
                    change.commit(event, |intent| access_keys.create(intent, grant)).await
                })
            })
            .await?;
        Ok(call.reply(v1::CreateAccessKeyResponse {
            access_key_id: made.id.to_string(),
            access_key_secret: secret_text(&made)?,
            request_id: call.request_id.clone(),
        }))
    }

    /// Lists access keys: all, or those of one service account.
    pub(super) async fn answer_list_access_keys(
        &self,
        call: &Call<'_>,
        request: v1::ListAccessKeysRequest,
    ) -> Result<Reply<v1::ListAccessKeysResponse>> {
        let account = parse_account(&request.principal)?;
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let grant = self.authorise(
            AccessRequest::new(call, LIST_ACCESS_KEYS, request.dry_run),
            Subject::Instance,
        )?;
        let listed = match account {
            Some(account) => self.access_keys.list_of(grant, &account, &page).await?,
            None => self.access_keys.list(grant, &page).await?,
        };
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::ListAccessKeysResponse {
            access_keys: listed.entries.into_iter().map(access_key).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: call.request_id.clone(),
        }))
    }

    /// Disables an access key, for good.
    pub(super) async fn answer_disable_access_key(
        &self,
        call: &Call<'_>,
        request: v1::DisableAccessKeyRequest,
    ) -> Result<Reply<v1::DisableAccessKeyResponse>> {
        let id = parse_id(&request.access_key_id)?;
        self.change(call, DISABLE_ACCESS_KEY, request.dry_run, id, |change, id| {
            Box::pin(async move {
                let (id, grant) = change.authorise_access_key(*id).await?;
                let event =
                    Event { access_key_id: Some(id), ..Event::of("access key disabled", &grant) };
                let access_keys = &change.services.access_keys;
                change.commit(event, |intent| access_keys.disable(intent, grant, id)).await
            })
        })
        .await?;
        Ok(call.reply(v1::DisableAccessKeyResponse { request_id: call.request_id.clone() }))
    }

    /// Deletes an access key.
    pub(super) async fn answer_delete_access_key(
        &self,
        call: &Call<'_>,
        request: v1::DeleteAccessKeyRequest,
    ) -> Result<Reply<v1::DeleteAccessKeyResponse>> {
        let id = parse_id(&request.access_key_id)?;
        self.change(call, DELETE_ACCESS_KEY, request.dry_run, id, |change, id| {
            Box::pin(async move {
                let (id, grant) = change.authorise_access_key(*id).await?;
                let event =
                    Event { access_key_id: Some(id), ..Event::of("access key deleted", &grant) };
                let access_keys = &change.services.access_keys;
                change.commit(event, |intent| access_keys.delete(intent, grant, id)).await
            })
        })
        .await?;
        Ok(call.reply(v1::DeleteAccessKeyResponse { request_id: call.request_id.clone() }))
    }
}

impl PendingChange {
    /// Finds an access key and asks whether the caller may change it. One that does
    /// not exist is judged too: only a caller who would be allowed learns that.
    async fn authorise_access_key(
        &self,
        id: Option<AccessKeyId>,
    ) -> Result<(AccessKeyId, Grant<purpose::Change>)> {
        let found = match id {
            Some(id) => self.services.access_keys.find(&id).await?,
            None => None,
        };
        let account = found.as_deref().map(|key| &key.account);
        let grant = self.authorise(Subject::Account(account))?;
        let found = found.ok_or_else(|| Error::from(Rule::AccessKeyNotFound).blaming(ID))?;
        Ok((found.id, grant))
    }
}

const PRINCIPAL: &str = "principal";
const ID: &str = "access_key_id";

/// A service account, where one is named.
fn parse_account(name: &str) -> Result<Option<ServiceAccount>> {
    if name.is_empty() {
        return Ok(None);
    }
    ServiceAccount::parse(name).map(Some).map_err(|found| Error::invalid(PRINCIPAL, found))
}

/// An access key's id. `None`: it is no id, and hence of no access key.
fn parse_id(text: &str) -> Result<Option<AccessKeyId>> {
    if text.is_empty() { Err(Error::missing(ID)) } else { Ok(AccessKeyId::parse(text).ok()) }
}

/// The secret for the one answer that shows it.
fn secret_text(key: &AccessKey) -> Result<String> {
    let text = std::str::from_utf8(key.secret.reveal(Reveal::ToCaller));
    text.map(str::to_owned).map_err(|_| Error::internal("an access key secret is not text"))
}

fn access_key(entry: AccessKeyEntry) -> v1::AccessKey {
    let AccessKeyEntry { id, account, state, created_at } = entry;
    v1::AccessKey {
        access_key_id: id.to_string(),
        principal: account.name().to_owned(),
        state: state.as_str().to_owned(),
        creation_date: date(created_at),
    }
}
