//! The ciphertext blob: a data key or data sealed under a key version.
//!
//! ```text
//!  0  36  the key version's id, lower-case UUID text
//! 36   1  format: 0x01 = XAES-256-GCM (C2SP); 0x02 is kept for SM4
//! 37   1  kind (`BlobKind`)
//! 38  24  nonce, random
//! 62  32  commitment: HMAC-SHA-256(commitment key, nonce ‖ SHA-256(AAD))
//! 94   n  ciphertext of 1 to 6144 bytes
//!      16  tag
//! ```
//!
//! AAD: `keyferry/blob` ‖ format ‖ kind ‖ key id ‖ version id (both as 36 bytes
//! of text) ‖ the encryption context's encoding.
//!
//! Without the commitment, an attacker who knows two keys could make one blob
//! that opens under both, to different contents: GCM alone does not bind its key.
//!
//! Key version, kind and length show without any key. A released format is
//! read for ever; its vectors are in `tests/vectors`.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use xaes_256_gcm::Xaes256Gcm;
use zeroize::Zeroizing;

use super::encryption_context::{EncryptionContext, encode_prefixed};
use super::random;
use super::sealing::{NONCE_LEN_BYTES, TAG_LEN_BYTES, decrypt, derive_key, encrypt_in_place};
pub use super::sealing::{OpenFailed, SealFailed};
use super::secret::{DataKey, KeyMaterial, Reveal};
use crate::ids::{KeyId, KeyVersionId, TEXT_LEN_BYTES};
use crate::limits::PLAINTEXT_BYTES;

/// Format byte of XAES-256-GCM.
const FORMAT_XAES_256_GCM: u8 = 0x01;

const COMMITMENT_LEN_BYTES: usize = 32;
const HEAD_LEN_BYTES: usize = TEXT_LEN_BYTES + 2;
/// Bytes that a blob adds to its contents.
pub const OVERHEAD_BYTES: usize =
    HEAD_LEN_BYTES + NONCE_LEN_BYTES + COMMITMENT_LEN_BYTES + TAG_LEN_BYTES;

/// The kind of a blob's contents. It is authenticated, so that policy and audit can tell a
/// key that was born unseen from bytes that a caller chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlobKind {
    /// A data key that was never shown in the clear.
    DataKeyUnseen = 1,
    /// A data key that was also shown (`GenerateDataKey`).
    DataKeyShown = 2,
    /// Bytes of the caller (`Encrypt`).
    CallerBytes = 3,
    /// Imported across the border.
    Imported = 4,
}

impl BlobKind {
    /// Every kind.
    pub const ALL: [Self; 4] =
        [Self::DataKeyUnseen, Self::DataKeyShown, Self::CallerBytes, Self::Imported];

    /// Its name, as policies have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DataKeyUnseen => "DataKeyUnseen",
            Self::DataKeyShown => "DataKeyShown",
            Self::CallerBytes => "CallerBytes",
            Self::Imported => "Imported",
        }
    }

    /// Its byte in the blob.
    const fn byte(self) -> u8 {
        self as u8
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Bytes that have the shape of a blob, and its head, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiphertextBlob {
    version_id: KeyVersionId,
    kind: BlobKind,
    bytes: Vec<u8>,
}

impl CiphertextBlob {
    /// Reads the head. Nothing is believed of it before the blob opens.
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenFailed> {
        let content_len = bytes.len().checked_sub(OVERHEAD_BYTES).ok_or(OpenFailed)?;
        let (id, rest) = bytes.split_first_chunk::<TEXT_LEN_BYTES>().ok_or(OpenFailed)?;
        let id = str::from_utf8(id).map_err(|_| OpenFailed)?;
        let version_id = KeyVersionId::parse(id).map_err(|_| OpenFailed)?;
        let (&[format, kind], _) = rest.split_first_chunk().ok_or(OpenFailed)?;
        let kind = BlobKind::from_byte(kind).ok_or(OpenFailed)?;
        if format != FORMAT_XAES_256_GCM || !is_content_len(content_len) {
            return Err(OpenFailed);
        }
        Ok(Self { version_id, kind, bytes: bytes.to_vec() })
    }

    /// The key version that sealed it, by its own account.
    #[must_use]
    pub fn version_id(&self) -> KeyVersionId {
        self.version_id
    }

    /// The kind of its contents, by its own account.
    #[must_use]
    pub fn kind(&self) -> BlobKind {
        self.kind
    }

    /// Length of its contents: known without any key.
    #[must_use]
    pub fn content_len(&self) -> usize {
        self.bytes.len().saturating_sub(OVERHEAD_BYTES)
    }

    /// The blob itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blob itself.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The parts behind the head.
    fn body(&self) -> Option<Body<'_>> {
        let body = self.bytes.get(HEAD_LEN_BYTES..)?;
        let (nonce, rest) = body.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Body { nonce, commitment, ciphertext, tag })
    }
}

/// The parts of a blob that opening needs.
struct Body<'a> {
    nonce: &'a [u8; NONCE_LEN_BYTES],
    commitment: &'a [u8; COMMITMENT_LEN_BYTES],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN_BYTES],
}

fn is_content_len(len: usize) -> bool {
    // The longest content is that of Encrypt.
    PLAINTEXT_BYTES.allows(len)
}

/// The keys of one version: a blob key and a commitment key, with their
/// schedules. Derived once, when the version is loaded.
pub struct BlobKeys {
    key_id: KeyId,
    version_id: KeyVersionId,
    cipher: Box<Xaes256Gcm>,
    committer: Box<Hmac<Sha256>>,
}

impl fmt::Debug for BlobKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobKeys")
    }
}

impl BlobKeys {
    /// About how much memory they take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.cipher) + size_of_val(&*self.committer)
    }

    /// HKDF-SHA-256 of the key material. The info is a label ‖ format ‖ key id
    /// ‖ version id (36 bytes of text each) ‖ u32 length ‖ spec: material that
    /// were moved to another version or spec would give other keys.
    #[must_use]
    pub fn derive(
        material: &KeyMaterial,
        key_id: KeyId,
        version_id: KeyVersionId,
        spec: &str,
    ) -> Self {
        let derive = |label: &str| {
            let mut info = label.as_bytes().to_vec();
            info.push(FORMAT_XAES_256_GCM);
            info.extend_from_slice(key_id.to_string().as_bytes());
            info.extend_from_slice(version_id.to_string().as_bytes());
            encode_prefixed(&mut info, spec.as_bytes());
            derive_key(material.reveal(Reveal::ToDeriveKeys), &info)
        };
        let cipher = Xaes256Gcm::new((&*derive("keyferry/blob-key")).into());
        let committer = Hmac::new((&*committer_block(&derive("keyferry/commitment-key"))).into());
        Self { key_id, version_id, cipher: Box::new(cipher), committer: Box::new(committer) }
    }

    /// The CMK of these keys.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The version of these keys.
    #[must_use]
    pub fn version_id(&self) -> KeyVersionId {
        self.version_id
    }

    /// Seals `contents` of 1 to 6144 bytes.
    pub fn seal(
        &self,
        kind: BlobKind,
        contents: &[u8],
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob, SealFailed> {
        self.seal_with(random::array()?, kind, contents, context)
    }

    /// Opens a blob of this version with the context it was sealed with.
    pub(crate) fn open(
        &self,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
    ) -> Result<DataKey, OpenFailed> {
        let Body { nonce, commitment, ciphertext, tag } = blob.body().ok_or(OpenFailed)?;
        let aad = self.aad(blob.kind, context);
        let same_version = blob.version_id == self.version_id;
        let committed = self.commitment(nonce, &aad).ct_eq(commitment);
        if !same_version || !bool::from(committed) {
            return Err(OpenFailed);
        }
        let mut contents = decrypt(&self.cipher, nonce, &aad, ciphertext, tag)?;
        Ok(DataKey::from_opened(std::mem::take(&mut contents)))
    }

    /// Whether a blob opens; its contents are wiped unseen.
    pub fn check(
        &self,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
    ) -> Result<(), OpenFailed> {
        self.open(blob, context).map(drop)
    }

    fn seal_with(
        &self,
        nonce: [u8; NONCE_LEN_BYTES],
        kind: BlobKind,
        contents: &[u8],
        context: &EncryptionContext,
    ) -> Result<CiphertextBlob, SealFailed> {
        if !is_content_len(contents.len()) {
            return Err(SealFailed::Length);
        }
        let aad = self.aad(kind, context);
        let mut bytes = Vec::with_capacity(OVERHEAD_BYTES + contents.len());
        bytes.extend_from_slice(self.version_id.to_string().as_bytes());
        bytes.extend_from_slice(&[FORMAT_XAES_256_GCM, kind.byte()]);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&self.commitment(&nonce, &aad));
        let clear = bytes.len();
        bytes.extend_from_slice(contents);
        let contents = bytes.get_mut(clear..).unwrap_or_default();
        let tag = encrypt_in_place(&self.cipher, &nonce, &aad, contents)?;
        bytes.extend_from_slice(&tag);
        Ok(CiphertextBlob { version_id: self.version_id, kind, bytes })
    }

    fn aad(&self, kind: BlobKind, context: &EncryptionContext) -> Vec<u8> {
        const LABEL: &[u8] = b"keyferry/blob";
        let mut aad =
            Vec::with_capacity(LABEL.len() + 2 + 2 * TEXT_LEN_BYTES + context.encoded_len());
        aad.extend_from_slice(LABEL);
        aad.extend_from_slice(&[FORMAT_XAES_256_GCM, kind.byte()]);
        aad.extend_from_slice(self.key_id.to_string().as_bytes());
        aad.extend_from_slice(self.version_id.to_string().as_bytes());
        context.encode(&mut aad);
        aad
    }

    fn commitment(&self, nonce: &[u8; NONCE_LEN_BYTES], aad: &[u8]) -> [u8; COMMITMENT_LEN_BYTES] {
        let mut hmac = (*self.committer).clone();
        hmac.update(nonce);
        hmac.update(&Sha256::digest(aad));
        hmac.finalize().into_bytes().into()
    }
}

/// An HMAC key filled up to the hash's block, as RFC 2104, section 2 does.
fn committer_block(key: &Zeroizing<[u8; 32]>) -> Zeroizing<[u8; 64]> {
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key.iter()).for_each(|(b, k)| *b = *k);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    struct Version {
        key_id: KeyId,
        id: KeyVersionId,
        material: KeyMaterial,
    }

    impl Version {
        fn new() -> Self {
            let material = KeyMaterial::generate().expect("random");
            Self { key_id: KeyId::new(), id: KeyVersionId::new(), material }
        }

        fn keys(&self) -> BlobKeys {
            BlobKeys::derive(&self.material, self.key_id, self.id, "Aliyun_AES_256")
        }
    }

    fn context(value: &str) -> EncryptionContext {
        EncryptionContext::new(BTreeMap::from([("k".into(), value.into())])).expect("small")
    }

    fn opened(keys: &BlobKeys, blob: &[u8], context: &EncryptionContext) -> Option<Vec<u8>> {
        let blob = CiphertextBlob::parse(blob).ok()?;
        let opened = keys.open(&blob, context).ok()?;
        Some(opened.reveal(Reveal::ToCaller).to_vec())
    }

    #[test]
    fn what_shows_is_what_was_sealed() {
        let version = Version::new();
        for kind in BlobKind::ALL {
            let blob = version.keys().seal(kind, b"contents", &context("v")).expect("sealed");
            let parsed = CiphertextBlob::parse(blob.as_bytes()).expect("a blob");
            assert_eq!(parsed, blob);
            assert_eq!((parsed.kind(), parsed.content_len()), (kind, 8));
            assert_eq!(parsed.version_id(), version.id);
            let bytes = blob.into_bytes();
            assert!(bytes.starts_with(version.id.to_string().as_bytes()));
            assert_eq!(
                opened(&version.keys(), &bytes, &context("v")).as_deref(),
                Some(&b"contents"[..])
            );
        }
    }

    #[test]
    fn absent_and_empty_context_are_the_same() {
        let keys = Version::new().keys();
        let none = EncryptionContext::default();
        let blob = keys.seal(BlobKind::CallerBytes, b"x", &none).expect("sealed");
        let empty = EncryptionContext::new(BTreeMap::new()).expect("empty");
        assert_eq!(keys.check(&blob, &empty), Ok(()));
        assert_eq!(keys.check(&blob, &context("")), Err(OpenFailed));
    }

    #[test]
    fn lengths_have_bounds() {
        let keys = Version::new().keys();
        let seal = |n: usize| keys.seal(BlobKind::CallerBytes, &vec![1; n], &context("v"));
        assert_eq!(seal(0), Err(SealFailed::Length));
        assert_eq!(seal(PLAINTEXT_BYTES.max + 1), Err(SealFailed::Length));
        let longest = seal(PLAINTEXT_BYTES.max).expect("sealed").into_bytes();
        assert_eq!(opened(&keys, &longest, &context("v")), Some(vec![1; PLAINTEXT_BYTES.max]));
        let longer = [longest.as_slice(), &[0]].concat();
        assert_eq!(CiphertextBlob::parse(&longer), Err(OpenFailed));
        let shortest = seal(1).expect("sealed").into_bytes();
        for n in 0..shortest.len() {
            assert_eq!(CiphertextBlob::parse(&shortest[..n]), Err(OpenFailed), "{n}");
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let keys = Version::new().keys();
        let blob = keys.seal(BlobKind::DataKeyUnseen, &[7; 32], &context("v")).expect("sealed");
        for bit in 0..blob.as_bytes().len() * 8 {
            let mut bytes = blob.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(&keys, &bytes, &context("v")), None, "bit {bit}");
        }
    }

    #[test]
    fn keys_are_bound_to_material_ids_and_spec() {
        let version = Version::new();
        let Version { key_id, id, material } = &version;
        let blob = version.keys().seal(BlobKind::Imported, b"x", &context("v")).expect("sealed");
        let another = KeyMaterial::generate().expect("random");
        for keys in [
            BlobKeys::derive(&another, *key_id, *id, "Aliyun_AES_256"),
            BlobKeys::derive(material, KeyId::new(), *id, "Aliyun_AES_256"),
            BlobKeys::derive(material, *key_id, KeyVersionId::new(), "Aliyun_AES_256"),
            BlobKeys::derive(material, *key_id, *id, "Aliyun_SM4"),
        ] {
            assert_eq!(keys.check(&blob, &context("v")), Err(OpenFailed));
        }
        assert_eq!(version.keys().check(&blob, &context("v")), Ok(()));
    }

    #[test]
    fn a_blob_of_another_version_does_not_open_under_a_forged_head() {
        let [a, b] = [Version::new(), Version::new()];
        let blob = a.keys().seal(BlobKind::CallerBytes, b"x", &context("v")).expect("sealed");
        let mut bytes = blob.into_bytes();
        bytes[..36].copy_from_slice(b.id.to_string().as_bytes());
        assert_eq!(opened(&b.keys(), &bytes, &context("v")), None);
        assert_eq!(opened(&a.keys(), &bytes, &context("v")), None);
    }

    /// GCM opens a message whose key, nonce, AAD and tag fit, whatever was
    /// committed to: the commitment alone refuses this one.
    #[test]
    fn a_valid_tag_without_the_commitment_does_not_open() {
        let version = Version::new();
        let keys = version.keys();
        let stranger = BlobKeys { committer: Version::new().keys().committer, ..version.keys() };
        let blob = stranger.seal(BlobKind::CallerBytes, b"x", &context("v")).expect("sealed");
        assert_eq!(stranger.check(&blob, &context("v")), Ok(()));
        assert_eq!(keys.check(&blob, &context("v")), Err(OpenFailed));
    }

    /// The format, put together a second time from the module's text.
    #[test]
    fn the_format_is_the_documented_one() {
        let material = KeyMaterial::from_stored(Zeroizing::new(vec![9; 32])).expect("32 bytes");
        let key_id = KeyId::parse("0198c0de-0000-7000-8000-000000000001").expect("an id");
        let version_id =
            KeyVersionId::parse("0198c0de-0000-7000-8000-000000000002").expect("an id");
        let keys = BlobKeys::derive(&material, key_id, version_id, "Aliyun_AES_256");
        let blob = keys
            .seal_with([5; 24], BlobKind::DataKeyShown, b"contents", &context("v"))
            .expect("sealed")
            .into_bytes();

        let derive = |label: &[u8]| {
            let ids = format!("\x01{key_id}{version_id}\0\0\0\x0eAliyun_AES_256");
            let mut okm = [0; 32];
            hkdf::Hkdf::<Sha256>::new(None, &[9; 32])
                .expand_multi_info(&[label, ids.as_bytes()], &mut okm)
                .expect("32 bytes");
            okm
        };
        let aad = [
            b"keyferry/blob\x01\x02".as_slice(),
            key_id.to_string().as_bytes(),
            version_id.to_string().as_bytes(),
            b"\0\0\0\x01\0\0\0\x01k\0\0\0\x01v",
        ]
        .concat();
        let mut hmac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&derive(b"keyferry/commitment-key"))
                .expect("any length");
        hmac.update(&[5; 24]);
        hmac.update(&Sha256::digest(&aad));
        let cipher = Xaes256Gcm::new((&derive(b"keyferry/blob-key")).into());
        let mut sealed = b"contents".to_vec();
        let tag = encrypt_in_place(&cipher, &[5; 24], &aad, &mut sealed).expect("sealed");
        let expected = [
            version_id.to_string().as_bytes(),
            &[1, 2],
            &[5; 24],
            &hmac.finalize().into_bytes(),
            &sealed,
            &tag,
        ]
        .concat();
        assert_eq!(blob, expected);
    }

    #[test]
    fn debug_prints_the_name_of_the_type_alone() {
        assert_eq!(format!("{:?}", Version::new().keys()), "BlobKeys");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn what_is_sealed_opens(
            contents in prop::collection::vec(any::<u8>(), 1..200),
            pairs in prop::collection::btree_map(".{0,9}", ".{0,9}", 0..5),
        ) {
            let keys = Version::new().keys();
            let context = EncryptionContext::new(pairs).expect("small");
            let blob = keys.seal(BlobKind::CallerBytes, &contents, &context).expect("sealed");
            prop_assert_eq!(opened(&keys, blob.as_bytes(), &context), Some(contents));
        }

        #[test]
        fn any_bytes_parse_or_fail_and_come_back(bytes: Vec<u8>) {
            if let Ok(blob) = CiphertextBlob::parse(&bytes) {
                prop_assert_eq!(blob.into_bytes(), bytes);
            }
        }
    }
}
