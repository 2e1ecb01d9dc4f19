//! The facts that a policy may read in the context of a decision. One table says which
//! there are for an action; the schema and the context of each request are made of it.

use cedar_policy::{Entity, RestrictedExpression};

use super::entities::{OTHER_CONTEXT, REQUEST_CONTEXT, UnfitFact};
use super::policy_set::Ask;
use super::vocabulary::Vocabulary;
use crate::access::operations::Action;
use crate::access::question::{OtherKey, RecipientFacts};
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;

/// A fact, or facts that come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Context,
    BlobKind,
    Length,
    /// An import does not know it before it has decrypted.
    LengthIfKnown,
    Recipient,
    Algorithm,
    /// An import has one.
    SourceAlgorithm,
    OtherKey,
    Alias,
    /// The other one of the two keys that an alias is moved between.
    OtherKeyOfAlias,
    NewKey,
}

/// The facts of an action, beside those that every action has.
pub(super) const fn facts_of(action: Action) -> &'static [Fact] {
    use Fact::{
        Algorithm, Alias, BlobKind, Context, Length, LengthIfKnown, NewKey, OtherKey,
        OtherKeyOfAlias, Recipient, SourceAlgorithm,
    };
    match action {
        Action::GenerateDataKeyWithoutPlaintext
        | Action::GenerateDataKey
        | Action::Encrypt
        | Action::Decrypt => &[Context, BlobKind, Length],
        Action::ExportDataKey => &[Context, BlobKind, Length, Recipient],
        Action::ReEncryptFrom | Action::ReEncryptTo => {
            &[Context, BlobKind, LengthIfKnown, SourceAlgorithm, OtherKey]
        }
        Action::AsymmetricEncrypt
        | Action::AsymmetricDecrypt
        | Action::AsymmetricSign
        | Action::AsymmetricVerify => &[Algorithm],
        Action::CreateKey => &[NewKey],
        Action::CreateAlias | Action::DeleteAlias => &[Alias],
        Action::UpdateAlias => &[Alias, OtherKeyOfAlias],
        _ => &[],
    }
}

/// Those that every action has.
pub(super) const ALWAYS: &str = "dry_run: Bool, rpc: String";

/// The context of a request, as it is put together.
#[derive(Default)]
pub(super) struct ContextParts {
    pub(super) pairs: Vec<(String, RestrictedExpression)>,
    pub(super) entities: Vec<Entity>,
}

impl Fact {
    /// Its attributes in the schema.
    pub(super) const fn declaration(self) -> &'static str {
        match self {
            Self::Context => {
                "encryption_context: EncryptionContext, encryption_context_keys: Set<String>"
            }
            Self::BlobKind => "blob: { kind: String }",
            Self::Length => "number_of_bytes: Long",
            Self::LengthIfKnown => "number_of_bytes?: Long",
            Self::Recipient => {
                "recipient: { public_key_sha256: String, spec: String }, wrapping_algorithm: String"
            }
            Self::Algorithm => "algorithm: String",
            Self::SourceAlgorithm => "source_encryption_algorithm?: String",
            Self::OtherKey => "other_key: Key, other_encryption_context: EncryptionContext",
            Self::Alias => "alias: String",
            Self::OtherKeyOfAlias => "other_key?: Key",
            Self::NewKey => {
                "new_key: { spec: String, usage: String }, new_tags: Tags, new_tag_keys: Set<String>"
            }
        }
    }

    /// Adds it to the context of a request.
    pub(super) fn add(
        self,
        ask: &Ask<'_>,
        words: &Vocabulary,
        parts: &mut ContextParts,
    ) -> Result<(), UnfitFact> {
        let facts = ask.facts;
        match self {
            Self::Context => {
                let none = EncryptionContext::default();
                let context = facts.context.unwrap_or(&none);
                parts.entity("encryption_context", words.context(REQUEST_CONTEXT, context)?);
                let keys = context.pairs().keys();
                parts.pair("encryption_context_keys", set(keys));
            }
            Self::BlobKind => {
                let kind = facts.blob_kind.map(BlobKind::as_str).ok_or(UnfitFact("blob.kind"))?;
                parts.pair("blob", record([("kind", text(kind))])?);
            }
            Self::Length => {
                let length = facts.number_of_bytes.ok_or(UnfitFact("number_of_bytes"))?;
                parts.pair("number_of_bytes", long(length)?);
            }
            Self::LengthIfKnown => {
                if let Some(length) = facts.number_of_bytes {
                    parts.pair("number_of_bytes", long(length)?);
                }
            }
            Self::Recipient => {
                let RecipientFacts { sha256, spec } =
                    facts.recipient.ok_or(UnfitFact("recipient"))?;
                let digest = text(&format!("{:x}", base16ct::HexDisplay(&sha256)));
                let recipient = [("public_key_sha256", digest), ("spec", text(spec))];
                parts.pair("recipient", record(recipient)?);
                let algorithm = facts.algorithm.ok_or(UnfitFact("wrapping_algorithm"))?;
                parts.pair("wrapping_algorithm", text(algorithm));
            }
            Self::Algorithm => {
                let algorithm = facts.algorithm.ok_or(UnfitFact("algorithm"))?;
                parts.pair("algorithm", text(algorithm));
            }
            Self::SourceAlgorithm => {
                if let Some(algorithm) = facts.algorithm {
                    parts.pair("source_encryption_algorithm", text(algorithm));
                }
            }
            Self::OtherKey => {
                let other = ask.other.as_ref().ok_or(UnfitFact("other_key"))?;
                parts.other_key(other, ask, words)?;
                let none = EncryptionContext::default();
                let context = words.context(OTHER_CONTEXT, other.context.unwrap_or(&none))?;
                parts.entity("other_encryption_context", context);
            }
            Self::Alias => parts.pair("alias", text(facts.alias.unwrap_or_default())),
            Self::OtherKeyOfAlias => {
                if let Some(other) = &ask.other {
                    parts.other_key(other, ask, words)?;
                }
            }
            Self::NewKey => {
                let new = facts.new_key.ok_or(UnfitFact("new_key"))?;
                let key = [("spec", text(new.spec)), ("usage", text(new.usage))];
                parts.pair("new_key", record(key)?);
                let tags = facts.new_tags.ok_or(UnfitFact("new_tags"))?;
                parts.entity("new_tags", words.tags(tags)?);
                parts.pair("new_tag_keys", set(tags.keys()));
            }
        }
        Ok(())
    }
}

impl ContextParts {
    /// Those that every action has.
    pub(super) fn of_every_action(ask: &Ask<'_>) -> Self {
        let mut parts = Self::default();
        parts.pair("dry_run", RestrictedExpression::new_bool(ask.facts.dry_run));
        parts.pair("rpc", text(ask.rpc));
        parts
    }

    fn pair(&mut self, name: &str, value: RestrictedExpression) {
        self.pairs.push((name.to_owned(), value));
    }

    fn entity(&mut self, name: &str, entity: Entity) {
        self.pair(name, RestrictedExpression::new_entity_uid(entity.uid()));
        self.entities.push(entity);
    }

    fn other_key(
        &mut self,
        other: &OtherKey<'_>,
        ask: &Ask<'_>,
        words: &Vocabulary,
    ) -> Result<(), UnfitFact> {
        let of_subject = ask.subject.key().map(|key| key.id);
        let key = words.other_key(other.key.as_ref())?;
        if of_subject.is_some() && other.key.as_ref().map(|key| key.identity.id) == of_subject {
            // The same key, which is among the entities as the resource.
            self.pair("other_key", RestrictedExpression::new_entity_uid(key.uid()));
        } else {
            self.entity("other_key", key);
        }
        Ok(())
    }
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn long(value: usize) -> Result<RestrictedExpression, UnfitFact> {
    let value = i64::try_from(value).map_err(|_| UnfitFact("number_of_bytes"))?;
    Ok(RestrictedExpression::new_long(value))
}

fn set<'a>(values: impl Iterator<Item = &'a String>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.map(|value| text(value)))
}

fn record<const N: usize>(
    fields: [(&str, RestrictedExpression); N],
) -> Result<RestrictedExpression, UnfitFact> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).map_err(|_| UnfitFact("a record"))
}
