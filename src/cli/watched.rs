//! A stream that remembers how it broke.
//!
//! A TLS 1.3 server refuses a client's certificate only after the handshake
//! has ended on our side. The connection then breaks between two requests,
//! where HTTP/2's own machinery drops the cause; whoever asks for the stream
//! again gets it from here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::chain;

/// Why a stream broke, once it has.
#[derive(Clone, Debug, Default)]
pub struct Cause(Arc<Mutex<Option<io::Error>>>);

impl Cause {
    /// The cause, if there was one; it may be asked for more than once.
    #[must_use]
    pub fn told(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(copy)
    }

    fn note(&self, error: &io::Error) {
        let mut cause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cause.get_or_insert_with(|| copy(error));
    }
}

/// An `io::Error` cannot be cloned; what it wraps of TLS can.
fn copy(error: &io::Error) -> io::Error {
    match chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(tls) => io::Error::new(error.kind(), tls.clone()),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// A stream and where its end is noted.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    cause: Cause,
    /// A write that failed, while the other end's last words are being read.
    failed: Option<io::Error>,
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// Watches a stream.
    pub fn new(stream: S, cause: Cause) -> Self {
        Self { stream, cause, failed: None }
    }

    /// A write that failed says only that the other end is gone; what it said
    /// last is still to be read, and is read to its end. The connection is lost
    /// anyhow.
    fn hear_out<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Ready(Err(error)) => self.failed = Some(error),
            outcome if self.failed.is_none() => return outcome,
            _ => {}
        }
        let mut words = [0; 1024];
        loop {
            let mut words = ReadBuf::new(&mut words);
            match Pin::new(&mut self.stream).poll_read(context, &mut words) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !words.filled().is_empty() => {}
                Poll::Ready(end) => return Poll::Ready(Err(self.end(end.err()))),
            }
        }
    }

    /// What ended the reading explains more than the write that failed.
    fn end(&mut self, read: Option<io::Error>) -> io::Error {
        let failed = self.failed.take();
        let error = read.or(failed).unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        self.cause.note(&error);
        error
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Err(error)) = &outcome {
            self.cause.note(error);
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.hear_out(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.hear_out(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Cannot be written to; has last words, and then breaks.
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
        chain(error).any(<dyn std::error::Error>::is::<rustls::Error>)
    }

    fn end<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn what_the_other_end_said_last_outlives_a_failed_write() {
        let cause = Cause::default();
        let mut stream = Watched::new(Dying(b"settings"), cause.clone());
        assert!(cause.told().is_none());
        assert!(is_alert(&end(stream.write_all(b"preface")).unwrap_err()));
        assert!(is_alert(&cause.told().unwrap()));
        assert!(is_alert(&cause.told().unwrap()), "as often as it is asked for");
    }

    #[test]
    fn what_breaks_a_read_is_noted_too() {
        let cause = Cause::default();
        let mut stream = Watched::new(Dying(b""), cause.clone());
        assert!(end(stream.read_u8()).is_err());
        assert!(is_alert(&cause.told().unwrap()));
    }
}
