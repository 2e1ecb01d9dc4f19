//! The keys that an issuer signs and signed with, as a JWK Set (RFC 7517). Beside the
//! usual members each key has `kf_from`, and `kf_until` once it signs no more; the set
//! has `kf_issuer`. Others must ignore members that they don't know (RFC 7517, section
//! 4), so that these sets are for any library.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use thiserror::Error;

use super::{ReceiptPublicKey, Thumbprint};
use crate::ids::StoreId;

/// A receipt may be so much later than the end of its key: another process of the same
/// store may not know of the end yet.
const LEEWAY: Duration = Duration::from_secs(300);

/// Bytes that are no set of an issuer's keys. Its text follows the name of the file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnfitKeySet {
    /// Not JSON of the right form.
    #[error("is no JWK Set, {{\"keys\": [\u{2026}]}}, at line {line}, column {column}")]
    NoSet {
        /// The line of the fault.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// A private key.
    #[error("has a private key: publish the public half alone")]
    Private,
    /// A key that is broken, or under another name than its own.
    #[error("has a key that is malformed, or whose kid is not its thumbprint: {0:?}")]
    Key(String),
    /// Another issuer, or none that is one.
    #[error("has a kf_issuer that is no store's id")]
    Issuer,
    /// Nothing to verify with.
    #[error("has no key for ES256")]
    Empty,
}

/// A key, and when it signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedKey {
    /// The key.
    pub key: ReceiptPublicKey,
    /// When it began to sign, where that is known.
    pub from: Option<Timestamp>,
    /// When it ended, if it did.
    pub until: Option<Timestamp>,
}

impl DatedKey {
    /// Whether a receipt of that time may be this key's. A receipt that was signed later
    /// by somebody who found an old key must lie about the time.
    pub(super) fn signed_at(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at <= until.saturating_add(LEEWAY).unwrap_or(until))
    }
}

/// The keys of one issuer, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptKeySet {
    issuer: Option<StoreId>,
    keys: Vec<DatedKey>,
}

#[derive(Deserialize)]
struct RawSet {
    kf_issuer: Option<String>,
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
struct RawKey {
    #[serde(default)]
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    kf_from: Option<i64>,
    kf_until: Option<i64>,
    d: Option<IgnoredAny>,
}

impl ReceiptKeySet {
    /// The keys of a store.
    #[must_use]
    pub const fn new(issuer: StoreId, keys: Vec<DatedKey>) -> Self {
        Self { issuer: Some(issuer), keys }
    }

    /// Reads a set. Keys for other purposes are passed over.
    pub fn parse(text: &[u8]) -> Result<Self, UnfitKeySet> {
        let set: RawSet = serde_json::from_slice(text)
            .map_err(|error| UnfitKeySet::NoSet { line: error.line(), column: error.column() })?;
        if set.keys.iter().any(|key| key.d.is_some()) {
            return Err(UnfitKeySet::Private);
        }
        let issuer = set.kf_issuer.map(|id| StoreId::parse(&id)).transpose();
        let issuer = issuer.map_err(|_| UnfitKeySet::Issuer)?;
        let fit = set.keys.iter().filter(|key| key.is_for_receipts());
        let keys = fit.map(RawKey::read).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(UnfitKeySet::Empty) } else { Ok(Self { issuer, keys }) }
    }

    /// The store that they are of, where the set tells it.
    #[must_use]
    pub const fn issuer(&self) -> Option<StoreId> {
        self.issuer
    }

    /// The same keys, of this issuer and no other.
    #[must_use]
    pub fn of_issuer(self, issuer: StoreId) -> Self {
        Self { issuer: Some(issuer), ..self }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[DatedKey] {
        &self.keys
    }

    pub(super) fn find(&self, thumbprint: Thumbprint) -> Option<&DatedKey> {
        self.keys.iter().find(|key| key.key.thumbprint() == thumbprint)
    }

    /// The JWK Set.
    #[must_use]
    pub fn to_jwks(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().map(to_jwk).collect();
        let mut set = json!({ "keys": keys });
        if let (Some(issuer), Some(members)) = (self.issuer, set.as_object_mut()) {
            members.insert("kf_issuer".to_owned(), issuer.to_string().into());
        }
        set
    }
}

impl RawKey {
    fn is_for_receipts(&self) -> bool {
        self.kty == "EC"
            && self.crv == "P-256"
            && self.alg.as_deref().is_none_or(|alg| alg == "ES256")
            && self.used_for.as_deref().is_none_or(|used_for| used_for == "sig")
    }

    fn read(&self) -> Result<DatedKey, UnfitKeySet> {
        let unfit = || UnfitKeySet::Key(self.kid.clone());
        let key = ReceiptPublicKey::from_jwk(&self.x, &self.y).map_err(|_| unfit())?;
        if self.kid != key.thumbprint().to_string() {
            return Err(unfit());
        }
        let time = |seconds: Option<i64>| {
            seconds.map(Timestamp::from_second).transpose().map_err(|_| unfit())
        };
        Ok(DatedKey { key, from: time(self.kf_from)?, until: time(self.kf_until)? })
    }
}

fn to_jwk(dated: &DatedKey) -> Value {
    let mut jwk = dated.key.to_jwk();
    for (name, time) in [("kf_from", dated.from), ("kf_until", dated.until)] {
        if let Some(time) = time {
            jwk.insert(name.to_owned(), time.as_second().into());
        }
    }
    jwk.into()
}
