//! The contents of a valid configuration. Only this room makes one: a [`Config`]
//! that exists may be served, and nothing downstream checks it again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use crate::access::principal::{Principal, TakenNames};
use crate::audit::opening::AuditSettings;
use crate::ids::StoreId;
use crate::rate::Rate;

/// The default address, for servers and clients.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7311);

/// A configuration that may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the server was asked to run.
    pub mode: Mode,
    /// The listeners: one at least.
    pub listeners: Vec<ListenerConfig>,
    /// The store that keeps the keys.
    pub store: StoreConfig,
    /// The root key that opens the store.
    pub root_key: RootKeyConfig,
    /// Who may do what.
    pub policy: PolicyConfig,
    /// What principals may ask for in time.
    pub quota: QuotaConfig,
    /// How what is done is recorded.
    pub audit: AuditConfig,
    /// Go on where the audit log is not what the store remembers of it. An operator says
    /// so for one start.
    pub give_up_audit_log: bool,
    /// Receipts of exports.
    pub receipt: ReceiptConfig,
    /// The log.
    pub log: LogConfig,
    /// The region in ARNs.
    pub region: String,
    /// The account in ARNs.
    pub account: String,
    /// How the HTTP front door authenticates its callers, on the listeners that
    /// have it.
    pub gateway: GatewayConfig,
    /// Variables of the environment that were passed over: Kubernetes' service
    /// links.
    pub service_links: Vec<String>,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyConfig {
    /// `--dev`: every caller may do everything.
    Dev,
    /// What the policies of a directory permit.
    Directory(PathBuf),
}

/// How what is done is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditConfig {
    /// Not at all.
    Off,
    /// In a log.
    Kept(AuditSettings),
}

/// How the server was asked to run; a store is made for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `serve --config`: verified callers only.
    Config,
    /// `serve --dev`: loopback only, plaintext, every caller is `dev`.
    Dev,
}

/// One listener. Its fields are set by validation alone, so plaintext TCP beyond
/// loopback does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    pub(super) address: Address,
    pub(super) callers: Callers,
    pub(super) forwarders: Vec<Principal>,
    pub(super) tokens: TokenUse,
    pub(super) gateway: bool,
}

impl ListenerConfig {
    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// How its gRPC callers are authenticated.
    #[must_use]
    pub const fn callers(&self) -> &Callers {
        &self.callers
    }

    /// The proxies whose `x-forwarded-client-cert` names the caller of each request.
    #[must_use]
    pub fn forwarders(&self) -> &[Principal] {
        &self.forwarders
    }

    /// Whether its gRPC callers may bear tokens.
    #[must_use]
    pub const fn tokens(&self) -> &TokenUse {
        &self.tokens
    }

    /// Whether it serves the HTTP front door beside gRPC. Callers there are
    /// authenticated by their signatures, whatever the connection proves.
    #[must_use]
    pub const fn gateway(&self) -> bool {
        self.gateway
    }
}

/// The address of a listener.
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

/// How the gRPC callers of a listener are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// `--dev`: not at all; every caller is `dev`.
    Dev,
    /// By a client certificate. Only on TCP.
    Mtls(TlsFiles),
    /// By the user id that the kernel reports. Only on a Unix socket.
    PeerUid,
}

/// What becomes of a bearer token that a gRPC caller sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// No table [auth.jwt]: it says nothing, as any header that is not known.
    Ignored,
    /// Refused, so that nobody who bears one is taken for somebody else.
    Refused,
    /// It names the caller. Over TLS a certificate may stand in its place; on a Unix
    /// socket the user id names nobody.
    Taken(Arc<TokenConfig>),
}

/// The tokens that are taken: JSON Web Tokens of one issuer, for one audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// The claim `iss` that they have.
    pub issuer: String,
    /// The claim `aud` that they have, or that is in it.
    pub audience: String,
    /// The algorithms that they may be signed by; none is symmetric.
    pub algorithms: Vec<Algorithm>,
    /// The file of the issuer's public keys, a JWK Set. The server reads it again when
    /// it changes.
    pub jwks: PathBuf,
    /// The claim that names the caller's groups.
    pub groups_claim: Option<String>,
}

/// The files of one TLS listener, PEM. The server reads them again when they
/// change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The kinds of names in the callers' certificates that are taken.
    pub names: TakenNames,
    /// The certificate chain, leaf first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose client certificates are accepted. Without them no
    /// certificate is, and only tokens and the HTTP front door are answered.
    pub client_ca: Option<PathBuf>,
    /// Accept clients without a certificate: callers of the HTTP front door have
    /// none, nor have those who bear tokens.
    pub certificate_optional: bool,
    /// Offer HTTP/1.1 too: the HTTP front door is there.
    pub http1: bool,
    /// Their revocation lists. With one, each certificate of a client's chain
    /// must be covered by a list that has not expired.
    pub crl: Option<PathBuf>,
}

/// The store that keeps the keys: one variant for each storage backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// One file in a directory of its own.
    Sqlite {
        /// The directory.
        path: PathBuf,
    },
}

/// The root key that opens the store: one variant for each provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootKeyConfig {
    /// A file of mode 0600.
    File {
        /// The file.
        path: PathBuf,
    },
}

/// How the HTTP front door authenticates its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// Accept signatures of version 1, HMAC-SHA1.
    pub signature_v1: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self { signature_v1: true }
    }
}

/// What principals may ask for in time; none: as much as they like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Each principal.
    pub principal: Option<Rate>,
    /// All principals together.
    pub total: Option<Rate>,
}

/// Receipts of exports: those that are made, and those that imports come with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptConfig {
    /// How long a key signs receipts.
    pub rotate_days: NonZeroU32,
    /// The issuers whose receipts an import may come with.
    pub trusted: Vec<TrustedIssuer>,
    /// Refuse imports that come without one.
    pub require_on_import: bool,
}

/// An issuer of receipts that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// The store that is the issuer.
    pub issuer: StoreId,
    /// The file of its public keys, a JWK Set. The server reads it again when it
    /// changes.
    pub keys: PathBuf,
}

impl Default for ReceiptConfig {
    fn default() -> Self {
        let rotate_days = NonZeroU32::MIN.saturating_add(364);
        Self { rotate_days, trusted: Vec::new(), require_on_import: false }
    }
}

/// How the server logs, to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// One JSON object or one line of text per event.
    pub format: LogFormat,
    /// The least level that is logged.
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
#[expect(missing_docs, reason = "the usual levels")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}
