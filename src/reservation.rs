//! Reservations held in this process (S5, S6).

use std::fmt;
use std::sync::Arc;

use crate::core::Core;
use crate::index::ranking::Ranking;
use crate::names::HiveId;
use crate::slot::Slot;
use crate::state::WorkerInfo;

/// One place on one worker, given back on drop.
///
/// It belongs to one registration of the worker: if the worker goes, even if it comes back under its name,
/// releasing does nothing. It never runs out, and keeps the registry's memory alive.
#[must_use = "a reservation is released on drop"]
pub struct Reservation {
    core: Arc<Core>,
    hold: Hold,
}

/// A reservation that was counted and must be released.
pub(crate) struct Hold {
    pub(crate) slot: Arc<Slot>,
    /// The record by which it was chosen.
    pub(crate) worker: Arc<WorkerInfo>,
    /// The model's ranking by which it was chosen, likely to be the one to tell of its release.
    pub(crate) ranking: Option<Arc<Ranking>>,
}

impl Reservation {
    pub(crate) fn new(core: Arc<Core>, hold: Hold) -> Self {
        Self { core, hold }
    }

    /// The worker's hive. O(1).
    #[must_use]
    pub fn hive_id(&self) -> &HiveId {
        &self.hold.worker.hive_id
    }

    /// The worker as it was when it was chosen. O(1).
    #[must_use]
    pub fn worker(&self) -> &WorkerInfo {
        &self.hold.worker
    }

    /// The same record, to keep beyond the reservation. O(1).
    #[must_use]
    pub fn shared_worker(&self) -> &Arc<WorkerInfo> {
        &self.hold.worker
    }

    /// Gives the place back, as dropping does. O(log n) in the workers of the model.
    pub fn release(self) {}
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.core.release(&self.hold.slot, self.hold.ranking.as_deref());
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("hive_id", &self.hold.worker.hive_id)
            .field("worker_id", &self.hold.worker.worker_id)
            .finish_non_exhaustive()
    }
}
