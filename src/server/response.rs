//! The form of an answer: every error leaves in the contract's form, and the end
//! of every answer is recorded.
//!
//! Our services answer with details of their own. Errors that tonic finds by
//! itself have none: a message too long, bytes that are no message, an unknown RPC.
//! They are given the contract's code, reason and request id here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use prost::bytes::Bytes;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::connections::TrackedConnection;
use super::delivery;
use super::record::{RequestOutcome, RequestRecord};
use super::request_id::X_REQUEST_ID;
use crate::error::{DOMAIN, Error, Rule};

const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// An answer, whose end is recorded.
pub(super) type Response = http::Response<ResponseBody>;

/// The answer that a service gave over gRPC.
pub(super) fn of_service(record: RequestRecord, mut response: http::Response<Body>) -> Response {
    if response.headers().contains_key(Status::GRPC_STATUS) {
        let status = response.extensions_mut().remove::<Status>();
        let status = status
            .or_else(|| Status::from_header_map(response.headers()))
            .unwrap_or_else(|| Status::internal(""));
        let status = in_form(status, During::Request, record.request_id().as_str());
        return only_trailers(record, status);
    }
    response.headers_mut().insert(X_REQUEST_ID, record.request_id().header());
    response.map(|body| ResponseBody::new(body, Some(record)))
}

/// The answer that is given over gRPC in a service's place.
pub(super) fn of_error(mut record: RequestRecord, error: Error) -> Response {
    record.refused(&error);
    let status = error.into_status(record.request_id().as_str());
    only_trailers(record, status)
}

fn only_trailers(record: RequestRecord, status: Status) -> Response {
    let request_id = record.request_id().header();
    end(record, &status);
    let unsupported = status.code() == Code::Unimplemented;
    let mut response = status.into_http::<Body>();
    response.headers_mut().insert(X_REQUEST_ID, request_id);
    if unsupported {
        // PROTOCOL-HTTP2: what the caller may send instead of what was refused.
        let identity = HeaderValue::from_static("identity");
        response.headers_mut().insert(GRPC_ACCEPT_ENCODING, identity);
    }
    response.map(|body| ResponseBody::new(body, None))
}

/// The answer of the HTTP front door, which needs no further record.
pub(super) fn of_front_door(response: http::Response<Bytes>) -> Response {
    response.map(|bytes| ResponseBody::new(Body::new(Full::new(bytes)), None))
}

/// A refusal in plain text. PROTOCOL-HTTP2: what is not gRPC is answered 415, so that
/// gRPC clients never take it for a status.
pub(super) fn in_plain(record: RequestRecord, error: &Error) -> Response {
    let status = StatusCode::from_u16(error.rule().http_status());
    let status = status.unwrap_or(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let mut response = http::Response::new(Bytes::from(format!("{}\n", error.text())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_REQUEST_ID, record.request_id().header());
    record.end(&RequestOutcome::over_http(status, Some(error.rule())));
    of_front_door(response)
}

/// The body of an answer. Over gRPC it is watched for the status, which comes
/// last.
pub(super) struct ResponseBody {
    body: Body,
    /// There until the status is known.
    record: Option<RequestRecord>,
    /// The connection that it goes out by, once it is on its way.
    tracked: Option<Arc<TrackedConnection>>,
}

impl ResponseBody {
    fn new(body: Body, record: Option<RequestRecord>) -> Self {
        Self { body, record, tracked: None }
    }

    /// The body as it goes out by a connection.
    pub(super) fn over(self, tracked: Arc<TrackedConnection>) -> Self {
        Self { tracked: Some(tracked), ..self }
    }

    /// Records the status in the trailers, and puts it in the contract's form.
    fn end(&mut self, trailers: &mut HeaderMap) {
        let Some(record) = self.record.take() else { return };
        let code = trailers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()));
        if code == Some(Code::Ok) {
            return record.end(&RequestOutcome { code: Code::Ok, reason: None, http_status: None });
        }
        let status = Status::from_header_map(trailers).unwrap_or_else(|| Status::internal(""));
        let status = in_form(status, During::Response, record.request_id().as_str());
        trailers.clear();
        // It cannot fail: the message was a header's already, or is ours.
        let _ = status.add_header(trailers);
        end(record, &status);
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let polled = {
            let _entered = this.record.as_ref().map(|record| record.span().enter());
            // Unwind safety: after a panic the body is dropped and never polled.
            catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.body).poll_frame(cx)))
        };
        let frame = match polled {
            Ok(Poll::Ready(Some(Ok(frame)))) => frame,
            Ok(Poll::Pending) => {
                delivery::waits();
                return Poll::Pending;
            }
            Ok(over) => return over,
            Err(_) => {
                this.body = Body::empty();
                Frame::trailers(HeaderMap::new())
            }
        };
        delivery::gave();
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                this.end(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(data) => match &this.tracked {
                Some(tracked) => data.map_data(|part| tracked.deliver(part)),
                None => data,
            },
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn end(record: RequestRecord, status: &Status) {
    let (code, reason) = (status.code(), reason(status));
    record.end(&RequestOutcome { code, reason: reason.as_deref(), http_status: None });
}

fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// The moment at which tonic made a status of its own.
#[derive(Clone, Copy)]
enum During {
    /// Reading a request, before any answer.
    Request,
    /// Writing a response.
    Response,
}

/// The status with our details; the contract's status in place of tonic's own.
fn in_form(status: Status, during: During, request_id: &str) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let error = match (status.code(), during) {
        (Code::OutOfRange, _) => Rule::RequestTooLarge.into(),
        (Code::Unimplemented, _) if status.message().is_empty() => Rule::UnknownOperation.into(),
        // A compression that is not offered.
        (Code::Unimplemented, _) => {
            Error::from(Rule::UnsupportedEncoding).saying(status.message().to_owned())
        }
        // tonic blames itself for bytes that are no message, and for none at all.
        (Code::Internal | Code::Unknown | Code::Cancelled, During::Request) => {
            Error::invalid("request", "it is not one whole message of this RPC")
        }
        (Code::NotFound | Code::InvalidArgument, _) => {
            return with_details(&status, Rule::InvalidParameter, request_id);
        }
        (Code::Internal | Code::Unknown, During::Response) => Rule::Internal.into(),
        _ => return with_details(&status, Rule::Internal, request_id),
    };
    error.into_status(request_id)
}

/// A status that a standard service means as it is: code and text stay.
fn with_details(status: &Status, rule: Rule, request_id: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(rule.reason(), DOMAIN, []);
    details.set_request_info(request_id, "");
    Status::with_error_details(status.code(), status.message(), details)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::*;
    use crate::server::identity::Claims;
    use crate::server::peer::Peer;

    #[test]
    fn what_tonic_says_itself_becomes_the_contract_s() {
        let cases = [
            (
                Status::out_of_range("x"),
                During::Request,
                Code::ResourceExhausted,
                "InvalidParameter",
            ),
            (
                Status::unimplemented(""),
                During::Request,
                Code::Unimplemented,
                "InvalidAction.NotFound",
            ),
            (Status::internal("x"), During::Request, Code::InvalidArgument, "InvalidParameter"),
            (Status::internal("x"), During::Response, Code::Internal, "InternalFailure"),
            (Status::not_found("x"), During::Request, Code::NotFound, "InvalidParameter"),
            (Status::aborted("x"), During::Response, Code::Aborted, "InternalFailure"),
        ];
        for (status, during, code, expected) in cases {
            let told = in_form(status, during, "request-1");
            assert_eq!((told.code(), reason(&told).as_deref()), (code, Some(expected)));
            let info = told.get_details_request_info().expect("RequestInfo");
            assert_eq!(info.request_id, "request-1");
        }
        let own = Error::from(Rule::StoredLimitReached).into_status("r");
        assert_eq!(in_form(own, During::Request, "r").code(), Code::ResourceExhausted);
    }

    /// A body that fails in the middle of a response.
    struct Fails(fn() -> Frame<Bytes>);

    impl http_body::Body for Fails {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(Some(Ok((self.0)())))
        }
    }

    fn body(of: fn() -> Frame<Bytes>) -> ResponseBody {
        let peer = Peer::of_tcp(SocketAddr::from(([127, 0, 0, 1], 7311)), Claims::default());
        let record = RequestRecord::of_rpc(&mut Request::new(()), None, &peer);
        ResponseBody::new(Body::new(Fails(of)), Some(record))
    }

    fn next(body: &mut ResponseBody) -> HeaderMap {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let frame = http_body::Body::poll_frame(Pin::new(body), &mut cx);
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
            let trailers = next(&mut body(of));
            let status = Status::from_header_map(&trailers).expect("status");
            assert_eq!(status.code(), Code::Internal);
            assert_eq!(reason(&status).as_deref(), Some("InternalFailure"));
            assert!(!status.message().contains("planted"), "{status:?}");
        }
        let mut body = body(|| panic!("planted"));
        next(&mut body);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let after = http_body::Body::poll_frame(Pin::new(&mut body), &mut cx);
        assert!(matches!(after, Poll::Ready(None)), "nothing follows");
    }
}
