//! Health v1: `""` speaks for the process, a service's name for its readiness.
//!
//! A store out of reach makes the services `NOT_SERVING`, so that no traffic is
//! sent here; `""` stays SERVING, since restarting the process would not mend
//! the store. A drain turns all of them, then ends the watches: a watch that
//! stayed open would hold the drain up to its limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Contract, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::MAX_MESSAGE_BYTES;

type Probe = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// The health of this server. Clones share it.
#[derive(Clone)]
pub struct Health {
    names: Arc<[&'static str]>,
    state: Arc<watch::Sender<State>>,
    probe: Arc<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    NotReady,
    Ready,
    Draining,
}

impl Health {
    /// `names` are the services that `probe` speaks for: whether they could do
    /// their work now.
    pub fn new<F>(names: &[&'static str], probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self {
            names: names.into(),
            state: Arc::new(watch::Sender::new(State::NotReady)),
            probe: Arc::new(move || Box::pin(probe())),
        }
    }

    /// Whether a request's path is of this service.
    pub(super) fn serves(path: &str) -> bool {
        path.starts_with("/grpc.health.v1.Health/")
    }

    pub(super) fn beside(&self, services: Routes) -> Routes {
        let server = HealthServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        services.add_service(server)
    }

    /// Probes; one that takes longer than `limit` has failed.
    pub(super) async fn probe_once(&self, limit: Duration) {
        let ready = tokio::time::timeout(limit, (self.probe)()).await.unwrap_or(false);
        let found = if ready { State::Ready } else { State::NotReady };
        let changed = self.state.send_if_modified(|state| {
            let changes = *state != found && *state != State::Draining;
            if changes {
                *state = found;
            }
            changes
        });
        match found {
            State::NotReady => tracing::error!("the health probe failed: services are NOT_SERVING"),
            _ if changed => tracing::info!("services are SERVING"),
            _ => {}
        }
    }

    pub(super) async fn probe_for_ever(self, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            self.probe_once(interval).await;
        }
    }

    /// Whether the services could do their work now, and will go on.
    pub(super) fn is_ready(&self) -> bool {
        *self.state.borrow() == State::Ready
    }

    /// From here on nothing is serving.
    pub(super) fn drain(&self) {
        self.state.send_replace(State::Draining);
    }

    fn knows(&self, service: &str) -> Option<Subject> {
        match service {
            "" => Some(Subject::Process),
            name if self.names.contains(&name) => Some(Subject::Service),
            _ => None,
        }
    }
}

/// What is asked about.
#[derive(Clone, Copy)]
enum Subject {
    Process,
    Service,
}

impl Subject {
    const fn status(self, state: State) -> ServingStatus {
        match (self, state) {
            (Self::Process, State::NotReady) | (_, State::Ready) => ServingStatus::Serving,
            (Self::Service, State::NotReady) | (_, State::Draining) => ServingStatus::NotServing,
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Contract for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let subject = self
            .knows(&request.get_ref().service)
            .ok_or_else(|| Status::not_found("There is no service of that name."))?;
        Ok(Response::new(answer(subject.status(*self.state.borrow()))))
    }

    type WatchStream = Changes;

    /// For a name that is not known here, the protocol wants `SERVICE_UNKNOWN`
    /// and the stream kept open.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Changes>, Status> {
        let subject = self.knows(&request.get_ref().service);
        let states = WatchStream::new(self.state.subscribe());
        Ok(Response::new(Changes { states, subject, last: None, over: false }))
    }
}

/// The statuses of one subject, each change once, until the drain.
pub struct Changes {
    states: WatchStream<State>,
    subject: Option<Subject>,
    last: Option<ServingStatus>,
    over: bool,
}

impl Stream for Changes {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            let Some(state) = std::task::ready!(Pin::new(&mut self.states).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            self.over = state == State::Draining;
            let status =
                self.subject.map_or(ServingStatus::ServiceUnknown, |subject| subject.status(state));
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(answer(status))));
            }
        }
    }
}
