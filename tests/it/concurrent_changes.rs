//! Many callers change one CMK at once, over gRPC: no change that was answered as
//! done is lost, and a disabled CMK is disabled for every request that begins later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keyferry::proto::v1;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::TestServer;

type Management = KeyManagementClient<Channel>;

/// Writers of each kind.
const WRITERS: usize = 5;
/// Changes that each makes.
const CHANGES: usize = 4;

/// Changes that a writer was told are done.
#[derive(Debug, Default)]
struct Done {
    tags: BTreeSet<String>,
    names: BTreeSet<String>,
    versions: usize,
    description: Option<String>,
    /// Whether it was last enabled, or disabled.
    enabled: Option<bool>,
}

/// The reason of a refusal.
fn reason(status: &Status) -> String {
    status.get_error_details().error_info().expect("ErrorInfo").reason.clone()
}

/// Whether it was done; refused only for one of these reasons, or as too many
/// change the key at once.
#[track_caller]
fn done<T>(outcome: Result<T, Status>, refusals: &[&str]) -> bool {
    let Err(status) = outcome else { return true };
    let reason = reason(&status);
    let throttled = reason == "Rejected.Throttling" && status.code() == Code::ResourceExhausted;
    assert!(throttled || refusals.contains(&reason.as_str()), "{status}");
    false
}

async fn tag(mut management: Management, key_id: String, writer: usize) -> Done {
    let mut told = Done::default();
    for change in 0..CHANGES {
        let tag_key = format!("{writer}-{change}");
        let tags = vec![v1::Tag { tag_key: tag_key.clone(), tag_value: String::new() }];
        let request = v1::TagResourceRequest { key_id: key_id.clone(), tags, dry_run: false };
        if done(management.tag_resource(request).await, &[]) {
            told.tags.insert(tag_key);
        }
    }
    told
}

async fn describe(mut management: Management, key_id: String, writer: usize) -> Done {
    let mut told = Done::default();
    for change in 0..CHANGES {
        let description = format!("{writer}-{change}");
        let request = v1::UpdateKeyDescriptionRequest {
            key_id: key_id.clone(),
            description: description.clone(),
            dry_run: false,
        };
        if done(management.update_key_description(request).await, &[]) {
            told.description = Some(description);
        }
    }
    told
}

/// Every writer disables last, so that it is known what must stand at the end.
async fn switch(mut management: Management, key_id: String, _: usize) -> Done {
    let mut told = Done::default();
    for change in 0..CHANGES {
        let enable = change.is_multiple_of(2);
        let (key_id, dry_run) = (key_id.clone(), false);
        let switched = if enable {
            let request = v1::EnableKeyRequest { key_id, dry_run };
            done(management.enable_key(request).await, &[])
        } else {
            done(management.disable_key(v1::DisableKeyRequest { key_id, dry_run }).await, &[])
        };
        if switched {
            told.enabled = Some(enable);
        }
    }
    told
}

async fn rotate(mut management: Management, key_id: String, _: usize) -> Done {
    let mut told = Done::default();
    for _ in 0..CHANGES {
        let request = v1::CreateKeyVersionRequest { key_id: key_id.clone(), dry_run: false };
        let made = management.create_key_version(request).await;
        told.versions += usize::from(done(made, &["Rejected.Disabled"]));
    }
    told
}

async fn name(mut management: Management, key_id: String, writer: usize) -> Done {
    let mut told = Done::default();
    for change in 0..CHANGES {
        let alias_name = format!("alias/{writer}-{change}");
        let request = v1::CreateAliasRequest {
            alias_name: alias_name.clone(),
            key_id: key_id.clone(),
            dry_run: false,
        };
        if done(management.create_alias(request).await, &[]) {
            told.names.insert(alias_name);
        }
    }
    told
}

/// Starts a writer of each kind, several times over, and waits for all.
async fn write_at_once(server: &TestServer, key_id: &str) -> Vec<Done> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let management = KeyManagementClient::new(server.another_channel().await);
        let key_id = key_id.to_owned();
        writers.spawn(tag(management.clone(), key_id.clone(), writer));
        writers.spawn(describe(management.clone(), key_id.clone(), writer));
        writers.spawn(switch(management.clone(), key_id.clone(), writer));
        writers.spawn(rotate(management.clone(), key_id.clone(), writer));
        writers.spawn(name(management, key_id, writer));
    }
    writers.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_that_was_answered_as_done_is_lost() {
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let told = write_at_once(&server, &key_id).await;
    let mut management = server.management.clone();
    let request = v1::DescribeKeyRequest { key_id: key_id.clone(), dry_run: false };
    let found = management.describe_key(request).await.unwrap().into_inner().key_metadata.unwrap();
    let request = v1::ListResourceTagsRequest { key_id: key_id.clone(), dry_run: false };
    let tags = management.list_resource_tags(request).await.unwrap().into_inner().tags;
    let tags: BTreeSet<_> = tags.into_iter().map(|tag| tag.tag_key).collect();
    assert_eq!(tags, told.iter().flat_map(|told| told.tags.clone()).collect());
    let request = v1::ListAliasesByKeyIdRequest {
        key_id: key_id.clone(),
        page_size: Some(100),
        ..Default::default()
    };
    let names = management.list_aliases_by_key_id(request).await.unwrap().into_inner().aliases;
    let names: BTreeSet<_> = names.into_iter().map(|alias| alias.alias_name).collect();
    assert_eq!(names, told.iter().flat_map(|told| told.names.clone()).collect());
    let request = v1::ListKeyVersionsRequest { key_id, page_size: Some(100), ..Default::default() };
    let versions = management.list_key_versions(request).await.unwrap().into_inner().total_count;
    let made: usize = told.iter().map(|told| told.versions).sum();
    assert_eq!(usize::try_from(versions).unwrap(), 1 + made);
    // Of several, one was the last.
    let mut last = told.iter().filter_map(|told| told.description.as_deref());
    assert!(last.any(|last| last == found.description), "{}", found.description);
    let mut last = told.iter().filter_map(|told| told.enabled);
    assert!(last.any(|enabled| enabled == (found.key_state == "Enabled")), "{told:?}");
}

/// The state that a CMK is known to be in, counted up while it is changed:
/// even while it is known, odd while a change is under way; every fourth is
/// enabled.
#[derive(Clone, Default)]
struct Phase(Arc<AtomicU64>);

impl Phase {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Uses a CMK again and again until the end, and judges each use that began and
/// ended while its state was known. How often that was, by refusal.
async fn use_until_the_end(
    mut kms: KmsClient<Channel>,
    key_id: String,
    blob: Vec<u8>,
    phase: Phase,
    end: u64,
) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for turn in 0_usize.. {
        let before = phase.now();
        if before == end {
            break;
        }
        let outcome = if turn.is_multiple_of(2) {
            let request = v1::GenerateDataKeyWithoutPlaintextRequest {
                key_id: key_id.clone(),
                ..Default::default()
            };
            kms.generate_data_key_without_plaintext(request).await.map(drop)
        } else {
            let request =
                v1::DecryptRequest { ciphertext_blob: blob.clone(), ..Default::default() };
            kms.decrypt(request).await.map(drop)
        };
        let refusal = outcome.err().map(|status| reason(&status)).unwrap_or_default();
        if before == phase.now() && before.is_multiple_of(2) {
            let expected = if before.is_multiple_of(4) { "" } else { "Rejected." };
            assert!(refusal.starts_with(expected), "{refusal} in phase {before}");
            assert_eq!(refusal.is_empty(), expected.is_empty(), "{refusal} in phase {before}");
            *seen.entry(refusal).or_default() += 1;
        }
    }
    seen
}

/// Stops a CMK and lets it go again, in two ways in turn.
async fn stop_and_let_go(management: &mut Management, key_id: &str, phase: &Phase, round: u64) {
    let (key_id, dry_run) = (key_id.to_owned(), false);
    let pause = || tokio::time::sleep(std::time::Duration::from_millis(4));
    phase.next();
    if round.is_multiple_of(2) {
        let request = v1::DisableKeyRequest { key_id: key_id.clone(), dry_run };
        management.disable_key(request).await.unwrap();
    } else {
        let request = v1::ScheduleKeyDeletionRequest {
            key_id: key_id.clone(),
            pending_window_in_days: Some(7),
            dry_run,
        };
        management.schedule_key_deletion(request).await.unwrap();
    }
    phase.next();
    pause().await;
    phase.next();
    if round.is_multiple_of(2) {
        management.enable_key(v1::EnableKeyRequest { key_id, dry_run }).await.unwrap();
    } else {
        let request = v1::CancelKeyDeletionRequest { key_id, dry_run };
        management.cancel_key_deletion(request).await.unwrap();
    }
    phase.next();
    pause().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_that_begins_after_a_cmk_was_stopped_succeeds() {
    const ROUNDS: u64 = 60;
    let server = TestServer::start().await;
    let key_id = server.create_key().await;
    let blob = server.generate(&key_id, &[], 32).await;
    let phase = Phase::default();
    let mut users = JoinSet::new();
    for _ in 0..6 {
        let kms = KmsClient::new(server.another_channel().await);
        let (key_id, blob, phase) = (key_id.clone(), blob.clone(), phase.clone());
        users.spawn(use_until_the_end(kms, key_id, blob, phase, 4 * ROUNDS));
    }
    let mut management = server.management.clone();
    for round in 0..ROUNDS {
        stop_and_let_go(&mut management, &key_id, &phase, round).await;
    }
    let mut seen = BTreeMap::<String, usize>::new();
    for user in users.join_all().await {
        for (refusal, times) in user {
            *seen.entry(refusal).or_default() += times;
        }
    }
    let kinds: Vec<_> = seen.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["", "Rejected.Disabled", "Rejected.PendingDeletion"], "{seen:?}");
}
