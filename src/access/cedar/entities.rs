//! Principals, keys, accounts and contexts, as Cedar's entities.

use std::collections::BTreeMap;

use cedar_policy::{Entity, EntityTypeName, EntityUid, RestrictedExpression};

use super::groups::Groups;
use super::policy_set::Ask;
use super::vocabulary::{Vocabulary, entity_uid};
use crate::access::principal::{Principal, PrincipalKind};
use crate::access::question::{KeyFacts, Subject};
use crate::access::token_groups::TokenGroups;
use crate::crypto::encryption_context::EncryptionContext;

/// The name of the one instance.
pub(super) const INSTANCE: &str = "this";
/// The names of the encryption contexts of a request.
pub(super) const REQUEST_CONTEXT: &str = "request";
pub(super) const OTHER_CONTEXT: &str = "other";
/// The name of what does not exist: no key, alias or account can have it.
const PLACEHOLDER: &str = "";
/// The same for the other key: neither of two may be there.
const OTHER_PLACEHOLDER: &str = "other";
/// The name of the key, or of the tags, that a request shall make.
const NEW: &str = "new";

/// A fact is missing, or of a form that Cedar does not take: a fault of ours.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the fact {0} of a decision is missing or malformed")]
pub(super) struct UnfitFact(pub(super) &'static str);

type Attributes = Vec<(String, RestrictedExpression)>;

impl Vocabulary {
    /// The entity type and the id of a principal, if policies can speak of it.
    pub(super) fn principal_uid(&self, principal: &Principal) -> Option<EntityUid> {
        let types = &self.types;
        let (type_name, id) = match principal.kind() {
            PrincipalKind::Spiffe => (&types.spiffe, principal.as_str()),
            PrincipalKind::Dns => (&types.dns, principal.name()),
            PrincipalKind::Cn => (&types.common_name, principal.name()),
            PrincipalKind::Unix => (&types.unix_user, principal.name()),
            PrincipalKind::AccessKey => (&types.service_account, principal.name()),
            PrincipalKind::Jwt => {
                return Some(scoped(&types.jwt_subject, principal.authority(), principal.name()));
            }
            PrincipalKind::Dev => return None,
        };
        Some(entity_uid(type_name, id))
    }

    /// A principal, in its groups.
    pub(super) fn principal(
        &self,
        principal: &Principal,
        groups: &Groups,
        of_token: Option<&TokenGroups>,
    ) -> Result<Entity, UnfitFact> {
        let uid = self.principal_uid(principal).ok_or(UnfitFact("principal"))?;
        let attributes = match principal.kind() {
            PrincipalKind::Spiffe => {
                vec![text("trust_domain", principal.authority()), text("path", principal.name())]
            }
            PrincipalKind::Unix => {
                let uid = principal.name().parse().map_err(|_| UnfitFact("uid"))?;
                vec![("uid".to_owned(), RestrictedExpression::new_long(uid))]
            }
            PrincipalKind::Dns | PrincipalKind::Cn | PrincipalKind::AccessKey => {
                vec![text("name", principal.name())]
            }
            PrincipalKind::Jwt => {
                vec![text("issuer", principal.authority()), text("subject", principal.name())]
            }
            PrincipalKind::Dev => Vec::new(),
        };
        entity(uid, attributes, self.groups_of(principal, groups, of_token), &BTreeMap::new())
    }

    /// The groups of a principal: those of the file, and those that its token names.
    pub(super) fn groups_of(
        &self,
        principal: &Principal,
        groups: &Groups,
        of_token: Option<&TokenGroups>,
    ) -> Vec<EntityUid> {
        let written = groups.of(principal).map(|group| entity_uid(&self.types.group, group));
        let issuer = principal.authority();
        let of_token = of_token.filter(|_| principal.kind() == PrincipalKind::Jwt);
        let of_token = of_token.into_iter().flat_map(TokenGroups::names);
        let of_token = of_token.map(|group| scoped(&self.types.jwt_group, issuer, group));
        written.chain(of_token).collect()
    }

    /// The resource that a decision is about.
    pub(super) fn resource(&self, ask: &Ask<'_>, groups: &Groups) -> Result<Entity, UnfitFact> {
        match &ask.subject {
            Subject::Instance => Ok(Entity::with_uid(entity_uid(&self.types.instance, INSTANCE))),
            Subject::Key(Some(key)) | Subject::Destination(Some(key)) => self.key(key),
            Subject::Key(None) | Subject::Destination(None) => {
                self.no_key(PLACEHOLDER, ask.facts.alias)
            }
            Subject::NewKey => self.new_key(ask),
            Subject::Alias => {
                let alias = ask.facts.alias.unwrap_or(PLACEHOLDER);
                Ok(Entity::with_uid(entity_uid(&self.types.alias, alias)))
            }
            Subject::Account(Some(account)) => self.principal(account.principal(), groups, None),
            Subject::Account(None) => {
                let uid = entity_uid(&self.types.service_account, PLACEHOLDER);
                entity(uid, vec![text("name", "")], Vec::new(), &BTreeMap::new())
            }
        }
    }

    /// The other key of an RPC that is about two.
    pub(super) fn other_key(&self, key: Option<&KeyFacts<'_>>) -> Result<Entity, UnfitFact> {
        match key {
            Some(key) => self.key(key),
            None => self.no_key(OTHER_PLACEHOLDER, None),
        }
    }

    /// A placeholder for a key, in the alias that it was asked for by.
    fn no_key(&self, name: &str, asked_by: Option<&str>) -> Result<Entity, UnfitFact> {
        let uid = entity_uid(&self.types.key, name);
        let aliases = asked_by.map(|name| entity_uid(&self.types.alias, name));
        let attributes = key_attributes("", "", "", "");
        entity(uid, attributes, aliases.into_iter().collect(), &BTreeMap::new())
    }

    /// A key, in its aliases.
    fn key(&self, key: &KeyFacts<'_>) -> Result<Entity, UnfitFact> {
        let uid = entity_uid(&self.types.key, &key.identity.id.to_string());
        let aliases = key.aliases.iter();
        let parents = aliases.map(|name| entity_uid(&self.types.alias, name)).collect();
        let attributes = key_attributes(key.spec, key.usage, key.state, key.creator);
        entity(uid, attributes, parents, key.tags)
    }

    /// The key that CreateKey shall make, as it would be.
    fn new_key(&self, ask: &Ask<'_>) -> Result<Entity, UnfitFact> {
        let new = ask.facts.new_key.ok_or(UnfitFact("new_key"))?;
        let tags = ask.facts.new_tags.ok_or(UnfitFact("new_tags"))?;
        let attributes = key_attributes(new.spec, new.usage, "Enabled", ask.principal.as_str());
        entity(entity_uid(&self.types.key, NEW), attributes, Vec::new(), tags)
    }

    /// An encryption context, its pairs as tags.
    pub(super) fn context(
        &self,
        name: &str,
        context: &EncryptionContext,
    ) -> Result<Entity, UnfitFact> {
        let uid = entity_uid(&self.types.encryption_context, name);
        entity(uid, Vec::new(), Vec::new(), context.pairs())
    }

    /// The tags of a key that is to be made.
    pub(super) fn tags(&self, tags: &BTreeMap<String, String>) -> Result<Entity, UnfitFact> {
        entity(entity_uid(&self.types.tags, NEW), Vec::new(), Vec::new(), tags)
    }
}

/// What an issuer calls so. No issuer has a `#` in its name.
fn scoped(type_name: &EntityTypeName, issuer: &str, name: &str) -> EntityUid {
    entity_uid(type_name, &format!("{issuer}#{name}"))
}

fn key_attributes(spec: &str, usage: &str, state: &str, creator: &str) -> Attributes {
    vec![text("spec", spec), text("usage", usage), text("state", state), text("creator", creator)]
}

fn text(name: &str, value: &str) -> (String, RestrictedExpression) {
    (name.to_owned(), RestrictedExpression::new_string(value.to_owned()))
}

fn entity(
    uid: EntityUid,
    attributes: Attributes,
    parents: Vec<EntityUid>,
    tags: &BTreeMap<String, String>,
) -> Result<Entity, UnfitFact> {
    let tags = tags.iter().map(|(key, value)| text(key, value));
    Entity::new_with_tags(uid, attributes, parents, tags).map_err(|_| UnfitFact("an attribute"))
}
