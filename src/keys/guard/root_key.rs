//! The root key: it wraps the store keys, and nothing else.
//!
//! A [`RootKeyProvider`] holds one and wraps with it: the key may be in this
//! process, as the `file` provider's is, or never be.
//!
//! # To add a provider
//!
//! 1. A file beside `file_root_key.rs` that implements [`RootKeyProvider`].
//! 2. A variant of [`RootKeyConfig`](crate::config::RootKeyConfig).
//! 3. Its rows in `root_key_providers.rs`: no other room knows which provider is
//!    used.

use std::error::Error;
use std::fmt;

use zeroize::Zeroizing;

/// Holds a root key and wraps the store keys with it.
pub trait RootKeyProvider: Send + Sync {
    /// The provider's name in the configuration and in the store's slot.
    fn provider(&self) -> &'static str;

    /// Which root key it holds.
    fn id(&self) -> &RootKeyId;

    /// The place of the root key, for messages.
    fn description(&self) -> String;

    /// Wraps the store keys; `aad` is authenticated with them.
    fn wrap(&self, aad: &[u8], store_keys: &[u8]) -> Result<WrappedStoreKeys, RootKeyError>;

    /// Unwraps store keys that [`wrap`](Self::wrap) wrapped with this `aad`.
    fn unwrap(
        &self,
        aad: &[u8],
        nonce: &[u8],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, RootKeyError>;
}

/// Store keys, wrapped under a root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedStoreKeys {
    /// The nonce of the wrapping.
    pub nonce: Vec<u8>,
    /// The wrapped bytes with whatever authenticates them.
    pub bytes: Vec<u8>,
}

/// Which root key: 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKeyId(String);

impl RootKeyId {
    /// From a SHA-256 that only this root key has. It must tell nothing of the
    /// key: a digest of 256 random bits does not.
    #[must_use]
    pub fn from_digest(digest: [u8; 32]) -> Self {
        let mut text = base16ct::lower::encode_string(&digest);
        text.truncate(32);
        Self(text)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a root key cannot be had or used. `at` is where it is, and each text says
/// what to do.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// There is none.
    #[error(
        "there is no root key at {at}: `keyferry init` makes one for a new store; for an existing store, put its root key there"
    )]
    Absent {
        /// The place.
        at: String,
    },
    /// One exists where a new one was to be made.
    #[error("there is a root key at {at} already, and a root key is never overwritten")]
    Exists {
        /// The place.
        at: String,
    },
    /// Others could read or replace it.
    #[error("the root key at {at} is not safe: {why}")]
    Unsafe {
        /// The place.
        at: String,
        /// The fault, and the remedy.
        why: String,
    },
    /// Something else is there.
    #[error("{at} is not a root key: {why}")]
    Malformed {
        /// The place.
        at: String,
        /// The fault, and the remedy.
        why: String,
    },
    /// It cannot be reached.
    #[error("the root key at {at} cannot be used: {source}")]
    Unavailable {
        /// The place.
        at: String,
        /// The error of the system or the device.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The store keys do not unwrap. It says nothing more: a wrong `aad` and a
    /// changed byte look alike.
    #[error("what the root key wrapped is not intact")]
    NotIntact,
    /// No randomness could be had.
    #[error("the kernel gave no random bytes")]
    NoRandomness,
}
