//! Which heartbeat of a hive is the newest (I3).

use std::cmp::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};

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

/// What a heartbeat says of its place among the heartbeats of its hive. The least have no pair, and go by their
/// timestamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderKey {
    /// (epoch, seq)
    pub(crate) pair: Option<(u64, u64)>,
    pub(crate) timestamp: DateTime<Utc>,
}

/// One hive's newest heartbeat, and what came late since; under its cell's lock.
#[derive(Default)]
pub(crate) struct Order {
    /// Of the newest applied heartbeat, and when it arrived, monotonic ms.
    newest: Option<Arrived>,
    /// Those dropped since that could make a later one a reset: in the order of arrival, each less than the one
    /// before. Those that arrived [`RESET_SPACING`] ago or more are one: the last, which is the least.
    older: Vec<Arrived>,
}

struct Arrived {
    key: OrderKey,
    at_ms: i64,
}

// === impl OrderKey ===

impl Ord for OrderKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_time = || match self.pair {
            None => self.timestamp.cmp(&other.timestamp),
            Some(_) => Ordering::Equal,
        };
        self.pair.cmp(&other.pair).then_with(by_time)
    }
}

impl PartialOrd for OrderKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for OrderKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for OrderKey {}

// === impl Order ===

impl Order {
    pub(crate) fn key(&self) -> Option<OrderKey> {
        self.newest.as_ref().map(|newest| newest.key)
    }

    /// Whether a heartbeat that arrives now is to be applied. One that is not is remembered.
    ///
    /// | its key, beside the newest applied one's | it is |
    /// |---|---|
    /// | there is none yet | applied |
    /// | greater | applied |
    /// | the same timestamp | applied |
    /// | the same pair | superseded |
    /// | less, and the newest arrived `reset_after_ms` ago or more, and since then one still less came `RESET_SPACING` before this one or more | applied: a reset |
    /// | less otherwise | superseded, and remembered |
    pub(crate) fn admits(&mut self, key: &OrderKey, now_ms: i64, reset_after_ms: i64) -> bool {
        let Some(newest) = &self.newest else {
            return true;
        };
        match key.cmp(&newest.key) {
            Ordering::Greater => true,
            Ordering::Equal => key.pair.is_none(),
            Ordering::Less => {
                let goes_on = || self.older.iter().any(|older| older.key < *key && older.is_apart(now_ms));
                let resets = now_ms.saturating_sub(newest.at_ms) >= reset_after_ms && goes_on();
                if !resets {
                    self.remember(*key, now_ms);
                }
                resets
            }
        }
    }

    /// A heartbeat that was admitted is being applied.
    pub(crate) fn applied(&mut self, key: OrderKey, now_ms: i64) {
        *self = Self { newest: Some(Arrived { key, at_ms: now_ms }), older: Vec::new() };
    }

    fn remember(&mut self, key: OrderKey, now_ms: i64) {
        if self.older.last().is_some_and(|least| least.key <= key) {
            return;
        }
        let apart = self.older.partition_point(|older| older.is_apart(now_ms));
        self.older.drain(..apart.saturating_sub(1));
        if self.older.len() == MAX_OLDER {
            self.older.pop();
        }
        self.older.push(Arrived { key, at_ms: now_ms });
    }
}

impl Arrived {
    fn is_apart(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= millis(RESET_SPACING)
    }
}
