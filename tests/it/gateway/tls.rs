//! Over TLS: the front door's callers need no certificate, gRPC's do.

use std::sync::Arc;

use keyferry::config::{Address, Config};
use keyferry::gateway::Gateway;
use keyferry::keys::clock::SystemClock;
use keyferry::proto::v1::access_management_client::AccessManagementClient;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::{CreateAccessKeyRequest, ListKeysRequest};
use keyferry::server::{self, Faces, Health, Limits, Listener};
use keyferry::service::Services;
use keyferry::service::naming::Arns;
use keyferry::storage::MemoryStore;
use tempfile::TempDir;
use tonic::Code;
use tonic::transport::Channel;

use crate::support::certificates::{
    Authority, Issued, put_private, tls_channel, tls_stream, trusting,
};
use crate::support::http::{Http, Signer};
use crate::support::{Founded, assert_refused, everything_to_everybody};

/// A server's folder, with an authority for its own certificate and its callers'.
struct Folder {
    directory: TempDir,
    authority: Authority,
}

impl Folder {
    fn new() -> Self {
        let authority = Authority::new("an authority");
        let folder = Self { directory: tempfile::tempdir().unwrap(), authority };
        let server = folder.authority.server(1);
        folder.put("cert.pem", &server.cert);
        folder.put("key.pem", &server.key);
        folder.put("ca.pem", &folder.authority.pem());
        folder
    }

    fn put(&self, name: &str, text: &str) {
        put_private(&self.directory.path().join(name), text);
    }

    fn client(&self, name: &str) -> Issued {
        self.authority.client(name, 2)
    }

    /// Serves with what `tls` says; stops at the end of the test.
    async fn serve(&self, tls: &str) -> std::net::SocketAddr {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ngateway = true\n\
             tls = {{ cert = \"cert.pem\", key = \"key.pem\"{tls} }}\n\
             [auth.mtls]\nnames = [\"dns\", \"common_name\"]\n[auth.access_key]\n\
             [store]\nkind = \"sqlite\"\npath = \"store\"\n\
             [root_key]\nprovider = \"file\"\npath = \"root.key\"\n\
             [policy]\ndir = \"policies\"\n"
        );
        let config = Config::parse(&text, self.directory.path(), []).unwrap();
        let listener = Listener::bind(&config.listeners[0]).await.unwrap();
        let Address::Tcp(address) = *listener.address() else { panic!("TCP") };
        let founded = Founded::over(Arc::new(MemoryStore::new())).await;
        let keys = founded.keys(Arc::new(SystemClock)).await;
        let services = Services::new(keys, everything_to_everybody(), Arns::new("local", "0"));
        let gateway = Gateway::new(services.clone(), config.gateway).unwrap();
        let faces = Faces { rpcs: services.routes(), gateway: Some(gateway) };
        let health = Health::new(&Services::NAMES, || async { true });
        let stop = std::future::pending::<()>();
        tokio::spawn(server::run(vec![listener], faces, health, Limits::default(), stop));
        address
    }

    fn trusting(&self, issued: Option<&Issued>, alpn: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        let config = trusting(&self.authority, issued, rustls::DEFAULT_VERSIONS);
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Arc::new(config)
    }
}

async fn grpc(
    address: std::net::SocketAddr,
    config: Arc<rustls::ClientConfig>,
) -> Result<KeyManagementClient<Channel>, tonic::transport::Error> {
    tls_channel(address, config).await.map(KeyManagementClient::new)
}

#[tokio::test]
async fn callers_of_the_door_sign_and_grpc_callers_show_certificates() {
    let folder = Folder::new();
    let address = folder.serve(", client_ca = \"ca.pem\"").await;
    let certified = folder.client("operator");
    let mut client = grpc(address, folder.trusting(Some(&certified), &[b"h2"])).await.unwrap();
    client.list_keys(ListKeysRequest::default()).await.unwrap();
    // A caller with a certificate makes an access key for one without.
    let channel = tls_channel(address, folder.trusting(Some(&certified), &[b"h2"])).await.unwrap();
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
        let stream = tls_stream(address, folder.trusting(None, alpn)).await.unwrap();
        let mut http = Http::over(stream, "localhost");
        assert_eq!(http.get("/readyz").await.status, 200);
        assert_eq!(http.get("/").await.code(), "IncompleteSignature");
        assert_eq!(http.v3(&signer, "ListKeys", &[]).await.status, 200);
    }
    // A certificate that is no good is not taken for none.
    let stranger = Folder::new().client("stranger");
    let stream = tls_stream(address, folder.trusting(Some(&stranger), &[])).await;
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
    let stream = tls_stream(address, folder.trusting(None, &[b"h2", b"http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let stream = tls_stream(address, folder.trusting(None, &[b"http/1.1"])).await.unwrap();
    assert_eq!(Http::over(stream, "localhost").get("/healthz").await.status, 200);
    let certified = folder.client("operator");
    let mut client = grpc(address, folder.trusting(Some(&certified), &[b"h2"])).await.unwrap();
    let refused = client.list_keys(ListKeysRequest::default()).await;
    assert_refused(refused, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
}
