//! The state of the store that the writer and the readers share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::fault::Fault;
use crate::storage::store::Revision;

#[derive(Debug, Default)]
pub(super) struct Status {
    revision_seen: AtomicU64,
    in_doubt: AtomicBool,
    altered: AtomicBool,
    /// The steps that tests make fail.
    #[cfg(test)]
    pub(super) failing: Failing,
}

#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Failing {
    pub(super) commits: AtomicBool,
    pub(super) settling: AtomicBool,
}

#[cfg(test)]
impl Failing {
    pub(super) fn commit(&self) -> Result<(), Fault> {
        Self::unless(&self.commits)
    }

    pub(super) fn settle(&self) -> Result<(), Fault> {
        Self::unless(&self.settling)
    }

    fn unless(failing: &AtomicBool) -> Result<(), Fault> {
        let fails = failing.load(Ordering::SeqCst);
        if fails { Err(rusqlite::Error::InvalidQuery.into()) } else { Ok(()) }
    }
}

impl Status {
    /// The revision of the last commit that was answered.
    pub(super) fn revision_seen(&self) -> Revision {
        Revision(self.revision_seen.load(Ordering::SeqCst))
    }

    pub(super) fn set_revision_seen(&self, revision: Revision) {
        self.revision_seen.store(revision.0, Ordering::SeqCst);
    }

    /// Whether a COMMIT failed and it is not known yet what a restart would find.
    /// Until the writer has settled that, no read may answer (the law, clause 5).
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::SeqCst)
    }

    pub(super) fn set_in_doubt(&self, in_doubt: bool) {
        self.in_doubt.store(in_doubt, Ordering::SeqCst);
    }

    /// Whether the file was ever found damaged or altered.
    pub(super) fn is_altered(&self) -> bool {
        self.altered.load(Ordering::SeqCst)
    }

    /// Remembers that the file was found damaged or altered, and raises the alarm once.
    pub(super) fn note(&self, fault: &Fault) {
        if fault.is_damage() && !self.altered.swap(true, Ordering::SeqCst) {
            tracing::error!(
                alarm = "store",
                "{fault}: the disk failed, or somebody has changed the store's file; stop the server, and restore a copy from before"
            );
        }
    }
}
