//! `keyferry access-key …`: what programs sign their requests with.

use clap::{Args, Subcommand};

use super::connection::{CallArgs, Session};
use super::failure::Stop;
use super::pages::{PageArgs, Wanted, follow};
use super::text::Text;
use crate::proto::v1;

/// Make access keys, with which programs sign requests to the HTTP front door,
/// and list, disable and delete them
#[derive(Debug, Subcommand)]
pub enum AccessKeyCommand {
    /// Make an access key and show its secret, this once
    Create(Create),
    /// List access keys, oldest first, without their secrets
    List(List),
    /// Stop all use of an access key, for good
    Disable(Named),
    /// Delete an access key and erase its secret
    Delete(Named),
}

/// Makes an access key.
#[derive(Args, Debug)]
pub struct Create {
    /// The service account that it is for: letters, digits and . _ @ -
    #[arg(long, value_name = "PRINCIPAL")]
    principal: String,
    #[command(flatten)]
    call: CallArgs,
}

/// Lists access keys.
#[derive(Args, Debug)]
pub struct List {
    /// Only those of this service account
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

/// An access key.
#[derive(Args, Debug)]
pub struct Named {
    /// The access key's id
    #[arg(long, value_name = "ID")]
    access_key_id: String,
    #[command(flatten)]
    call: CallArgs,
}

impl AccessKeyCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Create(Create { call, .. })
            | Self::List(List { call, .. })
            | Self::Disable(Named { call, .. })
            | Self::Delete(Named { call, .. }) => call.json(),
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Create(args) => create(args),
            Self::List(args) => args.call.talk(async |session| list(args, session).await),
            Self::Disable(args) => disable(args),
            Self::Delete(args) => delete(args),
        }
    }
}

/// The one place where a secret is shown, on a terminal too: without it the
/// access key is of no use, and no other command can show it.
fn create(args: &Create) -> Result<(), Stop> {
    let request = v1::CreateAccessKeyRequest {
        principal: args.principal.clone(),
        dry_run: args.call.dry_run(),
    };
    args.call.ask(
        async |server| server.access_management().create_access_key(server.request(request)).await,
        |answer| made(args, answer),
    )?;
    args.call.output().hint(&Text::Alarm(
        "The secret is shown this once: keep it now, where secrets are kept.".to_owned(),
    ));
    Ok(())
}

fn made(args: &Create, answer: &v1::CreateAccessKeyResponse) -> Text {
    Text::Fields(vec![
        ("access_key_id", answer.access_key_id.clone()),
        ("access_key_secret", answer.access_key_secret.clone()),
        ("principal", args.principal.clone()),
        ("request_id", answer.request_id.clone()),
    ])
}

async fn list(args: &List, session: Session) -> Result<(), Stop> {
    follow(async |page| list_page(args, page, &session).await).await
}

async fn list_page(args: &List, page: Wanted, session: &Session) -> Result<String, Stop> {
    let request = session.request(v1::ListAccessKeysRequest {
        principal: args.principal.clone().unwrap_or_default(),
        page_size: Some(args.pages.size()),
        page_token: page.token,
        dry_run: args.call.dry_run(),
        ..Default::default()
    });
    let answer = session.answer(session.access_management().list_access_keys(request).await)?;
    if page.first && answer.access_keys.is_empty() {
        args.call.output().hint(&Text::line(
            "There is no access key yet: `keyferry access-key create --principal PRINCIPAL` makes one.",
        ));
    }
    args.call.output().answer(&answer, || access_keys(&answer.access_keys, page.first))?;
    Ok(answer.next_page_token)
}

fn access_keys(keys: &[v1::AccessKey], first: bool) -> Text {
    let rows = keys.iter().cloned().map(|key| {
        let v1::AccessKey { access_key_id, principal, state, creation_date } = key;
        vec![access_key_id, principal, state, creation_date]
    });
    let heading = vec!["access_key_id", "principal", "state", "creation_date"];
    Text::Table { heading: (first && !keys.is_empty()).then_some(heading), rows: rows.collect() }
}

fn disable(args: &Named) -> Result<(), Stop> {
    let request = v1::DisableAccessKeyRequest {
        access_key_id: args.access_key_id.clone(),
        dry_run: args.call.dry_run(),
    };
    args.call.ask(
        async |server| server.access_management().disable_access_key(server.request(request)).await,
        |_| Text::line(format!("{} lets nobody in any more.", args.access_key_id)),
    )
}

fn delete(args: &Named) -> Result<(), Stop> {
    let request = v1::DeleteAccessKeyRequest {
        access_key_id: args.access_key_id.clone(),
        dry_run: args.call.dry_run(),
    };
    args.call.ask(
        async |server| server.access_management().delete_access_key(server.request(request)).await,
        |_| Text::line(format!("{} is deleted.", args.access_key_id)),
    )
}
