//! The arguments of every command that calls the server, and the call itself.

use clap::Args;
use prost::Name;
use tonic::{Response, Status};

use super::connection_args::ConnectionArgs;
use super::session::Session;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::{Output, OutputArgs};
use crate::cli::io::text::Text;

/// How the server is called, and how its answer is printed.
#[derive(Args, Clone, Debug)]
pub struct CallArgs {
    /// Let the server check everything and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl CallArgs {
    /// How the answer is printed.
    pub fn output(&self) -> Output {
        self.output.output()
    }

    /// Whether nothing is to be changed.
    pub fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Calls the server once, and prints its response.
    pub fn call<M, C>(&self, call: C, text: impl FnOnce(&M) -> Text) -> Result<(), EarlyExit>
    where
        M: Name,
        C: AsyncFnOnce(&Session) -> Result<Response<M>, Status>,
    {
        self.talk(async |session| {
            let outcome = call(&session).await;
            let response = session.response(outcome)?;
            self.output().response(&response, || text(&response))
        })
    }

    /// Connects, and talks to the server as `conversation` does.
    pub fn talk<C>(&self, conversation: C) -> Result<(), EarlyExit>
    where
        C: AsyncFnOnce(Session) -> Result<(), EarlyExit>,
    {
        block_on(async { conversation(self.session().await?).await })
    }

    /// Connects, for a conversation that outlives a connection.
    pub async fn session(&self) -> Result<Session, Failure> {
        Session::open(&self.connection.settle()?, self.dry_run).await
    }
}

/// Runs a conversation that connects by itself.
pub fn block_on(
    conversation: impl Future<Output = Result<(), EarlyExit>>,
) -> Result<(), EarlyExit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::unreachable(
            format!("The network cannot be used: {error}."),
            "Check that the limit on open files (ulimit -n) leaves room.",
        )
    })?;
    runtime.block_on(conversation)
}
