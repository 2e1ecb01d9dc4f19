//! Admission: how many requests a principal has in flight, how much of the
//! cryptographic work, and how much in time, so that no principal keeps out the others.

use std::sync::Arc;

use super::limits::Limits;
use crate::access::principal::Principal;
use crate::error::{Result, Rule};
use crate::service::cost;
use crate::service::permits::{Permit, Permits, Share};
use crate::service::quotas::{Quota, Quotas};

/// The permits of all principals.
pub(super) struct Admission {
    quotas: Arc<Quotas>,
    in_flight: Permits<Principal>,
    work: Permits<Principal>,
}

/// One principal's shares of them.
#[derive(Clone)]
pub(super) struct Shares {
    pub(super) quota: Quota,
    pub(super) in_flight: Share,
    pub(super) work: Share,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            quotas: Arc::new(Quotas::new(limits.quota_of_principal, limits.quota)),
            in_flight: Permits::new(limits.in_flight, limits.in_flight_of_principal),
            work: Permits::new(limits.work, limits.work_of_principal),
        }
    }

    pub(super) fn shares_of(&self, principal: &Principal) -> Shares {
        let (in_flight, work) = (self.in_flight.share_of(principal), self.work.share_of(principal));
        Shares { quota: Quota::of(&self.quotas, principal), in_flight, work }
    }
}

impl Shares {
    /// A permit for one more request, or the refusal that tells its caller to come
    /// back. What takes a permission away needs no quota.
    pub(super) fn admit(&self, takes_away: impl FnOnce() -> bool) -> Result<Permit> {
        if let Err(used_up) = self.quota.spend_first(cost::REQUEST)
            && !takes_away()
        {
            return Err(used_up);
        }
        self.in_flight.try_take(1).ok_or_else(|| Rule::TooManyRequests.into())
    }
}
