//! A failure of this backend, before it is told in the law's words.

use std::borrow::Cow;

use rusqlite::ffi;

use crate::storage::store::StoreError;

/// Why a transaction did not go as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// SQLite or the system refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
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
        match self {
            Self::Sqlite(error) => StoreError::Unavailable(error.to_string().into()),
            Self::Altered(how) => StoreError::Damaged(how),
        }
    }

    /// The answer of a commit that met it before its COMMIT.
    pub(super) fn not_stored(self) -> StoreError {
        match self {
            Self::Sqlite(error) => StoreError::NotStored(error.to_string().into()),
            Self::Altered(how) => StoreError::Damaged(how),
        }
    }

    /// Whether a file could not grow: the disk is full, a quota is used up.
    pub(super) fn is_out_of_room(&self) -> bool {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) = self else { return false };
        matches!(
            failure.extended_code,
            ffi::SQLITE_FULL | ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE
        )
    }

    /// Whether a COMMIT that failed so left less than its frames in the log: the
    /// last of them makes it one, and a write came to nothing before or at it.
    pub(super) fn wrote_no_commit(&self) -> bool {
        let Self::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) = self else { return false };
        matches!(failure.extended_code, ffi::SQLITE_FULL | ffi::SQLITE_IOERR_WRITE)
    }
}
