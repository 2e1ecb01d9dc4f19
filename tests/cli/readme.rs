//! The README's terminal sessions are run, and show what the README shows.
//!
//! A session is a `console` block: `$ command`, then what it prints. A line `…`
//! stands for any lines. Ids, digests, dates and folders differ from run to run and
//! are masked. Sessions share one folder, in which they run one after the other, in
//! one shell, so that a server started in one is there in the next.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::support::program::without_settings;

const MARK: &str = "----- end of command";

struct Step {
    command: String,
    shown: Vec<String>,
}

fn sessions(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    steps.push(Step { command: command.to_owned(), shown: Vec::new() });
                }
                None => steps.last_mut().expect("a command first").shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// One shell runs all commands, each with its output and its exit code; the
/// servers among them end with it.
fn script(steps: &[Step]) -> String {
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\necho\n".to_owned();
    for step in steps {
        // A server is given the time to say where it listens.
        let settle = if step.command.ends_with('&') { "sleep 4\n" } else { "" };
        let command = &step.command;
        writeln!(
            script,
            "{command}
{settle}echo \"{MARK} $?\""
        )
        .unwrap();
    }
    script
}

fn masked(text: &str) -> String {
    let text =
        Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap().replace_all(text, "<id>");
    let text = Regex::new("[0-9a-f]{40,64}").unwrap().replace_all(&text, "<digest>");
    let text = Regex::new(r"\d{4}(-\d\d){2}T(\d\d:){2}\d\dZ").unwrap().replace_all(&text, "<date>");
    let text = Regex::new(r"127\.0\.0\.1:\d+").unwrap().replace_all(&text, "<address>");
    text.trim_end().to_owned()
}

/// Whether `found` is what `shown` shows, `…` standing for any lines.
fn matches(shown: &[String], found: &[String]) -> bool {
    match shown.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == "…" => {
            (0..=found.len()).any(|skip| matches(rest, &found[skip..]))
        }
        Some((line, rest)) => found
            .split_first()
            .is_some_and(|(first, others)| masked(line) == masked(first) && matches(rest, others)),
    }
}

#[allow(clippy::disallowed_methods, reason = "the shell needs the test's PATH")]
fn run(script: &str, folder: &Path) -> String {
    let built = Path::new(env!("CARGO_BIN_EXE_keyferry"));
    let path = std::env::join_paths(
        [built.parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = without_settings(&mut Command::new("bash"))
        .current_dir(folder)
        .env("PATH", path.unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(format!("exec 2>&1\n{script}").as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_session_shows_what_the_readme_shows() {
    // Two servers are reached on loopback: each listens on a port that is free.
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [dev, secured] = listeners.each_ref().map(|l| l.local_addr().unwrap().to_string());
    drop(listeners);
    let readme = include_str!("../../README.md")
        .replace("0.0.0.0:7311", &secured)
        .replace("kms.internal", "localhost")
        .replace("127.0.0.1:7311", &dev);
    let steps = sessions(&readme);
    assert!(steps.len() > 10);
    let folder = tempfile::tempdir().unwrap();
    // The program is already built: the newcomer's first command runs without cargo. A
    // profile tells the clients of the development server.
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/");
    let script = script(&steps)
        .replace("cargo run --release -- ", "keyferry ")
        .replace("examples/", examples);
    let profile = folder.path().join("home/.config/keyferry/client.toml");
    fs::create_dir_all(profile.parent().unwrap()).unwrap();
    fs::write(profile, format!("endpoint = \"http://{dev}\"\n")).unwrap();
    let told = "export HOME=$PWD/home KEYFERRY=keyferry\n".to_owned();
    let output = run(&(told + &script), folder.path());
    assert_shown(&steps, &output);
}

/// The auditor's way from a directory of files to an answer: docs/audit.md's commands, run
/// beside a log that a server has written.
#[test]
fn every_session_of_the_auditor_shows_what_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let steps = sessions(include_str!("../../docs/audit.md"));
    assert!(steps.len() > 5);
    let made = "{
keyferry init kf
keyferry serve --config kf/keyferry.toml &
server=$!
sleep 3
export KEYFERRY_ENDPOINT=unix:$PWD/kf/keyferry.sock
keyferry key create --json >key.json
key=$(grep -o '[0-9a-f-]\\{36\\}' key.json | head -n 1)
keyferry data-key generate --key $key --out blob
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private.pem
openssl pkey -in private.pem -pubout -out public.pem
keyferry data-key export --in blob --public-key public.pem --out exported
kill $server; wait $server
} >made.log 2>&1
";
    let output = run(&(made.to_owned() + &script(&steps)), folder.path());
    assert_shown(&steps, &output);
}

/// Asserts that each command ended well and printed what is shown.
fn assert_shown(steps: &[Step], output: &str) {
    let mut printed = output.split(MARK);
    for step in steps {
        let found = printed.next().unwrap_or_default();
        // The rest of the mark's line: the exit code of the command before.
        let (code, found) = found.split_once('\n').unwrap_or_default();
        let code = code.trim();
        assert!(matches!(code, "" | "0"), "before `{}`: exit {code}\n{output}", step.command);
        let found: Vec<String> = found.trim().lines().map(str::to_owned).collect();
        assert!(
            matches(&step.shown, &found),
            "`{}` printed\n{}\ninstead of\n{}",
            step.command,
            found.join("\n"),
            step.shown.join("\n")
        );
    }
    assert_eq!(printed.next().map(str::trim), Some("0"), "{output}");
}
