//! The bodies of the fuzz targets: one per parser. Ordinary tests
//! replay the corpora through the same functions (`tests/it/fuzz_corpus.rs`).

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use der::asn1::{Any, OctetString, Uint};
use der::{Decode, Encode};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keyferry::access::principal::PrincipalKind;
use keyferry::audit::note::{Checkpoint, CheckpointKey};
use keyferry::audit::reading::{Lines, LogFile};
use keyferry::audit::verification::{Trusted, Verdict, Verification};
use keyferry::crypto::ciphertext_blob::{BlobKeys, CiphertextBlob, OVERHEAD_BYTES};
use keyferry::crypto::encryption_context::EncryptionContext;
use keyferry::crypto::key_pair::{KeyPairSpec, SigningAlgorithm, VerifyingKey};
use keyferry::crypto::pem as armour;
use keyferry::crypto::receipt::{ReceiptKeySet, UnverifiedReceipt};
use keyferry::crypto::secret::{KeyMaterial, StoreKey};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::{WrappingKey, WrappingKeySpec, public_key as judge};
use keyferry::error::Rule;
use keyferry::gateway::parameters::Parameters;
use keyferry::gateway::signature::{Claim, Signed, v1, v3};
use keyferry::ids::{AccessKeyId, KeyId, KeyVersionId, StoreId, StoreKeyId};
use keyferry::keys::Keys;
use keyferry::keys::clock::SystemClock;
use keyferry::keys::guard::records::{RecordKind, RecordSeals};
use keyferry::keys::model::alias_name::AliasName;
use keyferry::limits::{
    CONTEXT_CHARS, CONTEXT_PAIRS, PARAMETER_NAME_BYTES, PARAMETERS, PLAINTEXT_BYTES,
    PUBLIC_KEY_BYTES, RECEIPT_BYTES, REQUEST_BYTES,
};
use keyferry::server::authority::WellFormed;
use keyferry::server::forwarded_cert;
use keyferry::storage::{MemoryStore, Store, Write};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// A target's name and body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 15] = [
    ("audit_log", audit_log),
    ("audit_note", audit_note),
    ("authority", authority),
    ("blob", blob),
    ("encryption_context", encryption_context),
    ("forwarded_cert", forwarded_cert),
    ("parameters", parameters),
    ("pem", pem),
    ("public_key", public_key),
    ("receipt", receipt),
    ("signature_v1", signature_v1),
    ("signature_v3", signature_v3),
    ("sm2_ciphertext", sm2_ciphertext),
    ("sm2_signature", sm2_signature),
    ("stored_record", stored_record),
];

/// The key that the corpora's logs and checkpoints are signed with.
static CHECKPOINT_KEY: LazyLock<CheckpointKey> = LazyLock::new(|| {
    let store = StoreId::parse("0198c0de-0000-7000-8000-000000000004").expect("an id");
    CheckpointKey::from_seed(store, &[7; 32]).expect("a seed")
});

/// A log is verified to its end, whatever it holds; one that is intact and signed to its
/// last line is so no more with a bit changed.
pub fn audit_log(data: &[u8]) {
    let verdict = verified(data);
    let pieces = data.split(|byte| *byte == b'\n').count() as u64;
    assert_eq!(verdict.lines + 1, pieces);
    assert_eq!(verdict.torn.is_empty(), data.last().is_none_or(|last| *last == b'\n'));
    if verdict.is_intact() && verdict.torn.is_empty() && verdict.unsigned_lines == 0 {
        let changed = verified(&flipped(data));
        assert!(!changed.is_intact() || !changed.torn.is_empty());
    }
}

fn verified(data: &[u8]) -> Verdict {
    let trusted = Trusted { key: CHECKPOINT_KEY.verifier(), kept: None };
    let mut verification = Verification::new(trusted, 20);
    verification.begin_file(&LogFile::at(std::path::Path::new("log")));
    verification.read_lines(Lines::new(data), |_| {}).expect("bytes in memory");
    verification.end()
}

/// A note is signed or not; one that is signed by one key alone is so no more with a bit
/// changed, and a checkpoint has one text.
pub fn audit_note(data: &[u8]) {
    let Ok(note) = std::str::from_utf8(data) else { return };
    let verifier = CHECKPOINT_KEY.verifier();
    if let Some(text) = verifier.open_sole(note) {
        assert_eq!(verifier.open(note), Some(text));
        assert_eq!(CHECKPOINT_KEY.sign(text), note);
        let changed = String::from_utf8(flipped(data));
        assert!(changed.is_err() || changed.is_ok_and(|it| verifier.open_sole(&it).is_none()));
    }
    let text = note.split_inclusive("\n\n").next().unwrap_or_default();
    for text in [note, text.strip_suffix('\n').unwrap_or_default()] {
        if let Some(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(checkpoint.text(), text);
        }
    }
}

/// Bytes from a Unix socket come out in their order, as many as are whole frames; a
/// second reading changes nothing more, and neither does the size of the pieces.
pub fn authority(data: &[u8]) {
    let once = read_well_formed(data, data.len());
    assert!(once.len() <= data.len());
    assert_eq!(read_well_formed(&once, once.len()), once);
    assert_eq!(read_well_formed(data, 1 + data.len() % 7), once);
}

/// The bytes that the filter hands on, where the socket gives them in pieces.
fn read_well_formed(data: &[u8], piece: usize) -> Vec<u8> {
    let mut reader = WellFormed::new(Pieces { data, piece });
    let mut read = Vec::new();
    let reading = std::pin::pin!(reader.read_to_end(&mut read));
    let polled = reading.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(_))), "a reader in memory never waits");
    read
}

/// A socket that gives so many bytes at a time.
struct Pieces<'a> {
    data: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = self.data.len().min(self.piece.max(1)).min(buf.remaining());
        let (piece, rest) = self.data.split_at(size);
        buf.put_slice(piece);
        self.data = rest;
        Poll::Ready(Ok(()))
    }
}

/// Text in the strict form is in it already, and a block is what its strict form is.
pub fn pem(data: &[u8]) {
    let tidy = armour::tidy(data);
    assert_eq!(*armour::tidy(&tidy), *tidy);
    let Ok(block) = armour::one_block(data) else { return };
    assert!(armour::has_armour(data));
    let Ok(content) = block.decode() else { return };
    let again = armour::one_block(&tidy).expect("the strict form of a block");
    assert_eq!(again.label, block.label);
    assert_eq!(*again.decode().expect("its content"), *content);
}

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
    assert!(PLAINTEXT_BYTES.allows(blob.content_len()));
    assert!(data.starts_with(blob.version_id().to_string().as_bytes()));
    let none = EncryptionContext::default();
    if KEYS.check(&blob, &none).is_ok() {
        let opened =
            CiphertextBlob::parse(&flipped(data)).and_then(|blob| KEYS.check(&blob, &none));
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
    let fits = CONTEXT_PAIRS.allows(pairs.len()) && CONTEXT_CHARS.allows(characters);
    let context = EncryptionContext::new(pairs.clone()).ok();
    assert_eq!(context.is_some(), fits);
    assert!(context.iter().all(|context| context.pairs() == pairs));
    context
}

/// A header names a SPIFFE ID that stands in it, or nobody; and the same one after any
/// other element, while a second element makes it the last one's.
pub fn forwarded_cert(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    let Ok(client) = forwarded_cert::client(header) else { return };
    assert_eq!(client.kind(), PrincipalKind::Spiffe);
    assert!(header.contains(client.as_str()));
    let after = format!("URI=spiffe://other/one,{header}");
    assert_eq!(forwarded_cert::client(&after).as_ref(), Ok(&client));
    let before = forwarded_cert::client(&format!("{header},URI=spiffe://other/one"));
    assert_eq!(before.expect("two elements").as_str(), "spiffe://other/one");
    for mark in [",", ";", "\"", ";URI=spiffe://other/one"] {
        assert!(forwarded_cert::client(&format!("{header}{mark}")).is_err());
    }
}

/// Query and form are refused or are a list, each name once and in order; written
/// out again, as either, it is the same list.
///
/// Input: a query and a form, parted by 0xff.
pub fn parameters(data: &[u8]) {
    let Some((query, form)) = query_and_rest(data) else { return };
    let Ok(read) = Parameters::read(Some(query), Some(form)) else { return };
    let pairs = listed(&read);
    assert!(PARAMETERS.allows(pairs.len()) && pairs.is_sorted_by(|(a, _), (b, _)| a < b));
    assert!(pairs.iter().all(|(name, value)| {
        PARAMETER_NAME_BYTES.allows(name.len()) && read.get(name) == Some(value)
    }));
    let written = written(&pairs);
    if written.len() <= REQUEST_BYTES.max {
        let as_query = Parameters::read(Some(&written), None).expect("our own encoding");
        let as_form = Parameters::read(None, Some(written.as_bytes())).expect("our own encoding");
        assert_eq!([listed(&as_query), listed(&as_form)], [pairs.clone(), pairs]);
    }
}

fn query_and_rest(data: &[u8]) -> Option<(&str, &[u8])> {
    let mut parts = data.splitn(2, |byte| *byte == 0xff);
    let query = std::str::from_utf8(parts.next()?).ok()?;
    Some((query, parts.next().unwrap_or_default()))
}

fn listed(parameters: &Parameters) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Every byte escaped: nothing is left to one's reading of RFC 3986.
fn written(pairs: &[(String, String)]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("four bits");
    let escape = |byte: u8| ['%', digit(byte >> 4), digit(byte & 15)];
    let escaped = |text: &str| text.bytes().flat_map(escape).collect::<String>();
    let pair = |(name, value): &(String, String)| format!("{}={}", escaped(name), escaped(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A string to sign holds the parameters, all but the signature, and can be read
/// in one way: no two lists have the same. Nothing verifies that nobody signed.
///
/// Input: a query and a form, parted by 0xff.
pub fn signature_v1(data: &[u8]) {
    let Some((query, body)) = query_and_rest(data) else { return };
    let Ok(parameters) = Parameters::read(Some(query), Some(body)) else { return };
    let signed = Signed {
        method: &Method::POST,
        path: "/",
        query: Some(query),
        headers: &HeaderMap::new(),
        body,
        parameters: &parameters,
    };
    let string = v1::string_to_sign(&signed);
    let encoded = string.strip_prefix("POST&%2F&").expect("method and path");
    assert!(!encoded.contains(['&', '=', '+', ' ']));
    if let Ok(once) = Parameters::read(Some(&format!("x={encoded}")), None)
        && let Ok(again) = Parameters::read(once.get("x"), None)
    {
        let mut signed = listed(&parameters);
        signed.retain(|(name, _)| name != "Signature");
        assert_eq!(listed(&again), signed);
    } else {
        assert!(encoded.len() + 2 > REQUEST_BYTES.max);
    }
    nothing_verifies(&signed);
}

fn nothing_verifies(signed: &Signed<'_>) {
    if let Ok(claim) = Claim::read(signed) {
        let refused = claim.verify(signed, b"nobody knows it").expect_err("nobody signed");
        assert_eq!(refused.rule(), Rule::SignatureMismatch);
    }
}

/// A canonical request has a line for each thing that was signed, and these can
/// be read in one way. Nothing verifies that nobody signed.
///
/// Input: a query, lines of headers, and a body, parted by 0xff; `SignedHeaders`
/// is the first header line.
pub fn signature_v3(data: &[u8]) {
    let Some((query, rest)) = query_and_rest(data) else { return };
    let mut parts = rest.splitn(2, |byte| *byte == 0xff);
    let mut lines = parts.next().unwrap_or_default().split(|byte| *byte == b'\n');
    let names = std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let headers: HeaderMap = lines.filter_map(header).collect();
    let Ok(parameters) = Parameters::read(Some(query), None) else { return };
    let signed = Signed {
        method: &Method::POST,
        path: "/",
        query: Some(query),
        headers: &headers,
        body: parts.next().unwrap_or_default(),
        parameters: &parameters,
    };
    if let Ok(canonical) = v3::canonical_request(&signed, names) {
        let lines: Vec<_> = canonical.split(|byte| *byte == b'\n').collect();
        let [b"POST", b"/", query, headers @ .., b"", listed_names, digest] = lines.as_slice()
        else {
            panic!("{lines:?}")
        };
        assert_eq!((*listed_names, digest.len()), (names.as_bytes(), 64));
        let starts = names.split(';').map(|name| format!("{name}:"));
        assert!(starts.zip(headers).all(|(name, line)| line.starts_with(name.as_bytes())));
        assert_eq!(headers.len(), names.split(';').count());
        let query = std::str::from_utf8(query).expect("ASCII");
        match Parameters::read(Some(query), None) {
            Ok(again) => assert_eq!(listed(&again), listed(&parameters)),
            Err(_) => assert!(query.len() > REQUEST_BYTES.max),
        }
    }
    nothing_verifies(&signed);
}

fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let at = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..at]).ok()?;
    Some((name, HeaderValue::from_bytes(&line[at + 1..]).ok()?))
}

/// Input: the spec's number, then the bytes that a caller sends. A key that passes
/// has one encoding and one digest; a refusal says what would do.
pub fn public_key(data: &[u8]) {
    let Some((spec, sent)) = data.split_first() else { return };
    let spec = WrappingKeySpec::ALL[usize::from(*spec) % WrappingKeySpec::ALL.len()];
    match WrappingKey::parse(spec, sent) {
        Ok(key) => {
            assert!(PUBLIC_KEY_BYTES.allows(key.to_der().len()));
            assert!(sent == key.to_der() || sent.trim_ascii_start().starts_with(b"-----BEGIN"));
            assert_eq!(judge::guess_spec(sent), Some(spec));
            let again = WrappingKey::parse(spec, key.to_der()).expect("our own encoding");
            assert_eq!(again.sha256(), key.sha256());
        }
        Err(refusal) => assert!(refusal.to_string().ends_with(" would do")),
    }
}

/// Text is a receipt or not; one that is has three parts. By the key that it names it
/// verifies in either way or in neither, and not any more with a bit changed.
pub fn receipt(data: &[u8]) {
    /// The key of `tests/vectors/receipt_ok_sm2.txt`.
    static KEYS: LazyLock<ReceiptKeySet> = LazyLock::new(|| {
        let jwks = r#"{"keys": [{"kty": "EC", "crv": "P-256", "x": "elkxgIYMQDfIPBJ0mEXI7hQk3Sl_rcuJXjWCVdLH0rI", "y": "qMolWA8mJv5XkGL_G5n_kcJKDaBvsytb4gFIySSfVlA", "kid": "b4Kc2UsqKPV9A-nYQqJsleJHKGt76kfXYuxImMb4dkQ"}]}"#;
        ReceiptKeySet::parse(jwks.as_bytes()).expect("a set of keys")
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(read) = UnverifiedReceipt::parse(text) else { return };
    let bare = text.strip_suffix('\n').unwrap_or(text);
    assert!(RECEIPT_BYTES.allows(bare.len()) && bare.split('.').count() == 3);
    let ours = KEYS.keys()[0].key.thumbprint();
    let by_keys = read.clone().verify(&KEYS).ok();
    assert_eq!(by_keys, read.clone().verify_by_thumbprint(ours).ok());
    assert!(by_keys.is_none() || read.kid() == ours);
    if by_keys.is_some() {
        let altered = flipped(bare.as_bytes());
        let altered = std::str::from_utf8(&altered).ok();
        let altered = altered.and_then(|altered| UnverifiedReceipt::parse(altered).ok());
        assert!(altered.is_none_or(|altered| altered.verify(&KEYS).is_err()));
    }
}

/// A key pair that the corpora are of.
static SM2_KEY: LazyLock<RecipientPrivateKey> = LazyLock::new(|| {
    let pem = include_bytes!("../tests/peers/interop/sm2_test_key.pem");
    RecipientPrivateKey::parse_pem(pem).expect("a key")
});

/// Bytes decrypt or not; what does is in one of two encodings, raw or strict
/// DER, and does not decrypt any more with a bit changed.
pub fn sm2_ciphertext(data: &[u8]) {
    let Ok(opened) = SM2_KEY.unwrap(None, data) else { return };
    assert!(!opened.is_empty() && data.len() <= 6200);
    if data[0] == 0x30 {
        let parts = Vec::<Any>::from_der(data).expect("strict DER");
        assert_eq!(parts.len(), 4);
        for coordinate in &parts[..2] {
            coordinate.decode_as::<Uint>().expect("a minimal number");
        }
        let [c3, c2] = [&parts[2], &parts[3]]
            .map(|part| part.decode_as::<OctetString>().expect("octets").as_bytes().len());
        assert_eq!((c3, c2), (32, opened.len()));
        assert_eq!(parts.to_der().expect("encodes"), data);
    } else {
        // C1 uncompressed and C3.
        assert!(data[0] == 0x04 && data.len() == opened.len() + 65 + 32);
    }
    assert!(SM2_KEY.unwrap(None, &flipped(data)).is_err());
}

/// Bytes are a signature of one digest or not; one that is has strict DER, and
/// is none any more with a bit changed.
pub fn sm2_signature(data: &[u8]) {
    static KEY: LazyLock<VerifyingKey> = LazyLock::new(|| {
        VerifyingKey::from_spki(KeyPairSpec::EcSm2, SM2_KEY.public_key_der()).expect("a key")
    });
    let verify = |signature: &[u8]| {
        KEY.verify(SigningAlgorithm::Sm2Dsa, &[7; 32], signature).expect("its algorithm")
    };
    if verify(data) {
        let numbers = Vec::<Uint>::from_der(data).expect("minimal numbers in strict DER");
        assert_eq!(numbers.len(), 2);
        assert_eq!(numbers.to_der().expect("encodes"), data);
        assert!(!verify(&flipped(data)));
    }
}

/// With one bit changed, of a byte that depends on the bytes.
fn flipped(data: &[u8]) -> Vec<u8> {
    let mut flipped = data.to_vec();
    let at = flipped.iter().map(|byte| usize::from(*byte)).sum::<usize>() % flipped.len();
    flipped[at] ^= 1;
    flipped
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
    let access_key_id = AccessKeyId::parse("KF0123456789ABCDEFGHabcd").expect("an id");
    let places = [
        (RecordKind::Cmk, format!("cmk/{key_id}")),
        (RecordKind::KeyVersion, format!("version/{version_id}")),
        (RecordKind::Alias, alias.as_str().to_owned()),
        (RecordKind::AccessKey, format!("access-key/{access_key_id}")),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let find = |values: Vec<Vec<u8>>| {
        let store = Arc::new(MemoryStore::new());
        let Keys { keyring, access_keys, .. } =
            Keys::new(store.clone(), seals(), Arc::new(SystemClock));
        runtime.block_on(async {
            let paths = places.iter().map(|(_, path)| path.clone());
            let writes: Vec<_> =
                paths.zip(values).map(|(path, value)| Write::Put(path, value)).collect();
            store.commit(&[], &writes).await.expect("within the limits");
            let cmk = keyring.find(key_id).await.map(|_| ());
            let version = keyring.find_by_version(version_id).await.map(|_| ());
            let named = keyring.find_alias(&alias).await.map(|_| ());
            let access_key = access_keys.find(&access_key_id).await.map(|_| ());
            [cmk, version, named, access_key]
        })
    };
    let data = &data[..data.len().min(32 << 10)];
    for outcome in find(vec![data.to_vec(); places.len()]) {
        assert_eq!(outcome.expect_err("nobody has the store key").rule(), Rule::Internal);
    }
    let intact = places.iter().map(|(kind, path)| {
        let secret = if *kind == RecordKind::AccessKey { vec![b'a'; 44] } else { vec![9; 32] };
        seals().seal_encoded(*kind, path, data.to_vec(), &secret).expect("sealed")
    });
    for outcome in find(intact.collect()) {
        assert!(outcome.is_ok() || outcome.is_err_and(|error| error.rule() == Rule::Internal));
    }
}
