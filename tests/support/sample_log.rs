//! An audit log as a server writes it, line by line, into files in memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use keyferry::audit::chain::{self, Head};
use keyferry::audit::entry::{Decided, Entry, Kind, TIME_FORMAT};
use keyferry::audit::note::{Checkpoint, CheckpointKey, VerifierKey};
use keyferry::ids::{EventId, RunId, StoreId};

/// The CMK that the example's exports are of.
pub const KEY: &str = "01990000-0000-7000-8000-000000000001";
/// The recipient of the example's exports.
pub const RECIPIENT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Those who call in the example.
pub const BILLING: &str = "spiffe://kms.example/billing";
pub const STRANGER: &str = "spiffe://kms.example/stranger";

pub struct SampleLog {
    pub store: StoreId,
    pub key: CheckpointKey,
    pub files: Vec<Vec<u8>>,
    pub head: Head,
    /// The last checkpoint's note.
    pub note: String,
    run: RunId,
    at: Timestamp,
    step: SignedDuration,
    open: BTreeSet<EventId>,
}

impl SampleLog {
    /// A log without files.
    pub fn new() -> Self {
        let store = StoreId::new();
        Self {
            store,
            key: CheckpointKey::generate(store).unwrap(),
            files: Vec::new(),
            head: Head::EMPTY,
            note: String::new(),
            run: RunId::new(),
            at: "2026-11-27T10:00:00.000001Z".parse().unwrap(),
            step: SignedDuration::from_millis(100),
            open: BTreeSet::new(),
        }
    }

    /// Three files of two processes, the first of which crashed between an intent and
    /// its outcome.
    pub fn example() -> Self {
        let mut log = Self::new();
        log.begin_file("start");
        log.start();
        log.export(BILLING, KEY, true);
        log.export(STRANGER, KEY, false);
        let created = log.intent("CreateKey");
        log.outcome(created, "ok");
        log.checkpoint();
        log.export(BILLING, KEY, true);
        log.begin_file("size");
        log.strangers(3);
        let lost = log.intent("DisableKey");
        log.checkpoint();
        log.export(BILLING, KEY, true);
        log.restart();
        log.outcome(lost, "settled:not done");
        log.export(BILLING, KEY, true);
        log.stop();
        log
    }

    pub fn verifier(&self) -> VerifierKey {
        self.key.verifier()
    }

    /// An entry of this log, a tenth of a second after the one before it.
    pub fn entry(&mut self, kind: Kind) -> Entry {
        self.at = self.at.checked_add(self.step).unwrap();
        let time = self.at.strftime(TIME_FORMAT).to_string();
        let event = EventId::new().to_string();
        Entry::new(time, event, self.store.to_string(), self.run.to_string(), kind)
    }

    pub fn put(&mut self, entry: &Entry) {
        let body = chain::body(entry).unwrap();
        self.head = self.head.append(&body, self.files.last_mut().unwrap());
    }

    pub fn pass(&mut self, duration: SignedDuration) {
        self.at = self.at.checked_add(duration).unwrap();
    }

    pub fn begin_file(&mut self, after: &str) {
        self.files.push(Vec::new());
        let number = self.files.len() as u64;
        let mut entry = self.entry(Kind::File);
        (entry.file, entry.after) = (Some(number), Some(after.to_owned()));
        self.put(&entry);
        self.checkpoint();
    }

    pub fn checkpoint(&mut self) {
        let line = self.entry(Kind::Checkpoint);
        let checkpoint = Checkpoint::over(line, self.head, self.open.iter().copied());
        self.note = self.key.sign(&checkpoint.text());
        self.put(&checkpoint.entry(self.note.clone()));
    }

    pub fn start(&mut self) {
        let mut entry = self.entry(Kind::Start);
        entry.version = Some("0.1.0".to_owned());
        entry.checkpoint_key = Some(self.verifier().to_string());
        self.put(&entry);
    }

    /// Another process goes on.
    pub fn restart(&mut self) {
        self.run = RunId::new();
        self.begin_file("start");
        self.start();
    }

    pub fn stop(&mut self) {
        let entry = self.entry(Kind::Stop);
        self.put(&entry);
        self.checkpoint();
    }

    pub fn export(&mut self, principal: &str, key: &str, allowed: bool) {
        let mut entry = self.entry(Kind::Decision);
        entry.principal = Some(principal.to_owned());
        entry.rpc = Some("Kms/ExportDataKey".to_owned());
        entry.key_id = Some(key.to_owned());
        let policies = if allowed { vec!["exports".to_owned()] } else { Vec::new() };
        let action = "ExportDataKey".to_owned();
        entry.decisions =
            Some(vec![Decided { action, key: Some(key.to_owned()), policies, allowed }]);
        entry.recipient_sha256 = Some(RECIPIENT.to_owned());
        entry.context_keys = Some(vec!["Größe \"密钥\" \\ \u{7f}".to_owned()]);
        entry.outcome = Some(if allowed { "ok" } else { "Forbidden.NoPermission" }.to_owned());
        self.put(&entry);
    }

    pub fn strangers(&mut self, count: u64) {
        let mut entry = self.entry(Kind::Auth);
        (entry.refused, entry.count) = (Some("connection".to_owned()), Some(count));
        self.put(&entry);
    }

    pub fn intent(&mut self, rpc: &str) -> EventId {
        let mut entry = self.entry(Kind::Intent);
        entry.rpc = Some(format!("KeyManagement/{rpc}"));
        entry.principal = Some(BILLING.to_owned());
        entry.key_id = Some(KEY.to_owned());
        self.put(&entry);
        let event = EventId::parse(&entry.event).unwrap();
        self.open.insert(event);
        event
    }

    pub fn outcome(&mut self, event: EventId, outcome: &str) {
        let mut entry = self.entry(Kind::Outcome);
        entry.event = event.to_string();
        entry.principal = Some(BILLING.to_owned());
        entry.key_id = Some(KEY.to_owned());
        entry.outcome = Some(outcome.to_owned());
        self.put(&entry);
        self.open.remove(&event);
    }

    /// What a crash leaves of a line.
    pub fn tear(&mut self) {
        self.files.last_mut().unwrap().extend(b"{\"v\":1,\"seq\":");
    }

    pub fn save(&self, directory: &Path) {
        for (file, number) in self.files.iter().zip(1..) {
            fs::write(directory.join(name(number)), file).unwrap();
        }
    }
}

pub fn name(number: u64) -> String {
    format!("audit-{number:08}.jsonl")
}

/// The lines of a file, with their line feeds.
pub fn lines(file: &[u8]) -> Vec<Vec<u8>> {
    file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Chains lines anew, as somebody would who has no key.
pub fn chain_anew(lines: &[Vec<u8>]) -> Vec<u8> {
    let (mut head, mut bytes) = (Head::EMPTY, Vec::new());
    for line in lines {
        let line = std::str::from_utf8(line).unwrap().trim_end();
        let line = chain::LinkedLine::parse(line).unwrap();
        head = head.append(line.body.as_bytes(), &mut bytes);
    }
    bytes
}
