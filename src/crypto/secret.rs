//! Secrets: one type per role.
//!
//! - Boxed, so that moving the owner leaves no copy behind; wiped on drop.
//! - No `Clone`, no serde, no comparison; `Debug` prints the type's name.
//! - The bytes come out through `reveal` alone, and each call says why:
//!   `grep -rn 'Reveal::'` lists every door from secret to public.
//! - Constructors are as narrow as can be: outside this crate no [`DataKey`] can
//!   be made.

use std::fmt;

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::random::{self, RandomUnavailable};

/// Why secret bytes leave their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reveal {
    /// Input of HKDF; what comes out is a key again.
    ToDeriveKeys,
    /// Contents of a ciphertext blob or of a sealed record.
    ToSeal,
    /// Contents of an exported data key.
    ToWrap,
    /// The response to a caller who may see it: `Decrypt`, `GenerateDataKey`,
    /// `CreateAccessKey`.
    ToCaller,
    /// The key of an HMAC that a caller's signature is compared with.
    ToVerify,
    /// A sealed record's secret part, on its way into the sealing.
    ToStore,
    /// A file of the user's own, mode 0600: a root key, an unwrapped key, a certificate's.
    ToFile,
}

/// Secret bytes of an impossible length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a secret of {found} bytes where {expected} are needed")]
pub struct WrongLength {
    /// How many there are.
    pub found: usize,
    /// How many there must be.
    pub expected: usize,
}

/// Length of key material, store keys and root keys.
pub const KEY_LEN_BYTES: usize = 32;

/// Length of an access key secret: 44 of 62 characters, 261 bits.
pub const ACCESS_KEY_SECRET_LEN_BYTES: usize = 44;

/// Declares a secret type, with all that these have in common.
macro_rules! secret {
    ($(#[$doc:meta])* $name:ident($storage:ty) reveals $revealed:ty) => {
        $(#[$doc])*
        pub struct $name($storage);

        impl $name {
            /// Length in bytes, which is public.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are no bytes at all.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The secret bytes; `why` is for the reader of the call.
            #[must_use]
            pub fn reveal(&self, _why: Reveal) -> &$revealed {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl ZeroizeOnDrop for $name {}
    };
}

/// Declares a secret type of 32 bytes, with what these have besides.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        secret!($(#[$doc])* $name(Box<Zeroizing<[u8; KEY_LEN_BYTES]>>) reveals [u8; KEY_LEN_BYTES]);

        impl $name {
            /// A new one.
            pub fn generate() -> Result<Self, RandomUnavailable> {
                let mut bytes = Box::new(Zeroizing::new([0; KEY_LEN_BYTES]));
                random::fill(bytes.as_mut_slice())?;
                Ok(Self(bytes))
            }

            /// One that was stored, sealed or in a file of the user's own.
            pub fn from_stored(stored: Zeroizing<Vec<u8>>) -> Result<Self, WrongLength> {
                let mut bytes = Box::new(Zeroizing::new([0; KEY_LEN_BYTES]));
                if stored.len() != KEY_LEN_BYTES {
                    return Err(WrongLength { found: stored.len(), expected: KEY_LEN_BYTES });
                }
                bytes.copy_from_slice(&stored);
                Ok(Self(bytes))
            }
        }
    };
}

key!(
    /// The secret bytes of one key version: never a cipher key itself, only
    /// HKDF's input.
    KeyMaterial
);
key!(
    /// The key that wraps the store keys, and nothing else.
    RootKey
);
key!(
    /// The key that seals the store's records, by keys derived from it.
    StoreKey
);
key!(
    /// The secret of an audit log, from which its own keys are derived.
    AuditKey
);
secret!(
    /// A key made for a caller, or a caller's bytes, in the clear only inside.
    /// Made at random, by opening a ciphertext blob or by importing what another
    /// region exported; nothing else makes one.
    DataKey(Zeroizing<Box<[u8]>>) reveals [u8]
);
secret!(
    /// Bytes that a caller sent in the clear.
    Plaintext(Zeroizing<Box<[u8]>>) reveals [u8]
);
secret!(
    /// The private key of one version of an asymmetric CMK: a PKCS#8
    /// `PrivateKeyInfo` (RFC 5958) in DER.
    PrivateKeyMaterial(Zeroizing<Box<[u8]>>) reveals [u8]
);
secret!(
    /// The private key that signs receipts: a PKCS#8 `PrivateKeyInfo` (RFC 5958) in DER.
    ReceiptKeyMaterial(Zeroizing<Box<[u8]>>) reveals [u8]
);
secret!(
    /// The private key of a certificate: a PKCS#8 `PrivateKeyInfo` (RFC 5958) in DER.
    CertificateKey(Zeroizing<Box<[u8]>>) reveals [u8]
);
secret!(
    /// The secret that a program signs its requests with: ASCII letters and
    /// digits.
    AccessKeySecret(Zeroizing<Box<[u8]>>) reveals [u8]
);
secret!(
    /// A key or plaintext that a private key unwrapped or decrypted.
    UnwrappedKey(Zeroizing<Box<[u8]>>) reveals [u8]
);

impl DataKey {
    /// A new data key of `len_bytes`.
    pub(crate) fn random(len_bytes: usize) -> Result<Self, RandomUnavailable> {
        let mut bytes = Zeroizing::new(vec![0; len_bytes].into_boxed_slice());
        random::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The contents of a ciphertext blob.
    pub(super) fn from_opened(contents: Vec<u8>) -> Self {
        Self(boxed(contents))
    }
}

impl PrivateKeyMaterial {
    /// A copy of what an encoder made and wipes.
    pub(super) fn from_pkcs8(der: &[u8]) -> Self {
        Self(Zeroizing::new(Box::from(der)))
    }
}

impl ReceiptKeyMaterial {
    /// A copy of what an encoder made and wipes.
    pub(super) fn from_pkcs8(der: &[u8]) -> Self {
        Self(Zeroizing::new(Box::from(der)))
    }
}

impl CertificateKey {
    /// A copy of what an encoder made and wipes.
    pub(super) fn from_pkcs8(der: &[u8]) -> Self {
        Self(Zeroizing::new(Box::from(der)))
    }
}

impl AccessKeySecret {
    /// A new one.
    pub fn generate() -> Result<Self, RandomUnavailable> {
        let mut text = Zeroizing::new(vec![0; ACCESS_KEY_SECRET_LEN_BYTES].into_boxed_slice());
        random::fill_base62(&mut text)?;
        Ok(Self(text))
    }

    /// One that was stored, sealed.
    pub fn from_stored(mut stored: Zeroizing<Vec<u8>>) -> Result<Self, WrongLength> {
        let (found, expected) = (stored.len(), ACCESS_KEY_SECRET_LEN_BYTES);
        if found != expected {
            return Err(WrongLength { found, expected });
        }
        Ok(Self(boxed(std::mem::take(&mut *stored))))
    }
}

impl Plaintext {
    /// Takes over a caller's bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(boxed(bytes))
    }
}

impl UnwrappedKey {
    /// The outcome of unwrapping.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(boxed(bytes))
    }

    /// Takes it for a data key, which wrapping judges by its length.
    pub(super) fn into_data_key(self) -> DataKey {
        DataKey(self.0)
    }
}

/// The bytes in a box of their own size. `Vec::into_boxed_slice` would shrink
/// a larger allocation and leave the old one unwiped.
fn boxed(mut bytes: Vec<u8>) -> Zeroizing<Box<[u8]>> {
    if bytes.len() == bytes.capacity() {
        return Zeroizing::new(bytes.into_boxed_slice());
    }
    let exact = Zeroizing::new(Box::from(bytes.as_slice()));
    bytes.zeroize();
    exact
}

#[cfg(test)]
mod tests {
    use super::*;
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    macro_rules! secrets {
        ($($name:ident)*) => {$(
            assert_not_impl_any!($name:
                Clone, Copy, fmt::Display, PartialEq, PartialOrd, Default, std::hash::Hash,
                serde::Serialize, AsRef<[u8]>, std::ops::Deref, std::borrow::Borrow<[u8]>);
            assert_impl_all!($name: ZeroizeOnDrop, Send, Sync);
        )*};
    }
    secrets!(KeyMaterial RootKey StoreKey DataKey Plaintext PrivateKeyMaterial ReceiptKeyMaterial CertificateKey UnwrappedKey AccessKeySecret);

    #[test]
    fn debug_prints_the_name_of_the_type_alone() {
        assert_eq!(format!("{:?}", KeyMaterial::generate().expect("random")), "KeyMaterial");
        assert_eq!(format!("{:?}", RootKey::generate().expect("random")), "RootKey");
        assert_eq!(format!("{:#?}", StoreKey::generate().expect("random")), "StoreKey");
        assert_eq!(format!("{:?}", DataKey::random(16).expect("random")), "DataKey");
        assert_eq!(format!("{:?}", Plaintext::new(b"secret".to_vec())), "Plaintext");
        assert_eq!(format!("{:?}", UnwrappedKey::new(b"secret".to_vec())), "UnwrappedKey");
        let material = PrivateKeyMaterial::from_pkcs8(b"secret");
        assert_eq!(format!("{material:?}"), "PrivateKeyMaterial");
        let material = ReceiptKeyMaterial::from_pkcs8(b"secret");
        assert_eq!(format!("{material:?}"), "ReceiptKeyMaterial");
        assert_eq!(format!("{:?}", CertificateKey::from_pkcs8(b"secret")), "CertificateKey");
        let secret = AccessKeySecret::generate().expect("random");
        assert_eq!(format!("{secret:?}"), "AccessKeySecret");
    }

    #[test]
    fn a_stored_key_has_32_bytes() {
        for found in [0, 16, 31, 33, 64] {
            let refused = KeyMaterial::from_stored(Zeroizing::new(vec![7; found]));
            assert_eq!(refused.err(), Some(WrongLength { found, expected: 32 }));
        }
        let key = RootKey::from_stored(Zeroizing::new(vec![7; 32])).expect("32 bytes");
        assert_eq!(key.reveal(Reveal::ToDeriveKeys), &[7; 32]);
    }

    #[test]
    fn an_access_key_secret_is_44_letters_and_digits() {
        let [a, b] = [(), ()].map(|()| AccessKeySecret::generate().expect("random"));
        assert_ne!(a.reveal(Reveal::ToVerify), b.reveal(Reveal::ToVerify));
        let text = a.reveal(Reveal::ToStore);
        assert!(text.len() == 44 && text.iter().all(u8::is_ascii_alphanumeric));
        let again = AccessKeySecret::from_stored(Zeroizing::new(text.to_vec())).expect("44 bytes");
        assert_eq!(again.reveal(Reveal::ToVerify), text);
        for found in [0, 43, 45] {
            let refused = AccessKeySecret::from_stored(Zeroizing::new(vec![b'a'; found]));
            assert_eq!(refused.err(), Some(WrongLength { found, expected: 44 }));
        }
    }

    #[test]
    fn generated_keys_differ() {
        let [a, b] = [(), ()].map(|()| StoreKey::generate().expect("random"));
        assert_ne!(a.reveal(Reveal::ToStore), b.reveal(Reveal::ToStore));
        let [a, b] = [(), ()].map(|()| DataKey::random(16).expect("random"));
        assert_ne!(a.reveal(Reveal::ToWrap), b.reveal(Reveal::ToWrap));
    }

    #[test]
    fn a_vector_with_room_to_spare_keeps_its_contents() {
        let mut bytes = Vec::with_capacity(100);
        bytes.extend_from_slice(b"caller");
        let plaintext = Plaintext::new(bytes);
        assert_eq!((plaintext.len(), plaintext.is_empty()), (6, false));
        assert_eq!(plaintext.reveal(Reveal::ToSeal), b"caller");
    }
}
