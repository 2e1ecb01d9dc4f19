//! `keyferry key tag|untag|tags`: the tags of a CMK, or of several.

use clap::Args;

use crate::cli::client::call::CallArgs;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::text::Text;
use crate::cli::options::key_value::{KeyValue, unique};
use crate::proto::v1;

/// CMKs.
#[derive(Args, Debug)]
pub struct KeysArgs {
    /// The CMK: its id, alias/NAME, or the ARN of either; may be given up to 50
    /// times
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<String>,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct TagKey {
    #[command(flatten)]
    keys: KeysArgs,
    /// A tag; may be given many times; not secret. A CMK has at most 20
    #[arg(long = "tag", value_name = "KEY=VALUE", required = true)]
    tags: Vec<KeyValue>,
}

#[derive(Args, Debug)]
pub struct UntagKey {
    #[command(flatten)]
    keys: KeysArgs,
    /// The key of a tag; may be given many times. Keys that the CMK does not
    /// have are ignored
    #[arg(long = "tag-key", value_name = "TAG KEY", required = true)]
    tag_keys: Vec<String>,
}

/// The type of resource that a CMK is.
const KEY: &str = "key";

impl TagKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeysArgs { keys, call } = &self.keys;
        let (tags, dry_run) = (request_tags(&self.tags)?, call.dry_run());
        let [key] = keys.as_slice() else {
            let (resource_type, resource_ids) = (KEY.to_owned(), keys.clone());
            let request = v1::TagResourcesRequest { resource_type, resource_ids, tags, dry_run };
            return call.call(
                async |server| server.key_management().tag_resources(server.request(request)).await,
                |_| Text::line(format!("{} CMKs are tagged.", keys.len())),
            );
        };
        let request = v1::TagResourceRequest { key_id: key.clone(), tags, dry_run };
        call.call(
            async |server| server.key_management().tag_resource(server.request(request)).await,
            |_| Text::line(format!("{key} is tagged.")),
        )
    }
}

impl UntagKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeysArgs { keys, call } = &self.keys;
        let (tag_keys, dry_run) = (self.tag_keys.clone(), call.dry_run());
        let [key] = keys.as_slice() else {
            let request = v1::UntagResourcesRequest {
                resource_type: KEY.to_owned(),
                resource_ids: keys.clone(),
                tag_keys,
                all: false,
                dry_run,
            };
            return call.call(
                async |server| {
                    server.key_management().untag_resources(server.request(request)).await
                },
                |_| Text::line(format!("{} CMKs have none of these tags now.", keys.len())),
            );
        };
        let request = v1::UntagResourceRequest { key_id: key.clone(), tag_keys, dry_run };
        call.call(
            async |server| server.key_management().untag_resource(server.request(request)).await,
            |_| Text::line(format!("{key} has none of these tags now.")),
        )
    }
}

/// `tags`
pub fn tags(KeysArgs { keys, call }: &KeysArgs) -> Result<(), EarlyExit> {
    match keys.as_slice() {
        [key] => tags_of_one(key, call),
        keys => tags_of_all(keys, call),
    }
}

fn tags_of_one(key: &str, call: &CallArgs) -> Result<(), EarlyExit> {
    let request = v1::ListResourceTagsRequest { key_id: key.to_owned(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().list_resource_tags(server.request(request)).await,
        |response| {
            let rows = response.tags.iter();
            let rows = rows.map(|tag| vec![tag.tag_key.clone(), tag.tag_value.clone()]);
            table(call, vec!["tag_key", "tag_value"], rows.collect())
        },
    )
}

fn tags_of_all(keys: &[String], call: &CallArgs) -> Result<(), EarlyExit> {
    let request = v1::ListTagResourcesRequest {
        resource_type: KEY.to_owned(),
        resource_ids: keys.to_vec(),
        tags: vec![],
        dry_run: call.dry_run(),
    };
    call.call(
        async |server| server.key_management().list_tag_resources(server.request(request)).await,
        |response| {
            let rows = response.tag_resources.iter().map(|tag| {
                vec![tag.resource_id.clone(), tag.tag_key.clone(), tag.tag_value.clone()]
            });
            table(call, vec!["key_id", "tag_key", "tag_value"], rows.collect())
        },
    )
}

fn table(call: &CallArgs, heading: Vec<&'static str>, rows: Vec<Vec<String>>) -> Text {
    if rows.is_empty() {
        call.output().hint(&Text::line("No CMK named has a tag: `keyferry key tag` adds tags."));
    }
    Text::Table { heading: (!rows.is_empty()).then_some(heading), rows }
}

/// The tags of a request.
pub fn request_tags(tags: &[KeyValue]) -> Result<Vec<v1::Tag>, Failure> {
    let tags = unique("--tag", tags)?.into_iter();
    Ok(tags.map(|(tag_key, tag_value)| v1::Tag { tag_key, tag_value }).collect())
}
