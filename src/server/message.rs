//! Reads the message of an RPC whole, within limits of size and time.
//!
//! A caller may send a head and no message: until the message is there, nothing is
//! done for it, and no permit is taken.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::Request;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use prost::bytes::{Bytes, BytesMut};
use tokio::time::Sleep;

use crate::error::{Error, Result, Rule};
use crate::limits::REQUEST_BYTES;

/// PROTOCOL-HTTP2: a byte of compression and four of length stand before a message.
const PREFIX_BYTES: usize = 5;

/// A request whose message is being read.
pub(super) struct MessageReader {
    /// There until the message is.
    head: Option<Parts>,
    body: Incoming,
    read: Bytes,
    by: Instant,
    /// Made when the message first waits; many never do.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl MessageReader {
    /// Begins to read, whole by `by`.
    pub(super) fn begin(request: Request<Incoming>, by: Instant) -> Self {
        let (head, body) = request.into_parts();
        Self { head: Some(head), body, read: Bytes::new(), by, alarm: None }
    }

    /// The request with its message.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Request<Full<Bytes>>>> {
        let Poll::Ready(read) = self.poll_body(cx) else {
            let by = self.by.into();
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(by)));
            ready!(alarm.as_mut().poll(cx));
            return Poll::Ready(Err(too_slow()));
        };
        let head = read.and_then(|()| self.head.take().ok_or_else(not_whole))?;
        if !is_one_message(&self.read) {
            return Poll::Ready(Err(not_whole()));
        }
        Poll::Ready(Ok(Request::from_parts(head, Full::new(std::mem::take(&mut self.read)))))
    }

    /// Reads to the end. The usual message is one piece, and is not copied.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let Ok(piece) = frame.map_err(|_| not_whole())?.into_data() else { continue };
            if self.read.len() + piece.len() > REQUEST_BYTES.max + PREFIX_BYTES {
                return Poll::Ready(Err(Rule::RequestTooLarge.into()));
            }
            self.read = if self.read.is_empty() { piece } else { joined(&mut self.read, &piece) };
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether it is one message with its prefix, and nothing behind it. One that says that
/// it is too large is left to be told so.
fn is_one_message(read: &[u8]) -> bool {
    let Some((&[_, a, b, c, d], message)) = read.split_first_chunk() else { return false };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    message.len() == length || length > REQUEST_BYTES.max
}

/// Two pieces as one, in the memory of the first where that is nobody else's.
fn joined(first: &mut Bytes, second: &[u8]) -> Bytes {
    let mut both = BytesMut::from(std::mem::take(first));
    both.extend_from_slice(second);
    both.freeze()
}

fn not_whole() -> Error {
    Error::invalid("request", "it is not one whole message of this RPC")
}

fn too_slow() -> Error {
    Error::from(Rule::DeadlinePassed).saying("The message of the request did not come in time.")
}
