//! The one writer of a log: takes what waits, chains it, writes it, syncs it, and wakes
//! those who wait.
//!
//! A batch stands or falls as one. Where it fell, those who wait are told so, and nobody
//! is answered until another file could be begun: the log fails closed and recovers by
//! itself. The ends of changes are written then all the same, as they have happened.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chain::{self, Head, LinkedLine};
use super::entry::{Entry, Kind};
use super::event_ids::EventIds;
use super::files::{LogFiles, Reason, Rotation};
use super::log::{Kept, Part, Queue, Waiting};
use super::note::{Checkpoint, CheckpointKey};
use crate::ids::EventId;
use crate::reserve::Reserve;

/// The longest that the writer sleeps: denials are counted by the second.
const TICK: Duration = Duration::from_secs(1);
/// The time between checkpoints, while something is written.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// The pause between two attempts to write again.
const RECOVERY_INTERVAL: Duration = Duration::from_millis(100);
/// The pause between two looks for files that are too old to keep.
const RETENTION_INTERVAL: Duration = Duration::from_secs(3600);

/// When what was written is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before anybody is told that it is there.
    Always,
    /// This often: a power cut takes the lines of that time.
    Every(Duration),
}

/// The writer, which is a thread's.
pub(super) struct Writer {
    pub(super) kept: Arc<Kept>,
    pub(super) files: LogFiles,
    pub(super) signer: Signer,
    pub(super) reserve: Reserve,
    pub(super) sync: Sync,
    pub(super) rotation: Rotation,
    pub(super) chain: Chain,
    /// Lines that end changes, and that could not be written yet.
    pub(super) overdue: Vec<Waiting>,
    pub(super) times: Times,
}

/// Makes the lines that are the log's own.
pub(super) struct Signer {
    pub(super) kept: Arc<Kept>,
    pub(super) events: Arc<EventIds>,
    pub(super) key: CheckpointKey,
}

/// The end of the chain, and the changes that are open there.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) head: Head,
    pub(super) open: BTreeSet<EventId>,
    /// The number of the last line that a checkpoint covers, or is.
    pub(super) signed: u64,
}

/// When things were done last.
pub(super) struct Times {
    checkpoint: Instant,
    sync: Instant,
    recovery: Option<Instant>,
    retention: Option<Instant>,
}

impl Default for Times {
    fn default() -> Self {
        let now = Instant::now();
        Self { checkpoint: now, sync: now, recovery: None, retention: None }
    }
}

/// Lines that are chained to one another, and not written yet.
struct Batch {
    bytes: Vec<u8>,
    chain: Chain,
    checkpoint: Option<String>,
}

impl Chain {
    pub(super) fn take_part(&mut self, part: Part) {
        match part {
            Part::Alone => {}
            Part::Intent(event) => drop(self.open.insert(event)),
            Part::Outcome(event) => drop(self.open.remove(&event)),
        }
    }
}

impl Batch {
    fn after(chain: &Chain) -> Self {
        Self { bytes: Vec::new(), chain: chain.clone(), checkpoint: None }
    }

    /// A change whose intent never got there has no end.
    fn takes(&self, part: Part) -> bool {
        !matches!(part, Part::Outcome(event) if !self.chain.open.contains(&event))
    }

    fn append(&mut self, body: &[u8], part: Part) {
        self.chain.head = self.chain.head.append(body, &mut self.bytes);
        self.chain.take_part(part);
    }
}

impl Signer {
    fn entry(&self, kind: Kind) -> Entry {
        self.kept.entry(self.next_event(), kind)
    }

    fn next_event(&self) -> EventId {
        self.events.next(jiff::Timestamp::now())
    }

    /// Ends a batch with a checkpoint.
    fn sign(&self, batch: &mut Batch) {
        let checkpoint = Checkpoint::over(
            self.entry(Kind::Checkpoint),
            batch.chain.head,
            batch.chain.open.iter().copied(),
        );
        let note = self.key.sign(&checkpoint.text());
        let body = chain::body(&checkpoint.entry(note.clone())).unwrap_or_default();
        batch.append(&body, Part::Alone);
        batch.chain.signed = batch.chain.head.seq;
        batch.checkpoint = Some(note);
    }
}

impl Writer {
    /// Writes until the log is closed.
    pub(super) fn run(mut self) {
        let tick = match self.sync {
            Sync::Always => TICK,
            Sync::Every(interval) => interval.min(TICK),
        };
        loop {
            let taken = self.kept.take(tick);
            let closing = taken.closing;
            self.write(taken);
            self.keep_house();
            if closing && self.overdue.is_empty() {
                return;
            }
            if closing {
                tracing::error!("the audit log ends with changes whose outcome was not written");
                return;
            }
        }
    }

    fn write(&mut self, queue: Queue) {
        let Queue { lines, another_file, closing } = queue;
        let mut waiting = std::mem::take(&mut self.overdue);
        waiting.extend(lines);
        waiting.extend(self.counted_denials(closing));
        self.kept.standing().writing_since = Some(Instant::now());
        let mut in_use = self.reserve.is_in_use();
        if in_use {
            waiting = self.refuse_what_can_wait(waiting, &io::ErrorKind::StorageFull.into());
        }
        let mut written = self.write_batch(&waiting, another_file, closing);
        if let Err(error) = &written
            && error.kind() == io::ErrorKind::StorageFull
            && self.reserve.give_up()
        {
            in_use = true;
            waiting = self.refuse_what_can_wait(waiting, error);
            written = self.write_batch(&waiting, another_file, closing);
        }
        self.kept.standing().writing_since = None;
        match written {
            Ok(()) => self.conclude(waiting, in_use),
            Err(error) => self.fail(waiting, &error),
        }
    }

    /// What is left of a full disk is for what takes a permission away.
    fn refuse_what_can_wait(&mut self, waiting: Vec<Waiting>, error: &io::Error) -> Vec<Waiting> {
        let (urgent, others) = waiting.into_iter().partition(|line| line.is_urgent);
        self.fail(others, error);
        urgent
    }

    fn counted_denials(&self, all: bool) -> Vec<Waiting> {
        let counted = self.kept.denials().take_past(all);
        let line = |entry: Entry| {
            let body = chain::body(&entry).ok()?;
            Some(Waiting { body, part: Part::Alone, is_urgent: false, durable: None })
        };
        counted.into_iter().filter_map(line).collect()
    }

    fn write_batch(
        &mut self,
        waiting: &[Waiting],
        another_file: bool,
        closing: bool,
    ) -> io::Result<()> {
        let asked = another_file.then_some(Reason::Asked);
        let reason = self.files.due(&self.rotation).or(asked);
        if let Some(reason) = reason.filter(|it| it.cannot_wait() || !waiting.is_empty()) {
            self.begin_file(reason)?;
        }
        let mut batch = Batch::after(&self.chain);
        for line in waiting {
            if batch.takes(line.part) {
                batch.append(&line.body, line.part);
            }
        }
        let is_due = self.times.checkpoint.elapsed() >= CHECKPOINT_INTERVAL || closing;
        if is_due && batch.chain.head.seq > batch.chain.signed {
            self.signer.sign(&mut batch);
        }
        if batch.bytes.is_empty() {
            return Ok(());
        }
        self.files.append(&batch.bytes, self.sync == Sync::Always || closing)?;
        self.adopt(batch);
        Ok(())
    }

    /// Begins the next file, with a checkpoint, so that it can be judged without those
    /// before it.
    pub(super) fn begin_file(&mut self, reason: Reason) -> io::Result<()> {
        self.pause_between_recoveries(reason)?;
        self.adopt_left()?;
        let Self { files, signer, chain, .. } = self;
        let mut batch = Batch::after(chain);
        let number = files.begin_next(|number| {
            let mut entry = signer.entry(Kind::File);
            (entry.file, entry.after) = (Some(number), Some(reason.as_str().to_owned()));
            batch.append(&chain::body(&entry).unwrap_or_default(), Part::Alone);
            signer.sign(&mut batch);
            std::mem::take(&mut batch.bytes)
        })?;
        self.adopt(batch);
        tracing::info!(file = number, reason = reason.as_str(), "a file of the audit log begins");
        Ok(())
    }

    /// Takes the lines that the file before holds, beyond what is known to be durable, for
    /// a part of the chain: nobody was told of them, but others may have read them.
    fn adopt_left(&mut self) -> io::Result<()> {
        for line in self.files.take_left()?.split(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(line).ok().and_then(LinkedLine::parse);
            if let Some(line) = line.filter(|line| line.follows(&self.chain.head)) {
                self.chain.head = line.head();
                self.chain.take_part(line.entry().map_or(Part::Alone, |entry| part_of(&entry)));
            }
        }
        Ok(())
    }

    fn pause_between_recoveries(&mut self, reason: Reason) -> io::Result<()> {
        if reason != Reason::Failure {
            return Ok(());
        }
        match self.times.recovery {
            Some(last) if last.elapsed() < RECOVERY_INTERVAL => {
                Err(io::Error::other("it was tried a moment ago"))
            }
            _ => {
                self.times.recovery = Some(Instant::now());
                Ok(())
            }
        }
    }

    /// What was written is what the chain is now.
    fn adopt(&mut self, batch: Batch) {
        self.chain = batch.chain;
        if let Some(note) = batch.checkpoint {
            self.times.checkpoint = Instant::now();
            self.kept.checkpoint_made(note);
        }
    }

    /// Tells those who wait that their lines are there.
    fn conclude(&self, waiting: Vec<Waiting>, in_use: bool) {
        if !in_use && self.kept.standing().fault.take().is_some() {
            tracing::warn!("the audit log is written again");
        }
        for line in waiting {
            if let Part::Outcome(event) = line.part {
                self.kept.closed().push(event);
            }
            if let Some(durable) = line.durable {
                // Whoever waited may have left.
                let _ = durable.send(());
            }
        }
    }

    /// Tells those who wait that their lines are not there, and keeps those that must be.
    fn fail(&mut self, waiting: Vec<Waiting>, error: &io::Error) {
        let first = {
            let mut standing = self.kept.standing();
            let first = standing.fault.is_none();
            if first {
                standing.fault = Some(error.to_string());
            }
            first
        };
        if first {
            tracing::error!(alarm = "audit", %error, "the audit log cannot be written: calls are refused until it can be");
        }
        let must_be = |line: &Waiting| matches!(line.part, Part::Outcome(_));
        let ends = waiting.into_iter().filter(must_be);
        self.overdue.extend(ends.map(|line| Waiting { durable: None, ..line }));
    }

    fn keep_house(&mut self) {
        if let Sync::Every(interval) = self.sync
            && self.times.sync.elapsed() >= interval
        {
            self.times.sync = Instant::now();
            if let Err(error) = self.files.sync() {
                self.fail(Vec::new(), &error);
            }
        }
        self.delete_old_files();
    }

    fn delete_old_files(&mut self) {
        let Some(keep) = self.rotation.keep else { return };
        if self.times.retention.is_some_and(|last| last.elapsed() < RETENTION_INTERVAL) {
            return;
        }
        self.times.retention = Some(Instant::now());
        match self.files.delete_older_than(keep) {
            Ok(deleted) if deleted.is_empty() => {}
            Ok(deleted) => {
                tracing::info!(files = ?deleted, "old files of the audit log were deleted");
            }
            Err(error) => tracing::error!(%error, "old files of the audit log were not deleted"),
        }
    }
}

/// The part that a line has that was read.
pub(super) fn part_of(entry: &Entry) -> Part {
    match (entry.kind, EventId::parse(&entry.event)) {
        (Kind::Intent, Ok(event)) => Part::Intent(event),
        (Kind::Outcome, Ok(event)) => Part::Outcome(event),
        _ => Part::Alone,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::files;
    use super::super::log::{Kept, WAIT_MAX};
    use super::super::secrets;
    use super::*;
    use crate::crypto::secret::AuditKey;
    use crate::error::Rule;
    use crate::ids::StoreId;

    struct World {
        home: tempfile::TempDir,
        kept: Arc<Kept>,
        writer: Writer,
    }

    impl World {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let (store, events) = (StoreId::new(), Arc::new(EventIds::begin()));
            let (key, context_key) =
                secrets::derive(store, &AuditKey::generate().unwrap()).unwrap();
            let run = events.run().to_string();
            let kept = Arc::new(Kept::new(store, &run, true, context_key));
            let mut writer = Writer {
                kept: kept.clone(),
                files: LogFiles::open(&home.path().join("audit")).unwrap(),
                reserve: Reserve::keep(home.path().join("reserve"), 1 << 20, "a test"),
                signer: Signer { kept: kept.clone(), events, key },
                sync: Sync::Always,
                rotation: Rotation::default(),
                chain: Chain { head: Head::EMPTY, open: BTreeSet::new(), signed: 0 },
                overdue: Vec::new(),
                times: Times::default(),
            };
            writer.begin_file(Reason::Start).unwrap();
            Self { home, kept, writer }
        }

        fn put(&self, kind: Kind, part: Part) -> super::super::log::Written {
            self.kept.put(&self.writer.signer.entry(kind), part)
        }

        /// Writes what waits, once.
        fn turn(&mut self) {
            let queue = self.kept.take(Duration::ZERO);
            self.writer.write(queue);
        }

        fn text(&self) -> String {
            let directory = self.home.path().join("audit");
            let numbers = files::numbers(&directory).unwrap();
            let read = |number| fs::read_to_string(directory.join(files::name(number))).unwrap();
            numbers.into_iter().map(read).collect()
        }

        fn kinds(&self) -> Vec<Kind> {
            let text = self.text();
            let entry = |line| LinkedLine::parse(line).unwrap().entry().unwrap().kind;
            text.lines().map(entry).filter(|kind| *kind != Kind::Checkpoint).collect()
        }
    }

    /// Puts a file in the place of the directory, so that nothing can be written.
    fn block(home: &Path) {
        fs::rename(home.join("audit"), home.join("kept")).unwrap();
        fs::write(home.join("audit"), "").unwrap();
    }

    fn unblock(home: &Path) {
        fs::remove_file(home.join("audit")).unwrap();
        fs::rename(home.join("kept"), home.join("audit")).unwrap();
    }

    /// A change was made, and the log cannot be written when it ends: those who wait are
    /// told so, and its end is written as soon as that is possible, once.
    #[tokio::test]
    async fn the_end_of_a_change_outlasts_a_failure() {
        let mut world = World::new();
        let event = world.writer.signer.next_event();
        let intent = world.put(Kind::Intent, Part::Intent(event));
        world.turn();
        intent.durable().await.unwrap();
        block(world.home.path());
        let outcome = world.put(Kind::Outcome, Part::Outcome(event));
        let decision = world.put(Kind::Decision, Part::Alone);
        world.turn();
        for refused in [outcome.durable().await, decision.durable().await] {
            assert_eq!(refused.unwrap_err().rule(), Rule::AuditUnavailable);
        }
        assert!(world.kept.standing().fault.is_some());
        unblock(world.home.path());
        std::thread::sleep(RECOVERY_INTERVAL);
        world.turn();
        world.turn();
        assert_eq!(world.kept.standing().fault, None);
        assert_eq!(world.kinds(), [Kind::File, Kind::Intent, Kind::File, Kind::Outcome]);
        assert!(world.writer.chain.open.is_empty());
        assert_eq!(*world.kept.closed(), [event]);
    }

    /// An intent that nobody was told of, as it came too late: its end stands beside it. One
    /// that never got there has no end.
    #[tokio::test]
    async fn an_end_stands_where_its_intent_does() {
        let mut world = World::new();
        let (late, lost) = (world.writer.signer.next_event(), world.writer.signer.next_event());
        drop(world.put(Kind::Intent, Part::Intent(late)));
        drop(world.put(Kind::Outcome, Part::Outcome(late)));
        drop(world.put(Kind::Outcome, Part::Outcome(lost)));
        world.turn();
        assert_eq!(world.kinds(), [Kind::File, Kind::Intent, Kind::Outcome]);
    }

    /// The disk does not answer for longer than anybody waits.
    #[tokio::test]
    async fn a_writer_that_stalls_keeps_calls_waiting_so_long_and_is_told_of() {
        let mut world = World::new();
        let waiting = world.put(Kind::Decision, Part::Alone);
        let since = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        world.kept.standing().writing_since = Some(since);
        assert!(world.kept.fault().is_some_and(|fault| fault.contains("does not answer")));
        let began = Instant::now();
        assert_eq!(waiting.durable().await.unwrap_err().rule(), Rule::AuditUnavailable);
        assert!(began.elapsed() >= WAIT_MAX);
        // It goes on: what waited is written, and others are answered.
        let next = world.put(Kind::Decision, Part::Alone);
        world.turn();
        next.durable().await.unwrap();
        assert_eq!(world.kept.fault(), None);
        assert_eq!(world.kinds(), [Kind::File, Kind::Decision, Kind::Decision]);
    }
}
