//! Audit logs that somebody has been at, byte by byte and line by line: none is called
//! intact.

use std::path::Path;

use jiff::SignedDuration;
use keyferry::audit::entry::Kind;
use keyferry::audit::note::{Checkpoint, CheckpointKey};
use keyferry::audit::reading::{Lines, LogFile};
use keyferry::audit::verification::flaw::Flaw;
use keyferry::audit::verification::{Trusted, Verdict, Verification};
use proptest::prelude::*;

use crate::support::sample_log::{SampleLog, chain_anew, lines, name};

type Files = Vec<Vec<u8>>;

fn verify_named<'a>(
    log: &SampleLog,
    files: impl IntoIterator<Item = (String, &'a [u8])>,
    kept: Option<&str>,
) -> Verdict {
    let key = log.verifier();
    let kept = kept.map(|note| Checkpoint::parse(key.open(note).unwrap()).unwrap());
    let mut verification = Verification::new(Trusted { key, kept }, 20);
    for (name, bytes) in files {
        verification.begin_file(&LogFile::at(Path::new(&name)));
        verification.read_lines(Lines::new(bytes), |_| {}).unwrap();
    }
    verification.end()
}

fn verify(log: &SampleLog, files: &[Vec<u8>], kept: Option<&str>) -> Verdict {
    let named = files.iter().zip(1..).map(|(bytes, number)| (name(number), bytes.as_slice()));
    verify_named(log, named, kept)
}

/// The flaws, each with its file and line.
fn found(verdict: &Verdict) -> Vec<(usize, u64, &Flaw)> {
    let number = |file: &str| LogFile::at(Path::new(file)).number.map_or(0, |it| it as usize);
    verdict.flaws.iter().map(|it| (number(&it.file), it.line, &it.flaw)).collect()
}

#[track_caller]
fn sole(verdict: &Verdict) -> (usize, u64, &Flaw) {
    let found = found(verdict);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0]
}

/// Every place of a line: its file and its line, from 0.
fn places(files: &[Vec<u8>]) -> Vec<(usize, usize)> {
    let of_file = |(file, bytes): (usize, &Vec<u8>)| {
        (0..lines(bytes).len()).map(move |line| (file, line)).collect::<Vec<_>>()
    };
    files.iter().enumerate().flat_map(of_file).collect()
}

fn edited(files: &[Vec<u8>], file: usize, edit: impl FnOnce(&mut Vec<Vec<u8>>)) -> Files {
    let mut files = files.to_vec();
    let mut all = lines(&files[file]);
    edit(&mut all);
    files[file] = all.concat();
    files
}

#[test]
fn a_log_as_it_was_written_is_intact() {
    let log = SampleLog::example();
    for kept in [None, Some(log.note.as_str())] {
        let verdict = verify(&log, &log.files, kept);
        assert!(verdict.is_intact(), "{verdict:#?}");
        assert_eq!((verdict.files, verdict.lines), (3, log.head.seq));
        assert_eq!(verdict.first.as_ref().unwrap().seq, 1);
        assert_eq!(verdict.last.as_ref().unwrap().seq, log.head.seq);
        assert_eq!((verdict.checkpoints, verdict.unsigned_lines), (6, 0));
        assert_eq!((verdict.starts, verdict.ends_with_stop), (2, true));
        assert_eq!((verdict.open_changes, verdict.torn.len()), (0, 0));
    }
}

#[test]
fn every_byte_that_is_changed_is_found_where_it_is() {
    let log = SampleLog::example();
    for file in 0..log.files.len() {
        let (mut line, is_last) = (1, file == log.files.len() - 1);
        for at in 0..log.files[file].len() {
            let byte = log.files[file][at];
            for changed in [byte ^ 1, byte ^ 0x20, byte ^ 0x80, b'\n', b'"'] {
                if changed == byte {
                    continue;
                }
                let mut files = log.files.clone();
                files[file][at] = changed;
                let verdict = verify(&log, &files, None);
                if is_last && at == log.files[file].len() - 1 {
                    // The last line has no end: it looks torn.
                    assert_eq!(verdict.torn.len(), 1);
                    continue;
                }
                let found = found(&verdict);
                let is_near = |it: &(usize, u64, &Flaw)| {
                    it.0 == file + 1 && it.1.abs_diff(line) <= 1 || it.0 == file + 2 && it.1 == 1
                };
                assert!(
                    found.first().is_some_and(is_near),
                    "file {file}, line {line}, byte {at} as {changed}: {found:#?}"
                );
                assert!(found.len() <= 2, "{found:#?}");
            }
            line += u64::from(byte == b'\n');
        }
    }
}

#[test]
fn a_value_that_is_changed_is_told_of_the_line_itself() {
    let log = SampleLog::example();
    for (file, line) in places(&log.files) {
        let changed = edited(&log.files, file, |all| {
            let text = String::from_utf8(all[line].clone()).unwrap();
            let at = text.find("\"time\":\"2026").unwrap() + 8;
            all[line][at] = b'1';
        });
        let verdict = verify(&log, &changed, None);
        let (in_file, at, flaw) = sole(&verdict);
        assert_eq!((in_file, at), (file + 1, line as u64 + 1), "{flaw}");
        assert!(matches!(flaw, Flaw::Changed { .. } | Flaw::OtherCheckpoint), "{flaw}");
    }
}

#[test]
fn a_line_that_is_removed_doubled_or_swapped_is_found() {
    let log = SampleLog::example();
    let places = places(&log.files);
    for (number, &(file, line)) in places.iter().enumerate() {
        let seq = number as u64 + 1;
        let doubled = edited(&log.files, file, |all| all.insert(line, all[line].clone()));
        let verdict = verify(&log, &doubled, None);
        let repeated = Flaw::Repeated { expected: seq + 1, found: seq };
        assert!(found(&verdict).contains(&(file + 1, line as u64 + 2, &repeated)), "{verdict:#?}");

        let Some(&(next_file, next_line)) = places.get(number + 1) else { continue };
        let removed = edited(&log.files, file, |all| drop(all.remove(line)));
        let verdict = verify(&log, &removed, None);
        let at = if next_file == file { line as u64 + 1 } else { next_line as u64 + 1 };
        if number == 0 {
            assert!(matches!(found(&verdict)[..], [(1, 1, Flaw::NoFileLine)]), "{verdict:#?}");
        } else {
            let missing = Flaw::Missing { from: seq, to: seq };
            assert!(found(&verdict).contains(&(next_file + 1, at, &missing)), "{verdict:#?}");
        }

        if next_file == file {
            let swapped = edited(&log.files, file, |all| all.swap(line, line + 1));
            let verdict = verify(&log, &swapped, None);
            let is_here = |it: &(usize, u64, &Flaw)| it.0 == file + 1 && it.1 == line as u64 + 2;
            let found = found(&verdict);
            let found =
                found.iter().find(|it| is_here(it) && matches!(it.2, Flaw::OutOfOrder { .. }));
            assert!(found.is_some(), "{verdict:#?}");
        }
    }
}

#[test]
fn a_cut_tail_is_found_by_a_checkpoint_that_was_kept() {
    let log = SampleLog::example();
    let mut files = log.files.clone();
    while let Some(last) = files.last_mut() {
        let Some(end) = last.len().checked_sub(1) else {
            files.pop();
            continue;
        };
        let end = last[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // A byte of the line that is cut stays, and then none.
        for end in [end + 1, end] {
            last.truncate(end);
        }
        let verdict = verify(&log, &files, Some(&log.note));
        let reaches = log.head.seq - 1;
        if verdict.lines < reaches {
            let cut = Flaw::Cut { expected: reaches, found: verdict.lines };
            assert!(found(&verdict).iter().any(|it| *it.2 == cut), "{verdict:#?}");
        }
        let alone = verify(&log, &files, None);
        assert_eq!(alone.is_intact(), alone.lines > 0, "{alone:#?}");
        let is_signed = alone.unsigned_lines == 0 || alone.last != alone.signed;
        assert!(is_signed && !alone.ends_with_stop || alone.lines >= reaches, "{alone:#?}");
    }
}

#[test]
fn a_line_that_a_crash_tore_is_told_of_and_no_flaw() {
    let mut log = SampleLog::new();
    log.begin_file("start");
    log.start();
    log.export("somebody", "key", true);
    log.tear();
    log.restart();
    log.tear();
    let verdict = verify(&log, &log.files, None);
    assert!(verdict.is_intact(), "{verdict:#?}");
    let torn: Vec<_> = verdict.torn.iter().map(|it| (it.file.clone(), it.line)).collect();
    assert_eq!(torn, [(name(1), 5), (name(2), 4)]);
    assert_eq!((verdict.starts, verdict.ends_with_stop, verdict.unsigned_lines), (2, false, 1));
}

#[test]
fn files_that_are_swapped_missing_replayed_or_emptied_are_found() {
    let log = SampleLog::example();
    let [one, two, three] = &log.files[..] else { panic!("three files") };
    let of = |files: &[&Vec<u8>]| files.iter().copied().cloned().collect::<Files>();
    let is = |verdict: &Verdict, flaw: fn(&Flaw) -> bool| {
        assert!(verdict.flaws.iter().any(|it| flaw(&it.flaw)), "{verdict:#?}");
    };
    let swapped = verify(&log, &of(&[one, three, two]), None);
    is(&swapped, |it| matches!(it, Flaw::OtherFile { expected: 2, found: 3 }));
    is(&swapped, |it| matches!(it, Flaw::OutOfOrder { .. }));
    let replayed = verify(&log, &of(&[one, two, three, one]), None);
    is(&replayed, |it| matches!(it, Flaw::OtherFile { expected: 4, found: 1 }));
    is(&replayed, |it| matches!(it, Flaw::OutOfOrder { found: 1, .. }));
    let in_place = verify(&log, &of(&[one, one, three]), None);
    is(&in_place, |it| matches!(it, Flaw::Missing { .. }));
    is(&verify(&log, &of(&[one, &Vec::new(), three]), None), |it| {
        matches!(it, Flaw::Missing { .. })
    });
    is(&verify(&log, &of(&[&Vec::new(), two, three]), None), |it| matches!(it, Flaw::Emptied));
    is(&verify(&log, &[], None), |it| matches!(it, Flaw::Empty));

    let without = [(name(1), one.as_slice()), (name(3), three.as_slice())];
    let verdict = verify_named(&log, without, None);
    let (file, line, flaw) = sole(&verdict);
    assert_eq!((file, line), (3, 1));
    assert!(matches!(flaw, Flaw::Missing { .. }), "{flaw}");

    // Old files may be deleted: the log begins later.
    let late = [(name(2), two.as_slice()), (name(3), three.as_slice())];
    let verdict = verify_named(&log, late, None);
    assert!(verdict.is_intact(), "{verdict:#?}");
    assert_eq!(verdict.first.unwrap().seq, lines(one).len() as u64 + 1);
}

#[test]
fn files_whose_names_bear_no_number_may_be_one_after_the_other() {
    let log = SampleLog::example();
    let all = log.files.concat();
    let verdict = verify_named(&log, [("all.jsonl".to_owned(), all.as_slice())], Some(&log.note));
    assert!(verdict.is_intact(), "{verdict:#?}");
    let verdict = verify(&log, &[all], None);
    assert!(found(&verdict).iter().any(|it| *it.2 == Flaw::FileLineInside), "{verdict:#?}");
}

#[test]
fn lines_of_another_log_are_foreign() {
    let (log, other) = (SampleLog::example(), SampleLog::example());
    let verdict = verify(&log, &other.files, None);
    let told = |flaw: fn(&Flaw) -> bool| verdict.flaws.iter().filter(|it| flaw(&it.flaw)).count();
    assert_eq!(told(|it| matches!(it, Flaw::ForeignStore { .. })), 3, "once a file");
    assert_eq!(told(|it| matches!(it, Flaw::ForeignKey { .. })), 2);
    assert_eq!(told(|it| matches!(it, Flaw::Signature)), 6);
    assert_eq!(verdict.checkpoints, 0);

    let mixed = [log.files[0].clone(), other.files[1].clone(), log.files[2].clone()];
    let verdict = verify(&log, &mixed, None);
    assert!(found(&verdict).iter().any(|it| matches!(it, (2, 1, Flaw::ForeignStore { .. }))));

    // The same store, and another key.
    let mut same = SampleLog::new();
    same.store = log.store;
    same.key = CheckpointKey::generate(log.store).unwrap();
    same.begin_file("start");
    same.start();
    let verdict = verify(&log, &same.files, None);
    let found: Vec<_> = verdict.flaws.iter().map(|it| &it.flaw).collect();
    assert!(matches!(found[..], [Flaw::Signature, Flaw::ForeignKey { .. }]), "{found:?}");
}

#[test]
fn nobody_without_the_key_can_chain_a_log_anew() {
    let log = SampleLog::example();
    let all = lines(&log.files.concat());
    let verify = |lines: &[Vec<u8>]| {
        let bytes = chain_anew(lines);
        verify_named(&log, [("log.jsonl".to_owned(), bytes.as_slice())], None)
    };
    assert!(verify(&all).is_intact());
    for line in 0..all.len() {
        // But for the last line, a checkpoint comes after it, or it is one.
        let mut removed = all.clone();
        removed.remove(line);
        assert_eq!(verify(&removed).is_intact(), line == all.len() - 1, "line {line} removed");
        let mut changed = all.clone();
        let text = String::from_utf8(changed[line].clone()).unwrap();
        changed[line] = text.replacen("\"time\":\"2026", "\"time\":\"1026", 1).into_bytes();
        assert!(!verify(&changed).is_intact(), "line {line} changed");
    }
    let is_checkpoint =
        |line: &Vec<u8>| String::from_utf8_lossy(line).contains("\"kind\":\"checkpoint\"");
    let mut stripped = all.clone();
    stripped.retain(|line| !is_checkpoint(line));
    let verdict = verify(&stripped);
    assert_eq!(verdict.flaws.iter().filter(|it| it.flaw == Flaw::NoCheckpoint).count(), 3);
}

#[test]
fn a_log_that_goes_on_unsigned_is_not_intact() {
    let mut log = SampleLog::new();
    log.begin_file("start");
    log.start();
    let verdict = verify(&log, &log.files, None);
    assert!(verdict.is_intact() && verdict.unsigned_lines == 1, "{verdict:#?}");
    log.pass(SignedDuration::from_mins(5));
    log.export("somebody", "key", true);
    let verdict = verify(&log, &log.files, None);
    assert_eq!(sole(&verdict).2, &Flaw::Unsigned { lines: 2, seconds: 300 });
    log.checkpoint();
    assert!(verify(&log, &log.files, None).is_intact());
    // An hour of silence, and a crash that took the checkpoint of what came then.
    log.pass(SignedDuration::from_hours(1));
    log.export("somebody", "key", true);
    log.export("somebody", "key", true);
    let verdict = verify(&log, &log.files, None);
    assert!(verdict.is_intact() && verdict.unsigned_lines == 2, "{verdict:#?}");
}

#[test]
fn each_intent_has_one_outcome() {
    let mut log = SampleLog::new();
    log.begin_file("start");
    log.start();
    let [one, two, three] = [(), (), ()].map(|()| log.intent("DisableKey"));
    log.outcome(two, "ok");
    log.begin_file("size");
    log.outcome(one, "settled:done");
    let verdict = verify(&log, &log.files, None);
    assert!(verdict.is_intact(), "{verdict:#?}");
    assert_eq!(verdict.open_changes, 1);
    assert_eq!(verdict.open[0].event, three.to_string());
    assert_eq!((verdict.open[0].file.as_str(), verdict.open[0].line), (name(1).as_str(), 6));

    log.outcome(two, "ok");
    let verdict = verify(&log, &log.files, None);
    assert_eq!(sole(&verdict), (2, 4, &Flaw::NoIntent { event: two.to_string() }));
    // From the second file alone, its checkpoint tells what is open.
    let second = [(name(2), log.files[1].as_slice())];
    let verdict = verify_named(&log, second, None);
    assert_eq!(sole(&verdict).2, &Flaw::NoIntent { event: two.to_string() });
}

#[test]
fn lines_that_are_chained_and_of_another_form_are_told_of() {
    let with = |edit: fn(&str) -> String| {
        let mut log = SampleLog::new();
        log.begin_file("start");
        let entry = log.entry(Kind::Stop);
        let body = String::from_utf8(keyferry::audit::chain::body(&entry).unwrap()).unwrap();
        log.head = log.head.append(edit(&body).as_bytes(), &mut log.files[0]);
        log.checkpoint();
        verify(&log, &log.files, None)
    };
    assert!(with(str::to_owned).is_intact());
    for edit in [
        (|body| body.replace('}', ",\"more\":1}")) as fn(&str) -> String,
        |body| body.replace("\"kind\"", " \"kind\""),
        |body| body.replace("\"stop\"", "\"stop\",\"kind\":\"stop\""),
        |body| body.replace("\"stop\"", "\"halt\""),
        |body| body.replace("\"stop\"", "\"st\\u006fp\""),
        |body| body.replace('}', ",\"v\":2}"),
    ] {
        assert_eq!(sole(&with(edit)), (1, 3, &Flaw::OtherForm));
    }
}

#[test]
fn a_kept_checkpoint_is_of_this_very_log() {
    let mut log = SampleLog::example();
    let earlier = log.files.clone();
    let reaches = log.head.seq - 1;
    log.restart();
    let note = log.note.clone();
    assert!(verify(&log, &log.files, Some(&note)).is_intact());
    let verdict = verify(&log, &earlier, Some(&note));
    let cut = Flaw::Cut { expected: reaches + 2, found: reaches + 1 };
    assert!(found(&verdict).iter().any(|it| *it.2 == cut), "{verdict:#?}");
    // A twin that went on otherwise, signed with the same key.
    let mut twin = SampleLog::new();
    (twin.store, twin.files, twin.head) = (log.store, earlier.clone(), {
        let mut before = SampleLog::new();
        before.files = vec![Vec::new()];
        keyferry::audit::chain::LinkedLine::parse(
            std::str::from_utf8(lines(&earlier[2]).last().unwrap()).unwrap().trim_end(),
        )
        .unwrap()
        .head()
    });
    std::mem::swap(&mut twin.key, &mut log.key);
    twin.restart();
    twin.stop();
    let verdict = verify(&twin, &twin.files, Some(&note));
    assert!(
        found(&verdict).iter().any(|it| matches!(it.2, Flaw::NotTheKept { .. })),
        "{verdict:#?}"
    );
}

#[test]
fn a_loss_that_was_given_up_is_told_of() {
    let mut log = SampleLog::example();
    let note = log.note.clone();
    log.begin_file("start");
    let mut entry = log.entry(Kind::Start);
    entry.lost_checkpoint = Some(note);
    log.put(&entry);
    assert_eq!(sole(&verify(&log, &log.files, None)), (4, 3, &Flaw::GivenUp));
}

#[test]
fn flaws_are_counted_beyond_those_that_are_told() {
    let log = SampleLog::new();
    let garbage = b"garbage\n".repeat(1000);
    let verdict = verify(&log, &[garbage], None);
    assert_eq!((verdict.flaws.len(), verdict.flaw_count), (20, 1001));
}

#[derive(Clone, Debug)]
enum Edit {
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Cut(prop::sample::Index, prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let index = any::<prop::sample::Index>;
    let edit = prop_oneof![
        (index(), 1_u8..).prop_map(|(at, by)| Edit::Flip(at, by)),
        (index(), prop::collection::vec(any::<u8>(), 1..5))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (index(), index()).prop_map(|(from, to)| Edit::Cut(from, to)),
        (index(), index()).prop_map(|(from, to)| Edit::Copy(from, to)),
        (index(), index()).prop_map(|(one, other)| Edit::Swap(one, other)),
    ];
    prop::collection::vec(edit, 1..4)
}

fn apply(edit: &Edit, all: &mut Vec<Vec<u8>>) {
    if all.is_empty() {
        return;
    }
    let mut bytes = all.concat();
    match edit {
        Edit::Flip(at, by) => {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        Edit::Insert(at, inserted) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, inserted.iter().copied());
        }
        Edit::Cut(from, to) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            bytes.drain(from.min(to)..from.max(to));
        }
        Edit::Copy(from, to) => {
            let line = all[from.index(all.len())].clone();
            all.insert(to.index(all.len()), line);
            return;
        }
        Edit::Swap(one, other) => {
            let (one, other) = (one.index(all.len()), other.index(all.len()));
            all.swap(one, other);
            return;
        }
    }
    *all = lines(&bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_edited_log_is_never_called_intact(edits in edits()) {
        let log = SampleLog::example();
        let whole = log.files.concat();
        let mut all = lines(&whole);
        for edit in &edits {
            apply(edit, &mut all);
        }
        let edited = all.concat();
        let files = [("log.jsonl".to_owned(), edited.as_slice())];
        let verdict = verify_named(&log, files, Some(&log.note));
        // What comes after the last whole line may be of a crash.
        let is_torn = verdict.torn.len() == 1 && edited.starts_with(&whole);
        let is_cut = verdict.lines + 1 == log.head.seq && whole.starts_with(&edited[..edited.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)]);
        prop_assert!(!verdict.is_intact() || edited == whole || is_torn || is_cut, "{verdict:#?}");
    }
}
