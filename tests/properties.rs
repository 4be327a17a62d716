//! Whatever happens in whatever order, at rest the registry answers as a plain scan would.
//!
//! After every step of a random sequence, for both liveness clocks and both stale modes:
//!
//! - every list, lookup, count and sum equals a scan of the newest heartbeats (C3), in order, live or not (C4);
//! - the newest heartbeat of a hive is the one with the greatest order key, however late, early or often the
//!   others came, and each outcome and refusal is the one the rules give (I1 to I4, I6);
//! - a bare worker id means the hive heard last (I5);
//! - age is counted on the chosen clock, wherever the wall clock jumps (L1), and no pick returns a worker of a
//!   silent hive unless told to (L2);
//! - an eviction takes the hives longest silent, of a fleet of 8 at most its share, and holds when most are
//!   silent (L3); a removed hive stays away as long as its tombstone bars it (L5);
//! - a pick and a reservation name exactly the worker that the order of S1 to S4 puts first, turns and
//!   registration order included, and `explain` counts the others under the reason that applies (S9);
//! - a policy chooses among the eligible and finds one if there is one (S8);
//! - no worker holds more than it takes, a reservation ends with its registration, its release or its lease,
//!   and none is counted twice (S5, S6).
//!
//! And apart from the sequences: heartbeats with distinct keys leave the same state in any order (I3).
//!
//! `PROPTEST_CASES` sets the number of cases.
#![cfg(not(loom))]

mod oracle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hive_registry::{
    Candidates, Capability, HeartbeatError, HeartbeatOutcome, HiveHealth, HiveHeartbeat,
    HiveHeartbeatPayload, HiveId, HiveInfo, HiveRegistry, LeastLoaded, LivenessClock, ManualClock,
    OperationalStatus, Policy, PowerOfChoices, ProcessStats, Random, Reservation, RoundRobin, StaleMode,
    WorkerInfo, WorkerState,
};
use oracle::{Evicted, Field, Oracle, Universe};
use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const START_MS: i64 = 1_761_040_800_000;
/// (group, instance), as the telemetry form makes worker ids of.
const WORKERS: [(&str, &str); 6] =
    [("llm", "8080"), ("llm", "8081"), ("sd", "8080"), ("a", "x"), ("b", "08"), ("z", "1")];
const MODELS: [&str; 3] = ["m0", "m1", "m2"];

// === what may happen ===

#[derive(Clone, Debug)]
enum Op {
    Plain(Key, Vec<Worker>, Option<Fault>),
    Telemetry(Key, Status, Vec<Process>),
    /// A heartbeat that was sent before, again; with other workers under the same key if there are any.
    Again(Index, Option<Vec<Worker>>),
    /// All hives at once, with the same workers.
    Wave(Vec<Worker>),
    UpdateWorkers(usize, Vec<Process>),
    Remove(usize),
    Evict(i64),
    Advance(i64),
    JumpWall(i64),
    Reserve(&'static str),
    Release(Index),
    Detach(&'static str, i64),
    Renew(Index, i64),
    ReleaseLease(Index),
    PickWith(&'static str, Chooser),
    ReserveWith(&'static str, Chooser),
}

/// The policies, and two of a user's own.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Chooser {
    LeastLoaded,
    PowerOfChoices(usize),
    RoundRobin,
    Random,
    /// The last that is eligible.
    Last,
    Nobody,
}

impl Policy for Chooser {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        match self {
            Self::LeastLoaded => LeastLoaded.choose(candidates),
            Self::PowerOfChoices(d) => PowerOfChoices { d: *d }.choose(candidates),
            Self::RoundRobin => RoundRobin.choose(candidates),
            Self::Random => Random.choose(candidates),
            Self::Last => (0..candidates.len()).rev().find(|at| candidates.get(*at).is_some()),
            Self::Nobody => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Key {
    hive: usize,
    /// The timestamp, against the wall clock.
    skew_ms: i64,
    pair: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
enum Fault {
    Timestamp,
    TwoOfOneId,
    NoPlaces,
    NoSeq,
    NoEpoch,
    OtherHive,
}

/// Index into `WORKERS`, and the rest.
type Worker = (usize, Look);
type Process = (usize, Stats);

/// None is the plain one.
type Form = Option<(Status, Vec<Process>)>;

#[derive(Clone, Debug)]
struct Look {
    state: &'static str,
    health: &'static str,
    model: Option<&'static str>,
    gpu_percent: Option<f32>,
    max_concurrency: Option<u32>,
    backend: Option<&'static str>,
    device_id: Option<u32>,
    vram_mb: Option<u64>,
    vram_total_mb: Option<u64>,
    ram_mb: Option<u64>,
}

#[derive(Clone, Debug)]
struct Stats {
    gpu_util_pct: f32,
    model: Option<&'static str>,
    vram_mb: u64,
    total_vram_mb: u64,
}

#[derive(Clone, Debug)]
struct Status {
    operational: OperationalStatus,
    health: HiveHealth,
    devices: Option<Vec<(&'static str, Option<f64>)>>,
}

// === how likely ===

fn skew() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => Just(0),
        6 => (-5..=5i64).prop_map(|s| s * 1_000),
        2 => (-40..=0i64).prop_map(|s| s * 1_000),
        1 => select(vec![-60_000, -60_001, -61_000, -125_000, -30_000, -29_999, 90_000]),
    ]
}

/// Some hives mostly send pairs, the others seldom.
fn key() -> impl Strategy<Value = Key> {
    (0..10usize, skew())
        .prop_flat_map(|(hive, skew_ms)| {
            let chance = if hive % 3 == 0 { 0.85 } else { 0.04 };
            (Just(hive), Just(skew_ms), weighted(chance, (1..4u64, 0..6u64)))
        })
        .prop_map(|(hive, skew_ms, pair)| Key { hive, skew_ms, pair })
}

fn model() -> impl Strategy<Value = &'static str> {
    select(MODELS.to_vec())
}

fn look() -> impl Strategy<Value = Look> {
    let state = prop_oneof![
        5 => Just("Idle"), 5 => Just("Busy"), 1 => Just("READY"), 1 => Just("loading"),
        1 => Just("stopping"), 1 => Just("thinking"),
    ];
    let health =
        prop_oneof![8 => Just("healthy"), 2 => Just("Degraded"), 1 => Just("unhealthy"), 1 => Just("odd")];
    let work = (
        state,
        health,
        weighted(0.85, model()),
        weighted(0.85, select(vec![0.0f32, 0.0, 12.5, 33.3, 50.0])),
        weighted(0.6, 1..4u32),
    );
    let memory = (
        weighted(0.5, select(vec!["cuda", "CPU", "tpu"])),
        weighted(0.5, 0..2u32),
        weighted(0.5, select(vec![0u64, 1_000, 9_000])),
        weighted(0.5, select(vec![8_000u64, 24_000])),
        weighted(0.5, 0..4_000u64),
    );
    (work, memory).prop_map(|(work, memory)| {
        let (state, health, model, gpu_percent, max_concurrency) = work;
        let (backend, device_id, vram_mb, vram_total_mb, ram_mb) = memory;
        Look {
            state,
            health,
            model,
            gpu_percent,
            max_concurrency,
            backend,
            device_id,
            vram_mb,
            vram_total_mb,
            ram_mb,
        }
    })
}

/// One of each id, in either order.
fn some_of<T: Clone + std::fmt::Debug>(
    each: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<(usize, T)>> {
    (btree_map(0..WORKERS.len(), each, 0..5), any::<bool>()).prop_map(|(some, backwards)| {
        let mut some: Vec<_> = some.into_iter().collect();
        if backwards {
            some.reverse();
        }
        some
    })
}

fn workers() -> impl Strategy<Value = Vec<Worker>> {
    some_of(look())
}

fn processes() -> impl Strategy<Value = Vec<Process>> {
    let stats = (select(vec![0.0f32, 0.0, 25.0, 50.0]), weighted(0.85, model()), 0..9_000u64, 1..3u64);
    some_of(stats.prop_map(|(gpu_util_pct, model, vram_mb, twelves)| Stats {
        gpu_util_pct,
        model,
        vram_mb,
        total_vram_mb: twelves * 12_000,
    }))
}

fn status() -> impl Strategy<Value = Status> {
    use OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
    let health = prop_oneof![
        6 => Just(HiveHealth::Healthy),
        1 => Just(HiveHealth::Degraded { reason: "hot".into() }),
        1 => Just(HiveHealth::Unhealthy { reason: "on fire".into() }),
    ];
    let device = (select(vec!["cuda", "cuda", "cpu", "metal"]), weighted(0.7, select(vec![24.0, 80.0])));
    (select(vec![Ready, Ready, Ready, Busy, Busy, Starting, Stopping, Stopped]), health)
        .prop_flat_map(move |(operational, health)| {
            (Just(operational), Just(health), weighted(0.5, vec(device.clone(), 0..3)))
        })
        .prop_map(|(operational, health, devices)| Status { operational, health, devices })
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::{NoEpoch, NoPlaces, NoSeq, OtherHive, Timestamp, TwoOfOneId};
    select(vec![Timestamp, TwoOfOneId, NoPlaces, NoSeq, NoEpoch, OtherHive])
}

fn op() -> impl Strategy<Value = Op> {
    let lease_ms = || select(vec![0, 1, 900, 5_000, 60_000]);
    prop_oneof![
        20 => (key(), workers(), weighted(0.06, fault())).prop_map(|(key, workers, fault)| Op::Plain(key, workers, fault)),
        12 => (key(), status(), processes()).prop_map(|(key, status, processes)| Op::Telemetry(key, status, processes)),
        5 => (any::<Index>(), weighted(0.5, workers())).prop_map(|(which, workers)| Op::Again(which, workers)),
        3 => workers().prop_map(Op::Wave),
        4 => (0..10usize, processes()).prop_map(|(hive, processes)| Op::UpdateWorkers(hive, processes)),
        3 => (0..10usize).prop_map(Op::Remove),
        4 => select(vec![0, 1, 5_000, 30_000, 60_000]).prop_map(Op::Evict),
        8 => select(vec![1, 500, 1_000, 2_000, 2_001, 4_000, 29_999, 30_000, 31_000, 61_000, 299_000, 600_000])
            .prop_map(Op::Advance),
        4 => select(vec![-120_000, -61_000, -31_000, -5_000, -1, 1, 5_000, 31_000, 120_000])
            .prop_map(Op::JumpWall),
        14 => model().prop_map(Op::Reserve),
        7 => any::<Index>().prop_map(Op::Release),
        6 => (model(), lease_ms()).prop_map(|(model, ms)| Op::Detach(model, ms)),
        3 => (any::<Index>(), lease_ms()).prop_map(|(which, ms)| Op::Renew(which, ms)),
        3 => any::<Index>().prop_map(Op::ReleaseLease),
        4 => (model(), chooser()).prop_map(|(model, chooser)| Op::PickWith(model, chooser)),
        6 => (model(), chooser()).prop_map(|(model, chooser)| Op::ReserveWith(model, chooser)),
    ]
}

fn chooser() -> impl Strategy<Value = Chooser> {
    use Chooser::{Last, LeastLoaded, Nobody, PowerOfChoices, Random, RoundRobin};
    select(vec![
        LeastLoaded,
        PowerOfChoices(0),
        PowerOfChoices(2),
        PowerOfChoices(40),
        RoundRobin,
        Random,
        Last,
        Nobody,
    ])
}

fn liveness() -> impl Strategy<Value = LivenessClock> {
    select(vec![LivenessClock::Reported, LivenessClock::Arrival])
}

fn stale_mode() -> impl Strategy<Value = StaleMode> {
    select(vec![StaleMode::Exclude, StaleMode::Ignore])
}

// === what hives send ===

fn hive_name(hive: usize) -> String {
    format!("hive-{hive}")
}

fn worker_name((group, instance): (&str, &str)) -> String {
    format!("{group}-{instance}")
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn states(workers: &[Worker], now: DateTime<Utc>) -> Vec<WorkerState> {
    let bytes = |mb: u64| mb << 20;
    workers
        .iter()
        .map(|(which, look)| WorkerState {
            worker_id: worker_name(WORKERS[*which]),
            state: look.state.into(),
            last_heartbeat: text(now),
            health_status: look.health.into(),
            url: look.device_id.map(|port| format!("http://10.0.0.1:{}", 9_000 + port)),
            model_id: look.model.map(Into::into),
            backend: look.backend.map(Into::into),
            device_id: look.device_id,
            vram_bytes: look.vram_mb.map(bytes),
            vram_total_bytes: look.vram_total_mb.map(bytes),
            ram_bytes: look.ram_mb.map(bytes),
            cpu_percent: None,
            gpu_percent: look.gpu_percent,
            max_concurrency: look.max_concurrency,
        })
        .collect()
}

fn plain(hive_id: &str, key: &Key, wall: DateTime<Utc>, workers: &[Worker]) -> HiveHeartbeatPayload {
    HiveHeartbeatPayload {
        hive_id: hive_id.into(),
        timestamp: text(wall + TimeDelta::milliseconds(key.skew_ms)),
        workers: states(workers, wall),
        epoch: key.pair.map(|(epoch, _)| epoch),
        seq: key.pair.map(|(_, seq)| seq),
    }
}

fn stats(processes: &[Process]) -> Vec<ProcessStats> {
    processes
        .iter()
        .map(|(which, stats)| ProcessStats {
            pid: 7,
            group: WORKERS[*which].0.into(),
            instance: WORKERS[*which].1.into(),
            cpu_pct: 3.0,
            rss_mb: 512,
            gpu_util_pct: stats.gpu_util_pct,
            vram_mb: stats.vram_mb,
            total_vram_mb: stats.total_vram_mb,
            model: stats.model.map(Into::into),
            ..Default::default()
        })
        .collect()
}

fn telemetry(
    hive_id: &str,
    key: &Key,
    wall: DateTime<Utc>,
    status: &Status,
    processes: &[Process],
) -> HiveHeartbeat {
    let device = |(kind, vram_gb): &(&str, Option<f64>)| Capability {
        id: "0".into(),
        name: "device".into(),
        device_type: (*kind).into(),
        vram_gb: *vram_gb,
        compute_capability: None,
    };
    HiveHeartbeat {
        hive: HiveInfo {
            id: hive_id.into(),
            hostname: format!("{hive_id}.local"),
            port: 9_200,
            operational_status: status.operational,
            health_status: status.health.clone(),
            version: "1".into(),
        },
        timestamp: text(wall + TimeDelta::milliseconds(key.skew_ms)),
        workers: stats(processes),
        capabilities: status.devices.as_ref().map(|devices| devices.iter().map(device).collect()),
        epoch: key.pair.map(|(epoch, _)| epoch),
        seq: key.pair.map(|(_, seq)| seq),
    }
}

impl Fault {
    fn spoil(&self, payload: &mut HiveHeartbeatPayload) {
        match self {
            Self::Timestamp => payload.timestamp = "noon".into(),
            Self::TwoOfOneId => payload.workers.extend(payload.workers.first().cloned()),
            Self::NoPlaces => payload.workers.iter_mut().for_each(|worker| worker.max_concurrency = Some(0)),
            Self::NoSeq => (payload.epoch, payload.seq) = (Some(1), None),
            Self::NoEpoch => (payload.epoch, payload.seq) = (None, Some(1)),
            Self::OtherHive => payload.hive_id.push('x'),
        }
    }
}

// === both at once ===

/// The registry and the oracle, driven alike.
struct Twins {
    registry: HiveRegistry,
    clock: ManualClock,
    oracle: Oracle,
    names: Universe,
    sent: Vec<Sent>,
    /// With the oracle's numbers.
    guards: Vec<(Reservation, u64)>,
    leases: Vec<(u64, u64)>,
}

#[derive(Clone)]
enum Sent {
    Plain(HiveHeartbeatPayload),
    Telemetry(HiveHeartbeat),
}

fn builder(liveness: LivenessClock, stale_mode: StaleMode, clock: &ManualClock) -> HiveRegistry {
    HiveRegistry::builder()
        .liveness_clock(liveness)
        .stale_mode(stale_mode)
        .clock(clock.clone())
        .seed(1)
        .shards(4)
        .build()
        .expect("the settings are in bounds")
}

fn field(result: Result<HeartbeatOutcome, HeartbeatError>) -> Result<HeartbeatOutcome, Field> {
    result.map_err(|error| match error {
        HeartbeatError::Malformed { field, .. } | HeartbeatError::Invalid { field, .. } => field,
        error => error.to_string(),
    })
}

fn agree<T: PartialEq + std::fmt::Debug>(what: &str, registry: T, oracle: T) -> Result<(), String> {
    if registry == oracle {
        return Ok(());
    }
    Err(format!("{what}:\n  registry {registry:?}\n  oracle   {oracle:?}"))
}

impl Twins {
    fn new(liveness: LivenessClock, stale_mode: StaleMode, hives: usize) -> Self {
        let clock = ManualClock::new(START_MS);
        Self {
            registry: builder(liveness, stale_mode, &clock),
            clock,
            oracle: Oracle::new(liveness, stale_mode, START_MS),
            names: Universe {
                hives: (0..hives).map(hive_name).collect(),
                workers: WORKERS.map(worker_name).to_vec(),
                models: MODELS.map(String::from).to_vec(),
            },
            sent: Vec::new(),
            guards: Vec::new(),
            leases: Vec::new(),
        }
    }

    fn hive(&self, hive: usize) -> String {
        self.names.hives[hive % self.names.hives.len()].clone()
    }

    fn send(&mut self, sent: Sent) -> Result<(), String> {
        match &sent {
            Sent::Plain(payload) => {
                let hive_id = payload.hive_id.trim_end_matches('x');
                agree(
                    "update_hive_state",
                    field(self.registry.update_hive_state(hive_id, payload.clone())),
                    self.oracle.update_hive_state(hive_id, payload),
                )?;
            }
            Sent::Telemetry(beat) => {
                let outcome = field(self.registry.update_hive(beat.clone()));
                agree("update_hive", outcome, self.oracle.update_hive(beat))?;
            }
        }
        self.sent.push(sent);
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let wall = self.oracle.wall();
        match op {
            Op::Plain(key, workers, fault) => {
                let mut payload = plain(&self.hive(key.hive), key, wall, workers);
                if let Some(fault) = fault {
                    fault.spoil(&mut payload);
                }
                self.send(Sent::Plain(payload))
            }
            Op::Telemetry(key, status, processes) => {
                self.send(Sent::Telemetry(telemetry(&self.hive(key.hive), key, wall, status, processes)))
            }
            Op::Again(which, workers) => {
                if self.sent.is_empty() {
                    return Ok(());
                }
                let mut again = which.get(&self.sent).clone();
                if let (Sent::Plain(payload), Some(workers)) = (&mut again, workers) {
                    payload.workers = states(workers, wall);
                }
                self.send(again)
            }
            Op::Wave(workers) => (0..self.names.hives.len()).try_for_each(|hive| {
                let key = Key { hive, skew_ms: 0, pair: None };
                self.send(Sent::Plain(plain(&hive_name(hive), &key, wall, workers)))
            }),
            Op::UpdateWorkers(hive, processes) => {
                let (hive_id, processes) = (self.hive(*hive), stats(processes));
                let outcome = field(self.registry.update_workers(&hive_id, processes.clone()));
                agree("update_workers", outcome, self.oracle.update_workers(&hive_id, &processes))
            }
            Op::Remove(hive) => {
                let hive_id = self.hive(*hive);
                agree("remove_hive", self.registry.remove_hive(&hive_id), self.oracle.remove_hive(&hive_id))
            }
            Op::Evict(age_ms) => {
                let told = self.registry.evict_stale(milliseconds(*age_ms));
                let told = Evicted { hives: told.hives, held: told.held, remaining: told.remaining };
                agree("evict_stale", told, self.oracle.evict_stale(*age_ms))
            }
            Op::Advance(by_ms) => {
                self.clock.advance(milliseconds(*by_ms));
                self.oracle.advance(*by_ms);
                Ok(())
            }
            Op::JumpWall(by_ms) => {
                self.clock.jump_wall(*by_ms);
                self.oracle.jump_wall(*by_ms);
                Ok(())
            }
            Op::Reserve(model) => self.reserve(model),
            Op::Release(which) => {
                if !self.guards.is_empty() {
                    let (guard, hold) = self.guards.swap_remove(which.index(self.guards.len()));
                    guard.release();
                    self.oracle.release(hold);
                }
                Ok(())
            }
            Op::Detach(model, lease_ms) => self.detach(model, *lease_ms),
            Op::Renew(which, lease_ms) => {
                // A number that was never given out, while there is none.
                let (id, hold) =
                    if self.leases.is_empty() { (u64::MAX, u64::MAX) } else { *which.get(&self.leases) };
                let renewed = self.registry.renew_lease(id, milliseconds(*lease_ms));
                agree("renew_lease", renewed, self.oracle.renew(hold, *lease_ms))
            }
            Op::ReleaseLease(which) => {
                // Stays listed, to be released and renewed again.
                let (id, hold) =
                    if self.leases.is_empty() { (u64::MAX, u64::MAX) } else { *which.get(&self.leases) };
                agree("release_lease", self.registry.release_lease(id), self.oracle.release(hold))
            }
            Op::PickWith(model, chooser) => {
                let chosen = self.registry.pick(model, chooser);
                self.choice("pick", model, *chooser, chosen.as_ref())
            }
            Op::ReserveWith(model, chooser) => {
                let guard = self.registry.reserve_with(model, chooser);
                let chosen =
                    guard.as_ref().map(|guard| (guard.hive_id().clone(), Arc::new(guard.worker().clone())));
                self.choice("reserve_with", model, *chooser, chosen.as_ref())?;
                let hold = chosen.and_then(|chosen| self.oracle.reserve_chosen(chosen));
                self.guards.extend(guard.zip(hold));
                Ok(())
            }
        }
    }

    fn reserve(&mut self, model: &str) -> Result<(), String> {
        let guard = self.registry.reserve_worker_for_model(model);
        let (hold, chosen) = self.oracle.reserve(model, None).unzip();
        let got = guard.as_ref().map(|guard| (guard.hive_id().clone(), guard.worker().clone()));
        agree("reserve_worker_for_model", got, chosen.map(|(hive, worker)| (hive, (*worker).clone())))?;
        self.guards.extend(guard.zip(hold));
        Ok(())
    }

    /// S8: a policy has the choice among the eligible, and nobody else is chosen.
    fn choice(
        &mut self,
        what: &str,
        model: &str,
        chooser: Chooser,
        chosen: Option<&(HiveId, Arc<WorkerInfo>)>,
    ) -> Result<(), String> {
        self.oracle.count_pick(chosen.is_some());
        let (what, best) = (format!("{what}({model}, {chooser:?})"), self.oracle.pick(model));
        match chooser {
            Chooser::LeastLoaded => agree(&what, chosen, best.as_ref()),
            Chooser::Nobody => agree(&what, chosen, None),
            _ => match chosen {
                None => agree(&what, None, best),
                Some(chosen) => {
                    let candidates = self.oracle.candidates(model);
                    agree(&format!("{what}: {chosen:?} is a candidate"), candidates.contains(chosen), true)
                }
            },
        }
    }

    fn detach(&mut self, model: &str, lease_ms: i64) -> Result<(), String> {
        let lease = self.registry.reserve_detached(model, milliseconds(lease_ms));
        let (hold, chosen) = self.oracle.reserve(model, Some(lease_ms)).unzip();
        let ends = chosen.is_some().then(|| self.oracle.wall() + TimeDelta::milliseconds(lease_ms));
        agree("expires_at", lease.as_ref().map(|lease| lease.expires_at), ends)?;
        let got = lease.as_ref().map(|lease| (lease.hive_id.clone(), lease.worker.clone()));
        agree("reserve_detached", got, chosen)?;
        let fresh = lease.map(|lease| lease.id);
        if fresh.is_some_and(|id| self.leases.iter().any(|(used, _)| *used == id)) {
            return Err(format!("lease {fresh:?} was given out twice"));
        }
        self.leases.extend(fresh.zip(hold));
        Ok(())
    }

    /// Picks first: the other questions release leases that ran out, which a pick must do by itself.
    fn compare(&mut self, picks: bool) -> Result<(), String> {
        if picks {
            self.oracle.compare_picks(&self.registry, &self.names)?;
        }
        self.oracle.compare(&self.registry, &self.names)
    }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

// === properties ===

/// 2,048 cases, or `PROPTEST_CASES`.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_048);
    ProptestConfig { cases, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Picks are compared after every step, or only now and then, so that several changes add up before a pick
    /// has the occasion to correct what it finds.
    #[test]
    fn answers_as_a_plain_scan_would(
        liveness in liveness(),
        stale_mode in stale_mode(),
        hives in 3..=10usize,
        picks_every in select(vec![1usize, 1, 3, 7]),
        ops in vec(op(), 1..=60),
    ) {
        let mut twins = Twins::new(liveness, stale_mode, hives);
        for (at, op) in ops.iter().enumerate() {
            let picks = at % picks_every == 0 || at + 1 == ops.len();
            let result = twins.step(op).and_then(|()| twins.compare(picks));
            prop_assert!(result.is_ok(), "step {at}, {op:?}\n{}", result.unwrap_err());
        }
        for (guard, hold) in std::mem::take(&mut twins.guards) {
            drop(guard);
            twins.oracle.release(hold);
        }
        twins.clock.advance(milliseconds(60_000));
        twins.oracle.advance(60_000);
        let result = twins.compare(true);
        prop_assert!(result.is_ok(), "at the end\n{}", result.unwrap_err());
        prop_assert_eq!(twins.registry.stats().reservations_open, 0);
    }

    /// I3, without a model: the clock stands, keys are distinct and within the window, each comes once or twice.
    #[test]
    fn heartbeats_leave_the_same_state_in_any_order(
        liveness in liveness(),
        pairs in any::<bool>(),
        beats in btree_map(-29..=29i64, (workers(), weighted(0.5, (status(), processes()))), 1..6)
            .prop_flat_map(|beats| {
                let beats: Vec<_> = beats.into_iter().collect();
                let twice: Vec<_> = beats.iter().cloned().chain(beats.iter().cloned()).collect();
                (Just(beats), Just(twice).prop_shuffle())
            }),
    ) {
        let clock = ManualClock::new(START_MS);
        let wall = DateTime::from_timestamp_millis(START_MS).expect("that is a time");
        let run = |beats: &[(i64, (Vec<Worker>, Form))]| {
            let registry = builder(liveness, StaleMode::Exclude, &clock);
            for (seconds, (workers, form)) in beats {
                let pair = pairs.then(|| (1, (seconds + 29) as u64));
                let key = Key { hive: 0, skew_ms: seconds * 1_000, pair };
                match form {
                    None => registry.update_hive_state("hive", plain("hive", &key, wall, workers)),
                    Some((status, processes)) => {
                        registry.update_hive(telemetry("hive", &key, wall, status, processes))
                    }
                }
                .expect("the heartbeat is in bounds");
            }
            let mut state = (*registry.get_hive_state("hive").expect("the hive is known")).clone();
            state.version = 0;
            let resources = registry.get_available_resources("hive");
            let mut loaded = BTreeMap::new();
            for model in MODELS {
                loaded.insert(model, registry.find_workers_by_model(model));
            }
            (state, resources, loaded, registry.find_idle_workers())
        };
        prop_assert_eq!(run(&beats.0), run(&beats.1));
    }
}
