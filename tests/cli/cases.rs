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

use crate::command::{Server, keyferry, terminal};
use crate::support::program::program;

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
    let mut command = program();
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
        let output = program()
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
    let mut show = program();
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
       public key: it is PEM of a
       certificate.
help: Take the public key out of it:
      `openssl x509 -noout -pubkey -in certificate.pem > public.pem`
";
    assert_eq!(shown, expected);
}

/// In JSON as in text: an earlier caller's words are not the terminal's orders.
#[test]
fn json_does_not_steer_the_terminal() {
    let server = Server::dev();
    let odd = "\u{9b}2J \u{7f}\u{85}\u{202e}\u{2028}end";
    let mut create = keyferry(["key", "create", "--json", "--description", odd]);
    let made = crate::command::run(create.env("KEYFERRY_ENDPOINT", &server.endpoint)).done();
    let key = made.json()["key_metadata"]["key_id"].as_str().unwrap().to_owned();
    assert_eq!(made.json()["key_metadata"]["description"], odd, "it is the same JSON");

    for options in [&["--json"][..], &[]] {
        let (mut leader, name) = terminal();
        let follower = fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
        let mut show = keyferry(["key", "describe", "--key", &key]);
        show.args(options).env("KEYFERRY_ENDPOINT", &server.endpoint).stdout(follower);
        assert_eq!(show.status().unwrap().code(), Some(0));
        drop(show);
        let mut shown = Vec::new();
        let _ = leader.read_to_end(&mut shown);
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("end"), "{shown}");
        let steering = |c: char| odd.contains(c) && !c.is_ascii_graphic() && c != ' ';
        assert!(!shown.contains(steering), "{shown:?}");
    }
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

/// A pipe with this mode, and somebody who reads from it.
fn pipe(path: &Path, mode: u32) -> fs::File {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
    mknodat(CWD, path, FileType::Fifo, Mode::from_bits_truncate(mode), 0).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).unwrap().into()
}

/// Somebody else made the name first, and waits for the key.
#[test]
fn a_key_is_not_written_into_a_pipe_that_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let ours = dir.path().join("ours");
    let mut reader = pipe(&ours, 0o600);
    let written = unwrap_to(ours.to_str().unwrap()).output().unwrap();
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let mut key = Vec::new();
    reader.read_to_end(&mut key).unwrap();
    assert_eq!(key, fs::read(files().join("data_key.bin")).unwrap());

    let readable = dir.path().join("readable");
    let foreign = dir.path().join("foreign");
    let link = dir.path().join("link");
    let mut readers = vec![(readable.clone(), pipe(&readable, 0o644))];
    if rustix::process::geteuid().is_root() {
        let reader = pipe(&foreign, 0o600);
        std::os::unix::fs::chown(&foreign, Some(65534), None).unwrap();
        readers.push((foreign, reader));
    }
    std::os::unix::fs::symlink(&readable, &link).unwrap();
    readers.push((link, fs::File::open("/dev/null").unwrap()));
    for (out, mut reader) in readers {
        for options in [&[][..], &["--force"]] {
            let refused = unwrap_to(out.to_str().unwrap()).args(options).output().unwrap();
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(73), "{said}");
            assert!(said.contains(out.to_str().unwrap()) && said.contains("help: "), "{said}");
        }
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).unwrap();
        assert!(heard.is_empty(), "{} heard the key", out.display());
    }
}

#[test]
fn a_key_goes_into_a_pipe_of_the_shell() {
    let mut command = unwrap_to("/dev/stdout");
    let output = command.stdout(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.starts_with(&fs::read(files().join("data_key.bin")).unwrap()));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = program()
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
