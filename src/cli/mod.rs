//! The command line: each command that touches keys is a gRPC client of the
//! public contract, like any other.
//!
//! ```text
//! arguments ─▶ one file per command family ─▶ connection ─▶ server
//!                    │      │                     │
//!                  files  output               failure
//!             (raw bytes) (text, JSON)   (what happened, what to do)
//! ```

mod access_key;
mod advice;
mod algorithms;
mod alias;
mod asymmetric;
mod batch;
mod connection;
mod context;
mod data_key;
mod data_key_export;
mod data_key_generate;
mod data_key_import;
mod data_key_unwrap;
mod endpoint;
mod exit;
mod failure;
mod files;
mod init;
mod key;
mod key_life;
mod key_tags;
mod key_versions;
mod out;
mod output;
mod pages;
mod pair;
mod quickstart;
mod recipient;
mod recipient_args;
mod scratch;
mod serve;
mod symmetric;
mod text;
mod watched;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub use exit::Exit;
use failure::{Failure, Stop};

use crate::server::hardening;

/// A self-hosted key management service that carries data keys across trust
/// boundaries
#[derive(Debug, Parser)]
#[command(name = "keyferry", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 refused by the server, or a check failed; 64 command line;
65 unreadable input; 69 server unreachable; 73 store, socket or output file not
to be had; 77 not permitted; 78 configuration, root key or policy";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Init(init::Init),
    Quickstart(quickstart::Quickstart),
    #[command(subcommand)]
    Key(key::KeyCommand),
    #[command(subcommand)]
    Alias(alias::AliasCommand),
    #[command(subcommand)]
    DataKey(data_key::DataKeyCommand),
    #[command(subcommand)]
    Symmetric(symmetric::SymmetricCommand),
    #[command(subcommand)]
    Asymmetric(asymmetric::AsymmetricCommand),
    #[command(subcommand)]
    Recipient(recipient::RecipientCommand),
    #[command(subcommand)]
    AccessKey(access_key::AccessKeyCommand),
}

impl Cli {
    /// Does what was asked, and says what came of it.
    #[must_use]
    pub fn run(&self) -> Exit {
        output::conclude(self.command.run(), self.command.json())
    }
}

impl Command {
    fn run(&self) -> Result<(), Stop> {
        // A server does it when it has a log to say what could not be had.
        if !matches!(self, Self::Serve(_)) {
            let _ = hardening::harden();
        }
        match self {
            Self::Serve(command) => command.run(),
            Self::Init(command) => command.run(),
            Self::Quickstart(command) => command.run(),
            Self::Key(command) => command.run(),
            Self::Alias(command) => command.run(),
            Self::DataKey(command) => command.run(),
            Self::Symmetric(command) => command.run(),
            Self::Asymmetric(command) => command.run(),
            Self::Recipient(command) => command.run(),
            Self::AccessKey(command) => command.run(),
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Quickstart(_) => false,
            Self::Init(command) => command.json(),
            Self::Key(command) => command.json(),
            Self::Alias(command) => command.json(),
            Self::DataKey(command) => command.json(),
            Self::Symmetric(command) => command.json(),
            Self::Asymmetric(command) => command.json(),
            Self::Recipient(command) => command.json(),
            Self::AccessKey(command) => command.json(),
        }
    }
}

/// What becomes of arguments that are no command: help and version are printed
/// and done; anything else is refused, in JSON where JSON was asked for.
#[must_use]
pub fn refuse(error: &clap::Error) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that went away has seen enough.
        let _ = error.print();
        return Exit::Done;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let said = text.trim_start_matches("error: ").trim();
        output::complain(&Failure::usage(said, "See --help."), true);
    } else {
        let _ = error.print();
    }
    Exit::Usage
}
