//! Encrypt and Decrypt: a caller's bytes under a symmetric CMK.

use super::attempts::until_fresh;
use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::fields;
use super::{Services, unless_dry_run};
use crate::access::decisions::{DECRYPT, ENCRYPT};
use crate::audit::trail::Reply;
use crate::crypto::ciphertext_blob::BlobKind;
use crate::crypto::secret::{Plaintext, Reveal};
use crate::error::{Error, Result};
use crate::limits::PLAINTEXT_BYTES;
use crate::proto::v1;

impl Services {
    /// Encrypts a caller's bytes.
    pub(super) async fn answer_encrypt(
        &self,
        call: &Call<'_>,
        request: v1::EncryptRequest,
    ) -> Result<Reply<v1::EncryptResponse>> {
        // First of all, so that it is wiped whatever follows.
        let plaintext = Plaintext::new(request.plaintext);
        let key = self.arns.key_name("key_id", &request.key_id)?;
        check_plaintext(&plaintext)?;
        let context = fields::context("encryption_context", request.encryption_context)?;
        let access = AccessRequest::new(call, ENCRYPT, request.dry_run)
            .with_context(&context)
            .with_content(BlobKind::CallerBytes, plaintext.len());
        let version = until_fresh!({
            let granted = self.authorise_key(access, KeyRef::Named(&key)).await?;
            self.keyring.take_primary(granted.grant).await
        })?;
        call.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        call.trail().used(key_id, version_id);
        let blob = version.encrypt(&plaintext, &context)?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::EncryptResponse {
            key_id: key_id.to_string(),
            key_version_id: version_id.to_string(),
            ciphertext_blob: blob.into_bytes(),
            request_id: call.request_id.clone(),
        }))
    }

    /// Returns the content of a blob in the clear.
    pub(super) async fn answer_decrypt(
        &self,
        call: &Call<'_>,
        request: v1::DecryptRequest,
    ) -> Result<Reply<v1::DecryptResponse>> {
        let blob = fields::blob(&request.ciphertext_blob)?;
        let context = fields::context("encryption_context", request.encryption_context)?;
        let access = AccessRequest::new(call, DECRYPT, request.dry_run);
        let opened = self.open(access, &blob, &context, None).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::DecryptResponse {
            key_id: opened.key_id.to_string(),
            key_version_id: opened.version_id.to_string(),
            plaintext: opened.data_key.reveal(Reveal::ToCaller).to_vec(),
            request_id: call.request_id.clone(),
        }))
    }
}

fn check_plaintext(plaintext: &Plaintext) -> Result<()> {
    match plaintext.len() {
        0 => Err(Error::missing("plaintext")),
        length if PLAINTEXT_BYTES.allows(length) => Ok(()),
        length => {
            let found = format_args!("it has {length} bytes, {PLAINTEXT_BYTES} are accepted");
            Err(Error::invalid("plaintext", found))
        }
    }
}
