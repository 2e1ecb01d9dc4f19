//! Clients in Python, Node and Go: the whole round trip and the details of
//! errors, by each language's own gRPC and cryptography.

use std::path::Path;
use std::process::Command;

use crate::support::harness::{Server, checkout, installed, judge, run, took_part};

/// Checks that each client must have made.
pub const ROUND_TRIP: [&str; 21] = [
    "create_key",
    "request_id",
    "alias",
    "generate_without_plaintext",
    "export_rsa_sha_256",
    "export_rsa_sha_1",
    "export_sm2_der",
    "export_sm2_raw",
    "decrypt_is_the_same",
    "data_key_works",
    "generate_and_export",
    "generate_data_key",
    "encrypt_decrypt",
    "re_encrypt",
    "wrong_context",
    "missing_parameter",
    "bad_request_field",
    "unknown_key",
    "dry_run",
    "disabled_key",
    "precondition",
];

/// The Python client, to be given an address.
pub fn python_client(peers: &Path) -> Command {
    let mut client = Command::new(peers.join("python/bin/python"));
    client
        .arg(checkout().join("tests/peers/interop/python/client.py"))
        .env("PYTHONPATH", peers.join("stubs/python"));
    client
}

/// Runs a client against a new server: the round trip and what it does beside.
fn travel(client: &mut Command, beside: &[&str]) {
    let server = Server::dev();
    let output = run(client.arg(&server.address)).text();
    let (peer, checks) = judge(&output, &[&ROUND_TRIP, beside].concat());
    took_part(&peer, checks);
}

#[test]
fn python() {
    let Some(peers) = installed("grpcio", "python") else { return };
    travel(&mut python_client(&peers), &["health", "reflection_v1alpha"]);
}

/// grpcio sends the socket's path as the authority.
#[test]
fn python_over_a_unix_socket() {
    let Some(peers) = installed("grpcio over a Unix socket", "python") else { return };
    let server = Server::on_socket(&[]);
    let output = run(python_client(&peers).arg(&server.address)).text();
    let (peer, checks) = judge(&output, &[&ROUND_TRIP, &["health"][..]].concat());
    took_part(&format!("{peer} over a Unix socket"), checks);
}

#[test]
fn node() {
    let Some(peers) = installed("grpc-js", "node") else { return };
    let mut client = Command::new("node");
    client
        .arg(checkout().join("tests/peers/interop/node/client.js"))
        .env("NODE_PATH", peers.join("node/node_modules"));
    travel(&mut client, &[]);
}

#[test]
fn go() {
    let Some(peers) = installed("grpc-go", "go") else { return };
    travel(&mut Command::new(peers.join("bin/roundtrip")), &["health"]);
}
