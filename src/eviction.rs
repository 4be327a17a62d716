//! Eviction and its mass-silence guard (L3).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::clock::millis;
use crate::core::Core;
use crate::hive::HiveCell;
use crate::liveness::Pulse;

/// Fleets smaller than this are evicted without the guard: a share of so few says little.
pub const GUARDED_FLEET: usize = 8;
/// The share of a guarded fleet that one pass takes at most, percent, but at least one hive.
pub const MAX_EVICTED_PERCENT: usize = 15;
/// How long a pass holds while over half of a guarded fleet is silent.
pub const MAX_HOLD: Duration = Duration::from_secs(300);

/// What an eviction pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "`held` says that the registry itself may be cut off"]
pub struct Eviction {
    /// Hives removed.
    pub hives: usize,
    /// Over half of the fleet was silent: the pass evicted nothing, because the fault is more likely here.
    pub held: bool,
    /// Hives past the age that are still known.
    pub remaining: usize,
}

impl Core {
    /// O(hives + evicted workers). Passes run one after another.
    pub(crate) fn evict_stale(&self, max_age: Duration) -> Eviction {
        self.reap_all();
        let (now, max_age) = (self.config.clock.monotonic_ms(), millis(max_age));
        let view = self.view_of_age(self.config.window_ms);
        let mut silent_since = self.sweep.lock();
        let is_silent = |pulse: &Pulse| now.saturating_sub(pulse.arrival()) >= max_age;

        // No lock is held while the last-heard words are read.
        let mut fleet = 0;
        let mut silent: Vec<(i64, Arc<HiveCell>)> = Vec::new();
        for cell in self.hives.values() {
            if cell.state().is_none() {
                continue;
            }
            fleet += 1;
            if is_silent(&cell.pulse) || !cell.pulse.is_live(&view) {
                cell.tell_offline(self, |pulse| is_silent(pulse) || !pulse.is_live(&view));
            }
            if is_silent(&cell.pulse) {
                silent.push((cell.pulse.arrival(), cell));
            }
        }

        let mut most = silent.len();
        if fleet >= GUARDED_FLEET {
            if silent.len() * 2 > fleet {
                let since = *silent_since.get_or_insert(now);
                if now.saturating_sub(since) < millis(MAX_HOLD) {
                    self.counters.holds.fetch_add(1, Relaxed);
                    return Eviction { hives: 0, held: true, remaining: silent.len() };
                }
            } else {
                *silent_since = None;
            }
            most = (fleet * MAX_EVICTED_PERCENT / 100).max(1);
        } else {
            *silent_since = None;
        }

        // Longest silent first; by id among equals, so that two runs agree.
        silent.sort_unstable_by(|(a, one), (b, other)| (a, &one.id).cmp(&(b, &other.id)));
        let mut eviction = Eviction { hives: 0, held: false, remaining: silent.len() };
        for (_, cell) in &silent {
            if eviction.hives == most {
                break;
            }
            // Evicted, or heard meanwhile: either way it is no longer one of those past the age.
            if self.evict_hive(cell, is_silent) {
                eviction.hives += 1;
            }
            eviction.remaining -= 1;
        }
        self.counters.evictions.fetch_add(eviction.hives as u64, Relaxed);
        eviction
    }
}
