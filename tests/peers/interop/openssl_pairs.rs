//! OpenSSL's command line and asymmetric CMKs: it verifies what they sign, they
//! decrypt what it encrypts; and with a key pair that it made, both ways.

use std::fs;
use std::process::Command;

use keyferry::crypto::key_pair::{KeyPair, KeyPairSpec, SigningAlgorithm};
use keyferry::crypto::secret::{Plaintext, Reveal};
use keyferry::crypto::wrapping::{WrappingAlgorithm, WrappingKey, WrappingKeySpec};
use keyferry::proto::v1;
use sha2::{Digest, Sha256};

use super::sm2;
use crate::recipient::{Method, OAEP_SHA_1, OAEP_SHA_256, Recipient, SM2PKE, version};
use crate::support::harness::{Caller, Checks, PEER_LIMIT, Pair, Server, run, run_to_end};

const MESSAGE: &[u8] = b"carried across the border";

/// A way of signing, and OpenSSL's words for it.
#[derive(Clone, Copy)]
struct Signing {
    algorithm: SigningAlgorithm,
    pkeyutl: &'static [&'static str],
}

const PSS: Signing = Signing {
    algorithm: SigningAlgorithm::RsaPssSha256,
    pkeyutl: &[
        "-pkeyopt",
        "digest:sha256",
        "-pkeyopt",
        "rsa_padding_mode:pss",
        "-pkeyopt",
        "rsa_mgf1_md:sha256",
        "-pkeyopt",
        "rsa_pss_saltlen:32",
    ],
};
const PKCS1: Signing = Signing {
    algorithm: SigningAlgorithm::RsaPkcs1Sha256,
    pkeyutl: &["-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pkcs1"],
};
const ECDSA: Signing =
    Signing { algorithm: SigningAlgorithm::EcdsaSha256, pkeyutl: &["-pkeyopt", "digest:sha256"] };
/// OpenSSL hashes for itself here, with Z_A.
const SM2DSA: Signing = Signing {
    algorithm: SigningAlgorithm::Sm2Dsa,
    pkeyutl: &["-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"],
};

impl Signing {
    /// The digest of `MESSAGE` that a caller has us sign.
    fn digest(self, owner: &Recipient) -> [u8; 32] {
        if self.algorithm != SigningAlgorithm::Sm2Dsa {
            return Sha256::digest(MESSAGE).into();
        }
        let pem = fs::read(owner.file("public.pem")).unwrap();
        let key = WrappingKey::parse(WrappingKeySpec::EcSm2, &pem).unwrap();
        sm2::e(key.to_der().last_chunk::<64>().unwrap(), MESSAGE)
    }

    /// The input of OpenSSL for `MESSAGE`: a digest, or the message for SM2.
    fn input(self) -> Vec<u8> {
        match self.algorithm {
            SigningAlgorithm::Sm2Dsa => MESSAGE.to_vec(),
            _ => Sha256::digest(MESSAGE).to_vec(),
        }
    }
}

/// The verdict of `pkeyutl -verify`.
fn openssl_verifies(owner: &Recipient, signing: Signing, signature: &[u8]) -> bool {
    let [input, file] = ["in", "signature"].map(|name| owner.file(name));
    fs::write(&input, signing.input()).unwrap();
    fs::write(&file, signature).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-verify", "-pubin", "-inkey"]).arg(owner.file("public.pem"));
    openssl.args(signing.pkeyutl).arg("-in").arg(input).arg("-sigfile").arg(file);
    run_to_end(&mut openssl, PEER_LIMIT).success
}

/// The signature by `pkeyutl -sign`.
fn openssl_signs(owner: &Recipient, signing: Signing) -> Vec<u8> {
    let [input, output] = ["in", "out"].map(|name| owner.file(name));
    fs::write(&input, signing.input()).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkeyutl", "-sign", "-inkey"]).arg(owner.file("private.pem"));
    run(openssl.args(signing.pkeyutl).arg("-in").arg(input).arg("-out").arg(&output));
    fs::read(output).unwrap()
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    flipped
}

fn sign(
    caller: &mut Caller,
    pair: &Pair,
    algorithm: SigningAlgorithm,
    digest: [u8; 32],
) -> Vec<u8> {
    let request = v1::AsymmetricSignRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.key_version_id.clone(),
        algorithm: v1::SigningAlgorithm::from(algorithm).into(),
        digest: digest.to_vec(),
        ..Default::default()
    };
    let signed = caller.runtime.block_on(caller.kms.asymmetric_sign(request));
    signed.unwrap().into_inner().value
}

fn verify(
    caller: &mut Caller,
    pair: &Pair,
    algorithm: SigningAlgorithm,
    digest: [u8; 32],
    signature: Vec<u8>,
) -> bool {
    let request = v1::AsymmetricVerifyRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.key_version_id.clone(),
        algorithm: v1::SigningAlgorithm::from(algorithm).into(),
        digest: digest.to_vec(),
        value: signature,
        ..Default::default()
    };
    let verified = caller.runtime.block_on(caller.kms.asymmetric_verify(request));
    verified.unwrap().into_inner().value
}

#[test]
fn openssl_verifies_what_a_cmk_signs() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl -verify"));
    let server = Server::dev();
    let mut caller = server.caller();
    for (spec, signings) in [
        ("RSA_2048", &[PSS, PKCS1][..]),
        ("RSA_3072", &[PSS, PKCS1]),
        ("RSA_4096", &[PSS, PKCS1]),
        ("EC_P256", &[ECDSA]),
        ("EC_P256K", &[ECDSA]),
        ("EC_SM2", &[SM2DSA]),
    ] {
        let pair = caller.create_pair(spec, "SIGN/VERIFY");
        let owner = Recipient::known_by(&pair.public_key);
        for &signing in signings {
            let digest = signing.digest(&owner);
            let signature = sign(&mut caller, &pair, signing.algorithm, digest);
            let name = format!("{spec}_{}", signing.algorithm);
            checks.that(&name, openssl_verifies(&owner, signing, &signature));
            let broken = flipped(&signature);
            checks.that(&format!("{name}_flipped"), !openssl_verifies(&owner, signing, &broken));
            let mut ours =
                |signature| verify(&mut caller, &pair, signing.algorithm, digest, signature);
            checks.that(&format!("{name}_by_the_cmk"), ours(signature) && !ours(broken));
        }
    }
}

fn decrypt(
    caller: &mut Caller,
    pair: &Pair,
    algorithm: v1::WrappingAlgorithm,
    ciphertext: Vec<u8>,
) -> Vec<u8> {
    let request = v1::AsymmetricDecryptRequest {
        key_id: pair.key_id.clone(),
        key_version_id: pair.key_version_id.clone(),
        algorithm: algorithm.into(),
        ciphertext_blob: ciphertext,
        ..Default::default()
    };
    let decrypted = caller.runtime.block_on(caller.kms.asymmetric_decrypt(request));
    decrypted.unwrap().into_inner().plaintext
}

#[test]
fn a_cmk_decrypts_what_openssl_encrypts() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl -encrypt (for a CMK)"));
    let server = Server::dev();
    let mut caller = server.caller();
    let sha_256 = (&OAEP_SHA_256, v1::WrappingAlgorithm::RsaesOaepSha256);
    let sha_1 = (&OAEP_SHA_1, v1::WrappingAlgorithm::RsaesOaepSha1);
    let sm2pke = (&SM2PKE, v1::WrappingAlgorithm::Sm2pke);
    for (spec, longest, methods) in [
        ("RSA_2048", 190, &[sha_256, sha_1][..]),
        ("RSA_3072", 318, &[sha_256, sha_1]),
        ("RSA_4096", 446, &[sha_256, sha_1]),
        ("EC_SM2", 6047, &[sm2pke]),
    ] {
        let pair = caller.create_pair(spec, "ENCRYPT/DECRYPT");
        let owner = Recipient::known_by(&pair.public_key);
        for &(method, algorithm) in methods {
            for len in [1, 32, longest] {
                let plaintext = vec![7; len];
                let ciphertext = owner.wrap(&plaintext, method);
                let opened = decrypt(&mut caller, &pair, algorithm, ciphertext);
                checks.that(&format!("{spec}_{}_{len}", method.algorithm), opened == plaintext);
            }
        }
    }
}

/// Key pairs that OpenSSL made, and how to use them.
fn made_by_openssl() -> Vec<(KeyPairSpec, Recipient, Vec<Signing>, Vec<Method>)> {
    let ec = |curve: &str| {
        Recipient::make(&["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")])
    };
    let oaep = [OAEP_SHA_256, OAEP_SHA_1];
    vec![
        (KeyPairSpec::Rsa2048, Recipient::rsa(2048), vec![PSS, PKCS1], oaep.to_vec()),
        (KeyPairSpec::Rsa3072, Recipient::rsa(3072), vec![PSS, PKCS1], oaep.to_vec()),
        (KeyPairSpec::Rsa4096, Recipient::rsa(4096), vec![PSS, PKCS1], oaep.to_vec()),
        (KeyPairSpec::EcP256, ec("P-256"), vec![ECDSA], vec![]),
        (KeyPairSpec::EcP256K, ec("secp256k1"), vec![ECDSA], vec![]),
        (KeyPairSpec::EcSm2, Recipient::sm2(), vec![SM2DSA], vec![SM2PKE]),
    ]
}

/// OpenSSL's private key as a pair of ours.
fn pair_of(spec: KeyPairSpec, owner: &Recipient) -> KeyPair {
    let output = owner.file("private.der");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"]);
    run(openssl.arg(owner.file("private.pem")).arg("-out").arg(&output));
    KeyPair::from_stored(spec, fs::read(output).unwrap().into()).unwrap()
}

fn check_encryption(checks: &mut Checks, pair: &KeyPair, owner: &Recipient, by: &Method) {
    let named = |algorithm: &WrappingAlgorithm| algorithm.as_str() == by.algorithm;
    let algorithm = WrappingAlgorithm::ALL.into_iter().find(named).unwrap();
    let method = pair.method(algorithm, None).unwrap();
    for len in [1, 32, method.longest_plaintext_bytes()] {
        let plaintext = vec![7; len];
        let ours = pair.encrypt(&Plaintext::new(plaintext.clone()), &method).unwrap();
        let name = format!("{}_{algorithm}_{len}", pair.spec());
        checks.that(&format!("they_open_{name}"), owner.open(&ours, by) == plaintext);
        let opened = pair.decrypt(algorithm, &owner.wrap(&plaintext, by)).unwrap();
        checks.that(&format!("we_open_{name}"), opened.reveal(Reveal::ToCaller) == plaintext);
    }
}

#[test]
fn a_key_pair_of_openssl_goes_both_ways() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl (with a key pair of its own)"));
    for (spec, owner, signings, methods) in made_by_openssl() {
        let pair = pair_of(spec, &owner);
        let public = fs::read_to_string(owner.file("public.pem")).unwrap();
        checks.that(&format!("{spec}_public_key"), pair.public_key_pem() == public);
        for signing in signings {
            let (algorithm, digest) = (signing.algorithm, signing.digest(&owner));
            let ours = pair.sign(algorithm, &digest).unwrap();
            let verified = openssl_verifies(&owner, signing, &ours);
            checks.that(&format!("they_verify_{spec}_{algorithm}"), verified);
            let theirs = openssl_signs(&owner, signing);
            let verify = |signature: &[u8]| pair.verify(algorithm, &digest, signature).unwrap();
            let verified = verify(&theirs) && !verify(&flipped(&theirs));
            checks.that(&format!("we_verify_{spec}_{algorithm}"), verified);
        }
        for method in methods {
            check_encryption(&mut checks, &pair, &owner, &method);
        }
    }
}
