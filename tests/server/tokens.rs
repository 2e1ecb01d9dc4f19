//! Bearer tokens: which are taken, from whom, and for how long.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use keyferry::access::policy::Policy;
use keyferry::config::Config;
use keyferry::keys::clock::SystemClock;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use keyferry::proto::v1::{
    CreateKeyRequest, GenerateAndExportDataKeyRequest, GetReceiptKeysRequest,
};
use keyferry::server::{Health, Limits, Listener, run};
use keyferry::service::Services;
use keyferry::service::naming::Arns;
use keyferry::storage::MemoryStore;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::forwarded::Talk;
use crate::support::certificates::put_private;
use crate::support::{Founded, Recipient, dev_caller, policies, services_over};
use crate::world::{
    Server, TlsFiles, assert_status, log_lines, script, soon, tls_client, unix_channel,
    unix_client, until,
};

const ISSUER: &str = "https://idp.example/realm";
const AUDIENCE: &str = "keyferry";
pub const ALICE: &str = "jwt:https://idp.example/realm#alice";
pub const AUTHORIZATION: &str = "authorization";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An issuer's key.
pub struct Key {
    id: String,
    algorithm: Algorithm,
    private: EncodingKey,
}

impl Key {
    pub fn new(id: &str, algorithm: Algorithm) -> Self {
        let private = match algorithm {
            Algorithm::ES256 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
                EncodingKey::from_ec_der(&pair.serialize_der())
            }
            Algorithm::ES384 => {
                let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
                EncodingKey::from_ec_der(&pair.serialize_der())
            }
            Algorithm::EdDSA => {
                let random = aws_lc_rs::rand::SystemRandom::new();
                let pair = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8v1(&random);
                EncodingKey::from_ed_der(pair.unwrap().as_ref())
            }
            _ => {
                use aws_lc_rs::encoding::AsDer;
                let size = aws_lc_rs::rsa::KeySize::Rsa2048;
                let pair = aws_lc_rs::rsa::KeyPair::generate(size).unwrap();
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
                let inside = pkcs8::PrivateKeyInfoRef::try_from(der.as_ref()).unwrap();
                EncodingKey::from_rsa_der(inside.private_key.as_bytes())
            }
        };
        Self { id: id.to_owned(), algorithm, private }
    }

    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).unwrap()
    }

    fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        header
    }

    pub fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.private).unwrap()
    }
}

pub fn claims() -> Value {
    let now = now();
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now - 5, "exp": now + 600})
}

/// The same with other claims in it; `null` takes one away.
fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

pub fn bearing(token: &str) -> String {
    format!("Bearer {token}")
}

pub const TABLE: &str = r#"
[auth.jwt]
issuer = "https://idp.example/realm"
audience = "keyferry"
algorithms = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
jwks = "jwks.json"
"#;

/// A Unix socket whose callers bear tokens.
const SOCKET: &str = r#"
[[listener]]
address = "unix:kf.sock"
jwt = true
[store]
kind = "sqlite"
path = "store"
[root_key]
provider = "file"
path = "root.key"
[policy]
dir = "policies"
"#;

pub fn put_keys(directory: &Path, keys: &[Value]) {
    // Its owner may write it, and everybody read.
    let path = directory.join("jwks.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
}

/// Looks at the files often, so that tests need not wait.
fn quick() -> Limits {
    Limits { reload_interval: Duration::from_millis(20), ..Limits::default() }
}

struct World {
    files: TlsFiles,
    server: Server,
}

impl World {
    /// TLS on loopback and a Unix socket, both of which take tokens.
    async fn new(keys: &[Value]) -> Self {
        let files = TlsFiles::new();
        put_keys(files.directory.path(), keys);
        let tls = r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem""#;
        let more = "jwt = true\n[[listener]]\naddress = \"unix:kf.sock\"\njwt = true";
        let text = format!("{}{TABLE}", files.text(tls, more));
        let config = Config::parse(&text, files.directory.path(), []).unwrap();
        let server = Server::start(&config.listeners, quick()).await;
        Self { files, server }
    }

    /// A client over TLS, without a certificate.
    async fn tls(&self) -> KmsClient<Channel> {
        tls_client(self.server.tcp(), self.files.trusting(None)).await.unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.files.path("kf.sock")
    }

    async fn unix(&self) -> KmsClient<Channel> {
        unix_client(&self.socket()).await.unwrap()
    }
}

async fn whoami(client: &mut KmsClient<Channel>, lines: &[&str]) -> Result<String, Status> {
    let mut request = script("whoami");
    for line in lines {
        request.metadata_mut().append(AUTHORIZATION, line.parse().unwrap());
    }
    let asked = client.generate_data_key_without_plaintext(request);
    soon(asked).await.map(|answer| answer.into_inner().key_id)
}

#[track_caller]
fn assert_refused(refused: &Result<String, Status>, what: &str) {
    let Err(status) = refused else { panic!("{what}: {refused:?}") };
    assert_status(status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    let text = "The caller is not authenticated: the bearer token is not accepted.";
    assert_eq!(status.message(), text, "{what}: one text for all causes");
}

#[tokio::test]
async fn a_good_token_names_its_subject_over_tls_and_a_unix_socket() {
    let keys = [
        Key::new("rs", Algorithm::RS256),
        Key::new("ps", Algorithm::PS256),
        Key::new("es", Algorithm::ES256),
        Key::new("es384", Algorithm::ES384),
        Key::new("ed", Algorithm::EdDSA),
    ];
    let world = World::new(&keys.each_ref().map(Key::public)).await;
    let (mut tls, mut unix) = (world.tls().await, world.unix().await);
    for key in &keys {
        let token = bearing(&key.sign(&claims()));
        assert_eq!(whoami(&mut tls, &[&token]).await.unwrap(), ALICE, "{:?}", key.algorithm);
        assert_eq!(whoami(&mut unix, &[&token]).await.unwrap(), ALICE, "{:?}", key.algorithm);
    }
    let [_, _, key, ..] = &keys;
    for good in [
        with(&json!({"aud": ["other", AUDIENCE]})),
        with(&json!({"nbf": now() - 5})),
        with(&json!({"exp": now() + 3500, "iat": now() - 90})),
        // Clocks differ.
        with(&json!({"nbf": now() + 20, "iat": now() + 20})),
        with(&json!({"iat": now() - 600, "exp": now() - 10})),
    ] {
        let token = key.sign(&good);
        assert_eq!(whoami(&mut tls, &[&bearing(&token)]).await.unwrap(), ALICE, "{good}");
    }
    let bob = bearing(&key.sign(&with(&json!({"sub": "bob#1"}))));
    assert_eq!(whoami(&mut tls, &[&bob]).await.unwrap(), format!("jwt:{ISSUER}#bob#1"));
    // Schemes are compared without case (RFC 9110, 11.1), and a type may be told.
    let lower = format!("bearer {}", key.sign(&claims()));
    assert_eq!(whoami(&mut tls, &[&lower]).await.unwrap(), ALICE);
    let mut header = key.header();
    header.typ = Some("at+jwt".to_owned());
    let token = encode(&header, &claims(), &key.private).unwrap();
    assert_eq!(whoami(&mut tls, &[&bearing(&token)]).await.unwrap(), ALICE);
}

#[tokio::test]
async fn claims_that_are_not_for_us_now_are_refused() {
    let key = Key::new("es", Algorithm::ES256);
    let world = World::new(&[key.public()]).await;
    let mut client = world.tls().await;
    let now = now();
    for changes in [
        json!({"iss": "https://evil.example"}),
        json!({"iss": "https://idp.example/realm/"}),
        json!({"iss": [ISSUER]}),
        json!({"iss": ["https://evil.example", ISSUER]}),
        json!({"iss": null}),
        json!({"aud": "other"}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": 7}),
        json!({"sub": "a\nb"}),
        json!({"sub": " alice"}),
        json!({"exp": null}),
        json!({"exp": now - 60, "iat": now - 600}),
        json!({"exp": "later"}),
        json!({"exp": -1}),
        json!({"nbf": now + 300}),
        json!({"nbf": "later"}),
        json!({"iat": null}),
        json!({"iat": "before"}),
        json!({"iat": now + 300}),
        // An hour that begins in two.
        json!({"iat": now + 7200, "exp": now + 10_000}),
        json!({"iat": now - 10, "exp": now + 3601}),
        json!({"iat": now - 10_000, "exp": now + 600}),
        json!({"iat": now - 5, "exp": now - 6}),
    ] {
        let token = key.sign(&with(&changes));
        assert_refused(&whoami(&mut client, &[&bearing(&token)]).await, &changes.to_string());
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_verified() {
    let es = Key::new("es", Algorithm::ES256);
    let rs = Key::new("rs", Algorithm::RS256);
    let ours = Key::new("es", Algorithm::ES256);
    let world = World::new(&[es.public(), rs.public()]).await;
    let mut client = world.tls().await;
    let claims = claims();
    let body = base64url(claims.to_string());
    let unsigned = |header: Value, signature: &str| {
        format!("{}.{body}.{signature}", base64url(header.to_string()))
    };
    let signed = |header: &Header, key: &EncodingKey| encode(header, &claims, key).unwrap();
    let mut tokens = vec![
        ("alg none", unsigned(json!({"alg": "none", "kid": "es"}), "")),
        ("alg None", unsigned(json!({"alg": "None", "kid": "es"}), "")),
        ("alg none, without a kid", unsigned(json!({"alg": "none"}), "")),
        ("no signature", unsigned(json!({"alg": "ES256", "kid": "es"}), "")),
        (
            "a signature of zeros",
            unsigned(json!({"alg": "ES256", "kid": "es"}), &base64url([0; 64])),
        ),
        ("another's key of that kid", ours.sign(&claims)),
    ];
    // HMAC under what everybody knows: the public key, in the forms of it.
    let public = rs.public();
    let known = [
        public["n"].as_str().unwrap().as_bytes().to_vec(),
        public.to_string().into_bytes(),
        es.public()["x"].as_str().unwrap().as_bytes().to_vec(),
    ];
    for secret in known {
        for kid in ["rs", "es"] {
            let mut header = Header::new(Algorithm::HS256);
            header.kid = Some(kid.to_owned());
            tokens.push((
                "HS256 by a public key",
                signed(&header, &EncodingKey::from_secret(&secret)),
            ));
        }
    }
    let altered = |change: fn(&mut Header)| {
        let mut header = es.header();
        change(&mut header);
        signed(&header, &es.private)
    };
    tokens.extend([
        ("a kid that is unknown", altered(|header| header.kid = Some("other".to_owned()))),
        ("the kid of a key of another kind", altered(|header| header.kid = Some("rs".to_owned()))),
        ("no kid", altered(|header| header.kid = None)),
        ("critical headers", altered(|header| header.crit = Some(vec!["b64".to_owned()]))),
        (
            "another kind of statement",
            altered(|header| {
                header.typ = Some("keyferry-export-receipt+jws".to_owned());
            }),
        ),
    ]);
    // A key that comes with the token, or is said to be elsewhere.
    let mut header = ours.header();
    header.kid = Some("mine".to_owned());
    header.jwk = Some(Jwk::from_encoding_key(&ours.private, Algorithm::ES256).unwrap());
    header.jku = Some("https://evil.example/jwks.json".to_owned());
    tokens.push(("its own key", signed(&header, &ours.private)));
    // RS512 is allowed nowhere, and PS256 not by the key's own alg.
    for algorithm in [Algorithm::RS512, Algorithm::PS256] {
        let mut header = rs.header();
        header.alg = algorithm;
        tokens.push(("an algorithm that the key does not have", signed(&header, &rs.private)));
    }
    let good = es.sign(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let [head, _, signature] = parts.as_slice() else { panic!("three parts") };
    let other = base64url(with(&json!({"sub": "root"})).to_string());
    tokens.push(("other claims", format!("{head}.{other}.{signature}")));
    tokens.push(("cut", good[..good.len() - 4].to_owned()));
    tokens.push(("more parts", format!("{good}.{signature}")));
    tokens.push(("a blank before", format!(" {good}")));
    tokens.push(("a blank after", format!("{good} x")));
    tokens.push(("no token", String::new()));
    tokens.push(("nonsense", "a.b.c".to_owned()));
    for (what, token) in &tokens {
        assert_refused(&whoami(&mut client, &[&bearing(token)]).await, what);
    }
    assert_refused(&whoami(&mut client, &["Bearer"]).await, "the scheme alone");
    let good = bearing(&good);
    assert_refused(&whoami(&mut client, &[&good, &good]).await, "two lines");
    assert_refused(&whoami(&mut client, &[&good, "Basic YTpi"]).await, "two lines");
    assert_eq!(whoami(&mut client, &[&good]).await.unwrap(), ALICE);
}

#[tokio::test]
async fn keys_are_replaced_while_the_server_runs() {
    let (old, new) = (Key::new("1", Algorithm::ES256), Key::new("2", Algorithm::EdDSA));
    let world = World::new(&[old.public()]).await;
    let directory = world.files.directory.path();
    let mut client = world.tls().await;
    let (by_old, by_new) = (bearing(&old.sign(&claims())), bearing(&new.sign(&claims())));
    let mut stream = Talk::begin(&mut client, AUTHORIZATION, &by_old).await.unwrap();
    assert_eq!(stream.ask().await.unwrap(), ALICE);
    assert_refused(&whoami(&mut client, &[&by_new]).await, "not yet");
    put_keys(directory, &[old.public(), new.public()]);
    soon(async { while whoami(&mut client, &[&by_new]).await.is_err() {} }).await;
    assert_eq!(whoami(&mut client, &[&by_old]).await.unwrap(), ALICE);
    // What is of no use changes nothing, and is told.
    std::fs::write(world.files.path("jwks.json"), "{\"keys\": [").unwrap();
    let path = world.files.path("jwks.json").display().to_string();
    let told = || {
        let told = log_lines("keys of tokens not reloaded");
        told.iter().any(|line| line["error"].as_str().unwrap().contains(&path))
    };
    until(told).await;
    assert_eq!(whoami(&mut client, &[&by_new]).await.unwrap(), ALICE);
    assert_eq!(stream.ask().await.unwrap(), ALICE);
    // A key that was taken away speaks for nobody, in streams either.
    put_keys(directory, &[new.public()]);
    soon(async { while whoami(&mut client, &[&by_old]).await.is_ok() {} }).await;
    let ended = stream.ask().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
    assert_eq!(whoami(&mut client, &[&by_new]).await.unwrap(), ALICE);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let key = Key::new("es", Algorithm::ES256);
    let world = World::new(&[key.public()]).await;
    let mut client = world.unix().await;
    // 30 seconds are clocks' own.
    let short = with(&json!({"iat": now() - 100, "exp": now() - 28}));
    let token = bearing(&key.sign(&short));
    let mut stream = Talk::begin(&mut client, AUTHORIZATION, &token).await.unwrap();
    assert_eq!(stream.ask().await.unwrap(), ALICE);
    let ended = soon(async {
        loop {
            match stream.ask().await {
                Ok(principal) => assert_eq!(principal, ALICE),
                Err(status) => return status,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(ended.await.code(), Code::Unauthenticated);
    assert_refused(&whoami(&mut client, &[&token]).await, "expired");
}

#[tokio::test]
async fn who_proves_two_callers_is_none() {
    let key = Key::new("es", Algorithm::ES256);
    let world = World::new(&[key.public()]).await;
    let token = bearing(&key.sign(&claims()));
    let issued = world.files.authority.client("billing", 1);
    let config = world.files.trusting(Some(&issued));
    let mut client = tls_client(world.server.tcp(), config).await.unwrap();
    // A certificate alone is one, and so is a token alone.
    assert_eq!(whoami(&mut client, &[]).await.unwrap(), "cn:billing");
    let both = whoami(&mut client, &[&token]).await.unwrap_err();
    assert_status(&both, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    assert!(both.message().contains("two callers"), "{both:?}");
    assert_eq!(whoami(&mut client, &["Basic YTpi"]).await.unwrap(), "cn:billing");
    let mut stranger = world.tls().await;
    assert_eq!(whoami(&mut stranger, &[&token]).await.unwrap(), ALICE);
    let none = whoami(&mut stranger, &[]).await.unwrap_err();
    assert_status(&none, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    assert!(none.message().contains("bears no token"), "{none:?}");
    // A user id names nobody where tokens do.
    let mut unix = world.unix().await;
    assert!(whoami(&mut unix, &[]).await.unwrap_err().message().contains("bears no token"));
    assert!(whoami(&mut unix, &["Basic YTpi"]).await.is_err());
}

#[tokio::test]
async fn a_sidecar_forwards_a_certificate_or_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let key = Key::new("es", Algorithm::ES256);
    put_keys(directory.path(), &[key.public()]);
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let text = format!(
        "[[listener]]\naddress = \"unix:both.sock\"\njwt = true\nforwarded_client_cert = {{ from = [\"unix:{uid}\"] }}\n\
         [[listener]]\naddress = \"unix:uid.sock\"\n\
         [store]\nkind = \"sqlite\"\npath = \"store\"\n[root_key]\nprovider = \"file\"\npath = \"root.key\"\n\
         [policy]\ndir = \"policies\"\n[auth.unix]\n{TABLE}"
    );
    let config = Config::parse(&text, directory.path(), []).unwrap();
    let server = Server::start(&config.listeners, quick()).await;
    let token = bearing(&key.sign(&claims()));
    let mut client = unix_client(&directory.path().join("both.sock")).await.unwrap();
    let mut ask = async |id: &str, token: Option<&str>, forwarded: Option<&str>| {
        let mut request = script("whoami");
        let metadata = request.metadata_mut();
        metadata.insert("x-request-id", id.parse().unwrap());
        if let Some(token) = token {
            metadata.insert(AUTHORIZATION, token.parse().unwrap());
        }
        if let Some(line) = forwarded {
            metadata.insert("x-forwarded-client-cert", line.parse().unwrap());
        }
        let asked = client.generate_data_key_without_plaintext(request);
        soon(asked).await.map(|answer| answer.into_inner().key_id)
    };
    let billing = Some("Hash=00;URI=spiffe://mesh.example/billing");
    assert_eq!(
        ask("by-certificate", None, billing).await.unwrap(),
        "spiffe://mesh.example/billing"
    );
    assert_eq!(ask("by-token", Some(&token), None).await.unwrap(), ALICE);
    let both = ask("by-both", Some(&token), billing).await.unwrap_err();
    assert!(both.message().contains("two callers"), "{both:?}");
    let quirk = ask("by-quirk", Some(&token), Some("Hash=00")).await.unwrap_err();
    assert_eq!(quirk.code(), Code::Unauthenticated);
    assert!(ask("by-none", None, None).await.unwrap_err().message().contains("bears no token"));
    let line = log_lines("by-token");
    let line = line.iter().find(|line| line["target"] == "keyferry::rpc").unwrap();
    assert_eq!((&line["principal"], &line["by"]), (&json!(ALICE), &json!(format!("unix:{uid}"))));
    // Where none are taken, one is refused and never overlooked.
    let mut by_uid = unix_client(&directory.path().join("uid.sock")).await.unwrap();
    assert_eq!(whoami(&mut by_uid, &[]).await.unwrap(), format!("unix:{uid}"));
    assert_refused(&whoami(&mut by_uid, &[&token]).await, "not taken here");
    drop(server);
}

#[tokio::test]
async fn probes_of_a_socket_need_no_token() {
    let key = Key::new("es", Algorithm::ES256);
    let world = World::new(&[key.public()]).await;
    let mut health = HealthClient::new(unix_channel(&world.socket()).await.unwrap());
    soon(health.check(tonic_health::pb::HealthCheckRequest::default())).await.unwrap();
}

#[tokio::test]
async fn the_groups_of_a_token_decide() {
    let directory = tempfile::tempdir().unwrap();
    let key = Key::new("es", Algorithm::ES256);
    put_keys(directory.path(), &[key.public()]);
    let text = format!("{SOCKET}{TABLE}groups_claim = \"roles\"\n");
    let config = Config::parse(&text, directory.path(), []).unwrap();
    let admins = r#"@id("admins") permit (principal in JwtGroup::"https://idp.example/realm#admins", action, resource);"#;
    let keys = Founded::over(Arc::new(MemoryStore::new())).await.keys(Arc::new(SystemClock)).await;
    let policy = Policy::written(policies(admins));
    let services = Services::new(keys, policy, Arns::new("local", "0"));
    let listener = Listener::bind(&config.listeners[0]).await.unwrap();
    let health = Health::new(&Services::NAMES, || async { true });
    let (faces, forever) = (services.routes(), std::future::pending());
    tokio::spawn(run(vec![listener], faces, health, Limits::default(), forever));
    let channel = unix_channel(&directory.path().join("kf.sock")).await.unwrap();
    let mut client = KeyManagementClient::new(channel);
    let mut create = async |changes: Value| {
        let mut request = Request::new(CreateKeyRequest::default());
        let token = bearing(&key.sign(&with(&changes)));
        request.metadata_mut().insert(AUTHORIZATION, token.parse().unwrap());
        let made = soon(client.create_key(request)).await?.into_inner();
        Ok::<_, Status>(made.key_metadata.unwrap().creator)
    };
    assert_eq!(create(json!({"roles": ["users", "admins"]})).await.unwrap(), ALICE);
    for others in [json!(["users"]), json!([]), json!(["admin", "admins2", "Admins"]), Value::Null]
    {
        let refused = create(json!({ "roles": others })).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    }
    let elsewhere = create(json!({"groups": ["admins"]})).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::PermissionDenied);
    for unfit in [json!("admins"), json!(["admins", 7]), json!([""]), json!(["a\nb"]), json!({})] {
        let refused = create(json!({ "roles": unfit })).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    }
    assert_eq!(create(json!({"roles": ["admins"]})).await.unwrap(), ALICE);
}

/// A receipt is signed by a key that somebody may well put among the issuer's, and its
/// claims may be whatever an attacker gets signed: its type is what tells it apart.
#[tokio::test]
async fn a_receipt_is_no_token() {
    let key = Key::new("es", Algorithm::ES256);
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let receipt = receipt_of(&services).await;
    let request = GetReceiptKeysRequest::default();
    let jwks = services.get_receipt_keys(&dev_caller(), request).await.unwrap().jwks;
    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    // The key of receipts is among those that tokens are verified by.
    let world = World::new(&[key.public(), jwks["keys"][0].clone()]).await;
    let (mut tls, mut unix) = (world.tls().await, world.unix().await);
    for client in [&mut tls, &mut unix] {
        assert_refused(&whoami(client, &[&bearing(&receipt)]).await, "a receipt");
    }
    let why = log_lines("its typ is not that of a token");
    assert!(!why.is_empty(), "refused for its type, before its signature");
    // Nor is a token that says it is one.
    let mut header = key.header();
    for typ in ["keyferry-export-receipt+jws", "application/keyferry-export-receipt+jws"] {
        header.typ = Some(typ.to_owned());
        let token = encode(&header, &claims(), &key.private).unwrap();
        assert_refused(&whoami(&mut tls, &[&bearing(&token)]).await, typ);
    }
    assert_eq!(whoami(&mut tls, &[&bearing(&key.sign(&claims()))]).await.unwrap(), ALICE);
}

/// A real receipt.
async fn receipt_of(services: &Services) -> String {
    let (caller, recipient) = (dev_caller(), Recipient::rsa());
    let made = services.create_key(&caller, CreateKeyRequest::default()).await.unwrap();
    let export = recipient.export(&[], &[]);
    let request = GenerateAndExportDataKeyRequest {
        key_id: made.key_metadata.unwrap().key_id,
        public_key_blob: export.public_key_blob,
        wrapping_algorithm: export.wrapping_algorithm,
        wrapping_key_spec: export.wrapping_key_spec,
        receipt: true,
        ..Default::default()
    };
    services.generate_and_export_data_key(&caller, request).await.unwrap().receipt
}

#[tokio::test]
async fn no_token_is_logged() {
    let key = Key::new("es", Algorithm::ES256);
    let world = World::new(&[key.public()]).await;
    let mut client = world.tls().await;
    let good = key.sign(&claims());
    let wrong = key.sign(&with(&json!({"aud": "xsecret-audience", "sub": "xsecret-subject"})));
    let malformed = format!("{}.xsecretpart.xsecretpart", good.split('.').next().unwrap());
    for token in [&good, &wrong, &malformed] {
        let _ = whoami(&mut client, &[&bearing(token)]).await;
    }
    let why = log_lines("its aud is another audience");
    assert!(!why.is_empty(), "the log has the cause");
    for token in [good, wrong, malformed] {
        for part in token.split('.') {
            assert!(log_lines(part).is_empty(), "a part of a token is in the log");
        }
    }
    assert!(log_lines("xsecret").is_empty());
}

#[tokio::test]
async fn keys_that_are_of_no_use_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{SOCKET}{TABLE}");
    let config = Config::parse(&text, directory.path(), []).unwrap();
    let path = directory.path().join("jwks.json");
    let bind = async || Listener::bind(&config.listeners[0]).await.map(drop);
    let refused = async |said: &str| {
        let error = bind().await.unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let text = error.to_string();
        assert!(text.contains("jwks.json") && text.contains(said), "{said}: {text}");
    };
    refused("does not exist").await;
    let key = Key::new("es", Algorithm::ES256);
    let changed = |changes: Value| {
        let mut jwk = key.public();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    };
    let hmac = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "h", "alg": "HS256"});
    let put = |keys: &[Value]| put_keys(directory.path(), keys);
    put(&[]);
    refused("has no key for any of the algorithms").await;
    for unused in [
        hmac.clone(),
        changed(json!({"use": "enc"})),
        changed(json!({"key_ops": ["sign"]})),
        changed(json!({"alg": "RS256"})),
        changed(json!({"alg": "ES512"})),
        changed(json!({"crv": "secp256k1"})),
        json!({"kty": "new", "kid": "n"}),
    ] {
        put(std::slice::from_ref(&unused));
        refused("has no key for any of the algorithms").await;
        put(&[unused, key.public()]);
        bind().await.unwrap();
    }
    put(&[key.public(), key.public()]);
    refused("two keys with the kid \"es\"").await;
    put(&[changed(json!({"kid": null}))]);
    refused("without a kid").await;
    put(&[changed(json!({"x": "%%%"}))]);
    refused("malformed").await;
    // Who knows the private half can be anybody.
    put(&[changed(json!({"d": "xsecret"}))]);
    refused("a private key").await;
    put_private(&path, "\"xsecret\"");
    let error = bind().await.unwrap_err().to_string();
    assert!(!error.contains("xsecret"), "what may be a secret is not shown: {error}");
    put_private(&path, "not JSON");
    refused("is no JWK Set").await;
    put(&[key.public()]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    refused("others can change it").await;
}
