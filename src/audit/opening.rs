//! A log is opened: what is there is read from the last checkpoint on, held to what the
//! store remembers, and gone on with in a file of this process's own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::chain::{self, Head, LinkedLine};
use super::entry::{Entry, Kind};
use super::event_ids::EventIds;
use super::files::{self, LogFiles, Reason, Rotation};
use super::log::{AuditLog, Kept, Part};
use super::note::{Checkpoint, VerifierKey};
use super::secrets;
use super::writer::{Chain, Signer, Sync, Times, Writer, part_of};
use crate::crypto::secret::AuditKey;
use crate::error::Error;
use crate::ids::{EventId, StoreId};
use crate::reserve::Reserve;

/// The file that keeps room for changes that take a permission away: some thousand of them.
const RESERVE: &str = "keyferry.reserve";
const RESERVE_BYTES: u64 = 4 << 20;

/// How a log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The directory of its files.
    pub directory: PathBuf,
    /// When lines are synced.
    pub sync: Sync,
    /// How its files grow and how long they are kept.
    pub rotation: Rotation,
    /// Whether looks at metadata (Describe, List) have lines.
    pub metadata: bool,
}

/// What the store knows of its log, and what the log shall say of its start.
pub struct Known<'a> {
    /// The store.
    pub store: StoreId,
    /// Its key of the log.
    pub key: &'a AuditKey,
    /// The checkpoint that the store remembers, if it does.
    pub checkpoint: Option<String>,
    /// Go on where the log does not reach that checkpoint.
    pub give_up: bool,
    /// The digest of the policies that decide.
    pub policy_set: String,
}

/// A log that is open, and the changes in it whose end is not known.
pub struct OpenedLog {
    /// The log.
    pub log: AuditLog,
    /// Their ends must be written before anything else is done.
    pub unsettled: Vec<EventId>,
}

/// A log that is not opened. Each text says what to do.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The directory or a file.
    #[error("the audit log in {} cannot be opened: {error}", path.display())]
    Unusable {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process writes it.
    #[error("the audit log in {} is written by another process: stop that first, or configure another [audit] dir", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A line is not of this log.
    #[error("line {line} of the audit log's file {} does not follow the line before it: the file was changed. `keyferry audit verify` says where; bring the file back from a copy, or move it away and start once with --give-up-audit-log", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The number of the line in it.
        line: u64,
    },
    /// It is shorter than the store remembers.
    #[error("the audit log in {} ends at line {found}, but line {expected} has been signed: lines were removed. Bring the files back from a copy, or start once with --give-up-audit-log, which is recorded", path.display())]
    Short {
        /// The directory.
        path: PathBuf,
        /// The number of its last line.
        found: u64,
        /// The number that it must reach.
        expected: u64,
    },
    /// What the store remembers, and the log's own lines, are not of one log.
    #[error("line {line} of the audit log in {} is not the line that has been signed: the log was replaced. Bring the files back from a copy, or start once with --give-up-audit-log, which is recorded", path.display())]
    Replaced {
        /// The directory.
        path: PathBuf,
        /// The number of the line.
        line: u64,
    },
    /// Ours.
    #[error("the audit log cannot be begun: {0}")]
    Internal(#[from] Error),
}

/// Opens the log for this process alone, and begins a file of its own.
pub fn open(settings: &AuditSettings, known: &Known<'_>) -> Result<OpenedLog, AuditError> {
    let unusable = |error| AuditError::Unusable { path: settings.directory.clone(), error };
    let (signing, context_key) = secrets::derive(known.store, known.key)?;
    let verifier = signing.verifier();
    let files = LogFiles::open(&settings.directory).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => AuditError::InUse { path: settings.directory.clone() },
        _ => unusable(error),
    })?;
    let remembered = known.checkpoint.as_deref().and_then(|note| checkpoint(note, &verifier));
    let (chain, lost) = match read_tail(&settings.directory, &verifier, remembered.as_ref()) {
        Ok(chain) => (chain, None),
        Err(AuditError::Unusable { path, error }) => {
            return Err(AuditError::Unusable { path, error });
        }
        Err(_) if known.give_up => begin_again(remembered.as_ref(), known.checkpoint.clone()),
        Err(error) => return Err(error),
    };
    let unsettled = chain.open.iter().copied().collect();
    let events = Arc::new(EventIds::begin());
    let run = events.run().to_string();
    let kept = Arc::new(Kept::new(known.store, &run, settings.metadata, context_key));
    let mut writer = Writer {
        kept: kept.clone(),
        files,
        reserve: Reserve::keep(settings.directory.join(RESERVE), RESERVE_BYTES, "the audit log"),
        signer: Signer { kept: kept.clone(), events: events.clone(), key: signing },
        sync: settings.sync,
        rotation: settings.rotation,
        chain,
        overdue: Vec::new(),
        times: Times::default(),
    };
    writer.begin_file(Reason::Start).map_err(unusable)?;
    let mut start = kept.entry(events.next(jiff::Timestamp::now()), Kind::Start);
    start.version = Some(env!("CARGO_PKG_VERSION").to_owned());
    start.checkpoint_key = Some(verifier.to_string());
    start.policy_set = Some(known.policy_set.clone());
    start.lost_checkpoint = lost;
    let _ = kept.put(&start, Part::Alone);
    let thread = std::thread::Builder::new().name("audit".to_owned());
    let thread = thread.spawn(move || writer.run()).map_err(unusable)?;
    Ok(OpenedLog { log: AuditLog::on(events, kept, thread), unsettled })
}

/// The chain after a loss: it goes on after the line that was signed last, so that no
/// number is used twice.
fn begin_again(remembered: Option<&Checkpoint>, note: Option<String>) -> (Chain, Option<String>) {
    let head = remembered.map_or(Head::EMPTY, |it| Head { seq: it.seq, digest: it.digest });
    (Chain { head, open: BTreeSet::new(), signed: head.seq }, note)
}

fn checkpoint(note: &str, verifier: &VerifierKey) -> Option<Checkpoint> {
    Checkpoint::parse(verifier.open_sole(note)?)
}

/// The end of the chain that is there.
fn read_tail(
    directory: &Path,
    verifier: &VerifierKey,
    remembered: Option<&Checkpoint>,
) -> Result<Chain, AuditError> {
    let unusable = |error| AuditError::Unusable { path: directory.to_owned(), error };
    let mut tail = Tail::default();
    // From the last file back, until there is a checkpoint to begin at.
    for number in files::numbers(directory).map_err(unusable)?.into_iter().rev() {
        let path = directory.join(files::name(number));
        tail = Tail::read(&path, verifier, remembered)?.before(tail, &path)?;
        if tail.is_enough(remembered) {
            break;
        }
    }
    let head = tail.head.unwrap_or(Head::EMPTY);
    match remembered {
        Some(it) if head.seq < it.seq => {
            Err(AuditError::Short { path: directory.to_owned(), found: head.seq, expected: it.seq })
        }
        Some(it) if tail.differs => {
            Err(AuditError::Replaced { path: directory.to_owned(), line: it.seq })
        }
        _ => Ok(Chain { head, open: tail.open, signed: tail.signed }),
    }
}

/// The lines from some line on to the end of the log.
#[derive(Default)]
struct Tail {
    /// The end of the chain before the first line.
    before: Option<Head>,
    head: Option<Head>,
    /// Changes that were begun and not ended, since the last checkpoint and at it.
    open: BTreeSet<EventId>,
    /// Changes that were ended, and begun before the first line.
    ended: BTreeSet<EventId>,
    has_checkpoint: bool,
    signed: u64,
    /// The line that the store remembers is here, and is another.
    differs: bool,
}

impl Tail {
    fn read(
        path: &Path,
        verifier: &VerifierKey,
        remembered: Option<&Checkpoint>,
    ) -> Result<Self, AuditError> {
        let unusable = |error| AuditError::Unusable { path: path.to_owned(), error };
        let mut lines = BufReader::new(File::open(path).map_err(unusable)?);
        let (mut tail, mut line, mut number) = (Self::default(), Vec::new(), 0);
        while lines.read_until(b'\n', &mut line).map_err(unusable)? > 0 {
            // A crash may have cut the last line short.
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            number += 1;
            let taken = tail.take(whole, verifier, remembered);
            taken.ok_or_else(|| AuditError::Broken { path: path.to_owned(), line: number })?;
            line.clear();
        }
        Ok(tail)
    }

    fn take(
        &mut self,
        line: &[u8],
        verifier: &VerifierKey,
        remembered: Option<&Checkpoint>,
    ) -> Option<()> {
        let line = LinkedLine::parse(std::str::from_utf8(line).ok()?)?;
        let before = Head { seq: line.seq.checked_sub(1)?, digest: line.prev };
        if !line.follows(self.head.as_ref().unwrap_or(&before)) {
            return None;
        }
        self.before.get_or_insert(before);
        self.head = Some(line.head());
        if remembered.is_some_and(|it| it.seq == line.seq) {
            self.differs = remembered.is_some_and(|it| it.digest != line.head().digest);
        }
        self.follow(&line, &before, &line.entry().ok()?, verifier)
    }

    fn follow(
        &mut self,
        line: &LinkedLine<'_>,
        before: &Head,
        entry: &Entry,
        verifier: &VerifierKey,
    ) -> Option<()> {
        match part_of(entry) {
            Part::Intent(event) => drop(self.open.insert(event)),
            Part::Outcome(event) if self.open.remove(&event) => {}
            Part::Outcome(event) => drop(self.ended.insert(event)),
            Part::Alone => {}
        }
        if entry.kind == Kind::Checkpoint {
            let note = entry.note.as_ref()?;
            let signed = checkpoint(note, verifier)?;
            // Every byte of such a line is signed: the last line of a log has no other after
            // it that would tell.
            let made_again = chain::body(&signed.entry(note.clone())).ok()?;
            if signed.head() != *before || made_again != line.body.as_bytes() {
                return None;
            }
            (self.has_checkpoint, self.signed) = (true, line.seq);
            self.open = signed.open.into_iter().collect();
            self.ended.clear();
        }
        Some(())
    }

    /// These lines and those after them as one.
    fn before(self, after: Self, path: &Path) -> Result<Self, AuditError> {
        let joined = match (&self.head, &after.before) {
            (Some(head), Some(before)) => head == before,
            _ => true,
        };
        if !joined {
            return Err(AuditError::Broken { path: path.to_owned(), line: 0 });
        }
        let mut open = if after.has_checkpoint { BTreeSet::new() } else { self.open };
        open.retain(|event| !after.ended.contains(event));
        open.extend(after.open);
        let ended = if after.has_checkpoint { after.ended } else { &self.ended | &after.ended };
        Ok(Self {
            before: self.before.or(after.before),
            head: after.head.or(self.head),
            open,
            ended,
            has_checkpoint: self.has_checkpoint || after.has_checkpoint,
            signed: after.signed.max(self.signed),
            differs: self.differs || after.differs,
        })
    }

    /// Whether files before these need not be read.
    fn is_enough(&self, remembered: Option<&Checkpoint>) -> bool {
        let reaches = |it: &Checkpoint| self.before.is_some_and(|before| before.seq < it.seq);
        self.has_checkpoint && remembered.is_none_or(reaches)
    }
}
