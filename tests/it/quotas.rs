//! Quotas: what a principal asks for over time is bounded by its cost, and a refusal
//! tells truly when to come back.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use keyferry::proto::v1;
use keyferry::rate::Rate;
use keyferry::server::Limits;
use keyferry::storage::MemoryStore;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Recipient, TestServer, assert_refused, services_over};

/// The smallest bucket.
const BURST: u32 = keyferry::rate::LEAST_BURST.get();

async fn server(per_second: u32) -> TestServer {
    let number = |number| NonZeroU32::new(number).unwrap();
    let rate = Rate { per_second: number(per_second), burst: number(BURST) };
    let limits = Limits { quota_of_principal: Some(rate), ..Limits::default() };
    TestServer::serving_within(services_over(Arc::new(MemoryStore::new())).await, limits).await
}

/// Describes a key until that is refused. A slow machine gives units back meanwhile.
async fn use_up(server: &TestServer, key_id: &str) -> (u32, Status) {
    let mut management = server.management.clone();
    for described in 0..=10 * BURST {
        let request = v1::DescribeKeyRequest { key_id: key_id.to_owned(), dry_run: false };
        if let Err(refused) = management.describe_key(request).await {
            return (described, refused);
        }
    }
    panic!("{BURST} units are more than they are");
}

fn delay(status: &Status) -> Duration {
    status.get_error_details().retry_info().unwrap().retry_delay.unwrap()
}

#[tokio::test]
async fn a_request_costs_a_unit_and_a_refusal_is_true() {
    let server = server(1).await;
    let key_id = server.create_key().await;
    let (described, refused) = use_up(&server, &key_id).await;
    assert_refused::<()>(Err(refused.clone()), Code::ResourceExhausted, "Rejected.Throttling");
    // The key cost a request and a change; some seconds may have passed.
    assert!((BURST - 21..BURST + 60).contains(&described), "{described}");
    assert!(delay(&refused) <= Duration::from_secs(1), "{refused:?}");
    tokio::time::sleep(delay(&refused)).await;
    let request = v1::DescribeKeyRequest { key_id, dry_run: false };
    server.management.clone().describe_key(request).await.unwrap();
}

#[tokio::test]
async fn cryptography_and_changes_cost_more() {
    let server = server(1).await;
    let request = || v1::CreateKeyRequest { key_spec: "RSA_2048".into(), ..Default::default() };
    server.management.clone().create_key(request()).await.unwrap();
    let refused = server.management.clone().create_key(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(delay(&refused) > Duration::from_secs(1900), "{refused:?}");
}

#[tokio::test]
async fn what_takes_a_permission_away_and_health_need_no_quota() {
    let server = server(1).await;
    let key_id = server.create_key().await;
    use_up(&server, &key_id).await;
    let request = v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false };
    server.management.clone().disable_key(request).await.unwrap();
    let request = v1::EnableKeyRequest { key_id, dry_run: false };
    let refused = server.management.clone().enable_key(request).await;
    assert_refused(refused, Code::ResourceExhausted, "Rejected.Throttling");
    let channel = server.another_channel().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for _ in 0..10 {
        health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    }
}

#[tokio::test]
async fn over_http_a_refusal_has_its_headers_and_another_principal_is_served() {
    let server = server(1).await;
    let (busy, other) = (server.create_signer("busy").await, server.create_signer("other").await);
    let mut http = server.http().await;
    let mut answers = 0;
    let refused = loop {
        let answer = http.v3(&busy, "ListKeys", &[]).await;
        if answer.status != 200 {
            break answer;
        }
        answers += 1;
        assert!(answers < BURST + 60);
    };
    assert_eq!((refused.status, refused.code().as_str()), (429, "Rejected.Throttling"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    let told: u64 = refused.header("x-acs-retry-after").unwrap().parse().unwrap();
    assert!((1..=1000).contains(&told), "{told}");
    assert_eq!(http.v3(&other, "ListKeys", &[]).await.status, 200);
}

/// Items come as fast as the quota lets them, and none is refused.
#[tokio::test]
async fn items_of_a_stream_wait_for_the_quota() {
    let server = server(200).await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    use_up(&server, &key_id).await;
    let recipient = Recipient::rsa();
    let items = (0..20).map(|number| v1::ExportDataKeysRequest {
        item_id: number.to_string(),
        item: Some(recipient.export(&blob, &[])),
    });
    let items = tokio_stream::iter(items.collect::<Vec<_>>());
    let mut answers = server.kms.clone().export_data_keys(items).await.unwrap().into_inner();
    for number in 0..20 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.item_id, number.to_string());
        let exported = answer.outcome.unwrap();
        assert!(
            matches!(exported, v1::export_data_keys_response::Outcome::Exported(_)),
            "{exported:?}"
        );
    }
}
