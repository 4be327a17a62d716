//! The cost of a pick in fleets of 100 to 100,000 hives of 8 workers over 20 models, on the default clock.
//!
//! `hit` finds a worker that has the model, asking for the 20 models in turn; `idle` asks for a model that
//! nobody has and falls back to an idle worker; `miss` does so where nobody is idle; `reserve` counts a
//! reservation and takes it back.
#![allow(missing_docs, reason = "criterion's macros make an undocumented function")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hive_registry::{HiveHeartbeatPayload, HiveRegistry, LivenessClock, StaleMode, WorkerState};

const WORKERS: usize = 8;
const MODELS: usize = 20;

/// Heartbeats once; `StaleMode` and clock stay at their defaults' cost, but nothing ages meanwhile.
fn fleet(hives: usize, state: &str) -> HiveRegistry {
    // An hour's window: the clock is read and compared as always, and building 100,000 hives may take long.
    let registry = HiveRegistry::builder()
        .liveness_window(std::time::Duration::from_secs(3_600))
        .liveness_clock(LivenessClock::Reported)
        .stale_mode(StaleMode::Exclude)
        .seed(1)
        .build()
        .expect("the settings are in bounds");
    let timestamp = chrono::Utc::now().to_rfc3339();
    for hive in 0..hives {
        let hive_id = format!("hive-{hive}");
        let workers = (0..WORKERS).map(|worker| WorkerState {
            worker_id: format!("worker-{worker}"),
            state: state.into(),
            last_heartbeat: timestamp.clone(),
            url: Some(format!("http://10.{}.{}.{}:9300", hive >> 16, hive >> 8 & 255, hive & 255)),
            model_id: Some(model((hive * WORKERS + worker) % MODELS)),
            gpu_percent: Some(((hive * 31 + worker * 17) % 100) as f32),
            vram_bytes: Some(8 << 30),
            ..Default::default()
        });
        let payload = HiveHeartbeatPayload {
            hive_id: hive_id.clone(),
            timestamp: timestamp.clone(),
            workers: workers.collect(),
            ..Default::default()
        };
        registry.update_hive_state(&hive_id, payload).expect("the heartbeat is in bounds");
    }
    registry
}

fn model(n: usize) -> String {
    format!("vendor/model-{n}b-instruct")
}

fn pick(criterion: &mut Criterion) {
    let models: Vec<String> = (0..MODELS).map(model).collect();
    let mut group = criterion.benchmark_group("pick");
    group.throughput(Throughput::Elements(1));
    for hives in [100, 1_000, 10_000, 100_000] {
        let registry = fleet(hives, "Idle");
        let mut turn = 0;
        group.bench_function(BenchmarkId::new("hit", hives), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                registry.find_best_worker_for_model(black_box(&models[turn]))
            });
        });
        group.bench_function(BenchmarkId::new("idle", hives), |bencher| {
            bencher.iter(|| registry.find_best_worker_for_model(black_box("nobody has this one")));
        });
        group.bench_function(BenchmarkId::new("reserve", hives), |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % MODELS;
                registry.reserve_worker_for_model(black_box(&models[turn]))
            });
        });
    }
    let busy = fleet(1_000, "Busy");
    group.bench_function(BenchmarkId::new("miss", 1_000), |bencher| {
        bencher.iter(|| busy.find_best_worker_for_model(black_box("nobody has this one")));
    });
    group.finish();
}

criterion_group!(benches, pick);
criterion_main!(benches);
