//! The public face, workers.

use std::sync::Arc;

use super::HiveRegistry;
use crate::index::Entry;
use crate::names::HiveId;
use crate::resources::Devices;
use crate::state::{Backend, WorkerInfo};
use crate::wire::ProcessStats;

/// # Workers
///
/// Lists are ordered by hive id, then worker id. `list_` and `get_` tell what is registered, live or not; `find_` names
/// who could be given work, so under [`StaleMode::Exclude`](crate::StaleMode) workers of live hives only (C4).
impl HiveRegistry {
    /// The worker of this id; where several hives have one, that on the hive heard last among live hives, else
    /// among all, ties by hive id (I5). O(1), and O(k) in the hives that share the id.
    #[must_use]
    pub fn get_worker(&self, worker_id: &str) -> Option<(HiveId, Arc<WorkerInfo>)> {
        let view = self.window();
        loop {
            let slot = self.0.workers.get(worker_id, &view)?;
            let record = slot.state().and_then(|state| state.worker(worker_id).cloned());
            // If it went just now, it is passed over from here on: another hive may have the id.
            if let Some(record) = record.filter(|_| !slot.is_gone()) {
                return Some(pair(record));
            }
        }
    }

    /// The worker of this id on this hive. O(1) in the fleet: a lookup, then at most log2 of
    /// [`Limits::workers_per_hive`](crate::Limits::workers_per_hive) comparisons.
    #[must_use]
    pub fn get_worker_on(&self, hive_id: &str, worker_id: &str) -> Option<Arc<WorkerInfo>> {
        self.get_hive_state(hive_id)?.worker(worker_id).cloned()
    }

    /// Where the worker of this id, chosen as by [`get_worker`](Self::get_worker), takes requests.
    #[must_use]
    pub fn get_worker_url(&self, worker_id: &str) -> Option<String> {
        self.get_worker(worker_id)?.1.url.clone().map(Into::into)
    }

    /// All workers. O(workers + hives log hives).
    #[must_use]
    pub fn list_all_workers(&self) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        self.states().iter().flat_map(|state| state.workers.iter().cloned().map(pair)).collect()
    }

    /// All workers in state `Idle` on live hives (C4). O(n log n) in the idle ones.
    #[must_use]
    pub fn find_idle_workers(&self) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        self.found(self.0.idle.members())
    }

    /// All workers on live hives that have the model loaded (C4). O(n log n) in those that have it.
    #[must_use]
    pub fn find_workers_by_model(&self, model_id: &str) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        self.found(self.0.models.get(model_id).map_or_else(Vec::new, |ranking| ranking.members()))
    }

    /// The same as [`find_workers_by_model`](Self::find_workers_by_model), by its other name.
    #[must_use]
    pub fn find_workers_with_model(&self, model_id: &str) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        self.find_workers_by_model(model_id)
    }

    /// All workers of a backend on live hives, ASCII case ignored (C4). O(workers).
    #[must_use]
    pub fn find_workers_by_backend(&self, backend: &str) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        let backend = Some(Backend::parse(backend));
        let of_it = |worker: &&Arc<WorkerInfo>| worker.backend == backend;
        self.live_states()
            .iter()
            .flat_map(|state| state.workers.iter().filter(of_it).cloned().map(pair))
            .collect()
    }

    /// C4: the records on hives that may be given work, in order.
    fn found(&self, members: Vec<Entry>) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        let view = self.0.view();
        let live = members.into_iter().filter(|entry| entry.slot.pulse().is_live(&view));
        let mut workers: Vec<_> = live.map(|entry| pair(entry.record)).collect();
        workers.sort_unstable_by(|(hive, worker), (other_hive, other)| {
            hive.cmp(other_hive).then_with(|| worker.worker_id.cmp(&other.worker_id))
        });
        workers
    }

    /// The best worker for the model (S1 to S4): among the eligible workers that have it loaded, healthy before
    /// degraded, the lowest load; if there is none, the same among idle workers of any model.
    ///
    /// O(1), whatever the fleet's size; allocates nothing and in the common case takes no lock (S7).
    ///
    /// ```
    /// # use hive_registry::{HiveHeartbeatPayload, HiveRegistry, WorkerState};
    /// # let registry = HiveRegistry::new();
    /// # let worker = WorkerState {
    /// #     worker_id: "w".into(), url: Some("http://10.0.0.1:9300".into()), model_id: Some("llama-3-8b".into()), ..Default::default()
    /// # };
    /// # let timestamp = chrono::Utc::now().to_rfc3339();
    /// # registry.update_hive_state("gpu-1", HiveHeartbeatPayload {
    /// #     hive_id: "gpu-1".into(), timestamp, workers: vec![worker], ..Default::default()
    /// # })?;
    /// // Route a request to the best worker's URL.
    /// let url = registry.find_best_worker_for_model("llama-3-8b").and_then(|(_, worker)| worker.url.clone());
    /// assert_eq!(url.as_deref(), Some("http://10.0.0.1:9300"));
    /// # Ok::<(), hive_registry::HeartbeatError>(())
    /// ```
    #[must_use]
    pub fn find_best_worker_for_model(&self, model_id: &str) -> Option<(HiveId, Arc<WorkerInfo>)> {
        let found = self.0.best(model_id, &self.0.view());
        self.0.counters.picked(found).map(pair)
    }

    /// How many workers are registered. O(1).
    #[must_use]
    pub fn total_worker_count(&self) -> usize {
        self.0.worker_room.taken()
    }

    /// The hive's workers, by worker id; empty if it is not registered. O(workers of the hive).
    #[must_use]
    pub fn get_workers_on_hive(&self, hive_id: &str) -> Vec<Arc<WorkerInfo>> {
        self.get_hive_state(hive_id).map_or_else(Vec::new, |state| state.workers.to_vec())
    }

    /// What a hive sent of its processes, by worker id; empty if it sends the plain form, none if it is not
    /// registered. O(workers of the hive).
    #[must_use]
    pub fn get_workers(&self, hive_id: &str) -> Option<Vec<Arc<ProcessStats>>> {
        Some(
            self.get_hive_state(hive_id)?
                .workers
                .iter()
                .filter_map(|worker| worker.process.clone())
                .collect(),
        )
    }

    /// What all hives sent of their processes. O(workers + hives log hives).
    #[must_use]
    pub fn get_all_workers(&self) -> Vec<(HiveId, Arc<ProcessStats>)> {
        let sent = |worker: &Arc<WorkerInfo>| Some((worker.hive_id.clone(), worker.process.clone()?));
        self.states().iter().flat_map(|state| state.workers.iter().filter_map(sent)).collect()
    }

    /// Workers of live hives (C4) whose device has at least `vram_mb` units of 1,048,576 bytes free, as reported (G2);
    /// those of whose device too little is known are left out. O(workers + hives log hives), but for the logarithm of
    /// the workers of one hive.
    #[must_use]
    pub fn find_workers_with_capacity(&self, vram_mb: u64) -> Vec<(HiveId, Arc<WorkerInfo>)> {
        let mut found = Vec::new();
        let wanted = u128::from(vram_mb) << 20;
        for state in self.live_states() {
            let devices = Devices::of(&state);
            let fits = |worker: &&Arc<WorkerInfo>| {
                devices.free_for(worker).is_some_and(|free| u128::from(free) >= wanted)
            };
            found.extend(state.workers.iter().filter(fits).cloned().map(pair));
        }
        found
    }
}

pub(super) fn pair(worker: Arc<WorkerInfo>) -> (HiveId, Arc<WorkerInfo>) {
    (worker.hive_id.clone(), worker)
}
