//! Items: each answered, in order, by itself.

use keyferry::crypto::wrapping::WrappingAlgorithm;
use keyferry::proto::v1;
use keyferry::proto::v1::export_data_keys_response::Outcome;
use tokio_stream::StreamExt;
use tonic::Code;

use super::talk::{Talk, World, assert_exported, failure, soon};
use crate::support::{TestServer, context};

#[tokio::test]
async fn an_item_that_fails_ends_nothing_but_itself() {
    let world = World::over(TestServer::start().await).await;
    let good = world.export();
    let disabled = world.server.create_key().await;
    let of_disabled = world.server.generate(&disabled, &[], 32).await;
    let request = v1::DisableKeyRequest { key_id: disabled, dry_run: false };
    world.server.management.clone().disable_key(request).await.unwrap();
    let mut tampered = good.ciphertext_blob.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let mut of_nobody = good.ciphertext_blob.clone();
    of_nobody[..36].copy_from_slice(keyferry::ids::KeyVersionId::new().to_string().as_bytes());
    let with = |blob: Vec<u8>| v1::ExportDataKeyRequest { ciphertext_blob: blob, ..good.clone() };
    let invalid = Some((Code::InvalidArgument, "InvalidParameter"));
    let missing = Some((Code::InvalidArgument, "MissingParameter"));
    let (longest, longer) = ("x".repeat(256), "x".repeat(257));
    let items = [
        ("a", Some(good.clone()), None),
        ("b", None, missing),
        ("", Some(good.clone()), None),
        ("a", Some(with(tampered)), invalid),
        (&longest, Some(good.clone()), None),
        (&longer, Some(good.clone()), invalid),
        ("c", Some(with(of_nobody)), Some((Code::NotFound, "Forbidden.KeyNotFound"))),
        ("d", Some(with(vec![])), missing),
        (
            "e",
            Some(v1::ExportDataKeyRequest { encryption_context: context(&[]), ..good.clone() }),
            invalid,
        ),
        (
            "f",
            Some(v1::ExportDataKeyRequest {
                encryption_context: context(&[]),
                ..with(of_disabled)
            }),
            Some((Code::FailedPrecondition, "Rejected.Disabled")),
        ),
        ("g", Some(v1::ExportDataKeyRequest { wrapping_algorithm: 9, ..good.clone() }), invalid),
        (
            "h",
            Some(v1::ExportDataKeyRequest { dry_run: true, ..good.clone() }),
            Some((Code::FailedPrecondition, "DryRunOperationError")),
        ),
        ("中", Some(good.clone()), None),
    ];
    let sent: Vec<_> = items
        .iter()
        .map(|(item_id, item, _)| v1::ExportDataKeysRequest {
            item_id: (*item_id).to_owned(),
            item: item.clone(),
        })
        .collect();
    let answers = world.server.kms.clone().export_data_keys(tokio_stream::iter(sent)).await;
    let answers: Result<Vec<_>, _> = soon(answers.unwrap().into_inner().collect()).await;
    let answers = answers.unwrap();
    assert_eq!(answers.len(), items.len());
    for (answer, (item_id, _, failed)) in answers.iter().zip(items) {
        assert_eq!((answer.item_id.as_str(), failure(answer)), (item_id, failed));
        if let Some(Outcome::Error(error)) = &answer.outcome {
            assert!(!error.message.is_empty());
        }
    }
}

#[tokio::test]
async fn what_is_exported_is_what_the_blob_holds() {
    let world = World::over(TestServer::start().await).await;
    let request = v1::DecryptRequest {
        ciphertext_blob: world.blob.clone(),
        encryption_context: context(&[("n", "1")]),
        dry_run: false,
    };
    let plaintext = world.server.kms.clone().decrypt(request).await.unwrap().into_inner().plaintext;
    let mut talk = Talk::begin(world.server.kms.clone()).await;
    let answer = talk.ask(world.item("one")).await;
    let Some(Outcome::Exported(exported)) = answer.outcome else { panic!("{answer:?}") };
    assert_eq!(exported.key_id, world.key_id);
    assert!(!exported.request_id.is_empty());
    let opened = world
        .recipient
        .private
        .unwrap(Some(WrappingAlgorithm::Sm2Pke), &exported.exported_data_key);
    assert_eq!(opened.unwrap().reveal(keyferry::crypto::secret::Reveal::ToFile), plaintext);
    drop(talk.items);
    assert!(soon(talk.answers.message()).await.unwrap().is_none(), "a clean end");
}

#[tokio::test]
async fn a_key_is_disabled_in_the_middle() {
    let world = World::over(TestServer::start().await).await;
    let mut management = world.server.management.clone();
    let mut talk = Talk::begin(world.server.kms.clone()).await;
    for round in 0..3 {
        for n in 0..3 {
            let item_id = format!("{round}-{n}");
            assert_exported(&talk.ask(world.item(&item_id)).await, &item_id);
        }
        let request = v1::DisableKeyRequest { key_id: world.key_id.clone(), dry_run: false };
        management.disable_key(request).await.unwrap();
        let refused = talk.ask(world.item("disabled")).await;
        assert_eq!(failure(&refused), Some((Code::FailedPrecondition, "Rejected.Disabled")));
        let request = v1::EnableKeyRequest { key_id: world.key_id.clone(), dry_run: false };
        management.enable_key(request).await.unwrap();
    }
}

#[tokio::test]
async fn many_streams_at_once() {
    let world = World::over(TestServer::start().await).await;
    let mut streams = tokio::task::JoinSet::new();
    for stream in 0..64 {
        let items: Vec<_> = (0..20).map(|n| world.item(format!("{stream}-{n}"))).collect();
        let mut kms = world.server.kms.clone();
        streams.spawn(async move {
            let answers = kms.export_data_keys(tokio_stream::iter(items)).await.unwrap();
            let answers: Vec<_> = answers.into_inner().collect().await;
            assert_eq!(answers.len(), 20);
            for (n, answer) in answers.iter().enumerate() {
                assert_exported(answer.as_ref().unwrap(), &format!("{stream}-{n}"));
            }
        });
    }
    soon(async {
        while let Some(done) = streams.join_next().await {
            done.unwrap();
        }
    })
    .await;
}
