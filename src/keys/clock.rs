//! The wall clock, injected so that tests choose the time.

use jiff::Timestamp;

/// Tells the time. Used for dates that people read, never for an order of
/// events or a decision that must hold.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
