//! Percent-encoding for both schemes: of every character but the unreserved ones
//! of RFC 3986, 2.3.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but letters, digits and `-_.~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The encoded text, piece by piece: the whole may be secret, and is hashed
/// without being held in memory.
pub(super) fn encoded(text: &str) -> impl Iterator<Item = &str> {
    utf8_percent_encode(text, RESERVED)
}

/// Writes `name=value` pairs, encoded, in their order, with `&` between them.
pub(super) fn canonical<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    mut write: impl FnMut(&str),
) {
    for (n, (name, value)) in pairs.enumerate() {
        if n > 0 {
            write("&");
        }
        encoded(name).for_each(&mut write);
        write("=");
        encoded(value).for_each(&mut write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_unreserved_is_encoded() {
        for (text, expected) in [
            ("AZaz09-_.~", "AZaz09-_.~"),
            (" +*/%&=?:", "%20%2B%2A%2F%25%26%3D%3F%3A"),
            ("!'()\"\n\0", "%21%27%28%29%22%0A%00"),
            ("值😀", "%E5%80%BC%F0%9F%98%80"),
            ("", ""),
        ] {
            assert_eq!(encoded(text).collect::<String>(), expected);
        }
    }

    #[test]
    fn pairs_keep_their_order_and_empty_values() {
        let mut written = String::new();
        let pairs = [("a&b", "1=2"), ("c", ""), ("A", "~")];
        canonical(pairs.into_iter(), |piece| written.push_str(piece));
        assert_eq!(written, "a%26b=1%3D2&c=&A=~");
    }
}
