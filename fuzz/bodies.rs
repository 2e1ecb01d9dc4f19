//! What each fuzz target does with its input: one per parser. Ordinary tests
//! replay the corpora through the same functions (`tests/fuzz_corpus.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use keyferry::crypto::ciphertext_blob::{
    BlobKeys, CiphertextBlob, MAX_CONTENT_BYTES, OVERHEAD_BYTES,
};
use keyferry::crypto::encryption_context::{EncryptionContext, MAX_CHARACTERS, MAX_PAIRS};
use keyferry::crypto::secret::{KeyMaterial, StoreKey};
use keyferry::crypto::wrapping::{WrappingKey, WrappingKeySpec, public_key as judge};
use keyferry::error::Rule;
use keyferry::ids::{KeyId, KeyVersionId, StoreId, StoreKeyId};
use keyferry::keys::alias_name::AliasName;
use keyferry::keys::clock::SystemClock;
use keyferry::keys::keyring::Keyring;
use keyferry::keys::records::{RecordKind, RecordSeals};
use keyferry::storage::{MemoryStore, Store, Write};

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 4] = [
    ("blob", blob),
    ("encryption_context", encryption_context),
    ("public_key", public_key),
    ("stored_record", stored_record),
];

/// The keys of `tests/vectors`, so that its blobs open.
static KEYS: LazyLock<BlobKeys> = LazyLock::new(|| {
    let material = (0..32).collect::<Vec<u8>>();
    let material = KeyMaterial::from_stored(material.into()).expect("32 bytes");
    let key_id = KeyId::parse("0198c0de-0000-7000-8000-000000000001").expect("an id");
    let version_id = KeyVersionId::parse("0198c0de-0000-7000-8000-000000000002").expect("an id");
    BlobKeys::derive(&material, key_id, version_id, "Aliyun_AES_256")
});

/// Bytes are a blob or not; a blob comes back as it was, and one that opens does
/// not open any more with a bit changed.
pub fn blob(data: &[u8]) {
    let Ok(blob) = CiphertextBlob::parse(data) else { return };
    assert_eq!(blob.as_bytes(), data);
    assert_eq!(blob.content_len() + OVERHEAD_BYTES, data.len());
    assert!((1..=MAX_CONTENT_BYTES).contains(&blob.content_len()));
    assert!(data.starts_with(blob.version_id().to_string().as_bytes()));
    let none = EncryptionContext::default();
    if KEYS.check(&blob, &none).is_ok() {
        let mut flipped = blob.into_bytes();
        let at = flipped.iter().map(|byte| usize::from(*byte)).sum::<usize>() % flipped.len();
        flipped[at] ^= 1;
        let opened = CiphertextBlob::parse(&flipped).and_then(|blob| KEYS.check(&blob, &none));
        assert!(opened.is_err());
    }
}

/// Two contexts have one digest if they are the same, and not otherwise; what
/// is within the limits is accepted, and nothing else.
///
/// Input: two contexts, parted by 0xff; their pairs by 0xfe; key and value by
/// 0xfd. None of these is in UTF-8.
pub fn encryption_context(data: &[u8]) {
    let mut contexts = data.splitn(2, |byte| *byte == 0xff).map(pairs);
    let (a, b) = (contexts.next().unwrap_or_default(), contexts.next().unwrap_or_default());
    if let [Some(a), Some(b)] = [&a, &b].map(accepted) {
        assert_eq!(a == b, a.sha256() == b.sha256());
    }
}

fn pairs(data: &[u8]) -> BTreeMap<String, String> {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let pair = |pair: &[u8]| {
        let mut halves = pair.splitn(2, |byte| *byte == 0xfd);
        (text(halves.next()), text(halves.next()))
    };
    data.split(|byte| *byte == 0xfe).filter(|bytes| !bytes.is_empty()).map(pair).collect()
}

fn accepted(pairs: &BTreeMap<String, String>) -> Option<EncryptionContext> {
    let characters: usize = pairs.iter().flat_map(|(k, v)| [k, v]).map(|s| s.chars().count()).sum();
    let fits = pairs.len() <= MAX_PAIRS && characters <= MAX_CHARACTERS;
    let context = EncryptionContext::new(pairs.clone()).ok();
    assert_eq!(context.is_some(), fits);
    assert!(context.iter().all(|context| context.pairs() == pairs));
    context
}

/// Input: the spec's number, then what a caller sends. What passes has one
/// encoding and one digest; what does not is told what would do.
pub fn public_key(data: &[u8]) {
    let Some((spec, sent)) = data.split_first() else { return };
    let spec = WrappingKeySpec::ALL[usize::from(*spec) % WrappingKeySpec::ALL.len()];
    match WrappingKey::parse(spec, sent) {
        Ok(key) => {
            assert!(key.to_der().len() <= judge::MAX_SENT_BYTES);
            assert!(sent == key.to_der() || sent.trim_ascii_start().starts_with(b"-----BEGIN"));
            assert_eq!(judge::guess_spec(sent), Some(spec));
            let again = WrappingKey::parse(spec, key.to_der()).expect("our own encoding");
            assert_eq!(again.sha256(), key.sha256());
        }
        Err(refusal) => assert!(refusal.to_string().ends_with(" would do")),
    }
}

/// Any bytes as a stored value are found out; any bytes as the plain part of a
/// value that is intact are a record or a failure, and nothing worse.
pub fn stored_record(data: &[u8]) {
    let seals = || {
        let key = StoreKey::from_stored(vec![7; 32].into()).expect("32 bytes");
        let store_key = StoreKeyId::parse("0198c0de-0000-7000-8000-000000000003").expect("an id");
        let store = StoreId::parse("0198c0de-0000-7000-8000-000000000004").expect("an id");
        RecordSeals::new(store, &[(store_key, key)])
    };
    let key_id = KeyId::parse("0198c0de-0000-7000-8000-000000000001").expect("an id");
    let version_id = KeyVersionId::parse("0198c0de-0000-7000-8000-000000000002").expect("an id");
    let alias = AliasName::parse("alias/a").expect("a name");
    let places = [
        (RecordKind::Cmk, format!("cmk/{key_id}")),
        (RecordKind::KeyVersion, format!("version/{version_id}")),
        (RecordKind::Alias, alias.as_str().to_owned()),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let find = |values: Vec<Vec<u8>>| {
        let store = Arc::new(MemoryStore::new());
        let keyring = Keyring::new(store.clone(), seals(), Arc::new(SystemClock));
        runtime.block_on(async {
            let paths = places.iter().map(|(_, path)| path.clone());
            let writes: Vec<_> =
                paths.zip(values).map(|(path, value)| Write::Put(path, value)).collect();
            store.commit(&[], &writes).await.expect("within the limits");
            let cmk = keyring.find(key_id).await.map(|_| ());
            let version = keyring.find_by_version(version_id).await.map(|_| ());
            let named = keyring.find_alias(&alias).await.map(|_| ());
            [cmk, version, named]
        })
    };
    let data = &data[..data.len().min(32 << 10)];
    for outcome in find(vec![data.to_vec(); places.len()]) {
        assert_eq!(outcome.expect_err("nobody has the store key").rule(), Rule::Internal);
    }
    let intact = places.iter().map(|(kind, path)| {
        let secret = [9; 32];
        seals().seal_encoded(*kind, path, data.to_vec(), &secret).expect("sealed")
    });
    for outcome in find(intact.collect()) {
        assert!(outcome.is_ok() || outcome.is_err_and(|error| error.rule() == Rule::Internal));
    }
}
