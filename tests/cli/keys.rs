//! `keyferry key …` and `data-key re-encrypt`: the life of CMKs, by the real
//! program against itself.

use serde_json::{Value, json};

use crate::command::{Ended, Server, file, words};

fn metadata(server: &Server, key: &str) -> Value {
    let described = server.client(&format!("key describe --key {key} --json")).done().json();
    described["key_metadata"].clone()
}

fn made(ended: Ended) -> String {
    ended.done().json()["key_metadata"]["key_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_cmk_is_made_as_it_is_asked_for() {
    let server = Server::dev();
    let key = made(server.client(
        "key create --description payments --rotation-interval 90d --tag team=a=b --tag tier=1 --json",
    ));
    let found = metadata(&server, &key);
    assert_eq!(found["automatic_rotation"], "Enabled");
    assert_eq!(found["rotation_interval"], "7776000s");
    assert_eq!(found["description"], "payments");
    let tags = server.client(&format!("key tags --key {key}")).done().text();
    let rows: Vec<Vec<&str>> = tags.lines().map(words).collect();
    assert_eq!(rows, [["tag_key", "tag_value"], ["team", "a=b"], ["tier", "1"]]);

    server
        .client("key create --rotation-interval 6d")
        .failed(1, &["rotation_interval", "Give 7d to 730d", "InvalidParameter"]);
    server
        .client("key create --key-spec RSA_2048 --rotation-interval 90d")
        .failed(1, &["Give 7d to 730d for a CMK of spec Aliyun_AES_256"]);
    server
        .client("key create --key-usage SIGN/VERIFY")
        .failed(1, &["ENCRYPT/DECRYPT", "keyferry key create --help"]);
    server
        .client("key create --key-spec RSA_1024")
        .failed(1, &["RSA_2048", "keyferry key create --help"]);
    server.client("key create --tag acs:x=1").failed(1, &["help: Give at most 20"]);
}

#[test]
fn a_list_holds_what_fits_all_filters() {
    let server = Server::dev();
    let plain = server.create_key();
    let off = made(server.client("key create --tag team=a --json"));
    let on = made(server.client("key create --tag team=b --json"));
    server.client(&format!("key disable --key {off}")).done();
    let listed = |filters: &str| -> Vec<String> {
        let text = server.client(&format!("key list --page-size 1 {filters}")).done().text();
        text.lines().skip(1).map(|row| words(row)[0].to_owned()).collect()
    };
    assert_eq!(listed(""), [plain.clone(), off.clone(), on.clone()]);
    assert_eq!(listed("--filter KeyState=Enabled"), [plain.clone(), on.clone()]);
    let both = "--filter KeyState=Enabled --filter KeyState=Disabled";
    assert_eq!(listed(both), [plain.clone(), off.clone(), on.clone()]);
    assert_eq!(listed(&format!("{both} --filter TagKey=team")), [off.clone(), on.clone()]);
    assert_eq!(listed("--filter TagKey=team --filter KeyState=Disabled"), [off]);

    let none = server.client("key list --filter KeySpec=EC_SM2").done();
    assert!(none.stderr.contains("No CMK matches"), "{none:?}");
    server
        .client("key list --filter Colour=blue")
        .failed(1, &["TagValue", "keyferry key list --help"]);
}

#[test]
fn a_description_and_tags_are_changed() {
    let server = Server::dev();
    let key = server.create_key();
    let told = server.client(&format!("key update-description --key {key} --description orders"));
    assert_eq!(told.done().text(), format!("The description of {key} is changed.\n"));
    assert_eq!(metadata(&server, &key)["description"], "orders");

    let none = server.client(&format!("key tags --key {key}")).done();
    assert!(none.stderr.contains("keyferry key tag"), "{none:?}");
    let told = server.client(&format!("key tag --key {key} --tag team=a --tag tier=1"));
    assert_eq!(told.done().text(), format!("{key} is tagged.\n"));
    server.client(&format!("key tag --key {key} --tag team=b")).done();
    let told = server.client(&format!("key untag --key {key} --tag-key tier --tag-key never"));
    assert_eq!(told.done().text(), format!("{key} has none of these tags now.\n"));
    let tags = server.client(&format!("key tags --key {key} --json")).done().json();
    let expected = json!([{ "key_id": key, "tag_key": "team", "tag_value": "b" }]);
    assert_eq!(tags["tags"], expected);

    let other = server.create_key();
    let both = format!("--key {key} --key {other}");
    let told = server.client(&format!("key tag {both} --tag tier=2")).done().text();
    assert_eq!(told, "2 CMKs are tagged.\n");
    let told = server.client(&format!("key untag {both} --tag-key team")).done().text();
    assert_eq!(told, "2 CMKs have none of these tags now.\n");
    let listed = server.client(&format!("key tags {both}")).done().text();
    let rows: Vec<Vec<&str>> = listed.lines().map(words).collect();
    assert_eq!(rows[0], ["key_id", "tag_key", "tag_value"]);
    assert_eq!(rows[1..], [[key.as_str(), "tier", "2"], [other.as_str(), "tier", "2"]]);
}

#[test]
fn a_cmk_is_rotated_by_hand_and_on_a_schedule() {
    let server = Server::dev();
    let key = server.create_key();
    let first = metadata(&server, &key)["primary_key_version"].as_str().unwrap().to_owned();
    server.client(&format!("data-key generate --key {key} --out blob")).done();
    let told = server.client(&format!("key rotate --key {key}")).done().text();
    let second = metadata(&server, &key)["primary_key_version"].as_str().unwrap().to_owned();
    assert!(first != second && told.contains(&second), "{told}");

    let versions = server.client(&format!("key versions --key {key} --page-size 1")).done().text();
    let rows: Vec<&str> = versions.lines().map(|row| words(row)[0]).collect();
    assert_eq!(rows, ["key_version_id", first.as_str(), second.as_str()]);
    let one = format!("key describe-version --key {key} --key-version {first}");
    assert!(server.client(&one).done().text().contains(&first));
    let described = server.client(&format!("{one} --json")).done().json();
    assert_eq!(described["key_version"]["key_version_id"], first.as_str());
    server
        .client(&format!("key describe-version --key {key} --key-version {key}"))
        .failed(1, &["Forbidden.KeyVersionNotFound", "keyferry key versions --key"]);

    // A blob of the old version is still exported.
    let public_key = file("sm2.public.pem");
    let export = format!("data-key export --in blob --public-key {public_key} --out exported");
    assert!(server.client(&export).done().text().contains(&first));

    let told = server.client(&format!("key rotation-policy --key {key} --every 30d")).done();
    assert_eq!(told.text(), format!("{key} is rotated every 30d.\n"));
    assert_eq!(metadata(&server, &key)["automatic_rotation"], "Enabled");
    let told = server.client(&format!("key rotation-policy --key {key} --off")).done();
    assert_eq!(told.text(), format!("{key} is not rotated on a schedule.\n"));
    assert_eq!(metadata(&server, &key)["automatic_rotation"], "Disabled");
    server
        .client(&format!("key rotation-policy --key {key} --every soon"))
        .failed(1, &["rotation_interval", "Give 7d to 730d"]);
}

#[test]
fn a_cmk_is_protected_deleted_and_kept() {
    let server = Server::dev();
    let key = server.create_key();
    server.client(&format!("data-key generate --key {key} --out blob")).done();
    let protect = format!("key protect --key {key} --description in-use");
    assert_eq!(
        server.client(&protect).done().text(),
        format!("{key} is protected from deletion.\n")
    );
    let found = metadata(&server, &key);
    assert_eq!(found["deletion_protection"], "Enabled");
    assert_eq!(found["deletion_protection_description"], "in-use");
    let schedule = format!("key schedule-deletion --key {key} --days 7");
    server
        .client(&schedule)
        .failed(1, &["Rejected.DeletionProtection", "keyferry key unprotect --key"]);
    let told = server.client(&format!("key unprotect --key {key}")).done();
    assert_eq!(told.text(), format!("{key} is not protected from deletion.\n"));

    let told = server.client(&schedule).done().text();
    assert!(told.contains("for ever in 7 days") && told.contains("cancel-deletion"), "{told}");
    let found = metadata(&server, &key);
    assert_eq!(found["key_state"], "PendingDeletion");
    assert!(!found["delete_date"].as_str().unwrap().is_empty());
    let generate = format!("data-key generate --key {key} --out blob");
    server
        .client(&generate)
        .failed(1, &["Rejected.PendingDeletion", "keyferry key cancel-deletion --key"]);
    server
        .client(&format!("key enable --key {key}"))
        .failed(1, &["Rejected.", "FAILED_PRECONDITION"]);

    let told = server.client(&format!("key cancel-deletion --key {key}")).done();
    assert_eq!(told.text(), format!("{key} is enabled and will not be deleted.\n"));
    server.client(&generate).done();
    server
        .client(&format!("key cancel-deletion --key {key}"))
        .failed(1, &["Rejected.StateModifiedFailed", "keyferry key describe"]);
    server.client(&format!("alias create alias/a --key {key}")).done();
    server
        .client("key protect --key alias/a")
        .failed(1, &["keyferry key describe --key alias/NAME"]);
}

#[test]
fn a_blob_is_sealed_anew_under_another_key_and_context() {
    let server = Server::dev();
    let (from, to) = (server.create_key(), server.create_key());
    server.client(&format!("data-key generate --key {from} --context a=1 --out blob")).done();
    let anew = format!("data-key re-encrypt --in blob --key {to} --context b=2 --out anew");
    server.client(&anew).failed(1, &["does not open", "--context"]);
    let told = server.client(&format!("{anew} --source-context a=1")).done().text();
    assert!(told.contains(&format!("source_key_id          {from}\n")), "{told}");
    assert!(told.contains("142 bytes in anew"), "{told}");
    let json = server
        .client(&format!("data-key re-encrypt --in blob --key {to} --source-context a=1 --json"))
        .done()
        .json();
    assert_eq!(json["key_id"], from.as_str());

    let (public_key, private_key) = (file("sm2.public.pem"), file("sm2.private.pem"));
    for (blob, context) in [("blob", "a=1"), ("anew", "b=2")] {
        server
            .client(&format!("data-key export --in {blob} --public-key {public_key} --context {context} --out {blob}.out"))
            .done();
        server
            .client(&format!(
                "data-key unwrap --in {blob}.out --private-key {private_key} --out {blob}.key"
            ))
            .done();
    }
    assert_eq!(server.read("blob.key"), server.read("anew.key"));
}

#[test]
fn a_dry_run_of_each_change_changes_nothing() {
    let server = Server::dev();
    let key = server.create_key();
    server.client(&format!("key tag --key {key} --tag team=a")).done();
    server.client(&format!("data-key generate --key {key} --out blob")).done();
    let before = metadata(&server, &key);
    let version = before["primary_key_version"].as_str().unwrap();
    for line in [
        "key create --tag team=a --rotation-interval 7d".to_owned(),
        "key list --filter KeyState=Enabled".to_owned(),
        format!("key update-description --key {key} --description x"),
        format!("key schedule-deletion --key {key} --days 366"),
        format!("key protect --key {key}"),
        format!("key unprotect --key {key}"),
        format!("key rotate --key {key}"),
        format!("key versions --key {key}"),
        format!("key describe-version --key {key} --key-version {version}"),
        format!("key rotation-policy --key {key} --every 7d"),
        format!("key rotation-policy --key {key} --off"),
        format!("key tag --key {key} --tag team=b"),
        format!("key untag --key {key} --tag-key team"),
        format!("key tags --key {key}"),
        format!("data-key re-encrypt --in blob --key {key}"),
    ] {
        let told = server.client(&format!("{line} --dry-run --json")).done().json();
        assert_eq!(told["reason"], "DryRunOperationError", "{line}");
    }
    assert_eq!(metadata(&server, &key), before);
    let tags = server.client(&format!("key tags --key {key}")).done().text();
    assert!(tags.contains("team     a"), "{tags}");
    server
        .client(&format!("key cancel-deletion --key {key} --dry-run"))
        .failed(1, &["Rejected.StateModifiedFailed"]);
}
