//! One stream over gRPC: items in, answers out.

use std::time::Duration;

use keyferry::proto::v1;
use keyferry::proto::v1::export_data_keys_response::Outcome;
use keyferry::proto::v1::kms_client::KmsClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::support::{Recipient, TestServer};

/// A bound on whatever a test waits for.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("within the test's bound")
}

/// A server, a blob of a CMK of its own, and a recipient.
pub struct World {
    pub server: TestServer,
    pub key_id: String,
    pub blob: Vec<u8>,
    pub recipient: Recipient,
}

impl World {
    pub async fn over(server: TestServer) -> Self {
        let key_id = server.create_key().await;
        let blob = server.generate(&key_id, &[("n", "1")], 32).await;
        Self { server, key_id, blob, recipient: Recipient::sm2() }
    }

    pub fn export(&self) -> v1::ExportDataKeyRequest {
        self.recipient.export(&self.blob, &[("n", "1")])
    }

    pub fn item(&self, item_id: impl Into<String>) -> v1::ExportDataKeysRequest {
        v1::ExportDataKeysRequest { item_id: item_id.into(), item: Some(self.export()) }
    }
}

pub struct Talk {
    pub items: mpsc::Sender<v1::ExportDataKeysRequest>,
    pub answers: Streaming<v1::ExportDataKeysResponse>,
}

impl Talk {
    pub async fn begin(mut kms: KmsClient<Channel>) -> Self {
        let (items, received) = mpsc::channel(1);
        let begun = soon(kms.export_data_keys(ReceiverStream::new(received))).await.unwrap();
        Self { items, answers: begun.into_inner() }
    }

    pub async fn say(&self, item: v1::ExportDataKeysRequest) {
        soon(self.items.send(item)).await.unwrap();
    }

    /// The next answer, its end or its error.
    pub async fn hear(&mut self) -> Result<Option<v1::ExportDataKeysResponse>, Status> {
        soon(self.answers.message()).await
    }

    pub async fn ask(&mut self, item: v1::ExportDataKeysRequest) -> v1::ExportDataKeysResponse {
        self.say(item).await;
        self.hear().await.unwrap().expect("an answer")
    }

    /// The error that ends the stream.
    pub async fn end(mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended well"),
                Err(status) => return status,
            }
        }
    }
}

/// Code and reason of an item that failed.
pub fn failure(answer: &v1::ExportDataKeysResponse) -> Option<(Code, &str)> {
    match answer.outcome.as_ref().expect("an outcome") {
        Outcome::Exported(_) => None,
        Outcome::Error(error) => Some((Code::from(error.code), error.reason.as_str())),
    }
}

/// The answer that every item of these tests gets where nothing is wrong.
#[track_caller]
pub fn assert_exported(answer: &v1::ExportDataKeysResponse, item_id: &str) {
    assert_eq!((answer.item_id.as_str(), failure(answer)), (item_id, None));
}
