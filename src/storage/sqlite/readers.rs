//! Connections for reading.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::CheckedConnection;
use super::directory::Directory;
use super::fault::Result;
use super::queries::revision_from;
use crate::storage::store::Revision;

/// Most reads at once; more wait their turn.
const READERS_MAX: usize = 4;

/// Connections for reading, opened as they are first needed. One that failed
/// is not used again.
pub(super) struct Readers {
    directory: Arc<Directory>,
    idle: Mutex<Vec<CheckedConnection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self { directory, idle: Mutex::default(), permits }
    }

    /// Leave for one read, when it is its turn; none once the store is closed.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Keeps new reads waiting until it is dropped, once those under way have ended;
    /// none where that takes longer than `patience`, or once the store is closed.
    pub(super) async fn pause(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(READERS_MAX).unwrap_or(u32::MAX);
        let all = Arc::clone(&self.permits).acquire_many_owned(all);
        tokio::time::timeout(patience, all).await.ok()?.ok()
    }

    /// Runs a read in one snapshot, which is none from before `seen`.
    pub(super) fn read<T>(
        &self,
        seen: Revision,
        read: impl FnOnce(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => CheckedConnection::reader(&self.directory)?,
        };
        let snapshot = connection.begin(TransactionBehavior::Deferred)?;
        revision_from(seen, &snapshot)?;
        let answer = read(&snapshot)?;
        snapshot.commit()?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer)
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
