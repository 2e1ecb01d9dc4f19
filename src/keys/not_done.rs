//! Why something that was granted was not done.

use crate::error::Error;

/// Why something granted was not done.
#[derive(Debug)]
pub enum NotDone {
    /// The key has changed since the grant was given: ask again.
    Stale,
    /// It was refused, or it failed.
    Refused(Error),
}

impl<E: Into<Error>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}
