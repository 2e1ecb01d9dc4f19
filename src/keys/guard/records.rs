//! Stored records: encoding, sealing and opening.
//!
//! A record's plain fields, its path and the store's id are authenticated, so
//! that an attacker who can write the database but has no root key can neither
//! change a state, an alias or an owner, nor move a record to another path or
//! store. Such an attacker can still put an older record back at its own path.

use prost::Message;
use zeroize::Zeroizing;

use crate::crypto::sealing::SealingKey;
use crate::crypto::secret::{Reveal, StoreKey};
use crate::error::Error;
use crate::ids::{StoreId, StoreKeyId};

/// `keyferry.storage.v1`.
pub(crate) mod v1 {
    #![allow(
        clippy::all,
        clippy::pedantic,
        missing_docs,
        reason = "generated code; the proto file is its manual"
    )]
    include!(concat!(env!("OUT_DIR"), "/keyferry.storage.v1.rs"));
}

/// The format version of what we write.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// A message that is the plain part of one kind of record.
pub(crate) trait Record: Message + Default {
    /// The kind.
    const KIND: RecordKind;
}

/// The table of the kinds of record: name and field, message, HKDF label of the
/// sealing key.
macro_rules! record_kinds {
    ($($(#[$doc:meta])* $kind:ident, $field:ident: $message:ident, $label:literal;)+) => {
        /// The kinds of record, each sealed under a key of its own, so that a
        /// record of one kind can't stand in for one of another.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum RecordKind { $($(#[$doc])* $kind),+ }

        $(impl Record for v1::$message {
            const KIND: RecordKind = RecordKind::$kind;
        })+

        /// The sealing keys of one store key.
        struct SealingKeys { $($field: SealingKey),+ }

        impl SealingKeys {
            fn derive(id: StoreKeyId, key: &StoreKey) -> Self {
                let secret = key.reveal(Reveal::ToDeriveKeys);
                Self { $($field: SealingKey::derive(secret, $label, id.as_bytes())),+ }
            }

            const fn of(&self, kind: RecordKind) -> &SealingKey {
                match kind { $(RecordKind::$kind => &self.$field),+ }
            }
        }
    };
}

record_kinds! {
    /// The store's identity.
    Identity, identity: StoreIdentity, "keyferry/record/identity";
    /// A CMK.
    Cmk, cmk: Cmk, "keyferry/record/cmk";
    /// A key version with its key material.
    KeyVersion, key_version: KeyVersion, "keyferry/record/version";
    /// A name.
    Alias, alias: Alias, "keyferry/record/alias";
    /// A name's place in the order of creation.
    AliasOrder, alias_order: AliasOrder, "keyferry/record/alias-order";
    /// The names of one CMK.
    KeyAliases, key_aliases: KeyAliases, "keyferry/record/key-aliases";
    /// A CMK that was deleted.
    Tombstone, tombstone: Tombstone, "keyferry/record/tombstone";
    /// An access key with its secret.
    AccessKey, access_key: AccessKey, "keyferry/record/access-key";
    /// The access keys of one service account.
    ServiceAccount, service_account: ServiceAccount, "keyferry/record/service-account";
    /// The key of the audit log.
    AuditKey, audit_key: AuditKey, "keyferry/record/audit-key";
    /// The newest checkpoint of the audit log.
    AuditCheckpoint, audit_checkpoint: AuditCheckpoint, "keyferry/record/audit-checkpoint";
    /// The keys that sign receipts, with the private one.
    ReceiptKeys, receipt_keys: ReceiptKeys, "keyferry/record/receipt-keys";
    /// Where a page of a list ended; handed to callers, not stored.
    PageCursor, page_cursor: PageCursor, "keyferry/record/page-cursor";
}

/// A stored record that is not what this store wrote at that path: tampered
/// with, damaged, moved, or of a format that this version does not know.
#[derive(Debug)]
pub struct RecordNotIntact {
    path: String,
}

impl RecordNotIntact {
    fn at(path: &str) -> Self {
        Self { path: path.to_owned() }
    }
}

impl From<RecordNotIntact> for Error {
    fn from(record: RecordNotIntact) -> Self {
        Self::internal(format!("the stored record at {} is not intact", record.path))
    }
}

/// Seals and opens the records of one store.
pub struct RecordSeals {
    store_id: StoreId,
    /// All store keys, newest last: the newest seals. There are one or two.
    store_keys: Vec<(StoreKeyId, SealingKeys)>,
}

impl RecordSeals {
    /// The seals under these store keys, newest last.
    #[must_use]
    pub fn new(store_id: StoreId, store_keys: &[(StoreKeyId, StoreKey)]) -> Self {
        let store_keys =
            store_keys.iter().map(|(id, key)| (*id, SealingKeys::derive(*id, key))).collect();
        Self { store_id, store_keys }
    }

    /// The store that these seals belong to.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// Encodes and seals a record for its path.
    pub fn seal(
        &self,
        kind: RecordKind,
        path: &str,
        plain: &impl Message,
        secret: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.seal_encoded(kind, path, plain.encode_to_vec(), secret)
    }

    /// Seals plain bytes that are not known to be a message: for the fuzzer,
    /// which goes on where the tag is right.
    #[doc(hidden)]
    pub fn seal_encoded(
        &self,
        kind: RecordKind,
        path: &str,
        plain: Vec<u8>,
        secret: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let (id, keys) = self.store_keys.last().ok_or_else(|| Error::internal("no store key"))?;
        let aad = self.aad(*id, path, &plain);
        let sealed = keys
            .of(kind)
            .seal(&aad, secret)
            .map_err(|_| Error::internal("a record could not be sealed"))?;
        let record = v1::StoredRecord {
            format_version: FORMAT_VERSION,
            store_key_id: id.as_bytes().to_vec(),
            plain,
            nonce: sealed.nonce.to_vec(),
            sealed: sealed.bytes,
        };
        Ok(record.encode_to_vec())
    }

    /// Opens the record at a path: its plain fields and its secret bytes.
    pub fn open<M: Message + Default>(
        &self,
        kind: RecordKind,
        path: &str,
        value: &[u8],
    ) -> Result<(M, Zeroizing<Vec<u8>>), RecordNotIntact> {
        let not_intact = || RecordNotIntact::at(path);
        let record = v1::StoredRecord::decode(value).map_err(|_| not_intact())?;
        if record.format_version != FORMAT_VERSION {
            return Err(not_intact());
        }
        let is_its = |(id, _): &&(StoreKeyId, _)| *id.as_bytes() == *record.store_key_id;
        let (id, keys) = self.store_keys.iter().find(is_its).ok_or_else(not_intact)?;
        let aad = self.aad(*id, path, &record.plain);
        let secret =
            keys.of(kind).open(&aad, &record.nonce, &record.sealed).map_err(|_| not_intact())?;
        // Decoded only now: nothing is looked at before it is authenticated.
        let plain = M::decode(record.plain.as_slice()).map_err(|_| not_intact())?;
        Ok((plain, secret))
    }

    /// The bytes authenticated beside the secret ones. Variable parts bear their
    /// lengths, so that no two records share one encoding.
    fn aad(&self, store_key: StoreKeyId, path: &str, plain: &[u8]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(64 + path.len() + plain.len());
        aad.extend_from_slice(b"keyferry/record");
        aad.extend_from_slice(&FORMAT_VERSION.to_be_bytes());
        aad.extend_from_slice(self.store_id.as_bytes());
        aad.extend_from_slice(store_key.as_bytes());
        for part in [path.as_bytes(), plain] {
            aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
            aad.extend_from_slice(part);
        }
        aad
    }
}
