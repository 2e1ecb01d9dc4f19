//! Key pairs: what they do, what they don't, and that a ciphertext which does
//! not open has one answer.

use std::collections::BTreeSet;

use keyferry::proto::v1::{self, SigningAlgorithm, Sm2CiphertextEncoding, WrappingAlgorithm};
use tonic::{Code, Response, Status};

use super::world::{Pair, World, assert_invalid, assert_missing};
use crate::support::assert_refused;

const OAEP_256: i32 = WrappingAlgorithm::RsaesOaepSha256 as i32;
const OAEP_1: i32 = WrappingAlgorithm::RsaesOaepSha1 as i32;
const SM2PKE: i32 = WrappingAlgorithm::Sm2pke as i32;

fn encrypt(pair: &Pair, algorithm: i32, bytes: usize) -> v1::AsymmetricEncryptRequest {
    v1::AsymmetricEncryptRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.version.clone(),
        algorithm,
        plaintext: vec![7; bytes],
        ..Default::default()
    }
}

fn decrypt(pair: &Pair, algorithm: i32, ciphertext: Vec<u8>) -> v1::AsymmetricDecryptRequest {
    v1::AsymmetricDecryptRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.version.clone(),
        algorithm,
        ciphertext_blob: ciphertext,
        dry_run: false,
    }
}

fn sign(pair: &Pair, algorithm: i32, digest_bytes: usize) -> v1::AsymmetricSignRequest {
    v1::AsymmetricSignRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.version.clone(),
        algorithm,
        digest: vec![7; digest_bytes],
        dry_run: false,
    }
}

fn verify(signed: v1::AsymmetricSignRequest, value: Vec<u8>) -> v1::AsymmetricVerifyRequest {
    let v1::AsymmetricSignRequest { key_id, key_version_id, algorithm, digest, dry_run } = signed;
    v1::AsymmetricVerifyRequest { key_id, key_version_id, algorithm, digest, value, dry_run }
}

async fn encrypted(world: &World, request: v1::AsymmetricEncryptRequest) -> Vec<u8> {
    world.kms().asymmetric_encrypt(request).await.unwrap().into_inner().ciphertext_blob
}

#[tokio::test]
async fn a_pair_encrypts_as_its_spec_does() {
    let world = World::start().await;
    for (spec, fit) in [("RSA_2048", &[OAEP_256, OAEP_1][..]), ("EC_SM2", &[SM2PKE])] {
        let pair = world.encrypting(spec).await;
        for algorithm in [OAEP_256, OAEP_1, SM2PKE] {
            let outcome = world.kms().asymmetric_encrypt(encrypt(&pair, algorithm, 32)).await;
            if fit.contains(&algorithm) {
                let ciphertext = outcome.unwrap().into_inner().ciphertext_blob;
                let request = decrypt(&pair, algorithm, ciphertext);
                let opened = world.kms().asymmetric_decrypt(request).await.unwrap().into_inner();
                assert_eq!(opened.plaintext, [7; 32]);
                assert_eq!(
                    (opened.key_id, opened.key_version_id),
                    (pair.key_id.clone(), pair.version.clone())
                );
            } else {
                assert_invalid(outcome, "algorithm");
                let request = decrypt(&pair, algorithm, vec![4; 256]);
                assert_invalid(world.kms().asymmetric_decrypt(request).await, "algorithm");
            }
        }
        for algorithm in [4, 99, -1] {
            let request = encrypt(&pair, algorithm, 32);
            assert_invalid(world.kms().asymmetric_encrypt(request).await, "algorithm");
            let request = decrypt(&pair, algorithm, vec![4; 256]);
            assert_invalid(world.kms().asymmetric_decrypt(request).await, "algorithm");
        }
        assert_missing(world.kms().asymmetric_encrypt(encrypt(&pair, 0, 32)).await, "algorithm");
        assert_missing(
            world.kms().asymmetric_decrypt(decrypt(&pair, 0, vec![4])).await,
            "algorithm",
        );
    }
}

#[tokio::test]
async fn encodings_are_for_sm2() {
    let world = World::start().await;
    let (rsa, sm2) = (world.encrypting("RSA_2048").await, world.encrypting("EC_SM2").await);
    for (encoding, first) in
        [(Sm2CiphertextEncoding::Asn1Der, 0x30), (Sm2CiphertextEncoding::RawC1c3c2, 0x04)]
    {
        let encoding = encoding.into();
        let with =
            |request| v1::AsymmetricEncryptRequest { sm2_ciphertext_encoding: encoding, ..request };
        let outcome = world.kms().asymmetric_encrypt(with(encrypt(&rsa, OAEP_256, 32))).await;
        assert_invalid(outcome, "sm2_ciphertext_encoding");
        let made = encrypted(&world, with(encrypt(&sm2, SM2PKE, 32))).await;
        assert_eq!(made[0], first);
        world.kms().asymmetric_decrypt(decrypt(&sm2, SM2PKE, made)).await.unwrap();
    }
    let odd =
        v1::AsymmetricEncryptRequest { sm2_ciphertext_encoding: 9, ..encrypt(&sm2, SM2PKE, 32) };
    assert_invalid(world.kms().asymmetric_encrypt(odd).await, "sm2_ciphertext_encoding");
    assert_eq!(encrypted(&world, encrypt(&sm2, SM2PKE, 32)).await[0], 0x30, "DER by default");
}

#[tokio::test]
async fn plaintexts_of_every_length() {
    let world = World::start().await;
    let (rsa, sm2) = (world.encrypting("RSA_2048").await, world.encrypting("EC_SM2").await);
    for (pair, algorithm, longest) in
        [(&rsa, OAEP_256, 190), (&rsa, OAEP_1, 214), (&sm2, SM2PKE, 6047)]
    {
        let outcome = world.kms().asymmetric_encrypt(encrypt(pair, algorithm, 0)).await;
        assert_missing(outcome, "plaintext");
        for bytes in [1, longest] {
            let ciphertext = encrypted(&world, encrypt(pair, algorithm, bytes)).await;
            let opened = world.kms().asymmetric_decrypt(decrypt(pair, algorithm, ciphertext)).await;
            assert_eq!(opened.unwrap().into_inner().plaintext, vec![7; bytes]);
        }
        let long = world.kms().asymmetric_encrypt(encrypt(pair, algorithm, longest + 1)).await;
        let status = assert_invalid(long, "plaintext");
        assert!(status.message().contains(&longest.to_string()), "{}", status.message());
    }
}

#[tokio::test]
async fn a_ciphertext_that_does_not_open_has_one_answer() {
    let world = World::start().await;
    let (rsa, sm2) = (world.encrypting("RSA_2048").await, world.encrypting("EC_SM2").await);
    let another = world.encrypting("EC_SM2").await;
    let of_rsa = encrypted(&world, encrypt(&rsa, OAEP_256, 32)).await;
    let of_sm2 = encrypted(&world, encrypt(&sm2, SM2PKE, 32)).await;
    let changed = |bytes: &[u8], at: usize| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        changed
    };
    let refused = [
        decrypt(&rsa, OAEP_256, changed(&of_rsa, 255)),
        decrypt(&rsa, OAEP_1, of_rsa.clone()),
        decrypt(&rsa, OAEP_256, of_rsa[..255].to_vec()),
        decrypt(&rsa, OAEP_256, [&of_rsa[..], &[0]].concat()),
        decrypt(&rsa, OAEP_256, vec![0xff; 256]),
        decrypt(&rsa, OAEP_256, vec![0; 256]),
        decrypt(&rsa, OAEP_256, vec![1]),
        decrypt(&rsa, OAEP_256, of_sm2.clone()),
        decrypt(&sm2, SM2PKE, changed(&of_sm2, of_sm2.len() - 1)),
        decrypt(&sm2, SM2PKE, changed(&of_sm2, 0)),
        decrypt(&sm2, SM2PKE, of_sm2[..of_sm2.len() - 1].to_vec()),
        decrypt(&sm2, SM2PKE, [&of_sm2[..], &[0]].concat()),
        decrypt(&sm2, SM2PKE, vec![4; 6201]),
        decrypt(&sm2, SM2PKE, vec![4; 60_000]),
        decrypt(&sm2, SM2PKE, vec![4]),
        decrypt(&sm2, SM2PKE, of_rsa),
        decrypt(&another, SM2PKE, of_sm2),
    ];
    let mut texts = BTreeSet::new();
    for request in refused {
        let outcome = world.kms().asymmetric_decrypt(request).await;
        texts.insert(assert_invalid(outcome, "ciphertext_blob").message().to_owned());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    let nothing = world.kms().asymmetric_decrypt(decrypt(&sm2, SM2PKE, vec![])).await;
    assert_missing(nothing, "ciphertext_blob");
}

#[tokio::test]
async fn a_pair_signs_as_its_spec_does() {
    let world = World::start().await;
    let rsa = &[SigningAlgorithm::RsaPssSha256, SigningAlgorithm::RsaPkcs1Sha256][..];
    let all = [
        SigningAlgorithm::RsaPssSha256,
        SigningAlgorithm::RsaPkcs1Sha256,
        SigningAlgorithm::EcdsaSha256,
        SigningAlgorithm::Sm2dsa,
    ];
    for (spec, fit) in [
        ("RSA_2048", rsa),
        ("EC_P256", &[SigningAlgorithm::EcdsaSha256]),
        ("EC_P256K", &[SigningAlgorithm::EcdsaSha256]),
        ("EC_SM2", &[SigningAlgorithm::Sm2dsa]),
    ] {
        let pair = world.pair(spec, "").await;
        for algorithm in all {
            let request = sign(&pair, algorithm.into(), 32);
            let outcome = world.kms().asymmetric_sign(request.clone()).await;
            if !fit.contains(&algorithm) {
                assert_invalid(outcome, "algorithm");
                let request = verify(request, vec![1; 64]);
                assert_invalid(world.kms().asymmetric_verify(request).await, "algorithm");
                continue;
            }
            let value = outcome.unwrap().into_inner().value;
            check_signature(&world, &request, &value).await;
        }
        for (algorithm, digest_bytes, field) in
            [(9, 32, "algorithm"), (1, 31, "digest"), (1, 33, "digest"), (1, 64, "digest")]
        {
            let request = sign(&pair, algorithm, digest_bytes);
            assert_invalid(world.kms().asymmetric_sign(request.clone()).await, field);
            let request = verify(request, vec![1]);
            assert_invalid(world.kms().asymmetric_verify(request).await, field);
        }
        let fit = fit[0].into();
        assert_missing(world.kms().asymmetric_sign(sign(&pair, 0, 32)).await, "algorithm");
        assert_missing(world.kms().asymmetric_sign(sign(&pair, fit, 0)).await, "digest");
        let request = verify(sign(&pair, fit, 32), vec![]);
        assert_missing(world.kms().asymmetric_verify(request).await, "value");
    }
}

/// It verifies, and nothing near it does; which is an answer and no error.
async fn check_signature(world: &World, signed: &v1::AsymmetricSignRequest, value: &[u8]) {
    let asked =
        async |request| world.kms().asymmetric_verify(request).await.unwrap().into_inner().value;
    assert!(asked(verify(signed.clone(), value.to_vec())).await);
    let mut changed = value.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let longer = [value, &[0]].concat();
    for other in [changed, longer, value[1..].to_vec(), vec![0], vec![0x30; 60_000]] {
        assert!(!asked(verify(signed.clone(), other)).await);
    }
    let another_digest = v1::AsymmetricSignRequest { digest: vec![8; 32], ..signed.clone() };
    assert!(!asked(verify(another_digest, value.to_vec())).await);
}

#[tokio::test]
async fn versions_that_are_not_the_pairs() {
    let world = World::start().await;
    let (enc, sig) = (world.encrypting("EC_SM2").await, world.pair("EC_P256", "").await);
    let symmetric = world.server.create_key().await;
    let unknown = keyferry::ids::KeyVersionId::new().to_string();
    let of_symmetric = world.versions(&symmetric).await.remove(0);
    let ecdsa = SigningAlgorithm::EcdsaSha256.into();
    let try_all = async |of_enc: &str, of_sig: &str| -> Vec<Result<Response<()>, Status>> {
        let enc = Pair { key_id: enc.key_id.clone(), version: of_enc.into() };
        let sig = Pair { key_id: sig.key_id.clone(), version: of_sig.into() };
        let public = v1::GetPublicKeyRequest {
            key_id: enc.key_id.clone(),
            key_version_id: of_enc.into(),
            dry_run: false,
        };
        let mut kms = world.kms();
        vec![
            kms.get_public_key(public).await.map(|_| Response::new(())),
            kms.asymmetric_encrypt(encrypt(&enc, SM2PKE, 32)).await.map(|_| Response::new(())),
            kms.asymmetric_decrypt(decrypt(&enc, SM2PKE, vec![4; 130]))
                .await
                .map(|_| Response::new(())),
            kms.asymmetric_sign(sign(&sig, ecdsa, 32)).await.map(|_| Response::new(())),
            kms.asymmetric_verify(verify(sign(&sig, ecdsa, 32), vec![1]))
                .await
                .map(|_| Response::new(())),
        ]
    };
    for (of_enc, of_sig) in [
        (sig.version.as_str(), enc.version.as_str()),
        (of_symmetric.as_str(), of_symmetric.as_str()),
        (unknown.as_str(), unknown.as_str()),
        ("nonsense", "nonsense"),
    ] {
        for outcome in try_all(of_enc, of_sig).await {
            assert_refused(outcome, Code::NotFound, "Forbidden.KeyVersionNotFound");
        }
    }
    for outcome in try_all("", "").await {
        assert_missing(outcome, "key_version_id");
    }
}

#[tokio::test]
async fn each_version_is_a_pair_of_its_own() {
    let world = World::start().await;
    let old = world.pair("EC_P256", "").await;
    world.clock.pass(crate::support::days(7));
    let version = world.add_version(&old.key_id, false).await.unwrap();
    let new = Pair { key_id: old.key_id.clone(), version };
    let ecdsa = SigningAlgorithm::EcdsaSha256.into();
    let value =
        world.kms().asymmetric_sign(sign(&old, ecdsa, 32)).await.unwrap().into_inner().value;
    for (pair, valid) in [(&old, true), (&new, false)] {
        let request = verify(sign(pair, ecdsa, 32), value.clone());
        let answer = world.kms().asymmetric_verify(request).await.unwrap().into_inner();
        assert_eq!(answer.value, valid);
        assert_eq!(answer.key_version_id, pair.version);
    }
    let mut pems = BTreeSet::new();
    for pair in [&old, &new] {
        let request = v1::GetPublicKeyRequest {
            key_id: pair.key_id.clone(),
            key_version_id: pair.version.clone(),
            dry_run: false,
        };
        pems.insert(world.kms().get_public_key(request).await.unwrap().into_inner().public_key);
    }
    assert_eq!(pems.len(), 2);
    assert!(world.describe(&old.key_id).await.primary_key_version.is_empty());
}
