//! The programs of `examples/recipients`, run as they stand. The options of each
//! export are read from their README, and its traps are tried: a program altered to
//! step into one must fail as the README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use pkcs8::DecodePrivateKey;
use tempfile::{Builder, TempDir};

use super::sm2::{hex, unhex};
use super::softhsm;
use crate::recipient::{self, Recipient};
use crate::support::harness::{
    Checks, Finished, PEER_LIMIT, Server, checkout, found, installed, on_path, run, run_to_end,
};

const README: &str = include_str!("../../../examples/recipients/README.md");
const PLAIN: &[u8] = b"to the other side";

fn example(name: &str) -> PathBuf {
    checkout().join("examples/recipients").join(name)
}

/// The README's row for a program.
fn row(program: &str) -> &'static str {
    let link = format!("[`{program}`]({program})");
    README.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("no row: {program}"))
}

#[test]
fn the_readme_has_a_row_for_each_program() {
    let folder = fs::read_dir(example("")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let programs: Vec<String> = names.filter(|name| name != "README.md").collect();
    for program in &programs {
        row(program);
    }
    assert_eq!(README.lines().filter(|line| line.contains("](")).count(), programs.len());
}

/// The side that exports: a server, and a data key that recipients are to find.
struct Sender {
    server: Server,
    folder: TempDir,
    data_key: Vec<u8>,
}

impl Sender {
    fn new() -> Self {
        let (server, folder) = (Server::dev(), tempfile::tempdir().unwrap());
        let mut caller = server.caller();
        let key = caller.create_key();
        let blob = caller.generate(&key, 32);
        fs::write(folder.path().join("blob"), &blob).unwrap();
        Self { server, folder, data_key: caller.decrypt(&blob) }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The data key for a public key, asked for as the README's row says.
    fn export_for(&self, program: &str, public_key: &Path) -> PathBuf {
        let ask_for = row(program).split('|').nth(2).unwrap().trim().trim_matches('`');
        self.export(&ask_for.split(' ').collect::<Vec<_>>(), public_key)
    }

    fn export(&self, options: &[&str], public_key: &Path) -> PathBuf {
        let exported = self.folder.path().join(options.join(" "));
        let mut export = self.server.client();
        export.args(["data-key", "export", "--in"]).arg(self.folder.path().join("blob"));
        export.args(options).arg("--public-key").arg(public_key);
        run(export.arg("--out").arg(&exported));
        exported
    }

    /// A file that another holder of the data key encrypted.
    fn seal(&self) -> PathBuf {
        let nonce = [7; 12];
        let cipher = Aes256Gcm::new_from_slice(&self.data_key).unwrap();
        let sealed = cipher.encrypt(&Nonce::from(nonce), PLAIN).unwrap();
        self.file("sealed", [&nonce[..], &sealed].concat())
    }

    /// A program with one change, which a newcomer might well make.
    fn altered(&self, program: &str, from: &str, to: &str) -> PathBuf {
        let text = fs::read_to_string(example(program)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from} in {program}");
        let altered = Builder::new().suffix(program).tempfile_in(&self.folder).unwrap();
        fs::write(altered.path(), text.replace(from, to)).unwrap();
        altered.keep().unwrap().1
    }

    /// An exported data key with a bit of one byte changed.
    fn torn(&self, exported: &Path, at: usize) -> PathBuf {
        let mut bytes = fs::read(exported).unwrap();
        bytes[at] ^= 1;
        self.file(&format!("torn at {at}"), bytes)
    }

    fn is_found_by(&self, program: &mut Command) -> bool {
        run(program).stdout == self.data_key
    }
}

/// Whether a program opens nothing and says why in these words.
fn fails(program: &mut Command, words: &str) -> bool {
    let Finished { success, stdout, stderr } = run_to_end(program, PEER_LIMIT);
    let said = String::from_utf8_lossy(&stderr);
    let fails = !success && stdout.is_empty() && said.contains(words);
    if !fails {
        println!("{said}");
    }
    fails
}

/// A token of SoftHSM with the key pair that `pkcs11_tool.sh make` makes.
struct Token {
    folder: TempDir,
    opensc: String,
}

impl Token {
    fn with_key_pair() -> Option<Self> {
        if !found("SoftHSM2", Path::new(softhsm::MODULE).exists()) {
            return None;
        }
        // "OpenSC 0.23.0 [gcc  12.2.0]"
        let info = on_path("OpenSC", "opensc-tool", "--info")?;
        let opensc = info.split_whitespace().nth(1)?.to_owned();
        let this = Self { folder: tempfile::tempdir().unwrap(), opensc };
        softhsm::configure(this.folder.path());
        let init = ["--init-token", "--free", "--label", "recipient"];
        run(this.command("softhsm2-util").args(init).args(["--so-pin", "1234", "--pin", "5678"]));
        run(this.command(example("pkcs11_tool.sh")).arg("make").arg(this.public_key()));
        Some(this)
    }

    fn public_key(&self) -> PathBuf {
        self.folder.path().join("public.der")
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf"))
            .env("MODULE", softhsm::MODULE)
            .envs([("TOKEN", "recipient"), ("PIN", "5678")]);
        command
    }

    fn open(&self, script: impl AsRef<Path>, exported: &Path) -> Command {
        let mut command = self.command("sh");
        command.arg(script.as_ref()).arg("open").arg(exported);
        command
    }

    /// SoftHSM's version, such as "2.6".
    fn softhsm(&self) -> String {
        let mut tool = self.command("pkcs11-tool");
        let said = run(tool.args(["--show-info", "--module", softhsm::MODULE])).text();
        let (_, version) = said.split_once("(ver ").expect("a version");
        version.split(')').next().unwrap().to_owned()
    }

    /// Whether `pkcs11-tool --unwrap` sends OAEP's parameters.
    fn opensc_unwraps(&self) -> bool {
        let parts: Vec<u32> = self.opensc.split('.').map_while(|part| part.parse().ok()).collect();
        parts >= vec![0, 27]
    }
}

#[test]
fn pkcs11_tool() {
    const PROGRAM: &str = "pkcs11_tool.sh";
    let Some(token) = Token::with_key_pair() else { return };
    let (softhsm, sender) = (token.softhsm(), Sender::new());
    let mut checks = Checks::of(format!("OpenSC {} before SoftHSM {softhsm}", token.opensc));
    let exported = sender.export_for(PROGRAM, &token.public_key());
    checks.that("opens", sender.is_found_by(&mut token.open(example(PROGRAM), &exported)));
    let torn = sender.torn(&exported, 255);
    checks.that("torn_fails", fails(&mut token.open(example(PROGRAM), &torn), "CKR_"));
    if softhsm == "2.6" {
        let with_sha_1 = "--hash-algorithm SHA-1 --mgf MGF1-SHA1";
        let with_sha_256 = "--hash-algorithm SHA256 --mgf MGF1-SHA256";
        let open = sender.altered(PROGRAM, with_sha_1, with_sha_256);
        let exported = sender.export(&["--algorithm", "RSAES_OAEP_SHA_256"], &token.public_key());
        checks.that("sha_256_fails", fails(&mut token.open(open, &exported), "CKR_ARGUMENTS_BAD"));
    }
    if !token.opensc_unwraps() {
        let unwrap = "--unwrap --key-type AES:32 --mechanism";
        let open = sender.altered(PROGRAM, "--decrypt --mechanism", unwrap);
        checks.that("unwrap_fails", fails(&mut token.open(open, &exported), "CKR_ARGUMENTS_BAD"));
    }
}

/// The version of a Python package among the peers.
fn python_package(python: &Path, name: &str) -> String {
    let ask = format!("from importlib.metadata import version; print(version({name:?}))");
    format!("{name} {}", run(Command::new(python).args(["-c", &ask])).text().trim())
}

#[test]
fn python_pkcs11() {
    const PROGRAM: &str = "python_pkcs11.py";
    let Some(peers) = installed("python-pkcs11", "python") else { return };
    let Some(token) = Token::with_key_pair() else { return };
    let python = peers.join("python/bin/python");
    let (softhsm, sender) = (token.softhsm(), Sender::new());
    let name = python_package(&python, "python-pkcs11");
    let mut checks = Checks::of(format!("{name} before SoftHSM {softhsm}"));
    let sealed = sender.seal();
    let open = |program: &Path, exported: &Path| {
        let mut command = token.command(&python);
        command.arg(program).arg(exported).arg(&sealed);
        command
    };
    let exported = sender.export_for(PROGRAM, &token.public_key());
    let opened = run(&mut open(&example(PROGRAM), &exported)).stdout;
    checks.that("decrypts_inside", opened == PLAIN);
    let torn = sender.torn(&exported, 255);
    checks.that("torn_fails", fails(&mut open(&example(PROGRAM), &torn), "pkcs11.exceptions"));
    if softhsm == "2.6" {
        let with_sha_1 = "(Mechanism.SHA_1, MGF.SHA1, None)";
        let program = sender.altered(PROGRAM, with_sha_1, "(Mechanism.SHA256, MGF.SHA256, None)");
        let exported = sender.export(&["--algorithm", "RSAES_OAEP_SHA_256"], &token.public_key());
        checks.that("sha_256_fails", fails(&mut open(&program, &exported), "ArgumentsBad"));
    }
}

/// A program in Java, from its source. It ends too soon for the second compiler.
fn java(jars: Option<&Path>, program: &Path, private_key: &Path, exported: &Path) -> Command {
    let mut command = Command::new("java");
    command.arg("-XX:TieredStopAtLevel=1");
    if let Some(jars) = jars {
        command.arg("-cp").arg(jars.join("*"));
    }
    command.arg(program).arg(private_key).arg(exported);
    command
}

#[test]
fn java_oaep() {
    const PROGRAM: &str = "JavaOaep.java";
    let Some(version) = on_path("Java", "java", "--version") else { return };
    if recipient::version().is_none() {
        return;
    }
    // "openjdk 17.0.15 2025-04-15"
    let mut checks = Checks::of(version.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let (sender, rsa) = (Sender::new(), Recipient::rsa(2048));
    let exported = sender.export_for(PROGRAM, &rsa.file("public.pem"));
    let open = |program: &Path| java(None, program, &rsa.file("private.pem"), &exported);
    checks.that("opens", sender.is_found_by(&mut open(&example(PROGRAM))));
    let by_default = sender.altered(PROGRAM, "key, oaep)", "key)");
    checks.that("default_fails", fails(&mut open(&by_default), "BadPaddingException"));
}

#[test]
fn web_crypto() {
    const PROGRAM: &str = "web_crypto.mjs";
    let Some(version) = on_path("Node", "node", "--version") else { return };
    if recipient::version().is_none() {
        return;
    }
    let mut checks = Checks::of(format!("WebCrypto of Node {version}"));
    let (sender, rsa) = (Sender::new(), Recipient::rsa(2048));
    let sealed = sender.seal();
    let open = |program: &Path, private_key: &str, exported: &Path| {
        let mut command = Command::new("node");
        command.arg(program).arg(rsa.file(private_key)).arg(exported).arg(&sealed);
        command
    };
    let sha_256 = sender.export_for(PROGRAM, &rsa.file("public.pem"));
    let opened = run(&mut open(&example(PROGRAM), "private.pem", &sha_256)).stdout;
    checks.that("decrypts", opened == PLAIN);
    let sha_1 = sender.export(&["--algorithm", "RSAES_OAEP_SHA_1"], &rsa.file("public.pem"));
    let with_sha_1 = sender.altered(PROGRAM, "'SHA-256'", "'SHA-1'");
    checks
        .that("sha_1_decrypts", run(&mut open(&with_sha_1, "private.pem", &sha_1)).stdout == PLAIN);
    checks.that(
        "other_hash_fails",
        fails(&mut open(&with_sha_1, "private.pem", &sha_256), "OperationError"),
    );
    let mut pkcs1 = Command::new("openssl");
    pkcs1.args(["rsa", "-traditional", "-in"]).arg(rsa.file("private.pem"));
    run(pkcs1.arg("-out").arg(rsa.file("pkcs1.pem")));
    checks.that(
        "pkcs1_fails",
        fails(&mut open(&example(PROGRAM), "pkcs1.pem", &sha_256), "DataError"),
    );
}

#[test]
fn go() {
    const PROGRAM: &str = "oaep.go";
    let Some(peers) = installed("Go's crypto/rsa", "recipients_go") else { return };
    let Some(version) = on_path("Go", "go", "version") else { return };
    if recipient::version().is_none() {
        return;
    }
    // "go version go1.26.8 linux/amd64"
    let mut checks = Checks::of(format!("crypto/rsa of {}", version.split(' ').nth(2).unwrap()));
    let (sender, rsa) = (Sender::new(), Recipient::rsa(2048));
    let open = |exported: &Path| {
        let mut command = Command::new(peers.join("bin/oaep"));
        command.arg(rsa.file("private.pem")).arg(exported);
        command
    };
    let exported = sender.export_for(PROGRAM, &rsa.file("public.pem"));
    checks.that("opens", sender.is_found_by(&mut open(&exported)));
    let sha_1 = sender.export(&["--algorithm", "RSAES_OAEP_SHA_1"], &rsa.file("public.pem"));
    checks.that("other_hash_fails", fails(&mut open(&sha_1), "decryption error"));
}

/// The encoding that comes unasked.
const DER: [&str; 2] = ["--sm2-encoding", "asn1-der"];

const BY_ENGINE: &str = "\
        var sm2 = new SM2Engine(SM2Engine.Mode.C1C3C2);
        sm2.init(false, PrivateKeyFactory.createKey(pkcs8));
        System.out.writeBytes(sm2.processBlock(exported, 0, exported.length));
";

/// The same by the interface of Java's providers.
fn by_cipher(name: &str) -> String {
    format!(
        "
        var bc = new org.bouncycastle.jce.provider.BouncyCastleProvider();
        var sm2 = javax.crypto.Cipher.getInstance(\"{name}\", bc);
        var spec = new java.security.spec.PKCS8EncodedKeySpec(pkcs8);
        sm2.init(2, java.security.KeyFactory.getInstance(\"EC\", bc).generatePrivate(spec));
        System.out.writeBytes(sm2.doFinal(exported));
"
    )
}

#[test]
fn bouncy_castle() {
    const PROGRAM: &str = "BouncyCastle.java";
    let Some(peers) = installed("Bouncy Castle", "java") else { return };
    if recipient::version().is_none() {
        return;
    }
    let jars = peers.join("java/lib");
    let jar = fs::read_dir(&jars).unwrap().next().unwrap().unwrap().file_name();
    let mut checks = Checks::of(jar.to_str().unwrap().trim_end_matches(".jar"));
    let (sender, sm2) = (Sender::new(), Recipient::sm2());
    let open = |program: &Path, exported: &Path| {
        java(Some(&jars), program, &sm2.file("private.pem"), exported)
    };
    let raw = sender.export_for(PROGRAM, &sm2.file("public.pem"));
    checks.that("opens", sender.is_found_by(&mut open(&example(PROGRAM), &raw)));
    let by_default = sender.altered(PROGRAM, "SM2Engine.Mode.C1C3C2", "");
    checks.that("default_fails", fails(&mut open(&by_default, &raw), "InvalidCipherText"));
    for (name, opens) in [("SM2/C1C3C2/NoPadding", true), ("SM2", false)] {
        let by_cipher = sender.altered(PROGRAM, BY_ENGINE, &by_cipher(name));
        let opened = run_to_end(&mut open(&by_cipher, &raw), PEER_LIMIT).stdout;
        checks.that(&format!("cipher_{name}"), (opened == sender.data_key) == opens);
    }
    let der = sender.export(&DER, &sm2.file("public.pem"));
    checks.that("der_fails", fails(&mut open(&example(PROGRAM), &der), "Invalid point"));
}

#[test]
fn sm_crypto() {
    const PROGRAM: &str = "sm_crypto.js";
    let Some(peers) = installed("sm-crypto", "node") else { return };
    let node = || {
        let mut command = Command::new("node");
        command.env("NODE_PATH", peers.join("node/node_modules"));
        command
    };
    let new_pair = "const { privateKey, publicKey } = require('sm-crypto').sm2.generateKeyPairHex()
        console.log(require('sm-crypto/package.json').version, privateKey, publicKey)";
    let made = run(node().args(["-e", new_pair])).text();
    let [version, private_key, point] = made.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{made}");
    };
    let mut checks = Checks::of(format!("sm-crypto {version} (recipient)"));
    let sender = Sender::new();
    let private_key = sender.file("private.hex", private_key);
    let public_key = sender.file("public.der", unhex(&format!("{}{point}", spki_head())));
    let open = |program: &Path, exported: &Path| {
        let mut command = node();
        command.arg(program).arg(&private_key).arg(exported);
        command
    };
    let raw = sender.export_for(PROGRAM, &public_key);
    checks.that("opens", sender.is_found_by(&mut open(&example(PROGRAM), &raw)));
    let der = sender.export(&DER, &public_key);
    let torn = sender.torn(&raw, 128);
    checks.that("der_fails", fails(&mut open(&example(PROGRAM), &der), "does not open"));
    checks.that("torn_fails", fails(&mut open(&example(PROGRAM), &torn), "does not open"));

    let is_silent = |program: &Path, exported| run(&mut open(program, exported)).stdout.is_empty();
    let trusting = sender.altered(PROGRAM, "if (dataKey.length === 0)", "if (false)");
    checks.that("der_gives_nothing", is_silent(&trusting, &der));
    checks.that("torn_gives_nothing", is_silent(&trusting, &torn));
    let with_the_04 = sender.altered(PROGRAM, "exported.subarray(1)", "exported");
    checks.that("with_the_04_fails", fails(&mut open(&with_the_04, &raw), "does not open"));
}

/// The head that the README puts before a bare point, in hexadecimal.
fn spki_head() -> &'static str {
    let (_, head) = README.split_once("printf '").unwrap();
    head.split_once('%').unwrap().0
}

/// A decryption by somebody who trusts gmssl.
const GMSSL_ALONE: &str = "
import sys
from gmssl import sm2
private_key, exported = (open(name, 'rb').read() for name in sys.argv[1:])
recipient = sm2.CryptSM2(private_key=private_key.decode(), public_key='', mode=1)
sys.stdout.buffer.write(recipient.decrypt(exported))
";

#[test]
fn gmssl() {
    const PROGRAM: &str = "gmssl_sm2.py";
    let Some(peers) = installed("gmssl", "python") else { return };
    if recipient::version().is_none() {
        return;
    }
    let python = peers.join("python/bin/python");
    let mut checks = Checks::of(format!("{} (recipient)", python_package(&python, "gmssl")));
    let (sender, sm2) = (Sender::new(), Recipient::sm2());
    let pem = fs::read_to_string(sm2.file("private.pem")).unwrap();
    let private_key = sm2::SecretKey::from_pkcs8_pem(&pem).unwrap();
    let private_key = sender.file("private.hex", hex(&private_key.to_bytes()));
    let open = |program: &Path, exported: &Path| {
        let mut command = Command::new(&python);
        command.arg(program).arg(&private_key).arg(exported);
        command
    };
    let raw = sender.export_for(PROGRAM, &sm2.file("public.pem"));
    checks.that("opens", sender.is_found_by(&mut open(&example(PROGRAM), &raw)));
    let der = sender.export(&DER, &sm2.file("public.pem"));
    checks.that("der_fails", fails(&mut open(&example(PROGRAM), &der), "not a point"));
    let off_the_curve = sender.torn(&raw, 64);
    checks.that(
        "off_the_curve_fails",
        fails(&mut open(&example(PROGRAM), &off_the_curve), "not a point"),
    );
    let torn = sender.torn(&raw, 128);
    checks.that("torn_fails", fails(&mut open(&example(PROGRAM), &torn), "does not open"));

    // Without its first byte the torn file is in the form that gmssl wants.
    let torn = sender.file("torn without the 04", &fs::read(torn).unwrap()[1..]);
    for (name, file) in [("torn", &torn), ("with_the_04", &raw), ("der", &der)] {
        let mut alone = Command::new(&python);
        alone.args(["-c", GMSSL_ALONE]).arg(&private_key).arg(file);
        let opened = run(&mut alone).stdout;
        let is_wrong = !opened.is_empty() && opened != sender.data_key;
        checks.that(&format!("gmssl_alone_opens_{name}"), is_wrong);
    }
}
