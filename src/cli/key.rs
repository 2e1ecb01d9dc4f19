//! `keyferry key …`: the life of CMKs. What the family offers is here; making,
//! describing and listing CMKs too.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};

use super::connection::{CallArgs, Session};
use super::failure::{Failure, Stop};
use super::key_life::{Protect, ScheduleDeletion, UpdateDescription};
use super::key_tags::{self, Tag, Untag};
use super::key_versions::{self, DescribeVersion, PublicKey, RotationPolicy, Versions};
use super::pages::{PageArgs, follow};
use super::pair::{Pair, unique};
use super::text::Text;
use super::{key_life, key_tags::tags};
use crate::proto::v1;

/// Make, describe, list, switch, rotate, tag, protect and delete CMKs
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a CMK
    Create(Create),
    /// Show what is known of a CMK
    Describe(OneKey),
    /// List CMKs, all of them or those that fit, oldest first
    List(List),
    /// Let a CMK be used again
    Enable(OneKey),
    /// Stop all use of a CMK: nothing that begins after the answer succeeds
    /// with it
    Disable(OneKey),
    /// Change the description of a CMK
    UpdateDescription(UpdateDescription),
    /// Stop all use of a CMK now, and delete it for ever when a number of days
    /// have passed: what it sealed can never be opened again
    ScheduleDeletion(ScheduleDeletion),
    /// Call a scheduled deletion off; the CMK is enabled afterwards
    CancelDeletion(OneKey),
    /// Protect a CMK from deletion
    Protect(Protect),
    /// Let a CMK be deleted again
    Unprotect(Protect),
    /// Make a new version of a CMK: a symmetric one seals under it from then
    /// on, and opens with all of its versions
    Rotate(OneKey),
    /// List the versions of a CMK, oldest first
    Versions(Versions),
    /// Show what is known of a version of a CMK
    DescribeVersion(DescribeVersion),
    /// Have a symmetric CMK rotated on a schedule, or no longer
    RotationPolicy(RotationPolicy),
    /// Get the public key of a version of an asymmetric CMK, as PEM
    PublicKey(PublicKey),
    /// Give a CMK tags; a tag key that it has already gets the new value
    Tag(Tag),
    /// Take tags away from a CMK
    Untag(Untag),
    /// List the tags of a CMK
    Tags(OneKey),
}

/// Makes a CMK.
#[derive(Args, Debug)]
pub struct Create {
    /// What it is for, in your words; not secret
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// What kind of key: Aliyun_AES_256, also the default, which seals data
    /// keys; or a key pair: RSA_2048, RSA_3072, RSA_4096, EC_P256, EC_P256K,
    /// EC_SM2
    #[arg(long, value_name = "SPEC", default_value = "")]
    key_spec: String,
    /// What it may be used for, for ever: ENCRYPT/DECRYPT (Aliyun_AES_256, RSA,
    /// EC_SM2) or SIGN/VERIFY (RSA, EC). Beware: the default is SIGN/VERIFY
    /// wherever the spec can sign, so that an RSA or EC_SM2 key that data keys
    /// are exported to must be made with ENCRYPT/DECRYPT
    #[arg(long, value_name = "USAGE", default_value = "")]
    key_usage: String,
    /// Where its key material comes from: Aliyun_KMS (made by the server),
    /// also the default
    #[arg(long, value_name = "ORIGIN", default_value = "")]
    origin: String,
    /// What keeps it: SOFTWARE, also the default
    #[arg(long, value_name = "LEVEL", default_value = "")]
    protection_level: String,
    /// Rotate it on a schedule: the time between rotations, 7 to 730 days, as
    /// in 90d; d, h, m and s are understood. For Aliyun_AES_256
    #[arg(long, value_name = "INTERVAL")]
    rotation_interval: Option<String>,
    /// A tag; may be given many times; not secret
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<Pair>,
    #[command(flatten)]
    call: CallArgs,
}

/// Something about one CMK.
#[derive(Args, Debug)]
pub struct OneKey {
    /// The CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// How the server is called.
    #[command(flatten)]
    pub call: CallArgs,
}

/// Lists CMKs.
#[derive(Args, Debug)]
pub struct List {
    /// Only CMKs that fit: KeyState, KeySpec, KeyUsage, ProtectionLevel,
    /// CreatorType, DKMSInstanceId, KeyId, AliasName, Creator, TagKey or
    /// TagValue, and a value. May be given many times: the same key again is
    /// another value that fits as well; different keys must all fit
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Pair>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

impl KeyCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        self.call().json()
    }

    fn call(&self) -> &CallArgs {
        match self {
            Self::Create(Create { call, .. }) | Self::List(List { call, .. }) => call,
            Self::Describe(one)
            | Self::Enable(one)
            | Self::Disable(one)
            | Self::CancelDeletion(one)
            | Self::Rotate(one)
            | Self::Tags(one) => &one.call,
            Self::UpdateDescription(args) => &args.one.call,
            Self::ScheduleDeletion(args) => &args.one.call,
            Self::Protect(args) | Self::Unprotect(args) => &args.call,
            Self::Versions(args) => &args.one.call,
            Self::DescribeVersion(args) => &args.one.call,
            Self::RotationPolicy(args) => &args.one.call,
            Self::PublicKey(args) => &args.one.call,
            Self::Tag(args) => &args.one.call,
            Self::Untag(args) => &args.one.call,
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Create(args) => args.run(),
            Self::Describe(one) => describe(one),
            Self::List(args) => args.run(),
            Self::Enable(one) => key_life::enable(one),
            Self::Disable(one) => key_life::disable(one),
            Self::UpdateDescription(args) => args.run(),
            Self::ScheduleDeletion(args) => args.run(),
            Self::CancelDeletion(one) => key_life::cancel_deletion(one),
            Self::Protect(args) => args.run(true),
            Self::Unprotect(args) => args.run(false),
            Self::Rotate(one) => key_versions::rotate(one),
            Self::Versions(args) => args.run(),
            Self::DescribeVersion(args) => args.run(),
            Self::RotationPolicy(args) => args.run(),
            Self::PublicKey(args) => args.run(),
            Self::Tag(args) => args.run(),
            Self::Untag(args) => args.run(),
            Self::Tags(one) => tags(one),
        }
    }
}

impl Create {
    fn run(&self) -> Result<(), Stop> {
        let request = self.request()?;
        self.call.ask(
            async |server| server.key_management().create_key(server.request(request)).await,
            |answer| metadata(answer.key_metadata.as_ref()),
        )
    }

    fn request(&self) -> Result<v1::CreateKeyRequest, Failure> {
        Ok(v1::CreateKeyRequest {
            description: self.description.clone(),
            key_spec: self.key_spec.clone(),
            key_usage: self.key_usage.clone(),
            origin: self.origin.clone(),
            protection_level: self.protection_level.clone(),
            enable_automatic_rotation: self.rotation_interval.is_some(),
            rotation_interval: self.rotation_interval.clone().unwrap_or_default(),
            tags: key_tags::proto(unique("--tag", &self.tags)?),
            dry_run: self.call.dry_run(),
        })
    }
}

fn describe(one: &OneKey) -> Result<(), Stop> {
    let request = v1::DescribeKeyRequest { key_id: one.key.clone(), dry_run: one.call.dry_run() };
    one.call.ask(
        async |server| server.key_management().describe_key(server.request(request)).await,
        |answer| metadata(answer.key_metadata.as_ref()),
    )
}

impl List {
    fn run(&self) -> Result<(), Stop> {
        self.call.talk(async |session| self.follow(&session).await)
    }

    async fn follow(&self, session: &Session) -> Result<(), Stop> {
        let output = self.call.output();
        let filters = filters(&self.filters);
        let listed = follow(async |page| {
            let request = session.request(v1::ListKeysRequest {
                page_size: Some(self.pages.size()),
                page_token: page.token,
                filters: filters.clone(),
                dry_run: self.call.dry_run(),
                ..Default::default()
            });
            let answer = session.answer(session.key_management().list_keys(request).await)?;
            if page.first && answer.keys.is_empty() {
                output.hint(&Text::line(self.none()));
            }
            output.answer(&answer, || keys(&answer.keys, page.first))?;
            Ok(answer.next_page_token)
        });
        listed.await
    }

    fn none(&self) -> &'static str {
        if self.filters.is_empty() {
            "There is no CMK yet: `keyferry key create` makes one."
        } else {
            "There is no CMK that fits."
        }
    }
}

/// One filter for each key, in the order in which the keys were first named.
fn filters(pairs: &[Pair]) -> Vec<v1::Filter> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut filters: Vec<v1::Filter> = Vec::new();
    for Pair { key, value } in pairs {
        let place = *places.entry(key).or_insert(filters.len());
        match filters.get_mut(place) {
            Some(filter) => filter.values.push(value.clone()),
            None => {
                filters.push(v1::Filter { key: key.clone(), values: vec![value.clone()] });
            }
        }
    }
    filters
}

fn keys(keys: &[v1::Key], first: bool) -> Text {
    let rows = keys.iter().map(|key| vec![key.key_id.clone(), key.key_arn.clone()]);
    Text::Table {
        heading: (first && !keys.is_empty()).then(|| vec!["key_id", "key_arn"]),
        rows: rows.collect(),
    }
}

fn metadata(metadata: Option<&v1::KeyMetadata>) -> Text {
    let v1::KeyMetadata {
        key_id,
        arn,
        key_spec,
        key_usage,
        key_state,
        origin,
        protection_level,
        description,
        creator,
        creation_date,
        delete_date,
        primary_key_version,
        automatic_rotation,
        last_rotation_date,
        next_rotation_date,
        rotation_interval,
        material_expire_time,
        dkms_instance_id,
        deletion_protection,
        deletion_protection_description,
    } = metadata.cloned().unwrap_or_default();
    Text::Fields(vec![
        ("key_id", key_id),
        ("arn", arn),
        ("key_spec", key_spec),
        ("key_usage", key_usage),
        ("key_state", key_state),
        ("origin", origin),
        ("protection_level", protection_level),
        ("description", description),
        ("creator", creator),
        ("creation_date", creation_date),
        ("delete_date", delete_date),
        ("primary_key_version", primary_key_version),
        ("automatic_rotation", automatic_rotation),
        ("last_rotation_date", last_rotation_date),
        ("next_rotation_date", next_rotation_date),
        ("rotation_interval", rotation_interval),
        ("material_expire_time", material_expire_time),
        ("dkms_instance_id", dkms_instance_id),
        ("deletion_protection", deletion_protection),
        ("deletion_protection_description", deletion_protection_description),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_again_is_another_value_of_its_filter() {
        let pairs: Vec<Pair> = ["KeyState=Enabled", "KeySpec=EC_SM2", "KeyState=Disabled"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let filter = |key: &str, values: &[&str]| v1::Filter {
            key: key.to_owned(),
            values: values.iter().map(ToString::to_string).collect(),
        };
        let expected =
            [filter("KeyState", &["Enabled", "Disabled"]), filter("KeySpec", &["EC_SM2"])];
        assert_eq!(filters(&pairs), expected);
    }
}
