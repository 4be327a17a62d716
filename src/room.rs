//! Room under a limit, reserved before it is used (I2).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::HeartbeatError;

/// A count that never passes its limit.
pub(crate) struct Room {
    limit: &'static str,
    bound: usize,
    taken: AtomicUsize,
}

/// Room taken, given back on drop unless kept.
#[must_use = "room is given back on drop"]
pub(crate) struct Seats<'r> {
    room: &'r Room,
    count: usize,
}

impl Room {
    /// `limit` is the name of the field of [`Limits`](crate::Limits).
    pub(crate) fn new(limit: &'static str, bound: usize) -> Self {
        Self { limit, bound, taken: AtomicUsize::new(0) }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, count: usize) -> Result<Seats<'_>, HeartbeatError> {
        if count == 0 {
            return Ok(Seats { room: self, count });
        }
        let fits = |taken: usize| taken.checked_add(count).filter(|wanted| *wanted <= self.bound);
        match self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(Seats { room: self, count }),
            Err(taken) => Err(HeartbeatError::OverLimit {
                limit: self.limit,
                wanted: taken.saturating_add(count),
                bound: self.bound,
            }),
        }
    }

    pub(crate) fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

impl Seats<'_> {
    pub(crate) fn keep(mut self) {
        self.count = 0;
    }
}

impl Drop for Seats<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.room.give_back(self.count);
        }
    }
}
