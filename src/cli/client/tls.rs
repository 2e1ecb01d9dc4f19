//! TLS to the server: the authority that it must have, and our certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::causes::causes;
use super::endpoint::{Authority, Endpoint};
use crate::cli::failure::Failure;
use crate::cli::io::input::Input;
use crate::crypto::pem;

/// Certificates and their keys are short.
const MAX_PEM_BYTES: usize = 256 * 1024;
/// The heading of the options that say which server is called. Each option names
/// it by itself: a heading for all that follow would take a command's own options
/// too.
pub const SERVER: &str = "Server";

/// The server's authority and name, and the caller's certificate.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the names are those of the options")]
pub struct TlsArgs {
    /// Certificates (PEM) of the authority that signed the server's; https
    /// needs it: no authority is trusted by default
    #[arg(long, help_heading = SERVER, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Your certificate and its chain (PEM)
    #[arg(long, help_heading = SERVER, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of your certificate (PEM)
    #[arg(long, help_heading = SERVER, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name in the server's certificate, if it is not the endpoint's host
    #[arg(long, help_heading = SERVER, value_name = "NAME")]
    tls_name: Option<String>,
}

impl TlsArgs {
    /// Refuses options that would be ignored: the user may take the connection for
    /// a safe one.
    pub fn refuse_without_https(&self, endpoint: &Endpoint) -> Result<(), Failure> {
        let Self { tls_ca, tls_cert, tls_key, tls_name } = self;
        let files = [tls_ca, tls_cert, tls_key];
        if files.iter().all(|file| file.is_none()) && tls_name.is_none() {
            return Ok(());
        }
        Err(Failure::usage(
            format!("TLS options were given, but {endpoint} is not an https:// endpoint."),
            "Give --endpoint https://HOST:PORT, or leave the --tls options out.",
        ))
    }

    /// TLS with the certificates that the options name.
    pub fn connector(&self, endpoint: &Endpoint) -> Result<TlsConnector, Failure> {
        let Some(ca) = &self.tls_ca else {
            return Err(Failure::usage(
                format!("{endpoint} needs --tls-ca: no authority is trusted by default."),
                "Give the certificate of the authority that signed the server's: --tls-ca FILE.",
            ));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| unfit("--tls-ca", &error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit("the TLS library", &error))?
            .with_root_certificates(roots);
        let mut config = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => config
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| unfit("--tls-cert with --tls-key", &error))?,
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// The name that the server's certificate must have.
    pub fn server_name(&self, authority: &Authority) -> Result<ServerName<'static>, Failure> {
        let name = self.tls_name.as_ref().unwrap_or(&authority.host);
        ServerName::try_from(name.clone()).map_err(|_| {
            Failure::usage(
                format!("{name:?} is not a name that a certificate can have."),
                "Give a DNS name or an IP address: --tls-name NAME.",
            )
        })
    }
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

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    let file = Input::from(path).read("private key", MAX_PEM_BYTES)?;
    PrivateKeyDer::from_pem_slice(&pem::tidy(&file)).map_err(|_| {
        Failure::input(
            format!("{} holds no private key that can be read.", path.display()),
            "Give it as PEM and not encrypted; from an encrypted one: `openssl pkcs8 -in FILE -out CLEAR.pem`",
        )
    })
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
            "Give the certificate of the authority that signed the server's with --tls-ca."
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
