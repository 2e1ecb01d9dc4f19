//! `keyferry audit key`: the public key of a log's checkpoints, as the store has it.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::Output;
use crate::cli::io::text::Text;
use crate::cli::server::serve;
use crate::config::Config;
use crate::instance;

#[derive(Args, Debug)]
pub struct AuditKey {
    /// The server's configuration file. Its store and root key are read, beside a running
    /// server too
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl AuditKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let config = Config::load(&self.config)
            .map_err(|error| serve::misconfigured(&error, &self.config))?;
        let key = serve::runtime()?.block_on(instance::checkpoint_key(&config));
        let Some(key) = key.map_err(Failure::from)? else {
            return Err(Failure::new(
                Exit::Refused,
                "This store has no audit log yet.",
                "`keyferry serve` begins it.",
            )
            .into());
        };
        Output::default().print(&Text::line(key.to_string()))
    }
}
