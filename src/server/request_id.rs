//! The id of a request: in its answer, and in each of its log lines. It
//! correlates, and proves nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue};
use uuid::Uuid;

use crate::limits::REQUEST_ID_CHARS;

/// The header of a request and of its answer that holds the id.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// 1 to 64 characters of `[A-Za-z0-9._-]`.
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The one that the caller chose, if it has the form.
    pub(super) fn from_header(header: Option<HeaderValue>) -> Option<Self> {
        header.filter(|header| has_form(header.as_bytes())).map(Self::of)
    }

    /// A new one.
    pub(super) fn new() -> Self {
        let mut buffer = Uuid::encode_buffer();
        let uuid = new_uuid().as_hyphenated().encode_lower(&mut buffer);
        Self::of(HeaderValue::from_str(uuid).unwrap_or(HeaderValue::from_static("none")))
    }

    /// Sensitive to HPACK, which would else put each id into its table: none
    /// comes again, and they would push out the values that do.
    fn of(mut id: HeaderValue) -> Self {
        id.set_sensitive(true);
        Self(id)
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn has_form(id: &[u8]) -> bool {
    REQUEST_ID_CHARS.allows(id.len())
        && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// A version 4 UUID made by a keyed hash of a counter: to ask the kernel for
/// random bytes would cost more than all else about the id.
fn new_uuid() -> Uuid {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let [high, low] = KEYS.each_ref().map(|key| u128::from(key.hash_one(count)));
    uuid::Builder::from_random_bytes((high << 64 | low).to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_callers_are_kept_or_replaced() {
        let long = "a".repeat(64);
        for kept in ["a", "Req-1.2_3", &long] {
            assert!(has_form(kept.as_bytes()), "{kept}");
        }
        let longer = "a".repeat(65);
        for replaced in ["", " ", "a b", "a/b", "é", "a\n", &longer] {
            assert!(!has_form(replaced.as_bytes()), "{replaced:?}");
        }
    }

    #[test]
    fn new_ids_are_uuids_that_differ() {
        let ids: HashSet<String> =
            (0..1000).map(|_| RequestId::new().as_str().to_owned()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let uuid = Uuid::parse_str(&id).unwrap();
            assert_eq!(uuid.get_version(), Some(uuid::Version::Random), "{id}");
            assert_eq!(uuid.to_string(), id);
        }
        assert!(RequestId::new().header().is_sensitive());
    }
}
