//! One client's round trip, and what becomes of what it sent.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::front_door::{AccessKey, FrontDoor};
use super::recorder::{Recorder, Request};
use crate::proxies::{Kind, Proxy};
use crate::recipient::{self, Method, OAEP_SHA_1, OAEP_SHA_256, Recipient, SM2PKE};
use crate::support::harness::{Checks, Server, found, judge, no_proxy, run};

/// Checks that each client must have made.
const ROUND_TRIP: [&str; 35] = [
    "create_key",
    "request_id",
    "describe_key",
    "unset_is_empty",
    "rotation_policy",
    "generate_without_plaintext",
    "decrypt",
    "wrong_context",
    "generate_data_key",
    "encrypt_decrypt",
    "get_public_key",
    "asymmetric_decrypt",
    "verify",
    "verify_not",
    "list_pages",
    "list_past_the_end",
    "tags",
    "untag",
    "aliases",
    "by_alias",
    "update_alias",
    "unknown_alias",
    "disable",
    "disabled_key",
    "enable",
    "schedule",
    "pending_deletion",
    "cancel",
    "unknown_key",
    "missing_parameter",
    "invalid_parameter",
    "state_not_modified",
    "wrong_secret",
    "unknown_access_key",
    "disabled_access_key",
];

/// Checks that each client that is not older must have made.
const SINCE: [&str; 7] = [
    "export_rsa",
    "export_sm2",
    "generate_and_export",
    "re_encrypt",
    "re_encrypt_from_a_pair",
    "list_filters",
    "dry_run",
];

/// How a client signs and sends.
pub struct Way {
    pub signed_by: &'static str,
    pub method: &'static str,
    /// It is older than some of the API.
    pub is_older: bool,
}

impl Way {
    pub const fn v1(method: &'static str) -> Self {
        Self { signed_by: "HMAC-SHA1", method, is_older: false }
    }

    pub const fn v3() -> Self {
        Self { signed_by: "ACS3-HMAC-SHA256", method: "POST", is_older: false }
    }
}

/// Runs a client, to be given an address, a folder and then `more`, against a
/// server of its own.
pub fn travel(client: Command, more: &[&str], way: &Way) {
    travel_through(client, more, way, None);
}

/// The same through a proxy.
pub fn travel_through(mut client: Command, more: &[&str], way: &Way, proxy: Option<Kind>) {
    if !found("OpenSSL", recipient::version().is_some()) {
        return;
    }
    let mut door = FrontDoor::open();
    let recorder = Recorder::before(&door.server.address);
    let folder = tempfile::tempdir().unwrap();
    let (rsa, sm2) = (Recipient::rsa(2048), Recipient::sm2());
    for (name, recipient) in [("rsa", &rsa), ("sm2", &sm2)] {
        fs::write(folder.path().join(name).with_extension("der"), recipient.public_key()).unwrap();
    }
    let (key, disabled) = (door.access_key("traveller"), door.access_key("gone"));
    door.disable(&disabled);
    tell(&mut client, &key, &disabled);
    let proxy = proxy.map(|kind| Proxy::before(kind, &recorder.address));
    let address = proxy.as_ref().map_or(&recorder.address, |proxy| &proxy.http);
    let output = run(client.arg(address).arg(folder.path()).args(more)).text();
    let since: &[&str] = if way.is_older { &[] } else { &SINCE };
    let (peer, checks) = judge(&output, &[&ROUND_TRIP, since].concat());
    let peer =
        proxy.as_ref().map_or(peer.clone(), |proxy| format!("{} before {peer}", proxy.name()));
    let mut checks = Checks::after(peer, checks);
    if !way.is_older {
        unwrapped(&mut checks, folder.path(), &rsa, &sm2);
    }
    let requests = recorder.requests();
    sent(&mut checks, &requests, way);
    checks.that("log_keeps_secrets", keeps_secrets(&door.server, &[&key, &disabled]));
    repeated(&mut checks, &mut door, &requests);
}

/// In the environment, as the SDKs' own documents have it.
fn tell(client: &mut Command, key: &AccessKey, disabled: &AccessKey) {
    client
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", &key.id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &key.secret)
        .env("DISABLED_ACCESS_KEY_ID", &disabled.id)
        .env("DISABLED_ACCESS_KEY_SECRET", &disabled.secret);
    no_proxy(client);
}

/// OpenSSL and the command line open the exported data key, and it is the one that
/// Decrypt gave.
fn unwrapped(checks: &mut Checks, folder: &Path, rsa: &Recipient, sm2: &Recipient) {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let of = |name: &str, recipient: &Recipient, method: &Method| {
        let exported = read(&format!("{name}.exported"));
        let by_keyferry = recipient.open_by_keyferry(&exported, method.algorithm);
        (recipient.open(&exported, method), by_keyferry)
    };
    let (data_key, both) = (read("data_key"), read("both_data_key"));
    let same = |key: &[u8]| (key.to_vec(), key.to_vec());
    checks.that("rsa_unwrapped", of("rsa", rsa, &OAEP_SHA_256) == same(&data_key));
    checks.that("sm2_unwrapped", of("sm2", sm2, &SM2PKE) == same(&data_key));
    checks.that("both_unwrapped", of("both", rsa, &OAEP_SHA_1) == same(&both));
}

fn sent(checks: &mut Checks, requests: &[Request], way: &Way) {
    checks.that("sent", requests.len() >= 50);
    let as_said =
        |request: &Request| request.signed_by() == way.signed_by && request.method() == way.method;
    checks.that(&format!("{} {}", way.method, way.signed_by), requests.iter().all(as_said));
}

/// Neither secrets nor what was asked for stands in the log, where refusals do.
fn keeps_secrets(server: &Server, keys: &[&AccessKey]) -> bool {
    let log = server.log();
    assert!(log.contains("InvalidAccessKeyId.Inactive"), "{log}");
    let secret = keys.iter().any(|key| log.contains(&key.secret));
    !secret && ["Plaintext=", "Signature=", "HMAC"].iter().all(|part| !log.contains(part))
}

/// A nonce is good for once, and for a change that outlives the process.
fn repeated(checks: &mut Checks, door: &mut FrontDoor, requests: &[Request]) {
    let of = |action: &str| {
        requests.iter().find(|request| request.action() == action).expect("such a request")
    };
    let (change, look) = (of("CreateKey"), of("Decrypt"));
    let refused = |request: &Request, door: &FrontDoor| {
        let (status, body) = request.repeat(&door.server.address);
        println!("repeated: {status} {body}");
        let codes = ["\"Code\":\"SignatureNonceUsed\"", "<Code>SignatureNonceUsed</Code>"];
        status == "400" && codes.iter().any(|code| body.contains(code))
    };
    let before = door.cmks();
    checks.that("repeated_look", refused(look, door));
    checks.that("repeated_change", refused(change, door));
    door.open_anew();
    checks.that("repeated_change_after_a_restart", refused(change, door));
    checks.that("changed_once", door.cmks() == before);
}
