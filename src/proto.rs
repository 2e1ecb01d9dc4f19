//! The generated contract. Service files and the command line use it; nothing
//! below the services does.

use std::fmt;

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
