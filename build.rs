//! Compiles the contract with protox, so that no protoc is needed.

use std::path::PathBuf;

/// Messages with a secret field: their `Debug` is written by hand in
/// `src/proto.rs` and prints the type's name only.
const SECRET_MESSAGES: [&str; 8] = [
    ".keyferry.v1.GenerateDataKeyResponse",
    ".keyferry.v1.EncryptRequest",
    ".keyferry.v1.DecryptResponse",
    ".keyferry.v1.AsymmetricEncryptRequest",
    ".keyferry.v1.AsymmetricDecryptResponse",
    ".keyferry.v1.CreateAccessKeyResponse",
    ".keyferry.storage.v1.StoreKey",
    ".keyferry.storage.v1.StoreKeys",
];

const CONTRACT: [&str; 4] = [
    "keyferry/v1/types.proto",
    "keyferry/v1/kms.proto",
    "keyferry/v1/key_management.proto",
    "keyferry/v1/access_management.proto",
];

const RECORDS: [&str; 1] = ["keyferry/storage/v1/records.proto"];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write so")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let contract = protox::compile(CONTRACT, ["proto"])?;
    // What reflection serves: the contract, never the stored records.
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let served = protox::Compiler::new(["proto"])?
        .include_source_info(true)
        .include_imports(true)
        .open_files(CONTRACT)?
        .encode_file_descriptor_set();
    std::fs::write(out.join("contract.bin"), served)?;

    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(SECRET_MESSAGES)
        .compile_fds(contract)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .skip_debug(SECRET_MESSAGES)
        .compile_fds(protox::compile(RECORDS, ["proto"])?)?;
    Ok(())
}
