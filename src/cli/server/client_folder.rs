//! A client's folder: its certificate and key, the authority's certificate, and a profile
//! that names them, so that the folder is all that a client needs.
//!
//! ```text
//! clients/NAME/   ca.pem   client.pem   client.key (mode 0600)   client.toml
//! ```

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli::client::endpoint::Endpoint;
use crate::cli::client::profile;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::crypto::trial_authority::{Issued, TrialAuthorityError};
use crate::{durable, secret_file};

/// The folder of all clients' folders, in an instance's directory.
pub const CLIENTS: &str = "clients";
/// The profile, in a client's folder and, for the operator, in an instance's directory.
pub const PROFILE: &str = "client.toml";

/// A client's name: that of its folder.
#[derive(Clone, Debug)]
pub struct ClientName(String);

impl FromStr for ClientName {
    type Err = &'static str;

    /// One step of a path, neither hidden nor an option.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if begins && text.len() <= 64 && text.bytes().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err("give 1 to 64 letters, digits and . _ -, beginning with a letter or a digit")
    }
}

impl ClientName {
    /// The operator's, whom `init` makes.
    pub fn operator() -> Self {
        Self("operator".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its folder in an instance's directory.
    pub fn folder(&self, dir: &Path) -> PathBuf {
        dir.join(CLIENTS).join(&self.0)
    }
}

/// Writes a client's folder, which appears whole or not at all.
pub fn write(
    folder: &Path,
    client: &Issued,
    authority: &str,
    endpoint: &Endpoint,
) -> Result<(), Failure> {
    refuse_taken(folder)?;
    let unusable = |error: &io::Error| cannot_write(folder, error);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".keyferry-").permissions(Permissions::from_mode(0o700));
    let making = builder.tempdir_in(durable::parent(folder)).map_err(|error| unusable(&error))?;
    let at = making.path();
    put_public(&at.join(profile::CA_FILE), authority)?;
    put_public(&at.join(profile::CERTIFICATE_FILE), &client.certificate)?;
    put_key(&at.join(profile::KEY_FILE), client)?;
    put_public(&at.join(PROFILE), &profile::text(endpoint, Path::new("")))?;
    durable::place_directory(making, folder).map_err(|error| unusable(&error))
}

/// Refuses a name that a client has already.
pub fn refuse_taken(folder: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(folder).is_err() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::InUse,
        format!("{} is there already, and a client's files are not overwritten.", folder.display()),
        "Give another name.",
    ))
}

/// Writes a certificate or a profile. Its name must be free.
pub fn put_public(path: &Path, text: &str) -> Result<(), Failure> {
    durable::create_file(path, 0o644, text.as_bytes()).map_err(|error| cannot_write(path, &error))
}

/// Writes a private key for its owner alone, in a place where nobody else can replace it.
/// Its name must be free.
pub fn put_key(path: &Path, issued: &Issued) -> Result<(), Failure> {
    secret_file::check_directories(path).map_err(|error| {
        Failure::new(
            Exit::Configuration,
            format!("{} is not written: its place {error}.", path.display()),
            "Choose another directory, or correct this one's owner and mode.",
        )
    })?;
    let pem = issued.key.to_pem().map_err(not_made)?;
    durable::create_file(path, 0o600, pem.as_bytes()).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} cannot be written: {error}.", path.display()),
        "Name a directory that you may write to.",
    )
}

/// Why a certificate was not made.
pub fn not_made(error: TrialAuthorityError) -> Failure {
    Failure::new(Exit::Configuration, format!("No certificate was made: {error}."), "Report this.")
}
