//! Envoy as a sidecar: clients speak to it over TCP, it speaks to Keyferry over
//! a Unix socket of mode 0600, and the whole round trip goes through it. As
//! `examples/envoy.yaml` has it, it also says whose certificate it has seen.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyferry::proto::v1::CreateKeyRequest;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, SanType};
use tempfile::TempDir;
use tonic::{Code, Request, Status};

use super::clients::{ROUND_TRIP, python_client};
use crate::support::certificates::{Authority, Issued, put_private, tls_channel, trusting};
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
        let template = checkout().join("tests/peers/interop/envoy/sidecar.yaml");
        let config = fs::read_to_string(template).unwrap();
        Self::of(tempfile::tempdir().unwrap(), &replaced(&config, "@SOCKET@", socket), envoy)
    }

    /// As the example has it, with these files of a listener with TLS.
    fn of_example(socket: &Path, authority: &Authority, envoy: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issued = authority.server(1);
        let mut config = fs::read_to_string(checkout().join("examples/envoy.yaml")).unwrap();
        let files = [
            ("/etc/envoy/server.pem", issued.cert),
            ("/etc/envoy/server.key", issued.key),
            ("/etc/envoy/clients.pem", authority.pem()),
        ];
        for (name, text) in files {
            let path = folder.path().join(Path::new(name).file_name().unwrap());
            put_private(&path, &text);
            config = replaced(&config, name, &path);
        }
        let config = replaced(&config, "/run/keyferry/keyferry.sock", socket);
        let everywhere = "address: 0.0.0.0, port_value: 7311";
        assert!(config.contains(everywhere));
        let config = config.replace(everywhere, "address: 127.0.0.1, port_value: 0");
        let config = format!("{config}admin:\n  address:\n    pipe: {{ path: \"@ADMIN@\" }}\n");
        Self::of(folder, &config, envoy)
    }

    fn of(folder: TempDir, config: &str, envoy: &Path) -> Self {
        let config = replaced(config, "@ADMIN@", &folder.path().join("admin"));
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

fn replaced(config: &str, name: &str, path: &Path) -> String {
    assert!(config.contains(name), "{name}");
    config.replace(name, path.to_str().unwrap())
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

/// A client's certificate with these URIs.
fn client(authority: &Authority, uris: &[&str]) -> Issued {
    let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let uri = |uri: &&str| SanType::URI(Ia5String::try_from(*uri).unwrap());
    params.subject_alt_names.extend(uris.iter().map(uri));
    authority.issue(&params)
}

/// Whose a key is that this client makes, who says this of itself.
async fn creator(
    address: &str,
    authority: &Authority,
    issued: Option<&Issued>,
    says: &[&str],
) -> Result<String, Status> {
    let config = trusting(authority, issued, rustls::DEFAULT_VERSIONS);
    let channel = tls_channel(address.parse().unwrap(), config).await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(CreateKeyRequest::default());
    for line in says {
        request.metadata_mut().append("x-forwarded-client-cert", line.parse().unwrap());
    }
    let made = KeyManagementClient::new(channel).create_key(request).await?;
    Ok(made.into_inner().key_metadata.unwrap().creator)
}

#[test]
fn a_sidecar_names_its_clients_and_nobody_else_does() {
    let Some(peers) = installed("Envoy", "tools") else { return };
    let envoy = peers.join("tools/bin/envoy");
    let uid = rustix::process::getuid().as_raw();
    let us = format!("unix:{uid}");
    let server =
        Server::on_socket(&[("KEYFERRY_LISTENER__0__FORWARDED_CLIENT_CERT__FROM__0", &us)]);
    let authority = Authority::new("the mesh's authority");
    let sidecar = Sidecar::of_example(server.socket(), &authority, &envoy);
    let address = sidecar.address();
    let billing = "spiffe://mesh.example/ns/pay/sa/billing";
    let certificate = client(&authority, &[billing]);
    let forged = "By=spiffe://mesh.example/kms;Hash=00;URI=spiffe://mesh.example/root";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for says in [&[][..], &[forged], &[forged, forged], &["quirk"]] {
            let creator = creator(&address, &authority, Some(&certificate), says).await;
            assert_eq!(creator.unwrap(), billing, "{says:?}");
        }
        let two = client(&authority, &[billing, "spiffe://mesh.example/root"]);
        let none = client(&authority, &[]);
        for nobody in [&two, &none] {
            let refused = creator(&address, &authority, Some(nobody), &[forged]).await;
            assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
        }
        // The handshake has no caller without a certificate.
        creator(&address, &authority, None, &[forged]).await.unwrap_err();
    });
    took_part(&format!("Envoy {} that names its clients", version(&envoy)), 7);
}
