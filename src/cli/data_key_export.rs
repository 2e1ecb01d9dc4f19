//! `keyferry data-key export`: the server encrypts data keys for recipients, one
//! by itself or a batch.

use clap::Args;

use super::batch::{Batch, Defaults};
use super::connection::{CallArgs, Session};
use super::context::ContextArgs;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination, Input, MAX_BLOB_BYTES, refuse_two_stdins};
use super::out::{keep, spoken_beside};
use super::output::Output;
use super::recipient_args::{Recipient, RecipientArgs};
use crate::proto::v1;

const BATCHES: &str = "\
Batches: each line of the file is a JSON object, which is exported over one stream:
  {\"item_id\": \"order-1\", \"ciphertext_blob\": \"<Base64>\", \"encryption_context\": {\"tenant\": \"a\"}}
The members are those of ExportDataKeyRequest in the proto, also as {\"item_id\": …, \"item\": {…}};
those that a line lacks are taken from --public-key, --algorithm, --sm2-encoding and --context, and
item_id from the line's number. Line by line, the output has {\"item_id\": …, \"exported\": {…}} or
{\"item_id\": …, \"error\": {\"code\": …, \"reason\": …, \"message\": …}}. The exit code is 1 if any item was
refused. After an interruption, the same command goes on after the last whole line of the output.";

/// Exports data keys.
#[derive(Args, Debug)]
#[command(after_help = BATCHES)]
pub struct Export {
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
    /// Where the exported data key goes, as raw bytes; an existing file is
    /// replaced; - is standard output. May be left out with --json, which
    /// holds it too. Of a batch: where the answers go, line by line
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    /// How the server is called.
    #[command(flatten)]
    pub call: CallArgs,
}

impl Export {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match (&self.batch, &self.input) {
            (Some(batch), _) => self.all(batch),
            (None, Some(input)) => self.one(input),
            (None, None) => Err(Failure::usage(
                "There is nothing to export.",
                "Give --in FILE or --batch FILE.",
            )
            .into()),
        }
    }

    fn all(&self, batch: &Input) -> Result<(), Stop> {
        let named: Vec<&Input> = self.recipient.file().into_iter().chain([batch]).collect();
        refuse_two_stdins(&named)?;
        let key = |recipient: Recipient| (recipient.public_key_blob, recipient.wrapping_key_spec);
        let defaults = Defaults {
            recipient: self.recipient.read_if_named()?.map(key),
            algorithm: self.recipient.algorithm(),
            sm2_encoding: self.recipient.sm2_encoding(),
            context: self.context.pairs()?,
            dry_run: self.call.dry_run(),
        };
        Batch { input: batch, out: self.out.as_ref(), defaults, call: &self.call }.run()
    }

    fn one(&self, input: &Input) -> Result<(), Stop> {
        let out = self.out.as_ref();
        let output = spoken_beside(self.call.output(), self.call.json(), out, Care::Encrypted)?;
        let named: Vec<&Input> = self.recipient.file().into_iter().chain([input]).collect();
        refuse_two_stdins(&named)?;
        let encryption_context = self.context.pairs()?;
        let recipient = self.recipient.read()?;
        let blob = input.read("ciphertext blob", MAX_BLOB_BYTES)?;
        let request = v1::ExportDataKeyRequest {
            ciphertext_blob: blob.to_vec(),
            public_key_blob: recipient.public_key_blob,
            wrapping_algorithm: recipient.wrapping_algorithm.into(),
            wrapping_key_spec: recipient.wrapping_key_spec.into(),
            encryption_context,
            sm2_ciphertext_encoding: recipient.sm2_ciphertext_encoding.into(),
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session| self.ask(request, output, session).await)
    }

    async fn ask(
        &self,
        request: v1::ExportDataKeyRequest,
        output: Output,
        session: Session,
    ) -> Result<(), Stop> {
        let request = session.request(request);
        let answer = session.answer(session.kms().export_data_key(request).await)?;
        let written = keep(self.out.as_ref(), &answer.exported_data_key, Care::Encrypted)?;
        output.written(&answer, [("exported_data_key", written)])
    }
}
