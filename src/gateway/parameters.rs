//! The parameters of a request: those of the query and those of the form.
//!
//! The signature schemes leave some cases open. Here they are refused: a name has
//! one value, and text that does not decode cleanly is not guessed at. If two
//! readers guessed differently, one request could be signed and another carried
//! out.

use std::fmt;

use percent_encoding::percent_decode_str;
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result, Rule};
use crate::limits::{PARAMETER_NAME_BYTES, PARAMETERS, REQUEST_BYTES};

/// Names and values, in bytewise order of names, each name once. Values may be
/// secrets (`Plaintext=`): they are wiped when dropped, and never printed.
pub struct Parameters(Vec<(String, Zeroizing<String>)>);

impl Parameters {
    /// Reads a query and a body of `application/x-www-form-urlencoded`, as they
    /// were sent. In both a `+` is a space. A name may stand twice with the same
    /// value.
    pub fn read(query: Option<&str>, form: Option<&[u8]>) -> Result<Self> {
        let query = query.unwrap_or_default();
        let form = form.unwrap_or_default();
        // Together, and as they were sent.
        if !REQUEST_BYTES.allows(query.len() + form.len()) {
            return Err(Rule::RequestTooLarge.into());
        }
        let form = std::str::from_utf8(form).map_err(|_| unreadable("the form is not UTF-8"))?;
        // Counted before memory is allocated.
        let count = pieces(query).count() + pieces(form).count();
        if !PARAMETERS.allows(count) {
            return Err(unreadable(format_args!("there are {count}, {PARAMETERS} are accepted")));
        }
        let mut read = Vec::with_capacity(count);
        for piece in pieces(query).chain(pieces(form)) {
            read.push(pair(piece)?);
        }
        each_once(read)
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.position(name).ok()?;
        self.0.get(at).map(|(_, value)| value.as_str())
    }

    /// Removes the value of that name.
    pub fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        self.position(name).ok().map(|at| self.0.remove(at).1)
    }

    /// Names and values in bytewise order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({})", self.0.len())
    }
}

/// The `name=value` pieces. Empty ones, as between `&&`, are skipped.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split('&').filter(|piece| !piece.is_empty())
}

/// A name without `=` has the empty value.
fn pair(piece: &str) -> Result<(String, Zeroizing<String>)> {
    let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
    let mut name = decoded(name)?;
    match name.len() {
        0 => Err(unreadable("one has no name")),
        length if PARAMETER_NAME_BYTES.allows(length) => {
            Ok((std::mem::take(&mut *name), decoded(value)?))
        }
        _ => Err(unreadable(format_args!("a name has {PARAMETER_NAME_BYTES}"))),
    }
}

/// Decodes into a buffer that never grows, so that no copy is left behind.
fn decoded(sent: &str) -> Result<Zeroizing<String>> {
    if !escapes_are_whole(sent.as_bytes()) {
        return Err(unreadable("a % is not followed by two hexadecimal digits"));
    }
    let mut bytes = Vec::with_capacity(sent.len());
    // A `+` that was sent as %2B is no space: the runs between raw ones are
    // decoded one by one.
    for (n, run) in sent.split('+').enumerate() {
        if n > 0 {
            bytes.push(b' ');
        }
        bytes.extend(percent_decode_str(run));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(unreadable("one is not UTF-8"))
        }
    }
}

fn escapes_are_whole(mut sent: &[u8]) -> bool {
    while let Some((&byte, rest)) = sent.split_first() {
        sent = match (byte, rest) {
            (b'%', [high, low, rest @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                rest
            }
            (b'%', _) => return false,
            _ => rest,
        };
    }
    true
}

fn each_once(mut read: Vec<(String, Zeroizing<String>)>) -> Result<Parameters> {
    read.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut conflicting = None;
    read.dedup_by(|(name, value), (kept_name, kept)| {
        let same = name == kept_name;
        if same && *value != *kept {
            conflicting.get_or_insert_with(|| name.clone());
        }
        same
    });
    conflicting.map_or(Ok(Parameters(read)), |name| Err(given_twice(&name)))
}

fn given_twice(name: &str) -> Error {
    let text = format!("The parameter \"{name}\" is given twice, with two values.");
    unreadable("one is given twice, with two values").telling_the_caller(Zeroizing::new(text))
}

fn unreadable(found: impl fmt::Display) -> Error {
    let text = format!("The request's parameters cannot be read: {found}.");
    Error::from(Rule::UnreadableParameters).saying(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str, form: &str) -> Vec<(String, String)> {
        let read = Parameters::read(Some(query), Some(form.as_bytes())).expect(query);
        read.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn refusal(query: &str, form: &[u8]) -> Rule {
        Parameters::read(Some(query), Some(form)).expect_err(query).rule()
    }

    fn owned(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn query_and_form_are_one_list_in_bytewise_order() {
        let expected = [("A", "4"), ("Tag.1.Key", "2"), ("Tag.10.Key", "1"), ("a", "3")];
        assert_eq!(pairs("Tag.10.Key=1&Tag.1.Key=2", "a=3&A=4"), owned(&expected));
        assert_eq!(pairs("", ""), []);
        assert!(Parameters::read(None, None).expect("none").is_empty());
    }

    #[test]
    fn escapes_are_decoded_and_a_plus_is_a_space() {
        let expected = [("k v", "+ %&=~*/"), ("键", "值😀")];
        let sent = "k+v=%2B+%25%26%3d~*/&%E9%94%AE=%E5%80%BC%F0%9F%98%80";
        assert_eq!(pairs(sent, ""), owned(&expected));
        assert_eq!(pairs("", sent), owned(&expected));
    }

    #[test]
    fn values_may_be_empty_and_hold_equals_signs_and_names_may_not_be_empty() {
        assert_eq!(pairs("a=&b&c=d=e&&", ""), owned(&[("a", ""), ("b", ""), ("c", "d=e")]));
        assert_eq!(refusal("=a", b""), Rule::UnreadableParameters);
    }

    #[test]
    fn a_name_has_one_value() {
        assert_eq!(pairs("a=1&a=1", "a=%31"), owned(&[("a", "1")]));
        for (query, form) in [("a=1&a=2", ""), ("a=1", "a=2"), ("a=1&a=1&a=", ""), ("a", "%61=+")] {
            assert_eq!(
                refusal(query, form.as_bytes()),
                Rule::UnreadableParameters,
                "{query} {form}"
            );
        }
        let refused = Parameters::read(Some("PLANTED=1&PLANTED=2"), None).expect_err("twice");
        assert!(refused.text().contains("PLANTED") && !refused.to_string().contains("PLANTED"));
    }

    #[test]
    fn what_does_not_decode_is_refused() {
        for sent in ["a=%", "a=%4", "a=%zz", "%=a", "a=%+1", "a=%80", "a=%ED%A0%80", "a=%C0%AF"] {
            assert_eq!(refusal(sent, b""), Rule::UnreadableParameters, "{sent}");
            assert_eq!(refusal("", sent.as_bytes()), Rule::UnreadableParameters, "{sent}");
        }
        assert_eq!(refusal("", b"a=\xff"), Rule::UnreadableParameters);
    }

    #[test]
    fn the_limits_hold() {
        let many = |n: usize| (0..n).map(|i| format!("{i}=")).collect::<Vec<_>>().join("&");
        assert_eq!(pairs(&many(PARAMETERS.max), "").len(), PARAMETERS.max);
        assert_eq!(refusal(&many(PARAMETERS.max), b"more"), Rule::UnreadableParameters);
        assert_eq!(refusal(&many(10_000), b""), Rule::UnreadableParameters);
        assert_eq!(pairs(&"n".repeat(PARAMETER_NAME_BYTES.max), "").len(), 1);
        assert_eq!(
            refusal(&"n".repeat(PARAMETER_NAME_BYTES.max + 1), b""),
            Rule::UnreadableParameters
        );
        let half = format!("{}=", "v".repeat(200));
        let value = "v".repeat(REQUEST_BYTES.max - 203);
        assert_eq!(pairs(&half, &format!("a={value}")).len(), 2);
        assert_eq!(refusal(&half, format!("ab={value}v").as_bytes()), Rule::RequestTooLarge);
    }

    #[test]
    fn a_parameter_can_be_got_and_taken() {
        let mut read = Parameters::read(Some("a=1&b=2"), None).expect("two");
        assert_eq!((read.get("b"), read.get("c"), read.len()), (Some("2"), None, 2));
        assert_eq!(read.take("b").as_deref().map(String::as_str), Some("2"));
        assert!(read.take("b").is_none() && read.get("b").is_none() && !read.is_empty());
    }

    #[test]
    fn values_are_not_printed() {
        let read = Parameters::read(Some("Plaintext=PLANTED"), None).expect("one");
        assert_eq!(format!("{read:?} {read:#?}"), "Parameters(1) Parameters(1)");
    }
}
