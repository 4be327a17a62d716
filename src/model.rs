//! A model looked up once, for those who pick from it again and again.

use std::fmt;
use std::sync::Arc;

use crate::core::Core;
use crate::index::ranking::Ranking;
use crate::names::{HiveId, ModelId};
use crate::reservation::Reservation;
use crate::state::WorkerInfo;

/// A model of one registry; from [`HiveRegistry::model`](crate::HiveRegistry::model).
///
/// It answers as the registry does, without looking the name up. It may be shared between threads and cloned, and
/// keeps the registry's memory alive. While it exists the model is known, and counts towards
/// [`Limits::models`](crate::Limits), though no worker may have it loaded.
///
/// ```
/// use hive_registry::{HiveHeartbeatPayload, HiveRegistry, WorkerState};
///
/// let registry = HiveRegistry::new();
/// let llama = registry.model("llama-3-8b")?;
/// assert!(llama.find_best_worker().is_none());
/// # let worker = WorkerState { worker_id: "w".into(), model_id: Some("llama-3-8b".into()), ..Default::default() };
/// # let timestamp = chrono::Utc::now().to_rfc3339();
/// # registry.update_hive_state("gpu-1", HiveHeartbeatPayload {
/// #     hive_id: "gpu-1".into(), timestamp, workers: vec![worker], ..Default::default()
/// # })?;
/// // A hive that serves it has reported.
/// let (hive_id, worker) = llama.find_best_worker().expect("there is one now");
/// assert_eq!((&*hive_id, &*worker.worker_id), ("gpu-1", "w"));
/// # Ok::<(), hive_registry::HeartbeatError>(())
/// ```
pub struct Model {
    core: Arc<Core>,
    /// Pinned.
    ranking: Arc<Ranking>,
}

impl Model {
    /// `ranking` is pinned; the pin goes over to the handle.
    pub(crate) fn new(core: Arc<Core>, ranking: Arc<Ranking>) -> Self {
        Self { core, ranking }
    }

    /// Its name. O(1).
    #[must_use]
    pub fn id(&self) -> &ModelId {
        self.ranking.model()
    }

    /// As [`find_best_worker_for_model`](crate::HiveRegistry::find_best_worker_for_model).
    #[must_use]
    pub fn find_best_worker(&self) -> Option<(HiveId, Arc<WorkerInfo>)> {
        let found = self.core.best_of(&self.ranking, &self.core.view());
        self.core.counters.picked(found).map(|worker| (worker.hive_id.clone(), worker))
    }

    /// As [`reserve_worker_for_model`](crate::HiveRegistry::reserve_worker_for_model).
    pub fn reserve_worker(&self) -> Option<Reservation> {
        Some(Reservation::new(self.core.clone(), self.core.reserve_of(|| Some(self.ranking.clone()))?))
    }
}

impl Clone for Model {
    fn clone(&self) -> Self {
        let pinned = self.ranking.pin();
        debug_assert!(pinned, "a pinned ranking is not retired");
        Self { core: self.core.clone(), ranking: self.ranking.clone() }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.core.models.unpin(&self.ranking);
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("id", self.id()).finish_non_exhaustive()
    }
}
