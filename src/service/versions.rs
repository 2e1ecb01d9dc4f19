//! The versions of CMKs: created, described, listed.

use super::authorise::{AccessRequest, KeyRef};
use super::caller::Caller;
use super::change::Event;
use super::cmk::{date, total};
use super::fields;
use super::{Services, unless_dry_run};
use crate::access::decisions::{CREATE_KEY_VERSION, DESCRIBE_KEY_VERSION, LIST_KEY_VERSIONS};
use crate::error::Result;
use crate::keys::keyring::versions::VersionEntry;
use crate::keys::pages::PageRequest;
use crate::proto::v1;

impl Services {
    /// Creates a new version of a CMK.
    pub async fn create_key_version(
        &self,
        caller: &Caller,
        request: v1::CreateKeyVersionRequest,
    ) -> Result<v1::CreateKeyVersionResponse> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let made = self
            .change(caller, CREATE_KEY_VERSION, request.dry_run, key, |change, key| {
                Box::pin(async move {
                    let Services { keyring, private_keys, .. } = &change.services;
                    let granted = change.authorise_key(KeyRef::Named(key)).await?;
                    granted.key.cmk.check_version_permitted(keyring.now())?;
                    change
                        .commit(Event::of_key("key version created", &granted), async {
                            let spec = granted.key.cmk.spec;
                            let material =
                                private_keys.generate(&change.caller, &change.left, spec).await?;
                            keyring.create_version(granted.grant, &granted.key, &material).await
                        })
                        .await
                })
            })
            .await?;
        Ok(v1::CreateKeyVersionResponse {
            key_version: Some(key_version(made)),
            request_id: caller.request_id.clone(),
        })
    }

    /// Describes a version of a CMK.
    pub async fn describe_key_version(
        &self,
        caller: &Caller,
        request: v1::DescribeKeyVersionRequest,
    ) -> Result<v1::DescribeKeyVersionResponse> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let version = fields::version_id("key_version_id", &request.key_version_id)?;
        let access = AccessRequest::new(caller, DESCRIBE_KEY_VERSION, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let found = self.keyring.describe_version(granted.grant, version).await?;
        unless_dry_run(request.dry_run)?;
        Ok(v1::DescribeKeyVersionResponse {
            key_version: Some(key_version(found)),
            request_id: caller.request_id.clone(),
        })
    }

    /// Lists the versions of a CMK.
    pub async fn list_key_versions(
        &self,
        caller: &Caller,
        request: v1::ListKeyVersionsRequest,
    ) -> Result<v1::ListKeyVersionsResponse> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let page = PageRequest::parse(request.page_number, request.page_size, request.page_token)?;
        let access = AccessRequest::new(caller, LIST_KEY_VERSIONS, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let listed = self.keyring.list_versions(granted.grant, &page).await?;
        unless_dry_run(request.dry_run)?;
        Ok(v1::ListKeyVersionsResponse {
            key_versions: listed.entries.into_iter().map(key_version).collect(),
            total_count: total(listed.total_count),
            page_number: page.number(),
            page_size: page.size,
            next_page_token: listed.next_page_token,
            request_id: caller.request_id.clone(),
        })
    }
}

fn key_version(entry: VersionEntry) -> v1::KeyVersion {
    v1::KeyVersion {
        key_id: entry.key_id.to_string(),
        key_version_id: entry.id.to_string(),
        creation_date: date(entry.created_at),
    }
}
