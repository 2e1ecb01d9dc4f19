//! Commands that talk to a server: the real program, against itself.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::Value;

use crate::command::{Server, file, keyferry, permit_everything, run, words};
use crate::support::certificates::put_private;

#[test]
fn a_data_key_goes_the_whole_way_in_files() {
    let server = Server::dev();
    let key = server.create_key();
    server.client(&format!("alias create alias/orders --key {key}")).done();
    let context = "--context tenant=a=b --context purpose=test";
    let made = server
        .client(&format!("data-key generate --key alias/orders --bytes 24 {context} --out blob"))
        .done();
    assert!(made.text().contains("134 bytes in blob"), "{made:?}");
    assert_eq!(server.read("blob").len(), 134);

    for (recipient, options) in [
        ("rsa_2048", ""),
        ("rsa_2048", "--algorithm RSAES_OAEP_SHA_1"),
        ("sm2", ""),
        ("sm2", "--sm2-encoding raw-c1c3c2"),
    ] {
        let public_key = file(&format!("{recipient}.public.pem"));
        server
            .client(&format!("data-key export --in blob --public-key {public_key} --context purpose=test --context tenant=a=b {options} --out exported"))
            .done();
        let private_key = file(&format!("{recipient}.private.pem"));
        let algorithm = if options.contains("algorithm") { options } else { "" };
        server
            .client(&format!("data-key unwrap --in exported --private-key {private_key} {algorithm} --out {recipient}.key --force"))
            .done();
        assert_eq!(server.read(&format!("{recipient}.key")).len(), 24, "{recipient} {options}");
        let permissions =
            fs::metadata(server.path(&format!("{recipient}.key"))).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, 0o600);
    }
    assert_eq!(server.read("rsa_2048.key"), server.read("sm2.key"));
    let raw = server.read("exported");
    assert_eq!((raw[0], raw.len()), (0x04, 97 + 24), "the last one was raw");
}

#[test]
fn a_data_key_is_made_for_a_recipient_at_once_or_to_be_seen() {
    let server = Server::dev();
    let key = server.create_key();
    let generate = format!("data-key generate --key {key} --context a=1 --out blob");
    let public_key = file("sm2.public.pem");
    let told = server
        .client(&format!("{generate} --bytes 24 --public-key {public_key} --exported-out exported"))
        .done()
        .text();
    assert!(told.contains("134 bytes in blob") && told.contains("bytes in exported"), "{told}");
    let private_key = file("sm2.private.pem");
    server
        .client(&format!("data-key unwrap --in exported --private-key {private_key} --out key"))
        .done();
    let decrypt = "symmetric decrypt --in blob --context a=1 --out opened --force";
    server.client(decrypt).done();
    assert_eq!(server.read("key"), server.read("opened"));
    let json = server.client(&format!("{generate} --public-key {public_key} --json")).done().json();
    assert!(!json["exported_data_key"].as_str().unwrap().is_empty());

    let seen = format!("{generate} --plaintext-out seen");
    let told = server.client(&seen).done().text();
    assert!(told.contains("32 bytes in seen"), "{told}");
    let mode = fs::metadata(server.path("seen")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.client(decrypt).done();
    assert_eq!(server.read("seen"), server.read("opened"));
    server.client(&seen).failed(73, &["already exists and may hold another key"]);
    let json = server.client(&format!("{seen} --force --json")).done().json();
    assert_eq!(json["plaintext"], "", "it is in one place only");
    let piped = server.client(&format!("{generate} --plaintext-out -")).done();
    assert_eq!(piped.stdout.len(), 32);
    for line in [format!("{seen} --force"), format!("{generate} --public-key {public_key}")] {
        let told = server.client(&format!("{line} --dry-run")).done().text();
        assert!(told.contains("would have worked"), "{line}: {told}");
    }
}

#[test]
fn small_pieces_of_data_are_encrypted_and_decrypted() {
    let server = Server::dev();
    let key = server.create_key();
    fs::write(server.path("plain"), "the secret").unwrap();
    let encrypt = format!("symmetric encrypt --key {key} --context a=1 --in plain --out blob");
    let told = server.client(&encrypt).done().text();
    assert!(told.contains(&key) && told.contains("120 bytes in blob"), "{told}");
    let decrypt = "symmetric decrypt --in blob --context a=1";
    let told = server.client(&format!("{decrypt} --out opened")).done().text();
    assert!(told.contains("10 bytes in opened"), "{told}");
    assert_eq!(server.read("opened"), b"the secret");
    let json = server.client(&format!("{decrypt} --json")).done().json();
    assert_eq!(json["plaintext"], STANDARD.encode("the secret"));
    assert_eq!(server.client(&format!("{decrypt} --out -")).done().stdout, b"the secret");
    server
        .client("symmetric decrypt --in blob --out other")
        .failed(1, &["does not open", "--context"]);
    fs::write(server.path("plain"), [7; 6145]).unwrap();
    server.client(&encrypt).failed(1, &["6144", "help: "]);
    server.client(&format!("{decrypt} --out opened --dry-run --force")).done();
}

#[test]
fn raw_bytes_go_through_pipes_and_base64_into_json() {
    let server = Server::dev();
    let key = server.create_key();
    let blob = server.client(&format!("data-key generate --key {key} --out -")).done();
    assert_eq!(blob.stdout.len(), 142);
    assert!(blob.stderr.contains("142 bytes in standard output"), "{blob:?}");

    fs::write(server.path("blob"), &blob.stdout).unwrap();
    let public_key = file("rsa_3072.public.pem");
    let line = format!("data-key export --in blob --public-key {public_key} --json --out exported");
    let exported = server.client(&line).done().json();
    let base64 = exported["exported_data_key"].as_str().unwrap();
    assert_eq!(STANDARD.decode(base64).unwrap(), server.read("exported"));
    assert_eq!(exported["key_id"], key.as_str());
    assert!(!exported["request_id"].as_str().unwrap().is_empty());

    let spec = server.client(&format!("data-key generate --key {key} --spec aes_128 --json"));
    let base64 = spec.done().json()["ciphertext_blob"].as_str().unwrap().to_owned();
    assert_eq!(STANDARD.decode(base64).unwrap().len(), 126);
}

#[test]
fn refusals_say_what_happened_what_to_do_and_under_which_request() {
    let server = Server::dev();
    let key = server.create_key();
    let public_key = file("sm2.public.pem");
    let export = format!("data-key export --in blob --public-key {public_key} --out exported");
    server.client(&format!("data-key generate --key {key} --context a=1 --out blob")).done();
    server.client(&format!("alias create alias/taken --key {key}")).done();

    server.client(&export).failed(
        1,
        &[
            "error: The ciphertext blob does not open",
            "--context",
            "InvalidParameter",
            "request id",
        ],
    );
    assert!(!server.path("exported").exists());
    server
        .client(&format!("alias create alias/taken --key {key}"))
        .failed(1, &["alias update", "AliasAlreadyExists (ALREADY_EXISTS)"]);
    server.client("key describe --key alias/none").failed(1, &["Forbidden.AliasNotFound"]);
    server.client("alias delete alias/none").failed(1, &["Forbidden.AliasNotFound"]);

    server.client(&format!("key disable --key {key}")).done();
    server
        .client(&format!("{export} --context a=1"))
        .failed(1, &["Rejected.Disabled (FAILED_PRECONDITION)", "keyferry key enable"]);
    server.client("key enable --key alias/taken").done();
    server.client(&format!("{export} --context a=1")).done();

    let json = server.client("key describe --key alias/none --json");
    assert_eq!((json.exit, json.stdout.len()), (Some(1), 0));
    let error: Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(error["error"]["code"], "NOT_FOUND");
    assert_eq!(error["error"]["reason"], "Forbidden.AliasNotFound");
    assert!(!error["error"]["request_id"].as_str().unwrap().is_empty());
}

#[test]
fn a_dry_run_changes_nothing_and_says_whether_it_would_work() {
    let server = Server::dev();
    let key = server.create_key();
    server.client(&format!("data-key generate --key {key} --out blob")).done();
    let public_key = file("sm2.public.pem");
    for line in [
        "key create".to_owned(),
        "key list".to_owned(),
        "alias list".to_owned(),
        format!("key describe --key {key}"),
        format!("key disable --key {key}"),
        format!("key enable --key {key}"),
        format!("alias create alias/dry --key {key}"),
        format!("alias list --key {key}"),
        format!("data-key generate --key {key}"),
        format!("data-key export --in blob --public-key {public_key}"),
    ] {
        let told = server.client(&format!("{line} --dry-run")).done();
        assert!(told.text().contains("would have worked"), "{line}: {told:?}");
        let told = server.client(&format!("{line} --dry-run --json")).done().json();
        assert_eq!(told["reason"], "DryRunOperationError", "{line}");
    }
    for line in ["alias delete alias/dry", "key disable --key alias/dry"] {
        server.client(&format!("{line} --dry-run")).failed(1, &["Forbidden.AliasNotFound"]);
    }
    let keys = server.client("key list --json").done().json();
    assert_eq!(keys["total_count"], 1);
    let described = server.client(&format!("key describe --key {key} --json")).done().json();
    assert_eq!(described["key_metadata"]["key_state"], "Enabled");
}

#[test]
fn lists_are_followed_to_their_end() {
    let server = Server::dev();
    assert!(server.client("key list").done().stderr.contains("There is no CMK yet"));
    let keys: Vec<String> = (0..7).map(|_| server.create_key()).collect();
    let listed = server.client("key list --page-size 3").done().text();
    let rows: Vec<&str> = listed.lines().collect();
    assert_eq!(rows[0], format!("{:36}  key_arn", "key_id"));
    let ids: Vec<&str> = rows[1..].iter().map(|row| words(row)[0]).collect();
    assert_eq!(ids, keys, "oldest first");

    let json = server.client("key list --page-size 3 --json").done().text();
    let pages: Vec<Value> = json.lines().map(|page| serde_json::from_str(page).unwrap()).collect();
    let sizes: Vec<usize> = pages.iter().map(|p| p["keys"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [3, 3, 1]);

    for (name, key) in
        [("alias/one", &keys[0]), ("alias/another", &keys[0]), ("alias/two", &keys[1])]
    {
        server.client(&format!("alias create {name} --key {key}")).done();
    }
    let names = |line: &str| -> Vec<String> {
        let text = server.client(line).done().text();
        text.lines().skip(1).map(|row| words(row)[0].to_owned()).collect()
    };
    assert_eq!(names("alias list --page-size 2"), ["alias/one", "alias/another", "alias/two"]);
    let of_one = format!("alias list --key {} --page-size 1", keys[0]);
    assert_eq!(names(&of_one), ["alias/one", "alias/another"]);
    server.client(&format!("alias update alias/two --key {}", keys[0])).done();
    assert_eq!(names(&of_one).len(), 3);
    server.client("alias delete alias/two").done();
    assert_eq!(names("alias list"), ["alias/one", "alias/another"]);
}

#[test]
fn what_is_no_server_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let endpoint = format!("http://{address}");
    run(&mut keyferry(words(&format!("key list --timeout 1 --endpoint {endpoint}"))))
        .failed(69, &["did not answer in time", "--timeout"]);

    let babbler = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", babbler.local_addr().unwrap());
    let babbling = thread::spawn(move || {
        let (mut stream, _) = babbler.accept().unwrap();
        let _ = stream.read(&mut [0; 24]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    run(&mut keyferry(words(&format!("key list --endpoint {endpoint}"))))
        .failed(69, &["The connection to http://127.0.0.1", "help: "]);
    babbling.join().unwrap();

    // A server that is no TLS server.
    let server = Server::dev();
    let files = Files::make();
    let mut command = keyferry(words("key list --tls-ca ca.pem --endpoint"));
    run(command.arg(format!("https://{}", server.address())).current_dir(files.folder.path()))
        .failed(69, &["No TLS connection to https://", "help: "]);
}

/// Certificates of an authority for both ends, and a configuration.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
        for authority in ["ca", "stranger"] {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, authority);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let issuer =
                CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
            put(&format!("{authority}.pem"), issuer.pem());
            for (end, names) in [("server", "localhost"), ("client", "orders.example")] {
                let key = KeyPair::generate().unwrap();
                let params = CertificateParams::new([names.to_owned()]).unwrap();
                put(
                    &format!("{authority}.{end}.pem"),
                    params.signed_by(&key, &issuer).unwrap().pem(),
                );
                put(&format!("{authority}.{end}.key"), key.serialize_pem());
            }
        }
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// An instance with one listener that shows this certificate; its configuration.
    fn instance(&self, cert: &str, key: &str) -> PathBuf {
        let instance = self.path().join("instance");
        run(keyferry(["init"]).arg(&instance)).done();
        permit_everything(&instance.join("policies"));
        let config = instance.join("keyferry.toml");
        let listener = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n\
             tls = {{ cert = \"../{cert}\", key = \"../{key}\", client_ca = \"../ca.pem\" }}\n\
             [auth.mtls]\nnames = [\"dns\", \"common_name\"]\n"
        );
        let text = fs::read_to_string(&config).unwrap();
        let socket = "[[listener]]\naddress = \"unix:keyferry.sock\"\n\n[auth.unix]\n";
        assert!(text.contains(socket), "{text}");
        fs::write(&config, text.replace(socket, &listener)).unwrap();
        config
    }
}

#[test]
fn over_tls_both_ends_show_who_they_are() {
    let files = Files::make();
    let chmod = |name: &str, mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(files.path().join(name), permissions).unwrap();
    };
    chmod("ca.server.key", 0o600);
    let config = files.instance("ca.server.pem", "ca.server.key");
    run(keyferry(words("serve --check-config --config")).arg(&config)).done();
    let mut command = keyferry(words("serve --config"));
    command.arg(&config);
    let server = Server::start(command, tempfile::tempdir().unwrap());
    let port = server.address().rsplit_once(':').unwrap().1;
    let call = |host: &str, options: &str| {
        let line = format!("key list --endpoint https://{host}:{port} {options}");
        run(keyferry(words(&line)).current_dir(files.path()))
    };
    let us = "--tls-cert ca.client.pem --tls-key ca.client.key";

    call("localhost", &format!("--tls-ca ca.pem {us}")).done();
    call("127.0.0.1", &format!("--tls-ca ca.pem --tls-name localhost {us}")).done();
    call("127.0.0.1", &format!("--tls-ca ca.pem {us}"))
        .failed(69, &["No TLS connection to https://127.0.0.1", "--tls-name"]);
    call("localhost", &format!("--tls-ca stranger.pem {us}"))
        .failed(69, &["No TLS connection", "--tls-ca"]);
    call("localhost", "--tls-ca ca.pem")
        .failed(77, &["ended the TLS connection", "--tls-cert and --tls-key"]);
    call(
        "localhost",
        "--tls-ca ca.pem --tls-cert stranger.client.pem --tls-key stranger.client.key",
    )
    .failed(77, &["ended the TLS connection", "client_ca"]);
    call("localhost", "--tls-ca ca.pem --tls-cert ca.client.pem --tls-key stranger.client.key")
        .failed(65, &["--tls-cert with --tls-key"]);
    let version_1 = ["certificate", "private"].map(|kind| file(&format!("version_1.{kind}.pem")));
    let [certificate, key] = version_1;
    call("localhost", &format!("--tls-ca ca.pem --tls-cert {certificate} --tls-key {key}"))
        .failed(65, &["--tls-cert with --tls-key", "X.509 version 1", "help: Have it issued anew"]);
    for host in ["localhost", "127.0.0.1"] {
        let plain = format!("key list --endpoint http://{host}:{port}");
        let secure = format!("--endpoint https://{host}:{port} with --tls-ca");
        run(&mut keyferry(words(&plain))).failed(69, &["is a TLS port", &secure]);
    }

    // The same by a profile, and variables that win over its fields.
    chmod("ca.client.key", 0o600);
    let profile = files.path().join("client.toml");
    let text = format!(
        "endpoint = \"https://127.0.0.1:{port}\"\n[tls]\nca = \"ca.pem\"\n\
         cert = \"ca.client.pem\"\nkey = \"ca.client.key\"\nname = \"localhost\"\n"
    );
    fs::write(&profile, text).unwrap();
    let by = |variables: &[(&str, &Path)]| {
        let mut command = keyferry(words("key list --profile"));
        run(command.arg(&profile).envs(variables.iter().copied()))
    };
    let other = |name: &str| files.path().join(name);
    by(&[]).done();
    by(&[("KEYFERRY_TLS_NAME", Path::new("127.0.0.1"))])
        .failed(69, &["No TLS connection to https://127.0.0.1", "--tls-name"]);
    by(&[("KEYFERRY_TLS_CA", &other("stranger.pem"))]).failed(69, &["--tls-ca or a --profile"]);
    by(&[("KEYFERRY_TLS_CERT", &other("stranger.client.pem"))])
        .failed(65, &["KEYFERRY_TLS_CERT with tls.key in "]);
    by(&[
        ("KEYFERRY_TLS_CERT", &other("stranger.client.pem")),
        ("KEYFERRY_TLS_KEY", &other("stranger.client.key")),
    ])
    .failed(77, &["ended the TLS connection"]);

    chmod("ca.server.key", 0o644);
    let unsafe_key = run(keyferry(words("serve --check-config --config")).arg(&config));
    unsafe_key.failed(78, &["ca.server.key: is not safe", "chmod 0600"]);
}

/// A server's certificate that its clients refuse, and the cause that each is told.
#[test]
fn a_certificate_that_is_unfit_for_a_server_is_told_so() {
    for (is_authority, told) in [(false, "has no subjectAltName"), (true, "(CA:TRUE)")] {
        let files = Files::make();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(authority.clone(), issuer).unwrap();
        let key = KeyPair::generate().unwrap();
        let (cert, trusted) = if is_authority {
            let own = authority.self_signed(&key).unwrap().pem();
            (own.clone(), own)
        } else {
            let cert = CertificateParams::default().signed_by(&key, &issuer).unwrap();
            (cert.pem(), issuer.pem())
        };
        for (name, text) in
            [("unfit.pem", cert), ("unfit.key", key.serialize_pem()), ("trusted.pem", trusted)]
        {
            put_private(&files.path().join(name), &text);
        }
        let config = files.instance("unfit.pem", "unfit.key");
        let checked = run(keyferry(words("serve --check-config --config")).arg(&config)).done();
        assert!(checked.stderr.contains(told), "{checked:?}");
        assert!(checked.stderr.contains("unfit.pem: "), "{checked:?}");
        let mut command = keyferry(words("serve --config"));
        let server = Server::start(
            {
                command.arg(&config);
                command
            },
            tempfile::tempdir().unwrap(),
        );
        let port = server.address().rsplit_once(':').unwrap().1;
        let line = format!("key list --endpoint https://localhost:{port} --tls-ca trusted.pem");
        let refused = run(keyferry(words(&line)).current_dir(files.path()));
        refused.failed(69, &["No TLS connection to https://localhost", told, "help: Have "]);
    }
}
