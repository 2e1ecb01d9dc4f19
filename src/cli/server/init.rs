//! `keyferry init DIR`: makes a configuration, a root key and an empty store, to be
//! served over a Unix socket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::serve;
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
    output: OutputArgs,
}

/// Paths in it are relative to the file.
const CONFIG: &str = r#"# Keyferry's configuration. `keyferry serve --check-config --config FILE` checks
# it. KEYFERRY_ and the upper-case path of a field, its parts joined by __,
# overrides it from the environment. Relative paths start where this file is.

# A Unix socket for the server's own user: the kernel tells the caller's user.
[[listener]]
address = "unix:keyferry.sock"

[auth.unix]

# For callers on other machines, which show a client certificate:
#
# [[listener]]
# address = "0.0.0.0:7311"
# tls = { cert = "server.pem", key = "server.key", client_ca = "clients.pem" }
#
# [auth.mtls]

[store]
kind = "sqlite"
path = "store"

# Who may do what: policies (*.cedar) and groups.toml.
[policy]
dir = "policies"

# This file and the store together give every key away. Without this file, every
# key is lost. Keep copies of the two apart.
[root_key]
provider = "file"
path = "root.key"
"#;

/// The policies of a new instance.
const POLICIES: &str = r#"// Who may do what. Nothing is allowed but what a policy here permits; a forbid wins over
// every permit. `keyferry policy schema` prints what policies may speak of, `keyferry
// policy check DIR` judges a directory. The server takes changes while it runs.

// groups.toml says who is an operator.
@id("operators")
permit (principal in Group::"operators", action, resource);

// For example: the billing service may export keys of alias/payments, only to one HSM,
// only under the context app=billing, only keys that were never shown.
//
// @id("billing-exports")
// permit (
//   principal == Spiffe::"spiffe://kms.example/billing",
//   action == Action::"ExportDataKey",
//   resource in Alias::"alias/payments"
// ) when {
//   context.recipient.public_key_sha256 == "<`keyferry recipient show FILE` prints it>" &&
//   context.encryption_context.hasTag("app") &&
//   context.encryption_context.getTag("app") == "billing" &&
//   context.blob.kind == "DataKeyUnseen"
// };
"#;

/// Its groups: the user who makes it may do everything.
fn groups() -> String {
    let user = rustix::process::geteuid().as_raw();
    format!(
        "# Groups of principals, each as the log names it: spiffe://…, dns:…, cn:…, unix:<user id>,\n\
         # access-key:<service account>.\n\
         operators = [\"unix:{user}\"]\n"
    )
}

impl InitCommand {
    /// Writes the configuration last: if it is there, everything is.
    pub fn run(&self) -> Result<(), EarlyExit> {
        let dir = std::path::absolute(&self.dir).map_err(|error| unusable(&self.dir, &error))?;
        let config = Config::parse(CONFIG, &dir, []).map_err(|error| {
            Failure::new(Exit::Configuration, format!("{error}."), "Choose another directory.")
        })?;
        make_empty(&dir)?;
        let file = dir.join("keyferry.toml");
        serve::make_store(&config)?;
        let policies = dir.join("policies");
        durable::create_directory(&policies, 0o700).map_err(|error| unusable(&policies, &error))?;
        for (name, text) in [("operators.cedar", POLICIES), ("groups.toml", &groups())] {
            OutputTarget::File(policies.join(name)).write(text.as_bytes(), Sensitivity::Public)?;
        }
        OutputTarget::File(file.clone()).write(CONFIG.as_bytes(), Sensitivity::Public)?;
        self.report(&dir, &file)
    }

    fn report(&self, dir: &Path, file: &Path) -> Result<(), EarlyExit> {
        let shown = |name: &str| dir.join(name).display().to_string();
        let value = json!({
            "config": file,
            "root_key": dir.join("root.key"),
            "store": dir.join("store"),
            "policies": dir.join("policies"),
            "endpoint": format!("unix:{}", shown("keyferry.sock")),
        });
        self.output.output().result(&value, || {
            Text::Fields(vec![
                ("config", shown("keyferry.toml")),
                (
                    "root_key",
                    format!(
                        "{} (copy it to a safe place, apart from the store)",
                        shown("root.key")
                    ),
                ),
                ("store", shown("store")),
                ("policies", format!("{} (they say who may do what)", shown("policies"))),
                ("next", format!("keyferry serve --config {}", shown("keyferry.toml"))),
                ("then", format!("keyferry key create --endpoint unix:{}", shown("keyferry.sock"))),
            ])
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
