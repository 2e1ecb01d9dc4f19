//! Sealing of what we store: records and root-key slots.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;
use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::array::Array;
use xaes_256_gcm::aead::inout::InOutBuf;
use xaes_256_gcm::aead::{AeadInOut, KeyInit};
use zeroize::{Zeroize, Zeroizing};

use super::encryption_context::encode_prefixed;
use super::random::{self, RandomUnavailable};

/// XAES-256-GCM's nonce: long enough to be drawn at random for 2^80 messages
/// under one key (C2SP XAES-256-GCM, "Overview").
pub const NONCE_LEN_BYTES: usize = 24;
/// GCM's tag.
pub const TAG_LEN_BYTES: usize = 16;

/// It did not open. It says nothing more: a wrong context, a bad tag and a cut
/// look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it does not open")]
pub struct OpenFailed;

/// Nothing was sealed, for a reason of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealFailed {
    /// No nonce could be drawn.
    #[error(transparent)]
    Random(#[from] RandomUnavailable),
    /// The contents are of a length that the format does not carry.
    #[error("the contents are of a length that cannot be sealed")]
    Length,
}

/// A sealed secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The nonce, drawn at random.
    pub nonce: [u8; NONCE_LEN_BYTES],
    /// Ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// A key that seals one kind of record.
pub struct SealingKey(Box<Xaes256Gcm>);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl SealingKey {
    /// HKDF-SHA-256 of `secret`, with an info of u32 length ‖ `label` ‖ `info`:
    /// one label per kind of record, so that no record opens as another kind.
    #[must_use]
    pub fn derive(secret: &[u8; 32], label: &str, info: &[u8]) -> Self {
        let mut bound = Vec::with_capacity(4 + label.len() + info.len());
        encode_prefixed(&mut bound, label.as_bytes());
        bound.extend_from_slice(info);
        let key = derive_key(secret, &bound);
        Self(Box::new(Xaes256Gcm::new((&*key).into())))
    }

    /// Seals `secret`; `aad` is authenticated with it.
    pub fn seal(&self, aad: &[u8], secret: &[u8]) -> Result<Sealed, SealFailed> {
        let nonce = random::array()?;
        let mut bytes = Vec::with_capacity(secret.len() + TAG_LEN_BYTES);
        bytes.extend_from_slice(secret);
        let tag = encrypt_in_place(&self.0, &nonce, aad, &mut bytes)?;
        bytes.extend_from_slice(&tag);
        Ok(Sealed { nonce, bytes })
    }

    /// Opens what was sealed with the same `aad`.
    pub fn open(
        &self,
        aad: &[u8],
        nonce: &[u8],
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
        let nonce = nonce.try_into().map_err(|_| OpenFailed)?;
        let (ciphertext, tag) = bytes.split_last_chunk().ok_or(OpenFailed)?;
        decrypt(&self.0, nonce, aad, ciphertext, tag)
    }
}

/// 32 bytes of HKDF-SHA-256 (RFC 5869) of `secret`, without salt: the secrets
/// here are uniform already (section 3.1).
pub(super) fn derive_key(secret: &[u8; 32], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let (mut prk, hkdf) = Hkdf::<Sha256>::extract(None, secret);
    prk.as_mut_slice().zeroize();
    let mut key = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "a key of zeroes would be worse than no answer")]
    hkdf.expand(info, key.as_mut_slice()).expect("32 bytes of 8160 (RFC 5869, section 2.3)");
    key
}

/// Encrypts `buffer` in place, or wipes it, and gives the tag.
pub(super) fn encrypt_in_place(
    cipher: &Xaes256Gcm,
    nonce: &[u8; NONCE_LEN_BYTES],
    aad: &[u8],
    buffer: &mut [u8],
) -> Result<[u8; TAG_LEN_BYTES], SealFailed> {
    let sealed = cipher.encrypt_inout_detached(&Array(*nonce), aad, InOutBuf::from(&mut *buffer));
    if sealed.is_err() {
        buffer.zeroize();
    }
    sealed.map(|tag| tag.0).map_err(|_| SealFailed::Length)
}

/// Decrypts into a buffer of exactly the right size.
pub(super) fn decrypt(
    cipher: &Xaes256Gcm,
    nonce: &[u8; NONCE_LEN_BYTES],
    aad: &[u8],
    ciphertext: &[u8],
    tag: &[u8; TAG_LEN_BYTES],
) -> Result<Zeroizing<Vec<u8>>, OpenFailed> {
    let mut contents = Zeroizing::new(ciphertext.to_vec());
    let buffer = InOutBuf::from(contents.as_mut_slice());
    cipher
        .decrypt_inout_detached(&Array(*nonce), aad, buffer, &Array(*tag))
        .map_err(|_| OpenFailed)?;
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::unhex;
    use proptest::prelude::*;

    fn key(label: &str, info: &[u8]) -> SealingKey {
        SealingKey::derive(&[1; 32], label, info)
    }

    #[test]
    fn what_is_sealed_opens() {
        let sealed = key("cmk", b"").seal(b"path", b"secret").expect("sealed");
        let opened = key("cmk", b"").open(b"path", &sealed.nonce, &sealed.bytes);
        assert_eq!(opened.expect("opened").as_slice(), b"secret");
    }

    #[test]
    fn nothing_is_sealed_too() {
        let sealed = key("cmk", b"").seal(b"path", b"").expect("sealed");
        assert_eq!(sealed.bytes.len(), TAG_LEN_BYTES);
        let opened = key("cmk", b"").open(b"path", &sealed.nonce, &sealed.bytes);
        assert_eq!(opened.expect("opened").as_slice(), b"");
        let moved = key("cmk", b"").open(b"elsewhere", &sealed.nonce, &sealed.bytes);
        assert_eq!(moved, Err(OpenFailed));
    }

    #[test]
    fn another_key_label_info_or_aad_does_not_open() {
        let Sealed { nonce, bytes } = key("ab", b"c").seal(b"aad", b"secret").expect("sealed");
        let others = [key("a", b"bc"), key("abc", b""), key("ab", b"d"), key("ab", b"")];
        for other in others {
            assert_eq!(other.open(b"aad", &nonce, &bytes), Err(OpenFailed));
        }
        let other = SealingKey::derive(&[2; 32], "ab", b"c");
        assert_eq!(other.open(b"aad", &nonce, &bytes), Err(OpenFailed));
        assert_eq!(key("ab", b"c").open(b"aae", &nonce, &bytes), Err(OpenFailed));
    }

    #[test]
    fn a_nonce_or_ciphertext_of_another_length_does_not_open() {
        let Sealed { nonce, bytes } = key("k", b"").seal(b"", b"secret").expect("sealed");
        for n in 0..bytes.len() {
            assert_eq!(key("k", b"").open(b"", &nonce, &bytes[..n]), Err(OpenFailed), "{n}");
        }
        for n in 0..nonce.len() {
            assert_eq!(key("k", b"").open(b"", &nonce[..n], &bytes), Err(OpenFailed), "{n}");
        }
        let longer = [nonce.as_slice(), &[0]].concat();
        assert_eq!(key("k", b"").open(b"", &longer, &bytes), Err(OpenFailed));
    }

    #[test]
    fn two_sealings_differ() {
        let [a, b] = [(), ()].map(|()| key("k", b"").seal(b"", b"secret").expect("sealed"));
        assert_ne!(a, b);
    }

    #[test]
    fn debug_prints_the_name_of_the_type_alone() {
        assert_eq!(format!("{:?}", key("k", b"")), "SealingKey");
    }

    /// C2SP XAES-256-GCM, "Test vectors".
    #[test]
    fn the_published_vectors_seal_and_open() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let vectors = [
            (1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
            (
                3,
                "c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ];
        for (key, aad, expected) in vectors {
            let cipher = Xaes256Gcm::new((&[key; 32]).into());
            let mut buffer = b"XAES-256-GCM".to_vec();
            let tag =
                encrypt_in_place(&cipher, nonce, aad.as_bytes(), &mut buffer).expect("sealed");
            assert_eq!([buffer.as_slice(), &tag].concat(), unhex(expected));
            let opened = decrypt(&cipher, nonce, aad.as_bytes(), &buffer, &tag).expect("opened");
            assert_eq!(opened.as_slice(), b"XAES-256-GCM");
        }
    }

    /// C2SP XAES-256-GCM, "Accumulated randomized tests": keys, nonces,
    /// plaintexts and AADs of SHAKE-128, all ciphertexts into another SHAKE-128.
    #[test]
    fn ten_thousand_rounds_of_the_published_accumulated_test() {
        use shake::Shake128;
        use shake::digest::{ExtendableOutput, Update, XofReader};

        let mut source = Shake128::default().finalize_xof();
        let mut draw = |len: usize| {
            let mut bytes = vec![0; len];
            source.read(&mut bytes);
            bytes
        };
        let mut accumulated = Shake128::default();
        for _ in 0..10_000 {
            let key: [u8; 32] = draw(32).try_into().expect("32 bytes");
            let nonce: [u8; NONCE_LEN_BYTES] = draw(24).try_into().expect("24 bytes");
            let len = draw(1)[0].into();
            let plaintext = draw(len);
            let len = draw(1)[0].into();
            let aad = draw(len);
            let cipher = Xaes256Gcm::new((&key).into());
            let mut buffer = plaintext.clone();
            let tag = encrypt_in_place(&cipher, &nonce, &aad, &mut buffer).expect("sealed");
            let opened = decrypt(&cipher, &nonce, &aad, &buffer, &tag).expect("opened");
            assert_eq!(*opened, plaintext);
            accumulated.update(&buffer);
            accumulated.update(&tag);
        }
        let mut digest = [0; 32];
        accumulated.finalize_xof().read(&mut digest);
        let expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
        assert_eq!(digest.as_slice(), unhex(expected));
    }

    proptest! {
        #[test]
        fn every_flipped_bit_is_found(secret: Vec<u8>, aad: Vec<u8>, at: prop::sample::Index) {
            let Sealed { nonce, mut bytes } = key("k", b"").seal(&aad, &secret).expect("sealed");
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(key("k", b"").open(&aad, &nonce, &bytes), Err(OpenFailed));
        }
    }
}
