//! The two clocks of a server, and what it makes of them.

use super::steps::{HOUR, MINUTE};

/// Readings nearer to the one before are not kept.
const KEPT_APART: i64 = 30;

/// The two clocks, and what the server has read from them.
#[derive(Clone, Debug)]
pub struct Watch {
    pub wall: i64,
    pub elapsed: i64,
    /// Since the clock was last seen to have jumped.
    readings: Vec<Reading>,
    /// Since the server started.
    pub all_readings: Vec<Reading>,
    jumped_at: Option<i64>,
}

/// A look at both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub wall: i64,
    pub elapsed: i64,
}

impl Watch {
    /// A server that starts.
    pub fn starting(wall: i64, elapsed: i64) -> Self {
        Self { wall, elapsed, readings: vec![], all_readings: vec![], jumped_at: None }
    }

    /// The server looks at its clocks. Where they have parted by more than a
    /// minute, the wall clock has jumped, and what was read before counts no
    /// more.
    pub fn read(&mut self) {
        let now = Reading { wall: self.wall, elapsed: self.elapsed };
        let off = |reading: &Reading| reading.wall - reading.elapsed;
        if self.readings.iter().any(|earlier| (off(earlier) - off(&now)).abs() > MINUTE) {
            self.readings.clear();
            self.jumped_at = Some(now.elapsed);
        }
        let last = self.readings.last();
        if last.is_none_or(|last| last.elapsed + KEPT_APART <= now.elapsed) {
            self.readings.push(now);
        }
        self.all_readings.push(now);
    }

    /// A time that the wall clock had reached an hour ago, and has reached now.
    pub fn settled(&self) -> Option<i64> {
        let is_past = |earlier: &&Reading| earlier.elapsed + HOUR <= self.elapsed;
        let earlier = self.readings.iter().rev().find(is_past)?;
        Some(earlier.wall.min(self.wall))
    }

    /// Whether the clock was seen to jump less than an hour ago.
    pub fn jumped(&self) -> bool {
        self.jumped_at.is_some_and(|at| self.elapsed < at + HOUR)
    }

    /// The law of deletion, whatever the server makes of its readings: two of
    /// them, an hour apart, have reached the day.
    pub fn reached_twice(&self, due: i64) -> bool {
        let mut past = self.all_readings.iter().filter(|reading| reading.wall >= due);
        let last = self.all_readings.iter().rev().find(|reading| reading.wall >= due);
        past.next().zip(last).is_some_and(|(first, last)| first.elapsed + HOUR <= last.elapsed)
    }
}
