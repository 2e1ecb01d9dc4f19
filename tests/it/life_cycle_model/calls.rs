//! The model's calls as real ones, and their answers.

use std::collections::BTreeMap;

use keyferry::proto::v1;
use keyferry::service::Services;

use super::model::{Model, Reason};
use super::steps::{
    Call, DESCRIPTION, INTERVALS, ListedBy, PROTECTION, Paging, Spec, TagRow, Target, alias,
};
use crate::support::dev_caller;

/// Where this instance is.
pub const PLACE: &str = "acs:kms:local:0:";
/// An id that was never made.
const FOREIGN: &str = "01890000-0000-7000-8000-000000000000";

/// A blob that was made, and what is known of it.
#[derive(Clone, Debug)]
pub struct Blob {
    pub bytes: Vec<u8>,
    pub key: usize,
    pub version: String,
    pub plaintext: Vec<u8>,
    /// Which encryption context it was made with.
    pub context: usize,
}

/// The answer of a call, as far as it says anything.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Done,
    Metadata(Box<v1::KeyMetadata>),
    Version(v1::KeyVersion),
    Versions(Vec<v1::KeyVersion>),
    Tags(BTreeMap<String, String>),
    /// Ids, and the count that was told.
    Keys(Vec<String>, usize),
    /// Names with ids, and the count that was told.
    Names(Vec<(String, String)>, usize),
    /// A blob, and the key and version that are said to have made or opened it.
    Sealed {
        blob: Vec<u8>,
        key: String,
        version: String,
    },
    Opened {
        plaintext: Vec<u8>,
        key: String,
        version: String,
    },
}

/// One of several encryption contexts; the first is empty.
pub fn context(number: usize) -> BTreeMap<String, String> {
    (0..number).map(|pair| (format!("key {pair}"), number.to_string())).collect()
}

/// A target as a request names it.
pub fn named(model: &Model, target: Target) -> String {
    let keys = &model.stored.keys;
    let id = |number: usize| match keys.len() {
        0 => FOREIGN,
        made => keys[number % made].id.as_str(),
    };
    match target {
        Target::Id(number) => id(number).to_owned(),
        Target::Arn(number) => format!("{PLACE}key/{}", id(number)),
        Target::Alias(number) => alias(number),
        Target::AliasArn(number) => format!("{PLACE}{}", alias(number)),
        Target::Foreign => FOREIGN.to_owned(),
    }
}

fn tags(row: TagRow) -> Vec<v1::Tag> {
    let tag = |key| v1::Tag { tag_key: key, tag_value: row.value.to_string() };
    row.keys().map(tag).collect()
}

/// Calls one operation for its request id alone.
macro_rules! change {
    ($services:ident.$operation:ident, $request:expr) => {
        $services.$operation(&dev_caller(), $request).await.map(|_| Reply::Done)
    };
}

/// Goes through a list to its end, and gathers what its pages hold.
macro_rules! pages {
    ($services:ident.$operation:ident, $request:ident, $paging:ident, $entries:ident) => {{
        let (mut entries, mut total) = (Vec::new(), 0);
        for number in 1_u32.. {
            let request = v1::$request {
                page_size: Some($paging.size),
                page_number: $paging.numbered.then_some(number),
                ..$entries.clone()
            };
            let page = $services.$operation(&dev_caller(), request).await?;
            total = usize::try_from(page.total_count).unwrap();
            $entries.page_token = page.next_page_token;
            let more = !$entries.page_token.is_empty();
            entries.push(page.$entries);
            if $paging.numbered {
                $entries.page_token.clear();
            }
            if !more {
                break;
            }
        }
        (entries.concat(), total)
    }};
}

/// Carries a call out.
pub async fn perform(
    services: &Services,
    model: &Model,
    blobs: &[Blob],
    call: &Call,
    dry_run: bool,
) -> Result<Reply, Reason> {
    let outcome = carry_out(services, model, blobs, call, dry_run).await;
    outcome.map_err(|error| error.rule().reason())
}

#[expect(clippy::too_many_lines, reason = "one row for each operation")]
async fn carry_out(
    services: &Services,
    model: &Model,
    blobs: &[Blob],
    call: &Call,
    dry_run: bool,
) -> Result<Reply, keyferry::error::Error> {
    let named = |target| named(model, target);
    match *call {
        Call::CreateKey { spec, description, rotation, tags: row } => {
            let key_spec = match spec {
                Spec::Symmetric => "",
                Spec::Sm2 => "EC_SM2",
                Spec::P256 => "EC_P256",
            };
            let request = v1::CreateKeyRequest {
                description: description.text(DESCRIPTION),
                key_spec: key_spec.into(),
                enable_automatic_rotation: rotation.on,
                rotation_interval: INTERVALS[rotation.interval].0.into(),
                tags: tags(row),
                dry_run,
                ..Default::default()
            };
            let made = services.create_key(&dev_caller(), request).await?;
            Ok(Reply::Metadata(Box::new(made.key_metadata.unwrap())))
        }
        Call::DescribeKey(key) => {
            let request = v1::DescribeKeyRequest { key_id: named(key), dry_run };
            let found = services.describe_key(&dev_caller(), request).await?;
            Ok(Reply::Metadata(Box::new(found.key_metadata.unwrap())))
        }
        Call::ListKeys(by, paging) => list_keys(services, by, paging, dry_run).await,
        Call::EnableKey(key) => {
            change!(services.enable_key, v1::EnableKeyRequest { key_id: named(key), dry_run })
        }
        Call::DisableKey(key) => {
            change!(services.disable_key, v1::DisableKeyRequest { key_id: named(key), dry_run })
        }
        Call::ScheduleKeyDeletion(key, pending_window_in_days) => change!(
            services.schedule_key_deletion,
            v1::ScheduleKeyDeletionRequest { key_id: named(key), pending_window_in_days, dry_run }
        ),
        Call::CancelKeyDeletion(key) => change!(
            services.cancel_key_deletion,
            v1::CancelKeyDeletionRequest { key_id: named(key), dry_run }
        ),
        Call::SetDeletionProtection(key, on, words) => change!(
            services.set_deletion_protection,
            v1::SetDeletionProtectionRequest {
                protected_resource_arn: named(key),
                enable_deletion_protection: on,
                deletion_protection_description: words.text(PROTECTION),
                dry_run,
            }
        ),
        Call::UpdateKeyDescription(key, words) => change!(
            services.update_key_description,
            v1::UpdateKeyDescriptionRequest {
                key_id: named(key),
                description: words.text(DESCRIPTION),
                dry_run,
            }
        ),
        Call::TagResource(key, row) => change!(
            services.tag_resource,
            v1::TagResourceRequest { key_id: named(key), tags: tags(row), dry_run }
        ),
        Call::UntagResource(key, row) => change!(
            services.untag_resource,
            v1::UntagResourceRequest {
                key_id: named(key),
                tag_keys: row.keys().collect(),
                dry_run
            }
        ),
        Call::ListResourceTags(key) => {
            let request = v1::ListResourceTagsRequest { key_id: named(key), dry_run };
            let listed = services.list_resource_tags(&dev_caller(), request).await?.tags;
            Ok(Reply::Tags(listed.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect()))
        }
        Call::CreateKeyVersion(key) => {
            let request = v1::CreateKeyVersionRequest { key_id: named(key), dry_run };
            let made = services.create_key_version(&dev_caller(), request).await?;
            Ok(Reply::Version(made.key_version.unwrap()))
        }
        Call::ListKeyVersions(key, paging) => {
            let mut key_versions =
                v1::ListKeyVersionsRequest { key_id: named(key), dry_run, ..Default::default() };
            let (listed, total) =
                pages!(services.list_key_versions, ListKeyVersionsRequest, paging, key_versions);
            assert_eq!(listed.len(), total);
            Ok(Reply::Versions(listed))
        }
        Call::UpdateRotationPolicy(key, rotation) => change!(
            services.update_rotation_policy,
            v1::UpdateRotationPolicyRequest {
                key_id: named(key),
                enable_automatic_rotation: Some(rotation.on),
                rotation_interval: INTERVALS[rotation.interval].0.into(),
                dry_run,
            }
        ),
        Call::CreateAlias(name, key) => change!(
            services.create_alias,
            v1::CreateAliasRequest { alias_name: alias(name), key_id: named(key), dry_run }
        ),
        Call::CreateAliases(..) => unreachable!("taken apart before"),
        Call::UpdateAlias(name, key) => change!(
            services.update_alias,
            v1::UpdateAliasRequest { alias_name: alias(name), key_id: named(key), dry_run }
        ),
        Call::DeleteAlias(name) => change!(
            services.delete_alias,
            v1::DeleteAliasRequest { alias_name: alias(name), dry_run }
        ),
        Call::ListAliases(paging) => {
            let mut aliases = v1::ListAliasesRequest { dry_run, ..Default::default() };
            let (listed, total) =
                pages!(services.list_aliases, ListAliasesRequest, paging, aliases);
            Ok(names(listed, total))
        }
        Call::ListAliasesByKeyId(key, paging) => {
            let mut aliases =
                v1::ListAliasesByKeyIdRequest { key_id: named(key), dry_run, ..Default::default() };
            let (listed, total) =
                pages!(services.list_aliases_by_key_id, ListAliasesByKeyIdRequest, paging, aliases);
            Ok(names(listed, total))
        }
        Call::Generate(key) => {
            let request = v1::GenerateDataKeyWithoutPlaintextRequest {
                key_id: named(key),
                encryption_context: context(0),
                dry_run,
                ..Default::default()
            };
            let made = services.generate_data_key_without_plaintext(&dev_caller(), request).await?;
            let (blob, key, version) = (made.ciphertext_blob, made.key_id, made.key_version_id);
            Ok(Reply::Sealed { blob, key, version })
        }
        Call::Encrypt(key, byte) => {
            let request = v1::EncryptRequest {
                key_id: named(key),
                plaintext: vec![byte; 24],
                encryption_context: context(1),
                dry_run,
            };
            let made = services.encrypt(&dev_caller(), request).await?;
            let (blob, key, version) = (made.ciphertext_blob, made.key_id, made.key_version_id);
            Ok(Reply::Sealed { blob, key, version })
        }
        Call::Decrypt { blob, right_context } => {
            let blob = &blobs[blob % blobs.len()];
            let number = if right_context { blob.context } else { blob.context + 1 };
            let request = v1::DecryptRequest {
                ciphertext_blob: blob.bytes.clone(),
                encryption_context: context(number),
                dry_run,
            };
            let opened = services.decrypt(&dev_caller(), request).await?;
            let (key, version) = (opened.key_id, opened.key_version_id);
            Ok(Reply::Opened { plaintext: opened.plaintext, key, version })
        }
        Call::ReEncrypt { blob, to } => {
            let blob = &blobs[blob % blobs.len()];
            let request = v1::ReEncryptRequest {
                ciphertext_blob: blob.bytes.clone(),
                source_encryption_context: context(blob.context),
                destination_key_id: named(to),
                destination_encryption_context: context(2),
                dry_run,
                ..Default::default()
            };
            let made = services.re_encrypt(&dev_caller(), request).await?;
            let (blob, key, version) = (made.ciphertext_blob, made.key_id, made.key_version_id);
            Ok(Reply::Sealed { blob, key, version })
        }
    }
}

async fn list_keys(
    services: &Services,
    by: ListedBy,
    paging: Paging,
    dry_run: bool,
) -> Result<Reply, keyferry::error::Error> {
    let filter = |key: &str, value: String| {
        vec![v1::Filter { key: key.into(), values: vec![value, "none such".into()] }]
    };
    let filters = match by {
        ListedBy::Everything => vec![],
        ListedBy::State(state) => filter("KeyState", state.into()),
        ListedBy::Tag(number) => filter("TagKey", format!("tag-{number:02}")),
        ListedBy::Alias(number) => filter("AliasName", alias(number)),
    };
    let mut keys = v1::ListKeysRequest { filters, dry_run, ..Default::default() };
    let (listed, total) = pages!(services.list_keys, ListKeysRequest, paging, keys);
    for key in &listed {
        assert_eq!(key.key_arn, format!("{PLACE}key/{}", key.key_id));
    }
    Ok(Reply::Keys(listed.into_iter().map(|key| key.key_id).collect(), total))
}

fn names(listed: Vec<v1::Alias>, total: usize) -> Reply {
    let name = |alias: v1::Alias| (alias.alias_name, alias.key_id);
    Reply::Names(listed.into_iter().map(name).collect(), total)
}
