//! The life of a CMK: each change is a function from the CMK to the one it turns
//! into, or to the rule that forbids it. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result, Rule};
use crate::ids::KeyVersionId;
use crate::keys::model::cmk::{Cmk, DeletionProtection, KeyState};
use crate::keys::model::key_state::Operation;
use crate::keys::model::rotation::RotationInterval;
use crate::keys::model::tags::Tags;
use crate::limits::{PAIR_VERSION_DAYS, PAIR_VERSIONS, SYMMETRIC_VERSIONS};

/// Work on a CMK that falls due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Its deletion.
    Deletion(Timestamp),
    /// Its rotation.
    Rotation(Timestamp),
}

impl Due {
    /// The time.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        match self {
            Self::Deletion(at) | Self::Rotation(at) => at,
        }
    }
}

impl Cmk {
    /// The work on it that falls due next, if no change comes first.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        match self.state {
            KeyState::PendingDeletion => self.deletion_due_at.map(Due::Deletion),
            KeyState::Enabled => self.next_rotation_at().map(Due::Rotation),
            KeyState::Disabled | KeyState::PendingImport => None,
        }
    }

    /// When its next version is due, if it is rotated on a schedule and may have
    /// one more.
    #[must_use]
    pub fn next_rotation_at(&self) -> Option<Timestamp> {
        let rotation = self.rotation.filter(|_| (self.versions as usize) < SYMMETRIC_VERSIONS.max);
        rotation.map(|interval| interval.next_after(self.rotated_at))
    }

    /// `EnableKey`. Idempotent.
    pub fn enabled(&self) -> Result<Self> {
        self.state.check(Operation::Switch)?;
        Ok(Self { state: KeyState::Enabled, ..self.clone() })
    }

    /// `DisableKey`. Idempotent.
    pub fn disabled(&self) -> Result<Self> {
        self.state.check(Operation::Switch)?;
        Ok(Self { state: KeyState::Disabled, ..self.clone() })
    }

    /// `UpdateKeyDescription`.
    pub fn described(&self, description: String) -> Result<Self> {
        self.state.check(Operation::Annotate)?;
        Ok(Self { description, ..self.clone() })
    }

    /// `TagResource`.
    pub fn tagged(&self, tags: &Tags) -> Result<Self> {
        self.state.check(Operation::Annotate)?;
        Ok(Self { tags: self.tags.with(tags)?, ..self.clone() })
    }

    /// `UntagResource`.
    pub fn untagged(&self, keys: &[String]) -> Result<Self> {
        self.state.check(Operation::Annotate)?;
        Ok(Self { tags: self.tags.without(keys), ..self.clone() })
    }

    /// `SetDeletionProtection`.
    pub fn protected(&self, protection: DeletionProtection) -> Result<Self> {
        self.state.check(Operation::Protect)?;
        Ok(Self { protection, ..self.clone() })
    }

    /// `ScheduleKeyDeletion`, due that many days from now.
    pub fn awaiting_deletion(&self, now: Timestamp, window_days: u32) -> Result<Self> {
        self.state.check(Operation::ScheduleDeletion)?;
        if self.protection.on {
            return Err(Rule::DeletionProtected.into());
        }
        let window = SignedDuration::from_hours(24 * i64::from(window_days));
        let due_at = now.checked_add(window).map_err(|_| Error::internal("the clock is absurd"))?;
        Ok(Self { state: KeyState::PendingDeletion, deletion_due_at: Some(due_at), ..self.clone() })
    }

    /// `CancelKeyDeletion`: it is enabled again, whatever it was before.
    pub fn kept(&self) -> Result<Self> {
        self.state.check(Operation::CancelDeletion)?;
        Ok(Self { state: KeyState::Enabled, deletion_due_at: None, ..self.clone() })
    }

    /// `UpdateRotationPolicy`.
    pub fn rotating(&self, rotation: Option<RotationInterval>) -> Result<Self> {
        self.state.check(Operation::Rotate)?;
        if self.spec.pair().is_some() {
            return Err(Rule::RejectedKeyKind.into());
        }
        Ok(Self { rotation, ..self.clone() })
    }

    /// `CreateKeyVersion`, and rotation on a schedule.
    pub fn with_version(&self, version: KeyVersionId, now: Timestamp) -> Result<Self> {
        self.check_version_permitted(now)?;
        Ok(Self {
            newest_version: version,
            rotated_at: now,
            versions: self.versions.saturating_add(1),
            ..self.clone()
        })
    }

    /// Whether another version may be made now.
    pub fn check_version_permitted(&self, now: Timestamp) -> Result<()> {
        self.state.check(Operation::Rotate)?;
        let is_pair = self.spec.pair().is_some();
        let age_days = now.duration_since(self.rotated_at).as_hours() / 24;
        if is_pair && !PAIR_VERSION_DAYS.allows(age_days) {
            let text = format!(
                "The newest version of the key is too young: versions of an asymmetric key are made {PAIR_VERSION_DAYS} apart."
            );
            return Err(Error::from(Rule::RejectedKeyKind).saying(text));
        }
        let limit = if is_pair { PAIR_VERSIONS } else { SYMMETRIC_VERSIONS };
        if self.versions as usize >= limit.max {
            let text = format!("The key has no room for another version: it can have {limit}.");
            return Err(Error::from(Rule::StoredLimitReached).saying(text));
        }
        Ok(())
    }
}
