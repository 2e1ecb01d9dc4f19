//! Health v1: `""` is the health of the process, a service's name its readiness.
//!
//! A store out of reach makes the services `NOT_SERVING`, so that no traffic is
//! sent here; `""` stays SERVING, since a restart of the process would not mend
//! the store. A drain makes all of them `NOT_SERVING`, then ends the watches: a
//! watch that stayed open would hold the drain up to its limit.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::Stream;
use tokio_stream::wrappers::WatchStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as Contract, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::limits::REQUEST_BYTES;

type Probe = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// The health of this server. Clones share it.
#[derive(Clone)]
pub struct Health {
    names: Arc<[&'static str]>,
    readiness: Arc<watch::Sender<Readiness>>,
    probe: Arc<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    NotReady,
    Ready,
    Draining,
}

impl Health {
    /// `probe` says whether the services of these names can do their work now.
    pub fn new<F>(names: &[&'static str], probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self {
            names: names.into(),
            readiness: Arc::new(watch::Sender::new(Readiness::NotReady)),
            probe: Arc::new(move || Box::pin(probe())),
        }
    }

    /// Whether a request's path is of this service.
    pub(super) fn serves(path: &str) -> bool {
        path.starts_with("/grpc.health.v1.Health/")
    }

    pub(super) fn add_to(&self, services: Routes) -> Routes {
        let server = HealthServer::new(self.clone()).max_decoding_message_size(REQUEST_BYTES.max);
        services.add_service(server)
    }

    /// Probes; one that takes longer than `limit` has failed.
    pub(super) async fn probe_once(&self, limit: Duration) {
        let ready = tokio::time::timeout(limit, (self.probe)()).await.unwrap_or(false);
        let found = if ready { Readiness::Ready } else { Readiness::NotReady };
        let changed = self.readiness.send_if_modified(|readiness| {
            let changes = *readiness != found && *readiness != Readiness::Draining;
            if changes {
                *readiness = found;
            }
            changes
        });
        match found {
            Readiness::NotReady => {
                tracing::error!("the health probe failed: services are NOT_SERVING");
            }
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

    /// Whether the services can do their work now, and no drain has begun.
    pub(super) fn is_ready(&self) -> bool {
        *self.readiness.borrow() == Readiness::Ready
    }

    /// From here on all are `NOT_SERVING`.
    pub(super) fn drain(&self) {
        self.readiness.send_replace(Readiness::Draining);
    }

    fn subject(&self, service: &str) -> Option<HealthSubject> {
        match service {
            "" => Some(HealthSubject::Process),
            name if self.names.contains(&name) => Some(HealthSubject::Service),
            _ => None,
        }
    }
}

/// The subject of a check.
#[derive(Clone, Copy)]
enum HealthSubject {
    Process,
    Service,
}

impl HealthSubject {
    const fn status(self, readiness: Readiness) -> ServingStatus {
        match (self, readiness) {
            (_, Readiness::Ready) | (Self::Process, Readiness::NotReady) => ServingStatus::Serving,
            (_, Readiness::Draining) | (Self::Service, Readiness::NotReady) => {
                ServingStatus::NotServing
            }
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
            .subject(&request.get_ref().service)
            .ok_or_else(|| Status::not_found("There is no service of that name."))?;
        Ok(Response::new(answer(subject.status(*self.readiness.borrow()))))
    }

    type WatchStream = StatusChanges;

    /// For a name that is not known here, the protocol wants `SERVICE_UNKNOWN`
    /// and the stream kept open.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<StatusChanges>, Status> {
        let subject = self.subject(&request.get_ref().service);
        let readiness = WatchStream::new(self.readiness.subscribe());
        Ok(Response::new(StatusChanges { readiness, subject, last: None, over: false }))
    }
}

/// The statuses of one subject, each change once, until the drain.
pub struct StatusChanges {
    readiness: WatchStream<Readiness>,
    subject: Option<HealthSubject>,
    last: Option<ServingStatus>,
    over: bool,
}

impl Stream for StatusChanges {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            let Some(readiness) = ready!(Pin::new(&mut self.readiness).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            self.over = readiness == Readiness::Draining;
            let status = self
                .subject
                .map_or(ServingStatus::ServiceUnknown, |subject| subject.status(readiness));
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(answer(status))));
            }
        }
    }
}
