//! From a socket to a served connection: permit, handshake, protocol.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, TrackedConnection};
use super::delivery::StreamTasks;
use super::edge::Edge;
use super::identity::Claims;
use super::limits::Limits;
use super::listener::{Accepted, Admission, Listener};
use super::peer::Peer;
use super::stranger_log::{self, RefusalKind};
use super::transport::{Protocol, Rewound, Transport};

/// The pause after an accept that failed for want of file descriptors or
/// memory, which trying at once would not mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The three moments of a stop, in this order. The last includes the others.
#[derive(Clone)]
pub(super) struct Phases {
    /// No new connections.
    pub(super) stop: CancellationToken,
    /// No new requests: GOAWAY.
    pub(super) drain: CancellationToken,
    /// Every connection is closed.
    pub(super) cut: CancellationToken,
}

impl Phases {
    pub(super) fn new() -> Self {
        let cut = CancellationToken::new();
        Self { stop: cut.child_token(), drain: cut.child_token(), cut }
    }
}

/// Accepts connections and serves them. Clones share everything.
#[derive(Clone)]
pub(super) struct Acceptor {
    edge: Edge,
    limits: Arc<Limits>,
    phases: Phases,
    connections: Arc<Connections>,
    tasks: TaskTracker,
}

/// The terms on which a listener accepts connections.
struct Entrance {
    admission: Admission,
    claims: Claims,
    front_door: bool,
}

/// A connection about to be served.
struct Established {
    connection: Rewound,
    protocol: Protocol,
    peer: Peer,
}

/// Why a connection is not served.
struct Refused {
    peer: String,
    why: io::Error,
}

impl Acceptor {
    pub(super) fn new(
        edge: Edge,
        limits: Arc<Limits>,
        phases: Phases,
        connections: Arc<Connections>,
        tasks: TaskTracker,
    ) -> Self {
        Self { edge, limits, phases, connections, tasks }
    }

    /// Accepts until told to stop. Nothing is accepted without a permit: further
    /// connections wait in the kernel's queue.
    pub(super) async fn accept_from(self, listener: Listener) {
        let front_door = self.edge.has_front_door() && listener.gateway();
        let permits = Arc::new(Semaphore::new(self.limits.connections));
        let accept = async {
            loop {
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok(socket) => {
                        let admission = listener.admission().clone();
                        let claims = listener.claims().clone();
                        self.enter(socket, Entrance { admission, claims, front_door }, permit);
                    }
                    Err(error) => pause_after(&error).await,
                }
            }
        };
        self.phases.stop.run_until_cancelled(accept).await;
    }

    /// Tracks a connection, and serves it in a task of its own.
    fn enter(&self, socket: Accepted, entrance: Entrance, permit: OwnedSemaphorePermit) {
        let Some(tracked) = self.connections.track(socket.address()) else {
            if stranger_log::has_room(RefusalKind::Connection) {
                let peer = socket.address().map(tracing::field::display);
                tracing::info!(peer, "connection refused: too many of this address");
            }
            return;
        };
        let acceptor = self.clone();
        self.tasks.spawn(async move {
            let closed = tracked.closed().clone();
            let lasting = Box::pin(acceptor.establish_and_serve(socket, &entrance, tracked));
            if closed.run_until_cancelled(lasting).await.is_none() {
                tracing::debug!("connection closed: it was in the way of others");
            }
            drop(permit);
        });
    }

    async fn establish_and_serve(
        &self,
        socket: Accepted,
        entrance: &Entrance,
        tracked: TrackedConnection,
    ) {
        let limit = self.limits.handshake;
        let established = tokio::time::timeout(limit, establish(socket, entrance));
        match self.phases.stop.run_until_cancelled(established).await {
            Some(Ok(Ok(established))) => self.serve(established, entrance, tracked).await,
            Some(Ok(Err(Refused { peer, why })))
                if stranger_log::has_room(RefusalKind::Connection) =>
            {
                tracing::info!(peer, %why, "connection refused");
            }
            Some(Err(_)) => tracing::debug!("connection dropped: no handshake in time"),
            Some(Ok(Err(_))) | None => {}
        }
    }

    async fn serve(
        &self,
        established: Established,
        entrance: &Entrance,
        tracked: TrackedConnection,
    ) {
        let Established { connection, protocol, peer } = established;
        if peer.is_certified() {
            tracked.set_known();
        }
        let streams = if peer.is_known() {
            self.limits.streams_per_connection
        } else {
            self.limits.streams_of_stranger
        };
        let edge = self.edge.of_connection(peer, tracked, entrance.front_door);
        let mut connection = TimeoutWriter::new(connection);
        connection.set_timeout(Some(self.limits.idle));
        let io = TokioIo::new(Box::pin(connection));
        match protocol {
            Protocol::Http2 => {
                self.drive(self.http2(entrance.front_door, streams).serve_connection(io, edge))
                    .await;
            }
            Protocol::Http1 => self.drive(self.http1().serve_connection(io, edge)).await,
        }
    }

    /// Drives a connection to its end: a graceful one from the drain on, or when it
    /// is old, or the cut.
    async fn drive(&self, serving: impl GracefulConnection<Error = hyper::Error>) {
        let serving = async {
            let mut serving = pin!(serving);
            tokio::select! {
                ended = serving.as_mut() => return ended,
                () = self.phases.drain.cancelled() => {}
                () = tokio::time::sleep(spread(self.limits.connection_age)) => {}
            }
            serving.as_mut().graceful_shutdown();
            serving.await
        };
        if let Some(Err(error)) = self.phases.cut.run_until_cancelled(serving).await {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// HTTP/2 with every limit that the layer has. Rapid resets
    /// (CVE-2023-44487) and streams that we must reset end in GOAWAY.
    fn http2(&self, front_door: bool, streams: u32) -> http2::Builder<StreamTasks> {
        let target = if front_door { self.limits.target_bytes } else { 0 };
        let mut builder = http2::Builder::new(StreamTasks { limit: self.limits.idle });
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(self.limits.header_list_bytes.saturating_add(target))
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            .initial_stream_window_size(128 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(self.limits.keepalive_interval)
            .keep_alive_timeout(self.limits.keepalive_timeout);
        builder
    }

    /// HTTP/1.1, for the front door alone. At most 100 headers; what is both
    /// counted and chunked is read as chunked, and the connection closed after it
    /// (RFC 9112, 6.1).
    fn http1(&self) -> http1::Builder {
        let most = self.limits.header_list_bytes.saturating_add(self.limits.target_bytes);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_header_size(most)
            // The least that the layer takes is 8 KiB.
            .max_buf_size(most.max(8 * 1024));
        builder
    }
}

/// A time within a tenth of this one, so that those who connected at once do not
/// all come back at once.
fn spread(age: Duration) -> Duration {
    let drawn = RandomState::new().hash_one(()) % 201;
    age * u32::try_from(900 + drawn).unwrap_or(1000) / 1000
}

async fn pause_after(error: &io::Error) {
    match error.kind() {
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::Interrupted => tracing::debug!(%error, "a caller left before accept"),
        _ => {
            tracing::error!(%error, "accept failed");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

async fn establish(socket: Accepted, entrance: &Entrance) -> Result<Established, Refused> {
    let over_unix = socket.address().is_none();
    let (transport, peer) = identify(socket, entrance).await?;
    let refused = |peer: &Peer, why| Refused { peer: peer.address().to_string(), why };
    match Rewound::read_protocol(transport).await {
        Ok((_, Protocol::Http1)) if !entrance.front_door => {
            let why = io::Error::new(io::ErrorKind::InvalidData, "does not speak HTTP/2");
            Err(refused(&peer, why))
        }
        Ok((connection, protocol @ Protocol::Http2)) if over_unix => {
            let connection = connection.with_well_formed_authorities();
            Ok(Established { connection, protocol, peer })
        }
        Ok((connection, protocol)) => Ok(Established { connection, protocol, peer }),
        Err(why) => Err(refused(&peer, why)),
    }
}

/// The transport of a socket, after its TLS handshake, and its peer.
async fn identify(
    socket: Accepted,
    Entrance { admission, claims, .. }: &Entrance,
) -> Result<(Box<dyn Transport>, Peer), Refused> {
    let claims = claims.clone();
    match (socket, admission) {
        (Accepted::Tcp(stream, address), Admission::Mtls(tls)) => {
            let loaded = tls.current();
            let handshake = TlsAcceptor::from(loaded.config()).accept(stream).await;
            let stream = handshake.map_err(|why| Refused { peer: address.to_string(), why })?;
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let peer = Peer::of_tls(address, tls.clone(), &loaded, chain, claims);
            Ok((Box::new(stream), peer))
        }
        (Accepted::Tcp(stream, address), _) => {
            Ok((Box::new(stream), Peer::of_tcp(address, claims)))
        }
        (Accepted::Unix(stream), admission) => match Peer::of_unix(&stream, admission, claims) {
            Ok(peer) => Ok((Box::new(stream), peer)),
            Err(why) => Err(Refused { peer: "unix".to_owned(), why }),
        },
    }
}
