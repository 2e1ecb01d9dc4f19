//! Reads a request's body, within limits of size and time.

use std::pin::pin;
use std::time::Instant;

use http_body::Body;
use http_body_util::BodyExt;
use prost::bytes::Buf;
use zeroize::Zeroizing;

use crate::error::{Error, Result, Rule};
use crate::limits::REQUEST_BYTES;

/// Reads the whole body. A body whose declared length is over the limit is not
/// read at all; any other is read no further than the limit.
pub(super) async fn read<B: Body>(body: B, by: Instant) -> Result<Zeroizing<Vec<u8>>> {
    let most = u64::try_from(REQUEST_BYTES.max).unwrap_or(u64::MAX);
    let hint = body.size_hint();
    if hint.lower() > most {
        return Err(Rule::RequestTooLarge.into());
    }
    // Allocated once: a buffer that grows leaves copies behind.
    let room = usize::try_from(hint.upper().unwrap_or(most).min(most)).unwrap_or(REQUEST_BYTES.max);
    let mut read = Zeroizing::new(Vec::with_capacity(room));
    let mut body = pin!(body);
    loop {
        let frame = tokio::time::timeout_at(by.into(), body.frame()).await;
        let frame = match frame.map_err(|_| too_slow())? {
            None => return Ok(read),
            Some(frame) => frame.map_err(|_| broken_off())?,
        };
        if let Ok(mut data) = frame.into_data() {
            take(&mut data, &mut read)?;
        }
    }
}

fn take(data: &mut impl Buf, read: &mut Vec<u8>) -> Result<()> {
    if data.remaining() > REQUEST_BYTES.max.saturating_sub(read.len()) {
        return Err(Rule::RequestTooLarge.into());
    }
    while data.has_remaining() {
        let chunk = data.chunk();
        read.extend_from_slice(chunk);
        let taken = chunk.len();
        data.advance(taken);
    }
    Ok(())
}

fn too_slow() -> Error {
    Error::from(Rule::DeadlinePassed).saying("The body of the request did not come in time.")
}

fn broken_off() -> Error {
    Error::from(Rule::UnreadableParameters).saying("The body of the request is not complete.")
}
