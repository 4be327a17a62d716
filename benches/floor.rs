//! What no design of these parts can go below on this machine: each part alone, in one process.
//!
//! `map` finds one key among as many as a registry has models or hives, with its hasher and string type, that of the
//! models without a lock as the registry does; a pick also loads what is published (`published`), clones the hive's name
//! and the record (`two-arcs`) and reads the clock; a heartbeat is at least parsed (`json`), and 8 new records take the
//! place of 8 old ones (`records`). A reservation and its release do what is named above `reserve`, on one worker that
//! stays in the cache or on as many as tie for the least load, one after the other far apart, as the least recently
//! reserved are.
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

mod common;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::borrowed::{Plain, Telemetry};
use common::{Beats, MODELS, STRIDE, WORKERS, hive_id, model, sized};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::{SharedSeed, fast::SeedableRandomState};
use hive_registry::{Clock, DEFAULT_SHARDS, SystemClock, WorkerInfo};
use parking_lot::{Mutex, RwLock};
use sdd::{AtomicOwned, Guard, Owned};
use smol_str::SmolStr;

type Map<V> = HashMap<SmolStr, V, SeedableRandomState>;

fn hasher() -> SeedableRandomState {
    SeedableRandomState::with_seed(1, SharedSeed::global_fixed())
}

fn map<V>(entries: impl Iterator<Item = (SmolStr, V)>) -> Map<V> {
    let mut map = HashMap::with_hasher(hasher());
    map.extend(entries);
    map
}

/// The same, published whole.
fn published<V: 'static>(entries: impl Iterator<Item = (SmolStr, V)>) -> AtomicOwned<Map<V>> {
    AtomicOwned::from(Owned::new(map(entries)))
}

fn read<V: 'static, O>(published: &AtomicOwned<V>, f: impl FnOnce(&V) -> O) -> Option<O> {
    let guard = Guard::new();
    published.load(Ordering::Acquire, &guard).as_ref().map(f)
}

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/pick");
    let models: Vec<String> = (0..MODELS).map(model).collect();
    let names = || models.iter().map(SmolStr::new);
    let by_model = published(names().map(|model| (model, Arc::new(0_u64))));
    let mut turn = 0;
    group.bench_function(BenchmarkId::new("map", MODELS), |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % MODELS;
            read(&by_model, |map| map.get(black_box(models[turn].as_str())).map(|found| **found))
        });
    });
    let winner = AtomicOwned::new(1_u64);
    group.bench_function("published", |bencher| bencher.iter(|| read(black_box(&winner), |winner| *winner)));
    let (name, record): (Arc<str>, Arc<u64>) = ("a name".into(), Arc::new(1));
    group.bench_function("two-arcs", |bencher| {
        bencher.iter(|| black_box((Arc::clone(black_box(&name)), Arc::clone(black_box(&record)))));
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    group.bench_function("clock", |bencher| bencher.iter(|| black_box(&clock).wall_ms()));
    // All of these in a row, as a pick needs them.
    let winners = published(names().map(|model| (model, AtomicOwned::new((name.clone(), record.clone())))));
    group.bench_function("all", |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % MODELS;
            let live = black_box(&clock).wall_ms() > 0;
            let winner = |map: &Map<AtomicOwned<(Arc<str>, Arc<u64>)>>| {
                let winner = map.get(black_box(models[turn].as_str()))?;
                read(winner, |winner| live.then(|| winner.clone()))
            };
            black_box(read(&winners, winner))
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
        let shard = |id: &str| hasher().hash_one(id) as usize >> 24 & (DEFAULT_SHARDS - 1);
        let of =
            |at: usize| ids.iter().filter(move |id| shard(id) == at).map(|id| (id.into(), Arc::new(0_u64)));
        let by_hive: Vec<_> = (0..DEFAULT_SHARDS).map(|at| RwLock::new(map(of(at)))).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("map", hives), |bencher| {
            bencher.iter(|| {
                // Far from the last one, as hives report in no order.
                turn = (turn + STRIDE) % hives;
                let id = black_box(ids[turn].as_str());
                by_hive[shard(id)].read().get(id).map(|found| **found)
            });
        });
    }
    for hives in sized([10_000, 100_000], [10, 100]) {
        let mut records: Vec<_> = (0..hives * WORKERS).map(|_| Arc::new(RECORD)).collect();
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("records", hives), |bencher| {
            bencher.iter(|| {
                turn = (turn + STRIDE) % hives;
                for record in &mut records[turn * WORKERS..][..WORKERS] {
                    *record = Arc::new(black_box(RECORD));
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
    record: Arc<Record>,
    word: AtomicU64,
    turn: AtomicU64,
}

/// Once reserved and released: the clock, the model found and its `Arc` taken out, its lock taken and freed for
/// each of the two, the record loaded, handles to registry, slot and record; turn, count and release each a
/// compare-and-swap; two counters. No ranking is kept.
fn reserve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/reserve");
    let models: Vec<String> = (0..MODELS).map(model).collect();
    let by_model = published(models.iter().map(|model| (SmolStr::new(model), Arc::new(Mutex::new(0_u64)))));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let core = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let step = |word: &AtomicU64, by: u64| {
        let seen = word.load(Ordering::Relaxed);
        let new = seen.wrapping_add(by);
        word.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    let shuffle = hasher();
    for &workers in sized(&[1, 4, 40, 400, 4_000, 40_000][..], &[1, 40]) {
        let slot = |_| {
            let (word, turn) = (AtomicU64::new(0), AtomicU64::new(0));
            Arc::new(Slot { record: Arc::new(RECORD), word, turn })
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
                let model = black_box(models[turn].as_str());
                let ranking = read(&by_model, |map| map.get(model).cloned())??;
                let handles = {
                    let _ranking = ranking.lock();
                    let slot = &slots[next].1;
                    let admitted = step(&slot.turn, 1) && step(&slot.word, 1);
                    admitted.then(|| (core.clone(), slot.clone(), slot.record.clone()))?
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
