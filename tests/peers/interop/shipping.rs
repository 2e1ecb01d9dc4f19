//! The audit log at another place: rsyslog reads a real server's files and sends them to
//! another rsyslog, both as `examples/audit` has them. What arrives is what was written, over
//! rotations, a restart of the sender, its kill, and a while without the receiver.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keyferry::audit::chain::LinkedLine;
use keyferry::audit::files::{name, numbers};
use keyferry::audit::note::VerifierKey;
use keyferry::audit::reading::files_of;
use keyferry::audit::verification::{Trusted, Verification};
use keyferry::config::AuditConfig;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::harness::{
    Caller, Checks, PEER_LIMIT, Server, checkout, found, run, run_to_end,
};

const PROGRAM: &str = "/usr/sbin/rsyslogd";
/// Keys that are made before the next file begins.
const KEYS: usize = 5;

/// A server, its log, and where the log arrives.
struct Shipped {
    server: Server,
    caller: Caller,
    log: PathBuf,
    folder: TempDir,
    address: String,
    /// Lines may come twice from now on.
    doubles: bool,
}

impl Shipped {
    fn new() -> Self {
        let server = Server::on_socket(&[]);
        let AuditConfig::Kept(audit) = server.config().audit else { panic!("no audit log") };
        let folder = tempfile::tempdir().unwrap();
        for name in ["sender", "receiver", "arrived"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let caller = server.caller();
        let (log, address) = (audit.directory, free_address());
        Self { server, caller, log, folder, address, doubles: false }
    }

    fn arrived(&self) -> PathBuf {
        self.folder.path().join("arrived")
    }

    /// Changes that are recorded, and the next file.
    fn write(&mut self) {
        for _ in 0..KEYS {
            self.caller.create_key();
        }
        let before = numbers(&self.log).unwrap().len();
        self.server.signal(Signal::HUP);
        wait_until("the next file", || numbers(&self.log).unwrap().len() > before);
    }

    /// The sample as it stands, but for its places.
    fn configured(&self, sample: &str, role: &str) -> PathBuf {
        let port = self.address.rsplit(':').next().unwrap();
        let text = fs::read_to_string(checkout().join("examples/audit").join(sample)).unwrap();
        let text = text
            .replace("/var/spool/rsyslog", self.folder.path().join(role).to_str().unwrap())
            .replace("/var/lib/keyferry/audit", self.log.to_str().unwrap())
            .replace("/var/log/keyferry", self.arrived().to_str().unwrap())
            .replace("\"2514\"", &format!("\"{port}\""));
        let path = self.folder.path().join(sample);
        fs::write(&path, text).unwrap();
        path
    }

    fn sender(&self) -> Rsyslog {
        Rsyslog::start(&self.configured("rsyslog.conf", "sender"))
    }

    fn receiver(&self) -> Rsyslog {
        let receiver = Rsyslog::start(&self.configured("rsyslog-server.conf", "receiver"));
        wait_until("the receiver", || TcpStream::connect(&self.address).is_ok());
        receiver
    }

    /// Waits for each file that will not grow: all of them but the newest.
    fn wait(&self, what: &str) {
        let mut older = numbers(&self.log).unwrap();
        older.pop();
        self.wait_for(what, &older);
    }

    fn wait_for(&self, what: &str, numbers: &[u64]) {
        wait_until(what, || numbers.iter().all(|number| self.has_arrived(*number)));
    }

    /// Whether a file has arrived, byte for byte.
    fn has_arrived(&self, number: u64) -> bool {
        let sent = fs::read_to_string(self.log.join(name(number))).unwrap();
        self.text(number).is_some_and(|arrived| arrived == sent)
    }

    /// A file that arrived, without doubles where there may be some.
    fn text(&self, number: u64) -> Option<String> {
        let text = fs::read_to_string(self.arrived().join(name(number))).ok()?;
        let mut seen = HashSet::new();
        let lines = text.split_inclusive('\n');
        Some(lines.filter(|line| !self.doubles || seen.insert(*line)).collect())
    }
}

/// An rsyslog in the foreground. Killed when dropped.
struct Rsyslog {
    child: Child,
}

impl Rsyslog {
    fn start(config: &Path) -> Self {
        let pid_file = config.with_extension("pid");
        // What a killed one left behind.
        let _ = fs::remove_file(&pid_file);
        let log = File::options().create(true).append(true).open(config.with_extension("log"));
        let child = Command::new(PROGRAM)
            .args(["-n", "-i"])
            .arg(pid_file)
            .arg("-f")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Ends it as the machine's service manager does.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        wait_until("rsyslog's end", || self.child.try_wait().unwrap().is_some());
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PEER_LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not in {PEER_LIMIT:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// An address that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// `rsyslogd  8.2302.0 (aka 2023.02) compiled with:`
fn version() -> String {
    let said = run(Command::new(PROGRAM).arg("-v")).text();
    said.split_whitespace().nth(1).expect("a version").to_owned()
}

/// The public key of the checkpoints, from the log that was written.
fn verifier(log: &Path) -> VerifierKey {
    let text = fs::read_to_string(log.join(name(1))).unwrap();
    let key = |line| LinkedLine::parse(line).unwrap().entry().unwrap().checkpoint_key;
    VerifierKey::parse(&text.lines().find_map(key).expect("a line that tells it")).unwrap()
}

/// Whether what arrived is a whole log, signed by this key.
fn verifies(arrived: &Path, key: VerifierKey) -> bool {
    let mut verification = Verification::new(Trusted { key, kept: None }, 20);
    for file in files_of(&[arrived.to_owned()]).unwrap() {
        verification.read(&file, |_| {}).unwrap();
    }
    verification.end().is_intact()
}

fn is_there() -> bool {
    let relp = format!("/usr/lib/{}-linux-gnu/rsyslog/omrelp.so", std::env::consts::ARCH);
    found("rsyslog with RELP", Path::new(PROGRAM).exists() && Path::new(&relp).exists())
}

#[test]
fn rsyslog_ships_the_lines_as_they_stand() {
    if !is_there() {
        return;
    }
    let mut checks = Checks::of(format!("rsyslog {} (audit log)", version()));
    let mut shipped = Shipped::new();
    shipped.write();
    let receiver = shipped.receiver();
    let sender = shipped.sender();
    shipped.write();
    shipped.wait("rotation");
    checks.that("rotation", true);

    sender.stop();
    shipped.write();
    shipped.write();
    let sender = shipped.sender();
    shipped.write();
    shipped.wait("restart");
    checks.that("restart", true);

    drop(sender);
    shipped.doubles = true;
    shipped.write();
    let sender = shipped.sender();
    shipped.wait("kill");
    checks.that("kill", true);

    receiver.stop();
    shipped.write();
    let receiver = shipped.receiver();
    shipped.write();
    shipped.wait("receiver away");
    checks.that("receiver_away", true);

    shipped.server.stop();
    let all = numbers(&shipped.log).unwrap();
    shipped.wait_for("all files", &all);
    checks.that("byte_for_byte", all.len() >= 8);
    drop((sender, receiver));
    for number in all {
        fs::write(shipped.arrived().join(name(number)), shipped.text(number).unwrap()).unwrap();
    }
    checks.that("verifies", verifies(&shipped.arrived(), verifier(&shipped.log)));
    let second = shipped.arrived().join(name(2));
    let altered = fs::read_to_string(&second).unwrap().replacen("CreateKey", "createKey", 1);
    fs::write(&second, altered).unwrap();
    checks.that("altered_is_found", !verifies(&shipped.arrived(), verifier(&shipped.log)));
}

#[test]
fn rsyslog_accepts_the_sample_for_journald() {
    if !is_there() {
        return;
    }
    let mut checks = Checks::of(format!("rsyslog {} (journald's sample)", version()));
    let sample = checkout().join("examples/audit/rsyslog-journald.conf");
    let judged = run_to_end(Command::new(PROGRAM).args(["-N1", "-f"]).arg(sample), PEER_LIMIT);
    checks.that("syntax", judged.success);
}
