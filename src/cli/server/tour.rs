//! The steps of the quickstart. Each is done here and shown with the command that
//! does the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use der::pem::LineEnding;
use subtle::ConstantTimeEq;

use crate::cli::client::endpoint::Endpoint;
use crate::cli::client::session::Session;
use crate::cli::exit::Exit;
use crate::cli::failure::{EarlyExit, Failure};
use crate::cli::io::output::Output;
use crate::cli::io::output_target::{OutputTarget, Sensitivity};
use crate::cli::io::text::Text;
use crate::cli::options::algorithms::default_algorithm;
use crate::crypto::random;
use crate::crypto::secret::{Reveal, UnwrappedKey};
use crate::crypto::unwrapping::RecipientPrivateKey;
use crate::crypto::wrapping::WrappingKeySpec;
use crate::durable;
use crate::proto::v1;

/// The pair of the encryption context.
const PURPOSE: (&str, &str) = ("purpose", "quickstart");
/// AES-GCM's nonce (SP 800-38D, 5.2.1.1).
const NONCE_BYTES: usize = 12;
/// The files of the two recipients' keys replace those of an earlier run.
const KEY: Sensitivity = Sensitivity::Secret { replace: true };

const LETTER: &str = "\
Dear reader,

the key to this letter was made inside a key management service and came here
encrypted under a public key. Nobody on the way has seen it.
";

/// A failure that should be impossible.
pub fn broken(what: &str) -> Failure {
    Failure::new(Exit::Refused, format!("The quickstart failed: {what}."), "Report this.")
}

/// The directory or a file in it cannot be used.
pub fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} cannot be used: {error}.", path.display()),
        "Give a directory that you may write to with --data-dir.",
    )
}

/// One of the two recipients of the data key.
struct TourRecipient {
    /// The beginning of its files' names.
    name: &'static str,
    private_key: RecipientPrivateKey,
}

/// The steps, one after the other.
pub struct Tour {
    session: Session,
    endpoint: Endpoint,
    /// The directory of both sides' files.
    files: PathBuf,
}

impl Tour {
    /// Makes the directory and connects.
    pub async fn begin(dir: &Path, endpoint: Endpoint) -> Result<Self, EarlyExit> {
        let files = dir.join("quickstart");
        if !files.is_dir() {
            durable::create_directory(&files, 0o700).map_err(|error| unusable(&files, &error))?;
        }
        let session = Session::open(&endpoint.clone().into(), false).await?;
        Ok(Self { session, endpoint, files })
    }

    /// Takes the steps.
    pub async fn take(&self) -> Result<(), EarlyExit> {
        say(&Text::paragraph(
            "A data key is about to be made inside a key management service and to reach two\nrecipients, each under a public key of its own. Nobody in between sees it.",
        ))?;
        say(&Text::paragraph(""))?;
        self.announce_server(1)?;
        let key = self.create_key(2).await?;
        let blob = self.generate(3, &key).await?;
        let rsa = self.recipient(4, "rsa", WrappingKeySpec::Rsa2048)?;
        let sm2 = self.recipient(5, "sm2", WrappingKeySpec::EcSm2)?;
        let for_rsa = self.export(6, &blob, &rsa).await?;
        let for_sm2 = self.export(7, &blob, &sm2).await?;
        let key_of_rsa = self.unwrap(8, &rsa, &for_rsa)?;
        let key_of_sm2 = self.unwrap(9, &sm2, &for_sm2)?;
        compare(10, &key_of_rsa, &key_of_sm2)?;
        self.send_letter(11, &key_of_rsa, &key_of_sm2)?;
        say(&Text::paragraph("Next:"))?;
        say(&Text::line("   give the CMK a name:"))?;
        // The name of a second quickstart over the same store must be another.
        let suffix = uuid::Uuid::new_v4().simple().to_string();
        let suffix = suffix.get(..8).unwrap_or(&suffix);
        command(&format!("keyferry alias create alias/quickstart-{suffix} --key {key}"))?;
        say(&Text::line("   see what a recipient's public key is:"))?;
        command("keyferry recipient show rsa.public.pem")?;
        say(&Text::line("   make a server for keys that matter: `keyferry init DIR`"))
    }

    fn announce_server(&self, step: usize) -> Result<(), EarlyExit> {
        let Self { endpoint, files, .. } = self;
        let (address, files) = (self.address(), files.display().to_string());
        say(&Text::Step(step, format!("A development server listens on {address}.")))?;
        command(&format!("export KEYFERRY_ENDPOINT={endpoint}"))?;
        command(&format!("cd {}", quoted(&files)))?;
        if let Some(folder) = own_folder() {
            command(&format!("PATH={}:\"$PATH\"", quoted(&folder)))?;
        }
        command(&format!("grpcurl -plaintext {address} list"))
    }

    async fn create_key(&self, step: usize) -> Result<String, EarlyExit> {
        let request = self.session.request(v1::CreateKeyRequest {
            description: PURPOSE.1.to_owned(),
            ..Default::default()
        });
        let created = self.session.key_management().create_key(request).await;
        let response = self.session.response(created)?;
        let key = response.key_metadata.map(|metadata| metadata.key_id).unwrap_or_default();
        say(&Text::Step(step, format!("A customer master key (CMK) is made: {key}")))?;
        command(&format!("keyferry key create --description {}", PURPOSE.1))?;
        Ok(key)
    }

    async fn generate(&self, step: usize, key: &str) -> Result<Vec<u8>, EarlyExit> {
        let request = self.session.request(v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: key.to_owned(),
            encryption_context: context(),
            ..Default::default()
        });
        let outcome = self.session.kms().generate_data_key_without_plaintext(request).await;
        let blob = self.session.response(outcome)?.ciphertext_blob;
        self.write("data-key.blob", &blob, Sensitivity::Encrypted)?;
        let (name, value) = PURPOSE;
        say(&Text::Step(
            step,
            format!(
                "A data key is generated under it and bound to {name}={value}. It leaves the server only sealed: data-key.blob, {} bytes.",
                blob.len()
            ),
        ))?;
        command(&format!(
            "keyferry data-key generate --key {key} --context {name}={value} --out data-key.blob"
        ))?;
        command(&format!(
            "grpcurl -plaintext -d '{{\"key_id\":\"{key}\",\"encryption_context\":{{\"{name}\":\"{value}\"}}}}' {} keyferry.v1.Kms/GenerateDataKeyWithoutPlaintext",
            self.address()
        ))?;
        Ok(blob)
    }

    fn recipient(
        &self,
        step: usize,
        name: &'static str,
        spec: WrappingKeySpec,
    ) -> Result<TourRecipient, EarlyExit> {
        let private_key =
            RecipientPrivateKey::generate(spec).map_err(|error| broken(&error.to_string()))?;
        let public_key =
            der::pem::encode_string("PUBLIC KEY", LineEnding::LF, private_key.public_key_der())
                .map_err(|error| broken(&error.to_string()))?;
        let private_pem = private_key.to_pkcs8_pem();
        self.write(&format!("{name}.private.pem"), private_pem.as_bytes(), KEY)?;
        self.write(&format!("{name}.public.pem"), public_key.as_bytes(), Sensitivity::Public)?;
        say(&Text::Step(
            step,
            format!(
                "A recipient elsewhere has a key pair of its own, {spec}. It shows only the public half."
            ),
        ))?;
        command(&format!("openssl genpkey {} -out {name}.private.pem", openssl_kind(spec)))?;
        command(&format!("openssl pkey -in {name}.private.pem -pubout -out {name}.public.pem"))?;
        Ok(TourRecipient { name, private_key })
    }

    async fn export(
        &self,
        step: usize,
        blob: &[u8],
        recipient: &TourRecipient,
    ) -> Result<Vec<u8>, EarlyExit> {
        let TourRecipient { name, private_key } = recipient;
        let spec = private_key.spec().into();
        let request = self.session.request(v1::ExportDataKeyRequest {
            ciphertext_blob: blob.to_vec(),
            public_key_blob: private_key.public_key_der().to_vec(),
            wrapping_algorithm: default_algorithm(spec).into(),
            wrapping_key_spec: spec.into(),
            encryption_context: context(),
            ..Default::default()
        });
        let outcome = self.session.kms().export_data_key(request).await;
        let exported = self.session.response(outcome)?.exported_data_key;
        self.write(&format!("for-{name}.bin"), &exported, Sensitivity::Encrypted)?;
        say(&Text::Step(
            step,
            format!(
                "The server opens the blob inside and encrypts the data key under that public key: for-{name}.bin, {} bytes.",
                exported.len()
            ),
        ))?;
        let (pair, value) = PURPOSE;
        command(&format!(
            "keyferry data-key export --in data-key.blob --public-key {name}.public.pem --context {pair}={value} --out for-{name}.bin"
        ))?;
        Ok(exported)
    }

    fn unwrap(
        &self,
        step: usize,
        recipient: &TourRecipient,
        exported: &[u8],
    ) -> Result<UnwrappedKey, EarlyExit> {
        let TourRecipient { name, private_key } = recipient;
        let key = private_key.unwrap(None, exported).map_err(|error| broken(&error.to_string()))?;
        self.write(&format!("{name}.data-key"), key.reveal(Reveal::ToFile), KEY)?;
        say(&Text::Step(
            step,
            format!(
                "The {} recipient unwraps it with its private key, offline: {} bytes.",
                name.to_uppercase(),
                key.len()
            ),
        ))?;
        command(&format!(
            "keyferry data-key unwrap --in for-{name}.bin --private-key {name}.private.pem --out {name}.data-key --force"
        ))?;
        Ok(key)
    }

    /// One side encrypts a file, and the other side decrypts it.
    fn send_letter(
        &self,
        step: usize,
        key_of_rsa: &UnwrappedKey,
        key_of_sm2: &UnwrappedKey,
    ) -> Result<(), EarlyExit> {
        self.write("letter.txt", LETTER.as_bytes(), Sensitivity::Public)?;
        let sealed = encrypt(key_of_rsa, &self.read("letter.txt")?)
            .ok_or_else(|| broken("the letter was not encrypted"))?;
        self.write("letter.encrypted", &sealed, Sensitivity::Encrypted)?;
        let opened = decrypt(key_of_sm2, &self.read("letter.encrypted")?)
            .filter(|opened| opened == LETTER.as_bytes())
            .ok_or_else(|| broken("the letter did not come through"))?;
        self.write("letter.decrypted.txt", &opened, Sensitivity::Public)?;
        say(&Text::Step(
            step,
            format!(
                "The RSA recipient encrypts a letter with it (AES-256-GCM), {} bytes; the SM2 recipient decrypts it.",
                sealed.len()
            ),
        ))?;
        command("cmp letter.txt letter.decrypted.txt && cat letter.decrypted.txt")
    }

    fn address(&self) -> String {
        let endpoint = self.endpoint.to_string();
        endpoint.strip_prefix("http://").unwrap_or(&endpoint).to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8], sensitivity: Sensitivity) -> Result<(), EarlyExit> {
        OutputTarget::File(self.files.join(name)).write(bytes, sensitivity)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let path = self.files.join(name);
        fs::read(&path).map_err(|error| unusable(&path, &error))
    }
}

fn say(text: &Text) -> Result<(), EarlyExit> {
    Output::default().print(text)
}

fn command(command: &str) -> Result<(), EarlyExit> {
    say(&Text::Command(command.to_owned()))
}

fn compare(step: usize, one: &UnwrappedKey, other: &UnwrappedKey) -> Result<(), EarlyExit> {
    let equal = one.reveal(Reveal::ToCaller).ct_eq(other.reveal(Reveal::ToCaller));
    if !bool::from(equal) {
        return Err(broken("the recipients hold different data keys").into());
    }
    say(&Text::Step(step, "Both hold the same data key.".to_owned()))?;
    command("cmp rsa.data-key sm2.data-key")
}

fn context() -> BTreeMap<String, String> {
    let (name, value) = PURPOSE;
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

/// Nonce, then ciphertext with its tag.
fn encrypt(key: &UnwrappedKey, plain: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new_from_slice(key.reveal(Reveal::ToCaller)).ok()?;
    let nonce: [u8; NONCE_BYTES] = random::array().ok()?;
    let ciphertext = cipher.encrypt(&nonce.into(), plain).ok()?;
    Some([nonce.as_slice(), &ciphertext].concat())
}

fn decrypt(key: &UnwrappedKey, sealed: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new_from_slice(key.reveal(Reveal::ToCaller)).ok()?;
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    cipher.decrypt(&(*nonce).into(), ciphertext).ok()
}

fn openssl_kind(spec: WrappingKeySpec) -> String {
    match spec.modulus_bits() {
        Some(bits) => format!("-algorithm RSA -pkeyopt rsa_keygen_bits:{bits}"),
        None => "-algorithm SM2".to_owned(),
    }
}

/// The folder of this program, unless a shell found it by its name alone.
fn own_folder() -> Option<String> {
    let called = std::env::args_os().next()?;
    if Path::new(&called).components().count() < 2 {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.display().to_string())
}

/// The text as one word for a shell. Only a NUL cannot be quoted, and no path
/// holds one.
pub fn quoted(text: &str) -> Cow<'_, str> {
    shlex::try_quote(text).unwrap_or(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_a_quoted_text_for_one_word() {
        for text in ["/tmp/keyferry-1", "/tmp/a b", "it's", "$HOME;`x`", ""] {
            let command = format!("printf %s {}", quoted(text));
            let output = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
