//! The checks that every request passes, and the form of tonic's own errors.

use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use keyferry::limits::REQUEST_BYTES;
use keyferry::proto::v1::{DecryptRequest, GenerateDataKeyWithoutPlaintextRequest};
use keyferry::server::Limits;
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::world::{Server, assert_status, log_lines, play, script, soon, until};

#[tokio::test]
async fn a_request_gets_its_caller() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    let answer = play(&mut client, "whoami").await.unwrap();
    assert_eq!(answer.key_id, "dev");
    let left_ms: u64 = answer.key_version_id.parse().unwrap();
    assert!((25_000..=30_000).contains(&left_ms), "deadline in {left_ms} ms");
}

#[tokio::test]
async fn request_ids_are_kept_or_replaced_and_echoed() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    let longest = "x".repeat(64);
    let too_long = "x".repeat(65);
    for (given, kept) in [("Aa0._-", true), (&longest, true), (&too_long, false), ("a b", false)] {
        let mut request = script("whoami");
        request.metadata_mut().insert("x-request-id", given.parse().unwrap());
        let answer = soon(client.generate_data_key_without_plaintext(request)).await.unwrap();
        let echoed = answer.metadata().get("x-request-id").unwrap().to_str().unwrap().to_owned();
        assert_eq!(answer.get_ref().request_id, echoed);
        assert_eq!(echoed == given, kept, "{given}");
        if !kept {
            assert_eq!(echoed.len(), 36, "a UUID");
        }
    }
    let mut request = script("disabled");
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("mine"));
    let status = soon(client.generate_data_key_without_plaintext(request)).await.unwrap_err();
    assert_status(&status, Code::FailedPrecondition, "Rejected.Disabled");
    assert_eq!(status.get_details_request_info().unwrap().request_id, "mine");
}

/// Over raw frames: tonic's client would watch the deadline itself.
async fn with_timeout(server: &Server, text: &str, timeout: &str) -> tonic::Status {
    let mut request = crate::wire::post();
    request.headers_mut().insert("grpc-timeout", timeout.parse().unwrap());
    let message = script(text).into_inner().encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    crate::wire::answer(server, request, &body).await
}

#[tokio::test]
async fn what_is_not_offered_is_named() {
    let server = Server::dev(Limits::default()).await;
    for (header, value) in [("grpc-encoding", "gzip"), ("content-type", "application/grpc+json")] {
        let mut request = crate::wire::post();
        request.headers_mut().insert(header, value.parse().unwrap());
        let status = crate::wire::answer(&server, request, &[1, 0, 0, 0, 1, 0]).await;
        assert_status(&status, Code::Unimplemented, "UnsupportedOperation");
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity");
    }
}

#[tokio::test]
async fn a_deadline_already_past_never_reaches_the_service() {
    let server = Server::dev(Limits::default()).await;
    for timeout in ["0S", "0n", "1n"] {
        let status = with_timeout(&server, "hold", timeout).await;
        assert_status(&status, Code::DeadlineExceeded, "RequestTimeout");
    }
    assert_eq!(server.script.holding.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_call() {
    let server = Server::dev(Limits::default()).await;
    for timeout in ["1m", "20m", "100000u"] {
        let began = Instant::now();
        let status = with_timeout(&server, "hold", timeout).await;
        assert_status(&status, Code::DeadlineExceeded, "RequestTimeout");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    server.until_holding(0).await;
    let status = with_timeout(&server, "whoami", "1 hour").await;
    assert_status(&status, Code::InvalidArgument, "InvalidParameter");
}

#[tokio::test]
async fn the_servers_deadline_caps_the_callers() {
    let limits = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
    let server = Server::dev(limits).await;
    let mut client = server.client().await;
    let began = Instant::now();
    let status = with_timeout(&server, "hold", "1H").await;
    assert_status(&status, Code::DeadlineExceeded, "RequestTimeout");
    let status = play(&mut client, "hold").await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, "RequestTimeout");
    assert!((400..5_000).contains(&began.elapsed().as_millis()));
}

#[tokio::test]
async fn a_body_that_never_comes_meets_the_deadline() {
    let limits = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
    let server = Server::dev(limits).await;
    let stream = tokio::net::TcpStream::connect(server.tcp()).await.unwrap();
    let (mut client, connection) = soon(h2::client::handshake(stream)).await.unwrap();
    tokio::spawn(connection);
    let (response, _body) = client.send_request(crate::wire::post(), false).unwrap();
    let response = soon(response).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn too_much_at_once_is_told_to_come_back() {
    let server = Server::dev(Limits { in_flight: 2, ..Limits::default() }).await;
    let mut client = server.client().await;
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { play(&mut client, "hold").await })
        })
        .collect();
    server.until_holding(2).await;
    let status = play(&mut client, "whoami").await.unwrap_err();
    assert_status(&status, Code::ResourceExhausted, "Rejected.Throttling");
    let retry = status.get_details_retry_info().expect("RetryInfo");
    assert!(retry.retry_delay.is_some());
    crate::health::check(&server, "").await.expect("health is not counted");
    server.script.release.add_permits(2);
    for call in held {
        call.await.unwrap().unwrap();
    }
    play(&mut client, "whoami").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_give_their_place_back() {
    let server = Server::dev(Limits { in_flight: 4, ..Limits::default() }).await;
    let mut client = server.client().await;
    for _ in 0..20 {
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let mut client = client.clone();
                tokio::spawn(async move { play(&mut client, "hold").await })
            })
            .collect();
        server.until_holding(4).await;
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        server.until_holding(0).await;
    }
    play(&mut client, "whoami").await.unwrap();
}

/// A request whose message has exactly this many bytes.
fn sized(bytes: usize) -> Request<GenerateDataKeyWithoutPlaintextRequest> {
    let mut message =
        GenerateDataKeyWithoutPlaintextRequest { key_id: "w".repeat(bytes), ..Default::default() };
    message.key_id.truncate(bytes - (message.encoded_len() - bytes));
    assert_eq!(message.encoded_len(), bytes);
    Request::new(message)
}

#[tokio::test]
async fn messages_have_64_kib_at_most() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    soon(client.generate_data_key_without_plaintext(sized(REQUEST_BYTES.max))).await.unwrap();
    for bytes in [REQUEST_BYTES.max + 1, 1024 * 1024] {
        let called = client.generate_data_key_without_plaintext(sized(bytes));
        let status = soon(called).await.unwrap_err();
        assert_status(&status, Code::ResourceExhausted, "InvalidParameter");
        assert!(status.message().contains("64 KiB"), "{status:?}");
    }
}

#[tokio::test]
async fn headers_have_a_limit() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    let mut request = script("whoami");
    request.metadata_mut().insert("x-long", "x".repeat(20_000).parse().unwrap());
    soon(client.generate_data_key_without_plaintext(request)).await.unwrap_err();
    play(&mut client, "whoami").await.unwrap();
}

async fn raw_call(server: &Server, path: &'static str) -> tonic::Status {
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<DecryptRequest, DecryptRequest>::default();
    let path = PathAndQuery::from_static(path);
    soon(grpc.unary(Request::new(DecryptRequest::default()), path, codec)).await.unwrap_err()
}

#[tokio::test]
async fn unknown_rpcs_are_unimplemented_in_one_form() {
    let server = Server::dev(Limits::default()).await;
    for path in ["/keyferry.v1.Kms/NoSuchRpc", "/no.such.Service/Rpc", "/odd"] {
        let status = raw_call(&server, path).await;
        assert_status(&status, Code::Unimplemented, "InvalidAction.NotFound");
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let server = Server::dev(Limits::default()).await;
    for body in [
        &b"\x00\x00\x00\x00\x02\xff\xff"[..],
        b"\x00\x00\x00\x00\x09ab",
        b"\x00\x00",
        b"\x07\x00\x00\x00\x00",
        b"\x01\x00\x00\x00\x00",
        // Two messages, where the RPC takes one.
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        b"",
    ] {
        let status = crate::wire::post_body(&server, body).await;
        assert_status(&status, Code::InvalidArgument, "InvalidParameter");
    }
}

#[tokio::test]
async fn a_compression_that_is_not_spoken_is_said_so() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    let mut request = script("whoami");
    request.metadata_mut().insert("grpc-encoding", MetadataValue::from_static("zstd"));
    let status = soon(client.generate_data_key_without_plaintext(request)).await.unwrap_err();
    assert_status(&status, Code::Unimplemented, "UnsupportedOperation");
    assert!(status.message().contains("zstd"), "{status:?}");
}

#[tokio::test]
async fn a_panic_costs_one_call() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    let status = play(&mut client, "panic planted-secret").await.unwrap_err();
    assert_status(&status, Code::Internal, "InternalFailure");
    assert!(!format!("{status:?}").contains("planted"), "{status:?}");
    play(&mut client, "whoami").await.unwrap();
}

#[tokio::test]
async fn each_request_is_one_log_line_without_its_content() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    for (id, text, code) in [
        ("logged-ok", "planted-content", "OK"),
        ("logged-refused", "disabled planted-content", "FAILED_PRECONDITION"),
        ("logged-ours", "internal planted-cause", "INTERNAL"),
    ] {
        let mut request = script(text);
        request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        let _ = soon(client.generate_data_key_without_plaintext(request)).await;
        until(|| !log_lines(id).is_empty()).await;
        let lines: Vec<_> = rpc_lines(id);
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!(line["code"], code);
        assert_eq!(line["principal"], "dev");
        assert_eq!(line["rpc"], "/keyferry.v1.Kms/GenerateDataKeyWithoutPlaintext");
        let level = match code {
            "OK" => "DEBUG",
            "INTERNAL" => "ERROR",
            _ => "INFO",
        };
        assert_eq!(line["level"], level);
        assert!(line["us"].is_u64() && line["peer"].is_string(), "{line}");
        assert!(!line.to_string().contains("planted"), "{line}");
    }
    assert_eq!(rpc_lines("logged-refused")[0]["reason"], "Rejected.Disabled");
}

fn rpc_lines(id: &str) -> Vec<serde_json::Value> {
    let mut lines = log_lines(id);
    lines.retain(|line| line["target"] == "keyferry::rpc");
    lines
}

#[tokio::test]
async fn a_caller_that_leaves_is_logged_as_such() {
    let server = Server::dev(Limits::default()).await;
    let mut client = server.client().await;
    let call = tokio::spawn(async move {
        let mut request = script("hold");
        request.metadata_mut().insert("x-request-id", MetadataValue::from_static("leaver"));
        client.generate_data_key_without_plaintext(request).await
    });
    server.until_holding(1).await;
    call.abort();
    server.until_holding(0).await;
    until(|| rpc_lines("leaver").len() == 1).await;
    assert_eq!(rpc_lines("leaver")[0]["code"], "CANCELLED");
}
