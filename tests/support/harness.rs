//! The real server as a process of its own, other people's programs against
//! it, and what is said of them.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use hyper_util::rt::TokioIo;
use keyferry::config::Config;
use keyferry::proto::v1::access_management_client::AccessManagementClient;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::proto::v1::{
    CreateKeyRequest, DecryptRequest, ExportDataKeyRequest, GenerateDataKeyWithoutPlaintextRequest,
    GetPublicKeyRequest, ListKeyVersionsRequest,
};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long a peer may take, on a machine with something else to do.
pub const PEER_LIMIT: Duration = Duration::from_secs(120);
/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A `keyferry serve` on loopback or a Unix socket. Killed when dropped.
pub struct Server {
    pub address: String,
    pub folder: TempDir,
    child: Child,
}

impl Server {
    /// `serve --dev` over a directory of its own making.
    pub fn dev() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut serve = keyferry();
        serve
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("instance"));
        Self::start(&mut serve, folder)
    }

    /// `serve --config` over a Unix socket and a store that `init` made, with
    /// these fields of the configuration overridden.
    pub fn on_socket(fields: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instance = folder.path().join("instance");
        run(keyferry().arg("init").arg(&instance));
        let everything = "@id(\"everything\") permit (principal, action, resource);";
        fs::write(instance.join("policies/everything.cedar"), everything).unwrap();
        let mut serve = keyferry();
        serve.args(["serve", "--config"]).arg(instance.join("keyferry.toml"));
        Self::start(serve.envs(fields.iter().copied()), folder)
    }

    /// The configuration that `on_socket` was served from.
    pub fn config(&self) -> Config {
        Config::load(&self.folder.path().join("instance/keyferry.toml")).unwrap()
    }

    /// The Unix socket that it listens on.
    pub fn socket(&self) -> &Path {
        Path::new(self.address.strip_prefix("unix:").expect("a Unix socket"))
    }

    /// Starts `serve`, which writes what it logs to `log` in the folder.
    pub fn start(serve: &mut Command, folder: TempDir) -> Self {
        let log = File::create(folder.path().join("log")).unwrap();
        let mut child = serve.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, heard) = mpsc::channel();
        // Reads on to the end, so that the server never waits for a reader.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(say.send(line))));
        let first = heard.recv_timeout(START_LIMIT).unwrap_or_default();
        let mut server = Self { address: String::new(), folder, child };
        let Some(address) = first.strip_prefix("listening on ") else {
            panic!("the server said {first:?} and logged:\n{}", server.log());
        };
        address.clone_into(&mut server.address);
        server
    }

    /// Ends it, so that its store can be opened by another.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// A client command of the command line, for this server.
    pub fn client(&self) -> Command {
        let mut command = keyferry();
        command.env("KEYFERRY_ENDPOINT", format!("http://{}", self.address));
        command
    }

    /// A caller in Rust, for what the command line does not show.
    pub fn caller(&self) -> Caller {
        Caller::of(&self.address)
    }
}

/// A caller in Rust that waits for each answer.
pub struct Caller {
    pub runtime: Runtime,
    pub kms: KmsClient<Channel>,
    pub management: KeyManagementClient<Channel>,
    pub access: AccessManagementClient<Channel>,
}

impl Caller {
    /// Connects to `127.0.0.1:PORT` or `unix:PATH`.
    pub fn of(address: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let channel = runtime.block_on(connect(address));
        let management = KeyManagementClient::new(channel.clone());
        let access = AccessManagementClient::new(channel.clone());
        Self { runtime, kms: KmsClient::new(channel), management, access }
    }

    /// A new CMK's id.
    pub fn create_key(&mut self) -> String {
        let made = self.runtime.block_on(self.management.create_key(CreateKeyRequest::default()));
        made.unwrap().into_inner().key_metadata.unwrap().key_id
    }

    /// A new asymmetric CMK, with its first version and that one's public key.
    pub fn create_pair(&mut self, spec: &str, usage: &str) -> Pair {
        let request = CreateKeyRequest {
            key_spec: spec.to_owned(),
            key_usage: usage.to_owned(),
            ..Default::default()
        };
        let made = self.runtime.block_on(self.management.create_key(request));
        let key_id = made.unwrap().into_inner().key_metadata.unwrap().key_id;
        let request = ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
        let listed = self.runtime.block_on(self.management.list_key_versions(request));
        let key_version_id = listed.unwrap().into_inner().key_versions[0].key_version_id.clone();
        let request = GetPublicKeyRequest {
            key_id: key_id.clone(),
            key_version_id: key_version_id.clone(),
            ..Default::default()
        };
        let got = self.runtime.block_on(self.kms.get_public_key(request));
        Pair { key_id, key_version_id, public_key: got.unwrap().into_inner().public_key }
    }

    /// A new data key's blob.
    pub fn generate(&mut self, key_id: &str, bytes: u32) -> Vec<u8> {
        let request = GenerateDataKeyWithoutPlaintextRequest {
            key_id: key_id.to_owned(),
            number_of_bytes: Some(bytes),
            ..Default::default()
        };
        let made = self.runtime.block_on(self.kms.generate_data_key_without_plaintext(request));
        made.unwrap().into_inner().ciphertext_blob
    }

    /// A blob's content for a recipient.
    pub fn export(&mut self, request: ExportDataKeyRequest) -> Vec<u8> {
        let exported = self.runtime.block_on(self.kms.export_data_key(request));
        exported.unwrap().into_inner().exported_data_key
    }

    /// A blob's content.
    pub fn decrypt(&mut self, blob: &[u8]) -> Vec<u8> {
        let request = DecryptRequest { ciphertext_blob: blob.to_vec(), ..Default::default() };
        let opened = self.runtime.block_on(self.kms.decrypt(request));
        opened.unwrap().into_inner().plaintext
    }
}

/// An asymmetric CMK.
pub struct Pair {
    pub key_id: String,
    pub key_version_id: String,
    /// In PEM.
    pub public_key: String,
}

async fn connect(address: &str) -> Channel {
    let Some(path) = address.strip_prefix("unix:") else {
        return Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
    };
    let path = PathBuf::from(path);
    let socket = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The name is sent as the authority, and leads nowhere.
    Endpoint::from_static("http://localhost").connect_with_connector(socket).await.unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The program under test.
pub fn keyferry() -> Command {
    super::program::program()
}

/// A program's end and what it printed.
pub struct Finished {
    pub success: bool,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Its standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

/// Runs a program to its end, however it ends.
pub fn run_to_end(command: &mut Command, limit: Duration) -> Finished {
    // Files, not pipes: a program that prints much must not wait for us.
    let (out, err) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = wait(&mut child, limit);
    let read = |file: &tempfile::NamedTempFile| fs::read(file.path()).unwrap();
    let finished = Finished {
        success: status.is_some_and(|status| status.success()),
        stdout: read(&out),
        stderr: read(&err),
    };
    assert!(status.is_some(), "{command:?} took over {limit:?}\n{}", said(&finished));
    finished
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Finished {
    let finished = run_to_end(command, PEER_LIMIT);
    assert!(finished.success, "{command:?} failed\n{}", said(&finished));
    finished
}

fn said(finished: &Finished) -> String {
    let [out, err] = [&finished.stdout, &finished.stderr].map(|text| String::from_utf8_lossy(text));
    format!("stdout: {out}\nstderr: {err}")
}

fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// The root of the checkout.
pub fn checkout() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder that `scripts/peers` installs into, if it has installed this part; without it the test is left out, which in CI is a failure.
pub fn installed(name: &str, part: &str) -> Option<PathBuf> {
    let peers = checkout().join(".peers");
    found(name, peers.join("stamps").join(part).exists()).then_some(peers)
}

/// A program on the search path, by the answer to a question for its version.
pub fn on_path(name: &str, program: &str, ask: &str) -> Option<String> {
    let answer = Command::new(program).arg(ask).output();
    found(name, answer.is_ok())
        .then(|| String::from_utf8_lossy(&answer.unwrap().stdout).trim().to_owned())
}

/// Says that a peer is left out unless it was found.
pub fn found(name: &str, there: bool) -> bool {
    if !there {
        leave_out(name, "not installed: scripts/peers installs it");
    }
    there
}

fn leave_out(name: &str, reason: &str) {
    assert!(!in_ci(), "left out: {name} ({reason})");
    println!("left out: {name} ({reason})");
}

#[expect(clippy::disallowed_methods, reason = "what CI must not leave out, others may")]
fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Checks of a peer that a Rust test makes by itself; the sum is said when
/// dropped at the end of a test that did not fail.
pub struct Checks {
    peer: String,
    held: usize,
}

impl Checks {
    pub fn of(peer: impl Into<String>) -> Self {
        Self::after(peer, 0)
    }

    /// Those that come after so many that the peer made by itself.
    pub fn after(peer: impl Into<String>, held: usize) -> Self {
        Self { peer: peer.into(), held }
    }

    /// One check.
    #[track_caller]
    pub fn that(&mut self, name: &str, holds: bool) {
        assert!(holds, "{}: check {name} FAILED", self.peer);
        println!("check {name} ok");
        self.held += 1;
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert!(self.held > 0, "{}: no check was made", self.peer);
            took_part(&self.peer, self.held);
        }
    }
}

/// Judges what a client printed: `peer NAME`, `check … ok` for each of the
/// `required` at least, and `N checks` as the last line. Its name and `N`.
#[track_caller]
pub fn judge(output: &str, required: &[&str]) -> (String, usize) {
    let peer = output.lines().find_map(|line| line.strip_prefix("peer ")).expect("a peer's name");
    let held: Vec<&str> = output
        .lines()
        .filter_map(|line| line.strip_prefix("check ")?.strip_suffix(" ok"))
        .collect();
    for name in required {
        assert!(held.contains(name), "{peer}: no check {name} in\n{output}");
    }
    let last = format!("{} checks", held.len());
    assert_eq!(output.lines().last(), Some(last.as_str()), "{output}");
    (peer.to_owned(), held.len())
}

/// A proxy of the machine's must not see what goes to loopback.
pub fn no_proxy(client: &mut Command) {
    for scheme in ["http", "https", "all"] {
        client.env_remove(format!("{scheme}_proxy"));
        client.env_remove(format!("{}_PROXY", scheme.to_ascii_uppercase()));
    }
}

/// Says that a peer took part.
pub fn took_part(peer: &str, checks: usize) {
    println!("peer {peer}: {checks} checks");
}
