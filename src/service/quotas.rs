//! Quotas: how much principals may ask for in time, by cost.
//!
//! Each quota is a bucket of units that fills at a rate (GCRA, ITU-T I.371): what was not
//! used may be used at once, up to a burst. A request costs one unit, its cryptography
//! and its changes more (`cost.rs`). Quotas bound what is asked for over time; permits
//! (`permits.rs`) bound what is done at once. Each replica counts for itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, InsufficientCapacity, RateLimiter};

use super::cost;
use crate::access::principal::Principal;
use crate::error::{Error, Result, Rule};
use crate::rate::{LEAST_BURST, Rate};

/// A full bucket is forgotten, as it is like a new one. It is looked for after so many
/// requests.
const REQUESTS_BETWEEN_SWEEPS: u32 = 4096;

/// The quotas of all principals.
#[derive(Debug, Default)]
pub struct Quotas {
    of_principal: Option<Buckets>,
    total: Option<DefaultDirectRateLimiter>,
    clock: DefaultClock,
    asked: AtomicU32,
}

type Buckets = RateLimiter<Principal, HashMapStateStore<Principal>, DefaultClock>;

/// A principal's quota. Clones are the same quota.
#[derive(Clone, Debug)]
pub struct Quota {
    quotas: Arc<Quotas>,
    principal: Principal,
    /// Whether its requests wait for units, or are refused.
    is_patient: bool,
}

fn bucket(rate: Rate) -> governor::Quota {
    governor::Quota::per_second(rate.per_second).allow_burst(rate.burst.max(LEAST_BURST))
}

impl Quotas {
    /// Of each principal, and of all together; without a rate there is no bound.
    #[must_use]
    pub fn new(of_principal: Option<Rate>, total: Option<Rate>) -> Self {
        Self {
            of_principal: of_principal.map(|rate| RateLimiter::hashmap(bucket(rate))),
            total: total.map(|rate| RateLimiter::direct(bucket(rate))),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        }
    }

    /// Uses so many units, if they are there; else gives the time until they are. The
    /// principal's own come first, so that one who has none takes none of the others'.
    fn take(&self, principal: &Principal, units: Units) -> Result<(), Duration> {
        if let Some(buckets) = &self.of_principal {
            if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(REQUESTS_BETWEEN_SWEEPS) {
                buckets.retain_recent();
            }
            self.take_from(|number| buckets.check_key_n(principal, number), units)?;
        }
        match &self.total {
            Some(total) => self.take_from(|number| total.check_n(number), units),
            None => Ok(()),
        }
    }

    fn take_from(
        &self,
        bucket: impl Fn(NonZeroU32) -> Result<Taken, InsufficientCapacity>,
        Units { at_once, before }: Units,
    ) -> Result<(), Duration> {
        if let Ok(Ok(())) = bucket(at_once) {
            return Ok(());
        }
        match bucket(at_once.saturating_add(before)) {
            Ok(Err(until)) => Err(until.wait_time_from(self.clock.now())),
            // They have come meanwhile.
            Ok(Ok(())) => Ok(()),
            // No bucket is so small: it would be a fault of ours.
            Err(_) => Err(Duration::from_secs(1)),
        }
    }
}

/// What a bucket says.
type Taken = Result<(), governor::NotUntil<<DefaultClock as Clock>::Instant>>;

/// The units of one step of a request.
#[derive(Clone, Copy)]
struct Units {
    at_once: NonZeroU32,
    /// Those that a retry uses before it comes to this step: they must be there too, or
    /// the time to wait were never long enough.
    before: u32,
}

impl Quota {
    /// The quota of a principal, whose requests are refused when it is used up.
    #[must_use]
    pub fn of(quotas: &Arc<Quotas>, principal: &Principal) -> Self {
        Self { quotas: quotas.clone(), principal: principal.clone(), is_patient: false }
    }

    /// The same quota, for the items of a stream, which wait for units.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// Uses the units of a request before anything else of it is done, or refuses and says
    /// when they are there.
    pub fn spend_first(&self, units: u32) -> Result<()> {
        let Some(at_once) = NonZeroU32::new(units) else { return Ok(()) };
        self.quotas.take(&self.principal, Units { at_once, before: 0 }).map_err(used_up)
    }

    /// Uses so many units. Where they are not there, the items of a stream wait for them
    /// until a deadline.
    pub async fn spend(&self, units: u32, deadline: Instant) -> Result<()> {
        let Some(at_once) = NonZeroU32::new(units) else { return Ok(()) };
        let before = if self.is_patient { 0 } else { cost::BEFORE };
        let units = Units { at_once, before };
        loop {
            let Err(wait) = self.quotas.take(&self.principal, units) else { return Ok(()) };
            if !self.is_patient || Instant::now() + wait > deadline {
                return Err(used_up(wait));
            }
            tokio::time::sleep(wait).await;
        }
    }
}

fn used_up(wait: Duration) -> Error {
    // A wait of no time at all would be an invitation to come back at once.
    let wait = wait.max(Duration::from_millis(1));
    let milliseconds = wait.as_millis();
    Error::from(Rule::TooManyRequests)
        .saying(format!("The quota is used up: try again in {milliseconds} ms."))
        .retrying_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second: NonZeroU32::new(per_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    fn quota(quotas: &Arc<Quotas>, uid: u32) -> Quota {
        Quota::of(quotas, &Principal::unix(uid))
    }

    #[test]
    fn a_principal_that_has_used_its_units_is_refused_and_told_when_they_are_there() {
        let quotas = Arc::new(Quotas::new(Some(rate(1, 4000)), None));
        let (one, other) = (quota(&quotas, 1), quota(&quotas, 2));
        one.spend_first(2000).unwrap();
        one.spend_first(1999).unwrap();
        let refused = one.spend_first(101).unwrap_err();
        assert_eq!(refused.rule(), Rule::TooManyRequests);
        let wait = refused.retry_after().unwrap();
        assert!((98..=100).contains(&wait.as_secs()), "{wait:?}");
        other.spend_first(4000).unwrap();
    }

    #[test]
    fn all_together_have_a_quota_too_and_one_without_units_takes_none_of_it() {
        let quotas = Arc::new(Quotas::new(Some(rate(1, 2100)), Some(rate(1, 5000))));
        quota(&quotas, 1).spend_first(2100).unwrap();
        for _ in 0..100 {
            quota(&quotas, 1).spend_first(500).unwrap_err();
        }
        quota(&quotas, 2).spend_first(2000).unwrap();
        quota(&quotas, 3).spend_first(900).unwrap();
        let refused = quota(&quotas, 4).spend_first(1000).unwrap_err();
        assert!(refused.retry_after().unwrap() > Duration::from_secs(890));
    }

    #[test]
    fn the_most_costly_operation_fits_into_the_smallest_bucket() {
        let quotas = Arc::new(Quotas::new(Some(rate(1, 1)), None));
        quota(&quotas, 1).spend_first(LEAST_BURST.get()).unwrap();
    }

    /// What a retry uses on its way is part of the wait, or it would come too early for
    /// ever.
    #[tokio::test]
    async fn a_retry_after_the_wait_comes_through() {
        let quotas = Arc::new(Quotas::new(Some(rate(10_000, 1)), None));
        let quota = quota(&quotas, 1);
        let soon = Instant::now() + Duration::from_secs(30);
        let request = async || {
            quota.spend_first(cost::REQUEST)?;
            quota.spend(cost::CHANGE, soon).await?;
            quota.spend(cost::RSA_GENERATION, soon).await
        };
        for _ in 0..5 {
            // Each step may be refused once, as none knows what the next one costs.
            let mut refused = 0;
            while let Err(used_up) = request().await {
                refused += 1;
                assert!(refused <= 3, "{used_up:?}");
                tokio::time::sleep(used_up.retry_after().unwrap()).await;
            }
        }
    }

    #[test]
    fn without_a_rate_there_is_no_bound() {
        let quotas = Arc::new(Quotas::default());
        for _ in 0..1000 {
            quota(&quotas, 1).spend_first(u32::MAX).unwrap();
        }
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let quotas = Arc::new(Quotas::new(Some(rate(1_000_000, 2100)), None));
        for uid in 0..3 * REQUESTS_BETWEEN_SWEEPS {
            quota(&quotas, uid).spend_first(1).unwrap();
        }
        let kept = quotas.of_principal.as_ref().unwrap().len();
        assert!(kept <= 2 * REQUESTS_BETWEEN_SWEEPS as usize, "{kept}");
    }

    #[tokio::test]
    async fn items_of_a_stream_wait_for_units_until_their_deadline() {
        let quotas = Arc::new(Quotas::new(Some(rate(1000, 2100)), None));
        let patient = quota(&quotas, 1).patient();
        let soon = || Instant::now() + Duration::from_secs(30);
        patient.spend(2100, soon()).await.unwrap();
        let begun = Instant::now();
        patient.spend(100, soon()).await.unwrap();
        assert!(begun.elapsed() > Duration::from_millis(50), "it waited");
        patient.spend(2000, Instant::now()).await.unwrap_err();
        quota(&quotas, 1).spend(2000, soon()).await.unwrap_err();
    }
}
