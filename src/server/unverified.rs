//! Requests over HTTP that are read before their callers are known: a share of them
//! for each address and each connection.
//!
//! A peer may send a head and be slow with the rest. Where too many are read at once,
//! the one that has been read for longest is given up for the next one: those who
//! have something to say say it at once, so that a caller whose request has come is
//! never kept out by those whose requests do not come.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::connections::{Network, TrackedConnection};
use super::limits::Limits;
use crate::error::{Error, Result, Rule};
use crate::service::permits::{Permit, Permits};

/// The requests that are being read.
pub(super) struct Unverified {
    of_network: Permits<Option<Network>>,
    of_connection: Permits<u64>,
    /// By their order, with the token that gives each up.
    reading: Mutex<BTreeMap<u64, CancellationToken>>,
    most: usize,
}

/// One of them, until this is dropped.
struct Reading<'a> {
    all: &'a Unverified,
    number: u64,
    given_up: CancellationToken,
}

impl Unverified {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            of_network: Permits::new(Semaphore::MAX_PERMITS, limits.unverified_of_network),
            of_connection: Permits::new(Semaphore::MAX_PERMITS, limits.unverified_of_connection),
            reading: Mutex::default(),
            most: limits.unverified,
        }
    }

    /// Reads a request, unless it is given up for others.
    pub(super) async fn read<T>(
        &self,
        tracked: &TrackedConnection,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let too_many = || Error::from(Rule::TooManyRequests);
        let _permits = self.permits(tracked).ok_or_else(too_many)?;
        let reading = self.begin();
        reading.given_up.run_until_cancelled(request).await.ok_or_else(too_many)?
    }

    fn permits(&self, tracked: &TrackedConnection) -> Option<[Permit; 2]> {
        let of_connection = self.of_connection.share_of(&tracked.id()).try_take(1)?;
        Some([of_connection, self.of_network.share_of(&tracked.network()).try_take(1)?])
    }

    fn begin(&self) -> Reading<'_> {
        let given_up = CancellationToken::new();
        let mut reading = self.reading();
        let number = reading.last_key_value().map_or(0, |(last, _)| last + 1);
        reading.insert(number, given_up.clone());
        if reading.len() > self.most
            && let Some((_, longest)) = reading.pop_first()
        {
            longest.cancel();
        }
        Reading { all: self, number, given_up }
    }

    fn reading(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.all.reading().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_read_for_longest_is_given_up() {
        let all = Unverified::new(&Limits { unverified: 2, ..Limits::default() });
        let (first, second) = (all.begin(), all.begin());
        assert!(!first.given_up.is_cancelled());
        let third = all.begin();
        assert!(first.given_up.is_cancelled() && !second.given_up.is_cancelled());
        drop(second);
        let fourth = all.begin();
        assert!(!third.given_up.is_cancelled() && !fourth.given_up.is_cancelled());
        drop((first, third, fourth));
        assert!(all.reading().is_empty());
    }
}
