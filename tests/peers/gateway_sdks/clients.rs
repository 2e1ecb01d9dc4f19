//! The SDKs, each in the ways that it signs and sends.

use std::path::Path;
use std::process::Command;

use super::travel::{Way, travel};
use crate::support::harness::{checkout, installed};

/// A program in the folder beside this file.
fn program(interpreter: impl AsRef<Path>, name: &str) -> Command {
    let mut command = Command::new(interpreter.as_ref());
    command.arg(checkout().join("tests/peers/gateway_sdks").join(name));
    command
}

/// A program in Python, where its SDKs are installed.
pub fn python_client(name: &str) -> Option<Command> {
    let peers = installed("Alibaba Cloud's SDKs for Python", "gateway_python")?;
    Some(program(peers.join("gateway_python/bin/python"), name))
}

fn python(name: &str, more: &str, way: &Way) {
    let Some(client) = python_client(name) else { return };
    travel(client, &[more], way);
}

fn node(name: &str, more: &[&str], way: &Way) {
    let Some(peers) = installed("Alibaba Cloud's SDKs for Node", "sdks_node") else { return };
    let mut client = program("node", name);
    client.env("NODE_PATH", peers.join("sdks_node/node_modules"));
    travel(client, more, way);
}

fn go(sdk: &str, way: &Way) {
    let Some(peers) = installed("Alibaba Cloud's SDKs for Go", "sdks_go") else { return };
    travel(Command::new(peers.join("bin/sdks")), &[sdk], way);
}

fn java(sdk: &str, way: &Way) {
    let Some(peers) = installed("Alibaba Cloud's SDKs for Java", "sdks_java") else { return };
    let installed = peers.join("sdks_java");
    let mut client = Command::new("java");
    client
        .args(["-Dfile.encoding=UTF-8", "-cp"])
        .arg(format!("{0}/classes:{0}/lib/*", installed.display()))
        .arg("Main");
    travel(client, &[sdk], way);
}

#[test]
fn python_v3() {
    python("python/tea.py", "ACS3-HMAC-SHA256", &Way::v3());
}

#[test]
fn python_v1() {
    python("python/tea.py", "v2", &Way::v1("POST"));
}

#[test]
fn python_core_post() {
    python("python/core.py", "POST", &Way::v1("POST"));
}

#[test]
fn python_core_get() {
    python("python/core.py", "GET", &Way::v1("GET"));
}

#[test]
fn node_pop_get() {
    node("node/pop.js", &["GET"], &Way::v1("GET"));
}

#[test]
fn node_pop_post() {
    node("node/pop.js", &["POST"], &Way::v1("POST"));
}

#[test]
fn node_kms() {
    node("node/kms.js", &[], &Way { is_older: true, ..Way::v1("POST") });
}

#[test]
fn go_v3() {
    go("ACS3-HMAC-SHA256", &Way::v3());
}

#[test]
fn go_v1() {
    go("v2", &Way::v1("POST"));
}

#[test]
fn go_core() {
    go("core", &Way::v1("POST"));
}

#[test]
fn java_v3() {
    java("ACS3-HMAC-SHA256", &Way::v3());
}

#[test]
fn java_v1() {
    java("v2", &Way::v1("POST"));
}

#[test]
fn java_core_json() {
    java("JSON", &Way::v1("POST"));
}

#[test]
fn java_core_xml() {
    java("XML", &Way::v1("POST"));
}
