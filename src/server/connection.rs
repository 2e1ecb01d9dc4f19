//! One connection: its bytes and its peer.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::tls::ClientCertificate;
use crate::access::principal::{NoPrincipal, Principal};
use crate::error::{Error, Rule};

/// What every HTTP/2 connection begins with (RFC 9113, 3.4).
pub(super) const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The transport of one connection.
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// What was read of a connection to see what it speaks.
#[derive(Default)]
pub(super) struct ReadAhead {
    bytes: [u8; PREFACE.len()],
    len_bytes: usize,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl ReadAhead {
    /// Reads until it is clear what the transport speaks: HTTP/2 alone begins
    /// with its preface.
    pub(super) async fn read(transport: &mut Transport) -> io::Result<(Self, Protocol)> {
        let mut ahead = Self::default();
        while let Some(room) = ahead.bytes.get_mut(ahead.len_bytes..).filter(|r| !r.is_empty()) {
            match transport.read(room).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => ahead.len_bytes += count,
            }
            if !PREFACE.starts_with(ahead.found()) {
                return Ok((ahead, Protocol::Http1));
            }
        }
        Ok((ahead, Protocol::Http2))
    }

    fn found(&self) -> &[u8] {
        self.bytes.get(..self.len_bytes).unwrap_or_default()
    }
}

/// A connection; what was read of it before is played back to the HTTP layer.
///
/// `is_write_vectored` keeps its default, `false`, on purpose: h2 then sends a
/// response of up to 1,024 bytes in one write instead of two, half the cost of
/// an empty RPC.
pub(super) struct Connection {
    transport: Transport,
    ahead: ReadAhead,
    played_back_bytes: usize,
    patience: Option<Patience>,
}

/// With a peer that takes nothing. HTTP/2 has pings for that.
struct Patience {
    limit: Duration,
    /// There while the peer takes nothing.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(super) const fn new(transport: Transport, ahead: ReadAhead) -> Self {
        Self { transport, ahead, played_back_bytes: 0, patience: None }
    }

    /// Breaks off where the peer takes nothing for so long.
    pub(super) fn with_patience(self, limit: Duration) -> Self {
        Self { patience: Some(Patience { limit, alarm: None }), ..self }
    }

    /// What writing came to, or the end of patience.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let Some(patience) = &mut self.patience else { return polled };
        if polled.is_ready() {
            patience.alarm = None;
            return polled;
        }
        let limit = patience.limit;
        let alarm = patience.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        alarm.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let found = self.ahead.found().get(self.played_back_bytes..);
        if let Some(rest) = found.filter(|rest| !rest.is_empty()) {
            let part = rest.get(..buf.remaining()).unwrap_or(rest);
            buf.put_slice(part);
            self.played_back_bytes += part.len();
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.transport).poll_flush(cx);
        self.written(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.written(cx, polled)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The other end of a connection, as far as the connection proves it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: PeerAddress,
    pub(super) identity: Identity,
}

#[derive(Debug)]
pub(super) enum PeerAddress {
    Tcp(SocketAddr),
    Unix { pid: Option<i32> },
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix { pid: Some(pid) } => write!(f, "pid:{pid}"),
            Self::Unix { pid: None } => f.write_str("unix"),
        }
    }
}

#[derive(Debug)]
pub(super) enum Identity {
    /// Known once and for all.
    Known(Principal),
    /// No certificate was shown, where none has to be.
    Unknown,
    /// By a certificate, which may expire or be revoked meanwhile.
    Certified(Result<Principal, NoPrincipal>, ClientCertificate),
}

impl Peer {
    /// Who asks. Asked anew for each request: a connection outlives
    /// certificates.
    pub(super) fn principal(&self) -> Result<&Principal, Error> {
        let refused = |why: String| Error::from(Rule::NotAuthenticated).saying(why);
        match &self.identity {
            Identity::Known(principal) => Ok(principal),
            Identity::Unknown => Err(refused(
                "The caller is not authenticated: gRPC callers show a client certificate here."
                    .to_owned(),
            )),
            Identity::Certified(Err(nobody), _) => Err(refused(format!(
                "The caller is not authenticated: {nobody}."
            ))),
            Identity::Certified(Ok(principal), certificate) if certificate.still_good() => {
                Ok(principal)
            }
            Identity::Certified(Ok(_), _) => Err(refused(
                "The caller is not authenticated: the client certificate has expired or is no longer accepted."
                    .to_owned(),
            )),
        }
    }
}

/// Shared by the requests of one connection.
pub(super) type SharedPeer = Arc<Peer>;
