//! `ACS3-HMAC-SHA256`: HMAC-SHA256 over a canonical request with the headers
//! that it lists, its query and the digest of its body.

use base16ct::lower;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::super::parameters::Parameters;
use super::{Claim, ClaimedScheme, SchemeFields, Signed, encoding, incomplete, mismatch};
use crate::error::{Error, Result};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";
/// The prefix of the API's own headers.
const PREFIX: &str = "x-acs-";

const ACTION: &str = "x-acs-action";
const VERSION: &str = "x-acs-version";
const DATE: &str = "x-acs-date";
const NONCE: &str = "x-acs-signature-nonce";
const CONTENT_SHA256: &str = "x-acs-content-sha256";
/// The headers that must be sent and signed.
const REQUIRED: [&str; 6] = ["host", ACTION, VERSION, DATE, NONCE, CONTENT_SHA256];

/// The names in `SignedHeaders`, lower-case and in ascending order, as they were
/// sent.
#[derive(PartialEq, Eq)]
pub(super) struct SignedHeaders(String);

impl SignedHeaders {
    /// Reads the list. In ascending order no name stands twice.
    fn parse(sent: &str) -> Result<Self> {
        let names: Vec<&str> = sent.split(';').collect();
        let in_order = names.is_sorted_by(|a, b| a < b);
        let are_names =
            names.iter().all(|name| HeaderName::from_lowercase(name.as_bytes()).is_ok());
        if in_order && are_names {
            return Ok(Self(sent.to_owned()));
        }
        Err(incomplete(
            "SignedHeaders takes lower-case names, separated by ; and in ascending order",
        ))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split(';')
    }

    fn has(&self, name: &str) -> bool {
        self.names().any(|signed| signed == name)
    }
}

/// The `Authorization` of this scheme, if there is one.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut of_this_scheme = headers
        .get_all(AUTHORIZATION)
        .iter()
        .filter(|value| value.as_bytes().starts_with(b"ACS3-"));
    match (of_this_scheme.next(), of_this_scheme.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| incomplete("it is not ASCII")),
        (Some(_), Some(_)) => Err(incomplete("it has two Authorization headers")),
    }
}

/// The claim in `Authorization` and the headers.
pub(super) fn claim(signed: &Signed<'_>, authorization: &str) -> Result<Claim> {
    let Authorization { credential, signed_headers, signature } =
        Authorization::parse(authorization)?;
    let signed_headers = SignedHeaders::parse(signed_headers)?;
    check_headers(signed, &signed_headers)?;
    let parts = SchemeFields {
        access_key_id: credential,
        nonce: one(signed.headers, NONCE)?,
        time: one(signed.headers, DATE)?,
        signature,
    };
    Claim::new(parts, ClaimedScheme::V3(signed_headers))
}

/// `ACS3-HMAC-SHA256 Credential=<id>,SignedHeaders=<names>,Signature=<hex>`.
struct Authorization<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    fn parse(sent: &'a str) -> Result<Self> {
        let (algorithm, fields) = sent.split_once(' ').unwrap_or((sent, ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format_args!("of ACS3-… only {ALGORITHM} is offered")));
        }
        let mut fields = fields.split(',');
        let mut next = |name: &str| {
            let value = fields.next()?.trim_ascii().strip_prefix(name)?;
            value.strip_prefix('=')
        };
        let parsed = (next("Credential"), next("SignedHeaders"), next("Signature"));
        match (parsed, fields.next()) {
            ((Some(credential), Some(signed_headers), Some(signature)), None) => {
                Ok(Self { credential, signed_headers, signature })
            }
            _ => Err(incomplete(
                "Authorization takes Credential, SignedHeaders and Signature, separated by commas",
            )),
        }
    }
}

/// Every header that is obeyed must be signed, and sent once.
fn check_headers(signed: &Signed<'_>, listed: &SignedHeaders) -> Result<()> {
    for name in REQUIRED {
        one(signed.headers, name)?;
        must_be_signed(listed, name)?;
    }
    for name in
        signed.headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with(PREFIX))
    {
        one(signed.headers, name)?;
        must_be_signed(listed, name)?;
    }
    // The content type decides whether the body is read as a form.
    if !signed.body.is_empty() && signed.headers.contains_key(CONTENT_TYPE) {
        one(signed.headers, CONTENT_TYPE.as_str())?;
        must_be_signed(listed, CONTENT_TYPE.as_str())?;
    }
    match listed.names().find(|name| !signed.headers.contains_key(*name)) {
        Some(name) => Err(incomplete(format_args!("the signed header {name} is missing"))),
        None => Ok(()),
    }
}

fn must_be_signed(listed: &SignedHeaders, name: &str) -> Result<()> {
    if listed.has(name) {
        return Ok(());
    }
    Err(incomplete(format_args!("the header {name} is not signed")))
}

/// The one value of a header.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value
            .to_str()
            .map(str::trim_ascii)
            .map_err(|_| incomplete(format_args!("the header {name} is not ASCII"))),
        (None, _) => Err(incomplete(format_args!("the header {name} is missing"))),
        (Some(_), Some(_)) => Err(incomplete(format_args!("the header {name} is sent twice"))),
    }
}

/// Writes the canonical request, piece by piece.
fn write_canonical(
    signed: &Signed<'_>,
    query: &Parameters,
    listed: &SignedHeaders,
    mut write: impl FnMut(&[u8]),
) {
    write(signed.method.as_str().as_bytes());
    write(b"\n");
    write(signed.path.as_bytes());
    write(b"\n");
    // Names are encoded, as the documentation says. The SDKs do not encode them,
    // which makes no difference for names of the API, and would allow the name
    // `a=1&b`.
    encoding::canonical(query.iter(), |piece| write(piece.as_bytes()));
    write(b"\n");
    for name in listed.names() {
        write(name.as_bytes());
        write(b":");
        write_values(signed.headers, name, &mut write);
        write(b"\n");
    }
    write(b"\n");
    write(listed.0.as_bytes());
    write(b"\n");
    write(lower::encode_string(&Sha256::digest(signed.body)).as_bytes());
}

/// The values of a header in their own order, joined by commas.
fn write_values(headers: &HeaderMap, name: &str, write: &mut impl FnMut(&[u8])) {
    let mut values: Vec<_> =
        headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    values.sort_unstable();
    for (n, value) in values.into_iter().enumerate() {
        if n > 0 {
            write(b",");
        }
        write(value);
    }
}

/// The canonical request with these signed headers. For tests only: it holds the
/// parameters in the clear.
#[doc(hidden)]
pub fn canonical_request(signed: &Signed<'_>, signed_headers: &str) -> Result<Vec<u8>> {
    let query = Parameters::read(signed.query, None)?;
    let mut written = Vec::new();
    let listed = SignedHeaders::parse(signed_headers)?;
    write_canonical(signed, &query, &listed, |piece| written.extend_from_slice(piece));
    Ok(written)
}

pub(super) fn verify(
    signature: &str,
    listed: &SignedHeaders,
    signed: &Signed<'_>,
    secret: &[u8],
) -> Result<()> {
    let query = Parameters::read(signed.query, None)?;
    check_parameters(signed, &query)?;
    let mut canonical = Sha256::new();
    write_canonical(signed, &query, listed, |piece| canonical.update(piece));
    let string_to_sign = format!("{ALGORITHM}\n{}", lower::encode_string(&canonical.finalize()));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)
        .map_err(|_| Error::internal("HMAC-SHA256 did not take a key"))?;
    mac.update(string_to_sign.as_bytes());
    let expected = lower::encode_string(&mac.finalize().into_bytes());
    let digest = lower::encode_string(&Sha256::digest(signed.body));
    let claimed = one(signed.headers, CONTENT_SHA256)?;
    let matches = expected.as_bytes().ct_eq(signature.as_bytes())
        & digest.as_bytes().ct_eq(claimed.as_bytes());
    if bool::from(matches) { Ok(()) } else { Err(mismatch(&string_to_sign)) }
}

/// Every parameter must come from the query, which the canonical request holds,
/// or from the body, whose digest it holds.
fn check_parameters(signed: &Signed<'_>, query: &Parameters) -> Result<()> {
    let mut others =
        signed.parameters.iter().filter(|(name, value)| query.get(name) != Some(*value)).peekable();
    if others.peek().is_none() {
        return Ok(());
    }
    let form = Parameters::read(None, Some(signed.body))?;
    if others.all(|(name, value)| form.get(name) == Some(value)) {
        return Ok(());
    }
    Err(Error::internal("a request has parameters that its signature does not cover"))
}

/// Action and version are headers. A parameter that contradicts them is refused.
pub(super) fn action(signed: &Signed<'_>) -> Result<(String, Option<String>)> {
    let action = agreed(signed, ACTION, "Action")?;
    Ok((action, Some(agreed(signed, VERSION, "Version")?)))
}

fn agreed(signed: &Signed<'_>, header: &str, parameter: &'static str) -> Result<String> {
    let value = one(signed.headers, header)?;
    if signed.parameters.get(parameter).is_some_and(|given| given != value) {
        let found = format_args!("it is not what {header} says");
        return Err(Error::invalid(parameter, found));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, Method};

    /// The documentation's example.
    const VECTOR_QUERY: &str =
        "ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai";
    const VECTOR_HEADERS: [(&str, &str); 6] = [
        ("host", "ecs.cn-shanghai.aliyuncs.com"),
        ("x-acs-action", "RunInstances"),
        (
            "x-acs-content-sha256",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        ("x-acs-date", "2023-10-26T10:22:32Z"),
        ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
        ("x-acs-version", "2014-05-26"),
    ];
    const VECTOR_LISTED: &str =
        "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    const VECTOR_SIGNATURE: &str =
        "06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0";

    fn headers(of: &[(&'static str, &str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value).expect("a value");
                (HeaderName::from_static(name), value)
            })
            .collect()
    }

    fn with<T>(headers: &HeaderMap, query: &str, see: impl FnOnce(&Signed<'_>) -> T) -> T {
        let parameters = Parameters::read(Some(query), None).expect(query);
        let (method, path, query) = (&Method::POST, "/", Some(query));
        see(&Signed { method, path, query, headers, body: b"", parameters: &parameters })
    }

    #[test]
    fn the_documentation_s_example_verifies() {
        let mut headers = headers(&VECTOR_HEADERS);
        let sent = format!(
            "{ALGORITHM} Credential=YourAccessKeyId,SignedHeaders={VECTOR_LISTED},Signature={VECTOR_SIGNATURE}"
        );
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&sent).expect("a value"));
        with(&headers, VECTOR_QUERY, |signed| {
            let canonical = canonical_request(signed, VECTOR_LISTED).expect("canonical");
            assert_eq!(
                lower::encode_string(&Sha256::digest(canonical)),
                "7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
            );
            let claim = Claim::read(signed).expect("a claim");
            assert_eq!(claim.access_key_id(), "YourAccessKeyId");
            assert_eq!(claim.nonce(), "3156853299f313e23d1673dc12e1703d");
            assert!(claim.check_time("2023-10-26T10:30:00Z".parse().expect("a time")).is_ok());
            let verified = claim.verify(signed, b"YourAccessKeySecret").expect("verified");
            assert_eq!(
                (verified.action(), verified.version()),
                ("RunInstances", Some("2014-05-26"))
            );
            let claim = Claim::read(signed).expect("a claim");
            assert!(claim.verify(signed, b"YourAccessKeySecret&").is_err());
        });
    }

    #[test]
    fn the_canonical_request_has_what_it_should_in_order() {
        let headers = headers(&[("host", " h "), ("b", "2"), ("b", " 10"), ("a", ""), ("c", "x")]);
        let canonical = with(&headers, "b=%2B+*~%2f&a&Z=%E9%94%AE", |signed| {
            canonical_request(signed, "a;b;host").expect("canonical")
        });
        let empty = VECTOR_HEADERS[2].1;
        let expected = format!(
            "POST\n/\nZ=%E9%94%AE&a=&b=%2B%20%2A~%2F\na:\nb:10,2\nhost:h\n\na;b;host\n{empty}"
        );
        assert_eq!(String::from_utf8(canonical).expect("text"), expected);
    }

    #[test]
    fn signed_headers_are_lower_case_names_in_ascending_order() {
        assert!(SignedHeaders::parse("a").is_ok() && SignedHeaders::parse("a;b;b-c").is_ok());
        for sent in
            ["", ";", "a;", ";a", "a;a", "b;a", "A", "a;B", "a b", "a; b", "a,b", "a:b", "ä"]
        {
            assert!(SignedHeaders::parse(sent).is_err(), "{sent}");
        }
    }

    #[test]
    fn an_authorization_has_its_three_fields() {
        let parse = |sent: &str| {
            let parsed = Authorization::parse(sent).ok()?;
            let Authorization { credential, signed_headers, signature } = parsed;
            Some([credential, signed_headers, signature].join("|"))
        };
        let three = "Credential=id,SignedHeaders=a;b,Signature=ff";
        assert_eq!(parse(&format!("{ALGORITHM} {three}")).as_deref(), Some("id|a;b|ff"));
        let spaced = format!("{ALGORITHM}  Credential=id, SignedHeaders=a;b, Signature=ff ");
        assert_eq!(parse(&spaced).as_deref(), Some("id|a;b|ff"));
        for sent in [
            ALGORITHM.to_owned(),
            format!("{ALGORITHM}\t{three}"),
            format!("ACS3-HMAC-SM3 {three}"),
            format!("ACS3-HMAC-SHA256X {three}"),
            format!("{ALGORITHM} {three},"),
            format!("{ALGORITHM} {three},Signature=00"),
            format!("{ALGORITHM} Credential=id,{three}"),
            format!("{ALGORITHM} Credential=id,Signature=ff,SignedHeaders=a;b"),
            format!("{ALGORITHM} credential=id,signedheaders=a;b,signature=ff"),
            format!("{ALGORITHM} Credential=id,SignedHeaders=a;b"),
        ] {
            assert_eq!(parse(&sent), None, "{sent}");
        }
    }

    #[test]
    fn parameters_of_elsewhere_are_a_fault_of_ours() {
        let parameters = Parameters::read(Some("a=1&b=2"), None).expect("two");
        let query = Parameters::read(Some("a=1"), None).expect("one");
        let covered = |body: &[u8]| {
            let (method, path, headers) = (&Method::POST, "/", &HeaderMap::new());
            let signed =
                Signed { method, path, query: Some("a=1"), headers, body, parameters: &parameters };
            check_parameters(&signed, &query).is_ok()
        };
        assert!(covered(b"b=2") && covered(b"b=2&c=3") && covered(b"%62=%32"));
        assert!(!covered(b"") && !covered(b"b=3") && !covered(b"c=2"));
    }
}
