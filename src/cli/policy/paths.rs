//! `keyferry policy paths`: the policies by which somebody may reach the plaintext under a
//! key.

use clap::Args;
use serde_json::{Value, json};

use super::DirArgs;
use crate::access::cedar::paths::{self, PathPolicy};
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::OutputArgs;
use crate::cli::io::text::Text;
use crate::ids::KeyId;

#[derive(Args, Debug)]
pub struct PolicyPaths {
    #[command(flatten)]
    dir: DirArgs,
    /// The key: its id or an alias; given many times, its id and its aliases
    #[arg(long = "key", value_name = "KEY", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl PolicyPaths {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let (aliases, ids): (Vec<String>, Vec<String>) =
            self.names.iter().cloned().partition(|name| name.starts_with("alias/"));
        let ids: Result<Vec<KeyId>, Failure> = ids.iter().map(|id| parse(id)).collect();
        let key = match ids?.as_slice() {
            [] => None,
            [one] => Some(*one),
            _ => return Err(Failure::usage("--key gives two ids.", "A key has one id.").into()),
        };
        let policies = self.dir.load()?;
        let found = paths::paths(&policies, key, &aliases);
        let value = json!({ "paths": found.iter().map(json_of).collect::<Vec<_>>() });
        self.output.output().result(&value, || Text::Table {
            heading: Some(vec![
                "step",
                "effect",
                "actions",
                "policy",
                "place",
                "callers",
                "resources",
                "if",
            ]),
            rows: found.iter().map(row).collect(),
        })
    }
}

fn parse(id: &str) -> Result<KeyId, Failure> {
    KeyId::parse(id).map_err(|_| {
        Failure::usage(
            format!("{id:?} is no key."),
            "Give its id, a UUID in lower case, or alias/….",
        )
    })
}

const fn effect(policy: &PathPolicy) -> &'static str {
    if policy.forbids { "forbid" } else { "permit" }
}

fn row(policy: &PathPolicy) -> Vec<String> {
    let actions: Vec<_> = policy.actions.iter().map(ToString::to_string).collect();
    vec![
        policy.step.text().to_owned(),
        effect(policy).to_owned(),
        actions.join(", "),
        policy.id.clone(),
        policy.place.to_string(),
        policy.callers.clone(),
        policy.resources.clone(),
        policy.conditions.join(" && "),
    ]
}

fn json_of(policy: &PathPolicy) -> Value {
    json!({
        "step": policy.step.text(),
        "effect": effect(policy),
        "actions": policy.actions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "policy": policy.id,
        "place": policy.place.to_string(),
        "callers": policy.callers,
        "resources": policy.resources,
        "conditions": policy.conditions,
    })
}
