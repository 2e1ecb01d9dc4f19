//! Every path of the store, both ways: the path of a thing, and the thing that a
//! path stands for.
//!
//! A path is a part of the format: a sealed record is authenticated with it, and
//! the order of paths is the order of lists. So each has one text alone.

use std::fmt;

use jiff::Timestamp;

use crate::access::service_account::ServiceAccount;
use crate::error::{Error, Result};
use crate::ids::{AccessKeyId, AccessKeyOrder, AliasId, EventId, KeyId, KeyVersionId};
use crate::keys::model::alias_name::AliasName;
use crate::keys::model::life_cycle::Due;
use crate::storage::{Precondition, Revision, Write};

/// Digits of a root key's id.
const ROOT_KEY_ID_CHARS: usize = 32;

/// A path of the store, by what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePath {
    /// `store/identity`: the store's id and mode.
    Identity,
    /// `store/slot/<root key id>`: the store keys, wrapped under a root key.
    RootKeySlot(String),
    /// `store/receipt-keys`: the keys that sign receipts.
    ReceiptKeys,
    /// `cmk/<key id>`: a CMK.
    Cmk(KeyId),
    /// `version/<version id>`: a key version with its key material.
    Version(KeyVersionId),
    /// `alias/<name>`: the CMK that a name means.
    Alias(AliasName),
    /// `alias-order/<alias id>`: a name in the order of creation.
    AliasOrder(AliasId),
    /// `key-aliases/<key id>`: the names of a CMK.
    KeyAliases(KeyId),
    /// `access-key/<access key id>`: an access key with its secret.
    AccessKey(AccessKeyId),
    /// `service-account/<name>`: the access keys of a service account.
    ServiceAccount(ServiceAccount),
    /// `tombstone/<key id>`: a CMK that was deleted.
    Tombstone(KeyId),
    /// `key-version/<key id>/<version id>`: an index of the versions of a CMK.
    KeyVersion(KeyId, KeyVersionId),
    /// `access-key-order/<order>/<access key id>`: an index of access keys in
    /// the order of creation.
    AccessKeyOrder(AccessKeyOrder, AccessKeyId),
    /// `due/<deletion or rotation>/<seconds since 1970, 12 digits>/<key id>`: an
    /// index of the work that falls due.
    Due(Due, KeyId),
    /// `erasure/<key id>`: a mark that a deleted CMK is not wholly erased.
    Erasure(KeyId),
    /// `used-nonce/<seconds since 1970, 12 digits>/<access key id>/<digest>`: a
    /// signed change that was begun.
    UsedNonce {
        /// When its signature is taken no longer.
        past_at: Timestamp,
        /// The access key that signed.
        access_key_id: AccessKeyId,
        /// SHA-256 of the nonce.
        digest: [u8; 32],
    },
    /// `audit/key`: the key of the audit log.
    AuditKey,
    /// `audit/checkpoint`: the newest checkpoint of the audit log.
    AuditCheckpoint,
    /// `audit-open/<event id>`: a mark that a change was made whose end may not be in the
    /// audit log.
    AuditOpen(EventId),
}

impl StorePath {
    /// The path of the store's identity.
    pub const IDENTITY: &'static str = "store/identity";
    /// The path of the keys that sign receipts.
    pub const RECEIPT_KEYS: &'static str = "store/receipt-keys";
    /// How the paths of root key slots begin.
    pub const ROOT_KEY_SLOTS: &'static str = "store/slot/";
    /// How the paths of CMKs begin, oldest first.
    pub const CMKS: &'static str = "cmk/";
    /// How the paths of key versions begin.
    pub const VERSIONS: &'static str = "version/";
    /// How the paths of names in the order of creation begin.
    pub const ALIAS_ORDER: &'static str = "alias-order/";
    /// How the paths of access keys in the order of creation begin.
    pub const ACCESS_KEY_ORDER: &'static str = "access-key-order/";
    /// How the paths of deletions that are due begin, earliest first.
    pub const DELETIONS: &'static str = "due/deletion/";
    /// How the paths of rotations that are due begin, earliest first.
    pub const ROTATIONS: &'static str = "due/rotation/";
    /// How the paths of erasures that are not finished begin.
    pub const ERASURES: &'static str = "erasure/";
    /// How the paths of used nonces begin, earliest first.
    pub const USED_NONCES: &'static str = "used-nonce/";

    /// The path of the audit log's key.
    pub const AUDIT_KEY: &'static str = "audit/key";
    /// The path of the audit log's newest checkpoint.
    pub const AUDIT_CHECKPOINT: &'static str = "audit/checkpoint";
    /// How the paths of marks of changes begin.
    pub const AUDIT_OPEN: &'static str = "audit-open/";

    /// How the paths of a CMK's versions begin, oldest first.
    #[must_use]
    pub fn versions_of(id: KeyId) -> String {
        format!("key-version/{id}/")
    }

    /// Reads a path; `None` for one that is none of the store's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once('/')?;
        let path = match kind {
            "store" if text == Self::IDENTITY => Self::Identity,
            "store" if text == Self::RECEIPT_KEYS => Self::ReceiptKeys,
            "store" => Self::RootKeySlot(root_key_id(rest.strip_prefix("slot/")?)?),
            "cmk" => Self::Cmk(KeyId::parse(rest).ok()?),
            "version" => Self::Version(KeyVersionId::parse(rest).ok()?),
            "alias" => Self::Alias(AliasName::parse(text)?),
            "alias-order" => Self::AliasOrder(AliasId::parse(rest).ok()?),
            "key-aliases" => Self::KeyAliases(KeyId::parse(rest).ok()?),
            "access-key" => Self::AccessKey(AccessKeyId::parse(rest).ok()?),
            "service-account" => Self::ServiceAccount(ServiceAccount::parse(rest).ok()?),
            "tombstone" => Self::Tombstone(KeyId::parse(rest).ok()?),
            "key-version" => {
                let (key, version) = rest.split_once('/')?;
                Self::KeyVersion(KeyId::parse(key).ok()?, KeyVersionId::parse(version).ok()?)
            }
            "access-key-order" => {
                let (order, id) = rest.split_once('/')?;
                let order = AccessKeyOrder::parse(order).ok()?;
                Self::AccessKeyOrder(order, AccessKeyId::parse(id).ok()?)
            }
            "due" => {
                let (what, rest) = rest.split_once('/')?;
                let (at, id) = rest.split_once('/')?;
                let due = match what {
                    "deletion" => Due::Deletion(timestamp(at)?),
                    "rotation" => Due::Rotation(timestamp(at)?),
                    _ => return None,
                };
                Self::Due(due, KeyId::parse(id).ok()?)
            }
            "erasure" => Self::Erasure(KeyId::parse(rest).ok()?),
            "audit" if text == Self::AUDIT_KEY => Self::AuditKey,
            "audit" if text == Self::AUDIT_CHECKPOINT => Self::AuditCheckpoint,
            "audit-open" => Self::AuditOpen(EventId::parse(rest).ok()?),
            "used-nonce" => {
                let (past_at, rest) = rest.split_once('/')?;
                let (id, hex) = rest.split_once('/')?;
                let mut digest = [0; 32];
                base16ct::lower::decode(hex, &mut digest).ok()?;
                Self::UsedNonce {
                    past_at: timestamp(past_at)?,
                    access_key_id: AccessKeyId::parse(id).ok()?,
                    digest,
                }
            }
            _ => return None,
        };
        // Times could be written in other ways, too.
        (path.to_string() == text).then_some(path)
    }

    /// Reads a path that the store listed.
    pub fn listed(text: &str) -> Result<Self> {
        Self::parse(text).ok_or_else(Self::malformed)
    }

    /// The fault of a listed path that is none, or not one of those listed.
    #[must_use]
    pub fn malformed() -> Error {
        Error::internal("a path in the store is malformed")
    }

    /// That nothing is there.
    #[must_use]
    pub fn absent(&self) -> Precondition {
        Precondition::Absent(self.to_string())
    }

    /// That the value there was put by the commit of this revision.
    #[must_use]
    pub fn at(&self, revision: Revision) -> Precondition {
        Precondition::At(self.to_string(), revision)
    }

    /// That what was found is still there: a value of that revision, or none.
    #[must_use]
    pub fn unchanged(&self, found: Option<Revision>) -> Precondition {
        found.map_or_else(|| self.absent(), |revision| self.at(revision))
    }

    /// Puts a value there.
    #[must_use]
    pub fn put(&self, value: Vec<u8>) -> Write {
        Write::Put(self.to_string(), value)
    }

    /// Puts an empty value there: an entry of an index, or a mark.
    #[must_use]
    pub fn mark(&self) -> Write {
        self.put(Vec::new())
    }

    /// Takes away the value there.
    #[must_use]
    pub fn delete(&self) -> Write {
        Write::Delete(self.to_string())
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity => f.write_str(Self::IDENTITY),
            Self::ReceiptKeys => f.write_str(Self::RECEIPT_KEYS),
            Self::RootKeySlot(id) => write!(f, "{}{id}", Self::ROOT_KEY_SLOTS),
            Self::Cmk(id) => write!(f, "{}{id}", Self::CMKS),
            Self::Version(id) => write!(f, "{}{id}", Self::VERSIONS),
            Self::Alias(name) => name.fmt(f),
            Self::AliasOrder(id) => write!(f, "{}{id}", Self::ALIAS_ORDER),
            Self::KeyAliases(id) => write!(f, "key-aliases/{id}"),
            Self::AccessKey(id) => write!(f, "access-key/{id}"),
            Self::ServiceAccount(account) => write!(f, "service-account/{}", account.name()),
            Self::Tombstone(id) => write!(f, "tombstone/{id}"),
            Self::KeyVersion(key, version) => write!(f, "{}{version}", Self::versions_of(*key)),
            Self::AccessKeyOrder(order, id) => {
                write!(f, "{}{order}/{id}", Self::ACCESS_KEY_ORDER)
            }
            Self::Due(Due::Deletion(at), id) => {
                write!(f, "{}{:012}/{id}", Self::DELETIONS, seconds(*at))
            }
            Self::Due(Due::Rotation(at), id) => {
                write!(f, "{}{:012}/{id}", Self::ROTATIONS, seconds(*at))
            }
            Self::Erasure(id) => write!(f, "{}{id}", Self::ERASURES),
            Self::UsedNonce { past_at, access_key_id, digest } => {
                let (past_at, digest) = (seconds(*past_at), base16ct::HexDisplay(digest));
                write!(f, "{}{past_at:012}/{access_key_id}/{digest:x}", Self::USED_NONCES)
            }
            Self::AuditKey => f.write_str(Self::AUDIT_KEY),
            Self::AuditCheckpoint => f.write_str(Self::AUDIT_CHECKPOINT),
            Self::AuditOpen(event) => write!(f, "{}{event}", Self::AUDIT_OPEN),
        }
    }
}

/// No time before 1970 is written: the order of texts would not be that of time.
fn seconds(at: Timestamp) -> i64 {
    at.as_second().max(0)
}

fn timestamp(digits: &str) -> Option<Timestamp> {
    Timestamp::from_second(digits.parse().ok()?).ok()
}

fn root_key_id(text: &str) -> Option<String> {
    let fits = text.len() == ROOT_KEY_ID_CHARS
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::PATH_BYTES_MAX;

    /// How the paths of each kind begin.
    const HEADS: [&str; 20] = [
        StorePath::IDENTITY,
        StorePath::ROOT_KEY_SLOTS,
        StorePath::CMKS,
        StorePath::VERSIONS,
        AliasName::PREFIX,
        StorePath::ALIAS_ORDER,
        "key-aliases/",
        "access-key/",
        "service-account/",
        "tombstone/",
        "key-version/",
        StorePath::ACCESS_KEY_ORDER,
        StorePath::DELETIONS,
        StorePath::ROTATIONS,
        StorePath::ERASURES,
        StorePath::USED_NONCES,
        StorePath::AUDIT_KEY,
        StorePath::AUDIT_CHECKPOINT,
        StorePath::AUDIT_OPEN,
        StorePath::RECEIPT_KEYS,
    ];

    /// Where the head of a kind stands above.
    fn kind(path: &StorePath) -> usize {
        match path {
            StorePath::Identity => 0,
            StorePath::RootKeySlot(_) => 1,
            StorePath::Cmk(_) => 2,
            StorePath::Version(_) => 3,
            StorePath::Alias(_) => 4,
            StorePath::AliasOrder(_) => 5,
            StorePath::KeyAliases(_) => 6,
            StorePath::AccessKey(_) => 7,
            StorePath::ServiceAccount(_) => 8,
            StorePath::Tombstone(_) => 9,
            StorePath::KeyVersion(..) => 10,
            StorePath::AccessKeyOrder(..) => 11,
            StorePath::Due(Due::Deletion(_), _) => 12,
            StorePath::Due(Due::Rotation(_), _) => 13,
            StorePath::Erasure(_) => 14,
            StorePath::UsedNonce { .. } => 15,
            StorePath::AuditKey => 16,
            StorePath::AuditCheckpoint => 17,
            StorePath::AuditOpen(_) => 18,
            StorePath::ReceiptKeys => 19,
        }
    }

    macro_rules! any_id {
        ($id:ident) => {
            any::<[u8; 16]>().prop_map(|bytes| $id::from_bytes(&bytes).unwrap())
        };
    }

    fn any_access_key_id() -> impl Strategy<Value = AccessKeyId> {
        "KF[0-9A-Za-z]{22}".prop_map(|text| AccessKeyId::parse(&text).unwrap())
    }

    /// Any time that a path can tell: years 1970 to 9999, in whole seconds.
    fn any_time() -> impl Strategy<Value = Timestamp> {
        (0..=Timestamp::MAX.as_second()).prop_map(|second| Timestamp::from_second(second).unwrap())
    }

    fn any_path() -> impl Strategy<Value = StorePath> {
        prop_oneof![
            Just(StorePath::Identity),
            Just(StorePath::ReceiptKeys),
            "[0-9a-f]{32}".prop_map(StorePath::RootKeySlot),
            any_id!(KeyId).prop_map(StorePath::Cmk),
            any_id!(KeyVersionId).prop_map(StorePath::Version),
            "alias/[A-Za-z0-9/_-]{1,249}"
                .prop_map(|name| StorePath::Alias(AliasName::parse(&name).unwrap())),
            any_id!(AliasId).prop_map(StorePath::AliasOrder),
            any_id!(KeyId).prop_map(StorePath::KeyAliases),
            any_access_key_id().prop_map(StorePath::AccessKey),
            "[A-Za-z0-9][A-Za-z0-9._@-]{0,127}"
                .prop_map(|name| StorePath::ServiceAccount(ServiceAccount::parse(&name).unwrap())),
            any_id!(KeyId).prop_map(StorePath::Tombstone),
            (any_id!(KeyId), any_id!(KeyVersionId))
                .prop_map(|(key, version)| StorePath::KeyVersion(key, version)),
            (any_id!(AccessKeyOrder), any_access_key_id())
                .prop_map(|(order, id)| StorePath::AccessKeyOrder(order, id)),
            (any_time(), any_id!(KeyId)).prop_map(|(at, id)| StorePath::Due(Due::Deletion(at), id)),
            (any_time(), any_id!(KeyId)).prop_map(|(at, id)| StorePath::Due(Due::Rotation(at), id)),
            any_id!(KeyId).prop_map(StorePath::Erasure),
            Just(StorePath::AuditKey),
            Just(StorePath::AuditCheckpoint),
            any_id!(EventId).prop_map(StorePath::AuditOpen),
            (any_time(), any_access_key_id(), any::<[u8; 32]>()).prop_map(
                |(past_at, access_key_id, digest)| StorePath::UsedNonce {
                    past_at,
                    access_key_id,
                    digest
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_path_is_read_back_as_what_it_was_made_of(path in any_path()) {
            let text = path.to_string();
            prop_assert!(text.len() <= PATH_BYTES_MAX);
            prop_assert_eq!(StorePath::parse(&text), Some(path));
        }

        #[test]
        fn no_two_kinds_overlap(path in any_path()) {
            let text = path.to_string();
            for (at, head) in HEADS.iter().enumerate() {
                prop_assert_eq!(text.starts_with(head), at == kind(&path), "{} {}", text, head);
            }
        }

        #[test]
        fn a_path_has_one_text(path in any_path(), at in any::<prop::sample::Index>(), byte in 0_u8..128) {
            let mut text = path.to_string().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            if let Some(other) = StorePath::parse(&text) {
                prop_assert_eq!(other.to_string(), text);
            }
        }

        #[test]
        fn any_text_is_a_path_of_that_text_or_none(text in "[a-z]{0,8}(/\\PC{0,40}){0,4}") {
            if let Some(path) = StorePath::parse(&text) {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }

    #[test]
    fn no_head_begins_another() {
        for (at, head) in HEADS.iter().enumerate() {
            let others = HEADS.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(others.into_iter().all(|(_, other)| !other.starts_with(head)), "{head}");
        }
    }

    #[test]
    fn what_is_malformed_is_no_path() {
        let (id, key) = (KeyId::new(), "KF0123456789ABCDEFGHabcd");
        let digest = "0".repeat(64);
        for text in [
            String::new(),
            "/".into(),
            "store/".into(),
            "store/identity/".into(),
            "store/receipt-keys/".into(),
            "store/receipt-key".into(),
            "store/slot/".into(),
            format!("store/slot/{}", "A".repeat(32)),
            format!("cmks/{id}"),
            format!("/cmk/{id}"),
            format!("cmk/{id}/"),
            format!("cmk/{}", id.to_string().to_uppercase()),
            "alias/".into(),
            "alias/a b".into(),
            format!("key-version/{id}"),
            format!("access-key-order/{key}"),
            "service-account/a/b".into(),
            format!("due/deletion/1/{id}"),
            format!("due/deletion/+00000000001/{id}"),
            format!("due/deletion/-00000000001/{id}"),
            format!("due/deletion/999999999999/{id}"),
            format!("due/erasure/000000000001/{id}"),
            "due/deletion/000000000001/no-key".into(),
            format!("used-nonce/000000000001/{key}"),
            format!("used-nonce/000000000001/{key}/{}", &digest[1..]),
            format!("used-nonce/000000000001/{key}/{}", "A".repeat(64)),
        ] {
            assert_eq!(StorePath::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn order_of_paths_is_order_of_time() {
        let (id, access_key_id) =
            (KeyId::new(), AccessKeyId::parse("KF0123456789ABCDEFGHabcd").unwrap());
        let times = [-1, 9, 10, 1_700_000_000, 32_503_680_000]
            .map(|second| Timestamp::from_second(second).unwrap());
        let due = times.map(|at| StorePath::Due(Due::Deletion(at), id).to_string());
        assert!(due.is_sorted());
        let used = times.map(|past_at| {
            StorePath::UsedNonce { past_at, access_key_id, digest: [7; 32] }.to_string()
        });
        assert!(used.is_sorted());
    }
}
