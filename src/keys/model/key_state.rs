//! Which operation each state of a CMK permits: one table, pure.

use crate::error::{Result, Rule};
use crate::keys::model::cmk::KeyState;

/// A use or change of a CMK, as far as its state matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Every operation of service `Kms`.
    Use,
    /// `CreateKeyVersion`, `UpdateRotationPolicy`.
    Rotate,
    /// `DescribeKey`, `DescribeKeyVersion`, lists, `DeleteAlias`.
    Look,
    /// `UpdateKeyDescription`, `TagResource`, `UntagResource`.
    Annotate,
    /// `EnableKey`, `DisableKey`.
    Switch,
    /// `ScheduleKeyDeletion`.
    ScheduleDeletion,
    /// `CancelKeyDeletion`.
    CancelDeletion,
    /// `SetDeletionProtection`.
    Protect,
    /// `CreateAlias`.
    Name,
    /// `UpdateAlias`, on the CMK that the name shall mean.
    Rename,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::Use,
        Self::Rotate,
        Self::Look,
        Self::Annotate,
        Self::Switch,
        Self::ScheduleDeletion,
        Self::CancelDeletion,
        Self::Protect,
        Self::Name,
        Self::Rename,
    ];

    /// The table: the rule that each state breaks, in the order of
    /// [`KeyState`]; `None` is permitted.
    #[rustfmt::skip]
    #[expect(clippy::match_same_arms, reason = "one table, a row for each operation")]
    const fn row(self) -> [Option<Rule>; 4] {
        const DISABLED: Option<Rule> = Some(Rule::KeyDisabled);
        const DELETION: Option<Rule> = Some(Rule::KeyPendingDeletion);
        const IMPORT: Option<Rule> = Some(Rule::KeyPendingImport);
        const CHANGE: Option<Rule> = Some(Rule::StateForbidsChange);
        const OK: Option<Rule> = None;
        match self {
            //                         Enabled  Disabled  PendingDeletion  PendingImport
            Self::Use =>              [OK,      DISABLED, DELETION,        IMPORT],
            Self::Rotate =>           [OK,      DISABLED, DELETION,        IMPORT],
            Self::Look =>             [OK,      OK,       OK,              OK],
            Self::Annotate =>         [OK,      OK,       DELETION,        OK],
            Self::Switch =>           [OK,      OK,       CHANGE,          CHANGE],
            Self::ScheduleDeletion => [OK,      OK,       CHANGE,          OK],
            Self::CancelDeletion =>   [CHANGE,  CHANGE,   OK,              CHANGE],
            Self::Protect =>          [OK,      OK,       CHANGE,          OK],
            Self::Name =>             [OK,      OK,       CHANGE,          OK],
            Self::Rename =>           [OK,      OK,       DELETION,        OK],
        }
    }

    /// The rule that a CMK in that state breaks.
    #[must_use]
    pub const fn broken_in(self, state: KeyState) -> Option<Rule> {
        let [enabled, disabled, pending_deletion, pending_import] = self.row();
        match state {
            KeyState::Enabled => enabled,
            KeyState::Disabled => disabled,
            KeyState::PendingDeletion => pending_deletion,
            KeyState::PendingImport => pending_import,
        }
    }
}

impl KeyState {
    /// Refuses what a CMK in this state does not permit.
    pub fn check(self, operation: Operation) -> Result<()> {
        operation.broken_in(self).map_or(Ok(()), |rule| Err(rule.into()))
    }
}
