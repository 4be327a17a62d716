//! One hive's cell: its lock, its order key, its arrivals; how it comes, and how it goes. What a heartbeat does to
//! it is in `apply.rs`.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::core::{Changed, Core, renew};
use crate::error::HeartbeatError;
use crate::events::{EventKind, Woken};
use crate::index::ranking::{Ranking, Renewed};
use crate::lease::wall_time;
use crate::liveness::{Pulse, View};
use crate::names::HiveId;
use crate::order::Order;
use crate::slot::Slot;
use crate::state::{HiveRuntimeState, WorkerInfo};
use crate::stats::Arrivals;
use crate::sync::{Mutex, Named};
use crate::tombstone::Tombstone;

/// What became of a heartbeat (I4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeartbeatOutcome {
    /// Applied; the hive was not known.
    Registered,
    /// Applied.
    Updated,
    /// Older than what is known; dropped. The hive counts as heard when it was sent, or under
    /// [`LivenessClock::Arrival`](crate::LivenessClock::Arrival) now.
    Superseded,
    /// Of a hive that was removed a moment ago; dropped (L5).
    Removed,
}

pub(crate) struct HiveCell {
    pub(crate) front: Arc<Front>,
    pub(crate) inner: Mutex<Inner>,
}

/// What is read of a hive without its lock. Its slots share it, for the cell holds them.
pub(crate) struct Front {
    pub(crate) id: HiveId,
    /// Changed under the cell's lock, but for parking.
    pub(crate) pulse: Pulse,
    /// What `get_hive_state` returns; none until the first heartbeat is applied, and after removal. Changed under the
    /// cell's lock; under its own for the length of a clone, so that nobody waits for a heartbeat.
    state: Mutex<Option<Arc<HiveRuntimeState>>>,
}

impl Front {
    pub(crate) fn state(&self) -> Option<Arc<HiveRuntimeState>> {
        self.state.lock().clone()
    }

    /// Under the cell's lock; returns what was there, to be dropped once that is free (C5).
    pub(crate) fn swap_state(&self, state: Option<Arc<HiveRuntimeState>>) -> Option<Arc<HiveRuntimeState>> {
        std::mem::replace(&mut *self.state.lock(), state)
    }
}

pub(crate) struct Inner {
    /// Taken out of the map, or about to be. Nothing is applied any more: a heartbeat that still holds the
    /// cell would index ghosts.
    pub(crate) retired: bool,
    pub(crate) order: Order,
    /// Ordered by worker id, as the state's workers are.
    pub(crate) members: Box<[Member]>,
    /// It was online when it was last heard, and `HiveOffline` has not been told since.
    pub(crate) online: bool,
    /// None until it is registered.
    pub(crate) arrivals: Arrivals,
}

/// A worker of the hive.
pub(crate) struct Member {
    pub(crate) slot: Arc<Slot>,
    /// The ranking of its model, if it has one loaded. It is not retired while the slot is in it.
    pub(crate) ranking: Option<Arc<Ranking>>,
}

/// The clocks, read before any lock (C5).
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall_ms: i64,
    pub(crate) monotonic_ms: i64,
}

impl Deref for HiveCell {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.front
    }
}

impl Named for Arc<HiveCell> {
    fn name(&self) -> &str {
        &self.front.id
    }
}

// === impl Member ===

impl Member {
    /// Its slot and record, beside the ranking of its model.
    pub(crate) fn ranked<'m>(&'m self, record: &'m Arc<WorkerInfo>) -> Option<Renewed<'m>> {
        Some((self.ranking.as_deref()?, &self.slot, record))
    }
}

// === impl HiveCell ===

impl HiveCell {
    fn new(id: HiveId) -> Self {
        Self {
            front: Arc::new(Front { id, pulse: Pulse::new(), state: Mutex::new(None) }),
            inner: Mutex::new(Inner {
                retired: false,
                order: Order::default(),
                members: Box::default(),
                online: false,
                arrivals: Arrivals::default(),
            }),
        }
    }

    /// Ranks the workers of a hive again that a clock since set back had judged dead.
    pub(crate) fn unpark(&self, core: &Core, view: &View<'_>) {
        let inner = self.inner.lock();
        if !inner.retired && self.pulse.unpark(view) {
            self.sync(core, &inner);
        }
    }

    /// Writes the keys of all its workers again; under the lock.
    pub(crate) fn sync(&self, core: &Core, inner: &Inner) {
        let state = self.state();
        let records = state.as_ref().map_or(&[][..], |state| &state.workers);
        let known = || inner.members.iter().zip(records);
        let mut changed: Changed<'_> = known().filter_map(|(member, record)| member.ranked(record)).collect();
        changed.extend(known().map(|(member, record)| (&core.idle, &member.slot, record)));
        renew(&changed);
    }

    pub(crate) fn version(&self) -> u64 {
        self.state().map_or(0, |state| state.version)
    }

    /// The state with the reservations of its workers, copied while no heartbeat is applied.
    pub(crate) fn snapshot<T>(&self, f: impl FnOnce(&Arc<HiveRuntimeState>, &[Member]) -> T) -> Option<T> {
        let inner = self.inner.lock();
        let state = self.state()?;
        Some(f(&state, &inner.members))
    }

    pub(crate) fn arrivals<T>(&self, f: impl FnOnce(&Arrivals) -> T) -> Option<T> {
        let inner = self.inner.lock();
        inner.is_registered().then(|| f(&inner.arrivals))
    }

    /// The hive's offline event, once per silence; under the lock that a heartbeat takes.
    pub(crate) fn tell_offline(
        &self,
        core: &Core,
        is_silent: impl FnOnce(&Pulse) -> bool,
        woken: &mut Woken,
    ) {
        let mut inner = self.inner.lock();
        if inner.retired || !inner.online || !is_silent(&self.pulse) {
            return;
        }
        inner.online = false;
        if core.feed.is_read() {
            core.feed.emit(&self.id, self.version(), vec![EventKind::HiveOffline], woken);
        }
    }
}

impl Inner {
    pub(crate) fn is_registered(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// The hive was heard, and is online now or not. True if it was not before.
    pub(crate) fn comes_online(&mut self, is_live: bool) -> bool {
        let comes = is_live && !self.online;
        self.online |= is_live;
        comes
    }
}

// === cells ===

impl Core {
    pub(crate) fn read_clocks(&self) -> Now {
        self.config.clock.refresh();
        Now { wall_ms: self.config.clock.wall_ms(), monotonic_ms: self.config.clock.monotonic_ms() }
    }

    pub(crate) fn cell(&self, hive_id: &str) -> Option<Arc<HiveCell>> {
        self.hives.read(hive_id, Arc::clone)
    }

    /// A new cell, or the one that somebody else just made.
    pub(crate) fn new_cell(&self, hive_id: &str) -> Result<Arc<HiveCell>, HeartbeatError> {
        let create = || {
            // Given back by `forget`.
            self.hive_room.take(1)?.keep();
            Ok(Arc::new(HiveCell::new(hive_id.into())))
        };
        self.hives.upsert(hive_id, create, |cell| cell.clone())
    }

    /// Takes a retired cell out of the map, if it is still there.
    pub(crate) fn forget(&self, retired: &Arc<HiveCell>) {
        if self.hives.remove_if(retired.id.as_str(), |cell| Arc::ptr_eq(cell, retired)).is_some() {
            self.hive_room.give_back(1);
        }
    }

    // === removing ===

    /// L5: takes the hive and its workers out of everything and leaves a tombstone.
    pub(crate) fn remove_hive(&self, hive_id: &str) -> bool {
        let mut woken = Woken::default();
        loop {
            let now = self.read_clocks();
            let Some(cell) = self.cell(hive_id) else {
                return false;
            };
            let removed = self.end_hive(
                &cell,
                |_| true,
                |inner| {
                    self.tombstones.raise(
                        cell.id.clone(),
                        Tombstone {
                            wall: wall_time(now.wall_ms),
                            monotonic_ms: now.monotonic_ms,
                            place: inner.order.place(),
                        },
                    );
                },
                &mut woken,
            );
            match removed {
                Ended::Removed => return true,
                Ended::Kept => return false,
                Ended::Retired => {}
            }
        }
    }

    /// L3: takes the hive out if it is still silent, decided under the lock that a heartbeat takes.
    pub(crate) fn evict_hive(
        &self,
        cell: &Arc<HiveCell>,
        is_silent: impl FnOnce(&Pulse) -> bool,
        woken: &mut Woken,
    ) -> bool {
        matches!(self.end_hive(cell, is_silent, |_| (), woken), Ended::Removed)
    }

    /// Ends a registration and all that is reserved of it.
    pub(crate) fn end(&self, slot: &Slot) {
        self.counters.ended(slot.end());
        self.leases.forget(slot);
    }

    fn end_hive(
        &self,
        cell: &Arc<HiveCell>,
        decide: impl FnOnce(&Pulse) -> bool,
        then: impl FnOnce(&Inner),
        woken: &mut Woken,
    ) -> Ended {
        let mut inner = cell.inner.lock();
        if inner.retired {
            drop(inner);
            self.forget(cell);
            return Ended::Retired;
        }
        if !inner.is_registered() || !decide(&cell.pulse) {
            return Ended::Kept;
        }
        inner.retired = true;
        then(&inner);
        let members = std::mem::take(&mut inner.members);
        // All first, so that no pick returns one of them from here on.
        members.iter().for_each(|member| self.end(&member.slot));
        let state = cell.swap_state(None);
        let records = state.as_ref().map_or(&[][..], |state| &state.workers);
        for (member, record) in members.iter().zip(records) {
            self.unindex(member, record);
        }
        self.worker_room.give_back(members.len());
        self.registered.fetch_sub(1, Relaxed);
        if let (Some(state), true) = (&state, self.feed.is_read()) {
            let mut events: Vec<_> = state.workers.iter().cloned().map(EventKind::WorkerRemoved).collect();
            events.push(EventKind::HiveRemoved);
            self.feed.emit(&cell.id, self.versions.fetch_add(1, Relaxed) + 1, events, woken);
        }
        drop(inner);
        self.forget(cell);
        drop((state, members));
        Ended::Removed
    }
}

enum Ended {
    Removed,
    Kept,
    /// Somebody else took it out; there may be another under its name.
    Retired,
}
