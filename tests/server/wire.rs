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
    answer(server, post(), body).await
}

pub async fn answer(server: &Server, request: http::Request<()>, body: &[u8]) -> Status {
    let (mut client, _connection) = raw_client(server).await;
    let (response, mut stream) = client.send_request(request, body.is_empty()).unwrap();
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

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK (RFC 7541): a field without indexing, its name from the static table.
fn field(name: u8, value: &str) -> Vec<u8> {
    let prefix = if name < 15 { vec![name] } else { vec![0x0f, name - 15] };
    let length = u8::try_from(value.len()).unwrap();
    [prefix, vec![length], value.as_bytes().to_vec()].concat()
}

/// The error code of the first GOAWAY among these frames.
fn goaway(mut frames: &[u8]) -> Option<u32> {
    while frames.len() >= 9 {
        let length = u32::from_be_bytes([0, frames[0], frames[1], frames[2]]) as usize;
        let (frame, rest) = frames.split_at((9 + length).min(frames.len()));
        if frame[3] == 7 {
            return Some(u32::from_be_bytes(frame[13..17].try_into().unwrap()));
        }
        frames = rest;
    }
    None
}

/// CVE-2023-44487: requests reset before they were looked at.
#[tokio::test]
async fn rapid_resets_end_the_connection_not_the_server() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let server = Server::dev(Limits::default()).await;
    let path = "/keyferry.v1.Kms/GenerateDataKeyWithoutPlaintext";
    let headers =
        [vec![0x83, 0x86], field(4, path), field(1, "localhost"), field(31, "application/grpc")]
            .concat();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    for stream in (1..4_000).step_by(2) {
        flood.extend(frame(1, 0x4, stream, &headers));
        flood.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let stream = TcpStream::connect(server.tcp()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let flooding = tokio::spawn(async move {
        let _ = write.write_all(&flood).await;
        write
    });
    let mut answered = Vec::new();
    let _ = soon(read.read_to_end(&mut answered)).await;
    assert_eq!(goaway(&answered), Some(ENHANCE_YOUR_CALM));
    drop(flooding.await.unwrap());
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
