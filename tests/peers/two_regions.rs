//! Two regions: data keys made in one, exported under a public key of the other,
//! imported there, and the same in both. Two real servers, a store each.

use std::fs;
use std::future::Future;
use std::io;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::SecretDocument;
use keyferry::crypto::secret::Plaintext;
use keyferry::crypto::wrapping::{
    WrappingAlgorithm as Algorithm, WrappingKey, WrappingKeySpec as Spec, WrappingMethod,
};
use keyferry::proto::v1;
use keyferry::proto::v1::export_data_keys_response::Outcome;
use keyferry::proto::v1::{Sm2CiphertextEncoding as Encoding, WrappingAlgorithm, WrappingKeySpec};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::support::harness::on_path;
use crate::support::program::without_settings;
use crate::support::{TestServer, assert_refused, context};

/// Data keys that cross in each way, and in the long run.
const ORDINARY: usize = 500;
const LONG: usize = 10_000;
/// Requests on their way at once.
const AT_ONCE: usize = 64;
/// Where a blob says its kind, and what says that it was imported.
const KIND_AT: usize = 37;
const IMPORTED: u8 = 4;

/// How a data key is wrapped on its way.
#[derive(Clone, Copy, Debug)]
struct Wrapping {
    algorithm: WrappingAlgorithm,
    encoding: Encoding,
    longest_bytes: usize,
}

const fn oaep(algorithm: WrappingAlgorithm, longest_bytes: usize) -> Wrapping {
    Wrapping { algorithm, encoding: Encoding::Unspecified, longest_bytes }
}

const fn rsa(sha256_bytes: usize, sha1_bytes: usize) -> [Wrapping; 2] {
    [
        oaep(WrappingAlgorithm::RsaesOaepSha256, sha256_bytes),
        oaep(WrappingAlgorithm::RsaesOaepSha1, sha1_bytes),
    ]
}

const fn sm2(encoding: Encoding) -> Wrapping {
    Wrapping { algorithm: WrappingAlgorithm::Sm2pke, encoding, longest_bytes: 1024 }
}

const SPECS: [(&str, WrappingKeySpec, [Wrapping; 2]); 4] = [
    ("RSA_2048", WrappingKeySpec::Rsa2048, rsa(190, 214)),
    ("RSA_3072", WrappingKeySpec::Rsa3072, rsa(318, 342)),
    ("RSA_4096", WrappingKeySpec::Rsa4096, rsa(446, 470)),
    ("EC_SM2", WrappingKeySpec::EcSm2, [sm2(Encoding::Asn1Der), sm2(Encoding::RawC1c3c2)]),
];

/// An asymmetric CMK of a region, as its version is named and shown to others.
#[derive(Clone)]
struct Door {
    key_id: String,
    version_id: String,
    public_key: String,
    spec: WrappingKeySpec,
}

impl Door {
    async fn of(region: &TestServer, name: &str, spec: WrappingKeySpec) -> Self {
        let (key_id, version_id) = region.create_pair(name, "ENCRYPT/DECRYPT").await;
        let request = v1::GetPublicKeyRequest {
            key_id: key_id.clone(),
            key_version_id: version_id.clone(),
            ..Default::default()
        };
        let shown = region.kms.clone().get_public_key(request).await.unwrap().into_inner();
        Self { key_id, version_id, public_key: shown.public_key, spec }
    }

    /// The request that exports a blob to it.
    fn export(&self, how: Wrapping, made: &Made) -> v1::ExportDataKeyRequest {
        v1::ExportDataKeyRequest {
            ciphertext_blob: made.blob.clone(),
            public_key_blob: self.public_key.clone().into_bytes(),
            wrapping_algorithm: how.algorithm.into(),
            wrapping_key_spec: self.spec.into(),
            encryption_context: context(&[("n", &made.n)]),
            sm2_ciphertext_encoding: how.encoding.into(),
            dry_run: false,
            receipt: false,
        }
    }

    /// The request that imports what was exported to it.
    fn import(&self, how: WrappingAlgorithm, exported: &[u8], to: &str) -> v1::ReEncryptRequest {
        v1::ReEncryptRequest {
            ciphertext_blob: exported.to_vec(),
            source_key_id: self.key_id.clone(),
            source_key_version_id: self.version_id.clone(),
            source_encryption_algorithm: how.into(),
            destination_key_id: to.to_owned(),
            destination_encryption_context: context(&[("region", "b")]),
            ..Default::default()
        }
    }
}

/// A data key of a region, as its blob.
#[derive(Clone)]
struct Made {
    n: String,
    blob: Vec<u8>,
}

async fn make(region: &TestServer, key_id: &str, n: usize, bytes: usize) -> Made {
    let n = n.to_string();
    let blob = region.generate(key_id, &[("n", &n)], u32::try_from(bytes).unwrap()).await;
    Made { n, blob }
}

async fn open(region: &TestServer, blob: &[u8], pairs: &[(&str, &str)]) -> Vec<u8> {
    let request = v1::DecryptRequest {
        ciphertext_blob: blob.to_vec(),
        encryption_context: context(pairs),
        dry_run: false,
    };
    region.kms.clone().decrypt(request).await.unwrap().into_inner().plaintext
}

/// Does something about each, so many at once; the answers in order.
async fn each<T, F>(count: usize, act: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut answers: Vec<Option<T>> = (0..count).map(|_| None).collect();
    let mut acting = JoinSet::new();
    for n in 0..count {
        if acting.len() == AT_ONCE {
            let (n, answer) = acting.join_next().await.unwrap().unwrap();
            answers[n] = Some(answer);
        }
        let answer = act(n);
        acting.spawn(async move { (n, answer.await) });
    }
    while let Some(done) = acting.join_next().await {
        let (n, answer) = done.unwrap();
        answers[n] = Some(answer);
    }
    answers.into_iter().map(Option::unwrap).collect()
}

/// Exports over one stream.
async fn export_all(
    region: &TestServer,
    items: impl IntoIterator<Item = v1::ExportDataKeyRequest>,
) -> Vec<Vec<u8>> {
    let items = items
        .into_iter()
        .enumerate()
        .map(|(n, item)| v1::ExportDataKeysRequest { item_id: n.to_string(), item: Some(item) });
    let items = tokio_stream::iter(items.collect::<Vec<_>>());
    let mut answers = region.kms.clone().export_data_keys(items).await.unwrap().into_inner();
    let mut exported = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.item_id, exported.len().to_string(), "in order");
        match answer.outcome {
            Some(Outcome::Exported(answer)) => exported.push(answer.exported_data_key),
            other => panic!("item {}: {other:?}", answer.item_id),
        }
    }
    exported
}

/// Has so many data keys cross in every way.
async fn cross(count: usize) {
    let log = Log::keep();
    let [a, b] = [TestServer::start().await, TestServer::start().await].map(Arc::new);
    let [key_a, key_b] = [a.create_key().await, b.create_key().await];
    for (name, spec, ways) in SPECS {
        let door = Door::of(&b, name, spec).await;
        for way in ways {
            let made = each(count, |n| {
                let (a, key) = (a.clone(), key_a.clone());
                async move { make(&a, &key, n, 1 + n * 131 % way.longest_bytes).await }
            });
            let made = made.await;
            let items = made.iter().map(|made| door.export(way, made));
            let exported = export_all(&a, items).await;
            assert_eq!(exported.len(), count, "{name} {way:?}");
            let imported = each(count, |n| {
                let request = door.import(way.algorithm, &exported[n], &key_b);
                let mut kms = b.kms.clone();
                async move { kms.re_encrypt(request).await.unwrap().into_inner() }
            });
            let imported = imported.await;
            let same = each(count, |n| {
                let (a, b) = (a.clone(), b.clone());
                let (made, here) = (made[n].clone(), imported[n].ciphertext_blob.clone());
                async move {
                    assert_eq!(here[KIND_AT], IMPORTED);
                    let there = open(&a, &made.blob, &[("n", &made.n)]).await;
                    let here = open(&b, &here, &[("region", "b")]).await;
                    (there == here).then_some(here)
                }
            });
            let keys: Vec<_> = same.await.into_iter().map(|key| key.expect("the same")).collect();
            for (n, (answer, key)) in imported.iter().zip(&keys).enumerate() {
                assert_eq!(
                    (&answer.key_id, &answer.key_version_id, key.len()),
                    (&door.key_id, &door.version_id, 1 + n * 131 % way.longest_bytes)
                );
            }
            log.assert_shows_none_of(keys.iter().filter(|key| key.len() >= 16).take(10));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_data_key_crosses_and_is_the_same_on_both_sides() {
    cross(ORDINARY).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes: scripts/test --long runs it"]
async fn ten_thousand_data_keys_cross_in_every_way() {
    cross(LONG).await;
}

/// The whole of a refusal but for the request's own id.
fn told(status: &Status) -> String {
    let details = status.get_error_details();
    let (info, bad) = (details.error_info(), details.bad_request());
    format!("{:?} {} {info:?} {bad:?}", status.code(), status.message())
}

/// Encrypts under an SM2 door's public key, as anybody can.
fn sm2_encrypted(door: &Door, plaintext: &[u8]) -> Vec<u8> {
    let key = WrappingKey::parse(Spec::EcSm2, door.public_key.as_bytes()).unwrap();
    let method = WrappingMethod::new(Spec::EcSm2, Algorithm::Sm2Pke, None).unwrap();
    Plaintext::new(plaintext.to_vec()).encrypt(&key, &method).unwrap()
}

/// Encrypts nothing under an RSA door's public key, which none of ours would.
fn nothing_encrypted(door: &Door) -> Vec<u8> {
    let (_, der) = SecretDocument::from_pem(&door.public_key).unwrap();
    let key = PublicEncryptingKey::from_der(der.as_bytes()).unwrap();
    let key = OaepPublicEncryptingKey::new(key).unwrap();
    let mut encrypted = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA256_MGF1SHA256, &[], &mut encrypted, None).unwrap();
    encrypted
}

/// Bytes that must not be imported, each with what it is and how it is said to
/// have been encrypted.
async fn unfit(a: &TestServer, rsa: &Door, other: &Door, sm2: &Door) -> Vec<Unfit> {
    let key_id = a.create_key().await;
    let made = make(a, &key_id, 0, 32).await;
    let [way, sha1] = self::rsa(190, 214);
    let to_sm2 = SPECS[3].2[0];
    let items = [(rsa, way), (other, way), (rsa, sha1), (sm2, to_sm2), (sm2, SPECS[3].2[1])];
    let items = items.map(|(door, way)| door.export(way, &made));
    let [good, to_other, by_sha1, der, raw]: [Vec<u8>; 5] =
        export_all(a, items).await.try_into().unwrap();
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let large = |bytes| sm2_encrypted(sm2, &vec![7; bytes]);
    let of_rsa = |what, bytes| Unfit { what, door: rsa.clone(), algorithm: way.algorithm, bytes };
    let of_sm2 =
        |what, bytes| Unfit { what, door: sm2.clone(), algorithm: to_sm2.algorithm, bytes };
    vec![
        of_rsa("for another key", to_other),
        of_rsa("a bit flipped at the start", flipped(&good, 0)),
        of_rsa("a bit flipped at the end", flipped(&good, 255)),
        of_rsa("a byte short", good[..255].to_vec()),
        of_rsa("a byte long", [good.as_slice(), &[0]].concat()),
        of_rsa("one byte", vec![1]),
        of_rsa("by another hash", by_sha1),
        of_rsa("no content", nothing_encrypted(rsa)),
        of_rsa("SM2's", der.clone()),
        of_sm2("RSA's", good),
        of_sm2("a bit of the point flipped", flipped(&raw, 1)),
        of_sm2("a bit of the hash flipped", flipped(&raw, 65)),
        of_sm2("a bit of the content flipped", flipped(&raw, raw.len() - 1)),
        of_sm2("a byte short", der[..der.len() - 1].to_vec()),
        of_sm2("1,025 bytes of content", large(1025)),
        of_sm2("6,047 bytes of content", large(6047)),
    ]
}

struct Unfit {
    what: &'static str,
    door: Door,
    algorithm: WrappingAlgorithm,
    bytes: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_refused_in_the_same_words() {
    let log = Log::keep();
    let [a, b] = [TestServer::start().await, TestServer::start().await];
    let key_b = b.create_key().await;
    let rsa = Door::of(&b, "RSA_2048", WrappingKeySpec::Rsa2048).await;
    let other = Door::of(&b, "RSA_2048", WrappingKeySpec::Rsa2048).await;
    let sm2 = Door::of(&b, "EC_SM2", WrappingKeySpec::EcSm2).await;
    let mut first: Option<String> = None;
    for Unfit { what, door, algorithm, bytes } in unfit(&a, &rsa, &other, &sm2).await {
        let request = door.import(algorithm, &bytes, &key_b);
        let refused = b.kms.clone().re_encrypt(request).await;
        let status = assert_refused(refused, Code::InvalidArgument, "InvalidParameter");
        let told = told(&status);
        assert_eq!(*first.get_or_insert_with(|| told.clone()), told, "{what}");
    }
    // As many bytes as a data key may have are imported.
    let longest = sm2_encrypted(&sm2, &[0xAB; 1024]);
    let request = sm2.import(WrappingAlgorithm::Sm2pke, &longest, &key_b);
    let imported = b.kms.clone().re_encrypt(request).await.unwrap().into_inner();
    let opened = open(&b, &imported.ciphertext_blob, &[("region", "b")]).await;
    assert_eq!(opened, [0xAB; 1024]);
    log.assert_shows_none_of([&[0xAB; 16].to_vec(), &[7; 16].to_vec()]);
}

/// An algorithm that the key has not is told apart: nothing is decrypted.
#[tokio::test]
async fn an_algorithm_of_another_kind_is_named() {
    let b = TestServer::start().await;
    let key_b = b.create_key().await;
    let sm2 = Door::of(&b, "EC_SM2", WrappingKeySpec::EcSm2).await;
    let request = sm2.import(WrappingAlgorithm::RsaesOaepSha256, &[1; 256], &key_b);
    let refused = b.kms.clone().re_encrypt(request).await;
    let status = assert_refused(refused, Code::InvalidArgument, "InvalidParameter");
    assert!(status.message().contains("source_encryption_algorithm"), "{}", status.message());
}

#[test]
fn the_worked_example_runs_and_leaves_nothing() {
    if on_path("examples/two-regions.sh", "openssl", "version").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let ended = without_settings(&mut Command::new("bash"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/two-regions.sh"))
        .env("KEYFERRY", env!("CARGO_BIN_EXE_keyferry"))
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{ended:?}");
    assert!(said.contains("Both regions hold the same data key"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The log of this process at every level, of our own crate.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn keep() -> Self {
        static KEPT: OnceLock<Log> = OnceLock::new();
        let started = || {
            let kept = Self(Arc::default());
            let (pen, ours) = (kept.clone(), Targets::new().with_target("keyferry", Level::TRACE));
            let layer = tracing_subscriber::fmt::layer().with_ansi(false);
            let layer = layer.with_writer(move || pen.clone()).with_filter(ours);
            tracing_subscriber::registry().with(layer).init();
            kept
        };
        KEPT.get_or_init(started).clone()
    }

    /// Asserts that none of these keys is in it, however spelled.
    fn assert_shows_none_of<'a>(&self, keys: impl IntoIterator<Item = &'a Vec<u8>>) {
        let log = self.0.lock().unwrap();
        let log = String::from_utf8_lossy(&log);
        assert!(log.contains("ReEncrypt"), "it is the log of what was done");
        for key in keys {
            let head = &key[..16];
            let base64 = STANDARD.encode(head);
            let list = format!("{head:?}");
            for spelled in [
                base16ct::lower::encode_string(head),
                base16ct::upper::encode_string(head),
                base64[..20].to_owned(),
                list.trim_matches(['[', ']']).to_owned(),
                head.escape_ascii().to_string(),
            ] {
                assert!(!log.contains(&spelled), "{spelled}");
            }
        }
    }
}

impl io::Write for Log {
    fn write(&mut self, some: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(some)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
