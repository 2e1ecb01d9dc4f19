//! ReEncrypt: what it takes in, and that what does not open has one answer.

use std::collections::BTreeSet;

use keyferry::proto::v1::{self, WrappingAlgorithm};
use tonic::Code;

use super::world::{Pair, World, assert_failed, assert_invalid, assert_missing};
use crate::support::{assert_refused, context};

const SM2PKE: i32 = WrappingAlgorithm::Sm2pke as i32;
const OAEP_256: i32 = WrappingAlgorithm::RsaesOaepSha256 as i32;

async fn encrypted(world: &World, pair: &Pair, algorithm: i32, bytes: usize) -> Vec<u8> {
    let request = v1::AsymmetricEncryptRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.version.clone(),
        algorithm,
        plaintext: vec![7; bytes],
        ..Default::default()
    };
    world.kms().asymmetric_encrypt(request).await.unwrap().into_inner().ciphertext_blob
}

fn import(pair: &Pair, algorithm: i32, ciphertext: Vec<u8>, to: &str) -> v1::ReEncryptRequest {
    v1::ReEncryptRequest {
        ciphertext_blob: ciphertext,
        source_key_id: pair.key_id.clone(),
        source_key_version_id: pair.version.clone(),
        source_encryption_algorithm: algorithm,
        destination_key_id: to.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_three_fields_of_a_source_go_together() {
    let world = World::start().await;
    let (pair, to) = (world.encrypting("EC_SM2").await, world.server.create_key().await);
    let whole = import(&pair, SM2PKE, encrypted(&world, &pair, SM2PKE, 32).await, &to);
    let names = ["source_key_id", "source_key_version_id", "source_encryption_algorithm"];
    for given in 1..7 {
        let has = |bit: usize| given & (1 << bit) != 0;
        let mut request = whole.clone();
        if !has(0) {
            request.source_key_id.clear();
        }
        if !has(1) {
            request.source_key_version_id.clear();
        }
        if !has(2) {
            request.source_encryption_algorithm = 0;
        }
        let first_absent = names.iter().enumerate().find(|(bit, _)| !has(*bit)).unwrap().1;
        assert_missing(world.kms().re_encrypt(request).await, first_absent);
    }
    let contextual =
        v1::ReEncryptRequest { source_encryption_context: context(&[("a", "b")]), ..whole.clone() };
    assert_invalid(world.kms().re_encrypt(contextual).await, "source_encryption_context");
    let odd = v1::ReEncryptRequest { source_encryption_algorithm: 99, ..whole.clone() };
    assert_invalid(world.kms().re_encrypt(odd).await, "source_encryption_algorithm");
    let unfit = v1::ReEncryptRequest { source_encryption_algorithm: OAEP_256, ..whole.clone() };
    assert_invalid(world.kms().re_encrypt(unfit).await, "source_encryption_algorithm");
    let nowhere = v1::ReEncryptRequest { destination_key_id: String::new(), ..whole.clone() };
    assert_missing(world.kms().re_encrypt(nowhere).await, "destination_key_id");
    let nothing = v1::ReEncryptRequest { ciphertext_blob: vec![], ..whole.clone() };
    assert_missing(world.kms().re_encrypt(nothing).await, "ciphertext_blob");
    world.kms().re_encrypt(whole).await.unwrap();
}

#[tokio::test]
async fn a_source_that_does_not_unwrap_has_one_answer() {
    let world = World::start().await;
    let (sm2, rsa) = (world.encrypting("EC_SM2").await, world.encrypting("RSA_2048").await);
    let to = world.server.create_key().await;
    let whole = encrypted(&world, &sm2, SM2PKE, 32).await;
    let of_rsa = encrypted(&world, &rsa, OAEP_256, 32).await;
    let mut tampered = whole.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let mut tampered_rsa = of_rsa.clone();
    tampered_rsa[0] ^= 1;
    let refused = [
        import(&sm2, SM2PKE, tampered, &to),
        import(&sm2, SM2PKE, whole[..whole.len() - 1].to_vec(), &to),
        import(&sm2, SM2PKE, of_rsa.clone(), &to),
        import(&rsa, OAEP_256, tampered_rsa, &to),
        import(&rsa, OAEP_256, of_rsa[1..].to_vec(), &to),
        import(&rsa, WrappingAlgorithm::RsaesOaepSha1.into(), of_rsa, &to),
        import(&sm2, SM2PKE, vec![4; 7000], &to),
        // The plaintext is longer than any data key.
        import(&sm2, SM2PKE, encrypted(&world, &sm2, SM2PKE, 1025).await, &to),
        import(&sm2, SM2PKE, encrypted(&world, &sm2, SM2PKE, 6047).await, &to),
    ];
    let mut texts = BTreeSet::new();
    for request in refused {
        let dry = v1::ReEncryptRequest { dry_run: true, ..request.clone() };
        for request in [dry, request] {
            let outcome = world.kms().re_encrypt(request).await;
            texts.insert(assert_invalid(outcome, "ciphertext_blob").message().to_owned());
        }
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    for bytes in [1, 1024] {
        let longest = encrypted(&world, &sm2, SM2PKE, bytes).await;
        let blob = world.kms().re_encrypt(import(&sm2, SM2PKE, longest, &to)).await;
        let blob = blob.unwrap().into_inner();
        assert_eq!((blob.key_id, blob.key_version_id), (sm2.key_id.clone(), sm2.version.clone()));
        let request =
            v1::DecryptRequest { ciphertext_blob: blob.ciphertext_blob, ..Default::default() };
        let opened = world.kms().decrypt(request).await.unwrap().into_inner();
        assert_eq!((opened.plaintext, opened.key_id), (vec![7; bytes], to.clone()));
    }
}

#[tokio::test]
async fn an_import_is_known_as_one_and_bears_the_new_context() {
    const KIND_AT: usize = 37;
    let world = World::start().await;
    let (pair, to) = (world.encrypting("EC_SM2").await, world.server.create_key().await);
    let ciphertext = encrypted(&world, &pair, SM2PKE, 32).await;
    let request = v1::ReEncryptRequest {
        destination_encryption_context: context(&[("to", "here")]),
        ..import(&pair, SM2PKE, ciphertext, &to)
    };
    let imported = world.kms().re_encrypt(request).await.unwrap().into_inner().ciphertext_blob;
    assert_eq!(imported[KIND_AT], 4);
    let request = v1::DecryptRequest { ciphertext_blob: imported.clone(), ..Default::default() };
    assert_invalid(world.kms().decrypt(request).await, "ciphertext_blob");
    let request = v1::ReEncryptRequest {
        ciphertext_blob: imported,
        source_encryption_context: context(&[("to", "here")]),
        destination_key_id: to,
        ..Default::default()
    };
    let again = world.kms().re_encrypt(request).await.unwrap().into_inner().ciphertext_blob;
    assert_eq!(again[KIND_AT], 4, "the kind stays");
}

#[tokio::test]
async fn keys_that_are_not_there_or_of_another_kind() {
    let world = World::start().await;
    let (pair, to) = (world.encrypting("EC_SM2").await, world.server.create_key().await);
    let ciphertext = encrypted(&world, &pair, SM2PKE, 32).await;
    let unknown = keyferry::ids::KeyId::new().to_string();
    let from = |key_id: &str, version: &str| {
        let pair = Pair { key_id: key_id.into(), version: version.into() };
        import(&pair, SM2PKE, ciphertext.clone(), &to)
    };
    let primary = world.versions(&to).await.remove(0);
    for (request, reason) in [
        (from(&unknown, &pair.version), "Forbidden.KeyNotFound"),
        (from("alias/nobody", &pair.version), "Forbidden.AliasNotFound"),
        (from(&pair.key_id, "nonsense"), "Forbidden.KeyVersionNotFound"),
        (from(&pair.key_id, &primary), "Forbidden.KeyVersionNotFound"),
        (import(&pair, SM2PKE, ciphertext.clone(), &unknown), "Forbidden.KeyNotFound"),
    ] {
        let outcome = world.kms().re_encrypt(request).await;
        assert_refused(outcome, Code::NotFound, reason);
    }
    let signing = world.pair("EC_SM2", "SIGN/VERIFY").await;
    for request in [
        from(&to, &primary),
        from(&signing.key_id, &signing.version),
        import(&pair, SM2PKE, ciphertext.clone(), &pair.key_id),
    ] {
        assert_failed(world.kms().re_encrypt(request).await, "UnsupportedOperation");
    }
    let of_nobody =
        [keyferry::ids::KeyVersionId::new().to_string().into_bytes(), vec![1; 120]].concat();
    let request = v1::ReEncryptRequest {
        ciphertext_blob: of_nobody,
        destination_key_id: to.clone(),
        ..Default::default()
    };
    assert_refused(world.kms().re_encrypt(request).await, Code::NotFound, "Forbidden.KeyNotFound");
}
