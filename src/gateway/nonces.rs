//! Nonces of verified signatures: each is accepted once.
//!
//! A nonce is remembered for as long as its signature is accepted, and never
//! forgotten earlier: when memory is used up, requests are refused. Only a holder
//! of an access key can use up the memory of that key.
//!
//! The memory is the process's own, and a restart forgets it. A captured request
//! that only reads can then be repeated until its time stamp has expired. A
//! request that changes something is guarded by a commit before the change
//! (`keys/access_keys/used_nonces.rs`) instead. The same holds where the wall
//! clock is set back by more than [`SLACK`].

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::signature::SKEW_MAX;
use crate::error::{Result, Rule};

/// How far the wall clock may be set back before a signature outlives the
/// memory of its nonce.
pub const SLACK: Duration = Duration::from_secs(60);
/// How long a nonce is remembered: a signature whose time is 15 minutes ahead is
/// accepted for 30 minutes.
pub const KEPT: Duration = Duration::from_secs(2 * SKEW_MAX.as_secs() + SLACK.as_secs());
/// Nonces are forgotten bucket by bucket; a bucket holds those of this long.
const BUCKET: Duration = Duration::from_secs(60);
/// The most nonces of one access key: enough for 1,000 requests a second.
pub const PER_ACCESS_KEY_MAX: usize = 2_000_000;
/// The most nonces in all, at 40 to 60 bytes each.
pub const IN_ALL_MAX: usize = 4_000_000;

/// The nonces that were used.
pub struct Nonces {
    bounds: Bounds,
    used: Mutex<UsedNonces>,
}

struct Bounds {
    per_access_key: usize,
    in_all: usize,
}

#[derive(Default)]
struct UsedNonces {
    by_access_key: HashMap<String, KeyNonces>,
    in_all: usize,
    swept: Duration,
}

/// The nonces of one access key: their digests, and the buckets in which they are
/// forgotten.
#[derive(Default)]
struct KeyNonces {
    seen: HashSet<u128>,
    buckets: VecDeque<Bucket>,
}

struct Bucket {
    began: Duration,
    digests: Vec<u128>,
}

impl Default for Nonces {
    fn default() -> Self {
        Self::bounded(PER_ACCESS_KEY_MAX, IN_ALL_MAX)
    }
}

impl Nonces {
    fn bounded(per_access_key: usize, in_all: usize) -> Self {
        Self { bounds: Bounds { per_access_key, in_all }, used: Mutex::default() }
    }

    /// Uses a nonce, whose signature must have been verified. `elapsed` is the
    /// reading of [`Clock::elapsed`](crate::keys::clock::Clock::elapsed), a clock
    /// that cannot be set forward to have nonces forgotten.
    pub fn use_once(&self, access_key_id: &str, nonce: &str, elapsed: Duration) -> Result<()> {
        let mut used = self.used();
        used.sweep(elapsed);
        let digest = digest(nonce);
        let own = used.by_access_key.get(access_key_id);
        if own.is_some_and(|own| own.seen.contains(&digest)) {
            return Err(Rule::NonceUsed.into());
        }
        let count = own.map_or(0, |own| own.seen.len());
        if count >= self.bounds.per_access_key || used.in_all >= self.bounds.in_all {
            return Err(Rule::TooManyRequests.into());
        }
        used.keep(access_key_id, digest, elapsed);
        Ok(())
    }

    fn used(&self) -> MutexGuard<'_, UsedNonces> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsedNonces {
    fn keep(&mut self, access_key_id: &str, digest: u128, elapsed: Duration) {
        self.in_all += 1;
        if let Some(own) = self.by_access_key.get_mut(access_key_id) {
            return own.keep(digest, elapsed);
        }
        self.by_access_key.entry(access_key_id.to_owned()).or_default().keep(digest, elapsed);
    }

    /// Forgets expired nonces, at most once in the time of a bucket.
    fn sweep(&mut self, elapsed: Duration) {
        if elapsed < self.swept + BUCKET {
            return;
        }
        self.swept = elapsed;
        self.by_access_key.retain(|_, own| {
            self.in_all -= own.forget(elapsed);
            !own.seen.is_empty()
        });
    }
}

impl KeyNonces {
    fn keep(&mut self, digest: u128, elapsed: Duration) {
        self.seen.insert(digest);
        match self.buckets.back_mut() {
            Some(last) if elapsed < last.began + BUCKET => last.digests.push(digest),
            _ => self.buckets.push_back(Bucket { began: elapsed, digests: vec![digest] }),
        }
    }

    /// Forgets buckets whose last nonce has expired, and tells how many nonces
    /// those were.
    fn forget(&mut self, elapsed: Duration) -> usize {
        let before = self.seen.len();
        while let Some(bucket) =
            self.buckets.pop_front_if(|bucket| elapsed > bucket.began + BUCKET + KEPT)
        {
            for digest in bucket.digests {
                self.seen.remove(&digest);
            }
        }
        self.seen.shrink_to(2 * self.seen.len());
        before - self.seen.len()
    }
}

/// 128 bits are enough: a caller who finds two nonces of one digest gains the
/// refusal of a request of their own.
fn digest(nonce: &str) -> u128 {
    let digest: [u8; 32] = Sha256::digest(nonce).into();
    digest.iter().take(16).fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_000);

    fn at(seconds: u64) -> Duration {
        START + Duration::from_secs(seconds)
    }

    fn refusal(outcome: Result<()>) -> Option<Rule> {
        outcome.err().map(|error| error.rule())
    }

    #[test]
    fn a_nonce_is_accepted_once_for_each_access_key() {
        let nonces = Nonces::default();
        assert_eq!(refusal(nonces.use_once("a", "1", at(0))), None);
        assert_eq!(refusal(nonces.use_once("a", "1", at(0))), Some(Rule::NonceUsed));
        assert_eq!(refusal(nonces.use_once("a", "2", at(0))), None);
        assert_eq!(refusal(nonces.use_once("b", "1", at(0))), None);
        assert_eq!(refusal(nonces.use_once("b", "1", at(1))), Some(Rule::NonceUsed));
    }

    #[test]
    fn a_nonce_is_remembered_for_the_whole_window_and_then_forgotten() {
        let nonces = Nonces::default();
        for second in 0..=KEPT.as_secs() {
            // Other nonces are used meanwhile.
            let other = format!("other {second}");
            assert_eq!(refusal(nonces.use_once("a", &other, at(second))), None);
            let outcome = nonces.use_once("a", "other 0", at(second));
            assert_eq!(refusal(outcome), Some(Rule::NonceUsed), "{second}");
        }
        assert_eq!(nonces.used().in_all, usize::try_from(KEPT.as_secs()).unwrap() + 1);
        assert_eq!(refusal(nonces.use_once("b", "1", at(3 * KEPT.as_secs()))), None);
        assert_eq!(nonces.used().in_all, 1);
        assert_eq!(nonces.used().by_access_key.len(), 1);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_forgets_nothing() {
        let nonces = Nonces::default();
        nonces.use_once("a", "1", at(5)).expect("unused");
        nonces.use_once("a", "2", at(0)).expect("unused");
        for nonce in ["1", "2"] {
            let outcome = nonces.use_once("a", nonce, Duration::ZERO);
            assert_eq!(refusal(outcome), Some(Rule::NonceUsed));
        }
    }

    #[test]
    fn when_full_requests_are_refused_and_nothing_is_forgotten() {
        let nonces = Nonces::bounded(2, 3);
        for (key, nonce, refused) in [
            ("a", "1", None),
            ("a", "2", None),
            ("a", "3", Some(Rule::TooManyRequests)),
            ("b", "1", None),
            ("b", "2", Some(Rule::TooManyRequests)),
            ("c", "1", Some(Rule::TooManyRequests)),
            ("a", "1", Some(Rule::NonceUsed)),
            ("b", "1", Some(Rule::NonceUsed)),
        ] {
            assert_eq!(refusal(nonces.use_once(key, nonce, at(0))), refused, "{key} {nonce}");
        }
        let later = at(KEPT.as_secs() + 2 * BUCKET.as_secs());
        assert_eq!(refusal(nonces.use_once("c", "1", later)), None);
    }
}
