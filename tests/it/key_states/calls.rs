//! One whole and fit request for each row of the table.

use std::sync::Arc;

use keyferry::proto::v1::{self, SigningAlgorithm, WrappingAlgorithm};
use keyferry::storage::MemoryStore;
use tokio_stream::StreamExt;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use super::table::Kind;
use crate::support::{Founded, ManualClock, Recipient, TestServer, days, services_of};

/// Why a call was refused.
pub type Refused = (Code, String);

/// A server, and what stands beside the CMK that is tried.
pub struct World {
    pub server: TestServer,
    pub store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    recipient: Recipient,
    /// An enabled symmetric CMK.
    other: String,
    /// An enabled key pair, its version, and what it encrypted.
    pair: Subject,
}

/// A CMK that is tried.
#[derive(Default)]
pub struct Subject {
    pub key_id: String,
    /// Its one version.
    version: String,
    /// A name of it.
    pub alias: String,
    /// A blob of its version; where it is a key pair, only the head says so.
    blob: Vec<u8>,
    /// A ciphertext under it; where it does not encrypt, nothing sensible.
    ciphertext: Vec<u8>,
}

impl World {
    pub async fn start() -> Self {
        let store = Arc::new(MemoryStore::new());
        let founded = Founded::over(store.clone()).await;
        let clock = Arc::new(ManualClock::default());
        let server = TestServer::serving(services_of(founded.keys(clock.clone()).await)).await;
        let other = server.create_key().await;
        let pair = Subject::default();
        let mut world = Self { server, store, clock, recipient: Recipient::sm2(), other, pair };
        world.pair = world.subject(Kind::Encrypting, "alias/beside").await;
        world
    }

    /// A new CMK, old enough for another version.
    pub async fn subject(&self, kind: Kind, alias: &str) -> Subject {
        let mut management = self.server.management.clone();
        let (key_spec, key_usage) = kind.spec_and_usage();
        let request = v1::CreateKeyRequest {
            key_spec: key_spec.into(),
            key_usage: key_usage.into(),
            tags: vec![v1::Tag { tag_key: "team".into(), tag_value: "payments".into() }],
            ..Default::default()
        };
        let made = management.create_key(request).await.unwrap().into_inner();
        let key_id = made.key_metadata.unwrap().key_id;
        let request = v1::CreateAliasRequest {
            alias_name: alias.into(),
            key_id: key_id.clone(),
            dry_run: false,
        };
        management.create_alias(request).await.unwrap();
        self.clock.pass(days(8));
        let version = self.versions(&key_id).await.remove(0);
        let (mut blob, mut ciphertext) = (vec![7; 200], vec![4; 130]);
        if kind == Kind::Symmetric {
            blob = self.server.generate(&key_id, &[], 32).await;
        } else {
            blob = [version.as_bytes(), &[1, 1], blob.as_slice()].concat();
        }
        if kind == Kind::Encrypting {
            let request = v1::AsymmetricEncryptRequest {
                key_id: key_id.clone(),
                key_version_id: version.clone(),
                algorithm: WrappingAlgorithm::Sm2pke.into(),
                plaintext: vec![9; 32],
                ..Default::default()
            };
            let made = self.server.kms.clone().asymmetric_encrypt(request).await.unwrap();
            ciphertext = made.into_inner().ciphertext_blob;
        }
        Subject { key_id, version, alias: alias.into(), blob, ciphertext }
    }

    /// Brings a CMK into a state.
    pub async fn bring(&self, key_id: &str, state: &str) {
        let (key_id, dry_run) = (key_id.to_owned(), false);
        let mut management = self.server.management.clone();
        match state {
            "Enabled" => {}
            "Disabled" => {
                let request = v1::DisableKeyRequest { key_id, dry_run };
                management.disable_key(request).await.unwrap();
            }
            "PendingDeletion" => {
                let pending_window_in_days = Some(7);
                let request =
                    v1::ScheduleKeyDeletionRequest { key_id, pending_window_in_days, dry_run };
                management.schedule_key_deletion(request).await.unwrap();
            }
            other => panic!("no such state: {other}"),
        }
    }

    pub async fn versions(&self, key_id: &str) -> Vec<String> {
        let request = v1::ListKeyVersionsRequest { key_id: key_id.into(), ..Default::default() };
        let listed = self.server.management.clone().list_key_versions(request).await.unwrap();
        listed.into_inner().key_versions.into_iter().map(|one| one.key_version_id).collect()
    }

    pub async fn call(
        &self,
        rpc: &str,
        part: &str,
        subject: &Subject,
        dry_run: bool,
    ) -> Result<(), Refused> {
        match rpc.split_once('/').unwrap() {
            ("Kms", "ExportDataKeys") => self.stream(subject, dry_run).await,
            ("Kms", method) => judged(self.use_key(method, part, subject, dry_run).await),
            (_, method) => judged(self.manage(method, part, subject, dry_run).await),
        }
    }

    async fn use_key(
        &self,
        method: &str,
        part: &str,
        subject: &Subject,
        dry_run: bool,
    ) -> Result<(), Status> {
        let mut kms = self.server.kms.clone();
        let (key_id, key_version_id) = (subject.key_id.clone(), subject.version.clone());
        let ciphertext_blob = subject.blob.clone();
        match method {
            "GenerateDataKeyWithoutPlaintext" => {
                let request = v1::GenerateDataKeyWithoutPlaintextRequest {
                    key_id,
                    dry_run,
                    ..Default::default()
                };
                done(kms.generate_data_key_without_plaintext(request).await)
            }
            "GenerateDataKey" => {
                let request = v1::GenerateDataKeyRequest { key_id, dry_run, ..Default::default() };
                done(kms.generate_data_key(request).await)
            }
            "GenerateAndExportDataKey" => {
                let request = v1::GenerateAndExportDataKeyRequest {
                    key_id,
                    public_key_blob: self.recipient.private.public_key_der().to_vec(),
                    wrapping_algorithm: self.recipient.algorithm.into(),
                    wrapping_key_spec: self.recipient.spec.into(),
                    dry_run,
                    ..Default::default()
                };
                done(kms.generate_and_export_data_key(request).await)
            }
            "Encrypt" => {
                let plaintext = vec![1];
                let request =
                    v1::EncryptRequest { key_id, plaintext, dry_run, ..Default::default() };
                done(kms.encrypt(request).await)
            }
            "ExportDataKey" => done(kms.export_data_key(self.export(subject, dry_run)).await),
            "Decrypt" => {
                let request = v1::DecryptRequest { ciphertext_blob, dry_run, ..Default::default() };
                done(kms.decrypt(request).await)
            }
            "ReEncrypt" => {
                done(kms.re_encrypt(self.re_encrypt(part, subject, dry_run).await).await)
            }
            "GetPublicKey" => {
                let request = v1::GetPublicKeyRequest { key_id, key_version_id, dry_run };
                done(kms.get_public_key(request).await)
            }
            "AsymmetricEncrypt" => {
                let request = v1::AsymmetricEncryptRequest {
                    key_id,
                    key_version_id,
                    algorithm: WrappingAlgorithm::Sm2pke.into(),
                    plaintext: vec![1],
                    dry_run,
                    ..Default::default()
                };
                done(kms.asymmetric_encrypt(request).await)
            }
            "AsymmetricDecrypt" => {
                let request = v1::AsymmetricDecryptRequest {
                    key_id,
                    key_version_id,
                    algorithm: WrappingAlgorithm::Sm2pke.into(),
                    ciphertext_blob: subject.ciphertext.clone(),
                    dry_run,
                };
                done(kms.asymmetric_decrypt(request).await)
            }
            "AsymmetricSign" => {
                let request = v1::AsymmetricSignRequest {
                    key_id,
                    key_version_id,
                    algorithm: SigningAlgorithm::EcdsaSha256.into(),
                    digest: vec![1; 32],
                    dry_run,
                };
                done(kms.asymmetric_sign(request).await)
            }
            "AsymmetricVerify" => {
                let request = v1::AsymmetricVerifyRequest {
                    key_id,
                    key_version_id,
                    algorithm: SigningAlgorithm::EcdsaSha256.into(),
                    digest: vec![1; 32],
                    value: vec![1; 70],
                    dry_run,
                };
                done(kms.asymmetric_verify(request).await)
            }
            other => panic!("no call for Kms/{other}"),
        }
    }

    fn export(&self, subject: &Subject, dry_run: bool) -> v1::ExportDataKeyRequest {
        v1::ExportDataKeyRequest { dry_run, ..self.recipient.export(&subject.blob, &[]) }
    }

    async fn re_encrypt(
        &self,
        part: &str,
        subject: &Subject,
        dry_run: bool,
    ) -> v1::ReEncryptRequest {
        let imported = |pair: &Subject, destination_key_id: &str| v1::ReEncryptRequest {
            ciphertext_blob: pair.ciphertext.clone(),
            source_key_id: pair.key_id.clone(),
            source_key_version_id: pair.version.clone(),
            source_encryption_algorithm: WrappingAlgorithm::Sm2pke.into(),
            destination_key_id: destination_key_id.into(),
            dry_run,
            ..Default::default()
        };
        let resealed = |ciphertext_blob, destination_key_id: &str| v1::ReEncryptRequest {
            ciphertext_blob,
            destination_key_id: destination_key_id.into(),
            dry_run,
            ..Default::default()
        };
        match part {
            "source" => resealed(subject.blob.clone(), &self.other),
            "asymmetric source" => imported(subject, &self.other),
            "destination" => {
                resealed(self.server.generate(&self.other, &[], 32).await, &subject.key_id)
            }
            "destination of an import" => imported(&self.pair, &subject.key_id),
            other => panic!("no part {other:?} in ReEncrypt"),
        }
    }

    /// The one item of a stream.
    async fn stream(&self, subject: &Subject, dry_run: bool) -> Result<(), Refused> {
        let item = Some(self.export(subject, dry_run));
        let item = v1::ExportDataKeysRequest { item_id: "one".into(), item };
        let answers = self.server.kms.clone().export_data_keys(tokio_stream::once(item)).await;
        let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
        let [Ok(answer)] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(answer.item_id, "one");
        match answer.outcome.clone().unwrap() {
            v1::export_data_keys_response::Outcome::Exported(_) => Ok(()),
            v1::export_data_keys_response::Outcome::Error(error) => {
                assert!(!error.message.is_empty());
                Err((Code::from(error.code), error.reason))
            }
        }
    }

    #[expect(clippy::needless_update, reason = "some requests are named whole")]
    async fn manage(
        &self,
        method: &str,
        part: &str,
        subject: &Subject,
        dry_run: bool,
    ) -> Result<(), Status> {
        let mut management = self.server.management.clone();
        let (key_id, alias_name) = (subject.key_id.clone(), subject.alias.clone());
        macro_rules! ask {
            ($rpc:ident, $request:ident { $($field:ident $(: $value:expr)?),* }) => {
                done(management.$rpc(v1::$request { $($field $(: $value)?,)* ..Default::default() }).await)
            };
        }
        match method {
            "CreateKey" => ask!(create_key, CreateKeyRequest { dry_run }),
            "DescribeKey" => ask!(describe_key, DescribeKeyRequest { key_id, dry_run }),
            "ListKeys" => ask!(list_keys, ListKeysRequest { dry_run }),
            "UpdateKeyDescription" => {
                let description = "another".to_owned();
                ask!(
                    update_key_description,
                    UpdateKeyDescriptionRequest { key_id, description, dry_run }
                )
            }
            "EnableKey" => ask!(enable_key, EnableKeyRequest { key_id, dry_run }),
            "DisableKey" => ask!(disable_key, DisableKeyRequest { key_id, dry_run }),
            "ScheduleKeyDeletion" => {
                let pending_window_in_days = Some(30);
                ask!(
                    schedule_key_deletion,
                    ScheduleKeyDeletionRequest { key_id, pending_window_in_days, dry_run }
                )
            }
            "CancelKeyDeletion" => {
                ask!(cancel_key_deletion, CancelKeyDeletionRequest { key_id, dry_run })
            }
            "SetDeletionProtection" => {
                let enable_deletion_protection = Some(true);
                ask!(
                    set_deletion_protection,
                    SetDeletionProtectionRequest {
                        protected_resource_arn: format!("acs:kms:local:0:key/{key_id}"),
                        enable_deletion_protection,
                        dry_run
                    }
                )
            }
            "CreateKeyVersion" => {
                ask!(create_key_version, CreateKeyVersionRequest { key_id, dry_run })
            }
            "DescribeKeyVersion" => {
                let key_version_id = subject.version.clone();
                ask!(
                    describe_key_version,
                    DescribeKeyVersionRequest { key_id, key_version_id, dry_run }
                )
            }
            "ListKeyVersions" => {
                ask!(list_key_versions, ListKeyVersionsRequest { key_id, dry_run })
            }
            "UpdateRotationPolicy" => {
                let (on, interval) = (Some(true), "7d".to_owned());
                ask!(
                    update_rotation_policy,
                    UpdateRotationPolicyRequest {
                        key_id,
                        enable_automatic_rotation: on,
                        rotation_interval: interval,
                        dry_run
                    }
                )
            }
            "TagResource" => {
                let tags = vec![v1::Tag { tag_key: "more".into(), tag_value: String::new() }];
                ask!(tag_resource, TagResourceRequest { key_id, tags, dry_run })
            }
            "UntagResource" => {
                let tag_keys = vec!["team".to_owned()];
                ask!(untag_resource, UntagResourceRequest { key_id, tag_keys, dry_run })
            }
            "ListResourceTags" => {
                ask!(list_resource_tags, ListResourceTagsRequest { key_id, dry_run })
            }
            "TagResources" => {
                let tags = vec![v1::Tag { tag_key: "more".into(), tag_value: String::new() }];
                let (resource_type, resource_ids) = ("key".to_owned(), vec![key_id]);
                ask!(
                    tag_resources,
                    TagResourcesRequest { resource_type, resource_ids, tags, dry_run }
                )
            }
            "UntagResources" => {
                let (resource_type, resource_ids) = ("key".to_owned(), vec![key_id]);
                let tag_keys = vec!["team".to_owned()];
                ask!(
                    untag_resources,
                    UntagResourcesRequest { resource_type, resource_ids, tag_keys, dry_run }
                )
            }
            "ListTagResources" => {
                let (resource_type, resource_ids) = ("key".to_owned(), vec![key_id]);
                ask!(
                    list_tag_resources,
                    ListTagResourcesRequest { resource_type, resource_ids, dry_run }
                )
            }
            "DescribeRegions" => ask!(describe_regions, DescribeRegionsRequest { dry_run }),
            "CreateAlias" => {
                let alias_name = format!("{alias_name}-too");
                ask!(create_alias, CreateAliasRequest { alias_name, key_id, dry_run })
            }
            "UpdateAlias" if part == "named until now" => {
                let key_id = self.other.clone();
                ask!(update_alias, UpdateAliasRequest { alias_name, key_id, dry_run })
            }
            "UpdateAlias" => {
                let alias_name = self.pair.alias.clone();
                ask!(update_alias, UpdateAliasRequest { alias_name, key_id, dry_run })
            }
            "DeleteAlias" => ask!(delete_alias, DeleteAliasRequest { alias_name, dry_run }),
            "ListAliases" => ask!(list_aliases, ListAliasesRequest { dry_run }),
            "ListAliasesByKeyId" => {
                ask!(list_aliases_by_key_id, ListAliasesByKeyIdRequest { key_id, dry_run })
            }
            other => panic!("no call for KeyManagement/{other}"),
        }
    }
}

fn done<T>(outcome: Result<Response<T>, Status>) -> Result<(), Status> {
    outcome.map(drop)
}

/// Code and reason of a refusal that has all its details.
fn judged(outcome: Result<(), Status>) -> Result<(), Refused> {
    outcome.map_err(|status| {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "keyferry");
        assert!(!details.request_info().expect("RequestInfo").request_id.is_empty());
        if status.code() == Code::FailedPrecondition {
            let violations = &details.precondition_failure().expect("why").violations;
            assert_eq!(violations[0].r#type, info.reason);
            assert_eq!(violations[0].description, status.message());
        }
        (status.code(), info.reason.clone())
    })
}
