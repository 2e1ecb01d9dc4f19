//! `keyferry receipt …`: receipts of exports, looked at and verified offline, and the
//! keys that verify them.

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::call::CallArgs;
use super::exit::Exit;
use super::failure::{EarlyExit, Failure};
use super::io::input::{Input, MAX_BLOB_BYTES, refuse_two_stdins};
use super::io::out_file::write_out;
use super::io::output::OutputArgs;
use super::io::output_target::{OutputTarget, Sensitivity};
use super::io::text::Text;
use super::options::key_value::ContextArgs;
use super::options::receipt::{TrustArgs, check, fields, read};
use super::recipient::public_key;
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::receipt::{Claims, Delivery};
use crate::proto::v1;

/// Look at receipts of exports and verify them, offline, and get the keys that
/// verify them
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Show what a receipt says, without verifying it
    Show(ShowReceipt),
    /// Verify a receipt, and that it is of an exported data key and of a public key
    Verify(VerifyReceipt),
    /// Show the server's keys that sign and signed receipts
    Keys(ReceiptKeys),
}

#[derive(Args, Debug)]
pub struct ShowReceipt {
    /// The receipt; - is standard input
    #[arg(value_name = "FILE")]
    file: Input,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args, Debug)]
pub struct VerifyReceipt {
    /// The receipt; - is standard input
    #[arg(value_name = "FILE")]
    file: Input,
    #[command(flatten)]
    trust: TrustArgs,
    /// The exported data key that it must be of, as raw bytes
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// The recipient's public key that it must be for, PEM or DER
    #[arg(long, value_name = "FILE")]
    public_key: Input,
    #[command(flatten)]
    context: ContextArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args, Debug)]
pub struct ReceiptKeys {
    /// The file that the keys are written to, a JWK Set (RFC 7517) for recipients; an
    /// existing file is replaced; - is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<OutputTarget>,
    #[command(flatten)]
    call: CallArgs,
}

impl ReceiptCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Show(args) => args.run(),
            Self::Verify(args) => args.run(),
            Self::Keys(args) => args.run(),
        }
    }
}

impl ShowReceipt {
    fn run(&self) -> Result<(), EarlyExit> {
        let receipt = read(&self.file)?;
        let claims = receipt.unverified_claims();
        let kid = receipt.kid().to_string();
        let output = self.output.output();
        let value = json!({ "verified": false, "kid": kid, "claims": claims });
        output.result(&value, || {
            let mut shown = vec![("kid", kid)];
            shown.extend(fields(claims));
            Text::Fields(shown)
        })?;
        let hint = "Nothing of this is verified: `keyferry receipt verify` does that.";
        output.hint(&Text::Alarm(hint.to_owned()));
        Ok(())
    }
}

impl VerifyReceipt {
    fn run(&self) -> Result<(), EarlyExit> {
        let inputs = [&self.file, &self.input, &self.public_key];
        refuse_two_stdins(&inputs.into_iter().chain(self.trust.file()).collect::<Vec<_>>())?;
        let claims = self.trust.verify(&self.file)?;
        let recipient = public_key::read(&self.public_key)?;
        let exported = self.input.read_raw("exported data key", MAX_BLOB_BYTES)?;
        let delivery =
            Delivery { exported: &exported, recipient_sha256: recipient.sha256(), algorithm: None };
        check(&self.file, &claims, &delivery)?;
        self.check_context(&claims)?;
        let value = json!({ "verified": true, "claims": claims });
        self.output.output().result(&value, || Text::Fields(fields(&claims)))
    }

    /// Compares the context, where one is given.
    fn check_context(&self, claims: &Claims) -> Result<(), Failure> {
        let pairs = self.context.pairs()?;
        if pairs.is_empty() {
            return Ok(());
        }
        let context = EncryptionContext::new(pairs).map_err(|why| {
            Failure::usage(format!("The context is not valid: {why}."), "Give less.")
        })?;
        if claims.is_of_context(&context) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Refused,
            format!("The receipt in {} is of another encryption context.", self.file),
            "Give all pairs that the data key was made with, and no other.",
        ))
    }
}

impl ReceiptKeys {
    fn run(&self) -> Result<(), EarlyExit> {
        let output = self.call.output().beside(self.out.as_ref(), Sensitivity::Public)?;
        let request = v1::GetReceiptKeysRequest { dry_run: self.call.dry_run() };
        self.call.talk(async |session| {
            let request = session.request(request);
            let response = session.access_management().get_receipt_keys(request).await;
            let response = session.response(response)?;
            let jwks = format!("{}\n", response.jwks);
            write_out(self.out.as_ref(), jwks.as_bytes(), Sensitivity::Public)?;
            output.response(&response, || {
                let row = |key: &v1::ReceiptKey| {
                    vec![key.kid.clone(), key.signs_from.clone(), key.signed_until.clone()]
                };
                Text::Table {
                    heading: Some(vec!["kid", "signs_from", "signed_until"]),
                    rows: response.receipt_keys.iter().map(row).collect(),
                }
            })?;
            output.hint(&Text::line(format!("The issuer is {}.", response.issuer)));
            Ok(())
        })
    }
}
