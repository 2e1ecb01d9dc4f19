//! Whether the wall clock can be trusted with what cannot be undone. Pure.
//!
//! Something is *due* when it is due at two readings of the wall clock that lie
//! at least an hour apart on a clock that cannot be set. Where the two clocks
//! part, the wall clock has jumped: all readings before are forgotten, and for
//! an hour nothing is due. So one bad reading destroys nothing, and there is an
//! hour to act on the alarm.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How far two readings must lie apart.
pub const BETWEEN_READINGS: Duration = Duration::from_secs(60 * 60);
/// How far the clocks may part within that time: what a daemon that keeps the
/// time may correct, and leap seconds.
pub const MAX_STEP: Duration = Duration::from_secs(60);
/// Readings nearer to the one before are judged and not kept, so that there are
/// no more than 124.
const KEPT_APART: Duration = Duration::from_secs(30);

/// One look at both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock.
    pub wall: Timestamp,
    /// The clock that cannot be set.
    pub elapsed: Duration,
}

/// The wall clock has jumped by so much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump(pub SignedDuration);

/// The readings of the last hour.
#[derive(Debug, Default)]
pub struct ClockWatch {
    /// Oldest first. The first alone may be older than an hour; the last is the
    /// latest that was kept.
    readings: VecDeque<ClockReading>,
    /// There was a jump, and no hour has passed since.
    jumped: bool,
}

impl ClockWatch {
    /// Takes a reading, and says so where the clock has jumped since the last.
    pub fn observe(&mut self, now: ClockReading) -> Result<(), Jump> {
        let jump = self.readings.iter().find_map(|earlier| jump_between(earlier, &now));
        if let Some(jump) = jump {
            self.readings.clear();
            self.readings.push_back(now);
            self.jumped = true;
            return Err(jump);
        }
        let last = self.readings.back();
        if last.is_none_or(|last| last.elapsed + KEPT_APART <= now.elapsed) {
            self.readings.push_back(now);
        }
        while self.readings.get(1).is_some_and(|second| is_past(second, &now)) {
            self.readings.pop_front();
        }
        self.jumped &= self.confirmed(now).is_none();
        Ok(())
    }

    /// The time that the clock had reached at two readings: at this one, and at
    /// one an hour before. Work that was due then is due.
    #[must_use]
    pub fn confirmed(&self, now: ClockReading) -> Option<Timestamp> {
        let earlier = self.readings.front().filter(|earlier| is_past(earlier, &now))?;
        Some(earlier.wall.min(now.wall))
    }

    /// Whether the clock jumped and has not been steady for an hour since.
    #[must_use]
    pub const fn jumped(&self) -> bool {
        self.jumped
    }
}

fn is_past(earlier: &ClockReading, now: &ClockReading) -> bool {
    earlier.elapsed + BETWEEN_READINGS <= now.elapsed
}

fn jump_between(earlier: &ClockReading, now: &ClockReading) -> Option<Jump> {
    let elapsed = now.elapsed.saturating_sub(earlier.elapsed);
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
    let parted = now.wall.duration_since(earlier.wall).saturating_sub(elapsed);
    (parted.unsigned_abs() > MAX_STEP).then_some(Jump(parted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const YEAR: i64 = 365 * 24 * 3600;

    /// A reading after so many seconds, of a clock that is off by so many.
    fn at(second: u64, off: i64) -> ClockReading {
        let wall = 1_700_000_000 + i64::try_from(second).unwrap() + off;
        let wall = Timestamp::from_second(wall).unwrap();
        ClockReading { wall, elapsed: Duration::from_secs(second) }
    }

    fn steady(watch: &mut ClockWatch, seconds: std::ops::Range<u64>, off: i64) {
        for second in seconds.step_by(60) {
            watch.observe(at(second, off)).unwrap();
        }
    }

    #[test]
    fn nothing_is_confirmed_before_an_hour_has_passed() {
        let mut watch = ClockWatch::default();
        steady(&mut watch, 0..HOUR, 0);
        assert_eq!(watch.confirmed(at(HOUR - 1, 0)), None);
        assert_eq!(watch.confirmed(at(HOUR, 0)), Some(at(0, 0).wall));
        assert!(!watch.jumped(), "a start is no jump");
    }

    #[test]
    fn what_is_confirmed_is_an_hour_old_and_the_readings_are_bounded() {
        let mut watch = ClockWatch::default();
        steady(&mut watch, 0..100 * HOUR + 1, 0);
        assert_eq!(watch.confirmed(at(100 * HOUR, 0)), Some(at(99 * HOUR, 0).wall));
        for second in 0..100_000 {
            watch.observe(at(101 * HOUR + second / 10_000, 0)).unwrap();
        }
        assert!(watch.readings.len() <= 124, "{}", watch.readings.len());
    }

    #[test]
    fn a_year_ahead_for_a_minute_confirms_nothing() {
        let mut watch = ClockWatch::default();
        steady(&mut watch, 0..10 * HOUR, 0);
        let jump = watch.observe(at(10 * HOUR, YEAR)).unwrap_err();
        assert_eq!(jump.0.as_secs(), YEAR);
        assert_eq!(watch.confirmed(at(10 * HOUR, YEAR)), None);
        assert_eq!(watch.observe(at(10 * HOUR + MINUTE, 0)).unwrap_err().0.as_secs(), -YEAR);
        steady(&mut watch, 10 * HOUR + MINUTE..11 * HOUR, 0);
        assert!(watch.jumped());
        assert_eq!(watch.confirmed(at(11 * HOUR, 0)), None);
        watch.observe(at(11 * HOUR + MINUTE, 0)).unwrap();
        assert!(!watch.jumped());
        let confirmed = watch.confirmed(at(11 * HOUR + MINUTE, 0));
        assert_eq!(confirmed, Some(at(10 * HOUR + MINUTE, 0).wall));
    }

    #[test]
    fn a_clock_that_creeps_has_jumped_too() {
        let mut watch = ClockWatch::default();
        let mut jumps = 0;
        for minute in 0..60 {
            let creeping = at(minute * MINUTE, i64::try_from(minute).unwrap() * 3);
            jumps += i32::from(watch.observe(creeping).is_err());
        }
        assert_eq!(jumps, 2, "3 seconds a minute are a minute in 20");
    }

    #[test]
    fn what_keeps_the_time_may_correct_it() {
        let mut watch = ClockWatch::default();
        steady(&mut watch, 0..HOUR, 0);
        steady(&mut watch, HOUR..2 * HOUR, 59);
        steady(&mut watch, 2 * HOUR + MINUTE..3 * HOUR, 0);
        assert!(!watch.jumped());
    }
}
