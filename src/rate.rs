//! A rate: the size of a bucket of units, and how fast it fills.

use std::num::NonZeroU32;

/// The smallest bucket: the most costly operation must fit, with all that its request uses
/// before it.
pub const LEAST_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(2099);

/// The size of a bucket, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units that come back in a second.
    pub per_second: NonZeroU32,
    /// Units that may be used at once; at least [`LEAST_BURST`].
    pub burst: NonZeroU32,
}
