//! `x-forwarded-client-cert`, in which a proxy says whose certificate it has seen.
//!
//! The format is Envoy's: elements are parted by commas, one for each proxy on the way,
//! the pairs of an element by semicolons; a value may be in quotes, where a backslash
//! takes the next character as it is. The last element is of the proxy that speaks to
//! us. Read strictly: what two readers could read in two ways names nobody.
//!
//! ```text
//! By=spiffe://mesh/kms;Hash=ab…;Subject="CN=a, O=\"b\"";URI=spiffe://mesh/billing
//! ```

use crate::access::principal::Principal;

/// The name of the header.
pub const FORWARDED_CERT: &str = "x-forwarded-client-cert";

/// The key of the client's name.
const URI: &str = "URI";

/// Why a header names nobody. None of the texts repeats what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamesNobody {
    /// Not of the format: the part is named.
    #[error("{0} is not of the format")]
    Malformed(&'static str),
    /// An element has more than one URI.
    #[error("one of its elements has several URIs, so that the client's certificate has")]
    SeveralUris,
    /// The last element has no URI.
    #[error(
        "its last element has no URI: let the proxy forward it, and the client's certificate have one"
    )]
    NoUri,
    /// The URI is no SPIFFE ID.
    #[error("the URI of its last element is no SPIFFE ID")]
    NoSpiffeId,
}

/// The client that the last element names.
pub fn client(header: &str) -> Result<Principal, NamesNobody> {
    let (mut rest, mut uri) = (header, None);
    loop {
        let Pair { key, value, next } = Pair::read(rest)?;
        if key.eq_ignore_ascii_case(URI) {
            if key != URI {
                return Err(NamesNobody::Malformed("a key"));
            }
            if uri.replace(value).is_some() {
                return Err(NamesNobody::SeveralUris);
            }
        }
        match next {
            Next::Pair(text) => rest = text,
            Next::Element(text) => (rest, uri) = (text, None),
            Next::Nothing => break,
        }
    }
    let uri = uri.ok_or(NamesNobody::NoUri)?;
    Principal::from_spiffe_id(uri).map_err(|_| NamesNobody::NoSpiffeId)
}

/// A key, its value as it is written between the quotes, and what follows.
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
    next: Next<'a>,
}

enum Next<'a> {
    Pair(&'a str),
    Element(&'a str),
    Nothing,
}

impl<'a> Pair<'a> {
    fn read(text: &'a str) -> Result<Self, NamesNobody> {
        let (key, rest) = text.split_once('=').ok_or(NamesNobody::Malformed("a pair"))?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(NamesNobody::Malformed("a key"));
        }
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => until_quote(quoted)?,
            None => until_mark(rest)?,
        };
        let next = match (rest.strip_prefix(';'), rest.strip_prefix(',')) {
            (Some(pairs), _) => Next::Pair(pairs),
            (_, Some(elements)) => Next::Element(elements),
            _ if rest.is_empty() => Next::Nothing,
            _ => return Err(NamesNobody::Malformed("what follows a quoted value")),
        };
        Ok(Self { key, value, next })
    }
}

/// A value without quotes, and what is after.
fn until_mark(text: &str) -> Result<(&str, &str), NamesNobody> {
    let (value, rest) = text.split_at(text.find([';', ',']).unwrap_or(text.len()));
    if value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\')) {
        Ok((value, rest))
    } else {
        Err(NamesNobody::Malformed("a value"))
    }
}

/// What is before the quote that ends it, and what is after.
fn until_quote(text: &str) -> Result<(&str, &str), NamesNobody> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let (value, rest) = text.split_at(at);
                return Ok((value, rest.strip_prefix('"').unwrap_or(rest)));
            }
            _ => {}
        }
    }
    Err(NamesNobody::Malformed("a quoted value without its end"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BILLING: &str = "spiffe://mesh/ns/pay/sa/billing";

    fn named(header: &str) -> Option<String> {
        client(header).ok().map(|client| client.to_string())
    }

    #[test]
    fn the_last_element_names_the_client() {
        for header in [
            format!("URI={BILLING}"),
            format!("URI=\"{BILLING}\""),
            format!("By=spiffe://mesh/kms;Hash=0a1b;Subject=\"CN=a, O=\\\"b;c\\\"\";URI={BILLING}"),
            format!("Hash=00;Subject=\"\";URI={BILLING};DNS=a.example;DNS=b.example"),
            format!(
                "By=spiffe://mesh/edge;URI=spiffe://mesh/other,By=spiffe://mesh/kms;URI={BILLING}"
            ),
            format!("Hash=00,URI={BILLING}"),
            // A subject that ends in a backslash, as RFC 4514 writes it.
            format!("Subject=\"CN=x\\\\\";URI={BILLING}"),
            // What is in quotes is nobody's name.
            format!("Subject=\"CN=x,URI=spiffe://mesh/root\";URI={BILLING}"),
            format!("Subject=\"x\\\";URI=spiffe://mesh/root\";URI={BILLING}"),
            format!("URI={BILLING};Cert=\"-----BEGIN%20CERTIFICATE-----\""),
        ] {
            assert_eq!(named(&header).as_deref(), Some(BILLING), "{header}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_names_nobody() {
        for header in [
            "",
            ",",
            ";",
            "URI",
            "URI=",
            "=x",
            &format!("URI={BILLING},"),
            &format!("URI={BILLING};"),
            &format!(",URI={BILLING}"),
            &format!("URI={BILLING},Hash=00"),
            &format!("URI={BILLING};URI={BILLING}"),
            &format!("URI={BILLING};URI=spiffe://mesh/root"),
            &format!("URI={BILLING};URI=https://example.com"),
            &format!("URI=spiffe://a/b;URI=spiffe://a/c,URI={BILLING}"),
            &format!("uri={BILLING}"),
            &format!("Hash=00;Uri=spiffe://mesh/root;URI={BILLING}"),
            &format!(" URI={BILLING}"),
            &format!("URI={BILLING} "),
            &format!("Hash=00, URI={BILLING}"),
            &format!("Hash=00; URI={BILLING}"),
            &format!("URI =x;URI={BILLING}"),
            &format!("Subject=\"CN=x;URI={BILLING}"),
            &format!("Subject=\"CN=x\\\";URI={BILLING}"),
            &format!("Subject=\"CN=x\"y;URI={BILLING}"),
            &format!("Subject=CN=\"x\";URI={BILLING}"),
            &format!("Subject=a\\;URI={BILLING}"),
            &format!("URI=\"{BILLING}\"\""),
            &format!("URI=\"{BILLING}"),
            "URI=\"spiffe://mesh\\/root\"",
            "URI=spiffe://mesh/a%2fb",
            "URI=spiffe://Mesh/root",
            "URI=spiffe://mesh",
            "URI=https://mesh/root",
            "URI=dev",
            "URI=unix:0",
            "DNS=a.example",
        ] {
            assert_eq!(named(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_subject_or_other_element_changes_who_is_named(subject in ".*", other in "[ -~]*") {
            let quoted = subject.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Subject=\"{quoted}\";URI={BILLING}");
            prop_assert_eq!(named(&header), Some(BILLING.to_owned()));
            let found = named(&format!("{other},URI={BILLING}"));
            prop_assert!(found.is_none() || found.as_deref() == Some(BILLING));
        }
    }
}
