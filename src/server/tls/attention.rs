//! Warnings for the operator about a listener's files: certificates that are about to
//! expire, and those that clients will not like. A file that can't be served at all is
//! an error.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::X509Version;

use super::TlsError;
use crate::config::TlsFiles;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// A certificate that ends sooner is warned of.
const SOON_SECONDS: u64 = 30 * DAY_SECONDS;

/// Of one load of the files. Times are seconds of the epoch.
#[derive(Debug)]
pub(super) struct Attention {
    cert: PathBuf,
    /// When the certificates of the server's chain end, leaf first.
    chain_ends: Vec<u64>,
    /// When the revocation lists must have been replaced, the earliest first.
    next_updates: Vec<u64>,
    crl: Option<PathBuf>,
    faults: Vec<&'static str>,
}

impl Attention {
    pub(super) fn of(
        files: &TlsFiles,
        chain: &[CertificateDer<'_>],
        lists: &[CertificateRevocationListDer<'_>],
    ) -> Result<Self, TlsError> {
        let mut chain_ends = Vec::new();
        let mut faults = Vec::new();
        for (position, certificate) in chain.iter().enumerate() {
            let certificate = parsed(&files.cert, certificate)?;
            chain_ends.push(end(&certificate));
            if position == 0 {
                faults = faults_of_server(&certificate);
            }
        }
        let mut next_updates: Vec<u64> = lists.iter().filter_map(next_update).collect();
        next_updates.sort_unstable();
        let (cert, crl) = (files.cert.clone(), files.crl.clone());
        Ok(Self { cert, chain_ends, next_updates, crl, faults })
    }

    pub(super) fn server_has_expired(&self, now: u64) -> bool {
        self.chain_ends.first().is_none_or(|end| *end < now)
    }

    pub(super) fn has_lists(&self) -> bool {
        !self.next_updates.is_empty()
    }

    /// How many of the revocation lists have expired by then.
    pub(super) fn lists_expired(&self, now: u64) -> usize {
        self.next_updates.partition_point(|next_update| *next_update <= now)
    }

    /// A line each, which names the file and what to do.
    pub(super) fn warnings(&self, now: u64) -> Vec<String> {
        let cert = self.cert.display();
        let faults = self.faults.iter().map(|fault| format!("{cert}: {fault}"));
        let ends = self.chain_ends.iter().enumerate().filter_map(|(position, end)| {
            let which =
                if position == 0 { "the certificate" } else { "a certificate of the chain" };
            ends_soon(*end, now).map(|when| format!("{cert}: {which} {when}: renew it"))
        });
        let lists = self.crl.iter().filter(|_| self.lists_expired(now) > 0).map(|crl| {
            format!(
                "{}: a revocation list has expired, and clients that it would speak of are refused: renew it",
                crl.display()
            )
        });
        faults.chain(ends).chain(lists).collect()
    }
}

/// "expires in 12 days, on …", if it does soon.
fn ends_soon(end: u64, now: u64) -> Option<String> {
    let date = i64::try_from(end).ok().and_then(|end| Timestamp::from_second(end).ok());
    let date = date.map(|date| format!(", on {date}")).unwrap_or_default();
    match end.checked_sub(now) {
        None => Some(format!("has expired{date}")),
        Some(left) if left < DAY_SECONDS => Some(format!("expires within a day{date}")),
        Some(left) if left < SOON_SECONDS => {
            Some(format!("expires in {} days{date}", left / DAY_SECONDS))
        }
        Some(_) => None,
    }
}

fn parsed<'a>(file: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, TlsError> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|_| TlsError::new(file, "holds a certificate that is not X.509"))?;
    if certificate.version() == X509Version::V3 {
        return Ok(certificate);
    }
    let why = format!(
        "holds an X.509 certificate of version {}, which has no subjectAltName and which TLS refuses: issue it as version 3 (`openssl x509 -req` does with -extfile)",
        certificate.version().0 + 1
    );
    Err(TlsError::new(file, why))
}

/// A server may have such a certificate, and clients may take it; most do not.
fn faults_of_server(leaf: &X509Certificate<'_>) -> Vec<&'static str> {
    let mut faults = Vec::new();
    let names = leaf.subject_alternative_name().ok().flatten();
    if names.is_none_or(|names| names.value.general_names.is_empty()) {
        faults.push(
            "the certificate has no subjectAltName, without which clients find no name in it and refuse the server: issue it with the server's DNS name or IP address there",
        );
    }
    if leaf.is_ca() {
        faults.push(
            "the certificate is an authority's (CA:TRUE), which many clients do not take for a server's: have it issue one for the server",
        );
    }
    faults
}

/// When the certificate ends.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<u64> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| end(&parsed))
}

fn end(certificate: &X509Certificate<'_>) -> u64 {
    u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0)
}

fn next_update(list: &CertificateRevocationListDer<'_>) -> Option<u64> {
    let (_, list) = CertificateRevocationList::from_der(list).ok()?;
    u64::try_from(list.next_update()?.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thirty_days_of_a_certificate_are_told() {
        let now = 1_800_000_000;
        assert_eq!(ends_soon(now + SOON_SECONDS, now), None);
        for (end, told) in [
            (now + SOON_SECONDS - 1, "expires in 29 days, on 2027-02-14T07:59:59Z"),
            (now + DAY_SECONDS, "expires in 1 days, on "),
            (now + 1, "expires within a day, on "),
            (now - 1, "has expired, on "),
            (0, "has expired, on 1970-01-01T00:00:00Z"),
        ] {
            let found = ends_soon(end, now).unwrap();
            assert!(found.starts_with(told), "{found}");
        }
    }
}
