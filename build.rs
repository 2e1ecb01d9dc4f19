//! Compiles the contract with protox, so that no protoc is needed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use protox::Compiler;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};

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
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut contract = Compiler::new(["proto"])?;
    contract.include_source_info(true).include_imports(true).open_files(CONTRACT)?;
    generate(&contract, tonic_prost_build::configure().btree_map("."), &out)?;
    // Reflection serves the contract, never the stored records.
    fs::write(out.join("contract.bin"), contract.encode_file_descriptor_set())?;

    let mut records = Compiler::new(["proto"])?;
    records.include_source_info(true).include_imports(true).open_files(RECORDS)?;
    let messages_alone = tonic_prost_build::configure().build_client(false).build_server(false);
    generate(&records, messages_alone, &out)
}

fn generate(
    protos: &Compiler,
    builder: tonic_prost_build::Builder,
    out: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let secret: Vec<MessageDescriptor> = secret_messages(&protos.descriptor_pool()).collect();
    let names = secret.iter().map(|message| format!(".{}", message.full_name()));
    // The command line asks for messages' descriptors by their names.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    builder.skip_debug(names).compile_fds_with_config(protos.file_descriptor_set(), config)?;
    secret.iter().try_for_each(|message| print_by_name(message, out)).map_err(Into::into)
}

/// Messages with a field that is marked `debug_redact`.
fn secret_messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    let is_secret = |field: FieldDescriptor| {
        let marked = field.options().get_field_by_name("debug_redact").map(|mark| mark.as_bool());
        marked.flatten().unwrap_or_default()
    };
    pool.all_messages().filter(move |message| message.fields().any(is_secret))
}

/// Adds a `Debug` that prints the name of the message alone: a secret field must
/// not reach a log by way of `{:?}`.
fn print_by_name(message: &MessageDescriptor, out: &Path) -> io::Result<()> {
    let generated = out.join(format!("{}.rs", message.package_name()));
    let name = message.name();
    write!(
        OpenOptions::new().append(true).open(generated)?,
        "impl ::core::fmt::Debug for {name} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.write_str(\"{name}\")
    }}
}}
"
    )
}
