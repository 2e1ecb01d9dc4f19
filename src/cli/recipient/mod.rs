//! `keyferry recipient …`: public keys that a data key may be exported to. Works
//! offline.
//!
//! ```text
//! public_key.rs  reads and checks a recipient's key
//! args.rs        the recipient of other commands: `--public-key` and its options
//! ```

pub mod args;
pub mod public_key;

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::EarlyExit;
use super::io::input::Input;
use super::io::output::OutputArgs;
use super::io::text::Text;
use crate::crypto::wrapping::{WrappingAlgorithm, WrappingMethod};

/// Look at recipients' public keys, offline
#[derive(Debug, Subcommand)]
pub enum RecipientCommand {
    /// Show what kind of key a public key is, its digest for policies, and the
    /// longest data key that each algorithm takes; or why it is unfit and which
    /// keys fit
    Show(ShowRecipient),
}

#[derive(Args, Debug)]
pub struct ShowRecipient {
    /// The public key (SubjectPublicKeyInfo), PEM or DER; - is standard
    /// input
    #[arg(value_name = "FILE")]
    file: Input,
    #[command(flatten)]
    output: OutputArgs,
}

impl RecipientCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let Self::Show(args) = self;
        args.run()
    }
}

impl ShowRecipient {
    fn run(&self) -> Result<(), EarlyExit> {
        let key = public_key::read(&self.file)?;
        let spec = key.spec();
        let digest = base16ct::lower::encode_string(key.sha256());
        let identifier = base16ct::lower::encode_string(&key.subject_key_identifier());
        // The default comes first.
        let methods: Vec<WrappingMethod> = WrappingAlgorithm::ALL
            .into_iter()
            .filter_map(|algorithm| WrappingMethod::new(spec, algorithm, None).ok())
            .collect();
        let value = json!({
            "wrapping_key_spec": spec.as_str(),
            "public_key_sha256": digest,
            "subject_key_identifier": identifier,
            "wrapping_algorithms": methods.iter().map(|method| json!({
                "wrapping_algorithm": method.algorithm().as_str(),
                "longest_data_key_bytes": method.longest_data_key_bytes(),
            })).collect::<Vec<_>>(),
        });
        self.output.output().result(&value, || {
            let mut fields = vec![
                ("wrapping_key_spec", spec.as_str().to_owned()),
                ("public_key_sha256", digest),
                ("subject_key_identifier", identifier),
            ];
            fields.extend(methods.iter().map(|method| {
                let (algorithm, longest) = (method.algorithm(), method.longest_data_key_bytes());
                ("wrapping_algorithm", format!("{algorithm} (data keys up to {longest} bytes)"))
            }));
            Text::Fields(fields)
        })
    }
}
