//! The generated contract. Service files and the command line use it; nothing
//! below the services does.

use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor, MethodDescriptor, Value,
};
use zeroize::Zeroize;

/// `keyferry.v1`: what the world sees.
#[allow(
    clippy::all,
    clippy::pedantic,
    missing_docs,
    reason = "generated code; the proto files are its manual"
)]
pub mod v1 {
    tonic::include_proto!("keyferry.v1");
}

/// The contract's file descriptors, for reflection and for JSON.
pub const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin"));

/// Their descriptors, by which messages become JSON and parameters messages. What
/// is compiled in always decodes; a test says so.
#[must_use]
pub fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(CONTRACT).unwrap_or_default());
    &POOL
}

/// The contract's comment on a field.
#[must_use]
pub fn field_comment(field: &FieldDescriptor) -> String {
    comment(&field.parent_message().parent_file(), field.path())
}

/// The contract's comment on an RPC.
#[must_use]
pub fn rpc_comment(rpc: &MethodDescriptor) -> String {
    comment(&rpc.parent_file(), rpc.path())
}

/// The comment above what is at that path of a file, on one line.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|part| part.path == path));
    let text = location.and_then(|part| part.leading_comments.as_deref()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A message between its own type and text. Its bytes are wiped when it is dropped:
/// they may be a plaintext.
pub struct ZeroizingMessage(pub DynamicMessage);

impl Drop for ZeroizingMessage {
    fn drop(&mut self) {
        for (_, value) in self.0.take_fields() {
            if let Value::Bytes(bytes) = value
                && let Ok(mut bytes) = bytes.try_into_mut()
            {
                bytes.as_mut().zeroize();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost_types::method_options::IdempotencyLevel;

    use super::*;

    #[test]
    fn fields_are_secret_where_the_comment_says_so() {
        let ours = pool().all_messages().filter(|message| message.package_name() == "keyferry.v1");
        let fields = ours.flat_map(|message| message.fields().collect::<Vec<_>>());
        for field in fields {
            let mark = field.options().get_field_by_name("debug_redact").unwrap().as_bool();
            let is_said = field_comment(&field).contains("SECRET");
            assert_eq!(mark, Some(is_said), "{}", field.full_name());
        }
        let secret = v1::EncryptRequest { plaintext: vec![7; 3], ..Default::default() };
        assert_eq!(format!("{secret:?}"), "EncryptRequest");
    }

    #[test]
    fn rpcs_are_idempotent_where_the_comment_says_so() {
        let ours = pool().services().filter(|service| service.package_name() == "keyferry.v1");
        for rpc in ours.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let options = rpc.method_descriptor_proto().options.clone().unwrap_or_default();
            let is_idempotent = options.idempotency_level() == IdempotencyLevel::Idempotent;
            let is_said = rpc_comment(&rpc).contains("Idempotent.");
            assert_eq!(is_idempotent, is_said, "{}", rpc.name());
        }
    }
}
