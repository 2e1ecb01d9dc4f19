//! The issuers of receipts that an import may come with: their keys, in files that are
//! read again when they change.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::{ReceiptConfig, TrustedIssuer};
use crate::crypto::receipt::{Claims, ReceiptKeySet, UnverifiedReceipt};
use crate::ids::StoreId;
use crate::secret_file;

/// No set of keys is near this size.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Why the keys of an issuer are of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct IssuerKeysError {
    file: std::path::PathBuf,
    why: String,
}

/// The issuers that are trusted, with their keys.
#[derive(Debug)]
pub struct TrustedIssuers {
    configured: Vec<TrustedIssuer>,
    keys: ArcSwap<Vec<ReceiptKeySet>>,
}

impl Default for TrustedIssuers {
    /// None.
    fn default() -> Self {
        Self { configured: Vec::new(), keys: ArcSwap::default() }
    }
}

impl TrustedIssuers {
    /// Reads the keys of those that are configured.
    pub fn load(config: &ReceiptConfig) -> Result<Arc<Self>, IssuerKeysError> {
        let configured = config.trusted.clone();
        let keys = ArcSwap::from_pointee(read_all(&configured)?);
        Ok(Arc::new(Self { configured, keys }))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configured.is_empty()
    }

    /// Reads the files again, and takes the keys if all are of use and any has changed.
    /// Whether it has.
    pub fn reload(&self) -> Result<bool, IssuerKeysError> {
        let keys = read_all(&self.configured)?;
        let changed = **self.keys.load() != keys;
        if changed {
            self.keys.store(Arc::new(keys));
        }
        Ok(changed)
    }

    /// What a receipt says, if one of the issuers signed it: the one that it names.
    #[must_use]
    pub fn verify(&self, receipt: &UnverifiedReceipt) -> Option<Claims> {
        let keys = self.keys.load();
        keys.iter().find_map(|keys| receipt.clone().verify(keys).ok())
    }
}

fn read_all(configured: &[TrustedIssuer]) -> Result<Vec<ReceiptKeySet>, IssuerKeysError> {
    configured.iter().map(|one| read(&one.keys, one.issuer)).collect()
}

/// Who can write the file can make receipts.
fn read(path: &Path, issuer: StoreId) -> Result<ReceiptKeySet, IssuerKeysError> {
    let unusable = |why: String| IssuerKeysError { file: path.to_owned(), why };
    let file = secret_file::open_unless_others_can_write(path)
        .map_err(|error| unusable(error.to_string()))?;
    let mut text = Vec::new();
    let read = file.take(FILE_MAX_BYTES + 1).read_to_end(&mut text);
    let read = read.map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if u64::try_from(read).is_ok_and(|read| read > FILE_MAX_BYTES) {
        return Err(unusable(format!("has more than {FILE_MAX_BYTES} bytes")));
    }
    let keys = ReceiptKeySet::parse(&text).map_err(|error| unusable(error.to_string()))?;
    match keys.issuer() {
        Some(other) if other != issuer => {
            Err(unusable(format!("has the keys of the issuer {other}, not of {issuer}")))
        }
        _ => Ok(keys.of_issuer(issuer)),
    }
}
