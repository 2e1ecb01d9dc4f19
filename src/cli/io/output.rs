//! The output of a command: text for people, or with `--json` the response as
//! proto-JSON for programs.

use std::borrow::Cow;
use std::io::{self, Write};
use std::os::fd::AsFd;

use clap::Args;
use prost::Name;
use serde_json::{Value, json};
use terminal_size::terminal_size_of;
use zeroize::Zeroizing;

use super::output_target::{OutputTarget, Sensitivity};
use super::response::{KeyVersionResponse, json_line};
use super::stream::{cannot_write, unbuffered};
use super::text::{Text, render_failure};
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::printable::printable_json;

/// `--json`
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Print JSON: responses on standard output, one per line, with the names
    /// of the proto; errors on standard error
    #[arg(long)]
    json: bool,
}

/// How and where a command prints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    json: bool,
    text_to_stderr: bool,
}

impl OutputArgs {
    /// Text or JSON on standard output.
    pub fn output(self) -> Output {
        Output { json: self.json, text_to_stderr: false }
    }
}

impl Output {
    /// JSON or text on standard output, of a command whose JSON is not the contract's.
    pub const fn of(json: bool) -> Self {
        Self { json, text_to_stderr: false }
    }

    /// Whether JSON is asked for.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// The same with text for people on standard error.
    pub fn text_to_stderr(self) -> Self {
        Self { text_to_stderr: true, ..self }
    }

    /// The output beside bytes that go to `--out`: if that is standard output,
    /// text goes to standard error, and there is no room for JSON.
    pub fn beside(
        self,
        out: Option<&OutputTarget>,
        sensitivity: Sensitivity,
    ) -> Result<Self, Failure> {
        if out != Some(&OutputTarget::Stdout) {
            return Ok(self);
        }
        if self.json {
            return Err(Failure::usage(
                "Standard output cannot hold both the bytes of --out - and JSON.",
                "Give --out a file, or leave one of the two out.",
            ));
        }
        OutputTarget::Stdout.check(sensitivity)?;
        Ok(self.text_to_stderr())
    }

    /// Prints a response.
    pub fn response<M: Name>(
        self,
        response: &M,
        text: impl FnOnce() -> Text,
    ) -> Result<(), EarlyExit> {
        if self.json { print_json(&json_line(response)?) } else { self.print(&text()) }
    }

    /// Prints a response of a key version, and where its bytes were written.
    pub fn written<M: KeyVersionResponse, const N: usize>(
        self,
        response: &M,
        written: [(&'static str, String); N],
    ) -> Result<(), EarlyExit> {
        self.response(response, || {
            let [key_id, key_version_id, request_id] = response.ids().map(str::to_owned);
            let mut fields = vec![("key_id", key_id), ("key_version_id", key_version_id)];
            fields.extend(written);
            fields.push(("request_id", request_id));
            Text::Fields(fields)
        })
    }

    /// Prints a result that is no response of the contract.
    pub fn result(self, value: &Value, text: impl FnOnce() -> Text) -> Result<(), EarlyExit> {
        if self.json { print_json(format!("{value}\n").as_bytes()) } else { self.print(&text()) }
    }

    /// Prints a hint for people on standard error. Programs do not get it.
    pub fn hint(self, hint: &Text) {
        if !self.json {
            let hint = hint.render(columns_of(&io::stderr()));
            // A hint that cannot be written changes nothing.
            let _ = anstream::stderr().write_all(hint.as_bytes());
        }
    }

    /// Prints text for people.
    pub fn print(self, text: &Text) -> Result<(), EarlyExit> {
        let written = if self.text_to_stderr {
            let text = text.render(columns_of(&io::stderr()));
            anstream::stderr().write_all(text.as_bytes())
        } else {
            let text = text.render(columns_of(&io::stdout()));
            let mut stdout = anstream::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        };
        written.map_err(|error| cannot_write(&"standard output", &error))
    }
}

/// The line may hold a secret, of which std's buffer would keep a copy. It may go
/// to a terminal, and holds what others wrote.
fn print_json(line: &[u8]) -> Result<(), EarlyExit> {
    let line = String::from_utf8_lossy(line);
    let write = |line: &str| unbuffered(io::stdout())?.write_all(line.as_bytes());
    let written = match printable_json(&line) {
        Cow::Borrowed(line) => write(line),
        Cow::Owned(line) => write(&Zeroizing::new(line)),
    };
    written.map_err(|error| cannot_write(&OutputTarget::Stdout, &error))
}

/// The width of a terminal.
fn columns_of(stream: &impl AsFd) -> Option<usize> {
    terminal_size_of(stream).map(|(columns, _)| columns.0.into())
}

/// Ends a command: prints why it ended early, if it did, and gives its exit code.
pub fn conclude(outcome: Result<(), EarlyExit>, json: bool) -> Exit {
    let outcome = match outcome {
        Err(EarlyExit::DryRunSucceeded { request_id }) => {
            let output = Output { json, text_to_stderr: false };
            let value = json!({
                "dry_run": true, "reason": "DryRunOperationError", "request_id": request_id,
            });
            let text = "Dry run: this would have worked. Nothing was changed.";
            output.result(&value, || Text::line(text))
        }
        outcome => outcome,
    };
    match outcome {
        Ok(()) | Err(EarlyExit::ReaderGone | EarlyExit::DryRunSucceeded { .. }) => Exit::Done,
        Err(EarlyExit::Failed(failure)) => {
            complain(&failure, json);
            failure.exit()
        }
    }
}

/// Prints a failure on standard error.
pub fn complain(failure: &Failure, json: bool) {
    let text = if json {
        printable_json(&format!("{}\n", failure.json())).into_owned()
    } else {
        render_failure(&failure.lines(), columns_of(&io::stderr()))
    };
    // If even that cannot be written, the exit code still tells.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(conclude(Err(cannot_write(&"x", &gone)), false), Exit::Done);
    }
}
