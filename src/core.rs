//! The one shared core behind every clone of the registry: what it holds, and its time.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use smallvec::SmallVec;

use crate::builder::{Limits, LivenessClock, StaleMode};
use crate::clock::Clock;
use crate::events::Feed;
use crate::eviction::Guards;
use crate::hive::{HiveCell, Now};
use crate::index::models::Models;
use crate::index::ranking::{Ranking, Synced};
use crate::index::workers::Workers;
use crate::lease::Ledger;
use crate::liveness::{View, clamp};
use crate::names::{HiveId, ModelId};
use crate::room::Room;
use crate::slot::{Side, Slot};
use crate::stats::Counters;
use crate::sync::{AtomicI64, AtomicU64, Map, Mutex, Ordering, hasher};
use crate::tombstone::Tombstones;

/// Checked by the builder.
pub(crate) struct Config {
    pub(crate) shards: usize,
    pub(crate) window_ms: i64,
    pub(crate) liveness: LivenessClock,
    pub(crate) stale_mode: StaleMode,
    pub(crate) limits: Limits,
    pub(crate) assumed_vram_gb: f32,
    pub(crate) assumed_ram_gb: f32,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: Option<u64>,
}

/// Lock order (C6), outermost first; never two of one kind, and no map guard while any is taken:
/// gates (`sweep`, `Hindsight::gate`, the ledger's reaper), hive cell, ranking, then the leaves (feed, ring,
/// leases, tombstones).
pub(crate) struct Core {
    pub(crate) config: Config,
    /// Unix ms less monotonic ms when the core was built: gives the arrival clock its origin.
    origin_ms: i64,

    pub(crate) hives: Map<HiveId, Arc<HiveCell>>,
    pub(crate) models: Models,
    /// The idle workers of every model.
    pub(crate) idle: Ranking,
    pub(crate) workers: Workers,

    /// Cells in `hives`, the not yet registered included.
    pub(crate) hive_room: Room,
    pub(crate) worker_room: Room,
    /// Hives registered.
    pub(crate) registered: AtomicUsize,

    /// The version of the last state (`HiveRuntimeState::version`).
    pub(crate) versions: AtomicU64,
    /// The order of the last registration (S4).
    pub(crate) orders: AtomicU64,
    /// The turn of the last reservation (S4).
    turns: AtomicU64,
    random: AtomicU64,

    hindsight: Hindsight,
    pub(crate) leases: Ledger,
    pub(crate) tombstones: Tombstones,
    pub(crate) feed: Feed,
    pub(crate) counters: Counters,
    /// Held through an eviction pass.
    pub(crate) sweep: Mutex<Guards>,
}

/// What a heartbeat changed.
pub(crate) type Changed<'s> = SmallVec<[Synced<'s>; SYNCED]>;

/// Keys written in one stay under a ranking's lock, at most.
const SYNCED: usize = 16;

/// What is known of a clock that was set back.
struct Hindsight {
    /// See [`View::judged`].
    judged: AtomicI64,
    /// 1 while a rewind runs.
    rewinding: AtomicI64,
    gate: Mutex<()>,
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        let idle = Ranking::new(Side::Idle, ModelId::default());
        // For good: the idle ranking is never retired.
        idle.pin();
        let seed = config.seed;
        Self {
            origin_ms: clamp(config.clock.wall_ms()).saturating_sub(clamp(config.clock.monotonic_ms())),
            hives: Map::new(config.shards, hasher(seed)),
            models: Models::new(config.shards, seed, config.limits.models),
            idle,
            workers: Workers::new(config.shards, seed),
            hive_room: Room::new("hives", config.limits.hives),
            worker_room: Room::new("workers", config.limits.workers),
            registered: AtomicUsize::new(0),
            versions: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            random: AtomicU64::new(
                seed.unwrap_or_else(|| std::hash::BuildHasher::hash_one(&hasher(None), 0)),
            ),
            hindsight: Hindsight {
                judged: AtomicI64::new(i64::MIN),
                rewinding: AtomicI64::new(0),
                gate: Mutex::new(()),
            },
            leases: Ledger::new(),
            tombstones: Tombstones::new(),
            feed: Feed::new(),
            counters: Counters::new(),
            sweep: Mutex::new(Guards::default()),
            config,
        }
    }

    // === time ===

    /// Now, on the liveness clock (L1), Unix ms.
    pub(crate) fn now(&self) -> i64 {
        match self.config.liveness {
            LivenessClock::Reported => clamp(self.config.clock.wall_ms()),
            LivenessClock::Arrival => self.arrival_ms(self.config.clock.monotonic_ms()),
        }
    }

    /// The same, of clocks that were read.
    pub(crate) fn now_of(&self, now: Now) -> i64 {
        match self.config.liveness {
            LivenessClock::Reported => clamp(now.wall_ms),
            LivenessClock::Arrival => self.arrival_ms(now.monotonic_ms),
        }
    }

    /// A monotonic time as the arrival clock shows it.
    pub(crate) fn arrival_ms(&self, monotonic_ms: i64) -> i64 {
        clamp(clamp(monotonic_ms).saturating_add(self.origin_ms))
    }

    /// The present, as every question that involves age sees it: what ran out is released, and what was
    /// parked by a clock since set back is ranked again. Before any lock is taken.
    pub(crate) fn view(&self) -> View<'_> {
        self.reap();
        let window = match self.config.stale_mode {
            StaleMode::Exclude => self.config.window_ms,
            StaleMode::Ignore => i64::MAX,
        };
        let mut now = self.now();
        let hindsight = &self.hindsight;
        if now < hindsight.judged.load(Ordering::Acquire) || hindsight.rewinding.load(Ordering::Acquire) != 0
        {
            now = self.rewind(window);
        }
        View { now, window, judged: &hindsight.judged }
    }

    /// A view by another age than the window's (the no-argument questions that say online).
    pub(crate) fn view_of_age(&self, window: i64) -> View<'_> {
        View { now: self.now(), window, judged: &self.hindsight.judged }
    }

    /// The liveness window, of clocks that were read.
    pub(crate) fn window_at(&self, now: Now) -> View<'_> {
        View { now: self.now_of(now), window: self.config.window_ms, judged: &self.hindsight.judged }
    }

    /// The clock shows less than a time by which hives were judged dead: those that are live by the time now
    /// shown are ranked again. O(hives), once for each step back.
    ///
    /// Against a thread that still parks by the later time: it raises `judged` after its compare-and-swap. If
    /// that comes before the swap here, the scan sees what it parked; if after, the next question rewinds.
    #[cold]
    fn rewind(&self, window: i64) -> i64 {
        let hindsight = &self.hindsight;
        loop {
            // Two threads may have read the clock in one order and come here in the other.
            let now = self.now();
            let is_behind = || now < hindsight.judged.load(Ordering::Acquire);
            if !is_behind() && hindsight.rewinding.load(Ordering::Acquire) == 0 {
                return now;
            }
            let _gate = hindsight.gate.lock();
            if is_behind() {
                hindsight.rewinding.store(1, Ordering::Release);
                hindsight.judged.swap(now, Ordering::AcqRel);
                let view = View { now, window, judged: &hindsight.judged };
                for cell in self.hives.values() {
                    cell.unpark(self, &view);
                }
                hindsight.rewinding.store(0, Ordering::Release);
            }
        }
    }

    // === numbers ===

    pub(crate) fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A random number below `bound`, which is not 0: splitmix64 (Steele, Lea, Flood 2014), scaled by
    /// multiplication (Lemire 2019; bias below `bound` / 2^64).
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * bound as u128) >> 64) as usize
    }

    // === slots ===

    /// Takes one reservation back (S6), and writes it through to the rankings whose keys know of it. False
    /// if the registration has ended.
    ///
    /// `likely` is the ranking it was reserved through, which spares a lookup unless the worker changed models.
    pub(crate) fn release(&self, slot: &Arc<Slot>, likely: Option<&Ranking>) -> bool {
        let Some([model, idle]) = slot.release() else {
            return false;
        };
        self.counters.ended(1);
        if model && !likely.is_some_and(|ranking| ranking.sync(slot)) {
            // If the worker is changing models right now, the heartbeat that does it settles the slot after
            // this release: it joins later, or this lookup finds it joined.
            self.sync_model(slot);
        }
        if idle {
            self.idle.sync(slot);
        }
        true
    }

    fn sync_model(&self, slot: &Arc<Slot>) {
        let Some(record) = slot.record() else { return };
        if let Some(ranking) = record.model_id.as_deref().and_then(|model| self.models.get(model)) {
            ranking.sync(slot);
        }
    }
}

/// Writes the keys of slots again, each in the ranking beside it; those of one ranking that follow each other in
/// one stay under its lock.
pub(crate) fn sync_all(changed: &[Synced<'_>]) {
    for together in changed.chunk_by(|(one, ..), (other, ..)| std::ptr::eq(*one, *other)) {
        for some in together.chunks(SYNCED) {
            some[0].0.sync_all(some);
        }
    }
}
