//! `keyferry init --listen …`: an address and names become certificates of an authority
//! for trials, and the operator's profile.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rustls::pki_types::ServerName;

use super::client_folder::{self, CLIENTS, ClientName, not_made, put_key, put_public};
use crate::access::principal::Principal;
use crate::cli::client::endpoint::{Authority, Endpoint};
use crate::cli::client::profile;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::crypto::trial_authority::{ServerAddress, TrialAuthority};
use crate::durable;

/// The authority's certificate, in an instance's directory.
pub const AUTHORITY: &str = "trial-ca.pem";
/// Its private key.
pub const AUTHORITY_KEY: &str = "trial-ca.key";
/// The trust domain of a server without a DNS name.
const DEFAULT_TRUST_DOMAIN: &str = "keyferry.trial";

/// Where a new instance listens for callers on other machines.
#[derive(Args, Debug)]
pub struct ListenArgs {
    /// Serve over TLS at this address, such as 0.0.0.0:7311, and make a small certificate
    /// authority for trials, the server's certificate, and the operator's with a profile
    #[arg(long, value_name = "ADDR", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// A DNS name or IP address that clients call the server by; may be repeated. The
    /// first is the one that profiles name. The certificate has the loopback addresses
    /// and localhost too where the server listens on them
    #[arg(long = "name", value_name = "NAME", requires = "listen", value_parser = server_name)]
    names: Vec<ServerAddress>,
}

fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => {
            Err("port 0 is another one at each start, which no client could know: give a port")
        }
        Ok(address) => Ok(address),
        Err(_) => Err("give an IP address and a port, such as 0.0.0.0:7311 or [::1]:7311"),
    }
}

/// A name as a certificate has it: in lower case, without a dot at its end, which clients
/// would compare.
fn server_name(text: &str) -> Result<ServerAddress, &'static str> {
    if text.ends_with('.') {
        return Err("leave out the dot at the end: no certificate has it");
    }
    match ServerName::try_from(text.to_ascii_lowercase()) {
        Ok(ServerName::DnsName(name)) => Ok(ServerAddress::Dns(name.as_ref().to_owned())),
        Ok(ServerName::IpAddress(address)) => match IpAddr::from(address) {
            address if address.is_unspecified() => {
                Err("it stands for every address: give the one that clients call")
            }
            address => Ok(ServerAddress::Ip(address)),
        },
        _ => Err("give a DNS name, such as kms.internal, or an IP address, without a port"),
    }
}

/// A server over TLS, as it was asked for.
#[derive(Debug)]
pub struct Secured {
    /// The address that it listens at.
    pub address: SocketAddr,
    /// The endpoint that clients call.
    pub endpoint: Endpoint,
    /// The principal that may do everything.
    pub operator: Principal,
    names: Vec<ServerAddress>,
}

impl ListenArgs {
    /// The server that was asked for, if one over TLS was.
    pub fn secured(&self) -> Result<Option<Secured>, Failure> {
        let Some(address) = self.listen else { return Ok(None) };
        let ip = address.ip();
        let own = (!ip.is_unspecified()).then_some(ServerAddress::Ip(ip));
        let host = match self.names.first().or(own.as_ref()) {
            Some(ServerAddress::Dns(name)) => name.clone(),
            Some(ServerAddress::Ip(ip)) => ip.to_string(),
            None => {
                return Err(Failure::usage(
                    format!("{address} stands for every address, and clients need one name."),
                    "Give the name or address that they call: --name kms.internal",
                ));
            }
        };
        let trust_domain = self.names.iter().find_map(|name| match name {
            ServerAddress::Dns(name) => Some(name.as_str()),
            ServerAddress::Ip(_) => None,
        });
        let operator =
            format!("spiffe://{}/operator", trust_domain.unwrap_or(DEFAULT_TRUST_DOMAIN));
        Ok(Some(Secured {
            address,
            endpoint: Endpoint::Https(Authority { host, port: address.port() }),
            operator: Principal::parse(&operator).map_err(|error| {
                let text = format!("{operator} would be the operator's name, but {error}.");
                Failure::usage(text, "Give another --name first.")
            })?,
            names: certified(&self.names, own, ip.is_unspecified() || ip.is_loopback()),
        }))
    }
}

/// The names in the server's certificate, each once.
fn certified(
    given: &[ServerAddress],
    own: Option<ServerAddress>,
    on_loopback: bool,
) -> Vec<ServerAddress> {
    let loopback = [
        ServerAddress::Dns("localhost".to_owned()),
        ServerAddress::Ip(Ipv4Addr::LOCALHOST.into()),
        ServerAddress::Ip(Ipv6Addr::LOCALHOST.into()),
    ];
    let mut names = Vec::new();
    for name in given.iter().cloned().chain(own).chain(loopback.into_iter().filter(|_| on_loopback))
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

impl Secured {
    /// Makes the authority and all that it signs, in an instance's directory. The profile
    /// comes last.
    pub fn write(&self, dir: &Path) -> Result<(), Failure> {
        let now = since_the_epoch();
        let (authority, own) =
            TrialAuthority::found(self.operator.authority(), now).map_err(not_made)?;
        put_public(&dir.join(AUTHORITY), &own.certificate)?;
        put_key(&dir.join(AUTHORITY_KEY), &own)?;
        let server = authority.server(&self.names, now).map_err(not_made)?;
        put_public(&dir.join("server.pem"), &server.certificate)?;
        put_key(&dir.join("server.key"), &server)?;

        let clients = dir.join(CLIENTS);
        durable::create_directory(&clients, 0o700).map_err(|error| {
            let text = format!("{} cannot be made: {error}.", clients.display());
            Failure::new(Exit::InUse, text, "Name a directory that you may write to.")
        })?;
        let operator = authority.client(self.operator.as_str(), now).map_err(not_made)?;
        let name = ClientName::operator();
        client_folder::write(&name.folder(dir), &operator, &own.certificate, &self.endpoint)?;
        let folder = Path::new(CLIENTS).join(name.as_str());
        put_public(&dir.join(client_folder::PROFILE), &profile::text(&self.endpoint, &folder))
    }
}

/// The wall clock's time. Before 1970 it has not been set, and certificates show that.
pub fn since_the_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
