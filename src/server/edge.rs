//! The edge: every request passes it on its way to a service.
//!
//! In the contract's order of judgement: the request gets its id and its
//! [`Record`], its caller is authenticated, its deadline is set, it is admitted or
//! told to come back. Then a service has it, with a [`Caller`] in its extensions,
//! until it answers, panics or runs out of time; `response.rs` gives the answer its
//! form.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Version, header};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::Instrument;

use super::connections::Place;
use super::deadline::{self, poll_caught};
use super::front_door::FrontDoor;
use super::health::Health;
use super::limits::Limits;
use super::peer::Peer;
use super::record::Record;
use super::response::{self, Response};
use crate::access::principal::Principal;
use crate::error::{Error, Result, Rule};
use crate::gateway::Gateway;
use crate::service::caller::{Caller, Connection};

/// The faces of the services: gRPC, and beside it the HTTP front door, on the
/// listeners that are configured with it.
pub struct Faces {
    /// The services over gRPC.
    pub rpcs: Routes,
    /// The HTTP front door.
    pub gateway: Option<Gateway>,
}

impl From<Routes> for Faces {
    fn from(rpcs: Routes) -> Self {
        Self { rpcs, gateway: None }
    }
}

/// The edge of all connections. Clones share it.
#[derive(Clone)]
pub(super) struct Edge {
    routes: Routes,
    front_door: Option<FrontDoor>,
    in_flight: Arc<Semaphore>,
    deadline: Duration,
    stream_idle: Duration,
    draining: CancellationToken,
}

impl Edge {
    pub(super) fn new(
        faces: Faces,
        health: &Health,
        limits: &Limits,
        draining: CancellationToken,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        let front_door = faces
            .gateway
            .map(|gateway| FrontDoor::new(gateway, health.clone(), limits, in_flight.clone()));
        Self {
            routes: faces.rpcs.prepare(),
            front_door,
            in_flight,
            deadline: limits.deadline,
            stream_idle: limits.stream_idle,
            draining,
        }
    }

    /// Whether there is an HTTP front door.
    pub(super) const fn has_front_door(&self) -> bool {
        self.front_door.is_some()
    }

    /// The edge of one connection. The front door is on some listeners only.
    pub(super) fn of_connection(
        &self,
        peer: Peer,
        place: Place,
        with_front_door: bool,
    ) -> ConnectionEdge {
        let front_door = self.front_door.clone().filter(|_| with_front_door);
        let edge = Self { front_door, ..self.clone() };
        ConnectionEdge(Arc::new(KnownConnection { edge, peer, place: Arc::new(place) }))
    }
}

/// The edge of one connection.
pub(super) struct ConnectionEdge(Arc<KnownConnection>);

/// A connection whose peer is known. Streams on it keep it.
struct KnownConnection {
    edge: Edge,
    peer: Peer,
    place: Arc<Place>,
}

#[tonic::async_trait]
impl Connection for KnownConnection {
    fn principal(&self) -> Result<Principal> {
        self.peer.principal().cloned()
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.edge.deadline
    }

    async fn admit(&self) -> Result<OwnedSemaphorePermit> {
        let permit = self.edge.in_flight.clone().acquire_owned().await;
        permit.map_err(|_| Error::internal("the permits of requests in flight are closed"))
    }

    fn idle_limit(&self) -> Duration {
        self.edge.stream_idle
    }

    async fn stopping(&self) {
        self.edge.draining.cancelled().await;
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionEdge {
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let place = &self.0.place;
        place.begin_request();
        let stage = match (speaks_grpc(request.headers()), request.version()) {
            (true, Version::HTTP_2) => self.call_service(request),
            (true, _) => Stage::ready(response::unsupported_media_type()),
            (false, _) => self.call_front_door(request),
        };
        ResponseFuture { stage: Some(stage), place: place.clone() }
    }
}

/// PROTOCOL-HTTP2: `application/grpc`, alone or with a message format.
fn speaks_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|found| found.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl ConnectionEdge {
    fn call_service(&self, mut request: Request<Incoming>) -> Stage {
        let KnownConnection { edge, peer, place } = self.0.as_ref();
        let principal = peer.principal();
        let record = Record::of_rpc(&mut request, principal.as_ref().ok().copied(), peer);
        let admitted = principal.and_then(|principal| edge.admit(&record, principal, &request));
        let (caller, permit) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => return Stage::ready(response::of_error(record, error)),
        };
        place.is_known();
        let deadline = caller.deadline;
        let extensions = request.extensions_mut();
        extensions.insert(caller);
        extensions.insert(self.0.clone() as Arc<dyn Connection>);
        let serving = tower::Service::call(&mut edge.routes.clone(), request);
        let call = ServiceCall { record, serving, deadline, alarm: None, _permit: permit };
        Stage::Service(call)
    }

    /// To the HTTP front door, where there is one.
    fn call_front_door(&self, request: Request<Incoming>) -> Stage {
        let KnownConnection { edge, peer, place } = self.0.as_ref();
        let Some(front_door) = &edge.front_door else {
            return Stage::ready(response::unsupported_media_type());
        };
        if let Some(answer) = front_door.public_answer(&request) {
            return Stage::ready(answer);
        }
        let record = Record::of_action(request.headers(), peer);
        let span = record.span().clone();
        let answer = front_door.clone().answer(record, place.clone(), request).instrument(span);
        Stage::FrontDoor(Box::pin(answer))
    }
}

impl Edge {
    /// A caller for the service, and a permit among the requests in flight; health
    /// checks need none.
    fn admit<B>(
        &self,
        record: &Record,
        principal: &Principal,
        request: &Request<B>,
    ) -> Result<(Caller, Option<OwnedSemaphorePermit>)> {
        let deadline = deadline::of_rpc(request.headers(), record.began(), self.deadline)?;
        let permit = if Health::serves(request.uri().path()) {
            None
        } else {
            let permit = self.in_flight.clone().try_acquire_owned();
            Some(permit.map_err(|_| Rule::TooManyRequests)?)
        };
        let request_id = record.request_id().as_str().to_owned();
        Ok((Caller { principal: principal.clone(), request_id, deadline }, permit))
    }
}

/// The answer to one request, on its way. If it is dropped before it is ready, the
/// caller has left. It holds nothing once it was ready.
pub(super) struct ResponseFuture {
    stage: Option<Stage>,
    place: Arc<Place>,
}

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Stage {
    /// Answered at the edge.
    Ready(Ready<Response>),
    /// With the HTTP front door, which keeps the record.
    FrontDoor(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// With a service.
    Service(ServiceCall),
}

struct ServiceCall {
    record: Record,
    serving: <Routes as tower::Service<Request<Incoming>>>::Future,
    deadline: Instant,
    /// Made when the service first waits; many never do.
    alarm: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Stage {
    fn ready(response: Response) -> Self {
        Self::Ready(ready(response))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = std::task::ready!(self.poll_stage(cx));
        Poll::Ready(Ok(response.map(|body| body.over(self.place.clone()))))
    }
}

impl ResponseFuture {
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Response> {
        let served = match &mut self.stage {
            Some(Stage::Ready(answer)) => return Pin::new(answer).poll(cx),
            Some(Stage::FrontDoor(answer)) => return answer.as_mut().poll(cx),
            Some(Stage::Service(call)) => std::task::ready!(call.poll(cx)),
            None => return Poll::Pending,
        };
        // The permit and what the service still holds go now, not when the answer
        // has been written.
        let Some(Stage::Service(ServiceCall { record, .. })) = self.stage.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match served {
            Ok(response) => response::of_service(record, response),
            Err(error) => response::of_error(record, error),
        })
    }
}

impl ServiceCall {
    /// Drives the service: its response, or the error that takes its place.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::Response<tonic::body::Body>>> {
        let _entered = self.record.span().enter();
        if let Poll::Ready(served) = poll_caught(Pin::new(&mut self.serving), cx) {
            return Poll::Ready(served.map(|Ok(response)| response));
        }
        let deadline = self.deadline.into();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        alarm.as_mut().poll(cx).map(|()| Err(Rule::DeadlinePassed.into()))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
