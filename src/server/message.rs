//! Reads the message of an RPC whole, within limits of size and time.
//!
//! A caller may send a head and no message: until the message is there, nothing is
//! done for it, and no permit is taken.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::Request;
use http::request::Parts;
use http_body_util::combinators::Collect;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use prost::bytes::Bytes;
use tokio::time::Sleep;

use crate::error::{Error, Result, Rule};
use crate::limits::REQUEST_BYTES;

/// PROTOCOL-HTTP2: a byte of compression and four of length stand before a message.
const PREFIX_BYTES: usize = 5;

/// A request whose message is being read.
pub(super) struct MessageReader {
    /// There until the message is.
    head: Option<Parts>,
    message: Pin<Box<Collect<Limited<Incoming>>>>,
    by: Instant,
    /// Made when the message first waits; many never do.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl MessageReader {
    /// Begins to read, whole by `by`.
    pub(super) fn begin(request: Request<Incoming>, by: Instant) -> Self {
        let (head, body) = request.into_parts();
        let message = Box::pin(Limited::new(body, REQUEST_BYTES.max + PREFIX_BYTES).collect());
        Self { head: Some(head), message, by, alarm: None }
    }

    /// The request with its message.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Request<Full<Bytes>>>> {
        let Poll::Ready(read) = self.message.as_mut().poll(cx) else {
            let by = self.by.into();
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(by)));
            ready!(alarm.as_mut().poll(cx));
            return Poll::Ready(Err(too_slow()));
        };
        Poll::Ready(match (read, self.head.take()) {
            (Ok(message), Some(head)) => {
                Ok(Request::from_parts(head, Full::new(message.to_bytes())))
            }
            (Err(error), _) if error.is::<LengthLimitError>() => Err(Rule::RequestTooLarge.into()),
            _ => Err(Error::invalid("request", "it is not one whole message of this RPC")),
        })
    }
}

fn too_slow() -> Error {
    Error::from(Rule::DeadlinePassed).saying("The message of the request did not come in time.")
}
