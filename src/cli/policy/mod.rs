//! `keyferry policy …`: policies, looked at offline.
//!
//! ```text
//! schema.rs     what policies may speak of
//! check.rs      whether a directory of policies is usable, and what is odd in it
//! explain.rs    why a request would be allowed or refused
//! paths.rs      by which policies somebody may reach the plaintext under a key
//! test.rs       a file of requests, each with the decision that is expected
//! scenario.rs   a request that somebody thinks of, as it is written
//! imagined.rs   the same, as it is judged
//! ```

mod check;
mod explain;
mod imagined;
mod paths;
mod scenario;
mod schema;
mod test;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::failure::{EarlyExit, Failure};
use crate::access::cedar::policy_set::PolicySet;
use crate::policy_dir::{self, Reader};

/// Look at policies, offline
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print what policies may speak of: the Cedar schema, and the decisions that each
    /// RPC needs
    Schema(schema::PolicySchema),
    /// Check a directory of policies: whether they parse, hold together and fit the
    /// schema; and warn of ways round what they mean
    Check(check::PolicyCheck),
    /// Explain why a request would be allowed or refused, and what would have to be
    /// otherwise
    Explain(Box<explain::PolicyExplain>),
    /// List the policies by which somebody may reach the plaintext under a key, step by
    /// step: a list to read, not a proof
    Paths(paths::PolicyPaths),
    /// Test policies by a file of requests, each with the decision that is expected
    Test(test::PolicyTest),
}

impl PolicyCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Schema(args) => args.run(),
            Self::Check(args) => args.run(),
            Self::Explain(args) => args.run(),
            Self::Paths(args) => args.run(),
            Self::Test(args) => args.run(),
        }
    }
}

/// The directory of policies.
#[derive(Args, Debug)]
struct DirArgs {
    /// The directory: *.cedar and groups.toml
    #[arg(value_name = "DIR", default_value = "policies")]
    dir: PathBuf,
}

impl DirArgs {
    fn load(&self) -> Result<PolicySet, Failure> {
        load(&self.dir)
    }
}

fn load(dir: &Path) -> Result<PolicySet, Failure> {
    policy_dir::load(dir, Reader::Reviewer).map_err(|unusable| {
        Failure::new(
            Exit::Configuration,
            unusable.to_string(),
            "Correct them, and check again. `keyferry policy schema` prints what policies may speak of.",
        )
    })
}
