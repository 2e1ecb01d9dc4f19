//! A cryptographic module: the recipient's RSA key is made in a PKCS#11 token
//! and never leaves it; the exported data key is unwrapped in there and used
//! in there.
//!
//! Debian's SoftHSM 2.6.1 knows OAEP with SHA-1 only, and may crash when its
//! process ends: the test runs itself again in a child process, and believes
//! what that one said before its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use keyferry::proto::v1::{ExportDataKeyRequest, WrappingAlgorithm, WrappingKeySpec};
use rsa::pkcs8::EncodePublicKey;
use rsa::{BoxedUint, PublicKey};

use crate::support::harness::{Caller, Checks, PEER_LIMIT, Server, found, run_to_end};

/// Where Debian's package puts it.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A configuration whose tokens are in this folder: the value of `SOFTHSM2_CONF`.
pub fn configure(folder: &Path) -> PathBuf {
    let [configuration, tokens] = ["softhsm2.conf", "tokens"].map(|name| folder.join(name));
    fs::create_dir(&tokens).unwrap();
    fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    configuration
}

#[test]
fn the_data_key_is_used_inside_a_token() {
    if let Some(folder) = token_folder() {
        return inside(&folder);
    }
    if !found("SoftHSM2", Path::new(MODULE).exists()) {
        return;
    }
    let server = Server::dev();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("address"), &server.address).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "interop::softhsm::the_data_key_is_used_inside_a_token", "--nocapture"]);
    let configuration = configure(folder.path());
    let finished = run_to_end(child.env("SOFTHSM2_CONF", configuration), PEER_LIMIT);
    let printed = finished.text();
    let Some(closing) = printed.lines().find(|line| line.starts_with("peer ")) else {
        panic!("{printed}\n{}", String::from_utf8_lossy(&finished.stderr));
    };
    println!("{closing}");
}

/// In the child: the folder that its parent made for the token.
#[expect(clippy::disallowed_methods, reason = "SoftHSM is told so by its environment alone")]
fn token_folder() -> Option<PathBuf> {
    Some(Path::new(&std::env::var_os("SOFTHSM2_CONF")?).parent()?.to_owned())
}

/// Everything in the token dies with its session or is hidden for good.
fn inside(folder: &Path) {
    let module = Pkcs11::new(MODULE).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let version = module.get_library_info().unwrap().library_version();
    let mut checks = Checks::of(format!("SoftHSM {version} by PKCS#11"));
    let session = new_token(&module);
    let (public, private) = make_pair(&session);
    checks.that("private_key_stays", is_hidden(&session, private, AttributeType::PrivateExponent));

    let mut caller = Caller::of(&fs::read_to_string(folder.join("address")).unwrap());
    let key = caller.create_key();
    let blob = caller.generate(&key, 32);
    let exported = caller.export(to_token(&session, public, &blob));
    checks.that("exported_is_one_modulus_long", exported.len() == 256);

    // Another holder of the data key encrypts; the token decrypts.
    let nonce = [7; 12];
    let sealed = Aes256Gcm::new_from_slice(&caller.decrypt(&blob))
        .unwrap()
        .encrypt(&Nonce::from(nonce), b"to the other side".as_slice())
        .unwrap();
    let data_key = unwrap(&session, private, &exported).unwrap();
    checks.that("data_key_stays", is_hidden(&session, data_key, AttributeType::Value));
    checks.that("data_key_works", open(&session, data_key, nonce, &sealed) == b"to the other side");

    let mut torn = exported.clone();
    torn[255] ^= 1;
    checks.that("torn_export_is_refused", unwrap(&session, private, &torn).is_err());
}

/// A new token, and a user's session with it.
fn new_token(module: &Pkcs11) -> Session {
    let slot = module.get_slots_with_token().unwrap()[0];
    let [officer, user] = ["1234567890", "0987654321"].map(|pin| AuthPin::new(pin.into()));
    module.init_token(slot, &officer, "recipient").unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&officer)).unwrap();
    session.init_pin(&user).unwrap();
    session.logout().unwrap();
    session.login(UserType::User, Some(&user)).unwrap();
    session
}

/// The recipient's key pair: the private half unwraps, and is never shown.
fn make_pair(session: &Session) -> (ObjectHandle, ObjectHandle) {
    let public = [
        Attribute::Token(true),
        Attribute::ModulusBits(2048.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Unwrap(true),
        Attribute::Decrypt(false),
    ];
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private).unwrap()
}

/// The request that exports a blob to the token's public key.
fn to_token(session: &Session, public: ObjectHandle, blob: &[u8]) -> ExportDataKeyRequest {
    let parts = [AttributeType::Modulus, AttributeType::PublicExponent];
    let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
    for attribute in session.get_attributes(public, &parts).unwrap() {
        match attribute {
            Attribute::Modulus(bytes) => modulus = bytes,
            Attribute::PublicExponent(bytes) => exponent = bytes,
            other => panic!("not asked for: {other:?}"),
        }
    }
    let [n, e] = [modulus, exponent].map(|bytes| BoxedUint::from_be_slice_vartime(&bytes));
    ExportDataKeyRequest {
        ciphertext_blob: blob.to_vec(),
        public_key_blob: PublicKey::new(n, e).unwrap().to_public_key_der().unwrap().into_vec(),
        wrapping_algorithm: WrappingAlgorithm::RsaesOaepSha1.into(),
        wrapping_key_spec: WrappingKeySpec::Rsa2048.into(),
        ..Default::default()
    }
}

/// `C_UnwrapKey`: the data key becomes an AES key of the token, never shown.
fn unwrap(
    session: &Session,
    private: ObjectHandle,
    exported: &[u8],
) -> cryptoki::error::Result<ObjectHandle> {
    let oaep =
        PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty());
    let data_key = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
    ];
    session.unwrap_key(&Mechanism::RsaPkcsOaep(oaep), private, exported, &data_key)
}

/// AES-GCM with that key, in the token.
fn open(session: &Session, key: ObjectHandle, mut nonce: [u8; 12], sealed: &[u8]) -> Vec<u8> {
    let gcm = GcmParams::new(&mut nonce, &[], 128.into()).unwrap();
    session.decrypt(&Mechanism::AesGcm(gcm), key, sealed).unwrap()
}

/// Whether the token keeps this attribute to itself.
fn is_hidden(session: &Session, object: ObjectHandle, attribute: AttributeType) -> bool {
    session.get_attributes(object, &[attribute]).unwrap().is_empty()
}
