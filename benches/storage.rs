//! The cost of the SQLite store: one commit, sixteen at once, and reads of a
//! store of 100,000 records.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keyferry::storage::{COMMIT_OPERATIONS_MAX, Precondition, SqliteStore, Store, Write};
use tokio::runtime::Runtime;

const RECORDS: usize = 100_000;
const WRITERS: u64 = 16;
/// About the size of a stored CMK.
const VALUE_BYTES: usize = 400;

fn path(n: usize) -> String {
    // Spread as ids are, not in order of writing.
    format!("cmk/{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn put(path: String) -> Write {
    Write::Put(path, vec![0xA5; VALUE_BYTES])
}

/// Makes so many new records, one after another.
async fn create(store: &SqliteStore, writer: u64, count: u64) {
    for _ in 0..count {
        let path = format!("new/{writer}/{}", uuid::Uuid::now_v7());
        let free = [Precondition::Absent(path.clone())];
        store.commit(&free, &[put(path)]).await.unwrap();
    }
}

async fn fill(store: &SqliteStore) {
    let all: Vec<usize> = (0..RECORDS).collect();
    for some in all.chunks(COMMIT_OPERATIONS_MAX) {
        let writes: Vec<_> = some.iter().map(|n| put(path(*n))).collect();
        store.commit(&[], &writes).await.unwrap();
    }
}

async fn create_together(store: &Arc<SqliteStore>, commits: u64) -> Duration {
    let began = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move { create(&store, writer, commits.div_ceil(WRITERS)).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    began.elapsed()
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(home.path()).unwrap());
    let mut group = criterion.benchmark_group("storage/commit");
    group.throughput(Throughput::Elements(1));
    group.bench_function("1 writer", |bencher| {
        bencher.iter(|| runtime.block_on(create(&store, 0, 1)));
    });
    group.bench_function("16 writers", |bencher| {
        bencher.iter_custom(|commits| runtime.block_on(create_together(&store, commits)));
    });
    group.bench_function("deletion", |bencher| {
        let doomed = "doomed".to_owned();
        bencher.iter(|| {
            runtime.block_on(async {
                store.commit(&[], &[put(doomed.clone())]).await.unwrap();
                store.commit(&[], &[Write::Delete(doomed.clone())]).await.unwrap();
            });
        });
    });
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(home.path()).unwrap();
    runtime.block_on(fill(&store));
    let mut group = criterion.benchmark_group("storage/100k");
    group.bench_function("read 1", |bencher| {
        let mut n = 0;
        bencher.iter(|| {
            n = (n + 7919) % RECORDS;
            black_box(runtime.block_on(store.read(&[&path(n)])).unwrap())
        });
    });
    group.bench_function("list 100", |bencher| {
        bencher
            .iter(|| black_box(runtime.block_on(store.list("cmk/", Some("cmk/7"), 100)).unwrap()));
    });
    group.bench_function("count", |bencher| {
        bencher.iter(|| black_box(runtime.block_on(store.count("cmk/")).unwrap()));
    });
    drop(store);
    group.bench_function("open", |bencher| {
        bencher.iter(|| drop(SqliteStore::open(home.path()).unwrap()));
    });
}

criterion_group!(benches, commits, reads);
criterion_main!(benches);
