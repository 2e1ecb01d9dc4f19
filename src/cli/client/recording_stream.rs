//! A stream that remembers how it broke.
//!
//! A TLS 1.3 server refuses a client's certificate only after the handshake has
//! ended on our side. The connection then breaks between two requests, where
//! HTTP/2's own machinery drops the cause. It is kept here, as is what a TLS server
//! says to a client without TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::causes::causes;

/// A server's first bytes were those of TLS, where HTTP/2 was expected.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server speaks TLS")]
pub struct SpokeTls;

/// The first error of a stream, once it has one.
#[derive(Clone, Debug, Default)]
pub struct FirstError(Arc<OnceLock<io::Error>>);

impl FirstError {
    /// The error, if there was one.
    pub fn get(&self) -> Option<&io::Error> {
        self.0.get()
    }

    /// An `io::Error` cannot be cloned; the TLS error inside can.
    fn record(&self, error: &io::Error) {
        self.0.get_or_init(|| {
            if causes(error).any(<dyn std::error::Error>::is::<SpokeTls>) {
                return io::Error::new(error.kind(), SpokeTls);
            }
            match causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
                Some(tls) => io::Error::new(error.kind(), tls.clone()),
                None => io::Error::new(error.kind(), error.to_string()),
            }
        });
    }
}

/// A stream whose first error is recorded.
#[derive(Debug)]
pub struct RecordingStream<S> {
    stream: S,
    first_error: FirstError,
    /// Whether the peer has said anything yet.
    heard: bool,
    /// A write that failed, while what the peer sent before is being read.
    failed_write: Option<io::Error>,
}

impl<S: AsyncRead + Unpin> RecordingStream<S> {
    /// Records the stream's first error in `first_error`.
    pub fn new(stream: S, first_error: FirstError) -> Self {
        Self { stream, first_error, heard: false, failed_write: None }
    }

    /// Refuses an answer that begins as a TLS record does (RFC 8446, 5.1: an alert or
    /// a handshake). HTTP/2 begins with the length of a short frame.
    fn hear(&mut self, said: &[u8]) -> io::Result<()> {
        let first = !std::mem::replace(&mut self.heard, true);
        if first && matches!(said, [0x15 | 0x16, 0x03, ..]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, SpokeTls));
        }
        Ok(())
    }

    /// A failed write says only that the peer is gone. The peer's last message
    /// says why, so that the stream is read to its end before the write fails. The
    /// connection is lost anyhow.
    fn read_to_end_if_failed<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) => self.failed_write = Some(error),
            written if self.failed_write.is_none() => return written,
            _ => {}
        }
        let mut discarded = [0; 1024];
        loop {
            let mut discarded = ReadBuf::new(&mut discarded);
            match Pin::new(&mut self.stream).poll_read(context, &mut discarded) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !discarded.filled().is_empty() => {
                    if let Err(error) = self.hear(discarded.filled()) {
                        self.first_error.record(&error);
                    }
                }
                Poll::Ready(end) => {
                    // The error of the read explains more than that of the write.
                    let failed_write = self.failed_write.take();
                    let error = end.err().or(failed_write);
                    let error = error.unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                    self.first_error.record(&error);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RecordingStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = read.map(|read| {
            read.and_then(|()| {
                let said = buffer.filled().get(before..).unwrap_or_default();
                if said.is_empty() { Ok(()) } else { self.hear(said) }
            })
        });
        if let Poll::Ready(Err(error)) = &read {
            self.first_error.record(error);
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for RecordingStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.read_to_end_if_failed(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.read_to_end_if_failed(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A stream that cannot be written to: it sends a last message, and then breaks.
    struct Dying(&'static [u8]);

    impl AsyncRead for Dying {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                let alert = rustls::AlertDescription::CertificateRequired;
                return Poll::Ready(Err(io::Error::other(rustls::Error::AlertReceived(alert))));
            }
            buffer.put_slice(self.0);
            self.0 = &[];
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Dying {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn is_alert(error: &io::Error) -> bool {
        causes(error).any(<dyn std::error::Error>::is::<rustls::Error>)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn the_peers_last_message_outlives_a_failed_write() {
        let first = FirstError::default();
        let mut stream = RecordingStream::new(Dying(b"settings"), first.clone());
        assert!(first.get().is_none());
        assert!(is_alert(&run(stream.write_all(b"preface")).unwrap_err()));
        assert!(is_alert(first.get().unwrap()));
    }

    #[test]
    fn a_tls_servers_alert_is_told_apart() {
        for (said, is_tls) in [
            (&b"\x15\x03\x03\0\x02\x02\x32"[..], true),
            (b"\x16\x03\x01", true),
            (b"\0\0\x18\x04", false),
            (b"HTTP/1.1 400", false),
        ] {
            let first = FirstError::default();
            let mut stream = RecordingStream::new(Dying(said), first.clone());
            let mut heard = [0; 16];
            assert_eq!(run(stream.read(&mut heard)).is_err(), is_tls, "{said:?}");
            let kept = first
                .get()
                .is_some_and(|error| causes(error).any(<dyn std::error::Error>::is::<SpokeTls>));
            assert_eq!(kept, is_tls, "{said:?}");
        }
    }

    #[test]
    fn an_error_of_a_read_is_recorded_too() {
        let first = FirstError::default();
        let mut stream = RecordingStream::new(Dying(b""), first.clone());
        assert!(run(stream.read_u8()).is_err());
        assert!(is_alert(first.get().unwrap()));
    }
}
