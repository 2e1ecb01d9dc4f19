//! `keyferry data-key export --batch`: lines in, lines out, whatever comes
//! between.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry::crypto::secret::Reveal;
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use rustix::process::Signal;
use serde_json::Value;

use crate::command::{Ended, LIMIT, Server, file, keyferry, run, tell, terminal, wait, words};

const LINES: usize = 2_000;
/// Different blobs in a batch; line by line, one after the other.
const BLOBS: usize = 5;

/// Lines of a batch, made of a few blobs of a server.
struct Lines(Vec<String>);

impl Lines {
    fn of(server: &Server) -> Self {
        let key = server.create_key();
        let blobs = (0..BLOBS).map(|i| {
            let line = format!("data-key generate --key {key} --context n={i} --json");
            let made = server.client(&line).done().json();
            made["ciphertext_blob"].as_str().unwrap().to_owned()
        });
        let blobs: Vec<String> = blobs.collect();
        let line = |i: usize| {
            let n = i % BLOBS;
            format!(
                r#"{{"item_id":"order-{i}","ciphertext_blob":"{}","encryption_context":{{"n":"{n}"}}}}"#,
                blobs[n]
            )
        };
        Self((0..LINES).map(line).collect())
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    fn write(&self, server: &Server) {
        fs::write(server.path("batch"), self.text()).unwrap();
    }
}

fn export(options: &str) -> String {
    format!("data-key export --public-key {} {options}", file("rsa_2048.public.pem"))
}

fn whole(server: &Server) -> Ended {
    server.client(&export("--batch batch --out out"))
}

fn told(server: &Server) -> Vec<Value> {
    let text = fs::read_to_string(server.path("out")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is whole");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Every line is answered once, in order, by the right data key.
fn assert_all_exported(server: &Server) {
    let told = told(server);
    assert_eq!(told.len(), LINES);
    let pem = fs::read(file("rsa_2048.private.pem")).unwrap();
    let private_key = RecipientPrivateKey::parse_pem(&pem).unwrap();
    let key = |i: usize| {
        let exported = told[i]["exported"]["exported_data_key"].as_str().unwrap();
        let exported = STANDARD.decode(exported).unwrap();
        private_key.unwrap(None, &exported).unwrap().reveal(Reveal::ToFile).to_vec()
    };
    let keys: Vec<Vec<u8>> = (0..BLOBS).map(key).collect();
    for (i, line) in told.iter().enumerate() {
        assert_eq!(line["item_id"], format!("order-{i}"));
        assert!(line.get("error").is_none(), "{line}");
        // To unwrap each takes long, and says no more.
        if i % 97 == 0 {
            assert_eq!(key(i), keys[i % BLOBS], "{i}");
        }
    }
}

/// A run whose batch is a pipe that the test feeds.
struct Fed {
    child: Child,
    batch: ChildStdin,
}

impl Fed {
    fn start(server: &Server, endpoint: &str) -> Self {
        // A shell has what it runs in the background ignore the keyboard.
        let mut child = Command::new("env")
            .arg("--default-signal=INT")
            .arg(env!("CARGO_BIN_EXE_keyferry"))
            .args(words(&export("--batch - --out out")))
            .current_dir(server.folder.path())
            .env("KEYFERRY_ENDPOINT", endpoint)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let batch = child.stdin.take().unwrap();
        Self { child, batch }
    }

    fn feed(&mut self, lines: &[String]) {
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        // A run that has ended takes no more.
        let _ = self.batch.write_all(text.as_bytes());
    }

    fn end(self) -> Ended {
        drop(self.batch);
        self.child.wait_with_output().unwrap().into()
    }
}

fn lines_in(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.matches('\n').count())
}

fn wait_for_lines(server: &Server, lines: usize) {
    let deadline = Instant::now() + LIMIT;
    while lines_in(&server.path("out")) < lines {
        assert!(Instant::now() < deadline, "{lines} lines did not come: {}", server.log());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_batch_is_exported_line_by_line_and_a_second_run_repeats_nothing() {
    let server = Server::dev();
    Lines::of(&server).write(&server);
    let ended = whole(&server).done();
    assert_eq!(ended.stderr, "2000 exported, 0 refused, 0 skipped.\n");
    assert!(ended.stdout.is_empty(), "{ended:?}");
    assert_all_exported(&server);

    let before = server.read("out");
    let ended = server.client(&export("--batch batch --out out --json")).done();
    assert_eq!(
        (ended.json()["exported"].clone(), ended.json()["skipped"].clone()),
        (0.into(), 2000.into())
    );
    assert_eq!(server.read("out"), before);
}

#[test]
fn whoever_watches_sees_a_bar_and_then_the_sum() {
    let server = Server::dev();
    Lines::of(&server).write(&server);
    let (mut watching, name) = terminal();
    let stderr = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let mut export = keyferry(words(&export("--batch batch --out out")));
    export
        .current_dir(server.folder.path())
        .env("KEYFERRY_ENDPOINT", &server.endpoint)
        .env("TERM", "xterm")
        .stderr(stderr);
    let mut child = export.spawn().unwrap();
    // Nobody else holds the terminal, so that it ends with the run.
    drop(export);
    let mut shown = Vec::new();
    let _ = watching.read_to_end(&mut shown);
    assert!(wait(&mut child).success());
    let shown = String::from_utf8(shown).unwrap();
    let bars: Vec<&str> = shown.split("\u{1b}[2K").collect();
    let is_bar = |bar: &&str| bar.contains(" %  ") && bar.contains(" exported, 0 refused");
    assert!(bars.iter().any(is_bar), "{shown}");
    let last = "2000 exported, 0 refused, 0 skipped.";
    assert_eq!(bars.last().unwrap().trim(), last, "the bar is gone: {shown}");
    assert_all_exported(&server);
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let server = Server::dev();
    let lines = Lines::of(&server);
    lines.write(&server);
    for (from, to) in [(0, 700), (700, 1_400)] {
        let mut fed = Fed::start(&server, &server.endpoint);
        fed.feed(&lines.0[..to]);
        wait_for_lines(&server, from + 300);
        fed.child.kill().unwrap();
        fed.child.wait().unwrap();
    }
    let done = lines_in(&server.path("out"));
    let kept = server.read("out");
    let ended = whole(&server).done();
    let expected = format!("{} exported, 0 refused, {done} skipped", LINES - done);
    assert!(ended.stderr.starts_with(&expected), "{done} {ended:?}");
    assert!(
        server.read("out").starts_with(&kept[..kept.iter().rposition(|b| *b == b'\n').unwrap()])
    );
    assert_all_exported(&server);
}

#[test]
fn a_run_ended_from_the_keyboard_is_gone_on_with() {
    let server = Server::dev();
    let lines = Lines::of(&server);
    lines.write(&server);
    let mut fed = Fed::start(&server, &server.endpoint);
    fed.feed(&lines.0[..500]);
    wait_for_lines(&server, 500);
    // Commands that hold keys leave no core file.
    let limits = fs::read_to_string(format!("/proc/{}/limits", fed.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    tell(&fed.child, Signal::INT);
    assert!(!wait(&mut fed.child).success());
    let ended = whole(&server).done();
    assert!(ended.stderr.starts_with("1500 exported, 0 refused, 500 skipped"), "{ended:?}");
    assert_all_exported(&server);
}

#[test]
fn a_line_that_was_cut_is_done_again() {
    let server = Server::dev();
    Lines::of(&server).write(&server);
    whole(&server).done();
    for cut in [1, 10, 5_000] {
        let out = OpenOptions::new().write(true).open(server.path("out")).unwrap();
        out.set_len(out.metadata().unwrap().len() - cut).unwrap();
        let done = lines_in(&server.path("out"));
        let ended = whole(&server).done();
        let expected = format!("{} exported, 0 refused, {done} skipped", LINES - done);
        assert!(ended.stderr.starts_with(&expected), "{cut}: {ended:?}");
        assert_all_exported(&server);
    }
}

#[test]
fn the_output_of_another_batch_is_refused_and_left_alone() {
    let server = Server::dev();
    let lines = Lines::of(&server);
    lines.write(&server);
    for (foreign, said) in [
        ("{\"item_id\":\"order-1\",\"error\":{}}\n".to_owned(), "its line 1 answers \"order-1\""),
        ("words".to_owned(), "its line 1 is no answer of an export"),
        ("{\"item_id\":\"order-0\",\"error\":{}}\nwords".to_owned(), "its line 2 is no answer"),
        (lines.text(), "its line 1 is no answer of an export"),
    ] {
        fs::write(server.path("out"), &foreign).unwrap();
        whole(&server).failed(73, &["is not of this batch", said, "another --out"]);
        assert_eq!(server.read("out"), foreign.as_bytes());
    }
    // More answers than the batch has lines.
    fs::write(server.path("out"), "").unwrap();
    whole(&server).done();
    fs::write(server.path("batch"), lines.0[..10].join("\n")).unwrap();
    whole(&server).failed(73, &["answers more lines than the batch has"]);
}

/// A server that can be started again where it was.
struct Standing {
    endpoint: String,
    address: String,
    data: tempfile::TempDir,
}

impl Standing {
    fn new() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let data = tempfile::tempdir().unwrap();
        Self { endpoint: format!("http://{address}"), address, data }
    }

    fn start(&self) -> Server {
        let line = format!("serve --dev --listen {} --data-dir", self.address);
        let mut command: Command = keyferry(words(&line));
        command.arg(self.data.path());
        Server::start(command, tempfile::tempdir().unwrap())
    }
}

#[test]
fn a_server_that_stops_and_comes_back_interrupts_nothing() {
    let standing = Standing::new();
    // Its folder, where the run's files are, outlives it.
    let mut first = standing.start();
    let lines = Lines::of(&first);
    let mut fed = Fed::start(&first, &standing.endpoint);
    fed.feed(&lines.0[..600]);
    wait_for_lines(&first, 600);
    assert!(first.stop(Signal::TERM).success());
    // No more than the pipe and the run have room for while nobody answers.
    fed.feed(&lines.0[600..900]);
    let mut second = standing.start();
    wait_for_lines(&first, 700);
    second.stop(Signal::KILL);
    let _third = standing.start();
    fed.feed(&lines.0[900..]);
    let ended = fed.end().done();
    assert!(ended.stderr.ends_with("2000 exported, 0 refused, 0 skipped.\n"), "{ended:?}");
    assert_all_exported(&first);
}

#[test]
fn a_server_that_stays_away_ends_the_run_which_is_gone_on_with_later() {
    let standing = Standing::new();
    let mut first = standing.start();
    let lines = Lines::of(&first);
    lines.write(&first);
    let mut fed = Fed::start(&first, &standing.endpoint);
    fed.feed(&lines.0[..400]);
    wait_for_lines(&first, 400);
    first.stop(Signal::KILL);
    fed.feed(&lines.0[400..700]);
    let ended = fed.end();
    ended.failed(
        69,
        &[
            "400 exported",
            "help: Run the same command again: it goes on after the lines that are in out.",
        ],
    );
    let _second = standing.start();
    let ended = whole(&first).done();
    assert!(ended.stderr.starts_with("1600 exported, 0 refused, 400 skipped"), "{ended:?}");
    assert_all_exported(&first);
}

#[test]
fn a_refused_line_ends_nothing_but_itself() {
    let server = Server::dev();
    let mut lines = Lines::of(&server);
    lines.0.truncate(20);
    lines.0[3] = lines.0[3].replace("\"n\":\"3\"", "\"n\":\"4\"");
    lines.0[5] = "broken".to_owned();
    lines.0[7] = String::new();
    lines.0[11] = r#"{"item_id":"nothing"}"#.to_owned();
    lines.0[13] =
        format!(r#"{{"item_id":"large","encryption_context":{{"n":"{}"}}}}"#, "x".repeat(70_000));
    lines.0[17] = format!(r#"{{"item_id":"huge","x":"{}"}}"#, "x".repeat(1 << 20));
    lines.write(&server);
    let ended = whole(&server);
    ended.failed(
        1,
        &[
            "14 exported, 6 refused, 0 skipped.\n",
            "error: 6 of 20 items were refused.\nhelp: Each line with an \"error\" in out",
        ],
    );
    let told = told(&server);
    assert_eq!(told.len(), 20);
    for (i, id, code, reason, message) in [
        (3, "order-3", 3, "InvalidParameter", "does not open"),
        (5, "6", 3, "InvalidParameter", "Line 6 of the batch is not an item: it is not JSON"),
        (7, "8", 3, "InvalidParameter", "Line 8 of the batch"),
        (11, "nothing", 3, "MissingParameter", "ciphertext_blob"),
        (13, "large", 8, "InvalidParameter", "more than 64 KiB"),
        (17, "18", 3, "InvalidParameter", "more than 1048576 bytes"),
    ] {
        let line = &told[i];
        assert_eq!(line["item_id"], id);
        let error = &line["error"];
        assert_eq!((error["code"].as_i64(), error["reason"].as_str()), (Some(code), Some(reason)));
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert!(line.get("exported").is_none(), "{line}");
    }
    // A second run repeats no refusal, and does not forget them.
    whole(&server).failed(
        1,
        &[
            "0 exported, 0 refused, 20 skipped: done before, 6 of them refused.\n",
            "error: 6 of 20 items were refused.",
        ],
    );
}

#[test]
fn lines_may_have_recipients_of_their_own() {
    let server = Server::dev();
    let key = server.create_key();
    let made = server.client(&format!("data-key generate --key {key} --json")).done().json();
    let blob = made["ciphertext_blob"].as_str().unwrap();
    let sm2 = STANDARD.encode(fs::read(file("sm2.public.der")).unwrap());
    let raw = "SM2_CIPHERTEXT_ENCODING_RAW_C1C3C2";
    let mut batch = String::new();
    writeln!(batch, r#"{{"ciphertext_blob":"{blob}"}}"#).unwrap();
    writeln!(batch, r#"{{"ciphertext_blob":"{blob}","public_key_blob":"{sm2}","wrapping_key_spec":"WRAPPING_KEY_SPEC_EC_SM2"}}"#).unwrap();
    write!(batch, r#"{{"item":{{"ciphertextBlob":"{blob}","publicKeyBlob":"{sm2}","wrappingKeySpec":4,"wrappingAlgorithm":3,"sm2CiphertextEncoding":"{raw}"}}}}"#).unwrap();
    fs::write(server.path("batch"), batch).unwrap();
    whole(&server).done();
    let told = told(&server);
    let sizes: Vec<(u8, usize)> = told
        .iter()
        .map(|line| {
            let exported = line["exported"]["exported_data_key"].as_str().unwrap();
            let exported = STANDARD.decode(exported).unwrap();
            (exported[0], exported.len())
        })
        .collect();
    assert_eq!(sizes[0].1, 256);
    assert_eq!(sizes[1].0, 0x30);
    assert_eq!(sizes[2], (0x04, 97 + 32));
    let ids: Vec<&str> = told.iter().map(|line| line["item_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[test]
fn standard_output_takes_the_lines_and_nothing_is_gone_on_with() {
    let server = Server::dev();
    let mut lines = Lines::of(&server);
    lines.0.truncate(3);
    lines.write(&server);
    for _ in 0..2 {
        let ended = server.client(&export("--batch batch --out -")).done();
        assert_eq!(ended.text().lines().count(), 3);
        assert_eq!(ended.stderr, "3 exported, 0 refused, 0 skipped.\n");
    }
    let empty = run(keyferry(words(&export("--batch - --out out")))
        .current_dir(server.folder.path())
        .env("KEYFERRY_ENDPOINT", &server.endpoint));
    assert_eq!(empty.done().stderr, "0 exported, 0 refused, 0 skipped.\n");
    assert_eq!(server.read("out"), b"", "the output of an empty batch is empty, and is there");
}

#[test]
fn a_dry_run_writes_nothing_and_tells_what_would_be_refused() {
    let server = Server::dev();
    let mut lines = Lines::of(&server);
    lines.0.truncate(4);
    lines.0[2] = lines.0[2].replace("\"n\":\"2\"", "\"n\":\"4\"");
    lines.write(&server);
    let ended = server.client(&export("--batch batch --out out --dry-run"));
    ended.failed(
        1,
        &["Dry run: 3 would be exported, 1 refused.", "error: 1 of 4 items would be refused."],
    );
    assert!(!server.path("out").exists());
    let line: Value = ended.json();
    assert_eq!(line["item_id"], "order-2");
    lines.0.remove(2);
    lines.write(&server);
    let ended = server.client(&export("--batch batch --dry-run")).done();
    assert!(ended.stdout.is_empty(), "{ended:?}");
}
