//! `keyferry data-key …`: data keys are generated and exported by the server,
//! and unwrapped here, on the recipient's side; what came from elsewhere is
//! imported.

use clap::Subcommand;

use super::data_key_export::Export;
use super::data_key_generate::Generate;
use super::data_key_import::{Import, ReEncrypt};
use super::data_key_unwrap::Unwrap;
use super::failure::Stop;

/// Generate data keys, export them to recipients, unwrap them there, and import
/// them from elsewhere
#[derive(Debug, Subcommand)]
pub enum DataKeyCommand {
    /// Make a data key that nobody sees in the clear, and write its ciphertext
    /// blob; for a recipient at once with --public-key; or, with
    /// --plaintext-out, to be seen
    Generate(Generate),
    /// Encrypt the data key in a ciphertext blob under a recipient's public
    /// key, inside the server
    Export(Export),
    /// Decrypt an exported data key with the recipient's private key, offline
    Unwrap(Unwrap),
    /// Seal a data key that was exported to an asymmetric CMK of this server
    /// under a symmetric one, inside the server
    Import(Import),
    /// Seal the content of a ciphertext blob anew, inside the server: under
    /// another CMK, its newest version, or another encryption context
    ReEncrypt(ReEncrypt),
}

impl DataKeyCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Generate(args) => args.call.json(),
            Self::Export(args) => args.call.json(),
            Self::Unwrap(args) => args.output.json(),
            Self::Import(args) => args.call().json(),
            Self::ReEncrypt(args) => args.call().json(),
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Generate(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Unwrap(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::ReEncrypt(args) => args.run(),
        }
    }
}
