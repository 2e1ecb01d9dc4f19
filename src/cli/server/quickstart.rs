//! `keyferry quickstart`: shows a newcomer the whole way of a data key once. A
//! development server runs while the steps are taken.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::oneshot;

use super::serve::{self, dev_config, in_data_dir};
use super::tour::{Tour, broken, quoted, unusable};
use crate::cli::client::endpoint::Endpoint;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::Output;
use crate::cli::io::text::Text;
use crate::instance::BoundServer;

/// Watch a data key being made, exported to an RSA and an SM2 key, unwrapped
/// and used, with the command for each step
#[derive(Args, Debug)]
pub struct QuickstartCommand {
    /// The directory for the store and all files; by default a temporary one
    /// that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Keep the server running, so that the commands can be tried; Ctrl-C stops
    /// it
    #[arg(long)]
    keep_running: bool,
}

impl QuickstartCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let dir = in_data_dir(self.data_dir.as_deref(), |dir| {
            let dir = std::path::absolute(dir).map_err(|error| unusable(dir, &error))?;
            // The runtime goes at the end of this scope, and the store is closed
            // before its directory is removed.
            let runtime = serve::runtime()?;
            runtime.block_on(self.beside_a_server(&dir))?;
            Ok(dir)
        })?;
        self.say_goodbye(&dir)
    }

    /// Serves while the steps are taken, and until Ctrl-C if that is asked for.
    async fn beside_a_server(&self, dir: &Path) -> Result<(), EarlyExit> {
        let signals = serve::signals()?;
        let server = open_server(dir).await?;
        let address = server.address().map(ToString::to_string).unwrap_or_default();
        let endpoint: Endpoint =
            format!("http://{address}").parse().map_err(|error| broken(&format!("{error}")))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async {
            // Dropping the sender asks for a stop too.
            let _ = stopped.await;
        }));
        let outcome = tokio::select! {
            outcome = self.take_tour(dir, endpoint) => outcome,
            () = signals.asked(1) => Err(Failure::new(
                Exit::Refused,
                "The quickstart was interrupted.",
                "Run it again.",
            )
            .into()),
        };
        if outcome.is_ok() && self.keep_running {
            signals.asked(1).await;
        }
        drop(stop);
        let ended = server.await.map_err(|error| broken(&format!("the server ended: {error}")))?;
        outcome.and(ended.map_err(|error| Failure::from(error).into()))
    }

    async fn take_tour(&self, dir: &Path, endpoint: Endpoint) -> Result<(), EarlyExit> {
        Tour::begin(dir, endpoint).await?.take().await?;
        if self.keep_running {
            Output::default().print(&Text::paragraph(
                "The server keeps running: paste the commands into another terminal, in order. Ctrl-C stops it.",
            ))?;
        }
        Ok(())
    }

    /// Says what is left, and what to try next.
    fn say_goodbye(&self, dir: &Path) -> Result<(), EarlyExit> {
        let goodbye = match (&self.data_dir, self.keep_running) {
            (None, true) => {
                format!("The server has stopped, and {} is removed.", dir.display())
            }
            (None, false) => {
                "The server has stopped, and its directory is removed. To try the commands: `keyferry quickstart --keep-running`".to_owned()
            }
            (Some(_), _) => format!(
                "The server has stopped. To serve its store again: `keyferry serve --dev --data-dir {}`",
                quoted(&dir.display().to_string())
            ),
        };
        Output::default().print(&Text::paragraph(goodbye))
    }
}

/// A dev server at the usual address, or, if that is in use, at a free port.
async fn open_server(dir: &Path) -> Result<BoundServer, Failure> {
    match BoundServer::open(&dev_config(dir, None)?).await {
        Err(error) if error.exit_code() == Exit::InUse.number() => {
            Ok(BoundServer::open(&dev_config(dir, Some("127.0.0.1:0"))?).await?)
        }
        opened => Ok(opened?),
    }
}
