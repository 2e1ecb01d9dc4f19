//! What is due, carried out: deletions and rotations on a schedule, and the
//! erasure that follows a deletion.
//!
//! The index (`due.rs`) says where to look, the CMK says what is due, and the
//! clock watch what time it is. Each deletion and each rotation is one commit
//! on the CMK's revision, so that of several that try one succeeds, and a change
//! that came first wins.
//!
//! A deletion is a tombstone in the CMK's place, and a mark that its material is
//! to be erased. From that commit on the CMK does not exist. Its versions and
//! names are erased next, in commits of their own, the mark last: whoever is
//! interrupted goes on at the mark.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Result, Rule};
use crate::ids::KeyId;
use crate::keys::keyring::version_material::VersionMaterial;
use crate::keys::keyring::{Keyring, Refusal, StoredCmk};
use crate::keys::model::life_cycle::Due;
use crate::keys::schedule::clock_watch::Reading;
use crate::keys::schedule::due::{self, DELETIONS, ROTATIONS};
use crate::keys::schedule::erasure;
use crate::storage::{Precondition, Write};

/// The pause between two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Index entries that are read at a time.
const READ_AT_A_TIME: usize = 100;

/// What one look at what is due came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// CMKs that were deleted.
    pub deleted: u32,
    /// CMKs that were rotated.
    pub rotated: u32,
    /// CMKs whose turn failed; each is in the log, and comes up again.
    pub failed: u32,
}

impl Keyring {
    /// Carries out what is due, again and again.
    pub async fn carry_out_for_ever(self: Arc<Self>) -> Infallible {
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
        let Some(settled) = self.settled(reading) else { return Ok(carried) };
        for prefix in [DELETIONS, ROTATIONS] {
            self.carry_out_under(prefix, settled, &mut carried).await?;
        }
        self.forget_spent_nonces(settled).await?;
        Ok(carried)
    }

    /// Refuses where the clock jumped within the last hour.
    pub fn check_clock_steady(&self) -> Result<()> {
        self.read_clocks();
        if self.watch().jumped() { Err(Rule::ClockJumped.into()) } else { Ok(()) }
    }

    fn read_clocks(&self) -> Reading {
        let reading = Reading { wall: self.now(), elapsed: self.clock.elapsed() };
        if let Err(jump) = self.watch().observe(reading) {
            tracing::error!(
                alarm = "clock",
                by_seconds = jump.0.as_secs(),
                "the wall clock has jumped: deletions and rotations are suspended until it has been steady for an hour"
            );
        }
        reading
    }

    fn settled(&self, reading: Reading) -> Option<Timestamp> {
        self.watch().settled(reading)
    }

    /// Everything under one prefix that is due at `settled`, earliest first.
    async fn carry_out_under(
        &self,
        prefix: &str,
        settled: Timestamp,
        carried: &mut Carried,
    ) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(prefix, after.as_deref(), READ_AT_A_TIME).await?;
            for (path, _) in &listed.entries {
                let Some((at, id)) = due::parse(prefix, path) else {
                    tracing::error!(path, "an entry of the index of what is due is malformed");
                    continue;
                };
                if at > settled {
                    return Ok(());
                }
                self.carry_out_one(path, id, settled, carried).await;
            }
            after = listed.entries.into_iter().next_back().map(|(path, _)| path);
            if !listed.more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// One CMK's turn. What fails is left for the next look, and stops no other.
    async fn carry_out_one(
        &self,
        path: &str,
        id: KeyId,
        settled: Timestamp,
        carried: &mut Carried,
    ) {
        match self.take_turn(path, id, settled).await {
            Ok(Some(Due::Deletion(_))) => carried.deleted += 1,
            Ok(Some(Due::Rotation(_))) => carried.rotated += 1,
            // Where somebody changed it, what that made due comes up by itself.
            Ok(None) | Err(Refusal::Stale) => {}
            Err(Refusal::Broken(error)) => {
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
        settled: Timestamp,
    ) -> Result<Option<Due>, Refusal> {
        // Judged on what the store holds, not on what was kept of it.
        self.forget(id);
        let found = self.find(id).await?;
        let due = found.as_ref().and_then(|stored| stored.cmk.due());
        match (found, due) {
            (Some(stored), Some(due)) if due::path(due, id) == path => {
                self.carry_out(&stored, due, settled).await
            }
            (found, _) => self.drop_stray(path, id, found.as_deref()).await.map(|()| None),
        }
    }

    async fn carry_out(
        &self,
        stored: &StoredCmk,
        due: Due,
        settled: Timestamp,
    ) -> Result<Option<Due>, Refusal> {
        match due {
            Due::Deletion(at) if at <= settled => self.delete(stored).await?,
            Due::Rotation(at) if at <= settled => self.rotate(stored).await?,
            Due::Deletion(_) | Due::Rotation(_) => return Ok(None),
        }
        Ok(Some(due))
    }

    async fn rotate(&self, stored: &StoredCmk) -> Result<(), Refusal> {
        let material = VersionMaterial::generate(stored.cmk.spec)?;
        let made = self.add_version(stored, &material).await?;
        tracing::info!(key_id = %made.key_id, key_version_id = %made.id, "rotated a CMK on schedule");
        Ok(())
    }

    async fn delete(&self, stored: &StoredCmk) -> Result<(), Refusal> {
        self.entomb(stored).await?;
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
    ) -> Result<(), Refusal> {
        tracing::warn!(key_id = %id, path, "an entry of the index of what is due is not borne out");
        let unchanged = match found {
            Some(stored) => Precondition::At(crate::keys::keyring::cmk_path(id), stored.revision),
            None => Precondition::Absent(crate::keys::keyring::cmk_path(id)),
        };
        self.commit(&[unchanged], &[Write::Delete(path.to_owned())]).await.map(|_| ())
    }

    /// Goes on with every erasure that was begun.
    async fn finish_erasures(&self) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let listed = self.store.list(erasure::PREFIX, after.as_deref(), READ_AT_A_TIME).await?;
            for (path, _) in &listed.entries {
                if let Err(error) = self.go_on_erasing(path).await {
                    let log = error.log();
                    tracing::error!(
                        path,
                        log,
                        "an erasure failed, and will be tried again: {error}"
                    );
                }
            }
            after = listed.entries.into_iter().next_back().map(|(path, _)| path);
            if !listed.more || after.is_none() {
                return Ok(());
            }
        }
    }

    async fn go_on_erasing(&self, path: &str) -> Result<()> {
        let id = erasure::parse(path)
            .ok_or_else(|| Error::internal("a mark of what is to be erased is malformed"))?;
        self.erase(id).await
    }
}
