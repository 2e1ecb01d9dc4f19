//! How much of the store refused changes may take: a quota for each service
//! account.
//!
//! A nonce is spent before the change that it is for, and stays for more than an
//! hour. A change that is made pays for it, once. One that is refused, or that finds
//! all as it should be, leaves it behind, so that somebody with an access key could
//! fill the store. An account that has used its quota up may still take permissions
//! away: a share is kept for that.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::access::principal::Principal;
use crate::error::{Error, Result, Rule};

/// Most nonces of changes that were refused, or have no answer yet.
const REFUSED_CHANGES_MAX: usize = 1000;
/// As many more for changes that take a permission away.
const KEPT_FOR_TAKING_AWAY: usize = 200;
/// How long after its signature is past a nonce is erased: two readings of the
/// clock that lie an hour apart, and the pause between two looks.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(62);

/// The times when what refused changes left behind is erased, by caller.
#[derive(Debug, Default)]
pub(super) struct RefusedChanges(Mutex<HashMap<Principal, VecDeque<Timestamp>>>);

/// A change that was begun. It counts as refused until it is made.
#[derive(Debug)]
pub struct BegunChange {
    counted: Arc<RefusedChanges>,
    who: Principal,
    erased_at: Timestamp,
    made: AtomicBool,
}

impl BegunChange {
    /// It was made: it does not count any more. One change can be made of several,
    /// and counted once.
    pub fn made(&self) {
        if !self.made.swap(true, Ordering::Relaxed) {
            self.counted.forget(&self.who, self.erased_at);
        }
    }
}

impl RefusedChanges {
    /// Counts a change that was begun, as if it were refused.
    pub(super) fn begin(
        self: &Arc<Self>,
        who: &Principal,
        now: Timestamp,
        past_at: Timestamp,
        takes_away: bool,
    ) -> Result<BegunChange> {
        let mut all = self.lock();
        // Others' are looked through when one is new, so that none is kept for ever.
        if !all.contains_key(who) {
            all.retain(|_, erased_at| erased_at.back().is_some_and(|last| *last > now));
        }
        let erased_at = all.entry(who.clone()).or_default();
        while erased_at.front().is_some_and(|first| *first <= now) {
            erased_at.pop_front();
        }
        let kept = if takes_away { KEPT_FOR_TAKING_AWAY } else { 0 };
        if erased_at.len() >= REFUSED_CHANGES_MAX + kept {
            let text = "Too many changes of this service account were refused within the last hour. Try again later.";
            return Err(Error::from(Rule::TooManyRequests).saying(text));
        }
        let at = past_at.checked_add(KEPT_FOR).unwrap_or(Timestamp::MAX);
        let position = erased_at.partition_point(|other| *other <= at);
        erased_at.insert(position, at);
        let (counted, who) = (Arc::clone(self), who.clone());
        Ok(BegunChange { counted, who, erased_at: at, made: AtomicBool::new(false) })
    }

    /// Those of one time are alike: it does not matter which of them goes.
    fn forget(&self, who: &Principal, erased_at: Timestamp) {
        if let Some(counted) = self.lock().get_mut(who)
            && let Ok(position) = counted.binary_search(&erased_at)
        {
            counted.remove(position);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Principal, VecDeque<Timestamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::service_account::ServiceAccount;

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + 60 * minute).unwrap()
    }

    fn account(name: &str) -> Principal {
        ServiceAccount::parse(name).unwrap().principal().clone()
    }

    #[test]
    fn refused_changes_are_bounded_for_each_account_until_they_are_erased() {
        let (refused, greedy) = (Arc::new(RefusedChanges::default()), account("greedy"));
        let begin_to = |takes_away, who: &Principal, now| {
            refused.begin(who, minute(now), minute(now + 15), takes_away)
        };
        let begin = |who: &Principal, now| begin_to(false, who, now);
        for _ in 0..REFUSED_CHANGES_MAX {
            begin(&greedy, 0).unwrap();
        }
        assert_eq!(begin(&greedy, 0).unwrap_err().rule(), Rule::TooManyRequests);
        begin(&account("other"), 0).unwrap();
        for _ in 0..KEPT_FOR_TAKING_AWAY {
            begin_to(true, &greedy, 0).unwrap();
        }
        assert_eq!(begin_to(true, &greedy, 0).unwrap_err().rule(), Rule::TooManyRequests);
        assert_eq!(begin(&greedy, 76).unwrap_err().rule(), Rule::TooManyRequests);
        begin(&greedy, 77).unwrap();
        assert_eq!(refused.lock()[&greedy].len(), 1);
        begin(&account("third"), 200).unwrap();
        assert_eq!(refused.lock().len(), 1, "nobody is kept for ever");
    }

    #[test]
    fn changes_that_are_made_are_not_bounded() {
        let (refused, busy) = (Arc::new(RefusedChanges::default()), account("busy"));
        for n in 0..5 * REFUSED_CHANGES_MAX {
            let past_at = minute(15 + i64::try_from(n % 7).unwrap());
            refused.begin(&busy, minute(0), past_at, false).unwrap().made();
        }
        assert!(refused.lock()[&busy].is_empty());
    }

    #[test]
    fn a_change_is_made_once_and_does_not_pay_for_others() {
        let (refused, busy) = (Arc::new(RefusedChanges::default()), account("busy"));
        let begin = |past_at| refused.begin(&busy, minute(0), minute(past_at), false).unwrap();
        let (_refused, made, _later) = (begin(15), begin(15), begin(20));
        for _ in 0..3 {
            made.made();
        }
        let left = |minutes: i64| minute(minutes).checked_add(KEPT_FOR).unwrap();
        assert_eq!(refused.lock()[&busy], [left(15), left(20)]);
        // It is past, and the last of them.
        refused.begin(&busy, minute(100), minute(115), false).unwrap();
        made.made();
        assert_eq!(refused.lock()[&busy], [left(115)]);
    }
}
