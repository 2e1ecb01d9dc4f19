//! The versions of CMKs: created, described, listed.

use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::change::Event;
use super::cmk::{date, total};
use super::fields;
use super::{Services, unless_dry_run};
use crate::access::decisions::{CREATE_KEY_VERSION, DESCRIBE_KEY_VERSION, LIST_KEY_VERSIONS};
use crate::audit::trail::Reply;
use crate::error::Result;
use crate::keys::keyring::versions::VersionEntry;
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// Creates a new version of a CMK.
    pub(super) async fn answer_create_key_version(
        &self,
        call: &Call<'_>,
        request: v1::CreateKeyVersionRequest,
    ) -> Result<Reply<v1::CreateKeyVersionResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let made = self
            .change(call, CREATE_KEY_VERSION, request.dry_run, key, |change, key| {
                Box::pin(async move {
                    let Services { keyring, private_keys, .. } = &change.services;
                    let granted = change.authorise_key(KeyRef::Named(key)).await?;
                    granted.key.cmk.check_version_permitted(keyring.now())?;
                    let event = Event::of_key("key version created", &granted);
                    change.check_dry_run()?;
                    let (caller, left) = (&change.caller, &change.left);
                    let (key, grant) = (&granted.key, granted.grant);
                    let material = private_keys.generate(caller, left, key.cmk.spec).await?;
                    let create = |intent| keyring.create_version(intent, grant, key, &material);
                    change.commit(event, create).await
                })
            })
            .await?;
        Ok(call.reply(v1::CreateKeyVersionResponse {
            key_version: Some(key_version(made)),
            request_id: call.request_id.clone(),
        }))
    }

    /// Describes a version of a CMK.
    pub(super) async fn answer_describe_key_version(
        &self,
        call: &Call<'_>,
        request: v1::DescribeKeyVersionRequest,
    ) -> Result<Reply<v1::DescribeKeyVersionResponse>> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let version = fields::version_id("key_version_id", &request.key_version_id)?;
        let access = AccessRequest::new(call, DESCRIBE_KEY_VERSION, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let found = self.keyring.describe_version(granted.grant, version).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::DescribeKeyVersionResponse {
            key_version: Some(key_version(found)),
            request_id: call.request_id.clone(),
        }))
    }

    /// Lists the versions of a CMK.
    pub(super) async fn answer_list_key_versions(
        &self,
        call: &Call<'_>,
        request: v1::ListKeyVersionsRequest,
    ) -> Result<Reply<v1::ListKeyVersionsResponse>> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let access = AccessRequest::new(call, LIST_KEY_VERSIONS, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let listed = self.keyring.list_versions(granted.grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::ListKeyVersionsResponse {
            key_versions: listed.entries.into_iter().map(key_version).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: call.request_id.clone(),
        }))
    }
}

fn key_version(entry: VersionEntry) -> v1::KeyVersion {
    v1::KeyVersion {
        key_id: entry.key_id.to_string(),
        key_version_id: entry.id.to_string(),
        creation_date: date(entry.created_at),
    }
}
