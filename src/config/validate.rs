//! Validation: raw fields become a [`Config`], or a refusal that names the
//! field, says what was found and what would do.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::audit;
use super::callers::{demand_auth, forwarders, taken_names, token_config, token_use};
use super::error::ConfigError;
use super::fields::{address, arn_part, number, one_of, path};
use super::raw::{
    RawAuth, RawConfig, RawListener, RawLog, RawPolicy, RawRate, RawReceipt, RawRootKey, RawStore,
    RawTls, RawTrustedIssuer, Switch,
};
use super::types::{
    Address, Callers, Config, GatewayConfig, ListenerConfig, LogConfig, LogFormat, LogLevel, Mode,
    PolicyConfig, QuotaConfig, ReceiptConfig, RootKeyConfig, StoreConfig, TlsFiles, TokenConfig,
    TokenUse, TrustedIssuer,
};

use crate::access::principal::TakenNames;
use crate::ids::StoreId;
use crate::rate::{LEAST_BURST, Rate};

pub(super) const DEFAULT_REGION: &str = "local";
pub(super) const DEFAULT_ACCOUNT: &str = "0";

/// Units that a quota may give back in a second.
const QUOTA_PER_SECOND: RangeInclusive<u32> = 1..=10_000_000;
/// Units that a quota may let be used at once: the most costly operation must fit.
const QUOTA_BURST: RangeInclusive<u32> = LEAST_BURST.get()..=100_000_000;
/// Days that a key may sign receipts: each stays in the set of keys for ever.
const RECEIPT_KEY_DAYS: RangeInclusive<u32> = 30..=3650;
const TEN: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Validates everything; relative paths are relative to `directory`.
pub(super) fn validate(raw: RawConfig, directory: &Path) -> Result<Config, ConfigError> {
    let tokens = token_config(raw.auth.jwt.as_ref(), directory)?;
    let listeners = listeners(&raw.listener, &raw.auth, tokens.as_ref(), directory)?;
    let store = store(raw.store, directory)?;
    let root_key = root_key(raw.root_key, directory)?;
    refuse_root_key_in_store(&store, &root_key)?;
    let audit = audit::audit(&raw.audit, &store, directory)?;
    let log = log(&raw.log)?;
    let region = arn_part("region", raw.region, DEFAULT_REGION)?;
    let account = arn_part("account", raw.account, DEFAULT_ACCOUNT)?;
    Ok(Config {
        mode: Mode::Config,
        listeners,
        store,
        root_key,
        policy: policy(raw.policy, directory)?,
        quota: QuotaConfig {
            principal: rate("quota.principal", raw.quota.principal.as_ref())?,
            total: rate("quota.total", raw.quota.total.as_ref())?,
        },
        audit,
        give_up_audit_log: false,
        receipt: receipt(&raw.receipt, directory)?,
        log,
        region,
        account,
        gateway: gateway(&raw.auth),
        service_links: Vec::new(),
    })
}

fn store(raw: Option<RawStore>, directory: &Path) -> Result<StoreConfig, ConfigError> {
    let RawStore { kind, path: found } = raw.ok_or_else(|| {
        ConfigError::new("store", "is missing: add [store] with kind = \"sqlite\" and a path")
    })?;
    one_of("store.kind", kind.as_deref(), None, &[("sqlite", ())])?;
    let path = path("store.path", found.as_deref(), "the store's directory", directory)?;
    Ok(StoreConfig::Sqlite { path })
}

fn root_key(raw: Option<RawRootKey>, directory: &Path) -> Result<RootKeyConfig, ConfigError> {
    let RawRootKey { provider, path: found } = raw.ok_or_else(|| {
        ConfigError::new(
            "root_key",
            "is missing: add [root_key] with provider = \"file\" and a path; `keyferry init` makes the file",
        )
    })?;
    one_of("root_key.provider", provider.as_deref(), None, &[("file", ())])?;
    let path = path("root_key.path", found.as_deref(), "the root key's file", directory)?;
    Ok(RootKeyConfig::File { path })
}

fn policy(raw: Option<RawPolicy>, directory: &Path) -> Result<PolicyConfig, ConfigError> {
    let RawPolicy { dir } = raw.ok_or_else(|| {
        ConfigError::new(
            "policy",
            "is missing, and without policies nobody may do anything: add [policy] with dir = \"policies\", a directory of *.cedar files; `keyferry init` makes one",
        )
    })?;
    let dir = path("policy.dir", dir.as_deref(), "the directory of the policies", directory)?;
    Ok(PolicyConfig::Directory(dir))
}

/// A copy of the store's directory, a backup most of all, must not carry the
/// key that opens it.
fn refuse_root_key_in_store(
    store: &StoreConfig,
    root_key: &RootKeyConfig,
) -> Result<(), ConfigError> {
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

/// Without a burst, what comes in ten seconds may come at once.
fn rate(field: &str, raw: Option<&RawRate>) -> Result<Option<Rate>, ConfigError> {
    let Some(RawRate { per_second, burst }) = raw else { return Ok(None) };
    let per_second_field = format!("{field}.per_second");
    let per_second = per_second.ok_or_else(|| {
        ConfigError::new(&per_second_field, "is missing: set it to the units of one second")
    })?;
    let per_second = number(&per_second_field, per_second, QUOTA_PER_SECOND)?;
    let burst = match burst {
        Some(burst) => number(&format!("{field}.burst"), *burst, QUOTA_BURST)?,
        None => per_second.saturating_mul(TEN).max(LEAST_BURST),
    };
    Ok(Some(Rate { per_second, burst }))
}

fn receipt(raw: &RawReceipt, directory: &Path) -> Result<ReceiptConfig, ConfigError> {
    let default = ReceiptConfig::default();
    let rotate_days = match raw.rotate_days {
        Some(days) => number("receipt.rotate_days", days, RECEIPT_KEY_DAYS)?,
        None => default.rotate_days,
    };
    let mut trusted: Vec<TrustedIssuer> = Vec::new();
    for (index, raw) in raw.trusted.iter().enumerate() {
        let issuer = trusted_issuer(raw, index, directory)?;
        if trusted.iter().any(|other| other.issuer == issuer.issuer) {
            let text = "is there twice: one file has all keys of an issuer";
            return Err(ConfigError::new(format!("receipt.trusted[{index}].issuer"), text));
        }
        trusted.push(issuer);
    }
    let require_on_import = raw.require_on_import.is_some_and(|Switch(on)| on);
    if require_on_import && trusted.is_empty() {
        let text = "every import would be refused, as no issuer is trusted: add receipt.trusted with issuer and keys";
        return Err(ConfigError::new("receipt.require_on_import", text));
    }
    Ok(ReceiptConfig { rotate_days, trusted, require_on_import })
}

fn trusted_issuer(
    raw: &RawTrustedIssuer,
    index: usize,
    directory: &Path,
) -> Result<TrustedIssuer, ConfigError> {
    let field = format!("receipt.trusted[{index}].issuer");
    let what = "the id of the issuer's store, which `keyferry receipt keys` tells there";
    let issuer = raw.issuer.as_deref().unwrap_or_default();
    let issuer = StoreId::parse(issuer)
        .map_err(|_| ConfigError::new(&field, format!("found {issuer:?}, but it takes {what}")))?;
    let field = format!("receipt.trusted[{index}].keys");
    let what = "a file with the issuer's public keys, a JWK Set";
    let keys = path(&field, raw.keys.as_deref(), what, directory)?;
    Ok(TrustedIssuer { issuer, keys })
}

fn log(raw: &RawLog) -> Result<LogConfig, ConfigError> {
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
        format: one_of("log.format", raw.format.as_deref(), Some(format), &formats)?,
        level: one_of("log.level", raw.level.as_deref(), Some(level), &levels)?,
    })
}

fn gateway(auth: &RawAuth) -> GatewayConfig {
    let GatewayConfig { signature_v1 } = GatewayConfig::default();
    let given = auth.access_key.as_ref().and_then(|access_key| access_key.signature_v1);
    GatewayConfig { signature_v1: given.map_or(signature_v1, |Switch(on)| on) }
}

// ---- listeners ----

fn listeners(
    raw: &[RawListener],
    auth: &RawAuth,
    tokens: Option<&Arc<TokenConfig>>,
    directory: &Path,
) -> Result<Vec<ListenerConfig>, ConfigError> {
    if raw.is_empty() {
        return Err(ConfigError::new(
            "listener",
            "none is configured: add [[listener]] with an address, and tls{cert, key, client_ca} unless the address is unix:/path",
        ));
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let listener = listener(raw, index, auth, tokens, directory)?;
        let chosen = !matches!(&listener.address, Address::Tcp(tcp) if tcp.port() == 0);
        if chosen && listeners.iter().any(|other| other.address == listener.address) {
            return Err(ConfigError::new(
                format!("listener[{index}].address"),
                format!("{} is there twice: each listener needs its own", listener.address),
            ));
        }
        listeners.push(listener);
    }
    let takes_tokens = |one: &ListenerConfig| matches!(one.tokens, TokenUse::Taken(_));
    if tokens.is_some() && !listeners.iter().any(takes_tokens) {
        let text = "no listener takes tokens: add jwt = true to one, or remove this table";
        return Err(ConfigError::new("auth.jwt", text));
    }
    Ok(listeners)
}

fn listener(
    raw: &RawListener,
    index: usize,
    auth: &RawAuth,
    tokens: Option<&Arc<TokenConfig>>,
    directory: &Path,
) -> Result<ListenerConfig, ConfigError> {
    let field = format!("listener[{index}].address");
    let text = raw.address.as_deref().ok_or_else(|| {
        ConfigError::new(&field, "is missing: set an address such as 127.0.0.1:7311 or unix:/path")
    })?;
    let address = address(&field, text, directory)?;
    let gateway = raw.gateway.is_some_and(|Switch(on)| on);
    let jwt = raw.jwt.is_some_and(|Switch(on)| on);
    let tokens = token_use(jwt, index, tokens)?;
    let tls_field = format!("listener[{index}].tls");
    let callers = match (&address, &raw.tls) {
        (Address::Unix(_), None) => Callers::PeerUid,
        (Address::Unix(_), Some(_)) => {
            return Err(ConfigError::new(
                tls_field,
                "a Unix socket has no TLS, the kernel names its callers: remove tls",
            ));
        }
        (Address::Tcp(tcp), None) => return Err(plaintext(&field, *tcp)),
        (Address::Tcp(_), Some(files)) => {
            Callers::Mtls(tls(files, &tls_field, directory, gateway, jwt, taken_names(auth)?)?)
        }
    };
    let forwarders = forwarders(raw.forwarded_client_cert.as_ref(), index, &callers)?;
    let listener = ListenerConfig { address, callers, forwarders, tokens, gateway };
    demand_auth(&field, &listener, auth)?;
    Ok(listener)
}

fn plaintext(field: &str, tcp: SocketAddr) -> ConfigError {
    ConfigError::new(
        field,
        format!(
            "{tcp} would be plaintext, where no caller can be authenticated, on loopback too: add tls{{cert, key, client_ca}}, or use unix:/path; to try things out there is `keyferry serve --dev`"
        ),
    )
}

/// Without a gateway and tokens, callers are authenticated by their certificates or not
/// at all.
fn tls(
    raw: &RawTls,
    field: &str,
    directory: &Path,
    gateway: bool,
    jwt: bool,
    names: TakenNames,
) -> Result<TlsFiles, ConfigError> {
    if raw.client_ca.is_none() && raw.crl.is_some() {
        let text = "says which client certificates are revoked, but without tls.client_ca none is accepted: add tls.client_ca, or remove it";
        return Err(ConfigError::new(format!("{field}.crl"), text));
    }
    let file = |name: &str, value: &Option<String>, what: &str| {
        path(&format!("{field}.{name}"), value.as_deref(), what, directory)
    };
    Ok(TlsFiles {
        names,
        cert: file("cert", &raw.cert, "a PEM file with the server's certificate chain")?,
        key: file("key", &raw.key, "a PEM file with the certificate's private key")?,
        client_ca: match &raw.client_ca {
            None if gateway || jwt => None,
            client_ca => Some(file(
                "client_ca",
                client_ca,
                "a PEM file with the authorities of the callers' certificates",
            )?),
        },
        certificate_optional: gateway || jwt,
        http1: gateway,
        crl: match &raw.crl {
            Some(_) => Some(file("crl", &raw.crl, "a PEM file with revocation lists")?),
            None => None,
        },
    })
}
