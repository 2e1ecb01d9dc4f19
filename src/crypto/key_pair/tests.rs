//! Every spec with every algorithm.

use std::sync::LazyLock;

use ::rsa::pkcs8::DecodePublicKey;
use sha2::Sha256;
use static_assertions::assert_not_impl_any;

use super::*;
use crate::crypto::unwrapping::RecipientPrivateKey;

assert_not_impl_any!(KeyPair: Clone, Copy, PartialEq, fmt::Display, serde::Serialize);

const DIGEST: [u8; 32] = [7; 32];

/// A pair of each spec, with what is stored of it: RSA takes its time.
static PAIRS: LazyLock<Vec<(KeyPair, PrivateKeyMaterial)>> =
    LazyLock::new(|| KeyPairSpec::ALL.map(|spec| KeyPair::generate(spec).expect("a pair")).into());

fn pairs() -> impl Iterator<Item = &'static KeyPair> {
    PAIRS.iter().map(|(pair, _)| pair)
}

fn stored(material: &PrivateKeyMaterial) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(material.reveal(Reveal::ToStore).to_vec())
}

fn algorithms(pair: &KeyPair) -> Vec<SigningAlgorithm> {
    let fits = |algorithm: &SigningAlgorithm| pair.spec().check_signs(*algorithm).is_ok();
    SigningAlgorithm::ALL.into_iter().filter(fits).collect()
}

#[test]
fn a_stored_pair_is_the_same_pair() {
    for (pair, material) in PAIRS.iter() {
        let again = KeyPair::from_stored(pair.spec(), stored(material)).expect("a pair");
        assert_eq!(again.spec(), pair.spec());
        assert_eq!(again.public_key_pem(), pair.public_key_pem());
        for algorithm in algorithms(pair) {
            let signature = again.sign(algorithm, &DIGEST).expect("signed");
            assert_eq!(pair.verify(algorithm, &DIGEST, &signature), Ok(true), "{algorithm}");
        }
    }
}

#[test]
fn a_stored_pair_of_another_spec_is_refused() {
    for (pair, material) in PAIRS.iter() {
        for spec in KeyPairSpec::ALL.into_iter().filter(|spec| *spec != pair.spec()) {
            let refused = KeyPair::from_stored(spec, stored(material));
            assert_eq!(refused.err(), Some(UnfitKeyPair), "{} as {spec}", pair.spec());
        }
    }
}

#[test]
fn stored_bytes_that_are_no_key_are_refused() {
    for (pair, material) in PAIRS.iter() {
        let whole = stored(material);
        let cut = whole[..whole.len() - 1].to_vec();
        let longer = [whole.as_slice(), &[0]].concat();
        for bytes in [Vec::new(), vec![0x30], vec![0; 1000], cut, longer] {
            let refused = KeyPair::from_stored(pair.spec(), Zeroizing::new(bytes));
            assert_eq!(refused.err(), Some(UnfitKeyPair), "{}", pair.spec());
        }
    }
}

#[test]
fn generated_pairs_differ() {
    for spec in [KeyPairSpec::EcP256, KeyPairSpec::EcP256K, KeyPairSpec::EcSm2] {
        let [(a, _), (b, _)] = [(), ()].map(|()| KeyPair::generate(spec).expect("a pair"));
        assert_ne!(a.public_key_pem(), b.public_key_pem());
    }
}

#[test]
fn public_keys_are_pem_in_lines_of_64() {
    for pair in pairs() {
        let pem = pair.public_key_pem();
        let lines: Vec<_> = pem.lines().collect();
        assert!(pem.ends_with("-----END PUBLIC KEY-----\n"));
        assert_eq!(lines[0], "-----BEGIN PUBLIC KEY-----");
        assert!(lines[1..lines.len() - 2].iter().all(|line| line.len() == 64), "{pem}");
    }
}

#[test]
fn an_rsa_exponent_is_65537() {
    for (_, material) in PAIRS.iter().take(3) {
        let key = <::rsa::PrivateKey as ::rsa::pkcs8::DecodePrivateKey>::from_pkcs8_der(
            material.reveal(Reveal::ToFile),
        );
        let key = key.expect("the rsa crate's judgement");
        assert_eq!(
            ::rsa::traits::PublicKeyParts::e(&key).to_be_bytes_trimmed_vartime()[..],
            [1, 0, 1]
        );
    }
}

#[test]
fn a_signature_is_of_one_digest_by_one_algorithm() {
    for pair in pairs() {
        for algorithm in SigningAlgorithm::ALL {
            let Err(illegal) = pair.spec().check_signs(algorithm) else { continue };
            assert_eq!(pair.sign(algorithm, &DIGEST), Err(SignFailed::Algorithm(illegal)));
            assert_eq!(pair.verify(algorithm, &DIGEST, &[]), Err(illegal));
        }
        for algorithm in algorithms(pair) {
            let signature = pair.sign(algorithm, &DIGEST).expect("signed");
            let verify = |digest, signature: &[u8]| pair.verify(algorithm, digest, signature);
            assert_eq!(verify(&DIGEST, &signature), Ok(true), "{algorithm}");
            assert_eq!(verify(&[8; 32], &signature), Ok(false), "{algorithm}");
            for other in algorithms(pair).into_iter().filter(|other| *other != algorithm) {
                assert_eq!(pair.verify(other, &DIGEST, &signature), Ok(false), "{other}");
            }
        }
    }
}

#[test]
fn a_signature_that_is_malformed_is_invalid() {
    for pair in pairs() {
        for algorithm in algorithms(pair) {
            let signature = pair.sign(algorithm, &DIGEST).expect("signed");
            let verify = |signature: &[u8]| pair.verify(algorithm, &DIGEST, signature);
            for at in 0..signature.len() {
                let mut flipped = signature.clone();
                flipped[at] ^= 1 << (at % 8);
                assert_eq!(verify(&flipped), Ok(false), "{algorithm} byte {at}");
            }
            for len in (0..signature.len()).step_by(7) {
                assert_eq!(verify(&signature[..len]), Ok(false), "{algorithm} length {len}");
            }
            let [longer, zeroes, ones] =
                [[&signature[..], &[0]].concat(), vec![0; signature.len()], vec![0xff; 6200]];
            for signature in [longer, zeroes, ones] {
                assert_eq!(verify(&signature), Ok(false), "{algorithm}");
            }
        }
    }
}

#[test]
fn signatures_that_draw_differ_each_time() {
    for pair in pairs() {
        for algorithm in algorithms(pair) {
            let [a, b] = [(), ()].map(|()| pair.sign(algorithm, &DIGEST).expect("signed"));
            assert_eq!(a == b, algorithm == SigningAlgorithm::RsaPkcs1Sha256, "{algorithm}");
        }
    }
}

#[test]
fn the_rsa_crate_verifies_what_an_rsa_pair_signs() {
    for pair in pairs().take(3) {
        let key = ::rsa::PublicKey::from_public_key_pem(pair.public_key_pem()).expect("a key");
        let signature = pair.sign(SigningAlgorithm::RsaPssSha256, &DIGEST).expect("signed");
        let pss = ::rsa::Pss::<Sha256>::new_with_salt(32);
        key.verify(pss, &DIGEST, &signature).expect("valid");
    }
}

/// The methods that a pair encrypts by.
fn methods(pair: &KeyPair) -> Vec<WrappingMethod> {
    let encodings =
        [None, Some(Sm2CiphertextEncoding::Asn1Der), Some(Sm2CiphertextEncoding::RawC1C3C2)];
    let choices = WrappingAlgorithm::ALL.into_iter().flat_map(|a| encodings.map(|e| (a, e)));
    choices.filter_map(|(algorithm, encoding)| pair.method(algorithm, encoding).ok()).collect()
}

#[test]
fn what_a_pair_encrypts_it_decrypts() {
    for pair in pairs() {
        assert_eq!(
            methods(pair).len(),
            match pair.spec() {
                KeyPairSpec::EcP256 | KeyPairSpec::EcP256K => 0,
                KeyPairSpec::EcSm2 => 3,
                _ => 2,
            }
        );
        for method in methods(pair) {
            let longest = method.longest_plaintext_bytes();
            for len in [1, 32, longest] {
                let plaintext = Plaintext::new(vec![5; len]);
                let ciphertext = pair.encrypt(&plaintext, &method).expect("encrypted");
                assert!(ciphertext.len() <= 6200);
                let opened = pair.decrypt(method.algorithm(), &ciphertext).expect("decrypted");
                assert_eq!(opened.reveal(Reveal::ToCaller), vec![5; len]);
            }
            for len in [0, longest + 1] {
                let refused = pair.encrypt(&Plaintext::new(vec![5; len]), &method);
                assert_eq!(refused, Err(WrapFailed::Length), "{len}");
            }
        }
    }
}

#[test]
fn the_longest_plaintexts_are_the_contract_s() {
    let longest: Vec<_> = pairs()
        .flat_map(|pair| WrappingAlgorithm::ALL.map(|algorithm| pair.method(algorithm, None)))
        .filter_map(|method| method.ok().map(|method| method.longest_plaintext_bytes()))
        .collect();
    assert_eq!(longest, [190, 214, 318, 342, 446, 470, 6047]);
}

#[test]
fn parameters_that_do_not_go_together_are_told() {
    let told = |at: usize, algorithm, encoding| {
        PAIRS[at].0.method(algorithm, encoding).expect_err("illegal").to_string()
    };
    let der = Some(Sm2CiphertextEncoding::Asn1Der);
    assert_eq!(
        told(0, WrappingAlgorithm::RsaesOaepSha256, der),
        "it is for EC_SM2 alone and does not go with RSA_2048; leave it unspecified"
    );
    assert_eq!(
        told(5, WrappingAlgorithm::RsaesOaepSha1, None),
        "RSAES_OAEP_SHA_1 does not go with EC_SM2; SM2PKE would do"
    );
    assert_eq!(
        told(3, WrappingAlgorithm::Sm2Pke, None),
        "a key pair of EC_P256 does not encrypt; one of RSA or EC_SM2 would do"
    );
}

#[test]
fn whatever_does_not_decrypt_has_one_answer() {
    for pair in pairs() {
        for method in methods(pair) {
            let plaintext = Plaintext::new(vec![5; 32]);
            let ciphertext = pair.encrypt(&plaintext, &method).expect("encrypted");
            let mut flipped = ciphertext.clone();
            flipped[40] ^= 1;
            let cut = ciphertext[..ciphertext.len() - 1].to_vec();
            let led_by_zero = [&[0], &ciphertext[..]].concat();
            let longer = [&ciphertext[..], &[0]].concat();
            let [zeroes, ones] = [vec![0; ciphertext.len()], vec![0xff; ciphertext.len()]];
            for broken in [flipped, cut, led_by_zero, longer, zeroes, ones, vec![], vec![4; 6201]] {
                let refused = pair.decrypt(method.algorithm(), &broken).err();
                assert_eq!(refused, Some(DecryptFailed), "{:?}", method.algorithm());
            }
        }
        for algorithm in WrappingAlgorithm::ALL {
            let length = pair.public_key_pem().len();
            assert_eq!(pair.decrypt(algorithm, &vec![1; length]).err(), Some(DecryptFailed));
        }
    }
}

/// A pair decrypts as a recipient does: with an algorithm other than the one
/// encrypted by, it does not.
#[test]
fn the_hashes_of_oaep_do_not_mix() {
    let pair = &PAIRS[0].0;
    let [sha_256, sha_1] = [WrappingAlgorithm::RsaesOaepSha256, WrappingAlgorithm::RsaesOaepSha1];
    for (by, with) in [(sha_256, sha_1), (sha_1, sha_256)] {
        let method = pair.method(by, None).expect("legal");
        let ciphertext = pair.encrypt(&Plaintext::new(vec![5; 32]), &method).expect("encrypted");
        assert_eq!(pair.decrypt(with, &ciphertext).err(), Some(DecryptFailed));
    }
}

#[test]
fn the_stored_form_is_what_recipients_tools_read() {
    for (pair, material) in PAIRS.iter() {
        let Some(spec) = pair.spec().wrapping() else { continue };
        let key = RecipientPrivateKey::parse_der(material.reveal(Reveal::ToFile)).expect("a key");
        assert_eq!(key.spec(), spec);
        let public = WrappingKey::parse(spec, pair.public_key_pem().as_bytes()).expect("a key");
        assert_eq!(key.public_key_der(), public.to_der());
    }
}

#[test]
fn memory_is_told_by_size() {
    let told: Vec<_> = pairs().map(KeyPair::memory_bytes).collect();
    assert!(told[0] < told[1] && told[1] < told[2], "{told:?}");
    assert!(told.iter().all(|bytes| (1_000..100_000).contains(bytes)), "{told:?}");
}

#[test]
fn debug_prints_the_name_of_the_type_alone() {
    for pair in pairs() {
        assert_eq!(format!("{pair:?} {:?}", pair.verifying_key()), "KeyPair VerifyingKey");
    }
}
