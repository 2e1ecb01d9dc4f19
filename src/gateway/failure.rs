//! The reply to a refused request: `{Code, Message, RequestId, HostId, Recommend}`.

use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use prost::bytes::Bytes;
use zeroize::Zeroizing;

use super::Seen;
use super::names;
use super::reply::ReplyMessage;
use crate::error::Error;

/// The SDKs' own header for the delay before a retry, in milliseconds.
const ACS_RETRY_AFTER: HeaderName = HeaderName::from_static("x-acs-retry-after");

/// The root element of a refusal in XML.
const ROOT: &str = "Error";

/// The reply to a request that was refused.
pub(super) fn response(error: &Error, seen: &Seen) -> Response<Bytes> {
    let rule = error.rule();
    let message = message(error);
    let reply = ReplyMessage::texts(&[
        ("Code", rule.reason()),
        ("Message", &message),
        ("RequestId", &seen.request_id),
        ("HostId", &seen.host),
        ("Recommend", ""),
    ]);
    let status =
        StatusCode::from_u16(rule.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Writing five texts does not fail; if it did, the reply would have no body.
    let body = seen.format.write(ROOT, &reply).unwrap_or_default();
    let mut response = super::response(status, seen, body);
    tell_when_to_retry(error, response.headers_mut());
    response
}

/// The error's text, with the API's name of the field that it blames.
fn message(error: &Error) -> Zeroizing<String> {
    let text = error.text();
    Zeroizing::new(match error.field() {
        None => text.to_owned(),
        Some(field) => text.replace(&format!("\"{field}\""), &format!("\"{}\"", names::of(field))),
    })
}

fn tell_when_to_retry(error: &Error, headers: &mut HeaderMap) {
    let Some(delay) = error.retry_after() else { return };
    let milliseconds = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    headers.insert(ACS_RETRY_AFTER, HeaderValue::from(milliseconds));
    headers.insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
}
