//! The decision table: a row for each RPC, and each RPC asks what its row says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    missing_docs,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;

use keyferry::access::decisions::TABLE;
use prost_reflect::DescriptorPool;

fn rpcs_of_the_contract() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(keyferry::proto::CONTRACT).unwrap();
    let services = pool.services().filter(|service| service.package_name() == "keyferry.v1");
    services
        .flat_map(|service| {
            let name = service.name().to_owned();
            service.methods().map(|method| format!("{name}/{}", method.name())).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_rpc_has_one_row() {
    let rows: Vec<String> = TABLE.iter().map(|row| row.rpc.to_owned()).collect();
    assert_eq!(rows.iter().cloned().collect::<BTreeSet<_>>(), rpcs_of_the_contract());
    assert_eq!(rows.len(), rpcs_of_the_contract().len());
}

#[test]
fn messages_with_secrets_are_shown_by_name_only() {
    use keyferry::proto::v1;
    let planted = b"planted-secret".to_vec();
    let shown = [
        format!("{:?}", v1::DecryptResponse { plaintext: planted.clone(), ..Default::default() }),
        format!("{:?}", v1::EncryptRequest { plaintext: planted.clone(), ..Default::default() }),
        format!("{:?}", v1::GenerateDataKeyResponse { plaintext: planted, ..Default::default() }),
    ];
    assert_eq!(shown, ["DecryptResponse", "EncryptRequest", "GenerateDataKeyResponse"]);
}
