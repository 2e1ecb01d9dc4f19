//! A client's profile: a TOML file with the endpoint and the credentials for it. The
//! environment and the command line win over it, field by field.
//!
//! ```toml
//! endpoint = "https://kms.internal:7311"
//!
//! [tls]
//! ca = "ca.pem"            # relative paths start where the profile is
//! cert = "client.pem"
//! key = "client.key"
//! name = "kms.internal"    # if the endpoint's host is not the certificate's name
//! ```

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::{Spanned, Value};

use super::endpoint::Endpoint;
use super::setting::{Setting, Source};
use super::tls::TlsSettings;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::config;
use crate::durable;

/// No profile is near this size.
const MAX_BYTES: u64 = 64 * 1024;

/// The settings in a profile.
#[derive(Debug, Default)]
pub struct Profile {
    /// The server.
    pub endpoint: Option<Setting<Endpoint>>,
    /// The credentials.
    pub tls: TlsSettings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawProfile {
    endpoint: Option<Spanned<String>>,
    #[serde(default)]
    tls: RawTls,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct RawTls {
    ca: Option<Spanned<String>>,
    cert: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    name: Option<Spanned<String>>,
}

impl Profile {
    /// The profile that was given, or else the user's own, if there is one.
    pub fn of(given: Option<&Path>) -> Result<Self, Failure> {
        match given {
            Some(path) => Self::read(path),
            None => match config::client_profile().filter(|path| path.exists()) {
                Some(path) => Self::read(&path),
                None => Ok(Self::default()),
            },
        }
    }

    /// The profile in this file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Failure::input(
                format!("The profile {} cannot be read: {error}.", path.display()),
                "Give another with --profile or KEYFERRY_PROFILE; /dev/null is one that sets nothing.",
            )
        };
        let mut text = String::new();
        let read = File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
            .map_err(|error| unreadable(&error))?;
        if read as u64 > MAX_BYTES {
            return Err(unreadable(&format!("it is longer than {MAX_BYTES} bytes")));
        }
        let folder = std::path::absolute(durable::parent(path)).map_err(|e| unreadable(&e))?;
        Self::parse(&text, path, &folder).map_err(|fault| fault.in_profile(&text, path))
    }

    fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, Fault> {
        let RawProfile { endpoint, tls } = toml::from_str(text)?;
        let endpoint = match endpoint {
            Some(found) => match found.get_ref().parse() {
                Ok(endpoint) => Some(setting(endpoint, "endpoint", path)),
                Err(error) => return Err(Fault::of(&found, format!("endpoint: {error}"))),
            },
            None => None,
        };
        let text = |field: &str, found: Option<Spanned<String>>| match found {
            Some(found) if found.get_ref().is_empty() => {
                Err(Fault::of(&found, format!("{field} is empty: give a value, or leave it out")))
            }
            found => Ok(found.map(Spanned::into_inner)),
        };
        let file = |field: &str, found: Option<Spanned<String>>| {
            let found = text(field, found)?;
            Ok::<_, Fault>(found.map(|file| setting(folder.join(file), field, path)))
        };
        Ok(Self {
            endpoint,
            tls: TlsSettings {
                ca: file("tls.ca", tls.ca)?,
                cert: file("tls.cert", tls.cert)?,
                key: file("tls.key", tls.key)?,
                name: text("tls.name", tls.name)?.map(|name| setting(name, "tls.name", path)),
            },
        })
    }
}

fn setting<T>(value: T, field: &str, path: &Path) -> Setting<T> {
    Setting::new(value, Source::Profile, format!("{field} in {}", path.display()))
}

/// Why a text is no profile, and the bytes of it that are to blame.
#[derive(Debug)]
struct Fault {
    at: Range<usize>,
    text: String,
}

impl From<toml::de::Error> for Fault {
    fn from(error: toml::de::Error) -> Self {
        Self { at: error.span().unwrap_or_default(), text: error.message().to_owned() }
    }
}

impl Fault {
    fn of(value: &Spanned<String>, text: String) -> Self {
        Self { at: value.span(), text }
    }

    fn in_profile(&self, text: &str, path: &Path) -> Failure {
        let before = text.get(..self.at.start).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        Failure::new(
            Exit::Configuration,
            format!("The profile is not sound: {} (line {line} of {}).", self.text, path.display()),
            "A profile holds endpoint = \"URL\" and a table [tls] with ca, cert, key and name, each as text.",
        )
    }
}

/// The certificate of the authority that signed the server's, in a client's folder.
pub const CA_FILE: &str = "ca.pem";
/// The client's certificate there.
pub const CERTIFICATE_FILE: &str = "client.pem";
/// Its private key there.
pub const KEY_FILE: &str = "client.key";

/// The text of a profile. The client's files lie in `folder`, seen from the profile.
pub fn text(endpoint: &Endpoint, folder: &Path) -> String {
    let quoted = Value::String;
    let [ca, cert, key] = [CA_FILE, CERTIFICATE_FILE, KEY_FILE]
        .map(|name| quoted(folder.join(name).display().to_string()));
    let endpoint = quoted(endpoint.to_string());
    format!(
        "# A client's profile: `keyferry --profile FILE`, KEYFERRY_PROFILE, or, without being\n\
         # named, ~/.config/keyferry/client.toml. Relative paths start where this file is.\n\
         endpoint = {endpoint}\n\n[tls]\nca = {ca}\ncert = {cert}\nkey = {key}\n"
    )
}
