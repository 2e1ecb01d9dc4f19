//! Each crypto step by itself. Compare figures within one run only: drift from
//! run to run is 10 to 20 %.
#![allow(clippy::expect_used, missing_docs, reason = "benches")]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use keyferry::crypto::ciphertext_blob::{BlobKeys, BlobKind, CiphertextBlob};
use keyferry::crypto::encryption_context::EncryptionContext;
use keyferry::crypto::key_pair::{KeyPair, KeyPairSpec, SigningAlgorithm};
use keyferry::crypto::random;
use keyferry::crypto::recipients::Recipients;
use keyferry::crypto::sealing::SealingKey;
use keyferry::crypto::secret::{KeyMaterial, Plaintext, Reveal};
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::{WrappingAlgorithm, WrappingKey, WrappingKeySpec, WrappingMethod};
use keyferry::ids::{KeyId, KeyVersionId};

fn recipient(spec: WrappingKeySpec) -> RecipientPrivateKey {
    RecipientPrivateKey::generate(spec).expect("a key")
}

fn method(spec: WrappingKeySpec, algorithm: WrappingAlgorithm) -> WrappingMethod {
    WrappingMethod::new(spec, algorithm, None).expect("legal")
}

fn context() -> EncryptionContext {
    let pairs = [("tenant", "blue"), ("purpose", "payments"), ("environment", "production")];
    let pairs = pairs.map(|(k, v)| (k.to_owned(), v.to_owned()));
    EncryptionContext::new(BTreeMap::from(pairs)).expect("small")
}

fn rsa(c: &mut Criterion) {
    let plaintext = Plaintext::new(vec![7; 32]);
    for spec in [WrappingKeySpec::Rsa2048, WrappingKeySpec::Rsa3072, WrappingKeySpec::Rsa4096] {
        let private = recipient(spec);
        let sent = private.public_key_der();
        let name = spec.as_str();
        c.bench_function(&format!("judge {name}"), |b| {
            b.iter(|| WrappingKey::parse(spec, black_box(sent)));
        });
        let key = WrappingKey::parse(spec, sent).expect("a key");
        for algorithm in [WrappingAlgorithm::RsaesOaepSha256, WrappingAlgorithm::RsaesOaepSha1] {
            let method = method(spec, algorithm);
            c.bench_function(&format!("wrap {name} {algorithm}"), |b| {
                b.iter(|| plaintext.encrypt(&key, &method));
            });
        }
        let method = method(spec, WrappingAlgorithm::RsaesOaepSha256);
        let exported = plaintext.encrypt(&key, &method).expect("wrapped");
        c.bench_function(&format!("unwrap {name}"), |b| {
            b.iter(|| private.unwrap(None, black_box(&exported)));
        });
    }
}

fn sm2(c: &mut Criterion) {
    let spec = WrappingKeySpec::EcSm2;
    let private = recipient(spec);
    let sent = private.public_key_der();
    let method = method(spec, WrappingAlgorithm::Sm2Pke);
    let plaintext = Plaintext::new(vec![7; 32]);
    let parse = || WrappingKey::parse(spec, black_box(sent)).expect("a key");
    c.bench_function("judge EC_SM2", |b| b.iter(parse));
    c.bench_function("prepare EC_SM2 (build the table)", |b| {
        b.iter_batched(parse, |key| key.prepare(), BatchSize::SmallInput);
    });
    let key = parse();
    c.bench_function("wrap EC_SM2 without a table", |b| {
        b.iter(|| plaintext.encrypt(&key, &method));
    });
    key.prepare();
    c.bench_function("wrap EC_SM2 with a table", |b| b.iter(|| plaintext.encrypt(&key, &method)));
    let exported = plaintext.encrypt(&key, &method).expect("wrapped");
    c.bench_function("unwrap EC_SM2", |b| b.iter(|| private.unwrap(None, black_box(&exported))));
}

fn pairs(c: &mut Criterion) {
    let digest = [7; 32];
    for spec in KeyPairSpec::ALL {
        let (pair, material) = KeyPair::generate(spec).expect("a pair");
        let stored = || material.reveal(Reveal::ToStore).to_vec().into();
        c.bench_function(&format!("load {spec}"), |b| {
            b.iter(|| KeyPair::from_stored(spec, stored()));
        });
        for algorithm in SigningAlgorithm::ALL {
            let Ok(signature) = pair.sign(algorithm, &digest) else { continue };
            c.bench_function(&format!("sign {spec} {algorithm}"), |b| {
                b.iter(|| pair.sign(algorithm, black_box(&digest)));
            });
            c.bench_function(&format!("verify {spec} {algorithm}"), |b| {
                b.iter(|| pair.verify(algorithm, &digest, black_box(&signature)));
            });
        }
        for algorithm in WrappingAlgorithm::ALL {
            let Ok(method) = pair.method(algorithm, None) else { continue };
            let plaintext = Plaintext::new(vec![7; 32]);
            let ciphertext = pair.encrypt(&plaintext, &method).expect("encrypted");
            c.bench_function(&format!("decrypt {spec} {algorithm}"), |b| {
                b.iter(|| pair.decrypt(algorithm, black_box(&ciphertext)));
            });
        }
    }
}

fn recipients(c: &mut Criterion) {
    let recipients = Recipients::new(1 << 24, 1 << 20);
    let private = recipient(WrappingKeySpec::EcSm2);
    let find = || {
        recipients.find("spiffe://bench/caller", WrappingKeySpec::EcSm2, private.public_key_der())
    };
    for _ in 0..3 {
        recipients.admit("spiffe://bench/caller", &find().expect("a key"));
    }
    c.bench_function("find and admit a known recipient", |b| {
        b.iter(|| recipients.admit("spiffe://bench/caller", &find().expect("a key")));
    });
}

fn blob(c: &mut Criterion) {
    let material = KeyMaterial::generate().expect("random");
    let (key_id, version_id) = (KeyId::new(), KeyVersionId::new());
    let derive = || BlobKeys::derive(&material, key_id, version_id, "Aliyun_AES_256");
    c.bench_function("derive blob keys", |b| b.iter(derive));
    let (keys, context) = (derive(), context());
    c.bench_function("encode and digest a context", |b| b.iter(|| black_box(&context).sha256()));
    c.bench_function("seal a blob of 32 bytes", |b| {
        b.iter(|| keys.seal(BlobKind::DataKeyUnseen, black_box(&[7; 32]), &context));
    });
    let blob = keys.seal(BlobKind::DataKeyUnseen, &[7; 32], &context).expect("sealed").into_bytes();
    c.bench_function("parse a blob", |b| b.iter(|| CiphertextBlob::parse(black_box(&blob))));
    let parsed = CiphertextBlob::parse(&blob).expect("a blob");
    c.bench_function("open a blob of 32 bytes", |b| {
        b.iter(|| keys.check(black_box(&parsed), &context));
    });
    let longest = keys.seal(BlobKind::CallerBytes, &[7; 6144], &context).expect("sealed");
    c.bench_function("open a blob of 6144 bytes", |b| {
        b.iter(|| keys.check(black_box(&longest), &context));
    });
}

fn records(c: &mut Criterion) {
    let key = SealingKey::derive(&[1; 32], "cmk", b"");
    c.bench_function("derive a sealing key", |b| {
        b.iter(|| SealingKey::derive(&[1; 32], "cmk", b""));
    });
    let aad = [9; 300];
    c.bench_function("seal a record", |b| b.iter(|| key.seal(black_box(&aad), &[7; 32])));
    let sealed = key.seal(&aad, &[7; 32]).expect("sealed");
    c.bench_function("open a record", |b| {
        b.iter(|| key.open(black_box(&aad), &sealed.nonce, &sealed.bytes));
    });
    c.bench_function("32 random bytes", |b| b.iter(random::array::<32>));
}

criterion_group!(benches, rsa, sm2, pairs, recipients, blob, records);
criterion_main!(benches);
