//! What remains of a removed hive for a while, so that a late heartbeat does not bring it back (L5).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::builder::LivenessClock;
use crate::clock::millis;
use crate::names::HiveId;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::wire::OrderKey;

/// How long a tombstone stands.
pub const TOMBSTONE_AGE: Duration = Duration::from_secs(600);
/// How many stand at most; the oldest is dropped.
pub const MAX_TOMBSTONES: usize = 100_000;
/// Under [`LivenessClock::Arrival`], what comes later than this after the removal was sent after it.
pub const ARRIVAL_GRACE: Duration = Duration::from_secs(2);

/// The moment and the order of a removal.
pub(crate) struct Tombstone {
    pub(crate) wall: DateTime<Utc>,
    pub(crate) monotonic_ms: i64,
    /// The last boot heard of.
    pub(crate) epoch: Option<u64>,
}

pub(crate) struct Tombstones {
    /// Read without the lock, so that heartbeats pay nothing while there are none.
    count: AtomicU64,
    graves: Mutex<Graves>,
}

#[derive(Default)]
struct Graves {
    by_hive: HashMap<HiveId, Tombstone>,
    /// Oldest first; an entry whose time is not its tombstone's is of an earlier removal.
    by_age: VecDeque<(i64, HiveId)>,
}

impl Tombstones {
    pub(crate) fn new() -> Self {
        Self { count: AtomicU64::new(0), graves: Mutex::new(Graves::default()) }
    }

    /// Amortised O(1).
    pub(crate) fn raise(&self, hive_id: HiveId, mut tombstone: Tombstone) {
        let mut graves = self.graves.lock();
        graves.clear_older(tombstone.monotonic_ms.saturating_sub(millis(TOMBSTONE_AGE)));
        if let Some(earlier) = graves.by_hive.get(&hive_id) {
            // What was heard of before an earlier removal does not come back by a later one.
            tombstone.epoch = tombstone.epoch.max(earlier.epoch);
        }
        graves.by_age.push_back((tombstone.monotonic_ms, hive_id.clone()));
        graves.by_hive.insert(hive_id, tombstone);
        // One hive removed again and again has one tombstone, but an entry for each removal.
        while graves.by_hive.len() > MAX_TOMBSTONES || graves.by_age.len() > 2 * MAX_TOMBSTONES {
            graves.drop_oldest();
        }
        self.count.store(graves.by_hive.len() as u64, Ordering::Release);
    }

    /// Whether a heartbeat of this order, arriving now, is of before the removal.
    pub(crate) fn bars(
        &self,
        hive_id: &str,
        order: &OrderKey,
        liveness: LivenessClock,
        monotonic_ms: i64,
    ) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut graves = self.graves.lock();
        graves.clear_older(monotonic_ms.saturating_sub(millis(TOMBSTONE_AGE)));
        self.count.store(graves.by_hive.len() as u64, Ordering::Release);
        let Some(tombstone) = graves.by_hive.get(hive_id) else {
            return false;
        };
        let later_boot = order.pair.zip(tombstone.epoch).is_some_and(|((epoch, _), old)| epoch > old);
        let later = match liveness {
            LivenessClock::Reported => order.timestamp > tombstone.wall,
            LivenessClock::Arrival => {
                monotonic_ms.saturating_sub(tombstone.monotonic_ms) > millis(ARRIVAL_GRACE)
            }
        };
        !later_boot && !later
    }

    /// The hive was registered by hand.
    pub(crate) fn clear(&self, hive_id: &str) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut graves = self.graves.lock();
            graves.by_hive.remove(hive_id);
            self.count.store(graves.by_hive.len() as u64, Ordering::Release);
        }
    }
}

impl Graves {
    fn clear_older(&mut self, than: i64) {
        while self.by_age.front().is_some_and(|(at, _)| *at <= than) {
            self.drop_oldest();
        }
        if self.by_hive.capacity() > 64 + 4 * self.by_hive.len() {
            self.by_hive.shrink_to_fit();
            self.by_age.shrink_to_fit();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((at, hive_id)) = self.by_age.pop_front() {
            if self.by_hive.get(&hive_id).is_some_and(|tombstone| tombstone.monotonic_ms == at) {
                self.by_hive.remove(&hive_id);
            }
        }
    }
}
