//! The edge: every request passes it on its way to a service.
//!
//! In the contract's order of judgement: the request gets its id and its
//! [`RequestRecord`], its caller is authenticated, its deadline is set. Its message is read
//! whole before it takes a permit, so that a caller who sends no message holds
//! nothing. It is admitted, or told to come back. Then a service has it, with a
//! [`Caller`] in its extensions, until it answers, panics or runs out of time;
//! `response.rs` gives the answer its form.

use std::convert::Infallible;
use std::future::Ready;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Version, header};
use hyper::body::Incoming;
use prost::bytes::Bytes;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::Instrument;

use super::admission::{Admission, Shares};
use super::connections::TrackedConnection;
use super::deadline::{self, poll_caught};
use super::front_door::FrontDoor;
use super::health::Health;
use super::identity::Identity;
use super::leftover;
use super::limits::Limits;
use super::message::MessageReader;
use super::peer::Peer;
use super::record::RequestRecord;
use super::response::{self, Response};
use crate::access::decisions;
use crate::access::principal::Principal;
use crate::error::{Error, Result, Rule};
use crate::gateway::Gateway;
use crate::service::Services;
use crate::service::caller::{Caller, Connection};
use crate::service::cost;
use crate::service::permits::Permit;

/// Most header fields of a request. The layer below counts their bytes, which over
/// HTTP/2 are fewer on the wire than in memory.
const HEADERS_MAX: usize = 100;

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
    admission: Arc<Admission>,
    deadline: Duration,
    body: Duration,
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
        let admission = Arc::new(Admission::new(limits));
        let front_door = faces
            .gateway
            .map(|gateway| FrontDoor::new(gateway, health.clone(), limits, admission.clone()));
        Self {
            routes: faces.rpcs.prepare(),
            front_door,
            admission,
            deadline: limits.deadline,
            body: limits.body,
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
        tracked: TrackedConnection,
        with_front_door: bool,
    ) -> ConnectionEdge {
        let front_door = self.front_door.clone().filter(|_| with_front_door);
        let edge = Self { front_door, ..self.clone() };
        ConnectionEdge(Arc::new(KnownConnection {
            edge,
            peer,
            tracked: Arc::new(tracked),
            shares: OnceLock::new(),
        }))
    }
}

/// The edge of one connection.
pub(super) struct ConnectionEdge(Arc<KnownConnection>);

/// A connection and its peer. Streams on it keep it.
struct KnownConnection {
    edge: Edge,
    peer: Peer,
    tracked: Arc<TrackedConnection>,
    /// Those of the principal of its first request: most have no other.
    shares: OnceLock<(Principal, Shares)>,
}

impl KnownConnection {
    /// A permit among the requests in flight.
    fn permit(&self, principal: &Principal, path: &str) -> Result<Permit> {
        self.peer.principal()?;
        self.shares(principal).admit(|| decisions::takes_away(path))
    }

    /// The shares of a request's principal: a proxy's connection bears the requests of
    /// many.
    fn shares(&self, principal: &Principal) -> Shares {
        let shares_of = || self.edge.admission.shares_of(principal);
        match self.shares.get_or_init(|| (principal.clone(), shares_of())) {
            (first, shares) if first == principal => shares.clone(),
            _ => shares_of(),
        }
    }

    /// The caller for the service.
    fn caller<B>(
        &self,
        record: &RequestRecord,
        identity: &Identity,
        request: &Request<B>,
    ) -> Result<Caller> {
        let Identity { principal, groups, .. } = identity;
        let deadline = deadline::of_rpc(request.headers(), record.began(), self.edge.deadline)?;
        let request_id = record.request_id().as_str().to_owned();
        let Shares { quota, work, .. } = self.shares(principal);
        Ok(Caller {
            principal: principal.clone(),
            by: identity.by.clone(),
            peer: Some(self.peer.address().clone()),
            groups: groups.clone(),
            request_id,
            deadline,
            quota,
            work,
            permit: None,
            begun: None,
        })
    }
}

/// A stream, and whose it is.
struct KnownStream {
    connection: Arc<KnownConnection>,
    identity: Identity,
}

#[tonic::async_trait]
impl Connection for KnownStream {
    fn principal(&self) -> Result<Principal> {
        self.identity.judge_again(&self.connection.peer)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.connection.edge.deadline
    }

    async fn admit(&self) -> Result<Permit> {
        let shares = self.connection.shares(&self.identity.principal);
        shares.quota.patient().spend(cost::REQUEST, self.deadline()).await?;
        shares.in_flight.take(1).await
    }

    fn idle_limit(&self) -> Duration {
        self.connection.edge.stream_idle
    }

    async fn stopping(&self) {
        self.connection.edge.draining.cancelled().await;
    }
}

impl hyper::service::Service<Request<Incoming>> for ConnectionEdge {
    type Response = Response;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        self.0.tracked.begin_request();
        let grpc = content_subtype(request.headers());
        let stage = match (grpc, request.version()) {
            _ if request.headers().len() > HEADERS_MAX => self.refuse(request, too_many_headers()),
            (Some(""), Version::HTTP_2) => self.call_service(request),
            (None, _) if !is_rpc(request.uri().path()) => self.call_front_door(request),
            _ => self.refuse(request, Rule::UnsupportedEncoding.into()),
        };
        ResponseFuture { stage: Some(stage), connection: self.0.clone() }
    }
}

/// The form of messages after `application/grpc` (PROTOCOL-HTTP2): "" is protobuf,
/// which `+proto` says too. `None` where that is not what is sent.
fn content_subtype(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let rest = content_type.strip_prefix("application/grpc")?;
    let subtype = rest.split(';').next().unwrap_or_default().trim_end();
    match subtype.strip_prefix('+') {
        Some("proto") => Some(""),
        None if !subtype.is_empty() => None,
        _ => Some(subtype),
    }
}

fn too_many_headers() -> Error {
    let text = format!("The request has more than {HEADERS_MAX} header fields.");
    Error::from(Rule::RequestTooLarge).saying(text)
}

/// Whether a path is an RPC's, `/package.Service/Method`, by whatever protocol.
fn is_rpc(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    service.is_some_and(|(service, method)| service.contains('.') && !method.contains('/'))
}

/// Whether the caller of this RPC sends messages one after the other. The items of
/// such a stream take a permit each; reflection needs none.
fn sends_messages(path: &str) -> bool {
    Services::STREAMS.contains(&path) || path.starts_with("/grpc.reflection.")
}

impl ConnectionEdge {
    fn call_service(&self, mut request: Request<Incoming>) -> Stage {
        let KnownConnection { edge, peer, tracked, .. } = self.0.as_ref();
        let identity = Identity::of_request(peer, request.uri().path(), request.headers());
        // A proxy is known, whatever it forwards.
        if identity.is_err() && !peer.is_known() {
            tracked.set_unknown();
        }
        let record = RequestRecord::of_rpc(&mut request, identity.as_ref().ok(), peer);
        let known = identity.and_then(|identity| {
            let caller = self.0.caller(&record, &identity, &request)?;
            Ok((identity, caller))
        });
        let (identity, caller) = match known {
            Ok(known) => known,
            Err(error) => return Stage::ready(response::of_error(record, error)),
        };
        tracked.set_known();
        let deadline = caller.deadline;
        let extensions = request.extensions_mut();
        extensions.insert(caller);
        let step = if sends_messages(request.uri().path()) {
            let stream: Arc<dyn Connection> =
                Arc::new(KnownStream { connection: self.0.clone(), identity });
            request.extensions_mut().insert(stream);
            Step::serving(edge, request)
        } else {
            Step::Reading(MessageReader::begin(request, deadline.min(Instant::now() + edge.body)))
        };
        Stage::Service(ServiceCall { record, step, deadline, alarm: None })
    }

    /// To the HTTP front door, where there is one.
    fn call_front_door(&self, request: Request<Incoming>) -> Stage {
        let KnownConnection { edge, peer, tracked, .. } = self.0.as_ref();
        let Some(front_door) = &edge.front_door else {
            return self.refuse(request, Rule::UnsupportedEncoding.into());
        };
        if let Some(answer) = front_door.public_answer(&request) {
            return Stage::ready(answer);
        }
        if let Some(answer) = front_door.receipt_keys(&request) {
            return Stage::FrontDoor(Box::pin(answer));
        }
        let record = RequestRecord::of_action(request.headers(), peer);
        let span = record.span().clone();
        let answer = front_door.clone().answer(record, tracked.clone(), request).instrument(span);
        Stage::FrontDoor(Box::pin(answer))
    }

    /// Refuses in the protocol that the peer speaks.
    fn refuse(&self, mut request: Request<Incoming>, error: Error) -> Stage {
        let KnownConnection { peer, .. } = self.0.as_ref();
        let identity = Identity::of_request(peer, request.uri().path(), request.headers()).ok();
        let record = RequestRecord::of_rpc(&mut request, identity.as_ref(), peer);
        let over_grpc =
            request.version() == Version::HTTP_2 && content_subtype(request.headers()).is_some();
        let waits_to_be_asked = leftover::waits_to_be_asked(request.headers());
        let mut body = request.into_body();
        Stage::FrontDoor(Box::pin(async move {
            leftover::drain(waits_to_be_asked, &mut body).await;
            if over_grpc {
                response::of_error(record, error)
            } else {
                response::in_plain(record, &error)
            }
        }))
    }
}

/// The answer to one request, on its way. If it is dropped before it is ready, the
/// caller has left. It holds nothing once it was ready.
pub(super) struct ResponseFuture {
    stage: Option<Stage>,
    connection: Arc<KnownConnection>,
}

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
enum Stage {
    /// Answered at the edge.
    Ready(Ready<Response>),
    /// With the HTTP front door, or refused there; it keeps the record.
    FrontDoor(Pin<Box<dyn Future<Output = Response> + Send>>),
    /// With a service.
    Service(ServiceCall),
}

struct ServiceCall {
    record: RequestRecord,
    step: Step,
    deadline: Instant,
    /// Made when the service first waits; many never do.
    alarm: Option<Pin<Box<Sleep>>>,
}

enum Step {
    /// The message is on its way.
    Reading(MessageReader),
    /// The service has it.
    Serving(<Routes as tower::Service<Request<Incoming>>>::Future),
}

impl Step {
    fn serving<B>(edge: &Edge, request: Request<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::Serving(tower::Service::call(&mut edge.routes.clone(), request))
    }
}

impl Stage {
    fn ready(response: Response) -> Self {
        Self::Ready(std::future::ready(response))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.poll_stage(cx));
        Poll::Ready(Ok(response.map(|body| body.over(self.connection.tracked.clone()))))
    }
}

impl ResponseFuture {
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Response> {
        let served = match &mut self.stage {
            Some(Stage::Ready(answer)) => return Pin::new(answer).poll(cx),
            Some(Stage::FrontDoor(answer)) => return answer.as_mut().poll(cx),
            Some(Stage::Service(call)) => ready!(call.poll(&self.connection, cx)),
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
    /// Reads the message, takes a permit, and drives the service: its response, or
    /// the error that takes its place.
    fn poll(
        &mut self,
        connection: &KnownConnection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<tonic::body::Body>>> {
        let _entered = self.record.span().enter();
        if let Step::Reading(reading) = &mut self.step {
            let mut request = ready!(reading.poll(cx))?;
            // Health checks need none.
            if !Health::serves(request.uri().path())
                && let Some(caller) = request.extensions().get::<Caller>()
            {
                let permit = connection.permit(&caller.principal, request.uri().path())?;
                if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
                    caller.permit = Some(Arc::new(permit));
                }
            }
            self.step = Step::serving(&connection.edge, request);
        }
        let Step::Serving(serving) = &mut self.step else { return Poll::Pending };
        if let Poll::Ready(served) = poll_caught(Pin::new(serving), cx) {
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
        let spoken = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            content_subtype(&headers).map(str::to_owned)
        };
        for protobuf in ["", "+proto", ";a=b", "+proto;a=b", "+proto ; a=b"] {
            let text = format!("application/grpc{protobuf}").leak();
            assert_eq!(spoken(text).as_deref(), Some(""), "{text}");
        }
        assert_eq!(spoken("application/grpc+json").as_deref(), Some("+json"));
        for no in ["application/grpc-web", "application/json", "", "application/grpcx"] {
            assert_eq!(spoken(no), None, "{no}");
        }
        assert_eq!(content_subtype(&HeaderMap::new()), None);
    }

    #[test]
    fn paths_of_rpcs_are_known() {
        for rpc in ["/keyferry.v1.Kms/Encrypt", "/grpc.health.v1.Health/Check", "/a.B/"] {
            assert!(is_rpc(rpc), "{rpc}");
        }
        for other in ["/", "", "/Encrypt", "/openapi.json", "/a/b.c", "/a.b/c/d"] {
            assert!(!is_rpc(other), "{other}");
        }
    }
}
