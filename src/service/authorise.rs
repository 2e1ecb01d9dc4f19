//! Finds what a request names and asks the policy whether its caller may.

use std::sync::Arc;

use super::Services;
use super::call::Call;
use super::caller::Caller;
use super::fields::Wrapping;
use super::naming::KeyName;
use crate::access::decisions::Decisions;
use crate::access::grant::Grant;
use crate::access::purpose::Purpose;
use crate::access::question::{
    KeyFacts, NewKeyFacts, OtherKey, Question, RecipientFacts, RequestFacts, Subject,
};
use crate::audit::trail::Trail;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::encryption_context::EncryptionContext;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::keyring::StoredCmk;
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::NewCmk;
use crate::keys::model::tags::Tags;

/// A caller, the decisions that must allow what it asks for, and the facts that they
/// may depend on.
#[derive(Clone, Copy)]
pub(super) struct AccessRequest<'a, P> {
    pub(super) caller: &'a Caller,
    pub(super) trail: &'a Trail,
    pub(super) decisions: Decisions<P>,
    pub(super) facts: RequestFacts<'a>,
}

impl<'a, P: Purpose> AccessRequest<'a, P> {
    /// Without further facts.
    pub(super) fn new(call: &'a Call<'_>, decisions: Decisions<P>, dry_run: bool) -> Self {
        Self::of(call.caller(), call.trail(), decisions, dry_run)
    }

    /// The same, of a caller and a trail.
    pub(super) fn of(
        caller: &'a Caller,
        trail: &'a Trail,
        decisions: Decisions<P>,
        dry_run: bool,
    ) -> Self {
        let facts = RequestFacts { dry_run, ..RequestFacts::default() };
        Self { caller, trail, decisions, facts }
    }

    /// With the encryption context.
    pub(super) fn with_context(mut self, context: &'a EncryptionContext) -> Self {
        self.facts.context = Some(context);
        self
    }

    /// With the way out, where a data key leaves wrapped.
    pub(super) fn with_wrapping(mut self, wrapping: Option<&Wrapping>) -> Self {
        self.facts.algorithm = wrapping.map(|wrapping| wrapping.method.algorithm().as_str());
        self.facts.recipient = wrapping.map(|wrapping| RecipientFacts {
            sha256: *wrapping.recipient.sha256(),
            spec: wrapping.method.spec().as_str(),
        });
        self
    }

    /// With an algorithm under a key pair.
    pub(super) fn with_algorithm(mut self, algorithm: &'static str) -> Self {
        self.facts.algorithm = Some(algorithm);
        self
    }

    /// With what is sealed or opened: by its own account, where it is opened. A blob
    /// that lies does not open.
    pub(super) fn with_content(mut self, kind: BlobKind, number_of_bytes: usize) -> Self {
        self.facts.blob_kind = Some(kind);
        self.facts.number_of_bytes = Some(number_of_bytes);
        self
    }

    /// With the alias by which the request names a key, or that it makes.
    pub(super) fn with_alias(mut self, alias: &'a AliasName) -> Self {
        self.facts.alias = Some(alias.as_str());
        self
    }

    /// With a name, where it is an alias.
    pub(super) fn with_name(self, name: &'a KeyName) -> Self {
        match name {
            KeyName::Alias(alias) => self.with_alias(alias),
            KeyName::Id(_) | KeyName::Unknown | KeyName::UnknownAlias => self,
        }
    }

    /// With the key that is to be made.
    pub(super) fn with_new_key(mut self, new: &'a NewCmk) -> Self {
        let NewCmk { spec, usage, tags, .. } = new;
        self.facts.new_key = Some(NewKeyFacts { spec: spec.as_str(), usage: usage.as_str() });
        self.facts.new_tags = Some(tags.as_map());
        self
    }

    fn named_by(self, key: KeyRef<'a>) -> Self {
        match key {
            KeyRef::Named(name) | KeyRef::Destination(name) => self.with_name(name),
            KeyRef::Version(_) => self,
        }
    }
}

/// How a request points at a key.
#[derive(Clone, Copy)]
pub(super) enum KeyRef<'a> {
    /// By a name.
    Named(&'a KeyName),
    /// By the version at the head of a blob.
    Version(KeyVersionId),
    /// By a name, as the key that an alias shall name, or that a blob shall be
    /// sealed under.
    Destination(&'a KeyName),
}

impl KeyRef<'_> {
    fn subject(self, facts: Option<KeyFacts<'_>>) -> Subject<'_> {
        match self {
            Self::Named(_) | Self::Version(_) => Subject::Key(facts),
            Self::Destination(_) => Subject::Destination(facts),
        }
    }
}

/// A key that was found, and the grant to do with it what was asked.
pub(super) struct GrantedKey<P> {
    pub(super) key: Arc<StoredCmk>,
    pub(super) grant: Grant<P>,
}

impl Services {
    /// Finds a key and asks whether the caller may. An unknown key is judged
    /// too, as a placeholder: only a caller who would be allowed learns that it
    /// does not exist.
    pub(super) async fn authorise_key<P: Purpose>(
        &self,
        access: AccessRequest<'_, P>,
        key: KeyRef<'_>,
    ) -> Result<GrantedKey<P>> {
        let found = self.find(key).await?;
        let facts = found.as_deref().map(StoredCmk::facts);
        let grant = self.judge(access.named_by(key), key.subject(facts), None)?;
        let key = found.ok_or_else(|| unknown(key))?;
        Ok(GrantedKey { key, grant })
    }

    /// Finds both keys of an RPC that is about two, and then asks for each, with the
    /// other among the facts.
    pub(super) async fn authorise_keys<P: Purpose>(
        &self,
        from_and_to: &[(AccessRequest<'_, P>, KeyRef<'_>); 2],
    ) -> Result<[GrantedKey<P>; 2]> {
        let [(from_access, from), (to_access, to)] = *from_and_to;
        let (from_key, to_key) = (self.find(from).await?, self.find(to).await?);
        let from_facts = from_key.as_deref().map(StoredCmk::facts);
        let to_facts = to_key.as_deref().map(StoredCmk::facts);
        let other = OtherKey { key: to_facts, context: to_access.facts.context };
        let from_subject = from.subject(from_facts);
        let from_grant = self.judge(from_access.named_by(from), from_subject, Some(other))?;
        let other = OtherKey { key: from_facts, context: from_access.facts.context };
        let to_grant = self.judge(to_access.named_by(to), to.subject(to_facts), Some(other))?;
        let from_key = from_key.ok_or_else(|| unknown(from))?;
        let to_key = to_key.ok_or_else(|| unknown(to))?;
        Ok([
            GrantedKey { key: from_key, grant: from_grant },
            GrantedKey { key: to_key, grant: to_grant },
        ])
    }

    /// Asks once more, for a key with the tags that it shall have: a policy may go by
    /// tags, so that changing them is a way round it.
    pub(super) fn authorise_tags<'a, P: Purpose>(
        &self,
        mut access: AccessRequest<'a, P>,
        key: &StoredCmk,
        tags: &'a Tags,
    ) -> Result<()> {
        let tags = tags.as_map();
        access.facts.new_tags = Some(tags);
        let facts = KeyFacts { tags, ..key.facts() };
        self.judge(access, Subject::Key(Some(facts)), None).map(drop)
    }

    /// Asks for the alias that the facts name: policies may go by aliases, so that a
    /// change of one is a change of power, whichever keys it is about.
    pub(super) fn check_alias<P: Purpose>(&self, access: AccessRequest<'_, P>) -> Result<()> {
        self.judge(access, Subject::Alias, None).map(drop)
    }

    /// Asks for the tags that a new key shall have, where there are any.
    pub(super) fn check_new_tags<P: Purpose>(&self, access: AccessRequest<'_, P>) -> Result<()> {
        match access.facts.new_tags {
            Some(tags) if !tags.is_empty() => self.judge(access, Subject::NewKey, None).map(drop),
            _ => Ok(()),
        }
    }

    /// Asks whether the caller may. A matter of no key in particular is asked
    /// for the whole instance.
    pub(super) fn authorise<P: Purpose>(
        &self,
        access: AccessRequest<'_, P>,
        subject: Subject<'_>,
    ) -> Result<Grant<P>> {
        self.judge(access, subject, None)
    }

    fn judge<P: Purpose>(
        &self,
        access: AccessRequest<'_, P>,
        subject: Subject<'_>,
        other: Option<OtherKey<'_>>,
    ) -> Result<Grant<P>> {
        let AccessRequest { caller, trail, decisions, facts } = access;
        let principal = &caller.principal;
        let facts = RequestFacts { token_groups: Some(&caller.groups), ..facts };
        let record = trail;
        self.policy.authorise(&Question { principal, decisions, subject, facts, other, record })
    }

    async fn find(&self, key: KeyRef<'_>) -> Result<Option<Arc<StoredCmk>>> {
        match key {
            KeyRef::Version(id) => self.keyring.find_by_version(id).await,
            KeyRef::Named(name) | KeyRef::Destination(name) => match name {
                KeyName::Id(id) => self.keyring.find(*id).await,
                KeyName::Alias(name) => match self.keyring.find_alias(name).await? {
                    Some(id) => self.keyring.find(id).await,
                    None => Ok(None),
                },
                KeyName::Unknown | KeyName::UnknownAlias => Ok(None),
            },
        }
    }
}

fn unknown(key: KeyRef<'_>) -> Error {
    match key {
        KeyRef::Version(_) => Error::from(Rule::KeyNotFound)
            .saying("The key version of this ciphertext blob is not here: was the blob made by another region or instance?")
            .blaming("ciphertext_blob"),
        KeyRef::Named(name) | KeyRef::Destination(name) => match name {
            KeyName::Alias(_) | KeyName::UnknownAlias => Rule::AliasNotFound.into(),
            KeyName::Id(_) | KeyName::Unknown => Rule::KeyNotFound.into(),
        },
    }
}
