//! A directory of policies that is changed while it is looked at: half of a change never
//! decides.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keyferry::access::grant::PolicyDigest;
use keyferry::policy_dir::{Look, PolicyDir, Reader, load};
use tempfile::TempDir;

const PERMIT: &str = "@id(\"all\") permit (principal, action, resource);";
const FORBID: &str = "@id(\"none\") forbid (principal in Group::\"guests\", action, resource);";
const GROUPS: &str = "guests = [\"unix:7\"]\n";

/// A folder with these files, each written whole.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), files);
    folder
}

fn put(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
}

fn digest(files: &[(&str, &str)]) -> PolicyDigest {
    load(folder(files).path(), Reader::Server).unwrap().digest()
}

#[test]
fn a_change_is_taken_when_two_looks_agree() {
    let folder = folder(&[("a.cedar", PERMIT)]);
    let mut dir = PolicyDir::open(folder.path()).unwrap();
    let policy = dir.policy();
    let before = policy.digest();
    assert_eq!(dir.look(false), Look::Nothing);
    put(folder.path(), &[("groups.toml", GROUPS)]);
    assert_eq!(dir.look(false), Look::Nothing);
    // It goes on: what the first look found is not there any more.
    put(folder.path(), &[("b.cedar", FORBID)]);
    assert_eq!(dir.look(false), Look::Nothing);
    assert_eq!(policy.digest(), before);
    assert_eq!(dir.look(false), Look::Taken);
    let both = digest(&[("a.cedar", PERMIT), ("b.cedar", FORBID), ("groups.toml", GROUPS)]);
    assert_eq!(policy.digest(), both);
    assert_eq!((dir.standing().taken(), dir.standing().refused()), (1, 0));
}

#[test]
fn what_is_not_usable_is_told_and_changes_nothing() {
    let folder = folder(&[("a.cedar", PERMIT)]);
    let mut dir = PolicyDir::open(folder.path()).unwrap();
    let (policy, standing) = (dir.policy(), dir.standing());
    let before = policy.digest();
    // The group is not there yet.
    put(folder.path(), &[("b.cedar", FORBID)]);
    assert!(matches!(dir.look(true), Look::Refused(_)));
    assert!(!standing.is_usable() && policy.digest() == before);
    fs::remove_file(folder.path().join("b.cedar")).unwrap();
    assert_eq!(dir.look(false), Look::Nothing);
    assert!(standing.is_usable(), "it was taken back");
    put(folder.path(), &[("b.cedar", FORBID), ("groups.toml", GROUPS)]);
    assert_eq!(dir.look(true), Look::Taken);
    assert!(standing.is_usable() && policy.digest() != before);
    assert_eq!((standing.taken(), standing.refused()), (1, 1));
}

/// Somebody copies one of two sets after the other, file by file and each in two pieces,
/// while the directory is looked at. A part of a set that happens to be a set would decide
/// only if two looks agreed on it, and the copy waits nowhere.
#[test]
fn a_directory_that_is_being_copied_never_decides() {
    let one = [("a.cedar", PERMIT), ("b.cedar", FORBID), ("groups.toml", GROUPS)];
    let groups = "guests = [\"unix:7\", \"unix:8\"]\nothers = [\"unix:9\"]\n";
    let other = [("a.cedar", PERMIT), ("b.cedar", FORBID), ("groups.toml", groups)];
    let whole = [digest(&one), digest(&other)];
    let folder = folder(&one);
    let mut dir = PolicyDir::open(folder.path()).unwrap();
    let policy = dir.policy();
    let (path, done) = (folder.path().to_owned(), AtomicBool::new(false));
    let mut taken = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..8 {
                let set = if round % 2 == 0 { other } else { one };
                for (name, text) in set {
                    let (begin, rest) = text.split_at(text.len() / 2);
                    fs::write(path.join(name), begin).unwrap();
                    fs::write(path.join(name), [begin, rest].concat()).unwrap();
                }
                thread::sleep(Duration::from_millis(400));
            }
            done.store(true, Ordering::SeqCst);
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done.load(Ordering::SeqCst) && Instant::now() < deadline {
            if dir.look(false) == Look::Taken {
                taken += 1;
            }
            assert!(whole.contains(&policy.digest()), "a part of a set decides");
            thread::sleep(Duration::from_millis(100));
        }
    });
    assert!(taken > 0, "whole sets are taken");
}
