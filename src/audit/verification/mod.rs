//! Verifies a log from its files alone: that each line is as it was written, that none is
//! missing, doubled or foreign, that the checkpoints are signed, and that changes ended.
//!
//! What a key of checkpoints has not signed yet is only chained: anybody can chain lines
//! anew. How far signatures reach is therefore a part of the [`Verdict`], and a checkpoint
//! that is kept elsewhere proves that the log was not cut since.
//!
//! ```text
//! linking.rs   whether lines follow one another
//! changes.rs   whether each intent has one outcome
//! flaw.rs      what is wrong, and where
//! ```

mod changes;
pub mod flaw;
mod linking;

use std::io::{self, BufRead};

use jiff::Timestamp;
use serde::Serialize;

use self::changes::Changes;
use self::flaw::{Findings, Flaw, LocatedFlaw, Place};
use self::linking::Linking;
use super::chain::{Head, LinkedLine};
use super::entry::{Entry, Kind};
use super::note::{Checkpoint, VerifierKey};
use super::reading::{LogFile, RawLine};

/// The longest that a process writes without a checkpoint, generously.
const UNSIGNED_SECONDS_MAX: i64 = 60;
/// The most open changes that a verdict names.
const OPEN_SHOWN_MAX: usize = 20;

/// What is verified against.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The key of the log's checkpoints.
    pub key: VerifierKey,
    /// A checkpoint that was kept elsewhere, verified: the log must reach it.
    pub kept: Option<Checkpoint>,
}

/// A line, by its number and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineAt {
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub time: String,
}

/// A change without an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenChange {
    /// Its event id.
    pub event: String,
    /// The file of its intent, or of the first checkpoint that lists it.
    pub file: String,
    /// The line in it.
    pub line: u64,
}

/// A line that a crash cut short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TornLine {
    /// Its file.
    pub file: String,
    /// The line in it.
    pub line: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How many files there are.
    pub files: usize,
    /// How many whole lines.
    pub lines: u64,
    /// The first line.
    pub first: Option<LineAt>,
    /// The last line.
    pub last: Option<LineAt>,
    /// How many processes began to write.
    pub starts: u64,
    /// Whether the last of them ended in order.
    pub ends_with_stop: bool,
    /// How many checkpoints verify.
    pub checkpoints: u64,
    /// The last of them.
    pub signed: Option<LineAt>,
    /// How many lines come after it.
    pub unsigned_lines: u64,
    /// How many changes have no outcome.
    pub open_changes: usize,
    /// The first of them.
    pub open: Vec<OpenChange>,
    /// Lines that crashes cut short.
    pub torn: Vec<TornLine>,
    /// The kept checkpoint covers a line before the first one here.
    pub begins_after_kept: bool,
    /// How many flaws there are.
    pub flaw_count: u64,
    /// The first of them.
    pub flaws: Vec<LocatedFlaw>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.flaw_count == 0
    }
}

/// A log on its way through.
pub struct Verification {
    trusted: Trusted,
    key: String,
    findings: Findings,
    linking: Linking,
    changes: Changes,
    file: FileSoFar,
    verdict: Verdict,
    /// The time of the first line after the last checkpoint.
    unsigned_since: Option<String>,
    again: Vec<u8>,
}

/// What is known of the file that is read.
#[derive(Default)]
struct FileSoFar {
    number: Option<u64>,
    lines: u64,
    is_after_file_line: bool,
    is_foreign: bool,
}

impl Verification {
    /// Of a log that is held to these. Of all flaws, that many are told.
    #[must_use]
    pub fn new(trusted: Trusted, flaws_max: usize) -> Self {
        Self {
            key: trusted.key.to_string(),
            trusted,
            findings: Findings::new(flaws_max),
            linking: Linking::default(),
            changes: Changes::default(),
            file: FileSoFar::default(),
            verdict: Verdict::default(),
            unsigned_since: None,
            again: Vec::new(),
        }
    }

    /// Reads files to their ends. `progress` is told how many bytes each line had.
    pub fn read(&mut self, file: &LogFile, progress: impl FnMut(u64)) -> io::Result<()> {
        self.begin_file(file);
        let lines = file.lines()?;
        self.read_lines(lines, progress)
    }

    /// Reads the lines of the file that was begun.
    pub fn read_lines(
        &mut self,
        mut lines: super::reading::Lines<impl BufRead>,
        mut progress: impl FnMut(u64),
    ) -> io::Result<()> {
        let mut before = 0;
        while let Some(line) = lines.next()? {
            self.take(line);
            progress(lines.offset() - before);
            before = lines.offset();
        }
        Ok(())
    }

    /// Another file begins.
    pub fn begin_file(&mut self, file: &LogFile) {
        self.findings.begin_file(file.path.display().to_string());
        self.file = FileSoFar { number: file.number, ..FileSoFar::default() };
    }

    /// The next line of the file.
    pub fn take(&mut self, line: RawLine<'_>) {
        self.file.lines += 1;
        match line {
            RawLine::Whole(line) => self.take_whole(line),
            RawLine::Torn(_) => self.take_torn(),
            RawLine::TooLong => self.take_unreadable(self.place()),
        }
    }

    fn place(&self) -> Place {
        Place { file: self.findings.files().saturating_sub(1), line: self.file.lines }
    }

    fn take_torn(&mut self) {
        let place = self.place();
        let file = self.findings.name_of(place).to_owned();
        self.verdict.torn.push(TornLine { file, line: place.line });
    }

    fn take_unreadable(&mut self, place: Place) {
        self.file.is_after_file_line = false;
        self.changes.doubt();
        self.linking.take_unreadable(place, &mut self.findings);
    }

    fn take_whole(&mut self, line: &[u8]) {
        self.verdict.lines += 1;
        let place = self.place();
        let Some(line) = std::str::from_utf8(line).ok().and_then(LinkedLine::parse) else {
            return self.take_unreadable(place);
        };
        let (head, is_first) = (line.head(), self.linking.head().is_none());
        let follows = self.linking.take(&line, head, place, &mut self.findings);
        if !follows {
            self.changes.doubt();
        }
        if is_first {
            self.judge_beginning(line.seq, place);
        }
        self.hold_to_kept(head, is_first, place);
        match line.entry() {
            Ok(entry) if self.is_as_written(&line, &entry) => {
                self.judge(&line, entry, place, follows);
            }
            _ => {
                self.file.is_after_file_line = false;
                self.tell_of_tip(place, line.seq, Flaw::OtherForm);
            }
        }
    }

    /// Files before the first may have been deleted, as too old, and none emptied.
    fn judge_beginning(&mut self, seq: u64, place: Place) {
        if seq == 1 {
            self.changes.begin_log();
        } else if place.file > 0 {
            self.findings.tell(Place { file: 0, line: 0 }, None, Flaw::Emptied);
        }
    }

    /// Tells of a line's own content; then it is no news that the next line names another.
    fn tell_of_tip(&mut self, place: Place, seq: u64, flaw: Flaw) {
        self.findings.tell(place, Some(seq), flaw);
        self.linking.tip_is_told();
    }

    fn hold_to_kept(&mut self, head: Head, is_first: bool, place: Place) {
        let Some(kept) = &self.trusted.kept else { return };
        self.verdict.begins_after_kept |= is_first && head.seq > kept.seq;
        if head.seq == kept.seq && head.digest != kept.digest {
            let (expected, found) = (kept.digest, head.digest);
            self.findings.tell(place, Some(head.seq), Flaw::NotTheKept { expected, found });
        }
    }

    /// Whether the line is byte for byte what is written for this entry: no member is
    /// unknown, doubled or spelt otherwise.
    fn is_as_written(&mut self, line: &LinkedLine<'_>, entry: &Entry) -> bool {
        self.again.clear();
        let written = serde_json::to_writer(&mut self.again, entry);
        written.is_ok() && self.again.get(1..) == Some(line.body.as_bytes())
    }

    fn judge(&mut self, line: &LinkedLine<'_>, entry: Entry, place: Place, follows: bool) {
        self.judge_store(&entry, line.seq, place);
        self.judge_file(&entry, line.seq, place);
        let at = LineAt { seq: line.seq, time: entry.time.clone() };
        let flaw = match entry.kind {
            Kind::Start => self.start(&entry),
            Kind::Stop => {
                self.verdict.ends_with_stop = true;
                None
            }
            Kind::Intent => self.changes.begin(entry.event, place),
            Kind::Outcome => self.changes.end(entry.event),
            Kind::Checkpoint => self.checkpoint(line, &entry, &at, place, follows),
            Kind::File | Kind::Policy | Kind::Decision | Kind::Auth => None,
        };
        if let Some(flaw) = flaw {
            self.findings.tell(place, Some(line.seq), flaw);
        }
        if self.verdict.signed.as_ref() != Some(&at) {
            self.unsigned_since.get_or_insert_with(|| at.time.clone());
        }
        self.verdict.first.get_or_insert_with(|| at.clone());
        self.verdict.last = Some(at);
    }

    /// A file of another log is told of once.
    fn judge_store(&mut self, entry: &Entry, seq: u64, place: Place) {
        let expected = self.trusted.key.store().unwrap_or_default();
        if entry.store == expected || self.file.is_foreign {
            return;
        }
        self.file.is_foreign = true;
        let (expected, found) = (expected.to_owned(), entry.store.clone());
        self.findings.tell(place, Some(seq), Flaw::ForeignStore { expected, found });
    }

    /// A file begins with its number and a checkpoint. One whose name bears no number may
    /// be several, one after the other.
    fn judge_file(&mut self, entry: &Entry, seq: u64, place: Place) {
        let is_second = std::mem::take(&mut self.file.is_after_file_line);
        if is_second && entry.kind != Kind::Checkpoint {
            self.findings.tell(place, Some(seq), Flaw::NoCheckpoint);
        }
        let is_file_line = entry.kind == Kind::File;
        self.file.is_after_file_line = is_file_line;
        let flaw = match (place.line, is_file_line, self.file.number) {
            (1, false, _) => Flaw::NoFileLine,
            (1, true, Some(expected)) if entry.file != Some(expected) => {
                Flaw::OtherFile { expected, found: entry.file.unwrap_or_default() }
            }
            (2.., true, Some(_)) => Flaw::FileLineInside,
            _ => return,
        };
        self.findings.tell(place, Some(seq), flaw);
    }

    fn start(&mut self, entry: &Entry) -> Option<Flaw> {
        self.verdict.starts += 1;
        self.verdict.ends_with_stop = false;
        match &entry.checkpoint_key {
            Some(key) if *key != self.key => Some(Flaw::ForeignKey { found: key.clone() }),
            _ => entry.lost_checkpoint.as_ref().map(|_| Flaw::GivenUp),
        }
    }

    /// A checkpoint that verifies tells which changes are open.
    fn checkpoint(
        &mut self,
        line: &LinkedLine<'_>,
        entry: &Entry,
        at: &LineAt,
        place: Place,
        follows: bool,
    ) -> Option<Flaw> {
        match self.signed(line, entry) {
            Ok(signed) => {
                self.verdict.checkpoints += 1;
                self.linking.tip_is_proven(&mut self.findings);
                if follows {
                    self.verdict.signed = Some(at.clone());
                    self.unsigned_since = None;
                }
                self.changes.hold_to(&signed, place)
            }
            Err(flaw) => {
                self.linking.tip_is_told();
                Some(flaw)
            }
        }
    }

    /// A checkpoint is signed over the line before it, and its own line is wholly told by
    /// it.
    fn signed(&self, line: &LinkedLine<'_>, entry: &Entry) -> Result<Checkpoint, Flaw> {
        let note = entry.note.as_deref().unwrap_or_default();
        let text = self.trusted.key.open_sole(note).ok_or(Flaw::Signature)?;
        let signed = Checkpoint::parse(text).ok_or(Flaw::OtherCheckpoint)?;
        let before = Head { seq: line.seq.wrapping_sub(1), digest: line.prev };
        if signed.head() != before {
            return Err(Flaw::CheckpointOfOther {
                signed: signed.seq,
                expected: signed.digest,
                before: before.seq,
                found: before.digest,
            });
        }
        if signed.entry(note.to_owned()) != *entry {
            return Err(Flaw::OtherCheckpoint);
        }
        Ok(signed)
    }

    /// The verdict, as nothing more comes.
    #[must_use]
    pub fn end(mut self) -> Verdict {
        self.linking.end(&mut self.findings);
        self.judge_end();
        let Self { mut verdict, findings, changes, .. } = self;
        verdict.files = findings.files();
        let open = changes.into_open();
        verdict.open_changes = open.len();
        let shown = open.into_iter().take(OPEN_SHOWN_MAX);
        let named = |(event, place): (String, Place)| OpenChange {
            event,
            file: findings.name_of(place).to_owned(),
            line: place.line,
        };
        verdict.open = shown.map(named).collect();
        (verdict.flaws, verdict.flaw_count) = findings.end();
        verdict
    }

    fn judge_end(&mut self) {
        let place = self.place();
        let end = self.linking.head().map_or(0, |head| head.seq);
        if self.linking.head().is_none() {
            self.findings.tell(Place { line: 0, ..place }, None, Flaw::Empty);
        }
        if let Some(kept) = self.trusted.kept.as_ref().filter(|kept| end < kept.seq) {
            let cut = Flaw::Cut { expected: kept.seq, found: end };
            self.findings.tell(place, None, cut);
        }
        let signed = self.verdict.signed.as_ref().map_or(0, |at| at.seq);
        self.verdict.unsigned_lines = match &self.verdict.signed {
            Some(_) => end.saturating_sub(signed),
            None => self.verdict.lines,
        };
        if let Some(seconds) = self.unsigned_seconds().filter(|it| *it > UNSIGNED_SECONDS_MAX) {
            let lines = self.verdict.unsigned_lines;
            self.findings.tell(place, Some(end), Flaw::Unsigned { lines, seconds });
        }
    }

    /// From the first line after the last checkpoint to the last line. A crash may take
    /// the checkpoint of a batch, whose lines are of one moment.
    fn unsigned_seconds(&self) -> Option<i64> {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let since = time(self.unsigned_since.as_deref()?)?;
        let last = time(&self.verdict.last.as_ref()?.time)?;
        Some(last.duration_since(since).as_secs())
    }
}
