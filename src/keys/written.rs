//! Whether a change wrote anything.

/// Whether a change wrote anything: one that finds all as it should be does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Changed,
    /// All was so already.
    AsItWas,
}
