//! Access keys over gRPC: made, listed, disabled, deleted; and found for
//! the verification of a signature.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyferry::crypto::secret::Reveal;
use keyferry::error::{Error, Rule};
use keyferry::keys::access_keys::AccessKeyState;
use keyferry::keys::clock::SystemClock;
use keyferry::proto::v1::{self, AccessKey, ListAccessKeysRequest, ListAccessKeysResponse};
use keyferry::service::Services;
use keyferry::storage::memory::{InjectedFault, Moment};
use keyferry::storage::{MemoryStore, Store};
use tonic::{Code, Status};

use crate::support::{
    Founded, TestServer, assert_refused, dev_caller, eventually, services_of, services_over,
};

const UNKNOWN: &str = "KF0000000000000000000000";
const NOT_FOUND: &str = "EntityNotExist.User.AccessKey";

async fn create(server: &TestServer, principal: &str, dry_run: bool) -> Result<String, Status> {
    let request = v1::CreateAccessKeyRequest { principal: principal.into(), dry_run };
    let made = server.access.clone().create_access_key(request).await?;
    Ok(made.into_inner().access_key_id)
}

async fn disable(server: &TestServer, id: &str, dry_run: bool) -> Result<(), Status> {
    let request = v1::DisableAccessKeyRequest { access_key_id: id.into(), dry_run };
    server.access.clone().disable_access_key(request).await.map(drop)
}

async fn delete(server: &TestServer, id: &str, dry_run: bool) -> Result<(), Status> {
    let request = v1::DeleteAccessKeyRequest { access_key_id: id.into(), dry_run };
    server.access.clone().delete_access_key(request).await.map(drop)
}

async fn list(
    server: &TestServer,
    request: ListAccessKeysRequest,
) -> Result<ListAccessKeysResponse, Status> {
    Ok(server.access.clone().list_access_keys(request).await?.into_inner())
}

async fn all_of(server: &TestServer, principal: &str) -> Vec<AccessKey> {
    let request = ListAccessKeysRequest {
        principal: principal.into(),
        page_size: Some(100),
        ..Default::default()
    };
    list(server, request).await.unwrap().access_keys
}

fn ids(keys: &[AccessKey]) -> Vec<String> {
    keys.iter().map(|key| key.access_key_id.clone()).collect()
}

#[tokio::test]
async fn an_access_key_is_made_listed_disabled_and_deleted() {
    let server = TestServer::start().await;
    let (id, secret) = server.create_access_key("billing@corp.example").await;
    assert!(id.len() == 24 && id.starts_with("KF"), "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(secret.len(), 44);
    assert!(secret.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let (other, other_secret) = server.create_access_key("billing@corp.example").await;
    assert!(other != id && other_secret != secret);

    let listed = all_of(&server, "").await;
    assert_eq!(ids(&listed), [id.as_str(), &other]);
    let AccessKey { principal, state, creation_date, .. } = &listed[0];
    assert_eq!((principal.as_str(), state.as_str()), ("billing@corp.example", "Enabled"));
    assert!(creation_date.ends_with('Z') && creation_date.len() == 20, "{creation_date}");

    disable(&server, &id, false).await.unwrap();
    disable(&server, &id, false).await.unwrap();
    assert_eq!(all_of(&server, "").await[0].state, "Disabled");
    delete(&server, &id, false).await.unwrap();
    assert_eq!(ids(&all_of(&server, "").await), [other.as_str()]);
    assert_eq!(ids(&all_of(&server, "billing@corp.example").await), [other.as_str()]);
    for refused in [disable(&server, &id, false).await, delete(&server, &id, false).await] {
        assert_refused(refused, Code::NotFound, NOT_FOUND);
    }
    // Enabled ones are deleted too.
    delete(&server, &other, false).await.unwrap();
    assert_eq!(list(&server, ListAccessKeysRequest::default()).await.unwrap().total_count, 0);
}

#[tokio::test]
async fn lists_come_in_pages_in_order_of_creation() {
    let server = TestServer::start().await;
    let mut made = Vec::new();
    for number in 0..7 {
        let account = if number % 2 == 0 { "even" } else { "odd" };
        made.push(create(&server, account, false).await.unwrap());
    }
    let page = |principal: &str, number, token: String| ListAccessKeysRequest {
        principal: principal.into(),
        page_number: number,
        page_size: Some(2),
        page_token: token,
        dry_run: false,
    };
    for (principal, expected) in [
        ("", made.clone()),
        ("even", made.iter().step_by(2).cloned().collect()),
        ("odd", made.iter().skip(1).step_by(2).cloned().collect()),
        ("nobody", vec![]),
    ] {
        let (mut token, mut followed, mut numbered) = (String::new(), vec![], vec![]);
        loop {
            let answer = list(&server, page(principal, None, token)).await.unwrap();
            assert_eq!(answer.total_count as usize, expected.len());
            assert_eq!(answer.page_size, 2);
            assert!(answer.access_keys.len() <= 2);
            followed.extend(ids(&answer.access_keys));
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        for number in 1..=5 {
            let answer = list(&server, page(principal, Some(number), String::new())).await.unwrap();
            assert_eq!(answer.page_number, number);
            numbered.extend(ids(&answer.access_keys));
        }
        assert_eq!(followed, expected, "{principal:?}");
        assert_eq!(numbered, expected, "{principal:?}");
    }
    // A token goes on after an access key that is gone, and elsewhere nowhere.
    for principal in ["", "even"] {
        let first = list(&server, page(principal, None, String::new())).await.unwrap();
        let token = first.next_page_token;
        let last = first.access_keys[1].access_key_id.clone();
        let before = list(&server, page(principal, None, token.clone())).await.unwrap();
        delete(&server, &last, false).await.unwrap();
        let after = list(&server, page(principal, None, token.clone())).await.unwrap();
        assert_eq!(ids(&before.access_keys), ids(&after.access_keys));
        let elsewhere = list(&server, page("odd", None, token)).await;
        assert_refused(elsewhere, Code::InvalidArgument, "InvalidParameter");
    }
    for bad in [page("", Some(0), String::new()), page("", None, "forged".into())] {
        assert_refused(list(&server, bad).await, Code::InvalidArgument, "InvalidParameter");
    }
}

#[tokio::test]
async fn a_service_account_has_at_most_ten() {
    let server = TestServer::start().await;
    let mut made = Vec::new();
    for _ in 0..10 {
        made.push(create(&server, "full", false).await.unwrap());
    }
    for dry_run in [true, false] {
        let refused = create(&server, "full", dry_run).await;
        let status = assert_refused(refused, Code::ResourceExhausted, "Rejected.LimitExceeded");
        assert!(status.message().contains("10 access keys"), "{}", status.message());
    }
    // Another account has room, and a disabled one counts until it is deleted.
    create(&server, "other", false).await.unwrap();
    disable(&server, &made[3], false).await.unwrap();
    assert!(create(&server, "full", false).await.is_err());
    delete(&server, &made[3], false).await.unwrap();
    create(&server, "full", false).await.unwrap();
    assert_eq!(all_of(&server, "full").await.len(), 10);
    assert_eq!(all_of(&server, "").await.len(), 11);
}

#[tokio::test]
async fn names_and_ids_are_judged() {
    let server = TestServer::start().await;
    let missing = create(&server, "", false).await;
    assert_refused(missing, Code::InvalidArgument, "MissingParameter");
    let long = "a".repeat(129);
    for name in ["-a", ".a", "a b", "a/b", "a:b", "access-key:a", "ä", "a\n", &long] {
        let status = assert_refused(
            create(&server, name, false).await,
            Code::InvalidArgument,
            "InvalidParameter",
        );
        assert!(status.message().contains("letters, digits"), "{}", status.message());
        let listed = ListAccessKeysRequest { principal: name.into(), ..Default::default() };
        let listed = list(&server, listed).await;
        assert_refused(listed, Code::InvalidArgument, "InvalidParameter");
    }
    create(&server, &"a".repeat(128), false).await.unwrap();
    for id in [UNKNOWN, "KF", "no id", "../access-key-order", &long] {
        assert_refused(disable(&server, id, false).await, Code::NotFound, NOT_FOUND);
        assert_refused(delete(&server, id, true).await, Code::NotFound, NOT_FOUND);
    }
    for missing in [disable(&server, "", false).await, delete(&server, "", false).await] {
        assert_refused(missing, Code::InvalidArgument, "MissingParameter");
    }
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let server = TestServer::start().await;
    let id = create(&server, "billing", false).await.unwrap();
    let listed = ListAccessKeysRequest { dry_run: true, ..Default::default() };
    for outcome in [
        create(&server, "billing", true).await.map(drop),
        disable(&server, &id, true).await,
        delete(&server, &id, true).await,
        list(&server, listed).await.map(drop),
    ] {
        assert_refused(outcome, Code::FailedPrecondition, "DryRunOperationError");
    }
    let listed = all_of(&server, "").await;
    assert_eq!((ids(&listed), listed[0].state.as_str()), (vec![id], "Enabled"));
}

// ---- found, to verify a signature ----

async fn made(services: &Services, principal: &str) -> Result<v1::CreateAccessKeyResponse, Error> {
    let request = v1::CreateAccessKeyRequest { principal: principal.into(), dry_run: false };
    services.create_access_key(&dev_caller(), request).await
}

async fn disabled(services: &Services, id: &str) -> Result<(), Error> {
    let request = v1::DisableAccessKeyRequest { access_key_id: id.into(), dry_run: false };
    services.disable_access_key(&dev_caller(), request).await.map(drop)
}

async fn deleted(services: &Services, id: &str) -> Result<(), Error> {
    let request = v1::DeleteAccessKeyRequest { access_key_id: id.into(), dry_run: false };
    services.delete_access_key(&dev_caller(), request).await.map(drop)
}

async fn state(services: &Services, id: &str) -> Option<AccessKeyState> {
    services.find_access_key(id).await.unwrap().map(|key| key.state)
}

async fn count(services: &Services) -> u32 {
    let listed = services.list_access_keys(&dev_caller(), ListAccessKeysRequest::default()).await;
    listed.unwrap().total_count
}

#[tokio::test]
async fn an_access_key_is_found_with_its_secret_after_a_restart_too() {
    let founded = Founded::over(Arc::new(MemoryStore::new())).await;
    let services = services_of(founded.keys(Arc::new(SystemClock)).await);
    let made = made(&services, "billing").await.unwrap();
    let again = services_of(founded.keys(Arc::new(SystemClock)).await);
    for services in [services, again] {
        for _ in 0..2 {
            let key = services.find_access_key(&made.access_key_id).await.unwrap().unwrap();
            let secret = key.secret.reveal(Reveal::ToVerify);
            assert!(secret == made.access_key_secret.as_bytes());
            assert_eq!(key.principal().to_string(), "access-key:billing");
            assert!(key.is_enabled());
            assert!(!format!("{key:?}").contains(&made.access_key_secret));
        }
        for other in [UNKNOWN, "", "KF", "testid"] {
            assert!(services.find_access_key(other).await.unwrap().is_none(), "{other}");
        }
    }
}

#[tokio::test]
async fn disabling_and_deleting_hold_at_once() {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let id = made(&services, "billing").await.unwrap().access_key_id;
    assert_eq!(state(&services, &id).await, Some(AccessKeyState::Enabled));
    disabled(&services, &id).await.unwrap();
    assert_eq!(state(&services, &id).await, Some(AccessKeyState::Disabled));
    deleted(&services, &id).await.unwrap();
    assert_eq!(state(&services, &id).await, None);
}

#[tokio::test]
async fn a_deleted_access_key_leaves_nothing_but_its_accounts_record() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let id = made(&services, "billing").await.unwrap().access_key_id;
    let paths = async || -> Vec<String> {
        let listed = store.list("", None, 1000).await.unwrap().entries;
        listed
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| !path.starts_with("store/"))
            .collect()
    };
    let (order, rest): (Vec<_>, Vec<_>) =
        paths().await.into_iter().partition(|path| path.starts_with("access-key-order/"));
    assert_eq!(rest, [format!("access-key/{id}"), "service-account/billing".to_owned()]);
    assert!(order.len() == 1 && order[0].ends_with(&id), "{order:?}");
    deleted(&services, &id).await.unwrap();
    assert_eq!(paths().await, ["service-account/billing"]);
}

#[tokio::test]
async fn an_uncertain_commit_is_settled_before_it_is_answered() {
    for (fault, stored) in [
        (InjectedFault::NotStored, false),
        (InjectedFault::MaybeStoredNot, false),
        (InjectedFault::MaybeStoredBut, true),
    ] {
        let store = Arc::new(MemoryStore::new());
        let services = services_over(store.clone()).await;
        store.fail_next(fault);
        assert_eq!(made(&services, "billing").await.is_ok(), stored, "{fault:?}");
        assert_eq!(count(&services).await, u32::from(stored), "{fault:?}");

        let id = made(&services, "billing").await.unwrap().access_key_id;
        assert_eq!(state(&services, &id).await, Some(AccessKeyState::Enabled));
        store.fail_next(fault);
        assert_eq!(disabled(&services, &id).await.is_ok(), stored, "{fault:?}");
        let expected = if stored { AccessKeyState::Disabled } else { AccessKeyState::Enabled };
        assert_eq!(state(&services, &id).await, Some(expected), "{fault:?}");

        store.fail_next(fault);
        assert_eq!(deleted(&services, &id).await.is_ok(), stored, "{fault:?}");
        assert_eq!(state(&services, &id).await.is_none(), stored, "{fault:?}");
    }
}

#[tokio::test]
async fn a_caller_who_vanishes_cannot_keep_a_disabled_access_key_alive() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let id = made(&services, "billing").await.unwrap().access_key_id;
    assert_eq!(state(&services, &id).await, Some(AccessKeyState::Enabled));
    let mut gate = store.hold_next_commit(Moment::After);
    let vanishing = {
        let (services, id) = (services.clone(), id.clone());
        tokio::spawn(async move { disabled(&services, &id).await })
    };
    gate.reached().await;
    vanishing.abort();
    let _ = vanishing.await;
    gate.release();
    eventually(async || state(&services, &id).await == Some(AccessKeyState::Disabled)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_keep_the_bound_and_lose_nothing() {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    let spawned: Vec<_> = (0..24)
        .map(|number| {
            let services = services.clone();
            let account = if number % 2 == 0 { "one" } else { "two" };
            tokio::spawn(async move { made(&services, account).await })
        })
        .collect();
    let mut answered = BTreeSet::new();
    for task in spawned {
        match task.await.unwrap() {
            Ok(made) => assert!(answered.insert(made.access_key_id)),
            Err(error) => {
                assert!(
                    matches!(error.rule(), Rule::StoredLimitReached | Rule::TooManyRequests),
                    "{error}"
                );
            }
        }
    }
    for account in ["one", "two"] {
        let request = ListAccessKeysRequest {
            principal: account.into(),
            page_size: Some(100),
            ..Default::default()
        };
        let listed = services.list_access_keys(&dev_caller(), request).await.unwrap();
        assert!((1..=10).contains(&listed.access_keys.len()));
        assert!(listed.access_keys.iter().all(|key| answered.contains(&key.access_key_id)));
    }
    assert_eq!(count(&services).await as usize, answered.len());

    // Deleted by two at once, each is deleted once.
    let twice = answered.iter().chain(&answered).map(|id| {
        let (services, id) = (services.clone(), id.clone());
        tokio::spawn(async move { deleted(&services, &id).await })
    });
    let mut done = 0;
    for task in twice.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(()) => done += 1,
            Err(error) => {
                let may_be = [Rule::AccessKeyNotFound, Rule::TooManyRequests];
                assert!(may_be.contains(&error.rule()), "{error}");
            }
        }
    }
    assert!(done > 0, "of two that delete the same, one does");
    assert_eq!(count(&services).await as usize, answered.len() - done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_brings_a_disabled_access_key_back() {
    let services = services_over(Arc::new(MemoryStore::new())).await;
    for _ in 0..50 {
        let id = made(&services, "billing").await.unwrap().access_key_id;
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (services, id) = (services.clone(), id.clone());
                tokio::spawn(async move {
                    for _ in 0..50 {
                        services.find_access_key(&id).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        disabled(&services, &id).await.unwrap();
        for _ in 0..20 {
            assert_eq!(state(&services, &id).await, Some(AccessKeyState::Disabled));
        }
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(state(&services, &id).await, Some(AccessKeyState::Disabled));
        deleted(&services, &id).await.unwrap();
    }
}
