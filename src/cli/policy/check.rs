//! `keyferry policy check`: whether policies are usable, and what is odd in them.

use clap::Args;
use serde_json::json;

use super::DirArgs;
use crate::access::cedar::source::Problem;
use crate::cli::failure::EarlyExit;
use crate::cli::io::output::{Output, OutputArgs};
use crate::cli::io::text::Text;

#[derive(Args, Debug)]
pub struct PolicyCheck {
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl PolicyCheck {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let policies = self.dir.load()?;
        let warnings = policies.warnings();
        for warning in &warnings {
            Output::default().hint(&Text::Alarm(format!("Warning: {warning}")));
        }
        let digest = policies.digest().to_string();
        let value = json!({
            "policies": policies.len(),
            "policy_sha256": digest,
            "warnings": warnings.iter().map(Problem::to_string).collect::<Vec<_>>(),
        });
        self.output.output().result(&value, || {
            Text::Fields(vec![
                ("policies", policies.len().to_string()),
                ("policy_sha256", digest),
                ("warnings", warnings.len().to_string()),
            ])
        })
    }
}
