//! A server with too much to do, and when the SDKs are told to come back.

use std::sync::Arc;

use keyferry::server::Limits;
use keyferry::storage::MemoryStore;

use super::clients::python_client;
use crate::support::harness::{judge, no_proxy, run, took_part};
use crate::support::{TestServer, services_over};

#[tokio::test]
async fn the_sdks_are_told_when_to_come_back() {
    let Some(mut client) = python_client("python/throttled.py") else { return };
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let (id, secret) = TestServer::serving(services.clone()).await.create_access_key("hasty").await;
    // One that never has room for another request.
    let full = Limits { in_flight: 0, ..Limits::default() };
    let server = TestServer::serving_within(services, full).await;
    client
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret)
        .arg(&server.address);
    no_proxy(&mut client);
    let ended = tokio::task::spawn_blocking(move || run(&mut client).text()).await;
    let (peer, checks) = judge(&ended.unwrap(), &["tea_v3", "tea_v1", "core"]);
    took_part(&peer, checks);
}
