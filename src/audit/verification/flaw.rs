//! What is wrong with a log, and where.

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::super::chain::LineDigest;

/// A line of one of the files that are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which file, from 0.
    pub file: usize,
    /// Which line of it, from 1.
    pub line: u64,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Error)]
#[serde(tag = "flaw", rename_all = "snake_case")]
pub enum Flaw {
    /// No line of a log begins, or is written, so.
    #[error("this is no line of an audit log, where number {expected} is expected")]
    Unreadable {
        /// The number that it would have.
        expected: u64,
    },
    /// A line of a log, with something in it that no release up to this one writes.
    #[error(
        "the line is not as it was written: it has an unknown or malformed field, or is spelt otherwise"
    )]
    OtherForm,
    /// The line after it was written when this was another.
    #[error("the line was changed: the next line names {expected}, and it is {found}")]
    Changed {
        /// The digest that the line after it names.
        expected: LineDigest,
        /// The digest that it has.
        found: LineDigest,
    },
    /// The same, with nothing that tells which of the two was changed.
    #[error("this line or the next was changed: the next names {expected}, and this is {found}")]
    ChangedOrNext {
        /// The digest that the line after it names.
        expected: LineDigest,
        /// The digest that it has.
        found: LineDigest,
    },
    /// It names the line before it, and has another number than the next.
    #[error("the line's number was changed: {expected} is expected, and it is {found}")]
    Renumbered {
        /// The number after that of the line before it.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// Lines are not here.
    #[error("{} missing: the line before is number {}, and this is number {}", lines(*from, *to), from - 1, to + 1)]
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// The same line once more.
    #[error("the line stands here twice: {found} again, where {expected} is expected")]
    Repeated {
        /// The number after that of the line before it.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// A line that belongs elsewhere: two were swapped, or an old one was put here.
    #[error("the line stands where it does not belong: {expected} is expected, and it is {found}")]
    OutOfOrder {
        /// The number after that of the line before it.
        expected: u64,
        /// The number that it has.
        found: u64,
    },
    /// A file does not begin as files do.
    #[error("the file does not begin with a line of kind file: its first lines are missing")]
    NoFileLine,
    /// Files do not hold others.
    #[error("another file begins inside of this one")]
    FileLineInside,
    /// A file has another name than it was given.
    #[error("the file was begun as number {found}, and its name says {expected}")]
    OtherFile {
        /// The number in its name.
        expected: u64,
        /// The number that it was begun as.
        found: u64,
    },
    /// The line is of another store's log.
    #[error("the line is of the log of store {found}, and the key is of store {expected}")]
    ForeignStore {
        /// The store that the key is of.
        expected: String,
        /// The store that the line is of.
        found: String,
    },
    /// The process that wrote it signs with another key.
    #[error("the checkpoints from here on are signed with another key: {found}")]
    ForeignKey {
        /// That key.
        found: String,
    },
    /// Each file begins with a checkpoint.
    #[error("a checkpoint is missing: each file's second line is one")]
    NoCheckpoint,
    /// The note is not signed with the key, or was changed.
    #[error("the checkpoint's signature does not verify")]
    Signature,
    /// The note is signed, and the line is not the one that was written for it.
    #[error("the checkpoint's line is not the one that its note was signed for")]
    OtherCheckpoint,
    /// The note is signed over another line.
    #[error(
        "the checkpoint is signed over line {signed} with digest {expected}, and the line before it is {before} with {found}"
    )]
    CheckpointOfOther {
        /// The number of the line that is signed.
        signed: u64,
        /// The digest that is signed.
        expected: LineDigest,
        /// The number of the line before the checkpoint.
        before: u64,
        /// Its digest.
        found: LineDigest,
    },
    /// The note lists other changes as open than the lines do.
    #[error("the checkpoint lists other changes as open than the lines before it")]
    OpenDiffers,
    /// The end of a change that did not begin, or that ended before.
    #[error("change {event} ends here, and is not open: it has no intent, or ended before")]
    NoIntent {
        /// The change.
        event: String,
    },
    /// A change begins twice.
    #[error("change {event} begins here, and is open already")]
    IntentTwice {
        /// The change.
        event: String,
    },
    /// The log was shorter than what was signed, and an operator went on all the same.
    #[error(
        "the process that begins here found the log changed or cut, and was told to go on: the lines before it are not all that was written"
    )]
    GivenUp,
    /// The log ends before a checkpoint that was kept elsewhere.
    #[error(
        "the log was cut: it ends at line {found}, and the kept checkpoint covers line {expected}"
    )]
    Cut {
        /// The last line that the kept checkpoint covers.
        expected: u64,
        /// The last line that is here.
        found: u64,
    },
    /// A line is another than the one that a checkpoint that was kept elsewhere covers.
    #[error(
        "the line is not the one that the kept checkpoint covers: that is {expected}, and this is {found}"
    )]
    NotTheKept {
        /// The digest that the kept checkpoint covers.
        expected: LineDigest,
        /// The digest of the line.
        found: LineDigest,
    },
    /// A process signs each second, and does not write for long without.
    #[error(
        "the last {lines} lines are not signed, and are of {seconds} seconds: a process that writes signs each second"
    )]
    Unsigned {
        /// How many.
        lines: u64,
        /// The seconds from the first of them to the last.
        seconds: i64,
    },
    /// No file is without lines, but where a process crashed as it began it.
    #[error("the file is empty, and the log goes on after it: its lines are missing")]
    Emptied,
    /// Not even the first line of a file.
    #[error("there is no line in the log")]
    Empty,
}

fn lines(from: u64, to: u64) -> String {
    if from == to { format!("line {from} is") } else { format!("lines {from} to {to} are") }
}

impl Serialize for LineDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A flaw, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocatedFlaw {
    /// The file.
    pub file: String,
    /// The line in it, from 1; 0 is the file as a whole.
    pub line: u64,
    /// The number of the line in the log, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// What is wrong.
    #[serde(flatten)]
    pub flaw: Flaw,
}

impl std::fmt::Display for LocatedFlaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, seq, flaw } = self;
        match seq {
            Some(seq) => write!(f, "{file}, line {line} (number {seq}): {flaw}"),
            None if *line == 0 => write!(f, "{file}: {flaw}"),
            None => write!(f, "{file}, line {line}: {flaw}"),
        }
    }
}

/// What was found so far: the first flaws, and how many there are.
#[derive(Debug)]
pub(super) struct Findings {
    files: Vec<String>,
    first: Vec<LocatedFlaw>,
    count: u64,
    shown_max: usize,
}

impl Findings {
    pub(super) const fn new(shown_max: usize) -> Self {
        Self { files: Vec::new(), first: Vec::new(), count: 0, shown_max }
    }

    /// Another file begins.
    pub(super) fn begin_file(&mut self, name: String) {
        self.files.push(name);
    }

    /// The files so far.
    pub(super) const fn files(&self) -> usize {
        self.files.len()
    }

    /// The name of a file.
    pub(super) fn name_of(&self, place: Place) -> &str {
        self.files.get(place.file).map_or("", String::as_str)
    }

    pub(super) fn tell(&mut self, place: Place, seq: Option<u64>, flaw: Flaw) {
        self.count += 1;
        if self.first.len() < self.shown_max {
            let file = self.name_of(place).to_owned();
            self.first.push(LocatedFlaw { file, line: place.line, seq, flaw });
        }
    }

    pub(super) fn end(self) -> (Vec<LocatedFlaw>, u64) {
        (self.first, self.count)
    }
}
