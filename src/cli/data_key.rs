//! `keyferry data-key …`: data keys are generated and exported by the server,
//! and unwrapped here, on the recipient's side.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::connection::{CallArgs, Session};
use super::context::ContextArgs;
use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination, Input, refuse_two_stdins};
use super::output::{Output, OutputArgs};
use super::recipient;
use super::text::Text;
use crate::crypto::secret::Reveal;
use crate::crypto::unwrapping::{RecipientPrivateKey, UnfitPrivateKey};
use crate::crypto::wrapping::{
    Sm2CiphertextEncoding, WrappingAlgorithm, WrappingKeySpec, WrappingMethod,
};
use crate::proto::v1;

/// A request is at most this long; no blob is longer.
const MAX_BLOB_BYTES: usize = 64 * 1024;
/// A PKCS#8 private key is at most a few KiB.
const MAX_PRIVATE_KEY_BYTES: usize = 64 * 1024;

/// Generate data keys, export them to recipients, and unwrap them there
#[derive(Debug, Subcommand)]
pub enum DataKeyCommand {
    /// Make a data key that nobody sees in the clear; what is written is its
    /// ciphertext blob
    Generate(Generate),
    /// Encrypt the data key in a ciphertext blob under a recipient's public
    /// key, inside the server
    Export(Export),
    /// Decrypt an exported data key with the recipient's private key, offline
    Unwrap(Unwrap),
}

/// Makes a data key.
#[derive(Args, Debug)]
pub struct Generate {
    /// The CMK to seal under: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    /// How many bytes, 1 to 1024; 32 when neither this nor --spec is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024), conflicts_with = "spec")]
    bytes: Option<u32>,
    /// How many bytes, by the name of the cipher that they are for
    #[arg(long, value_name = "SPEC", ignore_case = true)]
    spec: Option<DataKeySpecName>,
    #[command(flatten)]
    context: ContextArgs,
    /// Where the ciphertext blob goes, as raw bytes; an existing file is
    /// replaced; - is standard output. May be left out with --json, which
    /// holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    #[command(flatten)]
    call: CallArgs,
}

/// Exports a data key.
#[derive(Args, Debug)]
pub struct Export {
    /// The ciphertext blob, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// The recipient's public key (SubjectPublicKeyInfo), PEM or DER: RSA of
    /// 2048, 3072 or 4096 bits, or SM2. `keyferry recipient show` judges it
    #[arg(long, value_name = "FILE")]
    public_key: Input,
    /// How to encrypt under it; by default RSAES_OAEP_SHA_256 for RSA and
    /// SM2PKE for SM2
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<AlgorithmName>,
    /// How SM2 ciphertext is laid out: asn1-der, also the default, is what
    /// OpenSSL and GmSSL read
    #[arg(long, value_name = "ENCODING", ignore_case = true)]
    sm2_encoding: Option<EncodingName>,
    #[command(flatten)]
    context: ContextArgs,
    /// Where the exported data key goes, as raw bytes; an existing file is
    /// replaced; - is standard output. May be left out with --json, which
    /// holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
    #[command(flatten)]
    call: CallArgs,
}

/// Unwraps a data key.
#[derive(Args, Debug)]
pub struct Unwrap {
    /// The exported data key, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// The recipient's private key: PKCS#8 PEM, RSA or SM2, not encrypted; - is
    /// standard input
    #[arg(long, value_name = "FILE")]
    private_key: Input,
    /// How it was encrypted; by default RSAES_OAEP_SHA_256 for RSA and SM2PKE
    /// for SM2, whose two layouts are told apart by their first byte
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<AlgorithmName>,
    /// Where the data key goes, as raw bytes, readable by you alone (mode
    /// 0600); - is standard output, which must not be a terminal
    #[arg(long, value_name = "FILE")]
    out: Destination,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// `--spec`
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DataKeySpecName {
    /// 32 bytes
    #[value(name = "AES_256")]
    Aes256,
    /// 16 bytes
    #[value(name = "AES_128")]
    Aes128,
}

/// `--algorithm`
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AlgorithmName {
    /// RSA: OAEP with SHA-256 for label and MGF1
    #[value(name = "RSAES_OAEP_SHA_256")]
    RsaesOaepSha256,
    /// RSA: OAEP with SHA-1 for label and MGF1
    #[value(name = "RSAES_OAEP_SHA_1")]
    RsaesOaepSha1,
    /// SM2 (GB/T 32918.4) with SM3
    #[value(name = "SM2PKE")]
    Sm2Pke,
}

/// `--sm2-encoding`
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EncodingName {
    /// GM/T 0009
    #[value(name = "asn1-der", alias = "ASN1_DER")]
    Asn1Der,
    /// 04 || x || y || C3 || C2
    #[value(name = "raw-c1c3c2", alias = "RAW_C1C3C2")]
    RawC1C3C2,
}

impl From<AlgorithmName> for WrappingAlgorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::RsaesOaepSha256 => Self::RsaesOaepSha256,
            AlgorithmName::RsaesOaepSha1 => Self::RsaesOaepSha1,
            AlgorithmName::Sm2Pke => Self::Sm2Pke,
        }
    }
}

impl From<EncodingName> for Sm2CiphertextEncoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Asn1Der => Self::Asn1Der,
            EncodingName::RawC1C3C2 => Self::RawC1C3C2,
        }
    }
}

impl DataKeyCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Generate(Generate { call, .. }) | Self::Export(Export { call, .. }) => {
                call.json()
            }
            Self::Unwrap(Unwrap { output, .. }) => output.json(),
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Generate(args) => args.run(),
            Self::Export(args) => args.run(),
            Self::Unwrap(args) => args.run(),
        }
    }
}

impl Generate {
    fn run(&self) -> Result<(), Stop> {
        let output = spoken_beside(self.call.output(), self.call.json(), self.out.as_ref())?;
        let encryption_context = self.context.pairs()?;
        let request = v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: self.key.clone(),
            key_spec: self.key_spec().into(),
            number_of_bytes: self.bytes,
            encryption_context,
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session| self.ask(request, output, session).await)
    }

    fn key_spec(&self) -> v1::DataKeySpec {
        match self.spec {
            None => v1::DataKeySpec::Unspecified,
            Some(DataKeySpecName::Aes256) => v1::DataKeySpec::Aes256,
            Some(DataKeySpecName::Aes128) => v1::DataKeySpec::Aes128,
        }
    }

    async fn ask(
        &self,
        request: v1::GenerateDataKeyWithoutPlaintextRequest,
        output: Output,
        session: Session,
    ) -> Result<(), Stop> {
        let request = session.request(request);
        let outcome = session.kms().generate_data_key_without_plaintext(request).await;
        let answer = session.answer(outcome)?;
        let written = keep(self.out.as_ref(), &answer.ciphertext_blob)?;
        output.answer(&answer, || {
            Text::Fields(vec![
                ("key_id", answer.key_id.clone()),
                ("key_version_id", answer.key_version_id.clone()),
                ("ciphertext_blob", written),
                ("request_id", answer.request_id.clone()),
            ])
        })
    }
}

impl Export {
    fn run(&self) -> Result<(), Stop> {
        let output = spoken_beside(self.call.output(), self.call.json(), self.out.as_ref())?;
        refuse_two_stdins(&[&self.input, &self.public_key])?;
        let encryption_context = self.context.pairs()?;
        let recipient = recipient::read(&self.public_key)?;
        let algorithm = self
            .algorithm
            .map_or_else(|| recipient::default_algorithm(recipient.spec()), Into::into);
        fits(recipient.spec(), algorithm, self.sm2_encoding)?;
        let blob = self.input.read("ciphertext blob", MAX_BLOB_BYTES)?;
        let request = v1::ExportDataKeyRequest {
            ciphertext_blob: blob.to_vec(),
            // Our own encoding of it: what its digest is of.
            public_key_blob: recipient.to_der().to_vec(),
            wrapping_algorithm: algorithm_number(algorithm).into(),
            wrapping_key_spec: spec_number(recipient.spec()).into(),
            encryption_context,
            sm2_ciphertext_encoding: encoding_number(self.sm2_encoding).into(),
            dry_run: self.call.dry_run(),
        };
        self.call.talk(async |session| self.ask(request, output, session).await)
    }

    async fn ask(
        &self,
        request: v1::ExportDataKeyRequest,
        output: Output,
        session: Session,
    ) -> Result<(), Stop> {
        let request = session.request(request);
        let answer = session.answer(session.kms().export_data_key(request).await)?;
        let written = keep(self.out.as_ref(), &answer.exported_data_key)?;
        output.answer(&answer, || {
            Text::Fields(vec![
                ("key_id", answer.key_id.clone()),
                ("key_version_id", answer.key_version_id.clone()),
                ("exported_data_key", written),
                ("request_id", answer.request_id.clone()),
            ])
        })
    }
}

impl Unwrap {
    fn run(&self) -> Result<(), Stop> {
        let care = if self.force { Care::SecretReplacing } else { Care::Secret };
        let output = spoken_beside(self.output.output(), self.output.json(), Some(&self.out))?;
        self.out.check(care)?;
        refuse_two_stdins(&[&self.input, &self.private_key])?;
        let private_key = read_private_key(&self.private_key)?;
        let spec = private_key.spec();
        let algorithm = self.algorithm.map(WrappingAlgorithm::from);
        if let Some(algorithm) = algorithm {
            fits(spec, algorithm, None)?;
        }
        let exported = self.input.read("exported data key", MAX_BLOB_BYTES)?;
        let key = private_key
            .unwrap(algorithm, &exported)
            .map_err(|_| does_not_open(&self.input, &self.private_key, spec))?;
        self.out.write(key.reveal(Reveal::ToFile), care)?;
        let bytes = key.len();
        let value = json!({ "wrapping_key_spec": spec.as_str(), "data_key_bytes": bytes });
        output.result(&value, || {
            Text::Fields(vec![
                ("wrapping_key_spec", spec.as_str().to_owned()),
                ("data_key", format!("{bytes} bytes in {}", self.out)),
            ])
        })
    }
}

fn read_private_key(input: &Input) -> Result<RecipientPrivateKey, Failure> {
    let pem = input.read("private key", MAX_PRIVATE_KEY_BYTES)?;
    RecipientPrivateKey::parse_pem(&pem).map_err(|unfit| {
        let text = unfit.to_string();
        let (found, _) = text.split_once("; ").unwrap_or((&text, ""));
        let happened = format!("{input} is not a fit private key: {found}.");
        Failure::input(happened, private_key_advice(unfit, input))
    })
}

fn private_key_advice(unfit: UnfitPrivateKey, name: &Input) -> String {
    match unfit {
        UnfitPrivateKey::Encrypted => {
            format!("Decrypt it first: openssl pkcs8 -in {name} -out clear.pem")
        }
        UnfitPrivateKey::OlderForm => {
            format!("Convert it: openssl pkcs8 -topk8 -nocrypt -in {name} -out pkcs8.pem")
        }
        UnfitPrivateKey::PublicKey => "Give the private key that belongs to it.".to_owned(),
        _ => "Give an RSA key of 2048, 3072 or 4096 bits, or an SM2 key, as PKCS#8 PEM: -----BEGIN PRIVATE KEY-----".to_owned(),
    }
}

/// One answer, whatever the cause: nothing more is known of it.
fn does_not_open(exported: &Input, private_key: &Input, spec: WrappingKeySpec) -> Failure {
    let algorithm = match spec {
        WrappingKeySpec::EcSm2 => "SM2PKE",
        _ => {
            "the --algorithm that it was exported with (RSAES_OAEP_SHA_256 is meant where none is given)"
        }
    };
    Failure::new(
        Exit::Refused,
        format!("{exported} does not open with {private_key}."),
        format!(
            "See that the file is whole, that it was exported to this key's public half, and with {algorithm}."
        ),
    )
}

/// Refuses an algorithm or an encoding that the key cannot have, before the
/// server is asked.
fn fits(
    spec: WrappingKeySpec,
    algorithm: WrappingAlgorithm,
    encoding: Option<EncodingName>,
) -> Result<(), Failure> {
    WrappingMethod::new(spec, algorithm, encoding.map(Into::into)).map(drop).map_err(|illegal| {
        Failure::usage(
            format!("The recipient's key is {}: {illegal}.", spec.as_str()),
            "`keyferry recipient show FILE` lists what fits.",
        )
    })
}

/// Who speaks where: bytes on standard output leave no room for text there.
fn spoken_beside(output: Output, json: bool, out: Option<&Destination>) -> Result<Output, Failure> {
    let Some(out) = out else { return Ok(output) };
    if *out != Destination::Stdout {
        return Ok(output);
    }
    if json {
        return Err(Failure::usage(
            "Standard output cannot hold both the bytes of --out - and JSON.",
            "Give --out a file, or leave one of the two out.",
        ));
    }
    out.check(Care::Encrypted)?;
    Ok(output.aside())
}

/// Writes encrypted bytes, and says where they are.
fn keep(out: Option<&Destination>, bytes: &[u8]) -> Result<String, Stop> {
    let Some(out) = out else { return Ok(String::new()) };
    out.write(bytes, Care::Encrypted)?;
    Ok(format!("{} bytes in {out}", bytes.len()))
}

fn spec_number(spec: WrappingKeySpec) -> v1::WrappingKeySpec {
    match spec {
        WrappingKeySpec::Rsa2048 => v1::WrappingKeySpec::Rsa2048,
        WrappingKeySpec::Rsa3072 => v1::WrappingKeySpec::Rsa3072,
        WrappingKeySpec::Rsa4096 => v1::WrappingKeySpec::Rsa4096,
        WrappingKeySpec::EcSm2 => v1::WrappingKeySpec::EcSm2,
    }
}

fn algorithm_number(algorithm: WrappingAlgorithm) -> v1::WrappingAlgorithm {
    match algorithm {
        WrappingAlgorithm::RsaesOaepSha256 => v1::WrappingAlgorithm::RsaesOaepSha256,
        WrappingAlgorithm::RsaesOaepSha1 => v1::WrappingAlgorithm::RsaesOaepSha1,
        WrappingAlgorithm::Sm2Pke => v1::WrappingAlgorithm::Sm2pke,
    }
}

fn encoding_number(encoding: Option<EncodingName>) -> v1::Sm2CiphertextEncoding {
    match encoding {
        None => v1::Sm2CiphertextEncoding::Unspecified,
        Some(EncodingName::Asn1Der) => v1::Sm2CiphertextEncoding::Asn1Der,
        Some(EncodingName::RawC1C3C2) => v1::Sm2CiphertextEncoding::RawC1c3c2,
    }
}
