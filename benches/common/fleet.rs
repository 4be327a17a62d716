//! Fleets, and heartbeats that change as real ones do.
#![allow(dead_code, reason = "each bench uses its part")]

use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use hive_registry::{
    Capability, HiveHeartbeat, HiveHeartbeatPayload, HiveInfo, HiveRegistry, HiveRegistryBuilder,
    ProcessStats, WorkerState,
};

/// Workers of each hive.
pub const WORKERS: usize = 8;
/// Models over which they are spread.
pub const MODELS: usize = 20;
/// Between hives that are visited one after the other: coprime with the sizes used, and far apart in memory.
pub const STRIDE: usize = 7_919;

pub fn model(n: usize) -> String {
    format!("vendor/model-{n}b-instruct")
}

pub fn hive_id(hive: usize) -> String {
    format!("hive-{hive}")
}

pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The default clock, ages and hasher. An hour's window, so that nothing ages meanwhile: the clock is read and
/// compared as always.
pub fn builder() -> HiveRegistryBuilder {
    HiveRegistry::builder().liveness_window(Duration::from_secs(3_600)).seed(1)
}

pub fn empty() -> HiveRegistry {
    builder().build().expect("the settings are in bounds")
}

/// A worker with every field set.
pub fn worker(hive: usize, worker: usize, timestamp: &str) -> WorkerState {
    WorkerState {
        worker_id: format!("worker-{worker}"),
        state: "Idle".into(),
        last_heartbeat: timestamp.into(),
        health_status: "healthy".into(),
        url: Some(format!("http://10.{}.{}.{}:930{worker}", hive >> 16, hive >> 8 & 255, hive & 255)),
        model_id: Some(model((hive * WORKERS + worker) % MODELS)),
        backend: Some("cuda".into()),
        device_id: Some(worker as u32),
        vram_bytes: Some(8 << 30),
        vram_total_bytes: Some(24 << 30),
        ram_bytes: Some(4 << 30),
        cpu_percent: Some(12.5),
        gpu_percent: Some(gpu(hive, worker, 0)),
        max_concurrency: Some(64),
    }
}

/// Another for each generation.
fn gpu(hive: usize, worker: usize, generation: u32) -> f32 {
    ((hive * 31 + worker * 17 + generation as usize * 13) % 100) as f32
}

pub fn heartbeat(hive: usize, workers: usize) -> HiveHeartbeatPayload {
    let timestamp = now();
    HiveHeartbeatPayload {
        hive_id: hive_id(hive),
        workers: (0..workers).map(|n| worker(hive, n, &timestamp)).collect(),
        timestamp,
        ..Default::default()
    }
}

/// The other form, likewise with every field set.
pub fn telemetry(hive: usize, workers: usize) -> HiveHeartbeat {
    let process = |n: usize| ProcessStats {
        pid: 4_000 + n as u32,
        group: "llm-inference".into(),
        instance: format!("{}", 9_300 + n).into(),
        cpu_pct: 112.5,
        rss_mb: 4_096,
        io_r_mb_s: 1.25,
        io_w_mb_s: 0.5,
        uptime_s: 86_400,
        gpu_util_pct: Some(gpu(hive, n, 0)),
        vram_mb: 8_192,
        total_vram_mb: 24_576,
        model: Some(model((hive * WORKERS + n) % MODELS).into()),
    };
    let device = |n: usize| Capability {
        id: format!("GPU-{n}"),
        name: "NVIDIA GeForce RTX 4090".into(),
        device_type: "cuda".into(),
        vram_gb: Some(24.0),
        compute_capability: Some("8.9".into()),
    };
    HiveHeartbeat {
        hive: HiveInfo {
            id: hive_id(hive),
            hostname: format!("10.{}.{}.{}", hive >> 16, hive >> 8 & 255, hive & 255),
            port: 9_200,
            version: "0.1.0".into(),
            ..Default::default()
        },
        timestamp: now(),
        workers: Some((0..workers).map(process).collect()),
        capabilities: Some((0..workers).map(device).collect()),
        ..Default::default()
    }
}

pub fn apply(registry: &HiveRegistry, payload: HiveHeartbeatPayload) {
    let hive_id = payload.hive_id.clone();
    registry.update_hive_state(&hive_id, payload).expect("the heartbeat is in bounds");
}

/// `hives` of 8 workers, each as `change` leaves it.
pub fn fleet_with(hives: usize, mut change: impl FnMut(usize, &mut WorkerState)) -> HiveRegistry {
    let registry = empty();
    for hive in 0..hives {
        let mut payload = heartbeat(hive, WORKERS);
        payload.workers.iter_mut().for_each(|worker| change(hive, worker));
        apply(&registry, payload);
    }
    registry
}

pub fn fleet(hives: usize, state: &str) -> HiveRegistry {
    fleet_with(hives, |_, worker| worker.state = state.into())
}

/// Heartbeats of a fleet, hive after hive far apart.
pub struct Beats {
    turn: usize,
    /// By hive: how often its keys changed.
    generations: Vec<u32>,
}

impl Beats {
    pub fn of(hives: usize) -> Self {
        Self { turn: 0, generations: vec![0; hives] }
    }

    fn next(&mut self, changes: bool) -> (usize, u32) {
        let hives = self.generations.len();
        self.turn = (self.turn + STRIDE) % hives;
        if changes {
            self.generations[self.turn] += 1;
        }
        (self.turn, self.generations[self.turn])
    }

    /// One in which the keys of the first `changed` workers are others than before, and every `last_heartbeat`.
    pub fn plain(&mut self, changed: usize) -> HiveHeartbeatPayload {
        let (hive, generation) = self.next(changed > 0);
        let mut payload = heartbeat(hive, WORKERS);
        for (n, worker) in payload.workers.iter_mut().enumerate().take(changed) {
            worker.gpu_percent = Some(gpu(hive, n, generation));
        }
        payload
    }

    /// The other form, all keys changed.
    pub fn telemetry(&mut self) -> HiveHeartbeat {
        let (hive, generation) = self.next(true);
        let mut beat = telemetry(hive, WORKERS);
        for (n, process) in beat.workers.iter_mut().flatten().enumerate() {
            process.gpu_util_pct = Some(gpu(hive, n, generation));
        }
        beat
    }
}
