//! What the integration tests share: a registry on a clock that stands still, and short ways to write
//! heartbeats.

#![cfg(not(loom))]
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use hive_registry::{
    HeartbeatOutcome, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, HiveRegistry, HiveRegistryBuilder,
    ManualClock, ProcessStats, WorkerInfo, WorkerState,
};

/// 2025-10-21T10:00:00Z: what the clock of [`registry`] shows at first.
pub const T0: i64 = 1_761_040_800_000;

/// A registry with the defaults, on a clock that shows [`T0`].
pub fn registry() -> (HiveRegistry, ManualClock) {
    registry_with(|builder| builder)
}

/// The same, configured further.
pub fn registry_with(
    configure: impl FnOnce(HiveRegistryBuilder) -> HiveRegistryBuilder,
) -> (HiveRegistry, ManualClock) {
    let clock = ManualClock::new(T0);
    let builder = HiveRegistry::builder().clock(clock.clone()).seed(1);
    (configure(builder).build().expect("the configuration is valid"), clock)
}

/// RFC 3339 with milliseconds.
pub fn stamp(ms: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(ms).expect("a time that chrono knows");
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A heartbeat in the plain form, made at `at_ms`.
pub fn beat(hive: &str, at_ms: i64, workers: Vec<WorkerState>) -> HiveHeartbeatPayload {
    HiveHeartbeatPayload { hive_id: hive.into(), timestamp: stamp(at_ms), workers, ..Default::default() }
}

/// The same, with a pair.
pub fn paired(
    hive: &str,
    at_ms: i64,
    (epoch, seq): (u64, u64),
    workers: Vec<WorkerState>,
) -> HiveHeartbeatPayload {
    HiveHeartbeatPayload { epoch: Some(epoch), seq: Some(seq), ..beat(hive, at_ms, workers) }
}

/// An idle, healthy worker with the model loaded, at 10 % of its GPU.
pub fn worker(id: &str, model: &str) -> WorkerState {
    WorkerState {
        worker_id: id.into(),
        last_heartbeat: stamp(T0),
        url: Some(format!("http://10.0.0.1/{id}")),
        model_id: Some(model.into()),
        backend: Some("cuda".into()),
        gpu_percent: Some(10.0),
        ..Default::default()
    }
}

/// The same in another lifecycle state.
pub fn worker_in(state: &str, id: &str, model: &str) -> WorkerState {
    WorkerState { state: state.into(), ..worker(id, model) }
}

/// A worker of which nothing is told but its name.
pub fn bare_worker(id: &str) -> WorkerState {
    WorkerState { worker_id: id.into(), ..Default::default() }
}

/// A heartbeat in the telemetry form, of a ready and healthy hive.
pub fn telemetry(hive: &str, at_ms: i64, processes: Vec<ProcessStats>) -> HiveHeartbeat {
    HiveHeartbeat {
        hive: HiveInfo {
            id: hive.into(),
            hostname: format!("{hive}.example"),
            port: 8_600,
            version: "1.0.0".into(),
            ..Default::default()
        },
        timestamp: stamp(at_ms),
        workers: Some(processes),
        ..Default::default()
    }
}

/// An idle process with the model loaded; its worker id is "group-instance".
pub fn process(group: &str, instance: &str, model: &str) -> ProcessStats {
    ProcessStats {
        pid: 4_242,
        group: group.into(),
        instance: instance.into(),
        cpu_pct: 12.5,
        rss_mb: 512,
        uptime_s: 60,
        gpu_util_pct: Some(0.0),
        vram_mb: 4_096,
        total_vram_mb: 24_576,
        model: Some(model.into()),
        ..Default::default()
    }
}

/// Applies a plain heartbeat, which must not be refused.
pub fn apply(registry: &HiveRegistry, payload: HiveHeartbeatPayload) -> HeartbeatOutcome {
    let hive_id = payload.hive_id.clone();
    registry.update_hive_state(&hive_id, payload).expect("the heartbeat is valid")
}

/// "hive/worker" of a pick or a lookup.
pub fn name<H: AsRef<str>>(found: Option<(H, Arc<WorkerInfo>)>) -> Option<String> {
    found.map(|(hive, worker)| format!("{}/{}", hive.as_ref(), worker.worker_id))
}

/// "hive/worker" of each in a list.
pub fn names<H: AsRef<str>>(list: Vec<(H, Arc<WorkerInfo>)>) -> Vec<String> {
    list.into_iter().filter_map(|found| name(Some(found))).collect()
}

/// splitmix64 (Steele, Lea, Flood 2014): the same numbers for the same seed.
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
