//! A connection to the server, and what its calls come to.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt;

use super::call_failure::call_failure;
use super::connection::{Connection, connect};
use super::endpoint::Endpoint;
use super::recording_stream::FirstError;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::error::Rule;
use crate::proto::v1::access_management_client::AccessManagementClient;
use crate::proto::v1::key_management_client::KeyManagementClient;
use crate::proto::v1::kms_client::KmsClient;

/// A connection to the server, for the length of one command.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    stream_error: FirstError,
    endpoint: Endpoint,
    timeout: Duration,
    dry_run: bool,
}

impl Session {
    /// Connects.
    pub async fn open(connection: &Connection, dry_run: bool) -> Result<Self, Failure> {
        let stream_error = FirstError::default();
        Ok(Self {
            channel: connect(connection, &stream_error).await?,
            stream_error,
            endpoint: connection.endpoint().clone(),
            timeout: connection.timeout(),
            dry_run,
        })
    }

    /// The service that uses keys.
    pub fn kms(&self) -> KmsClient<Channel> {
        KmsClient::new(self.channel.clone())
    }

    /// The service that manages keys.
    pub fn key_management(&self) -> KeyManagementClient<Channel> {
        KeyManagementClient::new(self.channel.clone())
    }

    /// The service that manages access keys.
    pub fn access_management(&self) -> AccessManagementClient<Channel> {
        AccessManagementClient::new(self.channel.clone())
    }

    /// A request with its deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// The response to the call that the command is for, or why there is none.
    pub fn response<T>(&self, outcome: Result<Response<T>, Status>) -> Result<T, EarlyExit> {
        match outcome {
            Ok(_) if self.dry_run => Err(Failure::new(
                Exit::Refused,
                format!(
                    "{} answered a dry run as if it were none: a change may have happened.",
                    self.endpoint
                ),
                "Check that --endpoint names a Keyferry server, and report this.",
            )
            .into()),
            Ok(response) => Ok(response.into_inner()),
            Err(status) => {
                Err(self.dry_run_succeeded(&status).unwrap_or_else(|| self.failure(&status).into()))
            }
        }
    }

    /// The response to a question that only prepares the call: dry runs ask it too.
    pub fn lookup<T>(&self, outcome: Result<Response<T>, Status>) -> Result<T, Failure> {
        outcome.map(Response::into_inner).map_err(|status| self.failure(&status))
    }

    /// How long the server may take for an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Why a call failed.
    pub fn failure(&self, status: &Status) -> Failure {
        call_failure(status, &self.endpoint, self.stream_error.get())
    }

    fn dry_run_succeeded(&self, status: &Status) -> Option<EarlyExit> {
        let details = status.get_error_details();
        let reason = details.error_info()?.reason.as_str();
        if !self.dry_run || reason != Rule::DryRunSucceeded.reason() {
            return None;
        }
        let request_id = details.request_info().map(|info| info.request_id.clone());
        Some(EarlyExit::DryRunSucceeded { request_id: request_id.unwrap_or_default() })
    }
}
