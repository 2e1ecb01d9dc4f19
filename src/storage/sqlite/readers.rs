//! Connections for reading.

use std::sync::{Arc, Mutex, PoisonError};

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
