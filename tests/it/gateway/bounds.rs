//! Requests that are too large, too slow or ambiguous are refused early, at a
//! bounded cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use keyferry::server::Limits;
use keyferry::storage::{MemoryStore, Store};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::support::http::{Http, V3, owned, query};
use crate::support::{TestServer, services_over};

async fn within(limits: Limits) -> TestServer {
    TestServer::serving_within(services_over(Arc::new(MemoryStore::new())).await, limits).await
}

#[tokio::test]
async fn a_body_that_says_it_is_huge_is_not_read() {
    let server = TestServer::start().await;
    let mut http = server.http().await;
    http.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1073741824\r\n\r\n").await;
    let answer = http.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "InvalidParameter"));
    assert!(http.ended().await, "the connection ends");
}

/// A peer that still sends must get its answer all the same.
#[tokio::test]
async fn a_refusal_waits_for_what_is_still_sent() {
    let server = TestServer::start().await;
    let heads = [
        ("POST / HTTP/1.1", 413),
        ("POST /NoSuchAction HTTP/1.1", 404),
        ("PUT / HTTP/1.1", 403),
        ("POST /keyferry.v1.Kms/Encrypt HTTP/1.1", 415),
    ];
    let part = vec![b'a'; 10_000];
    for round in 0..20 {
        for (line, status) in heads {
            let mut http = server.http().await;
            http.send(format!("{line}\r\nhost: a\r\ncontent-length: 300000\r\n\r\n")).await;
            for _ in 0..30 {
                http.send(&part).await;
                tokio::task::yield_now().await;
            }
            let answer = http.answer().await.unwrap_or_else(|| panic!("{line}, round {round}"));
            assert_eq!(answer.status, status, "{line}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_is_only_read_is_read_by_get_and_head() {
    let server = TestServer::start().await;
    let mut http = server.http().await;
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        let got = http.get(path).await;
        assert_eq!(got.status, 200, "{path}");
        http.send(format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let mut head = vec![0; 4096];
        let read = http.stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]).to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", got.body.len())), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        http.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")).await;
        let refused = http.answer().await.unwrap();
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_turns_out_to_be_huge_is_read_no_further() {
    let server = TestServer::start().await;
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let (mut reading, writing) = stream.into_split();
    let sending = tokio::spawn(async move {
        let mut sent = 0_usize;
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = [b"4000\r\n".as_slice(), &[b'a'; 0x4000], b"\r\n"].concat();
        let mut bytes = head.as_bytes();
        while sent < 1 << 30 {
            writing.writable().await.unwrap();
            match writing.try_write(bytes) {
                Ok(count) => {
                    sent += count;
                    bytes = &bytes[count..];
                    if bytes.is_empty() {
                        bytes = &chunk;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        sent
    });
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), reading.read_to_end(&mut answer)).await;
    let sent = tokio::time::timeout(Duration::from_secs(20), sending).await;
    let sent = sent.expect("the server breaks off").unwrap();
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    // The end of the connection may overtake the answer.
    let text = String::from_utf8_lossy(&answer);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 413"), "{text}");
}

#[tokio::test]
async fn sixty_four_kib_are_the_most() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    for (bytes, status) in [(60_000, 404), (70_000, 413)] {
        let own = owned(&[("KeyId", "none"), ("Padding", &"a".repeat(bytes))]);
        let answer = http.v1_form(&signer, "DescribeKey", &own).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_drain() {
    let server = TestServer::start().await;
    let mut http = server.http().await;
    assert_eq!(http.get("/healthz").await.status, 200);
    let began = Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(http.ended().await);
}

#[tokio::test]
async fn ten_thousand_parameters_are_refused() {
    let server = TestServer::start().await;
    let mut http = server.http().await;
    let form = (0..10_000).map(|n| format!("a{n}")).collect::<Vec<_>>().join("&");
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let began = Instant::now();
    http.send(head).await;
    let answer = http.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "ParseRequestParameterException"));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn heads_are_bounded() {
    let server = TestServer::start().await;
    for head in [
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: a\r\n".repeat(200)),
    ] {
        let mut http = server.http().await;
        http.send(head).await;
        let answer = http.answer().await;
        let status = answer.map(|answer| answer.status);
        assert!(matches!(status, None | Some(400 | 414 | 431)), "{status:?}");
        assert!(http.ended().await);
    }
    // A query as long as the SDKs make it is taken.
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    let own = owned(&[("KeyId", "none"), ("Padding", &"a".repeat(60_000))]);
    assert_eq!(http.v3(&signer, "DescribeKey", &own).await.status, 404);
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_end() {
    let limits = Limits {
        handshake: Duration::from_millis(300),
        idle: Duration::from_millis(300),
        body: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = within(limits).await;
    // Nothing at all; the first bytes; a head without end; a second one.
    for sent in
        ["", "PO", "GET / HTTP/1.1\r\nx: a\r\n", "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nG"]
    {
        let mut http = server.http().await;
        let began = Instant::now();
        http.send(sent).await;
        if sent.contains("healthz") {
            assert_eq!(http.answer().await.unwrap().status, 200);
        }
        let _ = http.answer().await;
        assert!(began.elapsed() < Duration::from_secs(5), "{sent:?}");
    }
    let mut http = server.http().await;
    http.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\na").await;
    let answer = http.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (504, "RequestTimeout"));
    assert!(http.ended().await);
}

#[tokio::test]
async fn slow_readers_end() {
    let server = within(Limits { idle: Duration::from_millis(500), ..Limits::default() }).await;
    let mut http = server.http().await;
    // Asks again and again for what is large, and reads none of it.
    let asking = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(2000);
    let stalled = async {
        loop {
            use tokio::io::AsyncWriteExt as _;
            if http.stream.write_all(asking.as_bytes()).await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stalled).await.expect("the server breaks off");
}

#[tokio::test]
async fn those_who_send_slowly_keep_nobody_out() {
    let limits = Limits { unverified: 2, body: Duration::from_secs(60), ..Limits::default() };
    let server = within(limits).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut http = server.http().await;
        http.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\na").await;
        slow.push(http);
    }
    let mut http = server.http().await;
    // Each of these is one too many, once the server has seen both.
    for _ in 0..200 {
        let answer = http.get("/").await;
        assert_ne!(answer.status, 429, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let given_up = tokio::time::timeout(Duration::from_secs(20), slow[0].answer()).await;
    let answer = given_up.expect("it is told").unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (429, "Rejected.Throttling"));
    assert_eq!(answer.header("x-acs-retry-after"), Some("1000"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(http.get("/healthz").await.status, 200);
    server.create_key().await;
}

#[tokio::test]
async fn many_header_fields_are_refused() {
    let server = TestServer::start().await;
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let _connection = tokio::spawn(connection);
    for (content_type, status) in [("application/grpc", 200), ("text/plain", 413)] {
        let mut request = http::Request::post("http://a/keyferry.v1.Kms/Encrypt").body(()).unwrap();
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        for n in 0..200 {
            request.headers_mut().append("age", n.into());
        }
        let mut client = client.clone().ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        if status == 200 {
            let refused = tonic::Status::from_header_map(answer.headers()).unwrap();
            assert!(refused.message().contains("more than 100 header fields"), "{refused:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_has_a_share_of_those_who_read() {
    let limits = Limits { unverified_of_connection: 2, ..Limits::default() };
    let server = within(limits).await;
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let _connection = tokio::spawn(connection);
    let head = || http::Request::post("http://a/").body(()).unwrap();
    let mut slow = Vec::new();
    for _ in 0..2 {
        client = client.ready().await.unwrap();
        slow.push(client.send_request(head(), false).unwrap());
    }
    let full = async {
        loop {
            client = client.ready().await.unwrap();
            let (answer, _) = client.send_request(head(), true).unwrap();
            if answer.await.unwrap().status() == 429 {
                break client;
            }
        }
    };
    let _client = tokio::time::timeout(Duration::from_secs(5), full).await.expect("no share");
    let elsewhere = server.http().await.get("/").await;
    assert_ne!(elsewhere.status, 429, "{elsewhere:?}");
}

#[tokio::test]
async fn an_address_has_a_share_of_those_who_read() {
    let limits = Limits { unverified_of_network: 2, ..Limits::default() };
    let server = within(limits).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut http = server.http().await;
        http.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\na").await;
        slow.push(http);
    }
    let mut http = server.http().await;
    let full = async {
        while http.get("/").await.status != 429 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), full).await.expect("no share");
    let from_elsewhere = tokio::net::TcpSocket::new_v4().unwrap();
    from_elsewhere.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let stream = from_elsewhere.connect(server.address.parse().unwrap()).await.unwrap();
    let answer = Http::over(stream, &server.address).get("/").await;
    assert_ne!(answer.status, 429, "{answer:?}");
}

#[tokio::test]
async fn a_refused_signature_repeats_a_part_of_what_was_signed() {
    let server = TestServer::start().await;
    let mut signer = server.create_signer("billing").await;
    signer.secret = "another".into();
    let long = "x".repeat(50_000);
    let answer = server.http().await.v1(&signer, "Encrypt", &owned(&[("Plaintext", &long)])).await;
    assert_eq!(answer.code(), "SignatureDoesNotMatch");
    assert!((4096..8192).contains(&answer.body.len()), "{}", answer.body.len());
}

/// Each is one request to one reader and two to another.
#[tokio::test]
async fn nothing_is_smuggled() {
    let server = TestServer::start().await;
    let inner = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
    let length = inner.len();
    let both = [
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
            length + 5
        ),
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n0\r\n\r\n{inner}",
            length + 5
        ),
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: {length}\r\n\r\n{inner}"
        ),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +{length}\r\n\r\n{inner}"),
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"
        ),
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"
        ),
        format!("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 0\r\n\r\n{inner}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\n content-length: 0\r\n\r\n{inner}"),
    ];
    for request in both {
        let mut http = server.http().await;
        http.send(&request).await;
        let first = http.answer().await;
        let first = first.map(|answer| answer.status);
        assert_ne!(first, Some(200), "{request:?}");
        let second = http.answer().await;
        assert!(second.is_none(), "{request:?}: {first:?} and then {second:?}");
    }
}

#[tokio::test]
async fn http_2_is_the_same() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let form = query(&owned(&[("KeyId", "none")]));
    let asked = V3 {
        method: "POST",
        host: &server.address,
        path: "/",
        action: "DescribeKey",
        query: "",
        content_type: Some("application/x-www-form-urlencoded"),
        body: form.as_bytes(),
    };
    let mut request = http::Request::post(format!("http://{}/", server.address));
    for (name, value) in signer.v3(&asked).iter().filter(|(name, _)| name != "host") {
        request = request.header(name, value);
    }
    let (response, mut body) = client.send_request(request.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from(form.clone()), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 404);
    let mut answer = response.into_body();
    let mut text = Vec::new();
    while let Some(data) = answer.data().await {
        text.extend_from_slice(&data.unwrap());
    }
    let answer: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(answer["Code"], "Forbidden.KeyNotFound");
    let request =
        http::Request::get(format!("http://{}/healthz", server.address)).body(()).unwrap();
    let (response, _) = client.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

#[tokio::test]
async fn an_rpc_by_another_protocol_is_told_what_is_spoken() {
    let server = TestServer::start().await;
    let mut http = Http::connect(&server.address).await;
    for content_type in [
        "application/grpc",
        "application/grpc-web",
        "application/grpc-web-text",
        "application/json",
        "application/proto",
        "application/connect+json",
    ] {
        http.send(format!("POST /keyferry.v1.Kms/Encrypt HTTP/1.1\r\nhost: a\r\ncontent-type: {content_type}\r\nx-request-id: mine\r\ncontent-length: 2\r\n\r\n{{}}")).await;
        let answer = http.answer().await.unwrap();
        assert_eq!((answer.status, answer.header("x-request-id")), (415, Some("mine")));
        assert!(answer.body.contains("gRPC over HTTP/2"), "{content_type}: {answer:?}");
    }
}

/// Somebody with an access key has changes refused, each of which leaves its nonce
/// in the store: so many, and no more. Others are not held up by it.
#[tokio::test]
async fn refused_changes_fill_so_much_of_the_store_and_no_more() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::over(store.clone()).await;
    let (greedy, other) =
        (server.create_signer("greedy").await, server.create_signer("other").await);
    let key = server.create_key().await;
    let mut http = server.http().await;
    let nowhere = owned(&[("KeyId", "alias/none")]);
    let mut refused = 0;
    let answer = loop {
        let answer = http.v1(&greedy, "EnableKey", &nowhere).await;
        if answer.code() != "Forbidden.AliasNotFound" {
            break answer;
        }
        refused += 1;
        assert!(refused <= 1000, "refused changes have no bound");
    };
    assert_eq!((answer.status, answer.code().as_str()), (429, "Rejected.Throttling"));
    assert_eq!((refused, store.count("used-nonce/").await.unwrap()), (1000, 1000));
    // A permission can be taken away all the same, and a change be tried.
    let key = owned(&[("KeyId", &key)]);
    assert_eq!(http.v1(&greedy, "DisableKey", &key).await.status, 200);
    assert_eq!(http.v1(&greedy, "EnableKey", &key).await.status, 429);
    let dry = [key, owned(&[("DryRun", "true")])].concat();
    let answer = http.v1(&greedy, "EnableKey", &dry).await;
    assert_eq!(answer.code(), "DryRunOperationError");
    assert_eq!(store.count("used-nonce/").await.unwrap(), 1001, "a dry run stores nothing");
    assert_eq!(http.v1(&greedy, "ListKeys", &[]).await.status, 200, "reading stores nothing");
    assert_eq!(http.v1(&other, "CreateKey", &[]).await.status, 200);
}

/// One change pays for its own nonce alone, and one that finds all as it should be
/// for none.
#[tokio::test]
async fn changes_that_change_nothing_or_several_keys_do_not_pay_for_refused_ones() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::over(store.clone()).await;
    let greedy = server.create_signer("greedy").await;
    let keys = [server.create_key().await, server.create_key().await];
    let mut http = server.http().await;
    let enable = owned(&[("KeyId", &keys[0])]);
    let tag = |turn: usize| {
        owned(&[
            ("ResourceType", "key"),
            ("ResourceId.1", &keys[0]),
            ("ResourceId.2", &keys[1]),
            ("Tag.1.Key", "turn"),
            ("Tag.1.Value", &turn.to_string()),
        ])
    };
    let mut stored = 0;
    let answer = loop {
        let answer = http.v1(&greedy, "EnableKey", &enable).await;
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored <= 1000, "changes that change nothing have no bound");
        if stored % 100 == 50 {
            assert_eq!(http.v1(&greedy, "TagResources", &tag(stored)).await.status, 200);
        }
    };
    assert_eq!((stored, answer.code().as_str()), (1000, "Rejected.Throttling"));
}
