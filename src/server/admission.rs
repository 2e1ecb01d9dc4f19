//! Admission: how many requests a principal has in flight, and how much of the
//! cryptographic work, so that no principal keeps out the others.

use super::limits::Limits;
use crate::access::principal::Principal;
use crate::error::{Result, Rule};
use crate::service::permits::{Permit, Permits, Share};

/// The permits of all principals.
pub(super) struct Admission {
    in_flight: Permits<Principal>,
    work: Permits<Principal>,
}

/// One principal's shares of them.
pub(super) struct Shares {
    pub(super) in_flight: Share,
    pub(super) work: Share,
}

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            in_flight: Permits::new(limits.in_flight, limits.in_flight_of_principal),
            work: Permits::new(limits.work, limits.work_of_principal),
        }
    }

    pub(super) fn shares_of(&self, principal: &Principal) -> Shares {
        let (in_flight, work) = (self.in_flight.share_of(principal), self.work.share_of(principal));
        Shares { in_flight, work }
    }
}

impl Shares {
    /// A permit for one more request, or the refusal that tells its caller to come
    /// back.
    pub(super) fn admit(&self) -> Result<Permit> {
        self.in_flight.try_take(1).ok_or_else(|| Rule::TooManyRequests.into())
    }
}
