//! Receipts made and refused.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};
use static_assertions::assert_not_impl_any;

use super::*;
use crate::crypto::ciphertext_blob::{BlobKeys, BlobKind};
use crate::crypto::secret::{KeyMaterial, Reveal};
use crate::crypto::wrapping::WrappingKeySpec;

assert_not_impl_any!(ReceiptSigningKey: Clone, Copy, PartialEq, fmt::Display, serde::Serialize);

const RECIPIENT: [u8; 32] = [7; 32];
const EXPORTED: &[u8] = b"an exported data key";

static KEY: LazyLock<ReceiptSigningKey> =
    LazyLock::new(|| ReceiptSigningKey::generate().expect("a key").0);

fn issuer() -> StoreId {
    StoreId::parse("0198c0de-0000-7000-8000-000000000009").unwrap()
}

fn context(value: &str) -> EncryptionContext {
    EncryptionContext::new(BTreeMap::from([("tenant".to_owned(), value.to_owned())])).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn claims() -> Claims {
    let (key_id, version_id) = (KeyId::new(), KeyVersionId::new());
    let keys = BlobKeys::derive(&KeyMaterial::generate().unwrap(), key_id, version_id, "spec");
    let blob = keys.seal(BlobKind::DataKeyUnseen, &[1; 32], &context("a")).unwrap();
    let spec = WrappingKeySpec::EcSm2;
    let export = Export {
        request_id: "request-1",
        key_id,
        version_id,
        blob: &blob,
        recipient_sha256: &RECIPIENT,
        method: &WrappingMethod::new(spec, WrappingAlgorithm::Sm2Pke, None).unwrap(),
        exported: EXPORTED,
        context: &context("a"),
    };
    Claims::of(issuer(), EventId::new(), now(), &export).unwrap()
}

fn key_set() -> ReceiptKeySet {
    let key = DatedKey { key: KEY.public().clone(), from: Some(now()), until: None };
    ReceiptKeySet::new(issuer(), vec![key])
}

fn delivery() -> Delivery<'static> {
    Delivery {
        exported: EXPORTED,
        recipient_sha256: &RECIPIENT,
        algorithm: Some(WrappingAlgorithm::Sm2Pke),
    }
}

fn verify(receipt: &str) -> Option<Claims> {
    UnverifiedReceipt::parse(receipt).ok()?.verify(&key_set()).ok()
}

/// A receipt of this header, these claims and a signature of the key over both.
fn signed(header: &Value, claims: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signing = format!("{}.{}", encode(&header.to_string()), encode(claims));
    format!("{signing}.{}", URL_SAFE_NO_PAD.encode(KEY.sign_raw(signing.as_bytes())))
}

fn header() -> Value {
    json!({"alg": "ES256", "typ": RECEIPT_TYPE, "kid": KEY.public().thumbprint().to_string()})
}

#[test]
fn a_receipt_has_one_header_and_says_what_was_exported() {
    let made = claims();
    let receipt = KEY.sign(&made).unwrap();
    let head = URL_SAFE_NO_PAD.decode(receipt.split('.').next().unwrap()).unwrap();
    let expected = format!(
        r#"{{"alg":"ES256","typ":"keyferry-export-receipt+jws","kid":"{}"}}"#,
        KEY.public().thumbprint()
    );
    assert_eq!(String::from_utf8(head).unwrap(), expected);
    let found = verify(&receipt).unwrap();
    assert_eq!(found, made);
    assert_eq!(found.check(&delivery()), Ok(()));
    assert_eq!(found.algorithm(), Some(WrappingAlgorithm::Sm2Pke));
    assert_eq!(found.sm2_ciphertext_encoding.as_deref(), Some("ASN1_DER"));
    assert_eq!(verify(&format!("{receipt}\n")), Some(made), "as a line of a file");
    let told = serde_json::to_value(&found).unwrap();
    let names: Vec<_> = told.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "iss",
            "iat",
            "jti",
            "request_id",
            "key_id",
            "key_version_id",
            "blob_kind",
            "blob_sha256",
            "recipient_sha256",
            "exported_sha256",
            "exported_bytes",
            "wrapping_algorithm",
            "sm2_ciphertext_encoding",
            "context_salt",
            "context_sha256",
        ]
    );
}

#[test]
fn a_receipt_is_of_one_delivery() {
    let claims = claims();
    let other = Delivery { recipient_sha256: &[8; 32], ..delivery() };
    assert_eq!(claims.check(&other), Err(ReceiptMismatch::Recipient));
    for exported in [&b"another exported one"[..], b"an exported data ke", b""] {
        let other = Delivery { exported, ..delivery() };
        assert_eq!(claims.check(&other), Err(ReceiptMismatch::Exported));
    }
    let shorter = Claims { exported_bytes: 19, ..claims.clone() };
    assert_eq!(shorter.check(&delivery()), Err(ReceiptMismatch::Exported));
    let algorithm = Some(WrappingAlgorithm::RsaesOaepSha1);
    assert_eq!(
        claims.check(&Delivery { algorithm, ..delivery() }),
        Err(ReceiptMismatch::Algorithm)
    );
    assert_eq!(claims.check(&Delivery { algorithm: None, ..delivery() }), Ok(()));
}

#[test]
fn the_context_is_told_to_those_alone_who_know_it() {
    let (one, two) = (claims(), claims());
    assert!(one.is_of_context(&context("a")) && two.is_of_context(&context("a")));
    assert!(!one.is_of_context(&context("b")) && !one.is_of_context(&EncryptionContext::default()));
    assert_ne!(one.context_sha256, two.context_sha256, "two receipts of one context differ");
    assert_ne!(one.context_sha256, hex(&context("a").sha256()), "no table tells it");
    let moved = Claims { context_salt: two.context_salt, ..one.clone() };
    assert!(!moved.is_of_context(&context("a")));
    for salt in [String::new(), "00".repeat(31), "zz".repeat(32)] {
        assert!(!Claims { context_salt: salt, ..one.clone() }.is_of_context(&context("a")));
    }
    // The formula of the documents: SHA-256(salt ‖ encoding).
    let mut salted = base16ct::lower::decode_vec(&one.context_salt).unwrap();
    salted.extend_from_slice(b"\0\0\0\x01\0\0\0\x06tenant\0\0\0\x01a");
    assert_eq!(one.context_sha256, sha256_hex(&salted));
}

/// Each claim with another value, under the old signature.
#[test]
fn no_claim_can_be_altered() {
    let receipt = KEY.sign(&claims()).unwrap();
    let [head, body, signature] = receipt.split('.').collect::<Vec<_>>().try_into().unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    for (name, value) in claims.as_object().unwrap() {
        let mut altered = claims.clone();
        altered[name] = match value {
            Value::Number(number) => (number.as_i64().unwrap() + 1).into(),
            text => format!("{}x", text.as_str().unwrap()).into(),
        };
        let body = URL_SAFE_NO_PAD.encode(altered.to_string());
        let altered = UnverifiedReceipt::parse(&format!("{head}.{body}.{signature}")).unwrap();
        let refused = altered.clone().verify(&key_set()).unwrap_err();
        assert_eq!(refused, RefusedReceipt::Signature, "{name}");
        let by_thumbprint = altered.verify_by_thumbprint(KEY.public().thumbprint());
        assert_eq!(by_thumbprint.unwrap_err(), RefusedReceipt::Signature, "{name}");
    }
}

#[test]
fn headers_that_are_not_a_receipts_are_refused_though_they_are_signed() {
    let claims = serde_json::to_string(&claims()).unwrap();
    assert!(verify(&signed(&header(), &claims)).is_some());
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("es256")),
        ("alg", json!("ES384")),
        ("alg", Value::Null),
        ("typ", json!("JWT")),
        ("typ", json!("KEYFERRY-EXPORT-RECEIPT+JWS")),
        ("typ", json!("application/keyferry-export-receipt+jws")),
        ("typ", Value::Null),
        ("kid", json!("")),
        ("kid", json!("other")),
        ("kid", Value::Null),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("jwk", Value::Object(KEY.public().to_jwk())),
        ("jku", json!("https://evil.example/keys")),
        ("x5c", json!([])),
        ("cty", json!("JWT")),
    ] {
        let mut other = header();
        other[name] = value.clone();
        let read = UnverifiedReceipt::parse(&signed(&other, &claims));
        assert_eq!(read.unwrap_err(), MalformedReceipt::Header, "{name} {value}");
    }
    let twice = header().to_string().replacen('{', r#"{"alg":"ES256","#, 1);
    let twice = URL_SAFE_NO_PAD.encode(twice);
    let read = UnverifiedReceipt::parse(&format!("{twice}.e30.{}", "A".repeat(86)));
    assert_eq!(read.unwrap_err(), MalformedReceipt::Header);
}

#[test]
fn claims_that_are_not_a_receipts_are_refused_though_they_are_signed() {
    let whole = serde_json::to_value(claims()).unwrap();
    for name in whole.as_object().unwrap().keys().filter(|name| *name != "sm2_ciphertext_encoding")
    {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(name);
        let read = UnverifiedReceipt::parse(&signed(&header(), &lacking.to_string()));
        assert_eq!(read.unwrap_err(), MalformedReceipt::Claims, "{name}");
    }
    let twice = whole.to_string().replacen('{', r#"{"iss":"other","#, 1);
    for other in [twice.as_str(), "", "[]", "null", "{}", "{\"iss\": 7}"] {
        let read = UnverifiedReceipt::parse(&signed(&header(), other));
        assert_eq!(read.unwrap_err(), MalformedReceipt::Claims, "{other}");
    }
    // A later release may say more.
    let mut more = whole;
    more["more"] = json!(true);
    assert!(verify(&signed(&header(), &more.to_string())).is_some());
}

#[test]
fn text_has_one_form() {
    let receipt = KEY.sign(&claims()).unwrap();
    for (other, why) in [
        (String::new(), MalformedReceipt::Form),
        (receipt.replace('.', ""), MalformedReceipt::Form),
        (format!("{receipt}."), MalformedReceipt::Form),
        (format!("{receipt}=="), MalformedReceipt::Form),
        (format!(" {receipt}"), MalformedReceipt::Form),
        (format!("{receipt}\n\n"), MalformedReceipt::Form),
        (receipt.replacen('.', "\n.", 1), MalformedReceipt::Form),
        (format!("{receipt}AA"), MalformedReceipt::Signature),
        (receipt[..receipt.len() - 2].to_owned(), MalformedReceipt::Signature),
        (receipt[..=receipt.rfind('.').unwrap()].to_owned(), MalformedReceipt::Signature),
        ("A".repeat(4097), MalformedReceipt::Form),
    ] {
        assert_eq!(UnverifiedReceipt::parse(&other).unwrap_err(), why, "{other}");
    }
}

#[test]
fn a_thumbprint_stands_in_for_its_key() {
    let claims = claims();
    let other = ReceiptSigningKey::generate().unwrap().0;
    let read = |receipt: &str| UnverifiedReceipt::parse(receipt).unwrap();
    // Of both parities of the point, some of each among these.
    for _ in 0..16 {
        let receipt = KEY.sign(&claims).unwrap();
        let thumbprint = KEY.public().thumbprint();
        assert_eq!(read(&receipt).verify_by_thumbprint(thumbprint).as_ref(), Ok(&claims));
        let refused = read(&receipt).verify_by_thumbprint(other.public().thumbprint());
        assert_eq!(refused.unwrap_err(), RefusedReceipt::UnknownKey);
    }
    // Signed by another key in this one's name.
    let body = serde_json::to_string(&claims).unwrap();
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signing = format!("{}.{}", encode(&header().to_string()), encode(&body));
    let forged =
        format!("{signing}.{}", URL_SAFE_NO_PAD.encode(other.sign_raw(signing.as_bytes())));
    let refused = read(&forged).verify_by_thumbprint(KEY.public().thumbprint());
    assert_eq!(refused.unwrap_err(), RefusedReceipt::Signature);
    assert_eq!(read(&forged).verify(&key_set()).unwrap_err(), RefusedReceipt::Signature);
    for signature in [[0; 64], [0xff; 64]] {
        let forged = format!("{signing}.{}", URL_SAFE_NO_PAD.encode(signature));
        let refused = read(&forged).verify_by_thumbprint(KEY.public().thumbprint());
        assert_eq!(refused.unwrap_err(), RefusedReceipt::Signature);
    }
}

#[test]
fn thumbprints_are_those_of_rfc_7638() {
    // The key of RFC 7517, appendix A.1; its thumbprint by Python's hashlib.
    let jwks = json!({"keys": [{
        "kty": "EC", "crv": "P-256",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "kid": "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s",
    }]});
    let read = ReceiptKeySet::parse(jwks.to_string().as_bytes()).unwrap();
    let thumbprint = read.keys()[0].key.thumbprint();
    assert_eq!(thumbprint.to_string(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    assert_eq!(Thumbprint::parse(&thumbprint.to_string()), Ok(thumbprint));
    for text in [
        "",
        "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-",
        "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-t",
        "cn+I/WNMClehiVp51i/0VpOENW1upEerA8sEam5hn+s",
    ] {
        assert_eq!(Thumbprint::parse(text), Err(MalformedThumbprint), "{text}");
    }
}

#[test]
fn a_key_that_ended_verifies_what_it_signed_before() {
    let receipt = KEY.sign(&claims()).unwrap();
    let verify = |until: i64| {
        let until = Some(Timestamp::from_second(until).unwrap());
        let key = DatedKey { key: KEY.public().clone(), from: None, until };
        let set = ReceiptKeySet::new(issuer(), vec![key]);
        UnverifiedReceipt::parse(&receipt).unwrap().verify(&set).map(drop)
    };
    let signed_at = now().as_second();
    assert_eq!(verify(signed_at + 1), Ok(()));
    assert_eq!(verify(signed_at - 300), Ok(()), "another process learns of it later");
    assert_eq!(verify(signed_at - 301), Err(RefusedReceipt::KeyRetired));
}

#[test]
fn an_issuer_is_believed_about_itself_alone() {
    let receipt = KEY.sign(&claims()).unwrap();
    let verify =
        |set: ReceiptKeySet| UnverifiedReceipt::parse(&receipt).unwrap().verify(&set).map(drop);
    let other = StoreId::parse("0198c0de-0000-7000-8000-00000000000a").unwrap();
    assert_eq!(verify(key_set().of_issuer(other)), Err(RefusedReceipt::Issuer));
    assert_eq!(verify(key_set().of_issuer(issuer())), Ok(()));
    let strange = ReceiptSigningKey::generate().unwrap().0;
    let strange = DatedKey { key: strange.public().clone(), from: None, until: None };
    let strange = ReceiptKeySet::new(issuer(), vec![strange]);
    assert_eq!(verify(strange), Err(RefusedReceipt::UnknownKey));
}

#[test]
fn a_set_of_keys_is_read_back_as_it_was_written() {
    let ended = ReceiptSigningKey::generate().unwrap().0;
    let ended = DatedKey { key: ended.public().clone(), from: Some(now()), until: Some(now()) };
    let current = DatedKey { key: KEY.public().clone(), from: Some(now()), until: None };
    let set = ReceiptKeySet::new(issuer(), vec![ended, current]);
    let jwks = set.to_jwks();
    assert_eq!(ReceiptKeySet::parse(jwks.to_string().as_bytes()), Ok(set));
    assert_eq!(jwks["kf_issuer"], issuer().to_string());
    assert_eq!(jwks["keys"][0]["kf_until"], 1_800_000_000);
    assert_eq!(jwks["keys"][1].get("kf_until"), None);
    let names: Vec<_> = jwks["keys"][1].as_object().unwrap().keys().collect();
    assert_eq!(names, ["kty", "crv", "x", "y", "kid", "alg", "use", "kf_from"]);
}

#[test]
fn sets_that_are_of_no_use_are_refused() {
    let key = Value::Object(KEY.public().to_jwk());
    let changed = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let parse = |set: Value| ReceiptKeySet::parse(set.to_string().as_bytes()).map(drop);
    assert_eq!(parse(json!({"keys": [key]})), Ok(()));
    for unused in [
        changed("kty", json!("RSA")),
        changed("crv", json!("P-384")),
        changed("alg", json!("ES384")),
        changed("use", json!("enc")),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({}),
    ] {
        assert_eq!(parse(json!({"keys": [unused]})), Err(UnfitKeySet::Empty), "{unused}");
        assert_eq!(parse(json!({"keys": [unused, key]})), Ok(()), "{unused}");
    }
    for broken in [
        changed("kid", json!("another name")),
        changed("kid", Value::String(String::new())),
        changed("x", key["y"].clone()),
        changed("x", json!("%%%")),
        changed("y", json!("")),
        changed("kf_until", json!(i64::MAX)),
    ] {
        let refused = parse(json!({"keys": [broken]}));
        assert!(matches!(refused, Err(UnfitKeySet::Key(_))), "{broken}: {refused:?}");
    }
    assert_eq!(parse(json!({"keys": [changed("d", json!("secret"))]})), Err(UnfitKeySet::Private));
    assert_eq!(parse(json!({"keys": [key], "kf_issuer": "x"})), Err(UnfitKeySet::Issuer));
    for none in [json!([]), json!({}), json!({"keys": {}}), json!({"keys": [7]})] {
        assert!(matches!(parse(none), Err(UnfitKeySet::NoSet { .. })));
    }
}

#[test]
fn a_stored_key_is_the_same_key() {
    let (key, material) = ReceiptSigningKey::generate().unwrap();
    let stored = || material.reveal(Reveal::ToStore).to_vec();
    let again = ReceiptSigningKey::from_stored(stored().into()).unwrap();
    assert_eq!(again.public(), key.public());
    assert!(format!("{key:?}").contains(&key.public().thumbprint().to_string()));
    let mut cut = stored();
    cut.pop();
    for other in [Vec::new(), vec![7; 32], cut] {
        assert!(ReceiptSigningKey::from_stored(other.into()).is_err());
    }
    let (_, secp256k1) =
        crate::crypto::key_pair::KeyPair::generate(crate::crypto::key_pair::KeyPairSpec::EcP256K)
            .unwrap();
    let other_curve = secp256k1.reveal(Reveal::ToStore).to_vec();
    assert!(ReceiptSigningKey::from_stored(other_curve.into()).is_err());
}

proptest! {
    #[test]
    fn any_change_of_a_character_is_refused(at: prop::sample::Index, to in "[A-Za-z0-9_.-]") {
        static RECEIPT: LazyLock<String> = LazyLock::new(|| KEY.sign(&claims()).unwrap());
        let at = at.index(RECEIPT.len());
        let mut altered = RECEIPT.clone();
        altered.replace_range(at..=at, &to);
        prop_assert_eq!(verify(&altered).is_some(), altered == *RECEIPT);
    }
}
