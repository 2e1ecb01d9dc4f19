//! `keyferry data-key import|re-encrypt`: the server opens a data key or a blob and
//! seals it anew, and nobody sees the content.

use clap::Args;

use crate::cli::client::call::CallArgs;
use crate::cli::client::session::Session;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::input::{Input, MAX_BLOB_BYTES, refuse_two_stdins};
use crate::cli::io::out_file::write_out;
use crate::cli::io::output::Output;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::io::text::Text;
use crate::cli::options::algorithms::encryption;
use crate::cli::options::key_value::{ContextArgs, KeyValue, unique};
use crate::cli::options::receipt;
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct ImportDataKey {
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
    /// for SM2: the server is asked for the kind of the CMK
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<v1::WrappingAlgorithm>,
    /// The receipt that it was exported with: the server verifies that an issuer it trusts
    /// exported it to this CMK; - is standard input
    #[arg(long, value_name = "FILE")]
    receipt: Option<Input>,
    #[command(flatten)]
    new_blob: NewBlobArgs,
}

#[derive(Args, Debug)]
pub struct ReEncryptBlob {
    /// The ciphertext blob, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// A pair of the encryption context that the blob was made with; may be
    /// given many times
    #[arg(long = "source-context", value_name = "KEY=VALUE")]
    source_context: Vec<KeyValue>,
    #[command(flatten)]
    new_blob: NewBlobArgs,
}

/// How the new blob is sealed, and its file.
#[derive(Args, Debug)]
struct NewBlobArgs {
    /// The symmetric CMK to seal under: its id, alias/NAME, or the ARN of
    /// either
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    context: ContextArgs,
    /// The file that the new ciphertext blob is written to, as raw bytes; an
    /// existing file is replaced; - is standard output. May be left out with
    /// --json, which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
    #[command(flatten)]
    call: CallArgs,
}

impl ImportDataKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let output = self.new_blob.output()?;
        refuse_two_stdins(&[&self.input].into_iter().chain(&self.receipt).collect::<Vec<_>>())?;
        let source_receipt = self.receipt.as_ref().map(receipt::text).transpose()?;
        let mut request = v1::ReEncryptRequest {
            source_receipt: source_receipt.unwrap_or_default(),
            source_key_id: self.source_key.clone(),
            source_key_version_id: self.source_key_version.clone(),
            ..self.new_blob.request(&self.input, "exported data key")?
        };
        self.new_blob.call.talk(async |session| {
            let algorithm = encryption(&session, &self.source_key, self.algorithm).await?;
            request.source_encryption_algorithm = algorithm.into();
            self.new_blob.call(request, output, session).await
        })
    }
}

impl ReEncryptBlob {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let output = self.new_blob.output()?;
        let request = v1::ReEncryptRequest {
            source_encryption_context: unique("--source-context", &self.source_context)?,
            ..self.new_blob.request(&self.input, "ciphertext blob")?
        };
        let call = &self.new_blob.call;
        call.talk(async |session| self.new_blob.call(request, output, session).await)
    }
}

impl NewBlobArgs {
    fn output(&self) -> Result<Output, Failure> {
        self.call.output().beside(self.out.as_ref(), Sensitivity::Encrypted)
    }

    /// A request without its source key and its source context.
    fn request(&self, input: &Input, what: &str) -> Result<v1::ReEncryptRequest, Failure> {
        Ok(v1::ReEncryptRequest {
            destination_key_id: self.key.clone(),
            destination_encryption_context: self.context.pairs()?,
            ciphertext_blob: input.read_raw(what, MAX_BLOB_BYTES)?.to_vec(),
            dry_run: self.call.dry_run(),
            ..Default::default()
        })
    }

    async fn call(
        &self,
        request: v1::ReEncryptRequest,
        output: Output,
        session: Session,
    ) -> Result<(), EarlyExit> {
        let request = session.request(request);
        let response = session.response(session.kms().re_encrypt(request).await)?;
        let blob = &response.ciphertext_blob;
        let written = write_out(self.out.as_ref(), blob, Sensitivity::Encrypted)?;
        output.response(&response, || {
            Text::Fields(vec![
                ("source_key_id", response.key_id.clone()),
                ("source_key_version_id", response.key_version_id.clone()),
                ("ciphertext_blob", written),
                ("request_id", response.request_id.clone()),
            ])
        })
    }
}
