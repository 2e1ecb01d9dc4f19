//! Servers, clients and certificates.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use keyferry::config::{Address, Config, ListenerConfig};
use keyferry::proto::v1::GenerateDataKeyWithoutPlaintextRequest;
use keyferry::proto::v1::GenerateDataKeyWithoutPlaintextResponse;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::proto::v1::kms_server::KmsServer;
use keyferry::server::{Drained, Health, Limits, Listener, MAX_MESSAGE_BYTES, run};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use tower::service_fn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::script::Script;

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
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
        tracing_subscriber::registry().with(lines.with_writer(|| Log).with_filter(ours)).init();
    });
}

pub struct Server {
    pub addresses: Vec<Address>,
    pub script: Script,
    pub ready: Arc<AtomicBool>,
    pub running: JoinHandle<Drained>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    pub async fn start(listeners: &[ListenerConfig], limits: Limits) -> Self {
        capture_log();
        let script = Script::default();
        let service = KmsServer::new(script.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let ready = Arc::new(AtomicBool::new(true));
        let asked = ready.clone();
        let health = Health::new(&[SERVICE], move || {
            let answer = asked.load(Ordering::SeqCst);
            async move { answer }
        });
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
        Self { addresses, script, ready, running, stop: Some(stop) }
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

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub struct Issued {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn server(&self, serial: u64) -> Issued {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(serial.into());
        self.issue(&params)
    }

    pub fn client(&self, name: &str, serial: u64) -> Issued {
        self.client_until(name, serial, Duration::from_hours(1))
    }

    pub fn client_until(&self, name: &str, serial: u64, lasts: Duration) -> Issued {
        let mut params = params(name);
        params.serial_number = Some(serial.into());
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now() + lasts;
        self.issue(&params)
    }

    pub fn expired_client(&self, name: &str) -> Issued {
        let mut params = params(name);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.issue(&params)
    }

    pub fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let cert = params.clone().signed_by(&key, &self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    pub fn revoking(&self, serials: &[u64], lasts: Duration) -> String {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(1970, 1, 1) + now() + lasts,
            crl_number: SerialNumber::from(serials.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(|serial| revoked(*serial)).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn revoked(serial: u64) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: serial.into(),
        revocation_time: rcgen::date_time_ymd(2021, 1, 1),
        reason_code: None,
        invalidity_date: None,
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
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
        std::fs::write(self.path(name), text).unwrap();
    }

    /// A new certificate and key for the server.
    pub fn put_server(&self, serial: u64) {
        let issued = self.authority.server(serial);
        self.put("cert.pem", &issued.cert);
        self.put("key.pem", &issued.key);
    }

    pub fn config(&self, tls: &str) -> Config {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = {{ {tls} }}\n[auth.mtls]\n\
             [store]\nkind = \"sqlite\"\npath = \"store\"\n\
             [root_key]\nprovider = \"file\"\npath = \"root.key\"\n"
        );
        Config::parse(&text, self.directory.path(), []).unwrap()
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

    /// What a client that trusts this server and bears `issued` is set to.
    pub fn trusting(&self, issued: Option<&Issued>) -> Arc<rustls::ClientConfig> {
        trusting(&self.authority, issued, rustls::DEFAULT_VERSIONS)
    }
}

pub fn trusting(
    authority: &Authority,
    issued: Option<&Issued>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match issued {
        None => builder.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.cert.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

pub async fn tls_stream(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

pub async fn tls_client(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<KmsClient<Channel>, tonic::transport::Error> {
    let connector = service_fn(move |_| {
        let config = config.clone();
        async move { tls_stream(address, config).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(KmsClient::new(endpoint.connect_with_connector(connector).await?))
}

pub async fn unix_client(path: &Path) -> Result<KmsClient<Channel>, tonic::transport::Error> {
    let path = path.to_owned();
    let connector = service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    Ok(KmsClient::new(endpoint.connect_with_connector(connector).await?))
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
