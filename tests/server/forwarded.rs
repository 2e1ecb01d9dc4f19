//! `x-forwarded-client-cert`: taken from the proxies that a listener lists, and from
//! nobody else.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use keyferry::config::Config;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::proto::v1::{
    ExportDataKeysRequest, ExportDataKeysResponse, GenerateDataKeyWithoutPlaintextRequest,
};
use keyferry::server::Limits;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, SanType};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::health_client::HealthClient;

use crate::world::{
    Server, TlsFiles, assert_status, log_lines, play, script, soon, tls_client, unix_channel,
    unix_client,
};

const BILLING: &str = "spiffe://mesh.example/ns/pay/sa/billing";
const XFCC: &str = "x-forwarded-client-cert";

/// What Envoy sends for a client.
fn of_envoy(uri: &str) -> String {
    format!(
        "By=spiffe://mesh.example/kms;Hash=0a1b;Subject=\"CN=a, O=\\\"b;c\\\"\";URI={uri};DNS=a.example"
    )
}

struct Socket {
    directory: TempDir,
    server: Server,
}

impl Socket {
    /// A Unix socket whose listener says this.
    async fn with(option: &str) -> Self {
        Self::within(option, Limits::default()).await
    }

    async fn within(option: &str, limits: Limits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "[[listener]]\naddress = \"unix:kf.sock\"\n{option}\n[auth.unix]\n\
             [store]\nkind = \"sqlite\"\npath = \"store\"\n\
             [root_key]\nprovider = \"file\"\npath = \"root.key\"\n\
             [policy]\ndir = \"policies\"\n"
        );
        let config = Config::parse(&text, directory.path(), []).unwrap();
        let server = Server::start(&config.listeners, limits).await;
        Self { directory, server }
    }

    async fn behind_us() -> Self {
        Self::with(&from_us()).await
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("kf.sock")
    }

    async fn client(&self) -> KmsClient<Channel> {
        unix_client(&self.path()).await.unwrap()
    }
}

fn uid() -> u32 {
    std::fs::metadata("/proc/self").map(|found| found.uid()).unwrap()
}

/// The option that lists this process.
fn from_us() -> String {
    format!("forwarded_client_cert = {{ from = [\"unix:{}\"] }}", uid())
}

fn with_lines(text: &str, lines: &[&str]) -> Request<GenerateDataKeyWithoutPlaintextRequest> {
    let mut request = script(text);
    for line in lines {
        request.metadata_mut().append(XFCC, line.parse().unwrap());
    }
    request
}

async fn whoami(client: &mut KmsClient<Channel>, lines: &[&str]) -> Result<String, Status> {
    let asked = client.generate_data_key_without_plaintext(with_lines("whoami", lines));
    soon(asked).await.map(|answer| answer.into_inner().key_id)
}

#[track_caller]
fn assert_refused(refused: Result<String, Status>) {
    let status = refused.unwrap_err();
    assert_status(&status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    let text = "The caller is not authenticated: x-forwarded-client-cert names no client, or is not taken from this peer.";
    assert_eq!(status.message(), text, "one text for all causes");
}

#[tokio::test]
async fn each_request_is_the_named_clients() {
    let socket = Socket::behind_us().await;
    let mut client = socket.client().await;
    let mut clones = client.clone();
    for name in [BILLING, "spiffe://mesh.example/orders", BILLING] {
        assert_eq!(whoami(&mut client, &[&of_envoy(name)]).await.unwrap(), name);
    }
    // At once, over one connection.
    let (one, other) = (of_envoy(BILLING), of_envoy("spiffe://mesh.example/orders"));
    let (one, other) = ([one.as_str()], [other.as_str()]);
    let (one, other) = tokio::join!(whoami(&mut client, &one), whoami(&mut clones, &other));
    assert_eq!(one.unwrap(), BILLING);
    assert_eq!(other.unwrap(), "spiffe://mesh.example/orders");
    // The last element is the sidecar's own.
    let two = format!("{},{}", of_envoy("spiffe://mesh.example/edge"), of_envoy(BILLING));
    assert_eq!(whoami(&mut client, &[&two]).await.unwrap(), BILLING);
}

#[tokio::test]
async fn each_client_has_a_share_of_its_own() {
    let limits = Limits { in_flight_of_principal: 1, ..Limits::default() };
    let socket = Socket::within(&from_us(), limits).await;
    let (one, other) = (of_envoy(BILLING), of_envoy("spiffe://mesh.example/orders"));
    let mut client = socket.client().await;
    let (mut held, request) = (client.clone(), with_lines("hold", &[&one]));
    let holding =
        tokio::spawn(async move { held.generate_data_key_without_plaintext(request).await });
    socket.server.until_holding(1).await;
    // Whichever connection it comes by.
    let mut another = socket.client().await;
    for client in [&mut client, &mut another] {
        let refused = whoami(client, &[&one]).await.unwrap_err();
        assert_status(&refused, Code::ResourceExhausted, "Rejected.Throttling");
        whoami(client, &[&other]).await.unwrap();
    }
    socket.server.script.release.add_permits(1);
    soon(holding).await.unwrap().unwrap();
    whoami(&mut client, &[&one]).await.unwrap();
}

#[tokio::test]
async fn a_listed_proxy_that_names_nobody_clearly_is_nobody() {
    let socket = Socket::behind_us().await;
    let mut client = socket.client().await;
    let good = of_envoy(BILLING);
    for line in [
        String::new(),
        format!("{good},"),
        format!("{good};URI=spiffe://mesh.example/root"),
        format!("{good};uri=spiffe://mesh.example/root"),
        format!("{good},Hash=00"),
        format!("{good}, {good}"),
        format!("Subject=\"CN=a;{good}"),
        format!("Subject=\"CN=a\\\";URI={BILLING}"),
        "Hash=00;URI=".to_owned(),
        "Hash=00;URI=unix:0".to_owned(),
        "Hash=00;URI=https://mesh.example/root".to_owned(),
        "Hash=00;URI=spiffe://mesh.example/a%2fb".to_owned(),
        "Hash=00;DNS=a.example".to_owned(),
    ] {
        assert_refused(whoami(&mut client, &[&line]).await);
    }
    assert_refused(whoami(&mut client, &[&good, &good]).await);
    assert_refused(whoami(&mut client, &["", &good]).await);
    assert_refused(whoami(&mut client, &[]).await);
    // The connection goes on.
    assert_eq!(whoami(&mut client, &[&good]).await.unwrap(), BILLING);
}

#[tokio::test]
async fn a_peer_that_is_not_listed_is_itself_and_forges_nothing() {
    let other = format!("forwarded_client_cert = {{ from = [\"unix:{}\"] }}", uid() + 1);
    let socket = Socket::with(&other).await;
    let mut client = socket.client().await;
    let itself = format!("unix:{}", uid());
    assert_eq!(whoami(&mut client, &[]).await.unwrap(), itself);
    assert_refused(whoami(&mut client, &[&of_envoy(BILLING)]).await);
    assert_refused(whoami(&mut client, &[""]).await);
    assert_eq!(whoami(&mut client, &[]).await.unwrap(), itself);
}

#[tokio::test]
async fn without_the_option_the_header_says_nothing() {
    let socket = Socket::with("").await;
    let mut client = socket.client().await;
    let itself = format!("unix:{}", uid());
    assert_eq!(whoami(&mut client, &[&of_envoy(BILLING)]).await.unwrap(), itself);
    // And the operator is told what that means behind a sidecar.
    let address = socket.path().display().to_string();
    let told = log_lines("behind a sidecar");
    let told = told.iter().find(|line| line["address"].as_str().unwrap().ends_with(&address));
    assert!(told.unwrap()["message"].as_str().unwrap().contains("forwarded_client_cert"));
}

#[tokio::test]
async fn a_sidecars_own_probes_are_answered() {
    let socket = Socket::behind_us().await;
    let mut health = HealthClient::new(unix_channel(&socket.path()).await.unwrap());
    let mut ask = async |line: Option<&str>| {
        let mut request = Request::new(tonic_health::pb::HealthCheckRequest::default());
        if let Some(line) = line {
            request.metadata_mut().append(XFCC, line.parse().unwrap());
        }
        soon(health.check(request)).await.map(drop)
    };
    ask(None).await.unwrap();
    ask(Some(&of_envoy(BILLING))).await.unwrap();
    assert_eq!(ask(Some("quirk")).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn the_log_names_the_client_and_the_proxy_and_why_not() {
    let socket = Socket::behind_us().await;
    let mut client = socket.client().await;
    let mut send = async |id: &str, lines: &[&str]| {
        let mut request = with_lines("whoami", lines);
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        let _ = soon(client.generate_data_key_without_plaintext(request)).await;
        let lines = log_lines(id);
        lines.into_iter().find(|line| line["target"] == "keyferry::rpc").unwrap()
    };
    let good = send("forwarded-by-us", &[&of_envoy(BILLING)]).await;
    assert_eq!(good["principal"], BILLING);
    assert_eq!(good["by"], format!("unix:{}", uid()));
    let bad = send("forwarded-twice", &["URI=spiffe://mesh.example/secretive", "a"]).await;
    assert!(bad["why"].as_str().unwrap().contains("two lines"), "{bad}");
    assert!(bad.get("principal").is_none() && !bad.to_string().contains("secretive"), "{bad}");
}

pub struct Talk {
    items: mpsc::Sender<ExportDataKeysRequest>,
    answers: Streaming<ExportDataKeysResponse>,
}

impl Talk {
    pub async fn begin(
        client: &mut KmsClient<Channel>,
        header: &'static str,
        value: &str,
    ) -> Result<Self, Status> {
        let (items, received) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(received));
        request.metadata_mut().append(header, value.parse().unwrap());
        let answers = soon(client.export_data_keys(request)).await?.into_inner();
        Ok(Self { items, answers })
    }

    /// Whose the next item is.
    pub async fn ask(&mut self) -> Result<String, Status> {
        soon(self.items.send(ExportDataKeysRequest::default())).await.unwrap();
        let answer = soon(self.answers.message()).await?;
        Ok(answer.expect("an answer").item_id)
    }
}

#[tokio::test]
async fn the_items_of_a_stream_are_the_named_clients() {
    let socket = Socket::behind_us().await;
    let mut client = socket.client().await;
    let mut one = Talk::begin(&mut client, XFCC, &of_envoy(BILLING)).await.unwrap();
    let orders = "spiffe://mesh.example/orders";
    let mut other = Talk::begin(&mut client, XFCC, &of_envoy(orders)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(one.ask().await.unwrap(), BILLING);
        assert_eq!(other.ask().await.unwrap(), orders);
    }
    let refused = Talk::begin(&mut client, XFCC, "quirk").await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn over_tls_the_proxys_own_certificate_is_listed() {
    let files = TlsFiles::new();
    files.put("crl.pem", &files.authority.revoking(&[], Duration::from_hours(1)));
    let tls = r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem", crl = "crl.pem""#;
    let option = r#"forwarded_client_cert = { from = ["spiffe://mesh.example/proxy"] }"#;
    let text = files.text(tls, option);
    let config = Config::parse(&text, files.directory.path(), []).unwrap();
    let limits = Limits { reload_interval: Duration::from_millis(20), ..Limits::default() };
    let server = Server::start(&config.listeners, limits).await;
    let connect = async |id: &str, serial: u64| {
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial.into());
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id).unwrap())];
        let issued = files.authority.issue(&params);
        tls_client(server.tcp(), files.trusting(Some(&issued))).await.unwrap()
    };
    let mut proxy = connect("spiffe://mesh.example/proxy", 7).await;
    let mut other = connect("spiffe://mesh.example/proxy/other", 8).await;
    assert_eq!(whoami(&mut proxy, &[&of_envoy(BILLING)]).await.unwrap(), BILLING);
    assert_refused(whoami(&mut proxy, &[]).await);
    assert_refused(whoami(&mut other, &[&of_envoy(BILLING)]).await);
    assert_eq!(whoami(&mut other, &[]).await.unwrap(), "spiffe://mesh.example/proxy/other");

    let mut stream = Talk::begin(&mut proxy, XFCC, &of_envoy(BILLING)).await.unwrap();
    assert_eq!(stream.ask().await.unwrap(), BILLING);
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_hours(1)));
    let ended = soon(async {
        loop {
            if let Err(status) = stream.ask().await {
                return status;
            }
        }
    });
    assert_eq!(ended.await.code(), Code::Unauthenticated, "its items are judged again");
    let status = whoami(&mut proxy, &[&of_envoy(BILLING)]).await.unwrap_err();
    assert!(status.message().contains("no longer accepted"), "{status:?}");
    play(&mut other, "whoami").await.unwrap();
}

#[test]
fn only_those_are_listed_whom_a_connection_can_prove() {
    let parse = |text: &str| Config::parse(text, Path::new("/etc/keyferry"), []);
    let text = "[[listener]]\naddress = \"unix:kf.sock\"\nforwarded_client_cert = { from = [\"unix:1337\", \"unix:0\"] }\n[auth.unix]\n\
        [store]\nkind = \"sqlite\"\npath = \"store\"\n[root_key]\nprovider = \"file\"\npath = \"root.key\"\n[policy]\ndir = \"policies\"\n";
    let config = parse(text).unwrap();
    let listed: Vec<_> = config.listeners[0].forwarders().iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["unix:1337", "unix:0"]);
    let tokens = ["spiffe://mesh.example/proxy", "access-key:billing", "dev", "unix:01", "1337"];
    for other in tokens {
        let error = parse(&text.replace("unix:1337", other)).unwrap_err();
        assert_eq!(error.field(), "listener[0].forwarded_client_cert.from[0]", "{error}");
    }
}
