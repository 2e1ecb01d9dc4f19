//! `keyferry key tag|untag|tags`: the tags of a CMK.

use clap::Args;

use super::key_args::KeyArgs;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::text::Text;
use crate::cli::options::key_value::{KeyValue, unique};
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct TagKey {
    #[command(flatten)]
    key: KeyArgs,
    /// A tag; may be given many times; not secret. A CMK has at most 20
    #[arg(long = "tag", value_name = "KEY=VALUE", required = true)]
    tags: Vec<KeyValue>,
}

#[derive(Args, Debug)]
pub struct UntagKey {
    #[command(flatten)]
    key: KeyArgs,
    /// The key of a tag; may be given many times. Keys that the CMK does not
    /// have are ignored
    #[arg(long = "tag-key", value_name = "TAG KEY", required = true)]
    tag_keys: Vec<String>,
}

impl TagKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let request = v1::TagResourceRequest {
            key_id: key.clone(),
            tags: request_tags(&self.tags)?,
            dry_run: call.dry_run(),
        };
        call.call(
            async |server| server.key_management().tag_resource(server.request(request)).await,
            |_| Text::line(format!("{key} is tagged.")),
        )
    }
}

impl UntagKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let KeyArgs { key, call } = &self.key;
        let request = v1::UntagResourceRequest {
            key_id: key.clone(),
            tag_keys: self.tag_keys.clone(),
            dry_run: call.dry_run(),
        };
        call.call(
            async |server| server.key_management().untag_resource(server.request(request)).await,
            |_| Text::line(format!("{key} has none of these tags now.")),
        )
    }
}

/// `tags`
pub fn tags(KeyArgs { key, call }: &KeyArgs) -> Result<(), EarlyExit> {
    let request = v1::ListResourceTagsRequest { key_id: key.clone(), dry_run: call.dry_run() };
    call.call(
        async |server| server.key_management().list_resource_tags(server.request(request)).await,
        |response| {
            let tags = &response.tags;
            if tags.is_empty() {
                call.output()
                    .hint(&Text::line("The CMK has no tags: `keyferry key tag` adds tags."));
            }
            let rows = tags.iter().map(|tag| vec![tag.tag_key.clone(), tag.tag_value.clone()]);
            Text::Table {
                heading: (!tags.is_empty()).then(|| vec!["tag_key", "tag_value"]),
                rows: rows.collect(),
            }
        },
    )
}

/// The tags of a request.
pub fn request_tags(tags: &[KeyValue]) -> Result<Vec<v1::Tag>, Failure> {
    let tags = unique("--tag", tags)?.into_iter();
    Ok(tags.map(|(tag_key, tag_value)| v1::Tag { tag_key, tag_value }).collect())
}
