//! Data keys: generated sealed, exported wrapped.
//!
//! ExportDataKey has all the steps, the others have some of them: parse
//! everything → find the CMK by the blob's key version → authorise → take the key
//! version, for that grant → open the blob → wrap the data key, which consumes and
//! wipes it.

use std::collections::BTreeMap;

use super::attempts::until_fresh;
use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::fields::{self, Wrapping, WrappingFields};
use super::naming::KeyName;
use super::{Services, unless_dry_run};
use crate::access::decisions::{
    Decisions, EXPORT_DATA_KEY, GENERATE_AND_EXPORT_DATA_KEY, GENERATE_DATA_KEY,
    GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
};
use crate::access::purpose::Use;
use crate::audit::trail::Reply;
use crate::crypto::ciphertext_blob::{BlobKind, CiphertextBlob};
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::receipt::Export;
use crate::crypto::secret::{DataKey, Reveal};
use crate::error::{Error, Result};
use crate::ids::{KeyId, KeyVersionId};
use crate::proto::v1;

/// The fields of a request that say how a data key leaves. A macro, as other fields of it
/// have been taken out by then.
macro_rules! wrapping_fields {
    ($request:ident) => {
        WrappingFields {
            public_key_blob: &$request.public_key_blob,
            wrapping_algorithm: $request.wrapping_algorithm,
            wrapping_key_spec: $request.wrapping_key_spec,
            sm2_ciphertext_encoding: $request.sm2_ciphertext_encoding,
        }
    };
}

/// A data key to be made.
struct NewDataKey {
    key: KeyName,
    len: usize,
    context: EncryptionContext,
}

/// A new data key, and the key version that sealed it.
struct Generated {
    key_id: KeyId,
    version_id: KeyVersionId,
    data_key: DataKey,
    blob: CiphertextBlob,
}

impl Services {
    /// Generates a data key that leaves only sealed.
    pub(super) async fn answer_generate_data_key_without_plaintext(
        &self,
        call: &Call<'_>,
        request: v1::GenerateDataKeyWithoutPlaintextRequest,
    ) -> Result<Reply<v1::GenerateDataKeyWithoutPlaintextResponse>> {
        let new = self.parse_new(
            &request.key_id,
            request.key_spec,
            request.number_of_bytes,
            request.encryption_context,
        )?;
        let access = AccessRequest::new(call, GENERATE_DATA_KEY_WITHOUT_PLAINTEXT, request.dry_run);
        let made = self.generate(access, &new, BlobKind::DataKeyUnseen, None).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::GenerateDataKeyWithoutPlaintextResponse {
            key_id: made.key_id.to_string(),
            key_version_id: made.version_id.to_string(),
            ciphertext_blob: made.blob.into_bytes(),
            request_id: call.request_id.clone(),
        }))
    }

    /// Generates a data key that leaves sealed and in the clear.
    pub(super) async fn answer_generate_data_key(
        &self,
        call: &Call<'_>,
        request: v1::GenerateDataKeyRequest,
    ) -> Result<Reply<v1::GenerateDataKeyResponse>> {
        let new = self.parse_new(
            &request.key_id,
            request.key_spec,
            request.number_of_bytes,
            request.encryption_context,
        )?;
        let access = AccessRequest::new(call, GENERATE_DATA_KEY, request.dry_run);
        let made = self.generate(access, &new, BlobKind::DataKeyShown, None).await?;
        unless_dry_run(request.dry_run)?;
        Ok(call.reply(v1::GenerateDataKeyResponse {
            key_id: made.key_id.to_string(),
            key_version_id: made.version_id.to_string(),
            plaintext: made.data_key.reveal(Reveal::ToCaller).to_vec(),
            ciphertext_blob: made.blob.into_bytes(),
            request_id: call.request_id.clone(),
        }))
    }

    /// Generates a data key that leaves sealed and wrapped for its recipient.
    pub(super) async fn answer_generate_and_export_data_key(
        &self,
        call: &Call<'_>,
        request: v1::GenerateAndExportDataKeyRequest,
    ) -> Result<Reply<v1::GenerateAndExportDataKeyResponse>> {
        let new = self.parse_new(
            &request.key_id,
            request.key_spec,
            request.number_of_bytes,
            request.encryption_context,
        )?;
        let wrapping = self.parse_wrapping(call, &wrapping_fields!(request))?;
        let _permit = call.admit(wrapping.cost()).await?;
        let access = AccessRequest::new(call, GENERATE_AND_EXPORT_DATA_KEY, request.dry_run);
        let made = self.generate(access, &new, BlobKind::DataKeyUnseen, Some(&wrapping)).await?;
        let exported = self.wrap(call, made.data_key, &wrapping)?;
        unless_dry_run(request.dry_run)?;
        let export = Export {
            request_id: &call.request_id,
            key_id: made.key_id,
            version_id: made.version_id,
            blob: &made.blob,
            recipient_sha256: wrapping.recipient.sha256(),
            method: &wrapping.method,
            exported: &exported,
            context: &new.context,
        };
        let receipt = self.receipts.issue(request.receipt, call, self.clock(), &export).await?;
        Ok(call.reply(v1::GenerateAndExportDataKeyResponse {
            key_id: made.key_id.to_string(),
            key_version_id: made.version_id.to_string(),
            ciphertext_blob: made.blob.into_bytes(),
            exported_data_key: exported,
            receipt,
            request_id: call.request_id.clone(),
        }))
    }

    /// Opens a blob and wraps its content for the recipient.
    pub(super) async fn answer_export_data_key(
        &self,
        call: &Call<'_>,
        request: v1::ExportDataKeyRequest,
    ) -> Result<Reply<v1::ExportDataKeyResponse>> {
        self.export(call, EXPORT_DATA_KEY, request).await
    }

    /// ExportDataKey, by itself or as an item of a stream.
    pub(super) async fn export(
        &self,
        call: &Call<'_>,
        decisions: Decisions<Use>,
        request: v1::ExportDataKeyRequest,
    ) -> Result<Reply<v1::ExportDataKeyResponse>> {
        let blob = fields::blob(&request.ciphertext_blob)?;
        let wrapping = self.parse_wrapping(call, &wrapping_fields!(request))?;
        let context = fields::context("encryption_context", request.encryption_context)?;
        let _permit = call.admit(wrapping.cost()).await?;
        let access = AccessRequest::new(call, decisions, request.dry_run);
        let opened = self.open(access, &blob, &context, Some(&wrapping)).await?;
        let exported = self.wrap(call, opened.data_key, &wrapping)?;
        unless_dry_run(request.dry_run)?;
        let export = Export {
            request_id: &call.request_id,
            key_id: opened.key_id,
            version_id: opened.version_id,
            blob: &blob,
            recipient_sha256: wrapping.recipient.sha256(),
            method: &wrapping.method,
            exported: &exported,
            context: &context,
        };
        let receipt = self.receipts.issue(request.receipt, call, self.clock(), &export).await?;
        Ok(call.reply(v1::ExportDataKeyResponse {
            key_id: opened.key_id.to_string(),
            key_version_id: opened.version_id.to_string(),
            exported_data_key: exported,
            receipt,
            request_id: call.request_id.clone(),
        }))
    }

    fn parse_new(
        &self,
        key_id: &str,
        key_spec: i32,
        number_of_bytes: Option<u32>,
        pairs: BTreeMap<String, String>,
    ) -> Result<NewDataKey> {
        Ok(NewDataKey {
            key: self.arns.key_name("key_id", key_id)?,
            len: fields::data_key_len(key_spec, number_of_bytes)?,
            context: fields::context("encryption_context", pairs)?,
        })
    }

    fn parse_wrapping(&self, call: &Call<'_>, fields: &WrappingFields<'_>) -> Result<Wrapping> {
        fields.parse(&self.recipients, &call.principal.to_string())
    }

    async fn generate(
        &self,
        access: AccessRequest<'_, Use>,
        new: &NewDataKey,
        kind: BlobKind,
        wrapping: Option<&Wrapping>,
    ) -> Result<Generated> {
        let recipient_sha256 = wrapping.map(|wrapping| *wrapping.recipient.sha256());
        let access =
            access.with_context(&new.context).with_wrapping(wrapping).with_content(kind, new.len);
        let version = until_fresh!({
            let granted = self.authorise_key(access, KeyRef::Named(&new.key)).await?;
            self.keyring.take_primary(granted.grant).await
        })?;
        if let Some(wrapping) = wrapping {
            wrapping.check_fits("number_of_bytes", new.len)?;
        }
        access.caller.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        access.trail.used(key_id, version_id);
        let (data_key, blob) = version.generate(kind, new.len, &new.context, recipient_sha256)?;
        Ok(Generated { key_id, version_id, data_key, blob })
    }

    /// Wraps for a recipient that was allowed, and remembers the recipient.
    fn wrap(&self, call: &Call<'_>, data_key: DataKey, wrapping: &Wrapping) -> Result<Vec<u8>> {
        self.recipients.admit(&call.principal.to_string(), &wrapping.recipient);
        data_key
            .wrap(wrapping.recipient.key(), &wrapping.method)
            .map_err(|_| Error::internal("a data key could not be wrapped"))
    }
}

/// The content of a blob, and the key version that opened it.
pub(super) struct OpenedBlob {
    pub(super) key_id: KeyId,
    pub(super) version_id: KeyVersionId,
    pub(super) data_key: DataKey,
}

impl Services {
    /// Opens a blob: checks the CMK's state first, then the length, then opens.
    pub(super) async fn open(
        &self,
        access: AccessRequest<'_, Use>,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
        wrapping: Option<&Wrapping>,
    ) -> Result<OpenedBlob> {
        let recipient_sha256 = wrapping.map(|wrapping| *wrapping.recipient.sha256());
        let access = access
            .with_context(context)
            .with_wrapping(wrapping)
            .with_content(blob.kind(), blob.content_len());
        let version = until_fresh!({
            let granted = self.authorise_key(access, KeyRef::Version(blob.version_id())).await?;
            self.keyring.take_version(granted.grant, blob.version_id()).await
        })?;
        if let Some(wrapping) = wrapping {
            wrapping.check_fits("ciphertext_blob", blob.content_len())?;
        }
        access.caller.check_deadline()?;
        let (key_id, version_id) = (version.key_id(), version.id());
        access.trail.used(key_id, version_id);
        let data_key = version.open(blob, context, recipient_sha256)?;
        Ok(OpenedBlob { key_id, version_id, data_key })
    }
}
