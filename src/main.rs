//! Parses arguments, nothing else.

use clap::Parser;
use keyferry::cli::{Cli, Exit, refuse};

fn main() -> Exit {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => refuse(&error),
    }
}
