//! The bytes of one connection, and the protocol that they speak.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::authority::WellFormed;

/// The first bytes of every HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A TCP or a Unix stream, or TLS over one.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A transport whose first bytes were read to see which protocol it speaks. It
/// plays them back to the HTTP layer.
///
/// `is_write_vectored` keeps its default, `false`, on purpose: h2 then sends a
/// response of up to 1,024 bytes in one write instead of two, half the cost of
/// an empty RPC.
pub(super) struct Rewound {
    transport: Box<dyn Transport>,
    first_bytes: [u8; PREFACE.len()],
    /// How many of them were read, and how many were played back.
    read: usize,
    played_back: usize,
}

impl Rewound {
    /// Reads until the protocol is clear: HTTP/2 alone begins with its preface.
    pub(super) async fn read_protocol(
        mut transport: Box<dyn Transport>,
    ) -> io::Result<(Self, Protocol)> {
        let mut first_bytes = [0; PREFACE.len()];
        let mut read = 0;
        let mut protocol = Protocol::Http2;
        while let Some(room) = first_bytes.get_mut(read..).filter(|room| !room.is_empty()) {
            match transport.read(room).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => read += count,
            }
            if first_bytes.get(..read) != PREFACE.get(..read) {
                protocol = Protocol::Http1;
                break;
            }
        }
        Ok((Self { transport, first_bytes, read, played_back: 0 }, protocol))
    }

    /// The transport as HTTP/2 is to be read over a Unix socket.
    pub(super) fn with_well_formed_authorities(self) -> Self {
        Self { transport: Box::new(WellFormed::new(self.transport)), ..self }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.first_bytes.get(self.played_back..self.read).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, buf);
        }
        let part = rest.get(..buf.remaining()).unwrap_or(rest);
        buf.put_slice(part);
        self.played_back += part.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
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
