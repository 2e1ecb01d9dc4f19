//! Signatures of requests: Alibaba Cloud's two schemes.
//!
//! A [`Claim`] holds what a request says of itself: its access key, its time and
//! its signature. It becomes [`Verified`] by the access key's secret, and in no
//! other way. The schemes differ in what the signature covers:
//!
//! | | V3, `ACS3-HMAC-SHA256` | V1, `HMAC-SHA1` |
//! | --- | --- | --- |
//! | parameters | the query's in the canonical request, the form's by the body's digest | all of them |
//! | headers | those in `SignedHeaders`, among which must be all that are obeyed | none: no header is obeyed |
//! | the action and its version | `x-acs-action`, `x-acs-version` | parameters |
//!
//! So the action is taken from [`Verified`], and not from the headers.

mod encoding;
mod time;
pub mod v1;
pub mod v3;

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::parameters::Parameters;
use crate::error::{Error, Result, Rule};
use crate::limits::{SIGNATURE_PART_BYTES, SIGNATURE_SKEW_MINUTES};

/// How far from now the time of a signature may be.
pub const SKEW_MAX: Duration = Duration::from_secs(60 * SIGNATURE_SKEW_MINUTES.max as u64);

/// Most of the string to sign that a refusal repeats: anybody may make one refused.
const ECHOED_BYTES_MAX: usize = 4096;

/// A request, as it was sent.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path, without the query.
    pub path: &'a str,
    /// Its query, without the question mark.
    pub query: Option<&'a str>,
    /// Its headers, with `host`, which a request over HTTP/2 is given from its
    /// `:authority`.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
    /// The parameters in the query, and in the body if it is a form.
    pub parameters: &'a Parameters,
}

/// The two schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Version 1.0, `HMAC-SHA1`. Current SDKs call it v2.
    V1,
    /// `ACS3-HMAC-SHA256`.
    V3,
}

/// The statements of a request about itself, unproved.
#[derive(PartialEq, Eq)]
pub struct Claim {
    access_key_id: String,
    nonce: String,
    time: String,
    signature: String,
    scheme: ClaimedScheme,
}

/// A scheme, and what it needs besides.
#[derive(PartialEq, Eq)]
enum ClaimedScheme {
    V1,
    V3(v3::SignedHeaders),
}

/// A request whose signature is that of the named access key.
pub struct Verified {
    scheme: Scheme,
    access_key_id: String,
    nonce: String,
    past_at: Timestamp,
    action: String,
    version: Option<String>,
}

impl Claim {
    /// Reads the claim of a request: V3 if it has an `Authorization` of `ACS3-…`,
    /// V1 if it has a parameter `Signature`. A request with both, with neither, or
    /// without a part of its scheme is refused.
    pub fn read(signed: &Signed<'_>) -> Result<Self> {
        let authorization = v3::authorization(signed.headers)?;
        match (authorization, signed.parameters.get("Signature")) {
            (Some(_), Some(_)) => Err(incomplete("it is signed in two ways")),
            (Some(authorization), None) => v3::claim(signed, authorization),
            (None, Some(signature)) => v1::claim(signed, signature),
            (None, None) => Err(incomplete("it has no signature")),
        }
    }

    fn new(parts: SchemeFields<'_>, scheme: ClaimedScheme) -> Result<Self> {
        let SchemeFields { access_key_id, nonce, time, signature } = parts;
        bounded("access key id", access_key_id)?;
        bounded("signature nonce", nonce)?;
        bounded("time stamp", time)?;
        Ok(Self {
            access_key_id: access_key_id.to_owned(),
            nonce: nonce.to_owned(),
            time: time.to_owned(),
            signature: signature.to_owned(),
            scheme,
        })
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        match self.scheme {
            ClaimedScheme::V1 => Scheme::V1,
            ClaimedScheme::V3(_) => Scheme::V3,
        }
    }

    /// The access key whose secret would prove it.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The nonce, to be used once and only after [`Claim::verify`].
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Refuses V1 where it is turned off.
    pub fn check_scheme(&self, v1_is_on: bool) -> Result<()> {
        if v1_is_on || self.scheme() == Scheme::V3 {
            return Ok(());
        }
        Err(Error::invalid("SignatureMethod", "HMAC-SHA1 is turned off here; use ACS3-HMAC-SHA256"))
    }

    /// Refuses a time that is more than 15 minutes from now, on either side.
    pub fn check_time(&self, now: Timestamp) -> Result<()> {
        time::check(&self.time, now)
    }

    /// Verifies it by the access key's secret. The request must be the one that
    /// the claim was read from.
    pub fn verify(self, signed: &Signed<'_>, secret: &[u8]) -> Result<Verified> {
        if Self::read(signed)? != self {
            return Err(Error::internal("a claim was verified against another request"));
        }
        match &self.scheme {
            ClaimedScheme::V1 => v1::verify(&self.signature, signed, secret)?,
            ClaimedScheme::V3(headers) => v3::verify(&self.signature, headers, signed, secret)?,
        }
        let (action, version) = match self.scheme() {
            Scheme::V1 => v1::action(signed),
            Scheme::V3 => v3::action(signed),
        }?;
        let scheme = self.scheme();
        Ok(Verified {
            scheme,
            access_key_id: self.access_key_id,
            past_at: time::past_at(&self.time).ok_or(Rule::MalformedTimestamp)?,
            nonce: self.nonce,
            action,
            version,
        })
    }
}

/// The fields that both schemes have.
#[derive(Clone, Copy)]
struct SchemeFields<'a> {
    access_key_id: &'a str,
    nonce: &'a str,
    time: &'a str,
    signature: &'a str,
}

impl Verified {
    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The access key whose secret it was signed with.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The nonce, to be used once.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// When the signature expires.
    #[must_use]
    pub const fn past_at(&self) -> Timestamp {
        self.past_at
    }

    /// The action, as it was signed.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// The version of the API, as it was signed.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claim({:?} of {})", self.scheme(), self.access_key_id)
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({:?} of {})", self.scheme, self.access_key_id)
    }
}

fn bounded(what: &str, value: &str) -> Result<()> {
    match value.len() {
        0 => Err(incomplete(format_args!("it has no {what}"))),
        length if SIGNATURE_PART_BYTES.allows(length) => Ok(()),
        _ => Err(incomplete(format_args!("its {what} must have {SIGNATURE_PART_BYTES}"))),
    }
}

fn incomplete(found: impl fmt::Display) -> Error {
    let text = format!("The request signature does not conform to the standards: {found}.");
    Error::from(Rule::IncompleteSignature).saying(text)
}

/// The refusal in the form that the SDKs parse. The string to sign may hold a
/// secret of the caller's, so the caller alone is told it.
fn mismatch(string_to_sign: &str) -> Error {
    let most = string_to_sign.floor_char_boundary(ECHOED_BYTES_MAX);
    let string_to_sign = string_to_sign.get(..most).unwrap_or_default();
    let error = Error::from(Rule::SignatureMismatch);
    let mut text = Zeroizing::new(String::with_capacity(error.text().len() + string_to_sign.len()));
    text.push_str(error.text());
    text.push_str(string_to_sign);
    error.telling_the_caller(text)
}
