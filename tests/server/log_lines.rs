//! Each line of the log says of which request it is, and whose: over both faces,
//! in both formats, at every level.

use std::process::Output;
use std::sync::Arc;

use keyferry::config::{LogConfig, LogFormat, LogLevel};
use keyferry::proto::v1;
use keyferry::server::{Limits, logs};
use keyferry::storage::{MemoryStore, Store, Write};
use tonic::{Code, Request};

use crate::process::child;
use crate::support::http::{Answer, Http, Signer, V3, owned, query};
use crate::support::{Recipient, TestServer};
use crate::world::{Server, script, soon};

/// The ids of the requests that `drive` makes, and a text in a line of each beside
/// the line at its end.
const MADE: [(&str, &str); 9] = [
    ("change-rpc", "changed: CMK updated"),
    ("change-http", "changed: CMK updated"),
    ("refused-rpc", "Rejected.Disabled"),
    ("refused-http", "Rejected.Disabled"),
    ("ours-rpc", "InternalFailure"),
    ("ours-http", "InternalFailure"),
    ("item-rpc", "InternalFailure"),
    ("account-rpc", "changed: access key created"),
    ("panic-rpc", "a panic, which is a bug of ours"),
];

fn rpc<T>(request_id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", request_id.parse().unwrap());
    request
}

async fn http(
    http: &mut Http,
    signer: &Signer,
    request_id: &str,
    action: &str,
    own: &[(&str, &str)],
) -> Answer {
    let query = query(&owned(own));
    let asked = V3 {
        method: "POST",
        host: "localhost",
        path: "/",
        action,
        query: &query,
        content_type: None,
        body: b"",
    };
    let mut headers = signer.v3(&asked);
    headers.push(("x-request-id".to_owned(), request_id.to_owned()));
    http.request(&asked, &headers).await
}

/// Makes a request of each kind.
async fn drive() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::over(store.clone()).await;
    let (mut kms, mut management, mut access) =
        (server.kms.clone(), server.management.clone(), server.access.clone());
    let request = v1::CreateAccessKeyRequest { principal: "billing".into(), dry_run: false };
    let made = access.create_access_key(rpc("account-rpc", request)).await.unwrap().into_inner();
    let signer = Signer {
        access_key_id: made.access_key_id,
        secret: made.access_key_secret,
        version: keyferry::gateway::VERSION,
    };
    let mut door = server.http().await;
    let key_id = server.create_key().await;
    let named = [("KeyId", key_id.as_str())];
    let blob = server.generate(&key_id, &[], 32).await;

    let disable = v1::DisableKeyRequest { key_id: key_id.clone(), ..Default::default() };
    management.disable_key(rpc("change-rpc", disable)).await.unwrap();
    let generate = v1::GenerateDataKeyRequest { key_id: key_id.clone(), ..Default::default() };
    kms.generate_data_key(rpc("refused-rpc", generate.clone())).await.unwrap_err();
    let refused = http(&mut door, &signer, "refused-http", "GenerateDataKey", &named).await;
    assert_eq!(refused.code(), "Rejected.Disabled");
    let changed = http(&mut door, &signer, "change-http", "EnableKey", &named).await;
    assert_eq!(changed.status, 200, "{changed:?}");

    let tampered = Write::Put(format!("cmk/{key_id}"), b"tampered with".to_vec());
    store.commit(&[], &[tampered]).await.unwrap();
    let status = kms.generate_data_key(rpc("ours-rpc", generate)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    let ours = http(&mut door, &signer, "ours-http", "GenerateDataKey", &named).await;
    assert_eq!(ours.code(), "InternalFailure");
    let item = Some(Recipient::sm2().export(&blob, &[]));
    let item = v1::ExportDataKeysRequest { item_id: "one".into(), item };
    let answers = kms.export_data_keys(rpc("item-rpc", tokio_stream::once(item))).await.unwrap();
    let mut answers = answers.into_inner();
    while answers.message().await.unwrap().is_some() {}

    let scripted = Server::dev(Limits::default()).await;
    let mut request = script("panic planted");
    request.metadata_mut().insert("x-request-id", "panic-rpc".parse().unwrap());
    let mut client = scripted.client().await;
    soon(client.generate_data_key_without_plaintext(request)).await.unwrap_err();
    server.stop().await;
}

fn drive_with(format: LogFormat, level: LogLevel) {
    let _log = logs::start(LogConfig { format, level });
    tokio::runtime::Runtime::new().unwrap().block_on(drive());
}

#[test]
#[ignore = "run by its parent, in a process of its own"]
fn in_json() {
    drive_with(LogFormat::Json, LogLevel::Trace);
}

#[test]
#[ignore = "run by its parent, in a process of its own"]
fn in_text() {
    drive_with(LogFormat::Text, LogLevel::Trace);
}

#[test]
#[ignore = "run by its parent, in a process of its own"]
fn of_warnings_in_json() {
    drive_with(LogFormat::Json, LogLevel::Warn);
}

#[test]
#[ignore = "run by its parent, in a process of its own"]
fn of_warnings_in_text() {
    drive_with(LogFormat::Text, LogLevel::Warn);
}

fn log_of(name: &str) -> String {
    let Output { status, stdout, stderr } = child(name).output().unwrap();
    let log = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{log}\n{}", String::from_utf8_lossy(&stdout));
    log
}

/// The lines that are said to be of this request.
fn lines_of<'a>(log: &'a str, request_id: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(&format!("\"{request_id}\""))).collect()
}

fn assert_full_in_json(line: &str, request_id: &str) {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["request_id"], request_id, "{line}");
    let (asked, principal) = if request_id.ends_with("-http") {
        ("action", "access-key:billing")
    } else {
        ("rpc", "dev")
    };
    assert!(line[asked].is_string() && line["peer"].is_string(), "{line}");
    assert_eq!(line["principal"], principal, "{line}");
}

fn assert_full_in_text(line: &str, request_id: &str) {
    let (asked, principal) = if request_id.ends_with("-http") {
        ("action=\"", "principal=\"access-key:billing\"")
    } else {
        ("rpc=\"/keyferry.v1.", "principal=\"dev\"")
    };
    let request_id = format!("request_id=\"{request_id}\"");
    for part in [&request_id, asked, principal, "peer=\"127.0.0.1:"] {
        assert_eq!(line.matches(part).count(), 1, "{part} in {line}");
    }
}

/// The log of a child at the level of everything, and of one at that of warnings.
fn assert_full(all: &str, of_warnings: &str, assert_line: fn(&str, &str)) {
    for (request_id, text) in MADE {
        let lines = lines_of(all, request_id);
        assert!(
            lines.iter().any(|line| line.contains("keyferry::rpc")),
            "{request_id}: {lines:#?}"
        );
        assert!(lines.iter().any(|line| line.contains(text)), "{request_id}: {lines:#?}");
        for line in &lines {
            assert_line(line, request_id);
        }
    }
    for request_id in ["ours-rpc", "ours-http", "item-rpc", "panic-rpc"] {
        let lines = lines_of(of_warnings, request_id);
        assert!(!lines.is_empty(), "{request_id}: {of_warnings}");
        for line in &lines {
            assert_line(line, request_id);
        }
    }
    for line in of_warnings.lines() {
        assert!(line.contains("WARN") || line.contains("ERROR"), "{line}");
    }
}

#[test]
fn each_line_in_json_is_of_a_request() {
    let [all, of_warnings] = ["log_lines::in_json", "log_lines::of_warnings_in_json"].map(log_of);
    assert_full(&all, &of_warnings, assert_full_in_json);
}

#[test]
fn each_line_in_text_is_of_a_request() {
    let [all, of_warnings] = ["log_lines::in_text", "log_lines::of_warnings_in_text"].map(log_of);
    assert_full(&all, &of_warnings, assert_full_in_text);
}
