//! `keyferry access-key …`, by the real program against itself.

use serde_json::Value;

use crate::command::{Server, words};

fn made(server: &Server, principal: &str) -> (String, String) {
    let line = format!("access-key create --principal {principal} --json");
    let made = server.client(&line).done();
    assert_eq!(made.stderr, "", "programs are told nothing beside the answer");
    let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    (text("access_key_id"), text("access_key_secret"))
}

/// Rows of a list, by their first word.
fn listed(server: &Server, options: &str) -> Vec<String> {
    let text = server.client(&format!("access-key list {options}")).done().text();
    text.lines().skip(1).map(|row| words(row)[0].to_owned()).collect()
}

#[test]
fn an_access_key_and_its_secret_are_shown_once() {
    let server = Server::dev();
    let (id, secret) = made(&server, "billing");
    assert!(id.starts_with("KF") && secret.len() == 44, "{id}");

    let told = server.client("access-key create --principal billing").done();
    let fields: Vec<(String, String)> = told
        .text()
        .lines()
        .map(|line| (words(line)[0].to_owned(), words(line)[1].to_owned()))
        .collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["access_key_id", "access_key_secret", "principal", "request_id"]);
    assert_eq!(fields[2].1, "billing");
    assert!(told.stderr.contains("shown this once"), "{}", told.stderr);
    assert!(!told.stderr.contains(&fields[1].1), "the warning repeats the secret");

    for options in ["", "--json", "--principal billing"] {
        let list = server.client(&format!("access-key list {options}")).done();
        let said = format!("{}{}", list.text(), list.stderr);
        assert!(said.contains(&id), "{said}");
        assert!(!said.contains(&secret) && !said.contains(&fields[1].1), "{options}");
    }
    let log = server.log();
    assert!(log.contains(&id), "{log}");
    assert!(!log.contains(&secret) && !log.contains(&fields[1].1));
}

#[test]
fn access_keys_are_listed_disabled_and_deleted() {
    let server = Server::dev();
    let none = server.client("access-key list").done();
    assert!(none.stderr.contains("keyferry access-key create"), "{none:?}");
    let ids: Vec<String> = ["a", "b", "a"].iter().map(|account| made(&server, account).0).collect();
    assert_eq!(listed(&server, "--page-size 1"), ids);
    assert_eq!(listed(&server, "--page-size 1 --principal a"), [ids[0].clone(), ids[2].clone()]);
    let heading = server.client("access-key list").done().text();
    let heading = words(heading.lines().next().unwrap()).join(" ");
    assert_eq!(heading, "access_key_id principal state creation_date");

    let disable = format!("access-key disable --access-key-id {}", ids[0]);
    let would = server.client(&format!("{disable} --dry-run")).done().text();
    assert!(would.contains("Nothing was changed"), "{would}");
    let told = server.client(&disable).done().text();
    assert_eq!(told, format!("{} is disabled.\n", ids[0]));
    let states: Value = server.client("access-key list --principal a --json").done().json();
    let states: Vec<&str> = states["access_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["Disabled", "Enabled"]);

    let delete = format!("access-key delete --access-key-id {}", ids[0]);
    assert_eq!(server.client(&delete).done().text(), format!("{} is deleted.\n", ids[0]));
    assert_eq!(listed(&server, ""), ids[1..]);
    for line in [disable, delete] {
        server
            .client(&line)
            .failed(1, &["EntityNotExist.User.AccessKey", "keyferry access-key list"]);
    }
}

#[test]
fn what_cannot_be_is_refused_with_advice() {
    let server = Server::dev();
    server
        .client("access-key create --principal access-key:billing")
        .failed(1, &["letters, digits", "help: Give the name of a service account"]);
    for _ in 0..10 {
        made(&server, "full");
    }
    server
        .client("access-key create --principal full")
        .failed(1, &["10 access keys", "keyferry access-key list --principal"]);
    let would = server.client("access-key create --principal other --dry-run").done();
    assert!(would.text().contains("Nothing was changed"), "{would:?}");
    assert_eq!(listed(&server, "--principal other"), Vec::<String>::new());
}
