//! The operations of the contract, in one list.
//!
//! A name stands for an RPC, its messages (`EncryptRequest`, `EncryptResponse`)
//! and the function of [`Services`](super::Services) that carries it out
//! (`encrypt`). Both faces are made of the list: the gRPC services (`grpc.rs`)
//! have every operation, the HTTP API (`gateway/actions.rs`) has those marked
//! `HTTP`. A new operation is a row here, besides its messages, its function and
//! its row of the decision table.

/// Calls the named macro with the list.
macro_rules! operations {
    ($expand:ident) => {
        $expand! {
            Kms {
                GenerateDataKeyWithoutPlaintext: HTTP,
                ExportDataKey: HTTP,
                GenerateDataKey: HTTP,
                GenerateAndExportDataKey: HTTP,
                Encrypt: HTTP,
                Decrypt: HTTP,
                ReEncrypt: HTTP,
                GetPublicKey: HTTP,
                AsymmetricEncrypt: HTTP,
                AsymmetricDecrypt: HTTP,
                AsymmetricSign: HTTP,
                AsymmetricVerify: HTTP,
            } streams {
                ExportDataKeys,
            }
            KeyManagement {
                CreateKey: HTTP,
                DescribeKey: HTTP,
                ListKeys: HTTP,
                UpdateKeyDescription: HTTP,
                EnableKey: HTTP,
                DisableKey: HTTP,
                ScheduleKeyDeletion: HTTP,
                CancelKeyDeletion: HTTP,
                SetDeletionProtection: HTTP,
                CreateKeyVersion: HTTP,
                DescribeKeyVersion: HTTP,
                ListKeyVersions: HTTP,
                UpdateRotationPolicy: HTTP,
                CreateAlias: HTTP,
                UpdateAlias: HTTP,
                DeleteAlias: HTTP,
                ListAliases: HTTP,
                ListAliasesByKeyId: HTTP,
                TagResource: HTTP,
                UntagResource: HTTP,
                ListResourceTags: HTTP,
                TagResources: HTTP,
                UntagResources: HTTP,
                ListTagResources: HTTP,
                DescribeRegions: HTTP,
            } streams {}
            AccessManagement {
                CreateAccessKey,
                ListAccessKeys,
                DisableAccessKey,
                DeleteAccessKey,
            } streams {}
        }
    };
}
pub(crate) use operations;
