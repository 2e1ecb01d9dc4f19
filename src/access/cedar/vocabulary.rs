//! The schema, ready for use: its types, its actions, and the judge of policies.

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Schema, Validator};

use super::schema::{self, ACTION_GROUPS};
use crate::access::operations::Action;

/// A fault of ours: the schema, or a name in it, is not Cedar's.
#[derive(Debug, thiserror::Error)]
#[error("the schema of policies does not load: {0}")]
pub struct UnfitSchema(String);

impl UnfitSchema {
    pub(super) fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The words that policies and requests are made of.
pub(super) struct Vocabulary {
    pub(super) validator: Validator,
    pub(super) types: Types,
    /// Of each action: itself and its group. A `forbid` on a group matches only if they
    /// are among the entities of a request.
    actions: Vec<(Action, EntityUid, Vec<Entity>)>,
}

/// The types of entities, parsed once.
pub(super) struct Types {
    pub(super) group: EntityTypeName,
    pub(super) instance: EntityTypeName,
    pub(super) key: EntityTypeName,
    pub(super) alias: EntityTypeName,
    pub(super) encryption_context: EntityTypeName,
    pub(super) tags: EntityTypeName,
    pub(super) spiffe: EntityTypeName,
    pub(super) dns: EntityTypeName,
    pub(super) common_name: EntityTypeName,
    pub(super) unix_user: EntityTypeName,
    pub(super) service_account: EntityTypeName,
    pub(super) jwt_subject: EntityTypeName,
    pub(super) jwt_group: EntityTypeName,
    action: EntityTypeName,
}

impl Vocabulary {
    pub(super) fn new() -> Result<Self, UnfitSchema> {
        let (schema, _) = Schema::from_cedarschema_str(&schema::text()).map_err(UnfitSchema::of)?;
        let types = Types::new()?;
        let known = schema.action_entities().map_err(UnfitSchema::of)?;
        let actions = schema::actions()
            .into_iter()
            .map(|row| {
                let uid = types.action_named(&row.action.to_string());
                let with_group = [uid.clone(), types.action_named(row.group)]
                    .iter()
                    .map(|uid| entity_of(&known, uid))
                    .collect::<Result<_, _>>()?;
                Ok((row.action, uid, with_group))
            })
            .collect::<Result<_, UnfitSchema>>()?;
        Ok(Self { validator: Validator::new(schema), types, actions })
    }

    /// An action, and the entities that it needs.
    pub(super) fn action(&self, action: Action) -> Option<(&EntityUid, &[Entity])> {
        let found = self.actions.iter().find(|(known, ..)| *known == action);
        found.map(|(_, uid, entities)| (uid, entities.as_slice()))
    }

    /// Whether it names an action or a group of them.
    pub(super) fn is_action(&self, uid: &EntityUid) -> bool {
        let groups = ACTION_GROUPS.iter().map(|group| self.types.action_named(group));
        self.actions.iter().any(|(_, known, _)| known == uid)
            || groups.into_iter().any(|it| it == *uid)
    }
}

impl Types {
    fn new() -> Result<Self, UnfitSchema> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(UnfitSchema::of);
        Ok(Self {
            group: name("Group")?,
            instance: name("Instance")?,
            key: name("Key")?,
            alias: name("Alias")?,
            encryption_context: name("EncryptionContext")?,
            tags: name("Tags")?,
            spiffe: name("Spiffe")?,
            dns: name("Dns")?,
            common_name: name("CommonName")?,
            unix_user: name("UnixUser")?,
            service_account: name("ServiceAccount")?,
            jwt_subject: name("JwtSubject")?,
            jwt_group: name("JwtGroup")?,
            action: name("Action")?,
        })
    }

    fn action_named(&self, name: &str) -> EntityUid {
        entity_uid(&self.action, name)
    }
}

pub(super) fn entity_uid(type_name: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(type_name.clone(), EntityId::new(id))
}

fn entity_of(known: &Entities, uid: &EntityUid) -> Result<Entity, UnfitSchema> {
    let found = known.get(uid).cloned();
    found.ok_or_else(|| UnfitSchema::of(format_args!("{uid} is not in it")))
}
