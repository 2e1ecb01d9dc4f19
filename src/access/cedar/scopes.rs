//! The scopes of policies: which callers, actions and keys a policy may be about, and
//! whether two may be about the same.

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};

use super::groups::Groups;
use super::vocabulary::Vocabulary;
use crate::access::operations::Action;
use crate::access::principal::Principal;
use crate::access::token_groups::TokenGroups;

/// What scopes are compared by: the names of the schema, and the members of groups.
pub(super) struct Scopes<'a> {
    words: &'a Vocabulary,
    /// A principal, and a group that it is in.
    members: Vec<(EntityUid, EntityUid)>,
}

impl<'a> Scopes<'a> {
    pub(super) fn new(words: &'a Vocabulary, groups: &Groups) -> Self {
        let of_principal = groups.principals().filter_map(|principal| {
            let uid = words.principal_uid(principal)?;
            Some((uid, words.groups_of(principal, groups, None)))
        });
        let members = of_principal.flat_map(|(uid, groups)| {
            groups.into_iter().map(move |group| (uid.clone(), group)).collect::<Vec<_>>()
        });
        Self { words, members: members.collect() }
    }

    /// With the groups that the token of one caller names.
    pub(super) fn with_token_groups(
        mut self,
        caller: &Principal,
        of_token: Option<&TokenGroups>,
    ) -> Self {
        let groups = self.words.groups_of(caller, &Groups::default(), of_token);
        if let Some(uid) = self.words.principal_uid(caller) {
            self.members.extend(groups.into_iter().map(|group| (uid.clone(), group)));
        }
        self
    }

    /// Whether the action is within the scope of a policy.
    pub(super) fn has_action(&self, policy: &Policy, action: Action) -> bool {
        let Some((_, with_group)) = self.words.action(action) else { return true };
        let is_it = |uid: &EntityUid| with_group.iter().any(|entity| entity.uid() == *uid);
        match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => is_it(&uid),
            ActionConstraint::In(uids) => uids.iter().any(is_it),
        }
    }

    /// Whether this principal is within the scope of a policy.
    pub(super) fn has_principal(&self, policy: &Policy, principal: &EntityUid) -> bool {
        self.is_within(principal, &policy.principal_constraint())
    }

    fn is_within(&self, principal: &EntityUid, constraint: &PrincipalConstraint) -> bool {
        let is_in = |uid: &EntityUid| {
            uid == principal
                || self.members.iter().any(|(member, group)| member == principal && group == uid)
        };
        match constraint {
            PrincipalConstraint::Any => true,
            PrincipalConstraint::Eq(uid) => uid == principal,
            PrincipalConstraint::In(uid) => is_in(uid),
            PrincipalConstraint::Is(name) => name == principal.type_name(),
            PrincipalConstraint::IsIn(name, uid) => name == principal.type_name() && is_in(uid),
        }
    }

    /// Whether a caller may be within the scopes of both policies.
    pub(super) fn may_share_callers(&self, one: &Policy, other: &Policy) -> bool {
        let (one, other) = (one.principal_constraint(), other.principal_constraint());
        if one == other {
            return true;
        }
        match (self.known_in(&one), self.known_in(&other)) {
            (Known::Anybody, _) | (_, Known::Anybody) | (Known::OfToken, Known::OfToken) => true,
            (Known::OfType(one), Known::OfType(other)) => one == other,
            (Known::OfToken, Known::OfType(name)) | (Known::OfType(name), Known::OfToken) => {
                name == self.words.types.jwt_subject
            }
            (Known::OfToken, Known::These(these)) | (Known::These(these), Known::OfToken) => {
                these.iter().any(|it| *it.type_name() == self.words.types.jwt_subject)
            }
            (Known::These(these), _) => these.iter().any(|it| self.is_within(it, &other)),
            (_, Known::These(these)) => these.iter().any(|it| self.is_within(it, &one)),
        }
    }

    /// Whether every caller within the scope of the one is within that of the other.
    pub(super) fn has_all_callers(&self, one: &Policy, other: &Policy) -> bool {
        let (one, other) = (one.principal_constraint(), other.principal_constraint());
        match self.known_in(&one) {
            _ if one == other || other == PrincipalConstraint::Any => true,
            Known::These(these) => these.iter().all(|it| self.is_within(it, &other)),
            Known::OfType(name) => other == PrincipalConstraint::Is(name),
            Known::OfToken => {
                other == PrincipalConstraint::Is(self.words.types.jwt_subject.clone())
            }
            Known::Anybody => false,
        }
    }

    fn known_in(&self, constraint: &PrincipalConstraint) -> Known {
        let members_of = |group: &EntityUid, name: Option<&EntityTypeName>| {
            let members = self.members.iter().filter(|(_, of)| of == group).map(|(it, _)| it);
            let members =
                members.chain([group]).filter(|it| name.is_none_or(|name| it.type_name() == name));
            Known::These(members.cloned().collect())
        };
        match constraint {
            PrincipalConstraint::Any => Known::Anybody,
            PrincipalConstraint::Eq(uid) => Known::These(vec![uid.clone()]),
            PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid)
                if *uid.type_name() == self.words.types.jwt_group =>
            {
                Known::OfToken
            }
            PrincipalConstraint::In(uid) => members_of(uid, None),
            PrincipalConstraint::Is(name) => Known::OfType(name.clone()),
            PrincipalConstraint::IsIn(name, uid) => members_of(uid, Some(name)),
        }
    }

    /// Whether a key may be within the scopes of both policies. Two aliases are taken for
    /// two keys.
    pub(super) fn may_share_keys(&self, one: &Policy, other: &Policy) -> bool {
        match (self.keys_in(one), self.keys_in(other)) {
            (Keys::None, _) | (_, Keys::None) => false,
            (Keys::All, _) | (_, Keys::All) => true,
            (Keys::Named(one), Keys::Named(other)) => {
                one == other || one.type_name() != other.type_name()
            }
        }
    }

    /// Whether a policy may be about this key, in one of these aliases.
    pub(super) fn may_have_key(&self, policy: &Policy, key: &[EntityUid]) -> bool {
        match self.keys_in(policy) {
            Keys::None => false,
            Keys::All => true,
            Keys::Named(uid) => key.contains(&uid),
        }
    }

    fn keys_in(&self, policy: &Policy) -> Keys {
        let (key, alias) = (&self.words.types.key, &self.words.types.alias);
        match policy.resource_constraint() {
            ResourceConstraint::Any => Keys::All,
            ResourceConstraint::Is(name) if name == *key => Keys::All,
            ResourceConstraint::IsIn(name, _) if name != *key => Keys::None,
            ResourceConstraint::Eq(uid) if uid.type_name() == key => Keys::Named(uid),
            ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid)
                if [key, alias].contains(&uid.type_name()) =>
            {
                Keys::Named(uid)
            }
            _ => Keys::None,
        }
    }
}

/// The callers that are known to be within a scope.
enum Known {
    Anybody,
    OfType(EntityTypeName),
    /// Those whose tokens name a group, which nobody knows before they come.
    OfToken,
    These(Vec<EntityUid>),
}

/// The keys within a scope.
enum Keys {
    None,
    All,
    /// A key, or those in an alias.
    Named(EntityUid),
}
