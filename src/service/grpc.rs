//! The gRPC face: hands each RPC to the service function of the same name.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::{Stream, StreamExt};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Services;
use super::caller::{Caller, Connection};
use crate::access::operations::operations;
use crate::error::{Error, Result, Rule};
use crate::limits::REQUEST_BYTES;
use crate::proto::v1;
use crate::proto::v1::access_management_server::{AccessManagement, AccessManagementServer};
use crate::proto::v1::key_management_server::{KeyManagement, KeyManagementServer};
use crate::proto::v1::kms_server::{Kms, KmsServer};

impl Services {
    /// The full names of the services.
    pub const NAMES: [&str; 3] = [
        KmsServer::<Self>::NAME,
        KeyManagementServer::<Self>::NAME,
        AccessManagementServer::<Self>::NAME,
    ];

    /// The routes of the services.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let kms = KmsServer::new(self.clone()).max_decoding_message_size(REQUEST_BYTES.max);
        let management =
            KeyManagementServer::new(self.clone()).max_decoding_message_size(REQUEST_BYTES.max);
        let access =
            AccessManagementServer::new(self.clone()).max_decoding_message_size(REQUEST_BYTES.max);
        Routes::new(kms).add_service(management).add_service(access)
    }
}

/// The caller that the edge has established, and the message.
fn open<T>(request: Request<T>) -> std::result::Result<(Caller, T), Status> {
    let (_, mut extensions, message) = request.into_parts();
    let caller = extensions.remove::<Caller>();
    let caller =
        caller.ok_or_else(|| Error::internal("a request came in past the edge").into_status(""))?;
    Ok((caller, message))
}

fn answer<T>(caller: &Caller, outcome: Result<T>) -> std::result::Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|error| refusal(error, &caller.request_id))
}

/// Logs what is ours to mend; the caller gets the public text.
fn refusal(error: Error, request_id: &str) -> Status {
    error.log_ours();
    error.into_status(request_id)
}

/// The answers of a stream.
type ResponseStream<T> = Pin<Box<dyn Stream<Item = std::result::Result<T, Status>> + Send>>;

/// A stream that was opened: its caller and connection, as the edge has
/// established them, and its items.
type OpenedStream<S> = (Caller, Arc<dyn Connection>, S);

/// Opens a stream.
fn open_stream<T>(
    mut request: Request<Streaming<T>>,
) -> std::result::Result<OpenedStream<impl Stream<Item = Result<T>> + use<T>>, Status> {
    let connection = request.extensions_mut().remove::<Arc<dyn Connection>>();
    let (caller, items) = open(request)?;
    let connection = connection
        .ok_or_else(|| Error::internal("a stream came in past the edge").into_status(""))?;
    Ok((caller, connection, items.map(|item| item.map_err(|status| unreadable(&status)))))
}

fn answer_stream<T>(
    request_id: String,
    answers: impl Stream<Item = Result<T>> + Send + 'static,
) -> Response<ResponseStream<T>> {
    let answers = answers.map(move |answer| answer.map_err(|error| refusal(error, &request_id)));
    Response::new(Box::pin(answers))
}

/// The error for a stream of items that broke off: tonic says so in a status of its
/// own.
fn unreadable(status: &Status) -> Error {
    match status.code() {
        Code::OutOfRange => Rule::RequestTooLarge.into(),
        Code::Cancelled => Error::from(Rule::DeadlinePassed).saying("The caller left."),
        _ => Error::invalid("request", "an item is not one whole message of this RPC"),
    }
}

/// The gRPC services, by the list of operations.
macro_rules! grpc_services {
    ($($service:ident {
        $($rpc:ident $([$http:ident])?: $purpose:ident = $($action:ident on $resource:ident)&+;)*
    } streams {
        $($stream:ident: $of_stream:ident = $($each:ident on $subject:ident)&+;)*
    })+) => {
        $(pastey::paste! {
            #[tonic::async_trait]
            impl $service for Services {
                $(async fn [<$rpc:snake>](
                    &self,
                    request: Request<v1::[<$rpc Request>]>,
                ) -> std::result::Result<Response<v1::[<$rpc Response>]>, Status> {
                    let (caller, message) = open(request)?;
                    let outcome = Services::[<$rpc:snake>](self, &caller, message).await;
                    answer(&caller, outcome)
                })*

                $(type [<$stream Stream>] = ResponseStream<v1::[<$stream Response>]>;

                async fn [<$stream:snake>](
                    &self,
                    request: Request<Streaming<v1::[<$stream Request>]>>,
                ) -> std::result::Result<Response<Self::[<$stream Stream>]>, Status> {
                    let (caller, connection, items) = open_stream(request)?;
                    let request_id = caller.request_id.clone();
                    let answers = Services::[<$stream:snake>](self, caller, connection, items);
                    Ok(answer_stream(request_id, answers))
                })*
            }
        })+

        impl Services {
            /// The paths of RPCs whose callers send messages one after the other.
            pub const STREAMS: &[&str] = &[$(
                $(concat!("/keyferry.v1.", stringify!($service), "/", stringify!($stream)),)*
            )+];
        }
    };
}

operations!(grpc_services);
