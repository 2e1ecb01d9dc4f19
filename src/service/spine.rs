//! The way of every request about a key: find it, ask whether the caller may,
//! act with the grant, and begin again where the key changed in between.

use std::sync::Arc;

use super::Services;
use super::caller::Caller;
use super::naming::KeyName;
use crate::access::decisions::{Decisions, On};
use crate::access::policy::{Grant, KeyFacts, Question};
use crate::access::service_account::ServiceAccount;
use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::keyring::{Refusal, StoredCmk};

/// How often a request begins again before it gives way to the others that
/// change the same key.
const MAX_ATTEMPTS: usize = 16;

/// What is asked about one key.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) caller: &'a Caller,
    pub(super) decisions: Decisions,
    pub(super) context_sha256: Option<[u8; 32]>,
    pub(super) recipient_sha256: Option<[u8; 32]>,
}

impl<'a> Ask<'a> {
    /// An ask without context or recipient.
    pub(super) fn new(caller: &'a Caller, decisions: Decisions) -> Self {
        Self { caller, decisions, context_sha256: None, recipient_sha256: None }
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

/// A key that was found, and the grant to do what was asked with it.
pub(super) struct Granted {
    pub(super) key: Arc<StoredCmk>,
    pub(super) grant: Grant,
}

impl Services {
    /// Finds a key and asks whether the caller may. An unknown key is judged
    /// too, as a placeholder, and only who would be allowed learns that it does
    /// not exist.
    pub(super) async fn granted(&self, ask: Ask<'_>, on: On, key: KeyRef<'_>) -> Result<Granted> {
        let found = self.find(key).await?;
        let grant = self.authorise(ask, on, found.as_deref().map(StoredCmk::facts), None)?;
        let key = found.ok_or_else(|| unknown(key))?;
        Ok(Granted { key, grant })
    }

    /// Asks whether the caller may do what concerns no key in particular.
    pub(super) fn granted_here(&self, ask: Ask<'_>) -> Result<Grant> {
        self.authorise(ask, On::Instance, None, None)
    }

    /// Asks whether the caller may do something to the access keys of a service
    /// account; `None` is that of an access key that does not exist.
    pub(super) fn granted_account(
        &self,
        ask: Ask<'_>,
        account: Option<&ServiceAccount>,
    ) -> Result<Grant> {
        self.authorise(ask, On::Account, None, account)
    }

    fn authorise(
        &self,
        ask: Ask<'_>,
        on: On,
        key: Option<KeyFacts>,
        account: Option<&ServiceAccount>,
    ) -> Result<Grant> {
        self.policy.authorise(&Question {
            principal: &ask.caller.principal,
            decisions: ask.decisions,
            on,
            key,
            account,
            context_sha256: ask.context_sha256,
            recipient_sha256: ask.recipient_sha256,
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

/// Acts, and begins again while what was granted is stale: each attempt finds
/// and asks anew. A macro, as the future of an async closure that borrows is not
/// known to be `Send`.
macro_rules! until_fresh {
    ($act:block) => {{
        let mut attempts = $crate::service::spine::Attempts::default();
        loop {
            if let Some(settled) = attempts.settle(async $act.await).await {
                break settled;
            }
        }
    }};
}
pub(super) use until_fresh;

/// How often a request has begun.
#[derive(Default)]
pub(super) struct Attempts(usize);

impl Attempts {
    /// The outcome of an attempt, or `None` where another is due.
    pub(super) async fn settle<T>(&mut self, outcome: Result<T, Refusal>) -> Option<Result<T>> {
        self.0 += 1;
        match outcome {
            Ok(done) => Some(Ok(done)),
            Err(Refusal::Broken(error)) => Some(Err(error)),
            Err(Refusal::Stale) if self.0 < MAX_ATTEMPTS => {
                tokio::task::yield_now().await;
                None
            }
            Err(Refusal::Stale) => {
                let text = "The key is being changed by many at once. Try again later.";
                Some(Err(Error::from(Rule::TooManyRequests).saying(text)))
            }
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
