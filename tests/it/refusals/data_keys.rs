//! Bad blobs, contexts, lengths and recipients: each gets the status and details of
//! the contract's table. Recipients' keys that are refused have a file of their own.

use keyferry::proto::v1::{self, Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKeySpec};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{Recipient, TestServer, assert_refused, blamed, context};

async fn decrypt(server: &TestServer, blob: Vec<u8>) -> Result<v1::DecryptResponse, Status> {
    let request = v1::DecryptRequest { ciphertext_blob: blob, ..Default::default() };
    Ok(server.kms.clone().decrypt(request).await?.into_inner())
}

async fn export(
    server: &TestServer,
    request: v1::ExportDataKeyRequest,
) -> Result<v1::ExportDataKeyResponse, Status> {
    Ok(server.kms.clone().export_data_key(request).await?.into_inner())
}

#[tokio::test]
async fn every_flipped_bit_cut_and_addition_is_refused() {
    let server = TestServer::start().await;
    let blob = server.generate(&server.create_key().await, &[], 32).await;
    for at in 0..blob.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut flipped = blob.clone();
            flipped[at] ^= bit;
            let status = decrypt(&server, flipped).await.expect_err("a flipped bit");
            let answer =
                (status.code(), status.get_error_details().error_info().unwrap().reason.clone());
            let expected: &[(Code, &str)] = if at < 36 {
                // Another version id: one that is not here, or none at all.
                &[
                    (Code::InvalidArgument, "InvalidParameter"),
                    (Code::NotFound, "Forbidden.KeyNotFound"),
                ]
            } else {
                &[(Code::InvalidArgument, "InvalidParameter")]
            };
            assert!(
                expected
                    .iter()
                    .any(|(code, reason)| (*code, *reason) == (answer.0, answer.1.as_str())),
                "byte {at}: {answer:?}"
            );
        }
    }
    for len in (1..blob.len()).step_by(3) {
        assert!(decrypt(&server, blob[..len].to_vec()).await.is_err(), "cut to {len}");
    }
    let mut longer = blob.clone();
    longer.push(0);
    assert_refused(decrypt(&server, longer).await, Code::InvalidArgument, "InvalidParameter");
}

#[tokio::test]
async fn blobs_that_are_none_are_refused() {
    let server = TestServer::start().await;
    let blob = server.generate(&server.create_key().await, &[], 32).await;
    assert_refused(decrypt(&server, Vec::new()).await, Code::InvalidArgument, "MissingParameter");
    let mut upper = blob.clone();
    upper[..36].make_ascii_uppercase();
    assert_refused(decrypt(&server, upper).await, Code::InvalidArgument, "InvalidParameter");
    assert_refused(
        decrypt(&server, vec![b'x'; 142]).await,
        Code::InvalidArgument,
        "InvalidParameter",
    );
    let elsewhere = TestServer::start().await;
    let foreign = elsewhere.generate(&elsewhere.create_key().await, &[], 32).await;
    let status =
        assert_refused(decrypt(&server, foreign).await, Code::NotFound, "Forbidden.KeyNotFound");
    assert!(status.message().contains("another region or instance"), "{}", status.message());
}

#[tokio::test]
async fn contexts_that_are_too_large_are_refused() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let generate = async |pairs: std::collections::BTreeMap<String, String>| {
        let request = v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: key_id.clone(),
            encryption_context: pairs,
            ..Default::default()
        };
        server.kms.clone().generate_data_key_without_plaintext(request).await
    };
    let pairs = |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect();
    assert!(generate(pairs(128)).await.is_ok());
    let status =
        assert_refused(generate(pairs(129)).await, Code::InvalidArgument, "InvalidParameter");
    assert_eq!(blamed(&status), "encryption_context");
    let long = |chars: usize| [("k".to_owned(), "密".repeat(chars - 1))].into();
    assert!(generate(long(8192)).await.is_ok());
    assert_refused(generate(long(8193)).await, Code::InvalidArgument, "InvalidParameter");
}

#[tokio::test]
async fn lengths_of_data_keys_have_bounds() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    for bytes in [0, 1025, u32::MAX] {
        let request = v1::GenerateDataKeyRequest {
            key_id: key_id.clone(),
            number_of_bytes: Some(bytes),
            ..Default::default()
        };
        let outcome = server.kms.clone().generate_data_key(request).await;
        let status = assert_refused(outcome, Code::InvalidArgument, "InvalidParameter");
        assert_eq!(blamed(&status), "number_of_bytes");
    }
    for bytes in [1, 1024] {
        assert_eq!(server.generate(&key_id, &[], bytes).await.len(), bytes as usize + 110);
    }
}

#[tokio::test]
async fn what_does_not_fit_the_recipient_is_refused_and_what_just_fits_is_not() {
    use WrappingAlgorithm::{RsaesOaepSha1, RsaesOaepSha256, Sm2pke};
    use WrappingKeySpec::{EcSm2, Rsa2048, Rsa3072, Rsa4096};

    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let table = [
        (Rsa2048, RsaesOaepSha256, 190),
        (Rsa2048, RsaesOaepSha1, 214),
        (Rsa3072, RsaesOaepSha256, 318),
        (Rsa3072, RsaesOaepSha1, 342),
        (Rsa4096, RsaesOaepSha256, 446),
        (Rsa4096, RsaesOaepSha1, 470),
        (EcSm2, Sm2pke, 1024),
    ];
    for (spec, algorithm, longest) in table {
        let recipient = Recipient::new(spec, algorithm);
        let fits = server.generate(&key_id, &[], longest).await;
        assert!(
            export(&server, recipient.export(&fits, &[])).await.is_ok(),
            "{spec:?} {algorithm:?}"
        );
        let request = v1::EncryptRequest {
            key_id: key_id.clone(),
            plaintext: vec![1; longest as usize + 1],
            ..Default::default()
        };
        let long = server.kms.clone().encrypt(request).await.unwrap().into_inner().ciphertext_blob;
        let status = assert_refused(
            export(&server, recipient.export(&long, &[])).await,
            Code::InvalidArgument,
            "InvalidParameter",
        );
        assert!(status.message().contains(&longest.to_string()), "{}", status.message());
    }
    let recipient = Recipient::rsa();
    let long = server.generate(&key_id, &[], 1024).await;
    assert_refused(
        export(&server, recipient.export(&long, &[])).await,
        Code::InvalidArgument,
        "InvalidParameter",
    );
    let request = v1::GenerateAndExportDataKeyRequest {
        key_id,
        number_of_bytes: Some(191),
        public_key_blob: recipient.private.public_key_der().to_vec(),
        wrapping_algorithm: recipient.algorithm.into(),
        wrapping_key_spec: recipient.spec.into(),
        ..Default::default()
    };
    let outcome = server.kms.clone().generate_and_export_data_key(request).await;
    assert_eq!(
        blamed(&assert_refused(outcome, Code::InvalidArgument, "InvalidParameter")),
        "number_of_bytes"
    );
}

#[tokio::test]
async fn illegal_pairs_of_spec_and_algorithm_are_refused() {
    let server = TestServer::start().await;
    let blob = server.generate(&server.create_key().await, &[], 32).await;
    let (rsa, sm2) = (Recipient::rsa(), Recipient::sm2());
    for spec in 1..=4 {
        for algorithm in 1..=3 {
            let legal = (spec == 4) == (algorithm == 3);
            if legal {
                continue;
            }
            let recipient = if spec == 4 { &sm2 } else { &rsa };
            let request = v1::ExportDataKeyRequest {
                wrapping_algorithm: algorithm,
                wrapping_key_spec: spec,
                ..recipient.export(&blob, &[])
            };
            assert_refused(
                export(&server, request).await,
                Code::InvalidArgument,
                "InvalidParameter",
            );
        }
    }
    let encoded = v1::ExportDataKeyRequest {
        sm2_ciphertext_encoding: Sm2CiphertextEncoding::RawC1c3c2.into(),
        ..rsa.export(&blob, &[])
    };
    assert_refused(export(&server, encoded).await, Code::InvalidArgument, "InvalidParameter");
    for (algorithm, spec, encoding) in [(9, 1, 0), (1, 9, 0), (3, 4, 9), (-1, 1, 0)] {
        let recipient = if spec == 4 { &sm2 } else { &rsa };
        let request = v1::ExportDataKeyRequest {
            wrapping_algorithm: algorithm,
            wrapping_key_spec: spec,
            sm2_ciphertext_encoding: encoding,
            ..recipient.export(&blob, &[])
        };
        assert_refused(export(&server, request).await, Code::InvalidArgument, "InvalidParameter");
    }
}

#[tokio::test]
async fn missing_fields_are_named() {
    let server = TestServer::start().await;
    let blob = server.generate(&server.create_key().await, &[], 32).await;
    let whole = Recipient::rsa().export(&blob, &[]);
    let without = [
        ("ciphertext_blob", v1::ExportDataKeyRequest { ciphertext_blob: vec![], ..whole.clone() }),
        ("public_key_blob", v1::ExportDataKeyRequest { public_key_blob: vec![], ..whole.clone() }),
        ("wrapping_algorithm", v1::ExportDataKeyRequest { wrapping_algorithm: 0, ..whole.clone() }),
        ("wrapping_key_spec", v1::ExportDataKeyRequest { wrapping_key_spec: 0, ..whole.clone() }),
    ];
    for (field, request) in without {
        let status = assert_refused(
            export(&server, request).await,
            Code::InvalidArgument,
            "MissingParameter",
        );
        assert_eq!(blamed(&status), field);
    }
    let outcome = server.kms.clone().encrypt(v1::EncryptRequest::default()).await;
    assert_eq!(
        blamed(&assert_refused(outcome, Code::InvalidArgument, "MissingParameter")),
        "key_id"
    );
}

#[tokio::test]
async fn a_key_that_is_not_what_was_declared_is_refused() {
    let server = TestServer::start().await;
    let blob = server.generate(&server.create_key().await, &[], 32).await;
    let declared = [
        (WrappingKeySpec::Rsa3072, Recipient::rsa()),
        (
            WrappingKeySpec::Rsa2048,
            Recipient::new(WrappingKeySpec::Rsa3072, WrappingAlgorithm::RsaesOaepSha256),
        ),
        (
            WrappingKeySpec::Rsa2048,
            Recipient { algorithm: WrappingAlgorithm::RsaesOaepSha256, ..Recipient::sm2() },
        ),
        (
            WrappingKeySpec::EcSm2,
            Recipient { algorithm: WrappingAlgorithm::Sm2pke, ..Recipient::rsa() },
        ),
    ];
    for (spec, recipient) in declared {
        let request = v1::ExportDataKeyRequest {
            wrapping_key_spec: spec.into(),
            ..recipient.export(&blob, &[])
        };
        let status = assert_refused(
            export(&server, request).await,
            Code::InvalidArgument,
            "InvalidParameter",
        );
        assert_eq!(blamed(&status), "public_key_blob", "{}", status.message());
    }
}

#[tokio::test]
async fn plaintexts_have_bounds() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    for (len, reason) in [(0, "MissingParameter"), (6145, "InvalidParameter")] {
        let request = v1::EncryptRequest {
            key_id: key_id.clone(),
            plaintext: vec![0; len],
            ..Default::default()
        };
        assert_refused(server.kms.clone().encrypt(request).await, Code::InvalidArgument, reason);
    }
}

#[tokio::test]
async fn unknown_names_are_not_found() {
    let server = TestServer::start().await;
    let unknown = keyferry::ids::KeyId::new().to_string();
    for (name, reason) in [
        (unknown.as_str(), "Forbidden.KeyNotFound"),
        ("not-an-id", "Forbidden.KeyNotFound"),
        ("acs:kms:elsewhere:0:key/x", "Forbidden.KeyNotFound"),
        ("alias/nobody", "Forbidden.AliasNotFound"),
        ("alias/never possible", "Forbidden.AliasNotFound"),
    ] {
        let request = v1::DescribeKeyRequest { key_id: name.into(), dry_run: false };
        assert_refused(
            server.management.clone().describe_key(request).await,
            Code::NotFound,
            reason,
        );
        let request =
            v1::EncryptRequest { key_id: name.into(), plaintext: vec![1], ..Default::default() };
        assert_refused(server.kms.clone().encrypt(request).await, Code::NotFound, reason);
    }
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused() {
    let server = TestServer::start().await;
    let request = v1::DecryptRequest {
        ciphertext_blob: vec![0; 64 << 10],
        encryption_context: context(&[]),
        dry_run: false,
    };
    let outcome = server.kms.clone().decrypt(request).await;
    assert_refused(outcome, Code::ResourceExhausted, "InvalidParameter");
}
