//! nginx and HAProxy in front: gRPC and signed requests go through them, and a
//! refusal comes back through them, too.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::gateway_sdks::clients::python_client as sdk;
use crate::gateway_sdks::travel::{Way, travel_through};
use crate::interop::clients::{ROUND_TRIP, python_client};
use crate::support::harness::{Checks, Server, checkout, found, installed, judge, took_part};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A proxy, as Debian has it.
#[derive(Clone, Copy)]
pub enum Kind {
    Nginx,
    HaProxy,
}

impl Kind {
    const fn program(self) -> &'static str {
        match self {
            Self::Nginx => "/usr/sbin/nginx",
            Self::HaProxy => "/usr/sbin/haproxy",
        }
    }

    const fn template(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::HaProxy => "haproxy.cfg",
        }
    }

    fn is_there(self) -> bool {
        found(self.program(), Path::new(self.program()).exists())
    }
}

/// A proxy that runs. Killed when dropped.
pub struct Proxy {
    pub http: String,
    pub grpc: String,
    kind: Kind,
    child: Child,
    folder: TempDir,
}

impl Proxy {
    pub fn before(kind: Kind, server: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [http, grpc] = [free_address(), free_address()];
        let template = checkout().join("tests/peers/proxies").join(kind.template());
        let config = fs::read_to_string(template)
            .unwrap()
            .replace("@SERVER@", server)
            .replace("@HTTP@", &http)
            .replace("@GRPC@", &grpc);
        let path = folder.path().join(kind.template());
        fs::write(&path, config).unwrap();
        let mut run = Command::new(kind.program());
        match kind {
            Kind::Nginx => run.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c"]).arg(path),
            Kind::HaProxy => run.args(["-db", "-f"]).arg(path),
        };
        let log = File::create(folder.path().join("log")).unwrap();
        let child = run.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let proxy = Self { http, grpc, kind, child, folder };
        proxy.wait();
        proxy
    }

    fn wait(&self) {
        let deadline = Instant::now() + START_LIMIT;
        while [&self.http, &self.grpc].iter().any(|one| TcpStream::connect(one).is_err()) {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(Instant::now() < deadline, "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its name and version.
    pub fn name(&self) -> String {
        let said = Command::new(self.kind.program()).arg("-v").output().unwrap();
        let said = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        let version = said.split([' ', '/', '-']).find(|word| word.contains('.')).unwrap();
        match self.kind {
            Kind::Nginx => format!("nginx {}", version.trim()),
            Kind::HaProxy => format!("HAProxy {version}"),
        }
    }

    /// The status of the answer to a request with this much of a body.
    fn post(&self, body: usize) -> String {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        stream.set_read_timeout(Some(START_LIMIT)).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: kms.example\r\nconnection: close\r\ncontent-length: {body}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // A proxy that has an answer may take no more.
        let _ = stream.write_all(&vec![b'a'; body]);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx ends its workers where it is asked to end.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn round_trip_and_refusals(kind: Kind) {
    let Some(peers) = installed(kind.program(), "python").filter(|_| kind.is_there()) else {
        return;
    };
    let server = Server::dev();
    let proxy = Proxy::before(kind, &server.address);
    let output = crate::support::harness::run(python_client(&peers).arg(&proxy.grpc)).text();
    let (client, checks) = judge(&output, &ROUND_TRIP);
    took_part(&format!("{} before {client}", proxy.name()), checks);

    let mut checks = Checks::of(format!("{} (refusals)", proxy.name()));
    for (body, status) in [(300_000, "413"), (70_000, "413"), (8, "400")] {
        let answers: Vec<_> = (0..40).map(|_| proxy.post(body)).collect();
        println!("{body} bytes: {answers:?}");
        checks.that(&format!("{body}_bytes"), answers.iter().all(|answer| answer == status));
    }
}

fn sdk_traffic(kind: Kind) {
    if let Some(client) = sdk("python/tea.py").filter(|_| kind.is_there()) {
        travel_through(client, &["ACS3-HMAC-SHA256"], &Way::v3(), Some(kind));
    }
}

#[test]
fn grpc_goes_through_nginx_and_refusals_come_back() {
    round_trip_and_refusals(Kind::Nginx);
}

#[test]
fn grpc_goes_through_haproxy_and_refusals_come_back() {
    round_trip_and_refusals(Kind::HaProxy);
}

#[test]
fn an_sdk_goes_through_nginx() {
    sdk_traffic(Kind::Nginx);
}

#[test]
fn an_sdk_goes_through_haproxy() {
    sdk_traffic(Kind::HaProxy);
}
