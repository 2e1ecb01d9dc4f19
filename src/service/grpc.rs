//! The gRPC face: hands each RPC to the service function of the same name.

use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::Services;
use super::caller::Caller;
use crate::error::{Error, Result};
use crate::proto::v1;
use crate::proto::v1::key_management_server::{KeyManagement, KeyManagementServer};
use crate::proto::v1::kms_server::{Kms, KmsServer};

/// Largest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 << 10;

impl Services {
    /// The full names of both services.
    pub const NAMES: [&str; 2] = [KmsServer::<Self>::NAME, KeyManagementServer::<Self>::NAME];

    /// The routes of both services.
    #[must_use]
    pub fn routes(&self) -> Routes {
        let kms = KmsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
        let management =
            KeyManagementServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES);
        Routes::new(kms).add_service(management)
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
        if error.rule().is_ours() {
            let text = error.log().unwrap_or_default();
            tracing::error!(
                request_id = caller.request_id,
                reason = error.rule().reason(),
                "{text}"
            );
        }
        error.into_status(&caller.request_id)
    })
}

macro_rules! rpcs {
    ($service:ident: $($rpc:ident($request:ident) -> $response:ident;)+) => {
        #[tonic::async_trait]
        impl $service for Services {
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

rpcs! { Kms:
    generate_data_key_without_plaintext(GenerateDataKeyWithoutPlaintextRequest) -> GenerateDataKeyWithoutPlaintextResponse;
    export_data_key(ExportDataKeyRequest) -> ExportDataKeyResponse;
    generate_data_key(GenerateDataKeyRequest) -> GenerateDataKeyResponse;
    generate_and_export_data_key(GenerateAndExportDataKeyRequest) -> GenerateAndExportDataKeyResponse;
    encrypt(EncryptRequest) -> EncryptResponse;
    decrypt(DecryptRequest) -> DecryptResponse;
    re_encrypt(ReEncryptRequest) -> ReEncryptResponse;
}

rpcs! { KeyManagement:
    create_key(CreateKeyRequest) -> CreateKeyResponse;
    describe_key(DescribeKeyRequest) -> DescribeKeyResponse;
    list_keys(ListKeysRequest) -> ListKeysResponse;
    enable_key(EnableKeyRequest) -> EnableKeyResponse;
    disable_key(DisableKeyRequest) -> DisableKeyResponse;
    create_alias(CreateAliasRequest) -> CreateAliasResponse;
    update_alias(UpdateAliasRequest) -> UpdateAliasResponse;
    delete_alias(DeleteAliasRequest) -> DeleteAliasResponse;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse;
    list_aliases_by_key_id(ListAliasesByKeyIdRequest) -> ListAliasesByKeyIdResponse;
}
