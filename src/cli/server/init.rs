//! `keyferry init DIR`: makes a configuration, a root key, an empty store and policies,
//! to be served over a Unix socket; or, with `--listen`, over TLS, with certificates.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::client_folder::{CLIENTS, PROFILE};
use super::instance_files::{POLICIES, config, groups};
use super::listening::{AUTHORITY_KEY, ListenArgs, Secured};
use super::serve;
use crate::access::principal::Principal;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::OutputArgs;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::io::text::Text;
use crate::config::Config;
use crate::durable;

/// Make a configuration, a root key and an empty store
#[derive(Args, Debug)]
pub struct InitCommand {
    /// A directory that is empty or does not exist yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    listen: ListenArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl InitCommand {
    /// Writes the configuration last: if it is there, everything is.
    pub fn run(&self) -> Result<(), EarlyExit> {
        let dir = std::path::absolute(&self.dir).map_err(|error| unusable(&self.dir, &error))?;
        let secured = self.listen.secured()?;
        let text = config(secured.as_ref().map(|secured| secured.address));
        let config = Config::parse(&text, &dir, []).map_err(|error| {
            Failure::new(Exit::Configuration, format!("{error}."), "Choose another directory.")
        })?;
        make_empty(&dir)?;
        serve::make_store(&config)?;
        let own_user = || Principal::unix(rustix::process::geteuid().as_raw());
        let operator = secured.as_ref().map_or_else(own_user, |secured| secured.operator.clone());
        let policies = dir.join("policies");
        durable::create_directory(&policies, 0o700).map_err(|error| unusable(&policies, &error))?;
        for (name, text) in [("operators.cedar", POLICIES), ("groups.toml", &groups(&operator))] {
            OutputTarget::File(policies.join(name)).write(text.as_bytes(), Sensitivity::Public)?;
        }
        if let Some(secured) = &secured {
            secured.write(&dir)?;
        }
        let file = dir.join("keyferry.toml");
        OutputTarget::File(file).write(text.as_bytes(), Sensitivity::Public)?;
        self.report(&dir, secured.as_ref())
    }

    fn report(&self, dir: &Path, secured: Option<&Secured>) -> Result<(), EarlyExit> {
        let shown = |name: &str| dir.join(name).display().to_string();
        // Name, value, and a word for people.
        let mut made = vec![
            ("config", shown("keyferry.toml"), ""),
            ("root_key", shown("root.key"), "copy it to a safe place, apart from the store"),
            ("store", shown("store"), ""),
            ("policies", shown("policies"), "they say who may do what"),
        ];
        let (endpoint, by) = if let Some(Secured { endpoint, operator, .. }) = secured {
            made.extend([
                (
                    "trial_ca_key",
                    shown(AUTHORITY_KEY),
                    "for trials: with it anybody can be any caller",
                ),
                ("operator", operator.to_string(), "may do everything"),
                ("profile", shown(PROFILE), "the operator's, on this machine"),
                ("clients", shown(CLIENTS), "a folder each, to be taken to another machine"),
            ]);
            (endpoint.to_string(), format!("--profile {}", shown(PROFILE)))
        } else {
            let endpoint = format!("unix:{}", shown("keyferry.sock"));
            let by = format!("--endpoint {endpoint}");
            (endpoint, by)
        };
        made.push(("endpoint", endpoint, ""));
        let value: Map<String, Value> = made
            .iter()
            .map(|(name, value, _)| ((*name).to_owned(), value.as_str().into()))
            .collect();
        self.output.output().result(&value.into(), || {
            let with_word = |(name, value, word): (_, String, &str)| match word {
                "" => (name, value),
                word => (name, format!("{value} ({word})")),
            };
            let next = [
                ("next", format!("keyferry serve --config {}", shown("keyferry.toml"))),
                ("then", format!("keyferry key create {by}")),
            ];
            Text::Fields(made.into_iter().map(with_word).chain(next).collect())
        })
    }
}

/// Makes the directory for its owner alone, or checks that it is empty.
fn make_empty(dir: &Path) -> Result<(), Failure> {
    match durable::create_directory(dir, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|error| unusable(dir, &error))?,
    }
    let mut entries = fs::read_dir(dir).map_err(|error| unusable(dir, &error))?;
    if entries.next().is_none() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::InUse,
        format!("{} is not empty, and its files are not overwritten.", dir.display()),
        "Name a directory that is empty or does not exist yet.",
    ))
}

fn unusable(dir: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} cannot be used: {error}.", dir.display()),
        "Name a directory that you may make and write to.",
    )
}
