//! `keyferry key …`: the life of CMKs.

use clap::{Args, Subcommand};

use super::connection::{CallArgs, Session};
use super::failure::Stop;
use super::pages::{PageArgs, follow};
use super::text::Text;
use crate::proto::v1;

/// Make, describe, list, enable and disable CMKs
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a CMK
    Create(Create),
    /// Show what is known of a CMK
    Describe(OneKey),
    /// List all CMKs, oldest first
    List(List),
    /// Let a CMK be used again
    Enable(OneKey),
    /// Stop all use of a CMK: nothing that begins after the answer succeeds
    /// with it
    Disable(OneKey),
}

/// Makes a CMK.
#[derive(Args, Debug)]
pub struct Create {
    /// What it is for, in your words; not secret
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// What kind of key: Aliyun_AES_256, also the default
    #[arg(long, value_name = "SPEC", default_value = "")]
    key_spec: String,
    /// What it may be used for: ENCRYPT/DECRYPT, also the default
    #[arg(long, value_name = "USAGE", default_value = "")]
    key_usage: String,
    /// Where its key material comes from: Aliyun_KMS (made by the server),
    /// also the default
    #[arg(long, value_name = "ORIGIN", default_value = "")]
    origin: String,
    /// What keeps it: SOFTWARE, also the default
    #[arg(long, value_name = "LEVEL", default_value = "")]
    protection_level: String,
    #[command(flatten)]
    call: CallArgs,
}

/// Something about one CMK.
#[derive(Args, Debug)]
pub struct OneKey {
    /// The CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    call: CallArgs,
}

/// Lists CMKs.
#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

impl KeyCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Create(Create { call, .. })
            | Self::Describe(OneKey { call, .. })
            | Self::Enable(OneKey { call, .. })
            | Self::Disable(OneKey { call, .. })
            | Self::List(List { call, .. }) => call.json(),
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Create(args) => args.call.talk(async |session| create(args, session).await),
            Self::Describe(args) => args.call.talk(async |session| describe(args, session).await),
            Self::List(args) => args.call.talk(async |session| list(args, session).await),
            Self::Enable(args) => args.call.talk(async |session| enable(args, session).await),
            Self::Disable(args) => args.call.talk(async |session| disable(args, session).await),
        }
    }
}

async fn create(args: &Create, session: Session) -> Result<(), Stop> {
    let request = session.request(v1::CreateKeyRequest {
        description: args.description.clone(),
        key_spec: args.key_spec.clone(),
        key_usage: args.key_usage.clone(),
        origin: args.origin.clone(),
        protection_level: args.protection_level.clone(),
        dry_run: args.call.dry_run(),
    });
    let answer = session.answer(session.key_management().create_key(request).await)?;
    args.call.output().answer(&answer, || metadata(answer.key_metadata.as_ref()))
}

async fn describe(args: &OneKey, session: Session) -> Result<(), Stop> {
    let request = session
        .request(v1::DescribeKeyRequest { key_id: args.key.clone(), dry_run: args.call.dry_run() });
    let answer = session.answer(session.key_management().describe_key(request).await)?;
    args.call.output().answer(&answer, || metadata(answer.key_metadata.as_ref()))
}

async fn enable(args: &OneKey, session: Session) -> Result<(), Stop> {
    let request = session
        .request(v1::EnableKeyRequest { key_id: args.key.clone(), dry_run: args.call.dry_run() });
    let answer = session.answer(session.key_management().enable_key(request).await)?;
    args.call.output().answer(&answer, || Text::line(format!("{} is enabled.", args.key)))
}

async fn disable(args: &OneKey, session: Session) -> Result<(), Stop> {
    let request = session
        .request(v1::DisableKeyRequest { key_id: args.key.clone(), dry_run: args.call.dry_run() });
    let answer = session.answer(session.key_management().disable_key(request).await)?;
    args.call.output().answer(&answer, || Text::line(format!("{} is disabled.", args.key)))
}

async fn list(args: &List, session: Session) -> Result<(), Stop> {
    let output = args.call.output();
    let listed = follow(async |page| {
        let request = session.request(v1::ListKeysRequest {
            page_size: Some(args.pages.size()),
            page_token: page.token,
            dry_run: args.call.dry_run(),
            ..Default::default()
        });
        let answer = session.answer(session.key_management().list_keys(request).await)?;
        if page.first && answer.keys.is_empty() {
            output.hint(&Text::line("There is no CMK yet: `keyferry key create` makes one."));
        }
        output.answer(&answer, || keys(&answer.keys, page.first))?;
        Ok(answer.next_page_token)
    });
    listed.await
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
    ])
}
