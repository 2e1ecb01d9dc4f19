//! The question that a decision answers: a caller, an RPC, a resource, and every fact
//! that a policy may read.
//!
//! All of it is borrowed while it is judged; no grant keeps a fact. The keys are
//! handed over as plain data, so that judging does no IO.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::decisions::{Decisions, Resource};
use super::grant::{GrantedSubject, KeyIdentity, PolicyDigest};
use super::operations::Action;
use super::principal::Principal;
use super::service_account::ServiceAccount;
use super::token_groups::TokenGroups;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;

/// Keeps the decisions of a request, as they are made. There is no question without one,
/// and hence no grant.
pub trait DecisionRecord: Sync {
    /// A decision was made.
    fn decided(&self, made: &MadeDecision<'_>);
}

/// A decision, with the facts that it was made by.
#[derive(Clone, Copy, Debug)]
pub struct MadeDecision<'a> {
    /// The action.
    pub action: Action,
    /// The resource.
    pub subject: Subject<'a>,
    /// The facts of the request.
    pub facts: RequestFacts<'a>,
    /// The policies that decide.
    pub policy: PolicyDigest,
    /// The ids of those that decided this.
    pub decided_by: &'a [Arc<str>],
    /// Whether it was allowed.
    pub allowed: bool,
}

/// Everything that a decision may depend on, and where it is recorded.
pub struct Question<'a, P> {
    /// The caller.
    pub principal: &'a Principal,
    /// The RPC and its decisions.
    pub decisions: Decisions<P>,
    /// The one of the RPC's resources that this is about.
    pub subject: Subject<'a>,
    /// The facts of the request.
    pub facts: RequestFacts<'a>,
    /// The other key of an RPC that is about two.
    pub other: Option<OtherKey<'a>>,
    /// Where the decisions are recorded.
    pub record: &'a dyn DecisionRecord,
}

/// A resource, with the facts that a decision may depend on. `None` is a key or
/// access key that does not exist: it is judged too, as a placeholder, so that a
/// caller who may not use it does not learn that it is not there.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The whole instance.
    Instance,
    /// The one key of the request, or the key that an alias names now.
    Key(Option<KeyFacts<'a>>),
    /// The key that an alias shall name, or that a blob shall be sealed under.
    Destination(Option<KeyFacts<'a>>),
    /// The key that shall be made, as the facts of the request have it.
    NewKey,
    /// The alias of the request, as its facts have it.
    Alias,
    /// The service account that an access key is for.
    Account(Option<&'a ServiceAccount>),
}

/// The facts of a key.
#[derive(Clone, Copy, Debug)]
pub struct KeyFacts<'a> {
    /// Its id and revision.
    pub identity: KeyIdentity,
    /// The kind of its key material, as the contract has it.
    pub spec: &'a str,
    /// Its usage, as the contract has it.
    pub usage: &'a str,
    /// Its state, as the contract has it.
    pub state: &'a str,
    /// The principal that created it.
    pub creator: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
    /// Its aliases.
    pub aliases: &'a [String],
}

/// The facts of a request, beside its caller's name and its keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestFacts<'a> {
    /// The groups that the caller's token names.
    pub token_groups: Option<&'a TokenGroups>,
    /// The encryption context, where the RPC takes one.
    pub context: Option<&'a EncryptionContext>,
    /// The key that a data key is wrapped for.
    pub recipient: Option<RecipientFacts>,
    /// The algorithm, as the contract has it.
    pub algorithm: Option<&'static str>,
    /// The kind of the blob that is made or opened.
    pub blob_kind: Option<BlobKind>,
    /// The length of what is sealed or opened.
    pub number_of_bytes: Option<usize>,
    /// The alias that the request names a key by, or that it makes.
    pub alias: Option<&'a str>,
    /// The key that the request shall make.
    pub new_key: Option<NewKeyFacts<'a>>,
    /// The tags that the key shall have.
    pub new_tags: Option<&'a BTreeMap<String, String>>,
    /// Whether it is a dry run.
    pub dry_run: bool,
}

/// The facts of a recipient's public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecipientFacts {
    /// SHA-256 of its SubjectPublicKeyInfo, DER.
    pub sha256: [u8; 32],
    /// Its spec, as the contract has it.
    pub spec: &'static str,
}

/// The facts of a key that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewKeyFacts<'a> {
    /// The kind of its key material, as the contract has it.
    pub spec: &'a str,
    /// Its usage, as the contract has it.
    pub usage: &'a str,
}

/// The other key of an RPC that is about two, with the context that goes with it.
#[derive(Clone, Copy, Debug)]
pub struct OtherKey<'a> {
    /// `None` is a key that does not exist.
    pub key: Option<KeyFacts<'a>>,
    /// Its encryption context.
    pub context: Option<&'a EncryptionContext>,
}

impl Subject<'_> {
    /// What it is, in the terms of the decision table.
    #[must_use]
    pub fn resource(&self) -> Resource {
        match self {
            Self::Instance => Resource::Instance,
            Self::Key(_) => Resource::Key,
            Self::Destination(_) => Resource::Destination,
            Self::NewKey => Resource::NewKey,
            Self::Alias => Resource::Alias,
            Self::Account(_) => Resource::Account,
        }
    }

    pub(super) fn facts(&self) -> Option<&KeyFacts<'_>> {
        match self {
            Self::Key(facts) | Self::Destination(facts) => facts.as_ref(),
            Self::Instance | Self::NewKey | Self::Alias | Self::Account(_) => None,
        }
    }

    /// The key that it is, where it is one that exists.
    #[must_use]
    pub fn key(&self) -> Option<KeyIdentity> {
        self.facts().map(|facts| facts.identity)
    }

    /// The service account that it is, where it is one.
    #[must_use]
    pub fn account(&self) -> Option<&ServiceAccount> {
        match self {
            Self::Account(account) => *account,
            _ => None,
        }
    }

    pub(super) fn granted(&self) -> GrantedSubject {
        match self {
            Self::Instance => GrantedSubject::Instance,
            Self::Key(Some(facts)) | Self::Destination(Some(facts)) => {
                GrantedSubject::Key(facts.identity)
            }
            Self::Account(Some(account)) => GrantedSubject::Account((*account).clone()),
            // No door is to what is not there yet, nor to a name alone.
            Self::Key(None)
            | Self::Destination(None)
            | Self::Account(None)
            | Self::NewKey
            | Self::Alias => GrantedSubject::Placeholder,
        }
    }
}
