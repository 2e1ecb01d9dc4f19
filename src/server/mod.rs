//! The server: from a socket to a service and back.
//!
//! ```text
//! listener.rs    where to listen: TCP, or a Unix socket of mode 0600
//! accept.rs      a socket → permit → TLS handshake → HTTP/2 or HTTP/1.1
//! tls.rs         certificates, their reload, who may connect
//! transport.rs   the bytes of a connection · peer.rs  its other end
//! edge.rs        a request: authenticate → deadline → permit → service → answer
//! front_door.rs  the same over HTTP, for a request that the gateway verifies
//! record.rs      a request in the log: a span around it, a line at its end
//! response.rs    the form of an answer, every error in the contract's
//! request_id.rs  a request's id · deadline.rs  its deadline
//! health.rs      health v1 · reflection.rs  reflection v1 and v1alpha
//! stop.rs        signals · hardening.rs  the process · logs.rs, log_json.rs  the log
//! ```
//!
//! A connection is served by the task that accepted it. hyper is driven
//! directly: tonic's own `Server` has a timeout outside of every layer, which
//! answers `CANCELLED` where the contract wants `DEADLINE_EXCEEDED`.
//!
//! [`run`] is handed its listeners and its shutdown, so a test binds port 0
//! and chooses when to stop.

mod accept;
mod deadline;
mod edge;
mod front_door;
pub mod hardening;
mod health;
mod listener;
pub mod log_json;
pub mod logs;
mod peer;
mod record;
mod reflection;
mod request_id;
mod response;
mod stop;
mod tls;
mod transport;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

pub use health::Health;
pub use listener::{BindError, Listener};
pub use reflection::ReflectionError;
pub use stop::StopSignal;
pub use tls::{Tls, TlsError};

use crate::gateway::Gateway;
use crate::limits::{DEADLINE_SECONDS, STREAM_IDLE_SECONDS};
use accept::Acceptor;
use edge::Edge;

/// A limit on everything. The contract names the defaults where it cares.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once; further ones wait in the kernel's queue.
    pub connections: usize,
    /// Requests open at once on one connection.
    pub streams_per_connection: u32,
    /// Requests that services work on at once; further ones are told to come
    /// back. Health checks are not counted: a busy server is a healthy one.
    pub in_flight: usize,
    /// Requests over HTTP that are read at once, before anybody knows whose they
    /// are; further ones are told to come back.
    pub unverified: usize,
    /// All header fields of a request together.
    pub header_list_bytes: u32,
    /// The target of a request over HTTP, on top of that: the SDKs put everything
    /// into the query.
    pub target_bytes: u32,
    /// From accepting a connection to the end of its TLS handshake and
    /// HTTP/2 preface, or of the first bytes that are none.
    pub handshake: Duration,
    /// Over HTTP/1.1, from one request to the end of the next one's head; and how
    /// long a peer may take nothing of an answer.
    pub idle: Duration,
    /// From the end of the head of a request over HTTP to that of its body.
    pub body: Duration,
    /// The cap on every request's deadline.
    pub deadline: Duration,
    /// How long the peer of a stream of items may send nothing, or take nothing.
    pub silence: Duration,
    /// From the signal to stop until what still runs is cut.
    pub drain: Duration,
    /// The pause before a silent connection is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// The wait for that sign.
    pub keepalive_timeout: Duration,
    /// The pause between two looks at the certificates' files.
    pub reload_interval: Duration,
    /// The pause between two health probes, and the most that one may take.
    pub probe_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams_per_connection: 256,
            in_flight: 1024,
            unverified: 1024,
            header_list_bytes: 16 * 1024,
            target_bytes: 64 * 1024,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            body: Duration::from_secs(10),
            deadline: Duration::from_secs(DEADLINE_SECONDS.max as u64),
            silence: Duration::from_secs(STREAM_IDLE_SECONDS.max as u64),
            drain: Duration::from_secs(30),
            keepalive_interval: Duration::from_mins(1),
            keepalive_timeout: Duration::from_secs(20),
            reload_interval: Duration::from_secs(2),
            probe_interval: Duration::from_secs(5),
        }
    }
}

/// What is served: gRPC, and beside it the HTTP front door, on the listeners that
/// are configured with it.
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

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was finished.
    Clean,
    /// The limit came first, and this many connections were cut.
    Cut(usize),
}

/// The three moments of a stop, in this order. The last includes the others.
#[derive(Clone)]
struct Phases {
    /// No new connections.
    stop: CancellationToken,
    /// No new requests: GOAWAY.
    drain: CancellationToken,
    /// Every connection is closed.
    cut: CancellationToken,
}

impl Phases {
    fn new() -> Self {
        let cut = CancellationToken::new();
        Self { stop: cut.child_token(), drain: cut.child_token(), cut }
    }
}

/// Prints where the server listens, one line each, for the process that started
/// it.
pub fn announce(listeners: &[Listener], out: &mut impl Write) -> std::io::Result<()> {
    for listener in listeners {
        writeln!(out, "listening on {}", listener.address())?;
    }
    out.flush()
}

/// Serves `faces`, with health and reflection beside them, until `shutdown`
/// resolves; then tells health watchers, stops accepting, sends GOAWAY and lets
/// what runs finish within the drain's limit.
///
/// Dropping this future cuts everything at once.
pub async fn run(
    listeners: Vec<Listener>,
    faces: impl Into<Faces>,
    health: Health,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<Drained, ReflectionError> {
    let Faces { rpcs, gateway } = faces.into();
    let rpcs = reflection::beside(health.beside(rpcs))?;
    let limits = Arc::new(limits);
    let phases = Phases::new();
    let _cut_when_dropped = phases.cut.clone().drop_guard();
    let connections = TaskTracker::new();
    let edge = Edge::new(Faces { rpcs, gateway }, &health, &limits, phases.drain.clone());

    health.probe_once(limits.probe_interval).await;
    let mut beside = JoinSet::new();
    let tls = listeners.iter().filter_map(Listener::tls).collect();
    beside.spawn(tls::watch(tls, limits.reload_interval));
    beside.spawn(health.clone().probe_for_ever(limits.probe_interval));
    let mut accepting = JoinSet::new();
    let acceptor = Acceptor::new(edge, limits.clone(), phases.clone(), connections.clone());
    for listener in listeners {
        accepting.spawn(acceptor.clone().accept_from(listener));
    }

    shutdown.await;
    tracing::info!("draining");
    beside.shutdown().await;
    health.drain();
    phases.stop.cancel();
    while accepting.join_next().await.is_some() {}
    phases.drain.cancel();
    Ok(finish(&connections, limits.drain, &phases.cut).await)
}

async fn finish(connections: &TaskTracker, limit: Duration, cut: &CancellationToken) -> Drained {
    connections.close();
    if tokio::time::timeout(limit, connections.wait()).await.is_ok() {
        tracing::info!("drained");
        return Drained::Clean;
    }
    let left = connections.len();
    tracing::warn!(connections = left, "the drain's limit came first: cutting what is left");
    cut.cancel();
    connections.wait().await;
    Drained::Cut(left)
}
