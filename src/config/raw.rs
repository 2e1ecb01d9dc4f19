//! The fields of the file, as serde reads them: which there are, and the type of
//! each. A field that is not here is refused, so that a misspelt limit is not a
//! missing limit.

use serde::Deserialize;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawConfig {
    #[serde(default)]
    pub(super) listener: Vec<RawListener>,
    pub(super) store: Option<RawStore>,
    pub(super) root_key: Option<RawRootKey>,
    pub(super) policy: Option<RawPolicy>,
    #[serde(default)]
    pub(super) auth: RawAuth,
    #[serde(default)]
    pub(super) quota: RawQuota,
    #[serde(default)]
    pub(super) audit: RawAudit,
    #[serde(default)]
    pub(super) receipt: RawReceipt,
    #[serde(default)]
    pub(super) log: RawLog,
    pub(super) region: Option<String>,
    pub(super) account: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawListener {
    pub(super) address: Option<String>,
    pub(super) tls: Option<RawTls>,
    pub(super) gateway: Option<Switch>,
    pub(super) jwt: Option<Switch>,
    pub(super) forwarded_client_cert: Option<RawForwarders>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawForwarders {
    pub(super) from: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTls {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) crl: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawStore {
    pub(super) kind: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawRootKey {
    pub(super) provider: Option<String>,
    pub(super) path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawPolicy {
    pub(super) dir: Option<String>,
}

/// A way to authenticate is on if its table is there.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawAuth {
    pub(super) mtls: Option<RawMtls>,
    pub(super) unix: Option<EmptyTable>,
    pub(super) access_key: Option<RawAccessKey>,
    pub(super) jwt: Option<RawJwt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawJwt {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) jwks: Option<String>,
    pub(super) groups_claim: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawAccessKey {
    pub(super) signature_v1: Option<Switch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawMtls {
    pub(super) names: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct EmptyTable {}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawLog {
    pub(super) format: Option<String>,
    pub(super) level: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawAudit {
    pub(super) enabled: Option<Switch>,
    pub(super) dir: Option<String>,
    pub(super) sync_milliseconds: Option<Number>,
    pub(super) metadata: Option<Switch>,
    pub(super) max_file_megabytes: Option<Number>,
    pub(super) max_file_hours: Option<Number>,
    pub(super) keep_days: Option<Number>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawReceipt {
    pub(super) rotate_days: Option<Number>,
    #[serde(default)]
    pub(super) trusted: Vec<RawTrustedIssuer>,
    pub(super) require_on_import: Option<Switch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawTrustedIssuer {
    pub(super) issuer: Option<String>,
    pub(super) keys: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawQuota {
    pub(super) principal: Option<RawRate>,
    pub(super) total: Option<RawRate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct RawRate {
    pub(super) per_second: Option<Number>,
    pub(super) burst: Option<Number>,
}

/// A whole number, or the text of one, as the environment has it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) struct Number(pub(super) u64);

impl TryFrom<toml::Value> for Number {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let number = value.as_integer().and_then(|number| number.try_into().ok());
        let number = number.or_else(|| value.as_str()?.parse().ok());
        number.map(Self).ok_or_else(|| format!("found {value}, but it takes a whole number"))
    }
}

/// On or off: a boolean, or the text of one, as the environment has it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "toml::Value")]
pub(super) struct Switch(pub(super) bool);

impl TryFrom<toml::Value> for Switch {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        let on = value.as_bool().or_else(|| value.as_str()?.parse().ok());
        on.map(Self).ok_or_else(|| format!("found {value}, but it takes true or false"))
    }
}
