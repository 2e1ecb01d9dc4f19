//! The table of actions: the service function of each.
//!
//! Every RPC that the API has is here, by its own name. What a row does is the
//! same for all: parameters → message → service → answer.

use std::pin::Pin;

use super::descriptors;
use super::given::Given;
use super::reply::Shown;
use super::request;
use crate::error::Result;
use crate::proto::v1;
use crate::service::Services;
use crate::service::caller::Caller;

/// An answer on its way.
pub(super) type Acting<'a> = Pin<Box<dyn Future<Output = Result<Shown>> + Send + 'a>>;

/// One row.
pub struct Action {
    /// The name by which requests ask for it.
    pub name: &'static str,
    /// The RPC, as `Service/Method`.
    pub rpc: &'static str,
    pub(super) act: for<'a> fn(&'a Services, &'a Caller, &Given<'_>) -> Acting<'a>,
}

impl Action {
    /// Whether it changes what is stored.
    #[must_use]
    pub fn changes(&self) -> bool {
        let looks = ["Describe", "List"].iter().any(|verb| self.name.starts_with(verb));
        self.rpc.starts_with("KeyManagement/") && !looks
    }

    /// The action of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|action| action.name == name)
    }
}

macro_rules! actions {
    ($($service:ident { $($name:ident($request:ident) => $function:ident;)+ })+) => {
        /// The whole table.
        pub const TABLE: &[Action] = &[$($(Action {
            name: stringify!($name),
            rpc: concat!(stringify!($service), "/", stringify!($name)),
            act: |services, caller, given| {
                let rpc = concat!(stringify!($service), "/", stringify!($name));
                // Parsed here, so that the parameters can be wiped before the work.
                let parsed = descriptors::rpc(rpc).and_then(|rpc| {
                    Ok((request::read::<v1::$request>(&rpc.input(), given)?, rpc.output()))
                });
                Box::pin(async move {
                    let (request, output) = parsed?;
                    let response = services.$function(caller, request).await?;
                    Shown::of(output, &response)
                })
            },
        },)+)+];
    };
}

actions! {
    Kms {
        GenerateDataKeyWithoutPlaintext(GenerateDataKeyWithoutPlaintextRequest) => generate_data_key_without_plaintext;
        ExportDataKey(ExportDataKeyRequest) => export_data_key;
        GenerateDataKey(GenerateDataKeyRequest) => generate_data_key;
        GenerateAndExportDataKey(GenerateAndExportDataKeyRequest) => generate_and_export_data_key;
        Encrypt(EncryptRequest) => encrypt;
        Decrypt(DecryptRequest) => decrypt;
        ReEncrypt(ReEncryptRequest) => re_encrypt;
        GetPublicKey(GetPublicKeyRequest) => get_public_key;
        AsymmetricEncrypt(AsymmetricEncryptRequest) => asymmetric_encrypt;
        AsymmetricDecrypt(AsymmetricDecryptRequest) => asymmetric_decrypt;
        AsymmetricSign(AsymmetricSignRequest) => asymmetric_sign;
        AsymmetricVerify(AsymmetricVerifyRequest) => asymmetric_verify;
    }
    KeyManagement {
        CreateKey(CreateKeyRequest) => create_key;
        DescribeKey(DescribeKeyRequest) => describe_key;
        ListKeys(ListKeysRequest) => list_keys;
        UpdateKeyDescription(UpdateKeyDescriptionRequest) => update_key_description;
        EnableKey(EnableKeyRequest) => enable_key;
        DisableKey(DisableKeyRequest) => disable_key;
        ScheduleKeyDeletion(ScheduleKeyDeletionRequest) => schedule_key_deletion;
        CancelKeyDeletion(CancelKeyDeletionRequest) => cancel_key_deletion;
        SetDeletionProtection(SetDeletionProtectionRequest) => set_deletion_protection;
        CreateKeyVersion(CreateKeyVersionRequest) => create_key_version;
        DescribeKeyVersion(DescribeKeyVersionRequest) => describe_key_version;
        ListKeyVersions(ListKeyVersionsRequest) => list_key_versions;
        UpdateRotationPolicy(UpdateRotationPolicyRequest) => update_rotation_policy;
        CreateAlias(CreateAliasRequest) => create_alias;
        UpdateAlias(UpdateAliasRequest) => update_alias;
        DeleteAlias(DeleteAliasRequest) => delete_alias;
        ListAliases(ListAliasesRequest) => list_aliases;
        ListAliasesByKeyId(ListAliasesByKeyIdRequest) => list_aliases_by_key_id;
        TagResource(TagResourceRequest) => tag_resource;
        UntagResource(UntagResourceRequest) => untag_resource;
        ListResourceTags(ListResourceTagsRequest) => list_resource_tags;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_changes_is_known_by_its_name() {
        let still: Vec<_> =
            TABLE.iter().filter(|action| !action.changes()).map(|action| action.name).collect();
        assert_eq!(
            still,
            [
                "GenerateDataKeyWithoutPlaintext",
                "ExportDataKey",
                "GenerateDataKey",
                "GenerateAndExportDataKey",
                "Encrypt",
                "Decrypt",
                "ReEncrypt",
                "GetPublicKey",
                "AsymmetricEncrypt",
                "AsymmetricDecrypt",
                "AsymmetricSign",
                "AsymmetricVerify",
                "DescribeKey",
                "ListKeys",
                "DescribeKeyVersion",
                "ListKeyVersions",
                "ListAliases",
                "ListAliasesByKeyId",
                "ListResourceTags",
            ]
        );
    }

    /// RPCs that the API has not: a stream, and the management of access keys.
    fn is_ours_alone(rpc: &str) -> bool {
        rpc == "Kms/ExportDataKeys" || rpc.starts_with("AccessManagement/")
    }

    #[test]
    fn every_rpc_has_a_row_or_is_ours_alone() {
        let services = crate::proto::pool()
            .services()
            .filter(|service| service.package_name() == "keyferry.v1");
        let rpcs = services.flat_map(|service| {
            let rpc = |method: prost_reflect::MethodDescriptor| {
                format!("{}/{}", service.name(), method.name())
            };
            service.methods().map(rpc).collect::<Vec<_>>()
        });
        let offered: BTreeSet<String> = rpcs.filter(|rpc| !is_ours_alone(rpc)).collect();
        let rows: BTreeSet<String> = TABLE.iter().map(|row| row.rpc.to_owned()).collect();
        assert_eq!(rows, offered);
        assert_eq!(rows.len(), TABLE.len());
        assert!(Action::named("Encrypt").is_some() && Action::named("encrypt").is_none());
    }
}
