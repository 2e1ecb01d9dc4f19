//! The trail of one request, or of one item of a stream: its decisions as they are made,
//! and its line when it ends.
//!
//! ```text
//! open ─▶ decided … ─▶ close ─▶ durable ─▶ the reply
//!              └─▶ intend ─▶ the commit ─▶ end
//! ```
//!
//! A service function answers with a [`Reply`], which nothing opens but the trail's own
//! end: so nothing is answered that has no line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Decided, Entry, Kind};
use super::log::{AuditLog, Kept, Part, Written};
use crate::access::question::{DecisionRecord, MadeDecision, Subject};
use crate::crypto::ciphertext_blob::BlobKind;
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyId, KeyVersionId};

/// The principal of what is done without a caller, as it is due.
pub const SYSTEM: &str = "system";

/// A request, as its line tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The caller.
    pub principal: &'a str,
    /// The proxy that vouched for the caller.
    pub by: Option<&'a str>,
    /// The address of the connection's other end.
    pub peer: Option<&'a str>,
    /// The caller's id of the request.
    pub request_id: &'a str,
    /// `Service/Method`.
    pub rpc: &'static str,
    /// The item of a stream.
    pub item: Option<u64>,
    /// Whether it only shows metadata.
    pub is_look: bool,
    /// Whether it takes a permission away.
    pub takes_away: bool,
}

/// The trail of one request. Clones are of the same one.
#[derive(Clone)]
pub struct Trail(Arc<Track>);

struct Track {
    log: AuditLog,
    event: EventId,
    is_look: bool,
    /// Whether its lines are written on a full disk, too.
    is_urgent: bool,
    /// What the line will say; taken when it is written. None without a log.
    entry: Mutex<Option<Box<Entry>>>,
    /// A change tells of the request, which has no other line then.
    is_told: AtomicBool,
}

/// What a service function answers: a response that is not recorded yet.
#[must_use]
pub struct Reply<T>(T);

/// A trail that is ended: its line is on its way, and so is its reply.
#[must_use]
pub struct Closing<T> {
    written: Written,
    outcome: Result<T>,
}

impl<T> Closing<T> {
    /// The reply, once the line is on the disk.
    pub async fn durable(self) -> Result<T> {
        self.written.durable().await?;
        self.outcome
    }
}

/// Leave to commit one change: its intent is on the disk. The commit takes it.
#[must_use]
pub struct Intent {
    log: AuditLog,
    event: Option<EventId>,
    in_doubt: Arc<AtomicBool>,
}

/// The end of a change, to be written.
#[must_use]
pub struct Ending {
    trail: Trail,
    event: EventId,
    in_doubt: Arc<AtomicBool>,
}

impl Trail {
    /// Of a request.
    #[must_use]
    pub fn open(log: &AuditLog, origin: &Origin<'_>) -> Self {
        let event = log.next_event();
        let entry = log.kept().map(|kept| Box::new(entry_of(kept, event, origin)));
        Self::of(log, event, origin.is_look, origin.takes_away, entry)
    }

    /// Of what is done because it is due.
    #[must_use]
    pub fn of_system(log: &AuditLog) -> Self {
        let event = log.next_event();
        let entry = log.kept().map(|kept| {
            let mut entry = kept.entry(event, Kind::Decision);
            entry.principal = Some(SYSTEM.to_owned());
            Box::new(entry)
        });
        Self::of(log, event, false, true, entry)
    }

    fn of(
        log: &AuditLog,
        event: EventId,
        is_look: bool,
        is_urgent: bool,
        entry: Option<Box<Entry>>,
    ) -> Self {
        let (log, entry, is_told) = (log.clone(), Mutex::new(entry), AtomicBool::new(false));
        Self(Arc::new(Track { log, event, is_look, is_urgent, entry, is_told }))
    }

    /// The id of the event.
    #[must_use]
    pub fn event(&self) -> EventId {
        self.0.event
    }

    /// A response, to be recorded.
    pub fn reply<T>(&self, response: T) -> Reply<T> {
        Reply(response)
    }

    /// Adds what becomes known in the course of the work.
    pub fn add(&self, add: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.0.entry().as_mut() {
            add(entry);
        }
    }

    /// Adds the key and the version that are used.
    pub fn used(&self, key: KeyId, version: KeyVersionId) {
        self.add(|entry| {
            entry.key_id = Some(key.to_string());
            entry.key_version_id = Some(version.to_string());
        });
    }

    /// Ends the trail: writes its line, and gives the reply to those who wait for it.
    pub fn close<T>(self, outcome: Result<Reply<T>>) -> Closing<T> {
        let written = self.0.conclude(outcome.as_ref().err());
        Closing { written, outcome: outcome.map(|Reply(response)| response) }
    }

    /// Writes that a change is about to be made. It may be committed once that is on the
    /// disk.
    pub async fn intend(&self, describe: impl FnOnce(&mut Entry)) -> Result<(Intent, Ending)> {
        let (log, in_doubt) = (&self.0.log, Arc::new(AtomicBool::new(false)));
        let event = log.next_event();
        let ending = Ending { trail: self.clone(), event, in_doubt: in_doubt.clone() };
        let Some(kept) = log.kept() else {
            return Ok((Intent { log: log.clone(), event: None, in_doubt }, ending));
        };
        let mut entry = self.0.entry_as(kept, event, Kind::Intent);
        describe(&mut entry);
        if let Err(error) =
            kept.put_with(&entry, Part::Intent(event), self.0.is_urgent).durable().await
        {
            // It may get there yet, and then it must have an end.
            drop(ending.write(|_| error.rule().reason()));
            return Err(error);
        }
        self.0.is_told.store(true, Ordering::Relaxed);
        Ok((Intent { log: log.clone(), event: Some(event), in_doubt }, ending))
    }
}

impl DecisionRecord for Trail {
    fn decided(&self, made: &MadeDecision<'_>) {
        let Some(kept) = self.0.log.kept() else { return };
        let mut entry = self.0.entry();
        let Some(entry) = entry.as_mut() else { return };
        add_facts(entry, made, kept);
        entry.decisions.get_or_insert_default().push(Decided {
            action: made.action.to_string(),
            key: made.subject.key().map(|key| key.id.to_string()),
            policies: made.decided_by.iter().map(ToString::to_string).collect(),
            allowed: made.allowed,
        });
    }
}

/// What a decision was made by, in so far as a line tells it.
fn add_facts(entry: &mut Entry, made: &MadeDecision<'_>, kept: &Kept) {
    let MadeDecision { subject, facts, policy, .. } = made;
    let hex = |digest: [u8; 32]| base16ct::lower::encode_string(&digest);
    let id = subject.key().map(|key| key.id.to_string());
    match subject {
        Subject::Destination(_) => entry.other_key_id = id,
        _ if entry.key_id.is_none() => entry.key_id = id,
        _ => {}
    }
    if let Some(account) = subject.account() {
        entry.account = Some(account.name().to_owned());
    }
    let owned = |text: &str| text.to_owned();
    entry.policy_set.get_or_insert_with(|| policy.to_string());
    if let Some(recipient) = facts.recipient {
        entry.recipient_sha256 = Some(hex(recipient.sha256));
        entry.recipient_spec = Some(recipient.spec.to_owned());
    }
    entry.algorithm = facts.algorithm.map(owned).or(entry.algorithm.take());
    entry.alias = facts.alias.map(owned).or(entry.alias.take());
    entry.blob_kind = facts.blob_kind.map(BlobKind::as_str).map(owned).or(entry.blob_kind.take());
    entry.bytes = facts.number_of_bytes.map(|bytes| bytes as u64).or(entry.bytes);
    entry.dry_run = facts.dry_run.then_some(true);
    if let (Some(context), None) = (facts.context, &entry.context_hmac) {
        entry.context_hmac = kept.context_key().digest(context);
        let keys: Vec<_> = context.pairs().keys().cloned().collect();
        entry.context_keys = (!keys.is_empty()).then_some(keys);
    }
}

fn entry_of(kept: &Kept, event: EventId, origin: &Origin<'_>) -> Entry {
    let owned = |text: &str| text.to_owned();
    let mut entry = kept.entry(event, Kind::Decision);
    entry.request_id = Some(origin.request_id.to_owned());
    entry.item = origin.item;
    entry.principal = Some(origin.principal.to_owned());
    entry.by = origin.by.map(owned);
    entry.peer = origin.peer.map(owned);
    entry.rpc = Some(origin.rpc.to_owned());
    entry
}

impl Track {
    fn entry(&self) -> MutexGuard<'_, Option<Box<Entry>>> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known so far, as another line of this request.
    fn entry_as(&self, kept: &Kept, event: EventId, kind: Kind) -> Entry {
        let now = kept.entry(event, kind);
        match self.entry().as_deref() {
            Some(known) => Entry { time: now.time, event: now.event, kind, ..known.clone() },
            None => now,
        }
    }

    /// What the line will say, unless it is written.
    fn take(&self) -> Option<(&Kept, Box<Entry>)> {
        let entry = self.entry().take().filter(|_| !self.is_told.load(Ordering::Relaxed));
        Some((self.log.kept()?, entry?))
    }

    /// Writes the line, unless there is nothing to tell.
    fn conclude(&self, error: Option<&Error>) -> Written {
        let Some((kept, entry)) = self.take() else { return Written::at_once() };
        let Some(decisions) = &entry.decisions else { return Written::at_once() };
        let denied = decisions.iter().any(|decision| !decision.allowed);
        let outcome = error.map_or("ok", |error| error.rule().reason());
        if error.is_none() && self.is_look && !kept.tells_of_metadata() {
            return Written::at_once();
        }
        let entry = Entry { outcome: Some(outcome.to_owned()), ..*entry };
        if denied {
            // Nothing was done, and nobody waits to be told so.
            if let Some(entry) = kept.denials().own_line(entry) {
                drop(kept.put(&entry, Part::Alone));
            }
            return Written::at_once();
        }
        kept.put(&entry, Part::Alone)
    }
}

impl Drop for Track {
    /// A request that nobody waits for any more has a line, too, if it was judged.
    fn drop(&mut self) {
        if let Some((kept, mut entry)) = self.take()
            && entry.decisions.is_some()
        {
            entry.outcome = Some("abandoned".to_owned());
            drop(kept.put(&entry, Part::Alone));
        }
    }
}

impl Intent {
    /// The event, whose mark the commit puts; none without a log.
    #[must_use]
    pub const fn event(&self) -> Option<EventId> {
        self.event
    }

    /// Events whose marks the commit may take away, taken; they are given back where it
    /// was not made.
    #[must_use]
    pub fn take_closed(&self, at_most: usize) -> Vec<EventId> {
        self.log.take_closed(at_most)
    }

    /// Gives them back.
    pub fn give_back_closed(&self, events: Vec<EventId>) {
        self.log.give_back_closed(events);
    }

    /// Nobody knows whether the commit was made.
    pub fn doubt(&self) {
        self.in_doubt.store(true, Ordering::Relaxed);
    }
}

impl Ending {
    /// Whether nobody knows if the commit was made.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    /// The event of the change.
    #[must_use]
    pub const fn event(&self) -> EventId {
        self.event
    }

    /// Writes how the change ended. The request has no other line then.
    pub fn write(&self, end: impl FnOnce(&mut Entry) -> &'static str) -> Written {
        let track = &self.trail.0;
        let Some(kept) = track.log.kept() else { return Written::at_once() };
        let mut entry = track.entry_as(kept, self.event, Kind::Outcome);
        entry.outcome = Some(end(&mut entry).to_owned());
        kept.put_with(&entry, Part::Outcome(self.event), track.is_urgent)
    }
}
