//! One request over HTTP: the same order of judgement as over gRPC, with a
//! signature in the place of what the connection proves.
//!
//! Whose a request is shows only when it has been read whole, so that reading has
//! places and a time limit of its own. Nothing of its target, headers or body is
//! logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use super::edge::bounded;
use super::health::Health;
use super::outcome::{Outcome, Record};
use crate::error::{Error, Result, Rule};
use crate::gateway::{DESCRIPTION, Gateway, Seen};
use crate::service::caller::Caller;

/// The HTTP front door, shared by all connections.
#[derive(Clone)]
pub(super) struct FrontDoor {
    gateway: Gateway,
    health: Health,
    unverified: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
    deadline: Duration,
    body: Duration,
}

impl FrontDoor {
    pub(super) fn new(
        gateway: Gateway,
        health: Health,
        limits: &Limits,
        in_flight: Arc<Semaphore>,
    ) -> Self {
        let unverified = Arc::new(Semaphore::new(limits.unverified));
        let (deadline, body) = (limits.deadline, limits.body);
        Self { gateway, health, unverified, in_flight, deadline, body }
    }

    /// The answer to one request. Dropped before it is ready, the caller has left.
    pub(super) async fn answer(
        self,
        mut record: Record,
        request: Request<Incoming>,
    ) -> Response<Outcome> {
        if let Some(told) = self.told_to_anybody(&request) {
            return record.untold(told);
        }
        let mut seen = Seen::of(&request, record.request_id());
        match self.judge(&mut record, &mut seen, request).await {
            Ok(response) => record.replied(response, None),
            Err(error) => {
                record.know_action(seen.action());
                error.log_ours(record.request_id());
                record.replied(self.gateway.refusal(&error, &seen), Some(error.rule()))
            }
        }
    }

    /// What needs no signature, as it tells nothing of anybody.
    fn told_to_anybody(&self, request: &Request<Incoming>) -> Option<Response<Bytes>> {
        if request.method() != Method::GET {
            return None;
        }
        match request.uri().path() {
            "/healthz" => Some(plain(StatusCode::OK, "alive\n")),
            "/readyz" if self.health.is_ready() => Some(plain(StatusCode::OK, "ready\n")),
            "/readyz" => Some(plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")),
            DESCRIPTION => Some(self.gateway.description()),
            _ => None,
        }
    }

    async fn judge(
        &self,
        record: &mut Record,
        seen: &mut Seen,
        request: Request<Incoming>,
    ) -> Result<Response<Bytes>> {
        let deadline = record.started() + self.deadline;
        let call = {
            let _place = place(&self.unverified)?;
            let read_by = deadline.min(Instant::now() + self.body);
            bounded(deadline, self.gateway.authenticate(request, read_by, seen)).await?
        };
        let principal = call.principal().clone();
        record.know(principal.clone());
        record.know_action(seen.action());
        let _place = place(&self.in_flight)?;
        let caller = Caller { principal, request_id: record.request_id().to_owned(), deadline };
        bounded(deadline, self.gateway.act(call, &caller, seen)).await
    }
}

fn place(among: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    among.clone().try_acquire_owned().map_err(|_| Error::from(Rule::TooManyRequests))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
