//! The ids of events: unique without a generator and without the kernel.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::ids::{EventId, RunId};

/// Bytes of an id that are the run's.
const OF_RUN_LEN_BYTES: usize = 5;

/// Makes the ids of the events of one run: UUIDs of version 7, of the time, of bytes
/// that the run drew once at random, and of a counter.
#[derive(Debug)]
pub struct EventIds {
    run: RunId,
    of_run: [u8; OF_RUN_LEN_BYTES],
    made: AtomicU64,
}

impl EventIds {
    /// Of a run that begins now.
    #[must_use]
    pub fn begin() -> Self {
        let run = RunId::new();
        // Its last bytes are random.
        let of_run = run.as_bytes().last_chunk().copied().unwrap_or_default();
        Self { run, of_run, made: AtomicU64::new(0) }
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The next id, of an event at this time.
    pub fn next(&self, at: Timestamp) -> EventId {
        let [_, _, _, counted @ ..] = self.made.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut tail = [0; 2 * OF_RUN_LEN_BYTES];
        let (of_run, count) = tail.split_at_mut(OF_RUN_LEN_BYTES);
        of_run.copy_from_slice(&self.of_run);
        count.copy_from_slice(&counted);
        EventId::ending_in(&tail, u64::try_from(at.as_millisecond()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_moment_and_of_two_runs_differ_and_tell_their_time() {
        let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let (one, two) = (EventIds::begin(), EventIds::begin());
        let mut ids: Vec<_> = (0..1000).map(|_| one.next(at)).collect();
        assert!(ids.is_sorted(), "in the order of their making");
        ids.extend((0..1000).map(|_| two.next(at)));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2000);
        for id in ids {
            let text = id.to_string();
            assert!(text.starts_with("018bcfe5-687b-7"), "{text}");
            assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        }
    }
}
