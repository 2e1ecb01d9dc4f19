//! Bounded caches in front of the store that never hold what a change of this
//! process has made stale.
//!
//! The danger is a slow reader: it reads the old record, a change commits, the
//! cache forgets the entry, and then the reader puts the old record in. So each
//! cache has a *floor*, the revision of the last commit that concerned one of
//! its entries, and takes in nothing that was read at a lower one.
//!
//! A commit of unknown outcome has no revision, and neither has a commit that
//! another process came before. Such a *doubt* is counted, and what was read by
//! a reader that began before it is not taken in. A reader that began after it
//! sees what became of the commit, by clause 5 of the storage law.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::keys::paths::StorePath;
use crate::storage::Revision;

/// About what the cache itself takes for an entry.
const ENTRY_BYTES: usize = 256;

/// The caches over one store, which are told together what to forget.
#[derive(Default)]
pub struct Caches {
    all: Vec<Box<dyn Forget>>,
    doubts: Arc<AtomicU64>,
}

/// When something was read from the store.
#[derive(Clone, Copy, Debug)]
pub struct ReadAt {
    revision: Revision,
    /// How many doubts there were when the reader began.
    doubts: u64,
}

/// Whether a cache has an entry for a path, and which.
type KeyOf<K> = fn(&StorePath) -> Option<K>;

/// A bounded cache of what the store holds. A handle: a clone is the same cache.
#[derive(Clone)]
pub struct FreshCache<K, V> {
    entries: Cache<K, V>,
    key_of: KeyOf<K>,
    floor: Arc<AtomicU64>,
    doubts: Arc<AtomicU64>,
}

trait Forget: Send + Sync {
    fn forget(&self, path: &StorePath, since: Option<Revision>);
}

impl Caches {
    /// Adds a cache that is bounded by the number of its entries.
    pub fn counted<K, V>(&mut self, most: u64, key_of: KeyOf<K>) -> FreshCache<K, V>
    where
        K: Eq + Hash + Send + Sync + Clone + 'static,
        V: Clone + Send + Sync + 'static,
    {
        self.add(Cache::new(most), key_of)
    }

    /// Adds a cache that is bounded by what its entries weigh in all, with what
    /// it takes to keep them.
    pub fn weighed<K, V>(
        &mut self,
        most_bytes: u64,
        weigh: impl Fn(&V) -> usize + Send + Sync + 'static,
        key_of: KeyOf<K>,
    ) -> FreshCache<K, V>
    where
        K: Eq + Hash + Send + Sync + Clone + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let weigher = move |_: &K, value: &V| {
            u32::try_from(weigh(value).saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX)
        };
        self.add(Cache::builder().max_capacity(most_bytes).weigher(weigher).build(), key_of)
    }

    fn add<K, V>(&mut self, entries: Cache<K, V>, key_of: KeyOf<K>) -> FreshCache<K, V>
    where
        K: Eq + Hash + Send + Sync + Clone + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let (floor, doubts) = (Arc::default(), Arc::clone(&self.doubts));
        let cache = FreshCache { entries, key_of, floor, doubts };
        self.all.push(Box::new(cache.clone()));
        cache
    }

    /// How many doubts there were so far; to be asked before the store is read.
    pub fn doubts(&self) -> u64 {
        self.doubts.load(Ordering::SeqCst)
    }

    /// Forgets the entries that these paths concern, whichever cache they are
    /// in, and keeps out whatever was read before the commit that made them
    /// stale: at this revision, or at an unknown one. To be called before that
    /// commit is answered.
    pub fn forget<'a>(&self, paths: impl Iterator<Item = &'a str>, since: Option<Revision>) {
        if since.is_none() {
            self.doubts.fetch_add(1, Ordering::SeqCst);
        }
        for path in paths.filter_map(StorePath::parse) {
            for cache in &self.all {
                cache.forget(&path, since);
            }
        }
    }
}

impl ReadAt {
    /// Of a reader that began when there were so many doubts and has read at
    /// this revision.
    pub fn new(doubts: u64, revision: Revision) -> Self {
        Self { revision, doubts }
    }
}

impl<K, V> FreshCache<K, V>
where
    K: Eq + Hash + Send + Sync + Clone + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub fn get(&self, key: &K) -> Option<V> {
        self.entries.get(key)
    }

    /// Keeps what was read, unless it may be stale by now.
    pub fn keep(&self, read_at: ReadAt, key: K, value: V) {
        self.entries.entry(key).and_compute_with(|_| {
            // INVARIANT: this closure and the one in `forget` never run at once
            // for the same key. If this one is first, `forget` removes the
            // entry; if it is second, the floor or the doubts have risen.
            let is_fresh = read_at.revision.0 >= self.floor.load(Ordering::SeqCst)
                && read_at.doubts == self.doubts.load(Ordering::SeqCst);
            if is_fresh { Op::Put(value) } else { Op::Nop }
        });
    }
}

impl<K, V> Forget for FreshCache<K, V>
where
    K: Eq + Hash + Send + Sync + Clone + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn forget(&self, path: &StorePath, since: Option<Revision>) {
        let Some(key) = (self.key_of)(path) else { return };
        if let Some(revision) = since {
            self.floor.fetch_max(revision.0, Ordering::SeqCst);
        }
        self.entries
            .entry(key)
            .and_compute_with(|entry| if entry.is_some() { Op::Remove } else { Op::Nop });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyId;

    fn cmk(path: &StorePath) -> Option<KeyId> {
        match path {
            StorePath::Cmk(id) => Some(*id),
            _ => None,
        }
    }

    fn forget(caches: &Caches, id: KeyId, since: Option<u64>) {
        let path = StorePath::Cmk(id).to_string();
        caches.forget(std::iter::once(path.as_str()), since.map(Revision));
    }

    fn read_at(caches: &Caches, revision: u64) -> ReadAt {
        ReadAt::new(caches.doubts(), Revision(revision))
    }

    #[test]
    fn a_slow_reader_cannot_bring_back_what_was_forgotten() {
        let mut caches = Caches::default();
        let (cache, id) = (caches.counted(10, cmk), KeyId::new());
        let slow = read_at(&caches, 6);
        forget(&caches, id, Some(7));
        cache.keep(slow, id, "stale");
        assert_eq!(cache.get(&id), None);
        cache.keep(read_at(&caches, 7), id, "fresh");
        assert_eq!(cache.get(&id), Some("fresh"));
        forget(&caches, id, Some(8));
        assert_eq!(cache.get(&id), None);
        // The floor never sinks, in whatever order commits are answered.
        forget(&caches, id, Some(5));
        cache.keep(read_at(&caches, 7), id, "stale");
        assert_eq!(cache.get(&id), None);
    }

    #[test]
    fn a_reader_from_before_a_doubt_cannot_bring_anything_back() {
        let mut caches = Caches::default();
        let (cache, id) = (caches.counted(10, cmk), KeyId::new());
        // Whatever revision it was that it read: the commit may have any.
        for revision in [6, u64::MAX] {
            let slow = read_at(&caches, revision);
            forget(&caches, id, None);
            cache.keep(slow, id, "stale");
            assert_eq!(cache.get(&id), None);
        }
        cache.keep(read_at(&caches, 6), id, "fresh");
        assert_eq!(cache.get(&id), Some("fresh"));
        forget(&caches, id, None);
        assert_eq!(cache.get(&id), None);
    }

    #[test]
    fn a_path_goes_from_the_cache_that_it_concerns() {
        let mut caches = Caches::default();
        let cmks = caches.counted(10, cmk);
        let tombstones: FreshCache<KeyId, &str> = caches.counted(10, |path| match path {
            StorePath::Tombstone(id) => Some(*id),
            _ => None,
        });
        let (one, other) = (KeyId::new(), KeyId::new());
        for id in [one, other] {
            cmks.keep(read_at(&caches, 1), id, "kept");
            tombstones.keep(read_at(&caches, 1), id, "kept");
        }
        forget(&caches, one, Some(2));
        assert_eq!([one, other].map(|id| cmks.get(&id)), [None, Some("kept")]);
        assert_eq!([one, other].map(|id| tombstones.get(&id)), [Some("kept"); 2]);
        // Nor does it keep readers out of another cache.
        tombstones.keep(read_at(&caches, 1), KeyId::new(), "kept");
        tombstones.entries.run_pending_tasks();
        assert_eq!(tombstones.entries.entry_count(), 3);
        caches.forget(["", "no/path", "cmk/none"].into_iter(), Some(Revision(3)));
        assert_eq!(cmks.get(&other), Some("kept"));
    }

    #[test]
    fn what_is_heavy_leaves_room_for_less() {
        let mut caches = Caches::default();
        let cache = caches.weighed(100 << 10, |bytes: &usize| *bytes, cmk);
        for _ in 0..1000 {
            cache.keep(read_at(&caches, 1), KeyId::new(), 10 << 10);
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries.weighted_size() <= 100 << 10);
        assert!((1..10).contains(&cache.entries.entry_count()));
    }
}
