//! The command line without a server: the real binary against cases that are
//! data, one TOML file each in `tests/cli/cases/`. The files that they name lie in
//! `tests/cli/files/`, made with OpenSSL; its README says how.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;
use rustix::termios::{Winsize, tcsetwinsize};
use serde::Deserialize;

use crate::command::terminal;

/// One run of the binary and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// `{files}` is `tests/cli/files`, `{dir}` a fresh directory.
    args: Vec<String>,
    /// A file of `{files}` for standard input; none is an empty one.
    stdin: Option<String>,
    #[serde(default)]
    env: std::collections::BTreeMap<String, String>,
    exit: i32,
    /// A regular expression for all of standard output; none: it is empty.
    stdout: Option<String>,
    /// The same for standard error.
    stderr: Option<String>,
    /// Standard output is, byte for byte, this file of `{files}`.
    stdout_is: Option<String>,
    /// A file in `{dir}`, the file of `{files}` that it equals, and its mode.
    written: Option<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    file: String,
    is: String,
    mode: String,
}

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/files")
}

fn run(case: &Case, dir: &Path) -> Output {
    let place = |text: &String| {
        text.replace("{files}", files().to_str().unwrap()).replace("{dir}", dir.to_str().unwrap())
    };
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .args(case.args.iter().map(place))
        .env_clear()
        .envs(case.env.iter().map(|(name, value)| (name, place(value))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let given = case.stdin.as_ref().map(|name| fs::read(files().join(name)).unwrap());
    // A command that refuses its arguments does not read what it is given.
    let _ = child.stdin.take().unwrap().write_all(&given.unwrap_or_default());
    child.wait_with_output().unwrap()
}

/// Complaints about an outcome; empty if it is right.
fn complaints(case: &Case, output: &Output, dir: &Path) -> String {
    let mut wrong = String::new();
    if output.status.code() != Some(case.exit) {
        let _ = writeln!(wrong, "exit: {:?}, not {}", output.status.code(), case.exit);
    }
    match &case.stdout_is {
        Some(name) if output.stdout != fs::read(files().join(name)).unwrap() => {
            let _ = writeln!(wrong, "stdout is not {name}");
        }
        Some(_) => {}
        None => wrong.push_str(&mismatch("stdout", case.stdout.as_deref(), &output.stdout)),
    }
    wrong.push_str(&mismatch("stderr", case.stderr.as_deref(), &output.stderr));
    if let Some(written) = &case.written {
        wrong.push_str(&miswritten(written, dir));
    }
    wrong
}

fn mismatch(stream: &str, expected: Option<&str>, found: &[u8]) -> String {
    let found = String::from_utf8_lossy(found);
    let pattern = format!("^(?s:{})$", expected.unwrap_or_default().trim_end());
    if Regex::new(&pattern).unwrap().is_match(found.trim_end()) {
        return String::new();
    }
    format!("{stream}: {found}\n  not: {pattern}\n")
}

fn miswritten(written: &Written, dir: &Path) -> String {
    let path = dir.join(&written.file);
    let Ok(found) = fs::read(&path) else { return format!("{} is not there\n", written.file) };
    if found != fs::read(files().join(&written.is)).unwrap() {
        return format!("{} does not hold {}\n", written.file, written.is);
    }
    let mode = format!("{:o}", fs::metadata(&path).unwrap().permissions().mode() & 0o777);
    if mode == written.mode { String::new() } else { format!("mode {mode}\n") }
}

#[test]
fn every_case_ends_as_it_says() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/cases");
    let mut names: Vec<PathBuf> = fs::read_dir(cases).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    names.sort();
    assert!(names.len() > 30, "only {} cases were found", names.len());
    let mut wrong = String::new();
    for name in names {
        let case: Case = toml::from_str(&fs::read_to_string(&name).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", name.display()));
        let dir = tempfile::tempdir().unwrap();
        let complaints = complaints(&case, &run(&case, dir.path()), dir.path());
        if !complaints.is_empty() {
            let _ = writeln!(wrong, "== {}\n{complaints}", name.display());
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn unwrap_to(out: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    command
        .args(["data-key", "unwrap", "--in"])
        .arg(files().join("sm2.der.bin"))
        .arg("--private-key")
        .arg(files().join("sm2.private.pem"))
        .args(["--out", out]);
    command
}

#[test]
fn key_bytes_do_not_go_to_a_terminal() {
    let (_leader, name) = terminal();
    let follower = fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let standard_output = unwrap_to("-").stdout(follower).output().unwrap();
    let by_name = unwrap_to(name.to_str().unwrap()).output().unwrap();
    for output in [standard_output, by_name] {
        assert_eq!(output.status.code(), Some(64));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Key bytes are not written to a terminal"), "{said}");
    }
}

/// In JSON neither, and the server is not asked.
#[test]
fn what_was_secret_does_not_go_to_a_terminal() {
    let (_leader, name) = terminal();
    let blob = files().join("sm2.der.bin");
    for line in [
        "symmetric decrypt --json",
        "symmetric decrypt --out -",
        "asymmetric decrypt --key k --key-version v --json",
        "asymmetric decrypt --key k --key-version v --out -",
    ] {
        let follower = fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_keyferry"))
            .args(line.split(' '))
            .arg("--in")
            .arg(&blob)
            .args(["--endpoint", "http://127.0.0.1:1"])
            .stdout(follower)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{line}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Key bytes are not written to a terminal"), "{said}");
    }
}

#[test]
fn prose_fits_the_terminal_and_commands_stay_whole() {
    let (mut leader, name) = terminal();
    tcsetwinsize(&leader, Winsize { ws_row: 24, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let follower = fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut show = Command::new(env!("CARGO_BIN_EXE_keyferry"));
    show.args(["recipient", "show", "certificate.pem"]).current_dir(files()).stderr(follower);
    assert_eq!(show.status().unwrap().code(), Some(65));
    // Nobody else holds the terminal, so that it ends here.
    drop(show);
    let mut shown = Vec::new();
    let _ = leader.read_to_end(&mut shown);
    let shown = anstream::adapter::strip_bytes(&shown).into_vec();
    let shown = String::from_utf8(shown).unwrap().replace('\r', "");
    let expected = "\
error: certificate.pem is not a fit
       public key: it is PEM of
       CERTIFICATE.
help: Take the public key out of it:
      `openssl x509 -noout -pubkey -in certificate.pem > public.pem`
";
    assert_eq!(shown, expected);
}

#[test]
fn an_existing_file_is_replaced_only_when_forced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("key");
    fs::write(&out, "another key").unwrap();
    let refused = unwrap_to(out.to_str().unwrap()).output().unwrap();
    assert_eq!(refused.status.code(), Some(73));
    assert_eq!(fs::read(&out).unwrap(), b"another key");
    let forced = unwrap_to(out.to_str().unwrap()).arg("--force").output().unwrap();
    assert_eq!(forced.status.code(), Some(0));
    assert_eq!(fs::read(&out).unwrap(), fs::read(files().join("data_key.bin")).unwrap());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keyferry"))
        .args(["recipient", "show", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let key = fs::read(files().join("sm2.public.pem")).unwrap();
    child.stdin.take().unwrap().write_all(&key).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}
