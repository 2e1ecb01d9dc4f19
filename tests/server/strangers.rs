//! Callers without credentials hold nothing that others need.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use keyferry::config::{LogConfig, LogFormat, LogLevel};
use keyferry::server::{Limits, logs};
use prost::Message as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::process::child;
use crate::wire::{frame, post, raw_client};
use crate::world::{SOON, Server, TlsFiles, play, script, soon, tls_client};

/// A message of a call as it stands in the body.
fn body(text: &str) -> Bytes {
    let message = script(text).into_inner().encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.map_or(true, |_| true)
}

#[tokio::test]
async fn silent_connections_lock_nobody_out() {
    let files = TlsFiles::new();
    let limits = Limits { strangers: 20, connections: 40, ..Limits::default() };
    let server = files.serve(limits).await;
    let config = files.trusting(Some(&files.authority.client("billing", 1)));
    let mut before = tls_client(server.tcp(), config.clone()).await.unwrap();
    play(&mut before, "whoami").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(soon(TcpStream::connect(server.tcp())).await.unwrap());
    }
    let mut after = soon(tls_client(server.tcp(), config)).await.unwrap();
    play(&mut after, "whoami").await.unwrap();
    play(&mut before, "whoami").await.unwrap();
    assert!(is_closed(&mut silent[0]).await, "the one that was silent for longest");
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed() {
    let limits = Limits { stranger_idle: Duration::from_millis(200), ..Limits::default() };
    let server = Server::dev(limits).await;
    let mut caller = server.client().await;
    play(&mut caller, "whoami").await.unwrap();
    // It answers pings and asks for nothing.
    let (_client, connection) = raw_client(&server).await;
    let began = Instant::now();
    let _ = soon(connection).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(200));
    let (mut client, _connection) = raw_client(&server).await;
    let (response, mut stream) = client.send_request(post(), false).unwrap();
    stream.send_data(body("whoami"), true).unwrap();
    assert_eq!(soon(response).await.unwrap().status(), 200);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(client.ready().await.is_ok(), "its caller is known");
}

#[tokio::test]
async fn an_old_connection_is_asked_to_come_anew() {
    let limits = Limits { connection_age: Duration::from_millis(300), ..Limits::default() };
    let server = Server::dev(limits).await;
    let mut caller = server.client().await;
    let (_client, connection) = raw_client(&server).await;
    let held = tokio::spawn({
        let mut caller = caller.clone();
        async move { play(&mut caller, "hold").await }
    });
    server.until_holding(1).await;
    assert!(soon(connection).await.unwrap().is_ok(), "GOAWAY without an error");
    // A call that had begun is finished, and the next one goes by a new connection.
    server.script.release.add_permits(1);
    held.await.unwrap().unwrap();
    play(&mut caller, "whoami").await.unwrap();
}

#[tokio::test]
async fn a_stream_whose_answer_nobody_takes_is_reset() {
    let limits = Limits { idle: Duration::from_millis(300), ..Limits::default() };
    let server = Server::dev(limits).await;
    let stream = TcpStream::connect(server.tcp()).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (mut client, connection) = soon(builder.handshake::<_, Bytes>(stream)).await.unwrap();
    let _connection = tokio::spawn(connection);
    let (response, mut stream) = client.send_request(post(), false).unwrap();
    stream.send_data(body("whoami"), true).unwrap();
    let mut answer = soon(response).await.unwrap().into_body();
    let reset = soon(answer.data()).await.unwrap().unwrap_err();
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL), "{reset}");
    assert!(client.ready().await.is_ok(), "the connection stays");
}

#[tokio::test]
async fn heads_without_bodies_keep_nobody_out() {
    let limits = Limits { in_flight: 4, ..Limits::default() };
    let server = Server::dev(limits).await;
    let (mut client, _connection) = raw_client(&server).await;
    let mut heads = Vec::new();
    for _ in 0..100 {
        client = soon(client.ready()).await.unwrap();
        heads.push(client.send_request(post(), false).unwrap());
    }
    let mut caller = server.client().await;
    for _ in 0..20 {
        play(&mut caller, "whoami").await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_its_call() {
    let limits = Limits { body: Duration::from_millis(200), ..Limits::default() };
    let server = Server::dev(limits).await;
    let (mut client, _connection) = raw_client(&server).await;
    let (response, mut stream) = client.send_request(post(), false).unwrap();
    stream.send_data(body("whoami").slice(..7), false).unwrap();
    let response = soon(response).await.unwrap();
    let status = tonic::Status::from_header_map(response.headers()).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// CVE-2024-27316: a head that never ends, in frame after frame.
#[tokio::test]
async fn a_head_without_end_ends_its_connection() {
    let server = Server::dev(Limits::default()).await;
    let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(1, 0, 1, &[0x83, 0x86])).await.unwrap();
    let one = [&[0x00, 0x01, b'a', 0x7f, 0x80, 0x01][..], &[b'x'; 255]].concat();
    let more = frame(9, 0, 1, &one.repeat(50));
    let mut sent = 0;
    while sent < 64 << 20 && soon(stream.write_all(&more)).await.is_ok() {
        sent += more.len();
    }
    assert!(sent < 16 << 20, "{sent} bytes were taken");
    play(&mut server.client().await, "whoami").await.unwrap();
}

/// One long field in the table, named again and again: 34 MB from 15 KB.
#[tokio::test]
async fn a_head_that_swells_is_not_unpacked() {
    let server = Server::dev(Limits::default()).await;
    let (mut client, _connection) = raw_client(&server).await;
    let mut request = post();
    let long = http::HeaderValue::from_str(&"x".repeat(2_900)).unwrap();
    for _ in 0..12_000 {
        request.headers_mut().append("a", long.clone());
    }
    let (response, _) = client.send_request(request, true).unwrap();
    let refused = soon(response).await;
    assert!(refused.as_ref().map_or(true, |answer| answer.status() == 431), "{refused:?}");
    play(&mut server.client().await, "whoami").await.unwrap();
}

/// PINGs whose answers are never read: no more is taken than is answered.
#[tokio::test]
async fn answers_to_pings_that_nobody_reads_do_not_pile_up() {
    let limits = Limits { idle: Duration::from_millis(500), ..Limits::default() };
    let server = Server::dev(limits).await;
    let mut stream = TcpStream::connect(server.tcp()).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let pings = frame(6, 0, 0, &[7; 8]).repeat(1000);
    let mut sent = 0;
    while sent < 256 << 20 && soon(stream.write_all(&pings)).await.is_ok() {
        sent += pings.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    play(&mut server.client().await, "whoami").await.unwrap();
}

/// Standard error is a pipe that nobody reads; it holds some 300 lines.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut started = child("strangers::refuses_many").stderr(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(started.stdout.take().unwrap()));
    let mut lines = lines.map(Result::unwrap);
    assert!(lines.any(|line| line.contains("all were answered")));
    kill_process(Pid::from_child(&started), Signal::TERM).unwrap();
    assert!(lines.any(|line| line.contains("stopped")));
    let began = Instant::now();
    assert!(started.wait().unwrap().success());
    assert!(began.elapsed() < SOON);
}

#[test]
#[ignore = "run by its parent, in a process of its own"]
fn refuses_many() {
    let _log = logs::start(LogConfig { format: LogFormat::Json, level: LogLevel::Info });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let stop = keyferry::server::StopSignal::on_signals().unwrap();
        let server = Arc::new(Server::dev(Limits::default()).await);
        let mut client = server.client().await;
        for _ in 0..2_000 {
            let status = play(&mut client, "disabled").await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition);
        }
        println!("all were answered");
        stop.asked(1).await;
        Arc::into_inner(server).unwrap().stopped().await;
        println!("stopped");
    });
}
