//! Where the server is: `http://HOST:PORT`, `https://HOST:PORT` or
//! `unix:/path`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

/// The port of an endpoint that names none.
const DEFAULT_PORT: u16 = 7311;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Plaintext HTTP/2: on this machine, or where the user asks for it.
    Http(Authority),
    /// HTTP/2 over TLS.
    Https(Authority),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Name or address, an IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// A text that is no endpoint: what is wrong and what to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found}; give http://HOST:PORT, https://HOST:PORT or unix:/path/to/socket")]
pub struct MalformedEndpoint {
    found: String,
}

fn malformed(found: impl Into<String>) -> MalformedEndpoint {
    MalformedEndpoint { found: found.into() }
}

impl FromStr for Endpoint {
    type Err = MalformedEndpoint;

    fn from_str(text: &str) -> Result<Self, MalformedEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:/path` and `unix:///path`; the gRPC naming document has both.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(malformed("unix: has no path"));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let uri: Uri = text.parse().map_err(|_| malformed(format!("{text:?} is not a URL")))?;
        let authority = authority(&uri)?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => Ok(Self::Http(authority)),
            Some(scheme) if *scheme == Scheme::HTTPS => Ok(Self::Https(authority)),
            Some(scheme) => Err(malformed(format!("the scheme {scheme}:// is not supported"))),
            None => Err(malformed(format!("{text:?} has no scheme"))),
        }
    }
}

fn authority(uri: &Uri) -> Result<Authority, MalformedEndpoint> {
    let authority = uri.authority().ok_or_else(|| malformed(format!("{uri} names no host")))?;
    if authority.as_str().contains('@') {
        return Err(malformed("an endpoint has no user name and no password"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(malformed("a gRPC endpoint has no path"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Authority { host, port: authority.port_u16().unwrap_or(DEFAULT_PORT) })
}

impl From<SocketAddr> for Authority {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl Authority {
    /// Whether it names this machine, before anybody is asked: a loopback address,
    /// or a name that RFC 6761 (section 6.3) keeps for loopback.
    pub fn is_loopback(&self) -> bool {
        if let Ok(address) = self.host.parse() {
            return is_loopback(address);
        }
        let name = self.host.trim_end_matches('.').to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost")
    }
}

/// Whether the address is of this machine alone, IPv4 within IPv6 too.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        text.parse::<Endpoint>()
            .map(|endpoint| endpoint.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_endpoint_is_shown_in_full() {
        for (text, meant) in [
            ("http://127.0.0.1:7311", "http://127.0.0.1:7311"),
            ("https://kms.example/", "https://kms.example:7311"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("unix:/run/keyferry.sock", "unix:/run/keyferry.sock"),
            ("unix:///run/keyferry.sock", "unix:/run/keyferry.sock"),
            ("unix:keyferry.sock", "unix:keyferry.sock"),
        ] {
            assert_eq!(shown(text), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn loopback_is_known_by_its_addresses_and_its_reserved_name() {
        let is_loopback = |text: &str| match text.parse().unwrap() {
            Endpoint::Http(authority) => authority.is_loopback(),
            other => panic!("{other}"),
        };
        for here in [
            "http://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]:1",
            "http://[::ffff:127.0.0.1]",
            "http://localhost",
            "http://LOCALHOST.:1",
            "http://kms.localhost",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1",
            "http://0.0.0.0",
            "http://[::]:1",
            "http://[::ffff:10.0.0.1]",
            "http://kms.example",
            "http://localhost.example",
            "http://notlocalhost",
            "http://127.0.0.1.example",
        ] {
            assert!(!is_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_malformed_endpoint_is_refused_with_the_forms_to_give() {
        for text in [
            "",
            "127.0.0.1:7311",
            "localhost",
            "ftp://h",
            "http://",
            "http://h/path",
            "http://h?q",
            "http://u:p@h",
            "unix:",
            "unix://",
        ] {
            let refusal = shown(text).expect_err(text);
            assert!(refusal.contains("give http://HOST:PORT"), "{text}: {refusal}");
        }
    }
}
