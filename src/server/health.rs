//! Health v1: `""` is the health of the process, a service's name its readiness,
//! `keyferry.policies` whether the policies that decide are those on the disk, and
//! `keyferry.audit` whether the audit log can be written.
//!
//! A store out of reach makes the services `NOT_SERVING`, so that no traffic is
//! sent here; `""` stays SERVING, since a restart of the process would not mend
//! the store. Policies that cannot be used leave those before them in use, so that all is
//! served, and the detail alone tells. An audit log that cannot be written makes the services
//! `NOT_SERVING`. A drain makes all of them `NOT_SERVING`, then ends the watches: a
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

/// The name of the detail about policies.
const POLICIES: &str = "keyferry.policies";
/// The name of the detail about the audit log.
const AUDIT: &str = "keyferry.audit";

type Probe = dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

/// The health of this server. Clones share it.
#[derive(Clone)]
pub struct Health {
    names: Arc<[&'static str]>,
    standing: Arc<watch::Sender<Standing>>,
    probe: Arc<Probe>,
    policies_are_usable: Arc<dyn Fn() -> bool + Send + Sync>,
    audit_is_usable: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// All that is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    readiness: Readiness,
    policies_are_usable: bool,
    audit_is_usable: bool,
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
            standing: Arc::new(watch::Sender::new(Standing {
                readiness: Readiness::NotReady,
                policies_are_usable: true,
                audit_is_usable: true,
            })),
            probe: Arc::new(move || Box::pin(probe())),
            policies_are_usable: Arc::new(|| true),
            audit_is_usable: Arc::new(|| true),
        }
    }

    /// With the detail whether the policies on the disk can be used.
    #[must_use]
    pub fn with_policies(self, are_usable: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { policies_are_usable: Arc::new(are_usable), ..self }
    }

    /// With the detail whether the audit log can be written: where it cannot, nothing is
    /// served.
    #[must_use]
    pub fn with_audit(self, is_usable: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { audit_is_usable: Arc::new(is_usable), ..self }
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
        let policies_are_usable = (self.policies_are_usable)();
        let audit_is_usable = (self.audit_is_usable)();
        let ready = ready && audit_is_usable;
        let found = if ready { Readiness::Ready } else { Readiness::NotReady };
        let mut changed = false;
        self.standing.send_if_modified(|standing| {
            let before = *standing;
            if before.readiness != Readiness::Draining {
                *standing = Standing { readiness: found, policies_are_usable, audit_is_usable };
            }
            changed = before.readiness != standing.readiness;
            before != *standing
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
        self.standing.borrow().readiness == Readiness::Ready
    }

    /// Whether the policies that decide are those on the disk.
    pub(super) fn has_policies_of_disk(&self) -> bool {
        self.standing.borrow().policies_are_usable
    }

    /// Whether the audit log can be written.
    pub(super) fn has_audit(&self) -> bool {
        self.standing.borrow().audit_is_usable
    }

    /// From here on all are `NOT_SERVING`.
    pub(super) fn drain(&self) {
        self.standing.send_modify(|standing| standing.readiness = Readiness::Draining);
    }

    fn subject(&self, service: &str) -> Option<HealthSubject> {
        match service {
            "" => Some(HealthSubject::Process),
            POLICIES => Some(HealthSubject::Policies),
            AUDIT => Some(HealthSubject::Audit),
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
    Policies,
    Audit,
}

impl HealthSubject {
    const fn status(self, standing: Standing) -> ServingStatus {
        let is_well = match (self, standing.readiness) {
            (_, Readiness::Draining) | (Self::Service, Readiness::NotReady) => false,
            (Self::Policies, _) => standing.policies_are_usable,
            (Self::Audit, _) => standing.audit_is_usable,
            (Self::Process | Self::Service, _) => true,
        };
        if is_well { ServingStatus::Serving } else { ServingStatus::NotServing }
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
        Ok(Response::new(answer(subject.status(*self.standing.borrow()))))
    }

    type WatchStream = StatusChanges;

    /// For a name that is not known here, the protocol wants `SERVICE_UNKNOWN`
    /// and the stream kept open.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<StatusChanges>, Status> {
        let subject = self.subject(&request.get_ref().service);
        let standings = WatchStream::new(self.standing.subscribe());
        Ok(Response::new(StatusChanges { standings, subject, last: None, over: false }))
    }
}

/// The statuses of one subject, each change once, until the drain.
pub struct StatusChanges {
    standings: WatchStream<Standing>,
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
            let Some(standing) = ready!(Pin::new(&mut self.standings).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            self.over = standing.readiness == Readiness::Draining;
            let status = self
                .subject
                .map_or(ServingStatus::ServiceUnknown, |subject| subject.status(standing));
            if self.last.replace(status) != Some(status) {
                return Poll::Ready(Some(Ok(answer(status))));
            }
        }
    }
}
