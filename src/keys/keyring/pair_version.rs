//! One version of an asymmetric CMK, taken for one grant and one use.

use std::sync::Arc;

use crate::access::actions::Actions;
use crate::access::grant::Grant;
use crate::access::operations::Action;
use crate::access::purpose::Use;
use crate::crypto::key_pair::{IllegalEncryption, KeyPair, SigningAlgorithm};
use crate::crypto::secret::{DataKey, Plaintext, UnwrappedKey};
use crate::crypto::wrapping::{IllegalMethod, Sm2CiphertextEncoding, WrappingAlgorithm};
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::keyring::key_version::{LoadedVersion, VersionKeys};

const DECRYPTING: Actions = Actions::of(&[Action::AsymmetricDecrypt, Action::ReEncryptFrom]);
const SIGNING: Actions = Actions::of(&[Action::AsymmetricSign, Action::AsymmetricVerify]);

/// A version that a caller may use, once. Only the keyring makes one, and only
/// for a [`Grant`] and a CMK whose state and usage permit it.
///
/// Operations with the private key are slow: they are for a worker thread.
#[must_use]
pub struct PairVersion {
    loaded: Arc<LoadedVersion>,
    grant: Grant<Use>,
}

impl std::fmt::Debug for PairVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairVersion")
    }
}

impl PairVersion {
    pub(super) fn new(loaded: Arc<LoadedVersion>, grant: Grant<Use>) -> Result<Self> {
        match loaded.keys {
            VersionKeys::Pair(_) => Ok(Self { loaded, grant }),
            VersionKeys::Symmetric(_) => Err(not_a_pair()),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyVersionId {
        self.loaded.id
    }

    /// The CMK that it belongs to.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.loaded.key_id
    }

    /// The pair, for a use that serves these actions.
    fn pair_for(&self, served: impl Into<Actions>) -> Result<&KeyPair> {
        self.grant.check_action(served)?;
        match &self.loaded.keys {
            VersionKeys::Pair(pair) => Ok(pair),
            VersionKeys::Symmetric(_) => Err(not_a_pair()),
        }
    }

    /// The public key, `SubjectPublicKeyInfo` in PEM.
    pub fn public_key_pem(self) -> Result<String> {
        Ok(self.pair_for(Action::GetPublicKey)?.public_key_pem().to_owned())
    }

    /// Refuses an algorithm that the pair does not encrypt with, before the
    /// private key is touched.
    pub fn check_encrypts(&self, field: &'static str, algorithm: WrappingAlgorithm) -> Result<()> {
        let method = self.pair_for(DECRYPTING)?.method(algorithm, None);
        method.map(drop).map_err(|found| Error::invalid(field, found))
    }

    /// Refuses an algorithm that the pair does not sign with, before the private
    /// key is touched.
    pub fn check_signs(&self, field: &'static str, algorithm: SigningAlgorithm) -> Result<()> {
        let signs = self.pair_for(SIGNING)?.spec().check_signs(algorithm);
        signs.map_err(|found| Error::invalid(field, found))
    }

    /// SHA-256 of the public key that data keys are exported to.
    pub fn recipient_sha256(&self) -> Result<[u8; 32]> {
        let digest = self.pair_for(Action::ReEncryptFrom)?.recipient_sha256();
        digest.copied().ok_or_else(|| Error::internal("a key pair that signs was to import"))
    }

    /// Encrypts a caller's bytes under the public key.
    pub fn encrypt(
        self,
        plaintext: &Plaintext,
        algorithm: WrappingAlgorithm,
        encoding: Option<Sm2CiphertextEncoding>,
    ) -> Result<Vec<u8>> {
        let pair = self.pair_for(Action::AsymmetricEncrypt)?;
        let method = pair
            .method(algorithm, encoding)
            .map_err(|found| Error::invalid(blamed_field(found), found))?;
        let longest = method.longest_plaintext_bytes();
        if plaintext.len() > longest {
            let found = format_args!(
                "it has {} bytes, and {algorithm} with this key takes at most {longest}",
                plaintext.len()
            );
            return Err(Error::invalid("plaintext", found));
        }
        pair.encrypt(plaintext, &method)
            .map_err(|_| Error::internal("bytes could not be encrypted under a public key"))
    }

    /// Decrypts. One answer for whatever is wrong with the ciphertext.
    pub fn decrypt(
        self,
        field: &'static str,
        algorithm: WrappingAlgorithm,
        ciphertext: &[u8],
    ) -> Result<UnwrappedKey> {
        let unwrapped = self.pair_for(Action::AsymmetricDecrypt)?.decrypt(algorithm, ciphertext);
        unwrapped.map_err(|_| Error::from(Rule::CiphertextDoesNotUnwrap).blaming(field))
    }

    /// Decrypts a data key. One answer for whatever is wrong with the
    /// ciphertext, and for what can be no data key.
    pub fn import(
        self,
        field: &'static str,
        algorithm: WrappingAlgorithm,
        ciphertext: &[u8],
    ) -> Result<DataKey> {
        let unwrapped = self.pair_for(Action::ReEncryptFrom)?.decrypt(algorithm, ciphertext);
        unwrapped
            .ok()
            .and_then(DataKey::imported)
            .ok_or_else(|| Error::from(Rule::CiphertextDoesNotUnwrap).blaming(field))
    }

    /// Signs a digest.
    pub fn sign(self, algorithm: SigningAlgorithm, digest: &[u8; 32]) -> Result<Vec<u8>> {
        let signature = self.pair_for(Action::AsymmetricSign)?.sign(algorithm, digest);
        signature.map_err(|_| Error::internal("a digest could not be signed"))
    }

    /// Whether a signature of a digest is valid.
    pub fn verify(
        self,
        algorithm: SigningAlgorithm,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> Result<bool> {
        let valid = self.pair_for(Action::AsymmetricVerify)?.verify(algorithm, digest, signature);
        valid.map_err(|_| Error::internal("a signature could not be verified"))
    }
}

const fn blamed_field(found: IllegalEncryption) -> &'static str {
    match found {
        IllegalEncryption::Method(IllegalMethod::Encoding { .. }) => "sm2_ciphertext_encoding",
        _ => "algorithm",
    }
}

fn not_a_pair() -> Error {
    Error::internal("a symmetric key version was taken for a key pair")
}
