//! What the store keeps for the audit log: its key, its newest checkpoint, and the marks
//! of changes whose end may not be in it.

use std::sync::Arc;

use crate::audit::log::AuditLog;
use crate::crypto::secret::{AuditKey, Reveal};
use crate::error::{Error, Result};
use crate::ids::EventId;
use crate::keys::clock::Clock;
use crate::keys::guard::records::v1;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::vault::Vault;
use crate::storage::Write;

/// Marks that one commit takes away.
const MARKS_AT_A_TIME: usize = 60;

/// The audit log's records in the store.
pub struct AuditRecords {
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
}

impl AuditRecords {
    pub(super) fn new(vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Self {
        Self { vault, clock }
    }

    /// The log's key; the first who asks makes it.
    pub async fn key(&self) -> Result<AuditKey> {
        if let Some(key) = self.stored_key().await? {
            return Ok(key);
        }
        let key = AuditKey::generate()?;
        let record = v1::AuditKey { created_at_seconds: self.clock.whole_second().as_second() };
        let put = self.vault.put(&StorePath::AuditKey, &record, key.reveal(Reveal::ToStore))?;
        match self.vault.keep_up(&[StorePath::AuditKey.absent()], &[put]).await {
            Ok(_) => Ok(key),
            // Another process was faster.
            Err(NotDone::Stale) => self.stored_key().await?.ok_or_else(lost),
            Err(NotDone::Refused(error)) => Err(error),
        }
    }

    /// The log's key, if it was made yet.
    pub async fn stored_key(&self) -> Result<Option<AuditKey>> {
        let Some(found) = self.vault.find::<v1::AuditKey>(&StorePath::AuditKey).await? else {
            return Ok(None);
        };
        let key = AuditKey::from_stored(found.secret);
        key.map(Some).map_err(|_| self.vault.not_intact(&StorePath::AuditKey))
    }

    /// The newest checkpoint that the store knows.
    pub async fn checkpoint(&self) -> Result<Option<String>> {
        let found = self.vault.find::<v1::AuditCheckpoint>(&StorePath::AuditCheckpoint).await?;
        Ok(found.map(|found| found.record.note))
    }

    /// Keeps a newer checkpoint: a log that is shorter is then known to be.
    pub async fn keep_checkpoint(&self, note: &str) -> Result<()> {
        let record = v1::AuditCheckpoint { note: note.to_owned() };
        let put = self.vault.put(&StorePath::AuditCheckpoint, &record, &[])?;
        self.commit(&[put]).await
    }

    /// Writes the ends of changes that were open when the log was opened: those whose
    /// commit left a mark were made. Then no mark is needed any more.
    pub async fn settle(&self, log: &AuditLog, unsettled: Vec<EventId>) -> Result<()> {
        for event in unsettled {
            let (mark, _) = self.vault.read(&[StorePath::AuditOpen(event)]).await?;
            let was_made = mark.iter().any(Option::is_some);
            log.settle(event, was_made).await?;
            tracing::warn!(%event, was_made, "a change that was broken off is settled");
        }
        let mut walk = self.vault.walk(StorePath::AUDIT_OPEN, MARKS_AT_A_TIME);
        while let Some(marks) = walk.next().await? {
            let gone: Vec<_> = marks.into_iter().map(|(path, _)| Write::Delete(path)).collect();
            self.commit(&gone).await?;
        }
        Ok(())
    }

    /// Commits on no condition.
    async fn commit(&self, writes: &[Write]) -> Result<()> {
        match self.vault.keep_up_urgently(&[], writes).await {
            Ok(_) => Ok(()),
            Err(NotDone::Refused(error)) => Err(error),
            Err(NotDone::Stale) => {
                Err(Error::internal("a commit without preconditions met a conflict"))
            }
        }
    }
}

fn lost() -> Error {
    Error::internal("the audit log's key was taken away as soon as it was made")
}
