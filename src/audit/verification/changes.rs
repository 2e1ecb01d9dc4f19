//! Changes that begin and end: each intent has one outcome, sooner or later.

use std::collections::{BTreeMap, BTreeSet};

use super::super::note::Checkpoint;
use super::flaw::{Flaw, Place};

/// Far more than are ever in work at once.
const OPEN_MAX: usize = 100_000;

/// The changes that are open.
#[derive(Debug, Default)]
pub(super) struct Changes {
    open: BTreeMap<String, Place>,
    /// All of them are known: since the log's first line, or a checkpoint, nothing is
    /// missing.
    are_all: bool,
}

impl Changes {
    /// The log begins here.
    pub(super) const fn begin_log(&mut self) {
        self.are_all = true;
    }

    /// Lines may be missing here.
    pub(super) const fn doubt(&mut self) {
        self.are_all = false;
    }

    pub(super) fn begin(&mut self, event: String, place: Place) -> Option<Flaw> {
        if self.open.len() >= OPEN_MAX {
            self.doubt();
            return None;
        }
        let flaw = Flaw::IntentTwice { event: event.clone() };
        let before = self.open.insert(event, place);
        before.filter(|_| self.are_all).map(|_| flaw)
    }

    pub(super) fn end(&mut self, event: String) -> Option<Flaw> {
        let was_open = self.open.remove(&event).is_some();
        (!was_open && self.are_all).then_some(Flaw::NoIntent { event })
    }

    /// A checkpoint lists all that are open.
    pub(super) fn hold_to(&mut self, signed: &Checkpoint, place: Place) -> Option<Flaw> {
        let listed: BTreeSet<String> = signed.open.iter().map(ToString::to_string).collect();
        let differs = self.are_all && !listed.iter().eq(self.open.keys());
        self.open.retain(|event, _| listed.contains(event));
        for event in listed {
            self.open.entry(event).or_insert(place);
        }
        self.are_all = true;
        differs.then_some(Flaw::OpenDiffers)
    }

    /// Those that are open at the end.
    pub(super) fn into_open(self) -> BTreeMap<String, Place> {
        self.open
    }
}
