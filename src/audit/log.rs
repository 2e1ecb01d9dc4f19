//! The log: entries in, and word back once they are on the disk.
//!
//! A handle puts the body of a line into a queue and waits; one thread
//! (`writer.rs`) takes all that is there, chains, writes and syncs it, and wakes those who
//! wait. There is no pause before a batch: while one is written, the next gathers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::chain;
use super::denials::Denials;
use super::entry::{Entry, Kind, TIME_FORMAT};
use super::event_ids::EventIds;
use super::secrets::ContextKey;
use crate::error::{Result, Rule};
use crate::ids::{EventId, StoreId};

/// The longest that a call waits for its line. The disk may stall; nobody learns a
/// secret meanwhile, and no permit is held for ever.
pub const WAIT_MAX: Duration = Duration::from_secs(5);
/// A writer that has been at one batch so long is told of as a fault.
const STALLED: Duration = Duration::from_secs(2);

/// The audit log of an instance. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog(Arc<Log>);

struct Log {
    events: Arc<EventIds>,
    /// `None`: there is no log, which `--dev` alone may have.
    kept: Option<Arc<Kept>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What handles and writer share.
pub(super) struct Kept {
    store: String,
    run: String,
    metadata: bool,
    context_key: ContextKey,
    queue: Mutex<Queue>,
    filled: Condvar,
    denials: Denials,
    standing: Mutex<Standing>,
    checkpoint: watch::Sender<Option<String>>,
    /// Changes whose outcome is on the disk, and whose marks in the store may go.
    closed: Mutex<Vec<EventId>>,
}

/// What waits for the writer.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) lines: Vec<Waiting>,
    pub(super) another_file: bool,
    pub(super) closing: bool,
}

/// A line that waits for the writer.
pub(super) struct Waiting {
    pub(super) body: Vec<u8>,
    pub(super) part: Part,
    /// It is of a change that takes a permission away.
    pub(super) is_urgent: bool,
    /// Told once the line is on the disk; dropped where it is not.
    pub(super) durable: Option<oneshot::Sender<()>>,
}

/// The part that a line has in a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// None.
    Alone,
    /// It begins one.
    Intent(EventId),
    /// It ends one: it is written as soon as that is possible, whoever waits.
    Outcome(EventId),
}

/// What the writer is at.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) fault: Option<String>,
    pub(super) writing_since: Option<Instant>,
}

/// A line on its way to the disk.
#[must_use]
pub struct Written(Option<oneshot::Receiver<()>>);

impl Written {
    /// There is nothing to wait for.
    pub(super) const fn at_once() -> Self {
        Self(None)
    }

    /// Waits until the line is on the disk.
    pub async fn durable(self) -> Result<()> {
        let Some(durable) = self.0 else { return Ok(()) };
        match tokio::time::timeout(WAIT_MAX, durable).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Rule::AuditUnavailable.into()),
        }
    }
}

impl AuditLog {
    /// No log: events have ids, and no line is written.
    #[must_use]
    pub fn off() -> Self {
        let events = Arc::new(EventIds::begin());
        Self(Arc::new(Log { events, kept: None, writer: Mutex::default() }))
    }

    /// The log that this writer writes.
    pub(super) fn on(events: Arc<EventIds>, kept: Arc<Kept>, writer: JoinHandle<()>) -> Self {
        Self(Arc::new(Log { events, kept: Some(kept), writer: Mutex::new(Some(writer)) }))
    }

    /// Whether lines are written.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.kept.is_some()
    }

    /// The id of an event that happens now.
    #[must_use]
    pub fn next_event(&self) -> EventId {
        self.0.events.next(Timestamp::now())
    }

    pub(super) fn kept(&self) -> Option<&Arc<Kept>> {
        self.0.kept.as_ref()
    }

    /// Why lines cannot be written now, if they cannot.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.kept().and_then(|kept| kept.fault())
    }

    /// Begins another file, as soon as there is something to write.
    pub fn begin_another_file(&self) {
        if let Some(kept) = self.kept() {
            kept.queue().another_file = true;
            kept.filled.notify_one();
        }
    }

    /// Writes that other policies decide from here on.
    pub fn policy_changed(&self, digest: &str) {
        if let Some(kept) = self.kept() {
            let mut entry = kept.entry(self.next_event(), Kind::Policy);
            entry.policy_set = Some(digest.to_owned());
            drop(kept.put(&entry, Part::Alone));
        }
    }

    /// Writes how many strangers were refused at a door.
    pub fn strangers_refused(&self, door: &str, count: u64) {
        if let Some(kept) = self.kept()
            && count > 0
        {
            let mut entry = kept.entry(self.next_event(), Kind::Auth);
            (entry.refused, entry.count) = (Some(door.to_owned()), Some(count));
            drop(kept.put(&entry, Part::Alone));
        }
    }

    /// Writes the end of a change that was open when the log was opened.
    pub async fn settle(&self, event: EventId, was_done: bool) -> Result<()> {
        let Some(kept) = self.kept() else { return Ok(()) };
        let mut entry = kept.entry(event, Kind::Outcome);
        entry.outcome = Some(if was_done { "settled:done" } else { "settled:not done" }.to_owned());
        kept.put(&entry, Part::Outcome(event)).durable().await
    }

    /// The checkpoints, of which the newest counts alone.
    #[must_use]
    pub fn checkpoints(&self) -> Option<watch::Receiver<Option<String>>> {
        self.kept().map(|kept| kept.checkpoint.subscribe())
    }

    /// Changes whose marks in the store may go: some of them, taken.
    #[must_use]
    pub fn take_closed(&self, at_most: usize) -> Vec<EventId> {
        let Some(kept) = self.kept() else { return Vec::new() };
        let mut closed = kept.closed();
        let rest = closed.len().saturating_sub(at_most);
        closed.split_off(rest)
    }

    /// Gives them back, where their marks are still there.
    pub fn give_back_closed(&self, events: Vec<EventId>) {
        if let Some(kept) = self.kept() {
            kept.closed().extend(events);
        }
    }

    /// Ends the log in order: the line `stop` and a checkpoint, on the disk. Gives the
    /// checkpoint.
    pub async fn close(&self) -> Option<String> {
        let kept = self.kept()?.clone();
        let stop = kept.put(&kept.entry(self.next_event(), Kind::Stop), Part::Alone);
        kept.queue().closing = true;
        kept.filled.notify_one();
        let durable = stop.durable().await;
        if let Err(error) = durable {
            tracing::error!("the audit log was not ended in order: {error}");
        }
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join().is_ok()).await;
            if !ended.unwrap_or_default() {
                tracing::error!("the writer of the audit log has panicked");
            }
        }
        kept.checkpoint.borrow().clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(kept) = &self.kept {
            kept.queue().closing = true;
            kept.filled.notify_one();
        }
    }
}

impl Kept {
    pub(super) fn new(store: StoreId, run: &str, metadata: bool, context_key: ContextKey) -> Self {
        Self {
            store: store.to_string(),
            run: run.to_owned(),
            metadata,
            context_key,
            queue: Mutex::default(),
            filled: Condvar::new(),
            denials: Denials::default(),
            standing: Mutex::default(),
            checkpoint: watch::Sender::new(None),
            closed: Mutex::default(),
        }
    }

    /// An entry of this kind, of now.
    pub(super) fn entry(&self, event: EventId, kind: Kind) -> Entry {
        let time = Timestamp::now().strftime(TIME_FORMAT).to_string();
        Entry::new(time, event.to_string(), self.store.clone(), self.run.clone(), kind)
    }

    /// Whether looks at metadata have lines.
    pub(super) const fn tells_of_metadata(&self) -> bool {
        self.metadata
    }

    pub(super) const fn context_key(&self) -> &ContextKey {
        &self.context_key
    }

    pub(super) const fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Puts a line into the queue.
    pub(super) fn put(&self, entry: &Entry, part: Part) -> Written {
        self.put_with(entry, part, false)
    }

    /// The same, for a change that may take a permission away.
    pub(super) fn put_with(&self, entry: &Entry, part: Part, is_urgent: bool) -> Written {
        let Ok(body) = chain::body(entry) else {
            // INVARIANT: an entry is strings, numbers and lists of them.
            return Written(Some(oneshot::channel().1));
        };
        let (durable, written) = oneshot::channel();
        self.queue().lines.push(Waiting { body, part, is_urgent, durable: Some(durable) });
        self.filled.notify_one();
        Written(Some(written))
    }

    /// What waits, once something does or a tick has passed.
    pub(super) fn take(&self, tick: Duration) -> Queue {
        let is_idle =
            |queue: &mut Queue| queue.lines.is_empty() && !queue.closing && !queue.another_file;
        let waited = self.filled.wait_timeout_while(self.queue(), tick, is_idle);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Queue {
            lines: std::mem::take(&mut queue.lines),
            another_file: std::mem::take(&mut queue.another_file),
            closing: queue.closing,
        }
    }

    pub(super) fn closed(&self) -> MutexGuard<'_, Vec<EventId>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn checkpoint_made(&self, note: String) {
        self.checkpoint.send_replace(Some(note));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fault(&self) -> Option<String> {
        let standing = self.standing();
        let stalled = standing.writing_since.is_some_and(|since| since.elapsed() > STALLED);
        standing.fault.clone().or_else(|| stalled.then(|| "the disk does not answer".to_owned()))
    }
}
