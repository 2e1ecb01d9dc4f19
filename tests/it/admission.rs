//! What one principal asks for at once keeps out no other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry::proto::v1;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::server::Limits;
use keyferry::service::Services;
use keyferry::service::caller::Caller;
use keyferry::service::cost::Cost;
use keyferry::service::permits::Permits;
use keyferry::storage::MemoryStore;
use keyferry::storage::memory::Moment;
use tonic::Code;

use crate::support::{
    Recipient, TestServer, assert_refused, dev_caller, eventually, services_over,
};

/// An RSA_4096 key, whose signatures take milliseconds.
async fn signing_key(services: &Services) -> v1::AsymmetricSignRequest {
    let request = v1::CreateKeyRequest {
        key_spec: "RSA_4096".into(),
        key_usage: "SIGN/VERIFY".into(),
        ..Default::default()
    };
    let made = services.create_key(&dev_caller(), request).await.unwrap();
    let key_id = made.key_metadata.unwrap().key_id;
    let request = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
    let listed = services.list_key_versions(&dev_caller(), request).await.unwrap();
    v1::AsymmetricSignRequest {
        key_id,
        key_version_id: listed.key_versions[0].key_version_id.clone(),
        algorithm: v1::SigningAlgorithm::RsaPssSha256.into(),
        digest: vec![7; 32],
        dry_run: false,
    }
}

fn callers(work: usize, share: usize) -> [Caller; 2] {
    let permits = Permits::new(work, share);
    ["one", "other"].map(|name| Caller { work: permits.share_of(&name), ..dev_caller() })
}

/// Both have room for one private-key operation at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_principal_that_signs_much_waits_for_itself_alone() {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let request = signing_key(&services).await;
    let [busy, other] = callers(80, 40);
    let signing: Vec<_> = (0..60)
        .map(|_| {
            let (services, busy, request) = (services.clone(), busy.clone(), request.clone());
            tokio::spawn(async move { services.asymmetric_sign(&busy, request).await })
        })
        .collect();
    // All have come; one is at work, and the others wait.
    while busy.work.try_take(1).is_some() {
        tokio::task::yield_now().await;
    }
    services.asymmetric_sign(&other, request).await.unwrap();
    let unanswered = signing.iter().filter(|signature| !signature.is_finished()).count();
    assert!(unanswered > 30, "{unanswered} of 60 wait behind the other");
    for signature in signing {
        signature.await.unwrap().unwrap();
    }
    assert!(busy.work.try_take(40).is_some(), "every permit is given back");
}

#[tokio::test]
async fn work_waits_no_longer_than_its_caller() {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let request = signing_key(&services).await;
    let [mut busy, _] = callers(80, 40);
    busy.deadline = Instant::now() + Duration::from_millis(50);
    let held = busy.admit(Cost::Private).await.unwrap();
    let refused = services.asymmetric_sign(&busy, request).await.unwrap_err();
    assert_eq!(refused.rule().code(), Code::DeadlineExceeded);
    drop(held);
    assert!(busy.work.try_take(40).is_some());
}

/// More SM2 wraps at once than the weights admit are all done.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_waits_is_refused() {
    let server = TestServer::start().await;
    let recipient = Recipient::sm2();
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    let exports: Vec<_> = (0..200)
        .map(|_| {
            let mut kms = server.kms.clone();
            let request = recipient.export(&blob, &[]);
            tokio::spawn(async move { kms.export_data_key(request).await })
        })
        .collect();
    for export in exports {
        export.await.unwrap().unwrap();
    }
}

/// The caller resets the stream; the change goes on, and is still one of its caller's.
#[tokio::test]
async fn a_change_that_is_left_behind_keeps_its_permit() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let limits = Limits { in_flight_of_principal: 1, ..Limits::default() };
    let server = TestServer::serving_within(services, limits).await;
    let mut gate = store.hold_next_commit(Moment::Before);
    let mut leaving = server.management.clone();
    let call =
        tokio::spawn(async move { leaving.create_key(v1::CreateKeyRequest::default()).await });
    gate.reached().await;
    call.abort();
    let mut management = server.management.clone();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let refused = management.list_keys(v1::ListKeysRequest::default()).await;
        assert_refused(refused, Code::ResourceExhausted, "Rejected.Throttling");
    }
    gate.release();
    let is_free =
        async || server.management.clone().list_keys(v1::ListKeysRequest::default()).await.is_ok();
    eventually(is_free).await;
}

/// Creates RSA_4096 keys and leaves before they are made, on a connection of its own.
async fn create_and_leave(server: &TestServer, rounds: usize) {
    let mut management = KeyManagementClient::new(server.another_channel().await);
    let request = v1::CreateKeyRequest { key_spec: "RSA_4096".into(), ..Default::default() };
    for _ in 0..rounds {
        let mut leaving = management.clone();
        let request = request.clone();
        let call = tokio::spawn(async move { leaving.create_key(request).await });
        tokio::time::sleep(Duration::from_millis(5)).await;
        call.abort();
    }
    drop(management.describe_regions(v1::DescribeRegionsRequest::default()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_generated_keep_no_signature_waiting() {
    let server = TestServer::start().await;
    let (key_id, key_version_id) = server.create_pair("RSA_2048", "SIGN/VERIFY").await;
    let request = v1::AsymmetricSignRequest {
        key_id,
        key_version_id,
        algorithm: v1::SigningAlgorithm::RsaPssSha256.into(),
        digest: vec![7; 32],
        dry_run: false,
    };
    let (kms, signed) = (server.kms.clone(), tokio::sync::Notify::new());
    let signing = async {
        for _ in 0..200 {
            kms.clone().asymmetric_sign(request.clone()).await.unwrap();
        }
        signed.notify_one();
    };
    let creating = async {
        tokio::select! {
            () = signed.notified() => {}
            () = create_and_leave(&server, 20_000) => panic!("the signatures did not come to an end"),
        }
    };
    tokio::join!(signing, creating);
}
