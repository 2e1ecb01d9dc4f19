//! The caller of a request, its id and deadline; and the connection that it came
//! by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cost::Cost;
use super::permits::{Permit, Share};
use super::quotas::Quota;
use crate::access::principal::Principal;
use crate::access::token_groups::TokenGroups;
use crate::error::{Result, Rule};
use crate::keys::access_keys::refused_changes::BegunChange;

/// One call, as the shared edge has established it. The edge puts one into the
/// extensions of every request; a request without one does not reach a service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The caller's principal; verified.
    pub principal: Principal,
    /// The proxy that vouched for it.
    pub by: Option<Principal>,
    /// The address of the other end of its connection.
    pub peer: Option<Arc<str>>,
    /// The groups that its token names.
    pub groups: TokenGroups,
    /// The id of this request in the logs: a correlation id that proves nothing.
    pub request_id: String,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// The principal's quota.
    pub quota: Quota,
    /// The principal's share of the cryptographic work that is done at once.
    pub work: Share,
    /// The permit among the requests in flight, which is taken until all that was begun
    /// for this call is done, whether its caller waits for that or not. The items of a
    /// stream take one each.
    pub permit: Option<Arc<Permit>>,
    /// The change that it began, where its nonce is in the store until long after.
    pub begun: Option<Arc<BegunChange>>,
}

impl Caller {
    /// Refuses to begin costly work for a caller who has stopped waiting.
    pub fn check_deadline(&self) -> Result<()> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Rule::DeadlinePassed.into()) }
    }

    /// Uses so many units of the principal's quota.
    pub(super) async fn spend(&self, units: u32) -> Result<()> {
        self.quota.spend(units, self.deadline).await
    }

    /// Uses the quota, and waits until work of this cost may begin, as long as the caller does. The work
    /// keeps the permit until it is done. Only one is asked for at a time, so that
    /// nobody waits for what they hold.
    pub async fn admit(&self, cost: Cost) -> Result<Permit> {
        self.spend(cost.weight()).await?;
        if let Some(permit) = self.work.try_take(cost.weight()) {
            return Ok(permit);
        }
        let waiting = Box::pin(self.work.take(cost.weight()));
        let waited = tokio::time::timeout_at(self.deadline.into(), waiting).await;
        waited.map_err(|_| Rule::DeadlinePassed)?
    }
}

/// The connection that a call came by. A stream outlives what was judged when it
/// began, and asks again for each of its items. The edge puts one, in an `Arc`,
/// beside the [`Caller`] of a stream.
#[tonic::async_trait]
pub trait Connection: Send + Sync + 'static {
    /// The caller, by credentials that are judged anew.
    fn principal(&self) -> Result<Principal>;
    /// When work that begins now must be done.
    fn deadline(&self) -> Instant;
    /// Uses a unit of the caller's quota, and waits for a permit among its requests in
    /// flight.
    async fn admit(&self) -> Result<Permit>;
    /// How long a peer may send nothing, or take nothing.
    fn idle_limit(&self) -> Duration;
    /// Returns when the server stops.
    async fn stopping(&self);
}
