//! A server that ten thousand hostile connections are open to, or were closed by:
//! its operator and its callers are served all the same, within bounded memory.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::command::{LIMIT, Server, keyferry, permit_everything, run, words};
use crate::support::certificates::{Authority, put_private, tls_stream, trusting};
use crate::support::http::{Http, Signer, owned};

/// Connections of each kind, and for how long they go on.
const IDLE: usize = 8_000;
const SILENT_WINDOWS: usize = 700;
const BODYLESS: usize = 700;
const FLOODING: usize = 600;
const LASTING: Duration = Duration::from_secs(6);

/// Addresses that they come from.
const SOURCES: usize = 40;

/// A server for an operator over a Unix socket, and for everybody over TLS.
struct Target {
    server: Server,
    address: SocketAddr,
    authority: Authority,
}

impl Target {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instance = folder.path().join("kf");
        run(keyferry(["init"]).arg(&instance)).done();
        permit_everything(&instance.join("policies"));
        let authority = Authority::new("everybody's authority");
        let issued = authority.server(1);
        fs::write(instance.join("cert.pem"), &issued.cert).unwrap();
        fs::write(instance.join("ca.pem"), authority.pem()).unwrap();
        put_private(&instance.join("key.pem"), &issued.key);
        let config = instance.join("keyferry.toml");
        let text = fs::read_to_string(&config).unwrap();
        let listener = "\n[[listener]]\naddress = \"127.0.0.1:0\"\ngateway = true\n\
            tls = { cert = \"cert.pem\", key = \"key.pem\", client_ca = \"ca.pem\" }\n\
            [auth.mtls]\nnames = [\"dns\", \"common_name\"]\n[auth.access_key]\n";
        fs::write(&config, text + listener).unwrap();
        let mut serve = keyferry(words("serve --config"));
        serve.arg(&config);
        let server = Server::start(serve, folder);
        let second = server.line();
        let address = second.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { server, address, authority }
    }

    fn signer(&self) -> Signer {
        let made = self.server.client("access-key create --principal billing --json").done().json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Signer {
            access_key_id: text("access_key_id"),
            secret: text("access_key_secret"),
            version: keyferry::gateway::VERSION,
        }
    }

    fn tls(&self, protocol: &str) -> Arc<rustls::ClientConfig> {
        let config = trusting(&self.authority, None, rustls::DEFAULT_VERSIONS);
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }
}

/// A connection from one of the sources.
async fn connect(address: SocketAddr, n: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let last = u8::try_from(2 + n % SOURCES).unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, last), 0).into())?;
    socket.connect(address).await
}

async fn connect_tls(
    address: SocketAddr,
    n: usize,
    config: Arc<rustls::ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, connect(address, n).await?).await
}

async fn until_closed(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// Refused requests over HTTP whose answers are not taken, or a byte of each: a few
/// long ones, and as many short ones as a connection may have.
async fn keep_windows_shut(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    window: u32,
    requests: usize,
) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let Ok((client, connection)) = builder.handshake::<_, Bytes>(stream).await else { return };
    let connection = tokio::spawn(connection);
    let mut asked = Vec::new();
    for n in 0..requests {
        let long = if n < 20 { "x".repeat(8_000) } else { String::new() };
        let uri =
            format!("https://localhost/?Action=Encrypt&SignatureVersion=1.0&Plaintext={long}");
        let request = http::Request::get(uri).body(()).unwrap();
        let Ok(mut client) = client.clone().ready().await else { break };
        asked.extend(client.send_request(request, true));
    }
    let _ = connection.await;
}

/// Heads whose bodies do not come, as many as a connection may have.
async fn send_no_body(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    requests: usize,
) {
    let Ok((client, connection)) = h2::client::handshake(stream).await else { return };
    let connection = tokio::spawn(connection);
    let mut asked = Vec::new();
    for _ in 0..requests {
        let mut request = http::Request::post("https://localhost/").body(()).unwrap();
        for n in 0..50 {
            request.headers_mut().append("age", n.into());
        }
        let Ok(mut client) = client.clone().ready().await else { break };
        asked.extend(client.send_request(request, false));
    }
    let _ = connection.await;
}

/// RPCs of a caller that shows no certificate, a line of the log for each.
async fn flood_the_log(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let Ok((mut client, connection)) = h2::client::handshake(stream).await else { return };
    let connection = tokio::spawn(connection);
    for _ in 0..20 {
        let request = http::Request::post("https://localhost/keyferry.v1.Kms/Encrypt")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let Ok((answer, _)) = client.send_request(request, true) else { break };
        let _ = answer.await;
    }
    let _ = connection.await;
}

/// Requests on each hostile connection.
#[derive(Clone, Copy)]
struct Requests {
    shut: usize,
    bodyless: usize,
}

/// Opens all hostile connections; they go on until they are dropped.
fn attack(target: &Target, requests: Requests) -> JoinSet<()> {
    let address = target.address;
    let h2 = target.tls("h2");
    let mut hostile = JoinSet::new();
    for n in 0..IDLE {
        hostile.spawn(async move {
            if let Ok(stream) = connect(address, n).await {
                until_closed(stream).await;
            }
        });
    }
    for n in 0..SILENT_WINDOWS.max(BODYLESS).max(FLOODING) {
        let h2 = h2.clone();
        hostile.spawn(async move {
            let shut = async {
                if n < SILENT_WINDOWS
                    && let Ok(stream) = connect_tls(address, n, h2.clone()).await
                {
                    keep_windows_shut(stream, u32::from(n % 2 == 0), requests.shut).await;
                }
            };
            let bodyless = async {
                if n < BODYLESS
                    && let Ok(stream) = connect_tls(address, n, h2.clone()).await
                {
                    send_no_body(stream, requests.bodyless).await;
                }
            };
            let flooding = async {
                if n < FLOODING
                    && let Ok(stream) = connect_tls(address, n, h2.clone()).await
                {
                    flood_the_log(stream).await;
                }
            };
            tokio::join!(shut, bodyless, flooding);
        });
    }
    hostile
}

/// Signed calls, one after the other, until the end; how many were answered.
async fn call_until(end: Instant, http: &mut Http, signer: &Signer, key: &str) -> usize {
    let mut answered = 0;
    while Instant::now() < end {
        let named = owned(&[("KeyId", key)]);
        let answer = http.v3(signer, "GenerateDataKeyWithoutPlaintext", &named).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answered += 1;
    }
    answered
}

#[test]
fn ten_thousand_hostile_connections_keep_nobody_out() {
    keep_nobody_out(Requests { shut: 20, bodyless: 1 }, 256);
}

/// As many as HTTP/2 lets them make: most have to wait, as their limit is lower.
#[test]
fn nor_do_they_with_many_requests_each() {
    keep_nobody_out(Requests { shut: 256, bodyless: 64 }, 384);
}

fn keep_nobody_out(requests: Requests, most_mib: u64) {
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    assert!(most.is_none_or(|most| most > 11_000), "ulimit -Hn is {most:?}: it must be 11,000");
    let target = Target::start();
    let (key, signer) = (target.server.create_key(), target.signer());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (alone, attacked) = runtime.block_on(async {
        let caller = || async {
            let stream = tls_stream(target.address, target.tls("http/1.1")).await.unwrap();
            Http::over(stream, "localhost")
        };
        let mut known = caller().await;
        let alone = call_until(Instant::now() + LASTING / 3, &mut known, &signer, &key).await;
        let hostile = attack(&target, requests);
        let attacked = call_until(Instant::now() + LASTING, &mut known, &signer, &key).await;
        // A caller who comes while it lasts is served, too.
        let mut new = caller().await;
        call_until(Instant::now() + LASTING / 3, &mut new, &signer, &key).await;
        let began = Instant::now();
        let operators = tokio::task::block_in_place(|| target.server.client("key list"));
        operators.done();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "the operator waited for {took:?}");
        drop(hostile);
        (alone, attacked / 3)
    });
    let peak_kib = target.server.memory_peak_kib();
    println!("signed calls: {alone} alone, {attacked} attacked; peak {peak_kib} KiB");
    assert!(peak_kib < most_mib * 1024, "{peak_kib} KiB");
    let deadline = Instant::now() + LIMIT;
    while !target.server.log().contains("refusals of strangers were left out") {
        assert!(Instant::now() < deadline, "{}", target.server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let log = target.server.log();
    assert!(log.lines().count() < 2_000, "{} lines", log.lines().count());
    assert!(log.lines().all(|line| line.len() <= 2048));
}
