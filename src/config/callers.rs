//! How the callers of a listener are known: what goes together.

use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::Algorithm;

use super::error::ConfigError;
use super::fields::{one_of, path};
use super::raw::{RawAuth, RawForwarders, RawJwt};
use super::types::{Callers, ListenerConfig, TokenConfig, TokenUse};
use crate::access::principal::{Principal, PrincipalKind, TakenNames, is_issuer};

/// A way to authenticate must be asked for, though the listener implies it.
pub(super) fn demand_auth(
    field: &str,
    listener: &ListenerConfig,
    auth: &RawAuth,
) -> Result<(), ConfigError> {
    let ListenerConfig { callers, forwarders, tokens, gateway, .. } = listener;
    // Where tokens name the callers, a user id names the proxies alone.
    let by_uid = matches!(callers, Callers::PeerUid)
        && !(matches!(tokens, TokenUse::Taken(_)) && forwarders.is_empty());
    let certified = matches!(callers, Callers::Mtls(files) if files.client_ca.is_some());
    let (mtls, unix, access_key) =
        (auth.mtls.is_some(), auth.unix.is_some(), auth.access_key.is_some());
    let needed = [
        (certified, mtls, "[auth.mtls], by their client certificates"),
        (by_uid, unix, "[auth.unix], by their user id"),
        (*gateway, access_key, "[auth.access_key], by the signatures of their access keys"),
    ];
    let missing = needed.into_iter().find(|(needed, there, _)| *needed && !*there);
    if let Some((.., text)) = missing {
        let text = format!("nothing says how its callers are authenticated: add the table {text}");
        return Err(ConfigError::new(field, text));
    }
    Ok(())
}

/// The kinds of names in client certificates that are taken. SPIFFE IDs always are.
pub(super) fn taken_names(auth: &RawAuth) -> Result<TakenNames, ConfigError> {
    let names = auth.mtls.as_ref().and_then(|mtls| mtls.names.as_deref());
    let mut taken = TakenNames::default();
    for (at, name) in names.unwrap_or_default().iter().enumerate() {
        match name.as_str() {
            "spiffe" => {}
            "dns" => taken.dns = true,
            "common_name" => taken.common_name = true,
            _ => {
                let text =
                    format!("found {name:?}, but it takes \"spiffe\", \"dns\" or \"common_name\"");
                return Err(ConfigError::new(format!("auth.mtls.names[{at}]"), text));
            }
        }
    }
    Ok(taken)
}

/// The proxies that may forward the requests of others. Each must be somebody whom a
/// connection to this listener can prove.
pub(super) fn forwarders(
    raw: Option<&RawForwarders>,
    index: usize,
    callers: &Callers,
) -> Result<Vec<Principal>, ConfigError> {
    let Some(RawForwarders { from }) = raw else { return Ok(Vec::new()) };
    let field = format!("listener[{index}].forwarded_client_cert.from");
    let (fits, would_do): (fn(PrincipalKind) -> bool, _) = match callers {
        Callers::PeerUid => (
            |kind| kind == PrincipalKind::Unix,
            "the user id of the sidecar, such as \"unix:1337\"",
        ),
        Callers::Mtls(files) if files.client_ca.is_some() => (
            |kind| matches!(kind, PrincipalKind::Spiffe | PrincipalKind::Dns | PrincipalKind::Cn),
            "the name in the proxy's own certificate, such as \"spiffe://mesh.example/proxy\"",
        ),
        Callers::Mtls(_) | Callers::Dev => {
            let text = "nothing proves that a proxy is one: add tls.client_ca, which its certificate is judged by, or remove it";
            return Err(ConfigError::new(field, text));
        }
    };
    let from = from.as_deref().unwrap_or_default();
    if from.is_empty() {
        let text = format!("names no proxy: list {would_do}");
        return Err(ConfigError::new(field, text));
    }
    let one = |(at, text): (usize, &String)| {
        let refused = |why: String| {
            let text = format!("found {text:?}, but {why}: here it takes {would_do}");
            ConfigError::new(format!("{field}[{at}]"), text)
        };
        let principal = Principal::parse(text).map_err(|why| refused(why.to_string()))?;
        if !fits(principal.kind()) {
            return Err(refused("no connection to this listener proves that".to_owned()));
        }
        Ok(principal)
    };
    from.iter().enumerate().map(one).collect()
}

/// The algorithms that may be named. A symmetric one is none: whoever could verify could
/// sign.
const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// What most issuers sign by.
const DEFAULT_ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// The tokens that are taken, if any are.
pub(super) fn token_config(
    raw: Option<&RawJwt>,
    directory: &Path,
) -> Result<Option<Arc<TokenConfig>>, ConfigError> {
    let Some(raw) = raw else { return Ok(None) };
    let text = |name: &str, found: Option<&String>, what: &str| match found {
        None => Err(ConfigError::new(
            format!("auth.jwt.{name}"),
            format!("is missing: set it to {what}"),
        )),
        Some(text) if text.is_empty() => {
            Err(ConfigError::new(format!("auth.jwt.{name}"), format!("is empty: set it to {what}")))
        }
        Some(text) => Ok(text.clone()),
    };
    let issuer = text("issuer", raw.issuer.as_ref(), "the claim iss of the tokens")?;
    if !is_issuer(&issuer) {
        let text =
            format!("found {issuer:?}, but it takes 1 to 255 visible ASCII characters, and no #");
        return Err(ConfigError::new("auth.jwt.issuer", text));
    }
    let audience = text("audience", raw.audience.as_ref(), "the claim aud that is this server's")?;
    let jwks = path(
        "auth.jwt.jwks",
        raw.jwks.as_deref(),
        "a file with the issuer's public keys, a JWK Set",
        directory,
    )?;
    let groups_claim = match &raw.groups_claim {
        None => None,
        claim => {
            Some(text("groups_claim", claim.as_ref(), "the claim that lists the caller's groups")?)
        }
    };
    let algorithms = match &raw.algorithms {
        None => DEFAULT_ALGORITHMS.to_vec(),
        Some(names) if names.is_empty() => {
            let text = "is empty: list RS256, ES256 or others, or leave it out";
            return Err(ConfigError::new("auth.jwt.algorithms", text));
        }
        Some(names) => {
            let found = names.iter().enumerate().map(|(at, name)| {
                one_of(&format!("auth.jwt.algorithms[{at}]"), Some(name), None, &ALGORITHMS)
            });
            found.collect::<Result<_, _>>()?
        }
    };
    Ok(Some(Arc::new(TokenConfig { issuer, audience, algorithms, jwks, groups_claim })))
}

/// What becomes of tokens on a listener.
pub(super) fn token_use(
    jwt: bool,
    index: usize,
    tokens: Option<&Arc<TokenConfig>>,
) -> Result<TokenUse, ConfigError> {
    match (jwt, tokens) {
        (true, Some(tokens)) => Ok(TokenUse::Taken(tokens.clone())),
        (true, None) => {
            let text = "nothing says whose tokens are taken: add the table [auth.jwt] with issuer, audience and jwks";
            Err(ConfigError::new(format!("listener[{index}].jwt"), text))
        }
        (false, Some(_)) => Ok(TokenUse::Refused),
        (false, None) => Ok(TokenUse::Ignored),
    }
}
