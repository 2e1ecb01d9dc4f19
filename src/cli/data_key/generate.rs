//! `keyferry data-key generate`: the server makes a data key.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use crate::cli::client::call::CallArgs;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::out_file::write_out;
use crate::cli::io::output::Output;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::options::key_value::ContextArgs;
use crate::cli::options::receipt::write_receipt;
use crate::cli::recipient::args::{RecipientArgs, RecipientFields};
use crate::limits::DATA_KEY_BYTES;
use crate::proto::v1;

#[derive(Args, Debug)]
pub struct GenerateDataKey {
    /// The CMK to seal under: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    /// How many bytes, 1 to 1024; 32 when neither this nor --spec is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(DATA_KEY_BYTES.range()), conflicts_with = "spec")]
    bytes: Option<u32>,
    /// How many bytes, by the name of the cipher that they are for
    #[arg(long, value_name = "SPEC", ignore_case = true)]
    spec: Option<v1::DataKeySpec>,
    #[command(flatten)]
    context: ContextArgs,
    /// The file that the ciphertext blob is written to, as raw bytes; an
    /// existing file is replaced; - is standard output. May be left out with
    /// --json, which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
    #[command(flatten)]
    recipient: RecipientArgs,
    /// With --public-key: the file that the data key is written to, encrypted
    /// for the recipient, as raw bytes; an existing file is replaced. May be
    /// left out with --json, which holds it too
    #[arg(long, value_name = "FILE", requires = "public_key")]
    exported_out: Option<OutputTarget>,
    /// With --public-key: the file that a receipt of the export is written to, a signed
    /// statement that the recipient can verify; an existing file is replaced
    #[arg(long, value_name = "FILE", requires = "public_key")]
    receipt: Option<OutputTarget>,
    /// Get the data key itself too, in the clear, as raw bytes in this file,
    /// readable by you alone (mode 0600); - is standard output, which must not
    /// be a terminal. JSON does not hold it
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    plaintext_out: Option<OutputTarget>,
    /// Replace an existing file of --plaintext-out
    #[arg(long, requires = "plaintext_out")]
    force: bool,
    #[command(flatten)]
    call: CallArgs,
}

impl ValueEnum for v1::DataKeySpec {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Aes256, Self::Aes128]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Unspecified => return None,
            Self::Aes256 => "32 bytes",
            Self::Aes128 => "16 bytes",
        };
        let name = self.as_str_name().trim_start_matches("DATA_KEY_SPEC_");
        Some(PossibleValue::new(name).help(help))
    }
}

impl GenerateDataKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let output = self.output()?;
        let recipient = self.recipient.read_if_named()?;
        match (recipient, &self.plaintext_out) {
            (Some(recipient), _) => self.for_recipient(recipient, output),
            (None, Some(plaintext_out)) => self.with_plaintext(plaintext_out, output),
            (None, None) => self.without_plaintext(output),
        }
    }

    /// The output beside the files, once all of them are known to be fit.
    fn output(&self) -> Result<Output, Failure> {
        let outs = [
            (self.out.as_ref(), Sensitivity::Encrypted),
            (self.exported_out.as_ref(), Sensitivity::Encrypted),
            (self.receipt.as_ref(), Sensitivity::Public),
            (self.plaintext_out.as_ref(), self.plaintext_sensitivity()),
        ];
        let stdouts = outs.iter().filter(|(out, _)| *out == Some(&OutputTarget::Stdout));
        if stdouts.count() > 1 {
            return Err(Failure::usage(
                "Standard output cannot hold two things, but two options name it.",
                "Give a file for one of them.",
            ));
        }
        let mut output = self.call.output();
        let is_exported_kept =
            self.exported_out.is_some() || output.is_json() || self.call.dry_run();
        if self.recipient.file().is_some() && !is_exported_kept {
            return Err(Failure::usage(
                "There is no file for the data key that is encrypted for the recipient.",
                "Give --exported-out FILE.",
            ));
        }
        for (out, sensitivity) in outs {
            output = output.beside(out, sensitivity)?;
            out.map_or(Ok(()), |out| out.check(sensitivity))?;
        }
        Ok(output)
    }

    fn plaintext_sensitivity(&self) -> Sensitivity {
        Sensitivity::Secret { replace: self.force }
    }

    fn without_plaintext(&self, output: Output) -> Result<(), EarlyExit> {
        let request = v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: self.key.clone(),
            key_spec: self.spec.unwrap_or_default().into(),
            number_of_bytes: self.bytes,
            encryption_context: self.context.pairs()?,
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session| {
            let request = session.request(request);
            let generated = session.kms().generate_data_key_without_plaintext(request).await;
            let response = session.response(generated)?;
            let blob = self.write_blob(&response.ciphertext_blob)?;
            output.written(&response, [("ciphertext_blob", blob)])
        })
    }

    fn for_recipient(&self, recipient: RecipientFields, output: Output) -> Result<(), EarlyExit> {
        let request = v1::GenerateAndExportDataKeyRequest {
            key_id: self.key.clone(),
            key_spec: self.spec.unwrap_or_default().into(),
            number_of_bytes: self.bytes,
            encryption_context: self.context.pairs()?,
            public_key_blob: recipient.public_key_blob,
            wrapping_algorithm: recipient.wrapping_algorithm.into(),
            wrapping_key_spec: recipient.wrapping_key_spec.into(),
            sm2_ciphertext_encoding: recipient.sm2_ciphertext_encoding.into(),
            dry_run: self.call.dry_run(),
            receipt: self.receipt.is_some(),
        };
        self.call.talk(async |session| {
            let request = session.request(request);
            let generated = session.kms().generate_and_export_data_key(request).await;
            let response = session.response(generated)?;
            let blob = self.write_blob(&response.ciphertext_blob)?;
            let exported = &response.exported_data_key;
            let exported = write_out(self.exported_out.as_ref(), exported, Sensitivity::Encrypted)?;
            let receipt = write_receipt(self.receipt.as_ref(), &response.receipt)?;
            let written =
                [("ciphertext_blob", blob), ("exported_data_key", exported), ("receipt", receipt)];
            output.written(&response, written)
        })
    }

    fn with_plaintext(
        &self,
        plaintext_out: &OutputTarget,
        output: Output,
    ) -> Result<(), EarlyExit> {
        let request = v1::GenerateDataKeyRequest {
            key_id: self.key.clone(),
            key_spec: self.spec.unwrap_or_default().into(),
            number_of_bytes: self.bytes,
            encryption_context: self.context.pairs()?,
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session| {
            let request = session.request(request);
            let mut response = session.response(session.kms().generate_data_key(request).await)?;
            let plaintext = Zeroizing::new(std::mem::take(&mut response.plaintext));
            let blob = self.write_blob(&response.ciphertext_blob)?;
            let plaintext =
                write_out(Some(plaintext_out), &plaintext, self.plaintext_sensitivity())?;
            output.written(&response, [("ciphertext_blob", blob), ("plaintext", plaintext)])
        })
    }

    fn write_blob(&self, blob: &[u8]) -> Result<String, EarlyExit> {
        write_out(self.out.as_ref(), blob, Sensitivity::Encrypted)
    }
}
