//! Checkpoints of audit logs and Go's own signed notes: each verifies the other's.

use std::io::{Seek, Write};
use std::process::Command;

use keyferry::audit::note::{Checkpoint, VerifierKey};

use crate::support::harness::{Checks, Finished, PEER_LIMIT, installed, run_to_end};
use crate::support::sample_log::SampleLog;

#[test]
fn go() {
    let Some(peers) = installed("Go's sumdb/note", "go_note") else { return };
    let note = |args: [&str; 2], input: &str| -> Finished {
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        stdin.rewind().unwrap();
        let mut command = Command::new(peers.join("bin/note"));
        run_to_end(command.args(args).stdin(stdin), PEER_LIMIT)
    };
    let mut checks = Checks::of("golang.org/x/mod/sumdb/note");
    let log = SampleLog::example();
    let key = log.verifier().to_string();
    let text = log.verifier().open(&log.note).unwrap();

    let opened = note(["open", &key], &log.note);
    checks.that("opens_ours", opened.success && opened.text() == text);
    let changed = log.note.replacen("time 2026", "time 2027", 1);
    checks.that("refuses_a_changed_text", !note(["open", &key], &changed).success);
    let other = SampleLog::example().verifier().to_string();
    checks.that("refuses_another_key", !note(["open", &other], &log.note).success);

    let signed = note(["sign", &format!("keyferry/audit/{}", log.store)], text).text();
    let (go_key, go_note) = signed.split_once('\n').unwrap();
    let verifier = VerifierKey::parse(go_key).unwrap();
    checks.that("its_key_is_read", verifier.to_string() == go_key);
    checks.that("its_note_is_opened", verifier.open(go_note) == Some(text));
    checks.that("its_text_is_a_checkpoint", Checkpoint::parse(text).is_some());
    checks.that("its_key_is_another", log.verifier().open(go_note).is_none());
    let changed = go_note.replacen("time 2026", "time 2027", 1);
    checks.that("its_changed_note_is_refused", verifier.open(&changed).is_none());
}
