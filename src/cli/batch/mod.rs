//! `keyferry data-key export --batch`: many data keys over one stream, from a
//! file of lines into another.
//!
//! ```text
//! batch ─▶ lines ─▶ item ─▶ exporting ◀─▶ server
//!            │                  │
//!        finished ◀─ ledger ◀───┘
//! (what was done before)
//! ```
//!
//! A line of the batch is answered by the line of the output that has its number.
//! A run that was interrupted is gone on with by the same command.

mod exporting;
mod finished;
mod item;
mod ledger;
mod lines;
mod progress;

use std::collections::VecDeque;
use std::io::{self, BufReader, IsTerminal};
use std::iter::Peekable;
use std::thread;

use tokio::sync::mpsc;

use self::exporting::{Exporting, WINDOW};
use self::finished::Finished;
pub use self::item::Defaults;
use self::item::{Item, Items};
use self::ledger::Ledger;
use self::progress::{Progress, Tally};
use super::connection::{CallArgs, block_on};
use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination, Input};
use super::out::spoken_beside;
use super::text::Text;

/// A batch to export.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Where its lines are.
    pub input: &'a Input,
    /// Where the answers go.
    pub out: Option<&'a Destination>,
    /// What is meant where a line does not say.
    pub defaults: Defaults,
    /// How the server is called.
    pub call: &'a CallArgs,
}

impl Batch<'_> {
    /// Exports it.
    pub fn run(self) -> Result<(), Stop> {
        let output = spoken_beside(self.call.output(), self.call.json(), self.out, Care::Public)?;
        // Text speaks where the bar was; JSON goes where programs look for it.
        let output = if self.call.json() { output } else { output.aside() };
        let (source, bytes) = self.input.open("batch")?;
        let mut items = Items::new(BufReader::new(source), self.defaults.clone()).peekable();
        let (ledger, before) = self.ledger(&mut items)?;
        let mut exporting = Exporting {
            call: self.call,
            items: read_ahead(items),
            ledger,
            tally: Tally::new(before, self.call.dry_run()),
            progress: Progress::new(bytes, io::stderr().is_terminal() && !self.call.json()),
            waiting: VecDeque::new(),
            read: false,
        };
        let outcome = block_on(exporting.run());
        exporting.progress.end();
        let Exporting { tally, ledger, .. } = exporting;
        if outcome.is_ok() || tally.answered() > 0 {
            output.result(&tally.json(), || Text::line(tally.sentence()))?;
        }
        outcome?;
        match tally.refused() {
            0 => Ok(()),
            refused => Err(some_refused(refused, &tally, &ledger).into()),
        }
    }

    /// Where answers go, and what is there already. A dry run leaves it alone.
    fn ledger<I>(&self, items: &mut Peekable<I>) -> Result<(Ledger, Finished), Stop>
    where
        I: Iterator<Item = io::Result<Item>>,
    {
        match self.out {
            _ if self.call.dry_run() => Ok((Ledger::standard_output()?, Finished::default())),
            Some(out) => Ledger::open(out, items),
            None => Err(Failure::usage(
                "--batch needs --out: the answers of a batch go to a file.",
                "Give --out FILE, or --out - for standard output.",
            )
            .into()),
        }
    }
}

fn some_refused(refused: u64, tally: &Tally, ledger: &Ledger) -> Failure {
    let all = tally.all();
    let were = if tally.is_dry_run() { "would be" } else { "were" };
    Failure::new(
        Exit::Refused,
        format!("{refused} of {all} items {were} refused."),
        format!(
            "The lines with an \"error\" in {} say which and why. Put them right in a batch of their own.",
            ledger.place()
        ),
    )
}

/// Reads in a thread of its own, as a file may keep its reader waiting; no
/// further ahead than there is room.
fn read_ahead<I>(items: I) -> mpsc::Receiver<io::Result<Item>>
where
    I: Iterator<Item = io::Result<Item>> + Send + 'static,
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
