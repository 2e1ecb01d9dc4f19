//! `keyferry symmetric …`: small pieces of data under symmetric CMKs. Files hold
//! raw bytes.

use clap::{Args, Subcommand};

use super::client::call::CallArgs;
use super::failure::EarlyExit;
use super::io::input::{Input, MAX_BLOB_BYTES};
use super::io::out_file::{SecretOut, write_out};
use super::io::output_target::{OutputTarget, Sensitivity};
use super::options::key_value::ContextArgs;
use crate::proto::v1;

/// Encrypt and decrypt up to 6144 bytes under symmetric CMKs
#[derive(Debug, Subcommand)]
pub enum SymmetricCommand {
    /// Encrypt bytes under the newest version of a CMK, into a ciphertext blob
    Encrypt(EncryptSymmetric),
    /// Decrypt a ciphertext blob, also that of a data key; the blob names its
    /// CMK
    Decrypt(DecryptSymmetric),
}

#[derive(Args, Debug)]
pub struct EncryptSymmetric {
    /// The CMK to encrypt under: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    context: ContextArgs,
    /// The bytes to encrypt, 1 to 6144; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// The file that the ciphertext blob is written to, as raw bytes; an
    /// existing file is replaced; - is standard output. May be left out with
    /// --json, which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct DecryptSymmetric {
    #[command(flatten)]
    context: ContextArgs,
    /// The ciphertext blob, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    #[command(flatten)]
    out: SecretOut,
    #[command(flatten)]
    call: CallArgs,
}

impl SymmetricCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Encrypt(args) => args.run(),
            Self::Decrypt(args) => args.run(),
        }
    }
}

impl EncryptSymmetric {
    fn run(&self) -> Result<(), EarlyExit> {
        let Self { key, context, input, out, call } = self;
        let output = call.output().beside(out.as_ref(), Sensitivity::Encrypted)?;
        let request = v1::EncryptRequest {
            key_id: key.clone(),
            encryption_context: context.pairs()?,
            plaintext: std::mem::take(&mut *input.read("plaintext", MAX_BLOB_BYTES)?),
            dry_run: call.dry_run(),
        };
        call.talk(async |session| {
            let request = session.request(request);
            let response = session.response(session.kms().encrypt(request).await)?;
            let blob = &response.ciphertext_blob;
            let written = write_out(out.as_ref(), blob, Sensitivity::Encrypted)?;
            output.written(&response, [("ciphertext_blob", written)])
        })
    }
}

impl DecryptSymmetric {
    fn run(&self) -> Result<(), EarlyExit> {
        let Self { context, input, out, call } = self;
        let output = out.prepare(call.output(), call.dry_run())?;
        let request = v1::DecryptRequest {
            ciphertext_blob: input.read_raw("ciphertext blob", MAX_BLOB_BYTES)?.to_vec(),
            encryption_context: context.pairs()?,
            dry_run: call.dry_run(),
        };
        call.talk(async |session| {
            let request = session.request(request);
            let mut response = session.response(session.kms().decrypt(request).await)?;
            let written = out.write(&mut response.plaintext)?;
            output.written(&response, [("plaintext", written)])
        })
    }
}
