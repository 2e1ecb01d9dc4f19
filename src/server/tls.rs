//! TLS: the server's certificate, the client certificates that are accepted, and
//! the reload of both without a restart.
//!
//! Files are read anew and compared by content, so that it does not matter how
//! they changed: written in place, renamed over, or by the flip of a symbolic
//! link two directories up, as Kubernetes does it. Files that do not load, say a
//! new certificate whose key is not there yet, leave the old ones in use.
//!
//! Clients authenticate by certificate, but for those of the HTTP front door,
//! which sign each request instead. Sessions are never resumed: a resumed session
//! would carry over a verdict on a certificate that has since expired or been
//! revoked. For the same reason each request asks whether its connection's
//! certificate is still good.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, fs};

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use crate::config::TlsFiles;

/// No certificate file is near this size.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Why TLS files are of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct TlsError {
    file: PathBuf,
    why: String,
}

impl TlsError {
    fn new(file: &Path, why: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), why: why.to_string() }
    }
}

/// The TLS of one listener.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<LoadedTls>,
    /// Digest of the files that were last read, loaded or not.
    last_read: Mutex<[u8; 32]>,
}

/// The TLS configuration of one load of the files.
#[derive(Debug)]
pub(super) struct LoadedTls {
    /// How many loads there were before.
    number: u64,
    config: Arc<ServerConfig>,
    /// `None` where no client certificate is accepted.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

impl LoadedTls {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}

impl Tls {
    /// Reads and checks the files.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let contents = FileContents::read(files)?;
        let current = ArcSwap::from_pointee(contents.load(files, 0)?);
        let last_read = Mutex::new(contents.digest());
        Ok(Arc::new(Self { files: files.clone(), current, last_read }))
    }

    pub(super) fn current(&self) -> Arc<LoadedTls> {
        self.current.load_full()
    }

    /// Reads the files, and uses them if they changed and load.
    fn reload(&self) -> Result<bool, TlsError> {
        let contents = FileContents::read(&self.files)?;
        let digest = contents.digest();
        {
            let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
            if *last_read == digest {
                return Ok(false);
            }
            *last_read = digest;
        }
        let number = self.current.load().number + 1;
        let next = contents.load(&self.files, number)?;
        self.current.store(Arc::new(next));
        Ok(true)
    }

    fn reload_and_log(&self) {
        let cert = self.files.cert.display();
        match self.reload() {
            Ok(false) => {}
            Ok(true) => tracing::info!(%cert, "certificates reloaded"),
            Err(error) => {
                tracing::error!(%error, "certificates not reloaded: the old ones stay in use");
            }
        }
    }
}

/// Reloads the files of each listener at every interval, and on SIGHUP at once.
/// SIGHUP is handled from the call on, with TLS or without: left alone, it would
/// end the process.
pub(super) fn watch(
    all: Vec<Arc<Tls>>,
    interval: Duration,
) -> impl Future<Output = ()> + Send + 'static {
    let hangup = signal(SignalKind::hangup())
        .inspect_err(|error| tracing::warn!(%error, "SIGHUP will not reload certificates"))
        .ok();
    reload_for_ever(all, interval, hangup)
}

async fn reload_for_ever(all: Vec<Arc<Tls>>, interval: Duration, mut hangup: Option<Signal>) {
    loop {
        let hung_up = async {
            match &mut hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = hung_up => {}
        }
        for tls in all.clone() {
            // Reading files blocks.
            let reloaded = tokio::task::spawn_blocking(move || tls.reload_and_log()).await;
            if let Err(error) = reloaded {
                tracing::error!(%error, "certificates not reloaded");
            }
        }
    }
}

/// The bytes of the files at one moment.
struct FileContents {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
    crl: Option<Vec<u8>>,
}

impl FileContents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            cert: read(&files.cert)?,
            key: Zeroizing::new(read(&files.key)?),
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
            crl: files.crl.as_deref().map(read).transpose()?,
        })
    }

    /// With lengths, so that no byte can move from one file to the next
    /// unnoticed.
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let [client_ca, crl] =
            [&self.client_ca, &self.crl].map(|file| file.as_deref().unwrap_or_default());
        for file in [&self.cert, &*self.key, client_ca, crl] {
            hash.update((file.len() as u64).to_be_bytes());
            hash.update(file);
        }
        hash.finalize().into()
    }

    fn load(&self, files: &TlsFiles, number: u64) -> Result<LoadedTls, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = self.verifier(files, provider.clone())?;
        let chain = certificates(&files.cert, &self.cert)?;
        if chain.first().and_then(|leaf| not_after(leaf)).is_none_or(|end| end < now()) {
            return Err(TlsError::new(&files.cert, "the certificate has expired: renew it"));
        }
        // An error of the parser might quote the key file: our words only.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
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
        if files.certificate_optional {
            // Where the HTTP front door is.
            config.alpn_protocols.push(b"http/1.1".to_vec());
        }
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(LoadedTls { number, config: Arc::new(config), verifier })
    }

    fn verifier(
        &self,
        files: &TlsFiles,
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
        if let (Some(file), Some(crl)) = (&files.crl, &self.crl) {
            // RFC 5280, 6.3: a certificate that no current list speaks of is
            // not known to be good.
            builder =
                builder.with_crls(revocation_lists(file, crl)?).enforce_revocation_expiration();
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
    if size > FILE_MAX_BYTES {
        return Err(TlsError::new(path, format!("has {size} bytes, too many for a PEM file")));
    }
    fs::read(path).map_err(unreadable)
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::new(file, "holds no certificate in PEM, or is cut")),
    }
}

fn revocation_lists(
    file: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::new(file, "holds no certificate revocation list in PEM, or is cut")),
    }
}

/// When the certificate ends, in seconds of the epoch.
fn not_after(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A client's certificate that the handshake verified.
#[derive(Debug)]
pub(super) struct ClientCertificate {
    tls: Arc<Tls>,
    chain: Vec<CertificateDer<'static>>,
    /// The earliest end in the chain.
    not_after: u64,
    /// The number of the load that last judged it, shifted left; the low bit is
    /// set if it was found good.
    verdict: AtomicU64,
}

impl ClientCertificate {
    /// `judged_by` is the configuration that the handshake ran under.
    pub(super) fn new(
        tls: Arc<Tls>,
        judged_by: &LoadedTls,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        let not_after = chain.iter().map(|one| not_after(one).unwrap_or(0)).min().unwrap_or(0);
        Self { tls, chain, not_after, verdict: AtomicU64::new(judged_by.number << 1 | 1) }
    }

    pub(super) fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// Whether a handshake now would still accept it. Judged once for each load of
    /// the files; two requests that judge at once find the same.
    pub(super) fn still_good(&self) -> bool {
        if now() > self.not_after {
            return false;
        }
        let loaded = self.tls.current.load();
        let verdict = self.verdict.load(Ordering::Relaxed);
        if verdict >> 1 == loaded.number {
            return verdict & 1 == 1;
        }
        let good = self.judge(&loaded);
        self.verdict.store(loaded.number << 1 | u64::from(good), Ordering::Relaxed);
        good
    }

    fn judge(&self, loaded: &LoadedTls) -> bool {
        let Some((leaf, others)) = self.chain.split_first() else { return false };
        let Some(verifier) = &loaded.verifier else { return false };
        verifier.verify_client_cert(leaf, others, UnixTime::now()).is_ok()
    }
}
