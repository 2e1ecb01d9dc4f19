//! OpenSSL's command line: makes recipients' keys, opens what we wrap, and
//! wraps what we open.

use std::fs;
use std::path::Path;
use std::process::Command;

use keyferry::proto::v1::{ExportDataKeyRequest, WrappingAlgorithm, WrappingKeySpec};
use tempfile::TempDir;

use crate::harness::{Checks, Server, keyferry, on_path, run};

/// Finds the program: its version, such as "OpenSSL 3.0.19".
pub fn version() -> Option<String> {
    let said = on_path("OpenSSL", "openssl", "version")?;
    Some(said.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// A recipient whose keys OpenSSL made, in files of one folder.
pub struct Recipient {
    folder: TempDir,
}

impl Recipient {
    pub fn make(genpkey: &[&str]) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        run(Command::new("openssl")
            .arg("genpkey")
            .args(genpkey)
            .args(["-quiet", "-out"])
            .arg(this.file("private.pem")));
        for form in ["PEM", "DER"] {
            let public = this.file(&format!("public.{}", form.to_ascii_lowercase()));
            run(Command::new("openssl")
                .args(["pkey", "-pubout", "-outform", form, "-in"])
                .arg(this.file("private.pem"))
                .arg("-out")
                .arg(public));
        }
        this
    }

    /// One of whom only the public key is known, as PEM.
    pub fn known_by(public_key: &str) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(this.file("public.pem"), public_key).unwrap();
        this
    }

    pub fn rsa(bits: u16) -> Self {
        Self::make(&["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")])
    }

    pub fn sm2() -> Self {
        Self::make(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:sm2"])
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The public half, as DER.
    pub fn public_key(&self) -> Vec<u8> {
        fs::read(self.file("public.der")).unwrap()
    }

    /// What `pkeyutl -decrypt` makes of it.
    pub fn open(&self, exported: &[u8], method: &Method) -> Vec<u8> {
        self.pkeyutl("-decrypt", &["-inkey"], "private.pem", exported, method)
    }

    /// What `pkeyutl -encrypt` makes of it.
    pub fn wrap(&self, data_key: &[u8], method: &Method) -> Vec<u8> {
        self.pkeyutl("-encrypt", &["-pubin", "-inkey"], "public.pem", data_key, method)
    }

    fn pkeyutl(&self, act: &str, with: &[&str], key: &str, on: &[u8], by: &Method) -> Vec<u8> {
        let [input, output] = ["in", "out"].map(|name| self.file(name));
        fs::write(&input, on).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", act]).args(with).arg(self.file(key)).args(by.pkeyopts());
        run(openssl.arg("-in").arg(input).arg("-out").arg(&output));
        fs::read(output).unwrap()
    }

    /// What `keyferry data-key unwrap` makes of it.
    pub fn open_by_keyferry(&self, exported: &[u8], algorithm: &str) -> Vec<u8> {
        unwrap_by_keyferry(&self.file("private.pem"), exported, algorithm)
    }
}

/// What `keyferry data-key unwrap` makes of an exported data key.
pub fn unwrap_by_keyferry(private_key: &Path, exported: &[u8], algorithm: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["exported", "data.key"].map(|name| folder.path().join(name));
    fs::write(&input, exported).unwrap();
    let mut unwrap = keyferry();
    unwrap.args(["data-key", "unwrap", "--algorithm", algorithm, "--private-key"]);
    run(unwrap.arg(private_key).arg("--in").arg(input).arg("--out").arg(&output));
    fs::read(output).unwrap()
}

/// A wrapping algorithm, and its name for OpenSSL.
pub struct Method {
    pub algorithm: &'static str,
    digest: Option<&'static str>,
}

pub const OAEP_SHA_256: Method = Method { algorithm: "RSAES_OAEP_SHA_256", digest: Some("sha256") };
pub const OAEP_SHA_1: Method = Method { algorithm: "RSAES_OAEP_SHA_1", digest: Some("sha1") };
pub const SM2PKE: Method = Method { algorithm: "SM2PKE", digest: None };

impl Method {
    fn pkeyopts(&self) -> Vec<String> {
        let Some(digest) = self.digest else { return Vec::new() };
        let options = [
            "rsa_padding_mode:oaep".to_owned(),
            format!("rsa_oaep_md:{digest}"),
            format!("rsa_mgf1_md:{digest}"),
        ];
        options.into_iter().flat_map(|option| ["-pkeyopt".to_owned(), option]).collect()
    }
}

/// Generates and exports from the command line, opens with OpenSSL, and
/// compares with what Decrypt answers.
fn carry(server: &Server, recipient: &Recipient, method: &Method, bytes: u32, form: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let [blob, exported] = ["blob", "exported"].map(|name| folder.path().join(name));
    let mut caller = server.caller();
    let key = caller.create_key();
    run(server
        .client()
        .args(["data-key", "generate", "--key", &key, "--bytes", &bytes.to_string(), "--out"])
        .arg(&blob));
    run(server
        .client()
        .args(["data-key", "export", "--algorithm", method.algorithm, "--in"])
        .arg(&blob)
        .arg("--public-key")
        .arg(recipient.file(form))
        .arg("--out")
        .arg(&exported));
    let data_key = recipient.open(&fs::read(exported).unwrap(), method);
    data_key.len() == bytes as usize && data_key == caller.decrypt(&fs::read(blob).unwrap())
}

/// DER drops leading zeros and adds one before a high bit: enough exports of one
/// data key that every length of x and y comes up.
fn many_open(server: &Server, recipient: &Recipient) -> bool {
    let mut caller = server.caller();
    let key = caller.create_key();
    let blob = caller.generate(&key, 32);
    let data_key = caller.decrypt(&blob);
    (0..200).all(|_| {
        let exported = caller.export(ExportDataKeyRequest {
            ciphertext_blob: blob.clone(),
            public_key_blob: recipient.public_key(),
            wrapping_algorithm: WrappingAlgorithm::Sm2pke.into(),
            wrapping_key_spec: WrappingKeySpec::EcSm2.into(),
            ..Default::default()
        });
        recipient.open(&exported, &SM2PKE) == data_key
    })
}

#[test]
fn openssl_opens_what_we_wrap() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl -decrypt"));
    let server = Server::dev();
    let rsa = Recipient::rsa(2048);
    for form in ["public.pem", "public.der"] {
        checks.that(&format!("rsa_sha_256_{form}"), carry(&server, &rsa, &OAEP_SHA_256, 32, form));
        checks.that(&format!("rsa_sha_1_{form}"), carry(&server, &rsa, &OAEP_SHA_1, 32, form));
    }
    checks.that("rsa_sha_256_longest", carry(&server, &rsa, &OAEP_SHA_256, 190, "public.der"));
    checks.that("rsa_sha_1_longest", carry(&server, &rsa, &OAEP_SHA_1, 214, "public.der"));
    for (bits, longest) in [(3072, 318), (4096, 446)] {
        let recipient = Recipient::rsa(bits);
        let carried = carry(&server, &recipient, &OAEP_SHA_256, longest, "public.pem");
        checks.that(&format!("rsa_{bits}"), carried);
    }
    let sm2 = Recipient::sm2();
    for bytes in [1, 16, 32, 33, 1024] {
        let carried = carry(&server, &sm2, &SM2PKE, bytes, "public.pem");
        checks.that(&format!("sm2_der_{bytes}"), carried);
    }
    checks.that("sm2_der_many_times", many_open(&server, &sm2));
    let named = Recipient::make(&["-algorithm", "SM2"]);
    checks.that("sm2_der_of_a_key_by_name", carry(&server, &named, &SM2PKE, 32, "public.der"));
}

#[test]
fn we_open_what_openssl_wraps() {
    let Some(version) = version() else { return };
    let mut checks = Checks::of(format!("{version} pkeyutl -encrypt"));
    let (rsa, sm2) = (Recipient::rsa(2048), Recipient::sm2());
    let data_key: Vec<u8> = (0..200).collect();
    let sizes = [(&rsa, &OAEP_SHA_256, 190), (&rsa, &OAEP_SHA_1, 200), (&sm2, &SM2PKE, 200)];
    for (recipient, method, longest) in sizes {
        for bytes in [1, 32, longest] {
            let data_key = &data_key[..bytes];
            let wrapped = recipient.wrap(data_key, method);
            let opened = recipient.open_by_keyferry(&wrapped, method.algorithm);
            checks.that(&format!("{}_{bytes}", method.algorithm), opened == data_key);
        }
    }
}
