//! The cost of a heartbeat: parsed, from JSON bytes, in a wave of joining hives, and with models that come and go.
//!
//! `parsed` applies heartbeats of 8 workers of which 0, 1 or 8 keys changed, hive after hive; `last_heartbeat`
//! always changes. `json` does so from bytes, and in the same run measures what it is made of: parsing the same
//! bytes into borrowed types, and applying the same heartbeat parsed, which includes dropping it (`drop`).
//! `join` registers hives that all serve one model, and prints the longest single heartbeat and the picks
//! meanwhile. `models` lets 100,000 models appear and go.
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

mod common;

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::borrowed::{Plain, Telemetry};
use common::figures::{Figure, keep};
use common::{BATCH, Beats, Times, WORKERS, apply, empty, fleet, heartbeat, sized};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hive_registry::{HeartbeatOutcome, HiveRegistry};

/// Few enough that what the setup made is still in the cache, as it is just after parsing.
const MADE: BatchSize = BatchSize::NumIterations(32);

fn parsed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heartbeat/parsed");
    for hives in sized([10_000, 100_000], [10, 100]) {
        let registry = LazyCell::new(|| fleet(hives, "Idle"));
        let mut beats = Beats::of(hives);
        for changed in [0, 1, 8] {
            group.bench_function(BenchmarkId::new(format!("{changed}-of-8"), hives), |bencher| {
                let registry = &*registry;
                bencher.iter_batched(
                    || beats.plain(changed),
                    |payload| {
                        let hive_id = payload.hive_id.clone();
                        assert_eq!(
                            registry.update_hive_state(&hive_id, payload),
                            Ok(HeartbeatOutcome::Updated)
                        );
                    },
                    MADE,
                );
            });
        }
        group.bench_function(BenchmarkId::new("drop", hives), |bencher| {
            bencher.iter_batched(|| beats.plain(8), drop, MADE);
        });
    }
    group.finish();
}

fn json(criterion: &mut Criterion) {
    let hives = sized(10_000, 100);
    let mut group = criterion.benchmark_group("heartbeat/json");
    let bytes = |made: Result<Vec<u8>, serde_json::Error>| made.expect("it is written as JSON");

    let registry = LazyCell::new(|| fleet(hives, "Idle"));
    let mut beats = Beats::of(hives);
    let mut plain = || bytes(serde_json::to_vec(&beats.plain(8)));
    group.throughput(Throughput::Bytes(plain().len() as u64));
    group.bench_function("plain/ingest", |bencher| {
        let registry = &*registry;
        bencher.iter_batched_ref(&mut plain, |body| registry.ingest_json(body).expect("valid"), MADE);
    });
    group.bench_function("plain/parse", |bencher| {
        let parse = |body: &mut Vec<u8>| {
            black_box(serde_json::from_slice::<Plain<'_>>(body).expect("valid"));
        };
        bencher.iter_batched_ref(&mut plain, parse, MADE);
    });
    group.bench_function("plain/apply", |bencher| {
        let registry = &*registry;
        bencher.iter_batched(|| beats.plain(8), |payload| apply(registry, payload), MADE);
    });

    let registry = LazyCell::new(|| {
        let (registry, mut beats) = (empty(), Beats::of(hives));
        (0..hives).for_each(|_| {
            registry.update_hive(beats.telemetry()).expect("the heartbeat is in bounds");
        });
        registry
    });
    let mut beats = Beats::of(hives);
    let mut telemetry = || bytes(serde_json::to_vec(&beats.telemetry()));
    group.throughput(Throughput::Bytes(telemetry().len() as u64));
    group.bench_function("telemetry/ingest", |bencher| {
        let registry = &*registry;
        bencher.iter_batched_ref(&mut telemetry, |body| registry.ingest_json(body).expect("valid"), MADE);
    });
    group.bench_function("telemetry/parse", |bencher| {
        let parse = |body: &mut Vec<u8>| {
            black_box(serde_json::from_slice::<Telemetry<'_>>(body).expect("valid"));
        };
        bencher.iter_batched_ref(&mut telemetry, parse, MADE);
    });
    group.bench_function("telemetry/apply", |bencher| {
        let registry = &*registry;
        bencher.iter_batched(
            || beats.telemetry(),
            |beat| registry.update_hive(beat).expect("the heartbeat is in bounds"),
            MADE,
        );
    });
    group.finish();
}

const JOINED: &str = "the one that all join";

/// Lets hives join one model; the whole time and each heartbeat's.
fn wave(registry: &HiveRegistry, hives: usize) -> (Duration, Duration) {
    let made: Vec<_> = (1..=hives)
        .map(|hive| {
            let mut payload = heartbeat(hive, WORKERS);
            payload.workers.iter_mut().for_each(|worker| worker.model_id = Some(JOINED.into()));
            payload
        })
        .collect();
    let mut longest = Duration::ZERO;
    let began = Instant::now();
    for payload in made {
        let one = Instant::now();
        apply(registry, payload);
        longest = longest.max(one.elapsed());
    }
    (began.elapsed(), longest)
}

/// A registry in which somebody has the model already.
fn first_of_model() -> HiveRegistry {
    let registry = empty();
    let mut payload = heartbeat(0, 1);
    payload.workers[0].model_id = Some(JOINED.into());
    apply(&registry, payload);
    registry
}

fn join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heartbeat/join");
    group.sample_size(10);
    let mut rows = Vec::new();
    for hives in sized([2_500, 5_000, 10_000], [10, 20, 40]) {
        group.throughput(Throughput::Elements(hives as u64));
        let mut waves: Vec<(Duration, Duration)> = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(hives), |bencher| {
            bencher.iter_custom(|iters| {
                let mut total = Duration::ZERO;
                for _ in 0..iters {
                    let (time, longest) = wave(&first_of_model(), hives);
                    waves.push((time, longest));
                    total += time;
                }
                total
            });
        });
        if !waves.is_empty() {
            rows.push((hives, waves));
        }
    }
    let hives = sized(10_000, 40);
    let (mut meanwhile, mut after) = (Times::new(), Times::new());
    group.bench_function(BenchmarkId::new("picked-from", hives), |bencher| {
        bencher.iter_custom(|iters| {
            let mut total = Duration::ZERO;
            for _ in 0..iters {
                let registry = first_of_model();
                let pick = || _ = black_box(registry.find_best_worker_for_model(black_box(JOINED)));
                let joined = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    let joining = scope.spawn(|| {
                        let time = wave(&registry, hives).0;
                        joined.store(true, Relaxed);
                        time
                    });
                    while registry.hive_count() < 2 && !joined.load(Relaxed) {
                        std::hint::spin_loop();
                    }
                    while !joined.load(Relaxed) {
                        meanwhile.batch(BATCH, pick);
                    }
                    total += joining.join().expect("the wave is in bounds");
                });
                (0..10_000).for_each(|_| _ = after.batch(BATCH, pick));
            }
            total
        });
    });
    group.finish();
    if !rows.is_empty() {
        println!(
            "\n| hives x 8 joining one model | all, best | a heartbeat | longest, best wave | longest, worst wave |"
        );
        println!("|---|---|---|---|---|");
        let told = rows.into_iter().map(|(hives, waves)| {
            let best = waves.iter().map(|wave| wave.0).min().unwrap_or_default();
            let mut longest: Vec<_> = waves.iter().map(|wave| wave.1).collect();
            longest.sort_unstable();
            let (least, most) = (longest[0], longest[longest.len() - 1]);
            let each = best / hives as u32;
            println!("| {hives} | {best:.2?} | {each:.2?} | {least:.2?} | {most:.2?} |");
            let named = [("all", best), ("each", each), ("longest, best wave", least)];
            let named = named
                .into_iter()
                .chain([("longest, median wave", longest[longest.len() / 2]), ("longest, worst wave", most)]);
            let named = named.map(|(name, time)| (name, time.as_nanos() as f64));
            Figure::new(hives.to_string(), "ns", named.chain([("waves", waves.len() as f64)]))
        });
        keep("heartbeat-join", told);
    }
    if !meanwhile.is_empty() {
        Times::head();
        let told = [
            meanwhile.row(&format!("pick while {hives} hives join; mean of {BATCH}")),
            after.row(&format!("pick afterwards; mean of {BATCH}")),
        ];
        println!();
        keep("heartbeat-join-picks", told.into_iter().flatten());
    }
}

fn models(criterion: &mut Criterion) {
    let models = sized(100_000, 80);
    let hives = models / WORKERS;
    let mut group = criterion.benchmark_group("heartbeat/models");
    group.sample_size(10);
    group.throughput(Throughput::Elements(models as u64));
    let registry = LazyCell::new(|| {
        let registry = empty();
        set_models(&registry, hives, false);
        registry
    });
    for appear in [true, false] {
        let id = BenchmarkId::new(if appear { "appear" } else { "go" }, models);
        group.bench_function(id, |bencher| {
            let registry = &*registry;
            bencher.iter_custom(|iters| {
                let mut total = Duration::ZERO;
                for _ in 0..iters {
                    set_models(registry, hives, !appear);
                    total += set_models(registry, hives, appear);
                    assert_eq!(registry.find_workers_by_model("model-1-0").is_empty(), !appear);
                }
                total
            });
        });
    }
    group.finish();
}

/// Every worker has a model that nobody else has, or none has any.
fn set_models(registry: &HiveRegistry, hives: usize, some: bool) -> Duration {
    let mut total = Duration::ZERO;
    for hive in 0..hives {
        let mut payload = heartbeat(hive, WORKERS);
        for (n, worker) in payload.workers.iter_mut().enumerate() {
            worker.model_id = some.then(|| format!("model-{hive}-{n}"));
        }
        let began = Instant::now();
        apply(registry, payload);
        total += began.elapsed();
    }
    total
}

criterion_group! { name = benches; config = common::criterion(); targets = parsed, json, join, models }
criterion_main!(benches);
