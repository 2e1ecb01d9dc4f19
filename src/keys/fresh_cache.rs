//! A bounded cache in front of the store that never holds what a change of this
//! process has made stale.
//!
//! The danger is a slow reader: it reads the old record, a change commits and
//! forgets the cached entry, and then the reader puts the old record in. So a
//! reader takes a [`Reading`] before it reads, and what it read enters only if
//! nothing was forgotten since.

use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::ops::compute::Op;
use moka::sync::Cache;

/// About what the cache itself takes for an entry.
const ENTRY_BYTES: usize = 256;

/// A bounded cache of what the store holds.
pub(crate) struct FreshCache<K, V> {
    entries: Cache<K, V>,
    /// Counts what was forgotten.
    forgotten: AtomicU64,
}

/// When a read from the store began.
#[derive(Clone, Copy)]
pub(crate) struct Reading(u64);

impl<K, V> FreshCache<K, V>
where
    K: Eq + Hash + Send + Sync + Clone + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(max_entries: u64) -> Self {
        Self { entries: Cache::new(max_entries), forgotten: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key)
    }

    /// A cache bounded by what its entries weigh in all, with what it takes to
    /// keep them.
    pub(crate) fn weighed(most: u64, weigh: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        let weigher = move |_: &K, value: &V| {
            u32::try_from(weigh(value).saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX)
        };
        let entries = Cache::builder().max_capacity(most).weigher(weigher).build();
        Self { entries, forgotten: AtomicU64::new(0) }
    }

    /// To be called before the store is read.
    pub(crate) fn begin_reading(&self) -> Reading {
        Reading(self.forgotten.load(Ordering::SeqCst))
    }

    /// Keeps what was read, unless it may be stale by now.
    pub(crate) fn keep(&self, reading: Reading, key: K, value: V) {
        self.entries.entry(key).and_compute_with(|_| {
            // INVARIANT: this closure and the one in `forget` never run at once
            // for the same key. If this one is first, `forget` removes the
            // entry; if it is second, the count has grown.
            if self.forgotten.load(Ordering::SeqCst) == reading.0 {
                Op::Put(value)
            } else {
                Op::Nop
            }
        });
    }

    /// To be called after a change committed and before it is answered.
    pub(crate) fn forget(&self, key: &K) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.entries
            .entry(key.clone())
            .and_compute_with(|entry| if entry.is_some() { Op::Remove } else { Op::Nop });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_cannot_bring_back_what_was_forgotten() {
        let cache = FreshCache::new(10);
        let reading = cache.begin_reading();
        cache.forget(&1);
        cache.keep(reading, 1, "stale");
        assert_eq!(cache.get(&1), None);
        cache.keep(cache.begin_reading(), 1, "fresh");
        assert_eq!(cache.get(&1), Some("fresh"));
        cache.forget(&1);
        assert_eq!(cache.get(&1), None);
    }

    #[test]
    fn what_is_heavy_leaves_room_for_less() {
        let cache = FreshCache::weighed(100 << 10, |bytes: &usize| *bytes);
        for entry in 0..1000 {
            cache.keep(cache.begin_reading(), entry, 10 << 10);
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries.weighted_size() <= 100 << 10);
        assert!((1..10).contains(&cache.entries.entry_count()));
    }
}
