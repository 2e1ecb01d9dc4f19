//! Limits on what is stored, and what else the state of a key forbids.

use std::time::Duration;

use keyferry::proto::v1;
use tonic::Code;
use tonic_types::StatusExt;

use super::world::{World, assert_failed, assert_full, assert_would_work, numbered_tags, tags};
use crate::support::{assert_refused, days};

#[tokio::test]
async fn a_symmetric_key_has_1000_versions() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let oldest = world.server.generate(&key_id, &[], 32).await;
    let mut newest = String::new();
    for _ in 1..1000 {
        newest = world.add_version(&key_id, false).await.unwrap();
    }
    assert_full(world.add_version(&key_id, true).await);
    assert_full(world.add_version(&key_id, false).await);
    let request = v1::ListKeyVersionsRequest {
        key_id: key_id.clone(),
        page_size: Some(100),
        page_number: Some(10),
        ..Default::default()
    };
    let listed = world.management().list_key_versions(request).await.unwrap().into_inner();
    assert_eq!((listed.total_count, listed.key_versions.len()), (1000, 100));
    assert_eq!(listed.key_versions[99].key_version_id, newest);
    assert_eq!(world.describe(&key_id).await.primary_key_version, newest);
    let request = v1::DecryptRequest { ciphertext_blob: oldest, ..Default::default() };
    world.kms().decrypt(request).await.unwrap();
}

#[tokio::test]
async fn a_pair_has_50_versions_7_days_apart() {
    let world = World::start().await;
    let pair = world.pair("EC_P256", "SIGN/VERIFY").await;
    for _ in 1..50 {
        world.clock.pass(days(6));
        world.clock.pass(Duration::from_secs(24 * 60 * 60 - 1));
        assert_failed(world.add_version(&pair.key_id, true).await, "Rejected.UnsupportedOperation");
        assert_failed(
            world.add_version(&pair.key_id, false).await,
            "Rejected.UnsupportedOperation",
        );
        world.clock.pass(Duration::from_secs(1));
        assert_would_work(world.add_version(&pair.key_id, true).await);
        world.add_version(&pair.key_id, false).await.unwrap();
    }
    world.clock.pass(days(7));
    assert_full(world.add_version(&pair.key_id, true).await);
    assert_full(world.add_version(&pair.key_id, false).await);
    assert_eq!(world.versions(&pair.key_id).await.len(), 50);
}

#[tokio::test]
async fn a_key_has_20_tags() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let ask = async |tags, dry_run| {
        let request = v1::TagResourceRequest { key_id: key_id.clone(), tags, dry_run };
        world.management().tag_resource(request).await
    };
    ask(numbered_tags(0..19), false).await.unwrap();
    for dry_run in [true, false] {
        assert_full(ask(numbered_tags(19..21), dry_run).await);
    }
    ask(numbered_tags(0..20), false).await.unwrap();
    ask(tags(&[("key-7", "new")]), false).await.unwrap();
    assert_full(ask(tags(&[("another", "")]), false).await);
    let request = v1::ListResourceTagsRequest { key_id: key_id.clone(), dry_run: false };
    let listed = world.management().list_resource_tags(request).await.unwrap().into_inner().tags;
    assert_eq!(listed.len(), 20);
    let changed = listed.iter().find(|tag| tag.tag_key == "key-7").unwrap();
    assert_eq!((changed.tag_value.as_str(), &changed.key_id), ("new", &key_id));
}

#[tokio::test]
async fn a_key_has_50_names_and_dry_runs_know() {
    let world = World::start().await;
    let (full, other) = (world.server.create_key().await, world.server.create_key().await);
    for n in 0..50 {
        world.name(&format!("alias/n{n}"), &full, false).await.unwrap();
    }
    world.name("alias/other", &other, false).await.unwrap();
    let update = async |alias: &str, key_id: &str, dry_run| {
        let request =
            v1::UpdateAliasRequest { alias_name: alias.into(), key_id: key_id.into(), dry_run };
        world.management().update_alias(request).await
    };
    for dry_run in [true, false] {
        assert_full(world.name("alias/n50", &full, dry_run).await);
        assert_full(update("alias/other", &full, dry_run).await);
        let taken = world.name("alias/n0", &full, dry_run).await;
        assert_refused(taken, Code::AlreadyExists, "AliasAlreadyExists");
    }
    assert_would_work(update("alias/n0", &full, true).await);
    update("alias/n0", &full, false).await.unwrap();
    update("alias/n0", &other, false).await.unwrap();
    world.name("alias/n50", &full, false).await.unwrap();
}

#[tokio::test]
async fn what_is_protected_is_not_deleted() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let protect = async |on| {
        let request = v1::SetDeletionProtectionRequest {
            protected_resource_arn: key_id.clone(),
            enable_deletion_protection: Some(on),
            ..Default::default()
        };
        world.management().set_deletion_protection(request).await.unwrap();
    };
    protect(true).await;
    for dry_run in [true, false] {
        assert_failed(
            world.schedule_deletion(&key_id, dry_run).await,
            "Rejected.DeletionProtection",
        );
    }
    assert_eq!(world.describe(&key_id).await.key_state, "Enabled");
    protect(false).await;
    world.schedule_deletion(&key_id, false).await.unwrap();
}

#[tokio::test]
async fn no_deletion_is_scheduled_by_a_clock_that_jumped() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    world.schedule_deletion(&world.server.create_key().await, false).await.unwrap();
    world.clock.jump(days(30).as_secs().try_into().unwrap());
    for dry_run in [true, false] {
        let outcome = world.schedule_deletion(&key_id, dry_run).await;
        let status = assert_refused(outcome, Code::Unavailable, "ServiceUnavailableTemporary");
        assert!(status.get_error_details().retry_info().is_some());
    }
    assert_eq!(world.describe(&key_id).await.key_state, "Enabled");
}
