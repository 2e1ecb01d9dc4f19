//! ReEncrypt: the content of a blob sealed again, under another key, version or
//! context; or an import, of a data key that another region encrypted under a
//! public key of ours, so that it is used here without being shown.

use super::attempts::until_fresh;
use super::authorise::{AccessRequest, KeyRef};
use super::call::Call;
use super::fields;
use super::naming::KeyName;
use super::receipts::refuse_source;
use super::{Services, unless_dry_run};
use crate::access::decisions::RE_ENCRYPT;
use crate::access::purpose::Use;
use crate::audit::trail::Reply;
use crate::crypto::ciphertext_blob::{BlobKind, CiphertextBlob};
use crate::crypto::encryption_context::EncryptionContext;
use crate::crypto::receipt::{Delivery, UnverifiedReceipt};
use crate::crypto::wrapping::WrappingAlgorithm;
use crate::error::{Error, Result, Rule};
use crate::ids::{KeyId, KeyVersionId};
use crate::keys::model::cmk::KeyUsage;
use crate::keys::not_done::NotDone;
use crate::proto::v1;

/// Where the content comes from.
#[expect(clippy::large_enum_variant, reason = "there is one a request, on its way through")]
enum Source {
    /// A blob of this store, which names its own key version.
    Blob(CiphertextBlob, EncryptionContext),
    /// Encrypted under an asymmetric CMK of this store.
    Encrypted(Encrypted),
}

/// A ciphertext made under the public key of an asymmetric CMK.
struct Encrypted {
    key: KeyName,
    version: Option<KeyVersionId>,
    algorithm: WrappingAlgorithm,
    ciphertext: Vec<u8>,
    receipt: Option<UnverifiedReceipt>,
}

/// The CMK and context to seal under.
struct Destination {
    key: KeyName,
    context: EncryptionContext,
}

/// A new blob, and the key version that opened its source.
struct Resealed {
    key_id: KeyId,
    version_id: KeyVersionId,
    blob: CiphertextBlob,
}

impl Services {
    /// Opens a source and seals its content again. Both keys are found before either
    /// is judged, and both decisions are made before any key is touched.
    pub(super) async fn answer_re_encrypt(
        &self,
        call: &Call<'_>,
        request: v1::ReEncryptRequest,
    ) -> Result<Reply<v1::ReEncryptResponse>> {
        let dry_run = request.dry_run;
        let (source, destination) = self.parse_re_encryption(request)?;
        let access = AccessRequest::new(call, RE_ENCRYPT, dry_run);
        let resealed = match source {
            Source::Blob(blob, context) => {
                self.reseal(access, &blob, &context, &destination).await?
            }
            Source::Encrypted(encrypted) => self.import(access, encrypted, &destination).await?,
        };
        unless_dry_run(dry_run)?;
        Ok(call.reply(v1::ReEncryptResponse {
            key_id: resealed.key_id.to_string(),
            key_version_id: resealed.version_id.to_string(),
            ciphertext_blob: resealed.blob.into_bytes(),
            request_id: call.request_id.clone(),
        }))
    }

    fn parse_re_encryption(&self, request: v1::ReEncryptRequest) -> Result<(Source, Destination)> {
        let context =
            fields::context("source_encryption_context", request.source_encryption_context)?;
        let names_a_pair = !request.source_key_id.is_empty()
            || !request.source_key_version_id.is_empty()
            || request.source_encryption_algorithm != 0;
        let source = if names_a_pair {
            if !context.pairs().is_empty() {
                let found = "what was encrypted under an asymmetric key has no encryption context";
                return Err(Error::invalid("source_encryption_context", found));
            }
            Source::Encrypted(Encrypted {
                key: self.arns.key_name("source_key_id", &request.source_key_id)?,
                version: fields::version_id(
                    "source_key_version_id",
                    &request.source_key_version_id,
                )?,
                algorithm: fields::wrapping_algorithm(
                    "source_encryption_algorithm",
                    request.source_encryption_algorithm,
                )?,
                ciphertext: fields::present("ciphertext_blob", request.ciphertext_blob)?,
                receipt: self.receipts.parse_source(&request.source_receipt)?,
            })
        } else {
            refuse_source(&request.source_receipt)?;
            Source::Blob(fields::blob(&request.ciphertext_blob)?, context)
        };
        let destination = Destination {
            key: self.arns.key_name("destination_key_id", &request.destination_key_id)?,
            context: fields::context(
                "destination_encryption_context",
                request.destination_encryption_context,
            )?,
        };
        Ok((source, destination))
    }

    async fn reseal(
        &self,
        access: AccessRequest<'_, Use>,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
        destination: &Destination,
    ) -> Result<Resealed> {
        let caller = access.caller;
        let access = access.with_content(blob.kind(), blob.content_len());
        let access_from = access.with_context(context);
        let access_to = access.with_context(&destination.context);
        let (opening, sealing) = until_fresh!({
            let from = (access_from, KeyRef::Version(blob.version_id()));
            let to = (access_to, KeyRef::Destination(&destination.key));
            let [from, to] = self.authorise_keys(&[from, to]).await?;
            let opening = self.keyring.take_version(from.grant, blob.version_id()).await?;
            Ok((opening, self.keyring.take_primary(to.grant).await?))
        })?;
        caller.check_deadline()?;
        let (key_id, version_id) = (opening.key_id(), opening.id());
        access.trail.used(key_id, version_id);
        let data_key = opening.open(blob, context, None)?;
        let blob = sealing.reseal(blob.kind(), &data_key, &destination.context)?;
        Ok(Resealed { key_id, version_id, blob })
    }

    /// Unwraps a data key that another region exported, and seals it as one of
    /// this region's.
    async fn import(
        &self,
        access: AccessRequest<'_, Use>,
        source: Encrypted,
        destination: &Destination,
    ) -> Result<Resealed> {
        let caller = access.caller;
        let Encrypted { key, version, algorithm, ciphertext, receipt } = source;
        let mut access_from = access.with_algorithm(algorithm.as_str());
        access_from.facts.blob_kind = Some(BlobKind::Imported);
        let access_to = access_from.with_context(&destination.context);
        let usage = Some(KeyUsage::EncryptDecrypt);
        let (opening, sealing) = until_fresh!({
            let from = (access_from, KeyRef::Named(&key));
            let to = (access_to, KeyRef::Destination(&destination.key));
            let [from, to] = self.authorise_keys(&[from, to]).await?;
            let opening = self.keyring.take_pair(from.grant, version, usage).await;
            let opening = opening.map_err(of_another_kind)?;
            Ok((opening, self.keyring.take_primary(to.grant).await?))
        })?;
        opening.check_encrypts("source_encryption_algorithm", algorithm)?;
        let delivery = Delivery {
            exported: &ciphertext,
            recipient_sha256: &opening.recipient_sha256()?,
            algorithm: Some(algorithm),
        };
        self.receipts.check_source(receipt.as_ref(), &delivery)?;
        caller.check_deadline()?;
        let (key_id, version_id) = (opening.key_id(), opening.id());
        access.trail.used(key_id, version_id);
        let unwrap = move || opening.import("ciphertext_blob", algorithm, &ciphertext);
        let data_key = self.private_keys.run(caller, unwrap).await?;
        let blob = sealing.reseal(BlobKind::Imported, &data_key, &destination.context)?;
        Ok(Resealed { key_id, version_id, blob })
    }
}

/// ReEncrypt takes CMKs of both kinds, so it refuses a source of the wrong kind
/// as operations on symmetric ones do.
fn of_another_kind(not_done: NotDone) -> NotDone {
    match not_done {
        NotDone::Refused(error) if error.rule() == Rule::RejectedKeyKind => {
            Error::from(Rule::UnsupportedKeyKind).blaming("source_key_id").into()
        }
        not_done => not_done,
    }
}
