//! What the lines say, and which there are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyferry::access::principal::Principal;
use keyferry::audit::entry::{Entry, Kind};
use keyferry::error::Rule;
use keyferry::proto::v1;
use keyferry::service::caller::Caller;

use super::world::World;
use crate::support::{ManualClock, Recipient, dev_caller, policies};

fn only(mut entries: Vec<Entry>) -> Entry {
    assert_eq!(entries.len(), 1, "{entries:#?}");
    entries.remove(0)
}

#[tokio::test]
async fn an_export_has_one_line_that_tells_all_of_it_but_no_value() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    let pairs = [("app", "planted-value"), ("zone", "other-value")];
    let context = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let request = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: key_id.clone(),
        encryption_context: BTreeMap::from(context),
        ..Default::default()
    };
    let caller = Caller {
        peer: Some("127.0.0.1:7".into()),
        by: Some(Principal::parse("unix:9").unwrap()),
        request_id: "of-the-caller".into(),
        ..dev_caller()
    };
    let made = run.services.generate_data_key_without_plaintext(&caller, request).await.unwrap();
    let recipient = Recipient::rsa();
    let export = recipient.export(&made.ciphertext_blob, &pairs);
    run.services.export_data_key(&caller, export).await.unwrap();
    run.stop().await;
    let exports = world.of_kind(Kind::Decision).into_iter();
    let line = only(exports.filter(|it| it.rpc.as_deref() == Some("Kms/ExportDataKey")).collect());
    assert_eq!(line.outcome.as_deref(), Some("ok"));
    assert_eq!(line.principal.as_deref(), Some("dev"));
    assert_eq!(line.by.as_deref(), Some("unix:9"));
    assert_eq!(line.peer.as_deref(), Some("127.0.0.1:7"));
    assert_eq!(line.request_id.as_deref(), Some("of-the-caller"));
    assert_eq!(line.key_id.as_deref(), Some(&*key_id));
    assert_eq!(line.key_version_id.as_deref(), Some(&*made.key_version_id));
    assert_eq!(line.recipient_spec.as_deref(), Some("RSA_2048"));
    assert_eq!(line.recipient_sha256.as_ref().map(String::len), Some(64));
    assert_eq!(line.algorithm.as_deref(), Some("RSAES_OAEP_SHA_256"));
    assert_eq!(line.blob_kind.as_deref(), Some("DataKeyUnseen"));
    assert_eq!(line.bytes, Some(32));
    assert_eq!(line.context_keys, Some(vec!["app".to_owned(), "zone".to_owned()]));
    assert_eq!(line.policy_set, Some(world.policy.digest().to_string()));
    let decision = &line.decisions.as_ref().unwrap()[0];
    assert_eq!((decision.action.as_str(), decision.allowed), ("ExportDataKey", true));
    assert_eq!(decision.key.as_deref(), Some(&*key_id));
    let text = serde_json::to_string(&world.entries()).unwrap();
    for value in ["planted-value", "other-value"] {
        assert!(!text.contains(value));
    }
    world.assert_intact();
}

/// Equal contexts have equal digests, and others have others.
#[tokio::test]
async fn digests_of_contexts_are_equal_where_the_contexts_are() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    for context in [&[("a", "1")][..], &[("a", "1")], &[("a", "2")], &[]] {
        let pairs = context.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let request = v1::GenerateDataKeyRequest {
            key_id: key_id.clone(),
            encryption_context: pairs.collect(),
            ..Default::default()
        };
        run.services.generate_data_key(&dev_caller(), request).await.unwrap();
    }
    run.stop().await;
    let lines = world.of_kind(Kind::Decision);
    let digests: Vec<_> = lines.into_iter().map(|line| line.context_hmac).collect();
    assert_eq!(digests[0], digests[1]);
    assert_ne!(digests[0], digests[2]);
    assert!(digests[0].is_some() && digests[3].is_none());
}

#[tokio::test]
async fn a_change_has_an_intent_and_an_outcome_of_one_event() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    run.set_enabled(&key_id, false).await.unwrap();
    run.set_enabled(&key_id, false).await.unwrap();
    // Refused before it was to be committed: a decision alone.
    let request = v1::SetDeletionProtectionRequest::default();
    run.services.set_deletion_protection(&dev_caller(), request).await.unwrap_err();
    run.stop().await;
    let (intents, outcomes) = (world.of_kind(Kind::Intent), world.of_kind(Kind::Outcome));
    assert_eq!(intents.len(), 3);
    for (intent, outcome) in intents.iter().zip(&outcomes) {
        assert_eq!((&intent.event, &intent.rpc), (&outcome.event, &outcome.rpc));
        assert!(intent.outcome.is_none());
    }
    let ends: Vec<_> = outcomes.iter().map(|line| line.outcome.as_deref().unwrap()).collect();
    assert_eq!(ends, ["ok", "ok", "unchanged"]);
    assert_eq!(outcomes[0].key_id.as_deref(), Some(&*key_id), "the id that the commit made");
    assert_eq!(outcomes[1].state.as_deref(), Some("Disabled"));
    assert!(world.of_kind(Kind::Decision).is_empty());
    world.assert_intact();
}

#[tokio::test]
async fn failures_and_dry_runs_are_told_by_their_reasons() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    let blob = run.generate(&key_id).await.unwrap();
    let mut tampered = blob.clone();
    *tampered.last_mut().unwrap() ^= 1;
    for (ciphertext_blob, dry_run) in [(tampered, false), (blob, true)] {
        let request = v1::DecryptRequest { ciphertext_blob, dry_run, ..Default::default() };
        run.services.decrypt(&dev_caller(), request).await.unwrap_err();
    }
    let unknown = uuid::Uuid::now_v7().to_string();
    assert_eq!(run.state(&unknown).await.unwrap_err().rule(), Rule::KeyNotFound);
    // Nothing was decided about what could not be read.
    run.state("").await.unwrap_err();
    run.stop().await;
    let lines = world.of_kind(Kind::Decision);
    let ends: Vec<_> = lines.iter().map(|line| line.outcome.as_deref().unwrap()).collect();
    assert_eq!(ends, ["ok", "InvalidParameter", "DryRunOperationError", "Forbidden.KeyNotFound"]);
    assert_eq!(lines[2].dry_run, Some(true));
    assert_eq!(lines[3].key_id, None, "no key has that id");
}

#[tokio::test]
async fn denials_have_lines_and_many_of_them_are_counted() {
    let world = World::new().await;
    let run = world.start().await;
    let key_id = run.create().await.unwrap();
    world.policy.replace(policies("@id(\"no\") forbid (principal, action, resource);"));
    let caller = Caller { principal: Principal::parse("unix:7").unwrap(), ..dev_caller() };
    for _ in 0..1000 {
        let request = v1::DescribeKeyRequest { key_id: key_id.clone(), dry_run: false };
        let refused = run.services.describe_key(&caller, request).await.unwrap_err();
        assert_eq!(refused.rule(), Rule::NotPermitted);
    }
    run.stop().await;
    let lines = world.of_kind(Kind::Decision);
    assert!(lines.len() < 200, "{}", lines.len());
    assert!(lines.iter().all(|line| line.principal.as_deref() == Some("unix:7")));
    assert!(lines.iter().all(|line| line.outcome.as_deref() == Some("Forbidden.NoPermission")));
    assert_eq!(lines.iter().map(|line| line.count.unwrap_or(1)).sum::<u64>(), 1000);
    world.assert_intact();
}

#[tokio::test]
async fn looks_have_lines_unless_they_are_switched_off() {
    for metadata in [true, false] {
        let mut world = World::new().await;
        world.settings.metadata = metadata;
        let run = world.start().await;
        let key_id = run.create().await.unwrap();
        run.state(&key_id).await.unwrap();
        run.services.list_keys(&dev_caller(), v1::ListKeysRequest::default()).await.unwrap();
        // A look that is refused is told of in any case.
        run.state(&uuid::Uuid::now_v7().to_string()).await.unwrap_err();
        run.stop().await;
        let looks = world.of_kind(Kind::Decision).len();
        assert_eq!(looks, if metadata { 3 } else { 1 });
    }
}

#[tokio::test]
async fn a_rotation_and_a_deletion_that_were_due_are_in_the_log() {
    let clock = Arc::new(ManualClock::default());
    let world = World::new().await;
    let run = world.start_with(clock.clone(), false).await.unwrap();
    let rotating = v1::CreateKeyRequest {
        enable_automatic_rotation: true,
        rotation_interval: "7d".to_owned(),
        ..Default::default()
    };
    let rotating = run.services.create_key(&dev_caller(), rotating).await.unwrap();
    let rotating = rotating.key_metadata.unwrap().key_id;
    let deleted = run.create().await.unwrap();
    let request = v1::ScheduleKeyDeletionRequest {
        key_id: deleted.clone(),
        pending_window_in_days: Some(7),
        dry_run: false,
    };
    run.services.schedule_key_deletion(&dev_caller(), request).await.unwrap();
    for _ in 0..9 * 24 {
        clock.pass(Duration::from_secs(3600));
        run.keys.schedule.carry_out_due().await.unwrap();
    }
    run.stop().await;
    let system: Vec<_> = world
        .of_kind(Kind::Outcome)
        .into_iter()
        .filter(|line| line.principal.as_deref() == Some("system"))
        .map(|line| (line.change.unwrap(), line.key_id.unwrap(), line.outcome.unwrap()))
        .collect();
    let ok = || "ok".to_owned();
    assert_eq!(
        system,
        [
            ("deleted, as was scheduled".to_owned(), deleted, ok()),
            ("rotated on schedule".to_owned(), rotating, ok()),
        ]
    );
    world.assert_intact();
}

/// A caller who leaves while the work is done: what was decided is told.
#[tokio::test]
async fn what_was_abandoned_is_told() {
    let world = World::new().await;
    let run = world.start().await;
    let made = v1::CreateKeyRequest {
        key_spec: "RSA_2048".to_owned(),
        key_usage: "SIGN/VERIFY".to_owned(),
        ..Default::default()
    };
    let key_id = run.services.create_key(&dev_caller(), made).await.unwrap();
    let key_id = key_id.key_metadata.unwrap().key_id;
    let listed = v1::ListKeyVersionsRequest { key_id: key_id.clone(), ..Default::default() };
    let listed = run.services.list_key_versions(&dev_caller(), listed).await.unwrap();
    let request = v1::AsymmetricSignRequest {
        key_id,
        key_version_id: listed.key_versions[0].key_version_id.clone(),
        algorithm: v1::SigningAlgorithm::RsaPssSha256.into(),
        digest: vec![7; 32],
        dry_run: false,
    };
    {
        let caller = dev_caller();
        let signing = run.services.asymmetric_sign(&caller, request);
        let mut signing = std::pin::pin!(signing);
        // The work is on the pool's threads when it is first polled.
        assert!(futures_now(signing.as_mut()).is_none());
    }
    run.stop().await;
    let lines = world.of_kind(Kind::Decision);
    let signing = lines.iter().filter(|it| it.rpc.as_deref() == Some("Kms/AsymmetricSign"));
    let ends: Vec<_> = signing.map(|line| line.outcome.as_deref().unwrap()).collect();
    assert_eq!(ends, ["abandoned"]);
}

/// Polls once.
fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn strangers_are_counted_in_a_line_for_each_door() {
    let world = World::new().await;
    let run = world.start().await;
    for (door, count) in [("connection", 0), ("rpc", 70_000), ("action", 30_000)] {
        run.log.strangers_refused(door, count);
    }
    run.stop().await;
    let counted: Vec<_> = world.of_kind(Kind::Auth);
    let counted: Vec<_> = counted.into_iter().map(|it| (it.refused.unwrap(), it.count)).collect();
    assert_eq!(counted, [("rpc".to_owned(), Some(70_000)), ("action".to_owned(), Some(30_000))]);
}
