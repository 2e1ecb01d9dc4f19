//! `keyferry data-key import|re-encrypt`: the server seals anew what it opens,
//! and shows it to nobody.

use std::collections::BTreeMap;

use clap::Args;

use super::algorithms::{AlgorithmName, encryption};
use super::connection::{CallArgs, Session};
use super::context::ContextArgs;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination, Input, MAX_BLOB_BYTES};
use super::out::{keep, spoken_beside};
use super::output::Output;
use super::pair::{Pair, unique};
use super::text::Text;
use crate::proto::v1;

/// Imports an exported data key.
#[derive(Args, Debug)]
pub struct Import {
    /// The exported data key, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// The asymmetric CMK that it was exported to: its id, alias/NAME, or the
    /// ARN of either
    #[arg(long, value_name = "KEY")]
    source_key: String,
    /// The version of that CMK whose public key it was exported to
    #[arg(long, value_name = "VERSION")]
    source_key_version: String,
    /// How it was encrypted; by default RSAES_OAEP_SHA_256 for RSA and SM2PKE
    /// for SM2: the server is asked which the CMK is
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<AlgorithmName>,
    /// How the new blob is sealed.
    #[command(flatten)]
    seal: Seal,
}

/// Seals a blob's content anew.
#[derive(Args, Debug)]
pub struct ReEncrypt {
    /// The ciphertext blob, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// A pair of the encryption context that the blob was made with; may be
    /// given many times
    #[arg(long = "source-context", value_name = "KEY=VALUE")]
    source_context: Vec<Pair>,
    /// How the new blob is sealed.
    #[command(flatten)]
    seal: Seal,
}

/// How the new blob is sealed, and where it goes.
#[derive(Args, Debug)]
struct Seal {
    /// The symmetric CMK to seal under: its id, alias/NAME, or the ARN of
    /// either
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    context: ContextArgs,
    /// Where the new ciphertext blob goes, as raw bytes; an existing file is
    /// replaced; - is standard output. May be left out with --json, which
    /// holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    #[command(flatten)]
    call: CallArgs,
}

impl Import {
    /// How the server is called.
    pub fn call(&self) -> &CallArgs {
        &self.seal.call
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let output = self.seal.output()?;
        let mut request = self.seal.request(&self.input, "exported data key")?;
        request.source_key_id.clone_from(&self.source_key);
        request.source_key_version_id.clone_from(&self.source_key_version);
        self.call().talk(async |session| {
            let algorithm = encryption(&session, &self.source_key, self.algorithm).await?;
            request.source_encryption_algorithm = algorithm.into();
            self.seal.ask(request, output, session).await
        })
    }
}

impl ReEncrypt {
    /// How the server is called.
    pub fn call(&self) -> &CallArgs {
        &self.seal.call
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let output = self.seal.output()?;
        let source_encryption_context: BTreeMap<_, _> =
            unique("--source-context", &self.source_context)?;
        let request = v1::ReEncryptRequest {
            source_encryption_context,
            ..self.seal.request(&self.input, "ciphertext blob")?
        };
        self.call().talk(async |session| self.seal.ask(request, output, session).await)
    }
}

impl Seal {
    fn output(&self) -> Result<Output, Failure> {
        spoken_beside(self.call.output(), self.call.json(), self.out.as_ref(), Care::Encrypted)
    }

    /// A request that does not say yet where its source comes from.
    fn request(&self, input: &Input, what: &str) -> Result<v1::ReEncryptRequest, Failure> {
        Ok(v1::ReEncryptRequest {
            destination_key_id: self.key.clone(),
            destination_encryption_context: self.context.pairs()?,
            ciphertext_blob: input.read(what, MAX_BLOB_BYTES)?.to_vec(),
            dry_run: self.call.dry_run(),
            ..Default::default()
        })
    }

    async fn ask(
        &self,
        request: v1::ReEncryptRequest,
        output: Output,
        session: Session,
    ) -> Result<(), Stop> {
        let request = session.request(request);
        let answer = session.answer(session.kms().re_encrypt(request).await)?;
        let written = keep(self.out.as_ref(), &answer.ciphertext_blob, Care::Encrypted)?;
        output.answer(&answer, || {
            Text::Fields(vec![
                ("source_key_id", answer.key_id.clone()),
                ("source_key_version_id", answer.key_version_id.clone()),
                ("ciphertext_blob", written),
                ("request_id", answer.request_id.clone()),
            ])
        })
    }
}
