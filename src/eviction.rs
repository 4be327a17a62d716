//! Eviction and its mass-silence guard (L3).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::clock::millis;
use crate::core::Core;
use crate::events::Woken;
use crate::hive::{HiveCell, Now};
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

/// What is remembered of a mass silence between two passes of one age, by one caller.
#[derive(Clone, Copy)]
pub(crate) struct Silence {
    /// When it was found, monotonic ms, and when it was last looked at.
    since: i64,
    seen: i64,
}

/// The silences of those who call by themselves, by the ages they ask for; a sweeper keeps its own.
#[derive(Default)]
pub(crate) struct Guards(Vec<(i64, Silence)>);

/// Ages that are remembered at most; the one not asked for the longest is forgotten.
const MAX_AGES: usize = 16;

impl Guards {
    fn take(&mut self, max_age: i64) -> Option<Silence> {
        let at = self.0.iter().position(|(age, _)| *age == max_age)?;
        Some(self.0.swap_remove(at).1)
    }

    fn keep(&mut self, max_age: i64, silence: Silence) {
        if self.0.len() == MAX_AGES {
            let oldest = self.0.iter().enumerate().min_by_key(|(_, (_, silence))| silence.seen);
            oldest.map(|(at, _)| at).into_iter().for_each(|at| _ = self.0.swap_remove(at));
        }
        self.0.push((max_age, silence));
    }
}

/// A hive past the age, and when it was last heard.
type Silent = (i64, Arc<HiveCell>);

impl Core {
    /// O(hives + evicted workers). Passes run one after another.
    pub(crate) fn evict_stale(&self, max_age: Duration) -> Eviction {
        let now = self.before_sweep();
        let max_age = millis(max_age);
        // Outlives the lock.
        let mut woken = Woken::default();
        let mut guards = self.sweep.lock();
        let mut silence = guards.take(max_age);
        let eviction = self.pass(now, max_age, &mut silence, &mut woken);
        if let Some(silence) = silence {
            guards.keep(max_age, silence);
        }
        eviction
    }

    /// The same, by a sweeper.
    pub(crate) fn sweep(&self, max_age: Duration, silence: &mut Option<Silence>) -> Eviction {
        let now = self.before_sweep();
        let mut woken = Woken::default();
        let _guards = self.sweep.lock();
        self.pass(now, millis(max_age), silence, &mut woken)
    }

    /// Before any lock is taken: gives back what has run out, and reads the clocks.
    fn before_sweep(&self) -> Now {
        let now = self.read_clocks();
        self.reap_all();
        self.tombstones.clear_expired(now.monotonic_ms);
        now
    }

    fn pass(&self, now: Now, max_age: i64, silence: &mut Option<Silence>, woken: &mut Woken) -> Eviction {
        let (view, now) = (self.window_at(now), now.monotonic_ms);
        let is_silent = |pulse: &Pulse| now.saturating_sub(pulse.arrival()) >= max_age;

        // No lock that anybody else needs is held while the last-heard words are read.
        let mut fleet = 0;
        let mut silent: Vec<Silent> = Vec::new();
        for cell in self.hives.values() {
            if cell.state().is_none() {
                continue;
            }
            fleet += 1;
            if is_silent(&cell.pulse) || !cell.pulse.is_live(&view) {
                cell.tell_offline(self, |pulse| is_silent(pulse) || !pulse.is_live(&view), woken);
            }
            if is_silent(&cell.pulse) {
                silent.push((cell.pulse.arrival(), cell));
            }
        }

        let is_guarded = fleet >= GUARDED_FLEET;
        let are_most = |hives: usize| is_guarded && hives * 2 > fleet;
        if are_most(silent.len()) {
            let silent_since = |moment| silent.iter().filter(|(heard, _)| *heard <= moment).count();
            // A pass that comes late knows that it is the same silence by those not heard in between.
            let goes_on = silence.filter(|known| {
                now.saturating_sub(known.seen) <= millis(MAX_HOLD) || are_most(silent_since(known.seen))
            });
            let since = goes_on.map_or(now, |known| known.since);
            *silence = Some(Silence { since, seen: now });
            if now.saturating_sub(since) < millis(MAX_HOLD) {
                self.counters.holds.fetch_add(1, Relaxed);
                return Eviction { hives: 0, held: true, remaining: silent.len() };
            }
        } else {
            *silence = None;
        }
        let most = if is_guarded { (fleet * MAX_EVICTED_PERCENT / 100).max(1) } else { silent.len() };

        // Longest silent first; by id among equals, so that two runs agree.
        silent.sort_unstable_by(|(a, one), (b, other)| (a, &one.id).cmp(&(b, &other.id)));
        let mut eviction = Eviction { hives: 0, held: false, remaining: silent.len() };
        for (_, cell) in &silent {
            if eviction.hives == most {
                break;
            }
            // Evicted, or heard meanwhile: either way it is no longer one of those past the age.
            if self.evict_hive(cell, is_silent, woken) {
                eviction.hives += 1;
            }
            eviction.remaining -= 1;
        }
        self.counters.evictions.fetch_add(eviction.hives as u64, Relaxed);
        eviction
    }
}
