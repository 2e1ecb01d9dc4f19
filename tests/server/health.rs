//! Health v1 and reflection.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keyferry::server::Limits;
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::world::{SERVICE, Server, assert_status, soon};

fn asking(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

pub async fn check(server: &Server, service: &str) -> Result<ServingStatus, Status> {
    let mut client = HealthClient::new(server.channel().await);
    let answer = soon(client.check(asking(service))).await?;
    Ok(answer.get_ref().status())
}

pub async fn watch(
    channel: Channel,
    service: &str,
) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    soon(HealthClient::new(channel).watch(asking(service))).await.unwrap().into_inner()
}

#[tokio::test]
async fn health_follows_the_probe() {
    let limits = Limits { probe_interval: Duration::from_millis(20), ..Limits::default() };
    let server = Server::dev(limits).await;
    let mut watched = watch(server.channel().await, SERVICE).await;
    let mut next = async || soon(watched.message()).await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    server.ready.store(false, Ordering::SeqCst);
    assert_eq!(next().await, ServingStatus::NotServing);
    assert_eq!(check(&server, SERVICE).await.unwrap(), ServingStatus::NotServing);
    // The process lives, whatever the store does.
    assert_eq!(check(&server, "").await.unwrap(), ServingStatus::Serving);
    server.ready.store(true, Ordering::SeqCst);
    assert_eq!(next().await, ServingStatus::Serving);
}

/// All is served by the policies before them.
#[tokio::test]
async fn policies_that_are_not_usable_are_a_detail() {
    let limits = Limits { probe_interval: Duration::from_millis(20), ..Limits::default() };
    let server = Server::dev(limits).await;
    let mut watched = watch(server.channel().await, "keyferry.policies").await;
    let mut next = async || soon(watched.message()).await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    server.policies_are_usable.store(false, Ordering::SeqCst);
    assert_eq!(next().await, ServingStatus::NotServing);
    assert_eq!(check(&server, SERVICE).await.unwrap(), ServingStatus::Serving);
    assert_eq!(check(&server, "").await.unwrap(), ServingStatus::Serving);
    server.policies_are_usable.store(true, Ordering::SeqCst);
    assert_eq!(next().await, ServingStatus::Serving);
}

#[tokio::test]
async fn names_that_are_not_known() {
    let server = Server::dev(Limits::default()).await;
    let status = check(&server, "no.such.Service").await.unwrap_err();
    assert_status(&status, Code::NotFound, "InvalidParameter");
    let mut watched = watch(server.channel().await, "no.such.Service").await;
    let first = soon(watched.message()).await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

macro_rules! reflection {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use pb::server_reflection_request::MessageRequest;
            use pb::server_reflection_response::MessageResponse;
            use tonic_reflection::pb::$version as pb;
            let server = Server::dev(Limits::default()).await;
            let mut client =
                pb::server_reflection_client::ServerReflectionClient::new(server.channel().await);
            let asked = |message| pb::ServerReflectionRequest {
                host: String::new(),
                message_request: Some(message),
            };
            let requests = tokio_stream::iter([
                asked(MessageRequest::ListServices(String::new())),
                asked(MessageRequest::FileContainingSymbol(
                    "keyferry.v1.ExportDataKeyRequest".into(),
                )),
                asked(MessageRequest::FileContainingSymbol("grpc.health.v1.Health".into())),
                asked(MessageRequest::FileContainingSymbol("keyferry.storage.v1.StoreKeys".into())),
            ]);
            let stream = soon(client.server_reflection_info(Request::new(requests))).await.unwrap();
            let answers: Vec<_> = soon(stream.into_inner().collect::<Vec<_>>()).await;
            let (told, refused) = answers.split_at(3);
            let status = refused[0].as_ref().unwrap_err();
            assert_eq!(status.code(), Code::NotFound, "stored records are not served");
            let answers: Vec<_> = told
                .iter()
                .map(|one| one.as_ref().unwrap().message_response.clone().unwrap())
                .collect();
            let MessageResponse::ListServicesResponse(listed) = &answers[0] else {
                panic!("{:?}", answers[0]);
            };
            let names: Vec<_> = listed.service.iter().map(|one| one.name.as_str()).collect();
            for name in [
                SERVICE,
                "keyferry.v1.KeyManagement",
                "keyferry.v1.AccessManagement",
                "grpc.health.v1.Health",
            ] {
                assert!(names.contains(&name), "{names:?}");
            }
            assert!(matches!(answers[1], MessageResponse::FileDescriptorResponse(_)));
            assert!(matches!(answers[2], MessageResponse::FileDescriptorResponse(_)));
        }
    };
}
reflection!(reflection_v1_tells_the_contract, v1);
reflection!(reflection_v1alpha_tells_the_contract, v1alpha);
