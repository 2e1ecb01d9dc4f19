//! The gRPC face: hands each RPC to the service function of the same name.

use std::pin::Pin;
use std::sync::Arc;

use tokio_stream::{Stream, StreamExt};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Services;
use super::caller::{Caller, Connection};
use crate::error::{Error, Result, Rule};
use crate::proto::v1;
use crate::proto::v1::access_management_server::{AccessManagement, AccessManagementServer};
use crate::proto::v1::key_management_server::{KeyManagement, KeyManagementServer};
use crate::proto::v1::kms_server::{Kms, KmsServer};

/// Largest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

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
        let kms = KmsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
        let management =
            KeyManagementServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
        let access =
            AccessManagementServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
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

/// What the log says is logged here; the caller gets the public text.
fn answer<T>(caller: &Caller, outcome: Result<T>) -> std::result::Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|error| {
        error.log_ours(&caller.request_id);
        error.into_status(&caller.request_id)
    })
}

/// What ended a stream of items before its end: tonic says so in a status of its
/// own.
fn unreadable(status: &Status) -> Error {
    match status.code() {
        Code::OutOfRange => Rule::RequestTooLarge.into(),
        Code::Cancelled => Error::from(Rule::DeadlinePassed).saying("The caller left."),
        _ => Error::invalid("request", "an item is not one whole message of this RPC"),
    }
}

macro_rules! rpcs {
    ($service:ident { $($streaming:tt)* } $($rpc:ident($request:ident) -> $response:ident;)+) => {
        #[tonic::async_trait]
        impl $service for Services {
            $($streaming)*
            $(async fn $rpc(
                &self,
                request: Request<v1::$request>,
            ) -> std::result::Result<Response<v1::$response>, Status> {
                let (caller, message) = open(request)?;
                let outcome = Services::$rpc(self, &caller, message).await;
                answer(&caller, outcome)
            })+
        }
    };
}

rpcs! { Kms {
        type ExportDataKeysStream = Pin<Box<dyn Stream<Item = std::result::Result<v1::ExportDataKeysResponse, Status>> + Send>>;

        async fn export_data_keys(
            &self,
            mut request: Request<Streaming<v1::ExportDataKeysRequest>>,
        ) -> std::result::Result<Response<Self::ExportDataKeysStream>, Status> {
            let connection = request.extensions_mut().remove::<Arc<dyn Connection>>();
            let (caller, items) = open(request)?;
            let connection = connection.ok_or_else(|| Error::internal("a stream came in past the edge").into_status(""))?;
            let request_id = caller.request_id.clone();
            let items = items.map(|item| item.map_err(|status| unreadable(&status)));
            let answers = Services::export_data_keys(self, caller, connection, items).map(move |answer| {
                answer.map_err(|error| {
                    error.log_ours(&request_id);
                    error.into_status(&request_id)
                })
            });
            Ok(Response::new(Box::pin(answers)))
        }
    }
    generate_data_key_without_plaintext(GenerateDataKeyWithoutPlaintextRequest) -> GenerateDataKeyWithoutPlaintextResponse;
    export_data_key(ExportDataKeyRequest) -> ExportDataKeyResponse;
    generate_data_key(GenerateDataKeyRequest) -> GenerateDataKeyResponse;
    generate_and_export_data_key(GenerateAndExportDataKeyRequest) -> GenerateAndExportDataKeyResponse;
    encrypt(EncryptRequest) -> EncryptResponse;
    decrypt(DecryptRequest) -> DecryptResponse;
    re_encrypt(ReEncryptRequest) -> ReEncryptResponse;
    get_public_key(GetPublicKeyRequest) -> GetPublicKeyResponse;
    asymmetric_encrypt(AsymmetricEncryptRequest) -> AsymmetricEncryptResponse;
    asymmetric_decrypt(AsymmetricDecryptRequest) -> AsymmetricDecryptResponse;
    asymmetric_sign(AsymmetricSignRequest) -> AsymmetricSignResponse;
    asymmetric_verify(AsymmetricVerifyRequest) -> AsymmetricVerifyResponse;
}

rpcs! { KeyManagement {}
    create_key(CreateKeyRequest) -> CreateKeyResponse;
    describe_key(DescribeKeyRequest) -> DescribeKeyResponse;
    list_keys(ListKeysRequest) -> ListKeysResponse;
    update_key_description(UpdateKeyDescriptionRequest) -> UpdateKeyDescriptionResponse;
    enable_key(EnableKeyRequest) -> EnableKeyResponse;
    disable_key(DisableKeyRequest) -> DisableKeyResponse;
    schedule_key_deletion(ScheduleKeyDeletionRequest) -> ScheduleKeyDeletionResponse;
    cancel_key_deletion(CancelKeyDeletionRequest) -> CancelKeyDeletionResponse;
    set_deletion_protection(SetDeletionProtectionRequest) -> SetDeletionProtectionResponse;
    create_key_version(CreateKeyVersionRequest) -> CreateKeyVersionResponse;
    describe_key_version(DescribeKeyVersionRequest) -> DescribeKeyVersionResponse;
    list_key_versions(ListKeyVersionsRequest) -> ListKeyVersionsResponse;
    update_rotation_policy(UpdateRotationPolicyRequest) -> UpdateRotationPolicyResponse;
    create_alias(CreateAliasRequest) -> CreateAliasResponse;
    update_alias(UpdateAliasRequest) -> UpdateAliasResponse;
    delete_alias(DeleteAliasRequest) -> DeleteAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
    list_aliases_by_key_id(ListAliasesByKeyIdRequest) -> ListAliasesByKeyIdResponse;
    tag_resource(TagResourceRequest) -> TagResourceResponse;
    untag_resource(UntagResourceRequest) -> UntagResourceResponse;
    list_resource_tags(ListResourceTagsRequest) -> ListResourceTagsResponse;
}

rpcs! { AccessManagement {}
    create_access_key(CreateAccessKeyRequest) -> CreateAccessKeyResponse;
    list_access_keys(ListAccessKeysRequest) -> ListAccessKeysResponse;
    disable_access_key(DisableAccessKeyRequest) -> DisableAccessKeyResponse;
    delete_access_key(DeleteAccessKeyRequest) -> DeleteAccessKeyResponse;
}
