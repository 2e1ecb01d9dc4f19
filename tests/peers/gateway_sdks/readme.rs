//! The program that the README shows, run as it stands.

use std::fs;
use std::process::Command;

use super::front_door::FrontDoor;
use crate::recipient::{self, OAEP_SHA_256, Recipient};
use crate::support::harness::{Checks, found, installed, no_proxy, run};

const PROGRAM: &str = include_str!("../../../examples/alibaba_sdk.py");
/// Where the program looks for a server; the test's is elsewhere.
const ADDRESS: &str = "127.0.0.1:7311";

#[test]
fn the_readme_shows_the_example() {
    let shown = format!("```python\n{PROGRAM}```\n");
    assert!(include_str!("../../../README.md").contains(&shown));
    assert_eq!(PROGRAM.matches(ADDRESS).count(), 1);
}

#[test]
fn the_example_exports_a_data_key() {
    let Some(peers) = installed("Alibaba Cloud's SDKs for Python", "gateway_python") else {
        return;
    };
    if !found("OpenSSL", recipient::version().is_some()) {
        return;
    }
    let mut checks = Checks::of("alibabacloud_kms20160120 as the README has it");
    let (door, rsa) = (FrontDoor::open(), Recipient::rsa(2048));
    let folder = tempfile::tempdir().unwrap();
    let [program, exported] = ["alibaba_sdk.py", "exported"].map(|name| folder.path().join(name));
    fs::write(&program, PROGRAM.replace(ADDRESS, &door.server.address)).unwrap();
    let key = door.access_key("billing");
    let mut python = Command::new(peers.join("gateway_python/bin/python"));
    python
        .env("ALIBABA_CLOUD_ACCESS_KEY_ID", &key.id)
        .env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", &key.secret)
        .arg(&program)
        .arg(rsa.file("public.der"))
        .arg(&exported);
    no_proxy(&mut python);
    run(&mut python);
    let exported = fs::read(exported).unwrap();
    let opened = rsa.open(&exported, &OAEP_SHA_256);
    checks.that("opened_by_openssl", opened.len() == 32);
    let ours = rsa.open_by_keyferry(&exported, OAEP_SHA_256.algorithm);
    checks.that("opened_by_keyferry", ours == opened);
}
