//! Identifiers: a CMK's, a key version's, an access key's, a store's.

use std::fmt;

use uuid::Uuid;

/// Length of an id's text: lower-case UUID with hyphens.
pub const TEXT_LEN_BYTES: usize = 36;

/// Text that is not a lower-case hyphenated UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later in byte order than those that this process made
            /// before (RFC 9562, UUID version 7), so that byte order is order
            /// of creation. Its random bits make it unique; they keep nothing
            /// secret.
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Reads the one text form that is accepted: 36 characters, lower
            /// case, hyphenated. Two texts for one id would be two names.
            pub fn parse(text: &str) -> Result<Self, MalformedId> {
                let uuid = Uuid::try_parse(text).map_err(|_| MalformedId)?;
                let id = Self(uuid);
                if id.to_string() == text { Ok(id) } else { Err(MalformedId) }
            }

            /// The id of these 16 bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| MalformedId)
            }

            /// The 16 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

id!(
    /// The id of a CMK.
    KeyId
);
id!(
    /// The id of a key version, at the head of every ciphertext blob.
    KeyVersionId
);
id!(
    /// The id of an alias: orders aliases by creation.
    AliasId
);
id!(
    /// Orders access keys by creation, as their own ids are random.
    AccessKeyOrder
);
id!(
    /// The id of a store.
    StoreId
);
id!(
    /// The id of a store key.
    StoreKeyId
);

id!(
    /// The id of an event of the audit log: of one request, or of one item of a stream.
    EventId
);
id!(
    /// The id of one run of one process over a store: it began one stretch of an audit
    /// log.
    RunId
);

impl EventId {
    /// The id of this time that ends in these ten bytes, but for the six bits that are
    /// the version's and the variant's (RFC 9562, 5.7).
    #[must_use]
    pub fn ending_in(tail: &[u8; 10], unix_millis: u64) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, tail).into_uuid())
    }
}

/// The beginning of every access key id.
const ACCESS_KEY_PREFIX: &[u8] = b"KF";
/// Length of what follows: 22 of 62 characters, 130 bits.
pub const ACCESS_KEY_TAIL_LEN_BYTES: usize = 22;
const ACCESS_KEY_LEN_BYTES: usize = 24;

/// The id of an access key: `KF` and 22 letters and digits, case and all. It
/// says nothing of when or for whom it was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId([u8; ACCESS_KEY_LEN_BYTES]);

impl AccessKeyId {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, MalformedId> {
        let bytes: [u8; ACCESS_KEY_LEN_BYTES] =
            text.as_bytes().try_into().map_err(|_| MalformedId)?;
        let tail = bytes.strip_prefix(ACCESS_KEY_PREFIX).ok_or(MalformedId)?;
        if tail.iter().all(u8::is_ascii_alphanumeric) { Ok(Self(bytes)) } else { Err(MalformedId) }
    }

    /// The id with this tail, which is drawn at random.
    pub fn of_tail(tail: [u8; ACCESS_KEY_TAIL_LEN_BYTES]) -> Result<Self, MalformedId> {
        let text = [ACCESS_KEY_PREFIX, &tail].concat();
        Self::parse(std::str::from_utf8(&text).map_err(|_| MalformedId)?)
    }

    /// The one text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT: letters and digits, as `parse` saw to.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_text_names_an_id() {
        let id = KeyId::new();
        let text = id.to_string();
        assert_eq!(KeyId::parse(&text), Ok(id));
        for other in [
            text.to_uppercase(),
            text.replace('-', ""),
            format!("{{{text}}}"),
            format!("urn:uuid:{text}"),
            format!(" {text}"),
            String::new(),
        ] {
            assert_eq!(KeyId::parse(&other), Err(MalformedId), "{other}");
        }
    }

    #[test]
    fn an_access_key_id_has_one_form() {
        let id = AccessKeyId::of_tail(*b"0123456789ABCDEFGHabcd").unwrap();
        assert_eq!(id.to_string(), "KF0123456789ABCDEFGHabcd");
        assert_eq!(AccessKeyId::parse(id.as_str()), Ok(id));
        assert_ne!(AccessKeyId::parse("KF0123456789ABCDEFGHABCD"), Ok(id));
        for other in [
            "",
            "KF",
            "kf0123456789ABCDEFGHabcd",
            "LF0123456789ABCDEFGHabcd",
            "KF0123456789ABCDEFGHabc",
            "KF0123456789ABCDEFGHabcde",
            "KF0123456789ABCDEFGHab/d",
            "KF0123456789ABCDEFGHab d",
            "KF0123456789ABCDEFGHabé",
        ] {
            assert_eq!(AccessKeyId::parse(other), Err(MalformedId), "{other}");
        }
        assert_eq!(AccessKeyId::of_tail(*b"0123456789ABCDEFGH\0bcd"), Err(MalformedId));
    }

    #[test]
    fn order_of_ids_is_order_of_creation() {
        let ids: Vec<String> = (0..10_000).map(|_| KeyVersionId::new().to_string()).collect();
        assert!(ids.is_sorted());
    }
}
