//! Work that falls due, carried out by clocks that can be trusted.
//!
//! | room | what it does |
//! | --- | --- |
//! | [`due_work`] | carries out deletions and rotations that are due |
//! | `erasure` | puts a tombstone in a CMK's place, and erases its material and names |
//! | [`clock_watch`] | whether the wall clock can be trusted; no IO |

pub mod clock_watch;
pub mod due_work;
mod erasure;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::log::AuditLog;
use crate::error::{Result, Rule};
use crate::keys::access_keys::AccessKeys;
use crate::keys::clock::Clock;
use crate::keys::keyring::Keyring;
use crate::keys::receipt_keys::ReceiptKeys;
use crate::keys::schedule::clock_watch::{ClockReading, ClockWatch};
use crate::keys::vault::Vault;

/// Carries out what is due: deletions, rotations of CMKs and of the key of receipts, and
/// the erasure of what was deleted and of nonces that are past.
pub struct Schedule {
    vault: Arc<Vault>,
    keyring: Arc<Keyring>,
    access_keys: Arc<AccessKeys>,
    receipt_keys: Arc<ReceiptKeys>,
    clock: Arc<dyn Clock>,
    watch: Mutex<ClockWatch>,
    log: AuditLog,
}

impl Schedule {
    pub(in crate::keys) fn new(
        vault: Arc<Vault>,
        keyring: Arc<Keyring>,
        access_keys: Arc<AccessKeys>,
        receipt_keys: Arc<ReceiptKeys>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let log = AuditLog::off();
        Self { vault, keyring, access_keys, receipt_keys, clock, watch: Mutex::default(), log }
    }

    /// The same, recorded in this log.
    pub(in crate::keys) fn recorded_in(&self, log: AuditLog) -> Self {
        let Self { vault, keyring, access_keys, receipt_keys, clock, .. } = self;
        let (vault, keyring) = (vault.clone(), keyring.clone());
        let (access_keys, receipt_keys) = (access_keys.clone(), receipt_keys.clone());
        let (clock, watch) = (clock.clone(), Mutex::default());
        Self { vault, keyring, access_keys, receipt_keys, clock, watch, log }
    }

    /// Refuses where the clock jumped within the last hour.
    pub fn check_clock_steady(&self) -> Result<()> {
        self.read_clocks();
        if self.watch().jumped() { Err(Rule::ClockJumped.into()) } else { Ok(()) }
    }

    fn read_clocks(&self) -> ClockReading {
        let reading =
            ClockReading { wall: self.clock.whole_second(), elapsed: self.clock.elapsed() };
        if let Err(jump) = self.watch().observe(reading) {
            tracing::error!(
                alarm = "clock",
                by_seconds = jump.0.as_secs(),
                "the wall clock has jumped: deletions and rotations are suspended until it has been steady for an hour"
            );
        }
        reading
    }

    fn watch(&self) -> MutexGuard<'_, ClockWatch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
