//! From a socket to a served connection: permit, handshake, preface.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Identity, PREFACE, Peer, PeerAddress, SharedPeer, Transport};
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
                    Ok(accepted) => self.admit(accepted, listener.admission().clone(), permit),
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

    fn admit(&self, accepted: Accepted, admission: Admission, permit: OwnedSemaphorePermit) {
        let gate = self.clone();
        self.connections.spawn(async move {
            let established = tokio::select! {
                done = tokio::time::timeout(gate.limits.handshake, establish(accepted, admission)) => done,
                () = gate.phases.stop.cancelled() => return,
            };
            match established {
                Ok(Ok((transport, peer))) => gate.serve(transport, peer).await,
                Ok(Err(refused)) => refused.log(),
                Err(_) => tracing::debug!("connection dropped: no handshake within the limit"),
            }
            drop(permit);
        });
    }

    async fn serve(&self, transport: Transport, peer: SharedPeer) {
        let io = TokioIo::new(Connection::new(transport));
        let edge = self.front.edge(peer);
        let mut serving = std::pin::pin!(self.http2().serve_connection(io, edge));
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
    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams_per_connection)
            .max_header_list_size(self.limits.header_list_bytes)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(256)
            .initial_stream_window_size(128 * 1024)
            .initial_connection_window_size(1024 * 1024)
            .keep_alive_interval(self.limits.keepalive_interval)
            .keep_alive_timeout(self.limits.keepalive_timeout);
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

async fn establish(
    accepted: Accepted,
    admission: Admission,
) -> Result<(Transport, SharedPeer), Refused> {
    let (mut transport, peer) = match (accepted, admission) {
        (Accepted::Tcp(stream, peer), Admission::Mtls(tls)) => {
            let address = PeerAddress::Tcp(peer);
            match handshake(stream, tls).await {
                Ok((transport, identity)) => (transport, Peer { address, identity }),
                Err(why) => return Err(Refused { peer: address, why }),
            }
        }
        (Accepted::Tcp(stream, peer), _) => {
            // Only `--dev` makes a listener for plaintext TCP.
            let peer = Peer {
                address: PeerAddress::Tcp(peer),
                identity: Identity::Known(Principal::dev()),
            };
            (Transport::Tcp(stream), peer)
        }
        (Accepted::Unix(stream), admission) => {
            let peer = unix_peer(&stream, &admission)
                .map_err(|why| Refused { peer: PeerAddress::Unix { pid: None }, why })?;
            (Transport::Unix(stream), peer)
        }
    };
    match preface(&mut transport).await {
        Ok(()) => Ok((transport, Arc::new(peer))),
        Err(why) => Err(Refused { peer: peer.address, why }),
    }
}

async fn handshake(
    stream: tokio::net::TcpStream,
    tls: Arc<Tls>,
) -> io::Result<(Transport, Identity)> {
    let generation = tls.generation();
    let stream = TlsAcceptor::from(generation.config()).accept(stream).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
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

/// Reads the preface before HTTP/2 does, under the handshake's limit: the
/// layer itself would wait for it for ever.
async fn preface(transport: &mut Transport) -> io::Result<()> {
    let mut found = [0; PREFACE.len()];
    transport.read_exact(&mut found).await?;
    if found == PREFACE {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "does not speak HTTP/2"))
}
