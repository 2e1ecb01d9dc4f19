//! The arguments of a command about one CMK.

use clap::Args;

use crate::cli::client::call::CallArgs;

/// One CMK.
#[derive(Args, Debug)]
pub struct KeyArgs {
    /// The CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    pub key: String,
    #[command(flatten)]
    pub call: CallArgs,
}
