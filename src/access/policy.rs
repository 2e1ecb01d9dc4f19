//! Who may do what. This room alone makes a [`Grant`], and without one there is
//! no key version.
//!
//! It is handed a key's metadata as data and does no IO.

use super::decisions::{Decisions, Need, On};
use super::principal::{Principal, PrincipalKind};
use super::service_account::ServiceAccount;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyId;

/// What a decision may depend on.
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// What the RPC needs.
    pub decisions: Decisions,
    /// Which of the RPC's resources this is about.
    pub on: On,
    /// The key, where the resource is one. `None` for the instance, and for a
    /// key that does not exist: an unknown key is judged as a placeholder, so
    /// that who may not use it does not learn that it is not there.
    pub key: Option<KeyFacts>,
    /// The service account, where the resource is one. `None` for that of an
    /// access key that does not exist, which is judged as a placeholder too.
    pub account: Option<&'a ServiceAccount>,
    /// SHA-256 of the encryption context.
    pub context_sha256: Option<[u8; 32]>,
    /// SHA-256 of the recipient's public key.
    pub recipient_sha256: Option<[u8; 32]>,
}

/// What a decision may depend on of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// Which key.
    pub id: KeyId,
    /// The store's revision of what is judged.
    pub revision: u64,
}

/// The rule that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `serve --dev`: `dev` and every access key may do everything.
    Dev,
    /// `serve --config`, until policies can be written: every caller whose
    /// certificate, user id or signature was verified may do everything; `dev`
    /// may nothing.
    VerifiedCallers,
}

/// The proof that a request was allowed: good for exactly what it names, and
/// for one use, which consumes it. It can be neither made nor copied elsewhere.
#[must_use]
#[derive(Debug)]
pub struct Grant {
    needs: &'static [Need],
    on: On,
    key: Option<KeyFacts>,
    account: Option<ServiceAccount>,
    policy: Policy,
    context_sha256: Option<[u8; 32]>,
    recipient_sha256: Option<[u8; 32]>,
}

impl Policy {
    /// Judges every decision that is about this resource; all must allow.
    pub fn authorise(&self, question: &Question<'_>) -> Result<Grant> {
        for need in question.decisions.needs.iter().filter(|need| need.on == question.on) {
            let allowed = self.allows(question.principal);
            tracing::debug!(
                target: "keyferry::access",
                principal = %question.principal,
                rpc = question.decisions.rpc,
                action = %need.action,
                key_id = question.key.map(|key| tracing::field::display(key.id)),
                account = question.account.map(ServiceAccount::name),
                allowed,
                "decided"
            );
            if !allowed {
                return Err(Error::from(Rule::NotPermitted));
            }
        }
        Ok(Grant {
            needs: question.decisions.needs,
            on: question.on,
            key: question.key,
            account: question.account.cloned(),
            policy: *self,
            context_sha256: question.context_sha256,
            recipient_sha256: question.recipient_sha256,
        })
    }

    fn allows(self, principal: &Principal) -> bool {
        match self {
            Self::Dev => {
                matches!(principal.kind(), PrincipalKind::Dev | PrincipalKind::AccessKey)
            }
            Self::VerifiedCallers => principal.kind() != PrincipalKind::Dev,
        }
    }
}

impl Grant {
    /// The key that it is for.
    #[must_use]
    pub fn key(&self) -> Option<KeyFacts> {
        self.key
    }

    /// The service account that it is for.
    #[must_use]
    pub fn account(&self) -> Option<&ServiceAccount> {
        self.account.as_ref()
    }

    /// Which of the RPC's resources it is for.
    #[must_use]
    pub fn on(&self) -> On {
        self.on
    }

    /// The decisions that were made, among them those about other resources.
    #[must_use]
    pub fn needs(&self) -> &'static [Need] {
        self.needs
    }

    /// The rule that decided.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Refuses another encryption context or recipient than the ones judged. A
    /// difference is a fault of ours, never of the caller.
    pub fn check(
        &self,
        context_sha256: [u8; 32],
        recipient_sha256: Option<[u8; 32]>,
    ) -> Result<()> {
        if self.context_sha256 == Some(context_sha256) && self.recipient_sha256 == recipient_sha256
        {
            return Ok(());
        }
        Err(Error::internal(
            "a grant was used for another context or recipient than it was given for",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::decisions::{EXPORT_DATA_KEY, TABLE};
    use super::*;

    fn question(principal: &Principal) -> Question<'_> {
        Question {
            principal,
            decisions: EXPORT_DATA_KEY,
            on: On::Key,
            key: Some(KeyFacts { id: KeyId::new(), revision: 7 }),
            account: None,
            context_sha256: Some([1; 32]),
            recipient_sha256: Some([2; 32]),
        }
    }

    #[test]
    fn each_mode_refuses_the_other_modes_principals() {
        let (dev, user) = (Principal::dev(), Principal::unix(1000));
        assert!(Policy::Dev.authorise(&question(&dev)).is_ok());
        assert!(Policy::VerifiedCallers.authorise(&question(&user)).is_ok());
        for (policy, principal) in [(Policy::Dev, &user), (Policy::VerifiedCallers, &dev)] {
            let denied = policy.authorise(&question(principal)).unwrap_err();
            assert_eq!(denied.rule(), Rule::NotPermitted);
        }
    }

    #[test]
    fn access_keys_may_do_everything_in_both_modes() {
        let account = ServiceAccount::parse("billing").unwrap();
        for policy in [Policy::Dev, Policy::VerifiedCallers] {
            assert!(policy.authorise(&question(account.principal())).is_ok());
        }
    }

    #[test]
    fn a_grant_is_good_for_exactly_what_was_judged() {
        let grant = Policy::Dev.authorise(&question(&Principal::dev())).unwrap();
        assert!(grant.check([1; 32], Some([2; 32])).is_ok());
        assert!(grant.check([9; 32], Some([2; 32])).is_err());
        assert!(grant.check([1; 32], Some([9; 32])).is_err());
        assert!(grant.check([1; 32], None).is_err());
    }

    #[test]
    fn every_row_needs_something() {
        assert!(TABLE.iter().all(|row| !row.needs.is_empty()));
    }
}
