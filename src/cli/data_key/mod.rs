//! `keyferry data-key …`: the server generates, exports and imports data keys; the
//! recipient unwraps them here, offline.

mod export;
mod generate;
mod import;
mod unwrap;

use clap::Subcommand;

use self::export::ExportDataKeys;
use self::generate::GenerateDataKey;
use self::import::{ImportDataKey, ReEncryptBlob};
use self::unwrap::UnwrapDataKey;
use super::failure::EarlyExit;

/// Generate data keys, export them to recipients, unwrap them there, and import
/// them from elsewhere
#[derive(Debug, Subcommand)]
pub enum DataKeyCommand {
    /// Make a data key that nobody sees in the clear, and write its ciphertext
    /// blob; for a recipient at once with --public-key; or, with
    /// --plaintext-out, to be seen
    Generate(GenerateDataKey),
    /// Encrypt the data key in a ciphertext blob under a recipient's public
    /// key, inside the server
    Export(ExportDataKeys),
    /// Decrypt an exported data key with the recipient's private key, offline
    Unwrap(UnwrapDataKey),
    /// Seal a data key that was exported to an asymmetric CMK of this server
    /// under a symmetric one, inside the server
    Import(ImportDataKey),
    /// Seal the content of a ciphertext blob anew, inside the server: under
    /// another CMK, its newest version, or another encryption context
    ReEncrypt(ReEncryptBlob),
}

impl DataKeyCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Generate(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Unwrap(args) => args.run(),
            Self::Import(args) => args.run(),
            Self::ReEncrypt(args) => args.run(),
        }
    }
}
