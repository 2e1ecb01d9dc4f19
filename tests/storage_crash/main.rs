//! The SQLite store after a killed process and after a power cut.
//!
//! A child of this test's own binary commits in a storm from several tasks and
//! tells of each commit that returned. Two ends are tried:
//!
//! - **SIGKILL** at random moments, several rounds over one store.
//! - **Power cut**: the child's system calls on the store's directory are
//!   written down by a small preloaded library; the parent plays them back to
//!   many points and there keeps only what was synced, with none, or a random
//!   part, sector by sector, of what was not.
//!
//! Either way: it opens, every acknowledged commit is there, and each commit
//! is there whole or not at all.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyferry::storage::{OpenStoreError, Precondition, Revision, SqliteStore, Store, Write};

const TASKS: u64 = 4;

/// The last commit acknowledged, or found, of each task.
type Last = [u64; 4];

fn put(path: String, value: Vec<u8>) -> Write {
    Write::Put(path, value)
}

/// The writes of commit `n` of a task: two places, of a size that varies.
fn payload(task: u64, n: u64) -> Vec<u8> {
    let size = usize::try_from((n * 37 + task * 11) % 900).unwrap() + 8;
    n.to_be_bytes().into_iter().cycle().take(size).collect()
}

fn twins(task: u64, n: u64) -> [String; 2] {
    [format!("storm/{task}/{n:08}/a"), format!("storm/{task}/{n:08}/b")]
}

fn last_path(task: u64) -> String {
    format!("last/{task}")
}

/// Those of a task's commits whose twins stand after commit `last`: each
/// eighth deletes eight earlier ones.
fn standing(last: u64) -> std::ops::RangeInclusive<u64> {
    (last / 8 * 8).saturating_sub(8) + 1..=last
}

fn writes_of(task: u64, n: u64) -> Vec<Write> {
    let mut writes = vec![put(last_path(task), n.to_be_bytes().to_vec())];
    writes.extend(twins(task, n).map(|path| put(path, payload(task, n))));
    if n >= 16 && n.is_multiple_of(8) {
        writes.extend((n - 15..=n - 8).flat_map(|old| twins(task, old)).map(Write::Delete));
    }
    writes
}

/// A task's last commit in the store, and its revision.
async fn last_of(store: &SqliteStore, task: u64) -> (u64, Option<Revision>) {
    let found = store.read(&[&last_path(task)]).await.unwrap().values.remove(0);
    match found {
        Some(found) => (u64::from_be_bytes(found.value.try_into().unwrap()), Some(found.revision)),
        None => (0, None),
    }
}

/// Whether the store is what these acknowledgements leave room for.
async fn judge(store: &SqliteStore, acknowledged: Last) -> Result<Last, String> {
    store.check_integrity().await.map_err(|error| error.to_string())?;
    let mut found = Last::default();
    for task in 0..TASKS {
        let index = usize::try_from(task).unwrap();
        let (last, _) = last_of(store, task).await;
        found[index] = last;
        if last < acknowledged[index] {
            return Err(format!("task {task}: {} acknowledged, {last} there", acknowledged[index]));
        }
        let page = store.list(&format!("storm/{task}/"), None, 1000).await.unwrap();
        let there: BTreeMap<_, _> =
            page.entries.into_iter().map(|(path, found)| (path, found.value)).collect();
        let due: BTreeMap<_, _> = standing(last)
            .flat_map(|n| twins(task, n).map(|path| (path, payload(task, n))))
            .collect();
        if there != due {
            return Err(format!("task {task}: commit {last} is torn: {:?}", there.keys()));
        }
    }
    Ok(found)
}

// The child.

/// Tells of one commit, in one write: a line is whole or not there.
type Tell = Arc<Mutex<File>>;

async fn storm_of(store: Arc<SqliteStore>, task: u64, commits: u64, tell: Tell) {
    let (mut n, mut revision) = last_of(&store, task).await;
    for _ in 0..commits {
        n += 1;
        let precondition = match revision {
            Some(revision) => Precondition::At(last_path(task), revision),
            None => Precondition::Absent(last_path(task)),
        };
        let made = store.commit(&[precondition], &writes_of(task, n)).await.unwrap();
        revision = Some(made);
        tell.lock().unwrap().write_all(format!("ack {task} {n}\n").as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "not a test: the child process of the others"]
async fn child() {
    let ask = |name: &str| std::env::var(name).expect("run by its parent");
    let store = Arc::new(SqliteStore::open(Path::new(&ask("STORM_DIR"))).unwrap());
    let tell = OpenOptions::new().append(true).create(true).open(ask("STORM_ACKS")).unwrap();
    let tell = Arc::new(Mutex::new(tell));
    let commits = ask("STORM_COMMITS").parse().unwrap();
    let storms: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(storm_of(Arc::clone(&store), task, commits, Arc::clone(&tell))))
        .collect();
    for storm in storms {
        storm.await.unwrap();
    }
    // No orderly end: the store is not closed.
    std::process::exit(0);
}

fn child_command(directory: &Path, acks: &Path, commits: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("STORM_DIR", directory)
        .env("STORM_ACKS", acks)
        .env("STORM_COMMITS", commits.to_string())
        .stdout(Stdio::null());
    command
}

fn note_ack(line: &str, last: &mut Last) {
    let mut words = line.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap());
    let task = usize::try_from(words.next().unwrap()).unwrap();
    last[task] = last[task].max(words.next().unwrap());
}

// SIGKILL.

/// Ends the child if the test ends before.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn acknowledged(acks: &Path) -> Last {
    let mut last = Last::default();
    for line in BufReader::new(File::open(acks).unwrap()).lines() {
        note_ack(&line.unwrap(), &mut last);
    }
    last
}

fn wait_for_more_than(acks: &Path, length: u64) {
    for _ in 0..1000 {
        if acks.metadata().is_ok_and(|file| file.len() > length) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the child acknowledges nothing");
}

/// Chance that can be had again: the seed is printed, and `STORM_SEED` sets it.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let drawn = uuid::Uuid::new_v4().as_u64_pair().0 | 1;
        let seed = std::env::var("STORM_SEED").map_or(drawn, |seed| seed.parse().unwrap());
        println!("STORM_SEED={seed}");
        Self(seed)
    }

    /// Below a bound (xorshift, 64 bits).
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let home = tempfile::tempdir().unwrap();
    let (directory, acks) = (home.path().join("store"), home.path().join("acks"));
    let mut random = Random::new();
    let mut before = Last::default();
    for round in 0..8 {
        let length = acks.metadata().map_or(0, |file| file.len());
        let child = Killed(child_command(&directory, &acks, u64::MAX).spawn().unwrap());
        wait_for_more_than(&acks, length);
        let refused = SqliteStore::open(&directory).unwrap_err();
        let OpenStoreError::HeldByAnother { process, .. } = refused else { panic!("{refused}") };
        assert_eq!(process, Some(child.0.id()));
        std::thread::sleep(Duration::from_micros(random.below(250_000)));
        drop(child);
        let acknowledged = acknowledged(&acks);
        let store = SqliteStore::open(&directory).unwrap();
        let found = judge(&store, acknowledged).await.unwrap();
        assert!(found.iter().sum::<u64>() > before.iter().sum::<u64>(), "round {round}");
        before = found;
    }
}

// Power cut.

/// One entry of the disk's journal.
struct Entry {
    kind: u8,
    name: String,
    offset: usize,
    data: Vec<u8>,
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let number = u64::from_ne_bytes(take(bytes, 8)?.try_into().unwrap());
    Some(usize::try_from(number).unwrap())
}

fn take_entry(bytes: &mut &[u8]) -> Option<Entry> {
    let kind = take(bytes, 1)?[0];
    let length = usize::from(take(bytes, 1)?[0]);
    let name = String::from_utf8(take(bytes, length)?.to_vec()).unwrap();
    let (offset, length) = (take_number(bytes)?, take_number(bytes)?);
    Some(Entry { kind, name, offset, data: take(bytes, length)?.to_vec() })
}

/// A change of a file's bytes that no sync has covered yet.
#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Cut(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Cut(length) => bytes.resize(*length, 0),
        }
    }

    /// The same in parts, each of which reaches the disk or does not.
    fn sectors(&self) -> Vec<Self> {
        match self {
            Self::Write(offset, data) => data
                .chunks(512)
                .enumerate()
                .map(|(n, sector)| Self::Write(offset + n * 512, sector.to_vec()))
                .collect(),
            Self::Cut(_) => vec![self.clone()],
        }
    }
}

/// A file as the disk has it, and what is on its way there.
#[derive(Default)]
struct DiskFile {
    bytes: Vec<u8>,
    pending: Vec<Change>,
    /// Whether the directory was synced since the file was made.
    named: bool,
    unlinked: bool,
}

#[derive(Default)]
struct Disk {
    files: BTreeMap<String, DiskFile>,
    acknowledged: Last,
    /// A disk that lies: it takes a sync and does nothing.
    ignores_syncs: bool,
}

impl Disk {
    fn follow(&mut self, entry: &Entry) {
        match (entry.kind, entry.name.as_str()) {
            (b'W', "acks") => {
                note_ack(std::str::from_utf8(&entry.data).unwrap().trim(), &mut self.acknowledged);
            }
            // The WAL's index is made anew from the WAL.
            (_, name) if name == "acks" || name.ends_with("-shm") => {}
            (b'S', _) if self.ignores_syncs => {}
            (b'S', "") => self.sync_names(),
            (b'U', name) => self.unlink(name),
            _ => self.change(entry),
        }
    }

    fn sync_names(&mut self) {
        self.files.retain(|_, file| !file.unlinked);
        self.files.values_mut().for_each(|file| file.named = true);
    }

    fn unlink(&mut self, name: &str) {
        let file = self.files.get_mut(name).unwrap();
        file.unlinked = true;
        if !file.named {
            self.files.remove(name);
        }
    }

    fn change(&mut self, entry: &Entry) {
        let file = self.files.entry(entry.name.clone()).or_default();
        match entry.kind {
            b'C' => *file = DiskFile::default(),
            b'W' => file.pending.push(Change::Write(entry.offset, entry.data.clone())),
            b'T' => file.pending.push(Change::Cut(entry.offset)),
            b'S' => file.pending.drain(..).for_each(|change| change.apply(&mut file.bytes)),
            kind => panic!("{kind}"),
        }
    }

    /// Leaves the files that are found when the power is back. `keeps` says for each thing that
    /// was not synced whether it got there all the same.
    fn cut_power(&self, directory: &Path, mut keeps: impl FnMut() -> bool) {
        for (name, file) in &self.files {
            let is_there = match (file.named, file.unlinked) {
                (true, false) => true,
                (false, _) => keeps(),
                (true, true) => !keeps(),
            };
            if !is_there {
                continue;
            }
            let mut bytes = file.bytes.clone();
            for part in file.pending.iter().flat_map(Change::sectors) {
                if keeps() {
                    part.apply(&mut bytes);
                }
            }
            let path = directory.join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
    }

    async fn judge_cut(&self, keeps: impl FnMut() -> bool) -> Result<Last, String> {
        let home = light_directory();
        self.cut_power(home.path(), keeps);
        let store = SqliteStore::open(home.path()).map_err(|error| error.to_string())?;
        let found = judge(&store, self.acknowledged).await?;
        // And it goes on working.
        let more = store.commit(&[], &[put("after".into(), b"x".to_vec())]).await;
        more.map_err(|error| error.to_string())?;
        Ok(found)
    }
}

/// In memory where there is such a place: hundreds of stores are opened, and
/// what is asked of these is not how well this machine's disk syncs.
fn light_directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn build_journal_library(home: &Path) -> PathBuf {
    let library = home.join("disk_journal.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage_crash/disk_journal.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .expect("a C compiler, as the build itself needs");
    assert!(built.success());
    library
}

/// A storm, as the disk saw it.
fn record(commits: u64) -> Vec<Entry> {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().canonicalize().unwrap().join("store");
    fs::create_dir(&directory).unwrap();
    let journal = home.path().join("journal");
    let mut command = child_command(&directory, &directory.join("acks"), commits);
    command
        .env("LD_PRELOAD", build_journal_library(home.path()))
        .env("DISK_JOURNAL", &journal)
        .env("DISK_JOURNAL_DIR", &directory);
    assert!(command.status().unwrap().success());
    let bytes = fs::read(journal).unwrap();
    let mut bytes = bytes.as_slice();
    let entries: Vec<_> = std::iter::from_fn(|| take_entry(&mut bytes)).collect();
    assert!(bytes.is_empty(), "the journal ends with a whole entry");
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_power_cut() {
    const COMMITS: u64 = 40;
    let entries = record(COMMITS);
    let mut random = Random::new();
    let every = u64::try_from(entries.len() / 120 + 1).unwrap();
    let mut disk = Disk::default();
    let mut cuts = 0;
    for (point, entry) in entries.iter().enumerate() {
        disk.follow(entry);
        // The file's making is short and delicate: every point of it.
        if point < 60 || random.below(every) == 0 {
            cuts += 1;
            disk.judge_cut(|| false).await.unwrap_or_else(|why| panic!("{point}, bare: {why}"));
            let odds = random.below(100);
            let keeps = || random.below(100) < odds;
            disk.judge_cut(keeps).await.unwrap_or_else(|why| panic!("{point}, {odds} %: {why}"));
        }
    }
    assert!(cuts > 100, "{cuts} of {} points", entries.len());
    assert_eq!(disk.acknowledged, [COMMITS; 4]);
    assert_eq!(disk.judge_cut(|| false).await.unwrap(), [COMMITS; 4]);
    a_disk_that_ignores_syncs_is_caught(&entries).await;
}

/// The test's own test: it does see what is lost.
async fn a_disk_that_ignores_syncs_is_caught(entries: &[Entry]) {
    let mut disk = Disk { ignores_syncs: true, ..Disk::default() };
    for entry in entries {
        disk.follow(entry);
    }
    disk.judge_cut(|| false).await.unwrap_err();
    assert_eq!(disk.judge_cut(|| true).await.unwrap(), disk.acknowledged);
}
