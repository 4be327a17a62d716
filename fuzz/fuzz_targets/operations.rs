//! Any sequence of calls, against the plain map and the plain scan of the property tests: every question must
//! be answered alike after every call.
#![no_main]

#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use std::fmt::Debug;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hive_registry::{
    Capability, HeartbeatError, HeartbeatOutcome, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo,
    HiveRegistry, LivenessClock, ManualClock, OperationalStatus, ProcessStats, Reservation, StaleMode,
    WorkerState,
};
use libfuzzer_sys::fuzz_target;
use oracle::{Evicted, Field, Oracle, Universe};

const START_MS: i64 = 1_761_040_800_000;
/// Every question is asked after every call, so long sequences tell little for their time.
const MOST_OPS: usize = 48;
/// (group, instance), as the telemetry form makes worker ids of.
const WORKERS: [(&str, &str); 6] =
    [("llm", "8080"), ("llm", "8081"), ("sd", "8080"), ("a", "x"), ("b", "08"), ("z", "1")];
const MODELS: [&str; 3] = ["m0", "m1", "m2"];

#[derive(Arbitrary, Debug)]
struct Input {
    arrival: bool,
    ignore_stale: bool,
    hives: Among<3, 10>,
    /// A pick corrects what it finds, so it must not always come between two changes.
    picks_every: Among<1, 7>,
    ops: Vec<Op>,
}

/// A number from `LEAST` to `MOST`.
#[derive(Clone, Copy, Debug)]
struct Among<const LEAST: i64, const MOST: i64>(i64);

impl<'a, const LEAST: i64, const MOST: i64> Arbitrary<'a> for Among<LEAST, MOST> {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        u.int_in_range(LEAST..=MOST).map(Self)
    }
}

impl<const LEAST: i64, const MOST: i64> Among<LEAST, MOST> {
    fn of<T: Copy>(self, some: &[T]) -> T {
        some[self.0.unsigned_abs() as usize % some.len()]
    }
}

type Name = Among<0, 9>;
type Choice = Among<0, 15>;

#[derive(Arbitrary, Debug)]
enum Op {
    Plain(Key, Vec<Look>, Fault),
    Telemetry(Key, Status, Vec<Stats>),
    /// A heartbeat that was sent before, again.
    Again(u8),
    UpdateWorkers(Name, Vec<Stats>),
    /// All hives at once, with the same workers.
    Wave(Vec<Look>),
    Remove(Name),
    Evict(Choice),
    Advance(Choice),
    JumpWall(Choice),
    Reserve(Choice),
    Release(u8),
    Detach(Choice, Choice),
    Renew(u8, Choice),
    ReleaseLease(u8),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Key {
    hive: Name,
    skew: Choice,
    pair: Option<(Among<1, 3>, Among<0, 5>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fault {
    None,
    Fine,
    Timestamp,
    TwoOfOneId,
    NoPlaces,
    NoSeq,
    NoEpoch,
    OtherHive,
}

/// A worker of the plain form; several of one id in a list count once.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Look {
    which: Among<0, 5>,
    state: Choice,
    health: Choice,
    model: Choice,
    gpu: Choice,
    places: Choice,
    backend: Choice,
    device: Choice,
    memory: Choice,
}

/// A worker of the telemetry form.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Stats {
    which: Among<0, 5>,
    model: Choice,
    gpu: Choice,
    memory: Choice,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Status {
    operational: Choice,
    health: Choice,
    devices: Option<(Choice, Choice)>,
}

// === what hives send ===

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn stamp(key: &Key, wall: DateTime<Utc>) -> String {
    let skew_ms = key.skew.of(&[
        0, 0, 0, 1_000, -1_000, 5_000, -5_000, -29_999, -30_000, -40_000, -60_000, -60_001, -61_000,
        -125_000, 90_000, 1,
    ]);
    text(wall + TimeDelta::milliseconds(skew_ms))
}

fn once<T: Copy>(some: &[T], which: fn(&T) -> usize) -> Vec<T> {
    let mut seen = [false; WORKERS.len()];
    some.iter().filter(|one| !std::mem::replace(&mut seen[which(one)], true)).copied().collect()
}

fn states(looks: &[Look], now: DateTime<Utc>) -> Vec<WorkerState> {
    let each = |look: Look| {
        let (group, instance) = look.which.of(&WORKERS);
        let device_id = look.device.of(&[None, Some(0), Some(1)]);
        let (vram_mb, total_mb, ram_mb) = look.memory.of(&[
            (None, None, None),
            (Some(0), Some(8_000), Some(1)),
            (Some(1_000), Some(24_000), None),
            (Some(9_000), Some(8_000), Some(4_000)),
            (Some(9_000), None, Some(0)),
            (None, Some(24_000), None),
        ]);
        let bytes = |mb: u64| mb << 20;
        WorkerState {
            worker_id: format!("{group}-{instance}"),
            state: look
                .state
                .of(&["Idle", "Busy", "Idle", "Busy", "READY", "loading", "stopping", "odd"])
                .into(),
            last_heartbeat: text(now),
            health_status: look.health.of(&["healthy", "healthy", "Degraded", "unhealthy", "odd"]).into(),
            url: device_id.map(|port| format!("http://10.0.0.1:{}", 9_000 + port)),
            model_id: look.model.of(&[Some("m0"), Some("m1"), Some("m2"), None]).map(Into::into),
            backend: look.backend.of(&[None, Some("cuda"), Some("CPU"), Some("tpu")]).map(Into::into),
            device_id,
            vram_bytes: vram_mb.map(bytes),
            vram_total_bytes: total_mb.map(bytes),
            ram_bytes: ram_mb.map(bytes),
            cpu_percent: None,
            gpu_percent: look.gpu.of(&[Some(0.0), Some(0.0), Some(12.5), Some(33.3), Some(50.0), None]),
            max_concurrency: look.places.of(&[None, Some(1), Some(2), Some(3)]),
        }
    };
    once(looks, |look| look.which.0 as usize).into_iter().map(each).collect()
}

fn processes(stats: &[Stats]) -> Vec<ProcessStats> {
    let each = |stats: Stats| {
        let (group, instance) = stats.which.of(&WORKERS);
        let (vram_mb, total_vram_mb) =
            stats.memory.of(&[(0, 12_000), (1_000, 24_000), (9_000, 8_000), (0, 0)]);
        ProcessStats {
            pid: 7,
            group: group.into(),
            instance: instance.into(),
            cpu_pct: 3.0,
            rss_mb: 512,
            gpu_util_pct: stats.gpu.of(&[0.0, 0.0, 25.0, 50.0]),
            vram_mb,
            total_vram_mb,
            model: stats.model.of(&[Some("m0"), Some("m1"), Some("m2"), None]).map(Into::into),
            ..Default::default()
        }
    };
    once(stats, |stats| stats.which.0 as usize).into_iter().map(each).collect()
}

fn plain(hive_id: &str, key: &Key, wall: DateTime<Utc>, looks: &[Look]) -> HiveHeartbeatPayload {
    HiveHeartbeatPayload {
        hive_id: hive_id.into(),
        timestamp: stamp(key, wall),
        workers: states(looks, wall),
        epoch: key.pair.map(|(epoch, _)| epoch.0.unsigned_abs()),
        seq: key.pair.map(|(_, seq)| seq.0.unsigned_abs()),
    }
}

fn telemetry(
    hive_id: &str,
    key: &Key,
    wall: DateTime<Utc>,
    status: &Status,
    stats: &[Stats],
) -> HiveHeartbeat {
    use OperationalStatus::{Busy, Ready, Starting, Stopped, Stopping};
    let device = |which: Choice| {
        let (kind, vram_gb) =
            which.of(&[("cuda", Some(24.0)), ("cuda", None), ("cpu", Some(80.0)), ("metal", Some(24.0))]);
        Capability {
            id: "0".into(),
            name: "device".into(),
            device_type: kind.into(),
            vram_gb,
            compute_capability: None,
        }
    };
    HiveHeartbeat {
        hive: HiveInfo {
            id: hive_id.into(),
            hostname: format!("{hive_id}.local"),
            port: 9_200,
            operational_status: status.operational.of(&[Ready, Ready, Busy, Starting, Stopping, Stopped]),
            health_status: match status.health.0 {
                0 => HiveHealth::Degraded { reason: "hot".into() },
                1 => HiveHealth::Unhealthy { reason: "on fire".into() },
                _ => HiveHealth::Healthy,
            },
            version: "1".into(),
        },
        timestamp: stamp(key, wall),
        workers: processes(stats),
        capabilities: status.devices.map(|(one, other)| vec![device(one), device(other)]),
        epoch: key.pair.map(|(epoch, _)| epoch.0.unsigned_abs()),
        seq: key.pair.map(|(_, seq)| seq.0.unsigned_abs()),
    }
}

impl Fault {
    fn spoil(self, payload: &mut HiveHeartbeatPayload) {
        match self {
            Self::None | Self::Fine => {}
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

#[track_caller]
fn agree<T: PartialEq + Debug>(registry: T, oracle: T) {
    assert_eq!(registry, oracle, "the registry's and the oracle's");
}

#[track_caller]
fn hold(compared: Result<(), String>) {
    if let Err(difference) = compared {
        panic!("{difference}");
    }
}

fn field(result: Result<HeartbeatOutcome, HeartbeatError>) -> Result<HeartbeatOutcome, Field> {
    result.map_err(|error| match error {
        HeartbeatError::Malformed { field, .. } | HeartbeatError::Invalid { field, .. } => field,
        error => error.to_string(),
    })
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

fn lease_ms(choice: Choice) -> i64 {
    choice.of(&[0, 1, 900, 5_000, 60_000])
}

impl Twins {
    fn new(input: &Input) -> Self {
        let liveness = if input.arrival { LivenessClock::Arrival } else { LivenessClock::Reported };
        let stale_mode = if input.ignore_stale { StaleMode::Ignore } else { StaleMode::Exclude };
        let clock = ManualClock::new(START_MS);
        let builder = HiveRegistry::builder().liveness_clock(liveness).stale_mode(stale_mode);
        let builder = builder.clock(clock.clone()).seed(1).shards(4);
        Self {
            registry: builder.build().expect("the settings are in bounds"),
            clock,
            oracle: Oracle::new(liveness, stale_mode, START_MS),
            names: Universe {
                hives: (0..input.hives.0).map(|hive| format!("hive-{hive}")).collect(),
                workers: WORKERS.map(|(group, instance)| format!("{group}-{instance}")).to_vec(),
                models: MODELS.map(String::from).to_vec(),
            },
            sent: Vec::new(),
            guards: Vec::new(),
            leases: Vec::new(),
        }
    }

    fn hive(&self, name: Name) -> String {
        self.names.hives[name.0.unsigned_abs() as usize % self.names.hives.len()].clone()
    }

    fn send(&mut self, sent: Sent) {
        match &sent {
            Sent::Plain(payload) => {
                let id = payload.hive_id.trim_end_matches('x');
                let outcome = field(self.registry.update_hive_state(id, payload.clone()));
                agree(outcome, self.oracle.update_hive_state(id, payload));
            }
            Sent::Telemetry(beat) => {
                agree(field(self.registry.update_hive(beat.clone())), self.oracle.update_hive(beat));
            }
        }
        self.sent.push(sent);
    }

    fn step(&mut self, op: &Op) {
        let wall = self.oracle.wall();
        match op {
            Op::Plain(key, looks, fault) => {
                let mut payload = plain(&self.hive(key.hive), key, wall, looks);
                fault.spoil(&mut payload);
                self.send(Sent::Plain(payload));
            }
            Op::Telemetry(key, status, stats) => {
                self.send(Sent::Telemetry(telemetry(&self.hive(key.hive), key, wall, status, stats)));
            }
            Op::Again(which) => {
                if !self.sent.is_empty() {
                    self.send(self.sent[usize::from(*which) % self.sent.len()].clone());
                }
            }
            Op::Wave(looks) => {
                for hive_id in self.names.hives.clone() {
                    let key = Key { hive: Among(0), skew: Among(0), pair: None };
                    self.send(Sent::Plain(plain(&hive_id, &key, wall, looks)));
                }
            }
            Op::UpdateWorkers(name, stats) => {
                let (hive_id, processes) = (self.hive(*name), processes(stats));
                let outcome = field(self.registry.update_workers(&hive_id, processes.clone()));
                agree(outcome, self.oracle.update_workers(&hive_id, &processes));
            }
            Op::Remove(name) => {
                let hive_id = self.hive(*name);
                agree(self.registry.remove_hive(&hive_id), self.oracle.remove_hive(&hive_id));
            }
            Op::Evict(age) => {
                let age_ms = age.of(&[0, 1, 5_000, 30_000, 60_000]);
                let told = self.registry.evict_stale(milliseconds(age_ms));
                let told = Evicted { hives: told.hives, held: told.held, remaining: told.remaining };
                agree(told, self.oracle.evict_stale(age_ms));
            }
            Op::Advance(by) => {
                let by_ms = by.of(&[
                    1, 500, 1_000, 2_000, 2_001, 4_000, 29_999, 30_000, 31_000, 61_000, 299_000, 600_000,
                ]);
                self.clock.advance(milliseconds(by_ms));
                self.oracle.advance(by_ms);
            }
            Op::JumpWall(by) => {
                let by_ms = by.of(&[-120_000, -61_000, -31_000, -5_000, -1, 1, 5_000, 31_000, 120_000]);
                self.clock.jump_wall(by_ms);
                self.oracle.jump_wall(by_ms);
            }
            Op::Reserve(model) => self.reserve(model.of(&MODELS)),
            Op::Release(which) => {
                if !self.guards.is_empty() {
                    let (guard, hold) = self.guards.swap_remove(usize::from(*which) % self.guards.len());
                    guard.release();
                    self.oracle.release(hold);
                }
            }
            Op::Detach(model, lease) => self.detach(model.of(&MODELS), lease_ms(*lease)),
            Op::Renew(which, lease) => {
                let ((id, hold), lease_ms) = (self.lease(*which), lease_ms(*lease));
                let renewed = self.registry.renew_lease(id, milliseconds(lease_ms));
                agree(renewed, self.oracle.renew(hold, lease_ms));
            }
            Op::ReleaseLease(which) => {
                let (id, hold) = self.lease(*which);
                agree(self.registry.release_lease(id), self.oracle.release(hold));
            }
        }
    }

    /// Released ones too; a number that was never given out, while there is none.
    fn lease(&self, which: u8) -> (u64, u64) {
        match self.leases.len() {
            0 => (u64::MAX, u64::MAX),
            leases => self.leases[usize::from(which) % leases],
        }
    }

    fn reserve(&mut self, model: &str) {
        let guard = self.registry.reserve_worker_for_model(model);
        let (hold, chosen) = self.oracle.reserve(model, None).unzip();
        let got = guard.as_ref().map(|guard| (guard.hive_id().clone(), guard.worker().clone()));
        agree(got, chosen.map(|(hive, worker)| (hive, (*worker).clone())));
        self.guards.extend(guard.zip(hold));
    }

    fn detach(&mut self, model: &str, lease_ms: i64) {
        let lease = self.registry.reserve_detached(model, milliseconds(lease_ms));
        let (hold, chosen) = self.oracle.reserve(model, Some(lease_ms)).unzip();
        agree(lease.as_ref().map(|lease| (lease.hive_id.clone(), lease.worker.clone())), chosen);
        let fresh = lease.map(|lease| lease.id);
        assert!(self.leases.iter().all(|(used, _)| Some(*used) != fresh), "a lease was given out twice");
        self.leases.extend(fresh.zip(hold));
    }

    /// Picks first: the other questions release leases that ran out, which a pick must do by itself.
    fn compare(&mut self, picks: bool) {
        if picks {
            hold(self.oracle.compare_picks(&self.registry, &self.names));
        }
        hold(self.oracle.compare(&self.registry, &self.names));
    }
}

fuzz_target!(|input: Input| {
    let mut twins = Twins::new(&input);
    for (at, op) in input.ops.iter().take(MOST_OPS).enumerate() {
        twins.step(op);
        twins.compare((at as i64 + 1) % input.picks_every.0 == 0);
    }
    for (guard, hold) in std::mem::take(&mut twins.guards) {
        drop(guard);
        twins.oracle.release(hold);
    }
    // Past the longest lease.
    twins.clock.advance(milliseconds(60_000));
    twins.oracle.advance(60_000);
    twins.compare(true);
    assert_eq!(twins.registry.stats().reservations_open, 0);
});
