//! Recipients whose keys OpenSSL makes and uses.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::harness::{keyferry, on_path, run};

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

    /// Decrypts by `pkeyutl -decrypt`.
    pub fn open(&self, exported: &[u8], method: &Method) -> Vec<u8> {
        self.pkeyutl("-decrypt", &["-inkey"], "private.pem", exported, method)
    }

    /// Encrypts by `pkeyutl -encrypt`.
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

    /// Unwraps by `keyferry data-key unwrap`.
    pub fn open_by_keyferry(&self, exported: &[u8], algorithm: &str) -> Vec<u8> {
        unwrap_by_keyferry(&self.file("private.pem"), exported, algorithm)
    }
}

/// Unwraps an exported data key by `keyferry data-key unwrap`.
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
#[derive(Clone, Copy)]
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
