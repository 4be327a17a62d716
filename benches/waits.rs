//! How long a call waits for others, and what threads that once came and went leave behind (C7).
//!
//! Each row is of single calls: of the time on the wall, and the longest by the time of the calling thread alone, which
//! leaves out what it waited for a lock, and what the machine gave to somebody else. Prints a table. Two threads at a
//! time, where it does not say otherwise: on fewer cores these are the waits for a core.

mod common;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{channel, sync_channel};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use common::figures::{Figure, keep};
use common::{BATCH, Beats, MODELS, Times, WORKERS, apply, builder, fleet, heartbeat, hive_id, model, sized};
use hive_registry::{
    Backend, Clock, HiveHeartbeatPayload, HiveRegistry, ManualClock, StaleMode, TOMBSTONE_AGE, WorkerState,
};

const SHARED: &str = "llm-8080";
const NOBODYS: &str = "nobody has this one";
const MINUTE: Duration = Duration::from_secs(60);

/// Times of single calls.
struct Waits {
    wall: Times,
    own: Times,
}

impl Waits {
    fn new() -> Self {
        Self { wall: Times::new(), own: Times::new() }
    }

    fn measure<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let own = own_time();
        let began = Instant::now();
        let made = black_box(call());
        self.wall.record(began.elapsed());
        self.own.record(own_time().saturating_sub(own));
        made
    }

    fn row(&self, what: &str) -> Option<Figure> {
        self.wall.row_with(what, [("own, longest", self.own.longest())])
    }
}

/// What this thread had of a core so far.
#[cfg(target_os = "linux")]
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(target_os = "linux"))]
fn own_time() -> Duration {
    use std::sync::LazyLock;
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    ORIGIN.elapsed()
}

/// Measures while `others` threads do something else without pause, until `measure` is done.
fn beside(others: usize, other: impl Fn() + Sync, measure: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (started, starts) = channel();
        for _ in 0..others {
            let (started, done, other) = (started.clone(), &done, &other);
            scope.spawn(move || {
                other();
                started.send(()).expect("somebody waits for it");
                while !done.load(Relaxed) {
                    other();
                }
            });
        }
        starts.iter().take(others).for_each(drop);
        measure();
        done.store(true, Relaxed);
    });
}

/// Measures for as long as something else, which is done once, takes.
fn during(other: impl FnOnce() + Send, mut measure: impl FnMut()) -> Duration {
    let done = AtomicBool::new(false);
    let done = &done;
    std::thread::scope(|scope| {
        let other = scope.spawn(move || {
            let began = Instant::now();
            other();
            done.store(true, Relaxed);
            began.elapsed()
        });
        while !done.load(Relaxed) {
            measure();
        }
        other.join().expect("the other does not panic")
    })
}

fn with_clock(window: Duration) -> (HiveRegistry, ManualClock) {
    let clock = ManualClock::new(1_700_000_000_000);
    let registry = builder().liveness_window(window).clock(clock.clone()).build();
    (registry.expect("the settings are in bounds"), clock)
}

/// A heartbeat of the clock's time.
fn beat_at(clock: &ManualClock, hive: usize, workers: usize) -> HiveHeartbeatPayload {
    let at = DateTime::from_timestamp_millis(clock.wall_ms()).expect("a date");
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    HiveHeartbeatPayload { timestamp, ..heartbeat(hive, workers) }
}

// === threads that came and went ===

/// What a heartbeat and a reservation cost after other threads have each picked once, and have ended or not.
fn after_threads(rows: &mut Vec<Option<Figure>>) {
    let hives = sized(10_000, 100);
    let registry = fleet(hives, "Idle");
    let models: Vec<_> = (0..MODELS).map(model).collect();
    let pick = || assert!(registry.find_best_worker_for_model(&models[0]).is_some());
    let mut beats = Beats::of(hives);
    let mut measure = |after: &str| {
        let (mut heartbeats, mut reserves) = (Times::new(), Times::new());
        for turn in 0..sized(1_000, 10) {
            let made: Vec<_> = (0..BATCH).map(|_| beats.plain(WORKERS)).collect();
            let mut made = made.into_iter();
            heartbeats.batch(BATCH, || apply(&registry, made.next().expect("one for each")));
            let mut calls = 0;
            reserves.batch(BATCH, || {
                calls += 1;
                let model = &models[(turn + calls) % MODELS];
                let reservation = registry.reserve_worker_for_model(model).expect("there are places");
                black_box(registry.find_best_worker_for_model(model));
                reservation.release();
            });
        }
        rows.push(heartbeats.row(&format!("heartbeat of 8, after {after}; mean of {BATCH}")));
        rows.push(reserves.row(&format!("reserve + pick + release, after {after}; mean of {BATCH}")));
    };
    std::thread::scope(|scope| _ = scope.spawn(pick));
    measure("one thread");
    for threads in sized([512, 2_000], [4, 8]) {
        for _ in 0..threads {
            std::thread::scope(|scope| _ = scope.spawn(pick));
        }
        measure(&format!("{threads} threads that ended"));
        let (picked, picks) = channel();
        std::thread::scope(|scope| {
            let ends: Vec<_> = (0..threads)
                .map(|_| {
                    let (end, ended) = sync_channel::<()>(0);
                    let picked = picked.clone();
                    scope.spawn(move || {
                        pick();
                        picked.send(()).expect("somebody waits for it");
                        let _ = ended.recv();
                    });
                    end
                })
                .collect();
            picks.iter().take(threads).for_each(drop);
            measure(&format!("{threads} threads that live"));
            drop(ends);
        });
    }
}

// === ids and models that many share ===

fn namesakes(rows: &mut Vec<Option<Figure>>) {
    let hives = sized(100_000, 100);
    let registry = common::empty();
    let named = |hive: usize, workers: usize| {
        let mut payload = heartbeat(hive, workers);
        payload.workers.iter_mut().for_each(|worker| worker.worker_id = SHARED.into());
        payload
    };
    (0..hives).for_each(|hive| apply(&registry, named(hive, 1)));
    let (mut comes, mut goes) = (Waits::new(), Waits::new());
    let measure = |comes: &mut Waits, goes: &mut Waits| {
        for turn in 0..sized(20_000, 20) {
            let hive = hives + turn % 64;
            let (bring, end) = (named(hive, 1), named(hive, 0));
            comes.measure(|| apply(&registry, bring));
            goes.measure(|| apply(&registry, end));
        }
    };
    let look = || assert!(registry.get_worker(SHARED).is_some());
    beside(1, look, || measure(&mut comes, &mut goes));
    rows.push(
        comes.row(&format!("heartbeat by which an id comes that {hives} hives share, beside lookups of it")),
    );
    rows.push(
        goes.row(&format!("heartbeat by which an id goes that {hives} hives share, beside lookups of it")),
    );
}

fn models(rows: &mut Vec<Option<Figure>>) {
    let hives = sized(1_000, 10);
    for others in [1, 8] {
        let registry = fleet(hives, "Idle");
        let (mut brings, mut ends) = (Waits::new(), Waits::new());
        let of = |model: Option<&str>| {
            let mut payload = heartbeat(0, 1);
            payload.workers[0].model_id = model.map(Into::into);
            payload
        };
        let pick = || _ = black_box(registry.find_best_worker_for_model(black_box(NOBODYS)));
        beside(others, pick, || {
            for _ in 0..sized(20_000, 20) {
                let (bring, end) = (of(Some(NOBODYS)), of(None));
                brings.measure(|| apply(&registry, bring));
                ends.measure(|| apply(&registry, end));
            }
        });
        rows.push(brings.row(&format!("heartbeat that brings a model, beside picks of it by {others}")));
        rows.push(ends.row(&format!("heartbeat that ends a model, beside picks of it by {others}")));
    }
}

// === leases ===

/// A million leases run out at once; by one of these calls, one after the other, beside nothing or a sweeping thread.
fn leases(rows: &mut Vec<Option<Figure>>) {
    let (hives, leases) = (sized(10_000, 10), sized(1_000_000, 1_000));
    let clock = ManualClock::new(1_700_000_000_000);
    let registry = builder().stale_mode(StaleMode::Ignore).clock(clock.clone()).build();
    let registry = registry.expect("the settings are in bounds");
    for hive in 0..hives {
        let mut payload = heartbeat(hive, WORKERS);
        payload.workers.iter_mut().for_each(|worker| worker.max_concurrency = Some(1_000));
        apply(&registry, payload);
    }
    let names: Vec<_> = (0..MODELS).map(model).collect();
    let run_out = || {
        for n in 0..leases {
            assert!(registry.reserve_detached(&names[n % MODELS], MINUTE).is_some());
        }
        clock.advance(MINUTE);
    };
    let open = || registry.stats().reservations_open > 0;
    let call = |waits: &mut Waits, turn: usize, reserves: bool| {
        let model = &names[turn % MODELS];
        if reserves {
            let reservation = waits.measure(|| registry.reserve_worker_for_model(model));
            assert!(reservation.is_some());
        } else {
            assert!(waits.measure(|| registry.find_best_worker_for_model(model)).is_some());
        }
    };
    for (what, reserves) in [("pick", false), ("reserve", true)] {
        let mut waits = Waits::new();
        run_out();
        // Each gives back a few.
        while open() {
            (0..1_000).for_each(|turn| call(&mut waits, turn, reserves));
        }
        rows.push(waits.row(&format!("{what}, {leases} leases run out at once")));
    }
    let mut sweeps = Times::new();
    for (what, reserves) in [("pick", false), ("reserve", true)] {
        let mut waits = Waits::new();
        run_out();
        let mut turn = 0;
        let sweep = || _ = registry.evict_stale(Duration::from_secs(1 << 30));
        let time = during(sweep, || {
            turn += 1;
            call(&mut waits, turn, reserves);
        });
        sweeps.record(time);
        rows.push(waits.row(&format!("{what}, {leases} leases run out at once, beside a sweep")));
    }
    run_out();
    let began = Instant::now();
    let _ = registry.evict_stale(Duration::from_secs(1 << 30));
    let time = began.elapsed();
    assert!(!open(), "all are given back");
    let mut alone = Times::new();
    alone.record(time);
    rows.push(alone.row(&format!("a sweep that gives back {leases} leases")));
    rows.push(sweeps.row(&format!("a sweep that gives back {leases} leases, beside picks or reservations")));
}

// === who falls silent, and what a pick finds out late ===

fn silence(rows: &mut Vec<Option<Figure>>) {
    let hives = sized(100_000, 100);
    let mut waits = Waits::new();
    let mut picks = Times::new();
    for _ in 0..2 {
        let (registry, clock) = with_clock(Duration::from_secs(30));
        let beat = |hive: usize| {
            let mut payload = beat_at(&clock, hive, WORKERS);
            let better = hive % 2 == 0;
            payload.workers.iter_mut().for_each(|w| w.gpu_percent = Some(if better { 1.0 } else { 50.0 }));
            payload
        };
        (0..hives).for_each(|hive| apply(&registry, beat(hive)));
        clock.advance(Duration::from_secs(29));
        (0..hives).skip(1).step_by(2).for_each(|hive| apply(&registry, beat(hive)));
        clock.advance(Duration::from_secs(1));
        let made: Vec<_> = (0..sized(50_000, 50)).map(|n| beat(2 * (n * 7_919 % (hives / 2)) + 1)).collect();
        let mut made = made.into_iter();
        let pick = || assert!(registry.find_best_worker_for_model(NOBODYS).is_some());
        picks.record(during(pick, || {
            if let Some(payload) = made.next() {
                waits.measure(|| apply(&registry, payload));
            }
        }));
    }
    let half = hives * WORKERS / 2;
    rows.push(waits.row(&format!("heartbeat while a pick parks {half} silent workers")));
    rows.push(picks.row(&format!("the pick that parks {half} silent workers, beside heartbeats")));
}

fn reserved_elsewhere(rows: &mut Vec<Option<Figure>>) {
    let reservations = sized(100_000, 100);
    // As many as one model has, and so many reservations that each has one.
    let registry = common::fleet_with(reservations / WORKERS, |_, worker| {
        worker.model_id = Some(model(0));
        worker.gpu_percent = Some(0.0);
    });
    let (mut of_model, mut fallback) = (Waits::new(), Waits::new());
    let (mut reserve_of_model, mut reserve_fallback) = (Waits::new(), Waits::new());
    for _ in 0..sized(5, 1) {
        let name = model(0);
        for (through, first, pick, reserve) in [
            (NOBODYS, name.as_str(), &mut of_model, &mut reserve_of_model),
            (name.as_str(), NOBODYS, &mut fallback, &mut reserve_fallback),
        ] {
            let held = |n: usize| -> Vec<_> {
                (0..n).map(|_| registry.reserve_worker_for_model(through).expect("places")).collect()
            };
            let once = held(reservations);
            assert!(pick.measure(|| registry.find_best_worker_for_model(first)).is_some());
            let twice = held(reservations);
            assert!(reserve.measure(|| registry.reserve_worker_for_model(first)).is_some());
            drop((once, twice));
        }
    }
    rows.push(of_model.row(&format!("pick of a model after {reservations} reservations as idle ones")));
    rows.push(
        reserve_of_model.row(&format!("reserve of a model after {reservations} reservations as idle ones")),
    );
    rows.push(fallback.row(&format!("fallback pick after {reservations} reservations through a model")));
    rows.push(
        reserve_fallback.row(&format!("fallback reserve after {reservations} reservations through a model")),
    );
}

// === lists ===

fn lists(rows: &mut Vec<Option<Figure>>) {
    let hives = sized(50_000, 50);
    let registry = fleet(hives, "Idle");
    let idle = hives * WORKERS;
    let walks: [(&str, &(dyn Fn() + Sync)); 2] = [
        ("explain", &|| _ = black_box(registry.explain(NOBODYS))),
        ("find_idle_workers", &|| _ = black_box(registry.find_idle_workers())),
    ];
    for (what, walk) in walks {
        let (mut waits, mut beats) = (Waits::new(), Beats::of(hives));
        beside(1, walk, || {
            for _ in 0..sized(50_000, 20) {
                let payload = beats.plain(WORKERS);
                waits.measure(|| apply(&registry, payload));
            }
        });
        rows.push(waits.row(&format!("heartbeat while {what} walks {idle} idle workers")));
    }
}

// === removals and tombstones ===

fn removals(rows: &mut Vec<Option<Figure>>) {
    let hives = sized(100_000, 100);
    let (registry, clock) = with_clock(MINUTE);
    (0..hives).for_each(|hive| apply(&registry, beat_at(&clock, hive, 2)));
    let mut waits = Waits::new();
    for hive in 0..hives {
        assert!(waits.measure(|| registry.remove_hive(&hive_id(hive))));
    }
    rows.push(waits.row(&format!("removal of a hive, {hives} one after the other")));
    let mut waits = Waits::new();
    apply(&registry, beat_at(&clock, hives, 2));
    clock.advance(TOMBSTONE_AGE);
    for _ in 0..sized(5_000, 20) {
        clock.advance(Duration::from_millis(1));
        let payload = beat_at(&clock, hives, 2);
        waits.measure(|| apply(&registry, payload));
    }
    rows.push(waits.row(&format!("heartbeat while {hives} tombstones expire")));
}

fn devices(rows: &mut Vec<Option<Figure>>) {
    let workers = sized(1_024, 16);
    let registry = common::empty();
    let mut payload = heartbeat(0, 0);
    payload.workers = (0..workers)
        .map(|n| WorkerState {
            device_id: Some(n as u32),
            backend: Some(Backend::Cuda.to_string()),
            ..common::worker(0, n, &payload.timestamp)
        })
        .collect();
    apply(&registry, payload);
    let mut waits = Waits::new();
    for _ in 0..sized(2_000, 10) {
        let told = waits.measure(|| registry.get_available_resources(&hive_id(0)));
        assert!(told.is_some_and(|told| told.worker_count == workers));
    }
    rows.push(waits.row(&format!("get_available_resources of {workers} devices")));
}

/// Measures some rows.
type Part = fn(&mut Vec<Option<Figure>>);

fn main() {
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mut rows = Vec::new();
    Times::head();
    let parts: [(&str, Part); 9] = [
        ("after-threads", after_threads),
        ("namesakes", namesakes),
        ("models", models),
        ("leases", leases),
        ("silence", silence),
        ("reserved-elsewhere", reserved_elsewhere),
        ("lists", lists),
        ("removals", removals),
        ("devices", devices),
    ];
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|one| name.contains(one.as_str())) {
            part(&mut rows);
        }
    }
    println!();
    keep("waits", rows.into_iter().flatten());
}
