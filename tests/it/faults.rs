//! A store that fails, and callers that vanish: every answer is true, and no
//! change is torn.

use std::sync::Arc;

use keyferry::error::{Error, Rule};
use keyferry::proto::v1;
use keyferry::service::Services;
use keyferry::storage::memory::{InjectedFault, Moment};
use keyferry::storage::{MemoryStore, Store};

use crate::support::{dev_caller, eventually, services_over};

async fn create_key(services: &Services) -> Result<String, Error> {
    let created = services.create_key(&dev_caller(), v1::CreateKeyRequest::default()).await?;
    Ok(created.key_metadata.unwrap().key_id)
}

async fn create_alias(services: &Services, name: &str, key_id: &str) -> Result<(), Error> {
    let request =
        v1::CreateAliasRequest { alias_name: name.into(), key_id: key_id.into(), dry_run: false };
    services.create_alias(&dev_caller(), request).await.map(|_| ())
}

async fn disable(services: &Services, key_id: &str) -> Result<(), Error> {
    let request = v1::DisableKeyRequest { key_id: key_id.into(), dry_run: false };
    services.disable_key(&dev_caller(), request).await.map(|_| ())
}

async fn state(services: &Services, key_id: &str) -> String {
    let request = v1::DescribeKeyRequest { key_id: key_id.into(), dry_run: false };
    services.describe_key(&dev_caller(), request).await.unwrap().key_metadata.unwrap().key_state
}

async fn key_count(services: &Services) -> u32 {
    services.list_keys(&dev_caller(), v1::ListKeysRequest::default()).await.unwrap().total_count
}

/// Rows in pairs: failed and not stored, failed but stored.
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
        let created = create_key(&services).await;
        assert_eq!(created.is_ok(), stored, "{fault:?}");
        assert_eq!(key_count(&services).await, u32::from(stored), "{fault:?}");
        if let Err(error) = created {
            assert_eq!(error.rule(), Rule::StoreUnreachable);
        }

        let key_id = create_key(&services).await.unwrap();
        store.fail_next(fault);
        assert_eq!(create_alias(&services, "alias/a", &key_id).await.is_ok(), stored, "{fault:?}");
        let again = create_alias(&services, "alias/a", &key_id).await;
        assert_eq!(
            again.err().map(|error| error.rule()),
            stored.then_some(Rule::AliasTaken),
            "{fault:?}"
        );

        store.fail_next(fault);
        assert_eq!(disable(&services, &key_id).await.is_ok(), stored, "{fault:?}");
        assert_eq!(
            state(&services, &key_id).await,
            if stored { "Disabled" } else { "Enabled" },
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_settled_says_so() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let key_id = create_key(&services).await.unwrap();
    assert_eq!(state(&services, &key_id).await, "Enabled");
    store.fail_next(InjectedFault::MaybeStoredBut);
    store.fail_next(InjectedFault::Unavailable);
    let error = disable(&services, &key_id).await.unwrap_err();
    assert_eq!(error.rule(), Rule::StoreUnreachable);
    assert!(error.text().contains("may have happened"), "{}", error.text());
    // The cache must not go on saying Enabled.
    assert_eq!(state(&services, &key_id).await, "Disabled");
}

#[tokio::test]
async fn a_read_that_fails_is_unavailable_and_nothing_is_remembered() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let key_id = create_key(&services).await.unwrap();
    store.fail_next(InjectedFault::Unavailable);
    let request =
        v1::EncryptRequest { key_id: key_id.clone(), plaintext: vec![1], ..Default::default() };
    assert_eq!(
        services.encrypt(&dev_caller(), request.clone()).await.unwrap_err().rule(),
        Rule::StoreUnreachable
    );
    assert!(services.encrypt(&dev_caller(), request).await.is_ok());
    store.fail_next(InjectedFault::Unavailable);
    assert!(!services.is_healthy().await);
    assert!(services.is_healthy().await);
}

/// A caller that resets its stream drops the service's future. Wherever it
/// stands, the change is made whole or not at all, and what is cached is true.
#[tokio::test]
async fn a_caller_may_vanish_at_every_await_of_a_change() {
    for moment in [Moment::Before, Moment::After] {
        let store = Arc::new(MemoryStore::new());
        let services = services_over(store.clone()).await;
        let key_id = create_key(&services).await.unwrap();
        assert_eq!(state(&services, &key_id).await, "Enabled");

        let mut gate = store.hold_next_commit(moment);
        let (task_services, id) = (services.clone(), key_id.clone());
        let task = tokio::spawn(async move { disable(&task_services, &id).await });
        gate.reached().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        gate.release();
        eventually(async || state(&services, &key_id).await == "Disabled").await;

        let mut gate = store.hold_next_commit(moment);
        let (task_services, id) = (services.clone(), key_id.clone());
        let task = tokio::spawn(async move { create_alias(&task_services, "alias/a", &id).await });
        gate.reached().await;
        task.abort();
        gate.release();
        let of_key = async || {
            let request =
                v1::ListAliasesByKeyIdRequest { key_id: key_id.clone(), ..Default::default() };
            services.list_aliases_by_key_id(&dev_caller(), request).await.unwrap().total_count
        };
        let in_all = async || {
            services
                .list_aliases(&dev_caller(), v1::ListAliasesRequest::default())
                .await
                .unwrap()
                .total_count
        };
        eventually(async || of_key().await == 1 && in_all().await == 1).await;
        let found = create_alias(&services, "alias/a", &key_id).await.unwrap_err();
        assert_eq!(found.rule(), Rule::AliasTaken);
    }
}

/// An attacker who can write the store but has no root key can neither change a
/// record nor move one unnoticed.
#[tokio::test]
async fn a_record_changed_or_moved_is_found() {
    let store = Arc::new(MemoryStore::new());
    let services = services_over(store.clone()).await;
    let (one, two) = (create_key(&services).await.unwrap(), create_key(&services).await.unwrap());
    let paths: Vec<String> = store
        .list("", None, 100)
        .await
        .unwrap()
        .entries
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    let (one_path, two_path) = (format!("cmk/{one}"), format!("cmk/{two}"));
    assert!(paths.contains(&one_path));
    let read =
        async |path: &str| store.read(&[path]).await.unwrap().values[0].clone().unwrap().value;
    let put = async |path: &str, value: Vec<u8>| {
        let write = keyferry::storage::Write::Put(path.to_owned(), value);
        store.commit(&[], &[write]).await.unwrap();
    };
    let describe = async |id: &str| {
        let request = v1::DescribeKeyRequest { key_id: id.into(), dry_run: false };
        services.describe_key(&dev_caller(), request).await.map(|_| ())
    };
    assert!(services.is_healthy().await);
    let (original, moved) = (read(&one_path).await, read(&two_path).await);
    put(&one_path, moved).await;
    assert_eq!(describe(&one).await.unwrap_err().rule(), Rule::Internal);
    assert!(!services.is_healthy().await, "a damaged record is a health failure");
    for at in (0..original.len()).step_by(7) {
        let mut changed = original.clone();
        changed[at] ^= 1;
        put(&one_path, changed).await;
        assert_eq!(describe(&one).await.unwrap_err().rule(), Rule::Internal, "byte {at}");
    }
    put(&one_path, original).await;
    assert!(describe(&one).await.is_ok());
}
