//! `keyferry serve …`: a configuration becomes a server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::runtime::Runtime;

use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::output::Output;
use super::scratch::Scratch;
use super::text::Text;
use crate::config::{Address, Callers, Config, ConfigError, GatewayConfig, Mode, RootKeyConfig};
use crate::gateway::Gateway;
use crate::instance::{self, OpenError};
use crate::keys::guard::root_key::FileRootKey;
use crate::server::{
    self, BindError, Drained, Faces, Health, Limits, Listener, Tls, hardening, logs,
};
use crate::service::Services;

/// How long work that blocks may take once everything else has ended.
const LAST_WORK: Duration = Duration::from_secs(5);

/// Run the server
#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("mode").required(true))]
pub struct Serve {
    /// Serve what this file configures; `keyferry init` writes one
    #[arg(long, value_name = "FILE", group = "mode")]
    config: Option<PathBuf>,
    /// Serve for trying things out: on loopback, in plaintext, everyone may do
    /// everything
    #[arg(long, group = "mode")]
    dev: bool,
    /// Where a dev server keeps its store; without it, in a temporary
    /// directory that is removed at the end
    #[arg(long, value_name = "DIR", requires = "dev", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// Where a dev server listens: an address on loopback, or unix:/path
    /// [default: 127.0.0.1:7311]
    #[arg(long, value_name = "ADDR", requires = "dev", conflicts_with = "config")]
    listen: Option<String>,
    /// Say whether the file may be served, and serve nothing
    #[arg(long, requires = "config", conflicts_with = "dev")]
    check_config: bool,
}

impl Serve {
    /// Does it, until asked to stop.
    pub fn run(&self) -> Result<(), Stop> {
        let Some(file) = &self.config else { return self.run_dev() };
        let config = Config::load(file).map_err(|error| misconfigured(&error, file))?;
        if self.check_config {
            return check(&config, file);
        }
        serve(&config)
    }

    fn run_dev(&self) -> Result<(), Stop> {
        // Lives until the server has closed its store.
        let scratch = if self.data_dir.is_none() { Some(Scratch::make()?) } else { None };
        let data_dir = self.data_dir.as_deref().or(scratch.as_ref().map(Scratch::path));
        let config = dev_config(data_dir.unwrap_or(Path::new(".")), self.listen.as_deref())?;
        warn_of_dev(&config);
        serve(&config)
    }
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

/// In red: a dev server must not be taken for one that protects anything.
fn warn_of_dev(config: &Config) {
    let address = config.listeners.first().map(|listener| listener.address().to_string());
    Output::default().aside().hint(&Text::Alarm(format!(
        "DEV MODE: everyone who reaches {} may do everything, and the root key lies beside the store. Not for keys that matter.",
        address.unwrap_or_default()
    )));
}

fn misconfigured(error: &ConfigError, file: &Path) -> Failure {
    let advice = format!(
        "Correct it, and see with: keyferry serve --check-config --config {}",
        file.display()
    );
    Failure::new(Exit::Configuration, format!("{error}."), advice)
}

/// All that can be seen to be wrong without opening the store or a socket.
fn check(config: &Config, file: &Path) -> Result<(), Stop> {
    for listener in &config.listeners {
        if let Callers::Mtls(files) = listener.callers() {
            Tls::load(files).map_err(|error| refused_to_bind(&error.into()))?;
        }
    }
    let RootKeyConfig::File { path } = &config.root_key;
    FileRootKey::read(path).map_err(|error| refused_to_open(&error.into()))?;
    let fit = Text::line(format!("{} may be served.", file.display()));
    Output::default().result(&serde_json::Value::Null, || fit)
}

fn serve(config: &Config) -> Result<(), Stop> {
    logs::start(config.log);
    // Before any key is in memory. What could not be had is in the log.
    let _ = hardening::harden();
    if config.mode == Mode::Config {
        tracing::warn!(
            "there is no policy yet: every verified caller may do everything, and so may every access key"
        );
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let signals = signals()?;
        let prepared = Prepared::of(config).await?;
        prepared.announce();
        tokio::select! {
            outcome = prepared.run(signals.asked(1)) => outcome,
            // Asked twice: at once.
            () = signals.asked(2) => Ok(()),
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    outcome.map_err(Into::into)
}

/// A runtime for a server.
pub fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(|error| no_runtime(&error))
}

/// Listens for the signals that ask for a stop.
pub fn signals() -> Result<server::Stop, Failure> {
    server::Stop::on_signals().map_err(|error| no_runtime(&error))
}

fn no_runtime(error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Configuration,
        format!("The server cannot start: {error}."),
        "See that the limits on threads and open files (ulimit -u, ulimit -n) leave room.",
    )
}

/// A server with its store open and its sockets bound, about to serve.
pub struct Prepared {
    services: Services,
    gateway: GatewayConfig,
    listeners: Vec<Listener>,
}

impl Prepared {
    /// Opens the store, then binds: who holds the store is the one to listen.
    pub async fn of(config: &Config) -> Result<Self, Failure> {
        let services = instance::open(config).await.map_err(|error| refused_to_open(&error))?;
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners
                .push(Listener::bind(listener).await.map_err(|error| refused_to_bind(&error))?);
        }
        Ok(Self { services, gateway: config.gateway, listeners })
    }

    /// Where it listens first of all.
    pub fn address(&self) -> Option<&Address> {
        self.listeners.first().map(Listener::address)
    }

    /// On standard output, for whoever started it. A server serves even where
    /// nobody reads that.
    fn announce(&self) {
        if let Err(error) = server::announce(&self.listeners, &mut std::io::stdout().lock()) {
            tracing::warn!(%error, "where the server listens could not be written to standard output");
        }
    }

    /// Serves until `shutdown`, then drains.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
        let Self { services, gateway, listeners } = self;
        let probed = services.clone();
        let health = Health::new(&Services::NAMES, move || {
            let services = probed.clone();
            async move { services.is_healthy().await }
        });
        let gateway = Gateway::new(services.clone(), gateway).map_err(|_| no_randomness())?;
        let faces = Faces { rpcs: services.routes(), gateway: Some(gateway) };
        let drained = tokio::select! {
            drained = server::run(listeners, faces, health, Limits::default(), shutdown) => drained,
            never = services.carry_out_for_ever() => match never {},
        };
        match drained {
            // What was cut is in the log.
            Ok(Drained::Clean | Drained::Cut(_)) => Ok(()),
            Err(error) => {
                Err(Failure::new(Exit::Configuration, format!("{error}."), "Report this."))
            }
        }
    }
}

fn no_randomness() -> Failure {
    Failure::new(Exit::Configuration, "The kernel gives no random bytes.", "Report this.")
}

/// The text says what to do.
fn refused_to_open(error: &OpenError) -> Failure {
    Failure::new(exit(error.exit_code()), format!("{error}."), "")
}

fn refused_to_bind(error: &BindError) -> Failure {
    Failure::new(exit(error.exit_code()), format!("{error}."), "")
}

const fn exit(number: u8) -> Exit {
    if number == Exit::InUse.number() { Exit::InUse } else { Exit::Configuration }
}

/// Makes the root key and the empty store of a configuration.
pub fn found(config: &Config) -> Result<(), Failure> {
    // A root key comes into memory.
    let _ = hardening::harden();
    runtime()?.block_on(instance::init(config)).map_err(|error| refused_to_open(&error))
}
