//! The decision table: every decision that each RPC needs, all of which must
//! allow it.

use std::fmt;

/// What a principal does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are those of the operations")]
pub enum Action {
    GenerateDataKeyWithoutPlaintext,
    GenerateDataKey,
    ExportDataKey,
    Encrypt,
    Decrypt,
    ReEncryptFrom,
    ReEncryptTo,
    GetPublicKey,
    AsymmetricEncrypt,
    AsymmetricDecrypt,
    AsymmetricSign,
    AsymmetricVerify,
    CreateKey,
    DescribeKey,
    ListKeys,
    UpdateKeyDescription,
    EnableKey,
    DisableKey,
    ScheduleKeyDeletion,
    CancelKeyDeletion,
    SetDeletionProtection,
    CreateKeyVersion,
    DescribeKeyVersion,
    ListKeyVersions,
    UpdateRotationPolicy,
    TagResource,
    UntagResource,
    ListResourceTags,
    CreateAlias,
    UpdateAlias,
    DeleteAlias,
    ListAliases,
    ListAliasesByKeyId,
    CreateAccessKey,
    ListAccessKeys,
    DisableAccessKey,
    DeleteAccessKey,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Which resource of a request a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
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
pub struct Need {
    /// What is done.
    pub action: Action,
    /// To which resource.
    pub on: On,
}

/// The decisions of one RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decisions {
    /// `Service/Method`.
    pub rpc: &'static str,
    /// All of them must allow.
    pub needs: &'static [Need],
}

macro_rules! decisions {
    ($($name:ident = $rpc:literal : $($action:ident on $on:ident)&+;)+) => {
        $(
            #[doc = concat!("What ", $rpc, " needs.")]
            pub const $name: Decisions = Decisions {
                rpc: $rpc,
                needs: &[$(Need { action: Action::$action, on: On::$on }),+],
            };
        )+

        /// The whole table.
        pub const TABLE: &[Decisions] = &[$($name),+];
    };
}

decisions! {
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
    CREATE_KEY = "KeyManagement/CreateKey": CreateKey on Instance;
    DESCRIBE_KEY = "KeyManagement/DescribeKey": DescribeKey on Key;
    LIST_KEYS = "KeyManagement/ListKeys": ListKeys on Instance;
    UPDATE_KEY_DESCRIPTION = "KeyManagement/UpdateKeyDescription": UpdateKeyDescription on Key;
    ENABLE_KEY = "KeyManagement/EnableKey": EnableKey on Key;
    DISABLE_KEY = "KeyManagement/DisableKey": DisableKey on Key;
    SCHEDULE_KEY_DELETION = "KeyManagement/ScheduleKeyDeletion": ScheduleKeyDeletion on Key;
    CANCEL_KEY_DELETION = "KeyManagement/CancelKeyDeletion": CancelKeyDeletion on Key;
    SET_DELETION_PROTECTION = "KeyManagement/SetDeletionProtection": SetDeletionProtection on Key;
    CREATE_KEY_VERSION = "KeyManagement/CreateKeyVersion": CreateKeyVersion on Key;
    DESCRIBE_KEY_VERSION = "KeyManagement/DescribeKeyVersion": DescribeKeyVersion on Key;
    LIST_KEY_VERSIONS = "KeyManagement/ListKeyVersions": ListKeyVersions on Key;
    UPDATE_ROTATION_POLICY = "KeyManagement/UpdateRotationPolicy": UpdateRotationPolicy on Key;
    TAG_RESOURCE = "KeyManagement/TagResource": TagResource on Key;
    UNTAG_RESOURCE = "KeyManagement/UntagResource": UntagResource on Key;
    LIST_RESOURCE_TAGS = "KeyManagement/ListResourceTags": ListResourceTags on Key;
    CREATE_ALIAS = "KeyManagement/CreateAlias": CreateAlias on Key;
    UPDATE_ALIAS = "KeyManagement/UpdateAlias": UpdateAlias on Key & UpdateAlias on Destination;
    DELETE_ALIAS = "KeyManagement/DeleteAlias": DeleteAlias on Key;
    LIST_ALIASES = "KeyManagement/ListAliases": ListAliases on Instance;
    LIST_ALIASES_BY_KEY_ID = "KeyManagement/ListAliasesByKeyId": ListAliasesByKeyId on Key;
    CREATE_ACCESS_KEY = "AccessManagement/CreateAccessKey": CreateAccessKey on Account;
    LIST_ACCESS_KEYS = "AccessManagement/ListAccessKeys": ListAccessKeys on Instance;
    DISABLE_ACCESS_KEY = "AccessManagement/DisableAccessKey": DisableAccessKey on Account;
    DELETE_ACCESS_KEY = "AccessManagement/DeleteAccessKey": DeleteAccessKey on Account;
}
