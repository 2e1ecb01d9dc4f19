//! `keyferry asymmetric …`: encryption and signatures with the server's key
//! pairs. Files hold raw bytes.

use clap::{Args, Subcommand};

use super::client::call::CallArgs;
use super::exit::Exit;
use super::failure::{EarlyExit, Failure};
use super::io::input::{Input, MAX_BLOB_BYTES, refuse_two_stdins};
use super::io::out_file::{SecretOut, write_out};
use super::io::output_target::{OutputTarget, Sensitivity};
use super::io::text::Text;
use super::options::algorithms::{encryption, signing, signing_name};
use crate::limits::DIGEST_BYTES;
use crate::proto::v1;

/// Encrypt, decrypt, sign and verify with asymmetric CMKs
#[derive(Debug, Subcommand)]
pub enum AsymmetricCommand {
    /// Encrypt bytes under a CMK of usage ENCRYPT/DECRYPT
    Encrypt(EncryptAsymmetric),
    /// Decrypt a ciphertext that was encrypted under a CMK
    Decrypt(DecryptAsymmetric),
    /// Sign a digest with a CMK of usage SIGN/VERIFY
    Sign(SignDigest),
    /// Check a signature of a digest; if it is not valid, the exit code is 1
    Verify(VerifyDigest),
}

#[derive(Args, Debug)]
pub struct KeyPairArgs {
    /// The CMK: its id, alias/NAME, or the ARN of either
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Its version: `keyferry key versions` lists the versions
    #[arg(long, value_name = "VERSION")]
    key_version: String,
    #[command(flatten)]
    call: CallArgs,
}

#[derive(Args, Debug)]
pub struct EncryptAsymmetric {
    #[command(flatten)]
    key_pair: KeyPairArgs,
    /// How to encrypt; by default RSAES_OAEP_SHA_256 for RSA and SM2PKE for
    /// SM2: the server is asked for the kind of the CMK
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<v1::WrappingAlgorithm>,
    /// The layout of SM2 ciphertext; by default asn1-der, which OpenSSL and
    /// GmSSL read
    #[arg(long, value_name = "ENCODING", ignore_case = true)]
    sm2_encoding: Option<v1::Sm2CiphertextEncoding>,
    /// The bytes to encrypt; - is standard input. At most 190 bytes for
    /// RSA_2048 (214 with SHA-1), 318 (342) for RSA_3072, 446 (470) for
    /// RSA_4096, 6047 for EC_SM2
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    /// The file that the ciphertext is written to, as raw bytes; an existing
    /// file is replaced; - is standard output. May be left out with --json,
    /// which holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
}

#[derive(Args, Debug)]
pub struct DecryptAsymmetric {
    #[command(flatten)]
    key_pair: KeyPairArgs,
    /// How it was encrypted; by default RSAES_OAEP_SHA_256 for RSA and SM2PKE
    /// for SM2: the server is asked for the kind of the CMK
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<v1::WrappingAlgorithm>,
    /// The ciphertext, as raw bytes; - is standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Input,
    #[command(flatten)]
    out: SecretOut,
}

#[derive(Args, Debug)]
pub struct SignDigest {
    #[command(flatten)]
    key_pair: KeyPairArgs,
    /// How to sign; by default RSA_PSS_SHA_256 for RSA, ECDSA_SHA_256 for P-256
    /// and secp256k1, and SM2DSA for SM2: the server is asked for the kind of
    /// the CMK
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<v1::SigningAlgorithm>,
    /// The digest of the message, 32 raw bytes; - is standard input. SHA-256,
    /// or SM3(ZA || M) for SM2DSA
    #[arg(long, value_name = "FILE")]
    digest: Input,
    /// The file that the signature is written to, as raw bytes; an existing file
    /// is replaced; - is standard output. May be left out with --json, which
    /// holds it too
    #[arg(long, value_name = "FILE", required_unless_present_any = ["json", "dry_run"])]
    out: Option<OutputTarget>,
}

#[derive(Args, Debug)]
pub struct VerifyDigest {
    #[command(flatten)]
    key_pair: KeyPairArgs,
    /// How it was signed; by default RSA_PSS_SHA_256 for RSA, ECDSA_SHA_256 for
    /// P-256 and secp256k1, and SM2DSA for SM2: the server is asked for the kind
    /// of the CMK
    #[arg(long, value_name = "ALGORITHM", ignore_case = true)]
    algorithm: Option<v1::SigningAlgorithm>,
    /// The digest of the message, 32 raw bytes; - is standard input
    #[arg(long, value_name = "FILE")]
    digest: Input,
    /// The signature, as raw bytes; - is standard input
    #[arg(long, value_name = "FILE")]
    signature: Input,
}

impl AsymmetricCommand {
    pub fn run(&self) -> Result<(), EarlyExit> {
        match self {
            Self::Encrypt(args) => args.run(),
            Self::Decrypt(args) => args.run(),
            Self::Sign(args) => args.run(),
            Self::Verify(args) => args.run(),
        }
    }
}

impl EncryptAsymmetric {
    fn run(&self) -> Result<(), EarlyExit> {
        let KeyPairArgs { key, key_version, call } = &self.key_pair;
        let out = self.out.as_ref();
        let output = call.output().beside(out, Sensitivity::Encrypted)?;
        let mut plaintext = self.input.read("plaintext", MAX_BLOB_BYTES)?;
        call.talk(async |session| {
            let algorithm = encryption(&session, key, self.algorithm).await?;
            let request = session.request(v1::AsymmetricEncryptRequest {
                key_id: key.clone(),
                key_version_id: key_version.clone(),
                algorithm: algorithm.into(),
                plaintext: std::mem::take(&mut *plaintext),
                sm2_ciphertext_encoding: self.sm2_encoding.unwrap_or_default().into(),
                dry_run: call.dry_run(),
            });
            let response = session.response(session.kms().asymmetric_encrypt(request).await)?;
            let written = write_out(out, &response.ciphertext_blob, Sensitivity::Encrypted)?;
            output.written(&response, [("ciphertext_blob", written)])
        })
    }
}

impl DecryptAsymmetric {
    fn run(&self) -> Result<(), EarlyExit> {
        let KeyPairArgs { key, key_version, call } = &self.key_pair;
        let output = self.out.prepare(call.output(), call.dry_run())?;
        let ciphertext = self.input.read_raw("ciphertext", MAX_BLOB_BYTES)?;
        call.talk(async |session| {
            let algorithm = encryption(&session, key, self.algorithm).await?;
            let request = session.request(v1::AsymmetricDecryptRequest {
                key_id: key.clone(),
                key_version_id: key_version.clone(),
                algorithm: algorithm.into(),
                ciphertext_blob: ciphertext.to_vec(),
                dry_run: call.dry_run(),
            });
            let mut response = session.response(session.kms().asymmetric_decrypt(request).await)?;
            let written = self.out.write(&mut response.plaintext)?;
            output.written(&response, [("plaintext", written)])
        })
    }
}

impl SignDigest {
    fn run(&self) -> Result<(), EarlyExit> {
        let KeyPairArgs { key, key_version, call } = &self.key_pair;
        let out = self.out.as_ref();
        let output = call.output().beside(out, Sensitivity::Encrypted)?;
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
            let response = session.response(session.kms().asymmetric_sign(request).await)?;
            let written = write_out(out, &response.value, Sensitivity::Encrypted)?;
            output.written(&response, [("signature", written)])
        })
    }
}

impl VerifyDigest {
    fn run(&self) -> Result<(), EarlyExit> {
        let KeyPairArgs { key, key_version, call } = &self.key_pair;
        refuse_two_stdins(&[&self.digest, &self.signature])?;
        let digest = read_digest(&self.digest)?;
        let signature = self.signature.read_raw("signature", MAX_BLOB_BYTES)?;
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
            let response = session.response(session.kms().asymmetric_verify(request).await)?;
            if response.value || call.output().is_json() {
                call.output().response(&response, || Text::line("The signature is valid."))?;
            }
            if response.value { Ok(()) } else { Err(self.not_valid(algorithm).into()) }
        })
    }

    fn not_valid(&self, algorithm: v1::SigningAlgorithm) -> Failure {
        Failure::new(
            Exit::Refused,
            format!("The signature in {} is not valid.", self.signature),
            format!(
                "It is not a signature of this digest by {} with this version of {}: check digest, algorithm, version and CMK.",
                signing_name(algorithm),
                self.key_pair.key
            ),
        )
    }
}

fn read_digest(input: &Input) -> Result<Vec<u8>, Failure> {
    let digest = input.read_raw("digest", MAX_BLOB_BYTES)?;
    if DIGEST_BYTES.allows(digest.len()) {
        return Ok(digest.to_vec());
    }
    Err(Failure::input(
        format!(
            "The digest in {input} has {} bytes instead of {}.",
            digest.len(),
            DIGEST_BYTES.max
        ),
        "Give the digest of the message as raw bytes: `openssl dgst -sha256 -binary MESSAGE > digest.bin`",
    ))
}
