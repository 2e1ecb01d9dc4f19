//! `keyferry symmetric …`: small pieces of data under symmetric CMKs. Files hold
//! raw bytes.

use clap::{Args, Subcommand};

use super::connection::CallArgs;
use super::context::ContextArgs;
use super::failure::Stop;
use super::files::{Care, Destination, Input, MAX_BLOB_BYTES};
use super::out::{SecretOut, keep, spoken_beside};
use crate::proto::v1;

/// Encrypt and decrypt up to 6144 bytes under symmetric CMKs
#[derive(Debug, Subcommand)]
pub enum SymmetricCommand {
    /// Encrypt bytes under the newest version of a CMK; what is written is a
    /// ciphertext blob
    Encrypt(Encrypt),
    /// Show the content of a ciphertext blob, be it yours or a data key; the
    /// CMK is found from it
    Decrypt(Decrypt),
}

/// Encrypts.
#[derive(Args, Debug)]
pub struct Encrypt {
    /// The CMK to encrypt under: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    context: ContextArgs,
    /// What to encrypt, as raw bytes, 1 to 6144; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// Where the ciphertext blob goes, as raw bytes; an existing file is
    /// replaced; - is standard output. May be left out with --json, which
    /// holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    #[command(flatten)]
    call: CallArgs,
}

/// Decrypts.
#[derive(Args, Debug)]
pub struct Decrypt {
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
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Encrypt(Encrypt { call, .. }) | Self::Decrypt(Decrypt { call, .. }) => {
                call.json()
            }
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Encrypt(args) => args.run(),
            Self::Decrypt(args) => args.run(),
        }
    }
}

impl Encrypt {
    fn run(&self) -> Result<(), Stop> {
        let Self { key, context, input, out, call } = self;
        let out = out.as_ref();
        let output = spoken_beside(call.output(), call.json(), out, Care::Encrypted)?;
        let request = v1::EncryptRequest {
            key_id: key.clone(),
            encryption_context: context.pairs()?,
            plaintext: std::mem::take(&mut *input.read("plaintext", MAX_BLOB_BYTES)?),
            dry_run: call.dry_run(),
        };
        call.talk(async |session| {
            let request = session.request(request);
            let answer = session.answer(session.kms().encrypt(request).await)?;
            let written = keep(out, &answer.ciphertext_blob, Care::Encrypted)?;
            output.written(&answer, [("ciphertext_blob", written)])
        })
    }
}

impl Decrypt {
    fn run(&self) -> Result<(), Stop> {
        let Self { context, input, out, call } = self;
        let output = out.prepare(call)?;
        let request = v1::DecryptRequest {
            ciphertext_blob: input.read("ciphertext blob", MAX_BLOB_BYTES)?.to_vec(),
            encryption_context: context.pairs()?,
            dry_run: call.dry_run(),
        };
        call.talk(async |session| {
            let request = session.request(request);
            let mut answer = session.answer(session.kms().decrypt(request).await)?;
            let written = out.keep(&mut answer.plaintext)?;
            output.written(&answer, [("plaintext", written)])
        })
    }
}
