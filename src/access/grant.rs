//! Grants: the proof that a request was allowed.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::actions::Actions;
use super::purpose::Use;
use super::service_account::ServiceAccount;
use crate::error::{Error, Result};
use crate::ids::KeyId;

/// The proof that a request was allowed. The policy alone makes one, it cannot
/// be copied, and its use consumes it.
///
/// It is good for the purpose `P`, and at doors that serve one of its actions: a
/// door asks for its key or account by the actions that it serves, as that is the
/// only way to either. It holds identities and digests, and no fact that was
/// judged: facts are out of date as soon as the key changes.
#[must_use]
#[derive(Debug)]
pub struct Grant<P> {
    pub(super) actions: Actions,
    pub(super) subject: GrantedSubject,
    pub(super) policy: PolicyDigest,
    pub(super) decided_by: Vec<Arc<[Arc<str>]>>,
    pub(super) context_sha256: Option<[u8; 32]>,
    pub(super) recipient_sha256: Option<[u8; 32]>,
    pub(super) purpose: PhantomData<P>,
}

/// The resource that a grant is for.
#[derive(Debug)]
pub(super) enum GrantedSubject {
    Instance,
    Key(KeyIdentity),
    Account(ServiceAccount),
    /// One that does not exist: no door takes a grant for it.
    Placeholder,
}

/// A key as it was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIdentity {
    /// Its id.
    pub id: KeyId,
    /// The store's revision of it.
    pub revision: u64,
}

/// The SHA-256 of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyDigest([u8; 32]);

impl PolicyDigest {
    pub(super) const fn of(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }
}

impl fmt::Display for PolicyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", base16ct::HexDisplay(&self.0))
    }
}

impl<P> Grant<P> {
    /// The key that it is for, at a door that serves these actions.
    pub fn key_for(&self, served: impl Into<Actions>) -> Result<KeyIdentity> {
        match self.subject {
            GrantedSubject::Key(key) if self.actions.meets(served.into()) => Ok(key),
            _ => Err(misused()),
        }
    }

    /// The service account that it is for, at a door that serves these actions.
    pub fn account_for(&self, served: impl Into<Actions>) -> Result<&ServiceAccount> {
        match &self.subject {
            GrantedSubject::Account(account) if self.actions.meets(served.into()) => Ok(account),
            _ => Err(misused()),
        }
    }

    /// Refuses a grant for a single key or account at a door to the whole instance,
    /// which serves these actions.
    pub fn instance_for(&self, served: impl Into<Actions>) -> Result<()> {
        match self.subject {
            GrantedSubject::Instance if self.actions.meets(served.into()) => Ok(()),
            _ => Err(misused()),
        }
    }

    /// The set of policies that allowed it.
    #[must_use]
    pub const fn policy(&self) -> PolicyDigest {
        self.policy
    }

    /// The ids of the policies in it that decided.
    pub fn decided_by(&self) -> impl Iterator<Item = &str> {
        self.decided_by.iter().flat_map(|ids| ids.iter()).map(AsRef::as_ref)
    }
}

impl Grant<Use> {
    /// Refuses a use that serves none of its actions.
    pub fn check_action(&self, served: impl Into<Actions>) -> Result<()> {
        if self.actions.meets(served.into()) { Ok(()) } else { Err(misused()) }
    }

    /// Refuses a use that serves none of its actions, and one with another
    /// encryption context or recipient than was judged.
    pub fn check(
        &self,
        served: impl Into<Actions>,
        context_sha256: [u8; 32],
        recipient_sha256: Option<[u8; 32]>,
    ) -> Result<()> {
        self.check_action(served)?;
        if self.context_sha256 == Some(context_sha256) && self.recipient_sha256 == recipient_sha256
        {
            return Ok(());
        }
        Err(Error::internal(
            "a grant was used for another context or recipient than it was given for",
        ))
    }
}

/// A fault of ours, never of the caller.
#[cold]
fn misused() -> Error {
    Error::internal("a grant was used for an action or a resource that it was not given for")
}
