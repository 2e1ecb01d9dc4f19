//! `keyferry access-key …`: the keys that programs sign their requests with.

use clap::{Args, Subcommand};

use super::client::call::CallArgs;
use super::client::pages::{ListTable, PageArgs};
use super::failure::EarlyExit;
use super::io::text::Text;
use crate::proto::v1;

/// Make access keys, with which programs sign requests to the HTTP front door,
/// and list, disable and delete them
#[derive(Debug, Subcommand)]
pub enum AccessKeyCommand {
    /// Make an access key and show its secret, this once
    Create(CreateAccessKey),
    /// List access keys, oldest first, without their secrets
    List(ListAccessKeys),
    /// Disable an access key, for good
    Disable(OneAccessKey),
    /// Delete an access key and erase its secret
    Delete(OneAccessKey),
}

#[derive(Args, Debug)]
pub struct CreateAccessKey {
    /// The service account that it is for: letters, digits and . _ @ -
    #[arg(long, value_name = "PRINCIPAL")]
    principal: String,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct ListAccessKeys {
    /// Only the access keys of this service account
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct OneAccessKey {
    /// The access key's id
    #[arg(long, value_name = "ID")]
    access_key_id: String,
    #[command(flatten)]
    call: CallArgs,
}

impl AccessKeyCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Create(args) => args.run(),
            Self::List(args) => args.run(),
            Self::Disable(args) => args.disable(),
            Self::Delete(args) => args.delete(),
        }
    }
}

impl CreateAccessKey {
    /// The one place where a secret is shown on a terminal: without it the access
    /// key is of no use, and no other command can show it.
    fn run(&self) -> Result<(), EarlyExit> {
        let request = v1::CreateAccessKeyRequest {
            principal: self.principal.clone(),
            dry_run: self.call.dry_run(),
        };
        self.call.call(
            async |server| {
                server.access_management().create_access_key(server.request(request)).await
            },
            |response| {
                Text::Fields(vec![
                    ("access_key_id", response.access_key_id.clone()),
                    ("access_key_secret", response.access_key_secret.clone()),
                    ("principal", self.principal.clone()),
                    ("request_id", response.request_id.clone()),
                ])
            },
        )?;
        self.call.output().hint(&Text::Alarm(
            "The secret is shown this once: store it now, in a safe place.".to_owned(),
        ));
        Ok(())
    }
}

impl ListAccessKeys {
    fn run(&self) -> Result<(), EarlyExit> {
        let table = ListTable {
            call: &self.call,
            heading: &["access_key_id", "principal", "state", "creation_date"],
            none: "There is no access key yet: `keyferry access-key create --principal PRINCIPAL` makes one.",
        };
        table.print(
            async |session, page_token| {
                let request = session.request(v1::ListAccessKeysRequest {
                    principal: self.principal.clone().unwrap_or_default(),
                    page_size: Some(self.pages.size()),
                    page_token,
                    dry_run: self.call.dry_run(),
                    ..Default::default()
                });
                session.access_management().list_access_keys(request).await
            },
            |page: &v1::ListAccessKeysResponse| {
                let rows = page.access_keys.iter().cloned().map(|key| {
                    let v1::AccessKey { access_key_id, principal, state, creation_date } = key;
                    vec![access_key_id, principal, state, creation_date]
                });
                (rows.collect(), page.next_page_token.clone())
            },
        )
    }
}

impl OneAccessKey {
    fn disable(&self) -> Result<(), EarlyExit> {
        let request = v1::DisableAccessKeyRequest {
            access_key_id: self.access_key_id.clone(),
            dry_run: self.call.dry_run(),
        };
        self.call.call(
            async |server| {
                server.access_management().disable_access_key(server.request(request)).await
            },
            |_| Text::line(format!("{} is disabled.", self.access_key_id)),
        )
    }

    fn delete(&self) -> Result<(), EarlyExit> {
        let request = v1::DeleteAccessKeyRequest {
            access_key_id: self.access_key_id.clone(),
            dry_run: self.call.dry_run(),
        };
        self.call.call(
            async |server| {
                server.access_management().delete_access_key(server.request(request)).await
            },
            |_| Text::line(format!("{} is deleted.", self.access_key_id)),
        )
    }
}
