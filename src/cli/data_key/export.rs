//! `keyferry data-key export`: the server encrypts data keys for recipients, one
//! by itself or a batch.

use clap::Args;

use crate::cli::batch::{BatchExport, ItemDefaults};
use crate::cli::client::call::CallArgs;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::input::{Input, MAX_BLOB_BYTES, refuse_two_stdins};
use crate::cli::io::out_file::write_out;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::options::key_value::ContextArgs;
use crate::cli::options::receipt::{beside_receipt, write_receipt};
use crate::cli::recipient::args::RecipientArgs;
use crate::proto::v1;

const BATCHES: &str = "\
Batches: each line of the file is a JSON object. All lines are exported over one stream.

  {\"item_id\": \"order-1\", \"ciphertext_blob\": \"<Base64>\", \"encryption_context\": {\"tenant\": \"a\"}}

A line has the members of ExportDataKeyRequest in the proto, also as {\"item_id\": …, \"item\": {…}}. \
Members that a line lacks are taken from --public-key, --algorithm, --sm2-encoding and --context, \
and item_id from the line's number. \
An item with \"receipt\": true has a receipt in its answer. Each line is answered by a line of the output, \
{\"item_id\": …, \"exported\": {…}} or \
{\"item_id\": …, \"error\": {\"code\": …, \"reason\": …, \"message\": …}}. \
The exit code is 1 if any item was refused. After an interruption, the same command goes on after \
the last whole line of the output.";

#[derive(Args, Debug)]
#[command(after_help = BATCHES)]
pub struct ExportDataKeys {
    /// The ciphertext blob, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE", required_unless_present = "batch")]
    input: Option<Input>,
    /// Many ciphertext blobs, a JSON object on each line; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    batch: Option<Input>,
    #[command(flatten)]
    recipient: RecipientArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// The file that the exported data key is written to, as raw bytes; an
    /// existing file is replaced; - is standard output. May be left out with
    /// --json, which holds it too. Of a batch: the file for the answers, line
    /// by line
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
    /// The file that a receipt of the export is written to: a signed statement that the
    /// recipient can verify; an existing file is replaced. Items of a batch ask for theirs
    /// by themselves
    #[arg(long, value_name = "FILE", conflicts_with = "batch")]
    receipt: Option<OutputTarget>,
    #[command(flatten)]
    call: CallArgs,
}

impl ExportDataKeys {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match (&self.batch, &self.input) {
            (Some(batch), _) => self.export_batch(batch),
            (None, Some(input)) => self.export_one(input),
            (None, None) => Err(Failure::usage(
                "There is nothing to export.",
                "Give --in FILE or --batch FILE.",
            )
            .into()),
        }
    }

    fn export_batch(&self, batch: &Input) -> Result<(), EarlyExit> {
        self.refuse_two_stdins(batch)?;
        let recipient = self.recipient.read_if_named()?;
        let defaults = ItemDefaults {
            recipient: recipient.map(|named| (named.public_key_blob, named.wrapping_key_spec)),
            algorithm: self.recipient.algorithm(),
            sm2_encoding: self.recipient.sm2_encoding(),
            context: self.context.pairs()?,
            dry_run: self.call.dry_run(),
        };
        BatchExport { input: batch, out: self.out.as_ref(), defaults, call: &self.call }.run()
    }

    fn export_one(&self, input: &Input) -> Result<(), EarlyExit> {
        let out = self.out.as_ref();
        let output = self.call.output().beside(out, Sensitivity::Encrypted)?;
        let output = beside_receipt(output, self.receipt.as_ref(), &[out])?;
        self.refuse_two_stdins(input)?;
        let encryption_context = self.context.pairs()?;
        let recipient = self.recipient.read()?;
        let request = v1::ExportDataKeyRequest {
            ciphertext_blob: input.read_raw("ciphertext blob", MAX_BLOB_BYTES)?.to_vec(),
            public_key_blob: recipient.public_key_blob,
            wrapping_algorithm: recipient.wrapping_algorithm.into(),
            wrapping_key_spec: recipient.wrapping_key_spec.into(),
            encryption_context,
            sm2_ciphertext_encoding: recipient.sm2_ciphertext_encoding.into(),
            dry_run: self.call.dry_run(),
            receipt: self.receipt.is_some(),
        };
        self.call.talk(async |session| {
            let request = session.request(request);
            let response = session.response(session.kms().export_data_key(request).await)?;
            let written = write_out(out, &response.exported_data_key, Sensitivity::Encrypted)?;
            let receipt = write_receipt(self.receipt.as_ref(), &response.receipt)?;
            output.written(&response, [("exported_data_key", written), ("receipt", receipt)])
        })
    }

    fn refuse_two_stdins(&self, input: &Input) -> Result<(), Failure> {
        let inputs: Vec<&Input> = self.recipient.file().into_iter().chain([input]).collect();
        refuse_two_stdins(&inputs)
    }
}
