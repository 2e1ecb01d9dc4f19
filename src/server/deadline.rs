//! The deadline of a request, and work that must not outlast it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Result, Rule};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The deadline of a request over gRPC: what the caller gives, and `cap` at most.
pub(super) fn of_rpc(headers: &HeaderMap, began: Instant, cap: Duration) -> Result<Instant> {
    let Some(given) = headers.get(GRPC_TIMEOUT) else { return Ok(began + cap) };
    let given = timeout(given).ok_or_else(|| {
        Error::invalid("grpc-timeout", "it takes up to 8 digits and one of H, M, S, m, u, n")
    })?;
    let deadline = began + given.min(cap);
    if deadline <= Instant::now() {
        return Err(Rule::DeadlinePassed.into());
    }
    Ok(deadline)
}

/// PROTOCOL-HTTP2: `TimeoutValue TimeoutUnit`, the value a positive integer of
/// at most 8 digits.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(value * 3600)),
        b'M' => Some(Duration::from_secs(value * 60)),
        b'S' => Some(Duration::from_secs(value)),
        b'm' => Some(Duration::from_millis(value)),
        b'u' => Some(Duration::from_micros(value)),
        b'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// Does work until its deadline; a panic in it is an error.
pub(super) async fn bounded<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = pin!(work);
    let caught = std::future::poll_fn(|cx| poll_caught(work.as_mut(), cx));
    let in_time = tokio::time::timeout_at(deadline.into(), caught).await;
    in_time.map_err(|_| Rule::DeadlinePassed)??
}

/// Polls work, and makes an error of a panic in it.
pub(super) fn poll_caught<F: Future>(
    work: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<Result<F::Output>> {
    // Unwind safety: after a panic the future is dropped and never polled.
    match catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
        Ok(polled) => polled.map(Ok),
        // The panic hook has logged where. The text of a panic is told to nobody.
        Err(_) => Poll::Ready(Err(Rule::Internal.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_has_them() {
        let read = |text: &str| timeout(&HeaderValue::from_str(text).expect("header"));
        assert_eq!(read("2H"), Some(Duration::from_hours(2)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("3M"), Some(Duration::from_mins(3)));
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(read("0m"), Some(Duration::ZERO));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("8n"), Some(Duration::from_nanos(8)));
        for odd in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789n", " 1S", "1 S", "1SS"] {
            assert_eq!(read(odd), None, "{odd:?}");
        }
    }
}
