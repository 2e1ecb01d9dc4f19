//! Other implementations of SM2 encrypt, and `keyferry data-key unwrap` opens.
//! (The clients in their languages open what we encrypt.) With one key pair they
//! and we sign, verify, encrypt and decrypt what the other verifies and decrypts.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use elliptic_curve::sec1::ToSec1Point;
use keyferry::crypto::key_pair::{KeyPair, KeyPairSpec, SigningAlgorithm};
use keyferry::crypto::secret::{Plaintext, Reveal};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::{Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKeySpec};
use pkcs8::{DecodePrivateKey, EncodePrivateKey};
use sm3::{Digest, Sm3};

use crate::recipient::unwrap_by_keyferry;
use crate::support::harness::{Checks, checkout, installed, run};

/// Below, at and above the blocks of SM3 that the key stream is made of.
const LENGTHS: [u8; 8] = [1, 16, 31, 32, 33, 64, 190, 200];

fn plaintexts() -> Vec<Vec<u8>> {
    LENGTHS.iter().map(|&length| (1..=length).collect()).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// Runs a program that prints its name and a line for each plaintext, and
/// checks that each line opens.
fn open_theirs(encrypt: &mut Command, recipient: &RecipientPrivateKey) {
    let folder = tempfile::tempdir().unwrap();
    let private_key = folder.path().join("private.pem");
    fs::write(&private_key, recipient.to_pkcs8_pem().as_bytes()).unwrap();
    // The SubjectPublicKeyInfo ends with 04 || x || y.
    let public_key = recipient.public_key_der();
    let point = &public_key[public_key.len() - 64..];
    encrypt.arg(hex(point)).args(plaintexts().iter().map(|plaintext| hex(plaintext)));
    let printed = run(encrypt).text();
    let mut lines = printed.lines();
    let mut checks = Checks::of(format!("{} (encrypts)", lines.next().unwrap()));
    for plaintext in plaintexts() {
        let exported = unhex(lines.next().unwrap());
        let opened = unwrap_by_keyferry(&private_key, &exported, "SM2PKE");
        checks.that(&format!("we_open_{}_bytes", plaintext.len()), opened == plaintext);
    }
}

#[test]
fn we_open_what_gmssl_encrypts() {
    let Some(peers) = installed("gmssl", "python") else { return };
    // gmssl mangles public keys whose x begins with 0 or 4: a fixed one.
    let pem = fs::read(checkout().join("tests/peers/interop/sm2_test_key.pem")).unwrap();
    let mut encrypt = Command::new(peers.join("python/bin/python"));
    encrypt.arg(checkout().join("tests/peers/interop/python/sm2_encrypt.py"));
    open_theirs(&mut encrypt, &RecipientPrivateKey::parse_pem(&pem).unwrap());
}

#[test]
fn we_open_what_sm_crypto_encrypts() {
    let Some(peers) = installed("sm-crypto", "node") else { return };
    let mut encrypt = Command::new("node");
    encrypt
        .arg(checkout().join("tests/peers/interop/node/sm2_encrypt.js"))
        .env("NODE_PATH", peers.join("node/node_modules"));
    open_theirs(&mut encrypt, &RecipientPrivateKey::generate(WrappingKeySpec::EcSm2).unwrap());
}

/// e = SM3(Z_A || M), with Z_A of GB/T 32918.2, section 5.5, for the identifier
/// of those who have none. The point is x || y.
pub fn e(point: &[u8], message: &[u8]) -> [u8; 32] {
    const A_B_AND_G: &str = "\
        fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc\
        28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93\
        32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7\
        bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0";
    let z_a = Sm3::new()
        .chain_update([0x00, 0x80])
        .chain_update(b"1234567812345678")
        .chain_update(unhex(A_B_AND_G))
        .chain_update(point)
        .finalize();
    Sm3::new().chain_update(z_a).chain_update(message).finalize().into()
}

/// Has a program sign, verify, encrypt and decrypt with a key pair that we have
/// too.
fn go_both_ways(program: &mut Command, key: &sm2::SecretKey) {
    let stored = key.to_pkcs8_der().unwrap().as_bytes().to_vec();
    let pair = KeyPair::from_stored(KeyPairSpec::EcSm2, stored.into()).unwrap();
    let point = key.public_key().to_sec1_point(false).as_bytes()[1..].to_vec();
    let raw = pair.method(WrappingAlgorithm::Sm2Pke, Some(Sm2CiphertextEncoding::RawC1C3C2));
    program.arg(hex(&key.to_bytes())).arg(hex(&point));
    for message in plaintexts() {
        let signature = pair.sign(SigningAlgorithm::Sm2Dsa, &e(&point, &message)).unwrap();
        let ciphertext = pair.encrypt(&Plaintext::new(message.clone()), &raw.unwrap()).unwrap();
        let message = hex(&message);
        program.arg(format!("verify:{message}:{}", hex(&signature)));
        program.arg(format!("decrypt:{}", hex(&ciphertext)));
        program.arg(format!("sign:{message}")).arg(format!("encrypt:{message}"));
    }
    let printed = run(program).text();
    let mut lines = printed.lines();
    let mut checks = Checks::of(format!("{} (key pair)", lines.next().unwrap()));
    for message in plaintexts() {
        let mut check = |what, holds| checks.that(&format!("{what}_{}", message.len()), holds);
        check("they_verify", lines.next() == Some("true"));
        check("they_decrypt", lines.next() == Some(&hex(&message)));
        let signature = unhex(lines.next().unwrap());
        let verify = |message| {
            pair.verify(SigningAlgorithm::Sm2Dsa, &e(&point, message), &signature).unwrap()
        };
        check("we_verify", verify(&message) && !verify(b"another"));
        let opened = pair.decrypt(WrappingAlgorithm::Sm2Pke, &unhex(lines.next().unwrap()));
        check("we_decrypt", opened.unwrap().reveal(Reveal::ToCaller) == message);
    }
}

#[test]
fn a_key_pair_goes_both_ways_with_gmssl() {
    let Some(peers) = installed("gmssl", "python") else { return };
    let pem = fs::read_to_string(checkout().join("tests/peers/interop/sm2_test_key.pem")).unwrap();
    let mut program = Command::new(peers.join("python/bin/python"));
    program.arg(checkout().join("tests/peers/interop/python/sm2_pair.py"));
    go_both_ways(&mut program, &sm2::SecretKey::from_pkcs8_pem(&pem).unwrap());
}

#[test]
fn a_key_pair_goes_both_ways_with_sm_crypto() {
    let Some(peers) = installed("sm-crypto", "node") else { return };
    let pem = fs::read_to_string(checkout().join("tests/peers/interop/sm2_test_key.pem")).unwrap();
    let mut program = Command::new("node");
    program
        .arg(checkout().join("tests/peers/interop/node/sm2_pair.js"))
        .env("NODE_PATH", peers.join("node/node_modules"));
    go_both_ways(&mut program, &sm2::SecretKey::from_pkcs8_pem(&pem).unwrap());
}
