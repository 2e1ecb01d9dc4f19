//! The record of a request: a span around all that is done for it, and a line at
//! its end.
//!
//! Every line of the log that is written in between bears the fields of the span:
//! request id, RPC or action, principal, the proxy that it came by, peer. Nothing else of a request is in
//! either: no content, no target over HTTP, no header.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Request};
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::identity::Identity;
use super::peer::Peer;
use super::request_id::{RequestId, X_REQUEST_ID};
use super::stranger_log::{self, RefusalKind};
use crate::access::principal::Principal;
use crate::error::{Error, Rule, code_name};

/// The most that is recorded of an RPC's path, which may be anything.
const RPC_MAX_BYTES: usize = 128;

/// The record of one request. Dropped before its end, it records that the caller
/// left.
pub(super) struct RequestRecord {
    request_id: RequestId,
    span: Span,
    peer: Arc<str>,
    began: Instant,
    /// The kind of its refusal, while nobody knows whose it is.
    stranger: Option<RefusalKind>,
    /// Why it was refused, where the caller is not told.
    why: Option<String>,
    ended: bool,
}

/// How a request ended.
pub(super) struct RequestOutcome<'a> {
    pub(super) code: Code,
    /// Why it was refused.
    pub(super) reason: Option<&'a str>,
    /// The status of the answer over HTTP.
    pub(super) http_status: Option<u16>,
}

impl RequestOutcome<'_> {
    /// The end of a request over HTTP; the rule is the one that was broken.
    pub(super) fn over_http(status: http::StatusCode, broken: Option<Rule>) -> Self {
        Self {
            code: broken.map_or(Code::Ok, Rule::code),
            reason: broken.map(Rule::reason),
            http_status: Some(status.as_u16()),
        }
    }
}

impl RequestRecord {
    /// Of a request over gRPC. Takes the caller's request id out of its headers.
    pub(super) fn of_rpc<B>(
        request: &mut Request<B>,
        identity: Option<&Identity>,
        peer: &Peer,
    ) -> Self {
        let given = RequestId::from_header(request.headers_mut().remove(X_REQUEST_ID));
        let request_id = given.unwrap_or_else(RequestId::new);
        let path = request.uri().path();
        let rpc = path.get(..path.floor_char_boundary(RPC_MAX_BYTES)).unwrap_or_default();
        // At the level of errors, or the span would be off where the log is for
        // warnings alone.
        let span = tracing::error_span!(
            parent: None,
            "request",
            request_id = request_id.as_str(),
            rpc,
            principal = identity.map(|identity| identity.principal.as_str()),
            by = identity.and_then(|identity| identity.by.as_ref()).map(Principal::as_str),
            peer = &**peer.address(),
        );
        let stranger = identity.is_none().then_some(RefusalKind::Rpc);
        Self::begin(request_id, span, peer, stranger)
    }

    /// Of a request through the HTTP front door. The header stays: it may be
    /// signed. Action and principal are known once the signature is verified.
    pub(super) fn of_action(headers: &HeaderMap, peer: &Peer) -> Self {
        let given = RequestId::from_header(headers.get(X_REQUEST_ID).cloned());
        let request_id = given.unwrap_or_else(RequestId::new);
        let span = tracing::error_span!(
            parent: None,
            "request",
            request_id = request_id.as_str(),
            action = Empty,
            principal = Empty,
            peer = &**peer.address(),
        );
        Self::begin(request_id, span, peer, Some(RefusalKind::Action))
    }

    fn begin(
        request_id: RequestId,
        span: Span,
        peer: &Peer,
        stranger: Option<RefusalKind>,
    ) -> Self {
        let (peer, began) = (peer.address().clone(), Instant::now());
        Self { request_id, span, peer, began, stranger, why: None, ended: false }
    }

    /// Adds what a verified signature shows.
    pub(super) fn verified(&mut self, action: Option<&'static str>, principal: &Principal) {
        self.stranger = None;
        self.span.record("action", action);
        self.span.record("principal", principal.as_str());
    }

    /// Adds why it is refused, for the log alone.
    pub(super) fn refused(&mut self, error: &Error) {
        if !error.rule().is_ours() {
            self.why = error.log().map(str::to_owned);
        }
    }

    pub(super) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// The address of the other end of its connection.
    pub(super) const fn peer(&self) -> &Arc<str> {
        &self.peer
    }

    /// The span, for all that is done for the request.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Whether nobody knows whose it is.
    pub(super) const fn is_strangers(&self) -> bool {
        self.stranger.is_some()
    }

    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    /// The end of the request.
    pub(super) fn end(mut self, outcome: &RequestOutcome<'_>) {
        self.log(outcome);
    }

    fn log(&mut self, outcome: &RequestOutcome<'_>) {
        self.ended = true;
        if self.stranger.is_some_and(|kind| !stranger_log::has_room(kind)) {
            return;
        }
        let RequestOutcome { code, reason, http_status } = *outcome;
        let us = || u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "keyferry::rpc",
                    parent: &self.span,
                    code = code_name(code),
                    reason,
                    why = self.why.as_deref(),
                    status = http_status,
                    us = us(),
                )
            };
        }
        match code {
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable => line!(error),
            // A line for each success would cost more than most successes do.
            // Changes of keys log lines of their own.
            Code::Ok => line!(debug),
            _ => line!(info),
        }
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if !self.ended {
            let code = Code::Cancelled;
            self.log(&RequestOutcome { code, reason: Some("the caller left"), http_status: None });
        }
    }
}
