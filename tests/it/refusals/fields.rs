//! Fields of the life of a key: absent, odd, and at the edges of what fits.

use keyferry::proto::v1;
use tonic::Code;

use super::world::{World, assert_invalid, assert_missing, numbered_tags, tags};
use crate::support::assert_refused;

#[tokio::test]
async fn the_window_of_a_deletion() {
    let world = World::start().await;
    for (window, fits) in [
        (None, None),
        (Some(0), Some(false)),
        (Some(6), Some(false)),
        (Some(7), Some(true)),
        (Some(366), Some(true)),
        (Some(367), Some(false)),
        (Some(u32::MAX), Some(false)),
    ] {
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: world.server.create_key().await,
            pending_window_in_days: window,
            dry_run: false,
        };
        let outcome = world.management().schedule_key_deletion(request).await;
        match fits {
            None => assert_missing(outcome, "pending_window_in_days"),
            Some(false) => drop(assert_invalid(outcome, "pending_window_in_days")),
            Some(true) => drop(outcome.unwrap()),
        }
    }
}

#[tokio::test]
async fn the_fields_of_a_protection() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    world.name("alias/protected", &key_id, false).await.unwrap();
    let fit = v1::SetDeletionProtectionRequest {
        protected_resource_arn: key_id.clone(),
        enable_deletion_protection: Some(true),
        ..Default::default()
    };
    let ask = async |request| world.management().set_deletion_protection(request).await;

    let absent =
        v1::SetDeletionProtectionRequest { enable_deletion_protection: None, ..fit.clone() };
    assert_missing(ask(absent).await, "enable_deletion_protection");
    for (named, reason) in [
        ("", "MissingParameter"),
        ("alias/protected", "InvalidParameter"),
        ("acs:kms:local:0:alias/protected", "InvalidParameter"),
        ("alias/never possible", "InvalidParameter"),
    ] {
        let request = v1::SetDeletionProtectionRequest {
            protected_resource_arn: named.into(),
            ..fit.clone()
        };
        let outcome = ask(request).await;
        let status = assert_refused(outcome, Code::InvalidArgument, reason);
        assert_eq!(crate::support::blamed(&status), "protected_resource_arn");
    }
    let elsewhere = v1::SetDeletionProtectionRequest {
        protected_resource_arn: format!("acs:kms:elsewhere:0:key/{key_id}"),
        ..fit.clone()
    };
    assert_refused(ask(elsewhere).await, Code::NotFound, "Forbidden.KeyNotFound");
    let long = v1::SetDeletionProtectionRequest {
        deletion_protection_description: "d".repeat(1025),
        ..fit.clone()
    };
    assert_invalid(ask(long).await, "deletion_protection_description");
    assert_eq!(world.describe(&key_id).await.deletion_protection, "Disabled");

    let by_arn = v1::SetDeletionProtectionRequest {
        protected_resource_arn: format!("acs:kms:local:0:key/{key_id}"),
        deletion_protection_description: "密".repeat(1024),
        ..fit
    };
    ask(by_arn).await.unwrap();
    let key = world.describe(&key_id).await;
    assert_eq!(key.deletion_protection, "Enabled");
    assert_eq!(key.deletion_protection_description.chars().count(), 1024);
}

#[tokio::test]
async fn intervals_of_rotation() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let ask = async |on, interval: &str| {
        let request = v1::UpdateRotationPolicyRequest {
            key_id: key_id.clone(),
            enable_automatic_rotation: on,
            rotation_interval: interval.into(),
            dry_run: false,
        };
        world.management().update_rotation_policy(request).await
    };
    let field = "rotation_interval";
    assert_missing(ask(None, "7d").await, "enable_automatic_rotation");
    assert_missing(ask(Some(true), "").await, field);
    for odd in [
        "d",
        "-7d",
        "+7d",
        " 7d",
        "7 d",
        "7D",
        "7.5d",
        "1w",
        "７d",
        "7dd",
        "0x7d",
        "six",
        "6d",
        "731d",
        "0",
        "604799",
        "604799s",
        "63072001",
        "1051201m",
        "4294967295d",
        "99999999999999999999s",
    ] {
        assert_invalid(ask(Some(true), odd).await, field);
    }
    assert_eq!(world.describe(&key_id).await.automatic_rotation, "Disabled");
    for (fit, shown) in [
        ("7d", "604800s"),
        ("730d", "63072000s"),
        ("168h", "604800s"),
        ("10080m", "604800s"),
        ("604800s", "604800s"),
        ("604800", "604800s"),
        ("0604800", "604800s"),
    ] {
        ask(Some(true), fit).await.unwrap();
        assert_eq!(world.describe(&key_id).await.rotation_interval, shown);
    }
    // With rotation off the interval is ignored, whatever it is.
    for ignored in ["", "7d", "31536000s", "six"] {
        ask(Some(true), "7d").await.unwrap();
        ask(Some(false), ignored).await.unwrap();
        let key = world.describe(&key_id).await;
        let shown = (key.automatic_rotation.as_str(), key.rotation_interval.as_str());
        assert_eq!(shown, ("Disabled", ""), "{ignored}");
    }
}

#[tokio::test]
async fn the_fields_of_a_new_key() {
    let world = World::start().await;
    let none = v1::CreateKeyRequest::default();
    for (field, request) in [
        ("description", v1::CreateKeyRequest { description: "d".repeat(8193), ..none.clone() }),
        ("key_spec", v1::CreateKeyRequest { key_spec: "rsa_2048".into(), ..none.clone() }),
        ("key_usage", v1::CreateKeyRequest { key_usage: "SIGN/VERIFY".into(), ..none.clone() }),
        (
            "key_usage",
            v1::CreateKeyRequest {
                key_spec: "EC_P256".into(),
                key_usage: "ENCRYPT/DECRYPT".into(),
                ..none.clone()
            },
        ),
        (
            "enable_automatic_rotation",
            v1::CreateKeyRequest {
                key_spec: "EC_SM2".into(),
                enable_automatic_rotation: true,
                rotation_interval: "7d".into(),
                ..none.clone()
            },
        ),
        ("tags", v1::CreateKeyRequest { tags: numbered_tags(0..21), ..none.clone() }),
    ] {
        assert_invalid(world.management().create_key(request).await, field);
    }
    let on = v1::CreateKeyRequest { enable_automatic_rotation: true, ..none.clone() };
    assert_missing(world.management().create_key(on).await, "rotation_interval");
    for (reason, request) in [
        ("Unsupported.Origin", v1::CreateKeyRequest { origin: "EXTERNAL".into(), ..none.clone() }),
        (
            "Unsupported.ProtectionLevel",
            v1::CreateKeyRequest { protection_level: "HSM".into(), ..none.clone() },
        ),
    ] {
        let outcome = world.management().create_key(request).await;
        assert_refused(outcome, Code::InvalidArgument, reason);
    }
    let listed = world.management().list_keys(v1::ListKeysRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().total_count, 0, "a refused request made a key");
    let off = v1::CreateKeyRequest { rotation_interval: "7d".into(), ..none.clone() };
    let key = world.describe(&world.key(off).await).await;
    assert_eq!((key.automatic_rotation.as_str(), key.rotation_interval.as_str()), ("Disabled", ""));

    let fit = v1::CreateKeyRequest {
        description: "密".repeat(8192),
        tags: numbered_tags(0..20),
        enable_automatic_rotation: true,
        rotation_interval: "30d".into(),
        ..none
    };
    let key = world.describe(&world.key(fit).await).await;
    assert_eq!(key.description.chars().count(), 8192);
    assert_eq!(key.rotation_interval, "2592000s");
}

#[tokio::test]
async fn descriptions() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let ask = async |description: String| {
        let request =
            v1::UpdateKeyDescriptionRequest { key_id: key_id.clone(), description, dry_run: false };
        world.management().update_key_description(request).await
    };
    assert_invalid(ask("密".repeat(8193)).await, "description");
    for fit in ["密".repeat(8192), String::new()] {
        ask(fit.clone()).await.unwrap();
        assert_eq!(world.describe(&key_id).await.description, fit);
    }
}

#[tokio::test]
async fn unfit_tags() {
    let world = World::start().await;
    let key_id = world.server.create_key().await;
    let (fits, long) = ("长".repeat(128), "长".repeat(129));
    let ask = async |tags| {
        let request = v1::TagResourceRequest { key_id: key_id.clone(), tags, dry_run: false };
        world.management().tag_resource(request).await
    };
    assert_missing(ask(vec![]).await, "tags");
    for unfit in [
        &[("", "v")][..],
        &[("aliyun", "v")],
        &[("acs:x", "v")],
        &[("k", "1"), ("k", "1")],
        &[(long.as_str(), "v")],
        &[("k", long.as_str())],
    ] {
        assert_invalid(ask(tags(unfit)).await, "tags");
    }
    assert_invalid(ask(numbered_tags(0..21)).await, "tags");
    ask(tags(&[(&fits, &fits), ("Aliyun", ""), ("acs", "密 钥")])).await.unwrap();

    let untag = async |keys: usize| {
        let tag_keys = (0..keys).map(|n| format!("key-{n}")).collect();
        let request = v1::UntagResourceRequest { key_id: key_id.clone(), tag_keys, dry_run: false };
        world.management().untag_resource(request).await
    };
    assert_missing(untag(0).await, "tag_keys");
    assert_invalid(untag(21).await, "tag_keys");
    untag(20).await.unwrap();
    let request = v1::ListResourceTagsRequest { key_id: key_id.clone(), dry_run: false };
    let listed = world.management().list_resource_tags(request).await.unwrap().into_inner().tags;
    let listed: Vec<_> = listed.iter().map(|tag| (&*tag.tag_key, &*tag.tag_value)).collect();
    assert_eq!(listed, [("Aliyun", ""), ("acs", "密 钥"), (&*fits, &*fits)], "bytewise order");
}

#[tokio::test]
async fn tags_of_several_keys() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(world.server.create_key().await);
    }
    let key = || "key".to_owned();
    let tag = async |resource_type: &str, resource_ids: &[String], tags: Vec<v1::Tag>| {
        let (resource_type, resource_ids) = (resource_type.to_owned(), resource_ids.to_vec());
        let request = v1::TagResourcesRequest { resource_type, resource_ids, tags, dry_run: false };
        world.management().tag_resources(request).await
    };
    let list = async |resource_ids: &[String], tags: Vec<v1::Tag>| {
        let (resource_type, resource_ids) = (key(), resource_ids.to_vec());
        let request =
            v1::ListTagResourcesRequest { resource_type, resource_ids, tags, dry_run: false };
        let listed = world.management().list_tag_resources(request).await?.into_inner();
        assert_eq!(listed.next_token, "");
        let row = |tag: v1::ResourceTag| {
            assert_eq!(tag.resource_type, "key");
            let number = ids.iter().position(|id| *id == tag.resource_id).unwrap();
            format!("{number} {}={}", tag.tag_key, tag.tag_value)
        };
        Ok::<_, tonic::Status>(listed.tag_resources.into_iter().map(row).collect::<Vec<_>>())
    };
    let pair = || tags(&[("a", "1"), ("b", "")]);
    assert_missing(tag("", &ids, pair()).await, "resource_type");
    assert_invalid(tag("secret", &ids, pair()).await, "resource_type");
    assert_missing(tag("key", &[], pair()).await, "resource_ids");
    assert_missing(tag("key", &[String::new()], pair()).await, "resource_ids");
    assert_invalid(tag("key", &vec!["k".to_owned(); 51], pair()).await, "resource_ids");
    assert_missing(tag("key", &ids, vec![]).await, "tags");
    assert_invalid(tag("key", &ids, numbered_tags(0..21)).await, "tags");
    // One that is not there: nothing is changed.
    let with_none = [ids.clone(), vec!["none".to_owned()]].concat();
    let refused = tag("key", &with_none, pair()).await;
    assert_refused(refused, Code::NotFound, "Forbidden.KeyNotFound");
    assert!(list(&ids, vec![]).await.unwrap().is_empty());
    assert!(list(&with_none, vec![]).await.is_err());

    let twice = [ids.clone(), ids.clone()].concat();
    tag("key", &twice, pair()).await.unwrap();
    tag("key", &ids[1..], tags(&[("a", "2")])).await.unwrap();
    let all = list(&twice, vec![]).await.unwrap();
    assert_eq!(all, ["0 a=1", "0 b=", "1 a=2", "1 b="]);
    assert_eq!(list(&ids, tags(&[("a", "2")])).await.unwrap(), ["1 a=2"]);
    assert_eq!(list(&ids, tags(&[("a", ""), ("c", "")])).await.unwrap(), ["0 a=1", "1 a=2"]);

    let untag = async |resource_ids: &[String], tag_keys: &[&str], all, dry_run| {
        let tag_keys = tag_keys.iter().map(|key| (*key).to_owned()).collect();
        let resource_ids = resource_ids.to_vec();
        let request = v1::UntagResourcesRequest {
            resource_type: key(),
            resource_ids,
            tag_keys,
            all,
            dry_run,
        };
        world.management().untag_resources(request).await
    };
    assert_missing(untag(&ids, &[], false, false).await, "tag_keys");
    let dry = untag(&ids, &["a"], false, true).await;
    assert_refused(dry, Code::FailedPrecondition, "DryRunOperationError");
    assert_eq!(list(&ids, vec![]).await.unwrap(), all);
    untag(&ids, &["a", "never"], false, false).await.unwrap();
    assert_eq!(list(&ids, vec![]).await.unwrap(), ["0 b=", "1 b="]);
    untag(&ids[..1], &[], true, false).await.unwrap();
    assert_eq!(list(&ids, vec![]).await.unwrap(), ["1 b="]);
}

#[tokio::test]
async fn versions_that_are_not_the_keys() {
    let world = World::start().await;
    let (one, two) = (world.server.create_key().await, world.server.create_key().await);
    let ask = async |version: &str| {
        let request = v1::DescribeKeyVersionRequest {
            key_id: one.clone(),
            key_version_id: version.into(),
            dry_run: false,
        };
        world.management().describe_key_version(request).await
    };
    assert_missing(ask("").await, "key_version_id");
    let of_another = world.versions(&two).await.remove(0);
    let unknown = keyferry::ids::KeyVersionId::new().to_string();
    for version in [of_another.as_str(), &unknown, "nonsense", &one] {
        assert_refused(ask(version).await, Code::NotFound, "Forbidden.KeyVersionNotFound");
    }
    let own = world.versions(&one).await.remove(0);
    let found = ask(&own).await.unwrap().into_inner().key_version.unwrap();
    assert_eq!((found.key_id.as_str(), found.key_version_id.as_str()), (one.as_str(), &*own));
}
