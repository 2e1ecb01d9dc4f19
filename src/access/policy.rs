//! The policy: may this principal do this? It alone makes a [`Grant`], and without
//! one nothing is used, changed or shown.
//!
//! It is handed a key's facts as plain data and does no IO.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use sha2::{Digest, Sha256};

use super::actions::Actions;
use super::decisions::{Decisions, Resource};
use super::grant::{Grant, GrantedSubject, KeyIdentity, PolicyDigest};
use super::principal::{Principal, PrincipalKind};
use super::purpose::Purpose;
use super::service_account::ServiceAccount;
use crate::error::{Error, Result, Rule};

/// Everything that a decision may depend on. It is borrowed while it is judged,
/// and no grant keeps it.
pub struct Question<'a, P> {
    /// The caller.
    pub principal: &'a Principal,
    /// The decisions of the RPC.
    pub decisions: Decisions<P>,
    /// The one of the RPC's resources that this is about.
    pub subject: Subject<'a>,
    /// SHA-256 of the encryption context.
    pub context_sha256: Option<[u8; 32]>,
    /// SHA-256 of the recipient's public key.
    pub recipient_sha256: Option<[u8; 32]>,
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
}

/// The policy of an instance.
#[derive(Clone, Debug)]
pub struct Policy {
    allowed: Allowed,
    digest: PolicyDigest,
}

/// The callers who may do everything.
#[derive(Clone, Copy, Debug)]
enum Allowed {
    DevAndAccessKeys,
    VerifiedCallers,
}

impl Policy {
    /// `serve --dev`: `dev` and every access key may do everything.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(Allowed::DevAndAccessKeys, "keyferry/policy/dev")
    }

    /// `serve --config`, until policies can be written: every caller whose
    /// certificate, user id or signature was verified may do everything; `dev`
    /// may nothing.
    #[must_use]
    pub fn verified_callers() -> Self {
        Self::new(Allowed::VerifiedCallers, "keyferry/policy/verified-callers")
    }

    fn new(allowed: Allowed, text: &str) -> Self {
        Self { allowed, digest: PolicyDigest(Sha256::digest(text).into()) }
    }

    /// The digest that tells this policy from any other.
    #[must_use]
    pub const fn digest(&self) -> PolicyDigest {
        self.digest
    }

    /// Judges every decision that is about this subject; all must allow.
    pub fn authorise<P: Purpose>(&self, question: &Question<'_, P>) -> Result<Grant<P>> {
        let resource = question.subject.resource();
        let mut actions = Actions::default();
        for decision in question.decisions.required() {
            if decision.resource != resource {
                continue;
            }
            let allowed = self.allows(question.principal);
            tracing::debug!(
                target: "keyferry::access",
                decision = %decision.action,
                key_id = question.subject.key().map(|key| tracing::field::display(key.id)),
                account = question.subject.account().map(ServiceAccount::name),
                allowed,
                "decided"
            );
            if !allowed {
                return Err(Error::from(Rule::NotPermitted));
            }
            actions = actions.with(decision.action);
        }
        Ok(Grant {
            actions,
            subject: question.subject.granted(),
            policy: self.digest,
            context_sha256: question.context_sha256,
            recipient_sha256: question.recipient_sha256,
            purpose: PhantomData,
        })
    }

    fn allows(&self, principal: &Principal) -> bool {
        match self.allowed {
            Allowed::DevAndAccessKeys => {
                matches!(principal.kind(), PrincipalKind::Dev | PrincipalKind::AccessKey)
            }
            Allowed::VerifiedCallers => principal.kind() != PrincipalKind::Dev,
        }
    }
}

impl Subject<'_> {
    fn resource(&self) -> Resource {
        match self {
            Self::Instance => Resource::Instance,
            Self::Key(_) => Resource::Key,
            Self::Destination(_) => Resource::Destination,
            Self::Account(_) => Resource::Account,
        }
    }

    fn key(&self) -> Option<KeyIdentity> {
        match self {
            Self::Key(facts) | Self::Destination(facts) => facts.map(|facts| facts.identity),
            Self::Instance | Self::Account(_) => None,
        }
    }

    fn account(&self) -> Option<&ServiceAccount> {
        match self {
            Self::Account(account) => *account,
            Self::Instance | Self::Key(_) | Self::Destination(_) => None,
        }
    }

    fn granted(&self) -> GrantedSubject {
        match self {
            Self::Instance => GrantedSubject::Instance,
            Self::Key(Some(facts)) | Self::Destination(Some(facts)) => {
                GrantedSubject::Key(facts.identity)
            }
            Self::Account(Some(account)) => GrantedSubject::Account((*account).clone()),
            Self::Key(None) | Self::Destination(None) | Self::Account(None) => {
                GrantedSubject::Placeholder
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decisions::{DESCRIBE_KEY, EXPORT_DATA_KEY, RE_ENCRYPT};
    use super::super::operations::Action;
    use super::super::purpose::Use;
    use super::*;
    use crate::ids::KeyId;

    const EXPORT: Actions = Actions::of(&[Action::ExportDataKey]);

    fn facts(tags: &BTreeMap<String, String>) -> KeyFacts<'_> {
        let identity = KeyIdentity { id: KeyId::new(), revision: 7 };
        let (spec, usage) = ("Aliyun_AES_256", "ENCRYPT/DECRYPT");
        KeyFacts { identity, spec, usage, state: "Enabled", creator: "dev", tags }
    }

    fn question<'a, P: Purpose>(
        principal: &'a Principal,
        decisions: Decisions<P>,
        subject: Subject<'a>,
    ) -> Question<'a, P> {
        Question {
            principal,
            decisions,
            subject,
            context_sha256: Some([1; 32]),
            recipient_sha256: Some([2; 32]),
        }
    }

    fn export(policy: &Policy, principal: &Principal) -> Result<Grant<Use>> {
        let tags = BTreeMap::new();
        policy.authorise(&question(principal, EXPORT_DATA_KEY, Subject::Key(Some(facts(&tags)))))
    }

    #[test]
    fn each_mode_refuses_the_other_modes_principals() {
        let (dev, user) = (Principal::dev(), Principal::unix(1000));
        assert!(export(&Policy::dev(), &dev).is_ok());
        assert!(export(&Policy::verified_callers(), &user).is_ok());
        for (policy, principal) in [(Policy::dev(), &user), (Policy::verified_callers(), &dev)] {
            let denied = export(&policy, principal).unwrap_err();
            assert_eq!(denied.rule(), Rule::NotPermitted);
        }
    }

    #[test]
    fn access_keys_may_do_everything_in_both_modes() {
        let account = ServiceAccount::parse("billing").unwrap();
        for policy in [Policy::dev(), Policy::verified_callers()] {
            assert!(export(&policy, account.principal()).is_ok());
        }
    }

    #[test]
    fn a_grant_is_good_for_exactly_what_was_judged() {
        let grant = export(&Policy::dev(), &Principal::dev()).unwrap();
        assert!(grant.check(EXPORT, [1; 32], Some([2; 32])).is_ok());
        assert!(grant.check(EXPORT, [9; 32], Some([2; 32])).is_err());
        assert!(grant.check(EXPORT, [1; 32], Some([9; 32])).is_err());
        assert!(grant.check(EXPORT, [1; 32], None).is_err());
        let decrypt = Actions::of(&[Action::Decrypt]);
        assert!(grant.check(decrypt, [1; 32], Some([2; 32])).is_err());
    }

    #[test]
    fn a_grant_opens_only_the_doors_of_its_actions_and_its_subject() {
        let (policy, dev, tags) = (Policy::dev(), Principal::dev(), BTreeMap::new());
        let key = facts(&tags);
        let grant = export(&policy, &dev).unwrap();
        assert!(grant.key_for(EXPORT).is_ok());
        assert_eq!(grant.policy(), policy.digest());
        let refusals = [
            grant.key_for(Actions::of(&[Action::Decrypt])).map(drop),
            grant.account_for(EXPORT).map(drop),
            grant.instance_for(EXPORT),
        ];
        assert!(refusals.into_iter().all(|door| door.unwrap_err().rule() == Rule::Internal));
        // ReEncryptFrom is about the key, ReEncryptTo about the destination.
        let from = question(&dev, RE_ENCRYPT, Subject::Key(Some(key)));
        let from = policy.authorise(&from).unwrap();
        assert_eq!(from.key_for(Actions::of(&[Action::ReEncryptFrom])).unwrap(), key.identity);
        assert!(from.key_for(Actions::of(&[Action::ReEncryptTo])).is_err());
    }

    #[test]
    fn no_door_opens_for_what_no_decision_was_about_or_does_not_exist() {
        let (policy, dev) = (Policy::dev(), Principal::dev());
        let describe = Actions::of(&[Action::DescribeKey]);
        for subject in [Subject::Instance, Subject::Key(None), Subject::Account(None)] {
            let grant = policy.authorise(&question(&dev, DESCRIBE_KEY, subject)).unwrap();
            assert!(grant.instance_for(describe).is_err());
            assert!(grant.key_for(describe).is_err());
            assert!(grant.account_for(describe).is_err());
        }
    }

    #[test]
    fn policies_have_digests_of_their_own() {
        let (dev, callers) = (Policy::dev().digest(), Policy::verified_callers().digest());
        assert_ne!(dev, callers);
        assert_eq!(dev, Policy::dev().digest());
        assert_eq!(dev.to_string().len(), 64);
    }
}
