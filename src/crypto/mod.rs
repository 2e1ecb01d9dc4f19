//! Cryptography: the secrets' types, the formats, wrapping. No IO but for the
//! kernel's randomness.
//!
//! ```text
//! KeyMaterial ──HKDF──▶ BlobKeys ──seal/open──▶ CiphertextBlob ◀──▶ DataKey ──wrap──▶ bytes for a WrappingKey
//! RootKey, StoreKey ──HKDF──▶ SealingKey ──seal/open──▶ stored records
//! bytes for a WrappingKey ──RecipientPrivateKey::unwrap──▶ UnwrappedKey            (the recipient's side)
//! ```
//!
//! Verbs: *seal* and *open* our own formats, *wrap* and *unwrap* a key under a
//! key. A secret becomes public bytes only through `reveal`, with a reason.

pub mod ciphertext_blob;
pub mod encryption_context;
pub mod random;
pub mod recipients;
pub mod sealing;
pub mod secret;
pub mod unwrapping;
pub mod wrapping;
