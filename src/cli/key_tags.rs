//! `keyferry key tag|untag|tags`: words about CMKs.

use std::collections::BTreeMap;

use clap::Args;

use super::failure::Stop;
use super::key::OneKey;
use super::pair::{Pair, unique};
use super::text::Text;
use crate::proto::v1;

/// Gives tags.
#[derive(Args, Debug)]
pub struct Tag {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    /// A tag; may be given many times; not secret. A CMK has at most 20
    #[arg(long = "tag", value_name = "KEY=VALUE", required = true)]
    tags: Vec<Pair>,
}

/// Takes tags away.
#[derive(Args, Debug)]
pub struct Untag {
    /// The CMK, and how the server is called.
    #[command(flatten)]
    pub one: OneKey,
    /// The key of a tag; may be given many times. What the CMK does not have is
    /// passed over
    #[arg(long = "tag-key", value_name = "TAG KEY", required = true)]
    tag_keys: Vec<String>,
}

impl Tag {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let request = v1::TagResourceRequest {
            key_id: key.clone(),
            tags: proto(unique("--tag", &self.tags)?),
            dry_run: call.dry_run(),
        };
        call.ask(
            async |server| server.key_management().tag_resource(server.request(request)).await,
            |_| Text::line(format!("{key} is tagged.")),
        )
    }
}

impl Untag {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let OneKey { key, call } = &self.one;
        let request = v1::UntagResourceRequest {
            key_id: key.clone(),
            tag_keys: self.tag_keys.clone(),
            dry_run: call.dry_run(),
        };
        call.ask(
            async |server| server.key_management().untag_resource(server.request(request)).await,
            |_| Text::line(format!("{key} does not have these tags.")),
        )
    }
}

/// `tags`
pub fn tags(one: &OneKey) -> Result<(), Stop> {
    let request =
        v1::ListResourceTagsRequest { key_id: one.key.clone(), dry_run: one.call.dry_run() };
    let output = one.call.output();
    one.call.ask(
        async |server| server.key_management().list_resource_tags(server.request(request)).await,
        |answer| {
            if answer.tags.is_empty() {
                output.hint(&Text::line("It has no tag: `keyferry key tag` gives one."));
            }
            table(&answer.tags)
        },
    )
}

fn table(tags: &[v1::KeyTag]) -> Text {
    let rows = tags.iter().map(|tag| vec![tag.tag_key.clone(), tag.tag_value.clone()]);
    Text::Table {
        heading: (!tags.is_empty()).then(|| vec!["tag_key", "tag_value"]),
        rows: rows.collect(),
    }
}

/// The tags of a request.
pub fn proto(tags: BTreeMap<String, String>) -> Vec<v1::Tag> {
    tags.into_iter().map(|(tag_key, tag_value)| v1::Tag { tag_key, tag_value }).collect()
}
