//! `keyferry policy …`: policies, looked at offline.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::Exit;
use super::failure::{EarlyExit, Failure};
use super::io::output::{Output, OutputArgs};
use super::io::text::Text;
use crate::access::cedar::schema;
use crate::access::cedar::source::Problem;
use crate::policy_dir::{self, Reader};

/// Look at policies, offline
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Print what policies may speak of: the Cedar schema, and the decisions that each
    /// RPC needs
    Schema(PolicySchema),
    /// Check a directory of policies: whether they parse, hold together and fit the
    /// schema
    Check(PolicyCheck),
}

#[derive(Args, Debug)]
pub struct PolicySchema {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Args, Debug)]
pub struct PolicyCheck {
    /// The directory: *.cedar and groups.toml
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

impl PolicyCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Schema(args) => args.run(),
            Self::Check(args) => args.run(),
        }
    }
}

impl PolicySchema {
    fn run(&self) -> Result<(), EarlyExit> {
        let (schema, decisions) = (schema::text(), schema::decisions());
        let value = json!({ "schema": schema, "decisions": decisions });
        self.output.output().result(&value, || {
            // The table is comments, so that the whole is a schema file.
            let rows = decisions.iter().map(|(rpc, all)| format!("//   {rpc}: {}", all.join(", ")));
            let rows = rows.collect::<Vec<_>>().join("\n");
            Text::Verbatim(format!(
                "{schema}\n// The decisions of each RPC, all of which must allow it:\n{rows}"
            ))
        })
    }
}

impl PolicyCheck {
    fn run(&self) -> Result<(), EarlyExit> {
        let policies = policy_dir::load(&self.dir, Reader::Reviewer).map_err(|unusable| {
            Failure::new(
                Exit::Configuration,
                format!("{unusable}"),
                "Correct them, and check again. `keyferry policy schema` prints what policies may speak of.",
            )
        })?;
        for warning in policies.warnings() {
            Output::default().hint(&Text::Alarm(format!("Warning: {warning}")));
        }
        let digest = policies.digest().to_string();
        let value = json!({
            "policies": policies.len(),
            "policy_sha256": digest,
            "warnings": policies.warnings().iter().map(Problem::to_string).collect::<Vec<_>>(),
        });
        self.output.output().result(&value, || {
            Text::Fields(vec![
                ("policies", policies.len().to_string()),
                ("policy_sha256", digest),
                ("warnings", policies.warnings().len().to_string()),
            ])
        })
    }
}
