//! Our own formats, for ever: reads `tests/vectors`.
//!
//! Each file is one case, named for what is in it or what is wrong with it:
//! `blob_ok_…` and `sealed_record_ok_…` open, `receipt_ok_…` verify, all others do not.
//! Lines are
//! `name: value`, bytes in hexadecimal; lines that begin with `#` say how the
//! case came about. A released format is read for ever: files are added, never
//! changed.
//!
//! The first were made by a second implementation of the formats, in Python
//! over OpenSSL's AES, HMAC and HKDF, which shares no code with this one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::ciphertext_blob::{BlobKeys, BlobKind, CiphertextBlob};
use super::encryption_context::EncryptionContext;
use super::receipt::{Claims, Delivery, ReceiptKeySet, UnverifiedReceipt};
use super::sealing::SealingKey;
use super::secret::{KeyMaterial, Reveal};
use super::unhex;
use super::wrapping::WrappingAlgorithm;
use crate::ids::{KeyId, KeyVersionId};

/// Every file that there must be: a lost one is a failure too.
const CASES: &str = include_str!("../../tests/vectors/INDEX");

struct Vector {
    name: String,
    lines: BTreeMap<String, Vec<String>>,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a vector");
        let mut lines = BTreeMap::<String, Vec<String>>::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) = line.split_once(':').expect("name: value");
            lines.entry(name.to_owned()).or_default().push(value.trim().to_owned());
        }
        let name = path.file_stem().expect("a name").to_str().expect("ASCII").to_owned();
        Self { name, lines }
    }

    fn text(&self, name: &str) -> &str {
        let values = self.lines.get(name).unwrap_or_else(|| panic!("{}: {name}?", self.name));
        assert_eq!(values.len(), 1, "{}: {name}", self.name);
        &values[0]
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.text(name))
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap_or_else(|_| panic!("{}: {name}", self.name))
    }

    fn is_ok(&self) -> bool {
        self.name.contains("_ok_")
    }

    /// `pair: <hex of key> <hex of value>`, any number of them.
    fn context(&self) -> EncryptionContext {
        let pairs = self.lines.get("pair").into_iter().flatten().map(|pair| {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let text = |hex| String::from_utf8(unhex(hex)).expect("UTF-8");
            (text(key), text(value))
        });
        EncryptionContext::new(pairs.collect()).expect("within the limits")
    }

    fn blob_keys(&self) -> BlobKeys {
        let material = Zeroizing::new(self.bytes("key_material"));
        let material = KeyMaterial::from_stored(material).expect("32 bytes");
        let key_id = KeyId::parse(self.text("key_id")).expect("an id");
        let version_id = KeyVersionId::parse(self.text("version_id")).expect("an id");
        BlobKeys::derive(&material, key_id, version_id, self.text("key_spec"))
    }

    fn open_blob(&self) -> Option<(BlobKind, Vec<u8>)> {
        let blob = CiphertextBlob::parse(&self.bytes("blob")).ok()?;
        let opened = self.blob_keys().open(&blob, &self.context()).ok()?;
        Some((blob.kind(), opened.reveal(Reveal::ToCaller).to_vec()))
    }

    /// What the receipt says, where it is of all that is beside it.
    fn verify_receipt(&self) -> Option<Claims> {
        let keys = ReceiptKeySet::parse(self.text("jwks").as_bytes()).expect("keys");
        let claims = UnverifiedReceipt::parse(self.text("receipt")).ok()?.verify(&keys).ok()?;
        let algorithm = self.text("algorithm");
        let delivery = Delivery {
            exported: &self.bytes("exported"),
            recipient_sha256: &Sha256::digest(self.bytes("recipient")).into(),
            algorithm: WrappingAlgorithm::ALL.into_iter().find(|one| one.as_str() == algorithm),
        };
        claims.check(&delivery).ok()?;
        claims.is_of_context(&self.context()).then_some(claims)
    }

    fn open_sealed_record(&self) -> Option<Vec<u8>> {
        let key =
            SealingKey::derive(&self.array("secret"), self.text("label"), &self.bytes("info"));
        let opened = key.open(&self.bytes("aad"), &self.bytes("nonce"), &self.bytes("sealed"));
        opened.ok().map(|opened| opened.to_vec())
    }
}

fn vectors(prefix: &str) -> Vec<Vector> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let named: BTreeSet<&str> = CASES.lines().filter(|name| name.starts_with(prefix)).collect();
    assert!(!named.is_empty());
    let there = std::fs::read_dir(&directory).expect("tests/vectors");
    let there: BTreeSet<String> = there
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .filter(|name| name.starts_with(prefix))
        .collect();
    assert!(there.iter().map(String::as_str).eq(named.iter().copied()), "{there:?} {named:?}");
    named.into_iter().map(|name| Vector::read(&directory.join(name))).collect()
}

#[test]
fn blobs_open_for_ever() {
    for vector in vectors("blob_") {
        let opened = vector.open_blob();
        if vector.is_ok() {
            let (kind, contents) = opened.unwrap_or_else(|| panic!("{}", vector.name));
            assert_eq!((kind as u8).to_string(), vector.text("kind"), "{}", vector.name);
            assert_eq!(contents, vector.bytes("contents"), "{}", vector.name);
        } else {
            assert_eq!(opened, None, "{}", vector.name);
        }
    }
}

#[test]
fn receipts_verify_for_ever() {
    for vector in vectors("receipt_") {
        assert_eq!(vector.verify_receipt().is_some(), vector.is_ok(), "{}", vector.name);
    }
}

#[test]
fn sealed_records_open_for_ever() {
    for vector in vectors("sealed_record_") {
        let opened = vector.open_sealed_record();
        let expected = vector.is_ok().then(|| vector.bytes("contents"));
        assert_eq!(opened, expected, "{}", vector.name);
    }
}
