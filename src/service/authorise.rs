//! Finds what a request names and asks the policy whether its caller may.

use std::sync::Arc;

use super::Services;
use super::caller::Caller;
use super::naming::KeyName;
use crate::access::decisions::{Decisions, On};
use crate::access::policy::{Grant, KeyFacts, Question};
use crate::access::service_account::ServiceAccount;
use crate::crypto::encryption_context::EncryptionContext;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::keyring::StoredCmk;

/// A caller, and the decisions that must allow what it asks for.
#[derive(Clone, Copy)]
pub(super) struct AccessRequest<'a> {
    pub(super) caller: &'a Caller,
    pub(super) decisions: Decisions,
    context_sha256: Option<[u8; 32]>,
    recipient_sha256: Option<[u8; 32]>,
}

impl<'a> AccessRequest<'a> {
    /// Without context or recipient.
    pub(super) fn new(caller: &'a Caller, decisions: Decisions) -> Self {
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
}

/// A key that was found, and the grant to do with it what was asked.
pub(super) struct GrantedKey {
    pub(super) key: Arc<StoredCmk>,
    pub(super) grant: Grant,
}

impl Services {
    /// Finds a key and asks whether the caller may. An unknown key is judged
    /// too, as a placeholder: only a caller who would be allowed learns that it
    /// does not exist.
    pub(super) async fn authorise_key(
        &self,
        request: AccessRequest<'_>,
        on: On,
        key: KeyRef<'_>,
    ) -> Result<GrantedKey> {
        let found = self.find(key).await?;
        let grant = self.authorise(request, on, found.as_deref().map(StoredCmk::facts), None)?;
        let key = found.ok_or_else(|| unknown(key))?;
        Ok(GrantedKey { key, grant })
    }

    /// Asks whether the caller may do what concerns no key in particular.
    pub(super) fn authorise_instance(&self, request: AccessRequest<'_>) -> Result<Grant> {
        self.authorise(request, On::Instance, None, None)
    }

    /// Asks whether the caller may do something to the access keys of a service
    /// account; `None` is that of an access key that does not exist.
    pub(super) fn authorise_account(
        &self,
        request: AccessRequest<'_>,
        account: Option<&ServiceAccount>,
    ) -> Result<Grant> {
        self.authorise(request, On::Account, None, account)
    }

    fn authorise(
        &self,
        request: AccessRequest<'_>,
        on: On,
        key: Option<KeyFacts>,
        account: Option<&ServiceAccount>,
    ) -> Result<Grant> {
        self.policy.authorise(&Question {
            principal: &request.caller.principal,
            decisions: request.decisions,
            on,
            key,
            account,
            context_sha256: request.context_sha256,
            recipient_sha256: request.recipient_sha256,
        })
    }

    async fn find(&self, key: KeyRef<'_>) -> Result<Option<Arc<StoredCmk>>> {
        match key {
            KeyRef::Version(id) => self.keyring.find_by_version(id).await,
            KeyRef::Named(KeyName::Id(id)) => self.keyring.find(*id).await,
            KeyRef::Named(KeyName::Alias(name)) => match self.keyring.find_alias(name).await? {
                Some(id) => self.keyring.find(id).await,
                None => Ok(None),
            },
            KeyRef::Named(KeyName::Unknown | KeyName::UnknownAlias) => Ok(None),
        }
    }
}

fn unknown(key: KeyRef<'_>) -> Error {
    match key {
        KeyRef::Version(_) => Error::from(Rule::KeyNotFound)
            .saying("The key version of this ciphertext blob is not here: was the blob made by another region or instance?")
            .blaming("ciphertext_blob"),
        KeyRef::Named(KeyName::Alias(_) | KeyName::UnknownAlias) => Rule::AliasNotFound.into(),
        KeyRef::Named(KeyName::Id(_) | KeyName::Unknown) => Rule::KeyNotFound.into(),
    }
}
