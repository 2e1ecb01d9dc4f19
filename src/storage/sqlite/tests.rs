//! Faults that only a look inside can show: failed COMMITs, full disks, plans.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;

use super::connection::CheckedConnection;
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
    let writer = opening::open_or_create(&directory).unwrap();
    let reader = CheckedConnection::reader(&directory).unwrap();
    let (writer, reader) = (writer.sqlite(), reader.sqlite());
    let ask = |connection: &Connection, pragma: &str| -> String {
        let sql = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(ask(writer, "journal_mode"), "wal");
    assert_eq!(ask(writer, "synchronous"), "2");
    assert_eq!(ask(writer, "secure_delete"), "1");
    assert_eq!(ask(reader, "query_only"), "1");
    for connection in [writer, reader] {
        assert_eq!(ask(connection, "trusted_schema"), "0");
        let checkpoints: i64 =
            connection.query_row("PRAGMA wal_autocheckpoint", [], |row| row.get(0)).unwrap();
        assert_eq!(checkpoints, 0);
        assert_eq!(ask(connection, "foreign_keys"), "0");
        for (switch, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        ] {
            assert_eq!(connection.db_config(switch).unwrap(), on, "{switch:?}");
        }
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

/// Makes COMMIT itself fail, or work again.
fn make_commits_fail(store: &SqliteStore, fail: bool) {
    store.status.failing.commits.store(fail, Ordering::SeqCst);
}

#[tokio::test]
async fn a_failed_commit_is_in_doubt_until_settled() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", b"one")).await.unwrap();
    make_commits_fail(&store, true);
    let failed = store.commit(&[], &put("b", b"two")).await;
    assert!(matches!(failed, Err(StoreError::MaybeStored(_))), "{failed:?}");
    assert!(store.status.is_in_doubt());
    // The first read settles it, and what it finds stays so.
    assert_eq!(store.read(&["b"]).await.unwrap().values, [None]);
    assert!(!store.status.is_in_doubt());
    make_commits_fail(&store, false);
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
    make_commits_fail(&store, true);
    store.commit(&[], &put("b", b"two")).await.unwrap_err();
    store.status.failing.settling.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let read = store.read(&["b"]).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        let commit = store.commit(&[], &put("c", b"x")).await;
        assert!(matches!(commit, Err(StoreError::NotStored(_))), "{commit:?}");
    }
    make_commits_fail(&store, false);
    store.status.failing.settling.store(false, Ordering::SeqCst);
    assert_eq!(store.read(&["b"]).await.unwrap().values, [None]);
    store.commit(&[], &put("b", b"two")).await.unwrap();
}

#[tokio::test]
async fn commit_settled_tells_that_a_failed_commit_was_not_stored() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    make_commits_fail(&store, true);
    let result = commit_settled(&store, &[], &put("b", b"two")).await;
    assert!(matches!(result, Err(StoreError::NotStored(_))), "{result:?}");
}

/// A writer whose first connection has no more room: SQLite says "disk is full"
/// where a file has all the pages that it may have. The next one has room again.
struct FullDisk {
    _home: TempDir,
    reserve: PathBuf,
    jobs: mpsc::Sender<Job>,
    writer: JoinHandle<()>,
}

impl FullDisk {
    fn new() -> Self {
        let (home, path) = home();
        let directory = Arc::new(Directory::hold(&path).unwrap());
        let connection = opening::open_or_create(&directory).unwrap();
        let bounded = connection.sqlite();
        let pages: i64 = bounded.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        bounded.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        let reserve = Reserve::keep(directory.reserve(), RESERVE_BYTES, "a test");
        let readers = Arc::new(Readers::new(Arc::clone(&directory)));
        let writer = Writer::new(directory, readers, connection, reserve, Arc::default()).unwrap();
        let (jobs, queue) = mpsc::channel(9);
        let writer = std::thread::spawn(move || writer.run(queue));
        Self { _home: home, reserve: path.join("keyferry.reserve"), jobs, writer }
    }

    fn ask(&self, size: usize, urgent: bool) -> oneshot::Receiver<Result<Revision, StoreError>> {
        let (answer, answered) = oneshot::channel();
        let writes = put("a", &vec![7; size]);
        let job = CommitJob { preconditions: vec![], writes, urgent, answer };
        self.jobs.try_send(Job::Commit(job)).unwrap_or_else(|_| panic!("the queue is long enough"));
        answered
    }

    fn close(self) {
        drop(self.jobs);
        self.writer.join().unwrap();
    }
}

fn is_full(answer: &Result<Revision, StoreError>) -> bool {
    matches!(answer, Err(StoreError::NotStored(why)) if why.contains("full"))
}

#[test]
fn a_full_disk_is_not_stored_and_leaves_the_writer_working() {
    let disk = FullDisk::new();
    let answer = disk.ask(60_000, false).blocking_recv().unwrap();
    assert!(is_full(&answer), "{answer:?}");
    assert!(disk.reserve.exists(), "room is not given up for just any commit");
    // The failed connection is gone, and its bound with it.
    assert_eq!(disk.ask(60_000, false).blocking_recv().unwrap(), Ok(Revision(1)));
    disk.close();
}

#[test]
fn the_room_that_is_kept_is_given_up_for_an_urgent_commit() {
    let disk = FullDisk::new();
    assert_eq!(disk.reserve.metadata().unwrap().len(), 16 << 20);
    assert_eq!(disk.ask(60_000, true).blocking_recv().unwrap(), Ok(Revision(1)));
    assert_eq!(disk.reserve.metadata().unwrap().len(), 0);
    // There is room in truth, so that it is kept again and others are served.
    assert_eq!(disk.ask(60_000, false).blocking_recv().unwrap(), Ok(Revision(2)));
    assert_eq!(disk.reserve.metadata().unwrap().len(), 16 << 20);
    disk.close();
}

/// Whether any file of the store holds these bytes.
/// The log is read before the database, into which it may move meanwhile.
fn holds(directory: &Path, marker: &[u8]) -> bool {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort_unstable_by(|one, other| other.cmp(one));
    files.into_iter().any(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(marker.len()).any(|window| window == marker)
    })
}

async fn no_longer_holds(directory: &Path, marker: &[u8]) {
    let until = Instant::now() + Duration::from_secs(20);
    while holds(directory, marker) {
        assert!(Instant::now() < until, "the deleted value is still in a file");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const MARKER: &[u8] = b"a value that nobody may find again";

#[tokio::test]
async fn a_deletion_leaves_no_trace_in_the_files() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", &MARKER.repeat(40))).await.unwrap();
    store.commit(&[], &put("b", b"kept")).await.unwrap();
    assert!(holds(&path, MARKER));
    store.commit(&[], &[Write::Delete("a".into())]).await.unwrap();
    no_longer_holds(&path, MARKER).await;
    assert_eq!(store.count("").await, Ok(1));
}

/// A backup reads for an hour: no commit waits for it, and what was deleted goes
/// from the log when it has ended, without another commit.
#[tokio::test]
async fn a_foreign_reader_is_in_the_way_of_no_commit() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", &MARKER.repeat(40))).await.unwrap();
    let mut backup = intruder(&path);
    let reading = backup.transaction().unwrap();
    reading.query_row("SELECT count(*) FROM record", [], |row| row.get::<_, i64>(0)).unwrap();
    let commits = [vec![Write::Delete("a".into())], put("b", b"x"), put("c", b"x"), put("b", b"y")];
    for writes in commits {
        let began = Instant::now();
        store.commit(&[], &writes).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    assert!(holds(&path, MARKER), "it is still read");
    reading.commit().unwrap();
    no_longer_holds(&path, MARKER).await;
}

/// A backup reads while much is written: the log that it leaves behind is moved whole
/// and cut, and nothing is lost.
#[tokio::test]
async fn a_log_that_grew_long_is_moved() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", &MARKER.repeat(40))).await.unwrap();
    let mut backup = intruder(&path);
    let reading = backup.transaction().unwrap();
    reading.query_row("SELECT count(*) FROM record", [], |row| row.get::<_, i64>(0)).unwrap();
    store.commit(&[], &[Write::Delete("a".into())]).await.unwrap();
    let value = vec![7; 60_000];
    for n in 0..400 {
        store.commit(&[], &put(&format!("b/{n}"), &value)).await.unwrap();
    }
    let log = || path.join("keyferry.db-wal").metadata().unwrap().len();
    assert!(log() > 20 << 20, "{}", log());
    reading.commit().unwrap();
    no_longer_holds(&path, MARKER).await;
    assert_eq!(log(), 0);
    assert_eq!(store.count("b/").await, Ok(400));
    assert_eq!(store.read(&["b/399"]).await.unwrap().values[0].as_ref().unwrap().value, value);
}

/// Commits and reads without a pause: at every moment a read is under way that
/// began after the last commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_readers_do_not_keep_deleted_values_in_the_log() {
    let (_home, path) = home();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    store.commit(&[], &put("a", &MARKER.repeat(40))).await.unwrap();
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut busy = tokio::task::JoinSet::new();
    for reads in [false, true, true, true] {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        busy.spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                if reads {
                    let slow = store.reading(|snapshot| {
                        let revision = queries::current_revision(snapshot)?;
                        std::thread::sleep(Duration::from_millis(50));
                        Ok(revision)
                    });
                    slow.await.unwrap();
                } else {
                    store.commit(&[], &put("b", b"x")).await.unwrap();
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.commit(&[], &[Write::Delete("a".into())]).await.unwrap();
    no_longer_holds(&path, MARKER).await;
    ended.store(true, Ordering::SeqCst);
    while let Some(task) = busy.join_next().await {
        task.unwrap();
    }
}

/// Without SQLite's own checkpoints the log is still kept short.
#[tokio::test]
async fn the_log_does_not_grow_without_end() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    let value = vec![7; 60_000];
    for n in 0..400 {
        store.commit(&[], &put(&format!("record/{}", n % 7), &value)).await.unwrap();
    }
    let log = path.join("keyferry.db-wal").metadata().unwrap().len();
    assert!(log < 16 << 20, "{log} bytes of log, where 400 commits wrote 24 MB");
}

/// Objects that an attacker could put beside our tables, or instead of one.
const ALTERATIONS: [&str; 9] = [
    "CREATE TRIGGER undo AFTER UPDATE ON record
     BEGIN UPDATE record SET value = OLD.value WHERE id = NEW.id; END",
    "CREATE VIEW seen AS SELECT * FROM record",
    "CREATE TABLE other (x)",
    "CREATE INDEX record_revision ON record (revision)",
    "DROP INDEX record_path; CREATE UNIQUE INDEX record_path ON record (path COLLATE NOCASE)",
    "DROP INDEX record_path",
    "DROP TABLE record;
     CREATE TABLE record (id INTEGER PRIMARY KEY, path TEXT UNIQUE ON CONFLICT IGNORE,
                          revision INTEGER, value BLOB);
     CREATE UNIQUE INDEX record_path ON record (path)",
    "ALTER TABLE change ADD COLUMN x TEXT",
    "ANALYZE",
];

#[tokio::test]
async fn a_schema_that_is_not_ours_to_the_letter_is_refused() {
    for alteration in ALTERATIONS {
        let (_home, path) = home();
        let store = SqliteStore::open(&path).unwrap();
        store.commit(&[], &put("a", b"x")).await.unwrap();
        drop(store);
        intruder(&path).execute_batch(alteration).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, OpenStoreError::Altered { .. }), "{alteration}: {error}");
    }
}

#[tokio::test]
async fn a_schema_altered_under_an_open_store_stops_it() {
    for alteration in ALTERATIONS {
        let (_home, path) = home();
        let store = SqliteStore::open(&path).unwrap();
        store.commit(&[], &put("a", b"one")).await.unwrap();
        store.read(&["a"]).await.unwrap();
        intruder(&path).execute_batch(alteration).unwrap();
        let commit = store.commit(&[], &put("a", b"two")).await;
        assert!(matches!(commit, Err(StoreError::Damaged(_))), "{alteration}: {commit:?}");
        let read = store.read(&["a"]).await;
        assert!(matches!(read, Err(StoreError::Damaged(_))), "{alteration}: {read:?}");
        assert!(store.probe().await.is_err());
    }
}

/// Puts another table, filled as ours is now, into the place of ours, under the old
/// number of the schema. Its text is ours to the letter.
const SWAP: &str = "
    CREATE TABLE copy (id INTEGER PRIMARY KEY, path TEXT NOT NULL, revision INTEGER NOT NULL,
                       value BLOB NOT NULL) STRICT;
    INSERT INTO copy SELECT * FROM record;
    PRAGMA writable_schema = ON;
    UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'copy')
        WHERE name = 'record';
    DELETE FROM sqlite_schema WHERE name = 'copy';";

/// Those who are connected go on with the old table, those who come read the new one.
#[tokio::test]
async fn a_table_that_was_replaced_under_the_old_number_is_found() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", b"one")).await.unwrap();
    let file = intruder(&path);
    let number: i64 = file.query_row("PRAGMA schema_version", [], |row| row.get(0)).unwrap();
    file.execute_batch(&format!("{SWAP} PRAGMA schema_version = {number}")).unwrap();
    let commit = store.commit(&[], &put("a", b"two")).await;
    assert!(matches!(commit, Err(StoreError::Damaged(_))), "{commit:?}");
    assert!(store.probe().await.is_err());
}

/// A release wrote this file. Each later one opens it, and neither takes it for
/// altered: the texts of its schema are compared to the letter.
#[tokio::test]
async fn a_store_of_format_1_is_opened() {
    let (_home, path) = home();
    drop(Directory::hold(&path).unwrap());
    let released = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/store_format_1.db");
    std::fs::copy(released, path.join("keyferry.db")).unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path.join("keyferry.db"), mode).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let read = store.read(&["a", "b"]).await.unwrap();
    assert_eq!(read.revision, Revision(3));
    let values: Vec<_> = read.values.into_iter().map(|found| found.map(|it| it.value)).collect();
    assert_eq!(values, [Some(b"two".to_vec()), None]);
    assert_eq!(store.changes_since(Revision(1)).await.unwrap().paths, ["a", "b"]);
    assert_eq!(store.commit(&[], &put("b", b"three")).await, Ok(Revision(4)));
}

/// Another program may pack the file: its schema stays as it is.
#[tokio::test]
async fn a_file_that_was_packed_is_still_ours() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", b"one")).await.unwrap();
    intruder(&path).execute_batch("VACUUM").unwrap();
    assert_eq!(store.commit(&[], &put("a", b"two")).await, Ok(Revision(2)));
    store.probe().await.unwrap();
    drop(store);
    SqliteStore::open(&path).unwrap();
}

/// One path thrice in the index, the schema put right again: writes go to one of
/// them, and reads find another.
#[tokio::test]
async fn a_write_that_cannot_be_read_back_is_not_made() {
    let (_home, path) = home();
    let store = SqliteStore::open(&path).unwrap();
    store.commit(&[], &put("a", b"one")).await.unwrap();
    drop(store);
    let rewrite = |unique: &str| {
        intruder(&path)
            .execute_batch(&format!(
                "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = 'CREATE {unique}INDEX record_path ON record (path)'
                 WHERE name = 'record_path'"
            ))
            .unwrap();
    };
    rewrite("");
    let twice =
        "INSERT INTO record (path, revision, value) SELECT path, revision, value FROM record";
    intruder(&path).execute_batch(&format!("{twice} LIMIT 1; {twice} LIMIT 1")).unwrap();
    rewrite("UNIQUE ");
    let store = SqliteStore::open(&path).unwrap();
    let commit = store.commit(&[], &put("a", b"two")).await;
    assert!(matches!(commit, Err(StoreError::Damaged(_))), "{commit:?}");
    assert!(store.probe().await.is_err());
}

/// Caches and preconditions go by revisions: they rise, and never come again.
#[tokio::test]
async fn revisions_turned_by_sql_are_found() {
    for revision in [i64::MAX, 1, 0] {
        let (_home, path) = home();
        let store = SqliteStore::open(&path).unwrap();
        store.commit(&[], &put("a", b"one")).await.unwrap();
        store.commit(&[], &put("b", b"two")).await.unwrap();
        let turn = format!("UPDATE store SET revision = {revision}");
        intruder(&path).execute_batch(&turn).unwrap();
        let commit = store.commit(&[], &put("a", b"two")).await;
        assert!(matches!(commit, Err(StoreError::Damaged(_))), "{revision}: {commit:?}");
        drop(store);
        if revision == 0 {
            let store = SqliteStore::open(&path).unwrap();
            let read = store.read(&["a"]).await;
            assert!(matches!(read, Err(StoreError::Damaged(_))), "{read:?}");
        }
    }
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
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(store.probe().await.is_err());
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
