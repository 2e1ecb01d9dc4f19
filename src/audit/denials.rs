//! Denials of known callers: the first ones of a second have a line each, the others are
//! counted, so that no caller can fill the disk with refusals.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::Entry;

/// Denials of one caller that have lines of their own, in a window.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);
/// Callers that are counted at a time. There are never so many at once, but for tokens
/// with ever new subjects: the counts are then written early.
const CALLERS: usize = 1024;

/// The denials of this second.
#[derive(Default)]
pub(super) struct Denials(Mutex<HashMap<String, Window>>);

struct Window {
    began: Instant,
    lines: u32,
    /// The last of those that were counted alone, and their number.
    counted: Option<(Entry, u64)>,
}

impl Denials {
    /// The entry, where it has a line of its own.
    pub(super) fn own_line(&self, entry: Entry) -> Option<Entry> {
        let principal = entry.principal.clone().unwrap_or_default();
        let now = Instant::now();
        let mut windows = self.windows();
        let fresh = Window { began: now, lines: 0, counted: None };
        let window = windows.entry(principal).or_insert(fresh);
        if window.lines < LINES {
            window.lines += 1;
            return Some(entry);
        }
        let before = window.counted.take().map_or(0, |(_, count)| count);
        window.counted = Some((entry, before + 1));
        None
    }

    /// The counts of the windows that are past, or of all: an entry each, which stands
    /// for so many.
    pub(super) fn take_past(&self, all: bool) -> Vec<Entry> {
        let mut windows = self.windows();
        let all = all || windows.len() > CALLERS;
        let past = windows.extract_if(|_, window| all || window.began.elapsed() >= WINDOW);
        past.filter_map(|(_, window)| window.counted)
            .map(|(entry, count)| Entry { count: Some(count), ..entry })
            .collect()
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<String, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;

    fn entry(principal: &str, request_id: usize) -> Entry {
        let mut entry =
            Entry::new(String::new(), String::new(), String::new(), String::new(), Kind::Decision);
        entry.principal = Some(principal.to_owned());
        entry.request_id = Some(request_id.to_string());
        entry
    }

    #[test]
    fn the_first_denials_have_lines_and_the_others_are_counted() {
        let denials = Denials::default();
        let lines = (0..100).filter_map(|at| denials.own_line(entry("unix:1", at))).count();
        assert_eq!(lines, LINES as usize);
        assert!(denials.own_line(entry("unix:2", 0)).is_some(), "each caller has its own");
        let counted = denials.take_past(true);
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].count, Some(90));
        assert_eq!(counted[0].request_id.as_deref(), Some("99"), "the last of them");
        assert!(denials.take_past(true).is_empty());
        assert!(denials.own_line(entry("unix:1", 0)).is_some(), "the window is another");
    }

    #[test]
    fn a_window_that_is_not_past_stays() {
        let denials = Denials::default();
        for at in 0..20 {
            let _ = denials.own_line(entry("unix:1", at));
        }
        assert!(denials.take_past(false).is_empty());
        assert_eq!(denials.take_past(true)[0].count, Some(10));
    }
}
