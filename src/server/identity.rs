//! Whose a request is: what its connection proves, and what its headers prove where the
//! listener takes that.
//!
//! A proxy that the listener lists forwards the requests of others: each names its
//! client in `x-forwarded-client-cert`. From anybody else that header is a forgery. A
//! caller may bear a token where tokens are taken. A request that proves two callers is
//! refused: which of them acts must not be a matter of order.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::forwarded_cert::{self, FORWARDED_CERT};
use super::health::Health;
use super::peer::Peer;
use super::tokens::{Bearer, TokenKeysError, Tokens};
use crate::access::principal::{Principal, PrincipalKind};
use crate::access::token_groups::TokenGroups;
use crate::config::{ListenerConfig, TokenUse};
use crate::error::{Error, Result, Rule};

/// The scheme of a token in `authorization` (RFC 6750).
const BEARER: &str = "Bearer";

/// What the requests of a listener may prove of their callers. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    forwarders: Arc<[Principal]>,
    tokens: TakenTokens,
}

#[derive(Clone, Debug, Default)]
enum TakenTokens {
    #[default]
    Ignored,
    Refused,
    Taken(Arc<Tokens>),
}

impl Claims {
    /// Reads the keys of tokens, where they are taken.
    pub(super) fn load(config: &ListenerConfig) -> Result<Self, TokenKeysError> {
        let tokens = match config.tokens() {
            TokenUse::Ignored => TakenTokens::Ignored,
            TokenUse::Refused => TakenTokens::Refused,
            TokenUse::Taken(config) => TakenTokens::Taken(Tokens::load(config)?),
        };
        Ok(Self { forwarders: config.forwarders().into(), tokens })
    }

    /// Whether all callers of a Unix socket are known by their user id.
    pub(super) fn leave_it_to_the_connection(&self) -> bool {
        self.forwarders.is_empty() && self.tokens().is_none()
    }

    /// The tokens that are taken.
    pub(super) fn tokens(&self) -> Option<&Arc<Tokens>> {
        match &self.tokens {
            TakenTokens::Taken(tokens) => Some(tokens),
            TakenTokens::Ignored | TakenTokens::Refused => None,
        }
    }

    /// Whether the proof of a connection names the callers of its requests. The kernel
    /// proves a user id of every peer: where tokens are taken, that is whoever carries
    /// them.
    fn let_name_callers(&self, proven: &Principal) -> bool {
        self.tokens().is_none() || proven.kind() != PrincipalKind::Unix
    }

    /// The client that a listed proxy names.
    fn forwarded(&self, proven: Option<&Principal>, headers: &HeaderMap) -> Result<Forwarded> {
        if self.forwarders.is_empty() {
            return Ok(Forwarded::Not);
        }
        let forwarder = proven.filter(|proven| self.forwarders.contains(proven));
        let mut lines = headers.get_all(FORWARDED_CERT).iter();
        match (forwarder, lines.next(), lines.next()) {
            (None, None, _) => Ok(Forwarded::Not),
            (None, Some(_), _) => Err(not_forwarded(
                "it is sent by a peer that forwarded_client_cert.from does not list",
            )),
            (Some(forwarder), None, _) => Ok(Forwarded::ForNobody(forwarder.clone())),
            (Some(_), Some(_), Some(_)) => Err(not_forwarded("there are two lines of it")),
            (Some(forwarder), Some(line), None) => {
                let line = line.to_str().map_err(|_| not_forwarded("it has bytes beyond ASCII"))?;
                let client = forwarded_cert::client(line).map_err(not_forwarded)?;
                Ok(Forwarded::For(client, forwarder.clone()))
            }
        }
    }

    /// The header that bears a token, if one does.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a HeaderValue>> {
        if matches!(self.tokens, TakenTokens::Ignored) {
            return Ok(None);
        }
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(line), second) = (lines.next(), lines.next()) else { return Ok(None) };
        if second.is_some() {
            return Err(no_token("there are two lines of authorization"));
        }
        let scheme = line.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
        match &self.tokens {
            _ if !scheme.eq_ignore_ascii_case(BEARER.as_bytes()) => Ok(None),
            TakenTokens::Taken(_) => Ok(Some(line)),
            TakenTokens::Ignored | TakenTokens::Refused => {
                Err(no_token("the listener takes none: jwt = true would"))
            }
        }
    }

    fn verify(&self, line: &HeaderValue) -> Result<Bearer> {
        let tokens = self.tokens().ok_or_else(|| no_token("the listener takes none"))?;
        let text = line.to_str().map_err(|_| no_token("it has bytes beyond ASCII"))?;
        let (_, token) = text.split_once(' ').ok_or_else(|| no_token("there is none"))?;
        tokens.verify(token).map_err(no_token)
    }
}

/// What a listed proxy says.
enum Forwarded {
    /// The request comes from no proxy.
    Not,
    /// Its client, and the proxy.
    For(Principal, Principal),
    /// The proxy names no client.
    ForNobody(Principal),
}

/// Whose a request is.
pub(super) struct Identity {
    pub(super) principal: Principal,
    /// The groups that its token names.
    pub(super) groups: TokenGroups,
    /// The proxy that forwarded it.
    pub(super) by: Option<Principal>,
    /// The header with the token that proved it.
    token: Option<HeaderValue>,
}

impl Identity {
    /// Of a request; judged anew for each, as a connection outlives certificates.
    pub(super) fn of_request(peer: &Peer, path: &str, headers: &HeaderMap) -> Result<Self> {
        let (proven, claims) = (peer.principal()?, peer.claims());
        let (caller, by) = match claims.forwarded(proven, headers)? {
            Forwarded::Not => {
                (proven.filter(|proven| claims.let_name_callers(proven)).cloned(), None)
            }
            Forwarded::For(client, forwarder) => (Some(client), Some(forwarder)),
            Forwarded::ForNobody(forwarder) => (None, Some(forwarder)),
        };
        match (caller, claims.token(headers)?, proven) {
            (Some(_), Some(_), _) => Err(Error::from(Rule::NotAuthenticated).saying(
                "The caller is not authenticated: the request proves two callers, one by its token and one by a certificate. Send one of them.",
            )),
            (Some(principal), None, _) => Ok(Self::without_token(principal, by)),
            (None, Some(line), _) => {
                let Bearer { principal, groups } = claims.verify(line)?;
                let mut line = line.clone();
                line.set_sensitive(true);
                Ok(Self { principal, groups, by, token: Some(line) })
            }
            // Probes of the proxy itself, or of the machine.
            (None, None, Some(proven)) if Health::serves(path) => {
                Ok(Self::without_token(proven.clone(), None))
            }
            (None, None, _) if by.is_some() && claims.tokens().is_none() => {
                Err(not_forwarded("the proxy sent none, and is nobody itself"))
            }
            (None, None, _) => Err(nobody(claims)),
        }
    }

    fn without_token(principal: Principal, by: Option<Principal>) -> Self {
        Self { principal, groups: TokenGroups::default(), by, token: None }
    }

    /// Whose a stream is that began as this: the same caller's, as long as connection
    /// and token are good.
    pub(super) fn judge_again(&self, peer: &Peer) -> Result<Principal> {
        peer.principal()?;
        if let Some(line) = &self.token {
            peer.claims().verify(line)?;
        }
        Ok(self.principal.clone())
    }
}

fn nobody(claims: &Claims) -> Error {
    let text = match claims.tokens() {
        None => "The caller is not authenticated: gRPC callers show a client certificate here.",
        Some(_) => {
            "The caller is not authenticated: it bears no token, and nothing else names it here."
        }
    };
    Error::from(Rule::NotAuthenticated).saying(text)
}

/// One text for all causes: a forger learns nothing. The log has the cause.
fn not_forwarded(why: impl std::fmt::Display) -> Error {
    Error::from(Rule::NotAuthenticated)
        .saying(
            "The caller is not authenticated: x-forwarded-client-cert names no client, or is not taken from this peer.",
        )
        .logging(format!("{FORWARDED_CERT}: {why}"))
}

/// The same of tokens.
fn no_token(why: impl std::fmt::Display) -> Error {
    Error::from(Rule::NotAuthenticated)
        .saying("The caller is not authenticated: the bearer token is not accepted.")
        .logging(format!("bearer token: {why}"))
}
