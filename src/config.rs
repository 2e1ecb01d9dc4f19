//! Configuration: raw TOML and the environment in, a validated [`Config`] out.
//!
//! One TOML file; `KEYFERRY_` and the upper-case path, its parts joined by
//! `__`, overrides a field (`KEYFERRY_LISTENER__0__ADDRESS`). A field that
//! nothing reads is refused: a misspelt limit must not be a missing limit.
//! This is the only reader of the environment, and nothing downstream checks
//! again: a [`Config`] that exists is one that may be served.
//!
//! Each refusal names the field, says what was found and what would do.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use figment::Provider;
use figment::error::{Actual, Kind};
use figment::providers::{Format, Toml};
use figment::value::{Dict, Tag, Value};
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};

/// Where a server listens and a client looks unless told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7311);

/// What precedes the name of each variable of ours.
const ENV_PREFIX: &str = "KEYFERRY_";

/// Variables of the command line's client side (contract, section 3), which
/// are no fields of the server's configuration.
const CLIENT_ENV: [&str; 1] = ["KEYFERRY_ENDPOINT"];

/// The longest path of a Unix socket: `sun_path` has 108 bytes, and the socket
/// is born under a longer name beside its final one (`server/listener.rs`).
const SOCKET_PATH_MAX_BYTES: usize = 90;

/// A configuration that may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the server was asked to run.
    pub mode: Mode,
    /// Where it listens: one at least.
    pub listeners: Vec<ListenerConfig>,
    /// Where keys are kept.
    pub store: StoreConfig,
    /// What opens the store.
    pub root_key: RootKeyConfig,
    /// How it logs.
    pub log: LogConfig,
    /// The region in ARNs.
    pub region: String,
    /// The account in ARNs.
    pub account: String,
    /// How the HTTP front door knows its callers, where a listener has it.
    pub gateway: GatewayConfig,
}

/// What the HTTP front door takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Whether signatures of version 1, HMAC-SHA1, do.
    pub signature_v1: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self { signature_v1: true }
    }
}

/// How the server was asked to run; a store is born for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `serve --config`: verified callers only.
    Config,
    /// `serve --dev`: loopback only, plaintext, everyone is `dev`.
    Dev,
}

/// One listener. Only this module makes one, so plaintext TCP beyond loopback
/// does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    address: Address,
    callers: Callers,
    gateway: bool,
}

impl ListenerConfig {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// How its gRPC callers are known.
    #[must_use]
    pub const fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Whether the HTTP front door is beside gRPC. Its callers are known by their
    /// signatures, whatever the connection proves.
    #[must_use]
    pub const fn gateway(&self) -> bool {
        self.gateway
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP, by number; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How the callers of a listener are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// `--dev`: not at all; everyone is `dev`.
    Dev,
    /// By a client certificate. Only on TCP.
    Mtls(TlsFiles),
    /// By the user id that the kernel tells. Only on a Unix socket.
    PeerUid,
}

/// The files of one TLS listener, PEM, read anew when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose client certificates are accepted. None: nobody is
    /// known by a certificate, and everything but the HTTP front door refused.
    pub client_ca: Option<PathBuf>,
    /// Whether who has no certificate is let in all the same: callers of the HTTP
    /// front door have none.
    pub certificate_optional: bool,
    /// Their revocation lists. With one, each certificate of a client's chain
    /// must be covered by a list that has not expired.
    pub crl: Option<PathBuf>,
}

/// Where keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// One file in a directory of its own.
    Sqlite {
        /// The directory.
        path: PathBuf,
    },
}

/// What opens the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootKeyConfig {
    /// A file of mode 0600.
    File {
        /// The file.
        path: PathBuf,
    },
}

/// How the server logs, to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// One JSON object or one line of text per event.
    pub format: LogFormat,
    /// What is too small to be logged.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For programs.
    #[default]
    Json,
    /// For people.
    Text,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the levels are everybody's")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Why a configuration may not be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {text}")]
pub struct ConfigError {
    place: String,
    text: String,
}

impl ConfigError {
    /// `EX_CONFIG` (contract, section 3).
    pub const EXIT_CODE: u8 = 78;

    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }

    /// The field or file that is to blame.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

type Result<T> = std::result::Result<T, ConfigError>;

impl Config {
    /// Reads `path` and the environment. Relative paths in it are relative to
    /// the file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(path.display().to_string(), format!("cannot be read: {error}"))
        })?;
        let path = std::path::absolute(path)
            .map_err(|error| ConfigError::new(path.display().to_string(), error.to_string()))?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        Self::parse(&text, directory, std::env::vars_os())
    }

    /// The same from a text, the directory that its paths are relative to, and
    /// an environment.
    pub fn parse(
        text: &str,
        directory: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let mut fields = toml_fields(text)?;
        for (name, value) in environment {
            override_field(&mut fields, &name, &value)?;
        }
        let raw: Raw =
            Value::Dict(Tag::Default, fields).deserialize().map_err(|error| unreadable(&error))?;
        raw.validate(directory)
    }

    /// The configuration of `serve --dev`: everything in one directory, the
    /// root key beside the store; loopback or a Unix socket, nobody asked who they are.
    pub fn dev(data_dir: &Path, listen: Option<&str>) -> Result<Self> {
        let here = Path::new("");
        let address = match listen {
            Some(text) => Address::parse("--listen", text, here)?,
            None => Address::Tcp(DEFAULT_ADDRESS),
        };
        if let Address::Tcp(tcp) = address
            && !tcp.ip().is_loopback()
        {
            return Err(ConfigError::new(
                "--listen",
                format!(
                    "{tcp} is not a loopback address, and --dev lets everyone do everything: use 127.0.0.1 or [::1], or serve --config with TLS"
                ),
            ));
        }
        Ok(Self {
            mode: Mode::Dev,
            listeners: vec![ListenerConfig { address, callers: Callers::Dev, gateway: true }],
            store: StoreConfig::Sqlite { path: data_dir.join("store") },
            root_key: RootKeyConfig::File { path: data_dir.join("root.key") },
            log: LogConfig { format: LogFormat::Text, level: LogLevel::default() },
            region: DEFAULT_REGION.to_owned(),
            account: DEFAULT_ACCOUNT.to_owned(),
            gateway: GatewayConfig::default(),
        })
    }
}

const DEFAULT_REGION: &str = "local";
const DEFAULT_ACCOUNT: &str = "0";

// ---- raw ----

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    listener: Vec<RawListener>,
    store: Option<RawStore>,
    root_key: Option<RawRootKey>,
    #[serde(default)]
    auth: RawAuth,
    #[serde(default)]
    log: RawLog,
    region: Option<String>,
    account: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListener {
    address: Option<String>,
    tls: Option<RawTls>,
    gateway: Option<Switch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    cert: Option<String>,
    key: Option<String>,
    client_ca: Option<String>,
    crl: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    kind: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRootKey {
    provider: Option<String>,
    path: Option<String>,
}

/// A way to authenticate is on if its table is there.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    mtls: Option<NoFields>,
    unix: Option<NoFields>,
    access_key: Option<RawAccessKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccessKey {
    signature_v1: Option<Switch>,
}

/// On or off: a boolean, or the text of one, as the environment has it.
#[derive(Clone, Copy)]
struct Switch(bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> std::result::Result<Self, D::Error> {
        struct Reading;

        impl Visitor<'_> for Reading {
            type Value = Switch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, on: bool) -> std::result::Result<Switch, E> {
                Ok(Switch(on))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Switch, E> {
                let on = text.parse().map_err(|_| E::invalid_type(Unexpected::Str(text), &self));
                on.map(Switch)
            }
        }
        reader.deserialize_any(Reading)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: Option<String>,
    level: Option<String>,
}

fn toml_fields(text: &str) -> Result<Dict> {
    let mut profiles = Toml::string(text)
        .data()
        .map_err(|error| ConfigError::new("TOML", error.to_string().trim_end().to_owned()))?;
    Ok(profiles.remove(&figment::Profile::Default).unwrap_or_default())
}

/// Sets the field that a variable names. Values stay text: an account `007`
/// is no number.
fn override_field(fields: &mut Dict, name: &OsString, value: &OsString) -> Result<()> {
    let Some(name) = name.to_str() else { return Ok(()) };
    let Some(path) = name.strip_prefix(ENV_PREFIX) else { return Ok(()) };
    if CLIENT_ENV.contains(&name) {
        return Ok(());
    }
    let value = value
        .to_str()
        .ok_or_else(|| ConfigError::new(name, "is not UTF-8: set it to text, or unset it"))?;
    let path = path.to_ascii_lowercase();
    let mut parts = path.split("__");
    let first = parts.next().unwrap_or_default();
    let field = fields.entry(first.to_owned()).or_insert_with(|| dict([]));
    place(field, parts, value).ok_or_else(|| {
        ConfigError::new(
            name,
            "names no field: a list's members are numbered from 0, and the next free number adds one",
        )
    })
}

fn dict(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Dict(Tag::Default, entries.into_iter().collect())
}

fn place<'a>(field: &mut Value, mut path: impl Iterator<Item = &'a str>, to: &str) -> Option<()> {
    let Some(part) = path.next() else {
        *field = Value::String(Tag::Default, to.to_owned());
        return Some(());
    };
    let index: Option<usize> = part.parse().ok();
    if let (Some(0), Value::Dict(_, entries)) = (index, &*field)
        && entries.is_empty()
    {
        *field = Value::Array(Tag::Default, Vec::new());
    }
    let next = match field {
        Value::Dict(_, entries) => entries.entry(part.to_owned()).or_insert_with(|| dict([])),
        Value::Array(_, members) => {
            if index? == members.len() {
                members.push(dict([]));
            }
            members.get_mut(index?)?
        }
        _ => return None,
    };
    place(next, path, to)
}

/// Our words for what figment could not read.
fn unreadable(error: &figment::Error) -> ConfigError {
    let mut place = String::new();
    for part in &error.path {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            let _ = write!(place, "[{part}]");
        } else {
            let dot = if place.is_empty() { "" } else { "." };
            let _ = write!(place, "{dot}{part}");
        }
    }
    match &error.kind {
        Kind::UnknownField(_, known) => {
            let known = match known {
                [] => "this table has none".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            ConfigError::new(place, format!("there is no such field; {known}"))
        }
        Kind::InvalidType(found, wanted) => {
            let found = in_words(found);
            // serde names our raw structs; the file knows tables.
            let wanted = match wanted.as_str() {
                "a sequence" => "a list of tables",
                wanted if wanted.starts_with("struct ") => "a table",
                wanted => wanted,
            };
            ConfigError::new(place, format!("found {found}, but it takes {wanted}"))
        }
        _ => ConfigError::new(place, error.kind.to_string()),
    }
}

fn in_words(found: &Actual) -> String {
    match found {
        Actual::Str(text) => format!("{text:?}"),
        Actual::Unsigned(number) => format!("the number {number}"),
        Actual::Signed(number) => format!("the number {number}"),
        Actual::Float(number) => format!("the number {number}"),
        Actual::Bool(value) => value.to_string(),
        Actual::Map => "a table".to_owned(),
        Actual::Seq => "a list".to_owned(),
        other => other.to_string(),
    }
}

// ---- validation ----

impl Raw {
    fn validate(self, directory: &Path) -> Result<Config> {
        let listeners = self.listeners(directory)?;
        let store = self.store(directory)?;
        let root_key = self.root_key(directory)?;
        apart(&store, &root_key)?;
        Ok(Config {
            mode: Mode::Config,
            listeners,
            store,
            root_key,
            log: self.log.validate()?,
            region: arn_part("region", self.region, DEFAULT_REGION)?,
            account: arn_part("account", self.account, DEFAULT_ACCOUNT)?,
            gateway: self.auth.gateway(),
        })
    }

    fn listeners(&self, directory: &Path) -> Result<Vec<ListenerConfig>> {
        if self.listener.is_empty() {
            return Err(ConfigError::new(
                "listener",
                "none is configured: add [[listener]] with an address, and tls{cert, key, client_ca} unless the address is unix:/path",
            ));
        }
        let mut listeners: Vec<ListenerConfig> = Vec::new();
        for (index, raw) in self.listener.iter().enumerate() {
            let listener = raw.validate(index, &self.auth, directory)?;
            let chosen = !matches!(&listener.address, Address::Tcp(tcp) if tcp.port() == 0);
            if chosen && listeners.iter().any(|other| other.address == listener.address) {
                return Err(ConfigError::new(
                    format!("listener[{index}].address"),
                    format!("{} is there twice: each listener needs its own", listener.address),
                ));
            }
            listeners.push(listener);
        }
        Ok(listeners)
    }

    fn store(&self, directory: &Path) -> Result<StoreConfig> {
        let store = self.store.as_ref().ok_or_else(|| {
            ConfigError::new("store", "is missing: add [store] with kind = \"sqlite\" and a path")
        })?;
        one_of("store.kind", store.kind.as_deref(), None, &[("sqlite", ())])?;
        let path = path("store.path", store.path.as_deref(), "the store's directory", directory)?;
        Ok(StoreConfig::Sqlite { path })
    }

    fn root_key(&self, directory: &Path) -> Result<RootKeyConfig> {
        let root_key = self.root_key.as_ref().ok_or_else(|| {
            ConfigError::new(
                "root_key",
                "is missing: add [root_key] with provider = \"file\" and a path; `keyferry init` makes the file",
            )
        })?;
        one_of("root_key.provider", root_key.provider.as_deref(), None, &[("file", ())])?;
        let path =
            path("root_key.path", root_key.path.as_deref(), "the root key's file", directory)?;
        Ok(RootKeyConfig::File { path })
    }
}

impl RawListener {
    fn validate(&self, index: usize, auth: &RawAuth, directory: &Path) -> Result<ListenerConfig> {
        let field = |name: &str| format!("listener[{index}].{name}");
        let place = field("address");
        let text = self.address.as_deref().ok_or_else(|| {
            ConfigError::new(
                &place,
                "is missing: set an address such as 127.0.0.1:7311 or unix:/path",
            )
        })?;
        let address = Address::parse(&place, text, directory)?;
        let gateway = self.gateway.is_some_and(|Switch(on)| on);
        let callers = match (&address, &self.tls) {
            (Address::Unix(_), None) => Callers::PeerUid,
            (Address::Unix(_), Some(_)) => {
                return Err(ConfigError::new(
                    field("tls"),
                    "a Unix socket has no TLS, the kernel names its callers: remove tls",
                ));
            }
            (Address::Tcp(tcp), None) => return Err(plaintext(&place, *tcp)),
            (Address::Tcp(_), Some(tls)) => {
                Callers::Mtls(tls.validate(&field("tls"), directory, gateway)?)
            }
        };
        demand_auth(&place, &callers, gateway, auth)?;
        Ok(ListenerConfig { address, callers, gateway })
    }
}

impl RawAuth {
    fn gateway(&self) -> GatewayConfig {
        let default = GatewayConfig::default();
        let given = self.access_key.as_ref().and_then(|access_key| access_key.signature_v1);
        GatewayConfig { signature_v1: given.map_or(default.signature_v1, |Switch(on)| on) }
    }
}

fn plaintext(place: &str, tcp: SocketAddr) -> ConfigError {
    ConfigError::new(
        place,
        format!(
            "{tcp} would be plaintext, where nobody can be told from anybody, on loopback too: add tls{{cert, key, client_ca}}, or use unix:/path; to try things out there is `keyferry serve --dev`"
        ),
    )
}

/// How callers are known is said, not implied.
fn demand_auth(place: &str, callers: &Callers, gateway: bool, auth: &RawAuth) -> Result<()> {
    let certified = matches!(callers, Callers::Mtls(files) if files.client_ca.is_some());
    let (mtls, unix, access_key) =
        (auth.mtls.is_some(), auth.unix.is_some(), auth.access_key.is_some());
    let needed = [
        (certified, mtls, "[auth.mtls], by their client certificates"),
        (matches!(callers, Callers::PeerUid), unix, "[auth.unix], by their user id"),
        (gateway, access_key, "[auth.access_key], by the signatures of their access keys"),
    ];
    let missing = needed.into_iter().find(|(needed, there, _)| *needed && !*there);
    if let Some((.., text)) = missing {
        let text = format!("nothing says how its callers are authenticated: add the table {text}");
        return Err(ConfigError::new(place, text));
    }
    Ok(())
}

impl RawTls {
    /// Without a gateway, callers are known by their certificates or not at all.
    fn validate(&self, place: &str, directory: &Path, gateway: bool) -> Result<TlsFiles> {
        if self.client_ca.is_none() && self.crl.is_some() {
            let text = "says which client certificates are revoked, where tls.client_ca says that none is accepted: add tls.client_ca, or remove it";
            return Err(ConfigError::new(format!("{place}.crl"), text));
        }
        let file = |name: &str, value: &Option<String>, what: &str| {
            path(&format!("{place}.{name}"), value.as_deref(), what, directory)
        };
        Ok(TlsFiles {
            cert: file("cert", &self.cert, "a PEM file with the server's certificate chain")?,
            key: file("key", &self.key, "a PEM file with the certificate's private key")?,
            client_ca: match &self.client_ca {
                None if gateway => None,
                client_ca => Some(file(
                    "client_ca",
                    client_ca,
                    "a PEM file with the authorities of the callers' certificates",
                )?),
            },
            certificate_optional: gateway,
            crl: match &self.crl {
                Some(_) => Some(file("crl", &self.crl, "a PEM file with revocation lists")?),
                None => None,
            },
        })
    }
}

impl Address {
    fn parse(place: &str, text: &str, directory: &Path) -> Result<Self> {
        let Some(path) = text.strip_prefix("unix:") else {
            return text.parse().map(Self::Tcp).map_err(|_| {
                ConfigError::new(
                    place,
                    format!("found {text:?}, but it takes an IP address and a port such as 127.0.0.1:7311 or [::1]:7311, or unix:/path"),
                )
            });
        };
        // unix:///path is gRPC's other spelling of an absolute path.
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.ends_with('/') || path.contains('\0') {
            return Err(ConfigError::new(
                place,
                format!("found {text:?}, but it takes a file's path after unix:"),
            ));
        }
        let path = directory.join(path);
        let length = path.as_os_str().len();
        if length > SOCKET_PATH_MAX_BYTES {
            return Err(ConfigError::new(
                place,
                format!(
                    "the socket's path has {length} bytes, but {SOCKET_PATH_MAX_BYTES} is the most: choose a shorter one"
                ),
            ));
        }
        Ok(Self::Unix(path))
    }
}

impl RawLog {
    fn validate(&self) -> Result<LogConfig> {
        let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
        let levels = [
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        let LogConfig { format, level } = LogConfig::default();
        Ok(LogConfig {
            format: one_of("log.format", self.format.as_deref(), Some(format), &formats)?,
            level: one_of("log.level", self.level.as_deref(), Some(level), &levels)?,
        })
    }
}

fn one_of<T: Copy>(
    place: &str,
    found: Option<&str>,
    default: Option<T>,
    known: &[(&str, T)],
) -> Result<T> {
    let names =
        || known.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
    let Some(found) = found else {
        return default
            .ok_or_else(|| ConfigError::new(place, format!("is missing: set it to {}", names())));
    };
    known.iter().find(|(name, _)| *name == found).map(|(_, value)| *value).ok_or_else(|| {
        ConfigError::new(place, format!("found {found:?}, but it takes {}", names()))
    })
}

fn path(place: &str, found: Option<&str>, what: &str, directory: &Path) -> Result<PathBuf> {
    match found {
        None => Err(ConfigError::new(place, format!("is missing: set it to {what}"))),
        Some("") => Err(ConfigError::new(place, format!("is empty: set it to {what}"))),
        Some(path) => Ok(directory.join(path)),
    }
}

/// A part of `acs:kms:<region>:<account>:key/<id>`, where `:` and `/` divide.
fn arn_part(place: &str, found: Option<String>, default: &str) -> Result<String> {
    let value = found.unwrap_or_else(|| default.to_owned());
    let fits = (1..=64).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !fits {
        return Err(ConfigError::new(
            place,
            format!(
                "found {value:?}, but it takes 1 to 64 letters, digits, hyphens and underscores"
            ),
        ));
    }
    Ok(value)
}

/// A copy of the store's directory, a backup most of all, must not carry the
/// key that opens it.
fn apart(store: &StoreConfig, root_key: &RootKeyConfig) -> Result<()> {
    let StoreConfig::Sqlite { path: store } = store;
    let RootKeyConfig::File { path: root_key } = root_key;
    if resolved(root_key).starts_with(resolved(store)) {
        return Err(ConfigError::new(
            "root_key.path",
            format!(
                "{} lies inside the store's directory {}, where one copy takes both: move it elsewhere",
                root_key.display(),
                store.display()
            ),
        ));
    }
    Ok(())
}

/// The path with the symbolic links of what exists of it followed.
fn resolved(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
        if let Ok(real) = resolved.canonicalize() {
            resolved = real;
        }
    }
    resolved
}
