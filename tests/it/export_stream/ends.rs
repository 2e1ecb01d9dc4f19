//! A server that is full, and one that stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry::proto::v1;
use keyferry::server::Limits;
use keyferry::storage::MemoryStore;
use keyferry::storage::memory::{HeldCommit, Moment};
use tokio::task::JoinHandle;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use super::talk::{Talk, World, assert_exported, soon};
use crate::support::{TestServer, assert_refused, services_over};

#[track_caller]
fn assert_stopped(ended: Status) {
    let status =
        assert_refused(Err::<(), _>(ended), Code::Unavailable, "ServiceUnavailableTemporary");
    assert!(status.get_error_details().retry_info().is_some(), "{status:?}");
}

#[tokio::test]
async fn a_drain_ends_streams_at_once() {
    let world = World::over(TestServer::start().await).await;
    let mut talks = Vec::new();
    for n in 0..8 {
        let mut talk = Talk::begin(world.server.kms.clone()).await;
        for item in 0..n {
            let item_id = item.to_string();
            assert_exported(&talk.ask(world.item(&item_id)).await, &item_id);
        }
        talks.push(talk);
    }
    let began = Instant::now();
    let World { server, .. } = world;
    let stopped = tokio::spawn(server.stop());
    for talk in talks {
        assert_stopped(talk.end().await);
    }
    soon(stopped).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_drain_ends_a_stream_that_never_pauses() {
    let world = World::over(TestServer::start().await).await;
    let mut talk = Talk::begin(world.server.kms.clone()).await;
    let item = world.item("again");
    let items = talk.items.clone();
    let talking = tokio::spawn(async move { while items.send(item.clone()).await.is_ok() {} });
    talk.hear().await.unwrap().expect("an answer");
    let World { server, .. } = world;
    let began = Instant::now();
    let stopped = tokio::spawn(server.stop());
    assert_stopped(talk.end().await);
    soon(stopped).await.unwrap();
    soon(talking).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A server with one place in flight, taken by a CreateKey that does not end
/// until its gate opens.
struct Full {
    world: World,
    talk: Talk,
    gate: HeldCommit,
    making: JoinHandle<Result<Response<v1::CreateKeyResponse>, Status>>,
}

impl Full {
    /// Whose limits leave room for one call.
    async fn within(limits: Limits) -> Self {
        let store = Arc::new(MemoryStore::new());
        let services = services_over(store.clone()).await;
        let world = World::over(TestServer::serving_within(services, limits).await).await;
        let mut talk = Talk::begin(world.server.kms.clone()).await;
        assert_exported(&talk.ask(world.item("before")).await, "before");
        let mut gate = store.hold_next_commit(Moment::Before);
        let mut management = world.server.management.clone();
        let making =
            tokio::spawn(
                async move { management.create_key(v1::CreateKeyRequest::default()).await },
            );
        soon(gate.reached()).await;
        talk.say(world.item("waits")).await;
        // It has come to the server when it has to wait.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Self { world, talk, gate, making }
    }
}

#[tokio::test]
async fn an_item_waits_for_a_permit_where_a_call_is_told_to_come_back() {
    waits_for_a_permit(Limits { in_flight: 1, ..Limits::default() }).await;
}

#[tokio::test]
async fn an_item_waits_in_its_principals_share() {
    waits_for_a_permit(Limits { in_flight_of_principal: 1, ..Limits::default() }).await;
}

async fn waits_for_a_permit(limits: Limits) {
    let Full { world, mut talk, gate, making } = Full::within(limits).await;
    let early = tokio::time::timeout(Duration::from_millis(300), talk.answers.message()).await;
    assert!(early.is_err(), "answered without a permit: {early:?}");
    let refused = world.server.kms.clone().export_data_key(world.export()).await;
    assert_refused(refused, Code::ResourceExhausted, "Rejected.Throttling");
    gate.release();
    assert_exported(&talk.hear().await.unwrap().expect("an answer"), "waits");
    soon(making).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_permit() {
    let limits = Limits { in_flight: 1, ..Limits::default() };
    let Full { world, talk, gate, making } = Full::within(limits).await;
    let World { server, .. } = world;
    let stopped = tokio::spawn(server.stop());
    assert_stopped(talk.end().await);
    assert!(!stopped.is_finished(), "the call that holds the permit is finished first");
    gate.release();
    soon(making).await.unwrap().unwrap();
    soon(stopped).await.unwrap();
}
