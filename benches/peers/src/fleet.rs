//! The fleet that all see: heartbeats as `benches/pick.rs` makes them, and the registry built from them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use hive_registry::{HiveHeartbeatPayload, HiveRegistry, LivenessClock, StaleMode, WorkerInfo, WorkerState};

/// Long, so that nothing ages while a cell is measured; the clock is read and compared as always.
pub(crate) const LIVENESS_WINDOW: Duration = Duration::from_secs(3_600);

/// Every hive's one heartbeat, in the order in which all build from them.
pub(crate) struct Fleet {
    pub(crate) heartbeats: Vec<HiveHeartbeatPayload>,
    /// The models asked for, in turn.
    pub(crate) models: Vec<String>,
    /// The moment of the heartbeats.
    pub(crate) at: DateTime<Utc>,
}

impl Fleet {
    /// Idle, healthy workers over so many models, of loads that differ.
    pub(crate) fn new(hives: usize, workers_each: usize, models: usize) -> Self {
        let at = Utc::now();
        let timestamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let models: Vec<_> = (0..models).map(|n| format!("vendor/model-{n}b-instruct")).collect();
        let heartbeat = |hive: usize| {
            let worker = |worker: usize| WorkerState {
                worker_id: format!("worker-{worker}"),
                state: "Idle".into(),
                last_heartbeat: timestamp.clone(),
                url: Some(format!("http://10.{}.{}.{}:9300", hive >> 16, hive >> 8 & 255, hive & 255)),
                model_id: Some(models[(hive * workers_each + worker) % models.len()].clone()),
                gpu_percent: Some(((hive * 31 + worker * 17) % 100) as f32),
                vram_bytes: Some(8 << 30),
                ..Default::default()
            };
            HiveHeartbeatPayload {
                hive_id: format!("hive-{hive}"),
                timestamp: timestamp.clone(),
                workers: (0..workers_each).map(worker).collect(),
                ..Default::default()
            }
        };
        Self { heartbeats: (0..hives).map(heartbeat).collect(), models, at }
    }

    /// What is measured as ours: default settings and clock, as in `benches/pick.rs`.
    pub(crate) fn registry(&self) -> HiveRegistry {
        let registry = HiveRegistry::builder()
            .liveness_window(LIVENESS_WINDOW)
            .liveness_clock(LivenessClock::Reported)
            .stale_mode(StaleMode::Exclude)
            .seed(1)
            .build()
            .expect("the settings are in bounds");
        for heartbeat in &self.heartbeats {
            registry
                .update_hive_state(&heartbeat.hive_id, heartbeat.clone())
                .expect("the heartbeat is in bounds");
        }
        registry
    }

    pub(crate) fn workers(&self) -> usize {
        self.heartbeats.iter().map(|heartbeat| heartbeat.workers.len()).sum()
    }

    /// Workers of the first model; the others have as many, give or take one.
    pub(crate) fn workers_of_a_model(&self) -> usize {
        self.workers().div_ceil(self.models.len())
    }
}

/// What the registry's default rule ranks by while nothing is reserved (S3), in thousandths of a percent.
pub(crate) fn load(gpu_percent: Option<f32>) -> u32 {
    (gpu_percent.unwrap_or(100.0) * 1_000.0) as u32
}

/// The load of the registry's choice, for the peer's to be compared with.
pub(crate) fn best_load(registry: &HiveRegistry, model: &str) -> u32 {
    let (_, best): (_, std::sync::Arc<WorkerInfo>) =
        registry.find_best_worker_for_model(model).expect("every model has workers");
    assert_eq!(best.model_id.as_deref(), Some(model));
    load(best.gpu_percent)
}
