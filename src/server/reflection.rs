//! Reflection v1 and v1alpha of the contract, health, and reflection itself, so
//! that grpcurl and the like need no proto files. Older ones know v1alpha only.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

use crate::limits::REQUEST_BYTES;
use crate::proto::CONTRACT;

/// The compiled-in descriptors do not fit together.
#[derive(Debug, thiserror::Error)]
#[error("the compiled-in descriptors are not usable: {0}")]
pub struct ReflectionError(#[from] tonic_reflection::server::Error);

pub(super) fn add_to(services: Routes) -> Result<Routes, ReflectionError> {
    let v1 = described().build_v1()?.max_decoding_message_size(REQUEST_BYTES.max);
    let v1alpha = described().build_v1alpha()?.max_decoding_message_size(REQUEST_BYTES.max);
    Ok(services.add_service(v1).add_service(v1alpha))
}

fn described() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(CONTRACT)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
