//! `keyferry serve …`: a configuration becomes a server.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::Output;
use crate::cli::io::text::Text;
use crate::config::{Config, ConfigError};
use crate::instance::{self, BoundServer, InstanceError};
use crate::server::{self, hardening, logs};

/// How long blocking work may take after everything else has ended.
const LAST_WORK: Duration = Duration::from_secs(5);

/// Run the server
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("mode").required(true))]
pub struct ServeCommand {
    /// Serve by this configuration file; `keyferry init` writes one
    #[arg(long, value_name = "FILE", group = "mode")]
    config: Option<PathBuf>,
    /// Serve for development: on loopback, in plaintext, everyone may do
    /// everything
    #[arg(long, group = "mode")]
    dev: bool,
    /// The directory for a dev server's store; by default a temporary one that
    /// is removed at the end
    #[arg(long, value_name = "DIR", requires = "dev", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The address of a dev server: on loopback, or unix:/path
    /// [default: 127.0.0.1:7311]
    #[arg(long, value_name = "ADDR", requires = "dev", conflicts_with = "config")]
    listen: Option<String>,
    /// Check the configuration file, and serve nothing
    #[arg(long, requires = "config", conflicts_with = "dev")]
    check_config: bool,
    /// Start though lines are missing in the audit log, or others stand in their place.
    /// That is recorded in it
    #[arg(long, requires = "config", conflicts_with = "check_config")]
    give_up_audit_log: bool,
}

impl ServeCommand {
    /// Serves until it is asked to stop.
    pub fn run(&self) -> Result<(), EarlyExit> {
        let Some(file) = &self.config else { return self.run_dev() };
        let config = Config::load(file).map_err(|error| misconfigured(&error, file))?;
        if self.check_config {
            return check(&config, file);
        }
        serve(&Config { give_up_audit_log: self.give_up_audit_log, ..config })
    }

    fn run_dev(&self) -> Result<(), EarlyExit> {
        in_data_dir(self.data_dir.as_deref(), |dir| {
            let config = dev_config(dir, self.listen.as_deref())?;
            warn_of_dev(&config);
            serve(&config)
        })
    }
}

/// Runs a server in its directory, or in a temporary one that is removed after the
/// server has closed its store.
pub fn in_data_dir<T>(
    data_dir: Option<&Path>,
    run: impl FnOnce(&Path) -> Result<T, EarlyExit>,
) -> Result<T, EarlyExit> {
    if let Some(dir) = data_dir {
        return run(dir);
    }
    let temporary = temporary_dir()?;
    let outcome = run(temporary.path());
    let path = temporary.path().to_owned();
    if let Err(error) = temporary.close() {
        tracing::warn!(%error, path = %path.display(), "a temporary directory was not removed");
    }
    outcome
}

/// For its owner alone. Its name is short, as the path of a socket in it must be.
fn temporary_dir() -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("keyferry-").permissions(Permissions::from_mode(0o700));
    builder.tempdir().map_err(|error| {
        Failure::new(
            Exit::InUse,
            format!("A temporary directory cannot be made: {error}."),
            "Give a directory with --data-dir.",
        )
    })
}

/// The configuration of a dev server. A socket's path starts where the user is.
pub fn dev_config(data_dir: &Path, listen: Option<&str>) -> Result<Config, Failure> {
    let absolute = listen.and_then(|text| text.strip_prefix("unix:")).and_then(|path| {
        let path = std::path::absolute(path).ok()?;
        Some(format!("unix:{}", path.display()))
    });
    Config::dev(data_dir, absolute.as_deref().or(listen)).map_err(|error| {
        Failure::new(Exit::Configuration, format!("{error}."), "Give another --listen.")
    })
}

/// A dev server must not be taken for one that protects keys.
fn warn_of_dev(config: &Config) {
    let address = config.listeners.first().map(|listener| listener.address().to_string());
    Output::default().hint(&Text::Alarm(format!(
        "DEV MODE: everyone who reaches {} may do everything, and the root key lies beside the store. Not for keys that matter.",
        address.unwrap_or_default()
    )));
}

pub fn misconfigured(error: &ConfigError, file: &Path) -> Failure {
    let advice = match error.variable() {
        Some(name) => format!("Correct the variable {name} in the environment, or unset it."),
        None => format!(
            "Correct the file, and check it with `keyferry serve --check-config --config {}`.",
            file.display()
        ),
    };
    Failure::new(Exit::Configuration, format!("{error}."), advice)
}

/// Checks a configuration, and serves nothing.
fn check(config: &Config, file: &Path) -> Result<(), EarlyExit> {
    let warnings = runtime()?.block_on(instance::check(config)).map_err(Failure::from)?;
    let output = Output::default();
    for warning in warnings {
        output.hint(&Text::Alarm(format!("Warning: {warning}.")));
    }
    output.print(&Text::line(format!("{} may be served.", file.display())))?;
    output.print(&Text::line(UNCHECKED))
}

/// The faults that a check cannot find by reading.
const UNCHECKED: &str = "Not checked: that its addresses are free, that no other process holds the store, and the records of single keys.";

fn serve(config: &Config) -> Result<(), EarlyExit> {
    let _log = logs::start(config.log);
    // Before any key is in memory. Failures are in the log.
    let _ = hardening::harden();
    if !config.service_links.is_empty() {
        let variables = config.service_links.join(" ");
        tracing::info!(variables, "service links of Kubernetes are passed over");
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let signals = signals()?;
        let server = BoundServer::open(config).await?;
        // A server serves even if nobody reads its addresses.
        if let Err(error) = server.announce(&mut io::stdout().lock()) {
            tracing::warn!(%error, "the addresses could not be written to standard output");
        }
        tokio::select! {
            outcome = server.run(signals.asked(1)) => outcome.map_err(Failure::from),
            // A second signal ends it at once.
            () = signals.asked(2) => Ok(()),
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    outcome.map_err(Into::into)
}

/// A runtime for a server.
pub fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|error| cannot_start(&error))
}

/// Listens for the signals that ask for a stop.
pub fn signals() -> Result<server::StopSignal, Failure> {
    server::StopSignal::on_signals().map_err(|error| cannot_start(&error))
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::new(
        Exit::Configuration,
        format!("The server cannot start: {error}."),
        "Check that the limits on threads and open files (ulimit -u, ulimit -n) leave room.",
    )
}

impl From<InstanceError> for Failure {
    /// The text says what to do.
    fn from(error: InstanceError) -> Self {
        let in_use = error.exit_code() == Exit::InUse.number();
        let exit = if in_use { Exit::InUse } else { Exit::Configuration };
        Self::new(exit, format!("{error}."), "")
    }
}

/// Makes the root key and the empty store of a configuration.
pub fn make_store(config: &Config) -> Result<(), Failure> {
    Ok(runtime()?.block_on(instance::init(config))?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_temporary_directory_is_its_owners_alone_and_goes_with_its_content() {
        let path = in_data_dir(None, |dir| {
            assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
            fs::write(dir.join("root.key"), "x").unwrap();
            Ok(dir.to_owned())
        });
        assert!(!path.unwrap().exists());
    }
}
