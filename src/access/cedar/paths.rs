//! The policies by which somebody may reach the plaintext under a key, step by step.

use cedar_policy::Effect;

use super::conditions;
use super::policy_set::PolicySet;
use super::reading::WrittenPolicy;
use super::scopes::Scopes;
use super::source::Place;
use super::vocabulary::entity_uid;
use super::ways_round::{ALIAS_CHANGES, TAG_CHANGES, goes_by_alias};
use crate::access::operations::Action;
use crate::ids::KeyId;

/// A step on a way to plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The answer has the plaintext.
    Shown,
    /// A data key leaves, encrypted for a recipient.
    Exported,
    /// A blob is put under another key, with its own policies.
    ReEncrypted,
    /// A key pair here decrypts what was exported for it.
    Received,
    /// An alias is put on another key, or taken from one.
    Renamed,
    /// Tags that policies go by are changed.
    Tagged,
    /// An access key acts for an account.
    ActedFor,
}

impl Step {
    /// Every step.
    const ALL: [Self; 7] = [
        Self::Shown,
        Self::Exported,
        Self::ReEncrypted,
        Self::Received,
        Self::Renamed,
        Self::Tagged,
        Self::ActedFor,
    ];

    /// What it does, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Shown => "shows plaintext",
            Self::Exported => "exports to a recipient",
            Self::ReEncrypted => "puts it under another key",
            Self::Received => "decrypts what a key pair here received",
            Self::Renamed => "moves an alias that policies go by",
            Self::Tagged => "changes tags that policies go by",
            Self::ActedFor => "makes access keys, which act for an account",
        }
    }

    const fn actions(self) -> &'static [Action] {
        match self {
            Self::Shown => &[Action::Decrypt, Action::GenerateDataKey],
            Self::Exported => &[Action::ExportDataKey],
            Self::ReEncrypted => &[Action::ReEncryptFrom, Action::ReEncryptTo],
            Self::Received => &[Action::AsymmetricDecrypt],
            Self::Renamed => &ALIAS_CHANGES,
            Self::Tagged => &TAG_CHANGES,
            Self::ActedFor => &[Action::CreateAccessKey],
        }
    }

    /// Whether it is taken with the key itself.
    const fn is_of_key(self) -> bool {
        matches!(self, Self::Shown | Self::Exported | Self::ReEncrypted | Self::Tagged)
    }
}

/// A policy that lets somebody take a step, or forbids it.
#[derive(Clone, Debug)]
pub struct PathPolicy {
    /// The step.
    pub step: Step,
    /// Its actions that the policy is about.
    pub actions: Vec<Action>,
    /// Whether it forbids.
    pub forbids: bool,
    /// The policy's id.
    pub id: String,
    /// The place of the policy in the files.
    pub place: Place,
    /// Its callers, in Cedar's words.
    pub callers: String,
    /// Its resources, in Cedar's words.
    pub resources: String,
    /// Its conditions, in Cedar's words.
    pub conditions: Vec<String>,
}

/// The policies by which somebody may reach the plaintext under this key, which has these
/// aliases.
#[must_use]
pub fn paths(policies: &PolicySet, key: Option<KeyId>, aliases: &[String]) -> Vec<PathPolicy> {
    let scopes = Scopes::new(&policies.words, &policies.groups);
    let types = &policies.words.types;
    let aliases = aliases.iter().map(|alias| entity_uid(&types.alias, alias));
    let key = key.map(|key| entity_uid(&types.key, &key.to_string()));
    let names: Vec<_> = key.into_iter().chain(aliases).collect();
    let by_alias = policies.policies.iter().any(goes_by_alias);
    let by_tags = policies.policies.iter().any(|it| conditions::read_tags_of_key(&it.policy));
    let steps = Step::ALL.into_iter().filter(|step| match step {
        Step::Renamed => by_alias,
        Step::Tagged => by_tags,
        _ => true,
    });
    let on_the_way = steps.flat_map(|step| {
        let of_step = policies.policies.iter().filter_map(|policy| {
            if step.is_of_key() && !scopes.may_have_key(&policy.policy, &names) {
                return None;
            }
            taken_by(step, policy, &scopes)
        });
        of_step.collect::<Vec<_>>()
    });
    on_the_way.collect()
}

fn taken_by(step: Step, policy: &WrittenPolicy, scopes: &Scopes<'_>) -> Option<PathPolicy> {
    let actions = step.actions().iter().copied();
    let actions: Vec<_> =
        actions.filter(|action| scopes.has_action(&policy.policy, *action)).collect();
    if actions.is_empty() {
        return None;
    }
    // Each policy was made of Cedar's text, which has such a form.
    let form = policy.policy.to_pst().ok()?;
    let scope = form.body();
    Some(PathPolicy {
        step,
        actions,
        forbids: policy.policy.effect() == Effect::Forbid,
        id: policy.id().to_owned(),
        place: policy.place.clone(),
        callers: scope.principal.to_string(),
        resources: scope.resource.to_string(),
        conditions: conditions::of(&policy.policy).iter().map(ToString::to_string).collect(),
    })
}
