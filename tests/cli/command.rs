//! The real program as processes of its own: servers and commands.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::program;

/// How long anything here may take.
pub const LIMIT: Duration = Duration::from_mins(1);

/// The program under test, with nothing of ours in its environment.
pub fn keyferry<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = program();
    command.args(args).stdin(Stdio::null());
    command
}

/// Lets the callers of an instance, whoever they are, do everything.
pub fn permit_everything(policies: &Path) {
    let everything = "@id(\"everything\") permit (principal, action, resource);";
    fs::write(policies.join("everything.cedar"), everything).unwrap();
}

/// The words of a command line.
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// A terminal: what looks at it, and its name.
pub fn terminal() -> (File, PathBuf) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let leader = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&leader).unwrap();
    unlockpt(&leader).unwrap();
    let name = ptsname(&leader, Vec::new()).unwrap().into_string().unwrap();
    (leader.into(), PathBuf::from(name))
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as one JSON value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts a failure: its code, and what is said on standard error.
    #[track_caller]
    pub fn failed(&self, exit: i32, said: &[&str]) {
        assert_eq!(self.exit, Some(exit), "{self:?}");
        for said in said {
            assert!(self.stderr.contains(said), "{said:?} is not in {:?}", self.stderr);
        }
    }

    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.exit, Some(0), "{self:?}");
        self
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ended {
    command.output().unwrap().into()
}

/// A server of its own process. It is killed when dropped.
pub struct Server {
    pub endpoint: String,
    pub folder: TempDir,
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// A dev server over an empty store.
    pub fn dev() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = keyferry(words("serve --dev --listen 127.0.0.1:0 --data-dir"));
        command.arg(folder.path());
        Self::start(command, folder)
    }

    /// Starts a server that must say where it listens.
    pub fn start(mut command: Command, folder: TempDir) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = heard(&mut child);
        let first = lines.recv_timeout(LIMIT).unwrap_or_default();
        let mut server = Self { endpoint: String::new(), folder, child, lines };
        let Some(address) = first.strip_prefix("listening on ") else {
            panic!("the server said {first:?} and logged {}", server.log());
        };
        server.endpoint = if address.starts_with("unix:") {
            address.to_owned()
        } else {
            format!("http://{address}")
        };
        server
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The next line that it says.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).unwrap()
    }

    /// The most memory that was resident, in KiB.
    pub fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Where it listens, without the scheme.
    pub fn address(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap_or(&self.endpoint)
    }

    /// Runs a client of it in its folder.
    pub fn client(&self, line: &str) -> Ended {
        run(keyferry(words(line))
            .current_dir(self.folder.path())
            .env("KEYFERRY_ENDPOINT", &self.endpoint))
    }

    /// A new CMK's id.
    pub fn create_key(&self) -> String {
        let made = self.client("key create --json").done().json();
        made["key_metadata"]["key_id"].as_str().unwrap().to_owned()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        tell(&self.child, signal);
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        tell(&self.child, signal);
        wait(&mut self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a child's standard output, as they come. A thread reads on to
/// the end, so that the child never waits for a reader.
pub fn heard(child: &mut Child) -> Receiver<String> {
    let (say, heard) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
    heard
}

pub fn tell(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits for an end that must come.
pub fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it did not end within {LIMIT:?}");
}

/// A file of `tests/cli/files`.
pub fn file(name: &str) -> String {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/files");
    files.join(name).display().to_string()
}
