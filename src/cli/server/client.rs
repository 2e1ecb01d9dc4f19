//! `keyferry client …`: the clients of a server that `init --listen` made.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::client_folder::{self, ClientName, PROFILE, not_made};
use super::listening::{AUTHORITY, AUTHORITY_KEY, since_the_epoch};
use crate::access::principal::{Principal, PrincipalKind};
use crate::cli::client::endpoint::Endpoint;
use crate::cli::client::profile::Profile;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::OutputArgs;
use crate::cli::io::text::Text;
use crate::crypto::trial_authority::{TrialAuthority, TrialAuthorityError};
use crate::secret_file::{self, SecretFileError};

/// Longer than a private key on P-256 in PEM.
const MAX_KEY_BYTES: usize = 4096;

/// Make clients of a server that `keyferry init --listen` made
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make a client's certificate, signed by the authority for trials, and a profile:
    /// the folder clients/NAME, which is all that the client needs
    Add(AddClient),
}

#[derive(Args, Debug)]
pub struct AddClient {
    /// The folder's name: letters, digits and . _ -
    #[arg(value_name = "NAME")]
    name: ClientName,
    /// The client's name in policies and in the log: spiffe://TRUST-DOMAIN/PATH, of the
    /// operator's trust domain
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    principal: Principal,
    /// The directory that `keyferry init --listen` made
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

fn spiffe_id(text: &str) -> Result<Principal, String> {
    match Principal::parse(text) {
        Ok(principal) if principal.kind() == PrincipalKind::Spiffe => Ok(principal),
        Ok(_) => Err("the authority for trials signs SPIFFE IDs alone: spiffe://TRUST-DOMAIN/PATH"
            .to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl ClientCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Add(command) => command.run(),
        }
    }
}

impl AddClient {
    fn run(&self) -> Result<(), EarlyExit> {
        let dir = std::path::absolute(&self.dir).map_err(|error| {
            Failure::input(
                format!("{} cannot be used: {error}.", self.dir.display()),
                "Give --dir.",
            )
        })?;
        let folder = self.name.folder(&dir);
        client_folder::refuse_taken(&folder)?;
        let certificate = certificate_of(&dir)?;
        let authority = authority_of(&dir, &certificate)?;
        self.refuse_another_trust_domain(authority.trust_domain())?;
        let endpoint = endpoint_of(&dir)?;
        let client =
            authority.client(self.principal.as_str(), since_the_epoch()).map_err(not_made)?;
        client_folder::write(&folder, &client, &certificate, &endpoint)?;
        self.report(&dir, &folder)
    }

    /// An authority speaks for its own trust domain alone (SPIFFE's X509-SVID, 4.2).
    fn refuse_another_trust_domain(&self, own: &str) -> Result<(), Failure> {
        if self.principal.authority() == own {
            return Ok(());
        }
        Err(Failure::usage(
            format!(
                "{} is of another trust domain than this authority, which signs for {own}.",
                self.principal
            ),
            format!("Give --principal spiffe://{own}/{}", self.principal.name()),
        ))
    }

    fn report(&self, dir: &Path, folder: &Path) -> Result<(), EarlyExit> {
        let profile = folder.join(PROFILE);
        let (principal, policy) = (self.principal.as_str(), self.example());
        let value = json!({
            "principal": principal,
            "folder": folder,
            "profile": profile,
            "policy": policy,
        });
        let output = self.output.output();
        output.result(&value, || {
            Text::Fields(vec![
                ("principal", principal.to_owned()),
                (
                    "folder",
                    format!("{} (all that the client needs, its key too)", folder.display()),
                ),
                ("profile", profile.display().to_string()),
                ("policy", policy),
            ])
        })?;
        let policies = dir.join("policies");
        output.hint(&Text::paragraph(format!(
            "It may do what policies permit its principal, or a group that it is in, and nothing else. The policy above, as a line of {}, would let it make sealed data keys; \"{principal}\" in a group of {} would let it do what that group may. The server takes the change while it runs.",
            policies.join("clients.cedar").display(),
            policies.join("groups.toml").display(),
        )));
        Ok(())
    }

    /// A policy that lets the client make data keys, sealed, and nothing else.
    fn example(&self) -> String {
        format!(
            "@id(\"{}\") permit (principal == Spiffe::\"{}\", action == Action::\"GenerateDataKeyWithoutPlaintext\", resource);",
            self.name.as_str(),
            self.principal
        )
    }
}

/// The authority's certificate, PEM.
fn certificate_of(dir: &Path) -> Result<String, Failure> {
    let path = dir.join(AUTHORITY);
    fs::read_to_string(&path).map_err(|error| {
        Failure::input(
            format!("The authority's certificate {} cannot be read: {error}.", path.display()),
            "Give the directory that `keyferry init --listen` made with --dir.",
        )
    })
}

fn authority_of(dir: &Path, certificate: &str) -> Result<TrialAuthority, Failure> {
    let path = dir.join(AUTHORITY_KEY);
    let key = secret_file::read(&path, MAX_KEY_BYTES).map_err(|error| {
        let exit = match error {
            SecretFileError::Unsafe(_) => Exit::Configuration,
            _ => Exit::Input,
        };
        Failure::new(
            exit,
            format!("The authority's private key {} {error}.", path.display()),
            "It signs the client's certificate: bring it back where it was put away, for its owner alone.",
        )
    })?;
    TrialAuthority::read(certificate.as_bytes(), &key, since_the_epoch()).map_err(|error| {
        let advice = match error {
            TrialAuthorityError::Expired => {
                "Its time is over: have another authority's certificates for the server and its clients, as for keys that matter."
            }
            _ => "Bring both files back as `keyferry init` made them.",
        };
        let files = format!("{AUTHORITY} and {AUTHORITY_KEY} in {}", dir.display());
        Failure::new(Exit::Configuration, format!("{files} sign nothing: {error}."), advice)
    })
}

/// Where the server is, as the operator's profile says.
fn endpoint_of(dir: &Path) -> Result<Endpoint, Failure> {
    let path = dir.join(PROFILE);
    match Profile::read(&path)?.endpoint.map(|endpoint| endpoint.value) {
        Some(endpoint @ Endpoint::Https(_)) => Ok(endpoint),
        _ => Err(Failure::new(
            Exit::Configuration,
            format!("{} names no https:// endpoint.", path.display()),
            "Add the one that clients call: endpoint = \"https://HOST:PORT\"",
        )),
    }
}
