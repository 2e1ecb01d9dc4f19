//! A failure of this backend, before it is told in the law's words.

use std::borrow::Cow;

use rusqlite::{Error, ErrorCode, ffi};

use crate::storage::store::StoreError;

/// Why a transaction did not go as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// SQLite or the system refused.
    #[error(transparent)]
    Sqlite(#[from] Error),
    /// The file holds what this program does not write.
    #[error("the store's file was altered: {0}")]
    Altered(Cow<'static, str>),
}

pub(super) type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(super) fn altered(how: impl Into<Cow<'static, str>>) -> Self {
        Self::Altered(how.into())
    }

    /// The answer of a read that met it.
    pub(super) fn unread(self) -> StoreError {
        self.or_damaged(StoreError::Unavailable)
    }

    /// The answer of a commit that met it before its COMMIT.
    pub(super) fn not_stored(self) -> StoreError {
        self.or_damaged(StoreError::NotStored)
    }

    fn or_damaged(self, told: fn(Cow<'static, str>) -> StoreError) -> StoreError {
        let is_damage = self.is_damage();
        match self {
            Self::Altered(how) => StoreError::Damaged(how),
            Self::Sqlite(error) if is_damage => StoreError::Damaged(error.to_string().into()),
            Self::Sqlite(error) => told(error.to_string().into()),
        }
    }

    /// Whether the file is not as it was left: what it holds is none of ours, or
    /// SQLite finds it malformed. Queries are the program's own, so that a value that
    /// does not fit one is the file's fault.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sqlite(Error::SqliteFailure(failure, _)) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            Self::Altered(_)
            | Self::Sqlite(
                Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::Utf8Error(..)
                | Error::InvalidColumnType(..)
                | Error::QueryReturnedNoRows,
            ) => true,
            Self::Sqlite(_) => false,
        }
    }

    /// Whether a file could not grow: the disk is full, a quota is used up.
    pub(super) fn is_out_of_room(&self) -> bool {
        matches!(
            self.code(),
            Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE)
        )
    }

    /// Whether there may be no room: some file systems tell that at a sync alone.
    pub(super) fn may_be_out_of_room(&self) -> bool {
        self.is_out_of_room() || self.code() == Some(ffi::SQLITE_IOERR_FSYNC)
    }

    /// Whether a COMMIT that failed so left less than its frames in the log: the
    /// last of them makes it one, and there was no room for all of it. After any
    /// other failure to write, the bytes may be there or not.
    pub(super) fn wrote_no_commit(&self) -> bool {
        self.code() == Some(ffi::SQLITE_FULL)
    }

    /// SQLite's extended code.
    fn code(&self) -> Option<i32> {
        match self {
            Self::Sqlite(Error::SqliteFailure(failure, _)) => Some(failure.extended_code),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> Fault {
        Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn each_failure_is_told_as_what_it_is() {
        // Left no commit, is out of room, may be out of room, is damage.
        let rows = [
            (ffi::SQLITE_FULL, [true, true, true, false]),
            (ffi::SQLITE_IOERR_WRITE, [false, true, true, false]),
            (ffi::SQLITE_IOERR_SHMSIZE, [false, true, true, false]),
            (ffi::SQLITE_IOERR_FSYNC, [false, false, true, false]),
            (ffi::SQLITE_IOERR_READ, [false; 4]),
            (ffi::SQLITE_IOERR_DIR_FSYNC, [false; 4]),
            (ffi::SQLITE_BUSY, [false; 4]),
            (ffi::SQLITE_READONLY, [false; 4]),
            (ffi::SQLITE_CORRUPT, [false, false, false, true]),
            (ffi::SQLITE_CORRUPT_INDEX, [false, false, false, true]),
            (ffi::SQLITE_NOTADB, [false, false, false, true]),
        ];
        for (code, expected) in rows {
            let fault = failure(code);
            let found = [
                fault.wrote_no_commit(),
                fault.is_out_of_room(),
                fault.may_be_out_of_room(),
                fault.is_damage(),
            ];
            assert_eq!(found, expected, "{code}");
            let [.., is_damage] = expected;
            let told = [failure(code).unread(), failure(code).not_stored()];
            let damaged = told.map(|told| matches!(told, StoreError::Damaged(_)));
            assert_eq!(damaged, [is_damage; 2], "{code}");
        }
    }
}
