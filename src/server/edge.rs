//! The edge: what every request passes on its way to a service.
//!
//! In the contract's order of judgement: the request gets its id, its caller
//! is authenticated, its deadline is set, it is admitted or told to come back.
//! Then the service has it, with a [`Caller`] in its extensions, until it
//! answers, panics or runs out of time. What comes back goes through
//! `outcome.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::connection::SharedPeer;
use super::front_door::FrontDoor;
use super::health::Health;
use super::outcome::{Outcome, Record};
use super::{Faces, Limits};
use crate::access::principal::Principal;
use crate::error::{Error, Rule};
use crate::service::caller::{Caller, Connection};

/// The services, and what all connections share.
#[derive(Clone)]
pub(super) struct Front {
    routes: Routes,
    door: Option<FrontDoor>,
    in_flight: Arc<Semaphore>,
    deadline: Duration,
    silence: Duration,
    draining: CancellationToken,
}

impl Front {
    pub(super) fn new(
        faces: Faces,
        health: &Health,
        limits: &Limits,
        draining: CancellationToken,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        let door = faces
            .gateway
            .map(|gateway| FrontDoor::new(gateway, health.clone(), limits, in_flight.clone()));
        Self {
            routes: faces.rpcs.prepare(),
            door,
            in_flight,
            deadline: limits.deadline,
            silence: limits.silence,
            draining,
        }
    }

    /// Whether there is an HTTP front door.
    pub(super) const fn has_gateway(&self) -> bool {
        self.door.is_some()
    }

    /// The edge of one connection.
    pub(super) fn edge(&self, peer: SharedPeer, gateway: bool) -> Edge {
        let line = EdgeLine {
            peer: peer.clone(),
            in_flight: self.in_flight.clone(),
            deadline: self.deadline,
            silence: self.silence,
            draining: self.draining.clone(),
        };
        Edge { front: self.clone(), gateway, peer, line: Arc::new(line) }
    }
}

/// One connection's way to the services.
pub(super) struct Edge {
    front: Front,
    /// Whether the front door is on this connection's listener.
    gateway: bool,
    peer: SharedPeer,
    line: Arc<dyn Connection>,
}

/// One connection, as a stream on it needs it.
struct EdgeLine {
    peer: SharedPeer,
    in_flight: Arc<Semaphore>,
    deadline: Duration,
    silence: Duration,
    draining: CancellationToken,
}

#[tonic::async_trait]
impl Connection for EdgeLine {
    fn principal(&self) -> Result<Principal, Error> {
        self.peer.principal().cloned()
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.deadline
    }

    async fn admit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = self.in_flight.clone().acquire_owned().await;
        place.map_err(|_| Error::internal("the places in flight are closed"))
    }

    fn idle_limit(&self) -> Duration {
        self.silence
    }

    async fn stopping(&self) {
        self.draining.cancelled().await;
    }
}

impl hyper::service::Service<Request<Incoming>> for Edge {
    type Response = Response<Outcome>;
    type Error = std::convert::Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Answer {
        if !speaks_grpc(request.headers()) {
            return self.answer_http(request);
        }
        // gRPC is HTTP/2.
        if request.version() != Version::HTTP_2 {
            return Answer { record: None, state: State::Foreign };
        }
        let mut record = Record::of_rpc(&mut request, self.peer.clone());
        let state = match self.admit(&mut record, request) {
            Ok(state) => state,
            Err(error) => State::Refused(Some(error)),
        };
        Answer { record: Some(record), state }
    }
}

impl Edge {
    /// Through the front door, where there is one.
    fn answer_http(&self, request: Request<Incoming>) -> Answer {
        let door = self.front.door.as_ref().filter(|_| self.gateway);
        let Some(door) = door else { return Answer { record: None, state: State::Foreign } };
        let record = Record::of_action(&request, self.peer.clone());
        let answering = Box::pin(door.clone().answer(record, request));
        Answer { record: None, state: State::Answering(answering) }
    }

    fn admit(&self, record: &mut Record, mut request: Request<Incoming>) -> Result<State, Error> {
        let principal = self.peer.principal()?.clone();
        record.know(principal.clone());
        let deadline = self.deadline(request.headers(), record.started())?;
        let permit = self.permit(request.uri().path())?;
        let request_id = record.request_id().to_owned();
        let extensions = request.extensions_mut();
        extensions.insert(Caller { principal, request_id, deadline });
        extensions.insert(Arc::clone(&self.line));
        let serving = tower::Service::call(&mut self.front.routes.clone(), request);
        Ok(State::Serving { serving, deadline, alarm: None, _permit: permit })
    }

    /// The shorter of what the caller gives and what we give.
    fn deadline(&self, headers: &HeaderMap, started: Instant) -> Result<Instant, Error> {
        let Some(given) = headers.get("grpc-timeout") else {
            return Ok(started + self.front.deadline);
        };
        let given = timeout(given).ok_or_else(|| {
            Error::invalid("grpc-timeout", "it takes up to 8 digits and one of H, M, S, m, u, n")
        })?;
        let deadline = started + given.min(self.front.deadline);
        if deadline <= Instant::now() {
            return Err(Rule::DeadlinePassed.into());
        }
        Ok(deadline)
    }

    fn permit(&self, path: &str) -> Result<Option<OwnedSemaphorePermit>, Error> {
        if Health::serves(path) {
            return Ok(None);
        }
        let permit = self.front.in_flight.clone().try_acquire_owned();
        permit.map(Some).map_err(|_| Rule::TooManyRequests.into())
    }
}

/// PROTOCOL-HTTP2: `application/grpc`, alone or with a message format.
fn speaks_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|found| found.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// PROTOCOL-HTTP2: `TimeoutValue TimeoutUnit`, the value a positive integer of
/// at most 8 digits.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(value * 3600)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'S' => Some(Duration::from_secs(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

type Serving = <Routes as tower::Service<Request<Incoming>>>::Future;

/// The answer to one request, on its way. Dropped before it is ready, the
/// caller has left.
pub(super) struct Answer {
    /// There until the answer is given.
    record: Option<Record>,
    state: State,
}

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum State {
    /// Not gRPC at all.
    Foreign,
    /// Through the front door, which keeps its own record.
    Answering(Pin<Box<dyn Future<Output = Response<Outcome>> + Send>>),
    Refused(Option<Error>),
    Serving {
        serving: Serving,
        deadline: Instant,
        /// Made when the service first waits; many never do.
        alarm: Option<Pin<Box<Sleep>>>,
        _permit: Option<OwnedSemaphorePermit>,
    },
}

impl Future for Answer {
    type Output = Result<Response<Outcome>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let found = match &mut self.state {
            State::Foreign => return Poll::Ready(Ok(foreign())),
            State::Answering(answering) => return answering.as_mut().poll(cx).map(Ok),
            State::Refused(error) => Err(error.take().unwrap_or(Rule::Internal.into())),
            State::Serving { serving, deadline, alarm, .. } => {
                std::task::ready!(served(serving, *deadline, alarm, cx))
            }
        };
        let Some(record) = self.record.take() else { return Poll::Ready(Ok(foreign())) };
        // The permit and whatever the service still held go now, not when the
        // answer has been written.
        self.state = State::Refused(None);
        Poll::Ready(Ok(match found {
            Ok(response) => record.answered(response),
            Err(error) => record.refused(error),
        }))
    }
}

/// Drives the service: its response, or the error that took its place.
fn served(
    serving: &mut Serving,
    deadline: Instant,
    alarm: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<tonic::body::Body>, Error>> {
    if let Poll::Ready(served) = guarded(Pin::new(serving), cx) {
        return Poll::Ready(served.and_then(|served| served.map_err(|never| match never {})));
    }
    let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
    alarm.as_mut().poll(cx).map(|()| Err(Rule::DeadlinePassed.into()))
}

/// Polls, and makes an error of a panic.
fn guarded<F: Future>(work: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Result<F::Output, Error>> {
    // Unwind safety: after a panic the future is dropped and never polled.
    match catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        // The hook has logged where; what it said stays unsaid.
        Err(_) => Poll::Ready(Err(Rule::Internal.into())),
    }
}

/// Work that ends at its deadline, and with an error where it panics.
pub(super) async fn bounded<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let mut work = pin!(work);
    let guarded = std::future::poll_fn(|cx| guarded(work.as_mut(), cx));
    let in_time = tokio::time::timeout_at(deadline.into(), guarded).await;
    in_time.map_err(|_| Rule::DeadlinePassed)??
}

/// PROTOCOL-HTTP2: what is not gRPC is answered 415, so that gRPC clients
/// never take it for a status.
fn foreign() -> Response<Outcome> {
    let mut response = Response::new(Outcome::empty());
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_has_them() {
        let read = |text: &str| timeout(&HeaderValue::from_str(text).expect("header"));
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(read("0m"), Some(Duration::ZERO));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("8n"), Some(Duration::from_nanos(8)));
        for odd in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789n", " 1S", "1 S", "1SS"] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn only_grpc_is_grpc() {
        let speaks = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            speaks_grpc(&headers)
        };
        for yes in ["application/grpc", "application/grpc+proto", "application/grpc;a=b"] {
            assert!(speaks(yes), "{yes}");
        }
        for no in ["application/grpc-web", "application/json", "", "application/grpcx"] {
            assert!(!speaks(no), "{no}");
        }
        assert!(!speaks_grpc(&HeaderMap::new()));
    }
}
