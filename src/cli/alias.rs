//! `keyferry alias …`: names for CMKs.

use clap::{Args, Subcommand};

use super::connection::{CallArgs, Session};
use super::failure::Stop;
use super::pages::{PageArgs, Wanted, follow};
use super::text::Text;
use crate::proto::v1;

/// Give names to CMKs, and move, delete and list them
#[derive(Debug, Subcommand)]
pub enum AliasCommand {
    /// Give a CMK a name
    Create(Named),
    /// Make a name mean another CMK
    Update(Named),
    /// Take a name away; the CMK stays
    Delete(Delete),
    /// List all names, or those of one CMK, oldest first
    List(List),
}

/// A name and the CMK that it is to name.
#[derive(Args, Debug)]
pub struct Named {
    /// alias/NAME
    alias: String,
    /// The CMK: its id or its ARN
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    call: CallArgs,
}

/// Takes a name away.
#[derive(Args, Debug)]
pub struct Delete {
    /// alias/NAME, or its ARN
    alias: String,
    #[command(flatten)]
    call: CallArgs,
}

/// Lists names.
#[derive(Args, Debug)]
pub struct List {
    /// Only the names of this CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

impl AliasCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Create(Named { call, .. })
            | Self::Update(Named { call, .. })
            | Self::Delete(Delete { call, .. })
            | Self::List(List { call, .. }) => call.json(),
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Create(args) => create(args),
            Self::Update(args) => update(args),
            Self::Delete(args) => delete(args),
            Self::List(args) => args.call.talk(async |session| list(args, session).await),
        }
    }
}

fn create(args: &Named) -> Result<(), Stop> {
    let request = v1::CreateAliasRequest {
        alias_name: args.alias.clone(),
        key_id: args.key.clone(),
        dry_run: args.call.dry_run(),
    };
    args.call.ask(
        async |server| server.key_management().create_alias(server.request(request)).await,
        |_| names(args),
    )
}

fn update(args: &Named) -> Result<(), Stop> {
    let request = v1::UpdateAliasRequest {
        alias_name: args.alias.clone(),
        key_id: args.key.clone(),
        dry_run: args.call.dry_run(),
    };
    args.call.ask(
        async |server| server.key_management().update_alias(server.request(request)).await,
        |_| names(args),
    )
}

fn names(args: &Named) -> Text {
    Text::line(format!("{} names {}.", args.alias, args.key))
}

fn delete(args: &Delete) -> Result<(), Stop> {
    let request =
        v1::DeleteAliasRequest { alias_name: args.alias.clone(), dry_run: args.call.dry_run() };
    args.call.ask(
        async |server| server.key_management().delete_alias(server.request(request)).await,
        |_| Text::line(format!("{} is free.", args.alias)),
    )
}

async fn list(args: &List, session: Session) -> Result<(), Stop> {
    match &args.key {
        Some(key) => follow(async |page| list_by_key(args, key, page, &session).await).await,
        None => follow(async |page| list_all(args, page, &session).await).await,
    }
}

async fn list_all(args: &List, page: Wanted, session: &Session) -> Result<String, Stop> {
    let request = session.request(v1::ListAliasesRequest {
        page_size: Some(args.pages.size()),
        page_token: page.token,
        dry_run: args.call.dry_run(),
        ..Default::default()
    });
    let answer = session.answer(session.key_management().list_aliases(request).await)?;
    hint_if_none(args, &answer.aliases, page.first);
    args.call.output().answer(&answer, || aliases(&answer.aliases, page.first))?;
    Ok(answer.next_page_token)
}

async fn list_by_key(
    args: &List,
    key: &str,
    page: Wanted,
    session: &Session,
) -> Result<String, Stop> {
    let request = session.request(v1::ListAliasesByKeyIdRequest {
        key_id: key.to_owned(),
        page_size: Some(args.pages.size()),
        page_token: page.token,
        dry_run: args.call.dry_run(),
        ..Default::default()
    });
    let answer = session.answer(session.key_management().list_aliases_by_key_id(request).await)?;
    hint_if_none(args, &answer.aliases, page.first);
    args.call.output().answer(&answer, || aliases(&answer.aliases, page.first))?;
    Ok(answer.next_page_token)
}

fn hint_if_none(args: &List, aliases: &[v1::Alias], first: bool) {
    if first && aliases.is_empty() {
        args.call.output().hint(&Text::line(
            "There is no name yet: `keyferry alias create alias/NAME --key KEY` gives one.",
        ));
    }
}

fn aliases(aliases: &[v1::Alias], first: bool) -> Text {
    let rows = aliases
        .iter()
        .map(|alias| vec![alias.alias_name.clone(), alias.key_id.clone(), alias.alias_arn.clone()]);
    Text::Table {
        heading: (first && !aliases.is_empty()).then(|| vec!["alias_name", "key_id", "alias_arn"]),
        rows: rows.collect(),
    }
}
