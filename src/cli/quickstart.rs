//! `keyferry quickstart`: the whole way of a data key, once, before the eyes of
//! somebody new. Each step is done here and shown with the command that does
//! the same.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::{Aead, KeyInit};
use clap::Args;
use der::pem::LineEnding;
use subtle::ConstantTimeEq;
use tokio::sync::oneshot;

use super::algorithms::{default_number, spec_number};
use super::connection::Session;
use super::endpoint::Endpoint;
use super::exit::Exit;
use super::failure::{Failure, Stop};
use super::files::{Care, Destination};
use super::output::Output;
use super::scratch::Scratch;
use super::serve::{self, Prepared, dev_config};
use super::text::Text;
use crate::crypto::random;
use crate::crypto::secret::{Reveal, UnwrappedKey};
use crate::crypto::unwrapping::RecipientPrivateKey;
use crate::crypto::wrapping::WrappingKeySpec;
use crate::proto::v1;

/// The pair of the encryption context.
const PURPOSE: (&str, &str) = ("purpose", "quickstart");
/// AES-GCM's nonce (SP 800-38D, 5.2.1.1).
const NONCE_BYTES: usize = 12;

const LETTER: &str = "\
Dear reader,

the key to this letter was born inside a key management service and came here
encrypted under a public key. Nobody on the way has seen it.
";

/// Watch a data key being made, exported to an RSA and an SM2 key, unwrapped
/// and used, with the command for each step
#[derive(Args, Debug)]
pub struct Quickstart {
    /// Keep the store and all files here; without it, in a temporary directory
    /// that is removed at the end
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Leave the server up, so that the commands can be tried; Ctrl-C stops it
    #[arg(long)]
    keep_running: bool,
}

impl Quickstart {
    /// Does it.
    pub fn run(&self) -> Result<(), Stop> {
        let scratch = if self.data_dir.is_none() { Some(Scratch::make()?) } else { None };
        let dir = self.data_dir.as_deref().or(scratch.as_ref().map(Scratch::path));
        let dir = std::path::absolute(dir.unwrap_or(Path::new(".")))
            .map_err(|error| unwritable(Path::new("."), &error))?;
        let runtime = serve::runtime()?;
        let outcome = runtime.block_on(self.beside_a_server(&dir));
        // The store is closed before its directory goes.
        drop(runtime);
        drop(scratch);
        outcome?;
        self.part(&dir)
    }

    /// Serves while the steps are taken, and as long after as is wanted.
    async fn beside_a_server(&self, dir: &Path) -> Result<(), Stop> {
        let signals = serve::signals()?;
        let prepared = prepare(dir).await?;
        let endpoint = endpoint(&prepared)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(prepared.run(async {
            // Dropping the other end asks for a stop too.
            let _ = stopped.await;
        }));
        let outcome = tokio::select! {
            outcome = self.go(dir, endpoint) => outcome,
            () = signals.asked(1) => Err(interrupted().into()),
        };
        if outcome.is_ok() && self.keep_running {
            signals.asked(1).await;
        }
        drop(stop);
        let ended = server.await.map_err(|error| broken(&format!("the server ended: {error}")))?;
        outcome.and(ended.map_err(Into::into))
    }

    async fn go(&self, dir: &Path, endpoint: Endpoint) -> Result<(), Stop> {
        let tour = Tour::begin(dir, endpoint).await?;
        tour.take().await?;
        if self.keep_running {
            tour.say(&Text::paragraph(
                "The server keeps running: paste the commands into another terminal, in order. Ctrl-C stops it.",
            ))?;
        }
        Ok(())
    }

    /// What is left, and what to try next.
    fn part(&self, dir: &Path) -> Result<(), Stop> {
        let left = match (&self.data_dir, self.keep_running) {
            (None, true) => format!("The server has stopped, and {} is removed.", dir.display()),
            (None, false) => {
                "The server has stopped, and its directory is removed. To try the commands: keyferry quickstart --keep-running".to_owned()
            }
            (Some(_), _) => format!(
                "The server has stopped. To serve what is left: keyferry serve --dev --data-dir {}",
                quoted(&dir.display().to_string())
            ),
        };
        Output::default().tell(&Text::paragraph(left))
    }
}

/// A dev server at the usual place, or wherever there is room.
async fn prepare(dir: &Path) -> Result<Prepared, Failure> {
    match Prepared::of(&dev_config(dir, None)?).await {
        Err(failure) if failure.exit() == Exit::InUse => {
            Prepared::of(&dev_config(dir, Some("127.0.0.1:0"))?).await
        }
        prepared => prepared,
    }
}

fn endpoint(prepared: &Prepared) -> Result<Endpoint, Failure> {
    let address = prepared.address().map(ToString::to_string).unwrap_or_default();
    format!("http://{address}").parse().map_err(|error| broken(&format!("{error}")))
}

fn interrupted() -> Failure {
    Failure::new(Exit::Refused, "The quickstart was interrupted.", "Run it again.")
}

/// What must not happen, happened.
fn broken(what: &str) -> Failure {
    Failure::new(Exit::Refused, format!("The quickstart failed: {what}."), "Report this.")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::InUse,
        format!("{} cannot be used: {error}.", path.display()),
        "Give a directory that you may write in with --data-dir.",
    )
}

/// One of the two who shall have the data key.
struct Recipient {
    /// What its files are named by.
    name: &'static str,
    private_key: RecipientPrivateKey,
}

/// The steps, one after the other.
struct Tour {
    session: Session,
    endpoint: Endpoint,
    /// Where the files of the two sides are.
    files: PathBuf,
}

impl Tour {
    async fn begin(dir: &Path, endpoint: Endpoint) -> Result<Self, Stop> {
        let files = dir.join("quickstart");
        if !files.is_dir() {
            DirBuilder::new()
                .mode(0o700)
                .create(&files)
                .map_err(|error| unwritable(&files, &error))?;
        }
        let session = Session::to(endpoint.clone()).await?;
        Ok(Self { session, endpoint, files })
    }

    async fn take(&self) -> Result<(), Stop> {
        self.say(&Text::paragraph(
            "A data key is about to be born inside a key management service and to reach two\nrecipients, each under a public key of its own. Nobody in between sees it.",
        ))?;
        self.say(&Text::paragraph(""))?;
        self.greet(1)?;
        let key = self.create_key(2).await?;
        let blob = self.generate(3, &key).await?;
        let rsa = self.recipient(4, "rsa", WrappingKeySpec::Rsa2048)?;
        let sm2 = self.recipient(5, "sm2", WrappingKeySpec::EcSm2)?;
        let for_rsa = self.export(6, &blob, &rsa).await?;
        let for_sm2 = self.export(7, &blob, &sm2).await?;
        let rsas = self.unwrap(8, &rsa, &for_rsa)?;
        let sm2s = self.unwrap(9, &sm2, &for_sm2)?;
        self.compare(10, &rsas, &sm2s)?;
        self.use_it(11, &rsas, &sm2s)?;
        self.say(&Text::paragraph("Next:"))?;
        self.run(
            "give the CMK a name",
            &format!("keyferry alias create alias/{} --key {key}", unused_name()),
        )?;
        self.run("see who could be a recipient", "keyferry recipient show rsa.public.pem")?;
        self.say(&Text::line("   a server for keys that matter: keyferry init DIR"))
    }

    fn greet(&self, step: usize) -> Result<(), Stop> {
        let Self { endpoint, files, .. } = self;
        let (address, files) = (self.address(), files.display().to_string());
        self.say(&Text::Step(step, format!("A development server listens on {address}.")))?;
        self.command(&format!("export KEYFERRY_ENDPOINT={endpoint}"))?;
        self.command(&format!("cd {}", quoted(&files)))?;
        if let Some(folder) = own_folder() {
            self.command(&format!("PATH={}:\"$PATH\"", quoted(&folder)))?;
        }
        self.command(&format!("grpcurl -plaintext {address} list"))
    }

    async fn create_key(&self, step: usize) -> Result<String, Stop> {
        let request = self.session.request(v1::CreateKeyRequest {
            description: PURPOSE.1.to_owned(),
            ..Default::default()
        });
        let answer =
            self.session.answer(self.session.key_management().create_key(request).await)?;
        let key = answer.key_metadata.map(|metadata| metadata.key_id).unwrap_or_default();
        self.say(&Text::Step(step, format!("A customer master key (CMK) is made: {key}")))?;
        self.command(&format!("keyferry key create --description {}", PURPOSE.1))?;
        Ok(key)
    }

    async fn generate(&self, step: usize, key: &str) -> Result<Vec<u8>, Stop> {
        let request = self.session.request(v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: key.to_owned(),
            encryption_context: context(),
            ..Default::default()
        });
        let outcome = self.session.kms().generate_data_key_without_plaintext(request).await;
        let blob = self.session.answer(outcome)?.ciphertext_blob;
        self.write("data-key.blob", &blob, Care::Encrypted)?;
        let (name, value) = PURPOSE;
        self.say(&Text::Step(step, format!(
            "A data key is generated under it and bound to {name}={value}. It leaves the server only sealed: data-key.blob, {} bytes.",
            blob.len()
        )))?;
        self.command(&format!(
            "keyferry data-key generate --key {key} --context {name}={value} --out data-key.blob"
        ))?;
        self.command(&format!(
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
    ) -> Result<Recipient, Stop> {
        let private_key =
            RecipientPrivateKey::generate(spec).map_err(|error| broken(&error.to_string()))?;
        let public_key =
            der::pem::encode_string("PUBLIC KEY", LineEnding::LF, private_key.public_key_der())
                .map_err(|error| broken(&error.to_string()))?;
        let private_pem = private_key.to_pkcs8_pem();
        self.write(&format!("{name}.private.pem"), private_pem.as_bytes(), Care::SecretReplacing)?;
        self.write(&format!("{name}.public.pem"), public_key.as_bytes(), Care::Public)?;
        self.say(&Text::Step(step, format!(
            "A recipient elsewhere has a key pair of its own, {spec}. The public half is all that it shows."
        )))?;
        self.command(&format!("openssl genpkey {} -out {name}.private.pem", openssl_kind(spec)))?;
        self.command(&format!(
            "openssl pkey -in {name}.private.pem -pubout -out {name}.public.pem"
        ))?;
        Ok(Recipient { name, private_key })
    }

    async fn export(
        &self,
        step: usize,
        blob: &[u8],
        recipient: &Recipient,
    ) -> Result<Vec<u8>, Stop> {
        let Recipient { name, private_key } = recipient;
        let spec = spec_number(private_key.spec());
        let request = self.session.request(v1::ExportDataKeyRequest {
            ciphertext_blob: blob.to_vec(),
            public_key_blob: private_key.public_key_der().to_vec(),
            wrapping_algorithm: default_number(spec).into(),
            wrapping_key_spec: spec.into(),
            encryption_context: context(),
            ..Default::default()
        });
        let outcome = self.session.kms().export_data_key(request).await;
        let exported = self.session.answer(outcome)?.exported_data_key;
        self.write(&format!("for-{name}.bin"), &exported, Care::Encrypted)?;
        self.say(&Text::Step(step, format!(
            "The server opens the blob inside and encrypts the data key under that public key: for-{name}.bin, {} bytes.",
            exported.len()
        )))?;
        let (pair, value) = PURPOSE;
        self.command(&format!(
            "keyferry data-key export --in data-key.blob --public-key {name}.public.pem --context {pair}={value} --out for-{name}.bin"
        ))?;
        Ok(exported)
    }

    fn unwrap(
        &self,
        step: usize,
        recipient: &Recipient,
        exported: &[u8],
    ) -> Result<UnwrappedKey, Stop> {
        let Recipient { name, private_key } = recipient;
        let key = private_key.unwrap(None, exported).map_err(|error| broken(&error.to_string()))?;
        self.write(&format!("{name}.data-key"), key.reveal(Reveal::ToFile), Care::SecretReplacing)?;
        self.say(&Text::Step(
            step,
            format!(
                "The {} recipient unwraps it with its private key, offline: {} bytes.",
                name.to_uppercase(),
                key.len()
            ),
        ))?;
        self.command(&format!(
            "keyferry data-key unwrap --in for-{name}.bin --private-key {name}.private.pem --out {name}.data-key --force"
        ))?;
        Ok(key)
    }

    fn compare(&self, step: usize, one: &UnwrappedKey, other: &UnwrappedKey) -> Result<(), Stop> {
        let equal = one.reveal(Reveal::ToCaller).ct_eq(other.reveal(Reveal::ToCaller));
        if !bool::from(equal) {
            return Err(broken("the recipients hold different data keys").into());
        }
        self.say(&Text::Step(step, "Both hold the same data key.".to_owned()))?;
        self.command("cmp rsa.data-key sm2.data-key")
    }

    /// A real file, read back from the disk by the other side.
    fn use_it(&self, step: usize, rsas: &UnwrappedKey, sm2s: &UnwrappedKey) -> Result<(), Stop> {
        self.write("letter.txt", LETTER.as_bytes(), Care::Public)?;
        let sealed = encrypt(rsas, &self.read("letter.txt")?)
            .ok_or_else(|| broken("the letter was not encrypted"))?;
        self.write("letter.encrypted", &sealed, Care::Encrypted)?;
        let opened = decrypt(sm2s, &self.read("letter.encrypted")?)
            .filter(|opened| opened == LETTER.as_bytes())
            .ok_or_else(|| broken("the letter did not come through"))?;
        self.write("letter.decrypted.txt", &opened, Care::Public)?;
        self.say(&Text::Step(step, format!(
            "The RSA recipient encrypts a letter with it (AES-256-GCM), {} bytes; the SM2 recipient decrypts it.",
            sealed.len()
        )))?;
        self.command("cmp letter.txt letter.decrypted.txt && cat letter.decrypted.txt")
    }

    fn address(&self) -> String {
        let endpoint = self.endpoint.to_string();
        endpoint.strip_prefix("http://").unwrap_or(&endpoint).to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8], care: Care) -> Result<(), Stop> {
        Destination::File(self.files.join(name)).write(bytes, care)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let path = self.files.join(name);
        fs::read(&path).map_err(|error| unwritable(&path, &error))
    }

    #[expect(clippy::unused_self, reason = "the tour speaks")]
    fn say(&self, text: &Text) -> Result<(), Stop> {
        Output::default().tell(text)
    }

    fn command(&self, command: &str) -> Result<(), Stop> {
        self.say(&Text::Command(command.to_owned()))
    }

    fn run(&self, why: &str, command: &str) -> Result<(), Stop> {
        self.say(&Text::line(format!("   {why}:")))?;
        self.command(command)
    }
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

/// A name that a second quickstart over the same store will not find taken.
fn unused_name() -> String {
    let name = uuid::Uuid::new_v4().simple().to_string();
    format!("quickstart-{}", name.get(..8).unwrap_or(&name))
}

/// Where this program is, unless it was found by its name alone.
fn own_folder() -> Option<String> {
    let called = std::env::args_os().next()?;
    if Path::new(&called).components().count() < 2 {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    Some(program.parent()?.display().to_string())
}

/// For a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) && !text.is_empty() {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
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
