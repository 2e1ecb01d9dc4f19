//! The rest of a body when its request is refused.
//!
//! A connection that is closed, or a stream that is reset, while its peer still
//! sends may lose the answer on the way: the kernel throws away what the peer has
//! not read yet. So what is left is read first, within limits.

use std::time::Duration;

use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::BodyExt;
use prost::bytes::Buf;

/// Most bytes that are read, and for how long.
const BYTES_MAX: usize = 1 << 20;
const TIME_MAX: Duration = Duration::from_secs(2);
/// A peer who sends nothing for so long may have stopped.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Whether the peer waits to be asked for its body, by the head of its request.
pub(super) fn waits_to_be_asked(head: &HeaderMap) -> bool {
    head.contains_key(header::EXPECT)
}

/// Reads what is left and forgets it. Not where the peer waits to be asked: reading
/// would ask.
pub(super) async fn drain<B: Body + Unpin>(waits_to_be_asked: bool, body: &mut B) {
    if !waits_to_be_asked {
        let _ = tokio::time::timeout(TIME_MAX, read(body)).await;
    }
}

async fn read<B: Body + Unpin>(body: &mut B) {
    let mut left = BYTES_MAX;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(PAUSE_MAX, body.frame()).await {
        let read = frame.data_ref().map_or(0, Buf::remaining);
        let Some(still_left) = left.checked_sub(read) else { return };
        left = still_left;
    }
}
