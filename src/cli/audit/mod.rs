//! `keyferry audit …`: audit logs, read and verified from their files alone.
//!
//! ```text
//! verify.rs     whether a log is as it was written
//! show.rs       its lines, as a table or as they stand
//! follow.rs     the same, as they come
//! report.rs     who exported what to whom, which keys were not used, who was refused
//! selecting.rs  which lines are meant
//! printer.rs    lines on standard output
//! lines.rs      a line as a row
//! checkpoint_key.rs  the public key, by the server's own store
//! ```

mod checkpoint_key;
mod follow;
mod lines;
mod printer;
mod report;
mod selecting;
mod show;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::{EarlyExit, Failure};
use crate::audit::reading::{self, LogFile};

/// Read and verify audit logs, offline
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Verify that a log is whole and as it was written: find and locate every change,
    /// and say how far its signatures reach
    Verify(verify::AuditVerify),
    /// Show the lines of a log, or some of them
    Show(show::AuditShow),
    /// Show lines as they are written, until you stop it with Ctrl-C
    Follow(follow::AuditFollow),
    /// Print the public key of the checkpoints of a server's log: give it to those who
    /// verify
    Key(checkpoint_key::AuditKey),
    /// Report who exported what to which recipient, which keys were not used, and who was
    /// refused
    Report(report::AuditReport),
}

impl AuditCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Verify(args) => args.run(),
            Self::Show(args) => args.run(),
            Self::Follow(args) => args.run(),
            Self::Key(args) => args.run(),
            Self::Report(args) => args.run(),
        }
    }
}

/// The files of a log.
#[derive(Args, Debug)]
struct LogArgs {
    /// The files of the log, or its directory; by their numbers, if all have names such
    /// as audit-00000001.jsonl, otherwise as they are given
    #[arg(value_name = "FILE|DIR", required = true)]
    paths: Vec<PathBuf>,
}

impl LogArgs {
    /// At least one.
    fn files(&self) -> Result<Vec<LogFile>, Failure> {
        let files = reading::files_of(&self.paths)
            .map_err(|(path, error)| unreadable(&path.display(), &error))?;
        if files.is_empty() {
            return Err(Failure::input(
                "There is no file of an audit log.",
                "Give the directory that [audit] dir names in the server's configuration. Its files are named audit-00000001.jsonl and so on.",
            ));
        }
        Ok(files)
    }
}

/// A file that cannot be read.
fn unreadable(path: &dyn std::fmt::Display, error: &std::io::Error) -> Failure {
    Failure::input(
        format!("{path} cannot be read: {error}."),
        "Check the path. A log is readable by the server's user and its group.",
    )
}

/// What is said of lines that could not be read, if there are any.
fn unread_hint(unread: u64) -> Option<String> {
    (unread > 0).then(|| {
        format!(
            "{unread} lines are not readable and were left out: `keyferry audit verify` says which."
        )
    })
}
