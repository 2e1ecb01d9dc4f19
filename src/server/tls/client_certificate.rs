//! The certificate of a client whose connection is open: good as long as a handshake
//! would accept it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};

use super::attention::not_after;
use super::{LoadedTls, Tls, now};

/// No state that a verdict was found in.
const NEVER: u64 = u64::MAX;

/// A client's certificate that the handshake verified.
#[derive(Debug)]
pub(in crate::server) struct ClientCertificate {
    tls: Arc<Tls>,
    chain: Vec<CertificateDer<'static>>,
    /// The earliest end in the chain.
    not_after: u64,
    /// The [state](LoadedTls::state) in which it was last judged, shifted left; the
    /// low bit is set if it was found good.
    verdict: AtomicU64,
}

impl ClientCertificate {
    /// `judged_by` is the configuration that the handshake ran under.
    pub(in crate::server) fn new(
        tls: Arc<Tls>,
        judged_by: &LoadedTls,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        let not_after = chain.iter().map(|one| not_after(one).unwrap_or(0)).min().unwrap_or(0);
        // A list may have expired since the handshake looked at it.
        let verdict = if judged_by.has_lists() { NEVER } else { judged_by.state(now()) << 1 | 1 };
        Self { tls, chain, not_after, verdict: AtomicU64::new(verdict) }
    }

    pub(in crate::server) fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// Whether a handshake now would still accept it. Judged once for each load of
    /// the files, and again when one of their lists expires; two requests that judge
    /// at once find the same.
    pub(in crate::server) fn still_good(&self) -> bool {
        let now = now();
        if now > self.not_after {
            return false;
        }
        let loaded = self.tls.current.load();
        let state = loaded.state(now);
        let verdict = self.verdict.load(Ordering::Relaxed);
        if verdict >> 1 == state {
            return verdict & 1 == 1;
        }
        let good = self.judge(&loaded, now);
        self.verdict.store(state << 1 | u64::from(good), Ordering::Relaxed);
        good
    }

    fn judge(&self, loaded: &LoadedTls, now: u64) -> bool {
        let Some((leaf, others)) = self.chain.split_first() else { return false };
        let Some(verifier) = &loaded.verifier else { return false };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        verifier.verify_client_cert(leaf, others, now).is_ok()
    }
}
