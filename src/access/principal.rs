//! Principals: verified callers, typed by how they are known.
//!
//! Kinds never match each other: a certificate that says `dns:billing` is not
//! the workload `spiffe://billing`. A principal is made only from what the
//! connection proved; nothing that a request says of itself counts.

use std::fmt;
use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// How a principal is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A SPIFFE ID: the one URI name of a verified client certificate. The
    /// authority is the trust domain, the name is the path.
    Spiffe,
    /// The one DNS name of a verified client certificate.
    Dns,
    /// The common name of a verified client certificate that has no other.
    Cn,
    /// The user id of the peer of a Unix socket, as the kernel says.
    Unix,
    /// Every caller of a server started with `--dev`.
    Dev,
    /// An access key's service account.
    AccessKey,
    /// The subject of a verified token. The authority is its issuer.
    Jwt,
}

/// The kinds of names in client certificates that are taken, beside SPIFFE IDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenNames {
    /// DNS names.
    pub dns: bool,
    /// Common names.
    pub common_name: bool,
}

/// A verified caller. Cheap to clone and to log: every request carries one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Arc<PrincipalParts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PrincipalParts {
    kind: PrincipalKind,
    authority: String,
    name: String,
    text: String,
}

impl Principal {
    fn new(kind: PrincipalKind, authority: &str, name: &str) -> Self {
        let text = match kind {
            PrincipalKind::Spiffe => format!("spiffe://{authority}/{name}"),
            PrincipalKind::Dns => format!("dns:{name}"),
            PrincipalKind::Cn => format!("cn:{name}"),
            PrincipalKind::Unix => format!("unix:{name}"),
            PrincipalKind::Dev => "dev".to_owned(),
            PrincipalKind::AccessKey => format!("access-key:{name}"),
            PrincipalKind::Jwt => format!("jwt:{authority}#{name}"),
        };
        Self(Arc::new(PrincipalParts {
            kind,
            authority: authority.to_owned(),
            name: name.to_owned(),
            text,
        }))
    }

    /// The peer of a Unix socket.
    #[must_use]
    pub fn unix(uid: u32) -> Self {
        Self::new(PrincipalKind::Unix, "", &uid.to_string())
    }

    /// Every caller of a server started with `--dev`.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(PrincipalKind::Dev, "", "")
    }

    /// The service account of an access key whose signature was verified.
    #[must_use]
    pub fn access_key(account: &str) -> Self {
        Self::new(PrincipalKind::AccessKey, "", account)
    }

    /// The subject of a token whose signature was verified. No issuer has a `#` in its
    /// name, so that the text form can be read in one way.
    pub fn jwt_subject(issuer: &str, subject: &str) -> Result<Self, NoPrincipal> {
        if !is_issuer(issuer) {
            return Err(NoPrincipal::Form("issuer"));
        }
        if !is_plain_name(subject) {
            return Err(NoPrincipal::Form("subject"));
        }
        Ok(Self::new(PrincipalKind::Jwt, issuer, subject))
    }

    /// The name in a client certificate, DER, that the TLS handshake verified.
    /// Exactly one name counts: the SPIFFE ID, else the DNS name, else the
    /// common name, the last two only where they are taken. Where several would
    /// do, none is taken: which of two names acts must not depend on their order.
    pub fn from_certificate(der: &[u8], taken: TakenNames) -> Result<Self, NoPrincipal> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| NoPrincipal::Malformed)?;
        let names = Names::of(&certificate)?;
        if names.uris.iter().any(|uri| is_spiffe(uri)) {
            return names.spiffe();
        }
        match names.dns.as_slice() {
            [one] if taken.dns => Self::from_dns_name(one),
            [_, _, ..] if taken.dns => Err(NoPrincipal::Several("DNS names")),
            _ if taken.common_name => common_name(&certificate),
            _ => Err(NoPrincipal::NotTaken),
        }
    }

    /// A SPIFFE ID: a leaf's has a path.
    pub fn from_spiffe_id(uri: &str) -> Result<Self, NoPrincipal> {
        let refused = NoPrincipal::Form("SPIFFE ID");
        let id = uri.strip_prefix(SPIFFE).ok_or(refused)?;
        let (domain, path) = id.split_once('/').ok_or(refused)?;
        if uri.len() > 2048 || !is_trust_domain(domain) || !path.split('/').all(is_segment) {
            return Err(refused);
        }
        Ok(Self::new(PrincipalKind::Spiffe, domain, path))
    }

    /// A DNS name. RFC 9525, 6.3 and RFC 5280, 7.2: labels of letters, digits and
    /// hyphens, compared without case. A wildcard covers hosts; it names no caller.
    pub(super) fn from_dns_name(name: &str) -> Result<Self, NoPrincipal> {
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(NoPrincipal::Form("DNS name"));
        }
        Ok(Self::new(PrincipalKind::Dns, "", &name.to_ascii_lowercase()))
    }

    /// A common name. Control characters could forge lines of a log or of an audit
    /// record.
    pub(super) fn from_common_name(name: &str) -> Result<Self, NoPrincipal> {
        if !is_plain_name(name) {
            return Err(NoPrincipal::Form("common name"));
        }
        Ok(Self::new(PrincipalKind::Cn, "", name))
    }

    /// How this principal is known.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        self.0.kind
    }

    /// The authority that vouches for the name: the SPIFFE trust domain, the issuer of
    /// a token; empty for the other kinds.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.0.authority
    }

    /// The name: SPIFFE path without its first slash, DNS name, common name,
    /// user id, account, subject.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its text form: `kind:name`, `jwt:issuer#name`, or a SPIFFE ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({self})")
    }
}

/// Why a verified certificate names no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPrincipal {
    /// It verified, but does not parse for us.
    #[error("the client certificate does not parse")]
    Malformed,
    /// It has more than one name of the kind that would count.
    #[error("the client certificate has several {0}: issue one with exactly one")]
    Several(&'static str),
    /// The name that would count is not of the permitted form.
    #[error("the {0} in the client certificate is not of the permitted form")]
    Form(&'static str),
    /// It has no name of a kind that is taken.
    #[error(
        "the client certificate has no SPIFFE ID, and no other kind of name that [auth.mtls] takes: issue one with it, or list \"dns\" or \"common_name\" in auth.mtls.names"
    )]
    NotTaken,
    /// It has no name at all.
    #[error(
        "the client certificate names nobody: issue one with a SPIFFE ID, a DNS name or a common name"
    )]
    Absent,
}

/// The names of the subjectAltName extension that could count.
struct Names<'a> {
    uris: Vec<&'a str>,
    dns: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn of(certificate: &'a X509Certificate<'_>) -> Result<Self, NoPrincipal> {
        let mut names = Self { uris: Vec::new(), dns: Vec::new() };
        // An error here is a second subjectAltName: RFC 5280, 4.2, permits one.
        let extension =
            certificate.subject_alternative_name().map_err(|_| NoPrincipal::Malformed)?;
        for name in extension.iter().flat_map(|e| &e.value.general_names) {
            match name {
                GeneralName::URI(uri) => names.uris.push(uri),
                GeneralName::DNSName(dns) => names.dns.push(dns),
                // A name that the parser could not read may be the one that
                // the issuer meant.
                GeneralName::Invalid(..) => return Err(NoPrincipal::Malformed),
                _ => {}
            }
        }
        Ok(names)
    }

    /// X509-SVID, 2 and 5.2: exactly one URI name, other kinds beside it are
    /// of no account; a leaf's SPIFFE ID has a path.
    fn spiffe(&self) -> Result<Principal, NoPrincipal> {
        match self.uris.as_slice() {
            [uri] => Principal::from_spiffe_id(uri),
            _ => Err(NoPrincipal::Several("URI names")),
        }
    }
}

const SPIFFE: &str = "spiffe://";

/// The name of an issuer of tokens: 1 to 255 visible ASCII characters, and no `#`.
#[must_use]
pub fn is_issuer(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

/// A name that people chose.
pub(super) fn is_plain_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && name.trim() == name && !name.chars().any(char::is_control)
}

/// Whether it claims to be a SPIFFE ID, in any case: `SPIFFE://…` must not
/// slip through to another kind.
fn is_spiffe(uri: &str) -> bool {
    uri.get(..SPIFFE.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SPIFFE))
}

/// SPIFFE-ID, 2.1: lower-case letters, digits, dot, hyphen, underscore.
fn is_trust_domain(domain: &str) -> bool {
    (1..=255).contains(&domain.len())
        && domain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
}

/// SPIFFE-ID, 2.2: no empty and no dot segments, no percent-encoding.
fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn common_name(certificate: &X509Certificate<'_>) -> Result<Principal, NoPrincipal> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().ok_or(NoPrincipal::Absent)?;
    if names.next().is_some() {
        return Err(NoPrincipal::Several("common names"));
    }
    let name = name.as_str().map_err(|_| NoPrincipal::Form("common name"))?;
    Principal::from_common_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn uri(text: &str) -> SanType {
        SanType::URI(Ia5String::try_from(text).expect("IA5"))
    }

    fn dns_name(text: &str) -> SanType {
        SanType::DnsName(Ia5String::try_from(text).expect("IA5"))
    }

    fn named(common_names: &[&str], sans: Vec<SanType>) -> Result<String, NoPrincipal> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = sans;
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        let all = TakenNames { dns: true, common_name: true };
        let spiffe = Principal::from_certificate(certificate.der(), TakenNames::default());
        let taken = Principal::from_certificate(certificate.der(), all);
        // A SPIFFE ID needs no leave, and nothing else is taken without.
        match &taken {
            Ok(principal) if principal.kind() != PrincipalKind::Spiffe => {
                assert_eq!(spiffe, Err(NoPrincipal::NotTaken));
            }
            Ok(_) => assert_eq!(spiffe, taken),
            Err(_) => assert!(spiffe.is_err()),
        }
        taken.map(|principal| principal.to_string())
    }

    #[test]
    fn a_name_of_a_kind_that_is_not_taken_gives_way_to_the_next() {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("name");
        params.distinguished_name.push(DnType::CommonName, "Ann");
        let key = KeyPair::generate().expect("key");
        let certificate = params.self_signed(&key).expect("certificate");
        let named = |dns, common_name| {
            let taken = TakenNames { dns, common_name };
            Principal::from_certificate(certificate.der(), taken).map(|it| it.to_string())
        };
        assert_eq!(named(true, true), ok("dns:a.example"));
        assert_eq!(named(true, false), ok("dns:a.example"));
        assert_eq!(named(false, true), ok("cn:Ann"));
        assert_eq!(named(false, false), Err(NoPrincipal::NotTaken));
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with a Result")]
    fn ok(text: &str) -> Result<String, NoPrincipal> {
        Ok(text.to_owned())
    }

    #[test]
    fn the_most_exact_name_counts() {
        let both = vec![dns_name("a.example"), uri("spiffe://td.example/ns/pay/sa/api")];
        assert_eq!(named(&["x"], both), ok("spiffe://td.example/ns/pay/sa/api"));
        assert_eq!(named(&["x"], vec![dns_name("Api.Example")]), ok("dns:api.example"));
        assert_eq!(named(&["Ann Example"], vec![]), ok("cn:Ann Example"));
        let other_uri = vec![uri("https://example.com/a"), dns_name("a.example")];
        assert_eq!(named(&[], other_uri), ok("dns:a.example"));
    }

    #[test]
    fn two_names_are_none() {
        let uris = NoPrincipal::Several("URI names");
        let pair = |a, b| vec![uri(a), uri(b)];
        assert_eq!(named(&["x"], pair("spiffe://a/b", "spiffe://a/c")), Err(uris));
        assert_eq!(named(&["x"], pair("spiffe://a/b", "https://example.com")), Err(uris));
        let two = vec![dns_name("a.example"), dns_name("b.example")];
        assert_eq!(named(&["x"], two), Err(NoPrincipal::Several("DNS names")));
        assert_eq!(named(&[], vec![]), Err(NoPrincipal::Absent));
    }

    #[test]
    fn what_only_looks_like_a_spiffe_id_is_refused() {
        for text in [
            "spiffe://td",
            "spiffe://td/",
            "spiffe:///path",
            "spiffe://TD/a",
            "SPIFFE://td/a",
            "spiffe://td/a//b",
            "spiffe://td/a/../b",
            "spiffe://td/a%2fb",
            "spiffe://td:8443/a",
            "spiffe://user@td/a",
            "spiffe://td/a?b",
        ] {
            let found = named(&["x"], vec![uri(text)]);
            assert_eq!(found, Err(NoPrincipal::Form("SPIFFE ID")), "{text}");
        }
    }

    #[test]
    fn odd_names_are_refused() {
        for text in ["*.example", "a..example", "a b", &"a".repeat(64)] {
            let found = named(&["x"], vec![dns_name(text)]);
            assert_eq!(found, Err(NoPrincipal::Form("DNS name")), "{text}");
        }
        for text in ["a\nb", " a", "\u{7f}"] {
            assert_eq!(named(&[text], vec![]), Err(NoPrincipal::Form("common name")), "{text:?}");
        }
        assert_eq!(
            Principal::from_certificate(b"\x30\x03abc", TakenNames::default()),
            Err(NoPrincipal::Malformed)
        );
    }

    #[test]
    fn kinds_never_match_each_other() {
        let unix = Principal::unix(0);
        assert_eq!(unix.to_string(), "unix:0");
        assert_ne!(unix, Principal::access_key("0"));
        assert_ne!(Principal::dev(), Principal::access_key(""));
        assert_eq!(Principal::dev().to_string(), "dev");
        let token = Principal::jwt_subject("https://idp.example", "a#b").unwrap();
        assert_eq!(token.to_string(), "jwt:https://idp.example#a#b");
        let other = Principal::jwt_subject("https://idp.example/", "a#b").unwrap();
        assert_ne!(token, other);
        for (issuer, subject) in
            [("", "a"), ("a#b", "c"), ("a b", "c"), ("a", ""), ("a", "b\n"), ("a", " b")]
        {
            assert!(Principal::jwt_subject(issuer, subject).is_err(), "{issuer:?} {subject:?}");
        }
    }
}
