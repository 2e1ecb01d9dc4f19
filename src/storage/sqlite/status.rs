//! The state of the store that the writer and the readers share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::storage::store::Revision;

#[derive(Debug, Default)]
pub(super) struct Status {
    revision_seen: AtomicU64,
    in_doubt: AtomicBool,
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
}
