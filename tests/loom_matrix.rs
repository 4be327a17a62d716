//! The loom matrix (`make loom-matrix`): every call that changes or reads what picks see, beside every other,
//! from several starts; triples by sample. Scenarios (`tests/loom.rs`) show the races somebody thought of; this
//! looks for the others.
//!
//! A case is a start and two or three calls, "fresh/reserve/raise". While the calls run, what holds at any time is
//! asserted (C2: who is eligible throughout is found); once all have returned, every pick and every count is
//! compared with a scan of the snapshot, and again when all that was reserved is given back.
//!
//! | variable | |
//! |---|---|
//! | `LOOM_MAX_PREEMPTIONS` | 3 by default |
//! | `LOOM_MATRIX_SECONDS` | no case begins later than that; no bound by default |
//! | `LOOM_MATRIX_SEED` | in which order cases are walked, and which triples are drawn; 1 by default |
//! | `LOOM_MATRIX_TRIPLES` | how many triples are drawn beside the pairs, by the seed and as many always the same; 0 by default |
//! | `LOOM_MATRIX_CASE_SECONDS` | a case stops after so long, and is told as cut short; a twentieth of all, 5 to 30 |
//! | `LOOM_MATRIX_ONLY` | this one case, by name |
#![cfg(loom)]

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hive_registry::{
    Candidates, HiveHeartbeat, HiveHeartbeatPayload, HiveId, HiveInfo, HiveRegistry, LeastLoaded,
    ManualClock, OperationalStatus, Policy, ProcessStats, Reservation, Snapshot, WorkerHealth, WorkerInfo,
    WorkerLifecycle, WorkerSnapshot, WorkerState,
};
use loom::thread;

const NOW_MS: i64 = 1_761_040_800_000;
const NOW: &str = "2025-10-21T10:00:00Z";
const HALF_A_MINUTE_LATER: &str = "2025-10-21T10:00:30Z";
const A_MINUTE_LATER: &str = "2025-10-21T10:01:00Z";
const WINDOW: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(1);

/// What the workers have loaded at first, and what nobody has.
const MODEL: &str = "m";
const OTHER: &str = "n";

// === the world ===

/// One registry, and what a case keeps of it. Its locks are the standard ones, which loom does not see: none is held
/// across a call of the registry.
struct World {
    registry: HiveRegistry,
    clock: ManualClock,
    /// When the hives beat now: no earlier than they beat before.
    stamp: &'static str,
    /// Reservations that a call may give back, and those that calls made.
    held: Mutex<Vec<Reservation>>,
    made: Mutex<Vec<Reservation>>,
    /// A lease that a call may renew, release, or let run out.
    lease: Mutex<Option<u64>>,
    /// A healthy worker is eligible throughout.
    has_steady: bool,
    /// Whether somebody who may serve the model, or any by falling back, is eligible throughout: of `m`, of `n`.
    must_find: [bool; 2],
    /// What was wrong while the calls ran: told once they have returned, for a panic beside a running thread
    /// would be loom's own.
    faults: Mutex<Vec<String>>,
}

type Found = Option<(HiveId, Arc<WorkerInfo>)>;

impl World {
    fn beat(&self, hive: &str, workers: Vec<WorkerState>) {
        self.beat_at(hive, self.stamp, workers);
    }

    fn beat_at(&self, hive: &str, timestamp: &str, workers: Vec<WorkerState>) {
        let timestamp = timestamp.into();
        let payload = HiveHeartbeatPayload { hive_id: hive.into(), timestamp, workers, ..Default::default() };
        self.registry.update_hive_state(hive, payload).expect("the heartbeat is in bounds");
    }

    fn fault(&self, what: String) {
        self.faults.lock().expect("never poisoned").push(what);
    }

    /// C2: who is eligible throughout is found.
    fn must(&self, call: &str, model: &str, is_found: bool) {
        if self.must_find[usize::from(model == OTHER)] && !is_found {
            self.fault(format!("{call} {model} found nobody, though somebody was eligible throughout"));
        }
    }

    /// What the default rule answered, which is never a degraded worker where a healthy one is there throughout:
    /// C2, the record returned is the one that its rank was made from.
    fn judge(&self, call: &str, model: &str, found: Option<&WorkerInfo>) {
        self.must(call, model, found.is_some());
        let is_degraded = found.is_some_and(|worker| worker.health_status != WorkerHealth::Healthy);
        if self.has_steady && is_degraded {
            self.fault(format!("{call} returned {found:?} by another record's rank"));
        }
    }

    fn find(&self, model: &str) {
        let found = self.registry.find_best_worker_for_model(model);
        self.judge("find", model, found.as_ref().map(|(_, worker)| &**worker));
    }

    fn reserve(&self, model: &str) {
        let made = self.registry.reserve_worker_for_model(model);
        self.judge("reserve", model, made.as_ref().map(Reservation::worker));
        self.made.lock().expect("never poisoned").extend(made);
    }

    fn release(&self) {
        let held = self.held.lock().expect("never poisoned").pop();
        drop(held.or_else(|| self.registry.reserve_worker_for_model(MODEL)));
    }

    fn take_lease(&self) -> Option<u64> {
        let lease = self.lease.lock().expect("never poisoned").take();
        lease.or_else(|| Some(self.registry.reserve_detached(MODEL, LEASE)?.id))
    }
}

/// Worker `v` of hive `a`, idle with `m`, 4 places; heartbeats change one thing of it.
fn v() -> WorkerState {
    WorkerState {
        worker_id: "v".into(),
        model_id: Some(MODEL.into()),
        gpu_percent: Some(20.0),
        max_concurrency: Some(4),
        ..Default::default()
    }
}

/// Worker `w` of hive `b`, who may do the same but is busier.
fn w() -> WorkerState {
    WorkerState { worker_id: "w".into(), gpu_percent: Some(50.0), ..v() }
}

fn with_limit(limit: u32, worker: WorkerState) -> WorkerState {
    WorkerState { max_concurrency: Some(limit), ..worker }
}

fn feeling(health: &str, worker: WorkerState) -> WorkerState {
    WorkerState { health_status: health.into(), ..worker }
}

/// In a state, with a model or none.
fn doing(state: &str, model: Option<&str>) -> WorkerState {
    WorkerState { state: state.into(), model_id: model.map(Into::into), ..v() }
}

/// Chooses the first candidate there is.
struct First;

impl Policy for First {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        candidates.get(0).map(|_| 0)
    }
}

// === starts ===

struct Start {
    name: &'static str,
    make: fn(&mut World),
    /// `w` is live, healthy and has room throughout, whatever becomes of `v`.
    has_steady: bool,
    /// `v` is eligible at first.
    has_v: bool,
}

const fn start(name: &'static str, has_steady: bool, has_v: bool, make: fn(&mut World)) -> Start {
    Start { name, make, has_steady, has_v }
}

const STARTS: [Start; 8] = [
    // The winner is published, nobody reserved.
    start("fresh", true, true, |world| {
        world.beat("a", vec![v()]);
        world.beat("b", vec![w()]);
    }),
    // The winner was reserved since it was published, by a lease, and is the best no more.
    start("marked", true, true, |world| {
        world.beat("a", vec![v()]);
        world.beat("b", vec![w()]);
        let lease = world.registry.reserve_detached(MODEL, LEASE).expect("there is room");
        *world.lease.lock().expect("never poisoned") = Some(lease.id);
        world.beat("b", vec![WorkerState { gpu_percent: Some(1.0), ..w() }]);
    }),
    // Reserved and published since: no mark. Each worker holds one, `v` by the lower share.
    start("held", true, true, |world| {
        world.beat("b", vec![with_limit(3, w())]);
        let of_w = world.registry.reserve_worker_for_model(MODEL).expect("there is room");
        world.made.lock().expect("never poisoned").push(of_w);
        world.beat("a", vec![v()]);
        let of_v = world.registry.reserve_worker_for_model(MODEL).expect("there is room");
        world.held.lock().expect("never poisoned").push(of_v);
        let _ = world.registry.find_best_worker_for_model(MODEL);
        let _ = world.registry.find_best_worker_for_model(OTHER);
    }),
    // `v` is parked, for it is full.
    start("full", true, false, |world| {
        world.beat("a", vec![with_limit(1, v())]);
        world.beat("b", vec![w()]);
        let of_v = world.registry.reserve_worker_for_model(MODEL).expect("there is room");
        world.held.lock().expect("never poisoned").push(of_v);
    }),
    // Full again, and alone: no winner is published.
    start("unpublished", false, false, |world| {
        world.beat("a", vec![with_limit(1, v())]);
        let of_v = world.registry.reserve_worker_for_model(MODEL).expect("there is room");
        world.held.lock().expect("never poisoned").push(of_v);
        let _ = world.registry.find_best_worker_for_model(MODEL);
    }),
    // `v` is parked, for its hive is silent.
    start("silent", true, false, |world| {
        world.beat("a", vec![v()]);
        world.clock.advance(WINDOW);
        world.stamp = HALF_A_MINUTE_LATER;
        world.beat("b", vec![w()]);
        let _ = world.registry.find_best_worker_for_model(MODEL);
        let _ = world.registry.find_best_worker_for_model(OTHER);
    }),
    // A hive fell silent a moment ago, and nobody has looked yet.
    start("falling", true, false, |world| {
        world.beat("a", vec![v()]);
        world.clock.advance(WINDOW);
        world.stamp = HALF_A_MINUTE_LATER;
        world.beat("b", vec![w()]);
    }),
    // One worker without a model, who serves any by falling back.
    start("alone", false, true, |world| world.beat("a", vec![doing("Idle", None)])),
];

// === calls ===

/// To whom a call may do harm: they may not be eligible for `m` from then on, or for a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    Nobody,
    V,
    All,
}
use Harm::{All, Nobody, V};

struct Call {
    name: &'static str,
    harm: Harm,
    run: fn(&World),
}

const fn call(name: &'static str, harm: Harm, run: fn(&World)) -> Call {
    Call { name, harm, run }
}

const CALLS: [Call; 43] = [
    // Heartbeats of `a`.
    call("beat", Nobody, |world| world.beat("a", vec![v()])),
    call("raise", Nobody, |world| world.beat("a", vec![WorkerState { gpu_percent: Some(100.0), ..v() }])),
    call("lower", Nobody, |world| world.beat("a", vec![WorkerState { gpu_percent: Some(0.0), ..v() }])),
    call("degrade", Nobody, |world| world.beat("a", vec![feeling("degraded", v())])),
    call("sicken", V, |world| world.beat("a", vec![feeling("unhealthy", v())])),
    call("widen", Nobody, |world| world.beat("a", vec![with_limit(8, v())])),
    call("narrow", V, |world| world.beat("a", vec![with_limit(1, v())])),
    call("squeeze", V, |world| world.beat("a", vec![feeling("degraded", with_limit(1, v()))])),
    call("move", Nobody, |world| world.beat("a", vec![doing("Idle", Some(OTHER))])),
    call("move_busy", V, |world| world.beat("a", vec![doing("Busy", Some(OTHER))])),
    call("load", Nobody, |world| world.beat("a", vec![doing("Busy", Some(MODEL))])),
    call("unload", Nobody, |world| world.beat("a", vec![doing("Idle", None)])),
    call("drain", V, |world| world.beat("a", vec![doing("Draining", Some(MODEL))])),
    call("empty", V, |world| world.beat("a", Vec::new())),
    call("again", V, |world| {
        world.beat("a", Vec::new());
        world.beat("a", vec![v()]);
    }),
    call("join", Nobody, |world| {
        world.beat("a", vec![WorkerState { worker_id: "u".into(), gpu_percent: Some(10.0), ..v() }, v()])
    }),
    call("replace", V, |world| world.beat("a", vec![WorkerState { worker_id: "u".into(), ..v() }])),
    call("stop", V, |world| {
        let heartbeat = HiveHeartbeat {
            hive: HiveInfo {
                id: "a".into(),
                operational_status: OperationalStatus::Stopping,
                ..HiveInfo::default()
            },
            timestamp: world.stamp.into(),
            workers: Some(vec![process()]),
            ..Default::default()
        };
        let _ = world.registry.update_hive(heartbeat);
    }),
    call("update", V, |world| {
        world.registry.update_workers("a", vec![process()]).expect("the list is in bounds");
    }),
    // Of the other hive.
    call("other", Nobody, |world| {
        world.beat("b", vec![WorkerState { gpu_percent: Some(15.0), ..with_limit(5, w()) }]);
    }),
    // Reservations.
    call("reserve", Nobody, |world| world.reserve(MODEL)),
    call("reserve_idle", Nobody, |world| world.reserve(OTHER)),
    call("release", Nobody, World::release),
    call("lease", Nobody, |world| {
        let lease = world.registry.reserve_detached(MODEL, LEASE);
        world.judge("lease", MODEL, lease.as_ref().map(|lease| &*lease.worker));
    }),
    call("lease_released", Nobody, |world| {
        let lease = world.take_lease();
        lease.map(|id| world.registry.release_lease(id));
    }),
    call("lease_renewed", Nobody, |world| {
        let lease = world.take_lease();
        lease.map(|id| world.registry.renew_lease(id, 60 * LEASE));
    }),
    call("lease_run_out", Nobody, |world| {
        let _ = world.take_lease();
        world.clock.advance(LEASE);
        world.find(MODEL);
    }),
    call("reserve_with", Nobody, |world| {
        let made = world.registry.reserve_with(MODEL, &First);
        world.must("reserve_with", MODEL, made.is_some());
        world.made.lock().expect("never poisoned").extend(made);
    }),
    call("handle", Nobody, |world| {
        let model = world.registry.model(MODEL).expect("the name is in bounds");
        world.judge("Model::find", MODEL, model.find_best_worker().as_ref().map(|(_, worker)| &**worker));
        let made = model.reserve_worker();
        world.judge("Model::reserve", MODEL, made.as_ref().map(Reservation::worker));
    }),
    // Hives that go, and time.
    call("remove", V, |world| _ = world.registry.remove_hive("a")),
    call("evict", Nobody, |world| _ = world.registry.evict_stale(WINDOW)),
    call("clock_back", Nobody, |world| {
        world.clock.jump_wall(-31_000);
        world.find(MODEL);
    }),
    call("silence", All, |world| {
        world.clock.advance(WINDOW);
        world.find(MODEL);
    }),
    call("wake", All, |world| {
        world.clock.advance(WINDOW);
        world.beat_at("a", A_MINUTE_LATER, vec![v()]);
    }),
    // Questions.
    call("find", Nobody, |world| world.find(MODEL)),
    call("find_idle", Nobody, |world| world.find(OTHER)),
    call("pick_first", Nobody, |world| {
        world.must("pick", MODEL, world.registry.pick(MODEL, &First).is_some())
    }),
    call("pick_least", Nobody, |world| {
        let found: Found = world.registry.pick(MODEL, &LeastLoaded);
        world.judge("pick by LeastLoaded", MODEL, found.as_ref().map(|(_, worker)| &**worker));
    }),
    call("explain", Nobody, |world| {
        let told = world.registry.explain(MODEL);
        world.judge("explain", MODEL, told.pick.as_ref().map(|(_, worker)| &**worker));
    }),
    call("lookup", Nobody, |world| {
        let _ = world.registry.get_worker("v");
        let _ = world.registry.get_worker("u");
    }),
    call("list_idle", Nobody, |world| _ = world.registry.find_idle_workers()),
    call("list_model", Nobody, |world| _ = world.registry.find_workers_by_model(MODEL)),
    call("snapshot", Nobody, |world| _ = world.registry.snapshot()),
];

fn process() -> ProcessStats {
    ProcessStats { group: "g".into(), instance: "1".into(), model: Some(MODEL.into()), ..Default::default() }
}

// === a case ===

#[derive(Clone)]
struct Case {
    start: &'static Start,
    calls: Vec<&'static Call>,
}

impl Case {
    fn name(&self) -> String {
        let names = self.calls.iter().map(|call| call.name);
        std::iter::once(self.start.name).chain(names).collect::<Vec<_>>().join("/")
    }

    fn named(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let start = parts.next()?;
        let start = STARTS.iter().find(|known| known.name == start)?;
        let calls = parts.map(|part| CALLS.iter().find(|call| call.name == part)).collect::<Option<_>>()?;
        Some(Self { start, calls })
    }

    fn harms(&self, harm: Harm) -> bool {
        self.calls.iter().any(|call| call.harm == harm)
    }

    /// One run of one interleaving.
    fn run(&self) {
        let clock = ManualClock::new(NOW_MS);
        let builder = HiveRegistry::builder().clock(clock.clone()).seed(1);
        let has_steady = self.start.has_steady && !self.harms(All);
        let mut world = World {
            registry: builder.build().expect("the settings are in bounds"),
            clock,
            stamp: NOW,
            held: Mutex::default(),
            made: Mutex::default(),
            lease: Mutex::default(),
            has_steady,
            // A `v` that becomes busy with `m` serves no other model.
            must_find: [has_steady || self.start.has_v && !self.harms(V) && !self.harms(All), has_steady],
            faults: Mutex::default(),
        };
        (self.start.make)(&mut world);
        let world = Arc::new(world);
        let beside = |call: &&'static Call| {
            let (world, run) = (world.clone(), call.run);
            thread::spawn(move || run(&world))
        };
        let all: Vec<_> = self.calls.iter().map(beside).collect();
        all.into_iter().for_each(|one| one.join().expect("no panic"));

        let mut faults = std::mem::take(&mut *world.faults.lock().expect("never poisoned"));
        at_rest(&world.registry, &mut faults);
        // All is given back: whoever was hidden by it is seen again.
        let mut held = std::mem::take(&mut *world.held.lock().expect("never poisoned"));
        held.append(&mut world.made.lock().expect("never poisoned"));
        if !held.is_empty() {
            drop(held);
            at_rest(&world.registry, &mut faults);
        }
        assert!(faults.is_empty(), "{}: {}", self.name(), faults.join("; "));
    }
}

// === at rest ===

/// Every pick and every count against a scan of the snapshot; nothing runs beside it.
fn at_rest(registry: &HiveRegistry, faults: &mut Vec<String>) {
    let snapshot = registry.snapshot();
    let told = workers(&snapshot);
    let reserved: u64 = told.iter().map(|told| u64::from(told.of.reservations)).sum();
    same(faults, "reservations open", "", &registry.stats().reservations_open, &reserved);
    same(faults, "workers", "", &registry.total_worker_count(), &told.len());
    same(faults, "hives", "", &registry.hive_count(), &snapshot.hives.len());

    // A list names the live; whether others, too, is told elsewhere (C4).
    let is_live =
        |hive: &HiveId| snapshot.hives.iter().any(|told| told.online && told.state.hive_id == *hive);
    let listed = |mut list: Vec<(HiveId, Arc<WorkerInfo>)>| {
        list.retain(|(hive, _)| is_live(hive));
        list
    };
    let live = |keep: &dyn Fn(&WorkerInfo) -> bool| -> Vec<_> {
        let kept = told.iter().filter(|told| told.online && keep(told.worker()));
        kept.map(|told| (told.of.worker.hive_id.clone(), told.of.worker.clone())).collect()
    };
    let is_idle = |worker: &WorkerInfo| worker.state == WorkerLifecycle::Idle;
    same(faults, "idle workers", "", &listed(registry.find_idle_workers()), &live(&is_idle));
    for told in &told {
        let id = &told.worker().worker_id;
        same(faults, "looked up:", id, &registry.get_worker(id).is_some(), &true);
    }

    for model in [MODEL, OTHER, "nobody's"] {
        let has = |worker: &WorkerInfo| worker.model_id.as_deref() == Some(model);
        same(faults, "workers of", model, &listed(registry.find_workers_by_model(model)), &live(&has));
        let of_model = || told.iter().filter(|told| has(told.worker()));
        let idle = || told.iter().filter(|told| is_idle(told.worker()));
        let counted = |wanted: Standing| of_model().filter(|told| told.standing == wanted).count();
        let explained = registry.explain(model);
        let counts = [
            explained.workers,
            explained.eligible,
            explained.stale,
            explained.unhealthy,
            explained.draining,
            explained.full,
            explained.idle_fallbacks,
        ];
        let scanned = [
            of_model().count(),
            counted(Standing::Eligible),
            counted(Standing::Stale),
            counted(Standing::Unhealthy),
            counted(Standing::Draining),
            counted(Standing::Full),
            idle().filter(|told| told.standing == Standing::Eligible).count(),
        ];
        same(faults, "counts of", model, &counts, &scanned);

        let best = of_model().filter_map(Told::rank).min().or_else(|| idle().filter_map(Told::rank).min());
        let rank = |found: &WorkerInfo| {
            let is_found = |told: &&Told<'_>| std::ptr::eq(told.worker(), found);
            told.iter().find(is_found).and_then(Told::rank)
        };
        let ranked = |found: &Found| found.as_ref().map(|(_, worker)| rank(worker));
        let best = best.map(Some);
        same(faults, "find", model, &ranked(&registry.find_best_worker_for_model(model)), &best);
        same(faults, "explained pick of", model, &ranked(&explained.pick), &best);
        let reserved = registry.reserve_worker_for_model(model);
        same(faults, "reserve", model, &reserved.map(|made| rank(made.worker())), &best);
    }
}

fn same<T: PartialEq + Debug>(faults: &mut Vec<String>, what: &str, of: &str, is: &T, should: &T) {
    if is != should {
        faults.push(format!("{what} {of}: {is:?}, by a scan {should:?}"));
    }
}

struct Told<'s> {
    online: bool,
    standing: Standing,
    of: &'s WorkerSnapshot,
}

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Eligible,
    Stale,
    Unhealthy,
    Draining,
    Full,
}

fn workers(snapshot: &Snapshot) -> Vec<Told<'_>> {
    let of_hive = snapshot.hives.iter().flat_map(|hive| {
        let stops = |info: &Arc<HiveInfo>| info.operational_status == OperationalStatus::Stopping;
        let stops = hive.state.hive.as_ref().is_some_and(stops);
        hive.workers.iter().map(move |of| Told {
            online: hive.online,
            standing: standing(hive.online, stops, of),
            of,
        })
    });
    of_hive.collect()
}

/// S1.
fn standing(online: bool, stops: bool, told: &WorkerSnapshot) -> Standing {
    let worker = &told.worker;
    if !online {
        Standing::Stale
    } else if worker.health_status == WorkerHealth::Unhealthy {
        Standing::Unhealthy
    } else if worker.state == WorkerLifecycle::Draining || stops {
        Standing::Draining
    } else if worker.max_concurrency.is_some_and(|max| told.reservations >= max) {
        Standing::Full
    } else {
        Standing::Eligible
    }
}

impl Told<'_> {
    fn worker(&self) -> &WorkerInfo {
        &self.of.worker
    }

    /// S2, S3; among equals any may be found (S4).
    fn rank(&self) -> Option<(bool, u64, bool)> {
        let worker = self.worker();
        let rank = (
            worker.health_status != WorkerHealth::Healthy,
            self.of.load,
            worker.state == WorkerLifecycle::Busy,
        );
        (self.standing == Standing::Eligible).then_some(rank)
    }
}

// === the walk ===

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// splitmix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        (1..items.len()).rev().for_each(|at| items.swap(at, self.below(at + 1)));
    }
}

/// Explores the cases on every core until all are done or time is up, and tells how far it came.
fn walk(seed: u64, cases: Vec<Case>) {
    let begun = Instant::now();
    let seconds: Option<u64> = setting("LOOM_MATRIX_SECONDS");
    let share = seconds.map_or(30, |seconds| (seconds / 20).clamp(5, 30));
    let case_seconds = Duration::from_secs(setting("LOOM_MATRIX_CASE_SECONDS").unwrap_or(share));
    let is_over = || seconds.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds));
    let (next, explored, runs) = (AtomicUsize::new(0), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let (failed, cut, slow) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let walk_some = || {
        while !is_over() {
            let Some(case) = cases.get(next.fetch_add(1, Relaxed)) else { return };
            let name = case.name();
            let mut builder = loom::model::Builder::new();
            builder.preemption_bound = builder.preemption_bound.or(Some(3));
            // Set-up and scan take a few thousand steps, with nothing to choose.
            builder.max_branches = 100_000;
            builder.max_duration = Some(case_seconds);
            builder.checkpoint_interval = 64;
            let (case, runs) = (case.clone(), runs.clone());
            let since = Instant::now();
            // A thread by the name of the case, so that whatever panics in it tells which it was.
            let explores = std::thread::Builder::new().name(name.clone()).spawn(move || {
                builder.check(move || {
                    runs.fetch_add(1, Relaxed);
                    case.run();
                });
            });
            let outcome = explores.expect("the system has a thread").join();
            let took = since.elapsed();
            explored.fetch_add(1, Relaxed);
            slow.lock().expect("never poisoned").push((took, name.clone()));
            if outcome.is_err() {
                failed.lock().expect("never poisoned").push(name);
            } else if took >= case_seconds {
                cut.lock().expect("never poisoned").push(name);
            }
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| _ = scope.spawn(walk_some));
    });
    let (mut failed, cut) = (failed.into_inner().unwrap(), cut.into_inner().unwrap());
    let mut slow = slow.into_inner().unwrap();
    slow.sort();
    println!(
        "{} of {} cases explored in {} interleavings and {:.1} s, by seed {seed}",
        explored.into_inner(),
        cases.len(),
        runs.load(Relaxed),
        begun.elapsed().as_secs_f64()
    );
    for (took, name) in slow.iter().rev().take(3) {
        println!("  slowest: {name}, {:.1} s", took.as_secs_f64());
    }
    if !cut.is_empty() {
        println!("  cut short after {case_seconds:?}, and so not explored to the end: {}", cut.join(" "));
    }
    failed.sort();
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed.join(" "));
}

/// Triples that are always walked, and first: what pairs cannot show, by what it was.
const TRIPLES: [&str; 4] = [
    // A published winner that stayed wrong and unmarked for good.
    "held/squeeze/release/reserve",
    // The like of it, by the other ways to count and to worsen.
    "held/narrow/release/reserve_with",
    "marked/degrade/lease_released/reserve_idle",
    "full/widen/release/find",
];

/// Every two calls, each with itself too, from every start; three by name, and by sample.
#[test]
fn matrix() {
    let named = |name: &str| Case::named(name).unwrap_or_else(|| panic!("no such case: {name}"));
    let seed = setting("LOOM_MATRIX_SEED").unwrap_or(1);
    if let Some(only) = setting::<String>("LOOM_MATRIX_ONLY") {
        return walk(seed, vec![named(&only)]);
    }
    let pairs = STARTS.iter().flat_map(|start| {
        let from = |at: usize| CALLS[at..].iter().map(move |other| vec![&CALLS[at], other]);
        (0..CALLS.len()).flat_map(from).map(move |calls| Case { start, calls })
    });
    let sample = |seed| {
        let mut rng = Rng(seed);
        let drawn = move |_| Case {
            start: &STARTS[rng.below(STARTS.len())],
            calls: (0..3).map(|_| &CALLS[rng.below(CALLS.len())]).collect(),
        };
        (0..setting("LOOM_MATRIX_TRIPLES").unwrap_or(0)).map(drawn)
    };
    // The same sample always, and one that goes with the seed.
    let mut cases: Vec<_> = pairs.chain(sample(1)).chain(sample(seed ^ 0x5eed)).collect();
    Rng(seed).shuffle(&mut cases);
    cases.splice(0..0, TRIPLES.map(named));
    walk(seed, cases);
}
