//! `keyferry data-key generate`: data keys are born in the server.

use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::connection::{CallArgs, Session};
use super::context::ContextArgs;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination};
use super::out::{keep, spoken_beside};
use super::output::Output;
use super::recipient_args::{Recipient, RecipientArgs};
use crate::proto::v1;

/// Makes a data key.
#[derive(Args, Debug)]
pub struct Generate {
    /// The CMK to seal under: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    /// How many bytes, 1 to 1024; 32 when neither this nor --spec is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), conflicts_with = "spec")]
    bytes: Option<u32>,
    /// How many bytes, by the name of the cipher that they are for
    #[arg(long, value_name = "SPEC", ignore_case = true)]
    spec: Option<DataKeySpecName>,
    #[command(flatten)]
    context: ContextArgs,
    /// Where the ciphertext blob goes, as raw bytes; an existing file is
    /// replaced; - is standard output. May be left out with --json, which
    /// holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    #[command(flatten)]
    recipient: RecipientArgs,
    /// With --public-key: where the data key goes that is encrypted for the
    /// recipient, as raw bytes; an existing file is replaced. May be left out
    /// with --json, which holds it too
    #[arg(long, value_name = "FILE", requires = "public_key")]
    exported_out: Option<Destination>,
    /// Have the data key itself too, in the clear, as raw bytes in this file,
    /// readable by you alone (mode 0600); - is standard output, which must not
    /// be a terminal. JSON does not hold it
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    plaintext_out: Option<Destination>,
    /// Replace an existing file of --plaintext-out
    #[arg(long, requires = "plaintext_out")]
    force: bool,
    /// How the server is called.
    #[command(flatten)]
    pub call: CallArgs,
}

/// `--spec`
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataKeySpecName {
    /// 32 bytes
    #[value(name = "AES_256")]
    Aes256,
    /// 16 bytes
    #[value(name = "AES_128")]
    Aes128,
}

impl Generate {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let output = self.output()?;
        let recipient = self.recipient.read_if_named()?;
        match (recipient, &self.plaintext_out) {
            (Some(recipient), _) => self.for_recipient(&recipient, output),
            (None, Some(plaintext_out)) => self.to_be_seen(plaintext_out, output),
            (None, None) => self.unseen(output),
        }
    }

    /// Who speaks where, once every place is known to be fit.
    fn output(&self) -> Result<Output, Failure> {
        let json = self.call.json();
        let places = [
            (self.out.as_ref(), Care::Encrypted),
            (self.exported_out.as_ref(), Care::Encrypted),
            (self.plaintext_out.as_ref(), self.care()),
        ];
        let stdouts = places.iter().filter(|(out, _)| *out == Some(&Destination::Stdout));
        if stdouts.count() > 1 {
            return Err(Failure::usage(
                "Standard output cannot hold two things, but two options name it.",
                "Give a file for one of them.",
            ));
        }
        let is_exported_kept = self.exported_out.is_some() || json || self.call.dry_run();
        if self.recipient.file().is_some() && !is_exported_kept {
            return Err(Failure::usage(
                "What is encrypted for the recipient has nowhere to go.",
                "Give --exported-out FILE.",
            ));
        }
        let mut output = self.call.output();
        for (out, care) in places {
            output = spoken_beside(output, json, out, care)?;
            out.map_or(Ok(()), |out| out.check(care))?;
        }
        Ok(output)
    }

    fn care(&self) -> Care {
        Care::secret(self.force)
    }

    fn key_spec(&self) -> v1::DataKeySpec {
        match self.spec {
            None => v1::DataKeySpec::Unspecified,
            Some(DataKeySpecName::Aes256) => v1::DataKeySpec::Aes256,
            Some(DataKeySpecName::Aes128) => v1::DataKeySpec::Aes128,
        }
    }

    fn unseen(&self, output: Output) -> Result<(), Stop> {
        let request = v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: self.key.clone(),
            key_spec: self.key_spec().into(),
            number_of_bytes: self.bytes,
            encryption_context: self.context.pairs()?,
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session: Session| {
            let request = session.request(request);
            let outcome = session.kms().generate_data_key_without_plaintext(request).await;
            let answer = session.answer(outcome)?;
            let blob = keep(self.out.as_ref(), &answer.ciphertext_blob, Care::Encrypted)?;
            output.written(&answer, [("ciphertext_blob", blob)])
        })
    }

    fn for_recipient(&self, recipient: &Recipient, output: Output) -> Result<(), Stop> {
        let request = v1::GenerateAndExportDataKeyRequest {
            key_id: self.key.clone(),
            key_spec: self.key_spec().into(),
            number_of_bytes: self.bytes,
            encryption_context: self.context.pairs()?,
            public_key_blob: recipient.public_key_blob.clone(),
            wrapping_algorithm: recipient.wrapping_algorithm.into(),
            wrapping_key_spec: recipient.wrapping_key_spec.into(),
            sm2_ciphertext_encoding: recipient.sm2_ciphertext_encoding.into(),
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session: Session| {
            let request = session.request(request);
            let outcome = session.kms().generate_and_export_data_key(request).await;
            let answer = session.answer(outcome)?;
            let blob = keep(self.out.as_ref(), &answer.ciphertext_blob, Care::Encrypted)?;
            let exported = &answer.exported_data_key;
            let exported = keep(self.exported_out.as_ref(), exported, Care::Encrypted)?;
            output.written(&answer, [("ciphertext_blob", blob), ("exported_data_key", exported)])
        })
    }

    fn to_be_seen(&self, plaintext_out: &Destination, output: Output) -> Result<(), Stop> {
        let request = v1::GenerateDataKeyRequest {
            key_id: self.key.clone(),
            key_spec: self.key_spec().into(),
            number_of_bytes: self.bytes,
            encryption_context: self.context.pairs()?,
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session: Session| {
            let request = session.request(request);
            let mut answer = session.answer(session.kms().generate_data_key(request).await)?;
            let plaintext = Zeroizing::new(std::mem::take(&mut answer.plaintext));
            let blob = keep(self.out.as_ref(), &answer.ciphertext_blob, Care::Encrypted)?;
            let plaintext = keep(Some(plaintext_out), &plaintext, self.care())?;
            output.written(&answer, [("ciphertext_blob", blob), ("plaintext", plaintext)])
        })
    }
}
