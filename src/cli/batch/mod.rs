//! `keyferry data-key export --batch`: many data keys over one stream, from a
//! file of lines into another.
//!
//! ```text
//! batch ─▶ lines ─▶ item ─▶ export_run ◀─▶ server
//!            │                   │
//!         resume ◀─ journal ◀────┘
//! (what was done before)
//! ```
//!
//! Each line of the batch is answered by the line of the output with the same
//! number. The same command resumes a run that was interrupted.

mod export_run;
mod item;
mod journal;
mod lines;
mod resume;
mod strict_json;
mod tally;

use std::io::{self, BufReader, IsTerminal};
use std::iter::Peekable;
use std::thread;

use tokio::sync::mpsc;

use self::export_run::{ExportRun, WINDOW};
pub use self::item::ItemDefaults;
use self::item::{BatchItem, BatchItems};
use self::journal::Journal;
use self::resume::DoneBefore;
use self::tally::Tally;
use super::client::call::{CallArgs, block_on};
use super::exit::Exit;
use super::failure::{EarlyExit, Failure};
use super::io::input::Input;
use super::io::output_target::{OutputTarget, Sensitivity};
use super::io::progress::Progress;
use super::io::text::Text;

/// A batch to export.
#[derive(Debug)]
pub struct BatchExport<'a> {
    /// The lines of the batch.
    pub input: &'a Input,
    /// The file for the answers.
    pub out: Option<&'a OutputTarget>,
    /// The values of members that a line lacks.
    pub defaults: ItemDefaults,
    /// How the server is called.
    pub call: &'a CallArgs,
}

impl BatchExport<'_> {
    /// Exports it.
    pub fn run(self) -> Result<(), EarlyExit> {
        let output = self.call.output().beside(self.out, Sensitivity::Public)?;
        // The sum for people stands where the bar was; JSON goes where programs
        // look for it.
        let output = if output.is_json() { output } else { output.text_to_stderr() };
        let (source, bytes) = self.input.open("batch")?;
        let mut items = BatchItems::new(BufReader::new(source), self.defaults.clone()).peekable();
        let (journal, before) = self.journal(&mut items)?;
        let shows_bar = io::stderr().is_terminal() && !output.is_json();
        let mut run = ExportRun::new(
            self.call,
            read_ahead(items),
            journal,
            Tally::new(before, self.call.dry_run()),
            Progress::new(bytes, shows_bar),
        );
        let outcome = block_on(run.run());
        let (tally, journal) = run.end();
        if outcome.is_ok() || tally.answered() > 0 {
            output.result(&tally.json(), || Text::line(tally.sentence()))?;
        }
        outcome?;
        if tally.refused() == 0 {
            return Ok(());
        }
        let were = if tally.is_dry_run() { "would be" } else { "were" };
        Err(Failure::new(
            Exit::Refused,
            format!("{} of {} items {were} refused.", tally.refused(), tally.all()),
            format!(
                "Each line with an \"error\" in {} names an item and the reason. Correct these items in a batch of their own.",
                journal.name()
            ),
        )
        .into())
    }

    /// Opens the output, and finds what it holds already. A dry run leaves it alone.
    fn journal<I>(&self, items: &mut Peekable<I>) -> Result<(Journal, DoneBefore), EarlyExit>
    where
        I: Iterator<Item = io::Result<BatchItem>>,
    {
        match self.out {
            _ if self.call.dry_run() => Ok((Journal::standard_output()?, DoneBefore::default())),
            Some(out) => Journal::open(out, items),
            None => Err(Failure::usage(
                "--batch needs --out: the answers of a batch go to a file.",
                "Give --out FILE, or --out - for standard output.",
            )
            .into()),
        }
    }
}

/// Reads in a thread of its own, as a file may keep its reader waiting; no
/// further ahead than there is room.
fn read_ahead<I>(items: I) -> mpsc::Receiver<io::Result<BatchItem>>
where
    I: Iterator<Item = io::Result<BatchItem>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(WINDOW);
    thread::spawn(move || {
        for item in items {
            let is_last = item.is_err();
            if sender.blocking_send(item).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}
