//! Other implementations of SM2 encrypt, and `keyferry data-key unwrap` opens.
//! (The clients in their languages open what we encrypt.)

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;

use crate::harness::{Checks, checkout, installed, run};
use crate::openssl::unwrap_by_keyferry;

/// Below, at and above the blocks of SM3 that the key stream is made of.
const LENGTHS: [u8; 8] = [1, 16, 31, 32, 33, 64, 190, 200];

fn plaintexts() -> Vec<Vec<u8>> {
    LENGTHS.iter().map(|&length| (1..=length).collect()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
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
    let pem = fs::read(checkout().join("tests/interop/sm2_test_key.pem")).unwrap();
    let mut encrypt = Command::new(peers.join("python/bin/python"));
    encrypt.arg(checkout().join("tests/interop/python/sm2_encrypt.py"));
    open_theirs(&mut encrypt, &RecipientPrivateKey::parse_pem(&pem).unwrap());
}

#[test]
fn we_open_what_sm_crypto_encrypts() {
    let Some(peers) = installed("sm-crypto", "node") else { return };
    let mut encrypt = Command::new("node");
    encrypt
        .arg(checkout().join("tests/interop/node/sm2_encrypt.js"))
        .env("NODE_PATH", peers.join("node/node_modules"));
    open_theirs(&mut encrypt, &RecipientPrivateKey::generate(WrappingKeySpec::EcSm2).unwrap());
}
