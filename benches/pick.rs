//! The cost of a pick in fleets of 100 to 100,000 hives of 8 workers over 20 models, on the default clock.
//!
//! `hit` finds a worker that has the model, asking for the 20 models in turn; `idle` asks for a model that
//! nobody has and falls back to an idle worker; `miss` does so where nobody is idle; `reserve` counts a
//! reservation and takes it back; `handle` and `reserve-handle` do so through models looked up before. `writer` does the first while another thread applies heartbeats without
//! pause, and prints percentiles; `threads` gives the time of each of several readers; `policy` goes through
//! `HiveRegistry::pick`; `silence` is before and after half of 800,000 workers fell silent at once.
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

mod common;

use std::cell::LazyCell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use common::figures::{Figure, keep};
use common::{
    BATCH, Beats, MODELS, Times, WORKERS, apply, builder, fleet, heartbeat, model, on_threads, sized,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hive_registry::{
    HiveRegistry, LeastLoaded, ManualClock, Model, Policy, PowerOfChoices, Random, RoundRobin,
};

fn models() -> Vec<String> {
    (0..MODELS).map(model).collect()
}

fn handles(registry: &HiveRegistry) -> Vec<Model> {
    models().iter().map(|model| registry.model(model).expect("a name in bounds")).collect()
}

fn pick(criterion: &mut Criterion) {
    let models = models();
    let mut group = criterion.benchmark_group("pick");
    group.throughput(Throughput::Elements(1));
    for hives in sized(&[100, 1_000, 10_000, 100_000][..], &[10, 100]) {
        let registry = LazyCell::new(|| fleet(*hives, "Idle"));
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("hit", hives), |bencher| {
            let registry = &*registry;
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                registry.find_best_worker_for_model(black_box(&models[turn]))
            });
        });
        let handles = LazyCell::new(|| handles(&registry));
        group.bench_function(BenchmarkId::new("handle", hives), |bencher| {
            let handles = &*handles;
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                black_box(&handles[turn]).find_best_worker()
            });
        });
        group.bench_function(BenchmarkId::new("idle", hives), |bencher| {
            let registry = &*registry;
            bencher.iter(|| registry.find_best_worker_for_model(black_box("nobody has this one")));
        });
        group.bench_function(BenchmarkId::new("reserve", hives), |bencher| {
            let registry = &*registry;
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                registry.reserve_worker_for_model(black_box(&models[turn]))
            });
        });
        group.bench_function(BenchmarkId::new("reserve-handle", hives), |bencher| {
            let handles = &*handles;
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                black_box(&handles[turn]).reserve_worker()
            });
        });
    }
    let busy = LazyCell::new(|| fleet(sized(1_000, 10), "Busy"));
    group.bench_function(BenchmarkId::new("miss", 1_000), |bencher| {
        let busy = &*busy;
        bencher.iter(|| busy.find_best_worker_for_model(black_box("nobody has this one")));
    });
    group.finish();
}

/// Applies heartbeats until told to stop; all 8 keys change in each. Counts them and the time in them.
fn write(registry: &HiveRegistry, hives: usize, stop: &AtomicBool, applied: &AtomicU64, spent: &AtomicU64) {
    let mut beats = Beats::of(hives);
    while !stop.load(Relaxed) {
        // Made beforehand, so that most of the time is spent within the registry.
        let made: Vec<_> = (0..256).map(|_| beats.plain(WORKERS)).collect();
        let began = Instant::now();
        made.into_iter().for_each(|payload| apply(registry, payload));
        applied.fetch_add(256, Relaxed);
        spent.fetch_add(began.elapsed().as_nanos() as u64, Relaxed);
    }
}

fn writer(criterion: &mut Criterion) {
    let hives = sized(10_000, 100);
    let models = models();
    let registry = LazyCell::new(|| fleet(hives, "Idle"));
    let mut group = criterion.benchmark_group("pick/writer");
    group.throughput(Throughput::Elements(1));
    let mut rows = Vec::new();
    let mut rate = String::new();
    for with in ["none", "one"] {
        let (stop, applied, spent) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let mut batches = Times::new();
        let mut single = Times::new();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let mut started = false;
            let mut start = |registry: &LazyCell<HiveRegistry, _>| {
                let registry = HiveRegistry::clone(registry);
                if with == "one" && !started {
                    started = true;
                    let (registry, stop, applied, spent) = (registry.clone(), &stop, &applied, &spent);
                    scope.spawn(move || write(&registry, hives, stop, applied, spent));
                }
                registry
            };
            let mut turn = 0;
            for (kind, calls, times) in [("batches", BATCH, &mut batches), ("single", 1, &mut single)] {
                group.bench_function(BenchmarkId::new(kind, with), |bencher| {
                    let registry = start(&registry);
                    bencher.iter_custom(|iters| {
                        let mut total = Duration::ZERO;
                        for _ in 0..iters {
                            total += times.batch(calls, || {
                                turn = (turn + 1) % MODELS;
                                black_box(registry.find_best_worker_for_model(black_box(&models[turn])));
                            });
                        }
                        total / calls
                    });
                });
            }
            stop.store(true, Relaxed);
        });
        let spent = spent.into_inner();
        if let Some(each) = spent.checked_div(applied.into_inner()) {
            let share = spent as f64 / began.elapsed().as_nanos() as f64 * 100.0;
            rate = format!("{each} ns a heartbeat, {share:.0} % of the time within the registry");
        }
        rows.push((with, batches, single));
    }
    group.finish();
    if rows.iter().any(|(_, batches, single)| !(batches.is_empty() && single.is_empty())) {
        let mut clock = Times::new();
        (0..100_000).for_each(|_| _ = clock.batch(1, || ()));
        Times::head();
        let mut told = Vec::new();
        for (with, batches, single) in &rows {
            told.push(batches.row(&format!("pick, {hives} hives, writer: {with}; mean of {BATCH}")));
            told.push(single.row(&format!("pick, {hives} hives, writer: {with}; single")));
        }
        told.push(clock.row("nothing; single (what measuring adds)"));
        keep("pick-writer", told.into_iter().flatten());
        println!("The writer: {rate}.\n");
    }
}

fn threads(criterion: &mut Criterion) {
    let hives = sized(10_000, 100);
    let models = models();
    let registry = LazyCell::new(|| fleet(hives, "Idle"));
    let mut group = criterion.benchmark_group("pick/threads");
    group.throughput(Throughput::Elements(1));
    for (name, apart) in [("one-model", 0), ("two-models", 1)] {
        for threads in [1, 2] {
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                let registry = &HiveRegistry::clone(&registry);
                bencher.iter_custom(|iters| {
                    on_threads(threads, iters, |thread, call| {
                        // One reader of two models takes them in turn.
                        let n = if threads == 1 { call as usize & apart } else { thread * apart };
                        black_box(registry.find_best_worker_for_model(black_box(&models[n])));
                    })
                });
            });
        }
    }
    group.finish();
}

fn policy(criterion: &mut Criterion) {
    let hives = sized(10_000, 100);
    let models = models();
    let registry = LazyCell::new(|| fleet(hives, "Idle"));
    let mut group = criterion.benchmark_group("pick/policy");
    group.throughput(Throughput::Elements(1));
    let policies: [(&str, &dyn Policy); 5] = [
        ("LeastLoaded", &LeastLoaded),
        ("PowerOfChoices-2", &PowerOfChoices { d: 2 }),
        ("PowerOfChoices-16", &PowerOfChoices { d: 16 }),
        ("RoundRobin", &RoundRobin),
        ("Random", &Random),
    ];
    for (name, policy) in policies {
        let mut turn = 0;
        group.bench_function(name, |bencher| {
            let registry = &*registry;
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                registry.pick(black_box(&models[turn]), policy)
            });
        });
    }
    group.finish();
}

/// Those that will fall silent are the better half, so that each must be found out before one is picked.
fn before_silence(hives: usize, clock: &ManualClock, heard: impl Fn(usize) -> bool, registry: &HiveRegistry) {
    let at = DateTime::from_timestamp_millis(hive_registry::Clock::wall_ms(clock)).expect("a date");
    let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    for hive in (0..hives).filter(|hive| heard(*hive)) {
        let mut payload = heartbeat(hive, WORKERS);
        payload.timestamp.clone_from(&at);
        for worker in &mut payload.workers {
            worker.gpu_percent = Some(if hive % 2 == 0 { 1.0 } else { 50.0 });
            // The last model is on every hive, the others on some.
            if worker.worker_id == "worker-0" {
                worker.model_id = Some(model(MODELS));
            }
        }
        apply(registry, payload);
    }
}

fn silence(criterion: &mut Criterion) {
    let hives = sized(100_000, 100);
    let models = models();
    let clock = ManualClock::new(1_700_000_000_000);
    let registry = LazyCell::new(|| {
        let registry = builder()
            .liveness_window(Duration::from_secs(30))
            .clock(clock.clone())
            .build()
            .expect("the settings are in bounds");
        before_silence(hives, &clock, |_| true, &registry);
        registry
    });
    let mut firsts = Vec::new();
    let mut group = criterion.benchmark_group("pick/silence");
    group.throughput(Throughput::Elements(1));
    let mut turn = 0;
    let mut silent = false;
    for when in ["before", "after"] {
        for (name, idle) in [("hit", false), ("idle", true)] {
            group.bench_function(BenchmarkId::new(name, when), |bencher| {
                let registry = &*registry;
                if when == "after" && !silent {
                    silent = true;
                    clock.advance(Duration::from_secs(29));
                    before_silence(hives, &clock, |hive| hive % 2 == 1, registry);
                    clock.advance(Duration::from_secs(1));
                    let mut first = |what: String, model: &str| {
                        let times = [(); 2].map(|()| {
                            let began = Instant::now();
                            let (hive, _) =
                                registry.find_best_worker_for_model(model).expect("half are live");
                            let time = began.elapsed();
                            let number: usize = hive.trim_start_matches("hive-").parse().expect("a number");
                            assert_eq!(number % 2, 1, "a live one");
                            time
                        });
                        firsts.push((what, times));
                    };
                    let (all, each) = (hives * WORKERS, hives * (WORKERS - 1) / MODELS);
                    first(format!("a model of about {each} workers"), &models[0]);
                    first(format!("another of about {each} workers"), &models[1]);
                    first(format!("a model of {hives} workers"), &model(MODELS));
                    first(format!("any idle worker of {all}"), "nobody has this one");
                    models[2..].iter().for_each(|model| _ = registry.find_best_worker_for_model(model));
                }
                bencher.iter(|| {
                    turn = (turn + 1) % MODELS;
                    let wanted = if idle { "nobody has this one" } else { &models[turn] };
                    registry.find_best_worker_for_model(black_box(wanted))
                });
            });
        }
    }
    group.finish();
    if !firsts.is_empty() {
        println!("\nAfter half of {} workers fell silent at once, the better half:", hives * WORKERS);
        for (what, [first, second]) in &firsts {
            println!("  {what:<36} first pick {first:>12.2?}, second {second:>9.2?}");
        }
        keep(
            "pick-silence",
            firsts.into_iter().map(|(what, [first, second])| {
                let named = [("first", first), ("second", second)];
                Figure::new(what, "ns", named.map(|(name, time)| (name, time.as_nanos() as f64)))
            }),
        );
        println!();
    }
}

criterion_group! { name = benches; config = common::criterion(); targets = pick, writer, threads, policy, silence }
criterion_main!(benches);
