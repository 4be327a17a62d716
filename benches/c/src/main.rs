//! The same calls from Rust and from C, on two registries of the same fleet, in turns: medians of 200 rounds.

use std::ffi::{c_char, c_void};
use std::hint::black_box;
use std::time::Instant;

use chrono::{SecondsFormat, Utc};
use hive_registry::HiveRegistry;

const HIVES: usize = 1_000;
const ROUNDS: usize = 200;
const MODEL: &str = "vendor/model-0b-instruct";

unsafe extern "C" {
    fn c_registry() -> *mut c_void;
    fn c_beat(registry: *mut c_void, body: *const c_char, len: usize) -> bool;
    fn c_pick(registry: *const c_void, model: *const c_char, len: usize, times: usize) -> bool;
    fn c_reserve(registry: *const c_void, model: *const c_char, len: usize, times: usize) -> bool;
}

/// Eight workers with every field set: 2.5 KB.
fn body(hive: usize, busy: usize) -> String {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let worker = |at: usize| {
        let (model, percent) = ((hive * 8 + at) % 20, (hive + at + busy) % 90);
        format!(
            r#"{{"worker_id":"worker-{at}","state":"Idle","last_heartbeat":"{now}","health_status":"healthy",
"url":"http://10.0.{}.{}:930{at}","model_id":"vendor/model-{model}b-instruct","backend":"cuda","device_id":{at},
"vram_bytes":8589934592,"vram_total_bytes":25769803776,"ram_bytes":4294967296,"cpu_percent":12.5,
"gpu_percent":{percent}.5,"max_concurrency":64}}"#,
            hive >> 8,
            hive & 255
        )
    };
    let workers: Vec<_> = (0..8).map(worker).collect();
    format!(r#"{{"hive_id":"hive-{hive}","timestamp":"{now}","workers":[{}]}}"#, workers.join(","))
}

fn ns_each(times: usize, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as f64 / times as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// One line: the median of each side, and of the difference within a round.
fn compare(what: &str, times: usize, mut rust: impl FnMut(), mut c: impl FnMut()) {
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (ns_each(times, &mut rust), ns_each(times, &mut c))).collect();
    report(what, &rounds);
}

fn report(what: &str, rounds: &[(f64, f64)]) {
    let of = |side: fn(&(f64, f64)) -> f64| median(rounds.iter().map(side).collect());
    let (rust, c) = (of(|round| round.0), of(|round| round.1));
    println!("{what:<32}{rust:>10.1}{c:>10.1}{:>+10.1}{:>8.2}x", of(|round| round.1 - round.0), c / rust);
}

fn main() {
    let registry = HiveRegistry::builder()
        .liveness_window(std::time::Duration::from_secs(3_600))
        .seed(1)
        .build()
        .expect("the settings are in bounds");
    // Never freed: it lives as long as the program.
    let from_c = unsafe { c_registry() };
    let to_c = |body: &str| assert!(unsafe { c_beat(from_c, body.as_ptr().cast(), body.len()) });
    for hive in 0..HIVES {
        let body = body(hive, 0);
        registry.ingest_json(body.as_bytes()).expect("the heartbeat is in bounds");
        to_c(&body);
    }

    println!("{HIVES} hives of 8 workers, medians of {ROUNDS} rounds, ns a call\n");
    println!("{:<32}{:>10}{:>10}{:>10}{:>9}", "", "Rust", "C", "C - Rust", "C / Rust");
    let model = (MODEL.as_ptr().cast(), MODEL.len());
    compare(
        "pick, and give it back",
        10_000,
        || (0..10_000).for_each(|_| drop(black_box(registry.find_best_worker_for_model(black_box(MODEL))))),
        || assert!(unsafe { c_pick(from_c, model.0, model.1, 10_000) }),
    );
    compare(
        "reserve and release",
        5_000,
        || (0..5_000).for_each(|_| drop(black_box(registry.reserve_worker_for_model(black_box(MODEL))))),
        || assert!(unsafe { c_reserve(from_c, model.0, model.1, 5_000) }),
    );
    // Each side has bodies of its own, made beforehand, so that all are newer than the last.
    let mut bodies = (1..).map(|busy| (0..200).map(|at| body(at * 7_919 % HIVES, busy)).collect::<Vec<_>>());
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let bodies = bodies.next().expect("it has no end");
            let rust = ns_each(bodies.len(), || {
                for body in &bodies {
                    registry.ingest_json(body.as_bytes()).expect("the heartbeat is in bounds");
                }
            });
            (rust, ns_each(bodies.len(), || bodies.iter().for_each(|body| to_c(body))))
        })
        .collect();
    report("JSON heartbeat of 8, 2.5 KB", &rounds);
}
