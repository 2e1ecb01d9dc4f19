//! `init --listen`, `client add`: a server that is secured at once, and its clients.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::command::{Ended, LIMIT, Server, keyferry, run, words};

/// An instance that `init` made.
struct Instance {
    folder: tempfile::TempDir,
    port: u16,
    made: Ended,
}

impl Instance {
    /// One that can be served: on a free port of loopback.
    fn make(options: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::listening(&format!("127.0.0.1:{port}"), options, port)
    }

    fn listening(address: &str, options: &str, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut init = keyferry(["init", "--listen", address]);
        let made = run(init.args(words(options)).arg(folder.path().join("kf"))).done();
        Self { folder, port, made }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("kf").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn serve(&self) -> Server {
        let mut command = keyferry(words("serve --config"));
        command.arg(self.path("keyferry.toml"));
        Server::start(command, tempfile::tempdir().unwrap())
    }

    /// Runs a client with a profile, and nothing else that leads it here.
    fn by(&self, profile: &str, line: &str) -> Ended {
        run(keyferry(words(line)).arg("--profile").arg(self.path(profile)).current_dir("/"))
    }

    fn add(&self, name: &str, principal: &str) -> Ended {
        let mut add = keyferry(["client", "add", "--json", "--principal", principal, "--dir"]);
        run(add.arg(self.path("")).args(["--", name]))
    }

    /// Every file and its bytes, every folder.
    fn content(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        content(self.folder.path())
    }

    fn openssl(&self, line: &str) -> Ended {
        run(Command::new("openssl").args(words(line)).current_dir(self.path("")))
    }
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
            found.insert(path, Vec::new());
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn two_commands_make_a_secured_server() {
    for (options, host, trust_domain) in
        [("", "127.0.0.1", "keyferry.trial"), ("--name localhost", "localhost", "localhost")]
    {
        let instance = Instance::make(options);
        assert!(!format!("{:?}", instance.made).contains("PRIVATE KEY"), "{:?}", instance.made);
        for (name, expected) in [
            ("", 0o700),
            ("clients", 0o700),
            ("clients/operator", 0o700),
            ("trial-ca.key", 0o600),
            ("server.key", 0o600),
            ("clients/operator/client.key", 0o600),
            ("root.key", 0o600),
        ] {
            assert_eq!(mode(&instance.path(name)), expected, "{name}");
        }
        let check = ["serve", "--check-config", "--config"];
        let checked = run(keyferry(check).arg(instance.path("keyferry.toml"))).done();
        assert_eq!(checked.stderr, "", "nothing is warned of");

        let server = instance.serve();
        let made = instance.by("client.toml", "key create --json").done().json();
        let creator = made["key_metadata"]["creator"].as_str().unwrap();
        assert_eq!(creator, format!("spiffe://{trust_domain}/operator"));
        assert!(!server.log().contains("PRIVATE KEY"));

        // The operator's folder is all that another machine needs.
        let elsewhere = tempfile::tempdir().unwrap();
        let own = elsewhere.path().join("keyferry");
        fs::create_dir(&own).unwrap();
        for entry in fs::read_dir(instance.path("clients/operator")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), own.join(entry.file_name())).unwrap();
        }
        let mut client = keyferry(words("key list"));
        let listed = run(client.env("XDG_CONFIG_HOME", elsewhere.path())).done();
        assert!(listed.text().contains(made["key_metadata"]["key_id"].as_str().unwrap()));

        // Nobody comes in without what is in it.
        let at = format!("{host}:{}", instance.port);
        let call = |options: &str| run(&mut keyferry(words(&format!("key list {options}"))));
        call(&format!("--endpoint http://{at}")).failed(69, &["is a TLS port"]);
        call(&format!("--endpoint https://{at}")).failed(64, &["no authority is trusted"]);
        let ca = instance.path("trial-ca.pem").display().to_string();
        call(&format!("--endpoint https://{at} --tls-ca {ca}")).failed(77, &["--tls-cert"]);
    }
}

#[test]
fn certificates_of_another_authority_or_for_another_use_are_refused() {
    let (instance, other) = (Instance::make(""), Instance::make(""));
    let _server = instance.serve();
    let with = |cert: PathBuf, key: PathBuf| {
        let mut command = keyferry(words("key list --profile"));
        command.arg(instance.path("client.toml"));
        run(command.arg("--tls-cert").arg(cert).arg("--tls-key").arg(key))
    };
    let operator = ["client.pem", "client.key"].map(|file| format!("clients/operator/{file}"));
    let of =
        |instance: &Instance, [cert, key]: [&str; 2]| with(instance.path(cert), instance.path(key));
    let operator = [operator[0].as_str(), operator[1].as_str()];
    of(&instance, operator).done();
    // Of the same name and trust domain.
    of(&other, operator).failed(77, &["ended the TLS connection"]);
    of(&instance, ["server.pem", "server.key"]).failed(77, &["ended the TLS connection"]);
    of(&instance, ["trial-ca.pem", "trial-ca.key"]).failed(77, &["ended the TLS connection"]);
    // A server that the profile does not know.
    let mut command = keyferry(words("key list --profile"));
    command.arg(other.path("client.toml"));
    let endpoint = format!("https://127.0.0.1:{}", instance.port);
    run(command.args(["--endpoint", &endpoint])).failed(69, &["No TLS connection"]);
}

#[test]
fn a_client_that_was_added_may_do_what_a_policy_permits_it() {
    let instance = Instance::make("");
    let server = instance.serve();
    let made = instance.by("client.toml", "key create --json").done().json();
    let key = made["key_metadata"]["key_id"].as_str().unwrap().to_owned();
    let who = "spiffe://keyferry.trial/ns/pay/billing";
    let added = instance.add("billing", who).done();
    assert!(!format!("{added:?}").contains("PRIVATE KEY"), "{added:?}");
    let added = added.json();
    assert_eq!(added["principal"], who);
    let folder = instance.path("clients/billing");
    assert_eq!(added["profile"].as_str().unwrap(), folder.join("client.toml").to_str().unwrap());
    assert_eq!((mode(&folder), mode(&folder.join("client.key"))), (0o700, 0o600));
    let mut names: Vec<_> =
        fs::read_dir(instance.path("clients")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["billing", "operator"]);

    let billing = |line: &str| instance.by("clients/billing/client.toml", line);
    let generate = format!("data-key generate --json --key {key}");
    billing("key list").failed(77, &["Forbidden.NoPermission"]);
    billing(&generate).failed(77, &["Forbidden.NoPermission"]);
    assert!(server.log().contains(who), "it was authenticated: {}", server.log());

    // The policy that was told lets it do one thing.
    let told = added["policy"].as_str().unwrap();
    fs::write(instance.path("policies/clients.cedar"), told).unwrap();
    server.signal(Signal::HUP);
    let deadline = Instant::now() + LIMIT;
    while !server.log().contains("policies reloaded") {
        assert!(Instant::now() < deadline, "{}", server.log());
        thread::sleep(Duration::from_millis(20));
    }
    billing(&generate).done();
    billing("key list").failed(77, &["Forbidden.NoPermission"]);

    let text =
        run(keyferry(["client", "add", "audit", "--principal", "spiffe://keyferry.trial/a"])
            .current_dir(instance.path("")))
        .done();
    for said in ["clients/audit", "@id(\"audit\") permit", "Spiffe::\"spiffe://keyferry.trial/a\""]
    {
        assert!(text.text().contains(said), "{said}: {text:?}");
    }
    assert!(text.stderr.contains("and nothing else"), "{text:?}");
}

#[test]
fn clients_that_must_not_be_made_are_refused_and_leave_nothing() {
    let instance = Instance::make("--name kms.internal");
    let before = instance.content();
    let good = "spiffe://kms.internal/a";
    let long = "a".repeat(65);
    for name in ["../x", "a/b", ".a", "..", "-a", "", " a", "a\nb", "ä", long.as_str()] {
        instance.add(name, good).failed(64, &["NAME"]);
    }
    for principal in [
        "billing",
        "dns:kms.internal",
        "access-key:a",
        "unix:0",
        "dev",
        "spiffe://kms.internal",
        "spiffe://kms.internal/",
        "spiffe://kms.internal/a/../operator",
        "spiffe://KMS.internal/a",
        "spiffe://kms.internal/a b",
    ] {
        instance.add("a", principal).failed(64, &["--principal"]);
    }
    for principal in ["spiffe://kms.example/a", "spiffe://kms.internal.example/a"] {
        instance.add("a", principal).failed(64, &["another trust domain", "kms.internal"]);
    }
    instance.add("operator", good).failed(73, &["is there already"]);
    assert_eq!(instance.content(), before);
    fs::create_dir(instance.path("clients/taken")).unwrap();
    instance.add("taken", good).failed(73, &["is there already"]);
    fs::remove_dir(instance.path("clients/taken")).unwrap();
    std::os::unix::fs::symlink("nowhere", instance.path("clients/link")).unwrap();
    instance.add("link", good).failed(73, &["is there already"]);
    fs::remove_file(instance.path("clients/link")).unwrap();
    let clients = instance.path("clients");
    fs::set_permissions(&clients, fs::Permissions::from_mode(0o777)).unwrap();
    instance.add("a", good).failed(78, &["its place is not safe", "can be written by others"]);
    fs::set_permissions(&clients, fs::Permissions::from_mode(0o700)).unwrap();

    // Its files are as `init` made them, and nobody else's.
    let key = instance.path("trial-ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    instance.add("a", good).failed(78, &["trial-ca.key is not safe"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let other = Instance::make("--name kms.internal");
    fs::write(&key, other.read("trial-ca.key")).unwrap();
    instance.add("a", good).failed(78, &["is not the certificate's"]);
    fs::write(&key, "").unwrap();
    instance.add("a", good).failed(78, &["sign nothing"]);
    fs::remove_file(&key).unwrap();
    instance.add("a", good).failed(65, &["trial-ca.key does not exist"]);
    fs::write(&key, &before[&key]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let certificate = instance.read("trial-ca.pem");
    fs::write(instance.path("trial-ca.pem"), instance.read("server.pem")).unwrap();
    instance.add("a", good).failed(78, &["none of a trial authority"]);
    fs::write(instance.path("trial-ca.pem"), certificate).unwrap();
    let profile = instance.read("client.toml");
    fs::write(instance.path("client.toml"), "endpoint = \"http://127.0.0.1:1\"").unwrap();
    instance.add("a", good).failed(78, &["names no https:// endpoint"]);
    fs::write(instance.path("client.toml"), profile).unwrap();
    assert_eq!(instance.content(), before);
    instance.add("a", good).done();

    let nothing = tempfile::tempdir().unwrap();
    let mut add = keyferry(["client", "add", "a", "--principal", good]);
    run(add.current_dir(nothing.path())).failed(65, &["trial-ca.pem cannot be read", "--dir"]);
    let plain = nothing.path().join("plain");
    run(keyferry(["init"]).arg(&plain)).done();
    run(add.current_dir(&plain)).failed(65, &["trial-ca.pem cannot be read"]);
}

/// Of several that take one name at once, one gets it.
#[test]
fn a_client_that_is_made_twice_at_once_is_one() {
    let instance = Instance::make("");
    let exits = thread::scope(|scope| {
        let add = |n: u8| instance.add("one", &format!("spiffe://keyferry.trial/{n}")).exit;
        let adding: Vec<_> = (0..6).map(|n| scope.spawn(move || add(n))).collect();
        adding.into_iter().map(|adding| adding.join().unwrap()).collect::<Vec<_>>()
    });
    let of = |code: i32| exits.iter().filter(|exit| **exit == Some(code)).count();
    assert_eq!((of(0), of(73)), (1, 5), "{exits:?}");
    let folder = instance.path("clients/one");
    let line = "verify -CAfile trial-ca.pem clients/one/client.pem";
    instance.openssl(line).done();
    assert_eq!(fs::read_dir(folder).unwrap().count(), 4);
    assert_eq!(fs::read_dir(instance.path("clients")).unwrap().count(), 2, "no other is left");
}

#[test]
fn openssl_finds_the_certificates_sound_and_short_lived() {
    let instance = Instance::listening(
        "0.0.0.0:7311",
        "--name KMS.Internal --name 10.0.0.5 --name kms.internal",
        7311,
    );
    instance.add("a", "spiffe://kms.internal/a").done();
    for purpose in [
        "sslserver -verify_hostname kms.internal server.pem",
        "sslserver -verify_hostname localhost server.pem",
        "sslserver -verify_ip 10.0.0.5 server.pem",
        "sslserver -verify_ip ::1 server.pem",
        "sslclient clients/operator/client.pem",
        "sslclient clients/a/client.pem",
    ] {
        let line = format!("verify -x509_strict -CAfile trial-ca.pem -purpose {purpose}");
        instance.openssl(&line).done();
    }
    for purpose in ["sslclient server.pem", "sslserver clients/a/client.pem"] {
        let line = format!("verify -CAfile trial-ca.pem -purpose {purpose}");
        assert_ne!(instance.openssl(&line).exit, Some(0), "{purpose}");
    }
    let longest = 397 * 24 * 60 * 60;
    for certificate in ["trial-ca.pem", "server.pem", "clients/operator/client.pem"] {
        let checked = |seconds: u32| {
            instance.openssl(&format!("x509 -noout -in {certificate} -checkend {seconds}")).exit
        };
        assert_eq!((checked(longest - 2 * 60 * 60), checked(longest)), (Some(0), Some(1)));
    }
    let text =
        |file: &str| instance.openssl(&format!("x509 -noout -text -in {file}")).done().text();
    let has = |file: &str, all: &[&str]| {
        let text = text(file);
        for said in all {
            assert!(text.contains(said), "{said:?} is not in {text}");
        }
    };
    has(
        "trial-ca.pem",
        &[
            "Keyferry trial CA (not for production)",
            "CA:TRUE, pathlen:0",
            "URI:spiffe://kms.internal\n",
            "Certificate Sign, CRL Sign",
        ],
    );
    let names = "DNS:kms.internal, IP Address:10.0.0.5, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1\n";
    has(
        "server.pem",
        &[names, "CA:FALSE", "TLS Web Server Authentication\n", "Digital Signature\n"],
    );
    let client = ["CA:FALSE", "TLS Web Client Authentication\n", "Digital Signature\n"];
    has("clients/operator/client.pem", &client);
    has("clients/operator/client.pem", &["URI:spiffe://kms.internal/operator\n"]);
    has("clients/a/client.pem", &["URI:spiffe://kms.internal/a\n"]);
    let keys =
        ["trial-ca.key", "server.key", "clients/operator/client.key", "clients/a/client.key"]
            .map(|key| instance.read(key));
    assert!((1..4).all(|n| !keys[n..].contains(&keys[n - 1])), "each has a key of its own");

    // Without a name, the address is in the profiles and in the certificate.
    for (address, endpoint, names) in [
        ("192.0.2.7:7311", "https://192.0.2.7:7311", "IP Address:192.0.2.7\n"),
        ("[2001:db8::1]:80", "https://[2001:db8::1]:80", "IP Address:2001:DB8:0:0:0:0:0:1\n"),
    ] {
        let instance = Instance::listening(address, "", 0);
        for profile in ["client.toml", "clients/operator/client.toml"] {
            let told = instance.read(profile);
            assert!(told.contains(&format!("endpoint = \"{endpoint}\"")), "{told}");
        }
        let text = instance.openssl("x509 -noout -text -in server.pem").done().text();
        assert!(text.contains(names) && !text.contains("localhost"), "{text}");
    }
}

#[test]
fn addresses_and_names_that_no_client_could_use_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |options: &[&str], said: &str| {
        let dir = folder.path().join("kf");
        run(keyferry(["init"]).arg(&dir).args(options)).failed(64, &[said]);
        assert!(!dir.exists(), "{options:?}");
    };
    for address in ["0.0.0.0:0", "127.0.0.1:0", "kms.internal:7311", "unix:kf.sock", "7311", "::1"]
    {
        refused(&["--listen", address, "--name", "kms.internal"], "--listen");
    }
    for name in [
        "kms.internal.",
        "*.internal",
        "a b",
        "",
        ".",
        "a..b",
        "0.0.0.0",
        "::",
        "https://kms.internal",
        "kms.internal:7311",
        "kms/internal",
        "ä.internal",
    ] {
        let name = format!("--name={name}");
        refused(&["--listen", "127.0.0.1:7311", "--name=kms.internal", &name], "--name");
    }
    refused(&["--name", "kms.internal"], "--listen");
    refused(&["--listen", "0.0.0.0:7311"], "--name kms.internal");
    refused(&["--listen", "[::]:7311"], "--name kms.internal");
}

#[test]
fn a_second_init_changes_nothing() {
    let instance = Instance::make("");
    let before = instance.content();
    for options in ["", "--listen 127.0.0.1:7311"] {
        let mut init = keyferry(["init"]);
        run(init.arg(instance.path("")).args(words(options))).failed(73, &["is not empty"]);
        assert_eq!(instance.content(), before);
    }
    // One that fails leaves no configuration that could be taken for whole.
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let dir = open.path().join("kf");
    run(keyferry(words("init --listen 127.0.0.1:7311")).arg(&dir))
        .failed(78, &["written by others"]);
    assert!(!dir.join("keyferry.toml").exists() && !dir.join("client.toml").exists());
}
