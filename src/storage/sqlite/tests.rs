//! What only a look inside can show: failed COMMITs, full disks, plans.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::queries::{COUNT, LIST_AFTER, LIST_FROM, READ};
use super::schema::succession;
use super::*;
use crate::storage::commit_settled;

fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store");
    (home, path)
}

fn put(path: &str, value: &[u8]) -> Vec<Write> {
    vec![Write::Put(path.into(), value.to_vec())]
}

/// A connection of somebody else's, to do to the file what faults do.
fn intruder(directory: &Path) -> Connection {
    Connection::open(directory.join("keyferry.db")).unwrap()
}

#[tokio::test]
async fn counting_and_seeking_use_the_index_of_paths() {
    let (_home, path) = home();
    drop(SqliteStore::open(&path).unwrap());
    let plan = |sql: &str| -> String {
        let file = intruder(&path);
        let parameters = sql.matches('?').count();
        let mut explain = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps: Vec<String> = explain
            .query_map(rusqlite::params_from_iter(vec!["a"; parameters]), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        steps.join("; ")
    };
    assert_eq!(plan(COUNT), "SEARCH record USING COVERING INDEX record_path (path>? AND path<?)");
    for sql in [LIST_FROM, LIST_AFTER] {
        assert_eq!(plan(sql), "SEARCH record USING INDEX record_path (path>? AND path<?)");
    }
    assert_eq!(plan(READ), "SEARCH record USING INDEX record_path (path=?)");
}

#[tokio::test]
async fn every_connection_is_set_as_meant() {
    let (_home, path) = home();
    let directory = Directory::hold(&path).unwrap();
    let writer = schema::open_or_create(&directory).unwrap();
    let reader = schema::connect_reader(&directory).unwrap();
    let ask = |connection: &Connection, pragma: &str| -> String {
        let sql = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(ask(&writer, "journal_mode"), "wal");
    assert_eq!(ask(&writer, "synchronous"), "2");
    assert_eq!(ask(&writer, "secure_delete"), "1");
    assert_eq!(ask(&reader, "query_only"), "1");
    for connection in [&writer, &reader] {
        assert_eq!(ask(connection, "trusted_schema"), "0");
    }
    // Before 3.51.3 a WAL could be reset under a reader and lose commits.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[tokio::test]
async fn files_are_for_the_owner_alone() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", b"x")).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn open_doors_are_refused_with_what_to_do() {
    let (_home, path) = home();
    drop(SqliteStore::open(&path).unwrap());
    let file = path.join("keyferry.db");
    for (exposed, mode, wanted) in
        [(&path, 0o770, "chmod 0700"), (&path, 0o702, "chmod 0700"), (&file, 0o640, "chmod 0600")]
    {
        let before = exposed.metadata().unwrap().permissions();
        std::fs::set_permissions(exposed, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(text.contains(wanted), "{text}");
        std::fs::set_permissions(exposed, before).unwrap();
    }
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn files_of_others_are_refused_and_left_alone() {
    let write = |name: &str, path: &Path| match name {
        "text" => std::fs::write(path, "not a database at all, but a letter".repeat(99)).unwrap(),
        "foreign" => {
            Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        }
        "marked" => {
            let file = Connection::open(path).unwrap();
            file.execute_batch("PRAGMA application_id = 7").unwrap();
        }
        _ => std::os::unix::fs::symlink("/dev/null", path).unwrap(),
    };
    for name in ["text", "foreign", "marked", "link"] {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("keyferry.db");
        write(name, &file);
        if name != "link" {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let before = std::fs::read(&file).unwrap();
        let error = SqliteStore::open(home.path()).unwrap_err();
        assert!(matches!(error, OpenStoreError::Foreign { .. }), "{name}: {error}");
        assert_eq!(std::fs::read(&file).unwrap(), before, "{name}");
    }
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let (_home, path) = home();
    drop(SqliteStore::open(&path).unwrap());
    intruder(&path).execute_batch("PRAGMA user_version = 2").unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, OpenStoreError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_making_cut_short_is_finished() {
    let (_home, path) = home();
    let directory = Directory::hold(&path).unwrap();
    drop(directory);
    assert_eq!(path.join("keyferry.db").metadata().unwrap().len(), 0);
    intruder(&path).execute_batch("PRAGMA journal_mode = WAL").unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.commit(&[], &put("a", b"x")).await, Ok(Revision(1)));
}

/// Makes COMMIT itself fail: a constraint that is judged only there.
fn make_commits_fail(directory: &Path) {
    intruder(directory)
        .execute_batch(
            "CREATE TABLE parent (id INTEGER PRIMARY KEY);
             CREATE TABLE child (id REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER fault AFTER INSERT ON record BEGIN INSERT INTO child VALUES (1); END;",
        )
        .unwrap();
}

fn make_commits_work(directory: &Path) {
    intruder(directory).execute_batch("DROP TRIGGER fault").unwrap();
}

#[tokio::test]
async fn a_failed_commit_is_in_doubt_until_settled() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", b"one")).await.unwrap();
    make_commits_fail(&path);
    let failed = store.commit(&[], &put("b", b"two")).await;
    assert!(matches!(failed, Err(StoreError::MaybeStored(_))), "{failed:?}");
    assert!(store.status.is_in_doubt());
    // The first read settles it, and what it finds stays so.
    assert_eq!(store.read(&["b"]).await.unwrap().values, [None]);
    assert!(!store.status.is_in_doubt());
    make_commits_work(&path);
    assert_eq!(store.commit(&[], &put("b", b"two")).await, Ok(Revision(2)));
    drop(store);
    let doubts = "SELECT doubts FROM store";
    let doubts: i64 = intruder(&path).query_row(doubts, [], |row| row.get(0)).unwrap();
    assert_eq!(doubts, 1, "a settling commit was really written");
}

#[tokio::test]
async fn nobody_reads_while_a_doubt_cannot_be_settled() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    make_commits_fail(&path);
    store.commit(&[], &put("b", b"two")).await.unwrap_err();
    intruder(&path)
        .execute_batch(
            "CREATE TRIGGER unsettled BEFORE UPDATE ON store
             BEGIN SELECT RAISE(ABORT, 'disk on fire'); END;",
        )
        .unwrap();
    for _ in 0..2 {
        let read = store.read(&["b"]).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        let commit = store.commit(&[], &put("c", b"x")).await;
        assert!(matches!(commit, Err(StoreError::NotStored(_))), "{commit:?}");
    }
    intruder(&path).execute_batch("DROP TRIGGER unsettled; DROP TRIGGER fault").unwrap();
    assert_eq!(store.read(&["b"]).await.unwrap().values, [None]);
    store.commit(&[], &put("b", b"two")).await.unwrap();
}

#[tokio::test]
async fn commit_settled_tells_that_a_failed_commit_was_not_stored() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    make_commits_fail(&path);
    let result = commit_settled(&store, &[], &put("b", b"two")).await;
    assert!(matches!(result, Err(StoreError::NotStored(_))), "{result:?}");
}

/// SQLite says "disk is full" where a file has all the pages that it may have.
#[test]
fn a_full_disk_is_not_stored_and_leaves_the_writer_working() {
    let (_home, path) = home();
    let directory = Arc::new(Directory::hold(&path).unwrap());
    let connection = schema::open_or_create(&directory).unwrap();
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    let writer = Writer::new(Arc::clone(&directory), connection, Arc::default()).unwrap();
    let (jobs, queue) = mpsc::channel(9);
    let ask = |jobs: &mpsc::Sender<Job>, size: usize| {
        let (answer, answered) = oneshot::channel();
        let job = CommitJob { preconditions: vec![], writes: put("a", &vec![7; size]), answer };
        jobs.try_send(Job::Commit(job)).unwrap_or_else(|_| panic!("the queue is long enough"));
        answered
    };
    let full = ask(&jobs, 60_000);
    let innocent = ask(&jobs, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| writer.run(queue));
        for answered in [full, innocent] {
            let answer = answered.blocking_recv().unwrap();
            assert!(
                matches!(&answer, Err(StoreError::NotStored(why)) if why.contains("full")),
                "{answer:?}"
            );
        }
        // The failed connection is gone, and its bound with it.
        assert_eq!(ask(&jobs, 60_000).blocking_recv().unwrap(), Ok(Revision(1)));
        drop(jobs);
    });
}

#[tokio::test]
async fn a_deletion_leaves_no_trace_in_the_files() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    let marker = b"a value that nobody may find again".repeat(40);
    store.commit(&[], &put("a", &marker)).await.unwrap();
    store.commit(&[], &put("b", b"kept")).await.unwrap();
    let holds_marker = || {
        std::fs::read_dir(&path).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(34).any(|window| window == &marker[..34])
        })
    };
    assert!(holds_marker());
    store.commit(&[], &[Write::Delete("a".into())]).await.unwrap();
    assert!(!holds_marker());
    assert_eq!(store.count("").await, Ok(1));
}

#[tokio::test]
async fn an_integrity_check_finds_damage() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.check_integrity().await.unwrap();
    for n in 0..64 {
        store.commit(&[], &put(&format!("record/{n}"), &[7; 500])).await.unwrap();
    }
    drop(store);
    let file = path.join("keyferry.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 4096..].fill(0xA5);
    std::fs::write(&file, bytes).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let error = store.check_integrity().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[test]
fn what_comes_after_a_prefix() {
    let rows = [
        ("", None),
        ("a", Some("b")),
        ("cmk/", Some("cmk0")),
        ("\u{7f}", Some("\u{80}")),
        ("\u{d7ff}", Some("\u{e000}")),
        ("a\u{10ffff}", Some("b")),
        ("\u{10ffff}", None),
    ];
    for (prefix, next) in rows {
        assert_eq!(succession(prefix).as_deref(), next, "{prefix:?}");
    }
}
