//! The encryption context: the caller's public pairs, needed again to open.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::limits::{CONTEXT_CHARS, CONTEXT_PAIRS};

/// A context over a limit. Its text says what was found and what would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ContextTooLarge {
    /// Too many pairs.
    #[error("it has {found} pairs, {CONTEXT_PAIRS} are accepted")]
    Pairs {
        /// How many there are.
        found: usize,
    },
    /// Too many characters.
    #[error(
        "its keys and values have {found} Unicode characters in all, \
         {CONTEXT_CHARS} are accepted"
    )]
    Characters {
        /// How many there are.
        found: usize,
    },
}

/// Pairs within the limits. Keys and values are compared as bytes, not
/// normalised; no pairs and no context are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionContext {
    pairs: BTreeMap<String, String>,
    /// A request asks for it twice: when it is judged, and at the key's door.
    sha256: [u8; 32],
}

impl Default for EncryptionContext {
    fn default() -> Self {
        Self::of(BTreeMap::new())
    }
}

impl EncryptionContext {
    /// Judges the pairs that a caller sent.
    pub fn new(pairs: BTreeMap<String, String>) -> Result<Self, ContextTooLarge> {
        if !CONTEXT_PAIRS.allows(pairs.len()) {
            return Err(ContextTooLarge::Pairs { found: pairs.len() });
        }
        let found: usize = pairs.iter().map(|(k, v)| k.chars().count() + v.chars().count()).sum();
        if !CONTEXT_CHARS.allows(found) {
            return Err(ContextTooLarge::Characters { found });
        }
        Ok(Self::of(pairs))
    }

    fn of(pairs: BTreeMap<String, String>) -> Self {
        let mut encoding = Vec::with_capacity(encoded_len(&pairs));
        encode(&pairs, &mut encoding);
        Self { pairs, sha256: Sha256::digest(encoding).into() }
    }

    /// The pairs, in bytewise order of keys.
    #[must_use]
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.pairs
    }

    /// SHA-256 of the encoding: the context's name in a `Grant` and in audit.
    #[must_use]
    pub const fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Appends the encoding that is authenticated.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode(&self.pairs, out);
    }

    /// Length of the encoding.
    pub(crate) fn encoded_len(&self) -> usize {
        encoded_len(&self.pairs)
    }
}

/// u32 number of pairs, then per pair, in bytewise order of keys, u32 length ‖ key ‖
/// u32 length ‖ value; big-endian. With the lengths ("ab", "c") and ("a", "bc")
/// differ.
fn encode(pairs: &BTreeMap<String, String>, out: &mut Vec<u8>) {
    encode_count(out, pairs.len());
    for (key, value) in pairs {
        encode_prefixed(out, key.as_bytes());
        encode_prefixed(out, value.as_bytes());
    }
}

fn encoded_len(pairs: &BTreeMap<String, String>) -> usize {
    let pair = |(key, value): (&String, &String)| 8 + key.len() + value.len();
    4 + pairs.iter().map(pair).sum::<usize>()
}

/// Bytes with their length before them.
pub(super) fn encode_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    encode_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// A count as a big-endian u32. INVARIANT: the limits above keep every count
/// far under 2^32, so that saturating never makes two counts alike.
fn encode_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        EncryptionContext::new(pairs).expect("within the limits")
    }

    fn encoding(context: &EncryptionContext) -> Vec<u8> {
        let mut out = Vec::new();
        context.encode(&mut out);
        out
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        assert_eq!(encoding(&context(&[])), [0, 0, 0, 0]);
        assert_eq!(
            encoding(&context(&[("b", ""), ("a", "xy")])),
            b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02xy\0\0\0\x01b\0\0\0\0"
        );
    }

    #[test]
    fn order_is_bytewise() {
        // U+FFFF sorts after U+10000 in UTF-16, before it in UTF-8.
        let encoding = encoding(&context(&[("\u{10000}", ""), ("\u{ffff}", ""), ("Z", "")]));
        let order = encoding.iter().filter(|b| [b'Z', 0xef, 0xf0].contains(b)).copied();
        assert_eq!(order.collect::<Vec<_>>(), [b'Z', 0xef, 0xf0]);
    }

    #[test]
    fn contexts_that_would_collide_without_lengths_differ() {
        let colliding = [
            context(&[("ab", "c")]),
            context(&[("a", "bc")]),
            context(&[("abc", "")]),
            context(&[("", "abc")]),
            context(&[("a", ""), ("b", "c")]),
            context(&[("a", "b"), ("c", "")]),
            context(&[]),
            context(&[("", "")]),
        ];
        for (i, a) in colliding.iter().enumerate() {
            for b in &colliding[i + 1..] {
                assert_ne!(a.sha256(), b.sha256(), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        let fits = "汉".repeat(CONTEXT_CHARS.max - 1);
        assert_eq!(context(&[("k", &fits)]).pairs().len(), 1);
        let over = BTreeMap::from([("kk".to_owned(), fits)]);
        let refused = EncryptionContext::new(over).expect_err("one too many");
        assert_eq!(
            refused.to_string(),
            "its keys and values have 8193 Unicode characters in all, at most 8192 Unicode characters are accepted"
        );
    }

    #[test]
    fn pairs_are_counted() {
        let pairs = |n: usize| (0..n).map(|i| (i.to_string(), String::new())).collect();
        assert!(EncryptionContext::new(pairs(CONTEXT_PAIRS.max)).is_ok());
        let refused =
            EncryptionContext::new(pairs(CONTEXT_PAIRS.max + 1)).expect_err("one too many");
        assert_eq!(refused.to_string(), "it has 129 pairs, at most 128 pairs are accepted");
    }

    /// Reads an encoding back: what decodes uniquely cannot collide.
    fn decode(mut bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
            let (head, tail) = bytes.split_at(n);
            *bytes = tail;
            head
        }
        fn count(bytes: &mut &[u8]) -> usize {
            u32::from_be_bytes(take(bytes, 4).try_into().expect("4 bytes")) as usize
        }
        fn prefixed(bytes: &mut &[u8]) -> Vec<u8> {
            let n = count(bytes);
            take(bytes, n).to_vec()
        }
        let pairs =
            (0..count(&mut bytes)).map(|_| (prefixed(&mut bytes), prefixed(&mut bytes))).collect();
        assert!(bytes.is_empty());
        pairs
    }

    proptest! {
        #[test]
        fn the_encoding_can_be_read_back(pairs: BTreeMap<String, String>) {
            let context = EncryptionContext::new(pairs.clone()).expect("within the limits");
            let encoding = encoding(&context);
            prop_assert_eq!(encoding.len(), context.encoded_len());
            let expected: Vec<_> =
                pairs.into_iter().map(|(k, v)| (k.into_bytes(), v.into_bytes())).collect();
            prop_assert_eq!(decode(&encoding), expected);
        }

        #[test]
        fn order_of_pairs_does_not_matter(
            pairs in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..8).prop_flat_map(|map| {
                let pairs: Vec<_> = map.into_iter().collect();
                (Just(pairs.clone()), Just(pairs).prop_shuffle())
            })
        ) {
            let [a, b] = [pairs.0, pairs.1].map(|pairs| {
                EncryptionContext::new(pairs.into_iter().collect()).expect("within the limits")
            });
            prop_assert_eq!(a.sha256(), b.sha256());
        }
    }
}
