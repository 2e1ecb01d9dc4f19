//! The file's schema, and its comparison with ours to the letter.
//!
//! SQLite reads a schema once, and again where its number has changed. It does not
//! see one that was changed under its old number: a table whose first page is
//! another's from then on is one table for those who are connected, and another for
//! those who come. So the whole of it is looked at, and the pages belong to it.

use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::fault::{self, Fault};
use crate::storage::store::Revision;

/// "KEYF": what `file` and we tell the file by (SQLite's `application_id`).
pub(super) const APPLICATION_ID: i64 = 0x4B45_5946;
/// The newest format that this program reads and writes (`user_version`).
pub(super) const FORMAT: i64 = 1;

/// - `store`: one row. Revisions up to `log_floor` are cut from the log;
///   `doubts` counts failed COMMITs settled, see the writer.
/// - `record`: what is stored. The paths' index is apart from the values, so
///   that counting and seeking touch no value.
/// - `change`: which paths a revision changed.
///
/// Comparison of TEXT in SQLite is `memcmp` of its UTF-8 unless a collation
/// says otherwise: bytewise order, as the law wants.
pub(super) const SCHEMA: &str = "
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

/// The schema as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Schema {
    /// SQLite's own number for it, which it changes with each change of its own.
    pub(super) number: i64,
    objects: Vec<SchemaObject>,
}

/// A table, an index, or whatever else stands in a schema.
#[derive(Debug, PartialEq, Eq)]
struct SchemaObject {
    kind: String,
    name: String,
    table: String,
    /// The text that made it.
    sql: Option<String>,
    /// The page of the file where it begins.
    first_page: i64,
}

impl Schema {
    /// The schema of a connection; one snapshot's, if the connection is in one.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut number = connection.prepare_cached("PRAGMA schema_version")?;
        let mut all = connection
            .prepare_cached("SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema")?;
        let object = |row: &Row<'_>| {
            Ok(SchemaObject {
                kind: row.get(0)?,
                name: row.get(1)?,
                table: row.get(2)?,
                sql: row.get(3)?,
                first_page: row.get(4)?,
            })
        };
        Ok(Self {
            number: number.query_row([], |row| row.get(0))?,
            objects: all.query_map([], object)?.collect::<rusqlite::Result<_>>()?,
        })
    }

    /// Refuses a schema that is not ours to the letter, as SQLite itself writes it.
    /// The pages are each file's own.
    pub(super) fn check_ours(&self) -> fault::Result<()> {
        let model = Connection::open_in_memory()?;
        model.execute_batch(SCHEMA)?;
        let (ours, found) = (&Self::read(&model)?.objects, &self.objects);
        let is_among = |object: &SchemaObject, all: &[SchemaObject]| {
            all.iter().any(|other| other.is_made_as(object))
        };
        if let Some(strange) = found.iter().find(|object| !is_among(object, ours)) {
            let SchemaObject { kind, name, .. } = strange;
            return Err(Fault::altered(format!("its {kind} {name:?} is none of Keyferry's")));
        }
        match ours.iter().find(|object| !is_among(object, found)) {
            Some(SchemaObject { kind, name, .. }) => {
                Err(Fault::altered(format!("its {kind} {name:?} is gone")))
            }
            None if found.len() == ours.len() => Ok(()),
            None => Err(Fault::altered("its schema holds something twice")),
        }
    }
}

impl SchemaObject {
    fn is_made_as(&self, other: &Self) -> bool {
        (&self.kind, &self.name, &self.table, &self.sql)
            == (&other.kind, &other.name, &other.table, &other.sql)
    }
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
