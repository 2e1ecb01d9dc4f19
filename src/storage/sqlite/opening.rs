//! Opens the file: tells it from others, and makes its schema where it is blank.

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::connection::{CheckedConnection, connect, set_writer};
use super::directory::Directory;
use super::fault::Fault;
use super::schema::{APPLICATION_ID, FORMAT, SCHEMA, Schema};
use crate::storage::open::OpenStoreError;

/// The writer's connection to a file that is ours, or is now.
pub(super) fn open_or_create(directory: &Directory) -> Result<CheckedConnection, OpenStoreError> {
    let fault = |source: rusqlite::Error| not_opened(directory, source.into());
    let mut connection = connect(directory, "").map_err(fault)?;
    let blank = judge(directory, &connection)?;
    if !blank {
        let schema = Schema::read(&connection).map_err(fault)?;
        schema.check_ours().map_err(|fault| not_opened(directory, fault))?;
    }
    // Only now: the settings write to the file.
    set_writer(&connection).map_err(fault)?;
    enter_wal(&connection).map_err(fault)?;
    if blank {
        create(&mut connection).map_err(fault)?;
    }
    Ok(CheckedConnection::over(connection))
}

/// The file was not opened.
pub(super) fn not_opened(directory: &Directory, fault: Fault) -> OpenStoreError {
    let store = directory.database().display().to_string();
    let full = fault.is_out_of_room();
    match fault {
        Fault::Sqlite(source) if full => OpenStoreError::Full { store, source: source.into() },
        Fault::Altered(how) => OpenStoreError::Altered { store, how },
        Fault::Sqlite(source) if source.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            OpenStoreError::Foreign { store, found: "not an SQLite database".into() }
        }
        Fault::Sqlite(source) => {
            let advice = "check the disk, or restore a copy";
            OpenStoreError::Failed { doing: "open", store, source: source.into(), advice }
        }
    }
}

/// Whether the file is blank: just made, or its making was cut short. A file
/// that is neither that nor ours is refused.
pub(super) fn judge(
    directory: &Directory,
    connection: &Connection,
) -> Result<bool, OpenStoreError> {
    let ask = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let ask = |sql| ask(sql).map_err(|source| not_opened(directory, source.into()));
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
