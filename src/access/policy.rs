//! The policy: may this principal do this? It alone makes a [`Grant`], and without
//! one nothing is used, changed or shown. It does no IO.

use std::marker::PhantomData;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tracing::field::display;

use super::actions::Actions;
use super::cedar::policy_set::{Ask, PolicySet, Verdict};
use super::grant::{Grant, KeyIdentity, PolicyDigest};
use super::operations::Action;
use super::principal::PrincipalKind;
use super::purpose::Purpose;
use super::question::{MadeDecision, Question};
use super::service_account::ServiceAccount;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;
use crate::error::{Error, Result, Rule};

/// The policy of an instance: the rules that decide now. Cheap to clone; all clones
/// follow a change of the rules.
#[derive(Clone, Debug)]
pub struct Policy(Arc<ArcSwap<Rules>>);

/// The rules that decide.
#[derive(Debug)]
enum Rules {
    /// `dev` and every access key may do everything.
    Dev(PolicyDigest),
    /// What these policies permit.
    Written(Box<PolicySet>),
}

impl Policy {
    /// `serve --dev`: `dev` and every access key may do everything.
    #[must_use]
    pub fn dev() -> Self {
        let digest = PolicyDigest::of(Sha256::digest("keyferry/policy/dev").into());
        Self(Arc::new(ArcSwap::from_pointee(Rules::Dev(digest))))
    }

    /// By policies that were written. Nothing is allowed but what one of them permits.
    #[must_use]
    pub fn written(policies: PolicySet) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Rules::Written(Box::new(policies)))))
    }

    /// Puts other policies in the place of those that decide now. A decision that is
    /// being made ends by those that it began with.
    pub fn replace(&self, policies: PolicySet) {
        self.0.store(Arc::new(Rules::Written(Box::new(policies))));
    }

    /// The digest that tells these rules from any other.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        self.0.load().digest()
    }

    /// Judges every decision that is about this subject; all must allow.
    pub fn authorise<P: Purpose>(&self, question: &Question<'_, P>) -> Result<Grant<P>> {
        let rules = self.0.load();
        let resource = question.subject.resource();
        let (mut actions, mut decided_by) = (Actions::default(), Vec::new());
        for decision in question.decisions.required() {
            if decision.resource != resource {
                continue;
            }
            let verdict = rules.decide(question, decision.action);
            log(question, decision.action, &verdict);
            question.record.decided(&MadeDecision {
                action: decision.action,
                subject: question.subject,
                facts: question.facts,
                policy: rules.digest(),
                decided_by: &verdict.policies,
                allowed: verdict.allowed,
            });
            if !verdict.allowed {
                return Err(Error::from(Rule::NotPermitted));
            }
            actions = actions.with(decision.action);
            decided_by.push(verdict.policies);
        }
        Ok(Grant {
            actions,
            subject: question.subject.granted(),
            policy: rules.digest(),
            decided_by,
            context_sha256: question.facts.context.map(EncryptionContext::sha256),
            recipient_sha256: question.facts.recipient.map(|recipient| recipient.sha256),
            purpose: PhantomData,
        })
    }
}

impl Rules {
    fn digest(&self) -> PolicyDigest {
        match self {
            Self::Dev(digest) => *digest,
            Self::Written(policies) => policies.digest(),
        }
    }

    fn decide<P: Purpose>(&self, question: &Question<'_, P>, action: Action) -> Verdict {
        match self {
            Self::Dev(_) => {
                let kind = question.principal.kind();
                Verdict::by_no_policy(matches!(kind, PrincipalKind::Dev | PrincipalKind::AccessKey))
            }
            Self::Written(policies) => policies.decide(&Ask {
                principal: question.principal,
                rpc: question.decisions.rpc(),
                action,
                subject: question.subject,
                facts: question.facts,
                other: question.other,
            }),
        }
    }
}

/// A decision with the facts that it was made by; of a context its digest alone.
fn log<P: Purpose>(question: &Question<'_, P>, decision: Action, verdict: &Verdict) {
    if let Some(fault) = &verdict.fault {
        tracing::error!(
            target: "keyferry::access",
            decision = %decision,
            fault = %fault,
            "a policy could not be evaluated, which is a refusal: correct the policy"
        );
    }
    let Question { subject, facts, other, .. } = question;
    let hex = |digest: [u8; 32]| display(format!("{:x}", base16ct::HexDisplay(&digest)));
    let id = |key: KeyIdentity| display(key.id);
    tracing::debug!(
        target: "keyferry::access",
        decision = %decision,
        key_id = subject.key().map(id),
        aliases = subject.facts().map(|key| debug(key.aliases)),
        other_key_id = other.and_then(|other| other.key).map(|key| id(key.identity)),
        other_context_sha256 = other.and_then(|other| other.context).map(|it| hex(it.sha256())),
        account = subject.account().map(ServiceAccount::name),
        alias = facts.alias,
        token_groups = facts.token_groups.filter(|it| it.names().next().is_some()).map(debug),
        context_sha256 = facts.context.map(|context| hex(context.sha256())),
        recipient_sha256 = facts.recipient.map(|recipient| hex(recipient.sha256)),
        recipient_spec = facts.recipient.map(|recipient| recipient.spec),
        algorithm = facts.algorithm,
        blob_kind = facts.blob_kind.map(BlobKind::as_str),
        number_of_bytes = facts.number_of_bytes,
        new_key_spec = facts.new_key.map(|key| key.spec),
        new_key_usage = facts.new_key.map(|key| key.usage),
        new_tags = facts.new_tags.map(debug),
        dry_run = facts.dry_run,
        policies = verdict.policies.join(" "),
        allowed = verdict.allowed,
        "decided"
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::cedar::source::{PolicyTexts, Text};
    use super::super::decisions::{DESCRIBE_KEY, Decisions, EXPORT_DATA_KEY, RE_ENCRYPT};
    use super::super::principal::Principal;
    use super::super::purpose::Use;
    use super::super::question::{DecisionRecord, KeyFacts, RecipientFacts, RequestFacts, Subject};
    use super::*;
    use crate::ids::KeyId;

    const EXPORT: Actions = Actions::of(&[Action::ExportDataKey]);

    fn facts(tags: &BTreeMap<String, String>) -> KeyFacts<'_> {
        let identity = KeyIdentity { id: KeyId::new(), revision: 7 };
        let (spec, usage) = ("Aliyun_AES_256", "ENCRYPT/DECRYPT");
        KeyFacts { identity, spec, usage, state: "Enabled", creator: "dev", tags, aliases: &[] }
    }

    struct Unrecorded;

    impl DecisionRecord for Unrecorded {
        fn decided(&self, _: &MadeDecision<'_>) {}
    }

    const RECIPIENT: RecipientFacts = RecipientFacts { sha256: [2; 32], spec: "EC_SM2" };

    fn question<'a, P: Purpose>(
        principal: &'a Principal,
        decisions: Decisions<P>,
        subject: Subject<'a>,
    ) -> Question<'a, P> {
        let facts = RequestFacts { recipient: Some(RECIPIENT), ..RequestFacts::default() };
        Question { principal, decisions, subject, facts, other: None, record: &Unrecorded }
    }

    fn export(policy: &Policy, principal: &Principal) -> Result<Grant<Use>> {
        let tags = BTreeMap::new();
        let context = EncryptionContext::default();
        let mut question = question(principal, EXPORT_DATA_KEY, Subject::Key(Some(facts(&tags))));
        question.facts.context = Some(&context);
        question.facts.algorithm = Some("SM2PKE");
        question.facts.blob_kind = Some(BlobKind::DataKeyUnseen);
        question.facts.number_of_bytes = Some(32);
        policy.authorise(&question)
    }

    fn written(text: &str) -> PolicySet {
        let text = Text { file: "a.cedar".to_owned(), text: text.to_owned() };
        PolicySet::read(&PolicyTexts { policies: vec![text], groups: None }).unwrap()
    }

    const EVERYTHING: &str = r#"@id("everything") permit (principal, action, resource);"#;

    #[test]
    fn each_mode_refuses_the_other_modes_principals() {
        let (dev, user) = (Principal::dev(), Principal::unix(1000));
        let policies = Policy::written(written(EVERYTHING));
        assert!(export(&Policy::dev(), &dev).is_ok());
        assert!(export(&policies, &user).is_ok());
        for (policy, principal) in [(Policy::dev(), &user), (policies, &dev)] {
            let denied = export(&policy, principal).unwrap_err();
            assert_eq!(denied.rule(), Rule::NotPermitted);
        }
        let account = ServiceAccount::parse("billing").unwrap();
        assert!(export(&Policy::dev(), account.principal()).is_ok());
    }

    #[test]
    fn a_grant_names_the_policies_that_decided_and_their_set() {
        let policy = Policy::written(written(EVERYTHING));
        let grant = export(&policy, &Principal::unix(0)).unwrap();
        assert_eq!(grant.decided_by().collect::<Vec<_>>(), ["everything"]);
        assert_eq!(grant.policy(), policy.digest());
        let grant = export(&Policy::dev(), &Principal::dev()).unwrap();
        assert_eq!(grant.decided_by().count(), 0);
    }

    #[test]
    fn all_clones_follow_a_change_of_the_rules() {
        let policy = Policy::written(written(""));
        let (clone, user, before) = (policy.clone(), Principal::unix(7), policy.digest());
        assert!(export(&clone, &user).is_err());
        policy.replace(written(EVERYTHING));
        assert!(export(&clone, &user).is_ok());
        assert_ne!(clone.digest(), before);
        policy.replace(written(""));
        assert!(export(&clone, &user).is_err());
        assert_eq!(clone.digest(), before);
    }

    #[test]
    fn a_grant_is_good_for_exactly_what_was_judged() {
        let grant = export(&Policy::dev(), &Principal::dev()).unwrap();
        let context = EncryptionContext::default().sha256();
        assert!(grant.check(EXPORT, context, Some([2; 32])).is_ok());
        assert!(grant.check(EXPORT, [9; 32], Some([2; 32])).is_err());
        assert!(grant.check(EXPORT, context, Some([9; 32])).is_err());
        assert!(grant.check(EXPORT, context, None).is_err());
        let decrypt = Actions::of(&[Action::Decrypt]);
        assert!(grant.check(decrypt, context, Some([2; 32])).is_err());
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
        let dev = Policy::dev().digest();
        assert_ne!(dev, Policy::written(written(EVERYTHING)).digest());
        assert_ne!(dev, Policy::written(written("")).digest());
        assert_eq!(dev, Policy::dev().digest());
        assert_eq!(dev.to_string().len(), 64);
    }
}
