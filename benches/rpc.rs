//! End-to-end load over real gRPC on loopback: requests/s, latencies, and the
//! server's CPU time a request, each beside an empty RPC of the same run.
//!
//! Machines drift, so the kinds of request take turns, round by round, and what
//! counts is the ratio to the empty RPC of the same round: the median over the
//! rounds is printed. The server is the real binary in a process of its own,
//! pinned to one core, the clients to another. The empty RPC is health's Check:
//! the whole way in and out, and nothing in between.
//!
//! `cargo bench --bench rpc [-- ROUNDS [SECONDS]]`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a measurement that fails should stop"
)]

mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use keyferry::proto::v1;
use keyferry::proto::v1::key_management_client::KeyManagementClient;
use keyferry::proto::v1::kms_client::KmsClient;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use process::{Server, pin};

const CONNECTIONS: usize = 8;
const STREAMS: usize = 8;
const WARM_UP: Duration = Duration::from_millis(500);

/// A request, made again and again.
#[derive(Clone)]
enum Load {
    Empty,
    Generate(v1::GenerateDataKeyWithoutPlaintextRequest),
    Export(Box<v1::ExportDataKeyRequest>, std::ops::RangeInclusive<usize>),
}

/// The figures of one round of one load.
struct Round {
    latencies_us: Vec<u32>,
    elapsed: Duration,
    server_cpu: Duration,
}

impl Round {
    fn requests(&self) -> f64 {
        self.latencies_us.len() as f64
    }

    fn cpu_us_per_request(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.requests()
    }

    fn per_second(&self) -> f64 {
        self.requests() / self.elapsed.as_secs_f64()
    }

    fn percentile_us(&self, percent: usize) -> f64 {
        f64::from(self.latencies_us[(self.latencies_us.len() - 1) * percent / 100])
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let rounds = numbers.first().copied().unwrap_or(5);
    let seconds = Duration::from_secs(numbers.get(1).copied().unwrap_or(2));
    let data_dir = tempfile::tempdir().unwrap();
    pin(0);
    let server = Server::start(data_dir.path());
    pin(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&server, rounds, seconds));
}

async fn measure(server: &Server, rounds: u64, seconds: Duration) {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels
            .push(Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap());
    }
    let loads = loads(&channels[0]).await;
    for (_, load) in &loads {
        run(server, &channels, load, WARM_UP).await;
    }
    let mut measured: Vec<Vec<Round>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, load), rounds) in loads.iter().zip(&mut measured) {
            rounds.push(run(server, &channels, load, seconds).await);
        }
    }
    print(&loads, &measured);
}

/// A key, a blob and two recipients, and the requests about them.
async fn loads(channel: &Channel) -> Vec<(&'static str, Load)> {
    let mut management = KeyManagementClient::new(channel.clone());
    let created =
        management.create_key(v1::CreateKeyRequest::default()).await.unwrap().into_inner();
    let generate = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: created.key_metadata.unwrap().key_id,
        encryption_context: BTreeMap::from([("tenant".into(), "acme".into())]),
        ..Default::default()
    };
    let mut kms = KmsClient::new(channel.clone());
    let made =
        kms.generate_data_key_without_plaintext(generate.clone()).await.unwrap().into_inner();
    let export =
        |spec: WrappingKeySpec, wire: v1::WrappingKeySpec, algorithm: v1::WrappingAlgorithm| {
            let recipient = RecipientPrivateKey::generate(spec).unwrap();
            Box::new(v1::ExportDataKeyRequest {
                ciphertext_blob: made.ciphertext_blob.clone(),
                public_key_blob: recipient.public_key_der().to_vec(),
                wrapping_algorithm: algorithm.into(),
                wrapping_key_spec: wire.into(),
                encryption_context: generate.encryption_context.clone(),
                ..Default::default()
            })
        };
    let rsa = export(
        WrappingKeySpec::Rsa2048,
        v1::WrappingKeySpec::Rsa2048,
        v1::WrappingAlgorithm::RsaesOaepSha256,
    );
    let sm2 =
        export(WrappingKeySpec::EcSm2, v1::WrappingKeySpec::EcSm2, v1::WrappingAlgorithm::Sm2pke);
    vec![
        ("empty RPC", Load::Empty),
        ("GenerateDataKeyWithoutPlaintext", Load::Generate(generate)),
        ("ExportDataKey RSA_2048, known recipient", Load::Export(rsa, 256..=256)),
        ("ExportDataKey EC_SM2, known recipient", Load::Export(sm2, 135..=145)),
    ]
}

async fn run(server: &Server, channels: &[Channel], load: &Load, duration: Duration) -> Round {
    let load = Arc::new(load.clone());
    let (began, cpu_before) = (Instant::now(), server.cpu());
    let mut tasks = Vec::new();
    for channel in channels {
        for _ in 0..STREAMS {
            tasks.push(tokio::spawn(ask_until(began + duration, channel.clone(), load.clone())));
        }
    }
    let mut latencies_us = Vec::new();
    for task in tasks {
        latencies_us.extend(task.await.unwrap());
    }
    let (elapsed, server_cpu) = (began.elapsed(), server.cpu().saturating_sub(cpu_before));
    latencies_us.sort_unstable();
    Round { latencies_us, elapsed, server_cpu }
}

/// Every answer's status and size are checked: a fast refusal is no success.
async fn ask_until(end: Instant, channel: Channel, load: Arc<Load>) -> Vec<u32> {
    let mut kms = KmsClient::new(channel.clone());
    let mut health = HealthClient::new(channel);
    let mut latencies_us = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        match load.as_ref() {
            Load::Empty => {
                let answer =
                    health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
                assert_eq!(answer.status, 1);
            }
            Load::Generate(request) => {
                let answer =
                    kms.generate_data_key_without_plaintext(request.clone()).await.unwrap();
                assert_eq!(answer.into_inner().ciphertext_blob.len(), 142);
            }
            Load::Export(request, len) => {
                let answer = kms.export_data_key((**request).clone()).await.unwrap().into_inner();
                assert!(len.contains(&answer.exported_data_key.len()));
            }
        }
        latencies_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies_us
}

fn print(loads: &[(&'static str, Load)], measured: &[Vec<Round>]) {
    println!(
        "{:<42} {:>10} {:>8} {:>8} {:>12} {:>8}",
        "", "requests/s", "p50 µs", "p99 µs", "server µs/rq", "ratio"
    );
    let empty = &measured[0];
    for ((name, _), rounds) in loads.iter().zip(measured) {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let ratios = rounds
            .iter()
            .zip(empty)
            .map(|(round, empty)| round.cpu_us_per_request() / empty.cpu_us_per_request());
        println!(
            "{:<42} {:>10.0} {:>8.0} {:>8.0} {:>12.1} {:>8.2}",
            name,
            of(Round::per_second),
            of(|round| round.percentile_us(50)),
            of(|round| round.percentile_us(99)),
            of(Round::cpu_us_per_request),
            median(ratios.collect()),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
