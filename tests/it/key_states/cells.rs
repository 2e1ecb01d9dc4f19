//! Each cell: a dry run that changes nothing, then the call itself.

use std::collections::BTreeSet;

use keyferry::access::decisions;
use keyferry::error::Rule;
use keyferry::keys::model::cmk::KeyState;
use keyferry::keys::model::key_state::Operation;
use keyferry::proto::v1;
use tonic::Code;

use super::calls::{Subject, World};
use super::table::{Kind, ROWS, Row, STATES, state_after};

#[test]
fn every_rpc_has_a_row() {
    let rows: BTreeSet<&str> = ROWS.iter().map(|row| row.rpc).collect();
    let contract = decisions::TABLE.iter().map(|row| row.rpc);
    let of_keys = contract.filter(|rpc| !rpc.starts_with("AccessManagement/"));
    assert_eq!(rows, of_keys.collect());
}

#[tokio::test]
async fn symmetric_keys() {
    try_all(Kind::Symmetric).await;
}

#[tokio::test]
async fn encrypting_pairs() {
    try_all(Kind::Encrypting).await;
}

#[tokio::test]
async fn signing_pairs() {
    try_all(Kind::Signing).await;
}

async fn try_all(kind: Kind) {
    let world = World::start().await;
    let column = Kind::ALL.iter().position(|one| *one == kind).unwrap();
    for (number, row) in ROWS.iter().enumerate() {
        for (state, cell) in STATES.iter().zip(row.cells[column]) {
            let at = format!("{} {} on {kind:?} {state}", row.rpc, row.part);
            let alias = format!("alias/{number}-{state}");
            let subject = world.subject(kind, &alias).await;
            world.bring(&subject.key_id, state).await;
            let before = everything(&world, &subject).await;
            assert_eq!(before.key.key_state, *state, "{at}");

            let dry = world.call(row.rpc, row.part, &subject, true).await;
            let would_work = (Code::FailedPrecondition, "DryRunOperationError".to_owned());
            assert_eq!(dry, Err(cell.refusal().unwrap_or(would_work)), "dry run of {at}");
            assert_eq!(everything(&world, &subject).await, before, "dry run of {at}");

            let outcome = world.call(row.rpc, row.part, &subject, false).await;
            let after = everything(&world, &subject).await;
            if let Some(refusal) = cell.refusal() {
                assert_eq!(outcome, Err(refusal), "{at}");
                assert_eq!(after, before, "{at}");
            } else {
                assert_eq!(outcome, Ok(()), "{at}");
                check_permitted(row, state, &before, &after, &at);
            }
        }
    }
}

/// Everything that a caller can see of a CMK.
#[derive(Debug, PartialEq)]
pub struct Everything {
    key: v1::KeyMetadata,
    versions: Vec<String>,
    tags: Vec<v1::KeyTag>,
    aliases: Vec<String>,
    keys: u32,
    all_aliases: u32,
}

pub async fn everything(world: &World, subject: &Subject) -> Everything {
    let mut management = world.server.management.clone();
    let key_id = subject.key_id.clone();
    let request = v1::DescribeKeyRequest { key_id: key_id.clone(), dry_run: false };
    let key = management.describe_key(request).await.unwrap().into_inner().key_metadata.unwrap();
    let request = v1::ListResourceTagsRequest { key_id: key_id.clone(), dry_run: false };
    let tags = management.list_resource_tags(request).await.unwrap().into_inner().tags;
    let versions = world.versions(&key_id).await;
    let request = v1::ListAliasesByKeyIdRequest { key_id, ..Default::default() };
    let aliases = management.list_aliases_by_key_id(request).await.unwrap().into_inner().aliases;
    let request = v1::ListKeysRequest::default();
    let keys = management.list_keys(request).await.unwrap().into_inner().total_count;
    let request = v1::ListAliasesRequest::default();
    let all_aliases = management.list_aliases(request).await.unwrap().into_inner().total_count;
    let aliases = aliases.into_iter().map(|alias| alias.alias_name).collect();
    Everything { key, versions, tags, aliases, keys, all_aliases }
}

/// The state is the one expected, and a call that changes something did.
fn check_permitted(row: &Row, state: &str, before: &Everything, after: &Everything, at: &str) {
    let expected = state_after(row.rpc).unwrap_or(state);
    assert_eq!(after.key.key_state, expected, "{at}");
    let changes = match row.rpc {
        "KeyManagement/EnableKey" | "KeyManagement/DisableKey" => expected != state,
        "KeyManagement/DescribeKey"
        | "KeyManagement/ListKeys"
        | "KeyManagement/DescribeKeyVersion"
        | "KeyManagement/ListKeyVersions"
        | "KeyManagement/ListResourceTags"
        | "KeyManagement/ListTagResources"
        | "KeyManagement/DescribeRegions"
        | "KeyManagement/ListAliases"
        | "KeyManagement/ListAliasesByKeyId" => false,
        rpc => rpc.starts_with("KeyManagement/"),
    };
    assert_eq!(after != before, changes, "{at}");
}

/// The state that no caller can bring a key into yet.
#[test]
fn keys_without_material() {
    const IMPORT: Option<&str> = Some("Rejected.PendingImport");
    const STATE: Option<&str> = Some("Rejected.StateModifiedFailed");
    let column = [
        (Operation::Use, IMPORT),
        (Operation::Rotate, IMPORT),
        (Operation::Look, None),
        (Operation::Annotate, None),
        (Operation::Switch, STATE),
        (Operation::ScheduleDeletion, None),
        (Operation::CancelDeletion, STATE),
        (Operation::Protect, None),
        (Operation::Name, None),
        (Operation::Rename, None),
    ];
    assert_eq!(column.map(|(operation, _)| operation), Operation::ALL);
    for (operation, reason) in column {
        let broken = operation.broken_in(KeyState::PendingImport);
        assert_eq!(broken.map(Rule::reason), reason, "{operation:?}");
    }
}
