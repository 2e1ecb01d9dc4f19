//! The files of one listener: read at one moment, and made into what rustls wants.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::attention::Attention;
use super::{LoadedTls, TlsError, now};
use crate::config::TlsFiles;
use crate::crypto::pem;
use crate::secret_file;

/// No certificate file is near this size.
const FILE_MAX_BYTES: usize = 1024 * 1024;

/// The bytes of the files at one moment.
pub(super) struct FileContents {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
    crl: Option<Vec<u8>>,
}

impl FileContents {
    pub(super) fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(&files.cert)?,
            key: secret_file::read(&files.key, FILE_MAX_BYTES)
                .map_err(|error| TlsError::new(&files.key, error))?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
            crl: files.crl.as_deref().map(read).transpose()?,
        })
    }

    /// With lengths, so that no byte can move from one file to the next
    /// unnoticed.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let [client_ca, crl] =
            [&self.client_ca, &self.crl].map(|file| file.as_deref().unwrap_or_default());
        for file in [&self.cert, &*self.key, client_ca, crl] {
            hash.update((file.len() as u64).to_be_bytes());
            hash.update(file);
        }
        hash.finalize().into()
    }

    pub(super) fn load(&self, files: &TlsFiles, number: u64) -> Result<LoadedTls, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let lists = self.revocation_lists(files)?;
        let verifier = self.verifier(files, &lists, provider.clone())?;
        let chain = certificates(&files.cert, &self.cert)?;
        let attention = Attention::of(files, &chain, &lists)?;
        if attention.server_has_expired(now()) {
            return Err(TlsError::new(&files.cert, "the certificate has expired: renew it"));
        }
        // An error of the parser might quote the key file: our words only.
        let key = PrivateKeyDer::from_pem_slice(&pem::tidy(&self.key)).map_err(|_| {
            TlsError::new(
                &files.key,
                "holds no unencrypted private key in PEM (PKCS#8, PKCS#1 or SEC1)",
            )
        })?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| TlsError::new(&files.cert, error))?;
        let config = match verifier.clone() {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_single_cert(chain, key).map_err(|error| {
            let cert = files.cert.display();
            TlsError::new(&files.key, format!("does not fit the certificate {cert}: {error}"))
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if files.http1 {
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(LoadedTls { number, config: Arc::new(config), verifier, attention })
    }

    fn revocation_lists(
        &self,
        files: &TlsFiles,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        match (&files.crl, &self.crl) {
            (Some(file), Some(crl)) => revocation_lists(file, crl),
            _ => Ok(Vec::new()),
        }
    }

    fn verifier(
        &self,
        files: &TlsFiles,
        lists: &[CertificateRevocationListDer<'static>],
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        let (Some(file), Some(client_ca)) = (&files.client_ca, &self.client_ca) else {
            return Ok(None);
        };
        let mut roots = RootCertStore::empty();
        for authority in certificates(file, client_ca)? {
            roots.add(authority).map_err(|error| TlsError::new(file, error))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if !lists.is_empty() {
            // RFC 5280, 6.3: a certificate that no current list speaks of is
            // not known to be good.
            builder = builder.with_crls(lists.iter().cloned()).enforce_revocation_expiration();
        }
        if files.certificate_optional {
            builder = builder.allow_unauthenticated();
        }
        let blamed = files.crl.as_ref().unwrap_or(file);
        let verifier = builder.build().map_err(|error| TlsError::new(blamed, error))?;
        Ok(Some(verifier))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::new(path, format!("cannot be read: {error}"));
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_MAX_BYTES as u64 {
        return Err(TlsError::new(path, format!("has {size} bytes, too many for a PEM file")));
    }
    fs::read(path).map_err(unreadable)
}

fn certificates(file: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem::tidy(text)).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::new(file, "holds no certificate in PEM, or is cut")),
    }
}

fn revocation_lists(
    file: &Path,
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(&pem::tidy(text)).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::new(file, "holds no certificate revocation list in PEM, or is cut")),
    }
}
