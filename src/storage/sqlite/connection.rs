//! Connections to the file: how they are set, and how a transaction begins.
//!
//! Nothing that the file says is believed beyond data. A trigger, a view or a
//! foreign key of somebody else's would let a change be undone in the moment that
//! it is made; a constraint or an index of somebody else's would let it be passed
//! over. So all of them are off, and no transaction begins on a schema that is
//! not ours to the letter.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::directory::Directory;
use super::fault::{Fault, Result};
use super::schema::Schema;

/// Switches of SQLite, and how they are set.
const SWITCHES: [(DbConfig, bool); 8] = [
    (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
    (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
    (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
    (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
];

/// For every connection: map nothing, wait a while for a foreign writer's lock.
/// When the log moves into the file is decided in `checkpoint.rs` alone.
const COMMON: &str = "
    PRAGMA busy_timeout = 5000;
    PRAGMA cell_size_check = ON;
    PRAGMA mmap_size = 0;
    PRAGMA temp_store = MEMORY;
    PRAGMA wal_autocheckpoint = 0;
";

/// `FULL` syncs the WAL on every COMMIT; `secure_delete` overwrites what is
/// deleted; a WAL that once grew is cut back when it is next reset.
const WRITER: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA secure_delete = ON;
    PRAGMA cache_size = -8192;
    PRAGMA journal_size_limit = 16777216;
";

const READER: &str = "
    PRAGMA query_only = ON;
    PRAGMA cache_size = -4096;
";

/// A checkpoint waits for nobody.
const CHECKPOINTER: &str = "
    PRAGMA synchronous = FULL;
    PRAGMA busy_timeout = 0;
";

/// A connection to a file that is ours, which goes on looking whether it still is.
pub(super) struct CheckedConnection {
    sqlite: Connection,
    /// The schema that SQLite has read, once it was compared with ours.
    compared: Option<Schema>,
}

impl CheckedConnection {
    /// A connection to write with.
    pub(super) fn writer(directory: &Directory) -> Result<Self> {
        Ok(Self::over(connect(directory, WRITER)?))
    }

    /// A connection to read with. It may write no record, but must be able to
    /// write the WAL's index, so that it can open the file by itself.
    pub(super) fn reader(directory: &Directory) -> Result<Self> {
        Ok(Self::over(connect(directory, READER)?))
    }

    pub(super) fn over(sqlite: Connection) -> Self {
        Self { sqlite, compared: None }
    }

    /// Begins a transaction on a schema that is ours, and that is the one by which
    /// SQLite works in it: SQLite reads a schema anew where its number has changed,
    /// and at the first time here.
    pub(super) fn begin(&mut self, behavior: TransactionBehavior) -> Result<Transaction<'_>> {
        let Self { sqlite, compared } = self;
        let transaction = sqlite.transaction_with_behavior(behavior)?;
        if compared.is_none() {
            transaction.execute_batch("PRAGMA writable_schema = RESET")?;
        }
        let found = Schema::read(&transaction)?;
        match compared {
            Some(schema) if *schema == found => {}
            Some(schema) if schema.number == found.number => {
                return Err(Fault::altered("its schema was changed under its old number"));
            }
            _ => {
                found.check_ours()?;
                *compared = Some(found);
            }
        }
        Ok(transaction)
    }

    #[cfg(test)]
    pub(super) fn sqlite(&self) -> &Connection {
        &self.sqlite
    }
}

/// Not `CREATE`: the file is made beforehand, with its mode. No link followed,
/// no URI read. Each connection is used by one thread at a time.
pub(super) fn connect(directory: &Directory, settings: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(directory.database(), flags)?;
    for (switch, on) in SWITCHES {
        connection.set_db_config(switch, on)?;
    }
    connection.execute_batch(COMMON)?;
    connection.execute_batch(settings)?;
    Ok(connection)
}

/// Sets a connection that is to write from here on.
pub(super) fn set_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(WRITER)
}

/// A connection to make checkpoints with. It reads once, so that it has the log
/// open: as long as it lives, the log and its index stay, whoever else goes.
pub(super) fn checkpointer(directory: &Directory) -> rusqlite::Result<Connection> {
    let connection = connect(directory, CHECKPOINTER)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
    Ok(connection)
}
