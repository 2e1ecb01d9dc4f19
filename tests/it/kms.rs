//! The operations that use keys, over real gRPC.

use keyferry::crypto::secret::Reveal;
use keyferry::proto::v1::{self, WrappingAlgorithm, WrappingKeySpec};
use tonic::Code;

use crate::support::{Recipient, TestServer, assert_refused, context};

const PAIRS: &[(&str, &str)] = &[("tenant", "acme"), ("purpose", "backup")];

#[tokio::test]
async fn a_data_key_reaches_every_kind_of_recipient() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, PAIRS, 32).await;
    let decrypted = server
        .kms
        .clone()
        .decrypt(v1::DecryptRequest {
            ciphertext_blob: blob.clone(),
            encryption_context: context(PAIRS),
            dry_run: false,
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(decrypted.key_id, key_id);
    assert_eq!(decrypted.plaintext.len(), 32);
    assert_eq!(blob.len(), 32 + 110);
    assert_eq!(&blob[..36], decrypted.key_version_id.as_bytes());
    let kinds = [
        (WrappingKeySpec::Rsa2048, WrappingAlgorithm::RsaesOaepSha256),
        (WrappingKeySpec::Rsa2048, WrappingAlgorithm::RsaesOaepSha1),
        (WrappingKeySpec::Rsa3072, WrappingAlgorithm::RsaesOaepSha256),
        (WrappingKeySpec::Rsa4096, WrappingAlgorithm::RsaesOaepSha1),
        (WrappingKeySpec::EcSm2, WrappingAlgorithm::Sm2pke),
    ];
    for (spec, algorithm) in kinds {
        let recipient = Recipient::new(spec, algorithm);
        for encoding in
            [v1::Sm2CiphertextEncoding::Unspecified, v1::Sm2CiphertextEncoding::RawC1c3c2]
        {
            if spec != WrappingKeySpec::EcSm2 && encoding != v1::Sm2CiphertextEncoding::Unspecified
            {
                continue;
            }
            let mut request = recipient.export(&blob, PAIRS);
            request.sm2_ciphertext_encoding = encoding.into();
            let exported = server.kms.clone().export_data_key(request).await.unwrap().into_inner();
            assert_eq!(exported.key_id, key_id);
            assert_eq!(exported.key_version_id, decrypted.key_version_id);
            let named = match algorithm {
                WrappingAlgorithm::RsaesOaepSha1 => {
                    Some(keyferry::crypto::wrapping::WrappingAlgorithm::RsaesOaepSha1)
                }
                _ => None,
            };
            let unwrapped = recipient.private.unwrap(named, &exported.exported_data_key).unwrap();
            assert_eq!(
                unwrapped.reveal(Reveal::ToFile),
                decrypted.plaintext,
                "{spec:?} {algorithm:?}"
            );
        }
    }
}

#[tokio::test]
async fn known_recipients_get_the_same_key_as_unknown_ones() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    let plain = decrypt(&server, &blob, &[]).await.unwrap().plaintext;
    for recipient in [Recipient::rsa(), Recipient::sm2()] {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..8 {
            let request = recipient.export(&blob, &[]);
            let exported = server.kms.clone().export_data_key(request).await.unwrap().into_inner();
            let unwrapped = recipient.private.unwrap(None, &exported.exported_data_key).unwrap();
            assert_eq!(unwrapped.reveal(Reveal::ToFile), plain);
            assert!(seen.insert(exported.exported_data_key), "two exports were the same");
        }
    }
}

#[tokio::test]
async fn generate_and_export_gives_one_key_twice() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    for recipient in [Recipient::rsa(), Recipient::sm2()] {
        let request = v1::GenerateAndExportDataKeyRequest {
            key_id: key_id.clone(),
            key_spec: v1::DataKeySpec::Aes128.into(),
            encryption_context: context(PAIRS),
            public_key_blob: recipient.private.public_key_der().to_vec(),
            wrapping_algorithm: recipient.algorithm.into(),
            wrapping_key_spec: recipient.spec.into(),
            ..Default::default()
        };
        let made =
            server.kms.clone().generate_and_export_data_key(request).await.unwrap().into_inner();
        let unwrapped = recipient.private.unwrap(None, &made.exported_data_key).unwrap();
        let decrypted = decrypt(&server, &made.ciphertext_blob, PAIRS).await.unwrap();
        assert_eq!(unwrapped.reveal(Reveal::ToFile), decrypted.plaintext);
        assert_eq!(decrypted.plaintext.len(), 16);
        // Born unseen, as kind 1 says.
        assert_eq!(made.ciphertext_blob[37], 1);
    }
}

#[tokio::test]
async fn generate_data_key_shows_what_it_seals() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let request =
        v1::GenerateDataKeyRequest { key_id, number_of_bytes: Some(1024), ..Default::default() };
    let made = server.kms.clone().generate_data_key(request).await.unwrap().into_inner();
    assert_eq!(made.plaintext.len(), 1024);
    assert_eq!(made.ciphertext_blob[37], 2);
    assert_eq!(
        decrypt(&server, &made.ciphertext_blob, &[]).await.unwrap().plaintext,
        made.plaintext
    );
}

#[tokio::test]
async fn what_is_encrypted_is_decrypted_and_may_be_exported() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    for plaintext in [vec![7], vec![0; 32], vec![1; 6144]] {
        let blob =
            encrypt(&server, &key_id, plaintext.clone(), PAIRS).await.unwrap().ciphertext_blob;
        assert_eq!(decrypt(&server, &blob, PAIRS).await.unwrap().plaintext, plaintext);
        assert_eq!(blob[37], 3);
        if plaintext.len() <= 1024 {
            let recipient = Recipient::sm2();
            let request = recipient.export(&blob, PAIRS);
            let exported = server.kms.clone().export_data_key(request).await.unwrap().into_inner();
            let unwrapped = recipient.private.unwrap(None, &exported.exported_data_key).unwrap();
            assert_eq!(unwrapped.reveal(Reveal::ToFile), plaintext);
        }
    }
}

#[tokio::test]
async fn re_encryption_changes_key_and_context_and_keeps_the_kind() {
    let server = TestServer::start().await;
    let (from, to) = (server.create_key().await, server.create_key().await);
    let blob = server.generate(&from, PAIRS, 32).await;
    let request = v1::ReEncryptRequest {
        ciphertext_blob: blob.clone(),
        source_encryption_context: context(PAIRS),
        destination_key_id: to.clone(),
        destination_encryption_context: context(&[("tenant", "other")]),
        ..Default::default()
    };
    let moved = server.kms.clone().re_encrypt(request).await.unwrap().into_inner();
    assert_eq!(moved.key_id, from);
    assert_eq!(moved.ciphertext_blob[37], 1);
    let before = decrypt(&server, &blob, PAIRS).await.unwrap();
    let after = decrypt(&server, &moved.ciphertext_blob, &[("tenant", "other")]).await.unwrap();
    assert_eq!(before.plaintext, after.plaintext);
    assert_eq!(after.key_id, to);
    let wrong = decrypt(&server, &moved.ciphertext_blob, PAIRS).await;
    assert_refused(wrong, Code::InvalidArgument, "InvalidParameter");
}

#[tokio::test]
async fn a_key_is_named_by_id_alias_or_arn() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let alias = v1::CreateAliasRequest {
        alias_name: "alias/payments".into(),
        key_id: key_id.clone(),
        dry_run: false,
    };
    server.management.clone().create_alias(alias).await.unwrap();
    for name in [
        key_id.clone(),
        "alias/payments".into(),
        format!("acs:kms:local:0:key/{key_id}"),
        "acs:kms:local:0:alias/payments".into(),
    ] {
        let made = encrypt(&server, &name, vec![1], &[]).await.unwrap();
        assert_eq!(made.key_id, key_id, "{name}");
    }
}

#[tokio::test]
async fn contexts_must_be_the_same_in_any_order() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[("ab", "c"), ("d", "")], 32).await;
    assert!(decrypt(&server, &blob, &[("d", ""), ("ab", "c")]).await.is_ok());
    let wrong: &[&[(&str, &str)]] = &[
        &[],
        &[("ab", "c")],
        &[("ab", "c"), ("d", ""), ("e", "")],
        &[("a", "bc"), ("d", "")],
        &[("ab", "C"), ("d", "")],
        &[("ab", "c"), ("d", " ")],
        &[("abc", ""), ("d", "")],
    ];
    let mut texts = std::collections::BTreeSet::new();
    for pairs in wrong {
        let status = assert_refused(
            decrypt(&server, &blob, pairs).await,
            Code::InvalidArgument,
            "InvalidParameter",
        );
        texts.insert(status.message().to_owned());
    }
    let mut cut = blob.clone();
    cut.pop();
    let status = assert_refused(
        decrypt(&server, &cut, &[]).await,
        Code::InvalidArgument,
        "InvalidParameter",
    );
    texts.insert(status.message().to_owned());
    assert_eq!(texts.len(), 1, "a wrong context and a cut blob have one answer: {texts:?}");
}

#[tokio::test]
async fn a_disabled_key_does_nothing_until_it_is_enabled() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    let recipient = Recipient::rsa();
    let mut management = server.management.clone();
    management
        .disable_key(v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false })
        .await
        .unwrap();
    let refused = [
        encrypt(&server, &key_id, vec![1], &[]).await.map(|_| ()),
        decrypt(&server, &blob, &[]).await.map(|_| ()),
        server.kms.clone().export_data_key(recipient.export(&blob, &[])).await.map(|_| ()),
        generate_without_plaintext(&server, &key_id).await,
    ];
    for outcome in refused {
        assert_refused(outcome, Code::FailedPrecondition, "Rejected.Disabled");
    }
    management
        .enable_key(v1::EnableKeyRequest { key_id: key_id.clone(), dry_run: false })
        .await
        .unwrap();
    assert!(decrypt(&server, &blob, &[]).await.is_ok());
    assert!(generate_without_plaintext(&server, &key_id).await.is_ok());
}

#[tokio::test]
async fn after_disable_returned_nothing_succeeds() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    for _ in 0..20 {
        let storm: Vec<_> = (0..8)
            .map(|_| {
                let (mut kms, blob) = (server.kms.clone(), blob.clone());
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let request = v1::DecryptRequest {
                            ciphertext_blob: blob.clone(),
                            ..Default::default()
                        };
                        let _ = kms.decrypt(request).await;
                    }
                })
            })
            .collect();
        let mut management = server.management.clone();
        management
            .disable_key(v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false })
            .await
            .unwrap();
        for _ in 0..5 {
            assert_refused(
                decrypt(&server, &blob, &[]).await,
                Code::FailedPrecondition,
                "Rejected.Disabled",
            );
        }
        for task in storm {
            task.await.unwrap();
        }
        assert_refused(
            decrypt(&server, &blob, &[]).await,
            Code::FailedPrecondition,
            "Rejected.Disabled",
        );
        management
            .enable_key(v1::EnableKeyRequest { key_id: key_id.clone(), dry_run: false })
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn dry_runs_check_everything_and_give_nothing() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, PAIRS, 32).await;
    let recipient = Recipient::sm2();
    let mut kms = server.kms.clone();
    let mut export = recipient.export(&blob, PAIRS);
    export.dry_run = true;
    let outcome = kms.export_data_key(export.clone()).await;
    assert_refused(outcome, Code::FailedPrecondition, "DryRunOperationError");
    export.encryption_context.clear();
    assert_refused(kms.export_data_key(export).await, Code::InvalidArgument, "InvalidParameter");
    let generate = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: key_id.clone(),
        dry_run: true,
        ..Default::default()
    };
    let outcome = kms.generate_data_key_without_plaintext(generate).await;
    assert_refused(outcome, Code::FailedPrecondition, "DryRunOperationError");
    let decrypt = v1::DecryptRequest {
        ciphertext_blob: blob,
        encryption_context: context(PAIRS),
        dry_run: true,
    };
    assert_refused(kms.decrypt(decrypt).await, Code::FailedPrecondition, "DryRunOperationError");
    let unknown = v1::EncryptRequest {
        key_id: "alias/nobody".into(),
        plaintext: vec![1],
        dry_run: true,
        ..Default::default()
    };
    assert_refused(kms.encrypt(unknown).await, Code::NotFound, "Forbidden.AliasNotFound");
}

async fn encrypt(
    server: &TestServer,
    key_id: &str,
    plaintext: Vec<u8>,
    pairs: &[(&str, &str)],
) -> Result<v1::EncryptResponse, tonic::Status> {
    let request = v1::EncryptRequest {
        key_id: key_id.into(),
        plaintext,
        encryption_context: context(pairs),
        dry_run: false,
    };
    Ok(server.kms.clone().encrypt(request).await?.into_inner())
}

async fn decrypt(
    server: &TestServer,
    blob: &[u8],
    pairs: &[(&str, &str)],
) -> Result<v1::DecryptResponse, tonic::Status> {
    let request = v1::DecryptRequest {
        ciphertext_blob: blob.to_vec(),
        encryption_context: context(pairs),
        dry_run: false,
    };
    Ok(server.kms.clone().decrypt(request).await?.into_inner())
}

async fn generate_without_plaintext(
    server: &TestServer,
    key_id: &str,
) -> Result<(), tonic::Status> {
    let request =
        v1::GenerateDataKeyWithoutPlaintextRequest { key_id: key_id.into(), ..Default::default() };
    server.kms.clone().generate_data_key_without_plaintext(request).await.map(|_| ())
}
