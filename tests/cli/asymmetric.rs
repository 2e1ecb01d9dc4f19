//! `keyferry asymmetric …`, `key public-key` and `data-key import`: key pairs of
//! the server, by the real program against itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::{Server, file, keyferry, run, words};

/// A key pair of the server, and options that name its version.
struct Pair {
    key: String,
    version: String,
    named: String,
}

fn pair(server: &Server, spec: &str, usage: &str) -> Pair {
    let line = format!("key create --key-spec {spec} --key-usage {usage} --json");
    let made = server.client(&line).done().json();
    let key = made["key_metadata"]["key_id"].as_str().unwrap().to_owned();
    let listed = server.client(&format!("key versions --key {key} --json")).done().json();
    let version = listed["key_versions"][0]["key_version_id"].as_str().unwrap().to_owned();
    let named = format!("--key {key} --key-version {version}");
    Pair { key, version, named }
}

fn mode(server: &Server, name: &str) -> u32 {
    fs::metadata(server.path(name)).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_pair_encrypts_and_decrypts() {
    let server = Server::dev();
    fs::write(server.path("plain"), "the secret").unwrap();
    for (spec, option) in [
        ("RSA_2048", ""),
        ("RSA_2048", "--algorithm rsaes_oaep_sha_1"),
        ("EC_SM2", ""),
        ("EC_SM2", "--algorithm SM2PKE"),
    ] {
        let Pair { key, version, named } = pair(&server, spec, "ENCRYPT/DECRYPT");
        let encrypt = format!("asymmetric encrypt {named} {option} --in plain --out cipher");
        let told = server.client(&encrypt).done().text();
        assert!(told.contains(&key) && told.contains(&version), "{told}");
        let decrypt = format!("asymmetric decrypt {named} {option} --in cipher");
        server.client(&format!("{decrypt} --out opened --force")).done();
        assert_eq!(server.read("opened"), b"the secret", "{spec} {option}");
        assert_eq!(mode(&server, "opened"), 0o600);
        server
            .client(&format!("{decrypt} --out opened"))
            .failed(73, &["already exists and may hold another key"]);
        let piped = server.client(&format!("{decrypt} --out -")).done();
        assert_eq!(piped.stdout, b"the secret");
        assert!(piped.stderr.contains("10 bytes in standard output"), "{piped:?}");

        // The content is in one place only.
        let json = server.client(&format!("{decrypt} --json")).done().json();
        assert_eq!(json["plaintext"], STANDARD.encode("the secret"));
        let json = server.client(&format!("{decrypt} --json --out opened --force")).done().json();
        assert_eq!(
            (json["plaintext"].as_str(), json["key_id"].as_str()),
            (Some(""), Some(key.as_str()))
        );

        let mut broken = server.read("cipher");
        broken[40] ^= 1;
        fs::write(server.path("broken"), broken).unwrap();
        server
            .client(&format!("asymmetric decrypt {named} {option} --in broken --out other"))
            .failed(1, &["does not open", "--algorithm", "InvalidParameter"]);
        assert!(!server.path("other").exists());
        for line in [format!("{encrypt} --dry-run"), format!("{decrypt} --dry-run")] {
            let told = server.client(&line).done().text();
            assert!(told.contains("would have worked"), "{line}: {told}");
        }
    }
}

#[test]
fn sm2_ciphertext_has_two_layouts() {
    let server = Server::dev();
    fs::write(server.path("plain"), "the secret").unwrap();
    let Pair { named, .. } = pair(&server, "EC_SM2", "ENCRYPT/DECRYPT");
    for (encoding, first) in [("asn1-der", 0x30), ("raw-c1c3c2", 0x04)] {
        server
            .client(&format!(
                "asymmetric encrypt {named} --sm2-encoding {encoding} --in plain --out cipher"
            ))
            .done();
        assert_eq!(server.read("cipher")[0], first);
        server
            .client(&format!("asymmetric decrypt {named} --in cipher --out opened --force"))
            .done();
        assert_eq!(server.read("opened"), b"the secret");
    }
}

#[test]
fn a_key_pair_signs_and_verifies() {
    let server = Server::dev();
    fs::write(server.path("digest"), [7; 32]).unwrap();
    fs::write(server.path("another"), [8; 32]).unwrap();
    for (spec, option) in [
        ("RSA_2048", ""),
        ("RSA_2048", "--algorithm RSA_PKCS1_SHA_256"),
        ("EC_P256", ""),
        ("EC_P256K", "--algorithm ecdsa_sha_256"),
        ("EC_SM2", ""),
    ] {
        let Pair { named, .. } = pair(&server, spec, "SIGN/VERIFY");
        let sign = format!("asymmetric sign {named} {option} --digest digest --out signature");
        server.client(&sign).done();
        let verify = format!("asymmetric verify {named} {option} --signature signature --digest");
        let told = server.client(&format!("{verify} digest")).done().text();
        assert_eq!(told, "The signature is valid.\n", "{spec} {option}");
        let wrong = server.client(&format!("{verify} another"));
        wrong.failed(1, &["error: The signature in signature is not valid.", "help: "]);
        assert!(wrong.stdout.is_empty());
        let wrong = server.client(&format!("{verify} another --json"));
        wrong.failed(1, &["\"exit_code\":1"]);
        assert_eq!(wrong.json()["value"], false);
        assert_eq!(server.client(&format!("{verify} digest --json")).done().json()["value"], true);
        for line in [format!("{sign} --dry-run"), format!("{verify} digest --dry-run")] {
            let told = server.client(&line).done().text();
            assert!(told.contains("would have worked"), "{line}: {told}");
        }
    }
}

#[test]
fn a_key_does_what_it_is_for_and_no_more() {
    let server = Server::dev();
    fs::write(server.path("bytes"), [7; 32]).unwrap();
    let key = server.create_key();
    server
        .client(&format!("asymmetric sign --key {key} --key-version {key} --digest bytes --out s"))
        .failed(1, &["Aliyun_AES_256, which has no algorithm for this", "key create --help"]);
    let signer = pair(&server, "RSA_2048", "SIGN/VERIFY");
    server
        .client(&format!("asymmetric encrypt {} --in bytes --out c", signer.named))
        .failed(1, &["UnsupportedOperation", "keyferry key describe --key"]);
    server
        .client(&format!(
            "asymmetric sign {} --algorithm SM2DSA --digest bytes --out s",
            signer.named
        ))
        .failed(1, &["algorithm", "Leave --algorithm out"]);
    let other = pair(&server, "EC_P256", "SIGN/VERIFY");
    server
        .client(&format!(
            "asymmetric sign --key {} --key-version {} --digest bytes --out s",
            signer.key, other.version
        ))
        .failed(1, &["Forbidden.KeyVersionNotFound", "keyferry key versions --key"]);
    server
        .client(&format!(
            "asymmetric sign --key {} --key-version none --digest bytes --out s",
            signer.key
        ))
        .failed(1, &["Forbidden.KeyVersionNotFound"]);
    server
        .client(&format!("key rotate --key {}", signer.key))
        .failed(1, &["7 days apart", "Rejected.UnsupportedOperation"]);
}

#[test]
fn a_public_key_is_pem_in_a_file_or_on_the_screen() {
    let server = Server::dev();
    for (spec, usage, found) in
        [("RSA_3072", "ENCRYPT/DECRYPT", "RSA_3072"), ("EC_SM2", "ENCRYPT/DECRYPT", "EC_SM2")]
    {
        let Pair { named, .. } = pair(&server, spec, usage);
        let told = server.client(&format!("key public-key {named} --out public.pem")).done().text();
        assert!(told.contains("bytes in public.pem"), "{told}");
        let shown =
            run(keyferry(words("recipient show public.pem")).current_dir(server.folder.path()));
        assert!(shown.done().text().contains(found));
        let piped = server.client(&format!("key public-key {named} --out -")).done();
        assert_eq!(piped.stdout, server.read("public.pem"));
        let json = server.client(&format!("key public-key {named} --json")).done().json();
        assert_eq!(json["public_key"].as_str().unwrap().as_bytes(), server.read("public.pem"));
    }
}

/// The border: exported by one server to a key pair of another, and imported
/// there.
#[test]
fn a_data_key_crosses_from_one_server_to_another() {
    let (here, there) = (Server::dev(), Server::dev());
    let key = here.create_key();
    here.client(&format!("data-key generate --key {key} --context tenant=a --out blob")).done();
    let destination = there.create_key();
    for (spec, option) in
        [("RSA_2048", ""), ("RSA_2048", "--algorithm RSAES_OAEP_SHA_1"), ("EC_SM2", "")]
    {
        let Pair { key: source, version, named } = pair(&there, spec, "ENCRYPT/DECRYPT");
        there.client(&format!("key public-key {named} --out public.pem")).done();
        fs::copy(there.path("public.pem"), here.path("public.pem")).unwrap();
        here.client(&format!("data-key export --in blob --public-key public.pem {option} --context tenant=a --out exported"))
            .done();
        fs::copy(here.path("exported"), there.path("exported")).unwrap();
        let import = format!(
            "data-key import --in exported --source-key {source} --source-key-version {version} {option} --key {destination} --context tenant=b --out imported"
        );
        let told = there.client(&import).done().text();
        assert!(told.contains(&format!("source_key_id          {source}")), "{told}");
        assert!(told.contains("142 bytes in imported"), "{told}");
        assert!(there.client(&format!("{import} --dry-run")).done().text().contains("would have"));

        // Both sides hold the same data key.
        let recipient = file("sm2.public.pem");
        let private_key = file("sm2.private.pem");
        for (server, blob, tenant) in [(&here, "blob", "a"), (&there, "imported", "b")] {
            server
                .client(&format!("data-key export --in {blob} --public-key {recipient} --context tenant={tenant} --out out"))
                .done();
            server
                .client(&format!(
                    "data-key unwrap --in out --private-key {private_key} --out key --force"
                ))
                .done();
        }
        assert_eq!(here.read("key"), there.read("key"), "{spec} {option}");

        there
            .client(&import.replace("--in exported", "--in imported"))
            .failed(1, &["InvalidParameter", "--algorithm"]);
    }
    there
        .client(&format!("data-key import --in exported --source-key {destination} --source-key-version {destination} --key {destination} --out x"))
        .failed(1, &["Aliyun_AES_256, which has no algorithm for this"]);
}
