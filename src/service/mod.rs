//! The services: one file for each family of RPCs.
//!
//! Each operation is one function, from the contract's request to its response:
//! parse → authorise → act → reply. The contract's types stop here. Both faces
//! of the server call these functions.

pub mod access_key;
pub mod alias;
pub mod asymmetric;
mod attempts;
mod authorise;
mod call;
pub mod caller;
mod change;
pub mod cmk;
mod contract_enums;
pub mod cost;
pub mod data_key;
pub mod encryption;
pub mod export_stream;
mod fields;
pub mod grpc;
pub mod life_cycle;
pub mod naming;
pub mod permits;
mod private_key_pool;
pub mod quotas;
pub mod re_encryption;
mod receipts;
pub mod region;
pub mod tags;
pub mod versions;

use std::convert::Infallible;
use std::sync::Arc;

use crate::access::policy::Policy;
use crate::audit::log::AuditLog;
use crate::crypto::recipients::Recipients;
use crate::error::{Result, Rule};
use crate::keys::Keys;
use crate::keys::access_keys::AccessKeys;
use crate::keys::access_keys::refused_changes::BegunChange;
use crate::keys::access_keys::used_nonces::SpentNonce;
use crate::keys::clock::Clock;
use crate::keys::keyring::Keyring;
use crate::keys::schedule::Schedule;
use crate::trusted_issuers::TrustedIssuers;
use naming::Arns;
use private_key_pool::PrivateKeyPool;
use receipts::Receipts;

/// Most memory for parsed recipients' keys and their tables, in bytes.
const MAX_RECIPIENTS_BYTES: u64 = 64 << 20;
/// The same, for one principal.
const MAX_RECIPIENTS_BYTES_PER_PRINCIPAL: u64 = 8 << 20;

/// The services, with all that their operations share. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    keyring: Arc<Keyring>,
    access_keys: Arc<AccessKeys>,
    schedule: Arc<Schedule>,
    policy: Policy,
    log: AuditLog,
    recipients: Arc<Recipients>,
    private_keys: Arc<PrivateKeyPool>,
    receipts: Arc<Receipts>,
    arns: Arns,
}

impl Services {
    /// The services over the keys of a store.
    #[must_use]
    pub fn new(keys: Keys, policy: Policy, arns: Arns) -> Self {
        let recipients = Recipients::new(MAX_RECIPIENTS_BYTES, MAX_RECIPIENTS_BYTES_PER_PRINCIPAL);
        let Keys { keyring, access_keys, receipt_keys, schedule, log, .. } = keys;
        Self {
            keyring,
            access_keys,
            schedule,
            policy,
            log,
            recipients: Arc::new(recipients),
            private_keys: Arc::new(PrivateKeyPool::new()),
            receipts: Arc::new(Receipts::new(receipt_keys)),
            arns,
        }
    }

    /// The same, with issuers whose receipts an import may come with, or must.
    #[must_use]
    pub fn trusting(self, issuers: Arc<TrustedIssuers>, required_on_import: bool) -> Self {
        let receipts = self.receipts.trusting(issuers, required_on_import);
        Self { receipts: Arc::new(receipts), ..self }
    }

    /// Whether the store answers and was never found tampered with.
    pub async fn is_healthy(&self) -> bool {
        self.keyring.is_healthy().await
    }

    /// The log that records what is done.
    #[must_use]
    pub const fn audit_log(&self) -> &AuditLog {
        &self.log
    }

    /// The clock of this instance.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        self.keyring.clock()
    }

    /// Spends the nonce of a signed request that changes something.
    pub async fn spend_nonce(&self, spent: &SpentNonce<'_>) -> Result<BegunChange> {
        self.access_keys.spend_nonce(spent).await
    }

    /// Carries out deletions and rotations when they are due, for as long as it is
    /// polled.
    pub async fn carry_out_for_ever(&self) -> Infallible {
        self.schedule.carry_out_for_ever().await
    }
}

/// Ends a dry run: every check is done, and nothing has left or changed.
fn unless_dry_run(dry_run: bool) -> Result<()> {
    if dry_run { Err(Rule::DryRunSucceeded.into()) } else { Ok(()) }
}
