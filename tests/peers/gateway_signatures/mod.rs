//! Requests that Alibaba Cloud's own SDKs sign and send, with parameters at random,
//! odd characters above all. Each SDK is a program that stays: it reads cases
//! and prints the requests as they arrived at a server of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry::error::Rule;
use keyferry::gateway::signature::Scheme;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::harness::{Checks, checkout, installed, no_proxy};
use crate::support::request::{ACCESS_KEY_ID, Request, SECRET};

/// How many cases each way of signing is given.
const CASES: u32 = 100;

/// Parameters of the API, by names that query and form do not share.
const IN_QUERY: &[&str] = &[
    "KeyId",
    "Plaintext",
    "EncryptionContext",
    "Tag.1.Key",
    "Tag.10.Key",
    "Tag.2.Value",
    "DryRun",
];
const IN_FORM: &[&str] = &["SecretData", "Recipient", "Description", "Filters", "Policy.1"];

/// A request that an SDK is to send.
#[derive(Clone, Debug)]
struct Case {
    action: &'static str,
    query: BTreeMap<&'static str, String>,
    form: BTreeMap<&'static str, String>,
}

fn cases() -> impl Strategy<Value = Case> {
    let odd =
        "[ +*~%/&=?#:;,'\"()!<>\\[\\]{}|\\\\^`@$.\\-_\n\r\ta-cA-C0-2\u{e9}键值\u{1f600}]{0,24}";
    let value = || prop_oneof![4 => odd, 1 => any::<String>(), 1 => Just(String::new())];
    let some = |names, most| prop::collection::btree_map(select(names), value(), 0..most);
    let actions = &["Encrypt", "ExportDataKey", "CreateKey"][..];
    (select(actions), some(IN_QUERY, 7), prop_oneof![Just(BTreeMap::new()), some(IN_FORM, 5)])
        .prop_map(|(action, query, form)| Case { action, query, form })
}

/// An SDK's program.
struct Sdks {
    child: Child,
    cases: ChildStdin,
    requests: BufReader<ChildStdout>,
    versions: String,
}

impl Sdks {
    fn start(command: &mut Command) -> Self {
        no_proxy(command);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("an interpreter");
        let (cases, requests) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut started =
            Self { child, cases, requests: BufReader::new(requests), versions: String::new() };
        started.versions = started.line();
        started
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.requests.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the SDK's program ended; its reasons are on stderr");
        line.trim_end().to_owned()
    }

    fn send(&mut self, sdk: &str, case: &Case) -> Request {
        let line = json!({
            "sdk": sdk,
            "access_key_id": ACCESS_KEY_ID,
            "secret": SECRET,
            "action": case.action,
            "query": case.query,
            "form": case.form,
        });
        writeln!(self.cases, "{line}").unwrap();
        arrived(&serde_json::from_str(&self.line()).unwrap())
    }
}

impl Drop for Sdks {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arrived(printed: &Value) -> Request {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let target = text(&printed["target"]);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target, None),
    };
    let headers = printed["headers"].as_array().unwrap();
    Request {
        method: text(&printed["method"]),
        path,
        query,
        headers: headers.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        body: STANDARD.decode(text(&printed["body"])).unwrap(),
    }
}

/// Every case verifies as it arrived, with the parameters that were given, and
/// no longer does with one more.
fn verifies(sdks: &mut Sdks, sdk: &str, scheme: Scheme) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let sdks = RefCell::new(sdks);
    let outcome = TestRunner::new(config).run(&cases(), |mut case| {
        if sdk.ends_with("GET") {
            case.form.clear();
        }
        let request = sdks.borrow_mut().send(sdk, &case);
        let verified = match request.judge() {
            Ok(verified) => verified,
            Err(refused) => {
                return Err(TestCaseError::fail(format!("{request:?}\n{}", refused.text())));
            }
        };
        prop_assert_eq!((verified.scheme(), verified.action()), (scheme, case.action));
        prop_assert_eq!(verified.version(), Some("2016-01-20"));
        let parameters = request.parameters().unwrap();
        for (name, value) in case.query.iter().chain(&case.form) {
            prop_assert_eq!(parameters.get(name), Some(value.as_str()), "{}", name);
        }
        let mut more = request.clone();
        let query = request.query.map_or_else(String::new, |query| query + "&");
        more.query = Some(query + "GrantTokens=");
        prop_assert_eq!(more.judge().unwrap_err().rule(), Rule::SignatureMismatch);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{sdk}: {failure}"));
}

fn all_verify(command: &mut Command, ways: &[(&str, Scheme)]) {
    let mut sdks = Sdks::start(command);
    let mut checks = Checks::of(sdks.versions.clone());
    for (sdk, scheme) in ways {
        verifies(&mut sdks, sdk, *scheme);
        checks.that(sdk, true);
    }
}

#[test]
fn python() {
    let name = "Alibaba Cloud's SDKs for Python";
    let Some(peers) = installed(name, "gateway_python") else { return };
    let mut command = Command::new(peers.join("gateway_python/bin/python"));
    command.arg(checkout().join("tests/peers/gateway_signatures/python/signed_requests.py"));
    all_verify(
        &mut command,
        &[
            ("tea-openapi V3", Scheme::V3),
            ("tea-openapi v2", Scheme::V1),
            ("sdk-core V1 POST", Scheme::V1),
            ("sdk-core V1 GET", Scheme::V1),
        ],
    );
}

#[test]
fn node() {
    let name = "Alibaba Cloud's SDKs for Node";
    let Some(peers) = installed(name, "gateway_node") else { return };
    let mut command = Command::new("node");
    command
        .arg(checkout().join("tests/peers/gateway_signatures/node/signed_requests.js"))
        .env("NODE_PATH", peers.join("gateway_node/node_modules"));
    all_verify(
        &mut command,
        &[
            ("openapi-client V3", Scheme::V3),
            ("openapi-client v2", Scheme::V1),
            ("pop-core V1 POST", Scheme::V1),
            ("pop-core V1 GET", Scheme::V1),
        ],
    );
}
