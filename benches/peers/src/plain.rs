//! Peer (a), the plain design: a locked map of hives, and a pick that lists the workers and takes the best.

use std::collections::HashMap;
use std::sync::RwLock;

use hive_registry::{Clock, HiveHeartbeatPayload, SystemClock, WorkerHealth, WorkerLifecycle};

use crate::fleet::{Fleet, LIVENESS_WINDOW, load};

/// One lock over everything.
pub(crate) struct Plain {
    hives: RwLock<HashMap<String, Hive>>,
}

struct Hive {
    last_heartbeat_ms: i64,
    workers: Vec<Worker>,
}

/// States and times are parsed already, so that a clone costs no more than it must: three strings, with the
/// hive's name a fourth.
#[derive(Clone)]
#[expect(dead_code, reason = "what a caller wants of a pick is carried along, and read by nobody here")]
pub(crate) struct Worker {
    worker_id: String,
    url: Option<String>,
    model_id: Option<String>,
    pub(crate) gpu_percent: Option<f32>,
    vram_bytes: Option<u64>,
    last_heartbeat_ms: i64,
    state: WorkerLifecycle,
    health: WorkerHealth,
}

impl Plain {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let at = fleet.at.timestamp_millis();
        let hive = |heartbeat: &HiveHeartbeatPayload| {
            let workers = heartbeat.workers.iter().map(|worker| Worker {
                worker_id: worker.worker_id.clone(),
                url: worker.url.clone(),
                model_id: worker.model_id.clone(),
                gpu_percent: worker.gpu_percent,
                vram_bytes: worker.vram_bytes,
                last_heartbeat_ms: at,
                state: WorkerLifecycle::parse(&worker.state),
                health: WorkerHealth::parse(&worker.health_status),
            });
            (heartbeat.hive_id.clone(), Hive { last_heartbeat_ms: at, workers: workers.collect() })
        };
        Self { hives: RwLock::new(fleet.heartbeats.iter().map(hive).collect()) }
    }

    /// Every worker of every live hive, copied out from under the lock.
    fn list_workers(&self) -> Vec<(String, Worker)> {
        let oldest = oldest_live();
        let hives = self.hives.read().expect("no writer panicked");
        let mut listed = Vec::with_capacity(hives.len() * 8);
        for (hive_id, hive) in hives.iter().filter(|(_, hive)| hive.last_heartbeat_ms > oldest) {
            listed.extend(hive.workers.iter().map(|worker| (hive_id.clone(), worker.clone())));
        }
        listed
    }

    /// The least loaded worker of the model, out of a copy of all.
    pub(crate) fn pick(&self, model: &str) -> Option<(String, Worker)> {
        let workers = self.list_workers().into_iter();
        workers.filter(|(_, worker)| worker.serves(model)).min_by_key(|(_, worker)| worker.key())
    }

    /// The same scan under the lock, which clones nothing but the winner.
    pub(crate) fn pick_in_place(&self, model: &str) -> Option<(String, Worker)> {
        let oldest = oldest_live();
        let hives = self.hives.read().expect("no writer panicked");
        let live = hives.iter().filter(|(_, hive)| hive.last_heartbeat_ms > oldest);
        let workers =
            live.flat_map(|(hive_id, hive)| hive.workers.iter().map(move |worker| (hive_id, worker)));
        let (hive_id, best) =
            workers.filter(|(_, worker)| worker.serves(model)).min_by_key(|(_, worker)| worker.key())?;
        Some((hive_id.clone(), best.clone()))
    }
}

impl Worker {
    fn serves(&self, model: &str) -> bool {
        self.model_id.as_deref() == Some(model)
            && matches!(self.state, WorkerLifecycle::Idle | WorkerLifecycle::Busy)
            && self.health != WorkerHealth::Unhealthy
    }

    /// Healthy first, then the lowest load, then idle.
    fn key(&self) -> (bool, u32, bool) {
        let degraded = self.health != WorkerHealth::Healthy;
        (degraded, load(self.gpu_percent), self.state != WorkerLifecycle::Idle)
    }
}

fn oldest_live() -> i64 {
    SystemClock.wall_ms() - LIVENESS_WINDOW.as_millis() as i64
}
