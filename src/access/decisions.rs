//! The decision table: every decision that each RPC needs, all of which must
//! allow it, and the purpose of the grant that they give.

use std::marker::PhantomData;

use super::action::Action;
use super::purpose::{Change, Look, Purpose, Use};

/// The resource of a request that a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// No key: the whole instance.
    Instance,
    /// The one key of the request, or the key that an alias names now.
    Key,
    /// The key that an alias shall name, or that a blob shall be sealed under.
    Destination,
    /// The service account that an access key is for.
    Account,
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The action.
    pub action: Action,
    /// The resource that it is done to.
    pub resource: Resource,
}

/// The decisions of one RPC, whose grants are good for the purpose `P`.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<P> {
    rpc: &'static str,
    required: &'static [Decision],
    purpose: PhantomData<P>,
}

/// A row of the table, whatever its purpose.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// `Service/Method`.
    pub rpc: &'static str,
    /// The name of the purpose.
    pub purpose: &'static str,
    /// All of them must allow.
    pub required: &'static [Decision],
}

impl<P: Purpose> Decisions<P> {
    /// `Service/Method`.
    #[must_use]
    pub const fn rpc(&self) -> &'static str {
        self.rpc
    }

    /// The decisions, all of which must allow.
    #[must_use]
    pub const fn required(&self) -> &'static [Decision] {
        self.required
    }

    const fn row(&self) -> Row {
        Row { rpc: self.rpc, purpose: P::NAME, required: self.required }
    }
}

macro_rules! decisions {
    ($($purpose:ident {
        $($name:ident = $rpc:literal : $($action:ident on $resource:ident)&+;)+
    })+) => {
        $($(
            #[doc = concat!("The decisions of ", $rpc, ".")]
            pub const $name: Decisions<$purpose> = Decisions {
                rpc: $rpc,
                required: &[$(
                    Decision { action: Action::$action, resource: Resource::$resource }
                ),+],
                purpose: PhantomData,
            };
        )+)+

        $(
            impl Decisions<$purpose> {
                /// The rows of this purpose.
                pub const ALL: &'static [Self] = &[$($name),+];
            }
        )+

        /// The whole table.
        pub const TABLE: &[Row] = &[$($($name.row()),+),+];
    };
}

decisions! {
    Use {
        GENERATE_DATA_KEY_WITHOUT_PLAINTEXT = "Kms/GenerateDataKeyWithoutPlaintext": GenerateDataKeyWithoutPlaintext on Key;
        EXPORT_DATA_KEY = "Kms/ExportDataKey": ExportDataKey on Key;
        GENERATE_DATA_KEY = "Kms/GenerateDataKey": GenerateDataKey on Key;
        GENERATE_AND_EXPORT_DATA_KEY = "Kms/GenerateAndExportDataKey": GenerateDataKeyWithoutPlaintext on Key & ExportDataKey on Key;
        ENCRYPT = "Kms/Encrypt": Encrypt on Key;
        DECRYPT = "Kms/Decrypt": Decrypt on Key;
        RE_ENCRYPT = "Kms/ReEncrypt": ReEncryptFrom on Key & ReEncryptTo on Destination;
        EXPORT_DATA_KEYS = "Kms/ExportDataKeys": ExportDataKey on Key;
        GET_PUBLIC_KEY = "Kms/GetPublicKey": GetPublicKey on Key;
        ASYMMETRIC_ENCRYPT = "Kms/AsymmetricEncrypt": AsymmetricEncrypt on Key;
        ASYMMETRIC_DECRYPT = "Kms/AsymmetricDecrypt": AsymmetricDecrypt on Key;
        ASYMMETRIC_SIGN = "Kms/AsymmetricSign": AsymmetricSign on Key;
        ASYMMETRIC_VERIFY = "Kms/AsymmetricVerify": AsymmetricVerify on Key;
    }
    Change {
        CREATE_KEY = "KeyManagement/CreateKey": CreateKey on Instance;
        UPDATE_KEY_DESCRIPTION = "KeyManagement/UpdateKeyDescription": UpdateKeyDescription on Key;
        ENABLE_KEY = "KeyManagement/EnableKey": EnableKey on Key;
        DISABLE_KEY = "KeyManagement/DisableKey": DisableKey on Key;
        SCHEDULE_KEY_DELETION = "KeyManagement/ScheduleKeyDeletion": ScheduleKeyDeletion on Key;
        CANCEL_KEY_DELETION = "KeyManagement/CancelKeyDeletion": CancelKeyDeletion on Key;
        SET_DELETION_PROTECTION = "KeyManagement/SetDeletionProtection": SetDeletionProtection on Key;
        CREATE_KEY_VERSION = "KeyManagement/CreateKeyVersion": CreateKeyVersion on Key;
        UPDATE_ROTATION_POLICY = "KeyManagement/UpdateRotationPolicy": UpdateRotationPolicy on Key;
        TAG_RESOURCE = "KeyManagement/TagResource": TagResource on Key;
        UNTAG_RESOURCE = "KeyManagement/UntagResource": UntagResource on Key;
        TAG_RESOURCES = "KeyManagement/TagResources": TagResource on Key;
        UNTAG_RESOURCES = "KeyManagement/UntagResources": UntagResource on Key;
        CREATE_ALIAS = "KeyManagement/CreateAlias": CreateAlias on Key;
        UPDATE_ALIAS = "KeyManagement/UpdateAlias": UpdateAlias on Key & UpdateAlias on Destination;
        DELETE_ALIAS = "KeyManagement/DeleteAlias": DeleteAlias on Key;
        CREATE_ACCESS_KEY = "AccessManagement/CreateAccessKey": CreateAccessKey on Account;
        DISABLE_ACCESS_KEY = "AccessManagement/DisableAccessKey": DisableAccessKey on Account;
        DELETE_ACCESS_KEY = "AccessManagement/DeleteAccessKey": DeleteAccessKey on Account;
    }
    Look {
        DESCRIBE_KEY = "KeyManagement/DescribeKey": DescribeKey on Key;
        LIST_KEYS = "KeyManagement/ListKeys": ListKeys on Instance;
        DESCRIBE_KEY_VERSION = "KeyManagement/DescribeKeyVersion": DescribeKeyVersion on Key;
        LIST_KEY_VERSIONS = "KeyManagement/ListKeyVersions": ListKeyVersions on Key;
        LIST_RESOURCE_TAGS = "KeyManagement/ListResourceTags": ListResourceTags on Key;
        LIST_TAG_RESOURCES = "KeyManagement/ListTagResources": ListResourceTags on Key;
        DESCRIBE_REGIONS = "KeyManagement/DescribeRegions": DescribeRegions on Instance;
        LIST_ALIASES = "KeyManagement/ListAliases": ListAliases on Instance;
        LIST_ALIASES_BY_KEY_ID = "KeyManagement/ListAliasesByKeyId": ListAliasesByKeyId on Key;
        LIST_ACCESS_KEYS = "AccessManagement/ListAccessKeys": ListAccessKeys on Instance;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_needs_something_and_every_action_has_one_purpose() {
        for row in TABLE {
            assert!(!row.required.is_empty(), "{}", row.rpc);
            for decision in row.required {
                let action = decision.action;
                let others = TABLE.iter().filter(|other| other.purpose != row.purpose);
                let elsewhere = others.flat_map(|other| other.required);
                assert!(elsewhere.into_iter().all(|other| other.action != action), "{action}");
            }
        }
    }

    #[test]
    fn cryptographic_operations_are_uses_and_management_is_not() {
        for row in TABLE {
            assert_eq!(row.rpc.starts_with("Kms/"), row.purpose == Use::NAME, "{}", row.rpc);
        }
    }
}
