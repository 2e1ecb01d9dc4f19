//! A request over HTTP, as it was sent, and what the gateway's rooms say of it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use keyferry::error::Error;
use keyferry::gateway::nonces::Nonces;
use keyferry::gateway::parameters::Parameters;
use keyferry::gateway::signature::{Claim, Signed, Verified};

/// The access key of every request.
pub const ACCESS_KEY_ID: &str = "LTAI5tPropertyTest";
/// Its secret.
pub const SECRET: &str = "a secret+of/the&access key~";

/// A request, as it was sent.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    }

    /// Gives a header another value, or sends it without having had it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn is_form(&self) -> bool {
        let kind = self.header("content-type").unwrap_or_default();
        kind.starts_with("application/x-www-form-urlencoded")
    }

    /// The parameters of query and form.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        let form = self.is_form().then_some(self.body.as_slice());
        Parameters::read(self.query.as_deref(), form)
    }

    fn header_map(&self) -> HeaderMap {
        let header = |(name, value): &(String, String)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        let mut map = HeaderMap::new();
        for (name, value) in self.headers.iter().map(header) {
            map.append(name, value);
        }
        map
    }

    /// Shows it as the gateway's rooms see it.
    fn show<T>(&self, see: impl FnOnce(&Signed<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let parameters = self.parameters()?;
        see(&Signed {
            method: &Method::from_bytes(self.method.as_bytes()).unwrap(),
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.header_map(),
            body: &self.body,
            parameters: &parameters,
        })
    }

    /// The steps of a server that gets it at that time, in order.
    pub fn judge_at(&self, now: Timestamp, nonces: &Nonces) -> Result<Verified, Error> {
        self.show(|signed| {
            let claim = Claim::read(signed)?;
            claim.check_time(now)?;
            assert_eq!(claim.access_key_id(), ACCESS_KEY_ID);
            let verified = claim.verify(signed, SECRET.as_bytes())?;
            let elapsed = Duration::from_secs(1000);
            nonces.use_once(verified.access_key_id(), verified.nonce(), elapsed)?;
            Ok(verified)
        })
    }

    /// The verdict of a server that gets it now and has not seen it before.
    pub fn judge(&self) -> Result<Verified, Error> {
        self.judge_at(Timestamp::now(), &Nonces::default())
    }

    /// The verdict of a server that takes V1, or does not.
    pub fn judge_scheme(&self, v1_is_on: bool) -> Result<(), Error> {
        self.show(|signed| Claim::read(signed)?.check_scheme(v1_is_on))
    }
}
