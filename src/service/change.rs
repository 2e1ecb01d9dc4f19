//! The one way to make a change.
//!
//! ```text
//! deadline → task of its own → find → authorise → check → dry run → commit → log
//!                              └───────── again, where the key changed ────┘
//! ```
//!
//! An operation that changes something hands its own steps to
//! [`Services::change`]: what to find and by which decisions, what to check, and
//! at their end [`PendingChange::commit`] with what it is and the commit. That is the one
//! place where a change is recorded: its intent before the commit, its outcome
//! after it.

use std::pin::Pin;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::attempts::until_fresh;
use super::authorise::{AccessRequest, GrantedKey, KeyRef};
use super::call::Call;
use super::caller::Caller;
use super::cost;
use super::{Services, unless_dry_run};
use crate::access::decisions::Decisions;
use crate::access::grant::{Grant, PolicyDigest};
use crate::access::purpose;
use crate::access::question::Subject;
use crate::access::service_account::ServiceAccount;
use crate::audit::entry::Entry;
use crate::audit::trail::{Intent, Trail};
use crate::error::{Error, Result};
use crate::ids::{AccessKeyId, KeyId, KeyVersionId};
use crate::keys::access_keys::AccessKey;
use crate::keys::keyring::versions::VersionEntry;
use crate::keys::keyring::{Keyring, StoredCmk};
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::cmk::KeyState;
use crate::keys::not_done::NotDone;
use crate::keys::recorded::{DONE, UNCHANGED, recorded};
use crate::keys::written::Written;

/// A change on its way: its caller, its RPC, and what its steps work with.
pub(super) struct PendingChange {
    pub(super) services: Services,
    pub(super) caller: Caller,
    trail: Trail,
    /// Cancelled when the caller has left.
    pub(super) left: CancellationToken,
    decisions: Decisions<purpose::Change>,
    dry_run: bool,
}

/// The steps of one operation, begun.
pub(super) type Steps<'a, T> =
    Pin<Box<dyn Future<Output = Result<Committed<T>, NotDone>> + Send + 'a>>;

/// The outcome of a change that was committed and recorded.
pub(super) struct Committed<T>(T);

/// A change as it is recorded.
#[derive(Clone)]
pub(super) struct Event {
    /// In words.
    pub(super) what: &'static str,
    /// The policy that allowed it.
    pub(super) policy: PolicyDigest,
    pub(super) key_id: Option<KeyId>,
    pub(super) key_version_id: Option<KeyVersionId>,
    pub(super) state: Option<KeyState>,
    pub(super) alias: Option<AliasName>,
    pub(super) access_key_id: Option<AccessKeyId>,
    pub(super) account: Option<ServiceAccount>,
    pub(super) creator: Option<String>,
}

impl Services {
    /// Makes a change, in a task of its own: a caller who vanishes cannot cancel
    /// it between its commit and what must follow. The steps are taken again
    /// where what was granted has changed; `input` is what they are taken with.
    pub(super) async fn change<I, T>(
        &self,
        call: &Call<'_>,
        decisions: Decisions<purpose::Change>,
        dry_run: bool,
        input: I,
        steps: for<'a> fn(&'a PendingChange, &'a I) -> Steps<'a, T>,
    ) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
    {
        call.check_deadline()?;
        if !decisions.takes_away() {
            call.spend(cost::CHANGE).await?;
        }
        let left = CancellationToken::new();
        let _leaves = left.clone().drop_guard();
        let (services, caller) = (self.clone(), call.caller().clone());
        let trail = call.trail().clone();
        let change = PendingChange { services, caller, trail, left, decisions, dry_run };
        let task = async move { until_fresh!({ steps(&change, &input).await }) };
        let task = tokio::spawn(task.instrument(tracing::Span::current()));
        let ended = task.await;
        let ended = ended.map_err(|why| Error::internal(format!("a change did not end: {why}")))?;
        ended.map(|Committed(done)| done)
    }
}

impl PendingChange {
    /// Finds a key and asks whether the caller may change it.
    pub(super) async fn authorise_key(
        &self,
        key: KeyRef<'_>,
    ) -> Result<GrantedKey<purpose::Change>> {
        self.services.authorise_key(self.access(), key).await
    }

    /// Asks whether the caller may change something else than a key.
    pub(super) fn authorise(&self, subject: Subject<'_>) -> Result<Grant<purpose::Change>> {
        self.services.authorise(self.access(), subject)
    }

    pub(super) fn access(&self) -> AccessRequest<'_, purpose::Change> {
        AccessRequest::of(&self.caller, &self.trail, self.decisions, self.dry_run)
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.services.keyring
    }

    /// Ends a dry run, before work that is done for the change alone.
    pub(super) fn check_dry_run(&self) -> Result<()> {
        unless_dry_run(self.dry_run)
    }

    /// Ends a dry run; else records what is about to be done, commits, and records how
    /// that ended.
    pub(super) async fn commit<T, F>(
        &self,
        mut event: Event,
        commit: impl FnOnce(Intent) -> F + Send,
    ) -> Result<Committed<T>, NotDone>
    where
        T: CommitResult + Send,
        F: Future<Output = Result<T, NotDone>> + Send,
    {
        self.check_dry_run()?;
        let complete = |done: &T, entry: &mut Entry| {
            if done.written() == Written::AsItWas {
                return UNCHANGED;
            }
            let mut event = event.clone();
            done.complete(&mut event);
            event.describe(entry);
            DONE
        };
        let done = recorded(&self.trail, |entry| event.describe(entry), commit, complete).await?;
        if done.written() == Written::Changed {
            if let Some(begun) = &self.caller.begun {
                begun.made();
            }
            done.complete(&mut event);
            event.log(self.decisions);
        }
        Ok(Committed(done))
    }
}

/// The result of a commit. It adds to the event the ids that the commit made.
pub(super) trait CommitResult {
    /// Where there was nothing to write, nothing is recorded as changed.
    fn written(&self) -> Written {
        Written::Changed
    }

    fn complete(&self, _: &mut Event) {}
}

impl CommitResult for Written {
    fn written(&self) -> Written {
        *self
    }
}

impl CommitResult for () {}

impl CommitResult for StoredCmk {
    fn complete(&self, event: &mut Event) {
        event.key_id = Some(self.cmk.id);
        event.creator = Some(self.cmk.creator.clone());
    }
}

impl CommitResult for VersionEntry {
    fn complete(&self, event: &mut Event) {
        event.key_version_id = Some(self.id);
    }
}

impl CommitResult for AccessKey {
    fn complete(&self, event: &mut Event) {
        event.access_key_id = Some(self.id);
        event.account = Some(self.account.clone());
    }
}

impl Event {
    pub(super) fn of(what: &'static str, grant: &Grant<purpose::Change>) -> Self {
        Self {
            what,
            policy: grant.policy(),
            key_id: None,
            key_version_id: None,
            state: None,
            alias: None,
            access_key_id: None,
            account: None,
            creator: None,
        }
    }

    pub(super) fn of_key(what: &'static str, granted: &GrantedKey<purpose::Change>) -> Self {
        Self { key_id: Some(granted.key.cmk.id), ..Self::of(what, &granted.grant) }
    }

    pub(super) fn with_alias(self, alias: &AliasName) -> Self {
        Self { alias: Some(alias.clone()), ..self }
    }

    /// As a line of the audit log has it.
    fn describe(&self, entry: &mut Entry) {
        entry.change = Some(self.what.to_owned());
        entry.key_id = self.key_id.as_ref().map(ToString::to_string).or(entry.key_id.take());
        entry.key_version_id =
            self.key_version_id.as_ref().map(ToString::to_string).or(entry.key_version_id.take());
        entry.state = self.state.map(|state| state.as_str().to_owned());
        entry.alias = self.alias.as_ref().map(ToString::to_string).or(entry.alias.take());
        entry.access_key_id = self.access_key_id.as_ref().map(ToString::to_string);
        let account = self.account.as_ref().map(|account| account.name().to_owned());
        entry.account = account.or(entry.account.take());
    }

    /// The span of the request has its id and its principal.
    fn log(&self, decisions: Decisions<purpose::Change>) {
        tracing::info!(
            operation = decisions.rpc(),
            policy_sha256 = %self.policy,
            key_id = self.key_id.map(display),
            key_version_id = self.key_version_id.map(display),
            state = self.state.map(KeyState::as_str),
            alias = self.alias.as_ref().map(display),
            access_key_id = self.access_key_id.map(display),
            account = self.account.as_ref().map(ServiceAccount::name),
            creator = self.creator,
            "changed: {}",
            self.what
        );
    }
}
