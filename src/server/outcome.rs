//! The end of every request: one answer in the contract's form, one log line.
//!
//! Our services answer with details of their own. What tonic answers by itself
//! has none: a message too long, bytes that are no message, an unknown RPC.
//! Those are given the contract's code, reason and request id here, so that no
//! error leaves the server without them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use prost::bytes::Bytes;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use uuid::Uuid;

use super::connection::SharedPeer;
use crate::access::principal::Principal;
use crate::error::{DOMAIN, Error, Rule, code_name};

/// The header of the correlation id.
const REQUEST_ID: &str = "x-request-id";

type Data = <Body as http_body::Body>::Data;

/// What is logged of one request, and never any of its content. Dropped before
/// its end is known, it logs that the caller left.
pub(super) struct Record {
    request_id: RequestId,
    asked: Asked,
    peer: SharedPeer,
    principal: Option<Principal>,
    started: Instant,
    logged: bool,
}

/// What is asked for.
enum Asked {
    /// The RPC of this path.
    Rpc(Uri),
    /// The action, once it is known to be one: a target may hold anything.
    Action(Option<&'static str>),
}

impl Asked {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Rpc(uri) => Some(uri.path().get(..128).unwrap_or(uri.path())),
            Self::Action(action) => *action,
        }
    }
}

/// A correlation id, as a header: 1 to 64 characters of `[A-Za-z0-9._-]`.
struct RequestId(HeaderValue);

impl RequestId {
    fn given(header: Option<HeaderValue>) -> Option<Self> {
        header.filter(|given| Self::fits(given.as_bytes())).map(Self)
    }

    fn fits(given: &[u8]) -> bool {
        (1..=64).contains(&given.len())
            && given.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }

    fn new() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::new_v4().as_hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none")))
    }

    /// As the API writes its own.
    fn new_upper_case() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::new_v4().as_hyphenated().encode_upper(&mut text);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none")))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl Record {
    /// Of a request over gRPC.
    pub(super) fn of_rpc<B>(request: &mut Request<B>, peer: SharedPeer) -> Self {
        let id = RequestId::given(request.headers_mut().remove(REQUEST_ID));
        Self::begin(id.unwrap_or_else(RequestId::new), Asked::Rpc(request.uri().clone()), peer)
    }

    /// Of a request through the HTTP front door. The header stays: it may be
    /// signed.
    pub(super) fn of_action<B>(request: &Request<B>, peer: SharedPeer) -> Self {
        let id = RequestId::given(request.headers().get(REQUEST_ID).cloned());
        Self::begin(id.unwrap_or_else(RequestId::new_upper_case), Asked::Action(None), peer)
    }

    fn begin(request_id: RequestId, asked: Asked, peer: SharedPeer) -> Self {
        let started = Instant::now();
        Self { request_id, asked, peer, principal: None, started, logged: false }
    }

    pub(super) fn know(&mut self, principal: Principal) {
        self.principal = Some(principal);
    }

    /// The action that is asked for.
    pub(super) fn know_action(&mut self, action: Option<&'static str>) {
        self.asked = Asked::Action(action);
    }

    pub(super) fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    pub(super) const fn started(&self) -> Instant {
        self.started
    }

    /// The answer that the edge gives in a service's place.
    pub(super) fn refused(self, error: Error) -> Response<Outcome> {
        let status = error.into_status(self.request_id());
        self.only_trailers(status)
    }

    /// The answer that a service gave.
    pub(super) fn answered(self, mut response: Response<Body>) -> Response<Outcome> {
        if response.headers().contains_key(Status::GRPC_STATUS) {
            let status = match response.extensions_mut().remove::<Status>() {
                Some(status) => status,
                None => Status::from_header_map(response.headers())
                    .unwrap_or_else(|| Status::internal("")),
            };
            let status = ours(status, Maker::Request, self.request_id());
            return self.only_trailers(status);
        }
        response.headers_mut().insert(REQUEST_ID, self.request_id.0.clone());
        response.map(|body| Outcome { body, record: Some(self) })
    }

    /// The answer that the HTTP front door gave: with a rule, for it was broken.
    pub(super) fn replied(
        mut self,
        response: Response<Bytes>,
        broken: Option<Rule>,
    ) -> Response<Outcome> {
        let (code, reason) = broken.map_or((Code::Ok, None), |r| (r.code(), Some(r.reason())));
        self.log_with(code, reason, Some(response.status().as_u16()));
        response.map(Outcome::whole)
    }

    /// An answer that is not worth a line.
    pub(super) fn untold(mut self, response: Response<Bytes>) -> Response<Outcome> {
        self.logged = true;
        response.map(Outcome::whole)
    }

    fn only_trailers(mut self, status: Status) -> Response<Outcome> {
        self.log(status.code(), reason(&status).as_deref());
        let mut response = status.into_http::<Body>();
        response.headers_mut().insert(REQUEST_ID, self.request_id.0.clone());
        response.map(|body| Outcome { body, record: None })
    }

    fn log(&mut self, code: Code, reason: Option<&str>) {
        self.log_with(code, reason, None);
    }

    fn log_with(&mut self, code: Code, reason: Option<&str>, status: Option<u16>) {
        self.logged = true;
        let us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let principal = self.principal.as_ref().map(tracing::field::display);
        let peer = &self.peer.address;
        let method = self.asked.name();
        let request_id = self.request_id();
        let (answer, code) = (code, code_name(code));
        match answer {
            Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable => {
                tracing::error!(target: "keyferry::rpc", request_id, principal, method, code, reason, status, us, %peer);
            }
            // A line for each success would cost more than most successes do.
            // Changes of keys log lines of their own.
            Code::Ok => {
                tracing::debug!(target: "keyferry::rpc", request_id, principal, method, code, reason, status, us, %peer);
            }
            _ => {
                tracing::info!(target: "keyferry::rpc", request_id, principal, method, code, reason, status, us, %peer);
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.logged {
            self.log(Code::Cancelled, Some("the caller left"));
        }
    }
}

/// A response's body, watched for its status.
pub(super) struct Outcome {
    body: Body,
    /// There until the status is known.
    record: Option<Record>,
}

impl Outcome {
    pub(super) fn empty() -> Self {
        Self { body: Body::empty(), record: None }
    }

    fn whole(bytes: Bytes) -> Self {
        Self { body: Body::new(Full::new(bytes)), record: None }
    }

    fn end(&mut self, trailers: &mut HeaderMap) {
        let Some(mut record) = self.record.take() else { return };
        let code = trailers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
        if code == Some(Code::Ok) {
            return record.log(Code::Ok, None);
        }
        let status = Status::from_header_map(trailers).unwrap_or_else(|| Status::internal(""));
        let status = ours(status, Maker::Response, record.request_id());
        record.log(status.code(), reason(&status).as_deref());
        trailers.clear();
        // It cannot fail: the message was a header's already, or is ours.
        let _ = status.add_header(trailers);
    }

    fn panicked(&mut self) -> Frame<Data> {
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        self.end(&mut trailers);
        Frame::trailers(trailers)
    }
}

impl http_body::Body for Outcome {
    type Data = Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Data>, Status>>> {
        // Unwind safety: after a panic the body is dropped and never polled.
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.body).poll_frame(cx)));
        let Ok(polled) = polled else { return Poll::Ready(Some(Ok(self.panicked()))) };
        let frame = match std::task::ready!(polled) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        match frame.into_trailers() {
            Ok(mut trailers) => {
                self.end(&mut trailers);
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Err(frame) => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What tonic was at when it made a status of its own.
#[derive(Clone, Copy)]
enum Maker {
    /// Reading a request, before any answer.
    Request,
    /// Writing a response.
    Response,
}

/// The status with our details; the contract's status in place of tonic's own.
fn ours(status: Status, maker: Maker, request_id: &str) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let error = match (status.code(), maker) {
        (Code::OutOfRange, _) => Rule::RequestTooLarge.into(),
        (Code::Unimplemented, _) if status.message().is_empty() => Rule::UnknownOperation.into(),
        // A compression that we don't speak.
        (Code::Unimplemented, _) => {
            Error::from(Rule::UnknownOperation).saying(status.message().to_owned())
        }
        // tonic blames itself for bytes that are no message, and for none at all.
        (Code::Internal | Code::Unknown | Code::Cancelled, Maker::Request) => {
            Error::invalid("request", "it is not one whole message of this RPC")
        }
        (Code::NotFound | Code::InvalidArgument, _) => {
            return kept(&status, Rule::InvalidParameter, request_id);
        }
        (Code::Internal | Code::Unknown, Maker::Response) => Rule::Internal.into(),
        _ => return kept(&status, Rule::Internal, request_id),
    };
    error.into_status(request_id)
}

/// A status that a standard service means as it is: code and text stay.
fn kept(status: &Status, rule: Rule, request_id: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(rule.reason(), DOMAIN, []);
    details.set_request_info(request_id, "");
    Status::with_error_details(status.code(), status.message(), details)
}

fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::connection::{Identity, Peer, PeerAddress};

    #[test]
    fn request_ids_are_kept_or_replaced() {
        let long = "a".repeat(64);
        for kept in ["a", "Req-1.2_3", &long] {
            assert!(RequestId::fits(kept.as_bytes()), "{kept}");
        }
        let longer = "a".repeat(65);
        for replaced in ["", " ", "a b", "a/b", "é", "a\n", &longer] {
            assert!(!RequestId::fits(replaced.as_bytes()), "{replaced:?}");
        }
        assert_eq!(RequestId::new().as_str().len(), 36);
    }

    #[test]
    fn what_tonic_says_itself_becomes_the_contract_s() {
        let cases = [
            (
                Status::out_of_range("x"),
                Maker::Request,
                Code::ResourceExhausted,
                "InvalidParameter",
            ),
            (
                Status::unimplemented(""),
                Maker::Request,
                Code::Unimplemented,
                "InvalidAction.NotFound",
            ),
            (Status::internal("x"), Maker::Request, Code::InvalidArgument, "InvalidParameter"),
            (Status::internal("x"), Maker::Response, Code::Internal, "InternalFailure"),
            (Status::not_found("x"), Maker::Request, Code::NotFound, "InvalidParameter"),
            (Status::aborted("x"), Maker::Response, Code::Aborted, "InternalFailure"),
        ];
        for (status, maker, code, expected) in cases {
            let told = ours(status, maker, "request-1");
            assert_eq!((told.code(), reason(&told).as_deref()), (code, Some(expected)));
            let info = told.get_details_request_info().expect("RequestInfo");
            assert_eq!(info.request_id, "request-1");
        }
        let own = Error::from(Rule::StoredLimitReached).into_status("r");
        assert_eq!(ours(own, Maker::Request, "r").code(), Code::ResourceExhausted);
    }

    /// A body that fails in the middle of a response.
    struct Fails(fn() -> Frame<Data>);

    impl http_body::Body for Fails {
        type Data = Data;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Data>, Status>>> {
            Poll::Ready(Some(Ok((self.0)())))
        }
    }

    fn outcome(of: fn() -> Frame<Data>) -> Outcome {
        let identity = Identity::Known(Principal::dev());
        let peer = Arc::new(Peer { address: PeerAddress::Unix { pid: None }, identity });
        let record = Record::of_rpc(&mut Request::new(()), peer);
        Outcome { body: Body::new(Fails(of)), record: Some(record) }
    }

    fn next(outcome: &mut Outcome) -> HeaderMap {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let frame = http_body::Body::poll_frame(Pin::new(outcome), &mut cx);
        let Poll::Ready(Some(Ok(frame))) = frame else { panic!("{frame:?}") };
        frame.into_trailers().expect("trailers")
    }

    #[test]
    fn a_response_that_breaks_off_still_ends_in_our_status() {
        let encoding = || {
            let mut trailers = HeaderMap::new();
            Status::internal("Error encoding: planted").add_header(&mut trailers).expect("header");
            Frame::trailers(trailers)
        };
        for of in [encoding, || panic!("planted")] {
            let trailers = next(&mut outcome(of));
            let status = Status::from_header_map(&trailers).expect("status");
            assert_eq!(status.code(), Code::Internal);
            assert_eq!(reason(&status).as_deref(), Some("InternalFailure"));
            assert!(!status.message().contains("planted"), "{status:?}");
        }
        let mut outcome = outcome(|| panic!("planted"));
        next(&mut outcome);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let after = http_body::Body::poll_frame(Pin::new(&mut outcome), &mut cx);
        assert!(matches!(after, Poll::Ready(None)), "nothing follows");
    }
}
