//! A recipient's public key, read and checked.

use spki::SubjectPublicKeyInfoRef;
use spki::der::Decode;

use crate::cli::failure::Failure;
use crate::cli::io::input::Input;
use crate::crypto::pem;
use crate::crypto::wrapping::mistaken_key::{Encoding, Thing};
use crate::crypto::wrapping::public_key::Found;
use crate::crypto::wrapping::{WrappingKey, WrappingKeySpec};

/// Much more than any key has: what a file holds is told before that it is large.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// Reads a recipient's key, by the same rules as the server.
pub fn read(input: &Input) -> Result<WrappingKey, Failure> {
    let file = input.read("public key", MAX_FILE_BYTES)?;
    WrappingKey::parse(likely_spec(&file), &file).map_err(|refused| {
        let found = refused.found();
        // Nothing has been sent: a private key has not been shown.
        let named = match found {
            found if found.is_private_key() => "it is a private key".to_owned(),
            Found::Other(Thing::BareScalar) => "it has 32 bytes, and is no structure".to_owned(),
            found => found.to_string(),
        };
        Failure::input(format!("{input} is not a fit public key: {named}."), advice(found, input))
    })
}

/// The spec that a key most likely has, so that a refusal speaks of the nearest
/// one. `WrappingKey::parse` alone decides.
fn likely_spec(file: &[u8]) -> WrappingKeySpec {
    let content = pem::one_block(file).and_then(|block| block.decode()).ok();
    let der = content.as_ref().map_or(file, |content| content.as_slice());
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
        found if found.is_private_key() => format!(
            "Keep the private key where it is, and give its public half: `openssl pkey -pubout -in {name} -out public.pem`"
        ),
        Found::OtherPem(Thing::Certificate) => format!(
            "Take the public key out of it: `openssl x509 -noout -pubkey -in {name} > public.pem`"
        ),
        Found::OtherPem(Thing::Pkcs1PublicKey) => {
            format!("Convert it: `openssl rsa -RSAPublicKey_in -pubout -in {name} -out public.pem`")
        }
        Found::OtherPem(_) => "Give a SubjectPublicKeyInfo: -----BEGIN PUBLIC KEY-----".to_owned(),
        Found::Encoded(Encoding::Utf16, _) => {
            format!("Convert it: `iconv -f UTF-16 -t ASCII {name} > public.pem`")
        }
        Found::Encoded(Encoding::Base64, _) => {
            format!("Decode it: `base64 -d {name} > public.der`")
        }
        Found::Encoded(Encoding::Hexadecimal, _) => {
            format!("Decode it: `xxd -r -p {name} > public.der`")
        }
        Found::Other(_) | Found::BrokenPem(_) | Found::BrokenDer(_) | Found::TooLong(_) => {
            "Give a SubjectPublicKeyInfo, PEM or DER: `openssl pkey -in PRIVATE.pem -pubout -out public.pem`".to_owned()
        }
        _ => "Give an RSA key of 2048, 3072 or 4096 bits with exponent 65537, or an SM2 key with an uncompressed point.".to_owned(),
    }
}
