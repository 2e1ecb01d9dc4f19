//! The law of `storage::Store`, clause by clause, on every backend: in memory,
//! on SQLite, and on SQLite closed and opened again before every look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keyferry::storage::{
    CHANGES_KEPT_REVISIONS, COMMIT_OPERATIONS_MAX, LISTING_ENTRIES_MAX, MemoryStore,
    OpenStoreError, PATH_BYTES_MAX, Precondition, READ_PATHS_MAX, Revision, SqliteStore, Store,
    StoreError, VALUE_BYTES_MAX, Versioned, Write,
};
use proptest::prelude::*;
use tempfile::TempDir;

/// One backend under test.
enum Backend {
    Memory(Arc<dyn Store>),
    Sqlite { home: TempDir, store: Option<Arc<SqliteStore>>, reopens: bool },
}

impl Backend {
    fn memory() -> Self {
        Self::Memory(Arc::new(MemoryStore::new()))
    }

    fn sqlite() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Some(Arc::new(SqliteStore::open(home.path()).unwrap()));
        Self::Sqlite { home, store, reopens: false }
    }

    fn reopened_sqlite() -> Self {
        let Self::Sqlite { home, store, .. } = Self::sqlite() else { unreachable!() };
        Self::Sqlite { home, store, reopens: true }
    }

    /// The store; where the backend reopens, after a restart.
    fn store(&mut self) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => Arc::clone(store),
            Self::Sqlite { home, store, reopens } => {
                if *reopens {
                    // Every task that shared it has ended: this closes it.
                    assert_eq!(Arc::strong_count(store.as_ref().unwrap()), 1);
                    drop(store.take());
                    *store = Some(Arc::new(SqliteStore::open(home.path()).unwrap()));
                }
                Arc::clone(store.as_ref().unwrap()) as Arc<dyn Store>
            }
        }
    }
}

/// One test for each backend of a clause that takes `&mut Backend`.
macro_rules! law {
    ($($clause:ident),* $(,)?) => {
        mod memory {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $clause() { super::$clause(&mut super::Backend::memory()).await; }
        )*}
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $clause() { super::$clause(&mut super::Backend::sqlite()).await; }
        )*}
        mod reopened_sqlite {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $clause() { super::$clause(&mut super::Backend::reopened_sqlite()).await; }
        )*}
    };
}

law!(
    an_empty_store_is_at_zero,
    a_put_is_read_back_at_its_revision,
    a_read_answers_in_the_order_asked,
    a_commit_is_all_or_nothing,
    absent_means_absent,
    at_means_that_very_commit,
    preconditions_need_not_be_of_what_is_written,
    deleted_then_recreated_is_another,
    a_commit_that_changes_nothing_is_judged_and_makes_no_revision,
    revisions_grow_by_commit,
    no_update_is_lost,
    reads_see_whole_commits,
    reads_never_go_back,
    lists_are_bytewise,
    lists_keep_to_their_prefix,
    pages_end_where_they_say,
    a_list_under_writes_shows_what_stands_once,
    counts_are_of_the_prefix,
    changes_are_told_once_each,
    changes_are_cut_at_the_end,
    limits_are_kept,
    at_the_limits_it_works,
    a_dropped_commit_is_whole_or_absent,
    the_revision_seen_is_never_ahead,
    probing_works,
);

fn put(path: &str, value: impl AsRef<[u8]>) -> Write {
    Write::Put(path.into(), value.as_ref().to_vec())
}

fn delete(path: &str) -> Write {
    Write::Delete(path.into())
}

fn absent(path: &str) -> Precondition {
    Precondition::Absent(path.into())
}

fn at(path: &str, revision: Revision) -> Precondition {
    Precondition::At(path.into(), revision)
}

async fn write(store: &dyn Store, writes: &[Write]) -> Revision {
    store.commit(&[], writes).await.unwrap()
}

async fn value(store: &dyn Store, path: &str) -> Option<Versioned> {
    store.read(&[path]).await.unwrap().values.remove(0)
}

async fn paths(store: &dyn Store, prefix: &str) -> Vec<String> {
    let page = store.list(prefix, None, LISTING_ENTRIES_MAX).await.unwrap();
    assert!(!page.more);
    page.entries.into_iter().map(|(path, _)| path).collect()
}

async fn an_empty_store_is_at_zero(backend: &mut Backend) {
    let store = backend.store();
    let snapshot = store.read(&["a"]).await.unwrap();
    assert_eq!((snapshot.revision, snapshot.values), (Revision(0), vec![None]));
    let page = store.list("", None, 10).await.unwrap();
    assert_eq!((page.revision, page.entries.len(), page.more), (Revision(0), 0, false));
    assert_eq!(store.count("").await, Ok(0));
    assert_eq!(store.changes_since(Revision(0)).await.unwrap().paths, Vec::<String>::new());
}

async fn a_put_is_read_back_at_its_revision(backend: &mut Backend) {
    let bytes: Vec<u8> = (0..=255).collect();
    let revision = write(&*backend.store(), &[put("a", &bytes), put("empty", [])]).await;
    let store = backend.store();
    let snapshot = store.read(&["a", "empty"]).await.unwrap();
    assert_eq!(snapshot.revision, revision);
    let expected = [bytes, Vec::new()].map(|value| Some(Versioned { value, revision }));
    assert_eq!(snapshot.values, expected);
}

async fn a_read_answers_in_the_order_asked(backend: &mut Backend) {
    write(&*backend.store(), &[put("a", "1"), put("b", "2")]).await;
    let store = backend.store();
    let snapshot = store.read(&["b", "none", "a", "b"]).await.unwrap();
    let values = snapshot.values.into_iter().map(|found| found.map(|found| found.value));
    let expected = [Some(b"2".to_vec()), None, Some(b"1".to_vec()), Some(b"2".to_vec())];
    assert_eq!(values.collect::<Vec<_>>(), expected);
    assert_eq!(store.read(&[]).await.unwrap().revision, Revision(1));
}

async fn a_commit_is_all_or_nothing(backend: &mut Backend) {
    let first = write(&*backend.store(), &[put("a", "1"), put("b", "1")]).await;
    let store = backend.store();
    let refused = store
        .commit(&[at("a", first), absent("b")], &[put("a", "2"), delete("b"), put("c", "2")])
        .await;
    assert_eq!(refused, Err(StoreError::Conflict));
    drop(store);
    let store = backend.store();
    assert_eq!(paths(&*store, "").await, ["a", "b"]);
    assert_eq!(
        value(&*store, "a").await.unwrap(),
        Versioned { value: b"1".into(), revision: first }
    );
    assert_eq!(store.read(&[]).await.unwrap().revision, first);
}

async fn absent_means_absent(backend: &mut Backend) {
    let store = backend.store();
    store.commit(&[absent("a")], &[put("a", "1")]).await.unwrap();
    assert_eq!(store.commit(&[absent("a")], &[put("a", "2")]).await, Err(StoreError::Conflict));
    write(&*store, &[delete("a")]).await;
    drop(store);
    let store = backend.store();
    assert_eq!(value(&*store, "a").await, None);
    store.commit(&[absent("a")], &[put("a", "3")]).await.unwrap();
}

async fn at_means_that_very_commit(backend: &mut Backend) {
    let store = backend.store();
    let first = write(&*store, &[put("a", "1")]).await;
    let elsewhere = write(&*store, &[put("b", "1")]).await;
    for wrong in [Revision(0), elsewhere, Revision(99), Revision(u64::MAX)] {
        let refused = store.commit(&[at("a", wrong)], &[put("a", "2")]).await;
        assert_eq!(refused, Err(StoreError::Conflict), "{wrong}");
    }
    let refused = store.commit(&[at("none", first)], &[put("none", "2")]).await;
    assert_eq!(refused, Err(StoreError::Conflict));
    drop(store);
    backend.store().commit(&[at("a", first)], &[put("a", "2")]).await.unwrap();
    let again = backend.store().commit(&[at("a", first)], &[put("a", "3")]).await;
    assert_eq!(again, Err(StoreError::Conflict));
}

async fn preconditions_need_not_be_of_what_is_written(backend: &mut Backend) {
    let store = backend.store();
    let guard = write(&*store, &[put("guard", "1")]).await;
    store.commit(&[at("guard", guard), absent("other")], &[put("a", "1")]).await.unwrap();
    assert_eq!(value(&*store, "guard").await.unwrap().revision, guard);
}

async fn deleted_then_recreated_is_another(backend: &mut Backend) {
    let first = write(&*backend.store(), &[put("a", "same")]).await;
    write(&*backend.store(), &[delete("a")]).await;
    let second = write(&*backend.store(), &[put("a", "same")]).await;
    assert!(second > first);
    let refused = backend.store().commit(&[at("a", first)], &[delete("a")]).await;
    assert_eq!(refused, Err(StoreError::Conflict));
    backend.store().commit(&[at("a", second)], &[delete("a")]).await.unwrap();
}

async fn a_commit_that_changes_nothing_is_judged_and_makes_no_revision(backend: &mut Backend) {
    let store = backend.store();
    let first = write(&*store, &[put("a", "1")]).await;
    assert_eq!(store.commit(&[], &[]).await, Ok(first));
    assert_eq!(store.commit(&[at("a", first)], &[]).await, Ok(first));
    assert_eq!(store.commit(&[absent("a")], &[]).await, Err(StoreError::Conflict));
    assert_eq!(store.commit(&[], &[delete("none")]).await, Ok(first));
    assert_eq!(store.commit(&[at("a", first)], &[delete("none")]).await, Ok(first));
    let changes = store.changes_since(Revision(0)).await.unwrap();
    assert_eq!((changes.now, changes.paths), (first, vec!["a".to_owned()]));
}

async fn revisions_grow_by_commit(backend: &mut Backend) {
    for expected in 1..20 {
        let writes = [put("a", [7]), put("b", [7])];
        assert_eq!(write(&*backend.store(), &writes).await, Revision(expected));
    }
}

/// Adds one to a counter, by compare-and-swap, however often it takes.
async fn add_one(store: &dyn Store, path: &str) {
    loop {
        let (n, precondition) = match value(store, path).await {
            Some(found) => {
                let n = u64::from_be_bytes(found.value.try_into().unwrap());
                (n, at(path, found.revision))
            }
            None => (0, absent(path)),
        };
        match store.commit(&[precondition], &[put(path, (n + 1).to_be_bytes())]).await {
            Ok(_) => return,
            Err(StoreError::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn no_update_is_lost(backend: &mut Backend) {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let store = backend.store();
    let count = |store: Arc<dyn Store>| async move {
        for n in 0..EACH {
            add_one(&*store, if n % 2 == 0 { "even" } else { "odd" }).await;
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(count(Arc::clone(&store)))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    drop(store);
    let store = backend.store();
    let snapshot = store.read(&["even", "odd"]).await.unwrap();
    let read = |n: usize| {
        u64::from_be_bytes(snapshot.values[n].clone().unwrap().value.try_into().unwrap())
    };
    assert_eq!(read(0) + read(1), TASKS * EACH);
    assert_eq!(snapshot.revision, Revision(TASKS * EACH), "a lost race makes no revision");
}

/// Writes the same number to two paths, over and over.
async fn twin_writer(store: Arc<dyn Store>) {
    for n in 0..60_u64 {
        write(&*store, &[put("twin/a", n.to_be_bytes()), put("twin/b", n.to_be_bytes())]).await;
    }
}

async fn reads_see_whole_commits(backend: &mut Backend) {
    let store = backend.store();
    let writer = tokio::spawn(twin_writer(Arc::clone(&store)));
    while !writer.is_finished() {
        let snapshot = store.read(&["twin/a", "twin/b"]).await.unwrap();
        assert_eq!(snapshot.values[0], snapshot.values[1]);
        let page = store.list("twin/", None, 10).await.unwrap();
        let values: BTreeSet<_> = page.entries.iter().map(|(_, found)| &found.value).collect();
        assert!(values.len() <= 1, "a list saw half a commit");
        assert_ne!(store.count("twin/").await, Ok(1), "a count saw half a commit");
    }
    writer.await.unwrap();
}

async fn reads_never_go_back(backend: &mut Backend) {
    let store = backend.store();
    let writer = tokio::spawn(twin_writer(Arc::clone(&store)));
    let mut last = Revision(0);
    while !writer.is_finished() {
        let snapshot = store.read(&["twin/a"]).await.unwrap();
        assert!(snapshot.revision >= last);
        let bears = snapshot.values[0].as_ref().map_or(Revision(0), |found| found.revision);
        assert!(bears <= snapshot.revision);
        last = snapshot.revision;
    }
    writer.await.unwrap();
}

async fn lists_are_bytewise(backend: &mut Backend) {
    let sorted = ["A", "Z", "a", "a/", "a/b", "a0", "aa", "z", "~", "é", "中", "\u{ffff}", "𠀀"];
    assert!(sorted.is_sorted_by_key(|path| path.as_bytes()));
    let mut writes: Vec<_> = sorted.iter().map(|path| put(path, "x")).collect();
    writes.reverse();
    write(&*backend.store(), &writes).await;
    assert_eq!(paths(&*backend.store(), "").await, sorted);
}

async fn lists_keep_to_their_prefix(backend: &mut Backend) {
    let all =
        ["a", "a%", "a%b", "a_", "a_b", "ab", "a\u{10ffff}", "a\u{10ffff}z", "b", "\u{10ffff}"];
    let writes: Vec<_> = all.iter().map(|path| put(path, "x")).collect();
    write(&*backend.store(), &writes).await;
    let store = backend.store();
    for prefix in ["", "a", "a%", "a_", "a\u{10ffff}", "\u{10ffff}", "c", "ab", "a%bc"] {
        let mut expected: Vec<_> = all.iter().filter(|p| p.starts_with(prefix)).collect();
        expected.sort();
        assert_eq!(paths(&*store, prefix).await.iter().collect::<Vec<_>>(), expected, "{prefix:?}");
        let expected = u64::try_from(expected.len()).unwrap();
        assert_eq!(store.count(prefix).await, Ok(expected), "{prefix:?}");
    }
}

async fn pages_end_where_they_say(backend: &mut Backend) {
    let writes: Vec<_> = (0..7).map(|n| put(&format!("p/{n}"), "x")).collect();
    write(&*backend.store(), &writes).await;
    write(&*backend.store(), &[put("q", "x")]).await;
    let store = backend.store();
    let rows = [
        (None, 3, vec!["p/0", "p/1", "p/2"], true),
        (Some("p/2"), 3, vec!["p/3", "p/4", "p/5"], true),
        (Some("p/5"), 3, vec!["p/6"], false),
        (Some("p/3"), 3, vec!["p/4", "p/5", "p/6"], false),
        (Some("p/6"), 3, vec![], false),
        (None, 7, vec!["p/0", "p/1", "p/2", "p/3", "p/4", "p/5", "p/6"], false),
        (Some("p/2x"), 1, vec!["p/3"], true),
        (Some("a"), 1, vec!["p/0"], true),
        (Some("z"), 1, vec![], false),
        (None, 0, vec![], true),
        (Some("p/6"), 0, vec![], false),
    ];
    for (after, limit, expected, more) in rows {
        let page = store.list("p/", after, limit).await.unwrap();
        let found: Vec<_> = page.entries.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!((found, page.more), (expected, more), "after {after:?}, {limit}");
        assert_eq!(page.revision, Revision(2));
    }
}

async fn a_list_under_writes_shows_what_stands_once(backend: &mut Backend) {
    let store = backend.store();
    let standing: Vec<_> = (0..40).map(|n| format!("l/{n:02}")).collect();
    let writes: Vec<_> = standing.iter().map(|path| put(path, "x")).collect();
    write(&*store, &writes).await;
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    for round in 0.. {
        let page = store.list("l/", after.as_deref(), 3).await.unwrap();
        seen.extend(page.entries.into_iter().map(|(path, _)| path));
        if !page.more {
            break;
        }
        after = seen.last().cloned();
        // Before, behind and at the cursor, others come and go.
        let cursor = seen.last().unwrap();
        let writes = [
            put(&format!("l/00-{round}"), "new"),
            put(&format!("l/99-{round}"), "new"),
            put(cursor, "changed"),
            delete(&format!("l/99-{}", round - 1)),
        ];
        write(&*store, &writes).await;
    }
    seen.retain(|path| standing.contains(path));
    assert_eq!(seen, standing);
}

async fn counts_are_of_the_prefix(backend: &mut Backend) {
    for n in 0..5 {
        let writes: Vec<_> = (0..40).map(|m| put(&format!("c{n}/{m}"), "x")).collect();
        write(&*backend.store(), &writes).await;
    }
    write(&*backend.store(), &[delete("c1/7"), delete("c1/none")]).await;
    let store = backend.store();
    for (prefix, expected) in [("", 199), ("c1/", 39), ("c2/", 40), ("c2/1", 11), ("d", 0)] {
        assert_eq!(store.count(prefix).await, Ok(expected), "{prefix:?}");
    }
}

async fn changes_are_told_once_each(backend: &mut Backend) {
    let one = write(&*backend.store(), &[put("b", "1"), put("a", "1")]).await;
    let two = write(&*backend.store(), &[put("b", "2")]).await;
    let three = write(&*backend.store(), &[delete("a"), delete("none"), put("c", "3")]).await;
    let store = backend.store();
    let rows = [(Revision(0), "a b c"), (one, "a b c"), (two, "a c"), (three, "")];
    for (since, expected) in rows {
        let changes = store.changes_since(since).await.unwrap();
        assert_eq!((changes.now, changes.paths.join(" ").as_str()), (three, expected), "{since}");
    }
    for beyond in [4, 99, u64::MAX] {
        let answer = store.changes_since(Revision(beyond)).await;
        assert_eq!(answer, Err(StoreError::Compacted), "{beyond}");
    }
}

async fn changes_are_cut_at_the_end(backend: &mut Backend) {
    let store = backend.store();
    for n in 0..=CHANGES_KEPT_REVISIONS / 64 {
        // Many at once, as they are quicker so.
        let commits = (0..64).map(|m| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { write(&*store, &[put(&format!("{n}/{m}"), "x")]).await })
        });
        for commit in commits.collect::<Vec<_>>() {
            commit.await.unwrap();
        }
    }
    drop(store);
    let store = backend.store();
    let now = store.read(&[]).await.unwrap().revision;
    assert_eq!(now, Revision(CHANGES_KEPT_REVISIONS + 64));
    let told = store.changes_since(Revision(64)).await.unwrap();
    assert_eq!(u64::try_from(told.paths.len()).unwrap(), CHANGES_KEPT_REVISIONS);
    for cut in [0, 1, 63] {
        assert_eq!(store.changes_since(Revision(cut)).await, Err(StoreError::Compacted), "{cut}");
    }
}

/// Commits that each limit refuses.
fn beyond_the_limits() -> Vec<(Vec<Precondition>, Vec<Write>)> {
    let many: Vec<_> = (0..=COMMIT_OPERATIONS_MAX).map(|n| put(&n.to_string(), "x")).collect();
    let long = "é".repeat(PATH_BYTES_MAX / 2) + "x";
    vec![
        (vec![], many.clone()),
        (vec![absent("x")], many[1..].to_vec()),
        (vec![absent("x"); COMMIT_OPERATIONS_MAX + 1], vec![]),
        (vec![], vec![put("a", vec![0; VALUE_BYTES_MAX + 1])]),
        (vec![], vec![put(&long, "x")]),
        (vec![], vec![put("", "x")]),
        (vec![], vec![delete("")]),
        (vec![absent("")], vec![put("a", "x")]),
        (vec![absent(&long)], vec![put("a", "x")]),
        (vec![], vec![put("a\0b", "x")]),
        (vec![], vec![put("a", "x"), put("a", "y")]),
        (vec![], vec![put("a", "x"), delete("a")]),
    ]
}

async fn limits_are_kept(backend: &mut Backend) {
    let store = backend.store();
    for (row, (preconditions, writes)) in beyond_the_limits().into_iter().enumerate() {
        let answer = store.commit(&preconditions, &writes).await;
        assert!(matches!(answer, Err(StoreError::NotStored(_))), "row {row}: {answer:?}");
    }
    let long = "x".repeat(PATH_BYTES_MAX + 1);
    let unavailable = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    assert!(unavailable(store.read(&vec!["a"; READ_PATHS_MAX + 1]).await.unwrap_err()));
    for path in ["", "a\0b", &long] {
        assert!(unavailable(store.read(&[path]).await.unwrap_err()));
    }
    for bound in ["a\0b", &long] {
        assert!(unavailable(store.list(bound, None, 1).await.unwrap_err()));
        assert!(unavailable(store.list("", Some(bound), 1).await.unwrap_err()));
        assert!(unavailable(store.count(bound).await.unwrap_err()));
    }
    assert_eq!(store.read(&[]).await.unwrap().revision, Revision(0));
}

async fn at_the_limits_it_works(backend: &mut Backend) {
    let path = |n: usize| format!("{n:03}{}", "x".repeat(PATH_BYTES_MAX - 3));
    let full: Vec<_> =
        (0..COMMIT_OPERATIONS_MAX - 1).map(|n| put(&path(n), vec![7; VALUE_BYTES_MAX])).collect();
    backend.store().commit(&[absent(&path(0))], &full).await.unwrap();
    let store = backend.store();
    let asked: Vec<String> = (0..READ_PATHS_MAX).map(path).collect();
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    assert_eq!(asked[0].len(), PATH_BYTES_MAX);
    let found = store.read(&asked).await.unwrap().values;
    assert_eq!(found.iter().flatten().count(), COMMIT_OPERATIONS_MAX - 1);
    assert!(found.iter().flatten().all(|found| found.value == vec![7; VALUE_BYTES_MAX]));
    assert_eq!(store.list("", None, usize::MAX).await.unwrap().entries.len(), full.len());
}

/// Lets a commit be polled so often and then drops it.
async fn commit_and_vanish(store: Arc<dyn Store>, n: u32) {
    let writes = [put(&format!("v/{n}/a"), "x"), put(&format!("v/{n}/b"), "x")];
    let commit = store.commit(&[], &writes);
    tokio::pin!(commit);
    for _ in 0..n % 4 {
        let once = std::future::poll_fn(|context| {
            std::task::Poll::Ready(commit.as_mut().poll(context).is_ready())
        });
        if once.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn a_dropped_commit_is_whole_or_absent(backend: &mut Backend) {
    let store = backend.store();
    for n in 0..40 {
        commit_and_vanish(Arc::clone(&store), n).await;
    }
    // In the line behind them all, so that they are over.
    write(&*store, &[put("end", "x")]).await;
    drop(store);
    let store = backend.store();
    assert_eq!(store.count("end").await, Ok(1));
    for n in 0..40 {
        let count = store.count(&format!("v/{n}/")).await.unwrap();
        assert!(count == 0 || count == 2, "{n}: {count}");
        assert!(n % 4 != 0 || count == 0, "{n} was never begun");
    }
}

async fn the_revision_seen_is_never_ahead(backend: &mut Backend) {
    assert_eq!(backend.store().revision_seen(), Revision(0));
    for _ in 0..5 {
        let before = backend.store().revision_seen();
        let made = write(&*backend.store(), &[put("a", "x")]).await;
        assert!(before < made);
        assert_eq!(backend.store().revision_seen(), made);
    }
}

async fn probing_works(backend: &mut Backend) {
    backend.store().probe().await.unwrap();
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_over() {
    let home = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(home.path()).unwrap();
    let error = SqliteStore::open(home.path()).unwrap_err();
    let OpenStoreError::HeldByAnother { process, .. } = &error else { panic!("{error}") };
    assert_eq!(*process, Some(std::process::id()));
    let text = error.to_string();
    assert!(text.contains("in use") && text.contains("stop that one"), "{text}");
    first.commit(&[], &[put("a", "x")]).await.unwrap();
    drop(first);
    let second = SqliteStore::open(home.path()).unwrap();
    assert_eq!(second.count("").await, Ok(1));
}

#[tokio::test]
async fn what_was_in_the_queue_is_stored_when_the_store_is_dropped() {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(home.path()).unwrap();
    for n in 0..20 {
        let (path, writes);
        path = format!("q/{n}");
        writes = [put(&path, "x")];
        let commit = store.commit(&[], &writes);
        tokio::pin!(commit);
        // One poll puts it into the queue.
        std::future::poll_fn(|context| {
            let _ = commit.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(store);
    assert_eq!(SqliteStore::open(home.path()).unwrap().count("q/").await, Ok(20));
}

/// One step of a random history, over few paths so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Commit { preconditions: Vec<(u8, bool)>, writes: BTreeMap<u8, Option<u8>> },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let preconditions = prop::collection::vec((0..6_u8, prop::bool::weighted(0.85)), 0..3);
    let writes = prop::collection::btree_map(0..6_u8, prop::option::of(any::<u8>()), 0..4);
    prop_oneof![
        12 => (preconditions, writes)
            .prop_map(|(preconditions, writes)| Step::Commit { preconditions, writes }),
        1 => Just(Step::Reopen),
    ]
}

/// The law in a few lines, with whole histories kept.
#[derive(Default)]
struct Model {
    revision: u64,
    records: BTreeMap<String, Versioned>,
    history: Vec<BTreeSet<String>>,
}

impl Model {
    /// A precondition on this path that holds, or does not.
    fn precondition(&self, path: &str, holds: bool) -> Precondition {
        match (self.records.get(path), holds) {
            (Some(found), true) => at(path, found.revision),
            (Some(found), false) => at(path, Revision(found.revision.0 - 1)),
            (None, true) => absent(path),
            (None, false) => at(path, Revision(self.revision)),
        }
    }

    fn commit(&mut self, writes: &[Write]) -> Revision {
        let mut changed = BTreeSet::new();
        for write in writes {
            match write {
                Write::Put(path, value) => {
                    let revision = Revision(self.revision + 1);
                    self.records.insert(path.clone(), Versioned { value: value.clone(), revision });
                    changed.insert(path.clone());
                }
                Write::Delete(path) if self.records.remove(path).is_some() => {
                    changed.insert(path.clone());
                }
                Write::Delete(_) => {}
            }
        }
        if !changed.is_empty() {
            self.revision += 1;
            self.history.push(changed);
        }
        Revision(self.revision)
    }

    async fn compare(&self, store: &dyn Store) {
        let page = store.list("", None, LISTING_ENTRIES_MAX).await.unwrap();
        assert_eq!(page.revision, Revision(self.revision));
        assert_eq!(page.entries.into_iter().collect::<BTreeMap<_, _>>(), self.records);
        for since in 0..=self.history.len() {
            let expected: BTreeSet<_> = self.history[since..].iter().flatten().cloned().collect();
            let since = Revision(u64::try_from(since).unwrap());
            let told = store.changes_since(since).await.unwrap();
            assert_eq!(told.paths, expected.into_iter().collect::<Vec<_>>(), "since {since}");
        }
    }
}

async fn follow(backend: &mut Backend, steps: Vec<Step>) {
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit { preconditions, writes } => {
                let path = |n: u8| format!("path/{n}");
                let holds = preconditions.iter().all(|(_, holds)| *holds);
                let preconditions: Vec<_> = preconditions
                    .iter()
                    .map(|(n, holds)| model.precondition(&path(*n), *holds))
                    .collect();
                let writes: Vec<_> = writes
                    .into_iter()
                    .map(|(n, value)| match value {
                        Some(value) => put(&path(n), [value]),
                        None => delete(&path(n)),
                    })
                    .collect();
                let answer = backend.store().commit(&preconditions, &writes).await;
                let expected =
                    if holds { Ok(model.commit(&writes)) } else { Err(StoreError::Conflict) };
                assert_eq!(answer, expected);
            }
            Step::Reopen => {
                if let Backend::Sqlite { reopens, .. } = backend {
                    *reopens = true;
                    backend.store();
                    let Backend::Sqlite { reopens, .. } = backend else { unreachable!() };
                    *reopens = false;
                }
            }
        }
    }
    model.compare(&*backend.store()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_is_as_the_model_says(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            follow(&mut Backend::memory(), steps.clone()).await;
            follow(&mut Backend::sqlite(), steps).await;
        });
    }
}
