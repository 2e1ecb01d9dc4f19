//! The services: one file for each family of RPCs.
//!
//! Each operation is one function, from the contract's request to its response:
//! parse → authorise → act → reply. The contract's types stop here. Both faces
//! of the server call these functions.

pub mod alias;
pub mod caller;
pub mod cmk;
pub mod data_key;
pub mod encryption;
mod fields;
pub mod grpc;
pub mod naming;
mod spine;

use std::sync::Arc;

use crate::access::policy::Policy;
use crate::crypto::recipients::Recipients;
use crate::error::{Error, Result};
use crate::keys::keyring::Keyring;
use naming::Place;

/// Most memory for parsed recipients' keys and their tables, in bytes.
const MAX_RECIPIENTS_BYTES: u64 = 64 << 20;
/// The same, for one principal.
const MAX_RECIPIENTS_BYTES_PER_PRINCIPAL: u64 = 8 << 20;

/// What every operation works with. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    keyring: Arc<Keyring>,
    policy: Policy,
    recipients: Arc<Recipients>,
    place: Place,
}

impl Services {
    /// The services over a keyring.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, policy: Policy, place: Place) -> Self {
        let recipients = Recipients::new(MAX_RECIPIENTS_BYTES, MAX_RECIPIENTS_BYTES_PER_PRINCIPAL);
        Self { keyring, policy, recipients: Arc::new(recipients), place }
    }

    /// Whether the store answers and was never found tampered with.
    pub async fn is_healthy(&self) -> bool {
        self.keyring.is_healthy().await
    }

    /// Runs a change in a task of its own: a caller who vanishes cannot cancel
    /// it between its commit and what must follow.
    async fn change<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let span = tracing::Span::current();
        let task = tokio::spawn(tracing::Instrument::instrument(change, span));
        task.await.map_err(|failed| Error::internal(format!("a change did not end: {failed}")))?
    }
}
