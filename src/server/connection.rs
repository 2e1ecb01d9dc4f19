//! One connection: its bytes, its peer, its permit.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
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

/// A connection whose preface was read; it is played back to the HTTP/2 layer.
///
/// `is_write_vectored` keeps its default, `false`, on purpose: h2 then sends a
/// response of up to 1,024 bytes in one write instead of two, half the cost of
/// an empty RPC.
pub(super) struct Connection {
    transport: Transport,
    played_back_bytes: usize,
}

impl Connection {
    pub(super) const fn new(transport: Transport) -> Self {
        Self { transport, played_back_bytes: 0 }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(rest) = PREFACE.get(self.played_back_bytes..).filter(|rest| !rest.is_empty()) {
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
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
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
    /// By a certificate, which may expire or be revoked meanwhile.
    Certified(Result<Principal, NoPrincipal>, ClientCertificate),
}

impl Peer {
    /// Who asks. Asked anew for each request: a connection outlives
    /// certificates.
    pub(super) fn principal(&self) -> Result<&Principal, Error> {
        let refused = |why: String| Error::from(Rule::Authenticated).saying(why);
        match &self.identity {
            Identity::Known(principal) => Ok(principal),
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
