//! Permits for work that is done at once: so many in all, and a share of them for
//! each of those who ask, so that one of them never keeps out the others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{AcquireError, Semaphore};

use crate::error::{Error, Result};

/// The permits of one kind of work.
#[derive(Debug)]
pub struct Permits<K> {
    all: Arc<Semaphore>,
    share: usize,
    shares: Mutex<HashMap<K, Share>>,
}

/// A share of the permits. Clones are the same share.
#[derive(Clone, Debug)]
pub struct Share(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    own: Semaphore,
    most: u32,
    all: Arc<Semaphore>,
}

/// One or several permits of a share, given back when this is dropped.
#[derive(Debug)]
pub struct Permit {
    share: Share,
    weight: u32,
}

impl<K: Eq + Hash + Clone> Permits<K> {
    /// So many in all, of which nobody has more than `share`.
    #[must_use]
    pub fn new(all: usize, share: usize) -> Self {
        let share = share.min(all);
        Self { all: Arc::new(Semaphore::new(all)), share, shares: Mutex::default() }
    }

    /// The share of one of those who ask.
    #[must_use]
    pub fn share_of(&self, whose: &K) -> Share {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = shares.get(whose) {
            return found.clone();
        }
        // Those who hold nothing, and are not about to, are forgotten.
        if shares.len() >= shares.capacity() {
            shares.retain(|_, Share(share)| Arc::strong_count(share) > 1);
        }
        let most = u32::try_from(self.share).unwrap_or(u32::MAX);
        let (own, all) = (Semaphore::new(self.share), self.all.clone());
        let share = Share(Arc::new(Shared { own, most, all }));
        shares.insert(whose.clone(), share.clone());
        share
    }
}

impl Share {
    /// So many permits at once, if the share and all permits together have them left.
    /// More than the whole share is the whole share.
    #[must_use]
    pub fn try_take(&self, weight: u32) -> Option<Permit> {
        let Shared { own, most, all } = &*self.0;
        let weight = weight.min(*most).max(1);
        let own = own.try_acquire_many(weight).ok()?;
        let all = all.try_acquire_many(weight).ok()?;
        own.forget();
        all.forget();
        Some(Permit { share: self.clone(), weight })
    }

    /// Waits for so many permits: in the share's own queue first, then among all.
    pub async fn take(&self, weight: u32) -> Result<Permit> {
        let Shared { own, most, all } = &*self.0;
        let weight = weight.min(*most).max(1);
        let own = own.acquire_many(weight).await.map_err(closed)?;
        let all = all.acquire_many(weight).await.map_err(closed)?;
        own.forget();
        all.forget();
        Ok(Permit { share: self.clone(), weight })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Shared { own, all, .. } = &*self.share.0;
        own.add_permits(self.weight as usize);
        all.add_permits(self.weight as usize);
    }
}

fn closed(_: AcquireError) -> Error {
    Error::internal("permits are closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls once.
    async fn is_pending_now<T>(waiting: &mut (impl Future<Output = T> + Unpin)) -> bool {
        std::future::poll_fn(|cx| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *waiting).poll(cx).is_pending())
        })
        .await
    }

    #[test]
    fn one_who_asks_has_a_share() {
        let permits = Permits::new(5, 3);
        let (one, other) = (permits.share_of(&"one"), permits.share_of(&"other"));
        let mut held: Vec<_> = (0..3).map(|_| one.try_take(1).unwrap()).collect();
        for _ in 0..10 {
            assert!(one.try_take(1).is_none() && permits.share_of(&"one").try_take(1).is_none());
        }
        let others = [other.try_take(1).unwrap(), other.try_take(1).unwrap()];
        assert!(other.try_take(1).is_none(), "there are no more");
        held.clear();
        drop(one.try_take(1).unwrap());
        drop(others);
        assert_eq!(permits.all.available_permits(), 5);
    }

    #[test]
    fn those_who_hold_nothing_are_forgotten() {
        let permits = Permits::new(5, 3);
        let kept = permits.share_of(&0).try_take(1).unwrap();
        for n in 1..10_000 {
            drop(permits.share_of(&n).try_take(1).unwrap());
        }
        let shares = permits.shares.lock().unwrap();
        assert!(shares.capacity() < 100 && shares.contains_key(&0), "{}", shares.capacity());
        drop(shares);
        drop(kept);
    }

    #[tokio::test]
    async fn heavy_work_waits_in_its_own_share_and_others_pass() {
        let permits = Permits::new(100, 50);
        let (heavy, light) = (permits.share_of(&"heavy"), permits.share_of(&"light"));
        let first = heavy.try_take(40).unwrap();
        assert!(heavy.try_take(40).is_none());
        let mut second = Box::pin(heavy.take(40));
        assert!(is_pending_now(&mut second).await);
        // It waits for its own share alone, and has taken nothing from the others.
        let held: Vec<_> = (0..50).map(|_| light.try_take(1).unwrap()).collect();
        assert!(light.try_take(1).is_none());
        drop(first);
        let second = second.await.unwrap();
        drop((second, held));
        assert_eq!(permits.all.available_permits(), 100);
    }

    #[tokio::test]
    async fn one_who_leaves_the_queue_gives_back_what_it_had() {
        let permits = Permits::new(60, 50);
        let (one, other) = (permits.share_of(&1), permits.share_of(&2));
        let held = one.try_take(50).unwrap();
        let mut waiting = Box::pin(other.take(20));
        assert!(is_pending_now(&mut waiting).await);
        drop(waiting);
        drop(held);
        assert_eq!(permits.all.available_permits(), 60);
        assert!(other.try_take(50).is_some());
    }

    #[tokio::test]
    async fn more_than_a_share_is_the_share() {
        let permits = Permits::new(10, 5);
        let share = permits.share_of(&());
        let all_of_it = share.take(40).await.unwrap();
        assert!(share.try_take(1).is_none());
        drop(all_of_it);
        assert!(share.try_take(40).is_some());
        assert!(Permits::new(0, 5).share_of(&()).try_take(40).is_none(), "nothing is no share");
    }
}
