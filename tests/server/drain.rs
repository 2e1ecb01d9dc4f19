//! The end: what runs is finished, what comes is refused, and not for ever.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use keyferry::server::{Drained, Limits};
use tokio::net::TcpStream;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::world::{Count, SERVICE, Server, play, soon};

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let server = Server::dev(Limits::default()).await;
    let _idle = server.client().await;
    let _silent = TcpStream::connect(server.tcp()).await.unwrap();
    let began = Instant::now();
    assert_eq!(server.stopped().await, Drained::Clean);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_runs_is_finished_and_what_comes_is_refused() {
    let mut server = Server::dev(Limits::default()).await;
    let address = server.tcp();
    let mut watched = crate::health::watch(server.channel().await, SERVICE).await;
    let first = soon(watched.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    let mut client = server.client().await;
    let mut other = client.clone();
    let held = tokio::spawn(async move { play(&mut client, "hold").await });
    server.until_holding(1).await;

    server.ask_to_stop();
    let last = soon(watched.message()).await.unwrap().unwrap();
    assert_eq!(last.status(), ServingStatus::NotServing);
    assert!(soon(watched.message()).await.unwrap().is_none(), "the watch ends");
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    play(&mut other, "whoami").await.expect_err("GOAWAY was sent");
    assert!(!held.is_finished() && !server.running.is_finished());

    server.script.release.add_permits(1);
    held.await.unwrap().expect("what ran is finished");
    assert_eq!(server.stopped().await, Drained::Clean);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_each_call_is_answered_or_never_begun() {
    let mut server = Server::dev(Limits::default()).await;
    let (answered, begun) = (Count::default(), server.script.begun.clone());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        let answered = answered.clone();
        callers.spawn(async move {
            // Refused, in whichever words the client has for GOAWAY.
            while play(&mut client, "sleep 5").await.is_ok() {
                answered.add();
            }
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.ask_to_stop();
    soon(async { while callers.join_next().await.is_some() {} }).await;
    assert_eq!(server.stopped().await, Drained::Clean);
    assert!(answered.get() > 50, "{} answered", answered.get());
    // Every request that the service began was answered, so that a refused one
    // can be tried again elsewhere.
    assert_eq!(begun.load(Ordering::SeqCst), answered.get());
}

#[tokio::test]
async fn the_drain_has_a_limit() {
    let limits = Limits { drain: Duration::from_millis(200), ..Limits::default() };
    let mut server = Server::dev(limits).await;
    let mut client = server.client().await;
    let held = tokio::spawn(async move { play(&mut client, "hold").await });
    server.until_holding(1).await;
    server.ask_to_stop();
    soon(held).await.unwrap().expect_err("cut");
    server.until_holding(0).await;
    assert_eq!(server.stopped().await, Drained::Cut(1));
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_nothing_running() {
    let server = Server::dev(Limits::default()).await;
    let address = server.tcp();
    let mut client = server.client().await;
    let held = tokio::spawn(async move { play(&mut client, "hold").await });
    server.until_holding(1).await;
    server.running.abort();
    soon(held).await.unwrap().expect_err("cut");
    server.until_holding(0).await;
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}
