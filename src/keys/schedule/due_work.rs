//! Deletions and rotations on a schedule, carried out when they are due, and the
//! erasure that follows a deletion.
//!
//! The index of what is due says where to look, the CMK says what is due, and the
//! clock watch what time it is. The index proves nothing; its paths are in order
//! of time, so that what is due is at its head and nothing else is read. Each
//! deletion and each rotation is one commit on the CMK's revision, so that of
//! several that try one succeeds, and a change that came first wins.
//!
//! A deletion is a tombstone in the CMK's place, and a mark that its material is
//! to be erased. From that commit on the CMK does not exist. Its versions and
//! names are erased next, in commits of their own, the mark last: an erasure that
//! was interrupted goes on at the mark.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::entry::Entry;
use crate::audit::trail::{Intent, Trail};
use crate::error::Result;
use crate::ids::KeyId;
use crate::keys::keyring::StoredCmk;
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::keyring::versions::VersionEntry;
use crate::keys::model::life_cycle::Due;
use crate::keys::not_done::NotDone;
use crate::keys::paths::StorePath;
use crate::keys::recorded::{DONE, recorded};
use crate::keys::schedule::Schedule;
use crate::storage::Write;

/// The pause between two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Index entries that are read at a time.
const READ_AT_A_TIME: usize = 100;

/// The outcome of one look at what is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// CMKs that were deleted.
    pub deleted: u32,
    /// CMKs that were rotated.
    pub rotated: u32,
    /// CMKs whose turn failed; each is in the log, and comes up again.
    pub failed: u32,
}

impl Schedule {
    /// Carries out what is due, again and again.
    pub async fn carry_out_for_ever(&self) -> Infallible {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if let Err(error) = self.carry_out_due().await {
                tracing::error!(
                    log = error.log(),
                    "what is due could not be looked up, and will be looked up again: {error}"
                );
            }
        }
    }

    /// Looks once, and carries out what is due.
    pub async fn carry_out_due(&self) -> Result<Carried> {
        let reading = self.read_clocks();
        self.finish_erasures().await?;
        let mut carried = Carried::default();
        let confirmed = self.watch().confirmed(reading);
        let Some(confirmed) = confirmed else { return Ok(carried) };
        for prefix in [StorePath::DELETIONS, StorePath::ROTATIONS] {
            self.carry_out_under(prefix, confirmed, &mut carried).await?;
        }
        self.access_keys.erase_past_nonces(confirmed).await?;
        self.receipt_keys.rotate_if_due(confirmed).await?;
        Ok(carried)
    }

    /// Everything under one prefix that is due at `confirmed`, earliest first.
    async fn carry_out_under(
        &self,
        prefix: &str,
        confirmed: Timestamp,
        carried: &mut Carried,
    ) -> Result<()> {
        let mut walk = self.vault.walk(prefix, READ_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            for (path, _) in entries {
                let Some(StorePath::Due(due, id)) = StorePath::parse(&path) else {
                    tracing::error!(path, "an entry of the index of what is due is malformed");
                    continue;
                };
                if due.at() > confirmed {
                    return Ok(());
                }
                self.carry_out_one(&path, id, confirmed, carried).await;
            }
        }
        Ok(())
    }

    /// One CMK's turn. A failure is left for the next look, and stops no other.
    async fn carry_out_one(
        &self,
        path: &str,
        id: KeyId,
        confirmed: Timestamp,
        carried: &mut Carried,
    ) {
        match self.take_turn(path, id, confirmed).await {
            Ok(Some(Due::Deletion(_))) => carried.deleted += 1,
            Ok(Some(Due::Rotation(_))) => carried.rotated += 1,
            // Where somebody changed it, what that made due comes up by itself.
            Ok(None) | Err(NotDone::Stale) => {}
            Err(NotDone::Refused(error)) => {
                carried.failed += 1;
                let log = error.log();
                tracing::error!(key_id = %id, log, "what is due failed, and will be tried again: {error}");
            }
        }
    }

    async fn take_turn(
        &self,
        path: &str,
        id: KeyId,
        confirmed: Timestamp,
    ) -> Result<Option<Due>, NotDone> {
        // Judged on what the store holds, not on what was kept of it.
        self.vault.forget(&StorePath::Cmk(id));
        let found = self.keyring.find(id).await?;
        let due = found.as_ref().and_then(|stored| stored.cmk.due());
        let (stored, due) = match (&found, due) {
            (Some(stored), Some(due)) if StorePath::Due(due, id).to_string() == path => {
                (stored, due)
            }
            _ => {
                self.drop_stray(path, id, found.as_deref()).await?;
                return Ok(None);
            }
        };
        if due.at() > confirmed {
            return Ok(None);
        }
        match due {
            Due::Deletion(_) => self.delete(stored).await?,
            Due::Rotation(_) => self.rotate(stored).await?,
        }
        Ok(Some(due))
    }

    async fn rotate(&self, stored: &StoredCmk) -> Result<(), NotDone> {
        let material = VersionMaterial::generate(stored.cmk.spec)?;
        let add = |intent: Intent| async move {
            self.keyring.add_version(&intent, stored, &material).await
        };
        let describe = |entry: &mut Entry| of_key(entry, stored, "rotated on schedule");
        let complete = |made: &VersionEntry, entry: &mut Entry| {
            entry.key_version_id = Some(made.id.to_string());
            DONE
        };
        let made = recorded(&Trail::of_system(&self.log), describe, add, complete).await?;
        tracing::info!(key_id = %made.key_id, key_version_id = %made.id, "rotated a CMK on schedule");
        Ok(())
    }

    async fn delete(&self, stored: &StoredCmk) -> Result<(), NotDone> {
        let entomb = |intent: Intent| async move { self.entomb(&intent, stored).await };
        let describe = |entry: &mut Entry| of_key(entry, stored, "deleted, as was scheduled");
        recorded(&Trail::of_system(&self.log), describe, entomb, |(), _| DONE).await?;
        let cmk = &stored.cmk;
        tracing::info!(key_id = %cmk.id, creator = cmk.creator, "deleted a CMK, as was scheduled");
        self.erase(cmk.id).await?;
        Ok(())
    }

    /// Takes away an entry that the CMK does not bear out: the index proves
    /// nothing.
    async fn drop_stray(
        &self,
        path: &str,
        id: KeyId,
        found: Option<&StoredCmk>,
    ) -> Result<(), NotDone> {
        tracing::warn!(key_id = %id, path, "an entry of the index of what is due is not borne out");
        let unchanged = StorePath::Cmk(id).unchanged(found.map(|stored| stored.revision));
        let stray = [Write::Delete(path.to_owned())];
        self.vault.keep_up_urgently(&[unchanged], &stray).await.map(drop)
    }

    /// Goes on with every erasure that was begun.
    async fn finish_erasures(&self) -> Result<()> {
        let mut walk = self.vault.walk(StorePath::ERASURES, READ_AT_A_TIME);
        while let Some(entries) = walk.next().await? {
            for (path, _) in entries {
                let erased = match StorePath::parse(&path) {
                    Some(StorePath::Erasure(id)) => self.erase(id).await,
                    _ => Err(StorePath::malformed()),
                };
                if let Err(error) = erased {
                    let log = error.log();
                    tracing::error!(
                        path,
                        log,
                        "an erasure failed, and will be tried again: {error}"
                    );
                }
            }
        }
        Ok(())
    }
}

fn of_key(entry: &mut Entry, stored: &StoredCmk, change: &str) {
    entry.key_id = Some(stored.cmk.id.to_string());
    entry.change = Some(change.to_owned());
}
