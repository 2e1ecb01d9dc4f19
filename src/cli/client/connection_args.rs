//! The options that say which server is called. The environment may say what no option
//! says, and a profile what neither does.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::connection::{Connection, DEFAULT_TIMEOUT_SECONDS};
use super::endpoint::Endpoint;
use super::profile::Profile;
use super::setting::{Setting, Source, Sourced};
use super::tls::{SERVER, TlsSettings};
use crate::cli::failure::Failure;
use crate::config::DEFAULT_ADDRESS;

/// The server, and the credentials for it.
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// A file with the endpoint and the credentials for it, for what is given neither
    /// here nor in the environment [default: ~/.config/keyferry/client.toml, where there
    /// is one]
    #[arg(long, help_heading = SERVER, value_name = "FILE", env = "KEYFERRY_PROFILE")]
    profile: Option<PathBuf>,
    /// The server: http://HOST:PORT, https://HOST:PORT or unix:/path
    /// [profile: endpoint] [default: http://127.0.0.1:7311]
    #[arg(long, help_heading = SERVER, value_name = "URL", env = "KEYFERRY_ENDPOINT", value_parser = Sourced(str::parse::<Endpoint>))]
    endpoint: Option<Setting<Endpoint>>,
    #[command(flatten)]
    tls: TlsSettings,
    /// Allow http:// to another machine, where everyone on the way reads
    /// plaintexts and secrets; on loopback http:// needs no leave
    #[arg(long, help_heading = SERVER)]
    insecure_plaintext: bool,
    /// How long an answer may take
    #[arg(long, help_heading = SERVER, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
}

impl ConnectionArgs {
    /// The connection that they and the profile come to. A profile that is there must
    /// be sound, whatever the options say.
    pub fn settle(&self) -> Result<Connection, Failure> {
        let profile = Profile::of(self.profile.as_deref())?;
        let default = || Setting::new(default_endpoint(), Source::Default, "the default endpoint");
        Ok(Connection {
            endpoint: self.endpoint.clone().or(profile.endpoint).unwrap_or_else(default),
            tls: self.tls.clone().over(profile.tls),
            insecure_plaintext: self.insecure_plaintext,
            timeout: Duration::from_secs(self.timeout),
        })
    }
}

fn default_endpoint() -> Endpoint {
    Endpoint::Http(DEFAULT_ADDRESS.into())
}
