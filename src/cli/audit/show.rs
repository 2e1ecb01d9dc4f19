//! `keyferry audit show`: the lines of a log, or some of them.

use std::collections::VecDeque;

use clap::Args;

use super::lines::{is_for_people, read};
use super::printer::Printer;
use super::selecting::{SelectArgs, SpanArgs, ZoneArgs};
use super::{LogArgs, unread_hint, unreadable};
use crate::audit::chain::LinkedLine;
use crate::audit::entry::Entry;
use crate::audit::reading::{LogFile, RawLine};
use crate::audit::selection::Selection;
use crate::cli::failure::EarlyExit;
use crate::cli::io::output::Output;
use crate::cli::io::text::Text;

/// The most lines that are kept to show the last ones.
const LIMIT_MAX: u64 = 100_000;

#[derive(Args, Debug)]
pub struct AuditShow {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    span: SpanArgs,
    /// Only the last N of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX))]
    limit: Option<u64>,
    #[command(flatten)]
    zone: ZoneArgs,
    /// Print the lines as they stand in the log, for jq and for `keyferry audit verify`;
    /// without it, checkpoints are left out unless --kind asks for them
    #[arg(long)]
    json: bool,
}

impl AuditShow {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let zone = self.zone.zone();
        let selection = self.select.selection(self.span.span(&zone)?);
        let files = self.log.files()?;
        let output = Output::of(self.json);
        let mut shown = Shown {
            printer: Printer::new(output, zone)?,
            last: self.limit.map(|limit| Last { limit, lines: VecDeque::new() }),
            selection,
            count: 0,
            unread: 0,
        };
        for file in &files {
            shown.read(file, self.json)?;
        }
        let (count, unread) = shown.end()?;
        if count == 0 {
            output.hint(&Text::line("No line matches."));
        }
        if let Some(hint) = unread_hint(unread) {
            output.hint(&Text::Alarm(hint));
        }
        Ok(())
    }
}

struct Shown {
    printer: Printer,
    last: Option<Last>,
    selection: Selection,
    count: u64,
    unread: u64,
}

/// The last lines, until it is known that no more come.
struct Last {
    limit: u64,
    lines: VecDeque<String>,
}

impl Shown {
    fn read(&mut self, file: &LogFile, all_kinds: bool) -> Result<(), EarlyExit> {
        let cannot_read = |error| unreadable(&file.path.display(), &error);
        let mut lines = file.lines().map_err(cannot_read)?;
        while let Some(line) = lines.next().map_err(cannot_read)? {
            match line {
                RawLine::Whole(line) => self.take(line, all_kinds)?,
                RawLine::TooLong => self.unread += 1,
                RawLine::Torn(_) => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8], all_kinds: bool) -> Result<(), EarlyExit> {
        let Some((line, entry)) = read(line) else {
            self.unread += 1;
            return Ok(());
        };
        let is_meant = all_kinds || is_for_people(&self.selection, &entry);
        if is_meant && self.selection.takes(&entry) {
            self.count += 1;
            return self.show(&line, &entry);
        }
        Ok(())
    }

    fn show(&mut self, line: &LinkedLine<'_>, entry: &Entry) -> Result<(), EarlyExit> {
        let Some(last) = &mut self.last else { return self.printer.print(line, entry) };
        if last.lines.len() as u64 >= last.limit {
            last.lines.pop_front();
        }
        last.lines.push_back(line.text.to_owned());
        Ok(())
    }

    /// Prints what is not printed yet, and gives how many lines matched and how many
    /// could not be read.
    fn end(mut self) -> Result<(u64, u64), EarlyExit> {
        for line in self.last.take().into_iter().flat_map(|last| last.lines) {
            if let Some((line, entry)) = read(line.as_bytes()) {
                self.printer.print(&line, &entry)?;
            }
        }
        self.printer.flush()?;
        Ok((self.count, self.unread))
    }
}
