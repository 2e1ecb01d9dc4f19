//! Configuration: a TOML file and the environment in, a validated [`Config`] out.
//!
//! ```text
//! read.rs       the file, and the environment over it → the fields of raw.rs
//! service_links.rs  variables of Kubernetes, which are none of ours
//! validate.rs   what goes together, field by field (fields.rs) → types.rs
//! callers.rs    the same of how callers are known
//! client_profile.rs  the place of a client's own profile, as only this room reads the environment
//! error.rs      a refusal: the field, what was found, what would do, where it was set
//! ```
//!
//! A variable overrides a field: `KEYFERRY_` and the field's path in upper case,
//! its parts joined by `__` (`KEYFERRY_LISTENER__0__ADDRESS`). This room is the
//! only reader of the environment.
//!
//! A new field is a line in `raw.rs`, one in `types.rs`, and its validation.

mod audit;
mod callers;
mod client_profile;
mod error;
mod fields;
mod raw;
mod read;
mod service_links;
mod types;
mod validate;

use std::ffi::OsString;
use std::path::Path;

pub use client_profile::client_profile;
pub use error::ConfigError;
pub use types::{
    Address, AuditConfig, Callers, Config, DEFAULT_ADDRESS, GatewayConfig, ListenerConfig,
    LogConfig, LogFormat, LogLevel, Mode, PolicyConfig, QuotaConfig, ReceiptConfig, RootKeyConfig,
    StoreConfig, TlsFiles, TokenConfig, TokenUse, TrustedIssuer,
};

use validate::{DEFAULT_ACCOUNT, DEFAULT_REGION};

impl Config {
    /// Reads `path` and the environment. Relative paths in it are relative to
    /// the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let refusal = |text: String| ConfigError::new(path.display().to_string(), text);
        let text = std::fs::read_to_string(path)
            .map_err(|error| refusal(format!("cannot be read: {error}")))?;
        let file = std::path::absolute(path).map_err(|error| refusal(error.to_string()))?;
        #[expect(clippy::disallowed_methods, reason = "this room reads the environment")]
        let environment = std::env::vars_os();
        Self::parse(&text, file.parent().unwrap_or(Path::new("/")), environment)
            .map_err(|error| error.in_file(path))
    }

    /// The same from a text, the directory that its paths are relative to, and
    /// an environment.
    pub fn parse(
        text: &str,
        directory: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let (raw, origins) = read::read(text, environment)?;
        let config = validate::validate(raw, directory).map_err(|error| origins.tell(error))?;
        Ok(Self { service_links: origins.service_links(), ..config })
    }

    /// The configuration of `serve --dev`: everything in one directory, the
    /// root key beside the store; on loopback or a Unix socket, no caller is
    /// authenticated.
    pub fn dev(data_dir: &Path, listen: Option<&str>) -> Result<Self, ConfigError> {
        let address = match listen {
            Some(text) => fields::address("--listen", text, Path::new(""))?,
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
            listeners: vec![ListenerConfig {
                address,
                callers: Callers::Dev,
                forwarders: Vec::new(),
                tokens: TokenUse::Ignored,
                gateway: true,
            }],
            store: StoreConfig::Sqlite { path: data_dir.join("store") },
            root_key: RootKeyConfig::File { path: data_dir.join("root.key") },
            policy: PolicyConfig::Dev,
            log: LogConfig { format: LogFormat::Text, level: LogLevel::default() },
            region: DEFAULT_REGION.to_owned(),
            account: DEFAULT_ACCOUNT.to_owned(),
            quota: QuotaConfig::default(),
            audit: AuditConfig::Off,
            give_up_audit_log: false,
            receipt: ReceiptConfig::default(),
            gateway: GatewayConfig::default(),
            service_links: Vec::new(),
        })
    }
}
