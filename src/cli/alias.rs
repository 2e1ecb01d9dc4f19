//! `keyferry alias …`: names of CMKs.

use clap::{Args, Subcommand};

use super::client::call::CallArgs;
use super::client::pages::{NextPage, PageArgs, follow};
use super::client::session::Session;
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
        self.call.talk(async |session| match &self.key {
            Some(key) => follow(async |page| self.page_of_key(key, page, &session).await).await,
            None => follow(async |page| self.page_of_all(page, &session).await).await,
        })
    }

    async fn page_of_all(&self, page: NextPage, session: &Session) -> Result<String, EarlyExit> {
        let request = session.request(v1::ListAliasesRequest {
            page_size: Some(self.pages.size()),
            page_token: page.token,
            dry_run: self.call.dry_run(),
            ..Default::default()
        });
        let response = session.response(session.key_management().list_aliases(request).await)?;
        self.hint_if_none(&response.aliases, page.first);
        self.call.output().response(&response, || table(&response.aliases, page.first))?;
        Ok(response.next_page_token)
    }

    async fn page_of_key(
        &self,
        key: &str,
        page: NextPage,
        session: &Session,
    ) -> Result<String, EarlyExit> {
        let request = session.request(v1::ListAliasesByKeyIdRequest {
            key_id: key.to_owned(),
            page_size: Some(self.pages.size()),
            page_token: page.token,
            dry_run: self.call.dry_run(),
            ..Default::default()
        });
        let listed = session.key_management().list_aliases_by_key_id(request).await;
        let response = session.response(listed)?;
        self.hint_if_none(&response.aliases, page.first);
        self.call.output().response(&response, || table(&response.aliases, page.first))?;
        Ok(response.next_page_token)
    }

    fn hint_if_none(&self, aliases: &[v1::Alias], first: bool) {
        if first && aliases.is_empty() {
            self.call.output().hint(&Text::line(
                "There is no alias yet: `keyferry alias create alias/NAME --key KEY` makes one.",
            ));
        }
    }
}

fn table(aliases: &[v1::Alias], first: bool) -> Text {
    let rows = aliases
        .iter()
        .map(|alias| vec![alias.alias_name.clone(), alias.key_id.clone(), alias.alias_arn.clone()]);
    Text::Table {
        heading: (first && !aliases.is_empty()).then(|| vec!["alias_name", "key_id", "alias_arn"]),
        rows: rows.collect(),
    }
}
