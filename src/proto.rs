//! The generated contract. Service files and the command line use it; nothing
//! below the services does.

use std::fmt;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, Value};
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

/// A message under way between its own type and text, whose bytes are wiped when
/// it goes: they may be a plaintext.
pub struct UnderWay(pub DynamicMessage);

impl Drop for UnderWay {
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

/// Secret fields must not reach a log by way of `{:?}`.
macro_rules! name_only_debug {
    ($($message:ident),*) => {$(
        impl fmt::Debug for v1::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($message))
            }
        }
    )*};
}
name_only_debug!(
    GenerateDataKeyResponse,
    EncryptRequest,
    DecryptResponse,
    AsymmetricEncryptRequest,
    AsymmetricDecryptResponse,
    CreateAccessKeyResponse
);
