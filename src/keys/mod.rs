//! CMKs, their key versions, states and names; how they are stored, loaded and
//! changed; and the root and store keys that guard them.
//!
//! | room | what it does |
//! | --- | --- |
//! | [`schedule`] | carries out what is due; the clock watch; erasure |
//! | [`keyring`] | finds, keeps and changes CMKs, their versions and names |
//! | [`access_keys`] | access keys, their lists, and the nonces of what they signed |
//! | [`receipt_keys`] | the keys that sign receipts of exports |
//! | `vault` | the store and the seals in one: reads and opens, seals and commits |
//! | `caches` | caches that a commit tells what to forget |
//! | [`recorded`] | a change between its intent and its end in the audit log |
//! | [`audit_records`] | the audit log's key, checkpoint and marks |
//! | [`pages`] | pages of lists and their tokens |
//! | [`paths`] | every path of the store, both ways |
//! | [`guard`] | root key, store keys, sealed records |
//! | [`model`] | a CMK and its life; no IO |
//! | [`clock`] | the clocks |

pub mod access_keys;
pub mod audit_records;
mod caches;
pub mod clock;
#[cfg(test)]
mod doors;
pub mod guard;
pub mod keyring;
pub mod model;
pub mod not_done;
pub mod pages;
pub mod paths;
pub mod receipt_keys;
pub mod recorded;
pub mod schedule;
mod vault;
pub mod written;

use std::sync::Arc;

use access_keys::AccessKeys;
use audit_records::AuditRecords;
use caches::Caches;
use clock::Clock;
use guard::records::RecordSeals;
use keyring::Keyring;
use receipt_keys::ReceiptKeys;
use schedule::Schedule;
use vault::Vault;

use crate::audit::log::AuditLog;
use crate::storage::Store;

/// Everything here, over one store. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    /// CMKs, their versions and names.
    pub keyring: Arc<Keyring>,
    /// Access keys.
    pub access_keys: Arc<AccessKeys>,
    /// The keys that sign receipts.
    pub receipt_keys: Arc<ReceiptKeys>,
    /// Deletions and rotations that are due, and their clock.
    pub schedule: Arc<Schedule>,
    /// What the store keeps for the audit log.
    pub audit: Arc<AuditRecords>,
    /// The log that records what is done with them.
    pub log: AuditLog,
}

impl Keys {
    /// The keys of a store that is open. Nothing is recorded yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, seals: RecordSeals, clock: Arc<dyn Clock>) -> Self {
        let mut caches = Caches::default();
        let keyring_caches = keyring::Cached::among(&mut caches);
        let cached_access_keys = access_keys::cached_among(&mut caches);
        let cached_receipt_keys = receipt_keys::cached_among(&mut caches);
        let vault = Arc::new(Vault::new(store, seals, caches));
        let keyring = Arc::new(Keyring::new(vault.clone(), clock.clone(), keyring_caches));
        let access_keys =
            Arc::new(AccessKeys::new(vault.clone(), clock.clone(), cached_access_keys));
        let receipt_keys =
            Arc::new(ReceiptKeys::new(vault.clone(), clock.clone(), cached_receipt_keys));
        let audit = Arc::new(AuditRecords::new(vault.clone(), clock.clone()));
        let schedule =
            Schedule::new(vault, keyring.clone(), access_keys.clone(), receipt_keys.clone(), clock);
        let (schedule, log) = (Arc::new(schedule), AuditLog::off());
        Self { keyring, access_keys, receipt_keys, schedule, audit, log }
    }

    /// The same, recorded in this log.
    #[must_use]
    pub fn recorded_in(self, log: AuditLog) -> Self {
        let schedule = Arc::new(self.schedule.recorded_in(log.clone()));
        Self { schedule, log, ..self }
    }
}
