//! The programs of `examples/receipts`, run as they stand: each verifies the receipt of
//! a real server, and refuses what an attacker would give it in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::support::harness::{
    Checks, PEER_LIMIT, Server, checkout, installed, on_path, run, run_to_end,
};

const README: &str = include_str!("../../../examples/receipts/README.md");
const TYPE: &str = "keyferry-export-receipt+jws";

fn example(name: &str) -> PathBuf {
    checkout().join("examples/receipts").join(name)
}

#[test]
fn the_readme_has_a_row_for_each_program() {
    let folder = fs::read_dir(example("")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for program in names.filter(|name| name != "README.md") {
        assert!(README.contains(&format!("[`{program}`]({program})")), "no row: {program}");
    }
}

#[test]
fn the_front_page_shows_the_program_for_pyjwt() {
    let shown = format!("```python\n{}```\n", include_str!("../../../examples/receipts/pyjwt.py"));
    assert!(include_str!("../../../README.md").contains(&shown));
}

/// What a recipient has: an export with its receipt, of a real server.
struct Delivery {
    folder: TempDir,
    issuer: String,
    receipt: String,
    jwks: Value,
}

impl Delivery {
    fn new() -> Self {
        let (server, folder) = (Server::dev(), tempfile::tempdir().unwrap());
        let mut caller = server.caller();
        let key = caller.create_key();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("blob"), caller.generate(&key, 32)).unwrap();
        let recipient = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).unwrap();
        fs::write(path("public.der"), recipient.public_key_der()).unwrap();
        let mut export = server.client();
        export.args(["data-key", "export", "--in"]).arg(path("blob"));
        export.arg("--public-key").arg(path("public.der"));
        export.arg("--out").arg(path("exported")).arg("--receipt").arg(path("receipt"));
        run(&mut export);
        run(server.client().args(["receipt", "keys", "--out"]).arg(path("keys.jwks")));
        let jwks: Value = serde_json::from_slice(&fs::read(path("keys.jwks")).unwrap()).unwrap();
        let receipt = fs::read_to_string(path("receipt")).unwrap().trim().to_owned();
        let issuer = jwks["kf_issuer"].as_str().unwrap().to_owned();
        Self { folder, issuer, receipt, jwks }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn claims(&self) -> Value {
        let body = self.receipt.split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
    }
}

/// A key of the test's own, so that it can sign what no server would.
struct Forger {
    pair: EcdsaKeyPair,
    jwk: Value,
}

impl Forger {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let [_, point @ ..] = pair.public_key().as_ref() else { panic!("a point") };
        let [x, y] = [&point[..32], &point[32..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(members));
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig",
        });
        Self { pair, jwk }
    }

    fn header(&self) -> Value {
        json!({"alg": "ES256", "typ": TYPE, "kid": self.jwk["kid"]})
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let signing = signing(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signing.as_bytes()).unwrap();
        format!("{signing}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// HS256 with what everybody knows as the secret.
    fn by_hmac(&self, secret: &[u8], claims: &Value) -> String {
        let mut header = self.header();
        header["alg"] = "HS256".into();
        let signing = signing(&header, claims);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signing.as_bytes());
        format!("{signing}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// The public key in the forms in which a confused library might take it for a secret.
    fn secrets(&self) -> [Vec<u8>; 4] {
        let point = self.pair.public_key().as_ref().to_vec();
        let head =
            base16ct::lower::decode_vec("3059301306072a8648ce3d020106082a8648ce3d030107034200");
        let der = [head.unwrap(), point.clone()].concat();
        let pem = der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, &der).unwrap();
        [point, der, pem.into_bytes(), self.jwk.to_string().into_bytes()]
    }
}

fn signing(header: &Value, claims: &Value) -> String {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

/// Tries a program: given the files of a receipt, an export, a public key and the keys,
/// it must accept the one and refuse all others.
fn try_program(mut checks: Checks, program: impl Fn() -> Command) {
    let sent = Delivery::new();
    let accepts = |receipt: &Path, exported: &str, public: &str, keys: &Path| {
        let mut command = program();
        command.arg(receipt).arg(sent.path(exported)).arg(sent.path(public)).arg(keys);
        let finished = run_to_end(&mut command, PEER_LIMIT);
        let told = String::from_utf8_lossy(&finished.stdout).contains(&sent.issuer);
        assert_eq!(finished.success, told, "{}", String::from_utf8_lossy(&finished.stderr));
        told
    };
    let keys = sent.path("keys.jwks");
    let judged =
        |receipt: &str| accepts(&sent.file("try", receipt), "exported", "public.der", &keys);
    checks.that("verifies", judged(&sent.receipt));
    checks.that("verifies_a_line", judged(&format!("{}\n", sent.receipt)));
    let receipt = sent.file("try", &sent.receipt);
    let mut other = fs::read(sent.path("exported")).unwrap();
    other[7] ^= 1;
    sent.file("other", &other);
    checks.that("other_bytes_refused", !accepts(&receipt, "other", "public.der", &keys));
    checks.that("other_recipient_refused", !accepts(&receipt, "exported", "other", &keys));
    let [head, _, signature] = sent.receipt.split('.').collect::<Vec<_>>().try_into().unwrap();
    for claim in ["exported_sha256", "recipient_sha256", "key_id", "iat", "blob_kind"] {
        let mut altered = sent.claims();
        altered[claim] = match &altered[claim] {
            Value::Number(_) => json!(1),
            _ => json!("x"),
        };
        let altered = URL_SAFE_NO_PAD.encode(altered.to_string());
        let altered = format!("{head}.{altered}.{signature}");
        checks.that(&format!("altered_{claim}_refused"), !judged(&altered));
    }
    // Altered so that what was delivered would fit it.
    let mut fitting = sent.claims();
    fitting["exported_sha256"] = base16ct::lower::encode_string(&Sha256::digest(&other)).into();
    let fitting = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(fitting.to_string()));
    let fitting = sent.file("try", fitting);
    checks.that("fitted_refused", !accepts(&fitting, "other", "public.der", &keys));
    try_forgeries(&mut checks, &sent, &accepts);
}

fn try_forgeries(
    checks: &mut Checks,
    sent: &Delivery,
    accepts: &impl Fn(&Path, &str, &str, &Path) -> bool,
) {
    let (forger, claims) = (Forger::new(), sent.claims());
    let trusted = json!({"keys": [forger.jwk], "kf_issuer": sent.issuer});
    let trusted = sent.file("forger.jwks", trusted.to_string());
    let judged =
        |receipt: String| accepts(&sent.file("try", receipt), "exported", "public.der", &trusted);
    // The control: what follows is refused for the one thing that it has wrong.
    checks.that("control_verifies", judged(forger.signed(&forger.header(), &claims)));
    let unknown = accepts(&sent.file("try", &sent.receipt), "exported", "public.der", &trusted);
    checks.that("unknown_kid_refused", !unknown);
    for (name, member, value) in [
        ("other_typ", "typ", json!("JWT")),
        ("no_typ", "typ", Value::Null),
        ("other_kid", "kid", sent.jwks["keys"][0]["kid"].clone()),
        ("none_signed", "alg", json!("none")),
        ("es384", "alg", json!("ES384")),
    ] {
        let mut header = forger.header();
        header[member] = value;
        if header[member].is_null() {
            header.as_object_mut().unwrap().remove(member);
        }
        checks.that(&format!("{name}_refused"), !judged(forger.signed(&header, &claims)));
    }
    let none = json!({"alg": "none", "typ": TYPE, "kid": forger.jwk["kid"]});
    checks.that("alg_none_refused", !judged(format!("{}.", signing(&none, &claims))));
    let unsigned = format!("{}.", signing(&forger.header(), &claims));
    checks.that("unsigned_refused", !judged(unsigned));
    for (at, secret) in forger.secrets().iter().enumerate() {
        let refused = !judged(forger.by_hmac(secret, &claims));
        checks.that(&format!("public_key_as_secret_{at}_refused"), refused);
    }
    let mut elsewhere = claims;
    elsewhere["iss"] = "0198c0de-0000-7000-8000-000000000001".into();
    let elsewhere = forger.signed(&forger.header(), &elsewhere);
    checks.that("other_issuer_refused", !judged(elsewhere));
}

/// The version of a Python package among the peers.
fn python_package(python: &Path, name: &str) -> String {
    let ask = format!("from importlib.metadata import version; print(version({name:?}))");
    format!("{name} {}", run(Command::new(python).args(["-c", &ask])).text().trim())
}

fn try_python(package: &str, program: &str) {
    let Some(peers) = installed(package, "receipts_python") else { return };
    let python = peers.join("receipts_python/bin/python");
    let checks = Checks::of(python_package(&python, package));
    try_program(checks, || {
        let mut command = Command::new(&python);
        command.arg(example(program));
        command
    });
}

#[test]
fn pyjwt() {
    try_python("PyJWT", "pyjwt.py");
}

#[test]
fn joserfc() {
    try_python("joserfc", "joserfc_jws.py");
}

#[test]
fn go_jose() {
    let Some(peers) = installed("go-jose", "receipts_go") else { return };
    let go_mod = include_str!("receipts/go/go.mod");
    let version = go_mod.lines().find_map(|line| line.strip_prefix("require ")).unwrap();
    try_program(Checks::of(version), || Command::new(peers.join("bin/receipt")));
}

#[test]
fn nimbus() {
    let Some(peers) = installed("Nimbus JOSE + JWT", "receipts_java") else { return };
    if on_path("Java", "java", "-version").is_none() {
        return;
    }
    let jars = peers.join("receipts_java/lib");
    let names = fs::read_dir(&jars).unwrap();
    let mut names = names.map(|jar| jar.unwrap().file_name().into_string().unwrap());
    let name = names.find(|name| name.starts_with("nimbus-jose-jwt")).unwrap();
    try_program(Checks::of(name.trim_end_matches(".jar")), || {
        let mut command = Command::new("java");
        command.arg("-cp").arg(format!("{}/*", jars.display())).arg(example("Nimbus.java"));
        command
    });
}

#[test]
fn jose() {
    let Some(peers) = installed("jose", "receipts_node") else { return };
    let modules = peers.join("receipts_node/node_modules");
    let package = fs::read_to_string(modules.join("jose/package.json")).unwrap();
    let package: Value = serde_json::from_str(&package).unwrap();
    let checks = Checks::of(format!("jose {}", package["version"].as_str().unwrap()));
    // Modules are looked for beside the program alone.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(example("jose.mjs"), folder.path().join("jose.mjs")).unwrap();
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    try_program(checks, || {
        let mut command = Command::new("node");
        command.arg(folder.path().join("jose.mjs"));
        command
    });
}
