//! Permits for work that is done at once: so many in all, and a share of them for
//! each of those who ask, so that one of them never keeps out the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result, Rule};

/// How many permits one of those who ask holds.
type Held = Arc<AtomicUsize>;

/// The permits of one kind of work.
pub(super) struct Permits<K> {
    all: Arc<Semaphore>,
    share: usize,
    held: Mutex<HashMap<K, Held>>,
}

/// A share of the permits. Clones are the same share.
#[derive(Clone)]
pub(super) struct Share {
    held: Held,
    most: usize,
    all: Arc<Semaphore>,
}

/// A permit, given back when it is dropped.
pub(super) struct Permit {
    held: Held,
    _of_all: OwnedSemaphorePermit,
}

impl<K: Eq + Hash + Clone> Permits<K> {
    /// So many in all, of which nobody has more than `share`.
    pub(super) fn new(all: usize, share: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), share, held: Mutex::default() }
    }

    /// The share of one of those who ask.
    pub(super) fn share_of(&self, whose: &K) -> Share {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let found = held.get(whose).cloned();
        let held = found.unwrap_or_else(|| {
            // Those who hold nothing, and are not about to, are forgotten.
            if held.len() >= held.capacity() {
                held.retain(|_, held| Arc::strong_count(held) > 1);
            }
            held.entry(whose.clone()).or_default().clone()
        });
        Share { held, most: self.share, all: self.all.clone() }
    }

    /// Waits for a permit that is nobody's share.
    pub(super) async fn wait(&self) -> Result<OwnedSemaphorePermit> {
        let permit = self.all.clone().acquire_owned().await;
        permit.map_err(|_| Error::internal("the permits of requests in flight are closed"))
    }
}

impl Share {
    /// A permit, if the share and all permits together have one left.
    pub(super) fn take(&self) -> Result<Permit> {
        let permit = Permit {
            held: self.held.clone(),
            _of_all: self.all.clone().try_acquire_owned().map_err(|_| Rule::TooManyRequests)?,
        };
        // A permit that is too many is given back at once.
        let before = self.held.fetch_add(1, Ordering::Relaxed);
        if before < self.most { Ok(permit) } else { Err(Rule::TooManyRequests.into()) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_asks_has_a_share() {
        let permits = Permits::new(5, 3);
        let (one, other) = (permits.share_of(&"one"), permits.share_of(&"other"));
        let mut held: Vec<_> = (0..3).map(|_| one.take().unwrap()).collect();
        for _ in 0..10 {
            assert!(one.take().is_err() && permits.share_of(&"one").take().is_err());
        }
        let others = [other.take().unwrap(), other.take().unwrap()];
        assert!(other.take().is_err(), "there are no more");
        held.clear();
        drop(one.take().unwrap());
        drop(others);
        assert_eq!(permits.all.available_permits(), 5);
    }

    #[test]
    fn those_who_hold_nothing_are_forgotten() {
        let permits = Permits::new(5, 3);
        let kept = permits.share_of(&0).take().unwrap();
        for n in 1..10_000 {
            drop(permits.share_of(&n).take().unwrap());
        }
        let held = permits.held.lock().unwrap();
        assert!(held.capacity() < 100 && held.contains_key(&0), "{}", held.capacity());
        drop(held);
        drop(kept);
    }
}
