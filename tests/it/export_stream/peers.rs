//! Peers over gRPC: some vanish, some never read, some say what cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use hyper::body::Bytes;
use keyferry::proto::v1;
use keyferry::server::Limits;
use keyferry::storage::MemoryStore;
use prost::Message;
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::talk::{Talk, World, assert_exported, failure, soon};
use crate::support::{TestServer, assert_refused, services_over};

async fn world_within(limits: Limits) -> World {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    World::over(TestServer::serving_within(services, limits).await).await
}

#[tokio::test]
async fn an_item_over_64_kib_ends_the_stream() {
    let world = World::over(TestServer::start().await).await;
    let mut talk = Talk::begin(world.server.kms.clone()).await;
    assert_exported(&talk.ask(world.item("fits")).await, "fits");
    let large = vec![0; 64 << 10];
    let large = v1::ExportDataKeyRequest { ciphertext_blob: large, ..world.export() };
    talk.say(v1::ExportDataKeysRequest { item_id: "large".into(), item: Some(large) }).await;
    let ended = talk.end().await;
    assert_refused(Err::<(), _>(ended), Code::ResourceExhausted, "InvalidParameter");
}

/// A gRPC message, framed.
fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat().into()
}

/// Sends a stream of these bytes: how many bytes of answers came, and the status.
async fn answered(world: &World, frames: Vec<Bytes>) -> (usize, Status) {
    let stream = TcpStream::connect(&world.server.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .method(Method::POST)
        .uri("http://localhost/keyferry.v1.Kms/ExportDataKeys")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut items) = client.send_request(request, false).unwrap();
    for frame in frames {
        items.send_data(frame, false).unwrap();
    }
    items.send_data(Bytes::new(), true).unwrap();
    let mut body = soon(response).await.unwrap().into_body();
    let mut bytes = 0;
    while let Some(data) = soon(body.data()).await {
        let data = data.unwrap();
        bytes += data.len();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = soon(body.trailers()).await.unwrap().expect("trailers");
    (bytes, Status::from_header_map(&trailers).expect("a status"))
}

#[tokio::test]
async fn what_is_no_message_ends_the_stream() {
    let world = World::over(TestServer::start().await).await;
    let good = framed(&world.item("one").encode_to_vec());
    let (one_answer, status) = answered(&world, vec![good.clone()]).await;
    assert_eq!(status.code(), Code::Ok);
    for bad in [
        framed(&[0xff; 20]),
        framed(&[0x0a, 0x05, b'x']),
        framed(&[0x0a, 0x01, 0xff]),
        good.slice(..good.len() - 1),
        Bytes::from_static(&[0, 0]),
        Bytes::from_static(&[7, 0, 0, 0, 1, 0]),
    ] {
        let (bytes, status) = answered(&world, vec![good.clone(), bad.clone()]).await;
        // SM2 in DER is a byte or two longer or shorter.
        assert!(bytes.abs_diff(one_answer) < 8, "the item before it is answered");
        assert_refused(Err::<(), _>(status), Code::InvalidArgument, "InvalidParameter");
    }
    let large = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]);
    let (_, status) = answered(&world, vec![good, large]).await;
    assert_refused(Err::<(), _>(status), Code::ResourceExhausted, "InvalidParameter");
    let (bytes, status) = answered(&world, vec![]).await;
    assert_eq!((bytes, status.code()), (0, Code::Ok), "nothing is a stream, too");
}

#[tokio::test]
async fn callers_who_vanish_leave_nothing_behind() {
    let world = World::over(TestServer::start().await).await;
    for round in 0..40 {
        let channel = world.server.another_channel().await;
        let kms = v1::kms_client::KmsClient::new(channel);
        let mut talk = Talk::begin(kms).await;
        for n in 0..round % 4 {
            talk.say(world.item(n.to_string())).await;
        }
        if round % 4 > 1 {
            talk.hear().await.unwrap().expect("an answer");
        }
        drop(talk);
    }
    let mut talk = Talk::begin(world.server.kms.clone()).await;
    assert_exported(&talk.ask(world.item("another")).await, "another");
    drop(talk);
    let World { server, .. } = world;
    let began = Instant::now();
    soon(server.stop()).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A client with small windows, and how many of its many long items it has
/// given away.
async fn reads_nothing(
    world: &World,
) -> (tonic::Streaming<v1::ExportDataKeysResponse>, Arc<AtomicUsize>) {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.server.address)).unwrap();
    let endpoint =
        endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let mut kms = v1::kms_client::KmsClient::new(endpoint.connect().await.unwrap());
    let given = Arc::new(AtomicUsize::new(0));
    let counted = given.clone();
    // The answer to a name that is too long bears the name, and fills windows.
    let items = tokio_stream::iter(0..MANY).map(move |n| {
        counted.fetch_add(1, Ordering::SeqCst);
        v1::ExportDataKeysRequest { item_id: long_name(n), item: None }
    });
    let begun = soon(kms.export_data_keys(items)).await.unwrap();
    (begun.into_inner(), given)
}

const MANY: usize = 500;

fn long_name(n: usize) -> String {
    format!("{n:030000}")
}

/// Waits until nothing more is taken.
async fn until_still(given: &AtomicUsize) -> usize {
    soon(async {
        loop {
            let before = given.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
            if given.load(Ordering::SeqCst) == before {
                return before;
            }
        }
    })
    .await
}

#[tokio::test]
async fn who_never_reads_is_not_read_from() {
    let world = World::over(TestServer::start().await).await;
    let (mut answers, given) = reads_nothing(&world).await;
    let taken = until_still(&given).await;
    // 30 kB each: the windows of both sides, and what the server holds.
    assert!(taken < 16, "the server took {taken}");
    let mut other = Talk::begin(world.server.kms.clone()).await;
    assert_exported(&other.ask(world.item("other")).await, "other");
    // Once it reads, it gets everything, in order.
    for n in 0..MANY {
        let answer = soon(answers.message()).await.unwrap().expect("an answer");
        assert_eq!(answer.item_id, long_name(n));
        assert_eq!(failure(&answer), Some((Code::InvalidArgument, "InvalidParameter")));
    }
    assert!(soon(answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn who_reads_too_late_is_told_so() {
    let stream_idle = Duration::from_millis(400);
    let world = world_within(Limits { stream_idle, ..Limits::default() }).await;
    let (mut answers, given) = reads_nothing(&world).await;
    until_still(&given).await;
    tokio::time::sleep(stream_idle * 2).await;
    let mut heard = 0;
    let ended = loop {
        match soon(answers.message()).await {
            Ok(Some(_)) => heard += 1,
            Ok(None) => panic!("it looks as if all {MANY} had been answered, after {heard}"),
            Err(status) => break status,
        }
    };
    assert!(heard < 16, "{heard}");
    assert_refused(Err::<(), _>(ended), Code::DeadlineExceeded, "RequestTimeout");
}

#[tokio::test]
async fn who_says_nothing_is_ended() {
    assert_eq!(Limits::default().stream_idle, Duration::from_secs(60));
    let stream_idle = Duration::from_secs(2);
    let world = world_within(Limits { stream_idle, ..Limits::default() }).await;
    let mut talk = Talk::begin(world.server.kms.clone()).await;
    assert_exported(&talk.ask(world.item("one")).await, "one");
    let ended = talk.end().await;
    assert!(ended.get_error_details().retry_info().is_none());
    assert_refused(Err::<(), _>(ended), Code::DeadlineExceeded, "RequestTimeout");
}
