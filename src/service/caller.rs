//! What the edge knows of a request before a service sees it.

use std::time::Instant;

use crate::access::principal::Principal;

/// The caller of one request. The server's edge puts one into the extensions
/// of each request that it lets through, so a service that finds none was
/// reached without authentication and must refuse.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who asks, verified by the connection.
    pub principal: Principal,
    /// The correlation id: the caller's `x-request-id`, or ours. Proves nothing.
    pub request_id: String,
    /// When the caller stops waiting, 30 seconds from the request's beginning
    /// at most.
    pub deadline: Instant,
}
