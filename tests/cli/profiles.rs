//! Profiles of clients: where one is found, and what wins over it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Ended, Server, file, keyferry, run, words};

/// Nothing listens there.
const NOWHERE: [&str; 3] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"];

/// A profile with this text, in a folder of its own.
struct Profile {
    folder: tempfile::TempDir,
}

impl Profile {
    fn new(text: &str) -> Self {
        let profile = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(profile.path(), text).unwrap();
        profile
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("client.toml")
    }

    /// `key list` by this profile.
    fn list(&self, options: &str) -> Command {
        let mut command = keyferry(words("key list --profile"));
        command.arg(self.path()).args(words(options));
        command
    }
}

fn listed(server: &Server, ended: Ended) {
    let key = server.client("key list").done().text();
    assert!(key.contains("key_arn"), "{key}");
    assert_eq!(ended.done().text(), key);
}

#[test]
fn a_profile_says_where_the_server_is() {
    let server = Server::dev();
    server.create_key();
    let endpoint = format!("endpoint = \"{}\"\n", server.endpoint);
    let profile = Profile::new(&endpoint);
    listed(&server, run(&mut profile.list("")));
    listed(&server, run(keyferry(words("key list")).env("KEYFERRY_PROFILE", profile.path())));
    // The option wins over the variable.
    listed(&server, run(profile.list("").env("KEYFERRY_PROFILE", "none.toml")));

    // Without being named, in its place in the user's own directory.
    let home = tempfile::tempdir().unwrap();
    let put = |place: &str| {
        let place = home.path().join(place);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, &endpoint).unwrap();
    };
    put(".config/keyferry/client.toml");
    listed(&server, run(keyferry(words("key list")).env("HOME", home.path())));
    put("xdg/keyferry/client.toml");
    let xdg = home.path().join("xdg");
    let mut by_xdg = keyferry(words("key list"));
    listed(&server, run(by_xdg.env("HOME", "/nonexistent").env("XDG_CONFIG_HOME", &xdg)));
    // The one that is named is the only one.
    let named = Profile::new(&format!("endpoint = \"http://{}\"", NOWHERE[0]));
    run(named.list("").env("HOME", home.path())).failed(69, &[NOWHERE[0]]);
}

#[test]
fn options_win_over_variables_and_these_over_the_profile() {
    let [profile, variable, option] = NOWHERE;
    let by = Profile::new(&format!("endpoint = \"http://{profile}\""));
    run(&mut by.list("")).failed(69, &[profile]);
    let from_variable = format!("http://{variable}");
    run(by.list("").env("KEYFERRY_ENDPOINT", &from_variable)).failed(69, &[variable]);
    let mut all = by.list(&format!("--endpoint http://{option}"));
    run(all.env("KEYFERRY_ENDPOINT", &from_variable)).failed(69, &[option]);

    // Each field by itself. The files are not there, and the one that is missed is told.
    let fields = "endpoint = \"https://127.0.0.1:1\"\n[tls]\nca = \"of-profile.pem\"\n";
    let by = Profile::new(fields);
    let there = by.folder.path().join("of-profile.pem").display().to_string();
    run(by.list("").current_dir("/")).failed(65, &[&there]);
    run(by.list("").env("KEYFERRY_TLS_CA", "of-variable.pem")).failed(65, &["of-variable.pem"]);
    let mut all = by.list("--tls-ca of-option.pem");
    run(all.env("KEYFERRY_TLS_CA", "of-variable.pem")).failed(65, &["of-option.pem"]);

    // A name of one source, an authority of another, a certificate of a third.
    fs::copy(file("certificate.pem"), by.folder.path().join("of-profile.pem")).unwrap();
    run(by.list("").env("KEYFERRY_TLS_NAME", "a b"))
        .failed(64, &["\"a b\" is not a name that a certificate can have"]);
    let mut own = by.list("--tls-cert of-option.pem");
    run(own.env("KEYFERRY_TLS_KEY", "of-variable.key")).failed(65, &["of-option.pem"]);
    for (options, variable, named) in [
        ("--tls-cert x", "KEYFERRY_TLS_CA", "--tls-cert is given without its other half"),
        ("", "KEYFERRY_TLS_KEY", "KEYFERRY_TLS_KEY is given without its other half"),
    ] {
        run(by.list(options).env(variable, file("certificate.pem"))).failed(64, &[named]);
    }
}

/// A profile's credentials are for its own endpoint.
#[test]
fn another_endpoint_leaves_the_profiles_credentials_alone() {
    let server = Server::dev();
    server.create_key();
    let profile = Profile::new(
        "endpoint = \"https://127.0.0.1:1\"\n[tls]\nca = \"none.pem\"\nname = \"kms.internal\"\n",
    );
    listed(&server, run(profile.list("").env("KEYFERRY_ENDPOINT", &server.endpoint)));
    listed(&server, run(&mut profile.list(&format!("--endpoint {}", server.endpoint))));
    let mut both = profile.list("");
    both.env("KEYFERRY_ENDPOINT", &server.endpoint).env("KEYFERRY_TLS_NAME", "kms.internal");
    run(&mut both).failed(64, &["KEYFERRY_TLS_NAME is given, but http://"]);

    let plain = Profile::new(&format!("endpoint = \"{}\"\n[tls]\nca = \"a\"", server.endpoint));
    let at = format!("tls.ca in {} is given, but http://", plain.path().display());
    run(&mut plain.list("")).failed(64, &[&at]);
    run(&mut Profile::new("[tls]\nca = \"a\"").list("")).failed(64, &["is not an https://"]);
}

#[test]
fn a_profile_that_is_not_sound_is_refused_with_its_line() {
    for (text, line, said) in [
        ("endpoint = \"https://h\"\nendpoint", 2, ""),
        ("\n\nendpont = \"https://h\"", 3, "unknown field `endpont`"),
        ("[tls]\nca = \"a\"\ncrl = \"b\"", 3, "unknown field `crl`"),
        ("[tls]\n# none\ncert = \"\"", 3, "tls.cert is empty"),
        ("[tls]\nname = \"\"", 2, "tls.name is empty"),
        ("endpoint = \"ftp://h\"", 1, "endpoint: "),
        ("endpoint = 7", 1, "invalid type"),
        ("tls = \"a\"", 1, "expected a table"),
    ] {
        let profile = Profile::new(text);
        let at = format!("(line {line} of {})", profile.path().display());
        // Options that would do without it do not hide the fault.
        for options in ["", "--endpoint http://127.0.0.1:1"] {
            run(&mut profile.list(options)).failed(78, &[said, &at, "help: A profile holds"]);
        }
    }
    let long = Profile::new(&"#".repeat(64 * 1024 + 1));
    run(&mut long.list("")).failed(65, &["longer than 65536 bytes"]);
    let binary = Profile::new("");
    fs::write(binary.path(), [0xff, 0xfe]).unwrap();
    run(&mut binary.list("")).failed(65, &["cannot be read"]);
}

#[test]
fn a_profile_that_is_named_must_be_there() {
    let away = ["cannot be read: No such file", "none.toml", "help: "];
    run(&mut keyferry(words("key list --profile none.toml"))).failed(65, &away);
    run(keyferry(words("key list")).env("KEYFERRY_PROFILE", "none.toml")).failed(65, &away);
    // The user's own may be missing.
    let mut none = keyferry(words("key list --endpoint http://127.0.0.1:1"));
    run(none.env("HOME", "/nonexistent")).failed(69, &["127.0.0.1:1"]);
    run(none.env("HOME", "/dev/null")).failed(69, &["127.0.0.1:1"]);
    // If it is there, it is sound.
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join("keyferry/client.toml");
    fs::create_dir(own.parent().unwrap()).unwrap();
    fs::write(&own, "x").unwrap();
    run(none.env("XDG_CONFIG_HOME", home.path())).failed(78, &[own.to_str().unwrap()]);
}

/// A key that a profile names lies there for long.
#[test]
fn a_profiles_key_is_its_owners_alone() {
    let profile = Profile::new(
        "endpoint = \"https://127.0.0.1:1\"\n[tls]\nca = \"a.pem\"\ncert = \"a.pem\"\nkey = \"a.key\"\n",
    );
    let put = |name: &str, of: &str| fs::copy(file(of), profile.folder.path().join(name)).unwrap();
    put("a.pem", "certificate.pem");
    put("a.key", "version_1.private.pem");
    let key = profile.folder.path().join("a.key");
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(&key, 0o644);
    run(&mut profile.list("")).failed(78, &["a.key is not safe: its mode is 0644", "tls.key in "]);
    chmod(&key, 0o600);
    chmod(profile.folder.path(), 0o777);
    run(&mut profile.list("")).failed(78, &["can be written by others"]);
    chmod(profile.folder.path(), 0o700);
    // It is read, and is another certificate's.
    run(&mut profile.list("")).failed(65, &["tls.cert in ", " with tls.key in "]);
    fs::remove_file(&key).unwrap();
    run(&mut profile.list("")).failed(65, &["a.key does not exist"]);
}
