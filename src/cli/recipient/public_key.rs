//! A recipient's public key, read and checked.

use std::fmt;

use pkcs8::Document;
use spki::SubjectPublicKeyInfoRef;
use spki::der::Decode;

use crate::cli::failure::Failure;
use crate::cli::io::input::Input;
use crate::crypto::wrapping::public_key::Found;
use crate::crypto::wrapping::{WrappingKey, WrappingKeySpec};

/// Public keys are at most 1 KiB; text around them may be more.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// Reads a recipient's key, by the same rules as the server.
pub fn read(input: &Input) -> Result<WrappingKey, Failure> {
    let file = input.read("public key", MAX_FILE_BYTES)?;
    let unfit = |found: &dyn fmt::Display, advice: String| {
        Failure::input(format!("{input} is not a fit public key: {found}."), advice)
    };
    if let Some(label) = other_pem(&file) {
        return Err(unfit(&format!("it is PEM of {label}"), pem_advice(label, input)));
    }
    WrappingKey::parse(likely_spec(&file), &file)
        .map_err(|refused| unfit(refused.found(), advice(refused.found(), input)))
}

/// The label of PEM that holds something else than a public key. Such files are
/// often too long for `WrappingKey::parse` to look into.
fn other_pem(file: &[u8]) -> Option<&str> {
    let text = file.strip_prefix(b"-----BEGIN ")?;
    let end = text.windows(5).position(|window| window == b"-----")?;
    let label = std::str::from_utf8(text.get(..end)?).ok()?;
    (label != "PUBLIC KEY").then_some(label)
}

/// The command that takes the public key out of such a file.
fn pem_advice(label: &str, name: &Input) -> String {
    match label {
        "CERTIFICATE" => format!(
            "Take the public key out of it: `openssl x509 -noout -pubkey -in {name} > public.pem`"
        ),
        "RSA PUBLIC KEY" => {
            format!("Convert it: `openssl rsa -RSAPublicKey_in -pubout -in {name} -out public.pem`")
        }
        label if label.ends_with("PRIVATE KEY") => format!(
            "Keep the private key where it is, and give its public half: `openssl pkey -pubout -in {name} -out public.pem`"
        ),
        _ => "Give a SubjectPublicKeyInfo: -----BEGIN PUBLIC KEY-----".to_owned(),
    }
}

/// The spec that a key most likely has, so that a refusal speaks of the nearest
/// one. `WrappingKey::parse` alone decides.
fn likely_spec(file: &[u8]) -> WrappingKeySpec {
    let document = std::str::from_utf8(file)
        .ok()
        .and_then(|pem| Document::from_pem(pem).ok())
        .map(|(_, document)| document);
    let der = document.as_ref().map_or(file, Document::as_bytes);
    let Ok(spki) = SubjectPublicKeyInfoRef::from_der(der) else {
        return WrappingKeySpec::Rsa2048;
    };
    if spki.algorithm.oid == elliptic_curve::ALGORITHM_OID {
        return WrappingKeySpec::EcSm2;
    }
    let modulus_bytes = rsa::pkcs1::RsaPublicKeyRef::from_der(spki.subject_public_key.raw_bytes())
        .map_or(0, |key| key.modulus.as_bytes().len());
    match modulus_bytes {
        0..=320 => WrappingKeySpec::Rsa2048,
        321..=448 => WrappingKeySpec::Rsa3072,
        _ => WrappingKeySpec::Rsa4096,
    }
}

/// Which key to give, and the command that makes it where there is one.
fn advice(found: &Found, name: &Input) -> String {
    match found {
        Found::CompressedPoint => format!(
            "Write the point out: `openssl ec -pubin -conv_form uncompressed -in {name} -out public.pem`"
        ),
        Found::OtherDer(_) | Found::BrokenPem(_) | Found::BrokenDer(_) => {
            "Give a SubjectPublicKeyInfo, PEM or DER: `openssl pkey -in PRIVATE.pem -pubout -out public.pem`".to_owned()
        }
        _ => "Give an RSA key of 2048, 3072 or 4096 bits with exponent 65537, or an SM2 key with an uncompressed point.".to_owned(),
    }
}
