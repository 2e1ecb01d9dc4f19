//! `keyferry data-key unwrap`: the recipient decrypts a data key, offline.

use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::input::{Input, MAX_BLOB_BYTES, refuse_two_stdins};
use crate::cli::io::output::OutputArgs;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::io::text::Text;
use crate::cli::options::algorithms::check_fit;
use crate::cli::options::receipt::{self, TrustArgs};
use crate::crypto::receipt::{Claims, Delivery};
use crate::crypto::secret::Reveal;
use crate::crypto::unwrapping::{RecipientPrivateKey, UnfitPrivateKey};
use crate::crypto::wrapping::{WrappingAlgorithm, WrappingKeySpec};
use crate::proto::v1;

/// A PKCS#8 private key is at most a few KiB.
const MAX_PRIVATE_KEY_BYTES: usize = 64 * 1024;

#[derive(Args, Debug)]
pub struct UnwrapDataKey {
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
    algorithm: Option<v1::WrappingAlgorithm>,
    /// The receipt that it was exported with: nothing is decrypted unless it is by the
    /// issuer, for this key's public half, and of these bytes; - is standard input
    #[arg(long, value_name = "FILE")]
    receipt: Option<Input>,
    #[command(flatten)]
    trust: TrustArgs,
    /// The file that the data key is written to, as raw bytes, readable by you
    /// alone (mode 0600); - is standard output, which must not be a terminal
    #[arg(long, value_name = "FILE")]
    out: OutputTarget,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl UnwrapDataKey {
    pub fn run(&self) -> Result<(), EarlyExit> {
        let sensitivity = Sensitivity::Secret { replace: self.force };
        let output = self.output.output().beside(Some(&self.out), sensitivity)?;
        self.out.check(sensitivity)?;
        let inputs = [&self.input, &self.private_key].into_iter().chain(&self.receipt);
        refuse_two_stdins(&inputs.chain(self.trust.file()).collect::<Vec<_>>())?;
        let private_key = read_private_key(&self.private_key)?;
        let spec = private_key.spec();
        if let Some(algorithm) = self.algorithm {
            check_fit(spec, algorithm, v1::Sm2CiphertextEncoding::Unspecified)?;
        }
        let exported = self.input.read_raw("exported data key", MAX_BLOB_BYTES)?;
        let claims = self.verify_receipt(&private_key, &exported)?;
        let told = claims.as_ref().and_then(Claims::algorithm);
        let key = private_key
            .unwrap(self.named_algorithm().or(told), &exported)
            .map_err(|_| does_not_open(&self.input, &self.private_key, spec))?;
        self.out.write(key.reveal(Reveal::ToFile), sensitivity)?;
        let bytes = key.len();
        let mut value = json!({ "wrapping_key_spec": spec.as_str(), "data_key_bytes": bytes });
        if let (Some(claims), Some(members)) = (&claims, value.as_object_mut()) {
            members.insert("receipt".to_owned(), json!(claims));
        }
        output.result(&value, || {
            let mut shown = vec![
                ("wrapping_key_spec", spec.as_str().to_owned()),
                ("data_key", format!("{bytes} bytes in {}", self.out)),
            ];
            shown.extend(claims.iter().flat_map(receipt::fields));
            Text::Fields(shown)
        })
    }

    fn named_algorithm(&self) -> Option<WrappingAlgorithm> {
        self.algorithm.and_then(|named| named.try_into().ok())
    }

    /// What the receipt says, if there is one, once it is known to be of what is in hand.
    fn verify_receipt(
        &self,
        private_key: &RecipientPrivateKey,
        exported: &[u8],
    ) -> Result<Option<Claims>, Failure> {
        let Some(file) = &self.receipt else {
            return if self.trust.is_given() { Err(no_receipt()) } else { Ok(None) };
        };
        let claims = self.trust.verify(file)?;
        let delivery = Delivery {
            exported,
            recipient_sha256: &Sha256::digest(private_key.public_key_der()).into(),
            algorithm: self.named_algorithm(),
        };
        receipt::check(file, &claims, &delivery)?;
        Ok(Some(claims))
    }
}

fn no_receipt() -> Failure {
    Failure::usage(
        "--issuer, --receipt-keys and --max-age are about a receipt, and none is given.",
        "Give --receipt FILE, or leave them out.",
    )
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
            format!("Decrypt it first: `openssl pkcs8 -in {name} -out clear.pem`")
        }
        UnfitPrivateKey::OlderForm => {
            format!("Convert it: `openssl pkcs8 -topk8 -nocrypt -in {name} -out pkcs8.pem`")
        }
        UnfitPrivateKey::PublicKey => "Give the private key that belongs to it.".to_owned(),
        _ => "Give an RSA key of 2048, 3072 or 4096 bits, or an SM2 key, as PKCS#8 PEM: -----BEGIN PRIVATE KEY-----".to_owned(),
    }
}

/// The same for every cause, which nobody may learn.
fn does_not_open(exported: &Input, private_key: &Input, spec: WrappingKeySpec) -> Failure {
    let algorithm = match spec {
        WrappingKeySpec::EcSm2 => "SM2PKE",
        _ => "the --algorithm that you give (RSAES_OAEP_SHA_256 if you give none)",
    };
    Failure::new(
        Exit::Refused,
        format!("{exported} does not open with {private_key}."),
        format!(
            "Check that the file is whole, and that it was exported to this key's public half and with {algorithm}."
        ),
    )
}
