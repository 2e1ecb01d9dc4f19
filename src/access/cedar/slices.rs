//! The policies that can matter for a principal and an action, by their scopes: a
//! thousand policies cost a request what the few that speak of it cost.

use std::sync::Arc;

use cedar_policy::{ActionConstraint, Entities, EntityUid, Policy, PrincipalConstraint};
use moka::sync::Cache;

use super::entities::UnfitFact;
use super::groups::Groups;
use super::vocabulary::Vocabulary;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::token_groups::TokenGroups;

/// Most policies in slices that are kept, each counted as often as it is there.
const MAX_KEPT: u64 = 256 << 10;

/// What is the same in all decisions about a principal, the groups that its token names,
/// and an action.
pub(super) struct Slice {
    pub(super) principal: EntityUid,
    pub(super) action: EntityUid,
    pub(super) policies: cedar_policy::PolicySet,
    /// The principal with its groups, and the action with its own.
    pub(super) entities: Entities,
}

/// The slices that were asked for.
pub(super) struct Slices(Cache<(Principal, TokenGroups, Action), Arc<Slice>>);

impl Slices {
    pub(super) fn new() -> Self {
        let weight = |slice: &Arc<Slice>| {
            const OWN: usize = 8;
            u32::try_from(OWN + slice.policies.num_of_policies()).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_KEPT).weigher(move |_, it| weight(it)).build())
    }

    pub(super) fn of(
        &self,
        principal: &Principal,
        of_token: Option<&TokenGroups>,
        action: Action,
        cut: impl FnOnce() -> Result<Slice, UnfitFact>,
    ) -> Result<Arc<Slice>, UnfitFact> {
        let key = (principal.clone(), of_token.cloned().unwrap_or_default(), action);
        if let Some(kept) = self.0.get(&key) {
            return Ok(kept);
        }
        let slice = Arc::new(cut()?);
        self.0.insert(key, Arc::clone(&slice));
        Ok(slice)
    }
}

impl Slice {
    /// With those of the policies whose scope may match.
    pub(super) fn cut<'a>(
        principal: &Principal,
        of_token: Option<&TokenGroups>,
        action: Action,
        words: &Vocabulary,
        groups: &Groups,
        policies: impl Iterator<Item = &'a Policy>,
    ) -> Result<Self, UnfitFact> {
        let (action, of_action) = words.action(action).ok_or(UnfitFact("action"))?;
        let caller = words.principal(principal, groups, of_token)?;
        let scope = Scope {
            principal: caller.uid(),
            in_groups: words.groups_of(principal, groups, of_token),
            action: of_action.iter().map(cedar_policy::Entity::uid).collect(),
        };
        let matching = policies.filter(|policy| scope.may_match(policy)).cloned();
        let policies = cedar_policy::PolicySet::from_policies(matching)
            .map_err(|_| UnfitFact("a policy's id"))?;
        let entities = of_action.iter().cloned().chain([caller]);
        let entities =
            Entities::from_entities(entities, None).map_err(|_| UnfitFact("the principal"))?;
        Ok(Self { principal: scope.principal, action: action.clone(), policies, entities })
    }
}

struct Scope {
    principal: EntityUid,
    in_groups: Vec<EntityUid>,
    /// The action and its group.
    action: Vec<EntityUid>,
}

impl Scope {
    fn may_match(&self, policy: &Policy) -> bool {
        let is_in = |uid: &EntityUid| *uid == self.principal || self.in_groups.contains(uid);
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(uid) => uid == self.principal,
            PrincipalConstraint::In(uid) => is_in(&uid),
            PrincipalConstraint::Is(type_name) => type_name == *self.principal.type_name(),
            PrincipalConstraint::IsIn(type_name, uid) => {
                type_name == *self.principal.type_name() && is_in(&uid)
            }
        };
        principal
            && match policy.action_constraint() {
                ActionConstraint::Any => true,
                ActionConstraint::Eq(uid) => self.action.first() == Some(&uid),
                ActionConstraint::In(uids) => uids.iter().any(|uid| self.action.contains(uid)),
            }
    }
}
