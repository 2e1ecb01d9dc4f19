//! Asymmetric CMKs: get public keys, encrypt and decrypt bytes, sign digests,
//! verify signatures.

use super::attempts::until_fresh;
use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::cost::Cost;
use super::fields;
use super::{Services, unless_dry_run};
use crate::access::decisions::{
    ASYMMETRIC_DECRYPT, ASYMMETRIC_ENCRYPT, ASYMMETRIC_SIGN, ASYMMETRIC_VERIFY, GET_PUBLIC_KEY,
};
use crate::access::purpose::Use;
use crate::audit::trail::Reply;
use crate::crypto::secret::{Plaintext, Reveal};
use crate::error::{Error, Result};
use crate::ids::KeyVersionId;
use crate::keys::keyring::pair_version::PairVersion;
use crate::keys::model::cmk::KeyUsage;
use crate::proto::v1;

/// The key and version that a request names.
struct PairName<'a> {
    key_id: &'a str,
    key_version_id: &'a str,
}

impl Services {
    /// Returns a public key.
    pub(super) async fn answer_get_public_key(
        &self,
        call: &Call<'_>,
        request: v1::GetPublicKeyRequest,
    ) -> Result<Reply<v1::GetPublicKeyResponse>> {
        let name = PairName { key_id: &request.key_id, key_version_id: &request.key_version_id };
        let access = AccessRequest::new(call, GET_PUBLIC_KEY, request.dry_run);
        let version = self.take_pair(access, &name, None).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::GetPublicKeyResponse {
            key_id: version.key_id().to_string(),
            key_version_id: version.id().to_string(),
            public_key: version.public_key_pem()?,
            request_id: call.request_id.clone(),
        }))
    }

    /// Encrypts a caller's bytes.
    pub(super) async fn answer_asymmetric_encrypt(
        &self,
        call: &Call<'_>,
        request: v1::AsymmetricEncryptRequest,
    ) -> Result<Reply<v1::AsymmetricEncryptResponse>> {
        // First of all, so that it is wiped whatever follows.
        let plaintext = Plaintext::new(request.plaintext);
        if plaintext.is_empty() {
            return Err(Error::missing("plaintext"));
        }
        let algorithm = fields::wrapping_algorithm("algorithm", request.algorithm)?;
        let encoding = fields::sm2_ciphertext_encoding(request.sm2_ciphertext_encoding)?;
        let name = PairName { key_id: &request.key_id, key_version_id: &request.key_version_id };
        let _permit = call.admit(Cost::of_encryption(algorithm)).await?;
        let usage = Some(KeyUsage::EncryptDecrypt);
        let access = AccessRequest::new(call, ASYMMETRIC_ENCRYPT, request.dry_run)
            .with_algorithm(algorithm.as_str());
        let version = self.take_pair(access, &name, usage).await?;
        call.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        let ciphertext = version.encrypt(&plaintext, algorithm, encoding)?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::AsymmetricEncryptResponse {
            key_id: key_id.to_string(),
            key_version_id: version_id.to_string(),
            ciphertext_blob: ciphertext,
            request_id: call.request_id.clone(),
        }))
    }

    /// Decrypts a ciphertext that was made under a public key.
    pub(super) async fn answer_asymmetric_decrypt(
        &self,
        call: &Call<'_>,
        request: v1::AsymmetricDecryptRequest,
    ) -> Result<Reply<v1::AsymmetricDecryptResponse>> {
        let algorithm = fields::wrapping_algorithm("algorithm", request.algorithm)?;
        let ciphertext = fields::present("ciphertext_blob", request.ciphertext_blob)?;
        let name = PairName { key_id: &request.key_id, key_version_id: &request.key_version_id };
        let usage = Some(KeyUsage::EncryptDecrypt);
        let access = AccessRequest::new(call, ASYMMETRIC_DECRYPT, request.dry_run)
            .with_algorithm(algorithm.as_str());
        let version = self.take_pair(access, &name, usage).await?;
        version.check_encrypts("algorithm", algorithm)?;
        call.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        let work = move || version.decrypt("ciphertext_blob", algorithm, &ciphertext);
        let plaintext = self.private_keys.run(call, work).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::AsymmetricDecryptResponse {
            key_id: key_id.to_string(),
            key_version_id: version_id.to_string(),
            plaintext: plaintext.reveal(Reveal::ToCaller).to_vec(),
            request_id: call.request_id.clone(),
        }))
    }

    /// Signs a digest.
    pub(super) async fn answer_asymmetric_sign(
        &self,
        call: &Call<'_>,
        request: v1::AsymmetricSignRequest,
    ) -> Result<Reply<v1::AsymmetricSignResponse>> {
        let algorithm = fields::signing_algorithm("algorithm", request.algorithm)?;
        let digest = fields::digest("digest", &request.digest)?;
        let name = PairName { key_id: &request.key_id, key_version_id: &request.key_version_id };
        let usage = Some(KeyUsage::SignVerify);
        let access = AccessRequest::new(call, ASYMMETRIC_SIGN, request.dry_run)
            .with_algorithm(algorithm.as_str());
        let version = self.take_pair(access, &name, usage).await?;
        version.check_signs("algorithm", algorithm)?;
        call.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        let work = move || version.sign(algorithm, &digest);
        let value = self.private_keys.run(call, work).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::AsymmetricSignResponse {
            key_id: key_id.to_string(),
            key_version_id: version_id.to_string(),
            value,
            request_id: call.request_id.clone(),
        }))
    }

    /// Verifies the signature of a digest.
    pub(super) async fn answer_asymmetric_verify(
        &self,
        call: &Call<'_>,
        request: v1::AsymmetricVerifyRequest,
    ) -> Result<Reply<v1::AsymmetricVerifyResponse>> {
        let algorithm = fields::signing_algorithm("algorithm", request.algorithm)?;
        let digest = fields::digest("digest", &request.digest)?;
        let signature = fields::present("value", request.value)?;
        let name = PairName { key_id: &request.key_id, key_version_id: &request.key_version_id };
        let _permit = call.admit(Cost::of_verification(algorithm)).await?;
        let usage = Some(KeyUsage::SignVerify);
        let access = AccessRequest::new(call, ASYMMETRIC_VERIFY, request.dry_run)
            .with_algorithm(algorithm.as_str());
        let version = self.take_pair(access, &name, usage).await?;
        version.check_signs("algorithm", algorithm)?;
        call.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        let value = version.verify(algorithm, &digest, &signature)?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::AsymmetricVerifyResponse {
            key_id: key_id.to_string(),
            key_version_id: version_id.to_string(),
            value,
            request_id: call.request_id.clone(),
        }))
    }

    async fn take_pair(
        &self,
        access: AccessRequest<'_, Use>,
        name: &PairName<'_>,
        usage: Option<KeyUsage>,
    ) -> Result<PairVersion> {
        let key = self.arns.key_name("key_id", name.key_id)?;
        let version: Option<KeyVersionId> =
            fields::version_id("key_version_id", name.key_version_id)?;
        let taken: PairVersion = until_fresh!({
            let granted = self.authorise_key(access, KeyRef::Named(&key)).await?;
            self.keyring.take_pair(granted.grant, version, usage).await
        })?;
        access.trail.used(taken.key_id(), taken.id());
        Ok(taken)
    }
}
