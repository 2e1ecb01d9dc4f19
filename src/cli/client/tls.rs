//! TLS to the server: the authority that it must have, and our certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::{NonEmptyStringValueParser, PathBufValueParser};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::causes::causes;
use super::endpoint::{Authority, Endpoint};
use super::setting::{Setting, Source, Sourced};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::io::input::Input;
use crate::crypto::pem;
use crate::secret_file::{self, SecretFileError};

/// Certificates and their keys are short.
const MAX_PEM_BYTES: usize = 256 * 1024;
/// The heading of the options that say which server is called. Each option names
/// it by itself: a heading for all that follow would take a command's own options
/// too.
pub const SERVER: &str = "Server";

/// The server's authority and name, and the caller's certificate.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsSettings {
    /// Certificates (PEM) of the authority that signed the server's; https
    /// needs it: no authority is trusted by default [profile: tls.ca]
    #[arg(id = "tls_ca", long = "tls-ca", help_heading = SERVER, value_name = "FILE", env = "KEYFERRY_TLS_CA", value_parser = Sourced(PathBufValueParser::new()))]
    pub ca: Option<Setting<PathBuf>>,
    /// Your certificate and its chain (PEM) [profile: tls.cert]
    #[arg(id = "tls_cert", long = "tls-cert", help_heading = SERVER, value_name = "FILE", env = "KEYFERRY_TLS_CERT", value_parser = Sourced(PathBufValueParser::new()))]
    pub cert: Option<Setting<PathBuf>>,
    /// The private key of your certificate (PEM) [profile: tls.key]
    #[arg(id = "tls_key", long = "tls-key", help_heading = SERVER, value_name = "FILE", env = "KEYFERRY_TLS_KEY", value_parser = Sourced(PathBufValueParser::new()))]
    pub key: Option<Setting<PathBuf>>,
    /// The name in the server's certificate, if it is not the endpoint's host
    /// [profile: tls.name]
    #[arg(id = "tls_name", long = "tls-name", help_heading = SERVER, value_name = "NAME", env = "KEYFERRY_TLS_NAME", value_parser = Sourced(NonEmptyStringValueParser::new()))]
    pub name: Option<Setting<String>>,
}

impl TlsSettings {
    /// These, and those of a weaker source where one is missing.
    pub fn over(self, weaker: Self) -> Self {
        Self {
            ca: self.ca.or(weaker.ca),
            cert: self.cert.or(weaker.cert),
            key: self.key.or(weaker.key),
            name: self.name.or(weaker.name),
        }
    }

    /// Refuses settings that would be ignored: the user may take the connection for
    /// a safe one. Those of a weaker source than the endpoint's are for the endpoint
    /// that it replaces.
    pub fn refuse_without_https(&self, endpoint: &Setting<Endpoint>) -> Result<(), Failure> {
        let files = [&self.ca, &self.cert, &self.key].into_iter().flatten();
        let files = files.map(|file| (file.source, file.name()));
        let all = files.chain(self.name.iter().map(|name| (name.source, name.name())));
        let Some((_, name)) = all.into_iter().find(|(source, _)| *source >= endpoint.source) else {
            return Ok(());
        };
        let endpoint = &endpoint.value;
        Err(Failure::usage(
            format!("{name} is given, but {endpoint} is not an https:// endpoint."),
            format!("Give --endpoint https://HOST:PORT, or leave {name} out."),
        ))
    }

    /// TLS with these certificates.
    pub fn connector(&self, endpoint: &Endpoint) -> Result<TlsConnector, Failure> {
        let own = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => return Err(only_half(one)),
        };
        let Some(ca) = &self.ca else {
            return Err(Failure::usage(
                format!("{endpoint} needs --tls-ca: no authority is trusted by default."),
                "Give a --profile, or the certificate of the authority that signed the server's: --tls-ca FILE.",
            ));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca.value)? {
            roots.add(certificate).map_err(|error| unfit(ca.name(), &error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit("the TLS library", &error))?
            .with_root_certificates(roots);
        let mut config = match own {
            Some((cert, key)) => config
                .with_client_auth_cert(certificates(&cert.value)?, private_key(key)?)
                .map_err(|error| unfit(&format!("{} with {}", cert.name(), key.name()), &error))?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// The name that the server's certificate must have.
    pub fn server_name(&self, authority: &Authority) -> Result<ServerName<'static>, Failure> {
        let name = self.name.as_ref().map_or(&authority.host, |name| &name.value);
        ServerName::try_from(name.clone()).map_err(|_| {
            Failure::usage(
                format!("{name:?} is not a name that a certificate can have."),
                "Give a DNS name or an IP address: --tls-name NAME.",
            )
        })
    }
}

fn only_half(given: &Setting<PathBuf>) -> Failure {
    Failure::usage(
        format!("{} is given without its other half.", given.name()),
        "Give both your certificate, --tls-cert <FILE>, and its private key, --tls-key <FILE>, or neither.",
    )
}

fn unfit(what: &str, error: &rustls::Error) -> Failure {
    if let Some((fault, advice)) = certificate_fault(error) {
        return Failure::input(format!("{what} cannot be used: {fault}."), advice);
    }
    Failure::input(
        format!("TLS cannot be set up with {what}: {error}."),
        "Give a certificate and the private key that belongs to it, both PEM.",
    )
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let file = Input::from(path).read("certificate", MAX_PEM_BYTES)?;
    let tidied = pem::tidy(&file);
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&tidied).collect();
    certificates.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        Failure::input(
            format!("{} holds no certificate that can be read.", path.display()),
            "Give PEM: -----BEGIN CERTIFICATE-----. From DER: `openssl x509 -inform DER -in FILE -out FILE.pem`",
        )
    })
}

/// A key that a profile names lies where it is for long, and nobody looks at it: it must
/// be its owner's alone.
fn private_key(setting: &Setting<PathBuf>) -> Result<PrivateKeyDer<'static>, Failure> {
    let path = setting.value.as_path();
    let file = match setting.source {
        Source::Profile => {
            secret_file::read(path, MAX_PEM_BYTES).map_err(|error| unsafe_key(setting, &error))?
        }
        _ => Input::from(path).read("private key", MAX_PEM_BYTES)?,
    };
    PrivateKeyDer::from_pem_slice(&pem::tidy(&file)).map_err(|_| {
        Failure::input(
            format!("{} holds no private key that can be read.", path.display()),
            "Give it as PEM and not encrypted; from an encrypted one: `openssl pkcs8 -in FILE -out CLEAR.pem`",
        )
    })
}

fn unsafe_key(setting: &Setting<PathBuf>, error: &SecretFileError) -> Failure {
    let exit = match error {
        SecretFileError::Unsafe(_) => Exit::Configuration,
        _ => Exit::Input,
    };
    Failure::new(
        exit,
        format!("The private key {} {error}.", setting.value.display()),
        format!("{} names it: see that it is yours alone, or name another.", setting.name()),
    )
}

/// The fault in how a certificate was made, and the remedy, where rustls has only a
/// name for it, or tells a consequence.
fn certificate_fault(error: &rustls::Error) -> Option<(&'static str, &'static str)> {
    let rustls::Error::InvalidCertificate(error) = error else { return None };
    match error {
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            Some((
                "the certificate has no subjectAltName, and so no name that can be checked",
                "Have it issued anew with its DNS name or IP address as a subjectAltName.",
            ))
        }
        // The causes are webpki's, which rustls does not show as types.
        CertificateError::Other(other) => match other.to_string().as_str() {
            "UnsupportedCertVersion" => Some((
                "the certificate is of X.509 version 1, which TLS does not take",
                "Have it issued anew as version 3 with a subjectAltName: `openssl x509 -req` does so with -extfile.",
            )),
            "CaUsedAsEndEntity" => Some((
                "the certificate is an authority's (CA:TRUE), which cannot be a server's or a caller's too",
                "Have that authority issue a certificate of its own for the other end, with a subjectAltName.",
            )),
            _ => None,
        },
        _ => None,
    }
}

/// Why a TLS handshake failed.
pub fn handshake_failed(error: &io::Error, endpoint: &Endpoint) -> Failure {
    let cause = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    if let Some((fault, advice)) = cause.and_then(certificate_fault) {
        let happened = format!("No TLS connection to {endpoint}: of the server, {fault}.");
        return Failure::unreachable(happened, advice);
    }
    let advice = match cause {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => {
            "If it is the right server under another name, give the name in its certificate with --tls-name."
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "Give the certificate of the authority that signed the server's with --tls-ca or a --profile."
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "The server does not speak TLS there: try http://."
        }
        _ => {
            "Compare the server's certificate with --tls-ca and --tls-name, and check that a Keyferry server listens there."
        }
    };
    let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Failure::unreachable(format!("No TLS connection to {endpoint}: {cause}."), advice)
}
