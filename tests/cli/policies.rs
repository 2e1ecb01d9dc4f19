//! `keyferry policy …`: the example policies and their tests, explanations, paths, and
//! what is said of what is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::{Ended, keyferry, run};

/// Each example, and a condition whose loss its tests must find: the text, and what takes
/// its place.
const EXAMPLES: [(&str, &str, &str); 5] = [
    ("pinned-exports", "context.blob.kind == \"DataKeyUnseen\"", "true"),
    ("keys-by-tag", "== \"payments\" };", "!= \"\" };"),
    (
        "separate-duties",
        "forbid (principal in Group::\"services\"",
        "forbid (principal in Group::\"auditors\"",
    ),
    ("receiving-region", "context.other_key in Alias::\"alias/payments\"", "true"),
    ("service-accounts", "resource in Alias::\"alias/web\"", "resource"),
];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies")
}

/// A copy of an example, to be changed.
fn copy_of(example: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(examples().join(example)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn with_ending(folder: &Path, ending: &str) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.to_str().unwrap().ends_with(ending)).unwrap()
}

fn test(folder: &Path) -> Ended {
    run(keyferry(["policy", "test"]).arg(with_ending(folder, ".test.toml")))
}

fn replace_in(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn every_example_is_right_and_its_tests_find_a_policy_that_is_wrong() {
    let folders =
        fs::read_dir(examples()).unwrap().filter(|it| it.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), EXAMPLES.len());
    for (example, condition, changed) in EXAMPLES {
        let folder = examples().join(example);
        let checked = run(keyferry(["policy", "check", "--json"]).arg(&folder)).done().json();
        assert_eq!(checked["warnings"], serde_json::json!([]), "{example}");
        let tested = test(&folder).done();
        assert!(!tested.text().contains("FAILED"), "{tested:?}");
        let wrong = copy_of(example);
        replace_in(&with_ending(wrong.path(), ".cedar"), condition, changed);
        let tested = test(wrong.path());
        assert!(tested.text().contains("FAILED"), "{example}");
        tested.failed(1, &["tests found another decision"]);
    }
}

#[test]
fn the_schema_file_is_what_the_command_prints() {
    let printed = run(&mut keyferry(["policy", "schema"])).done().text();
    let kept = fs::read_to_string(examples().join("keyferry.cedarschema")).unwrap();
    assert!(kept == printed, "`keyferry policy schema > examples/policies/keyferry.cedarschema`");
}

/// An explanation of an export of the example, with these options beside.
fn explain(options: &[&str]) -> Ended {
    let mut command = keyferry(["policy", "explain", "--json", "--action", "ExportDataKey"]);
    command.args(["--key", "alias/payments"]).args(options);
    run(command.arg("pinned-exports").current_dir(examples()))
}

#[test]
fn an_explanation_tells_what_would_have_to_be_otherwise() {
    let billing = ["--principal", "spiffe://kms.example/billing", "--context", "app=billing"];
    let to_hsm = ["--public-key", "pinned-exports/hsm-a.pem"];
    let allowed = explain(&[billing.as_slice(), &to_hsm].concat()).done().json();
    assert_eq!(allowed["decision"], "allow");
    assert_eq!(allowed["decisions"][0]["decided_by"], serde_json::json!(["billing-exports"]));
    assert_eq!(allowed["decisions"][0]["policies"][0]["place"], "exports.cedar:4");
    // Exactly the condition that is not met is told.
    for (options, missing) in [
        (&["--kind", "DataKeyShown"][..], "context.blob.kind == \"DataKeyUnseen\""),
        (&["--kind", "Imported"], "context.blob.kind == \"DataKeyUnseen\""),
    ] {
        let refused = [billing.as_slice(), &to_hsm, options].concat();
        let refused = explain(&refused).done().json();
        assert_eq!(refused["decision"], "deny");
        let nearest = &refused["decisions"][0]["policies"][0];
        assert_eq!(nearest["would_have_to_hold"], serde_json::json!([missing]));
    }
    let elsewhere = explain(&billing).done().json();
    let missing = &elsewhere["decisions"][0]["policies"][0]["would_have_to_hold"];
    assert_eq!(missing.as_array().unwrap().len(), 1);
    assert!(missing[0].as_str().unwrap().contains("public_key_sha256"), "{missing}");
    let shipping = ["--principal", "spiffe://kms.example/shipping", "--context", "app=billing"];
    let forbidden = explain(&[shipping.as_slice(), &to_hsm].concat()).done().json();
    assert_eq!(forbidden["decisions"][0]["decided_by"], serde_json::json!(["no-other-exports"]));
    let text = run(keyferry(["policy", "explain", "service-accounts", "--account", "web"])
        .args(["--principal", "cn:Help Desk", "--action", "CreateAccessKey"])
        .current_dir(examples()))
    .done();
    assert!(text.text().contains("may do more than the caller, by web-uses-its-key"), "{text:?}");
}

#[test]
fn a_request_that_lacks_a_fact_is_refused() {
    for (options, told) in [
        (&["--principal", "billing"][..], "a principal is spiffe://"),
        (&["--principal", "unix:7", "--action", "Export"], "there is no action \"Export\""),
        (&["--principal", "unix:7", "--action", "Decrypt"], "Decrypt is about a key"),
        (&["--principal", "unix:7", "--action", "ReEncrypt", "--key", "alias/a"], "two keys"),
        (&["--principal", "unix:7", "--action", "Decrypt", "--key", "payments"], "is no key"),
        (
            &[
                "--principal",
                "unix:7",
                "--action",
                "Decrypt",
                "--key",
                "alias/a",
                "--kind",
                "Plain",
            ],
            "kind \"Plain\" is none of DataKeyUnseen",
        ),
        (
            &["--principal", "unix:7", "--action", "AsymmetricSign", "--key", "alias/a"],
            "AsymmetricSign has an algorithm",
        ),
        (&["--principal", "unix:7", "--action", "CreateAccessKey"], "a service account"),
        (&["--principal", "unix:7", "--action", "DeleteAlias", "--key", "alias/a"], "an alias"),
    ] {
        let mut command = keyferry(["policy", "explain", "pinned-exports"]);
        command.args(options).current_dir(examples());
        if !options.contains(&"--action") {
            command.args(["--action", "ListKeys"]);
        }
        run(&mut command).failed(64, &[told, "help: "]);
    }
}

#[test]
fn paths_lists_the_policies_on_the_ways_to_plaintext() {
    let paths = |example: &str, key: &str| {
        let mut command = keyferry(["policy", "paths", "--json", example, "--key", key]);
        run(command.current_dir(examples())).done().json()["paths"].as_array().unwrap().clone()
    };
    let ids = |paths: &[serde_json::Value], step: &str| {
        let of_step = paths.iter().filter(|it| it["step"].as_str().unwrap().starts_with(step));
        of_step.map(|it| it["policy"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let pinned = paths("pinned-exports", "alias/payments");
    assert_eq!(ids(&pinned, "shows plaintext"), Vec::<String>::new());
    assert_eq!(ids(&pinned, "exports"), ["billing-exports", "no-other-exports"]);
    // Another key is not reached by a policy about alias/payments.
    assert_eq!(ids(&paths("pinned-exports", "alias/wages"), "exports"), ["no-other-exports"]);
    let duties = paths("separate-duties", "alias/payments");
    assert_eq!(ids(&duties, "shows"), ["administrators-use-nothing", "services-use"]);
    assert!(ids(&duties, "changes tags").contains(&"administrators-change".to_owned()));
    assert!(ids(&duties, "makes access keys").contains(&"administrators-change".to_owned()));
    let receiving = paths("receiving-region", "alias/payments");
    assert_eq!(ids(&receiving, "puts it under"), ["carrier-imports-to"]);
    assert_eq!(ids(&receiving, "decrypts what a key pair"), ["nobody-decrypts-with-the-pair"]);
}

#[test]
fn check_warns_of_a_way_round() {
    let folder = copy_of("pinned-exports");
    let more =
        "@id(\"helpful\") permit (principal is Spiffe, action == Action::\"Decrypt\", resource);";
    fs::write(folder.path().join("more.cedar"), more).unwrap();
    let checked = run(keyferry(["policy", "check"]).arg(folder.path())).done();
    let told =
        "Warning: more.cedar:1: policy helpful: it permits Decrypt to callers of billing-exports";
    assert!(checked.stderr.contains(told), "{checked:?}");
}

#[test]
fn a_test_file_that_is_wrong_is_refused_with_its_place() {
    let folder = copy_of("pinned-exports");
    let file = folder.path().join("exports.test.toml");
    let row = "principal = \"unix:7\"\naction = \"ListKeys\"\n";
    for (text, told) in [
        ("[[test]\n".to_owned(), "exports.test.toml:1: "),
        (format!("\n[[test]]\n{row}"), "exports.test.toml:2: missing field `decision`"),
        (format!("[[test]]\n{row}decision = \"maybe\"\n"), "unknown variant `maybe`"),
        (format!("[[test]]\n{row}decision = \"deny\"\nbob = 1\n"), "unknown field `bob`"),
        (format!("[[tests]]\n{row}decision = \"deny\"\n"), "unknown field `tests`"),
        (format!("[[test]]\n{row}decision = \"deny\"\nkey = 7\n"), "a key's id or alias"),
        (
            "[[test]]\nprincipal = \"x\"\naction = \"ListKeys\"\ndecision = \"deny\"\n".to_owned(),
            "exports.test.toml:1: the principal \"x\"",
        ),
        (format!("[[test]]\n{row}decision = \"deny\"\npublic_key = \"none.pem\"\n"), "none.pem"),
    ] {
        fs::write(&file, &text).unwrap();
        test(folder.path()).failed(65, &[told, "help: "]);
    }
    fs::write(&file, format!("[[test]]\n{row}decision = \"deny\"\n")).unwrap();
    test(folder.path()).done();
    fs::write(folder.path().join("exports.cedar"), "permit;").unwrap();
    test(folder.path()).failed(78, &["exports.cedar:1: "]);
    run(keyferry(["policy", "test"]).arg(folder.path().join("none.toml"))).failed(78, &[]);
}
