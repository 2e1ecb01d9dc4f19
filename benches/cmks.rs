//! Costs that grow with the number of CMKs: start-up, memory, latencies and disk, with
//! 1,000 and with 100,000 of them. None but the disk should.
//!
//! Each size has a store and a server of its own, the real binary in its own
//! process. Machines drift, so all servers run at the same time and take turns,
//! round by round; what counts is the ratio between sizes within one run. With
//! the figures goes an empty RPC, health's Check: where its ratio is not 1, the
//! others' are to be read with it.
//!
//! "All" asks about CMKs drawn uniformly from all of them, so that with many the
//! caches hold few of those that are asked for, and each request reads the store;
//! "hot" asks about a few again and again.
//!
//! `cargo bench --bench cmks [-- --long]`: with `--long` 1,000,000 too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::panic,
    missing_docs,
    reason = "a measurement that fails should stop"
)]

mod process;
mod seeding;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use keyferry::ids::KeyId;
use keyferry::proto::v1;
use keyferry::proto::v1::kms_client::KmsClient;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use process::{Server, pin};

const SIZES: [usize; 2] = [1_000, 100_000];
const LONG: usize = 1_000_000;
const STARTS: usize = 5;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// Requests at once: enough to keep a server busy, few enough that a latency is
/// not mostly waiting.
const IN_FLIGHT: usize = 4;
/// CMKs that a hot set holds.
const HOT: usize = 64;
/// CMKs of which a blob is made; several times what the caches hold.
const BLOBS_MAX: usize = 100_000;
const START_LIMIT: Duration = Duration::from_secs(60);
/// Figures less than this apart are the same: one run's noise.
const SAME: f64 = 1.25;
/// The memory of the server's caches of CMKs and versions. They fill up to this whatever the number of CMKs.
const CACHES_MAX_MIB: f64 = 128.0;

fn main() {
    let mut sizes = SIZES.to_vec();
    if std::env::args().any(|arg| arg == "--long") {
        sizes.push(LONG);
    }
    let mut measured: Vec<Measured> = sizes.into_iter().map(Measured::seeded).collect();
    pin(0);
    let servers = start_all(&mut measured);
    pin(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run_all(&servers, &mut measured));
    for (server, measured) in servers.into_iter().zip(&mut measured) {
        measured.note("memory after the run, MiB", Judged::Memory, mib(server.resident_kib()));
        server.stop();
    }
    print(&measured);
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// How a figure is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// Not at all.
    Told,
    /// It stays the same.
    Same,
    /// It stays within what the caches may hold.
    Memory,
}

/// A store with so many CMKs, and the figures about it.
struct Measured {
    keys: Vec<KeyId>,
    data_dir: tempfile::TempDir,
    figures: Vec<(&'static str, Judged, f64)>,
}

impl Measured {
    fn seeded(count: usize) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let keys = Runtime::new().unwrap().block_on(seeding::seed(data_dir.path(), count));
        let mut seeded = Self { keys, data_dir, figures: Vec::new() };
        seeded.note("seeding, s", Judged::Told, began.elapsed().as_secs_f64());
        seeded
    }

    fn note(&mut self, name: &'static str, judged: Judged, value: f64) {
        self.figures.push((name, judged, value));
    }
}

/// Starts every server several times, in turn, and leaves the last ones running.
fn start_all(measured: &mut [Measured]) -> Vec<Server> {
    let mut starts: Vec<Vec<(f64, f64, f64)>> = measured.iter().map(|_| Vec::new()).collect();
    let mut running = Vec::new();
    for _ in 0..STARTS {
        running.drain(..).for_each(Server::stop);
        for (measured, starts) in measured.iter().zip(&mut starts) {
            let (server, start) = start(measured.data_dir.path());
            starts.push(start);
            running.push(server);
        }
    }
    for (measured, starts) in measured.iter_mut().zip(starts) {
        let of = |figure: fn(&(f64, f64, f64)) -> f64| median(starts.iter().map(figure).collect());
        measured.note("start until it listens, ms", Judged::Same, of(|start| start.0));
        measured.note("start until SERVING, ms", Judged::Same, of(|start| start.1));
        measured.note("memory after the start, MiB", Judged::Same, of(|start| start.2));
        let disk = disk_bytes(&measured.data_dir.path().join("store")) as f64;
        measured.note("disk, MiB", Judged::Told, disk / 1024.0 / 1024.0);
    }
    running
}

fn start(data_dir: &Path) -> (Server, (f64, f64, f64)) {
    let began = Instant::now();
    let server = Server::start(data_dir);
    let until_listening = began.elapsed();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until_serving(&server));
    let until_serving = began.elapsed();
    // Let the work at its start end.
    std::thread::sleep(Duration::from_millis(300));
    let memory = mib(server.resident_kib());
    (server, (until_listening.as_secs_f64() * 1e3, until_serving.as_secs_f64() * 1e3, memory))
}

async fn until_serving(server: &Server) {
    let deadline = Instant::now() + START_LIMIT;
    let channel = Endpoint::from_shared(server.endpoint.clone()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    while Instant::now() < deadline {
        let answer = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
        if answer.status == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not serve within {START_LIMIT:?}");
}

fn disk_bytes(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// A request, made again and again.
#[derive(Clone)]
enum Load {
    Empty,
    Generate(Arc<[KeyId]>),
    Export(Arc<[Vec<u8>]>, Arc<v1::ExportDataKeyRequest>),
}

/// One load on one server, and what its rounds showed, each its median and its
/// 99th percentile.
struct Turn {
    channels: Vec<Channel>,
    load: Load,
    rounds: Vec<(f64, f64)>,
}

const LOADS: [(&str, &str, Judged); 5] = [
    ("empty RPC, p50 µs", "empty RPC, p99 µs", Judged::Told),
    ("generate, hot, p50 µs", "generate, hot, p99 µs", Judged::Same),
    ("export, hot, p50 µs", "export, hot, p99 µs", Judged::Same),
    ("generate, all, p50 µs", "generate, all, p99 µs", Judged::Told),
    ("export, all, p50 µs", "export, all, p99 µs", Judged::Told),
];

async fn run_all(servers: &[Server], measured: &mut [Measured]) {
    let recipient = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).unwrap();
    let export = Arc::new(v1::ExportDataKeyRequest {
        public_key_blob: recipient.public_key_der().to_vec(),
        wrapping_algorithm: v1::WrappingAlgorithm::RsaesOaepSha256.into(),
        wrapping_key_spec: v1::WrappingKeySpec::Rsa2048.into(),
        ..Default::default()
    });
    let mut turns = Vec::new();
    for (server, measured) in servers.iter().zip(measured.iter()) {
        turns.push(turns_of(server, &measured.keys, &export).await);
    }
    for _ in 0..ROUNDS {
        for load in 0..LOADS.len() {
            for turns in &mut turns {
                turns[load].take().await;
            }
        }
    }
    for (measured, turns) in measured.iter_mut().zip(turns) {
        for ((p50, p99, judged), turn) in LOADS.into_iter().zip(turns) {
            measured.note(p50, judged, median(turn.rounds.iter().map(|round| round.0).collect()));
            measured.note(p99, Judged::Told, median(turn.rounds.iter().map(|r| r.1).collect()));
        }
    }
}

/// The loads on one server, in the order of `LOADS`.
async fn turns_of(
    server: &Server,
    keys: &[KeyId],
    export: &Arc<v1::ExportDataKeyRequest>,
) -> Vec<Turn> {
    let mut channels = Vec::new();
    for _ in 0..IN_FLIGHT {
        let endpoint = Endpoint::from_shared(server.endpoint.clone()).unwrap();
        channels.push(endpoint.connect().await.unwrap());
    }
    let mut keys = keys.to_vec();
    shuffle(&mut keys);
    let blobs = blobs(&channels, &keys[..keys.len().min(BLOBS_MAX)]).await;
    let hot = |load: &Load| match load {
        Load::Empty => Load::Empty,
        Load::Generate(keys) => Load::Generate(keys[..HOT].into()),
        Load::Export(blobs, request) => Load::Export(blobs[..HOT].into(), request.clone()),
    };
    let generate = Load::Generate(keys.into());
    let export = Load::Export(blobs.into(), export.clone());
    let loads = [Load::Empty, hot(&generate), hot(&export), generate, export];
    let turn = |load| Turn { channels: channels.clone(), load, rounds: Vec::new() };
    loads.into_iter().map(turn).collect()
}

/// A blob of each of these CMKs.
async fn blobs(channels: &[Channel], keys: &[KeyId]) -> Vec<Vec<u8>> {
    let some = keys.len().div_ceil(channels.len());
    let mut tasks = Vec::new();
    for (channel, keys) in channels.iter().zip(keys.chunks(some)) {
        let (channel, keys) = (channel.clone(), keys.to_vec());
        tasks.push(tokio::spawn(async move {
            let mut kms = KmsClient::new(channel);
            let mut blobs = Vec::with_capacity(keys.len());
            for key in keys {
                blobs.push(generate(&mut kms, key).await);
            }
            blobs
        }));
    }
    let mut blobs = Vec::with_capacity(keys.len());
    for task in tasks {
        blobs.extend(task.await.unwrap());
    }
    shuffle(&mut blobs);
    blobs
}

impl Turn {
    /// One round.
    async fn take(&mut self) {
        let end = Instant::now() + ROUND;
        let asking = self
            .channels
            .iter()
            .map(|channel| tokio::spawn(ask_until(end, channel.clone(), self.load.clone())));
        let mut latencies_us = Vec::new();
        for task in asking.collect::<Vec<_>>() {
            latencies_us.extend(task.await.unwrap());
        }
        latencies_us.sort_unstable();
        let percentile =
            |percent: usize| f64::from(latencies_us[(latencies_us.len() - 1) * percent / 100]);
        self.rounds.push((percentile(50), percentile(99)));
    }
}

async fn ask_until(end: Instant, channel: Channel, load: Load) -> Vec<u32> {
    let mut kms = KmsClient::new(channel.clone());
    let mut health = HealthClient::new(channel);
    let mut latencies_us = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        match &load {
            Load::Empty => {
                let answer = health.check(HealthCheckRequest::default()).await.unwrap();
                assert_eq!(answer.into_inner().status, 1);
            }
            Load::Generate(keys) => {
                generate(&mut kms, keys[random_below(keys.len())]).await;
            }
            Load::Export(blobs, request) => {
                let mut request = request.as_ref().clone();
                request.ciphertext_blob.clone_from(&blobs[random_below(blobs.len())]);
                let answer = kms.export_data_key(request).await.unwrap().into_inner();
                assert_eq!(answer.exported_data_key.len(), 256);
            }
        }
        latencies_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies_us
}

async fn generate(kms: &mut KmsClient<Channel>, key: KeyId) -> Vec<u8> {
    let request = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: key.to_string(),
        ..Default::default()
    };
    let answer = kms.generate_data_key_without_plaintext(request).await.unwrap().into_inner();
    assert_eq!(answer.ciphertext_blob.len(), 142);
    answer.ciphertext_blob
}

/// Numbers that look random and are the same in every run (SplitMix64).
fn random_below(end: usize) -> usize {
    static STATE: AtomicU64 = AtomicU64::new(7);
    let mut z = STATE.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
}

fn shuffle<T>(items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, random_below(last + 1));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line for each figure, with its ratio to the smallest size's, and at the end
/// what grew.
fn print(measured: &[Measured]) {
    let (first, others) = measured.split_first().expect("a size");
    print!("{:<30} {:>10}", "CMKs", first.keys.len());
    for other in others {
        print!(" {:>10} {:>7}", other.keys.len(), "ratio");
    }
    println!();
    let mut grew = Vec::new();
    for (row, (name, judged, value)) in first.figures.iter().enumerate() {
        print!("{name:<30} {value:>10.1}");
        for other in others {
            let found = other.figures[row].2;
            print!(" {found:>10.1} {:>7.2}", found / value);
            let grows = match judged {
                Judged::Told => false,
                Judged::Same => found / value > SAME,
                Judged::Memory => found - value > CACHES_MAX_MIB,
            };
            if grows {
                grew.push(format!("{name} with {} CMKs", other.keys.len()));
            }
        }
        println!();
    }
    if grew.is_empty() {
        println!("None but the disk grows: holds.");
    } else {
        println!("None but the disk grows: does not hold. {}", grew.join("; "));
    }
}
