//! What no design of these parts can go below on this machine: each part alone, in one process.
//!
//! `dashmap` finds one key among as many as a registry has models or hives, with its hasher, shards and string
//! type; a pick also loads what is published (`arc-swap`), clones the hive's name and the record (`two-arcs`)
//! and reads the clock; a heartbeat is at least parsed (`json`), and 8 new records take the place of 8 old ones
//! (`records`). A reservation and its release do what is named above `reserve`, on one worker that stays in the
//! cache or on as many as tie for the least load, one after the other far apart, as the least recently reserved are.
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

mod common;

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use common::borrowed::{Plain, Telemetry};
use common::{Beats, MODELS, STRIDE, WORKERS, hive_id, model, sized};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;
use foldhash::{SharedSeed, fast::SeedableRandomState};
use hive_registry::{Clock, DEFAULT_SHARDS, SystemClock, WorkerInfo};
use parking_lot::Mutex;
use smol_str::SmolStr;

fn map<K: std::hash::Hash + Eq, V>(
    entries: impl Iterator<Item = (K, V)>,
) -> DashMap<K, V, SeedableRandomState> {
    let hasher = SeedableRandomState::with_seed(1, SharedSeed::global_fixed());
    let map = DashMap::with_hasher_and_shard_amount(hasher, DEFAULT_SHARDS);
    entries.for_each(|(key, value)| _ = map.insert(key, value));
    map
}

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/pick");
    let models: Vec<String> = (0..MODELS).map(model).collect();
    let by_model = map(models.iter().map(|model| (SmolStr::new(model), Arc::new(0_u64))));
    let mut turn = 0;
    group.bench_function(BenchmarkId::new("dashmap", MODELS), |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % MODELS;
            by_model.get(black_box(models[turn].as_str())).map(|found| **found)
        });
    });
    let published = ArcSwap::from_pointee(1_u64);
    group.bench_function("arc-swap", |bencher| bencher.iter(|| **black_box(&published).load()));
    let (name, record): (Arc<str>, Arc<u64>) = ("a name".into(), Arc::new(1));
    group.bench_function("two-arcs", |bencher| {
        bencher.iter(|| black_box((Arc::clone(black_box(&name)), Arc::clone(black_box(&record)))));
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    group.bench_function("clock", |bencher| bencher.iter(|| black_box(&clock).wall_ms()));
    // All of these in a row, as a pick needs them.
    let winners = map(models
        .iter()
        .map(|model| (SmolStr::new(model), ArcSwap::from_pointee((name.clone(), record.clone())))));
    group.bench_function("all", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % MODELS;
            let winner = winners.get(black_box(models[turn].as_str())).map(|found| found.load())?;
            let live = black_box(&clock).wall_ms() > 0;
            live.then(|| black_box((winner.0.clone(), winner.1.clone())))
        });
    });
    group.finish();
}

/// As large as the record of a worker.
type Record = [u8; size_of::<WorkerInfo>()];
const RECORD: Record = [0; size_of::<WorkerInfo>()];

fn heartbeat(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/heartbeat");
    for hives in sized([10_000, 100_000], [10, 100]) {
        let ids: Vec<String> = (0..hives).map(hive_id).collect();
        let by_hive = map(ids.iter().map(|hive| (SmolStr::new(hive), Arc::new(0_u64))));
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("dashmap", hives), |bencher| {
            bencher.iter(|| {
                // Far from the last one, as hives report in no order.
                turn = (turn + STRIDE) % hives;
                by_hive.get(black_box(ids[turn].as_str())).map(|found| **found)
            });
        });
    }
    for hives in sized([10_000, 100_000], [10, 100]) {
        let records: Vec<_> = (0..hives * WORKERS).map(|_| ArcSwap::from_pointee(RECORD)).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("records", hives), |bencher| {
            bencher.iter(|| {
                turn = (turn + STRIDE) % hives;
                for record in &records[turn * WORKERS..][..WORKERS] {
                    record.store(Arc::new(black_box(RECORD)));
                }
            });
        });
    }
    let mut beats = Beats::of(sized(10_000, 100));
    let mut plain = || serde_json::to_vec(&beats.plain(8)).expect("it is written as JSON");
    let bytes = plain().len() as u64;
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("json/plain", |bencher| {
        let parse = |body: &mut Vec<u8>| {
            black_box(serde_json::from_slice::<Plain<'_>>(body).expect("valid"));
        };
        bencher.iter_batched_ref(&mut plain, parse, BatchSize::NumIterations(32));
    });
    let mut telemetry = || serde_json::to_vec(&beats.telemetry()).expect("it is written as JSON");
    let bytes = telemetry().len() as u64;
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function("json/telemetry", |bencher| {
        let parse = |body: &mut Vec<u8>| {
            black_box(serde_json::from_slice::<Telemetry<'_>>(body).expect("valid"));
        };
        bencher.iter_batched_ref(&mut telemetry, parse, BatchSize::NumIterations(32));
    });
    group.finish();
}

/// What a reservation changes of a worker.
struct Slot {
    record: ArcSwap<Record>,
    word: AtomicU64,
    turn: AtomicU64,
}

/// Once reserved and released: the clock, the model found and its `Arc` taken out, its lock taken and freed for
/// each of the two, the record loaded, handles to registry, slot and record; turn, count and release each a
/// compare-and-swap; two counters. No ranking is kept.
fn reserve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/reserve");
    let models: Vec<String> = (0..MODELS).map(model).collect();
    let by_model = map(models.iter().map(|model| (SmolStr::new(model), Arc::new(Mutex::new(0_u64)))));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let core = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let step = |word: &AtomicU64, by: u64| {
        let seen = word.load(Ordering::Relaxed);
        let new = seen.wrapping_add(by);
        word.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    let shuffle = SeedableRandomState::with_seed(1, SharedSeed::global_fixed());
    for &workers in sized(&[1, 4, 40, 400, 4_000, 40_000][..], &[1, 40]) {
        let slot = |_| {
            let (word, turn) = (AtomicU64::new(0), AtomicU64::new(0));
            Arc::new(Slot { record: ArcSwap::from_pointee(RECORD), word, turn })
        };
        // In no order, so that nothing is fetched ahead.
        let mut slots: Vec<_> = (0..workers).map(|n| (shuffle.hash_one(n), slot(n))).collect();
        slots.sort_unstable_by_key(|(place, _)| *place);
        let (mut turn, mut next) = (0, 0);
        group.bench_function(BenchmarkId::new("all", workers), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                next = (next + 1) % workers;
                let now = black_box(&clock).wall_ms();
                let ranking = Arc::clone(&*by_model.get(black_box(models[turn].as_str()))?);
                let handles = {
                    let _ranking = ranking.lock();
                    let slot = &slots[next].1;
                    let admitted = step(&slot.turn, 1) && step(&slot.word, 1);
                    admitted.then(|| (core.clone(), slot.clone(), slot.record.load_full()))?
                };
                core[0].fetch_add(1, Ordering::Relaxed);
                let (core, slot, _) = black_box(&handles);
                let released = step(&slot.word, u64::MAX);
                drop(ranking.lock());
                core[1].fetch_add(1, Ordering::Relaxed);
                Some((released, now))
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = common::criterion(); targets = pick, heartbeat, reserve }
criterion_main!(benches);
