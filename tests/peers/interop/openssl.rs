//! OpenSSL's command line: makes recipients' keys, opens what we wrap, and
//! wraps what we open.

use std::fs;

use keyferry::proto::v1::{ExportDataKeyRequest, WrappingAlgorithm, WrappingKeySpec};

use crate::recipient::{Method, OAEP_SHA_1, OAEP_SHA_256, Recipient, SM2PKE, version};
use crate::support::harness::{Checks, Server, run};

/// Generates and exports from the command line, opens with OpenSSL, and
/// compares with what Decrypt answers.
fn carry(server: &Server, recipient: &Recipient, method: &Method, bytes: u32, form: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let [blob, exported] = ["blob", "exported"].map(|name| folder.path().join(name));
    let mut caller = server.caller();
    let key = caller.create_key();
    run(server
        .client()
        .args(["data-key", "generate", "--key", &key, "--bytes", &bytes.to_string(), "--out"])
        .arg(&blob));
    run(server
        .client()
        .args(["data-key", "export", "--algorithm", method.algorithm, "--in"])
        .arg(&blob)
        .arg("--public-key")
        .arg(recipient.file(form))
        .arg("--out")
        .arg(&exported));
    let data_key = recipient.open(&fs::read(exported).unwrap(), method);
    data_key.len() == bytes as usize && data_key == caller.decrypt(&fs::read(blob).unwrap())
}

/// DER drops leading zeros and adds one before a high bit: enough exports of one
/// data key that every length of x and y comes up.
fn many_open(server: &Server, recipient: &Recipient) -> bool {
    let mut caller = server.caller();
    let key = caller.create_key();
    let blob = caller.generate(&key, 32);
    let data_key = caller.decrypt(&blob);
    (0..200).all(|_| {
        let exported = caller.export(ExportDataKeyRequest {
            ciphertext_blob: blob.clone(),
            public_key_blob: recipient.public_key(),
            wrapping_algorithm: WrappingAlgorithm::Sm2pke.into(),
            wrapping_key_spec: WrappingKeySpec::EcSm2.into(),
            ..Default::default()
        });
        recipient.open(&exported, &SM2PKE) == data_key
    })
}

#[test]
fn openssl_opens_what_we_wrap() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl -decrypt"));
    let server = Server::dev();
    let rsa = Recipient::rsa(2048);
    for form in ["public.pem", "public.der"] {
        checks.that(&format!("rsa_sha_256_{form}"), carry(&server, &rsa, &OAEP_SHA_256, 32, form));
        checks.that(&format!("rsa_sha_1_{form}"), carry(&server, &rsa, &OAEP_SHA_1, 32, form));
    }
    checks.that("rsa_sha_256_longest", carry(&server, &rsa, &OAEP_SHA_256, 190, "public.der"));
    checks.that("rsa_sha_1_longest", carry(&server, &rsa, &OAEP_SHA_1, 214, "public.der"));
    for (bits, longest) in [(3072, 318), (4096, 446)] {
        let recipient = Recipient::rsa(bits);
        let carried = carry(&server, &recipient, &OAEP_SHA_256, longest, "public.pem");
        checks.that(&format!("rsa_{bits}"), carried);
    }
    let sm2 = Recipient::sm2();
    for bytes in [1, 16, 32, 33, 1024] {
        let carried = carry(&server, &sm2, &SM2PKE, bytes, "public.pem");
        checks.that(&format!("sm2_der_{bytes}"), carried);
    }
    checks.that("sm2_der_many_times", many_open(&server, &sm2));
    let named = Recipient::make(&["-algorithm", "SM2"]);
    checks.that("sm2_der_of_a_key_by_name", carry(&server, &named, &SM2PKE, 32, "public.der"));
}

#[test]
fn we_open_what_openssl_wraps() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl -encrypt"));
    let (rsa, sm2) = (Recipient::rsa(2048), Recipient::sm2());
    let data_key: Vec<u8> = (0..200).collect();
    let sizes = [(&rsa, &OAEP_SHA_256, 190), (&rsa, &OAEP_SHA_1, 200), (&sm2, &SM2PKE, 200)];
    for (recipient, method, longest) in sizes {
        for bytes in [1, 32, longest] {
            let data_key = &data_key[..bytes];
            let wrapped = recipient.wrap(data_key, method);
            let opened = recipient.open_by_keyferry(&wrapped, method.algorithm);
            checks.that(&format!("{}_{bytes}", method.algorithm), opened == data_key);
        }
    }
}
