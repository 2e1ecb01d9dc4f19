//! Receipts at the command line: written beside exports, verified before anything is
//! unwrapped, sent along with imports.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::command::{Ended, Server, file, keyferry, run};

/// A server, a blob of it, and a recipient.
struct World {
    server: Server,
    public: String,
    private: String,
}

impl World {
    fn new() -> Self {
        let server = Server::dev();
        let key = server.create_key();
        server
            .client(&format!("data-key generate --key {key} --context tenant=a --out blob"))
            .done();
        Self { server, public: file("rsa_2048.public.pem"), private: file("rsa_2048.private.pem") }
    }

    /// An export with its receipt, in these files.
    fn export(&self, to: &str, receipt: &str) {
        let public = &self.public;
        let line = format!(
            "data-key export --in blob --public-key {public} --context tenant=a --out {to} --receipt {receipt}"
        );
        let told = self.server.client(&line).done().text();
        assert!(told.contains(&format!("bytes in {receipt}")), "{told}");
    }

    fn keys(&self) -> Value {
        self.server.client("receipt keys --out issuer.jwks").done();
        serde_json::from_slice(&self.server.read("issuer.jwks")).unwrap()
    }

    fn unwrap(&self, input: &str, options: &str) -> Ended {
        let private = &self.private;
        let line = format!(
            "data-key unwrap --in {input} --private-key {private} {options} --out key --force"
        );
        run(keyferry(line.split_whitespace()).current_dir(self.server.folder.path()))
    }

    fn offline(&self, line: &str) -> Ended {
        run(keyferry(line.split_whitespace()).current_dir(self.server.folder.path()))
    }

    fn receipt(&self) -> String {
        String::from_utf8(self.server.read("receipt")).unwrap().trim_end().to_owned()
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.server.path(name), text).unwrap();
    }
}

#[test]
fn an_export_is_unwrapped_once_its_receipt_is_verified() {
    let world = World::new();
    world.export("exported", "receipt");
    let jwks = world.keys();
    let kid = jwks["keys"][0]["kid"].as_str().unwrap();
    let open = "symmetric decrypt --in blob --context tenant=a --out -";
    let data_key = world.server.client(open).done().stdout;
    for trust in ["--receipt-keys issuer.jwks".to_owned(), format!("--issuer {kid}")] {
        for age in ["", "--max-age 1h"] {
            let _ = fs::remove_file(world.server.path("key"));
            let told = world.unwrap("exported", &format!("--receipt receipt {trust} {age}")).done();
            assert_eq!(world.server.read("key"), data_key);
            let issuer = jwks["kf_issuer"].as_str().unwrap();
            assert!(told.text().contains(issuer), "{told:?}");
        }
    }
    let json = format!("--receipt receipt --issuer {kid} --json");
    let json = world.unwrap("exported", &json).done().json();
    assert_eq!(json["receipt"]["exported_bytes"], 256);
    assert_eq!(json["receipt"]["iss"], jwks["kf_issuer"]);
}

#[test]
fn each_altered_member_is_refused_before_anything_is_unwrapped() {
    let world = World::new();
    world.export("exported", "receipt");
    let jwks = world.keys();
    let kid = jwks["keys"][0]["kid"].as_str().unwrap();
    let receipt = world.receipt();
    let [head, body, signature] = receipt.split('.').collect::<Vec<_>>().try_into().unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
    let refused = |text: &str, exit: i32, said: &str| {
        world.put("other", text);
        for trust in ["--receipt-keys issuer.jwks".to_owned(), format!("--issuer {kid}")] {
            world
                .unwrap("exported", &format!("--receipt other {trust}"))
                .failed(exit, &[said, "help: "]);
        }
        assert!(!world.server.path("key").exists());
    };
    for (name, value) in claims.as_object().unwrap() {
        let mut altered = claims.clone();
        altered[name] = match value {
            Value::Number(number) => json!(number.as_i64().unwrap() - 1),
            text => json!(format!("{}0", text.as_str().unwrap())),
        };
        let altered = URL_SAFE_NO_PAD.encode(altered.to_string());
        refused(
            &format!("{head}.{altered}.{signature}"),
            1,
            "is not signed by the key that it names",
        );
    }
    let typ = json!({"alg": "ES256", "typ": "JWT", "kid": kid}).to_string();
    let typ = URL_SAFE_NO_PAD.encode(typ);
    refused(&format!("{typ}.{body}.{signature}"), 65, "has another header than a receipt's");
    let none = json!({"alg": "none", "typ": "keyferry-export-receipt+jws", "kid": kid}).to_string();
    refused(&format!("{}.{body}.", URL_SAFE_NO_PAD.encode(none)), 65, "has another header");
    let another = URL_SAFE_NO_PAD.encode([7; 32]);
    let other = json!({"alg": "ES256", "typ": "keyferry-export-receipt+jws", "kid": another});
    let other = URL_SAFE_NO_PAD.encode(other.to_string());
    refused(
        &format!("{other}.{body}.{signature}"),
        1,
        "names a key that is none of the trusted ones",
    );
    refused("no receipt at all", 65, "is no compact JWS");
}

#[test]
fn a_receipt_of_something_else_is_refused() {
    let world = World::new();
    world.export("exported", "receipt");
    world.export("again", "receipt-of-again");
    let jwks = world.keys();
    let trust = "--receipt receipt --receipt-keys issuer.jwks";
    world.unwrap("again", trust).failed(1, &["is for another exported data key"]);
    let sm2 = file("sm2.private.pem");
    let line = format!("data-key unwrap --in exported --private-key {sm2} {trust} --out key");
    world.offline(&line).failed(1, &["is for another recipient's public key"]);
    world
        .unwrap("exported", &format!("{trust} --algorithm RSAES_OAEP_SHA_1"))
        .failed(1, &["tells another wrapping algorithm"]);
    world.unwrap("exported", &format!("{trust} --max-age 0s")).failed(1, &["older than --max-age"]);
    // The keys of another issuer, and this one's in another's name.
    let stranger = World::new();
    fs::write(world.server.path("stranger.jwks"), stranger.keys().to_string()).unwrap();
    world
        .unwrap("exported", "--receipt receipt --receipt-keys stranger.jwks")
        .failed(1, &["names a key that is none of the trusted ones"]);
    let mut renamed = jwks;
    renamed["kf_issuer"] = json!("0198c0de-0000-7000-8000-000000000009");
    world.put("renamed.jwks", &renamed.to_string());
    world
        .unwrap("exported", "--receipt receipt --receipt-keys renamed.jwks")
        .failed(1, &["names another issuer"]);
    assert!(!world.server.path("key").exists(), "nothing was unwrapped");
    // Trust must be said, and is about a receipt.
    world
        .unwrap("exported", "--receipt receipt")
        .failed(64, &["whose receipts are to be believed"]);
    world.unwrap("exported", "--receipt-keys issuer.jwks").failed(64, &["none is given"]);
    world.unwrap("exported", "--max-age 1d").failed(64, &["none is given"]);
    for wrong in ["--issuer x", "--max-age 1", "--max-age 1w"] {
        assert_eq!(world.unwrap("exported", &format!("--receipt receipt {wrong}")).exit, Some(64));
    }
    world.put("broken.jwks", "{");
    world
        .unwrap("exported", "--receipt receipt --receipt-keys broken.jwks")
        .failed(65, &["is no JWK Set"]);
}

#[test]
fn a_receipt_is_shown_and_verified_offline() {
    let world = World::new();
    let public = &world.public;
    let line = format!(
        "data-key generate --key {} --context tenant=a --out other-blob --public-key {public} --exported-out exported --receipt receipt",
        world.server.create_key()
    );
    world.server.client(&line).done();
    let kid = world.keys()["keys"][0]["kid"].clone();
    let shown = world.offline("receipt show receipt").done();
    assert!(shown.text().contains(kid.as_str().unwrap()) && shown.text().contains("DataKeyUnseen"));
    assert!(shown.stderr.contains("Nothing of this is verified"), "{shown:?}");
    let json = world.offline("receipt show receipt --json").done().json();
    assert_eq!((&json["verified"], &json["kid"]), (&json!(false), &kid));
    let verify = format!(
        "receipt verify receipt --receipt-keys issuer.jwks --in exported --public-key {public}"
    );
    for context in ["", "--context tenant=a"] {
        let told = world.offline(&format!("{verify} {context} --json")).done().json();
        assert_eq!(told["verified"], true);
    }
    for context in ["--context tenant=b", "--context tenant=a --context x=y"] {
        world.offline(&format!("{verify} {context}")).failed(1, &["another encryption context"]);
    }
    let other = file("rsa_3072.public.pem");
    let verify = "receipt verify receipt --receipt-keys issuer.jwks --in";
    world
        .offline(&format!("{verify} exported --public-key {other}"))
        .failed(1, &["another recipient's public key"]);
    world
        .offline(&format!("{verify} other-blob --public-key {public}"))
        .failed(1, &["another exported data key"]);
}

#[test]
fn a_batch_has_receipts_for_the_items_that_ask() {
    let world = World::new();
    let blob = base64::engine::general_purpose::STANDARD.encode(world.server.read("blob"));
    let line = |receipt: bool| json!({"ciphertext_blob": blob, "receipt": receipt}).to_string();
    world.put("batch", &format!("{}\n{}\n", line(true), line(false)));
    let public = &world.public;
    let batch = format!(
        "data-key export --batch batch --public-key {public} --context tenant=a --out answers"
    );
    world.server.client(&batch).done();
    let answers = String::from_utf8(world.server.read("answers")).unwrap();
    let receipts: Vec<String> = answers
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|answer| answer["exported"]["receipt"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((receipts[0].split('.').count(), receipts[1].as_str()), (3, ""));
    world.server.client(&format!("{batch} --receipt receipt")).failed(64, &["--receipt"]);
}

#[test]
fn an_import_sends_its_receipt_along() {
    let world = World::new();
    world.export("exported", "receipt");
    let key = world.server.create_key();
    let made = "key create --key-spec RSA_2048 --key-usage ENCRYPT/DECRYPT --json";
    let made = world.server.client(made).done().json();
    let pair = made["key_metadata"]["key_id"].as_str().unwrap();
    let listed = world.server.client(&format!("key versions --key {pair} --json")).done().json();
    let version = listed["key_versions"][0]["key_version_id"].as_str().unwrap();
    let line = format!(
        "data-key import --in exported --source-key {pair} --source-key-version {version} --key {key} --out imported --receipt receipt"
    );
    world.server.client(&line).failed(1, &["source_receipt", "no issuer of receipts"]);
}

#[test]
fn a_receipt_goes_to_a_file_of_its_own() {
    let world = World::new();
    let public = &world.public;
    let export = format!("data-key export --in blob --public-key {public} --context tenant=a");
    world.server.client(&format!("{export} --out - --receipt -")).failed(64, &["two things"]);
    let piped = world.server.client(&format!("{export} --out exported --receipt -")).done();
    assert_eq!(piped.text().trim_end().split('.').count(), 3, "{piped:?}");
    let keys = world.server.client("receipt keys --out -").done();
    assert_eq!(keys.json()["keys"].as_array().unwrap().len(), 1);
    let table = world.server.client("receipt keys").done();
    assert!(table.text().contains("signs_from") && table.stderr.contains("The issuer is"));
    world.server.client("receipt keys --dry-run").done();
}
