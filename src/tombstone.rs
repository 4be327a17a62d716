//! What remains of a removed hive for a while, so that a late heartbeat does not bring it back (L5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::builder::LivenessClock;
use crate::clock::millis;
use crate::names::HiveId;
use crate::order::{OrderKey, Place};
use crate::sync::{AtomicU64, Mutex, Ordering, unlock_fair};

/// How long a tombstone stands.
pub const TOMBSTONE_AGE: Duration = Duration::from_secs(600);
/// How many stand at most; the oldest is dropped.
pub const MAX_TOMBSTONES: usize = 100_000;
/// Under [`LivenessClock::Arrival`], what comes later than this after the removal was sent after it.
pub const ARRIVAL_GRACE: Duration = Duration::from_secs(2);

/// Those that expired are cleared so many at a time, for their lock is one that heartbeats take (C7).
const CLEARED: usize = 64;

/// The moment and the order of a removal.
pub(crate) struct Tombstone {
    pub(crate) wall: DateTime<Utc>,
    pub(crate) monotonic_ms: i64,
    /// Of the newest heartbeat applied; none if there were only calls.
    pub(crate) place: Option<Place>,
}

pub(crate) struct Tombstones {
    /// Read without the lock, so that heartbeats pay nothing while there are none.
    count: AtomicU64,
    graves: Mutex<Graves>,
}

/// Trees, which neither grow nor shrink in one go.
#[derive(Default)]
struct Graves {
    by_hive: BTreeMap<HiveId, Tombstone>,
    /// The same, by their times.
    by_age: BTreeSet<(i64, HiveId)>,
}

impl Tombstones {
    pub(crate) fn new() -> Self {
        Self { count: AtomicU64::new(0), graves: Mutex::new(Graves::default()) }
    }

    /// O(log tombstones).
    pub(crate) fn raise(&self, hive_id: HiveId, mut tombstone: Tombstone) {
        let now_ms = tombstone.monotonic_ms;
        let mut graves = self.graves.lock();
        graves.clear_some(now_ms);
        if let Some(earlier) = graves.remove(&hive_id).filter(|earlier| earlier.stands(now_ms)) {
            // What was heard of before an earlier removal does not come back by a later one.
            tombstone.place = tombstone.place.max(earlier.place);
        }
        if graves.by_hive.len() == MAX_TOMBSTONES {
            graves.drop_oldest();
        }
        graves.by_age.insert((now_ms, hive_id.clone()));
        graves.by_hive.insert(hive_id, tombstone);
        self.tell(&graves);
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
        graves.clear_some(monotonic_ms);
        self.tell(&graves);
        let tombstone = graves.by_hive.get(hive_id).filter(|tombstone| tombstone.stands(monotonic_ms));
        tombstone.is_some_and(|tombstone| !tombstone.is_lifted_by(order, liveness, monotonic_ms))
    }

    /// The hive was registered by hand.
    pub(crate) fn clear(&self, hive_id: &str) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut graves = self.graves.lock();
            graves.remove(hive_id);
            self.tell(&graves);
        }
    }

    /// Clears all that expired; by sweeps.
    pub(crate) fn clear_expired(&self, monotonic_ms: i64) {
        while self.count.load(Ordering::Acquire) > 0 {
            let mut graves = self.graves.lock();
            let cleared = graves.clear_some(monotonic_ms);
            self.tell(&graves);
            unlock_fair(graves);
            if cleared < CLEARED {
                return;
            }
        }
    }

    fn tell(&self, graves: &Graves) {
        self.count.store(graves.by_hive.len() as u64, Ordering::Release);
    }
}

impl Tombstone {
    fn stands(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.monotonic_ms) < millis(TOMBSTONE_AGE)
    }

    fn is_lifted_by(&self, order: &OrderKey, liveness: LivenessClock, now_ms: i64) -> bool {
        let is_greater = Some(order.place()) > self.place;
        let is_later_boot = match (order.place(), self.place) {
            (Place::Pair(epoch, _), Some(Place::Pair(last, _))) => epoch > last,
            _ => false,
        };
        let is_later = || match liveness {
            LivenessClock::Reported => order.timestamp > self.wall,
            LivenessClock::Arrival => now_ms.saturating_sub(self.monotonic_ms) > millis(ARRIVAL_GRACE),
        };
        is_greater && (is_later_boot || is_later())
    }
}

impl Graves {
    /// Some of those that expired, oldest first; how many.
    fn clear_some(&mut self, now_ms: i64) -> usize {
        let mut cleared = 0;
        while cleared < CLEARED
            && self.by_age.first().is_some_and(|(at, _)| now_ms.saturating_sub(*at) >= millis(TOMBSTONE_AGE))
        {
            self.drop_oldest();
            cleared += 1;
        }
        cleared
    }

    fn drop_oldest(&mut self) {
        if let Some((_, hive_id)) = self.by_age.pop_first() {
            self.by_hive.remove(&hive_id);
        }
    }

    fn remove(&mut self, hive_id: &str) -> Option<Tombstone> {
        let (hive_id, tombstone) = self.by_hive.remove_entry(hive_id)?;
        self.by_age.remove(&(tombstone.monotonic_ms, hive_id));
        Some(tombstone)
    }
}
