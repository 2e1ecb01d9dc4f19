//! A log that cannot be written: nothing is answered, all of it recovers by itself, and
//! nothing that was answered is missing.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use keyferry::audit::entry::Kind;
use keyferry::audit::files::{self, Rotation};
use keyferry::audit::verification::Trusted;
use keyferry::audit::writer::Sync;
use keyferry::error::Rule;

use super::world::World;

fn reasons(world: &World) -> Vec<String> {
    world.of_kind(Kind::File).into_iter().map(|entry| entry.after.unwrap()).collect()
}

#[tokio::test]
async fn files_are_rotated_by_size_and_the_chain_goes_on() {
    let mut world = World::new().await;
    world.settings.rotation = Rotation { max_bytes: 20_000, ..Rotation::default() };
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    for _ in 0..200 {
        run.generate(&key_id).await.unwrap();
    }
    run.stop().await;
    let files = world.files();
    assert!(files.len() > 3, "{files:?}");
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() < 40_000);
    }
    assert!(reasons(&world)[1..].iter().all(|reason| reason == "size"));
    let verdict = world.assert_intact();
    assert_eq!(world.of_kind(Kind::Decision).len(), 200);
    // Earlier files may go: what is left begins later.
    let verifier = world.verifier();
    fs::remove_file(&files[0]).unwrap();
    let rest = world.verify_by(Trusted { key: verifier, kept: None });
    assert!(rest.is_intact() && rest.lines < verdict.lines, "{rest:#?}");
}

#[tokio::test]
async fn another_file_is_begun_when_it_is_asked_for_and_by_age() {
    let mut world = World::new().await;
    world.settings.rotation =
        Rotation { max_age: Duration::from_millis(200), ..Rotation::default() };
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    run.log.begin_another_file();
    run.generate(&key_id).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    run.generate(&key_id).await.unwrap();
    run.stop().await;
    let reasons = reasons(&world);
    assert!(reasons.contains(&"asked".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"age".to_owned()), "{reasons:?}");
    world.assert_intact();
}

/// What programs that rotate logs do, and what an intruder does: the file is renamed,
/// removed, or cut short.
#[tokio::test]
async fn a_file_that_is_gone_or_cut_is_noticed() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    let newest = || world.files().pop().unwrap();
    fs::rename(newest(), world.folder.path().join("elsewhere.jsonl")).unwrap();
    run.generate(&key_id).await.unwrap();
    OpenOptions::new().write(true).open(newest()).unwrap().set_len(10).unwrap();
    run.generate(&key_id).await.unwrap();
    fs::remove_dir_all(world.directory()).unwrap();
    run.generate(&key_id).await.unwrap();
    run.stop().await;
    let numbers = files::numbers(world.directory()).unwrap();
    assert_eq!(numbers, [4], "no number is used twice");
    assert_eq!(reasons(&world), ["deleted"]);
    // What was removed is missed by whoever has a checkpoint of before, and the chain that
    // is left is whole from its first line on.
    let first = &world.entries()[0];
    assert_eq!((first.kind, first.file), (Kind::File, Some(4)));
}

/// No file can be begun, as where the file system is read-only or full.
#[tokio::test]
async fn nothing_is_answered_while_no_file_can_be_written() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    let mut answered = 0;
    for round in 0..3 {
        let kept = world.folder.path().join(format!("kept-{round}"));
        fs::rename(world.directory(), &kept).unwrap();
        fs::write(world.directory(), "in the way").unwrap();
        for _ in 0..5 {
            let refused = run.generate(&key_id).await.unwrap_err();
            assert_eq!(refused.rule(), Rule::AuditUnavailable);
            let refused = run.set_enabled(&key_id, false).await.unwrap_err();
            assert_eq!(refused.rule(), Rule::AuditUnavailable);
            let refused = run.state(&key_id).await.unwrap_err();
            assert_eq!(refused.rule(), Rule::AuditUnavailable);
        }
        assert!(run.log.fault().is_some());
        fs::remove_file(world.directory()).unwrap();
        fs::rename(&kept, world.directory()).unwrap();
        run.recovered(&key_id).await;
        answered += 1;
        assert_eq!(run.log.fault(), None);
        assert_eq!(run.state(&key_id).await.unwrap(), "Enabled", "no change was made");
    }
    run.stop().await;
    let generated = world.of_kind(Kind::Decision).into_iter();
    let generated =
        generated.filter(|it| it.rpc.as_deref() == Some("Kms/GenerateDataKeyWithoutPlaintext"));
    assert!(generated.count() >= answered, "what was answered is there");
    assert_eq!(world.assert_intact().open_changes, 0);
}

#[tokio::test]
async fn old_files_are_deleted_and_the_log_stays_whole() {
    let mut world = World::new().await;
    for _ in 0..3 {
        let run = world.start().await;
        run.create().await.unwrap();
        run.stop().await;
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(10 * 24 * 3600);
    for file in &world.files()[..2] {
        let file = OpenOptions::new().append(true).open(file).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    world.settings.rotation.keep = Some(Duration::from_secs(9 * 24 * 3600));
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    run.generate(&key_id).await.unwrap();
    run.stop().await;
    assert_eq!(files::numbers(world.directory()).unwrap(), [3, 4]);
    world.start().await.stop().await;
    assert!(world.verify().is_intact());
}

#[tokio::test]
async fn lines_may_be_synced_at_intervals() {
    let mut world = World::new().await;
    world.settings.sync = Sync::Every(Duration::from_millis(50));
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    for _ in 0..50 {
        run.generate(&key_id).await.unwrap();
    }
    run.stop().await;
    assert_eq!(world.of_kind(Kind::Decision).len(), 50);
    world.assert_intact();
}

/// Many at once: each has its line, and lines are written together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_have_a_line_each() {
    let world = World::new().await;
    let run = std::sync::Arc::new(world.start().await);
    let key_id = run.create().await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (run, key_id) = (run.clone(), key_id.clone());
        callers.spawn(async move {
            for _ in 0..20 {
                run.generate(&key_id).await.unwrap();
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    std::sync::Arc::into_inner(run).unwrap().stop().await;
    assert_eq!(world.of_kind(Kind::Decision).len(), 64 * 20);
    world.assert_intact();
}
