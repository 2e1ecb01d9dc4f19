//! `keyferry asymmetric …`: the key pairs of the server at work. Files hold raw
//! bytes.

use clap::{Args, Subcommand};

use super::algorithms::{
    AlgorithmName, EncodingName, SigningName, encoding_number, encryption, signing,
};
use super::connection::CallArgs;
use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination, Input, MAX_BLOB_BYTES, refuse_two_stdins};
use super::out::{SecretOut, keep, spoken_beside};
use super::text::Text;
use crate::proto::v1;

/// Every digest that is signed has this many bytes.
const DIGEST_BYTES: usize = 32;

/// Encrypt, decrypt, sign and verify with asymmetric CMKs
#[derive(Debug, Subcommand)]
pub enum AsymmetricCommand {
    /// Encrypt bytes under a CMK of usage ENCRYPT/DECRYPT
    Encrypt(Encrypt),
    /// Decrypt what was encrypted under a CMK
    Decrypt(Decrypt),
    /// Sign a digest with a CMK of usage SIGN/VERIFY
    Sign(Sign),
    /// Say whether a signature of a digest is valid; if not, the exit code is 1
    Verify(Verify),
}

/// Which key pair.
#[derive(Args, Debug)]
pub struct Pair {
    /// The CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Its version: `keyferry key versions` lists them
    #[arg(long, value_name = "VERSION")]
    key_version: String,
    #[command(flatten)]
    call: CallArgs,
}

/// Encrypts.
#[derive(Args, Debug)]
pub struct Encrypt {
    #[command(flatten)]
    pair: Pair,
    /// How to encrypt; by default RSAES_OAEP_SHA_256 for RSA and SM2PKE for
    /// SM2: the server is asked which the CMK is
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<AlgorithmName>,
    /// How SM2 ciphertext is laid out: asn1-der, also the default, is what
    /// OpenSSL and GmSSL read
    #[arg(long, value_name = "ENCODING", ignore_case = true)]
    sm2_encoding: Option<EncodingName>,
    /// What to encrypt, as raw bytes; - is standard input. The longest is 190
    /// bytes for RSA_2048 (214 with SHA-1), 318 (342) for RSA_3072, 446 (470)
    /// for RSA_4096, 6047 for EC_SM2
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// Where the ciphertext goes, as raw bytes; an existing file is replaced;
    /// - is standard output. May be left out with --json, which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
}

/// Decrypts.
#[derive(Args, Debug)]
pub struct Decrypt {
    #[command(flatten)]
    pair: Pair,
    /// How it was encrypted; by default RSAES_OAEP_SHA_256 for RSA and SM2PKE
    /// for SM2: the server is asked which the CMK is
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<AlgorithmName>,
    /// The ciphertext, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    #[command(flatten)]
    out: SecretOut,
}

/// Signs.
#[derive(Args, Debug)]
pub struct Sign {
    #[command(flatten)]
    pair: Pair,
    /// How to sign; by default RSA_PSS_SHA_256 for RSA, ECDSA_SHA_256 for P-256
    /// and secp256k1, and SM2DSA for SM2: the server is asked which the CMK is
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<SigningName>,
    /// The digest of the message, 32 raw bytes; - is standard input. SHA-256,
    /// or SM3(ZA || M) for SM2DSA
    #[arg(long, value_name = "FILE")]
    digest: Input,
    /// Where the signature goes, as raw bytes; an existing file is replaced; -
    /// is standard output. May be left out with --json, which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<Destination>,
}

/// Verifies.
#[derive(Args, Debug)]
pub struct Verify {
    #[command(flatten)]
    pair: Pair,
    /// How it was signed; by default RSA_PSS_SHA_256 for RSA, ECDSA_SHA_256 for
    /// P-256 and secp256k1, and SM2DSA for SM2: the server is asked which the
    /// CMK is
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<SigningName>,
    /// The digest of the message, 32 raw bytes; - is standard input
    #[arg(long, value_name = "FILE")]
    digest: Input,
    /// The signature, as raw bytes; - is standard input
    #[arg(long, value_name = "FILE")]
    signature: Input,
}

impl AsymmetricCommand {
    /// Whether JSON is asked for.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Encrypt(Encrypt { pair, .. })
            | Self::Decrypt(Decrypt { pair, .. })
            | Self::Sign(Sign { pair, .. })
            | Self::Verify(Verify { pair, .. }) => pair.call.json(),
        }
    }

    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        match self {
            Self::Encrypt(args) => args.run(),
            Self::Decrypt(args) => args.run(),
            Self::Sign(args) => args.run(),
            Self::Verify(args) => args.run(),
        }
    }
}

impl Encrypt {
    fn run(&self) -> Result<(), Stop> {
        let Pair { key, key_version, call } = &self.pair;
        let out = self.out.as_ref();
        let output = spoken_beside(call.output(), call.json(), out, Care::Encrypted)?;
        let mut plaintext = self.input.read("plaintext", MAX_BLOB_BYTES)?;
        call.talk(async |session| {
            let algorithm = encryption(&session, key, self.algorithm).await?;
            let request = session.request(v1::AsymmetricEncryptRequest {
                key_id: key.clone(),
                key_version_id: key_version.clone(),
                algorithm: algorithm.into(),
                plaintext: std::mem::take(&mut *plaintext),
                sm2_ciphertext_encoding: encoding_number(self.sm2_encoding).into(),
                dry_run: call.dry_run(),
            });
            let answer = session.answer(session.kms().asymmetric_encrypt(request).await)?;
            let written = keep(out, &answer.ciphertext_blob, Care::Encrypted)?;
            output.written(&answer, [("ciphertext_blob", written)])
        })
    }
}

impl Decrypt {
    fn run(&self) -> Result<(), Stop> {
        let Pair { key, key_version, call } = &self.pair;
        let output = self.out.prepare(call)?;
        let ciphertext = self.input.read("ciphertext", MAX_BLOB_BYTES)?;
        call.talk(async |session| {
            let algorithm = encryption(&session, key, self.algorithm).await?;
            let request = session.request(v1::AsymmetricDecryptRequest {
                key_id: key.clone(),
                key_version_id: key_version.clone(),
                algorithm: algorithm.into(),
                ciphertext_blob: ciphertext.to_vec(),
                dry_run: call.dry_run(),
            });
            let mut answer = session.answer(session.kms().asymmetric_decrypt(request).await)?;
            let written = self.out.keep(&mut answer.plaintext)?;
            output.written(&answer, [("plaintext", written)])
        })
    }
}

impl Sign {
    fn run(&self) -> Result<(), Stop> {
        let Pair { key, key_version, call } = &self.pair;
        let out = self.out.as_ref();
        let output = spoken_beside(call.output(), call.json(), out, Care::Encrypted)?;
        let digest = read_digest(&self.digest)?;
        call.talk(async |session| {
            let algorithm = signing(&session, key, self.algorithm).await?;
            let request = session.request(v1::AsymmetricSignRequest {
                key_id: key.clone(),
                key_version_id: key_version.clone(),
                algorithm: algorithm.into(),
                digest,
                dry_run: call.dry_run(),
            });
            let answer = session.answer(session.kms().asymmetric_sign(request).await)?;
            let written = keep(out, &answer.value, Care::Encrypted)?;
            output.written(&answer, [("signature", written)])
        })
    }
}

impl Verify {
    fn run(&self) -> Result<(), Stop> {
        let Pair { key, key_version, call } = &self.pair;
        refuse_two_stdins(&[&self.digest, &self.signature])?;
        let digest = read_digest(&self.digest)?;
        let signature = self.signature.read("signature", MAX_BLOB_BYTES)?;
        call.talk(async |session| {
            let algorithm = signing(&session, key, self.algorithm).await?;
            let request = session.request(v1::AsymmetricVerifyRequest {
                key_id: key.clone(),
                key_version_id: key_version.clone(),
                algorithm: algorithm.into(),
                digest,
                value: signature.to_vec(),
                dry_run: call.dry_run(),
            });
            let answer = session.answer(session.kms().asymmetric_verify(request).await)?;
            if answer.value || call.json() {
                call.output().answer(&answer, || Text::line("The signature is valid."))?;
            }
            if answer.value { Ok(()) } else { Err(self.not_valid(algorithm).into()) }
        })
    }

    fn not_valid(&self, algorithm: v1::SigningAlgorithm) -> Failure {
        let algorithm = algorithm.as_str_name().trim_start_matches("SIGNING_ALGORITHM_");
        Failure::new(
            Exit::Refused,
            format!("The signature in {} is not valid.", self.signature),
            format!(
                "It is not a signature of this digest by {algorithm} with this version of {}: see that all four are the ones that were meant.",
                self.pair.key
            ),
        )
    }
}

fn read_digest(input: &Input) -> Result<Vec<u8>, Failure> {
    let digest = input.read("digest", MAX_BLOB_BYTES)?;
    if digest.len() == DIGEST_BYTES {
        return Ok(digest.to_vec());
    }
    Err(Failure::input(
        format!("What is in {input} has {} bytes; a digest has {DIGEST_BYTES}.", digest.len()),
        "Give the digest of the message as raw bytes: openssl dgst -sha256 -binary MESSAGE > digest.bin",
    ))
}
