//! Configuration: what may be served, and what each refusal says.
//!
//! A refusal is one file in `tests/server/config/refused/`, named for what is wrong:
//! `#: place` is the field to blame, `#= text` what the refusal must say, and
//! `#$ NAME=value` a variable of the environment.

use std::ffi::OsString;
use std::path::Path;

use jsonwebtoken::Algorithm;
use keyferry::config::{
    Address, Callers, Config, DEFAULT_ADDRESS, LogFormat, LogLevel, Mode, PolicyConfig,
    RootKeyConfig, StoreConfig, TokenUse,
};

const SOUND: &str = r#"
region = "eu-1"
account = "007"

[[listener]]
address = "[::1]:0"
tls = { cert = "tls/cert.pem", key = "/abs/key.pem", client_ca = "ca.pem", crl = "crl.pem" }

[[listener]]
address = "unix:run/kf.sock"

[store]
kind = "sqlite"
path = "store"

[root_key]
provider = "file"
path = "keys/root.key"

[policy]
dir = "policies"

[auth.mtls]
[auth.unix]

[log]
format = "text"
level = "debug"
"#;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables =
        variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::parse(text, Path::new("/etc/keyferry"), variables).map_err(|error| error.to_string())
}

#[test]
fn a_sound_configuration_is_read_whole() {
    let config = parse(SOUND, &[]).unwrap();
    assert_eq!(config.mode, Mode::Config);
    assert_eq!((config.region.as_str(), config.account.as_str()), ("eu-1", "007"));
    assert_eq!(config.listeners[0].address().to_string(), "[::1]:0");
    let Callers::Mtls(tls) = config.listeners[0].callers() else { panic!("mTLS") };
    assert_eq!(tls.cert, Path::new("/etc/keyferry/tls/cert.pem"));
    assert_eq!(tls.key, Path::new("/abs/key.pem"));
    assert_eq!(tls.crl.as_deref(), Some(Path::new("/etc/keyferry/crl.pem")));
    assert_eq!(*config.listeners[1].address(), Address::Unix("/etc/keyferry/run/kf.sock".into()));
    assert_eq!(*config.listeners[1].callers(), Callers::PeerUid);
    assert_eq!(config.store, StoreConfig::Sqlite { path: "/etc/keyferry/store".into() });
    let root_key = RootKeyConfig::File { path: "/etc/keyferry/keys/root.key".into() };
    assert_eq!(config.root_key, root_key);
    assert_eq!(config.policy, PolicyConfig::Directory("/etc/keyferry/policies".into()));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Text, LogLevel::Debug));
}

#[test]
fn receipts_are_rotated_and_trusted_as_is_said() {
    let default = parse(SOUND, &[]).unwrap().receipt;
    assert_eq!((default.rotate_days.get(), default.trusted.len()), (365, 0));
    assert!(!default.require_on_import);
    let id = "0198c0de-0000-7000-8000-000000000001";
    let text = format!(
        "{SOUND}\n[receipt]\nrotate_days = 90\nrequire_on_import = true\n\
         trusted = [{{ issuer = \"{id}\", keys = \"region-a.jwks\" }}]"
    );
    let config = parse(&text, &[("KEYFERRY_RECEIPT__ROTATE_DAYS", "30")]).unwrap().receipt;
    assert_eq!((config.rotate_days.get(), config.require_on_import), (30, true));
    let [trusted] = config.trusted.as_slice() else { panic!("{config:?}") };
    assert_eq!(trusted.issuer.to_string(), id);
    assert_eq!(trusted.keys, Path::new("/etc/keyferry/region-a.jwks"));
}

#[test]
fn a_quota_is_a_rate_and_a_burst() {
    let text = format!(
        "{SOUND}\n[quota]\nprincipal = {{ per_second = 500 }}\n\
         total = {{ per_second = 9, burst = 2100 }}\n"
    );
    let rates = |config: &Config| {
        [config.quota.principal, config.quota.total]
            .map(|rate| rate.map(|rate| (rate.per_second.get(), rate.burst.get())))
    };
    assert_eq!(rates(&parse(&text, &[]).unwrap()), [Some((500, 5000)), Some((9, 2100))]);
    assert_eq!(rates(&parse(SOUND, &[]).unwrap()), [None, None]);
    let variables = [("KEYFERRY_QUOTA__TOTAL__PER_SECOND", "7")];
    assert_eq!(rates(&parse(SOUND, &variables).unwrap()), [None, Some((7, 2100))]);
}

#[test]
fn what_is_left_out_has_the_contracts_defaults() {
    let text = SOUND.replace("region = \"eu-1\"\naccount = \"007\"", "");
    let text = &text[..text.find("[log]").unwrap()];
    let config = parse(text, &[]).unwrap();
    assert_eq!((config.region.as_str(), config.account.as_str()), ("local", "0"));
    assert_eq!((config.log.format, config.log.level), (LogFormat::Json, LogLevel::Info));
}

#[test]
fn a_front_door_is_asked_for_and_needs_no_client_certificates() {
    let text = SOUND.replace(", client_ca = \"ca.pem\", crl = \"crl.pem\" }", "}\ngateway = true");
    let text = format!("{text}\n[auth.access_key]\nsignature_v1 = false\n");
    let config = parse(&text, &[]).unwrap();
    let [tcp, unix] = config.listeners.as_slice() else { panic!("two") };
    assert!(tcp.gateway() && !unix.gateway());
    let Callers::Mtls(tls) = tcp.callers() else { panic!("TLS") };
    assert!(tls.client_ca.is_none() && tls.certificate_optional);
    assert!(!config.gateway.signature_v1);
    let config = parse(SOUND, &[]).unwrap();
    assert!(config.listeners.iter().all(|listener| !listener.gateway()));
    let Callers::Mtls(tls) = config.listeners[0].callers() else { panic!("mTLS") };
    assert!(tls.client_ca.is_some() && !tls.certificate_optional);
    let variables = [
        ("KEYFERRY_LISTENER__1__GATEWAY", "true"),
        ("KEYFERRY_AUTH__ACCESS_KEY__SIGNATURE_V1", "true"),
    ];
    let config = parse(SOUND, &variables).unwrap();
    assert!(config.listeners[1].gateway() && config.gateway.signature_v1);
    assert!(Config::dev(Path::new("/data"), None).unwrap().listeners[0].gateway());
}

#[test]
fn a_listener_says_whether_tokens_name_its_callers() {
    let table = "[auth.jwt]\nissuer = \"https://idp.example\"\naudience = \"keyferry\"\njwks = \"jwks.json\"\n";
    let text = SOUND
        .replace("address = \"unix:run/kf.sock\"", "address = \"unix:run/kf.sock\"\njwt = true");
    let config = parse(&format!("{text}\n{table}groups_claim = \"groups\""), &[]).unwrap();
    let [tcp, unix] = config.listeners.as_slice() else { panic!("two") };
    assert_eq!(*tcp.tokens(), TokenUse::Refused);
    let Callers::Mtls(tls) = tcp.callers() else { panic!("mTLS") };
    assert!(!tls.certificate_optional, "what one listener takes opens no other");
    let TokenUse::Taken(tokens) = unix.tokens() else { panic!("tokens") };
    assert_eq!(
        (tokens.issuer.as_str(), tokens.audience.as_str()),
        ("https://idp.example", "keyferry")
    );
    assert_eq!(tokens.jwks, Path::new("/etc/keyferry/jwks.json"));
    assert_eq!(tokens.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    assert_eq!(tokens.groups_claim.as_deref(), Some("groups"));
    // The user id is no way to be known there.
    let alone = text.replace("[auth.unix]", "");
    parse(&format!("{alone}\n{table}"), &[]).unwrap();
    let over_tls = SOUND.replace(", client_ca = \"ca.pem\", crl = \"crl.pem\" }", "}\njwt = true");
    let variables = [("KEYFERRY_AUTH__JWT__ALGORITHMS__0", "EdDSA")];
    let config = parse(&format!("{over_tls}\n{table}"), &variables).unwrap();
    let Callers::Mtls(tls) = config.listeners[0].callers() else { panic!("TLS") };
    assert!(tls.client_ca.is_none() && tls.certificate_optional && !tls.http1);
    let TokenUse::Taken(tokens) = config.listeners[0].tokens() else { panic!("tokens") };
    assert_eq!(tokens.algorithms, [Algorithm::EdDSA]);
    let none = parse(SOUND, &[]).unwrap();
    assert!(none.listeners.iter().all(|one| *one.tokens() == TokenUse::Ignored));
}

#[test]
fn the_environment_overrides() {
    let config = parse(
        SOUND,
        &[
            ("KEYFERRY_ACCOUNT", "0042"),
            ("KEYFERRY_LOG__LEVEL", "trace"),
            ("KEYFERRY_STORE__PATH", "/var/lib/keyferry"),
            ("KEYFERRY_LISTENER__0__TLS__CERT", "other.pem"),
            ("KEYFERRY_LISTENER__2__ADDRESS", "unix:/run/third.sock"),
            ("KEYFERRY_ENDPOINT", "http://127.0.0.1:1"),
            ("KEYFERRY_PROFILE", "client.toml"),
            ("KEYFERRY_TLS_CA", "ca.pem"),
            ("KEYFERRY_TLS_CERT", "client.pem"),
            ("KEYFERRY_TLS_KEY", "client.key"),
            ("KEYFERRY_TLS_NAME", "kms.internal"),
            ("PATH", "/bin"),
            ("KEYFERRYX", "1"),
        ],
    )
    .unwrap();
    assert_eq!(config.account, "0042");
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(config.store, StoreConfig::Sqlite { path: "/var/lib/keyferry".into() });
    let Callers::Mtls(tls) = config.listeners[0].callers() else { panic!("mTLS") };
    assert_eq!(tls.cert, Path::new("/etc/keyferry/other.pem"));
    assert_eq!(config.listeners[2].address().to_string(), "unix:/run/third.sock");
}

#[test]
fn the_environment_alone_is_enough() {
    let config = parse(
        "[auth.unix]",
        &[
            ("KEYFERRY_LISTENER__0__ADDRESS", "unix:///run/kf.sock"),
            ("KEYFERRY_STORE__KIND", "sqlite"),
            ("KEYFERRY_STORE__PATH", "store"),
            ("KEYFERRY_ROOT_KEY__PROVIDER", "file"),
            ("KEYFERRY_ROOT_KEY__PATH", "root.key"),
            ("KEYFERRY_POLICY__DIR", "policies"),
        ],
    )
    .unwrap();
    assert_eq!(config.listeners[0].address().to_string(), "unix:/run/kf.sock");
}

/// Kubernetes sets them in each container of a namespace with such a Service.
#[test]
fn service_links_of_kubernetes_are_passed_over() {
    let links = [
        ("KEYFERRY_SERVICE_PORT_GRPC", "7311"),
        ("KEYFERRY_SERVICE_HOST", "10.0.0.11"),
        ("KEYFERRY_SERVICE_PORT", "7311"),
        ("KEYFERRY_PORT", "tcp://10.0.0.11:7311"),
        ("KEYFERRY_PORT_7311_TCP", "tcp://10.0.0.11:7311"),
        ("KEYFERRY_PORT_7311_TCP_PROTO", "tcp"),
        ("KEYFERRY_PORT_7311_TCP_PORT", "7311"),
        ("KEYFERRY_PORT_7311_TCP_ADDR", "10.0.0.11"),
    ];
    let config = parse(SOUND, &links).unwrap();
    let mut names: Vec<_> = links.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    assert_eq!(config.service_links, names);
    assert!(parse(SOUND, &[]).unwrap().service_links.is_empty());
}

#[test]
fn a_variable_of_ours_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = |name: &str| [(OsString::from(name), OsString::from_vec(vec![0xff]))];
    let directory = Path::new("/etc/keyferry");
    let error = Config::parse(SOUND, directory, odd("KEYFERRY_REGION")).unwrap_err();
    assert_eq!(error.field(), "KEYFERRY_REGION");
    assert_eq!(error.variable(), Some("KEYFERRY_REGION"));
    Config::parse(SOUND, directory, odd("SOMEBODYS_REGION")).unwrap();
}

#[test]
fn a_link_does_not_bring_the_root_key_into_the_store() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("store")).unwrap();
    std::os::unix::fs::symlink("store", directory.path().join("elsewhere")).unwrap();
    let text = SOUND.replace("keys/root.key", "elsewhere/root.key");
    let error = Config::parse(&text, directory.path(), []).unwrap_err();
    assert_eq!(error.field(), "root_key.path");
    let text = SOUND.replace("keys/root.key", "elsewhere/../root.key");
    Config::parse(&text, directory.path(), []).unwrap();
}

#[test]
fn dev_stays_on_this_machine() {
    let data = Path::new("/data");
    let config = Config::dev(data, None).unwrap();
    assert_eq!(config.mode, Mode::Dev);
    assert_eq!(*config.listeners[0].address(), Address::Tcp(DEFAULT_ADDRESS));
    assert_eq!(*config.listeners[0].callers(), Callers::Dev);
    for inside in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "unix:/run/kf.sock"] {
        Config::dev(data, Some(inside)).unwrap();
    }
    for outside in ["0.0.0.0:7311", "[::]:7311", "192.0.2.1:7311", "[::ffff:127.0.0.1]:7311"] {
        let error = Config::dev(data, Some(outside)).unwrap_err().to_string();
        assert!(error.contains("loopback") && error.contains("--config"), "{outside}: {error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/keyferry.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/keyferry.toml: cannot be read"), "{error}");
}

#[test]
fn a_typing_mistake_is_told_with_its_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keyferry.toml");
    for (text, said, line) in [
        ("[[listener]]\naddress = unix:kf.sock\n", "TOML: ", 2),
        ("[store\n", "TOML: ", 1),
        ("region = \"a\"\nregion = \"b\"\n", "TOML: ", 2),
        ("[[listener]]\nadress = \"unix:kf.sock\"\n", "unknown field `adress`", 2),
        ("[auth.unix]\n[[listener]]\naddress = \"localhost:1\"\n", "an IP address", 3),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Config::load(&file).unwrap_err().to_string();
        let place = format!("(line {line} of {})", file.display());
        assert!(error.contains(said) && error.ends_with(&place), "{text}: {error}");
    }
    std::fs::write(&file, "").unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    assert!(error.ends_with(&format!("(in {})", file.display())), "{error}");
}

#[test]
fn each_refusal_blames_a_field_and_says_what_would_do() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/server/config/refused");
    let mut count = 0;
    for case in std::fs::read_dir(cases).unwrap() {
        let path = case.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let tagged = |tag: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix(tag)).map(str::to_owned).collect()
        };
        let variables = tagged("#$ ");
        let variables: Vec<_> = variables.iter().filter_map(|line| line.split_once('=')).collect();
        let error = parse(&text, &variables).expect_err(&path.display().to_string());
        let place = &tagged("#: ")[0];
        assert!(error.starts_with(&format!("{place}: ")), "{}: {error}", path.display());
        for says in tagged("#= ") {
            assert!(error.contains(&says), "{}: {says:?} is not in {error:?}", path.display());
        }
        count += 1;
    }
    assert!(count >= 30, "{count} cases");
}
