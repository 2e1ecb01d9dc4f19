//! Signature version 1.0: HMAC-SHA1 over method, path and all parameters.
//!
//! No header is signed, and so none is obeyed, not even the `x-acs-action` that
//! some SDKs send too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Claim, ClaimedScheme, SchemeFields, Signed, encoding, incomplete, mismatch};
use crate::error::{Error, Result};

/// The claim in the parameters.
pub(super) fn claim(signed: &Signed<'_>, signature: &str) -> Result<Claim> {
    must_be(signed, "SignatureMethod", "HMAC-SHA1")?;
    must_be(signed, "SignatureVersion", "1.0")?;
    // Many SDKs send an empty one.
    if signed.parameters.get("SignatureType").is_some_and(|kind| !kind.is_empty()) {
        return Err(Error::invalid("SignatureType", "access keys sign without one"));
    }
    let parts = SchemeFields {
        access_key_id: needed(signed, "AccessKeyId")?,
        nonce: needed(signed, "SignatureNonce")?,
        time: needed(signed, "Timestamp")?,
        signature,
    };
    Claim::new(parts, ClaimedScheme::V1)
}

fn needed<'a>(signed: &Signed<'a>, name: &'static str) -> Result<&'a str> {
    let missing = || incomplete(format_args!("the parameter \"{name}\" is missing"));
    signed.parameters.get(name).ok_or_else(missing)
}

fn must_be(signed: &Signed<'_>, name: &'static str, expected: &str) -> Result<()> {
    if needed(signed, name)? == expected {
        return Ok(());
    }
    Err(Error::invalid(name, format_args!("it must be {expected}")))
}

/// Writes the string to sign, piece by piece.
fn write_string_to_sign(signed: &Signed<'_>, mut write: impl FnMut(&str)) {
    write(signed.method.as_str());
    write("&");
    encoding::encoded(signed.path).for_each(&mut write);
    write("&");
    let parameters = signed.parameters.iter().filter(|(name, _)| *name != "Signature");
    encoding::canonical(parameters, |piece| encoding::encoded(piece).for_each(&mut write));
}

/// The string to sign: method, path and the encoded canonical parameters, all of
/// them but `Signature`, joined by `&`.
#[must_use]
pub fn string_to_sign(signed: &Signed<'_>) -> Zeroizing<String> {
    let mut bytes = 0;
    write_string_to_sign(signed, |piece| bytes += piece.len());
    let mut text = Zeroizing::new(String::with_capacity(bytes));
    write_string_to_sign(signed, |piece| text.push_str(piece));
    text
}

pub(super) fn verify(signature: &str, signed: &Signed<'_>, secret: &[u8]) -> Result<()> {
    let key = Zeroizing::new([secret, b"&"].concat());
    let mut mac = Hmac::<Sha1>::new_from_slice(&key)
        .map_err(|_| Error::internal("HMAC-SHA1 did not take a key"))?;
    write_string_to_sign(signed, |piece| mac.update(piece.as_bytes()));
    let expected = STANDARD.encode(mac.finalize().into_bytes());
    if bool::from(expected.as_bytes().ct_eq(signature.as_bytes())) {
        return Ok(());
    }
    Err(mismatch(&string_to_sign(signed)))
}

/// Action and version are ordinary parameters.
pub(super) fn action(signed: &Signed<'_>) -> Result<(String, Option<String>)> {
    let action = signed.parameters.get("Action").ok_or_else(|| Error::missing("Action"))?;
    Ok((action.to_owned(), signed.parameters.get("Version").map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Rule;
    use crate::gateway::parameters::Parameters;
    use http::{HeaderMap, Method};

    /// The documentation's example, with the signature of its signed URL, which
    /// is the SDKs' too. The text of the page has another,
    /// `s/OdVWMTmNGagvWlljdAJ7Itsew=`: that of a string in which the `&` between
    /// parameters are left bare, against the page's own rule.
    const VECTOR: &str = "AccessKeyId=testid&Action=CreateKey&Format=json\
        &SignatureMethod=HMAC-SHA1&SignatureVersion=1.0\
        &Timestamp=2016-03-28T03%3A13%3A08Z&Version=2016-01-20";
    const VECTOR_SIGNATURE: &str = "41wk2SSX1GJh7fwnc5eqOfiJPFg=";

    fn with<T>(method: &Method, query: &str, body: &str, see: impl FnOnce(&Signed<'_>) -> T) -> T {
        let parameters = Parameters::read(Some(query), Some(body.as_bytes())).expect(query);
        see(&Signed {
            method,
            path: "/",
            query: Some(query),
            headers: &HeaderMap::new(),
            body: body.as_bytes(),
            parameters: &parameters,
        })
    }

    #[test]
    fn the_documentation_s_string_to_sign_is_ours() {
        let string = with(&Method::GET, VECTOR, "", |signed| string_to_sign(signed).to_string());
        let expected = "GET&%2F&AccessKeyId%3Dtestid%26Action%3DCreateKey%26Format%3Djson\
            %26SignatureMethod%3DHMAC-SHA1%26SignatureVersion%3D1.0\
            %26Timestamp%3D2016-03-28T03%253A13%253A08Z%26Version%3D2016-01-20";
        assert_eq!(string, expected);
    }

    #[test]
    fn the_documentation_s_example_verifies() {
        let verified = |query: &str, method: &Method, secret: &[u8]| {
            with(method, query, "", |signed| verify(VECTOR_SIGNATURE, signed, secret).is_ok())
        };
        assert!(verified(VECTOR, &Method::GET, b"testsecret"));
        assert!(!verified(VECTOR, &Method::POST, b"testsecret"));
        assert!(!verified(VECTOR, &Method::GET, b"testsecreT"));
        assert!(!verified(VECTOR, &Method::GET, b"testsecret&"));
        assert!(!verified(&format!("{VECTOR}&A="), &Method::GET, b"testsecret"));
        let misprint = "s/OdVWMTmNGagvWlljdAJ7Itsew=";
        assert!(with(&Method::GET, VECTOR, "", |signed| verify(misprint, signed, b"testsecret")
            .is_err()));
    }

    #[test]
    fn the_documentation_s_example_is_no_request_as_it_has_no_nonce() {
        let query = format!("{VECTOR}&Signature=41wk2SSX1GJh7fwnc5eqOfiJPFg%3D");
        let refused = with(&Method::GET, &query, "", |signed| Claim::read(signed).map(|_| ()));
        let refused = refused.expect_err("no nonce");
        assert_eq!(refused.rule(), Rule::IncompleteSignature);
        assert!(refused.text().contains("SignatureNonce"), "{refused}");
    }

    #[test]
    fn every_parameter_is_in_the_string_to_sign_but_the_signature() {
        let string = with(&Method::POST, "b=%2B+*~%2f&Signature=x&a", "B=%E9%94%AE", |signed| {
            string_to_sign(signed).to_string()
        });
        let expected = "POST&%2F&B%3D%25E9%2594%25AE%26a%3D%26b%3D%252B%2520%252A~%252F";
        assert_eq!(string, expected);
    }

    #[test]
    fn the_refusal_is_what_the_sdks_look_for_and_does_not_get_into_a_log() {
        let refused = with(&Method::GET, "Plaintext=PLANTED", "", |signed| {
            verify("AAAA", signed, b"secret").expect_err("no signature")
        });
        assert_eq!(
            refused.text(),
            "Specified signature is not matched with our calculation. \
             server string to sign is:GET&%2F&Plaintext%3DPLANTED"
        );
        assert!(!format!("{refused} {refused:?}").contains("PLANTED"));
        assert_eq!(refused.text().split(':').nth(1), Some("GET&%2F&Plaintext%3DPLANTED"));
    }
}
