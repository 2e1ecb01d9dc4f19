//! Callers that are let in or not, and requests about the front door itself.

use std::sync::Arc;
use std::time::Duration;

use keyferry::config::GatewayConfig;
use keyferry::keys::clock::SystemClock;
use keyferry::proto::v1;
use keyferry::server::Limits;
use keyferry::storage::MemoryStore;
use keyferry::storage::memory::InjectedFault;

use crate::support::http::{Signer, V3, owned, query};
use crate::support::{Founded, TestServer, services_of, services_over};

#[tokio::test]
async fn an_access_key_is_judged_at_each_call() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    assert_eq!(http.v3(&signer, "ListKeys", &[]).await.status, 200);
    let mut access = server.access.clone();
    let request = v1::DisableAccessKeyRequest {
        access_key_id: signer.access_key_id.clone(),
        ..Default::default()
    };
    access.disable_access_key(request).await.unwrap();
    let answer = http.v3(&signer, "ListKeys", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidAccessKeyId.Inactive"));
    // A caller without the secret is not told.
    let wrong = Signer { secret: "wrong".into(), ..signer.clone() };
    assert_eq!(http.v3(&wrong, "ListKeys", &[]).await.code(), "SignatureDoesNotMatch");
    let request = v1::DeleteAccessKeyRequest {
        access_key_id: signer.access_key_id.clone(),
        ..Default::default()
    };
    access.delete_access_key(request).await.unwrap();
    let answer = http.v1(&signer, "ListKeys", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "InvalidAccessKeyId.NotFound"));
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_refused() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    let wrong = Signer { secret: "wrong".into(), ..signer.clone() };
    let unknown = Signer { access_key_id: "LTAI0".into(), ..signer.clone() };
    for (signer, status, code) in
        [(&wrong, 400, "SignatureDoesNotMatch"), (&unknown, 404, "InvalidAccessKeyId.NotFound")]
    {
        for answer in [
            http.v3(signer, "ListKeys", &[]).await,
            http.v1(signer, "ListKeys", &[]).await,
            http.v1_form(signer, "ListKeys", &[]).await,
        ] {
            assert_eq!((answer.status, answer.code().as_str()), (status, code));
        }
    }
    let message = http.v1(&wrong, "ListKeys", &[]).await.json()["Message"].clone();
    let (_, to_sign) = message.as_str().unwrap().split_once("server string to sign is:").unwrap();
    assert!(to_sign.starts_with("GET&%2F&AccessKeyId%3D"), "{to_sign}");
    let answer = http.get("/?Action=ListKeys&Version=2016-01-20").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "IncompleteSignature"));
}

#[tokio::test]
async fn a_request_is_good_for_once() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    let asked = V3 {
        method: "POST",
        host: &server.address,
        path: "/",
        action: "CreateKey",
        query: "",
        content_type: None,
        body: b"",
    };
    let headers = signer.v3(&asked);
    assert_eq!(http.request(&asked, &headers).await.status, 200);
    let answer = http.request(&asked, &headers).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "SignatureNonceUsed"));
    let target = format!("/?{}", query(&signer.v1("GET", "CreateKey", &[])));
    assert_eq!(http.get(&target).await.status, 200);
    assert_eq!(http.get(&target).await.code(), "SignatureNonceUsed");
    assert_eq!(http.v3(&signer, "ListKeys", &[]).await.json()["TotalCount"], 2);
}

/// A restart forgets the nonces of reading requests; those of changes are in the
/// store, be the change made or refused.
#[tokio::test]
async fn a_change_is_good_for_once_across_restarts() {
    let founded = Founded::over(Arc::new(MemoryStore::new())).await;
    let serve =
        async || TestServer::serving(services_of(founded.keys(Arc::new(SystemClock)).await)).await;
    let server = serve().await;
    let signer = server.create_signer("caller").await;
    let target = |action: &str, own: &[(&str, &str)]| {
        format!("/?{}", query(&signer.v1("GET", action, &owned(own))))
    };
    let made = target("CreateKey", &[]);
    let refused = target("EnableKey", &[("KeyId", "alias/none")]);
    let mut http = server.http().await;
    assert_eq!(http.get(&made).await.status, 200);
    assert_eq!(http.get(&refused).await.code(), "Forbidden.AliasNotFound");
    drop(http);
    server.stop().await;

    let server = serve().await;
    let mut http = server.http().await;
    for again in [made, refused] {
        assert_eq!(http.get(&again).await.code(), "SignatureNonceUsed");
    }
    assert_eq!(http.get(&target("ListKeys", &[])).await.json()["TotalCount"], 1);
}

#[tokio::test]
async fn version_1_can_be_turned_off() {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let config = GatewayConfig { signature_v1: false };
    let server = TestServer::serving_as(services, Limits::default(), config).await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    let answer = http.v1(&signer, "ListKeys", &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["Message"].as_str().unwrap().contains("ACS3-HMAC-SHA256"), "{answer:?}");
    assert_eq!(http.v3(&signer, "ListKeys", &[]).await.status, 200);
}

#[tokio::test]
async fn what_is_not_served_is_said_so() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    for action in ["NoSuchAction", "ExportDataKeys", "CreateAccessKey", "listkeys"] {
        let answer = http.v3(&signer, action, &[]).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "InvalidAction.NotFound"),
            "{action}"
        );
    }
    for path in ["/odd", "/NoSuchAction", "//", "/ListKeys/", "/healthz/"] {
        let answer = http.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "InvalidAction.NotFound"),
            "{path}"
        );
    }
    for method in ["PUT", "DELETE", "OPTIONS", "PATCH"] {
        http.send(format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")).await;
        let answer = http.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "UnsupportedHTTPMethod"),
            "{method}"
        );
    }
    let other = Signer { version: "2017-01-01", ..signer.clone() };
    let answer = http.v3(&other, "ListKeys", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidVersion"));
    let answer = http.v1(&other, "ListKeys", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidVersion"));
}

#[tokio::test]
async fn a_path_may_say_what_is_signed_and_nothing_else() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    for (path, status) in [("/ListKeys", 200), ("/CreateKey", 400)] {
        let asked = V3 {
            method: "POST",
            host: &server.address,
            path,
            action: "ListKeys",
            query: "",
            content_type: None,
            body: b"",
        };
        let headers = signer.v3(&asked);
        let answer = http.request(&asked, &headers).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let target = format!("/ListKeys?{}", query(&signer.v1("GET", "ListKeys", &[])));
    assert_eq!(http.get(&target).await.code(), "SignatureDoesNotMatch", "the path is signed");
}

#[tokio::test]
async fn a_name_given_twice_has_one_value() {
    let server = TestServer::start().await;
    let signer = server.create_signer("caller").await;
    let mut http = server.http().await;
    let once = query(&signer.v1("GET", "ListKeys", &owned(&[("PageSize", "1")])));
    let answer = http.get(&format!("/?{once}&PageSize=2")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "ParseRequestParameterException"));
}

#[tokio::test]
async fn probes_need_no_signature() {
    let server = TestServer::start().await;
    let mut http = server.http().await;
    let alive = http.get("/healthz").await;
    assert_eq!((alive.status, alive.body.as_str()), (200, "alive\n"));
    let ready = http.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
}

#[tokio::test]
async fn a_store_out_of_reach_is_not_ready_and_yet_alive() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let limits = Limits { probe_interval: Duration::from_millis(20), ..Limits::default() };
    let server = TestServer::serving_within(services, limits).await;
    let mut http = server.http().await;
    let mut seen = Vec::new();
    while seen.last() != Some(&503) {
        store.fail_next(InjectedFault::Unavailable);
        tokio::time::sleep(Duration::from_millis(5)).await;
        seen.push(http.get("/readyz").await.status);
        assert!(seen.len() < 1000, "always ready");
    }
    assert_eq!(http.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_request_id_is_kept() {
    let server = TestServer::start().await;
    let mut http = server.http().await;
    http.send("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: Mine-1.2_3\r\n\r\n").await;
    let answer = http.answer().await.unwrap();
    assert_eq!(answer.json()["RequestId"], "Mine-1.2_3");
    assert_eq!(answer.header("x-request-id"), Some("Mine-1.2_3"));
    http.send("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: a b\r\n\r\n").await;
    assert_eq!(http.answer().await.unwrap().json()["RequestId"].as_str().unwrap().len(), 36);
}
