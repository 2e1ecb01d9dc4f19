//! Identifiers: a CMK's, a key version's, a store's.

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
    /// An alias's place in the order of creation.
    AliasId
);
id!(
    /// The id of a store.
    StoreId
);
id!(
    /// The id of a store key.
    StoreKeyId
);

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
    fn order_of_ids_is_order_of_creation() {
        let ids: Vec<String> = (0..10_000).map(|_| KeyVersionId::new().to_string()).collect();
        assert!(ids.is_sorted());
    }
}
