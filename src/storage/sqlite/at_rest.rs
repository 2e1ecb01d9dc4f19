//! A store for reading alone: nothing is made, locked or changed. So a
//! configuration can be checked beside the server that runs by it.

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::connection::CheckedConnection;
use super::directory::Directory;
use super::fault::{self, Fault};
use super::opening;
use super::queries::{self, ListQuery};
use super::schema::Schema;
use crate::storage::limits::{check_listing, check_read};
use crate::storage::open::OpenStoreError;
use crate::storage::store::{
    Changes, LISTING_ENTRIES_MAX, Listing, Precondition, Revision, Snapshot, Store, StoreError,
    Write,
};

/// A store that is read and not held.
pub struct StoreAtRest(Mutex<CheckedConnection>);

impl StoreAtRest {
    /// Opens the store in this directory; `None` where none was made.
    pub fn open(directory: &Path) -> Result<Option<Self>, OpenStoreError> {
        let Some(directory) = Directory::look(directory)? else { return Ok(None) };
        let not_opened = |fault| opening::not_opened(&directory, fault);
        let connection = connect(&directory).map_err(|source| not_opened(source.into()))?;
        if opening::judge(&directory, &connection)? {
            return Ok(None);
        }
        let schema = Schema::read(&connection).map_err(|source| not_opened(source.into()))?;
        schema.check_ours().map_err(not_opened)?;
        Ok(Some(Self(Mutex::new(CheckedConnection::over(connection)))))
    }

    fn reading<T>(
        &self,
        read: impl FnOnce(&Transaction<'_>) -> fault::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = connection.begin(TransactionBehavior::Deferred).map_err(Fault::unread)?;
        read(&snapshot).map_err(Fault::unread)
    }
}

/// Where a WAL lies, a server runs or was killed, and its records count. Without
/// one the file is all there is, and is read as one that nobody changes: SQLite
/// would make a WAL otherwise.
fn connect(directory: &Directory) -> rusqlite::Result<Connection> {
    let database = directory.database();
    let mut wal = database.clone().into_os_string();
    wal.push("-wal");
    let has_wal = std::fs::metadata(wal).is_ok_and(|wal| wal.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    match database.to_str() {
        Some(path) if !has_wal => {
            let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
            let uri = format!("file:{path}?immutable=1");
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => Connection::open_with_flags(database, flags),
    }
}

#[async_trait]
impl Store for StoreAtRest {
    async fn read(&self, paths: &[&str]) -> Result<Snapshot, StoreError> {
        check_read(paths)?;
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        self.reading(|snapshot| queries::read(snapshot, &paths))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, StoreError> {
        check_listing(prefix, after)?;
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let query = ListQuery { prefix, after, limit: limit.min(LISTING_ENTRIES_MAX) };
        self.reading(|snapshot| query.run(snapshot))
    }

    async fn count(&self, prefix: &str) -> Result<u64, StoreError> {
        check_listing(prefix, None)?;
        self.reading(|snapshot| queries::count(snapshot, prefix))
    }

    async fn commit(&self, _: &[Precondition], _: &[Write]) -> Result<Revision, StoreError> {
        Err(StoreError::NotStored("the store is open for reading alone".into()))
    }

    async fn changes_since(&self, revision: Revision) -> Result<Changes, StoreError> {
        let changes = self.reading(|snapshot| queries::changes_since(snapshot, revision))?;
        changes.ok_or(StoreError::Compacted)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.reading(queries::current_revision).map(drop)
    }

    fn revision_seen(&self) -> Revision {
        Revision::default()
    }
}

impl fmt::Debug for StoreAtRest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAtRest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SqliteStore;

    fn names(directory: &Path) -> Vec<String> {
        let names = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A name that a URI would misread.
    fn store(folder: &Path) -> std::path::PathBuf {
        folder.join("a store?x=1#%41")
    }

    async fn put(store: &SqliteStore) {
        store.commit(&[], &[Write::Put("a/b".into(), b"value".to_vec())]).await.unwrap();
    }

    async fn assert_read(directory: &Path) {
        let before = names(directory);
        let store = StoreAtRest::open(directory).unwrap().expect("a store");
        let snapshot = store.read(&["a/b"]).await.unwrap();
        assert_eq!(snapshot.values[0].as_ref().unwrap().value, b"value");
        assert_eq!(store.list("a/", None, 10).await.unwrap().entries.len(), 1);
        assert_eq!(store.count("").await.unwrap(), 1);
        let refused = store.commit(&[], &[Write::Delete("a/b".into())]).await;
        assert!(matches!(refused, Err(StoreError::NotStored(_))));
        drop(store);
        assert_eq!(names(directory), before, "nothing is made or removed");
    }

    #[tokio::test]
    async fn a_store_is_read_beside_its_server_and_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let directory = store(folder.path());
        let held = SqliteStore::open(&directory).unwrap();
        put(&held).await;
        assert_read(&directory).await;
        put(&held).await;
        drop(held);
        assert_read(&directory).await;
    }

    #[test]
    fn where_no_store_is_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        assert!(StoreAtRest::open(&absent).unwrap().is_none());
        assert!(StoreAtRest::open(folder.path()).unwrap().is_none());
        assert!(names(folder.path()).is_empty());
        let database = folder.path().join("keyferry.db");
        crate::durable::create_file(&database, 0o600, b"").unwrap();
        assert!(StoreAtRest::open(folder.path()).unwrap().is_none(), "it was never finished");
        std::fs::write(&database, [7; 4096]).unwrap();
        let foreign = StoreAtRest::open(folder.path());
        assert!(matches!(foreign, Err(OpenStoreError::Foreign { .. })), "{foreign:?}");
    }
}
