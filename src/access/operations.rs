//! The operations of the contract, in one list, and the actions that decisions are
//! about.
//!
//! A row names an RPC; its messages (`EncryptRequest`, `EncryptResponse`) and the
//! function of the services that carries it out (`encrypt`) are named after it. The
//! row says for what its grant is good, and the decisions that it needs, all of which
//! must allow. The decision table (`decisions.rs`), the gRPC services
//! (`service/grpc.rs`) and the HTTP API (`gateway/actions.rs`, the rows marked
//! `[HTTP]`) are made of the list.

use std::fmt;

/// Calls the named macro with the list.
macro_rules! operations {
    ($expand:ident) => {
        $expand! {
            Kms {
                GenerateDataKeyWithoutPlaintext [HTTP]: Use = GenerateDataKeyWithoutPlaintext on Key;
                ExportDataKey [HTTP]: Use = ExportDataKey on Key;
                GenerateDataKey [HTTP]: Use = GenerateDataKey on Key;
                GenerateAndExportDataKey [HTTP]: Use = GenerateDataKeyWithoutPlaintext on Key & ExportDataKey on Key;
                Encrypt [HTTP]: Use = Encrypt on Key;
                Decrypt [HTTP]: Use = Decrypt on Key;
                ReEncrypt [HTTP]: Use = ReEncryptFrom on Key & ReEncryptTo on Destination;
                GetPublicKey [HTTP]: Use = GetPublicKey on Key;
                AsymmetricEncrypt [HTTP]: Use = AsymmetricEncrypt on Key;
                AsymmetricDecrypt [HTTP]: Use = AsymmetricDecrypt on Key;
                AsymmetricSign [HTTP]: Use = AsymmetricSign on Key;
                AsymmetricVerify [HTTP]: Use = AsymmetricVerify on Key;
            } streams {
                ExportDataKeys: Use = ExportDataKey on Key;
            }
            KeyManagement {
                CreateKey [HTTP]: Change = CreateKey on Instance & TagResource on NewKey;
                DescribeKey [HTTP]: Look = DescribeKey on Key;
                ListKeys [HTTP]: Look = ListKeys on Instance;
                UpdateKeyDescription [HTTP]: Change = UpdateKeyDescription on Key;
                EnableKey [HTTP]: Change = EnableKey on Key;
                DisableKey [HTTP]: Change = DisableKey on Key;
                ScheduleKeyDeletion [HTTP]: Change = ScheduleKeyDeletion on Key;
                CancelKeyDeletion [HTTP]: Change = CancelKeyDeletion on Key;
                SetDeletionProtection [HTTP]: Change = SetDeletionProtection on Key;
                CreateKeyVersion [HTTP]: Change = CreateKeyVersion on Key;
                DescribeKeyVersion [HTTP]: Look = DescribeKeyVersion on Key;
                ListKeyVersions [HTTP]: Look = ListKeyVersions on Key;
                UpdateRotationPolicy [HTTP]: Change = UpdateRotationPolicy on Key;
                CreateAlias [HTTP]: Change = CreateAlias on Alias & CreateAlias on Key;
                UpdateAlias [HTTP]: Change = UpdateAlias on Alias & UpdateAlias on Key & UpdateAlias on Destination;
                DeleteAlias [HTTP]: Change = DeleteAlias on Alias & DeleteAlias on Key;
                ListAliases [HTTP]: Look = ListAliases on Instance;
                ListAliasesByKeyId [HTTP]: Look = ListAliasesByKeyId on Key;
                TagResource [HTTP]: Change = TagResource on Key;
                UntagResource [HTTP]: Change = UntagResource on Key;
                ListResourceTags [HTTP]: Look = ListResourceTags on Key;
                TagResources [HTTP]: Change = TagResource on Key;
                UntagResources [HTTP]: Change = UntagResource on Key;
                ListTagResources [HTTP]: Look = ListResourceTags on Key;
                DescribeRegions [HTTP]: Look = DescribeRegions on Instance;
            } streams {}
            AccessManagement {
                CreateAccessKey: Change = CreateAccessKey on Account;
                ListAccessKeys: Look = ListAccessKeys on Instance;
                DisableAccessKey: Change = DisableAccessKey on Account;
                DeleteAccessKey: Change = DeleteAccessKey on Account;
                GetReceiptKeys: Look = GetReceiptKeys on Instance;
            } streams {}
        }
    };
}
pub(crate) use operations;

/// An action of a principal on a resource.
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
    DescribeRegions,
    CreateAlias,
    UpdateAlias,
    DeleteAlias,
    ListAliases,
    ListAliasesByKeyId,
    CreateAccessKey,
    ListAccessKeys,
    DisableAccessKey,
    DeleteAccessKey,
    GetReceiptKeys,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
