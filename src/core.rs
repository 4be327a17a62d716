//! The one shared core behind every clone of the registry: what it holds, and its time.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::builder::{Limits, LivenessClock, StaleMode};
use crate::clock::Clock;
use crate::events::Feed;
use crate::eviction::Guards;
use crate::hive::{HiveCell, Now};
use crate::index::models::Models;
use crate::index::ranking::{Best, Ranking, Renewed};
use crate::index::workers::Workers;
use crate::lease::Ledger;
use crate::liveness::{View, clamp};
use crate::names::ModelId;
use crate::room::Room;
use crate::slot::{Side, Slot};
use crate::stats::Counters;
use crate::sync::{AtomicI64, AtomicU64, Map, Mutex, Ordering, flush, hasher, shards};
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
    pub(crate) assumed_concurrency: u32,
    pub(crate) tie_seed: Option<u64>,
}

/// Lock order (C6), outermost first; never two of one kind, and no map guard while any is taken:
/// gates (`sweep`, `Hindsight::gate`, the ledger's reaper), hive cell, ranking, then the leaves (feed, ring,
/// leases, tombstones).
pub(crate) struct Core {
    pub(crate) config: Config,
    /// Unix ms less monotonic ms when the core was built: gives the arrival clock its origin.
    origin_ms: i64,

    pub(crate) hives: Map<Arc<HiveCell>>,
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
    orders: AtomicU64,
    /// The turn of the last reservation (S4). Apart from what every pick reads.
    turns: CachePadded<AtomicU64>,
    random: CachePadded<AtomicU64>,

    hindsight: Hindsight,
    pub(crate) leases: Ledger,
    pub(crate) tombstones: Tombstones,
    pub(crate) feed: Feed,
    pub(crate) counters: Counters,
    /// Held through an eviction pass.
    pub(crate) sweep: Mutex<Guards>,
    /// Dropped last.
    _flush: Flush,
}

/// Frees what was published in a registry together with it.
struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        flush();
    }
}

/// What a heartbeat changed.
pub(crate) type Changed<'s> = SmallVec<[Renewed<'s>; RENEWED]>;

/// Keys written in one stay under a ranking's lock, at most (C7).
pub(crate) const RENEWED: usize = 16;

/// Entries of one shard of a map, at most: growing it takes a part of a millisecond, under its lock (C7). It looks at
/// the name of each, which of a hive stands elsewhere.
const HIVES_OF_SHARD: usize = 4_096;
const IDS_OF_SHARD: usize = 8_192;

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
        let idle = Ranking::new(Side::Idle, ModelId::default(), config.assumed_concurrency);
        // For good: the idle ranking is never retired.
        idle.pin();
        let (seed, limits) = (config.seed, config.limits);
        let random = seed.unwrap_or_else(|| std::hash::BuildHasher::hash_one(&hasher(None), 0));
        Self {
            origin_ms: clamp(config.clock.wall_ms()).saturating_sub(clamp(config.clock.monotonic_ms())),
            hives: Map::new(shards(limits.hives, HIVES_OF_SHARD, config.shards), hasher(seed)),
            models: Models::new(seed, limits.models, config.assumed_concurrency),
            idle,
            workers: Workers::new(shards(limits.workers, IDS_OF_SHARD, config.shards), seed),
            hive_room: Room::new("hives", config.limits.hives),
            worker_room: Room::new("workers", config.limits.workers),
            registered: AtomicUsize::new(0),
            versions: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            turns: CachePadded::new(AtomicU64::new(0)),
            random: CachePadded::new(AtomicU64::new(random)),
            hindsight: Hindsight {
                judged: AtomicI64::new(i64::MIN),
                rewinding: AtomicI64::new(0),
                gate: Mutex::new(()),
            },
            leases: Ledger::new(mix(random)),
            tombstones: Tombstones::new(),
            feed: Feed::new(),
            counters: Counters::new(),
            sweep: Mutex::new(Guards::default()),
            _flush: Flush,
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
        let monotonic = self.reap();
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
        View { now, window, judged: &hindsight.judged, monotonic }
    }

    /// A view by another age than the window's (the no-argument questions that say online).
    pub(crate) fn view_of_age(&self, window: i64) -> View<'_> {
        View { now: self.now(), window, judged: &self.hindsight.judged, monotonic: i64::MIN }
    }

    /// The liveness window, of clocks that were read.
    pub(crate) fn window_at(&self, now: Now) -> View<'_> {
        View {
            now: self.now_of(now),
            window: self.config.window_ms,
            judged: &self.hindsight.judged,
            monotonic: i64::MIN,
        }
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
                let view = View { now, window, judged: &hindsight.judged, monotonic: i64::MIN };
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

    /// The order of the next registration (S4), or a place in an order shuffled by `tie_seed`.
    pub(crate) fn next_order(&self) -> u64 {
        let order = self.orders.fetch_add(1, Ordering::Relaxed) + 1;
        self.config.tie_seed.map_or(order, |seed| shuffled(order, seed))
    }

    /// A random number below `bound`, which is not 0: splitmix64 (Steele, Lea, Flood 2014), scaled by
    /// multiplication (Lemire 2019; bias below `bound` / 2^64).
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let random = mix(self.random.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA));
        ((u128::from(random) * bound as u128) >> 64) as usize
    }

    // === slots ===

    /// What `ask` finds; where all it could find are full and a lease of one has run out, that one is given back first.
    pub(crate) fn found<T>(&self, view: &View<'_>, mut ask: impl FnMut() -> Best<T>) -> Option<T> {
        loop {
            match ask() {
                Best::Found(found) => return Some(found),
                Best::Nobody => return None,
                Best::Due(slot) => self.reap_of(&slot, view.monotonic),
            }
        }
    }

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
            self.sync_model(slot);
        }
        if idle {
            self.idle.sync(slot);
        }
        true
    }

    /// Writes its key in the ranking of its model. If it is changing models right now, the heartbeat that does so tells
    /// the slot first and settles it in the new one afterwards.
    pub(crate) fn sync_model(&self, slot: &Arc<Slot>) {
        if let Some(home) = slot.home() {
            home.sync(slot);
        }
    }

    /// Writes its keys in all its rankings.
    pub(crate) fn sync(&self, slot: &Arc<Slot>) {
        self.sync_model(slot);
        self.idle.sync(slot);
    }
}

/// The finalizer of splitmix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Another number of 63 bits for each of 63 bits: each step can be undone.
fn shuffled(order: u64, seed: u64) -> u64 {
    const BITS: u64 = (1 << 63) - 1;
    let mut z = (order ^ mix(seed)) & BITS;
    for factor in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        z = (z ^ (z >> 32)).wrapping_mul(factor) & BITS;
    }
    z ^ (z >> 32)
}

/// Gives slots their new records, each in the ranking beside it; those of one ranking that follow each other in
/// one stay under its lock.
pub(crate) fn renew(changed: &[Renewed<'_>]) {
    for together in changed.chunk_by(|(one, ..), (other, ..)| std::ptr::eq(*one, *other)) {
        for some in together.chunks(RENEWED) {
            some[0].0.update(some);
        }
    }
}
