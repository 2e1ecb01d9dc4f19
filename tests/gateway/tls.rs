//! Over TLS: the front door's callers need no certificate, gRPC's do.

use std::sync::Arc;

use keyferry::access::policy::Policy;
use keyferry::config::{Address, Config};
use keyferry::gateway::Gateway;
use keyferry::keys::clock::SystemClock;
use keyferry::proto::v1::access_management_client::AccessManagementClient;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::{CreateAccessKeyRequest, ListKeysRequest};
use keyferry::server::{self, Faces, Health, Limits, Listener};
use keyferry::service::Services;
use keyferry::service::naming::Place;
use keyferry::storage::MemoryStore;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::support::http::{Http, Signer};
use crate::support::{Founded, assert_refused};

/// A server's folder, with an authority for its own certificate and its callers'.
struct Folder {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
struct Issued {
    cert: String,
    key: String,
}

impl Folder {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = Self { directory: tempfile::tempdir().unwrap(), authority };
        let server = folder.issue(&CertificateParams::new(vec!["localhost".to_owned()]).unwrap());
        folder.put("cert.pem", &server.cert);
        folder.put("key.pem", &server.key);
        folder.put("ca.pem", &folder.authority.pem());
        folder
    }

    fn put(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let cert = params.clone().signed_by(&key, &self.authority).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    fn client(&self, name: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        self.issue(&params)
    }

    /// Serves with what `tls` says; stops at the end of the test.
    async fn serve(&self, tls: &str) -> std::net::SocketAddr {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ngateway = true\n\
             tls = {{ cert = \"cert.pem\", key = \"key.pem\"{tls} }}\n\
             [auth.mtls]\n[auth.access_key]\n\
             [store]\nkind = \"sqlite\"\npath = \"store\"\n\
             [root_key]\nprovider = \"file\"\npath = \"root.key\"\n"
        );
        let config = Config::parse(&text, self.directory.path(), []).unwrap();
        let listener = Listener::bind(&config.listeners[0]).await.unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("TCP") };
        let keyring = Founded::over(Arc::new(MemoryStore::new())).await;
        let keyring = keyring.keyring(Arc::new(SystemClock)).await;
        let services = Services::new(keyring, Policy::VerifiedCallers, Place::new("local", "0"));
        let gateway = Gateway::new(services.clone(), config.gateway).unwrap();
        let faces = Faces { rpcs: services.routes(), gateway: Some(gateway) };
        let health = Health::new(&Services::NAMES, || async { true });
        let stop = std::future::pending::<()>();
        tokio::spawn(server::run(vec![listener], faces, health, Limits::default(), stop));
        address
    }

    fn trusting(&self, issued: Option<&Issued>, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        let pem = self.authority.pem();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
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
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

async fn connect(
    address: std::net::SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

async fn grpc(
    address: std::net::SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<KeyManagementClient<Channel>, tonic::transport::Error> {
    channel(address, config).await.map(KeyManagementClient::new)
}

async fn channel(
    address: std::net::SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    let connector = service_fn(move |_| {
        let config = config.clone();
        async move { connect(address, config).await.map(hyper_util::rt::TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await
}

#[tokio::test]
async fn callers_of_the_door_sign_and_grpc_callers_show_certificates() {
    let folder = Folder::new();
    let address = folder.serve(", client_ca = \"ca.pem\"").await;
    let certified = folder.client("operator");
    let mut client = grpc(address, folder.trusting(Some(&certified), &[b"h2"])).await.unwrap();
    client.list_keys(ListKeysRequest::default()).await.unwrap();
    // Whoever has a certificate makes an access key for whoever has none.
    let channel = channel(address, folder.trusting(Some(&certified), &[b"h2"])).await.unwrap();
    let request = CreateAccessKeyRequest { principal: "program".into(), dry_run: false };
    let made = AccessManagementClient::new(channel).create_access_key(request).await.unwrap();
    let made = made.into_inner();
    let signer = Signer {
        access_key_id: made.access_key_id,
        secret: made.access_key_secret,
        version: keyferry::gateway::VERSION,
    };
    let mut client = grpc(address, folder.trusting(None, &[b"h2"])).await.unwrap();
    let refused = client.list_keys(ListKeysRequest::default()).await;
    assert_refused(refused, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
        let stream = connect(address, folder.trusting(None, alpn)).await.unwrap();
        let mut http = Http::over(stream, "localhost");
        assert_eq!(http.get("/readyz").await.status, 200);
        assert_eq!(http.get("/").await.code(), "IncompleteSignature");
        assert_eq!(http.v3(&signer, "ListKeys", &[]).await.status, 200);
    }
    // A certificate that is no good is not taken for none.
    let stranger = Folder::new().client("stranger");
    let stream = connect(address, folder.trusting(Some(&stranger), &[])).await;
    if let Ok(stream) = stream {
        let mut http = Http::over(stream, "localhost");
        http.send("GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(http.answer().await.is_none(), "an alert");
    }
}

#[tokio::test]
async fn without_an_authority_no_certificate_is_asked_for() {
    let folder = Folder::new();
    let address = folder.serve("").await;
    let stream = connect(address, folder.trusting(None, &[b"h2", b"http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let stream = connect(address, folder.trusting(None, &[b"http/1.1"])).await.unwrap();
    assert_eq!(Http::over(stream, "localhost").get("/healthz").await.status, 200);
    let certified = folder.client("operator");
    let mut client = grpc(address, folder.trusting(Some(&certified), &[b"h2"])).await.unwrap();
    let refused = client.list_keys(ListKeysRequest::default()).await;
    assert_refused(refused, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
}
