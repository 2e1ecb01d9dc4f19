//! Sets of actions: those that a grant is good for, and those that a door serves.

use super::operations::Action;

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actions(u64);

/// The actions that take a permission away. They are kept possible longest: on a disk
/// that is full, and for an account that has used its quota up.
pub const TAKING_AWAY: Actions = Actions::of(&[
    Action::DisableKey,
    Action::ScheduleKeyDeletion,
    Action::DisableAccessKey,
    Action::DeleteAccessKey,
]);

impl Actions {
    /// A set of these.
    #[must_use]
    pub const fn of(actions: &[Action]) -> Self {
        let (mut set, mut rest) = (Self(0), actions);
        while let [action, others @ ..] = rest {
            set = set.with(*action);
            rest = others;
        }
        set
    }

    /// This set and one action more.
    #[must_use]
    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | 1 << action as u32)
    }

    /// Whether an action is in both sets.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl From<Action> for Actions {
    fn from(action: Action) -> Self {
        Self::default().with(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_a_bit_of_its_own() {
        let first = Actions::of(&[Action::GenerateDataKeyWithoutPlaintext]);
        let last = Actions::of(&[Action::GetReceiptKeys]);
        assert_eq!((first, last), (Actions(1), Actions(1 << 38)));
        assert!(!first.meets(last) && !first.meets(Actions::default()));
        assert!(first.with(Action::GetReceiptKeys).meets(last));
    }
}
