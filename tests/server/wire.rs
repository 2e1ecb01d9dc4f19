//! Below gRPC: bytes, frames, connections.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use hyper::body::Bytes;
use keyferry::server::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;

use crate::world::{Server, play, soon};

const RPC: &str = "http://localhost/keyferry.v1.Kms/GenerateDataKeyWithoutPlaintext";

pub fn post() -> http::Request<()> {
    let request = http::Request::builder().method(Method::POST).uri(RPC);
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap()
}

pub async fn raw_client(
    server: &Server,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(server.tcp()).await.unwrap();
    let (client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

/// The status in answer to a request whose body has exactly these bytes.
pub async fn post_body(server: &Server, body: &[u8]) -> Status {
    let (mut client, _connection) = raw_client(server).await;
    let (response, mut stream) = client.send_request(post(), body.is_empty()).unwrap();
    if !body.is_empty() {
        stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
    }
    let response = soon(response).await.unwrap();
    Status::from_header_map(response.headers()).expect("only trailers")
}

async fn closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.is_err() || rest.is_empty()
}

#[tokio::test]
async fn random_bytes_do_no_harm() {
    let server = Server::dev(Limits::default()).await;
    for round in 0..100_usize {
        let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
        let mut bytes = vec![0; 24 + round];
        getrandom::fill(&mut bytes).unwrap();
        let _ = stream.write_all(&bytes).await;
        assert!(closed(&mut stream).await, "round {round}");
    }
    play(&mut server.client().await, "whoami").await.unwrap();
}

#[tokio::test]
async fn random_frames_do_no_harm() {
    let server = Server::dev(Limits::default()).await;
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
        let mut bytes = [0; 512];
        getrandom::fill(&mut bytes).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    play(&mut server.client().await, "whoami").await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_is_dropped() {
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = Server::dev(limits).await;
    for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
        stream.write_all(said).await.unwrap();
        let began = Instant::now();
        assert!(closed(&mut stream).await);
        assert!(began.elapsed() < Duration::from_secs(5), "{said:?}");
    }
}

#[tokio::test]
async fn a_silent_connection_is_asked_and_closed() {
    let limits = Limits {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Server::dev(limits).await;
    let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    // A client that answers pings stays.
    let mut client = server.client().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    play(&mut client, "whoami").await.unwrap();
}

#[tokio::test]
async fn connections_have_a_limit_and_wait_for_their_turn() {
    let server = Server::dev(Limits { connections: 2, ..Limits::default() }).await;
    let mut first = server.client().await;
    let mut second = server.client().await;
    play(&mut first, "whoami").await.unwrap();
    play(&mut second, "whoami").await.unwrap();
    let third = async {
        let mut third = server.client().await;
        play(&mut third, "whoami").await
    };
    let mut third = std::pin::pin!(third);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut third).await;
    assert!(waited.is_err(), "the third was served beyond the limit");
    drop(first);
    soon(third).await.unwrap();
}

#[tokio::test]
async fn streams_have_a_limit() {
    let server = Server::dev(Limits { streams_per_connection: 3, ..Limits::default() }).await;
    let (mut client, _connection) = raw_client(&server).await;
    let (first, _) = client.send_request(post(), true).unwrap();
    soon(first).await.unwrap();
    assert_eq!(client.current_max_send_streams(), 3);
}

#[tokio::test]
async fn rapid_resets_end_the_connection_not_the_server() {
    let server = Server::dev(Limits::default()).await;
    let (client, connection) = raw_client(&server).await;
    let mut refused = false;
    for _ in 0..5_000 {
        let Ok(mut ready) = soon(client.clone().ready()).await else {
            refused = true;
            break;
        };
        let Ok((_response, mut stream)) = ready.send_request(post(), false) else {
            refused = true;
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
    }
    drop(client);
    let ended = soon(connection).await.unwrap();
    let reason = ended.err().and_then(|error| error.reason());
    assert!(refused || reason.is_some(), "5,000 resets were taken without a word");
    assert_eq!(reason, Some(h2::Reason::ENHANCE_YOUR_CALM));
    play(&mut server.client().await, "whoami").await.unwrap();
}

#[tokio::test]
async fn what_is_not_grpc_is_answered_415() {
    let server = Server::dev(Limits::default()).await;
    let (mut client, _connection) = raw_client(&server).await;
    for content_type in [None, Some("application/json"), Some("application/grpc-web")] {
        let mut request = post();
        *request.headers_mut() = HeaderMap::new();
        if let Some(content_type) = content_type {
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
        }
        let (response, _) = client.send_request(request, true).unwrap();
        let response = soon(response).await.unwrap();
        assert_eq!(response.status(), 415);
        assert!(!response.headers().contains_key("grpc-status"));
    }
}
