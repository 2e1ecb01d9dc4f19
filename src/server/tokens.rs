//! Bearer tokens: JSON Web Tokens (RFC 7519) that name the caller of a request, verified
//! by the issuer's keys in a file.
//!
//! What a token says of how it is to be verified counts for nothing: its `kid` chooses
//! among the keys of the file, and the key says by which algorithms. A token lives for an
//! hour at most, and nothing of one is ever logged.
//!
//! ```text
//! key_set.rs   the issuer's keys
//! ```

mod key_set;

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use key_set::KeySet;

use super::reload_times::ReloadTimes;
use crate::access::principal::Principal;
use crate::access::token_groups::TokenGroups;
use crate::config::TokenConfig;
use crate::secret_file;

/// No set of keys is near this size.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Clocks of issuers may be so wrong.
const LEEWAY: Duration = Duration::from_secs(30);

/// The longest that a token may live, from `iat` to `exp`.
const LIFETIME_MAX_SECONDS: f64 = 3600.0;

/// The types of tokens that are taken, beside none: another kind of signed statement is
/// no proof of who sends it (RFC 8725, 3.11).
const TYPES: [&str; 4] = ["JWT", "at+jwt", "application/jwt", "application/at+jwt"];

/// Why the keys of an issuer are of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct TokenKeysError {
    file: std::path::PathBuf,
    why: String,
}

/// Why a token is not taken. For the log: none of the texts repeats a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct UnfitToken(&'static str);

/// Whom a token names.
pub(super) struct Bearer {
    pub(super) principal: Principal,
    pub(super) groups: TokenGroups,
}

/// The tokens that a listener takes.
#[derive(Debug)]
pub struct Tokens {
    config: Arc<TokenConfig>,
    keys: ArcSwap<KeySet>,
    /// Digest of the file that was last read, taken or not.
    last_read: Mutex<[u8; 32]>,
    /// The fault that was last logged: it is looked for every two seconds.
    last_fault: Mutex<Option<String>>,
}

impl Tokens {
    /// Reads the issuer's keys.
    pub fn load(config: &Arc<TokenConfig>) -> Result<Arc<Self>, TokenKeysError> {
        let text = read(config)?;
        let keys = parse(config, &text)?;
        Ok(Arc::new(Self {
            config: config.clone(),
            keys: ArcSwap::from_pointee(keys),
            last_read: Mutex::new(Sha256::digest(&text).into()),
            last_fault: Mutex::default(),
        }))
    }

    /// Whom a token names, if it is good now.
    pub(super) fn verify(&self, token: &str) -> Result<Bearer, UnfitToken> {
        let header = decode_header(token).map_err(|_| UnfitToken("its header is malformed"))?;
        check_header(&header)?;
        let keys = self.keys.load();
        let key = header.kid.as_deref().and_then(|id| keys.get(id));
        let key = key.ok_or(UnfitToken("its kid is of none of the issuer's keys"))?;
        if !key.algorithms.contains(&header.alg) {
            return Err(UnfitToken("its alg is not one of its key's, or is not allowed"));
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let claims = decode::<Map<String, Value>>(token, &key.key, &validation)
            .map_err(|error| UnfitToken(why(error.kind())))?
            .claims;
        check_lifetime(&claims)?;
        self.named(&claims)
    }

    fn named(&self, claims: &Map<String, Value>) -> Result<Bearer, UnfitToken> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        // A list of issuers would pass the validation above.
        let issuer = text("iss").filter(|issuer| *issuer == self.config.issuer);
        let issuer = issuer.ok_or(UnfitToken("its iss is another issuer"))?;
        let subject = text("sub").ok_or(UnfitToken("its sub is no text"))?;
        let principal = Principal::jwt_subject(issuer, subject)
            .map_err(|_| UnfitToken("its sub is not of the permitted form"))?;
        let claim = self.config.groups_claim.as_ref().and_then(|claim| claims.get(claim));
        let groups = match claim {
            None => TokenGroups::default(),
            Some(claim) => groups(claim).ok_or(UnfitToken("its groups are no list of names"))?,
        };
        Ok(Bearer { principal, groups })
    }

    /// Reads the file, and takes its keys if it has changed and they are of use.
    fn reload(&self) -> Result<bool, TokenKeysError> {
        let text = read(&self.config)?;
        let digest: [u8; 32] = Sha256::digest(&text).into();
        {
            let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
            if *last_read == digest {
                return Ok(false);
            }
            *last_read = digest;
        }
        self.keys.store(Arc::new(parse(&self.config, &text)?));
        Ok(true)
    }

    fn reload_and_log(&self) {
        let fault = self.reload().map(|reloaded| {
            if reloaded {
                tracing::info!(jwks = %self.config.jwks.display(), "keys of tokens reloaded");
            }
        });
        let fault = fault.err().map(|error| error.to_string());
        let mut last = self.last_fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = fault.as_ref().filter(|_| fault != *last) {
            tracing::error!(%error, "keys of tokens not reloaded: the old ones stay in use");
        }
        *last = fault;
    }
}

/// Reads the files of all listeners at every interval, and on SIGHUP at once.
pub(super) fn watch(
    all: Vec<Arc<Tokens>>,
    interval: Duration,
) -> impl Future<Output = ()> + Send + 'static {
    let mut times = ReloadTimes::every(interval);
    async move {
        loop {
            let _ = times.next().await;
            for tokens in all.clone() {
                // Reading files blocks.
                let read = tokio::task::spawn_blocking(move || tokens.reload_and_log()).await;
                if let Err(error) = read {
                    tracing::error!(%error, "keys of tokens not reloaded");
                }
            }
        }
    }
}

/// Who can write the file can be anybody.
fn read(config: &TokenConfig) -> Result<Vec<u8>, TokenKeysError> {
    let unusable = |why: String| TokenKeysError { file: config.jwks.clone(), why };
    let file = secret_file::open_unless_others_can_write(&config.jwks)
        .map_err(|error| unusable(error.to_string()))?;
    let mut text = Vec::new();
    let read = file.take(FILE_MAX_BYTES + 1).read_to_end(&mut text);
    let read = read.map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if u64::try_from(read).is_ok_and(|read| read <= FILE_MAX_BYTES) {
        Ok(text)
    } else {
        Err(unusable(format!("has more than {FILE_MAX_BYTES} bytes")))
    }
}

fn parse(config: &TokenConfig, text: &[u8]) -> Result<KeySet, TokenKeysError> {
    KeySet::parse(text, &config.algorithms)
        .map_err(|why| TokenKeysError { file: config.jwks.clone(), why })
}

fn check_header(header: &Header) -> Result<(), UnfitToken> {
    if header.crit.is_some() {
        return Err(UnfitToken("it has critical headers, which are not known here"));
    }
    match &header.typ {
        Some(found) if !TYPES.iter().any(|known| known.eq_ignore_ascii_case(found)) => {
            Err(UnfitToken("its typ is not that of a token"))
        }
        _ => Ok(()),
    }
}

/// `exp` was judged; this bounds how long a token is good for, and so how long one that
/// was stolen is. A token of the future would outlive that.
fn check_lifetime(claims: &Map<String, Value>) -> Result<(), UnfitToken> {
    let time = |claim: &str| claims.get(claim).and_then(Value::as_f64);
    let issued =
        time("iat").ok_or(UnfitToken("it has no iat, so that its lifetime is not known"))?;
    let expires = time("exp").ok_or(UnfitToken("it has no exp"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + LEEWAY;
    if issued > now.as_secs_f64() {
        return Err(UnfitToken("its iat is to come"));
    }
    if !(0.0..=LIFETIME_MAX_SECONDS).contains(&(expires - issued)) {
        return Err(UnfitToken("it lives for more than an hour"));
    }
    Ok(())
}

fn groups(claim: &Value) -> Option<TokenGroups> {
    let names = claim.as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
    TokenGroups::new(names.collect::<Option<Vec<_>>>()?).ok()
}

fn why(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidSignature => "its signature is not its key's",
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "its nbf is to come",
        ErrorKind::InvalidIssuer => "its iss is another issuer",
        ErrorKind::InvalidAudience => "its aud is another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of exp, iss, aud and sub",
        _ => "it is malformed",
    }
}
