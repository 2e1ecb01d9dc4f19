//! `--context k=v`: the encryption context on a command line.

use std::collections::BTreeMap;

use clap::Args;

use super::failure::Failure;
use super::pair::{Pair, unique};

/// The encryption context.
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// A pair of the encryption context; may be given many times, in any
    /// order. It is bound to the blob and needed again to open it; it is not
    /// secret
    #[arg(long = "context", value_name = "KEY=VALUE")]
    pairs: Vec<Pair>,
}

impl ContextArgs {
    /// The pairs.
    pub fn pairs(&self) -> Result<BTreeMap<String, String>, Failure> {
        unique("--context", &self.pairs)
    }
}
