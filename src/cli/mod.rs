//! The command line: each command that touches keys is a gRPC client of the
//! public contract, like any other.
//!
//! ```text
//! arguments ─▶ a file or folder per command family ─▶ client ─▶ server
//!                         │                             │
//!                        io                          failure
//!        (raw bytes, text for people, JSON)  (what happened, what to do)
//! ```
//!
//! | room | what it does |
//! | --- | --- |
//! | `key`, `alias`, `access_key` | manage CMKs, their names, and access keys |
//! | `data_key`, `batch`, `recipient` | generate, export, import and unwrap data keys |
//! | `receipt` | receipts of exports, and the keys that verify them |
//! | `policy` | schema and checks of policies, offline |
//! | `audit` | audit logs, verified and read offline |
//! | `symmetric`, `asymmetric` | encrypt, decrypt, sign and verify |
//! | `server` | serve, init, client add, quickstart |
//! | `options` | options that several families share |
//! | `client` | the connection, its calls, and why they fail |
//! | `io` | files, standard streams, text and JSON |
//! | `failure`, `exit` | why a command ends early; exit codes |
//!
//! Imports run downward in this list.

mod access_key;
mod alias;
mod asymmetric;
mod audit;
mod batch;
mod client;
mod data_key;
mod exit;
mod failure;
mod io;
mod key;
mod options;
mod policy;
mod receipt;
mod recipient;
mod server;
mod symmetric;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use exit::Exit;
use failure::{EarlyExit, Failure};

use crate::server::hardening;

/// A self-hosted key management service that carries data keys across trust
/// boundaries
#[derive(Debug, Parser)]
#[command(name = "keyferry", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 refused by the server, or a check failed; 64 wrong command line; \
65 unreadable input; 69 server unreachable; 73 store, socket or output file in use or not writable; \
77 not permitted; 78 wrong configuration, root key or policy";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(server::serve::ServeCommand),
    Init(server::init::InitCommand),
    #[command(subcommand)]
    Client(server::client::ClientCommand),
    Quickstart(server::quickstart::QuickstartCommand),
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
    Receipt(receipt::ReceiptCommand),
    #[command(subcommand)]
    AccessKey(access_key::AccessKeyCommand),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

/// Runs the command that the arguments name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = Cli::command().try_get_matches_from(&arguments);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    match parsed {
        Ok((cli, matches)) => io::output::conclude(cli.command.run(), asks_for_json(&matches)),
        Err(error) => refuse(&error, &arguments),
    }
}

/// Whether the command has `--json` and it is given.
fn asks_for_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, matches)) => asks_for_json(matches),
        None => matches!(matches.try_get_one("json"), Ok(Some(true))),
    }
}

impl Command {
    fn run(&self) -> Result<(), EarlyExit> {
        // A server hardens itself when it has a log for the failures.
        if !matches!(self, Self::Serve(_)) {
            let _ = hardening::harden();
        }
        match self {
            Self::Serve(command) => command.run(),
            Self::Init(command) => command.run(),
            Self::Client(command) => command.run(),
            Self::Quickstart(command) => command.run(),
            Self::Key(command) => command.run(),
            Self::Alias(command) => command.run(),
            Self::DataKey(command) => command.run(),
            Self::Symmetric(command) => command.run(),
            Self::Asymmetric(command) => command.run(),
            Self::Recipient(command) => command.run(),
            Self::Receipt(command) => command.run(),
            Self::AccessKey(command) => command.run(),
            Self::Policy(command) => command.run(),
            Self::Audit(command) => command.run(),
        }
    }
}

/// Prints help or the version, or refuses arguments that are no command, in JSON
/// if they ask for JSON.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that went away has seen enough.
        let _ = error.print();
        return Exit::Done;
    }
    if arguments.iter().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        let happened = text.trim_start_matches("error: ").trim();
        io::output::complain(&Failure::usage(happened, "See --help."), true);
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        DATA_KEY_BYTES, DELETION_WINDOW_DAYS, DESCRIPTION_CHARS, DIGEST_BYTES, Limit,
        PLAINTEXT_BYTES, ROTATION_DAYS, SM2_PLAINTEXT_BYTES, TAGS,
    };

    /// The help of a command on one line.
    fn help(path: &[&str]) -> String {
        let mut command = Cli::command();
        for name in path {
            command = command.find_subcommand(name).expect(name).clone();
        }
        let help = command.render_long_help().to_string();
        help.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn help_tells_the_limits_of_the_table() {
        let range = |limit: Limit| format!("{} to {}", limit.min, limit.max);
        for (path, told) in [
            (&["key", "create"][..], range(ROTATION_DAYS)),
            (&["key", "rotation-policy"], range(ROTATION_DAYS)),
            (&["key", "schedule-deletion"], range(DELETION_WINDOW_DAYS)),
            (&["key", "update-description"], format!("up to {} characters", DESCRIPTION_CHARS.max)),
            (&["key", "tag"], format!("at most {}", TAGS.max)),
            (&["data-key", "generate"], range(DATA_KEY_BYTES)),
            (&["symmetric"], format!("up to {} bytes", PLAINTEXT_BYTES.max)),
            (&["symmetric", "encrypt"], range(PLAINTEXT_BYTES)),
            (&["asymmetric", "encrypt"], format!("{} for EC_SM2", SM2_PLAINTEXT_BYTES.max)),
            (&["asymmetric", "sign"], format!("{} raw bytes", DIGEST_BYTES.max)),
        ] {
            let help = help(path);
            assert!(help.contains(&told), "{path:?} does not tell \"{told}\": {help}");
        }
    }
}
