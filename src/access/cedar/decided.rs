//! Decisions that need not be made again.
//!
//! Kept under everything that a policy can read, so that a hit is right by construction:
//! a decision has no clock, no randomness and no IO. Allows of uses of keys alone are
//! kept; changes are rare, and a refusal may be slow. All of it is forgotten with the
//! policies that decided.

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::policy_set::{Ask, Verdict};
use crate::access::decisions::USES;
use crate::access::grant::KeyIdentity;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::question::{RecipientFacts, Subject};
use crate::access::token_groups::TokenGroups;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;

/// Most decisions that are kept.
const MAX_DECISIONS: u64 = 64 << 10;
/// The same, for one principal: one with ever new contexts pushes out its own alone.
const MAX_DECISIONS_OF_PRINCIPAL: u64 = 8 << 10;

/// The facts of a use of a key, beside its principal. The revision of a key stands for
/// its attributes, tags and aliases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DecisionKey {
    token_groups: TokenGroups,
    rpc: &'static str,
    action: Action,
    key: KeyIdentity,
    context_sha256: Option<[u8; 32]>,
    recipient: Option<RecipientFacts>,
    algorithm: Option<&'static str>,
    blob_kind: Option<BlobKind>,
    number_of_bytes: Option<usize>,
    dry_run: bool,
    other: Option<(KeyIdentity, Option<[u8; 32]>)>,
}

impl DecisionKey {
    /// Of the use of a key that exists; nothing else is kept.
    pub(super) fn of(ask: &Ask<'_>) -> Option<Self> {
        if !USES.meets(ask.action.into()) {
            return None;
        }
        let (Subject::Key(Some(key)) | Subject::Destination(Some(key))) = &ask.subject else {
            return None;
        };
        let other = match &ask.other {
            None => None,
            Some(other) => {
                Some((other.key?.identity, other.context.map(EncryptionContext::sha256)))
            }
        };
        let facts = &ask.facts;
        Some(Self {
            token_groups: facts.token_groups.cloned().unwrap_or_default(),
            rpc: ask.rpc,
            action: ask.action,
            key: key.identity,
            context_sha256: facts.context.map(EncryptionContext::sha256),
            recipient: facts.recipient,
            algorithm: facts.algorithm,
            blob_kind: facts.blob_kind,
            number_of_bytes: facts.number_of_bytes,
            dry_run: facts.dry_run,
            other,
        })
    }
}

/// The decisions of one principal.
type OfPrincipal = Cache<DecisionKey, Verdict>;

/// The decisions of one set of policies.
pub(super) struct Decided(Cache<Principal, OfPrincipal>);

impl Decided {
    pub(super) fn new() -> Self {
        let principals = Cache::builder()
            .max_capacity(MAX_DECISIONS)
            .eviction_policy(EvictionPolicy::lru())
            .weigher(|_, decisions: &OfPrincipal| {
                // The caches of many principals that ask little cost memory, too.
                const OWN: u64 = 8;
                u32::try_from(OWN + decisions.entry_count()).unwrap_or(u32::MAX)
            });
        Self(principals.build())
    }

    pub(super) fn get(&self, principal: &Principal, key: &DecisionKey) -> Option<Verdict> {
        self.0.get(principal)?.get(key)
    }

    pub(super) fn keep(&self, principal: &Principal, key: DecisionKey, allow: Verdict) {
        let decisions = self.0.get_with_by_ref(principal, || {
            Cache::builder().max_capacity(MAX_DECISIONS_OF_PRINCIPAL).build()
        });
        decisions.insert(key, allow);
        decisions.run_pending_tasks();
        // Entries are weighed when they are inserted.
        self.0.insert(principal.clone(), decisions);
    }
}
