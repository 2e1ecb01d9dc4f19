//! Servers and clients.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use keyferry::config::{Address, Config, ListenerConfig};
use keyferry::limits::REQUEST_BYTES;
use keyferry::proto::v1::GenerateDataKeyWithoutPlaintextRequest;
use keyferry::proto::v1::GenerateDataKeyWithoutPlaintextResponse;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::proto::v1::kms_server::KmsServer;
use keyferry::server::{Drained, Health, Limits, Listener, logs, run};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tower::service_fn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::script::Script;
use crate::support::certificates::{Authority, Issued, put_private, tls_channel, trusting};

pub const SERVICE: &str = "keyferry.v1.Kms";

/// A bound on whatever a test waits for.
pub const SOON: Duration = Duration::from_secs(10);

pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("within the test's bound")
}

/// Waits until `holds`.
pub async fn until(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Everything that was logged by this process, as JSON lines.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn log_lines(containing: &str) -> Vec<serde_json::Value> {
    let log = LOG.lock().unwrap().clone();
    let text = String::from_utf8(log).unwrap();
    let lines = text.lines().filter(|line| line.contains(containing));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn capture_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ours = Targets::new().with_target("keyferry", tracing::Level::TRACE);
        let lines = logs::json_lines();
        let lines = lines.with_writer(|| Log).with_filter(ours);
        // A process that logs already goes on as it does.
        let _ = tracing_subscriber::registry().with(lines).try_init();
    });
}

pub struct Server {
    pub addresses: Vec<Address>,
    pub script: Script,
    pub ready: Arc<AtomicBool>,
    pub policies_are_usable: Arc<AtomicBool>,
    pub running: JoinHandle<Drained>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    pub async fn start(listeners: &[ListenerConfig], limits: Limits) -> Self {
        capture_log();
        let script = Script::default();
        let service = KmsServer::new(script.clone()).max_decoding_message_size(REQUEST_BYTES.max);
        let ready = Arc::new(AtomicBool::new(true));
        let asked = ready.clone();
        let health = Health::new(&[SERVICE], move || {
            let answer = asked.load(Ordering::SeqCst);
            async move { answer }
        });
        let policies_are_usable = Arc::new(AtomicBool::new(true));
        let asked = policies_are_usable.clone();
        let health = health.with_policies(move || asked.load(Ordering::SeqCst));
        let mut bound = Vec::new();
        for listener in listeners {
            bound.push(Listener::bind(listener).await.unwrap());
        }
        let addresses = bound.iter().map(|one| one.address().clone()).collect();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let shutdown = async { drop(stopped.await) };
            run(bound, Routes::new(service), health, limits, shutdown).await.unwrap()
        });
        Self { addresses, script, ready, policies_are_usable, running, stop: Some(stop) }
    }

    /// Plaintext on loopback, everyone is `dev`.
    pub async fn dev(limits: Limits) -> Self {
        Self::start(&dev_listener("127.0.0.1:0"), limits).await
    }

    pub fn tcp(&self) -> SocketAddr {
        match self.addresses[0] {
            Address::Tcp(address) => address,
            Address::Unix(_) => panic!("not TCP"),
        }
    }

    pub async fn client(&self) -> KmsClient<Channel> {
        let endpoint = Endpoint::new(format!("http://{}", self.tcp())).unwrap();
        KmsClient::new(soon(endpoint.connect()).await.unwrap())
    }

    pub async fn channel(&self) -> Channel {
        soon(Endpoint::new(format!("http://{}", self.tcp())).unwrap().connect()).await.unwrap()
    }

    pub fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn stopped(mut self) -> Drained {
        self.ask_to_stop();
        soon(self.running).await.unwrap()
    }

    pub async fn until_holding(&self, count: usize) {
        until(|| self.script.holding.load(Ordering::SeqCst) == count).await;
    }
}

pub fn dev_listener(address: &str) -> Vec<ListenerConfig> {
    Config::dev(Path::new("/nowhere"), Some(address)).unwrap().listeners
}

pub fn script(text: &str) -> Request<GenerateDataKeyWithoutPlaintextRequest> {
    Request::new(GenerateDataKeyWithoutPlaintextRequest {
        key_id: text.to_owned(),
        ..Default::default()
    })
}

pub async fn play(
    client: &mut KmsClient<Channel>,
    text: &str,
) -> Result<GenerateDataKeyWithoutPlaintextResponse, Status> {
    let called = soon(client.generate_data_key_without_plaintext(script(text))).await;
    called.map(tonic::Response::into_inner)
}

/// The status is the contract's: code, reason, domain and request id.
#[track_caller]
pub fn assert_status(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "keyferry"));
    let request = details.request_info().unwrap_or_else(|| panic!("no RequestInfo: {status:?}"));
    let echoed = status.metadata().get("x-request-id").expect("x-request-id");
    assert_eq!(request.request_id.as_bytes(), echoed.as_bytes());
}

/// The files of one TLS listener, in a directory of their own.
pub struct TlsFiles {
    pub directory: TempDir,
    pub authority: Authority,
}

impl TlsFiles {
    pub fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("the callers' authority"),
        };
        files.put("ca.pem", &files.authority.pem());
        files.put_server(1);
        files
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn put(&self, name: &str, text: &str) {
        put_private(&self.path(name), text);
    }

    /// A new certificate and key for the server.
    pub fn put_server(&self, serial: u64) {
        let issued = self.authority.server(serial);
        self.put("cert.pem", &issued.cert);
        self.put("key.pem", &issued.key);
    }

    /// The configuration of a listener with these TLS files, and what else it says.
    #[expect(clippy::unused_self, reason = "its files are what the text names")]
    pub fn text(&self, tls: &str, more: &str) -> String {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ {tls} }}\n{more}\n[auth.mtls]\nnames = [\"dns\", \"common_name\"]\n\
             [store]\nkind = \"sqlite\"\npath = \"store\"\n\
             [root_key]\nprovider = \"file\"\npath = \"root.key\"\n\
             [policy]\ndir = \"policies\"\n"
        )
    }

    pub fn config(&self, tls: &str) -> Config {
        Config::parse(&self.text(tls, ""), self.directory.path(), []).unwrap()
    }

    pub async fn serve(&self, limits: Limits) -> Server {
        let config = self.config(r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem""#);
        Server::start(&config.listeners, limits).await
    }

    pub async fn serve_with_crl(&self, limits: Limits) -> Server {
        let config = self
            .config(r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem", crl = "crl.pem""#);
        Server::start(&config.listeners, limits).await
    }

    /// The settings of a client that trusts this server and bears `issued`.
    pub fn trusting(&self, issued: Option<&Issued>) -> Arc<rustls::ClientConfig> {
        trusting(&self.authority, issued, rustls::DEFAULT_VERSIONS)
    }
}

pub async fn tls_client(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<KmsClient<Channel>, tonic::transport::Error> {
    tls_channel(address, config).await.map(KmsClient::new)
}

pub async fn unix_client(path: &Path) -> Result<KmsClient<Channel>, tonic::transport::Error> {
    unix_channel(path).await.map(KmsClient::new)
}

pub async fn unix_channel(path: &Path) -> Result<Channel, tonic::transport::Error> {
    let path = path.to_owned();
    let connector = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connector).await
}

/// Counts what happened in tasks.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}
