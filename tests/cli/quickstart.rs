//! The quickstart, and every command that it prints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;

use rustix::process::Signal;

use crate::command::{LIMIT, Server, heard, keyferry, run, tell, wait, words};
use crate::support::program::without_settings;

#[test]
fn it_goes_the_whole_way_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ended = run(keyferry(["quickstart"]).env("TMPDIR", folder.path())).done();
    let said = ended.text();
    for step in [
        "A customer master key (CMK) is made",
        "data-key.blob, 142 bytes",
        "for-rsa.bin, 256 bytes",
        "Both hold the same data key",
        "the SM2 recipient decrypts it",
        "quickstart --keep-running",
    ] {
        assert!(said.contains(step), "{step:?} is not in {said}");
    }
    assert_eq!(ended.stderr, "");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A quickstart that keeps running, and what it has said so far.
struct Kept {
    child: Child,
    said: Vec<String>,
    _lines: Receiver<String>,
}

impl Kept {
    fn start(dir: &Path) -> Self {
        let mut child = keyferry(words("quickstart --keep-running --data-dir"))
            .arg(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = heard(&mut child);
        let mut said: Vec<String> = Vec::new();
        while !said.last().is_some_and(|line| line.contains("keeps running")) {
            said.push(lines.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{said:?}")));
        }
        Self { child, said, _lines: lines }
    }

    fn commands(&self) -> Vec<&str> {
        self.said.iter().filter_map(|line| line.trim_start().strip_prefix("$ ")).collect()
    }

    fn stop(mut self) {
        tell(&self.child, Signal::INT);
        assert_eq!(wait(&mut self.child).code(), Some(0));
    }
}

/// Where the interop tests' grpcurl is, or one of this machine's.
fn grpcurl() -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".peers/bin/grpcurl");
    if installed.exists() {
        return Some(installed);
    }
    let there = Command::new("grpcurl").arg("-version").output().is_ok();
    there.then(|| PathBuf::from("grpcurl"))
}

/// The commands that this machine has programs for. In CI it has them all.
fn runnable<'a>(commands: &[&'a str]) -> Vec<&'a str> {
    let openssl = Command::new("openssl").arg("version").output().is_ok();
    let grpcurl = grpcurl().is_some();
    let there = |command: &&str| {
        (openssl || !command.starts_with("openssl "))
            && (grpcurl || !command.starts_with("grpcurl "))
    };
    let (run, left): (Vec<&str>, Vec<&str>) = commands.iter().copied().partition(there);
    if !left.is_empty() {
        println!(
            "left out: {} commands of the quickstart (not installed: scripts/peers installs it)",
            left.len()
        );
        assert!(!in_ci(), "left out: {left:?}");
    }
    run
}

#[expect(clippy::disallowed_methods, reason = "what CI must not leave out, others may")]
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

#[test]
fn every_command_that_it_prints_works_when_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Kept::start(folder.path());
    let commands = quickstart.commands();
    let of = |program: &str| commands.iter().filter(|command| command.starts_with(program)).count();
    assert_eq!((of("keyferry "), of("openssl "), of("grpcurl ")), (8, 4, 2), "{commands:?}");

    let grpcurl = grpcurl().and_then(|path| Some(path.parent()?.display().to_string()));
    let script = format!(
        "set -eux\nPATH=\"$PATH:{}\"\n{}\n",
        grpcurl.unwrap_or_default(),
        runnable(&commands).join("\n")
    );
    for paste in ["first", "second"] {
        let script = if paste == "first" {
            script.clone()
        } else {
            // A name can be given once.
            script
                .lines()
                .filter(|line| !line.contains("alias create"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let ended = run(without_settings(Command::new("sh").args(["-c", &script])));
        assert_eq!(ended.exit, Some(0), "{paste}: {ended:?}");
        assert!(ended.text().contains("Dear reader"), "{paste}: {ended:?}");
    }
    let files = folder.path().join("quickstart");
    let key = |name: &str| fs::read(files.join(name)).unwrap();
    assert_eq!(key("rsa.data-key"), key("sm2.data-key"));
    quickstart.stop();
}

#[test]
fn two_run_side_by_side_and_a_store_is_taken_up_again() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let kept = folders.each_ref().map(|folder| Kept::start(folder.path()));
    let endpoints =
        kept.each_ref().map(|kept| kept.commands()[0].trim_start_matches("export ").to_owned());
    assert_ne!(endpoints[0], endpoints[1]);
    kept.into_iter().for_each(Kept::stop);

    let again = run(keyferry(words("quickstart --data-dir")).arg(folders[0].path())).done();
    assert!(again.text().contains("keyferry serve --dev --data-dir"), "{again:?}");
    // The store that it left is like any other.
    let mut command = keyferry(words("serve --dev --listen 127.0.0.1:0 --data-dir"));
    command.arg(folders[0].path());
    let server = Server::start(command, tempfile::tempdir().unwrap());
    let keys = server.client("key list --json").done().json();
    assert_eq!(keys["total_count"], 2);
}

#[test]
fn a_directory_that_others_may_write_in_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    run(keyferry(words("quickstart --data-dir")).arg(folder.path())).failed(78, &["chmod"]);
}
