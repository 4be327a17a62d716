//! The cost of a reservation and of its release, by the number of workers that have the model.
//!
//! `tied` workers have all the same load, so that reservations go round among them; of `ranked` ones each has
//! its own, so that one is best and taken again and again. `lease` opens, renews and releases one by its id,
//! and lets leases run out, told for each.
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

mod common;

use std::cell::LazyCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{WORKERS, apply, builder, empty, heartbeat, on_threads, sized};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hive_registry::{HiveRegistry, ManualClock};

const MODEL: &str = "vendor/model-70b-instruct";

/// `workers` of one model, on hives of 8.
fn fill(registry: &HiveRegistry, workers: usize, tied: bool) {
    for hive in 0..workers.div_ceil(WORKERS) {
        let mut payload = heartbeat(hive, WORKERS.min(workers - hive * WORKERS));
        for (n, worker) in payload.workers.iter_mut().enumerate() {
            let place = (hive * WORKERS + n) as f32 / workers as f32;
            worker.model_id = Some(MODEL.into());
            worker.gpu_percent = Some(if tied { 0.0 } else { 90.0 * place });
            // So many that one place more or less leaves the order as it is.
            worker.max_concurrency = Some(1_000_000);
        }
        apply(registry, payload);
    }
}

fn reserve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reserve");
    group.throughput(Throughput::Elements(1));
    for workers in sized([1, 4, 400, 40_000], [1, 4, 40, 400]) {
        for (kind, tied) in [("tied", true), ("ranked", false)] {
            if workers == 1 && !tied {
                continue;
            }
            let registry = LazyCell::new(|| {
                let registry = empty();
                fill(&registry, workers, tied);
                registry
            });
            for threads in [1, 2] {
                let id = BenchmarkId::new(format!("{kind}/{threads}-threads"), workers);
                group.bench_function(id, |bencher| {
                    let registry = &HiveRegistry::clone(&registry);
                    bencher.iter_custom(|iters| {
                        on_threads(threads, iters, |_, _| {
                            let reservation = registry.reserve_worker_for_model(black_box(MODEL));
                            reservation.expect("there are places").release();
                        })
                    });
                });
            }
        }
    }
    group.finish();
}

fn lease(criterion: &mut Criterion) {
    let workers = sized(4_000, 40);
    let mut group = criterion.benchmark_group("reserve/lease");
    group.throughput(Throughput::Elements(1));
    let registry = LazyCell::new(|| {
        let registry = empty();
        fill(&registry, workers, true);
        registry
    });
    let minute = Duration::from_secs(60);
    // Beside the one that comes and goes, so many are open.
    for open in sized([0, 10_000], [0, 10]) {
        group.bench_function(BenchmarkId::new("open-renew-release", open), |bencher| {
            let registry = &*registry;
            let hour = Duration::from_secs(3_600);
            let open: Vec<_> = (0..open).filter_map(|_| registry.reserve_detached(MODEL, hour)).collect();
            bencher.iter(|| {
                let lease = registry.reserve_detached(black_box(MODEL), minute).expect("there are places");
                assert!(registry.renew_lease(lease.id, minute).is_some());
                assert!(registry.release_lease(lease.id));
            });
            open.iter().for_each(|lease| assert!(registry.release_lease(lease.id)));
        });
    }

    let clock = ManualClock::new(1_700_000_000_000);
    let registry = LazyCell::new(|| {
        let registry = builder()
            .stale_mode(hive_registry::StaleMode::Ignore)
            .clock(clock.clone())
            .build()
            .expect("the settings are in bounds");
        fill(&registry, workers, true);
        registry
    });
    let leases = sized(10_000, 10);
    group.bench_function(BenchmarkId::new("run-out", leases), |bencher| {
        let registry = &*registry;
        bencher.iter_custom(|iters| {
            let mut total = Duration::ZERO;
            let mut left = iters;
            while left > 0 {
                let now = left.min(leases);
                for _ in 0..now {
                    registry.reserve_detached(MODEL, minute).expect("there are places");
                }
                clock.advance(minute);
                let began = Instant::now();
                // Any call on leases first releases what ran out.
                assert!(!registry.release_lease(0));
                total += began.elapsed();
                left -= now;
            }
            total
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = common::criterion(); targets = reserve, lease }
criterion_main!(benches);
