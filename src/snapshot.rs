//! An owned copy of everything (E1).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::{Config, Core};
use crate::hive::Member;
use crate::slot::load;
use crate::state::{HiveRuntimeState, WorkerInfo};

/// All hives at about one moment: each hive's copy is consistent in itself, and holds at least what the events
/// up to `sequence` told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// The sequence of the last event before copying began: resume a feed with the events after it.
    pub sequence: u64,
    /// When copying began, Unix ms by the liveness clock.
    pub taken_at_ms: i64,
    /// Ordered by hive id.
    pub hives: Vec<HiveSnapshot>,
}

/// One hive in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HiveSnapshot {
    /// Its state.
    pub state: Arc<HiveRuntimeState>,
    /// Milliseconds since it was last heard (L1); 0 if the clock was set back since.
    pub age_ms: i64,
    /// Whether that is within the liveness window.
    pub online: bool,
    /// Its workers with their reservations, ordered by worker id.
    pub workers: Vec<WorkerSnapshot>,
}

/// One worker in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Its record.
    pub worker: Arc<WorkerInfo>,
    /// Reservations it holds.
    pub reservations: u32,
    /// Its load (S3): an order, not a measure.
    pub load: u64,
}

impl Core {
    /// O(hives + workers); one hive's lock at a time.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.reap();
        let sequence = self.feed.sequence();
        let taken_at_ms = self.now();
        let view = self.view_of_age(self.config.window_ms);
        let mut cells = self.hives.values();
        // Names lie two references away: comparing them there would take a third of the time.
        cells.sort_by_cached_key(|cell| cell.id.clone());
        let hives = cells.iter().filter_map(|cell| {
            cell.snapshot(|state, members| HiveSnapshot {
                age_ms: taken_at_ms.saturating_sub(cell.pulse.last_heard()).max(0),
                online: cell.pulse.is_live(&view),
                workers: state
                    .workers
                    .iter()
                    .zip(members)
                    .map(|one| WorkerSnapshot::of(one, &self.config))
                    .collect(),
                state: state.clone(),
            })
        });
        Snapshot { sequence, taken_at_ms, hives: hives.collect() }
    }
}

impl WorkerSnapshot {
    fn of((worker, member): (&Arc<WorkerInfo>, &Member), config: &Config) -> Self {
        let reservations = member.slot.word().count();
        let load = load(worker, reservations, config.assumed_concurrency);
        Self { worker: worker.clone(), reservations, load }
    }
}
