//! Which heartbeat of a hive is the newest (I3).

use std::cmp::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;

use crate::clock::millis;

/// A heartbeat that is older than the newest applied one may be its hive's beginning anew, once that one arrived
/// [`RESET_INTERVALS`] of the hive's mean intervals ago, but no less than this, ...
pub const MIN_RESET_AFTER: Duration = Duration::from_secs(10);
/// ... and no more than this.
pub const MAX_RESET_AFTER: Duration = Duration::from_secs(60);
/// See [`MIN_RESET_AFTER`].
pub const RESET_INTERVALS: u32 = 3;
/// Who begins anew goes on: the heartbeat that is believed came this much later than an older one. A late copy, and
/// a burst of them, does not.
pub const RESET_SPACING: Duration = Duration::from_secs(1);

/// Of more heartbeats than this, each older than the one before, that come within [`RESET_SPACING`], the last stands
/// for those before it: a reset may then take one heartbeat more.
const MAX_OLDER: usize = 8;

/// What a heartbeat says of when it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderKey {
    /// (epoch, seq)
    pub(crate) pair: Option<(u64, u64)>,
    pub(crate) timestamp: DateTime<Utc>,
}

/// What orders it among the heartbeats of its hive: the pair where there is one; else the timestamp, which is less than
/// any pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Time(DateTime<Utc>),
    /// (epoch, seq)
    Pair(u64, u64),
}

/// One hive's newest heartbeat, and what came late since; under its cell's lock.
#[derive(Default)]
pub(crate) struct Order {
    /// Of the newest applied heartbeat, and when it arrived, monotonic ms.
    newest: Option<Arrived>,
    /// Those dropped since that could make a later one a reset: in the order of arrival, each less than the one
    /// before. Those that arrived [`RESET_SPACING`] ago or more are one: the last, which is the least.
    older: Option<Box<Older>>,
}

/// Most hives have none.
type Older = SmallVec<[Arrived; MAX_OLDER]>;

struct Arrived {
    place: Place,
    at_ms: i64,
}

// === impl OrderKey ===

impl OrderKey {
    pub(crate) fn place(&self) -> Place {
        self.pair.map_or(Place::Time(self.timestamp), |(epoch, seq)| Place::Pair(epoch, seq))
    }
}

// === impl Order ===

impl Order {
    /// Of the newest heartbeat.
    pub(crate) fn place(&self) -> Option<Place> {
        self.newest.as_ref().map(|newest| newest.place)
    }

    /// Whether a heartbeat that arrives now is to be applied. One that is not is remembered.
    ///
    /// | its place, beside the newest applied one's | it is |
    /// |---|---|
    /// | there is none yet | applied |
    /// | greater | applied |
    /// | the same timestamp | applied |
    /// | the same pair | superseded |
    /// | less, and the newest arrived `reset_after_ms` ago or more, and since then one still less came `RESET_SPACING` before this one or more | applied: a reset |
    /// | less otherwise | superseded, and remembered |
    pub(crate) fn admits(&mut self, place: Place, now_ms: i64, reset_after_ms: i64) -> bool {
        let Some(newest) = &self.newest else {
            return true;
        };
        match place.cmp(&newest.place) {
            Ordering::Greater => true,
            Ordering::Equal => matches!(place, Place::Time(_)),
            Ordering::Less => {
                let older = || self.older.iter().flat_map(|older| older.iter());
                let goes_on = || older().any(|older| older.place < place && older.is_apart(now_ms));
                let resets = now_ms.saturating_sub(newest.at_ms) >= reset_after_ms && goes_on();
                if !resets {
                    self.remember(place, now_ms);
                }
                resets
            }
        }
    }

    /// A heartbeat that was admitted is being applied.
    pub(crate) fn applied(&mut self, place: Place, now_ms: i64) {
        *self = Self { newest: Some(Arrived { place, at_ms: now_ms }), older: None };
    }

    fn remember(&mut self, place: Place, now_ms: i64) {
        let older = self.older.get_or_insert_default();
        if older.last().is_some_and(|least| least.place <= place) {
            return;
        }
        let apart = older.partition_point(|older| older.is_apart(now_ms));
        older.drain(..apart.saturating_sub(1));
        if older.len() == MAX_OLDER {
            older.pop();
        }
        older.push(Arrived { place, at_ms: now_ms });
    }
}

impl Arrived {
    fn is_apart(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= millis(RESET_SPACING)
    }
}
