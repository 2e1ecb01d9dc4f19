//! Envoy as a sidecar: clients speak to it over TCP, it speaks to Keyferry over
//! a Unix socket of mode 0600, and the whole round trip goes through it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::clients::{ROUND_TRIP, python_client};
use crate::support::harness::{Server, checkout, installed, judge, run, took_part};

/// How long Envoy may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A sidecar on a port of its own choice. Killed when dropped.
struct Sidecar {
    folder: TempDir,
    child: Child,
}

impl Sidecar {
    fn before(socket: &Path, envoy: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let template = checkout().join("tests/peers/interop/envoy/sidecar.yaml");
        let admin = folder.path().join("admin");
        let config = fs::read_to_string(template)
            .unwrap()
            .replace("@SOCKET@", socket.to_str().unwrap())
            .replace("@ADMIN@", admin.to_str().unwrap());
        let path = folder.path().join("envoy.yaml");
        fs::write(&path, config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(envoy)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"])
            .arg(path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, child }
    }

    /// Where it listens, asked of its administration: `inbound::127.0.0.1:N`.
    fn address(&self) -> String {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            let listeners = self.ask("/listeners").unwrap_or_default();
            if let Some((_, address)) = listeners.split_once("inbound::") {
                return address.lines().next().unwrap().to_owned();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{}", fs::read_to_string(self.folder.path().join("log")).unwrap());
    }

    fn ask(&self, path: &str) -> std::io::Result<String> {
        let mut admin = UnixStream::connect(self.folder.path().join("admin"))?;
        admin.set_read_timeout(Some(START_LIMIT))?;
        write!(admin, "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        admin.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`
fn version(envoy: &Path) -> String {
    let said = run(Command::new(envoy).arg("--version")).text();
    let (_, build) = said.split_once("version: ").expect("a build");
    build.split('/').nth(1).expect("a version").to_owned()
}

#[test]
fn the_round_trip_goes_through_a_sidecar() {
    let Some(peers) = installed("Envoy", "tools") else { return };
    let Some(_) = installed("Envoy", "python") else { return };
    let envoy = peers.join("tools/bin/envoy");
    let server = Server::on_socket(&[]);
    let sidecar = Sidecar::before(server.socket(), &envoy);
    let output = run(python_client(&peers).arg(sidecar.address())).text();
    let (client, checks) = judge(&output, &ROUND_TRIP);
    took_part(&format!("Envoy {} before {client}", version(&envoy)), checks);
}
