//! `keyferry init DIR`: a configuration, a root key and an empty store, ready
//! to be served over a Unix socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination};
use super::output::OutputArgs;
use super::serve;
use super::text::Text;
use crate::config::Config;

/// Make a configuration, a root key and an empty store
#[derive(Args, Debug)]
pub struct Init {
    /// A directory that is empty or not there yet
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Paths in it are relative to the file.
const CONFIG: &str = r#"# Keyferry's configuration. `keyferry serve --check-config --config FILE` judges
# it. KEYFERRY_ and the upper-case path of a field, its parts joined by __,
# overrides it from the environment. Relative paths start where this file is.

# A Unix socket for the server's own user: the kernel says who calls.
[[listener]]
address = "unix:keyferry.sock"

[auth.unix]

# To be reached from other machines, where callers show a client certificate:
#
# [[listener]]
# address = "0.0.0.0:7311"
# tls = { cert = "server.pem", key = "server.key", client_ca = "clients.pem" }
#
# [auth.mtls]

[store]
kind = "sqlite"
path = "store"

# Whoever has this file and the store has every key; whoever loses it has lost
# them. Keep copies of the two apart.
[root_key]
provider = "file"
path = "root.key"
"#;

impl Init {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        self.output.json()
    }

    /// Does it. The configuration comes last: where it is, all is.
    pub fn run(&self) -> Result<(), Stop> {
        let dir = std::path::absolute(&self.dir).map_err(|error| unusable(&self.dir, &error))?;
        let config = Config::parse(CONFIG, &dir, []).map_err(|error| {
            Failure::new(Exit::Configuration, format!("{error}."), "Choose another directory.")
        })?;
        make_empty(&dir)?;
        let file = dir.join("keyferry.toml");
        serve::found(&config)?;
        Destination::File(file.clone()).write(CONFIG.as_bytes(), Care::Public)?;
        self.tell(&dir, &file)
    }

    fn tell(&self, dir: &Path, file: &Path) -> Result<(), Stop> {
        let shown = |name: &str| dir.join(name).display().to_string();
        let value = json!({
            "config": file,
            "root_key": dir.join("root.key"),
            "store": dir.join("store"),
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
                ("next", format!("keyferry serve --config {}", shown("keyferry.toml"))),
                ("then", format!("keyferry key create --endpoint unix:{}", shown("keyferry.sock"))),
            ])
        })
    }
}

/// The directory, made where it is absent, for its owner alone.
fn make_empty(dir: &Path) -> Result<(), Failure> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|error| unusable(dir, &error))?,
    }
    let mut entries = fs::read_dir(dir).map_err(|error| unusable(dir, &error))?;
    if entries.next().is_none() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::InUse,
        format!("{} is not empty, and nothing in it is overwritten.", dir.display()),
        "Name a directory that is empty or not there yet.",
    ))
}

fn unusable(dir: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} cannot be used: {error}.", dir.display()),
        "Name a directory that you may make and write in.",
    )
}
