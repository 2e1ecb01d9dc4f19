//! The server: from a socket to a service and back.
//!
//! ```text
//! listener.rs    where to listen: TCP, or a Unix socket of mode 0600
//! accept.rs      a socket → counted → TLS handshake → HTTP/2 or HTTP/1.1
//! connections.rs the open ones, and the room of strangers among them
//! delivery.rs    answers that nobody takes
//! tls.rs         certificates, their reload, who may connect
//! transport.rs   the bytes of a connection · peer.rs  its other end
//! authority.rs   mends the :authority of gRPC clients on Unix sockets
//! identity.rs    whose a request is: by the connection, by what a listed proxy says in
//!                forwarded_cert.rs, the header of sidecars, or by tokens.rs
//! edge.rs        a request: authenticate → deadline → message → permit → service → answer
//! message.rs     reads the message of an RPC · admission.rs  work at once, in shares
//! front_door.rs  the same over HTTP, for a request that the gateway verifies;
//!                unverified.rs  how many are read before that
//! record.rs      a request in the log: a span around it, a line at its end
//! response.rs    the form of an answer, every error in the contract's
//! request_id.rs  a request's id · deadline.rs  its deadline
//! leftover.rs    drains the rest of a refused request
//! health.rs      health v1 · reflection.rs  reflection v1 and v1alpha
//! stop.rs        signals · hardening.rs  the process
//! logs.rs        the log: log_json.rs for programs, log_text.rs for people;
//!                log_bounds.rs  the length of a line
//!                stranger_log.rs  how much of it strangers may fill
//! limits.rs      the bounds of all of them
//! ```
//!
//! hyper is driven directly: tonic's own `Server` has a timeout outside of every
//! layer, which answers `CANCELLED` where the contract wants `DEADLINE_EXCEEDED`.
//!
//! [`run`] is handed its listeners and its shutdown, so a test binds port 0
//! and chooses when to stop.

mod accept;
mod admission;
pub mod authority;
mod connections;
mod deadline;
mod delivery;
mod edge;
pub mod forwarded_cert;
mod front_door;
pub mod hardening;
mod health;
mod identity;
mod leftover;
mod limits;
mod listener;
mod log_bounds;
mod log_json;
mod log_text;
pub mod logs;
mod message;
mod peer;
mod record;
mod reflection;
pub mod reload_times;
mod request_id;
mod response;
mod stop;
pub mod stranger_log;
mod tls;
mod tokens;
mod transport;
mod unverified;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use edge::Faces;
pub use health::Health;
pub use limits::Limits;
pub use listener::{BindError, Listener};
pub use reflection::ReflectionError;
pub use stop::StopSignal;
pub use tls::{Tls, TlsError};
pub use tokens::{TokenKeysError, Tokens};

use accept::{Acceptor, Phases};
use connections::Connections;
use edge::Edge;

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every request was finished.
    Clean,
    /// It took too long, and this many connections were cut.
    Cut(usize),
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
/// requests finish within the drain's limit.
///
/// Dropping this future cuts every connection at once.
pub async fn run(
    listeners: Vec<Listener>,
    faces: impl Into<Faces>,
    health: Health,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<Drained, ReflectionError> {
    let Faces { rpcs, gateway } = faces.into();
    let rpcs = reflection::add_to(health.add_to(rpcs))?;
    let limits = Arc::new(limits);
    let phases = Phases::new();
    let _cut_when_dropped = phases.cut.clone().drop_guard();
    let connections = Connections::new(limits.clone());
    let tasks = TaskTracker::new();
    let edge = Edge::new(Faces { rpcs, gateway }, &health, &limits, phases.drain.clone());

    health.probe_once(limits.probe_interval).await;
    for listener in &listeners {
        listener.tell_how_callers_are_known();
    }
    let mut background = JoinSet::new();
    let tls = listeners.iter().filter_map(Listener::tls).collect();
    background.spawn(tls::watch(tls, limits.reload_interval));
    let taken = listeners.iter().filter_map(|listener| listener.claims().tokens().cloned());
    background.spawn(tokens::watch(taken.collect(), limits.reload_interval));
    background.spawn(health.clone().probe_for_ever(limits.probe_interval));
    let mut accepting = JoinSet::new();
    let sweeping = connections.clone();
    background.spawn(async move { match sweeping.sweep_for_ever().await {} });
    background.spawn(async { match stranger_log::tell_of_left_out().await {} });
    let acceptor = Acceptor::new(edge, limits.clone(), phases.clone(), connections, tasks.clone());
    for listener in listeners {
        accepting.spawn(acceptor.clone().accept_from(listener));
    }

    shutdown.await;
    tracing::info!("draining");
    background.shutdown().await;
    health.drain();
    phases.stop.cancel();
    while accepting.join_next().await.is_some() {}
    phases.drain.cancel();
    Ok(finish(&tasks, limits.drain, &phases.cut).await)
}

async fn finish(tasks: &TaskTracker, limit: Duration, cut: &CancellationToken) -> Drained {
    tasks.close();
    if tokio::time::timeout(limit, tasks.wait()).await.is_ok() {
        tracing::info!("drained");
        return Drained::Clean;
    }
    let left = tasks.len();
    tracing::warn!(
        connections = left,
        "the drain took too long: cutting the connections that are left"
    );
    cut.cancel();
    tasks.wait().await;
    Drained::Cut(left)
}
