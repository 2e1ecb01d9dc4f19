//! One request over HTTP: the same order of judgement as over gRPC, with a
//! signature in the place of what the connection proves.
//!
//! The caller is known only when the request has been read whole, so that reading
//! has permits and a time limit of its own. Nothing of a request's target, headers
//! or body is logged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use prost::bytes::Bytes;

use super::admission::{Admission, Shares};
use super::connections::TrackedConnection;
use super::deadline::bounded;
use super::health::Health;
use super::leftover;
use super::limits::Limits;
use super::record::{RequestOutcome, RequestRecord};
use super::response::{self, Response};
use super::stranger_log::{self, RefusalKind};
use super::unverified::Unverified;
use crate::access::token_groups::TokenGroups;
use crate::error::{Result, Rule};
use crate::gateway::{DESCRIPTION, Gateway, RECEIPT_KEYS, Seen};
use crate::service::caller::Caller;

/// The faults are in the log: this is for anybody.
const POLICIES_NOT_USABLE: &str = "ready\nthe policies on the disk are not usable: those before them decide, and the log says why\n";

const NO_AUDIT: &str =
    "not ready\nthe audit log cannot be written, so that nothing is answered: the log says why\n";

/// The HTTP front door. Clones share it.
#[derive(Clone)]
pub(super) struct FrontDoor {
    gateway: Gateway,
    health: Health,
    unverified: Arc<Unverified>,
    admission: Arc<Admission>,
    deadline: Duration,
    body: Duration,
}

impl FrontDoor {
    pub(super) fn new(
        gateway: Gateway,
        health: Health,
        limits: &Limits,
        admission: Arc<Admission>,
    ) -> Self {
        let unverified = Arc::new(Unverified::new(limits));
        let (deadline, body) = (limits.deadline, limits.body);
        Self { gateway, health, unverified, admission, deadline, body }
    }

    /// The answer to a request that anybody may make, without a signature. It is
    /// not recorded.
    pub(super) fn public_answer(&self, request: &Request<Incoming>) -> Option<Response> {
        let answer = match request.uri().path() {
            "/healthz" => plain(StatusCode::OK, "alive\n"),
            "/readyz" if self.health.is_ready() && self.health.has_policies_of_disk() => {
                plain(StatusCode::OK, "ready\n")
            }
            "/readyz" if self.health.is_ready() => plain(StatusCode::OK, POLICIES_NOT_USABLE),
            "/readyz" if !self.health.has_audit() => {
                plain(StatusCode::SERVICE_UNAVAILABLE, NO_AUDIT)
            }
            "/readyz" => plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            DESCRIPTION => self.gateway.description(),
            _ => return None,
        };
        Some(response::of_front_door(to_read_alone(request.method(), answer)))
    }

    /// The answer to a request for the public keys of receipts, if it is one. These too
    /// are for anybody, and may have to be read from the store, once.
    pub(super) fn receipt_keys(
        &self,
        request: &Request<Incoming>,
    ) -> Option<impl Future<Output = Response> + Send + use<>> {
        if request.uri().path() != RECEIPT_KEYS {
            return None;
        }
        let (gateway, method) = (self.gateway.clone(), request.method().clone());
        Some(async move {
            let answer = gateway.receipt_keys().await.unwrap_or_else(|error| {
                if stranger_log::has_room(RefusalKind::Action) {
                    error.log_ours();
                }
                plain(StatusCode::SERVICE_UNAVAILABLE, "the keys cannot be read now\n")
            });
            response::of_front_door(to_read_alone(&method, answer))
        })
    }

    /// The answer to a signed request.
    pub(super) async fn answer(
        self,
        mut record: RequestRecord,
        tracked: Arc<TrackedConnection>,
        request: Request<Incoming>,
    ) -> Response {
        let mut seen = Seen::of(&request, record.request_id().as_str());
        let (head, mut body) = request.into_parts();
        let waits_to_be_asked = leftover::waits_to_be_asked(&head.headers);
        let request = Request::from_parts(head, &mut body);
        let (answer, broken) = match self.act(&mut record, &tracked, &mut seen, request).await {
            Ok(answer) => (answer, None),
            Err(error) => {
                if !record.is_strangers() || stranger_log::has_room(RefusalKind::Action) {
                    error.log_ours();
                }
                // A body that did not come in time is not waited for again.
                if error.rule() != Rule::DeadlinePassed {
                    leftover::drain(waits_to_be_asked, &mut body).await;
                }
                (self.gateway.refusal(&error, &seen), Some(error.rule()))
            }
        };
        record.end(&RequestOutcome::over_http(answer.status(), broken));
        response::of_front_door(answer)
    }

    async fn act(
        &self,
        record: &mut RequestRecord,
        tracked: &TrackedConnection,
        seen: &mut Seen,
        request: Request<&mut Incoming>,
    ) -> Result<http::Response<Bytes>> {
        let deadline = record.began() + self.deadline;
        let read_by = deadline.min(Instant::now() + self.body);
        let reading = bounded(deadline, self.gateway.authenticate(request, read_by, seen));
        let call = self.unverified.read(tracked, reading).await?;
        let principal = call.principal().clone();
        record.verified(seen.action(), &principal);
        tracked.set_known();
        let shares = self.admission.shares_of(&principal);
        let permit = Some(Arc::new(shares.admit(|| seen.takes_away())?));
        let request_id = record.request_id().as_str().to_owned();
        let Shares { quota, work, .. } = shares;
        let caller = Caller {
            principal,
            by: None,
            peer: Some(record.peer().clone()),
            groups: TokenGroups::default(),
            request_id,
            deadline,
            quota,
            work,
            permit,
            begun: None,
        };
        bounded(deadline, self.gateway.act(call, caller, seen)).await
    }
}

/// An answer as RFC 9110 (9.3.2, 15.5.6) has it for a resource that is only read.
fn to_read_alone(method: &Method, mut answer: http::Response<Bytes>) -> http::Response<Bytes> {
    if *method == Method::GET {
        return answer;
    }
    if *method == Method::HEAD {
        let length = HeaderValue::from(answer.body().len());
        answer.headers_mut().insert(header::CONTENT_LENGTH, length);
        return answer.map(|_| Bytes::new());
    }
    let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are allowed here\n");
    refusal.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    refusal
}

fn plain(status: StatusCode, text: &'static str) -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}
