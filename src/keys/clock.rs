//! The clocks, injected so that tests choose the time.

use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Tells the time, by two clocks.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC, by the wall clock. An administrator of the machine can set
    /// it, and it may be wrong: nothing is destroyed on one reading of it.
    fn now(&self) -> Timestamp;
    /// Now, in whole seconds, as records keep the time.
    fn whole_second(&self) -> Timestamp {
        let now = self.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
    /// The time since some moment in the past that stays the same. It cannot be
    /// set, and it goes on while the machine sleeps.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        let read = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(read.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(read.tv_nsec).unwrap_or_default())
    }
}
