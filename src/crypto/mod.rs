//! Cryptography: the secrets' types, the formats, wrapping, signing. No IO but for
//! the kernel's randomness.
//!
//! ```text
//! KeyMaterial ──HKDF──▶ BlobKeys ──seal/open──▶ CiphertextBlob ◀──▶ DataKey ──wrap──▶ bytes for a WrappingKey
//! RootKey, StoreKey ──HKDF──▶ SealingKey ──seal/open──▶ stored records
//! bytes for a WrappingKey ──RecipientPrivateKey::unwrap──▶ UnwrappedKey            (the recipient's side)
//! PrivateKeyMaterial ──▶ KeyPair ──decrypt──▶ UnwrappedKey, ──sign──▶ bytes        (asymmetric CMKs)
//! ReceiptKeyMaterial ──▶ ReceiptSigningKey ──sign──▶ receipt of an export
//! ```
//!
//! Verbs: *seal* and *open* our own formats, *wrap* and *unwrap* a key under a
//! key. A secret becomes public bytes only through `reveal`, with a reason.

pub mod ciphertext_blob;
pub mod encryption_context;
#[cfg(test)]
mod format_vectors;
pub mod key_pair;
pub mod pem;
pub mod random;
pub mod receipt;
pub mod recipients;
pub mod sealing;
pub mod secret;
pub mod trial_authority;
pub mod unwrapping;
pub mod wrapping;

/// The bytes of a published example.
#[cfg(test)]
fn unhex(text: &str) -> Vec<u8> {
    base16ct::mixed::decode_vec(text).expect("hex")
}

#[cfg(test)]
mod tests {
    use static_assertions::{assert_impl_all, assert_not_impl_any};

    use super::ciphertext_blob::BlobKeys;
    use super::sealing::SealingKey;
    use super::unwrapping::RecipientPrivateKey;

    assert_not_impl_any!(BlobKeys: Clone, Copy, PartialEq, std::fmt::Display, serde::Serialize);
    assert_not_impl_any!(SealingKey: Clone, Copy, PartialEq, std::fmt::Display, serde::Serialize);
    assert_not_impl_any!(RecipientPrivateKey:
        Clone, Copy, PartialEq, std::fmt::Display, serde::Serialize);

    // Keys held inside are wiped too: the crates' `zeroize` features are on.
    assert_impl_all!(xaes_256_gcm::Xaes256Gcm: zeroize::ZeroizeOnDrop);
    // (HMAC's fields are the hash's, SM2's key stream comes of SM3's.)
    assert_impl_all!(sha2::Sha256: zeroize::ZeroizeOnDrop);
    assert_impl_all!(sm3::Sm3: zeroize::ZeroizeOnDrop);
    assert_impl_all!(sm2::SecretKey: zeroize::ZeroizeOnDrop);
}
