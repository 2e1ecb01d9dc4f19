//! A full disk stops changes, never reads or refusals; and a key can be disabled
//! on it.
//!
//! The disk is a small one of the test's own, in a namespace of its own: this
//! binary runs itself there. Where the system permits neither that, the files of
//! that process may not grow instead, which no reserve can help.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use keyferry::audit::entry::Kind;
use keyferry::config::Config;
use keyferry::error::{Error, Rule};
use keyferry::instance;
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::storage::{SqliteStore, Store, StoreError, Write};

use crate::audit::world::World;
use crate::support::dev_caller;

const DISK: &str = "KEYFERRY_TEST_FULL_DISK";
const BOUNDED: &str = "KEYFERRY_TEST_BOUNDED_FILES";
const DISK_BYTES: u64 = 48 << 20;
/// In the output of a run that came to its end.
const DONE: &str = "the full disk was met";

fn run_inside(test: &str, wrap: &[&str], environment: &str, folder: &Path) -> Output {
    let this = std::env::current_exe().unwrap();
    Command::new(wrap[0])
        .args(&wrap[1..])
        .arg(this)
        .args(["--exact", &format!("full_disk::{test}"), "--nocapture"])
        .env(environment, folder)
        .output()
        .unwrap()
}

/// The folder that the parent told.
#[expect(clippy::disallowed_methods, reason = "a parent tells its child so alone")]
fn told(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(Into::into)
}

/// Runs a test again on a small disk: where it is found, its folder is given.
fn on_small_disk(test: &str) -> Option<PathBuf> {
    if let Some(folder) = told(DISK).or_else(|| told(BOUNDED)) {
        return Some(folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size={DISK_BYTES} tmpfs \"${DISK}\" && exec \"$@\"");
    let mut outputs = Vec::new();
    for unshare in [["unshare", "-m"].as_slice(), &["unshare", "-rm"]] {
        let wrap = [unshare, &["sh", "-c", &mount, "sh"]].concat();
        outputs.push(run_inside(test, &wrap, DISK, folder.path()));
        if was_mounted(outputs.last().unwrap()) {
            break;
        }
    }
    if !was_mounted(outputs.last().unwrap()) {
        println!("left out: a disk that gives room back (no namespace for it)");
        let wrap = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
        outputs.push(run_inside(test, &wrap, BOUNDED, folder.path()));
    }
    let output = outputs.pop().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(DONE), "{said}\n{errors}\n{outputs:?}");
    None
}

/// Whether the test ran at all.
fn was_mounted(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("running 1 test")
}

/// Takes all room; whether it can be given back.
fn fill(folder: &Path) -> Option<PathBuf> {
    if told(DISK).is_none() {
        let now = Some(1);
        let limit = rustix::process::Rlimit { current: now, maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
        return None;
    }
    let path = folder.join("filler");
    let mut filler = std::fs::File::create(&path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while filler.write_all(&vec![7; size]).is_ok() {}
    }
    Some(path)
}

async fn create_key(services: &Services) -> Result<String, Error> {
    let created = services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await?;
    Ok(created.key_metadata.unwrap().key_id)
}

async fn state(services: &Services, key_id: &str) -> Result<String, Rule> {
    let request = v1::DescribeKeyRequest { key_id: key_id.into(), dry_run: false };
    let described = services.describe_key(&dev_caller(), request).await;
    described.map(|answer| answer.key_metadata.unwrap().key_state).map_err(|error| error.rule())
}

async fn disable(services: &Services, key_id: &str) -> Result<(), Error> {
    let request = v1::DisableKeyRequest { key_id: key_id.into(), dry_run: false };
    services.disable_key(&dev_caller(), request).await.map(drop)
}

async fn refused_for_room(services: &Services) {
    for _ in 0..10_000 {
        if let Err(error) = create_key(services).await {
            assert_eq!(error.rule(), Rule::StoreUnreachable);
            return;
        }
    }
    panic!("the disk is not full");
}

#[tokio::test]
async fn a_full_disk_stops_changes_and_neither_reads_nor_refusals_nor_disabling() {
    let test = "a_full_disk_stops_changes_and_neither_reads_nor_refusals_nor_disabling";
    let Some(folder) = on_small_disk(test) else { return };
    let data = folder.join("data");
    let config = Config::dev(&data, Some("127.0.0.1:0")).unwrap();
    let services = instance::open(&config).await.unwrap();
    let (one, two) = (create_key(&services).await.unwrap(), create_key(&services).await.unwrap());
    let encrypt =
        v1::EncryptRequest { key_id: one.clone(), plaintext: vec![7], ..Default::default() };
    let blob = services.encrypt(&dev_caller(), encrypt).await.unwrap().ciphertext_blob;
    let reserve = data.join("store/keyferry.reserve");
    assert_eq!(reserve.metadata().unwrap().len(), 16 << 20);
    drop(services);

    // Nothing is kept in memory.
    let services = instance::open(&config).await.unwrap();
    let filler = fill(&folder);
    refused_for_room(&services).await;
    assert_eq!(state(&services, &one).await.as_deref(), Ok("Enabled"));
    let decrypt = v1::DecryptRequest { ciphertext_blob: blob, ..Default::default() };
    assert_eq!(services.decrypt(&dev_caller(), decrypt).await.unwrap().plaintext, [7]);
    let unknown = "01890000-0000-7000-8000-000000000000";
    assert_eq!(state(&services, unknown).await, Err(Rule::KeyNotFound));
    assert!(services.is_healthy().await);
    assert_eq!(reserve.metadata().unwrap().len(), 16 << 20, "not for just any change");
    let Some(filler) = filler else { return println!("{DONE}") };

    disable(&services, &one).await.unwrap();
    assert_eq!(state(&services, &one).await.as_deref(), Ok("Disabled"));
    assert_eq!(create_key(&services).await.unwrap_err().rule(), Rule::StoreUnreachable);
    disable(&services, &two).await.unwrap();
    drop(services);
    let services = instance::open(&config).await.unwrap();
    for key in [&one, &two] {
        assert_eq!(state(&services, key).await.as_deref(), Ok("Disabled"));
    }
    let refused = create_key(&services).await.unwrap_err();
    assert_eq!(refused.rule(), Rule::StoreUnreachable, "what is left is still kept");
    std::fs::remove_file(filler).unwrap();
    drop(services);
    let services = instance::open(&config).await.unwrap();
    create_key(&services).await.unwrap();
    assert_eq!(reserve.metadata().unwrap().len(), 16 << 20, "room is kept again");
    println!("{DONE}");
}

/// A store that nobody has read yet when the disk is full, and one that is opened
/// then.
#[tokio::test]
async fn a_full_disk_lets_a_store_be_read_that_nobody_has_read_before() {
    let test = "a_full_disk_lets_a_store_be_read_that_nobody_has_read_before";
    let Some(folder) = on_small_disk(test) else { return };
    let path = folder.join("store");
    let put = |path: String| [Write::Put(path, vec![7; 60_000])];
    SqliteStore::open(&path).unwrap().commit(&[], &put("a".into())).await.unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let filler = fill(&folder);
    let mut number = 0;
    let failed = loop {
        match store.commit(&[], &put(format!("b/{number}"))).await {
            Ok(_) => number += 1,
            Err(failed) => break failed,
        }
        assert!(number < 10_000, "the disk is not full");
    };
    assert!(matches!(failed, StoreError::NotStored(_)), "{failed:?}");
    let values = store.read(&["a", &format!("b/{number}")]).await.unwrap().values;
    assert_eq!(values.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    drop(store);
    if filler.is_some() {
        let store = SqliteStore::open(&path).unwrap();
        assert!(store.read(&["a"]).await.unwrap().values[0].is_some());
        assert_eq!(store.count("").await.unwrap(), number + 1);
    }
    println!("{DONE}");
}

/// On a disk of its own that is full, the audit log stops everything but what needs no
/// line; with room again, it goes on by itself, and what was answered is in it.
#[tokio::test]
async fn a_full_disk_stops_all_that_must_be_recorded_until_there_is_room() {
    let test = "a_full_disk_stops_all_that_must_be_recorded_until_there_is_room";
    let Some(folder) = on_small_disk(test) else { return };
    let mut world = World::new().await;
    world.settings.directory = folder.join("audit");
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    let Some(filler) = fill(&folder) else {
        println!("{DONE}");
        return;
    };
    let mut answered = 0;
    // A page of the file may have room left.
    let refused = loop {
        match run.generate(&key_id).await {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
        assert!(answered < 10_000, "the disk is not full");
    };
    assert_eq!(refused.rule(), Rule::AuditUnavailable);
    assert!(run.log.fault().is_some());
    // The room that is kept is for what takes a permission away.
    for _ in 0..20 {
        run.generate(&key_id).await.unwrap_err();
        run.set_enabled(&key_id, true).await.unwrap_err();
    }
    run.set_enabled(&key_id, false).await.unwrap();
    assert!(run.log.fault().is_some(), "it is still told of");
    std::fs::remove_file(filler).unwrap();
    let mut is_enabled = false;
    for _ in 0..200 {
        is_enabled = is_enabled || run.set_enabled(&key_id, true).await.is_ok();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(is_enabled, "the log is not written again");
    run.recovered(&key_id).await;
    answered += 1;
    run.stop().await;
    world.assert_intact();
    let ok = world.of_kind(Kind::Decision).into_iter().filter(|it| {
        it.rpc.as_deref() == Some("Kms/GenerateDataKeyWithoutPlaintext")
            && it.outcome.as_deref() == Some("ok")
    });
    assert!(ok.count() >= answered, "each that was answered");
    println!("{DONE}");
}
