//! The tags of CMKs, of one or of several.
//!
//! The API has both: the older operations name one key, the newer ones up to 50
//! resources of a type.

use super::Services;
use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::naming::KeyName;
use super::{fields, unless_dry_run};
use crate::access::decisions::{
    Decisions, LIST_RESOURCE_TAGS, LIST_TAG_RESOURCES, TAG_RESOURCE, TAG_RESOURCES, UNTAG_RESOURCE,
    UNTAG_RESOURCES,
};
use crate::access::purpose;
use crate::audit::trail::Reply;
use crate::error::{Error, Result, Rule};
use crate::keys::model::cmk::Cmk;
use crate::keys::model::tags::Tags;
use crate::limits::TAGGED_RESOURCES;
use crate::proto::v1;

/// The one type of resource that has tags.
const KEY: &str = "key";

impl Services {
    /// Adds tags to a CMK.
    pub(super) async fn answer_tag_resource(
        &self,
        call: &Call<'_>,
        request: v1::TagResourceRequest,
    ) -> Result<Reply<v1::TagResourceResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let tags = some_tags(request.tags)?;
        self.alter(call, TAG_RESOURCE, request.dry_run, key, move |cmk, _| cmk.tagged(&tags))
            .await?;
        Ok(call.reply(v1::TagResourceResponse { request_id: call.request_id.clone() }))
    }

    /// Removes tags from a CMK.
    pub(super) async fn answer_untag_resource(
        &self,
        call: &Call<'_>,
        request: v1::UntagResourceRequest,
    ) -> Result<Reply<v1::UntagResourceResponse>> {
        let key = self.arns.key_name("key_id", &request.key_id)?;
        let keys = Tags::parse_keys(request.tag_keys)?;
        self.alter(call, UNTAG_RESOURCE, request.dry_run, key, move |cmk, _| cmk.untagged(&keys))
            .await?;
        Ok(call.reply(v1::UntagResourceResponse { request_id: call.request_id.clone() }))
    }

    /// Lists the tags of a CMK.
    pub(super) async fn answer_list_resource_tags(
        &self,
        call: &Call<'_>,
        request: v1::ListResourceTagsRequest,
    ) -> Result<Reply<v1::ListResourceTagsResponse>> {
        let name = self.arns.key_name("key_id", &request.key_id)?;
        let access = AccessRequest::new(call, LIST_RESOURCE_TAGS, request.dry_run);
        let granted = self.authorise_key(access, KeyRef::Named(&name)).await?;
        let cmk = granted.key.shown_to(granted.grant)?;
        unless_dry_run(request.dry_run)?;
        let tag = |(key, value): (&str, &str)| v1::KeyTag {
            key_id: cmk.id.to_string(),
            tag_key: key.to_owned(),
            tag_value: value.to_owned(),
        };
        Ok(call.reply(v1::ListResourceTagsResponse {
            tags: cmk.tags.iter().map(tag).collect(),
            request_id: call.request_id.clone(),
        }))
    }

    /// Adds tags to CMKs.
    pub(super) async fn answer_tag_resources(
        &self,
        call: &Call<'_>,
        request: v1::TagResourcesRequest,
    ) -> Result<Reply<v1::TagResourcesResponse>> {
        let keys = self.resources(&request.resource_type, &request.resource_ids)?;
        let tags = some_tags(request.tags)?;
        let turn = move |cmk: &Cmk| cmk.tagged(&tags);
        self.alter_each(call, TAG_RESOURCES, request.dry_run, keys, turn).await?;
        Ok(call.reply(v1::TagResourcesResponse { request_id: call.request_id.clone() }))
    }

    /// Removes tags from CMKs.
    pub(super) async fn answer_untag_resources(
        &self,
        call: &Call<'_>,
        request: v1::UntagResourcesRequest,
    ) -> Result<Reply<v1::UntagResourcesResponse>> {
        let keys = self.resources(&request.resource_type, &request.resource_ids)?;
        let all = request.all && request.tag_keys.is_empty();
        let tag_keys = if all { Vec::new() } else { Tags::parse_keys(request.tag_keys)? };
        let turn = move |cmk: &Cmk| {
            let of_cmk = || cmk.tags.iter().map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
            if all { cmk.untagged(&of_cmk()) } else { cmk.untagged(&tag_keys) }
        };
        self.alter_each(call, UNTAG_RESOURCES, request.dry_run, keys, turn).await?;
        Ok(call.reply(v1::UntagResourcesResponse { request_id: call.request_id.clone() }))
    }

    /// Lists the tags of CMKs.
    pub(super) async fn answer_list_tag_resources(
        &self,
        call: &Call<'_>,
        request: v1::ListTagResourcesRequest,
    ) -> Result<Reply<v1::ListTagResourcesResponse>> {
        let keys = self.resources(&request.resource_type, &request.resource_ids)?;
        let wanted = fields::tags(request.tags)?;
        let mut listed = Vec::new();
        for key in &keys {
            let access = AccessRequest::new(call, LIST_TAG_RESOURCES, request.dry_run);
            let granted = self.authorise_key(access, KeyRef::Named(key)).await?;
            let cmk = granted.key.shown_to(granted.grant)?;
            let tags = cmk.tags.iter().filter(|tag| is_wanted(&wanted, *tag));
            listed.extend(tags.map(|(key, value)| v1::ResourceTag {
                resource_id: cmk.id.to_string(),
                resource_type: KEY.to_owned(),
                tag_key: key.to_owned(),
                tag_value: value.to_owned(),
            }));
        }
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::ListTagResourcesResponse {
            tag_resources: listed,
            next_token: String::new(),
            request_id: call.request_id.clone(),
        }))
    }

    /// Reads which CMKs are named: each of them once.
    fn resources(&self, resource_type: &str, ids: &[String]) -> Result<Vec<KeyName>> {
        let field = "resource_ids";
        match resource_type {
            KEY => {}
            "" => return Err(Error::missing("resource_type")),
            _ => return Err(Error::invalid("resource_type", "the one type that has tags is key")),
        }
        if ids.is_empty() {
            return Err(Error::missing(field));
        }
        if !TAGGED_RESOURCES.allows(ids.len()) {
            let found = format_args!("it names {}, {TAGGED_RESOURCES} are accepted", ids.len());
            return Err(Error::invalid(field, found));
        }
        let mut keys = Vec::with_capacity(ids.len());
        for id in ids {
            let key = self.arns.key_name(field, id)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(keys)
    }

    /// Replaces one CMK after the other by what `turn` makes of it. All are
    /// checked before the first is replaced, so that a request that names a wrong
    /// one changes nothing.
    async fn alter_each(
        &self,
        call: &Call<'_>,
        decisions: Decisions<purpose::Change>,
        dry_run: bool,
        keys: Vec<KeyName>,
        turn: impl Fn(&Cmk) -> Result<Cmk> + Clone + Send + Sync + 'static,
    ) -> Result<()> {
        for key in keys.clone() {
            let turn = turn.clone();
            let checked = self.alter(call, decisions, true, key, move |cmk, _| turn(cmk)).await;
            checked.or_else(|error| match error.rule() {
                Rule::DryRunSucceeded => Ok(()),
                _ => Err(error),
            })?;
        }
        unless_dry_run(dry_run)?;
        for key in keys {
            let turn = turn.clone();
            self.alter(call, decisions, false, key, move |cmk, _| turn(cmk)).await?;
        }
        Ok(())
    }
}

fn some_tags(tags: Vec<v1::Tag>) -> Result<Tags> {
    let tags = fields::tags(tags)?;
    if tags.is_empty() { Err(Error::missing("tags")) } else { Ok(tags) }
}

/// Whether a tag is one of those that are asked for: none are all of them, and
/// one without a value is that key with any.
fn is_wanted(wanted: &Tags, (key, value): (&str, &str)) -> bool {
    wanted.is_empty()
        || wanted.as_map().get(key).is_some_and(|asked| asked.is_empty() || asked == value)
}
