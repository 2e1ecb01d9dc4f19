//! The reads, each in one snapshot.

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::fault::{Fault, Result};
use super::schema::{as_revision, as_stored, succession};
use crate::storage::store::{Changes, Listing, Revision, Snapshot, Versioned};

/// The store's revision.
pub(super) fn current_revision(snapshot: &Transaction<'_>) -> Result<Revision> {
    let mut current = snapshot.prepare_cached("SELECT revision FROM store")?;
    Ok(current.query_row([], |row| as_revision(row, 0))?)
}

/// The store's revision, which never is below one that was seen before.
pub(super) fn revision_from(seen: Revision, snapshot: &Transaction<'_>) -> Result<Revision> {
    let revision = current_revision(snapshot)?;
    if revision < seen {
        return Err(Fault::altered(format!("its revision went back from {seen} to {revision}")));
    }
    Ok(revision)
}

/// Refuses a value of a commit that was not made yet.
pub(super) fn check_past(revision: Revision, value_at: Revision) -> Result<()> {
    if value_at > revision {
        return Err(Fault::altered(format!("a value of revision {value_at} at {revision}")));
    }
    Ok(())
}

pub(super) const READ: &str = "SELECT revision, value FROM record WHERE path = ?1";

/// The values at these paths.
pub(super) fn read(snapshot: &Transaction<'_>, paths: &[String]) -> Result<Snapshot> {
    let revision = current_revision(snapshot)?;
    let values = paths.iter().map(|path| {
        let found = read_one(snapshot, path)?;
        found.iter().try_for_each(|found| check_past(revision, found.revision))?;
        Ok(found)
    });
    Ok(Snapshot { revision, values: values.collect::<Result<_>>()? })
}

/// The value at this path.
pub(super) fn read_one(
    snapshot: &Transaction<'_>,
    path: &str,
) -> rusqlite::Result<Option<Versioned>> {
    let found =
        |row: &Row<'_>| Ok(Versioned { revision: as_revision(row, 0)?, value: row.get(1)? });
    snapshot.prepare_cached(READ)?.query_row([path], found).optional()
}

/// The two ways into the index; `?2` is where the prefix's range ends.
pub(super) const LIST_FROM: &str = "SELECT path, revision, value FROM record
     WHERE path >= ?1 AND path < ifnull(?2, x'') ORDER BY path LIMIT ?3";
pub(super) const LIST_AFTER: &str = "SELECT path, revision, value FROM record
     WHERE path > ?1 AND path < ifnull(?2, x'') ORDER BY path LIMIT ?3";

/// The query of a listing.
pub(super) struct ListQuery {
    pub(super) prefix: String,
    pub(super) after: Option<String>,
    pub(super) limit: usize,
}

impl ListQuery {
    fn sql(&self) -> (&'static str, &str) {
        match &self.after {
            Some(after) if *after >= self.prefix => (LIST_AFTER, after),
            _ => (LIST_FROM, &self.prefix),
        }
    }

    /// Reads one entry more than asked for, to see whether there is more.
    pub(super) fn run(&self, snapshot: &Transaction<'_>) -> Result<Listing> {
        let revision = current_revision(snapshot)?;
        let (sql, from) = self.sql();
        let limit = i64::try_from(self.limit.saturating_add(1)).unwrap_or(i64::MAX);
        let mut list = snapshot.prepare_cached(sql)?;
        let entry = |row: &Row<'_>| {
            Ok((row.get(0)?, Versioned { revision: as_revision(row, 1)?, value: row.get(2)? }))
        };
        let rows = list.query_map(params![from, succession(&self.prefix), limit], entry)?;
        let mut entries: Vec<(_, Versioned)> = rows.collect::<rusqlite::Result<_>>()?;
        entries.iter().try_for_each(|(_, value)| check_past(revision, value.revision))?;
        let more = entries.len() > self.limit;
        entries.truncate(self.limit);
        Ok(Listing { revision, entries, more })
    }
}

/// Answered from the index on paths alone: no value is touched.
pub(super) const COUNT: &str =
    "SELECT count(*) FROM record WHERE path >= ?1 AND path < ifnull(?2, x'')";

pub(super) fn count(snapshot: &Transaction<'_>, prefix: &str) -> Result<u64> {
    let mut count = snapshot.prepare_cached(COUNT)?;
    let count: i64 = count.query_row(params![prefix, succession(prefix)], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

const CHANGES: &str = "SELECT DISTINCT path FROM change WHERE revision > ?1 ORDER BY path";

/// The paths that changed; `None` where the log does not reach.
pub(super) fn changes_since(
    snapshot: &Transaction<'_>,
    since: Revision,
) -> Result<Option<Changes>> {
    let (now, floor) = snapshot
        .prepare_cached("SELECT revision, log_floor FROM store")?
        .query_row([], |row| Ok((as_revision(row, 0)?, as_revision(row, 1)?)))?;
    if since < floor || since > now {
        return Ok(None);
    }
    let mut changes = snapshot.prepare_cached(CHANGES)?;
    let paths = changes.query_map([as_stored(since)], |row| row.get(0))?;
    Ok(Some(Changes { now, paths: paths.collect::<rusqlite::Result<_>>()? }))
}
