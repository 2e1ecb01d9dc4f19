//! From a socket to a served connection: permit, handshake, what it speaks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::connection::{
    Connection, Identity, Peer, PeerAddress, Protocol, ReadAhead, SharedPeer, Transport,
};
use super::edge::Front;
use super::listener::{Accepted, Admission, Listener};
use super::tls::{ClientCertificate, Tls};
use super::{Limits, Phases};
use crate::access::principal::Principal;

/// The pause after an accept that failed for want of file descriptors or
/// memory, which trying at once would not mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is shared by all listeners.
#[derive(Clone)]
pub(super) struct Gate {
    front: Front,
    limits: Arc<Limits>,
    phases: Phases,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
}

impl Gate {
    pub(super) fn new(
        front: Front,
        limits: Arc<Limits>,
        phases: Phases,
        connections: TaskTracker,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(limits.connections));
        Self { front, limits, phases, permits, connections }
    }

    /// Accepts until told to stop. Nothing is accepted without a permit: who
    /// comes too many waits in the kernel's queue.
    pub(super) async fn accept_from(self, listener: Listener) {
        let accept = async {
            loop {
                let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
                match listener.accept().await {
                    Ok(accepted) => {
                        let gateway = self.front.has_gateway() && listener.gateway();
                        let entrance =
                            Entrance { admission: listener.admission().clone(), gateway };
                        self.admit(accepted, entrance, permit);
                    }
                    Err(error) => pause_after(&error).await,
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = self.phases.stop.cancelled() => {}
            () = self.phases.cut.cancelled() => {}
        }
    }

    fn admit(&self, accepted: Accepted, entrance: Entrance, permit: OwnedSemaphorePermit) {
        let gate = self.clone();
        self.connections.spawn(async move {
            let established = tokio::select! {
                done = tokio::time::timeout(gate.limits.handshake, establish(accepted, entrance)) => done,
                () = gate.phases.stop.cancelled() => return,
            };
            match established {
                Ok(Ok(established)) => gate.serve(established).await,
                Ok(Err(refused)) => refused.log(),
                Err(_) => tracing::debug!("connection dropped: no handshake within the limit"),
            }
            drop(permit);
        });
    }

    async fn serve(&self, established: Established) {
        let Established { transport, peer, ahead, protocol, gateway } = established;
        let connection = Connection::new(transport, ahead);
        let edge = self.front.edge(peer, gateway);
        match protocol {
            Protocol::Http2 => {
                let io = TokioIo::new(connection);
                self.drive(self.http2(gateway).serve_connection(io, edge)).await;
            }
            Protocol::Http1 => {
                let io = TokioIo::new(connection.with_patience(self.limits.idle));
                self.drive(self.http1().serve_connection(io, edge)).await;
            }
        }
    }

    async fn drive(&self, serving: impl GracefulConnection<Error = hyper::Error>) {
        let mut serving = std::pin::pin!(serving);
        let mut draining = false;
        let ended = loop {
            tokio::select! {
                ended = serving.as_mut() => break ended,
                () = self.phases.drain.cancelled(), if !draining => {
                    draining = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.phases.cut.cancelled() => return,
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended");
        }
    }

    /// HTTP/2 with every limit that the layer has. Rapid resets
    /// (CVE-2023-44487) and streams that we must reset end in GOAWAY.
    fn http2(&self, gateway: bool) -> http2::Builder<TokioExecutor> {
        let target = if gateway { self.limits.target_bytes } else { 0 };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams_per_connection)
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

/// Why a connection was not served.
struct Refused {
    peer: PeerAddress,
    why: io::Error,
}

impl Refused {
    fn log(&self) {
        tracing::info!(peer = %self.peer, why = %self.why, "connection refused");
    }
}

/// What a listener lets in.
struct Entrance {
    admission: Admission,
    gateway: bool,
}

/// A connection about to be served.
struct Established {
    transport: Transport,
    peer: SharedPeer,
    ahead: ReadAhead,
    protocol: Protocol,
    gateway: bool,
}

async fn establish(accepted: Accepted, entrance: Entrance) -> Result<Established, Refused> {
    let (mut transport, peer) = known(accepted, entrance.admission).await?;
    let spoken = match ReadAhead::read(&mut transport).await {
        Ok((_, Protocol::Http1)) if !entrance.gateway => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "does not speak HTTP/2"))
        }
        spoken => spoken,
    };
    match spoken {
        Ok((ahead, protocol)) => {
            let (peer, gateway) = (Arc::new(peer), entrance.gateway);
            Ok(Established { transport, peer, ahead, protocol, gateway })
        }
        Err(why) => Err(Refused { peer: peer.address, why }),
    }
}

/// The transport, and who is at its other end.
async fn known(accepted: Accepted, admission: Admission) -> Result<(Transport, Peer), Refused> {
    match (accepted, admission) {
        (Accepted::Tcp(stream, peer), Admission::Mtls(tls)) => {
            let address = PeerAddress::Tcp(peer);
            match handshake(stream, tls).await {
                Ok((transport, identity)) => Ok((transport, Peer { address, identity })),
                Err(why) => Err(Refused { peer: address, why }),
            }
        }
        (Accepted::Tcp(stream, peer), _) => {
            // Only `--dev` makes a listener for plaintext TCP.
            let identity = Identity::Known(Principal::dev());
            Ok((Transport::Tcp(stream), Peer { address: PeerAddress::Tcp(peer), identity }))
        }
        (Accepted::Unix(stream), admission) => {
            let peer = unix_peer(&stream, &admission)
                .map_err(|why| Refused { peer: PeerAddress::Unix { pid: None }, why })?;
            Ok((Transport::Unix(stream), peer))
        }
    }
}

async fn handshake(
    stream: tokio::net::TcpStream,
    tls: Arc<Tls>,
) -> io::Result<(Transport, Identity)> {
    let generation = tls.generation();
    let stream = TlsAcceptor::from(generation.config()).accept(stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if chain.is_empty() {
        // Only where the HTTP front door is does the handshake get here without.
        return Ok((Transport::Tls(Box::new(stream)), Identity::Unknown));
    }
    let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
    let certificate = ClientCertificate::new(tls, &generation, chain);
    let principal = Principal::from_certificate(certificate.leaf());
    Ok((Transport::Tls(Box::new(stream)), Identity::Certified(principal, certificate)))
}

/// `SO_PEERCRED`: who connected, as the kernel saw it then.
fn unix_peer(stream: &tokio::net::UnixStream, admission: &Admission) -> io::Result<Peer> {
    let credentials = stream.peer_cred()?;
    let principal = match admission {
        Admission::Dev => Principal::dev(),
        Admission::Mtls(_) | Admission::PeerUid => Principal::unix(credentials.uid()),
    };
    let address = PeerAddress::Unix { pid: credentials.pid() };
    Ok(Peer { address, identity: Identity::Known(principal) })
}
