//! A server whose time the test tells, and short ways to call it.

use std::sync::Arc;

use keyferry::keys::Keys;
use keyferry::proto::v1;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::storage::MemoryStore;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::support::{Founded, ManualClock, TestServer, assert_refused, blamed, services_of};

pub struct World {
    pub server: TestServer,
    pub clock: Arc<ManualClock>,
    pub keys: Keys,
}

impl World {
    pub async fn start() -> Self {
        let founded = Founded::over(Arc::new(MemoryStore::new())).await;
        let clock = Arc::new(ManualClock::default());
        let keys = founded.keys(clock.clone()).await;
        let server = TestServer::serving(services_of(keys.clone())).await;
        Self { server, clock, keys }
    }

    pub fn kms(&self) -> KmsClient<Channel> {
        self.server.kms.clone()
    }

    pub fn management(&self) -> KeyManagementClient<Channel> {
        self.server.management.clone()
    }

    /// A new CMK's id.
    pub async fn key(&self, request: v1::CreateKeyRequest) -> String {
        let made = self.management().create_key(request).await.unwrap().into_inner();
        made.key_metadata.unwrap().key_id
    }

    /// A new key pair's id and version.
    pub async fn pair(&self, key_spec: &str, key_usage: &str) -> Pair {
        let (key_id, version) = self.server.create_pair(key_spec, key_usage).await;
        Pair { key_id, version }
    }

    pub async fn encrypting(&self, key_spec: &str) -> Pair {
        self.pair(key_spec, "ENCRYPT/DECRYPT").await
    }

    pub async fn describe(&self, key_id: &str) -> v1::KeyMetadata {
        let request = v1::DescribeKeyRequest { key_id: key_id.into(), dry_run: false };
        self.management().describe_key(request).await.unwrap().into_inner().key_metadata.unwrap()
    }

    /// The first hundred versions of a CMK.
    pub async fn versions(&self, key_id: &str) -> Vec<String> {
        let request = v1::ListKeyVersionsRequest {
            key_id: key_id.into(),
            page_size: Some(100),
            ..Default::default()
        };
        let listed = self.management().list_key_versions(request).await.unwrap().into_inner();
        listed.key_versions.into_iter().map(|one| one.key_version_id).collect()
    }

    pub async fn add_version(&self, key_id: &str, dry_run: bool) -> Result<String, Status> {
        let request = v1::CreateKeyVersionRequest { key_id: key_id.into(), dry_run };
        let made = self.management().create_key_version(request).await?.into_inner();
        Ok(made.key_version.unwrap().key_version_id)
    }

    pub async fn name(&self, alias: &str, key_id: &str, dry_run: bool) -> Result<(), Status> {
        let request =
            v1::CreateAliasRequest { alias_name: alias.into(), key_id: key_id.into(), dry_run };
        self.management().create_alias(request).await.map(drop)
    }

    pub async fn schedule_deletion(&self, key_id: &str, dry_run: bool) -> Result<(), Status> {
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: key_id.into(),
            pending_window_in_days: Some(7),
            dry_run,
        };
        self.management().schedule_key_deletion(request).await.map(drop)
    }
}

/// A key pair of the server's.
pub struct Pair {
    pub key_id: String,
    pub version: String,
}

/// Tags of these pairs.
pub fn tags(pairs: &[(&str, &str)]) -> Vec<v1::Tag> {
    let tag = |(key, value): &(&str, &str)| v1::Tag {
        tag_key: (*key).to_owned(),
        tag_value: (*value).to_owned(),
    };
    pairs.iter().map(tag).collect()
}

/// So many tags, of these numbers.
pub fn numbered_tags(numbers: std::ops::Range<usize>) -> Vec<v1::Tag> {
    numbers.map(|n| v1::Tag { tag_key: format!("key-{n}"), tag_value: String::new() }).collect()
}

/// INVALID_ARGUMENT / InvalidParameter, blaming that field.
#[track_caller]
pub fn assert_invalid<T: std::fmt::Debug>(
    outcome: Result<Response<T>, Status>,
    field: &str,
) -> Status {
    let status = assert_refused(outcome, Code::InvalidArgument, "InvalidParameter");
    assert_eq!(blamed(&status), field, "{}", status.message());
    status
}

/// INVALID_ARGUMENT / MissingParameter, blaming that field.
#[track_caller]
pub fn assert_missing<T: std::fmt::Debug>(outcome: Result<Response<T>, Status>, field: &str) {
    let status = assert_refused(outcome, Code::InvalidArgument, "MissingParameter");
    assert_eq!(blamed(&status), field, "{}", status.message());
}

/// FAILED_PRECONDITION with that reason, which the PreconditionFailure repeats.
#[track_caller]
pub fn assert_failed<T: std::fmt::Debug>(outcome: Result<T, Status>, reason: &str) {
    let status = assert_refused(outcome, Code::FailedPrecondition, reason);
    let details = status.get_error_details();
    let violations = &details.precondition_failure().expect("PreconditionFailure").violations;
    assert_eq!(violations[0].r#type, reason);
}

/// RESOURCE_EXHAUSTED / Rejected.LimitExceeded: trying again does not help.
#[track_caller]
pub fn assert_full<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    let status = assert_refused(outcome, Code::ResourceExhausted, "Rejected.LimitExceeded");
    assert!(status.get_error_details().retry_info().is_none(), "{status:?}");
}

/// A dry run that would have worked.
#[track_caller]
pub fn assert_would_work<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    assert_failed(outcome, "DryRunOperationError");
}
