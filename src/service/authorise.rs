//! Finds what a request names and asks the policy whether its caller may.

use std::sync::Arc;

use super::Services;
use super::caller::Caller;
use super::naming::KeyName;
use crate::access::decisions::Decisions;
use crate::access::grant::Grant;
use crate::access::policy::{Question, Subject};
use crate::access::purpose::Purpose;
use crate::crypto::encryption_context::EncryptionContext;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::keyring::StoredCmk;

/// A caller, and the decisions that must allow what it asks for.
#[derive(Clone, Copy)]
pub(super) struct AccessRequest<'a, P> {
    pub(super) caller: &'a Caller,
    pub(super) decisions: Decisions<P>,
    context_sha256: Option<[u8; 32]>,
    recipient_sha256: Option<[u8; 32]>,
}

impl<'a, P: Purpose> AccessRequest<'a, P> {
    /// Without context or recipient.
    pub(super) fn new(caller: &'a Caller, decisions: Decisions<P>) -> Self {
        Self { caller, decisions, context_sha256: None, recipient_sha256: None }
    }

    pub(super) fn with_context(self, context: &EncryptionContext) -> Self {
        Self { context_sha256: Some(context.sha256()), ..self }
    }

    pub(super) fn with_recipient(self, recipient_sha256: Option<[u8; 32]>) -> Self {
        Self { recipient_sha256, ..self }
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
        let subject = match key {
            KeyRef::Named(_) | KeyRef::Version(_) => Subject::Key(facts),
            KeyRef::Destination(_) => Subject::Destination(facts),
        };
        let grant = self.authorise(access, subject)?;
        let key = found.ok_or_else(|| unknown(key))?;
        Ok(GrantedKey { key, grant })
    }

    /// Asks whether the caller may. A matter of no key in particular is asked
    /// for the whole instance.
    pub(super) fn authorise<P: Purpose>(
        &self,
        access: AccessRequest<'_, P>,
        subject: Subject<'_>,
    ) -> Result<Grant<P>> {
        self.policy.authorise(&Question {
            principal: &access.caller.principal,
            decisions: access.decisions,
            subject,
            context_sha256: access.context_sha256,
            recipient_sha256: access.recipient_sha256,
        })
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
