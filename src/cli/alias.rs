//! `keyferry alias …`: names of CMKs.

use clap::{Args, Subcommand};

use super::client::call::CallArgs;
use super::client::pages::{ListTable, PageArgs};
use super::failure::EarlyExit;
use super::io::text::Text;
use crate::proto::v1;

/// Give names to CMKs, and move, delete and list them
#[derive(Debug, Subcommand)]
pub enum AliasCommand {
    /// Give a CMK an alias
    Create(PointAlias),
    /// Give an alias to another CMK
    Update(PointAlias),
    /// Delete an alias; the CMK stays
    Delete(DeleteAlias),
    /// List all aliases, or those of one CMK, oldest first
    List(ListAliases),
}

#[derive(Args, Debug)]
pub struct PointAlias {
    /// alias/NAME
    alias: String,
    /// The CMK: its id or its ARN
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct DeleteAlias {
    /// alias/NAME, or its ARN
    alias: String,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct ListAliases {
    /// Only the aliases of this CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    pages: PageArgs,
    #[command(flatten)]
    call: CallArgs,
}

impl AliasCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Create(args) => args.create(),
            Self::Update(args) => args.update(),
            Self::Delete(args) => args.run(),
            Self::List(args) => args.run(),
        }
    }
}

impl PointAlias {
    fn create(&self) -> Result<(), EarlyExit> {
        let request = v1::CreateAliasRequest {
            alias_name: self.alias.clone(),
            key_id: self.key.clone(),
            dry_run: self.call.dry_run(),
        };
        self.call.call(
            async |server| server.key_management().create_alias(server.request(request)).await,
            |_| self.points(),
        )
    }

    fn update(&self) -> Result<(), EarlyExit> {
        let request = v1::UpdateAliasRequest {
            alias_name: self.alias.clone(),
            key_id: self.key.clone(),
            dry_run: self.call.dry_run(),
        };
        self.call.call(
            async |server| server.key_management().update_alias(server.request(request)).await,
            |_| self.points(),
        )
    }

    fn points(&self) -> Text {
        Text::line(format!("{} names {}.", self.alias, self.key))
    }
}

impl DeleteAlias {
    fn run(&self) -> Result<(), EarlyExit> {
        let request =
            v1::DeleteAliasRequest { alias_name: self.alias.clone(), dry_run: self.call.dry_run() };
        self.call.call(
            async |server| server.key_management().delete_alias(server.request(request)).await,
            |_| Text::line(format!("{} is deleted.", self.alias)),
        )
    }
}

impl ListAliases {
    fn run(&self) -> Result<(), EarlyExit> {
        let table = ListTable {
            call: &self.call,
            heading: &["alias_name", "key_id", "alias_arn"],
            none: "There is no alias yet: `keyferry alias create alias/NAME --key KEY` makes one.",
        };
        match &self.key {
            Some(key) => self.list_of_key(key, &table),
            None => self.list_all(&table),
        }
    }

    fn list_all(&self, table: &ListTable) -> Result<(), EarlyExit> {
        table.print(
            async |session, page_token| {
                let request = session.request(v1::ListAliasesRequest {
                    page_size: Some(self.pages.size()),
                    page_token,
                    dry_run: self.call.dry_run(),
                    ..Default::default()
                });
                session.key_management().list_aliases(request).await
            },
            |page: &v1::ListAliasesResponse| (rows(&page.aliases), page.next_page_token.clone()),
        )
    }

    fn list_of_key(&self, key: &str, table: &ListTable) -> Result<(), EarlyExit> {
        table.print(
            async |session, page_token| {
                let request = session.request(v1::ListAliasesByKeyIdRequest {
                    key_id: key.to_owned(),
                    page_size: Some(self.pages.size()),
                    page_token,
                    dry_run: self.call.dry_run(),
                    ..Default::default()
                });
                session.key_management().list_aliases_by_key_id(request).await
            },
            |page: &v1::ListAliasesByKeyIdResponse| {
                (rows(&page.aliases), page.next_page_token.clone())
            },
        )
    }
}

fn rows(aliases: &[v1::Alias]) -> Vec<Vec<String>> {
    aliases
        .iter()
        .map(|alias| vec![alias.alias_name.clone(), alias.key_id.clone(), alias.alias_arn.clone()])
        .collect()
}
