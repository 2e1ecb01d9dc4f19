//! A start, and what it makes of what it finds: an orderly end, a crash, a change that was
//! broken off, and a log that somebody has altered.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;

use keyferry::audit::entry::Kind;
use keyferry::audit::note::Checkpoint;
use keyferry::audit::opening::AuditError;
use keyferry::audit::verification::flaw::Flaw;
use keyferry::error::Rule;
use keyferry::keys::clock::SystemClock;
use keyferry::storage::memory::InjectedFault;
use keyferry::storage::{MemoryStore, Store};

use super::world::World;

#[tokio::test]
async fn each_start_goes_on_in_a_file_of_its_own() {
    let world = World::new().await;
    for number in 1..=3 {
        let run = world.start().await;
        run.create().await.unwrap();
        run.stop().await;
        assert_eq!(world.files().len(), number);
    }
    let verdict = world.assert_intact();
    assert_eq!(verdict.starts, 3);
    assert!(verdict.ends_with_stop && verdict.unsigned_lines == 0 && verdict.open_changes == 0);
    let after: Vec<_> = world.of_kind(Kind::File).into_iter().map(|it| it.after.unwrap()).collect();
    assert_eq!(after, ["start", "start", "start"]);
    let runs: std::collections::BTreeSet<_> =
        world.entries().into_iter().map(|entry| entry.run).collect();
    assert_eq!(runs.len(), 3);
}

#[tokio::test]
async fn a_line_that_a_crash_cut_short_stays_where_it_is() {
    let world = World::new().await;
    let run = world.start().await;
    run.create().await.unwrap();
    run.stop().await;
    let last = world.files().pop().unwrap();
    let mut file = OpenOptions::new().append(true).open(&last).unwrap();
    file.write_all(b"{\"v\":1,\"seq\":9,\"prev\":\"00").unwrap();
    let run = world.start().await;
    run.create().await.unwrap();
    run.stop().await;
    let verdict = world.assert_intact();
    assert_eq!(verdict.torn.len(), 1);
    // Nor does a file that was begun and holds no line stop a start.
    fs::write(world.directory().join("audit-00000003.jsonl"), "{\"v\"").unwrap();
    world.start().await.stop().await;
    assert_eq!(world.files().len(), 4);
    let lines = world.entries().len() as u64;
    assert_eq!(world.verify().lines, lines);
}

/// The outcome of a commit is not known, and the process ends: the next start looks for the
/// mark that the commit would have left.
#[tokio::test]
async fn a_change_that_was_broken_off_is_settled_both_ways() {
    for (fault, is_done) in
        [(InjectedFault::MaybeStoredBut, true), (InjectedFault::MaybeStoredNot, false)]
    {
        let store = Arc::new(MemoryStore::new());
        let world = World::over(store.clone()).await;
        let run = world.start().await;
        let key_id = run.create().await.unwrap();
        // What is found is kept, so that the commit is what fails.
        run.state(&key_id).await.unwrap();
        store.fail_next(fault);
        // Nor can it be settled at once: the read that would tell fails.
        store.fail_next(InjectedFault::Unavailable);
        let refused = run.set_enabled(&key_id, false).await.unwrap_err();
        assert_eq!(refused.rule(), Rule::StoreUnreachable);
        run.stop().await;
        assert_eq!(world.assert_intact().open_changes, 1);

        let run = world.start().await;
        let state = if is_done { "Disabled" } else { "Enabled" };
        assert_eq!(run.state(&key_id).await.unwrap(), state);
        run.stop().await;
        assert_eq!(world.assert_intact().open_changes, 0);
        let last = world.of_kind(Kind::Outcome).pop().unwrap();
        let settled = if is_done { "settled:done" } else { "settled:not done" };
        assert_eq!(last.outcome.as_deref(), Some(settled));
        let intent = world.of_kind(Kind::Intent).pop().unwrap();
        assert_eq!((&last.event, intent.key_id.as_deref()), (&intent.event, Some(&*key_id)));
        // The marks have served.
        assert_eq!(store.count("audit-open/").await.unwrap(), 0);
        // A later start settles nothing twice.
        world.start().await.stop().await;
        assert_eq!(world.of_kind(Kind::Outcome).len(), 2);
    }
}

/// Marks go with later changes, so that they do not gather.
#[tokio::test]
async fn marks_of_changes_that_have_ended_are_taken_away() {
    let store = Arc::new(MemoryStore::new());
    let world = World::over(store.clone()).await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    for turn in 0..100 {
        run.set_enabled(&key_id, turn % 2 == 1).await.unwrap();
    }
    assert!(store.count("audit-open/").await.unwrap() <= 2);
    run.stop().await;
}

/// The newest checkpoint lies sealed in the store: a log that does not reach it was cut.
#[tokio::test]
async fn a_log_that_is_shorter_than_the_store_remembers_is_not_gone_on_with() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    run.stop().await;
    let file = world.files().remove(0);
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    // Line by line from its end, down to nothing, and the file taken away.
    for left in (0..lines.len() - 1).rev() {
        let cut: String = lines[..left].iter().flat_map(|line| [*line, "\n"]).collect();
        fs::write(&file, cut).unwrap();
        let refused = world.start_with(Arc::new(SystemClock), false).await.err().unwrap();
        assert!(matches!(refused, AuditError::Short { .. }), "{left}: {refused}");
        assert!(refused.to_string().contains("--give-up-audit-log"), "{refused}");
    }
    fs::remove_dir_all(world.directory()).unwrap();
    let refused = world.start_with(Arc::new(SystemClock), false).await.err().unwrap();
    assert!(matches!(refused, AuditError::Short { found: 0, .. }), "{refused}");
    // An operator gives it up, which is recorded with the checkpoint that is missed.
    let run = world.start_with(Arc::new(SystemClock), true).await.unwrap();
    run.generate(&key_id).await.unwrap();
    run.stop().await;
    let start = world.of_kind(Kind::Start).remove(0);
    let lost = start.lost_checkpoint.unwrap();
    let lost = Checkpoint::parse(world.verifier().open(&lost).unwrap()).unwrap();
    assert_eq!(lost.seq, lines.len() as u64 - 1);
    assert_eq!(world.entries()[0].kind, Kind::File);
    // The next start goes on without a word, and nothing else is wrong; but lines are
    // missing, and whoever verifies is told.
    world.start().await.stop().await;
    let verdict = world.verify();
    assert_eq!(verdict.flaw_count, 1, "{verdict:#?}");
    assert_eq!(verdict.flaws[0].flaw, Flaw::GivenUp);
}

#[tokio::test]
async fn a_log_that_was_altered_is_not_gone_on_with() {
    let world = World::new().await;
    let run = world.start().await;
    run.create().await.unwrap();
    run.stop().await;
    let file = world.files().remove(0);
    let whole = fs::read(&file).unwrap();
    // Any byte: the line no longer reads, or no longer follows, or is not the one that was
    // signed.
    for position in (0..whole.len()).step_by(7) {
        let mut altered = whole.clone();
        altered[position] ^= 1;
        fs::write(&file, altered).unwrap();
        let started = world.start_with(Arc::new(SystemClock), false).await;
        let Err(refused) = started else { panic!("a flipped bit at {position} went unnoticed") };
        let is_told = matches!(
            refused,
            AuditError::Broken { .. } | AuditError::Replaced { .. } | AuditError::Short { .. }
        );
        assert!(is_told, "{position}: {refused}");
    }
    fs::write(&file, whole).unwrap();
    world.start().await.stop().await;
    world.assert_intact();
}

#[tokio::test]
async fn another_stores_log_is_not_gone_on_with() {
    let (one, other) = (World::new().await, World::new().await);
    for world in [&one, &other] {
        world.start().await.stop().await;
    }
    fs::copy(&other.files()[0], &one.files()[0]).unwrap();
    let refused = one.start_with(Arc::new(SystemClock), false).await.err().unwrap();
    assert!(matches!(refused, AuditError::Broken { .. }), "{refused}");
}

#[tokio::test]
async fn a_log_has_one_writer() {
    let world = World::new().await;
    let run = world.start().await;
    let refused = world.start_with(Arc::new(SystemClock), false).await.err().unwrap();
    assert!(matches!(refused, AuditError::InUse { .. }), "{refused}");
    run.create().await.unwrap();
    run.stop().await;
    world.assert_intact();
}
