//! How often a CMK is rotated on a schedule.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::limits::ROTATION_DAYS;

const SECONDS_PER_DAY: u32 = 24 * 60 * 60;

/// The time between two rotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationInterval {
    seconds: u32,
}

/// An interval that is refused. Its text says what would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitInterval {
    /// Not of the form.
    #[error("it is a whole number followed by d, h, m or s, or by nothing for seconds")]
    Malformed,
    /// Too short or too long.
    #[error("it is {ROTATION_DAYS}")]
    OutOfRange,
}

impl RotationInterval {
    /// Reads `<whole number>[d|h|m|s]`; without a unit it is seconds.
    pub fn parse(text: &str) -> Result<Self, UnfitInterval> {
        let (digits, unit) = match text.as_bytes().last() {
            Some(b'd') => (text.strip_suffix('d'), SECONDS_PER_DAY),
            Some(b'h') => (text.strip_suffix('h'), 60 * 60),
            Some(b'm') => (text.strip_suffix('m'), 60),
            Some(b's') => (text.strip_suffix('s'), 1),
            _ => (Some(text), 1),
        };
        let digits = digits.unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(UnfitInterval::Malformed);
        }
        let count: u32 = digits.parse().map_err(|_| UnfitInterval::OutOfRange)?;
        count.checked_mul(unit).and_then(Self::from_seconds).ok_or(UnfitInterval::OutOfRange)
    }

    /// An interval of that many seconds, if it is one.
    #[must_use]
    pub fn from_seconds(seconds: u32) -> Option<Self> {
        let [shortest, longest] =
            [ROTATION_DAYS.min, ROTATION_DAYS.max].map(|days| days * SECONDS_PER_DAY as usize);
        (shortest..=longest).contains(&(seconds as usize)).then_some(Self { seconds })
    }

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds
    }

    /// When the rotation after the last one is due.
    #[must_use]
    pub fn next_after(self, last: Timestamp) -> Timestamp {
        let interval = SignedDuration::from_secs(i64::from(self.seconds));
        last.checked_add(interval).unwrap_or(Timestamp::MAX)
    }
}

/// As the contract shows it: `31536000s`.
impl fmt::Display for RotationInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for text in ["365d", "8760h", "525600m", "31536000s", "31536000"] {
            let interval = RotationInterval::parse(text).unwrap();
            assert_eq!(interval.to_string(), "31536000s", "{text}");
        }
    }

    #[test]
    fn the_range_is_7_to_730_days() {
        for text in ["7d", "730d", "168h", "604800"] {
            assert!(RotationInterval::parse(text).is_ok(), "{text}");
        }
        for text in ["6d", "731d", "604799", "0", "4294967295d", "99999999999999999999s"] {
            assert_eq!(RotationInterval::parse(text), Err(UnfitInterval::OutOfRange), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "d", "-7d", "+7d", "7 d", "7D", "7.5d", "1w", "７d", "7dd", "0x7d"] {
            assert_eq!(RotationInterval::parse(text), Err(UnfitInterval::Malformed), "{text}");
        }
    }
}
