//! The secret of a new key version, made before it is stored: a key pair takes
//! its time.

use crate::crypto::key_pair::KeyPair;
use crate::crypto::secret::{KeyMaterial, PrivateKeyMaterial, Reveal};
use crate::error::{Error, Result};
use crate::keys::model::cmk::KeySpec;

/// The secret of a key version, and its spec.
pub struct VersionMaterial {
    spec: KeySpec,
    secret: Secret,
}

enum Secret {
    Symmetric(KeyMaterial),
    Pair(PrivateKeyMaterial),
}

impl VersionMaterial {
    /// New material of a spec.
    pub fn generate(spec: KeySpec) -> Result<Self> {
        let secret = match spec.pair() {
            None => KeyMaterial::generate().map(Secret::Symmetric).ok(),
            Some(pair) => KeyPair::generate(pair).map(|(_, secret)| Secret::Pair(secret)).ok(),
        };
        let secret = secret.ok_or_else(|| Error::internal("key material could not be made"))?;
        Ok(Self { spec, secret })
    }

    /// Its spec.
    #[must_use]
    pub const fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The bytes, for the sealed record.
    pub(super) fn reveal(&self) -> &[u8] {
        match &self.secret {
            Secret::Symmetric(material) => material.reveal(Reveal::ToStore),
            Secret::Pair(material) => material.reveal(Reveal::ToStore),
        }
    }
}

impl std::fmt::Debug for VersionMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VersionMaterial")
    }
}
