//! The life of CMKs and their names, over real gRPC.

use std::collections::BTreeSet;

use keyferry::proto::v1;
use tonic::{Code, Status};

use crate::support::{TestServer, assert_refused};

async fn create_alias(server: &TestServer, name: &str, key_id: &str) -> Result<(), Status> {
    let request =
        v1::CreateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run: false };
    server.management.clone().create_alias(request).await.map(|_| ())
}

async fn update_alias(server: &TestServer, name: &str, key_id: &str) -> Result<(), Status> {
    let request =
        v1::UpdateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run: false };
    server.management.clone().update_alias(request).await.map(|_| ())
}

async fn delete_alias(server: &TestServer, name: &str) -> Result<(), Status> {
    let request = v1::DeleteAliasRequest { alias_name: name.into(), dry_run: false };
    server.management.clone().delete_alias(request).await.map(|_| ())
}

async fn describe(server: &TestServer, name: &str) -> Result<v1::KeyMetadata, Status> {
    let request = v1::DescribeKeyRequest { key_id: name.into(), dry_run: false };
    Ok(server.management.clone().describe_key(request).await?.into_inner().key_metadata.unwrap())
}

async fn aliases_of(server: &TestServer, key_id: &str) -> Vec<String> {
    let request = v1::ListAliasesByKeyIdRequest {
        key_id: key_id.into(),
        page_size: Some(100),
        ..Default::default()
    };
    let listed =
        server.management.clone().list_aliases_by_key_id(request).await.unwrap().into_inner();
    listed.aliases.into_iter().map(|alias| alias.alias_name).collect()
}

#[tokio::test]
async fn a_new_key_is_described_in_full() {
    let server = TestServer::start().await;
    let request = v1::CreateKeyRequest {
        description: "payments, 中文".into(),
        key_spec: "Aliyun_AES_256".into(),
        key_usage: "ENCRYPT/DECRYPT".into(),
        origin: "Aliyun_KMS".into(),
        protection_level: "SOFTWARE".into(),
        ..Default::default()
    };
    let created = server.management.clone().create_key(request).await.unwrap().into_inner();
    let key = created.key_metadata.unwrap();
    assert_eq!(describe(&server, &key.key_id).await.unwrap(), key);
    assert_eq!(key.arn, format!("acs:kms:local:0:key/{}", key.key_id));
    assert_eq!(
        (key.key_spec.as_str(), key.key_usage.as_str()),
        ("Aliyun_AES_256", "ENCRYPT/DECRYPT")
    );
    assert_eq!((key.key_state.as_str(), key.origin.as_str()), ("Enabled", "Aliyun_KMS"));
    assert_eq!((key.description.as_str(), key.creator.as_str()), ("payments, 中文", "dev"));
    assert_eq!(key.automatic_rotation, "Disabled");
    assert_eq!(key.creation_date.len(), "2026-11-23T00:00:00Z".len());
    assert_eq!((key.delete_date.as_str(), key.next_rotation_date.as_str()), ("", ""));
    assert_eq!(key.primary_key_version.len(), 36);
    assert!(!created.request_id.is_empty());
}

#[tokio::test]
async fn keys_of_kinds_that_are_not_offered_are_refused() {
    let server = TestServer::start().await;
    let base = v1::CreateKeyRequest::default();
    for (request, reason) in [
        (
            v1::CreateKeyRequest { key_spec: "Aliyun_AES_512".into(), ..base.clone() },
            "InvalidParameter",
        ),
        (
            v1::CreateKeyRequest { key_usage: "SIGN/VERIFY".into(), ..base.clone() },
            "InvalidParameter",
        ),
        (
            v1::CreateKeyRequest { origin: "aliyun_kms".into(), ..base.clone() },
            "Unsupported.Origin",
        ),
        (
            v1::CreateKeyRequest { protection_level: "HSM".into(), ..base.clone() },
            "Unsupported.ProtectionLevel",
        ),
        (
            v1::CreateKeyRequest { description: "d".repeat(8193), ..base.clone() },
            "InvalidParameter",
        ),
    ] {
        assert_refused(
            server.management.clone().create_key(request).await,
            Code::InvalidArgument,
            reason,
        );
    }
    let listed = server
        .management
        .clone()
        .list_keys(v1::ListKeysRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.total_count, 0, "a refused request changed something");
}

#[tokio::test]
async fn states_change_and_stay_changed() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let mut management = server.management.clone();
    for (enable, state) in
        [(false, "Disabled"), (false, "Disabled"), (true, "Enabled"), (true, "Enabled")]
    {
        if enable {
            management
                .enable_key(v1::EnableKeyRequest { key_id: key_id.clone(), dry_run: false })
                .await
                .unwrap();
        } else {
            management
                .disable_key(v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: false })
                .await
                .unwrap();
        }
        assert_eq!(describe(&server, &key_id).await.unwrap().key_state, state);
    }
    let outcome = management
        .disable_key(v1::DisableKeyRequest { key_id: key_id.clone(), dry_run: true })
        .await;
    assert_refused(outcome, Code::FailedPrecondition, "DryRunOperationError");
    assert_eq!(describe(&server, &key_id).await.unwrap().key_state, "Enabled");
}

#[tokio::test]
async fn an_alias_lives_moves_and_goes() {
    let server = TestServer::start().await;
    let (one, two) = (server.create_key().await, server.create_key().await);
    create_alias(&server, "alias/a", &one).await.unwrap();
    assert_eq!(describe(&server, "alias/a").await.unwrap().key_id, one);
    assert_refused(
        create_alias(&server, "alias/a", &two).await,
        Code::AlreadyExists,
        "AliasAlreadyExists",
    );
    update_alias(&server, "alias/a", &two).await.unwrap();
    update_alias(&server, "alias/a", &two).await.unwrap();
    assert_eq!(describe(&server, "alias/a").await.unwrap().key_id, two);
    assert_eq!(
        (aliases_of(&server, &one).await, aliases_of(&server, &two).await),
        (vec![], vec!["alias/a".to_owned()])
    );
    delete_alias(&server, "acs:kms:local:0:alias/a").await.unwrap();
    assert_refused(describe(&server, "alias/a").await, Code::NotFound, "Forbidden.AliasNotFound");
    assert_refused(
        delete_alias(&server, "alias/a").await,
        Code::NotFound,
        "Forbidden.AliasNotFound",
    );
    assert_refused(
        update_alias(&server, "alias/a", &one).await,
        Code::NotFound,
        "Forbidden.AliasNotFound",
    );
    assert!(aliases_of(&server, &two).await.is_empty());
    create_alias(&server, "alias/a", &one).await.unwrap();
    assert_eq!(describe(&server, "alias/a").await.unwrap().key_id, one);
}

#[tokio::test]
async fn names_that_are_not_allowed_are_refused() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    for (name, reason) in [
        ("", "MissingParameter"),
        ("payments", "InvalidParameter"),
        ("alias/", "InvalidParameter"),
        ("alias/a b", "InvalidParameter"),
        ("alias/acs/kms", "Unsupported.Alias"),
    ] {
        assert_refused(create_alias(&server, name, &key_id).await, Code::InvalidArgument, reason);
    }
    let unknown = keyferry::ids::KeyId::new().to_string();
    assert_refused(
        create_alias(&server, "alias/a", &unknown).await,
        Code::NotFound,
        "Forbidden.KeyNotFound",
    );
    assert_refused(
        create_alias(&server, "alias/a", "alias/b").await,
        Code::InvalidArgument,
        "InvalidParameter",
    );
}

#[tokio::test]
async fn a_key_has_at_most_fifty_names_however_many_come_at_once() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let tasks: Vec<_> = (0..60)
        .map(|n| {
            let (mut management, key_id) = (server.management.clone(), key_id.clone());
            tokio::spawn(async move {
                let alias_name = format!("alias/n{n}");
                for _ in 0..50 {
                    let request = v1::CreateAliasRequest {
                        alias_name: alias_name.clone(),
                        key_id: key_id.clone(),
                        dry_run: false,
                    };
                    match management.create_alias(request).await {
                        // Too many at once on one key: told so, and to come back.
                        Err(status) if status.message().contains("many at once") => {}
                        outcome => return outcome.map(|_| ()),
                    }
                }
                panic!("never came through");
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => made += 1,
            refused => {
                drop(assert_refused(refused, Code::ResourceExhausted, "Rejected.LimitExceeded"));
            }
        }
    }
    assert_eq!(made, 50);
    assert_eq!(aliases_of(&server, &key_id).await.len(), 50);
}

#[tokio::test]
async fn of_many_who_want_one_name_one_gets_it() {
    let server = TestServer::start().await;
    let mut keys = Vec::new();
    for _ in 0..8 {
        keys.push(server.create_key().await);
    }
    let tasks: Vec<_> = keys
        .iter()
        .map(|key_id| {
            let request = v1::CreateAliasRequest {
                alias_name: "alias/one".into(),
                key_id: key_id.clone(),
                dry_run: false,
            };
            let mut management = server.management.clone();
            tokio::spawn(async move { management.create_alias(request).await.map(|_| ()) })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => winners += 1,
            refused => drop(assert_refused(refused, Code::AlreadyExists, "AliasAlreadyExists")),
        }
    }
    assert_eq!(winners, 1);
    let mut named = 0;
    for key_id in &keys {
        named += aliases_of(&server, key_id).await.len();
    }
    assert_eq!(named, 1);
}

#[tokio::test]
async fn lists_come_in_pages_in_order_of_creation() {
    let server = TestServer::start().await;
    let mut keys = Vec::new();
    for _ in 0..25 {
        keys.push(server.create_key().await);
    }
    let mut management = server.management.clone();
    let mut list = async |number, size, token: &str| {
        let request = v1::ListKeysRequest {
            page_number: number,
            page_size: size,
            page_token: token.into(),
            ..Default::default()
        };
        management.list_keys(request).await.map(tonic::Response::into_inner)
    };
    let first = list(None, None, "").await.unwrap();
    assert_eq!(
        (first.total_count, first.page_number, first.page_size, first.keys.len()),
        (25, 1, 10, 10)
    );
    let third = list(Some(3), None, "").await.unwrap();
    assert_eq!(third.keys.len(), 5);
    assert!(third.next_page_token.is_empty());
    assert!(list(Some(4), None, "").await.unwrap().keys.is_empty());
    assert!(list(Some(u32::MAX), Some(100), "").await.unwrap().keys.is_empty());

    let mut seen: Vec<String> = first.keys.iter().map(|key| key.key_id.clone()).collect();
    let mut token = first.next_page_token;
    while !token.is_empty() {
        // Written while one pages: what stood is seen once.
        server.create_key().await;
        let page = list(None, Some(7), &token).await.unwrap();
        assert_eq!(page.page_number, 0);
        seen.extend(page.keys.iter().map(|key| key.key_id.clone()));
        token = page.next_page_token;
        if seen.len() > 60 {
            break;
        }
    }
    assert_eq!(&seen[..25], keys.as_slice());
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len());
    for bad in ["x", "AAAA", "%%%"] {
        assert_refused(list(None, None, bad).await, Code::InvalidArgument, "InvalidParameter");
    }
    for (number, size) in [(Some(0), None), (None, Some(0)), (None, Some(101))] {
        assert_refused(list(number, size, "").await, Code::InvalidArgument, "InvalidParameter");
    }
}

#[tokio::test]
async fn a_token_of_one_list_is_refused_by_another() {
    let server = TestServer::start().await;
    let (key_id, other) = (server.create_key().await, server.create_key().await);
    for n in 0..3 {
        create_alias(&server, &format!("alias/n{n}"), &key_id).await.unwrap();
    }
    let mut management = server.management.clone();
    let by_key = v1::ListAliasesByKeyIdRequest {
        key_id: key_id.clone(),
        page_size: Some(2),
        ..Default::default()
    };
    let page = management.list_aliases_by_key_id(by_key.clone()).await.unwrap().into_inner();
    assert_eq!((page.aliases.len(), page.total_count), (2, 3));
    let next = v1::ListAliasesByKeyIdRequest {
        page_token: page.next_page_token.clone(),
        ..by_key.clone()
    };
    let rest = management.list_aliases_by_key_id(next).await.unwrap().into_inner();
    assert_eq!(
        rest.aliases.iter().map(|alias| alias.alias_name.as_str()).collect::<Vec<_>>(),
        ["alias/n2"]
    );
    let elsewhere = v1::ListAliasesByKeyIdRequest {
        key_id: other,
        page_token: page.next_page_token.clone(),
        ..by_key
    };
    assert_refused(
        management.list_aliases_by_key_id(elsewhere).await,
        Code::InvalidArgument,
        "InvalidParameter",
    );
    let all = v1::ListAliasesRequest { page_token: page.next_page_token, ..Default::default() };
    assert_refused(management.list_aliases(all).await, Code::InvalidArgument, "InvalidParameter");
    let all =
        v1::ListAliasesRequest { page_size: Some(2), page_number: Some(2), ..Default::default() };
    let second = management.list_aliases(all).await.unwrap().into_inner();
    assert_eq!((second.aliases.len(), second.total_count, second.page_number), (1, 3, 2));
    assert_eq!(second.aliases[0].alias_arn, "acs:kms:local:0:alias/n2");
    assert_eq!(second.aliases[0].key_id, key_id);
}
