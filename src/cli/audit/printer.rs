//! Lines on standard output: as rows for people, or as they stand.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};

use jiff::tz::TimeZone;

use super::lines::{HEADING, row};
use crate::audit::chain::LinkedLine;
use crate::audit::entry::Entry;
use crate::cli::failure::EarlyExit;
use crate::cli::io::output::Output;
use crate::cli::io::stream::{cannot_write, unbuffered};
use crate::cli::io::text::Text;
use crate::printable::printable_json;

/// Rows that share the widths of their columns; a log of any size is shown in the memory
/// of these.
const ROWS_TOGETHER: usize = 500;

/// Prints lines.
pub struct Printer {
    output: Output,
    zone: TimeZone,
    heading: Option<Vec<&'static str>>,
    rows: Vec<Vec<String>>,
    stdout: BufWriter<File>,
    is_terminal: bool,
}

impl Printer {
    pub fn new(output: Output, zone: TimeZone) -> Result<Self, EarlyExit> {
        let stdout = unbuffered(io::stdout()).map_err(|error| cannot(&error))?;
        Ok(Self {
            output,
            zone,
            heading: Some(HEADING.to_vec()),
            rows: Vec::new(),
            stdout: BufWriter::new(stdout),
            is_terminal: io::stdout().is_terminal(),
        })
    }

    /// Prints a line, sooner or later.
    pub fn print(&mut self, line: &LinkedLine<'_>, entry: &Entry) -> Result<(), EarlyExit> {
        if self.output.is_json() {
            return self.print_as_it_stands(line.text);
        }
        self.rows.push(row(line.seq, entry, &self.zone));
        if self.rows.len() < ROWS_TOGETHER { Ok(()) } else { self.flush() }
    }

    /// Byte for byte, so that it verifies; but a terminal gets nothing that steers it.
    fn print_as_it_stands(&mut self, line: &str) -> Result<(), EarlyExit> {
        let shown = if self.is_terminal { printable_json(line) } else { line.into() };
        writeln!(self.stdout, "{shown}").map_err(|error| cannot(&error))
    }

    /// Prints what is not printed yet.
    pub fn flush(&mut self) -> Result<(), EarlyExit> {
        self.stdout.flush().map_err(|error| cannot(&error))?;
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.output.print(&Text::Table { heading: self.heading.take(), rows })
    }
}

fn cannot(error: &io::Error) -> EarlyExit {
    cannot_write(&"standard output", error)
}
