//! Requests that were changed after they were signed, sent twice or late, or
//! signed in part. The signer is a second implementation, in plain strings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use keyferry::error::Rule;
use keyferry::gateway::nonces::Nonces;
use keyferry::gateway::signature::Scheme;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::support::request::{ACCESS_KEY_ID, Request, SECRET};

const LISTED: &str =
    "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
const FORM: &str = "application/x-www-form-urlencoded";

fn hex(bytes: impl AsRef<[u8]>) -> String {
    base16ct::lower::encode_string(bytes.as_ref())
}

fn time(seconds_from_now: i64) -> String {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds_from_now);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3986, 2.3.
fn encode(text: &str) -> String {
    let byte = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(*byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(byte).collect()
}

/// A V3 request that is not signed yet. The query is canonical as it stands.
fn v3_unsigned(query: &str, body: &[u8]) -> Request {
    let headers = [
        ("host", "kms.example:8443"),
        ("accept", "application/json"),
        ("x-acs-action", "Encrypt"),
        ("x-acs-version", "2016-01-20"),
        ("x-acs-date", &time(0)),
        ("x-acs-signature-nonce", "0123456789abcdef"),
        ("x-acs-content-sha256", &hex(Sha256::digest(body))),
    ];
    let mut request = Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: (!query.is_empty()).then(|| query.to_owned()),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        body: body.to_vec(),
    };
    if !body.is_empty() {
        request.set("content-type", FORM);
    }
    request
}

/// Signs with these headers listed, whatever may be said of them.
fn sign_v3(request: &mut Request, listed: &str) {
    let line = |name: &str| format!("{name}:{}\n", request.header(name).unwrap_or_default());
    let canonical = format!(
        "{}\n{}\n{}\n{}\n{listed}\n{}",
        request.method,
        request.path,
        request.query.as_deref().unwrap_or_default(),
        listed.split(';').map(line).collect::<String>(),
        hex(Sha256::digest(&request.body)),
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("ACS3-HMAC-SHA256\n{}", hex(Sha256::digest(canonical))).as_bytes());
    let signature = hex(mac.finalize().into_bytes());
    let authorization = format!(
        "ACS3-HMAC-SHA256 Credential={ACCESS_KEY_ID},SignedHeaders={listed},Signature={signature}"
    );
    request.set("authorization", &authorization);
}

fn v3() -> Request {
    let mut request = v3_unsigned("DryRun=true&KeyId=alias%2Fa&Plaintext=UExBTlRFRA%3D%3D", b"");
    sign_v3(&mut request, LISTED);
    request
}

fn v3_with_form() -> Request {
    let mut request = v3_unsigned("KeyId=a", b"Plaintext=UExBTlRFRA%3D%3D");
    sign_v3(&mut request, &format!("content-type;{LISTED}"));
    request
}

/// The pairs of a V1 request that is not signed yet.
fn v1_pairs() -> Vec<(String, String)> {
    [
        ("AccessKeyId", ACCESS_KEY_ID),
        ("Action", "Encrypt"),
        ("DryRun", "true"),
        ("Format", "JSON"),
        ("KeyId", "alias/a"),
        ("Plaintext", "UExBTlRFRA=="),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", "0123456789abcdef"),
        ("SignatureType", ""),
        ("SignatureVersion", "1.0"),
        ("Timestamp", &time(0)),
        ("Version", "2016-01-20"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn canonical(pairs: &[(String, String)]) -> String {
    let pair = |(name, value): &(String, String)| format!("{}={}", encode(name), encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// Signs pairs that are in order, and puts them into the query.
fn signed_v1(pairs: &[(String, String)]) -> Request {
    let query = canonical(pairs);
    let key = format!("{SECRET}&");
    let mut mac = Hmac::<Sha1>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(format!("POST&%2F&{}", encode(&query)).as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        query: Some(format!("{query}&Signature={}", encode(&signature))),
        headers: vec![("host".to_owned(), "kms.example".to_owned())],
        body: Vec::new(),
    }
}

fn v1() -> Request {
    signed_v1(&v1_pairs())
}

/// V1 with one parameter changed before it is signed, or left out.
fn v1_with(name: &str, value: Option<&str>) -> Request {
    let mut pairs = v1_pairs();
    match value {
        Some(value) => {
            let pair = pairs.iter_mut().find(|(known, _)| known == name).expect(name);
            value.clone_into(&mut pair.1);
        }
        None => pairs.retain(|(known, _)| known != name),
    }
    signed_v1(&pairs)
}

#[track_caller]
fn refusal(request: &Request) -> Rule {
    let refused = request.judge().expect_err("a request that must be refused");
    assert!(!format!("{refused} {refused:?}").contains("UExBTlRFRA"), "{refused:?}");
    refused.rule()
}

/// A change to a signature, given what stands before it.
type Edit = fn(&str, &str) -> String;

/// A change to a request, and what it must be refused for.
type Change = (&'static str, fn(&mut Request), Rule);

#[track_caller]
fn all_are_refused(request: fn() -> Request, changes: &[Change]) {
    request().judge().expect("unchanged");
    for (name, make, expected) in changes {
        let mut tampered = request();
        make(&mut tampered);
        assert_eq!(refusal(&tampered), *expected, "{name}");
    }
}

fn edit_query(request: &mut Request, from: &str, to: &str) {
    let query = request.query.clone().unwrap();
    assert!(query.contains(from), "{query}");
    request.query = Some(query.replace(from, to));
}

fn edit_authorization(request: &mut Request, edit: impl FnOnce(&str, &str) -> String) {
    let sent = request.header("authorization").unwrap().to_owned();
    let (head, signature) = sent.rsplit_once('=').unwrap();
    let edited = edit(head, signature);
    request.set("authorization", &edited);
}

const MISMATCH: Rule = Rule::SignatureMismatch;
const INCOMPLETE: Rule = Rule::IncompleteSignature;

#[test]
fn unchanged_requests_are_taken() {
    for (request, scheme) in [(v3(), Scheme::V3), (v3_with_form(), Scheme::V3), (v1(), Scheme::V1)]
    {
        let verified = request.judge().unwrap();
        assert_eq!((verified.scheme(), verified.action()), (scheme, "Encrypt"));
        assert_eq!(verified.version(), Some("2016-01-20"));
        assert_eq!(verified.access_key_id(), ACCESS_KEY_ID);
    }
}

#[test]
fn parameters_changed_after_signing_are_found_out() {
    let changes: &[Change] = &[
        ("one added", |r| edit_query(r, "&KeyId", "&EncryptionContext=%7B%7D&KeyId"), MISMATCH),
        ("one left out", |r| edit_query(r, "DryRun=true&", ""), MISMATCH),
        ("another value", |r| edit_query(r, "DryRun=true", "DryRun=false"), MISMATCH),
        ("no value", |r| edit_query(r, "DryRun=true", "DryRun="), MISMATCH),
        ("another case", |r| edit_query(r, "alias%2Fa", "alias%2FA"), MISMATCH),
        ("another name", |r| edit_query(r, "DryRun", "dryRun"), MISMATCH),
        ("a space at the end", |r| edit_query(r, "DryRun=true", "DryRun=true+"), MISMATCH),
        ("two in one value", |r| edit_query(r, "&Plaintext=", "%26Plaintext%3D"), MISMATCH),
        ("another path", |r| "/x".clone_into(&mut r.path), MISMATCH),
        ("another method", |r| "GET".clone_into(&mut r.method), MISMATCH),
        ("twice", |r| edit_query(r, "DryRun", "DryRun=false&DryRun"), Rule::UnreadableParameters),
    ];
    all_are_refused(v3, changes);
    all_are_refused(v1, changes);
    // Names that are not encoded when they are signed would let this pass.
    let name = |r: &mut Request| edit_query(r, "DryRun=true&K", "DryRun%3Dtrue%26K");
    all_are_refused(v3, &[("two in one name", name, MISMATCH)]);
}

#[test]
fn another_spelling_of_the_same_parameters_is_the_same_request() {
    for mut request in [v3(), v1()] {
        edit_query(&mut request, "DryRun=true&", "");
        edit_query(&mut request, "alias%2Fa", "%61lias/a&Dry%52un=true&KeyId=alias/a");
        request.judge().unwrap();
    }
}

#[test]
fn a_form_changed_or_added_after_signing_is_found_out() {
    all_are_refused(
        v3_with_form,
        &[
            ("another body", |r| r.body = b"Plaintext=b3RoZXI%3D".to_vec(), MISMATCH),
            ("a longer body", |r| r.body.extend(b"&DryRun=true"), MISMATCH),
            ("no body", |r| r.body.clear(), MISMATCH),
            ("no form", |r| r.set("content-type", "text/plain"), MISMATCH),
            (
                "another body with its digest",
                |r| {
                    r.body = b"Plaintext=b3RoZXI%3D".to_vec();
                    let digest = hex(Sha256::digest(&r.body));
                    r.set("x-acs-content-sha256", &digest);
                },
                MISMATCH,
            ),
            (
                "two content types",
                |r| r.headers.push(("content-type".to_owned(), "text/plain".to_owned())),
                INCOMPLETE,
            ),
        ],
    );
    all_are_refused(
        v3,
        &[
            ("a body", |r| r.body = b"DryRun=true".to_vec(), MISMATCH),
            (
                "a form whose type is not signed",
                |r| {
                    r.body = b"GrantTokens=a".to_vec();
                    r.set("content-type", FORM);
                },
                INCOMPLETE,
            ),
        ],
    );
    let mut request = v1();
    request.body = b"EncryptionContext=%7B%7D".to_vec();
    request.set("content-type", FORM);
    assert_eq!(refusal(&request), MISMATCH);
}

#[test]
fn a_body_must_be_the_one_that_its_header_tells_even_if_that_is_signed() {
    for (body, told) in [(&b"a=1"[..], &b""[..]), (b"", b"a=1"), (b"a=1", b"a=2")] {
        let mut request = v3_unsigned("KeyId=a", body);
        request.set("x-acs-content-sha256", &hex(Sha256::digest(told)));
        let listed =
            if body.is_empty() { LISTED.to_owned() } else { format!("content-type;{LISTED}") };
        sign_v3(&mut request, &listed);
        assert_eq!(refusal(&request), MISMATCH);
    }
    let mut request = v3_unsigned("KeyId=a", b"");
    let upper = hex(Sha256::digest(b"")).to_uppercase();
    request.set("x-acs-content-sha256", &upper);
    sign_v3(&mut request, LISTED);
    assert_eq!(refusal(&request), MISMATCH);
}

#[test]
fn headers_changed_after_signing_are_found_out() {
    all_are_refused(
        v3,
        &[
            ("the action", |r| r.set("x-acs-action", "Decrypt"), MISMATCH),
            ("the version", |r| r.set("x-acs-version", "2017-01-01"), MISMATCH),
            ("the host", |r| r.set("host", "kms.example"), MISMATCH),
            ("the time", |r| r.set("x-acs-date", &time(60)), MISMATCH),
            ("the nonce", |r| r.set("x-acs-signature-nonce", "another"), MISMATCH),
            ("one more of ours", |r| r.set("x-acs-security-token", "t"), INCOMPLETE),
            ("no host", |r| r.headers.retain(|(name, _)| name != "host"), INCOMPLETE),
            ("no nonce", |r| r.headers.retain(|(n, _)| !n.ends_with("nonce")), INCOMPLETE),
            ("an empty nonce", |r| r.set("x-acs-signature-nonce", ""), INCOMPLETE),
            ("a long nonce", |r| r.set("x-acs-signature-nonce", &"n".repeat(129)), INCOMPLETE),
            (
                "two actions",
                |r| r.headers.push(("x-acs-action".to_owned(), "Decrypt".to_owned())),
                INCOMPLETE,
            ),
            (
                "the same action twice",
                |r| r.headers.push(("x-acs-action".to_owned(), "Encrypt".to_owned())),
                INCOMPLETE,
            ),
            (
                "two authorizations",
                |r| {
                    let sent = r.header("authorization").unwrap().to_owned();
                    r.headers.push(("authorization".to_owned(), sent));
                },
                INCOMPLETE,
            ),
            (
                "a parameter that names another action",
                |r| {
                    edit_query(r, "DryRun", "Action=Decrypt&DryRun");
                    sign_v3(r, LISTED);
                },
                Rule::InvalidParameter,
            ),
        ],
    );
    let mut request = v3();
    request.set("accept", "text/xml");
    request.judge().expect("a header that nobody signed and nobody acts on");
}

#[test]
fn what_is_acted_on_must_be_signed() {
    for name in LISTED.split(';') {
        let mut request = v3_unsigned("KeyId=a", b"");
        let listed: Vec<_> = LISTED.split(';').filter(|listed| *listed != name).collect();
        sign_v3(&mut request, &listed.join(";"));
        assert_eq!(refusal(&request), INCOMPLETE, "{name}");
    }
    for listed in [
        format!("host;{LISTED}"),
        format!("{LISTED};x-acs-version"),
        format!("{LISTED};x-other"),
        format!("x-acs-version;{LISTED}"),
        LISTED.to_uppercase(),
        String::new(),
    ] {
        let mut request = v3_unsigned("KeyId=a", b"");
        sign_v3(&mut request, &listed);
        assert_eq!(refusal(&request), INCOMPLETE, "{listed}");
    }
    let mut request = v3_unsigned("KeyId=a", b"");
    sign_v3(&mut request, &format!("accept;{LISTED}"));
    request.judge().expect("more than what must be signed");
    request.set("accept", "text/xml");
    assert_eq!(refusal(&request), MISMATCH);
}

#[test]
fn a_signature_of_another_form_is_no_signature() {
    let edits: [(Edit, Rule); 6] = [
        (|head, signature| format!("{head}={}", signature.to_uppercase()), MISMATCH),
        (|head, signature| format!("{head}={}", &signature[..63]), MISMATCH),
        (|head, signature| format!("{head}={signature}0"), MISMATCH),
        (|head, _| format!("{head}={}", "0".repeat(64)), MISMATCH),
        (|head, _| format!("{head}="), MISMATCH),
        (|head, signature| format!("{head}={signature},Signature={signature}"), INCOMPLETE),
    ];
    for (n, (edit, expected)) in edits.into_iter().enumerate() {
        let mut request = v3();
        edit_authorization(&mut request, edit);
        assert_eq!(refusal(&request), expected, "{n}");
    }
    for other in ["AAAA", "", "%41", &"A".repeat(28), &"A".repeat(1000)] {
        let mut request = v1();
        let query = request.query.clone().unwrap();
        let (signed, _) = query.split_once("&Signature=").unwrap();
        request.query = Some(format!("{signed}&Signature={other}"));
        assert_eq!(refusal(&request), MISMATCH, "{other}");
        request.query = Some(signed.to_owned());
        assert_eq!(refusal(&request), INCOMPLETE);
    }
}

#[test]
fn two_signatures_are_one_too_many_and_none_is_too_few() {
    let mut request = v1();
    let v3 = v3();
    request.headers.extend(v3.headers.clone());
    assert_eq!(refusal(&request), INCOMPLETE);
    let mut request = v3;
    request.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(refusal(&request), INCOMPLETE);
    for other in ["Bearer abc", "acs id:abc", "acs3-hmac-sha256 Credential=a"] {
        request.set("authorization", other);
        assert_eq!(refusal(&request), INCOMPLETE, "{other}");
        let mut v1 = v1();
        v1.set("authorization", other);
        v1.judge().expect("a header that nobody acts on");
    }
}

#[test]
fn a_v1_request_needs_all_of_its_parts() {
    for name in
        ["AccessKeyId", "SignatureMethod", "SignatureNonce", "SignatureVersion", "Timestamp"]
    {
        assert_eq!(refusal(&v1_with(name, None)), INCOMPLETE, "{name}");
    }
    for (name, value, expected) in [
        ("AccessKeyId", "", INCOMPLETE),
        ("SignatureNonce", "", INCOMPLETE),
        ("SignatureMethod", "HMAC-SHA256", Rule::InvalidParameter),
        ("SignatureMethod", "hmac-sha1", Rule::InvalidParameter),
        ("SignatureVersion", "2.0", Rule::InvalidParameter),
        ("SignatureType", "BEARERTOKEN", Rule::InvalidParameter),
        ("Timestamp", "today", Rule::MalformedTimestamp),
    ] {
        assert_eq!(refusal(&v1_with(name, Some(value))), expected, "{name}");
    }
    v1_with("SignatureType", None).judge().unwrap();
    v1_with("Version", None).judge().unwrap();
    assert_eq!(refusal(&v1_with("Action", None)), Rule::MissingParameter);
}

#[test]
fn a_v1_request_is_not_told_by_its_headers() {
    let mut request = v1();
    request.set("x-acs-action", "Decrypt");
    request.set("x-acs-version", "2017-01-01");
    let verified = request.judge().unwrap();
    assert_eq!((verified.action(), verified.version()), ("Encrypt", Some("2016-01-20")));
}

#[test]
fn v1_can_be_turned_off() {
    let refused = v1().judge_scheme(false).expect_err("V1 is off");
    assert_eq!(refused.rule(), Rule::InvalidParameter);
    v1().judge_scheme(true).unwrap();
    v3().judge_scheme(false).unwrap();
}

#[test]
fn a_request_is_good_for_a_quarter_of_an_hour_and_for_once() {
    for request in [v3(), v1()] {
        let nonces = Nonces::default();
        let at = |seconds: i64| Timestamp::now() + SignedDuration::from_secs(seconds);
        for late in [-16 * 60, 16 * 60] {
            let refused = request.judge_at(at(late), &nonces).unwrap_err();
            assert_eq!(refused.rule(), Rule::TimestampExpired);
        }
        request.judge_at(at(-14 * 60), &nonces).unwrap();
        let refused = request.judge_at(at(14 * 60), &nonces).unwrap_err();
        assert_eq!(refused.rule(), Rule::NonceUsed);
        // A request that does not verify uses up no nonce.
        let nonces = Nonces::default();
        let mut changed = request.clone();
        edit_query(&mut changed, "DryRun=true", "DryRun=false");
        assert!(changed.judge_at(at(0), &nonces).is_err());
        request.judge_at(at(0), &nonces).unwrap();
    }
}
