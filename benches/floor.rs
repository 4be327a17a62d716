//! What no design of these parts can go below on this machine: each part alone, in one process.
//!
//! `dashmap` finds one key among as many as a registry has models or hives, with its hasher, shards and string
//! type; a pick also loads what is published (`arc-swap`), clones the hive's name and the record (`two-arcs`)
//! and reads the clock; a heartbeat is at least parsed (`json`).
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

mod common;

use std::hint::black_box;
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::borrowed::{Plain, Telemetry};
use common::{Beats, MODELS, hive_id, model, sized};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dashmap::DashMap;
use foldhash::{SharedSeed, fast::SeedableRandomState};
use hive_registry::{Clock, DEFAULT_SHARDS, SystemClock};
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

fn heartbeat(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("floor/heartbeat");
    for hives in sized([10_000, 100_000], [10, 100]) {
        let ids: Vec<String> = (0..hives).map(hive_id).collect();
        let by_hive = map(ids.iter().map(|hive| (SmolStr::new(hive), Arc::new(0_u64))));
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("dashmap", hives), |bencher| {
            bencher.iter(|| {
                // Far from the last one, as hives report in no order.
                turn = (turn + 7_919) % hives;
                by_hive.get(black_box(ids[turn].as_str())).map(|found| **found)
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

criterion_group!(benches, pick, heartbeat);
criterion_main!(benches);
