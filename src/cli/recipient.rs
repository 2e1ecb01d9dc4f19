//! `keyferry recipient …`: who a data key may be exported to. Works offline.

use clap::{Args, Subcommand};
use pkcs8::Document;
use serde_json::json;
use spki::SubjectPublicKeyInfoRef;
use spki::der::Decode;

use super::failure::{Failure, Stop};
use super::files::Input;
use super::output::OutputArgs;
use super::text::Text;
use crate::crypto::wrapping::public_key::Found;
use crate::crypto::wrapping::{WrappingAlgorithm, WrappingKey, WrappingKeySpec, WrappingMethod};

/// Public keys are at most 1 KiB; text around them may be more.
const MAX_FILE_BYTES: usize = 64 * 1024;

/// Look at recipients' public keys, offline
#[derive(Debug, Subcommand)]
pub enum RecipientCommand {
    /// Show what a public key is, its digest for policies, and how long a data
    /// key it can take by which algorithm; or why it is unfit and what would do
    Show(Show),
}

/// Shows a public key.
#[derive(Args, Debug)]
pub struct Show {
    /// The public key (SubjectPublicKeyInfo), PEM or DER; - is standard
    /// input
    #[arg(value_name = "FILE")]
    file: Input,
    #[command(flatten)]
    output: OutputArgs,
}

impl RecipientCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        let Self::Show(show) = self;
        show.output.json()
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let Self::Show(args) = self;
        let key = read(&args.file)?;
        let methods = methods(key.spec());
        let digest = base16ct::lower::encode_string(key.sha256());
        let identifier = base16ct::lower::encode_string(&key.subject_key_identifier());
        let value = json!({
            "wrapping_key_spec": key.spec().as_str(),
            "public_key_sha256": digest,
            "subject_key_identifier": identifier,
            "wrapping_algorithms": methods.iter().map(|method| json!({
                "wrapping_algorithm": method.algorithm().as_str(),
                "longest_data_key_bytes": method.longest_data_key_bytes(),
            })).collect::<Vec<_>>(),
        });
        args.output.output().result(&value, || {
            let mut fields = vec![
                ("wrapping_key_spec", key.spec().as_str().to_owned()),
                ("public_key_sha256", digest.clone()),
                ("subject_key_identifier", identifier.clone()),
            ];
            fields.extend(methods.iter().map(|method| {
                let longest = method.longest_data_key_bytes();
                (
                    "wrapping_algorithm",
                    format!("{} (data keys up to {longest} bytes)", method.algorithm()),
                )
            }));
            Text::Fields(fields)
        })
    }
}

/// The algorithms that fit a key, the default first.
fn methods(spec: WrappingKeySpec) -> Vec<WrappingMethod> {
    use WrappingAlgorithm::{RsaesOaepSha1, RsaesOaepSha256, Sm2Pke};
    [RsaesOaepSha256, RsaesOaepSha1, Sm2Pke]
        .into_iter()
        .filter_map(|algorithm| WrappingMethod::new(spec, algorithm, None).ok())
        .collect()
}

/// Reads a recipient's key, judged by the same rules as the server's.
pub fn read(input: &Input) -> Result<WrappingKey, Failure> {
    let file = input.read("public key", MAX_FILE_BYTES)?;
    let unfit = |found: &dyn std::fmt::Display, advice: String| {
        Failure::input(format!("{input} is not a fit public key: {found}."), advice)
    };
    if let Some(label) = other_pem(&file) {
        return Err(unfit(&format!("it is PEM of {label}"), pem_advice(label, input)));
    }
    WrappingKey::parse(likely_spec(&file), &file)
        .map_err(|refused| unfit(refused.found(), advice(refused.found(), input)))
}

/// The label of PEM that holds something else than a public key: such files are
/// often too long for the judge to look into.
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
            "Take the public key out of it: openssl x509 -noout -pubkey -in {name} > public.pem"
        ),
        "RSA PUBLIC KEY" => {
            format!("Convert it: openssl rsa -RSAPublicKey_in -pubout -in {name} -out public.pem")
        }
        label if label.ends_with("PRIVATE KEY") => format!(
            "Keep it where it is, and give its public half: openssl pkey -pubout -in {name} -out public.pem"
        ),
        _ => "Give a SubjectPublicKeyInfo: -----BEGIN PUBLIC KEY-----".to_owned(),
    }
}

/// The spec that a key most likely has, so that the judge's refusal speaks of
/// the nearest one. The judge alone decides.
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

/// What would do, with the command that makes it where there is one.
fn advice(found: &Found, name: &Input) -> String {
    match found {
        Found::CompressedPoint => format!(
            "Write the point out: openssl ec -pubin -conv_form uncompressed -in {name} -out public.pem"
        ),
        Found::OtherDer(_) | Found::BrokenPem(_) | Found::BrokenDer(_) => {
            "Give a SubjectPublicKeyInfo, PEM or DER: openssl pkey -in PRIVATE.pem -pubout -out public.pem".to_owned()
        }
        _ => "An RSA key of 2048, 3072 or 4096 bits with exponent 65537, or an SM2 key with an uncompressed point, would do.".to_owned(),
    }
}
