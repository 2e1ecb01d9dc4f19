//! TLS: the server's certificate, the client certificates that are accepted, and
//! the reload of both without a restart.
//!
//! Files are read anew and compared by content, so that it does not matter how
//! they changed: written in place, renamed over, or by the flip of a symbolic
//! link two directories up, as Kubernetes does it. Files that do not load, say a
//! new certificate whose key is not there yet, leave the old ones in use.
//!
//! ```text
//! files.rs               the files, read and made into what rustls wants
//! attention.rs           what will expire, and what clients will not like
//! client_certificate.rs  a client's certificate, judged as long as it is connected
//! ```
//!
//! Clients authenticate by certificate, but for those of the HTTP front door,
//! which sign each request instead. Sessions are never resumed: a resumed session
//! would carry over a verdict on a certificate that has since expired or been
//! revoked. For the same reason each request asks whether its connection's
//! certificate is still good.

mod attention;
mod client_certificate;
mod files;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use rustls::server::ServerConfig;
use rustls::server::danger::ClientCertVerifier;

use attention::Attention;
pub(super) use client_certificate::ClientCertificate;
use files::FileContents;

use super::reload_times::ReloadTimes;
use crate::access::principal::TakenNames;
use crate::config::TlsFiles;

/// How often what will expire is told again.
const WARN_EVERY: Duration = Duration::from_hours(24);

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
    /// The fault that was last logged: it is looked for every two seconds.
    last_fault: Mutex<Option<String>>,
}

/// The TLS configuration of one load of the files.
#[derive(Debug)]
pub(super) struct LoadedTls {
    /// How many loads there were before.
    number: u64,
    config: Arc<ServerConfig>,
    /// `None` where no client certificate is accepted.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    attention: Attention,
}

impl LoadedTls {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    fn has_lists(&self) -> bool {
        self.attention.has_lists()
    }

    /// Verdicts depend on this beside the certificate and its end: the load, and how
    /// many of its revocation lists have expired.
    fn state(&self, now: u64) -> u64 {
        let expired = u64::try_from(self.attention.lists_expired(now)).unwrap_or(u64::MAX);
        self.number << 16 | expired.min(0xffff)
    }
}

/// Seconds of the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Tls {
    /// Reads and checks the files.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let contents = FileContents::read(files)?;
        let current = ArcSwap::from_pointee(contents.load(files, 0)?);
        let last_read = Mutex::new(contents.digest());
        let last_fault = Mutex::default();
        Ok(Arc::new(Self { files: files.clone(), current, last_read, last_fault }))
    }

    /// The kinds of names in the callers' certificates that are taken.
    pub(super) fn names(&self) -> TakenNames {
        self.files.names
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

    /// Warnings for the operator about the files in use: a line each, which names
    /// the file and what to do.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.current.load().attention.warnings(now())
    }

    fn log_warnings(&self) {
        for warning in self.warnings() {
            tracing::warn!(%warning, "a certificate needs attention");
        }
    }

    fn reload_and_log(&self) {
        let cert = self.files.cert.display();
        let fault = self.reload().map(|reloaded| {
            if reloaded {
                tracing::info!(%cert, "certificates reloaded");
                self.log_warnings();
            }
        });
        let fault = fault.err().map(|error| error.to_string());
        let mut last = self.last_fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = fault.as_ref().filter(|_| fault != *last) {
            tracing::error!(%error, "certificates not reloaded: the old ones stay in use");
        }
        *last = fault;
    }
}

/// Reloads the files of each listener at every interval, and on SIGHUP at once.
/// SIGHUP is handled from the call on, with TLS or without: left alone, it would
/// end the process.
pub(super) fn watch(
    all: Vec<Arc<Tls>>,
    interval: Duration,
) -> impl Future<Output = ()> + Send + 'static {
    reload_for_ever(all, ReloadTimes::every(interval))
}

async fn reload_for_ever(all: Vec<Arc<Tls>>, mut times: ReloadTimes) {
    let mut reminder = Reminder::default();
    loop {
        if reminder.is_due(Instant::now()) {
            for tls in &all {
                tls.log_warnings();
            }
        }
        let _ = times.next().await;
        for tls in all.clone() {
            // Reading files blocks.
            let reloaded = tokio::task::spawn_blocking(move || tls.reload_and_log()).await;
            if let Err(error) = reloaded {
                tracing::error!(%error, "certificates not reloaded");
            }
        }
    }
}

/// Comes due at once, and then once a day.
#[derive(Default)]
struct Reminder(Option<Instant>);

impl Reminder {
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= WARN_EVERY);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reminder_comes_at_once_and_then_daily() {
        let start = Instant::now();
        let mut reminder = Reminder::default();
        let due: Vec<u64> =
            (0..100).filter(|hour| reminder.is_due(start + Duration::from_hours(*hour))).collect();
        assert_eq!(due, [0, 24, 48, 72, 96]);
    }
}
