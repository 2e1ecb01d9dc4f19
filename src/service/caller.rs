//! Who calls, under which request id, until when.

use std::time::Instant;

use crate::access::principal::Principal;
use crate::error::{Result, Rule};

/// One call, as the shared edge has established it. The edge puts one into the
/// extensions of every request; a request without one does not reach a service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who calls; verified.
    pub principal: Principal,
    /// The id of this request in the logs: a correlation id that proves nothing.
    pub request_id: String,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

impl Caller {
    /// Refuses to begin costly work for a caller who has stopped waiting.
    pub fn check_deadline(&self) -> Result<()> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Rule::Deadline.into()) }
    }
}
