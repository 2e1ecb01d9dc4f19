//! How much of the store refused changes may take: a quota for each service
//! account.
//!
//! A nonce is spent before the change that it is for, and stays for more than an
//! hour. A change that is made pays for it. One that is refused leaves it behind, so
//! that somebody with an access key and no permission could fill the store.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::access::principal::Principal;
use crate::error::{Error, Result, Rule};

/// Most nonces of changes that were refused, or have no answer yet.
const REFUSED_CHANGES_MAX: usize = 1000;
/// How long after its signature is past a nonce is erased: two readings of the
/// clock that lie an hour apart, and the pause between two looks.
const KEPT_FOR: SignedDuration = SignedDuration::from_mins(62);

/// The times when what refused changes left behind is erased, by caller.
#[derive(Debug, Default)]
pub(super) struct RefusedChanges(Mutex<HashMap<Principal, VecDeque<Timestamp>>>);

impl RefusedChanges {
    /// Counts a change that was begun, as if it were refused.
    pub(super) fn begin(&self, who: &Principal, now: Timestamp, past_at: Timestamp) -> Result<()> {
        let mut all = self.lock();
        // Others' are looked through when one is new, so that none is kept for ever.
        if !all.contains_key(who) {
            all.retain(|_, erased_at| erased_at.back().is_some_and(|last| *last > now));
        }
        let erased_at = all.entry(who.clone()).or_default();
        while erased_at.front().is_some_and(|first| *first <= now) {
            erased_at.pop_front();
        }
        if erased_at.len() >= REFUSED_CHANGES_MAX {
            let text = "Too many changes of this service account were refused within the last hour. Try again later.";
            return Err(Error::from(Rule::TooManyRequests).saying(text));
        }
        let at = past_at.checked_add(KEPT_FOR).unwrap_or(Timestamp::MAX);
        let position = erased_at.partition_point(|other| *other <= at);
        erased_at.insert(position, at);
        Ok(())
    }

    /// A change was made: it was not refused.
    pub(super) fn made(&self, who: &Principal) {
        if let Some(erased_at) = self.lock().get_mut(who) {
            erased_at.pop_back();
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
        let (refused, greedy) = (RefusedChanges::default(), account("greedy"));
        let begin = |who: &Principal, now| refused.begin(who, minute(now), minute(now + 15));
        for _ in 0..REFUSED_CHANGES_MAX {
            begin(&greedy, 0).unwrap();
        }
        assert_eq!(begin(&greedy, 0).unwrap_err().rule(), Rule::TooManyRequests);
        begin(&account("other"), 0).unwrap();
        assert_eq!(begin(&greedy, 76).unwrap_err().rule(), Rule::TooManyRequests);
        begin(&greedy, 77).unwrap();
        assert_eq!(refused.lock()[&greedy].len(), 1);
        begin(&account("third"), 200).unwrap();
        assert_eq!(refused.lock().len(), 1, "nobody is kept for ever");
    }

    #[test]
    fn changes_that_are_made_are_not_bounded() {
        let (refused, busy) = (RefusedChanges::default(), account("busy"));
        for _ in 0..5 * REFUSED_CHANGES_MAX {
            refused.begin(&busy, minute(0), minute(15)).unwrap();
            refused.made(&busy);
        }
        refused.made(&account("nobody"));
    }
}
