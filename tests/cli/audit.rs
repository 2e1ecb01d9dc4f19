//! `keyferry audit …` over the files of a log.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, LIMIT, keyferry, run};
use crate::support::sample_log::{BILLING, KEY, RECIPIENT, STRANGER, SampleLog, lines, name};

fn saved(log: &SampleLog) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    log.save(home.path());
    home
}

fn verify(log: &SampleLog, path: &Path, more: &[&str]) -> Ended {
    let key = log.verifier().to_string();
    run(keyferry(["audit", "verify", "--checkpoint-key", &key]).args(more).arg(path))
}

fn show(path: &Path, more: &[&str]) -> Ended {
    run(keyferry(["audit", "show"]).arg(path).args(more))
}

/// The values of a member in lines of JSON.
fn all(ended: &Ended, member: &str) -> Vec<Value> {
    let text = ended.text();
    let values = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.map(|value| value[member].clone()).collect()
}

#[test]
fn an_intact_log_is_summed_up() {
    let log = SampleLog::example();
    let home = saved(&log);
    let ended = verify(&log, home.path(), &[]).done();
    let text = ended.text();
    assert!(text.contains("Nothing is missing"), "{text}");
    assert!(text.contains("All lines are signed"), "{text}");
    let files: Vec<_> = (1..4).map(|number| home.path().join(name(number))).collect();
    let key = home.path().join("key");
    fs::write(&key, format!("{}\n", log.verifier())).unwrap();
    let note = home.path().join("note");
    fs::write(&note, &log.note).unwrap();
    let key = format!("@{}", key.display());
    // Given in another order, they are taken by their numbers.
    let mut command = keyferry(["audit", "verify", "--json", "--key", &key, "--checkpoint"]);
    let found = run(command.arg(note).args(files.iter().rev())).done().json();
    assert_eq!(found["intact"], true);
    assert_eq!(found["files"], 3);
    assert_eq!(found["lines"], log.head.seq);
    assert_eq!(found["first"]["time"], "2026-11-27T10:00:00.100001Z");
    assert_eq!(found["last"]["seq"], log.head.seq);
    assert_eq!(found["ends_with_stop"], true);
    assert_eq!(found["flaws"], serde_json::json!([]));
}

#[test]
fn flaws_are_told_with_their_places() {
    let log = SampleLog::example();
    let home = saved(&log);
    let path = home.path().join(name(1));
    let mut all = lines(&fs::read(&path).unwrap());
    all.remove(4);
    let text = String::from_utf8(all[6].clone()).unwrap();
    all[6] = text.replace("2026", "2062").into_bytes();
    fs::write(&path, all.concat()).unwrap();
    let ended = verify(&log, home.path(), &[]);
    ended.failed(
        1,
        &[
            "audit-00000001.jsonl, line 5 (number 6): line 5 is missing",
            "audit-00000001.jsonl, line 7 (number 8): ",
            "error: The log has 2 flaws.",
            "help: ",
        ],
    );
    let found = verify(&log, home.path(), &["--json"]);
    found.failed(1, &["\"exit_code\":1"]);
    let found = found.json();
    assert_eq!((&found["intact"], &found["flaw_count"]), (&false.into(), &2.into()));
    assert_eq!(found["flaws"][0]["flaw"], "missing");
    assert_eq!((&found["flaws"][0]["from"], &found["flaws"][0]["to"]), (&5.into(), &5.into()));
    assert_eq!(found["flaws"][0]["line"], 5);
}

#[test]
fn a_cut_is_found_by_a_kept_checkpoint_and_reach_is_told_without() {
    let log = SampleLog::example();
    let home = saved(&log);
    let note = home.path().join("note");
    let shown = show(home.path(), &["--kind", "checkpoint", "--limit", "1", "--json"]).done();
    assert_eq!(all(&shown, "note"), [log.note.as_str()]);
    fs::write(&note, &log.note).unwrap();
    let last = home.path().join(name(3));
    let mut kept = lines(&fs::read(&last).unwrap());
    kept.truncate(kept.len() - 2);
    fs::write(&last, kept.concat()).unwrap();
    let note = note.to_str().unwrap();
    let cut = verify(&log, home.path(), &["--checkpoint", note]);
    cut.failed(1, &["the log was cut", "covers line"]);
    let text = verify(&log, home.path(), &[]).done().text();
    assert!(text.contains("3 lines after the last checkpoint"), "{text}");
    assert!(text.contains("did not end in order"), "{text}");
}

#[test]
fn what_cannot_be_verified_with_or_read_is_refused() {
    let log = SampleLog::example();
    let home = saved(&log);
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let path = home.path().to_str().unwrap();
    let verify = |args: &[&str]| run(keyferry(["audit", "verify"]).args(args).arg(path));
    verify(&[]).failed(64, &["--checkpoint-key"]);
    verify(&["--key", "x"]).failed(64, &["not the public key of an audit log", "help: It begins"]);
    let key = format!("@{}", file("key", "x"));
    verify(&["--key", &key]).failed(65, &["does not hold the public key of an audit log"]);
    verify(&["--key", "@/absent"]).failed(65, &["/absent"]);
    let key = log.verifier().to_string();
    let note = file("note", &log.note.replacen("time 2026", "time 2027", 1));
    verify(&["--key", &key, "--checkpoint", &note])
        .failed(65, &["does not hold a checkpoint that this key signed"]);
    let empty = tempfile::tempdir().unwrap();
    for command in ["show", "report"] {
        run(keyferry(["audit", command]).arg(empty.path()))
            .failed(65, &["There is no file of an audit log."]);
        run(&mut keyferry(["audit", command, "/absent"])).failed(65, &["/absent cannot be read"]);
    }
    run(&mut keyferry(["audit", "show", path, "--since", "yesterday"])).failed(64, &["not a time"]);
    run(&mut keyferry(["audit", "show", path, "--since", "1h", "--until", "2h"]))
        .failed(64, &["--until is not after --since"]);
}

#[test]
fn lines_are_shown_by_what_is_asked_for() {
    let log = SampleLog::example();
    let home = saved(&log);
    let count = |more: &[&str]| {
        let shown = show(home.path(), &[more, &["--json"]].concat()).done();
        shown.text().lines().count()
    };
    assert_eq!(count(&[]) as u64, log.head.seq);
    assert_eq!(count(&["--kind", "checkpoint"]), 6);
    assert_eq!(count(&["--kind", "start", "--kind", "stop"]), 3);
    assert_eq!(count(&["--rpc", "ExportDataKey"]), 5);
    assert_eq!(count(&["--principal", STRANGER]), 1);
    assert_eq!(count(&["--denied"]), 2);
    assert_eq!(count(&["--outcome", "ok", "--principal", BILLING]), 5);
    assert_eq!(count(&["--recipient", &RECIPIENT.to_uppercase()]), 5);
    assert_eq!(count(&["--key", KEY, "--limit", "3"]), 3);
    assert_eq!(count(&["--key", "other"]), 0);
    assert_eq!(
        count(&["--since", "2026-11-27T10:00:00.300001Z", "--until", "2026-11-27T10:00:00.5Z"]),
        2
    );
    assert_eq!(count(&["--utc", "--until", "2026-11-27"]), 0);
    show(home.path(), &["--key", "other"]).done();
}

#[test]
fn a_table_is_for_people_and_hostile_text_steers_nothing() {
    let mut log = SampleLog::new();
    log.begin_file("start");
    log.start();
    log.export("\u{1b}[2Jevil\u{202e}", KEY, false);
    let home = saved(&log);
    let text = show(home.path(), &["--utc"]).done().text();
    let rows: Vec<_> = text.lines().collect();
    assert!(rows[0].starts_with("seq  time"), "{text}");
    assert_eq!(rows.len(), 4, "heading, file, start, decision: {text}");
    assert!(rows[3].contains("2026-11-27 10:00:00.400Z"), "{text}");
    assert!(rows[3].contains("denied ExportDataKey, to aaaaaaaaaaaaaaaa"), "{text}");
    assert!(rows[3].contains(r"\u{1b}[2Jevil\u{202e}"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let local = run(keyferry(["audit", "show"]).arg(home.path()).env("TZ", "Asia/Shanghai")).done();
    assert!(local.text().contains("2026-11-27 18:00:00.400+08:00"), "{}", local.text());
}

#[test]
fn shown_lines_verify() {
    let log = SampleLog::example();
    let home = saved(&log);
    let shown = show(home.path(), &["--json"]).done();
    assert_eq!(shown.stdout, log.files.concat());
    let copy = home.path().join("copy.jsonl");
    fs::write(&copy, &shown.stdout).unwrap();
    verify(&log, &copy, &[]).done();
}

#[test]
fn a_report_tells_of_exports_unused_keys_and_refusals() {
    let log = SampleLog::example();
    let home = saved(&log);
    let keys = home.path().join("keys");
    fs::write(&keys, format!("{KEY}\nnever-used\n")).unwrap();
    let report = |more: &[&str]| {
        let mut command = keyferry(["audit", "report", "--json"]);
        run(command.arg(home.path()).arg("--keys").arg(&keys).args(more)).done().json()
    };
    let all = report(&[]);
    let exports = all["exports"].as_array().unwrap();
    assert_eq!(exports.len(), 1);
    assert_eq!((&exports[0]["count"], &exports[0]["principal"]), (&4.into(), &BILLING.into()));
    assert_eq!(exports[0]["recipient_sha256"], RECIPIENT);
    assert_eq!(exports[0]["by_day"]["2026-11-27"], 4);
    assert_eq!(all["unused_keys"], serde_json::json!(["never-used"]));
    let refused = all["refused"].as_array().unwrap();
    assert_eq!((&refused[0]["principal"], &refused[0]["count"]), (&Value::Null, &3.into()));
    assert_eq!(refused[1]["principal"], STRANGER);
    assert_eq!(refused[1]["reason"], "Forbidden.NoPermission");
    assert_eq!(report(&["--by", "day"])["exports"][0]["day"], "2026-11-27");
    let later = report(&["--since", "2026-11-28T00:00:00Z"]);
    assert_eq!(later["exports"], serde_json::json!([]));
    assert_eq!(later["unused_keys"], serde_json::json!([KEY, "never-used"]));
    let text = run(keyferry(["audit", "report", "--utc"]).arg(home.path())).done().text();
    for told in ["Exports: 1", "Keys that were not used: 0", "Refused: 2", "(unknown)"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn lines_are_followed_from_file_to_file() {
    let mut log = SampleLog::new();
    log.begin_file("start");
    log.start();
    let home = saved(&log);
    let append = |number: u64, bytes: &[u8]| {
        let path = home.path().join(name(number));
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(bytes).unwrap();
    };
    let mut command =
        keyferry(["audit", "follow", "--json", "--from-start", "--rpc", "ExportDataKey"]);
    let mut child = command.arg(home.path()).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        stdout.lines().map_while(Result::ok).for_each(|line| sender.send(line).unwrap());
    });
    let before = log.files[0].len();
    log.export(BILLING, KEY, true);
    // A line comes in two pieces, and the next file with one whole and one begun.
    let (begun, rest) = log.files[0][before..].split_at(40);
    append(1, begun);
    append(1, rest);
    let line = receiver.recv_timeout(LIMIT).unwrap();
    assert_eq!(format!("{line}\n").as_bytes(), &log.files[0][before..]);
    log.begin_file("size");
    log.export(STRANGER, KEY, false);
    append(2, &log.files[1]);
    let line = receiver.recv_timeout(LIMIT).unwrap();
    assert!(line.contains(STRANGER), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_went_away_ends_it_in_order() {
    let mut log = SampleLog::new();
    log.begin_file("start");
    (0..5_000).for_each(|_| log.export(BILLING, KEY, true));
    let home = saved(&log);
    for json in [&["--json"][..], &[]] {
        let mut command = keyferry(["audit", "show"]);
        let mut child = command
            .arg(home.path())
            .args(json)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended: Ended = child.wait_with_output().unwrap().into();
        assert_eq!((ended.exit, ended.stderr.as_str()), (Some(0), ""));
    }
}
