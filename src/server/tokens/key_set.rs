//! The public keys of an issuer: a JWK Set (RFC 7517).

use std::collections::HashMap;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The keys that tokens may be signed with, by their ids.
#[derive(Debug)]
pub(super) struct KeySet(HashMap<String, IssuerKey>);

/// A key, and the algorithms that it may sign by: its own kind's alone, so that no token
/// chooses how it is verified.
#[derive(Debug)]
pub(super) struct IssuerKey {
    pub(super) key: DecodingKey,
    pub(super) algorithms: Vec<Algorithm>,
}

impl KeySet {
    /// Reads a set. Keys for other purposes are passed over.
    pub(super) fn parse(text: &[u8], allowed: &[Algorithm]) -> Result<Self, String> {
        // The parser's own text would quote what may be a secret in the wrong file.
        let no_set = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            format!("is no JWK Set, {{\"keys\": [\u{2026}]}}, at line {line}, column {column}")
        };
        let set: JwkSet = serde_json::from_slice(text).map_err(no_set)?;
        let parts: PrivateParts = serde_json::from_slice(text).map_err(no_set)?;
        if parts.keys.iter().any(|key| key.d.is_some()) {
            return Err(
                "has a private key, and who knows it can be anybody: publish the public half alone"
                    .to_owned(),
            );
        }
        let mut keys = HashMap::new();
        for jwk in &set.keys {
            let algorithms = algorithms_of(jwk, allowed);
            if algorithms.is_empty() {
                continue;
            }
            let Some(id) = &jwk.common.key_id else {
                return Err("has a key without a kid, which no token could name".to_owned());
            };
            let key = DecodingKey::from_jwk(jwk)
                .map_err(|_| format!("has a key that is malformed, with the kid {id:?}"))?;
            if keys.insert(id.clone(), IssuerKey { key, algorithms }).is_some() {
                return Err(format!("has two keys with the kid {id:?}"));
            }
        }
        if keys.is_empty() {
            return Err(format!("has no key for any of the algorithms {allowed:?}"));
        }
        Ok(Self(keys))
    }

    pub(super) fn get(&self, id: &str) -> Option<&IssuerKey> {
        self.0.get(id)
    }
}

/// What a set of public keys has not.
#[derive(Deserialize)]
struct PrivateParts {
    keys: Vec<PrivatePart>,
}

#[derive(Deserialize)]
struct PrivatePart {
    d: Option<IgnoredAny>,
}

/// Those that are allowed, that fit the key, and that it does not rule out.
fn algorithms_of(jwk: &Jwk, allowed: &[Algorithm]) -> Vec<Algorithm> {
    let of_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => &[],
    };
    let common = &jwk.common;
    let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let may_verify =
        common.key_operations.as_ref().is_none_or(|may| may.contains(&KeyOperations::Verify));
    let its_own = |algorithm: Algorithm| {
        common.key_algorithm.is_none_or(|own| own == KeyAlgorithm::from(algorithm))
    };
    let fit = of_kind.iter().copied().filter(|one| allowed.contains(one) && its_own(*one));
    if for_signatures && may_verify { fit.collect() } else { Vec::new() }
}
