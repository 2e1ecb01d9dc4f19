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
    not_after: u64,
    /// The ends of the other certificates that the client sent. Each may be of the path
    /// to the authority or not: when one passes, the path is judged anew.
    ends: Vec<u64>,
    /// The [state](Self::state) in which it was last judged, shifted left; the low bit is
    /// set if it was found good.
    verdict: AtomicU64,
}

impl ClientCertificate {
    /// `judged_by` is the configuration that the handshake ran under.
    pub(in crate::server) fn new(
        tls: Arc<Tls>,
        judged_by: &LoadedTls,
        chain: Vec<CertificateDer<'static>>,
    ) -> Self {
        let mut ends = chain.iter().map(|one| not_after(one).unwrap_or(0));
        let (not_after, ends) = (ends.next().unwrap_or(0), ends.collect());
        let this = Self { tls, chain, not_after, ends, verdict: AtomicU64::new(NEVER) };
        // A list may have expired since the handshake looked at it.
        if !judged_by.has_lists() {
            this.verdict.store(this.state(judged_by, now()) << 1 | 1, Ordering::Relaxed);
        }
        this
    }

    /// Of the loaded files, and how many certificates that came with it have expired.
    fn state(&self, loaded: &LoadedTls, now: u64) -> u64 {
        let ended = self.ends.iter().filter(|end| now > **end).count();
        loaded.state(now) << 8 | u64::try_from(ended).unwrap_or(0xff).min(0xff)
    }

    pub(in crate::server) fn leaf(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf.as_ref())
    }

    /// Whether a handshake now would still accept it. Judged once for each load of
    /// the files, and again when one of their lists or of the other certificates expires; two requests that judge
    /// at once find the same.
    pub(in crate::server) fn still_good(&self) -> bool {
        let now = now();
        if now > self.not_after {
            return false;
        }
        let loaded = self.tls.current.load();
        let state = self.state(&loaded, now);
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
