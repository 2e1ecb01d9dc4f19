//! The file's schema, and how a connection to it is set up.

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, TransactionBehavior};

use super::directory::Directory;
use crate::storage::open::OpenStoreError;
use crate::storage::store::Revision;

/// "KEYF": what `file` and we tell the file by (SQLite's `application_id`).
const APPLICATION_ID: i64 = 0x4B45_5946;
/// The newest format that this program reads and writes (`user_version`).
const FORMAT: i64 = 1;

/// - `store`: one row. Revisions up to `log_floor` are cut from the log;
///   `doubts` counts failed COMMITs settled, see the writer.
/// - `record`: what is stored. The paths' index is apart from the values, so
///   that counting and seeking touch no value.
/// - `change`: which paths a revision changed.
///
/// Comparison of TEXT in SQLite is `memcmp` of its UTF-8 unless a collation
/// says otherwise: bytewise order, as the law wants.
const SCHEMA: &str = "
    CREATE TABLE store (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL,
        log_floor INTEGER NOT NULL,
        doubts INTEGER NOT NULL
    ) STRICT;
    INSERT INTO store VALUES (1, 0, 0, 0);
    CREATE TABLE record (
        id INTEGER PRIMARY KEY,
        path TEXT NOT NULL,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX record_path ON record (path);
    CREATE TABLE change (
        revision INTEGER NOT NULL,
        path TEXT NOT NULL,
        PRIMARY KEY (revision, path)
    ) STRICT, WITHOUT ROWID;
";

/// For every connection: trust nothing that the file says beyond data, map
/// nothing, wait a while for a foreign reader's lock.
const COMMON: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
";

/// `FULL` syncs the WAL on every COMMIT; `secure_delete` overwrites what is
/// deleted; a WAL that once grew is cut back when it is next reset.
const WRITER: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA cache_size = -8192;
    PRAGMA wal_autocheckpoint = 1000;
    PRAGMA journal_size_limit = 16777216;
";

const READER: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -4096;
";

/// Not `CREATE`: the file is made beforehand, with its mode. No link followed,
/// no URI read. Each connection is used by one thread at a time.
fn connect(directory: &Directory, settings: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(directory.database(), flags)?;
    connection.execute_batch(COMMON)?;
    connection.execute_batch(settings)?;
    Ok(connection)
}

/// A connection to write with, to a file known to be ours.
pub(super) fn connect_writer(directory: &Directory) -> rusqlite::Result<Connection> {
    connect(directory, WRITER)
}

/// A connection to read with. It may write no record, but must be able to
/// write the WAL's index, so that it can open the file by itself.
pub(super) fn connect_reader(directory: &Directory) -> rusqlite::Result<Connection> {
    connect(directory, READER)
}

/// The writer's connection to a file that is ours, or is now.
pub(super) fn open_or_create(directory: &Directory) -> Result<Connection, OpenStoreError> {
    let fault = |source: rusqlite::Error| not_opened(directory, source);
    let mut connection = connect(directory, "").map_err(fault)?;
    let blank = judge(directory, &connection)?;
    // Only now: the settings write to the file.
    connection.execute_batch(WRITER).map_err(fault)?;
    enter_wal(&connection).map_err(fault)?;
    if blank {
        create(&mut connection).map_err(fault)?;
    }
    Ok(connection)
}

/// SQLite refused to open the file.
pub(super) fn not_opened(directory: &Directory, source: rusqlite::Error) -> OpenStoreError {
    let store = directory.database().display().to_string();
    if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) {
        return OpenStoreError::Foreign { store, found: "not an SQLite database".into() };
    }
    let advice = "check the disk, or restore a copy";
    OpenStoreError::Failed { doing: "open", store, source: source.into(), advice }
}

/// Whether the file is blank: just made, or its making was cut short. A file
/// that is neither that nor ours is refused.
pub(super) fn judge(
    directory: &Directory,
    connection: &Connection,
) -> Result<bool, OpenStoreError> {
    let ask = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let ask = |sql| ask(sql).map_err(|source| not_opened(directory, source));
    let tables = ask("SELECT count(*) FROM sqlite_schema")?;
    let store = directory.database().display().to_string();
    match (ask("PRAGMA application_id")?, ask("PRAGMA user_version")?) {
        (0, 0) if tables == 0 => Ok(true),
        (APPLICATION_ID, FORMAT) => Ok(false),
        (APPLICATION_ID, found) if found > FORMAT => {
            Err(OpenStoreError::Newer { store, found, known: FORMAT })
        }
        (id, version) => {
            let found = format!("an SQLite database of application {id:#010x}, format {version}");
            Err(OpenStoreError::Foreign { store, found })
        }
    }
}

/// WAL mode stays with the file.
fn enter_wal(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
}

/// All of the schema or none of it: its marks are in the same transaction.
fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    let making = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    making.execute_batch(SCHEMA)?;
    making.pragma_update(None, "application_id", APPLICATION_ID)?;
    making.pragma_update(None, "user_version", FORMAT)?;
    making.commit()
}

/// SQLite's integers are signed. No revision comes near the end of either, and
/// one beyond it, which only a caller's mistake can be, matches none.
pub(super) fn as_stored(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn as_revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    let stored: i64 = row.get(column)?;
    let negative =
        |e| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, Box::new(e));
    u64::try_from(stored).map(Revision).map_err(negative)
}

/// The first text after all that begin with `prefix`; `None` where there is no
/// such text. Order of UTF-8 bytes is order of characters, so it is the prefix
/// with its last character (that has a next one) moved on by one.
///
/// Queries put an empty BLOB in place of `None`: every TEXT sorts before it.
pub(super) fn succession(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}
