//! The front door held to its own description by schemathesis, which makes up
//! requests from it: no answer that the description does not know, none of 5xx,
//! and each operation does its work at least once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use keyferry::gateway::actions::TABLE;

use super::front_door::FrontDoor;
use crate::support::harness::{Checks, checkout, installed, no_proxy, run, run_to_end};

/// Requests that are made up for each operation, besides those that its examples
/// and limits ask for.
const EXAMPLES: &str = "100";
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How many requests the run should come to at least.
const REQUESTS: usize = 4000;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance";

#[test]
#[ignore = "it takes minutes: scripts/test --long runs it"]
fn the_front_door_is_as_described() {
    let Some(peers) = installed("schemathesis", "described") else { return };
    let schemathesis = peers.join("described/bin/schemathesis");
    let version = run(Command::new(&schemathesis).arg("--version")).text();
    let mut checks = Checks::of(version.trim());
    let (door, folder) = (FrontDoor::open(), tempfile::tempdir().unwrap());
    let (key, answers) = (door.access_key("schemathesis"), folder.path().join("answers"));
    let mut client = Command::new(schemathesis);
    client
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", checkout().join("tests/peers/gateway_sdks/described"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", &key.id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &key.secret)
        .env("ENDPOINT", &door.server.address)
        .env("ANSWERS", &answers)
        .args(["run", "--no-color", "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--checks", CHECKS, "--warnings", "off"])
        .args(["--generation-database", "none", "--continue-on-failure"])
        .arg(format!("http://{}/openapi.json", door.server.address));
    no_proxy(&mut client);
    let ended = run_to_end(&mut client, LIMIT);
    let report = ended.text();
    println!("{report}");
    checks.that("as_described", ended.success);
    let answers = answered(&fs::read_to_string(answers).unwrap());
    for (action, statuses) in &answers {
        println!("{action}: {statuses:?}");
    }
    let requests: usize = answers.values().flat_map(BTreeMap::values).sum();
    checks.that("many_requests", requests >= REQUESTS);
    let statuses: BTreeSet<u16> = answers.values().flat_map(BTreeMap::keys).copied().collect();
    checks.that("none_of_5xx", statuses.iter().all(|status| *status < 500));
    for action in TABLE {
        checks.that(action.name, answers[action.name].contains_key(&200));
    }
    let log = door.server.log();
    checks.that("log_tells_refusals", log.contains("MissingParameter"));
    checks.that("log_keeps_secrets", !log.contains(&key.secret) && !log.contains("Signature="));
}

/// By operation and status, how many answers there were.
fn answered(lines: &str) -> BTreeMap<String, BTreeMap<u16, usize>> {
    let mut answers = BTreeMap::<_, BTreeMap<_, _>>::new();
    for line in lines.lines() {
        let (action, status) = line.split_once(' ').unwrap();
        let statuses = answers.entry(action.to_owned()).or_default();
        *statuses.entry(status.parse().unwrap()).or_default() += 1;
    }
    answers
}
