//! A person at a terminal: grpcurl with no proto files, everything learnt by
//! reflection. The old one knows reflection v1alpha only.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::recipient::{self, OAEP_SHA_1, OAEP_SHA_256, Recipient, SM2PKE};
use crate::support::harness::{Checks, PEER_LIMIT, Server, installed, run, run_to_end};

struct Grpcurl<'a> {
    program: PathBuf,
    server: &'a Server,
}

impl Grpcurl<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-plaintext");
        command
    }

    /// The output of `list` and `describe`.
    fn learn(&self, verb: &[&str]) -> String {
        run(self.command().arg(&self.server.address).args(verb)).text()
    }

    /// The answer to a call that must succeed.
    fn call(&self, method: &str, request: &Value) -> Value {
        let mut command = self.command();
        command.args(["-d", &request.to_string(), &self.server.address, method]);
        serde_json::from_slice(&run(&mut command).stdout).unwrap()
    }

    /// The status of a call that must fail.
    fn refusal(&self, method: &str, request: &Value) -> Value {
        let mut command = self.command();
        command.args(["-format-error", "-d", &request.to_string(), &self.server.address, method]);
        let finished = run_to_end(&mut command, PEER_LIMIT);
        assert!(!finished.success, "{method} was not refused");
        serde_json::from_slice(&finished.stderr).unwrap()
    }

    fn export(&self, blob: &Value, recipient: &Recipient, extra: &Value) -> Vec<u8> {
        let mut request = json!({
            "ciphertext_blob": blob,
            "encryption_context": {"tenant": "acme"},
            "public_key_blob": STANDARD.encode(recipient.public_key()),
        });
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        bytes(&self.call("keyferry.v1.Kms/ExportDataKey", &request)["exportedDataKey"])
    }
}

fn bytes(base64: &Value) -> Vec<u8> {
    STANDARD.decode(base64.as_str().unwrap()).unwrap()
}

/// The details of a status, by type.
fn detail<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let named = |detail: &&Value| detail["@type"].as_str().is_some_and(|name| name.ends_with(kind));
    let details = status["details"].as_array().expect("details");
    details.iter().find(named).unwrap_or(&Value::Null)
}

fn round_trip(program: PathBuf) {
    if recipient::version().is_none() {
        return;
    }
    let server = Server::dev();
    let mut checks = Checks::of(version(&program));
    let grpcurl = Grpcurl { program, server: &server };
    learn(&grpcurl, &mut checks);
    let key = make_key(&grpcurl, &mut checks);
    carry(&grpcurl, &mut checks, &key);
    break_rules(&grpcurl, &mut checks, &key);
}

fn version(program: &Path) -> String {
    let said = run(Command::new(program).arg("-version"));
    // The one says it on standard output, the other on standard error.
    String::from_utf8([said.stdout, said.stderr].concat()).unwrap().trim().to_owned()
}

fn learn(grpcurl: &Grpcurl, checks: &mut Checks) {
    let services = grpcurl.learn(&["list"]);
    let listed = |name: &str| services.lines().any(|line| line == name);
    checks.that(
        "list",
        ["Kms", "KeyManagement", "AccessManagement"]
            .iter()
            .all(|name| listed(&format!("keyferry.v1.{name}")))
            && listed("grpc.health.v1.Health"),
    );
    checks.that("records_are_not_listed", !services.contains("storage"));
    let request = grpcurl.learn(&["describe", "keyferry.v1.ExportDataKeyRequest"]);
    checks.that("describe", request.contains("bytes public_key_blob = 2;"));
    checks.that("describe_explains", request.contains("// Required. The recipient's public key"));
    let health = grpcurl.call("grpc.health.v1.Health/Check", &json!({}));
    checks.that("health", health["status"] == "SERVING");
}

fn make_key(grpcurl: &Grpcurl, checks: &mut Checks) -> String {
    let made =
        grpcurl.call("keyferry.v1.KeyManagement/CreateKey", &json!({"description": "by hand"}));
    let key = made["keyMetadata"]["keyId"].as_str().unwrap().to_owned();
    checks.that("create_key", made["keyMetadata"]["keyState"] == "Enabled");
    let alias = json!({"alias_name": "alias/by-hand", "key_id": key});
    grpcurl.call("keyferry.v1.KeyManagement/CreateAlias", &alias);
    let aliases = grpcurl.call("keyferry.v1.KeyManagement/ListAliases", &json!({}));
    checks.that("alias", aliases["aliases"][0]["keyId"] == key.as_str());
    key
}

fn carry(grpcurl: &Grpcurl, checks: &mut Checks, key: &str) {
    let context = json!({"tenant": "acme"});
    let made = grpcurl.call(
        "keyferry.v1.Kms/GenerateDataKeyWithoutPlaintext",
        &json!({"key_id": "alias/by-hand", "encryption_context": context}),
    );
    let blob = &made["ciphertextBlob"];
    checks.that("generate_without_plaintext", made["keyId"] == key);
    let opened = grpcurl.call(
        "keyferry.v1.Kms/Decrypt",
        &json!({"ciphertext_blob": blob, "encryption_context": context}),
    );
    let data_key = bytes(&opened["plaintext"]);
    checks.that("decrypt", data_key.len() == 32);

    let (rsa, sm2) = (Recipient::rsa(2048), Recipient::sm2());
    for method in [&OAEP_SHA_256, &OAEP_SHA_1] {
        let extra = json!({
            "wrapping_key_spec": "WRAPPING_KEY_SPEC_RSA_2048",
            "wrapping_algorithm": format!("WRAPPING_ALGORITHM_{}", method.algorithm),
        });
        let exported = grpcurl.export(blob, &rsa, &extra);
        checks.that(method.algorithm, rsa.open(&exported, method) == data_key);
    }
    let extra = json!({
        "wrapping_key_spec": "WRAPPING_KEY_SPEC_EC_SM2",
        "wrapping_algorithm": "WRAPPING_ALGORITHM_SM2PKE",
    });
    let exported = grpcurl.export(blob, &sm2, &extra);
    checks.that("SM2PKE", sm2.open(&exported, &SM2PKE) == data_key);
}

fn break_rules(grpcurl: &Grpcurl, checks: &mut Checks, key: &str) {
    let refused = grpcurl
        .refusal("keyferry.v1.Kms/GenerateDataKey", &json!({"key_id": key, "dry_run": true}));
    // google.rpc.Code: 9 is FAILED_PRECONDITION, 3 is INVALID_ARGUMENT.
    checks.that("dry_run", refused["code"] == 9);
    checks.that(
        "error_info",
        detail(&refused, "google.rpc.ErrorInfo")["reason"] == "DryRunOperationError",
    );
    let refused = grpcurl.refusal("keyferry.v1.Kms/GenerateDataKey", &json!({}));
    let violations = &detail(&refused, "google.rpc.BadRequest")["fieldViolations"];
    checks.that("bad_request", refused["code"] == 3 && violations[0]["field"] == "key_id");
    grpcurl.call("keyferry.v1.KeyManagement/DisableKey", &json!({"key_id": key}));
    let refused =
        grpcurl.refusal("keyferry.v1.Kms/Encrypt", &json!({"key_id": key, "plaintext": "AAAA"}));
    checks.that(
        "disabled",
        detail(&refused, "google.rpc.ErrorInfo")["reason"] == "Rejected.Disabled",
    );
}

#[test]
fn grpcurl_of_today() {
    let Some(peers) = installed("grpcurl 1.9", "grpcurl") else { return };
    round_trip(peers.join("bin/grpcurl"));
}

#[test]
fn grpcurl_of_old() {
    let Some(peers) = installed("grpcurl 1.8", "tools") else { return };
    round_trip(peers.join("tools/bin/grpcurl"));
}
