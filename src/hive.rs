//! One hive's cell: its lock, its order key, its arrivals; and how a heartbeat is applied (I1, I3).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::builder::LivenessClock;
use crate::core::Core;
use crate::error::HeartbeatError;
use crate::events::EventKind;
use crate::index::models::Models;
use crate::index::ranking::Ranking;
use crate::lease::wall_time;
use crate::liveness::{Pulse, View};
use crate::names::HiveId;
use crate::resources::used_gb;
use crate::slot::Slot;
use crate::state::{HiveRuntimeState, WorkerInfo, WorkerLifecycle};
use crate::stats::{Arrivals, add};
use crate::sync::{Mutex, Published};
use crate::tombstone::Tombstone;
use crate::wire::{Draft, Hive, OrderKey, invalid};

/// How much older than the last heartbeat one without a pair may be and still be a late one; beyond that the
/// hive's clock stepped back (I3).
pub const REORDER_WINDOW: Duration = Duration::from_secs(60);

/// What became of a heartbeat (I4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeartbeatOutcome {
    /// Applied; the hive was not known.
    Registered,
    /// Applied.
    Updated,
    /// Older than what is known; dropped. Under [`LivenessClock::Arrival`] the hive counts as heard.
    Superseded,
    /// Of a hive that was removed a moment ago; dropped (L5).
    Removed,
}

pub(crate) struct HiveCell {
    pub(crate) id: HiveId,
    /// Shared with the slots; changed under `inner`, but for parking.
    pub(crate) pulse: Arc<Pulse>,
    /// What `get_hive_state` returns; none until the first heartbeat is applied, and after removal.
    pub(crate) state: Published<Option<Arc<HiveRuntimeState>>>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Taken out of the map, or about to be. Nothing is applied any more: a heartbeat that still holds the
    /// cell would index ghosts.
    retired: bool,
    /// Of the last heartbeat applied.
    order: Option<OrderKey>,
    /// Ordered by worker id.
    slots: Vec<Arc<Slot>>,
    /// `HiveOffline` was told for this silence.
    told_offline: bool,
    arrivals: Arrivals,
}

/// A checked update on its way in.
pub(crate) struct Update<'a> {
    pub(crate) source: Source<'a>,
    /// Ordered by id.
    pub(crate) workers: Vec<Draft<'a>>,
}

pub(crate) enum Source<'a> {
    Heartbeat {
        order: OrderKey,
        hive: Option<Hive<'a>>,
    },
    /// `update_workers` (I6), made for a hive with this state.
    Call {
        seen: Option<Arc<HiveRuntimeState>>,
    },
}

/// The clocks, read before any lock (C5).
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) wall_ms: i64,
    pub(crate) monotonic_ms: i64,
}

/// What a heartbeat does to the workers of its hive.
struct Plan<'c> {
    models: &'c Models,
    /// Ordered by worker id.
    steps: Vec<Step>,
    gone: Vec<Arc<Slot>>,
}

/// What happens to one worker that stays or comes.
struct Step {
    slot: Arc<Slot>,
    old: Option<Arc<WorkerInfo>>,
    new: Arc<WorkerInfo>,
    /// The ranking of a model it did not have before, pinned.
    joins: Option<Arc<Ranking>>,
}

/// Replaced values, to be dropped once the locks are free (C5).
#[derive(Default)]
struct Garbage {
    state: Option<Arc<HiveRuntimeState>>,
    records: Vec<Arc<WorkerInfo>>,
    plan: Option<(Vec<Step>, Vec<Arc<Slot>>)>,
}

// === impl HiveCell ===

impl HiveCell {
    fn new(id: HiveId) -> Self {
        Self {
            id,
            pulse: Arc::new(Pulse::new()),
            state: Published::new(None),
            inner: Mutex::new(Inner {
                retired: false,
                order: None,
                slots: Vec::new(),
                told_offline: false,
                arrivals: Arrivals::default(),
            }),
        }
    }

    /// Ranks the workers of a hive again that a clock since set back had judged dead.
    pub(crate) fn unpark(&self, core: &Core, view: &View<'_>) {
        let inner = self.inner.lock();
        if !inner.retired && self.pulse.unpark(view) {
            for slot in &inner.slots {
                core.sync(slot);
            }
        }
    }

    fn version(&self) -> u64 {
        self.state.load().as_ref().map_or(0, |state| state.version)
    }

    /// The state with the reservations of its workers, copied while no heartbeat is applied.
    pub(crate) fn snapshot<T>(&self, f: impl FnOnce(&Arc<HiveRuntimeState>, &[Arc<Slot>]) -> T) -> Option<T> {
        let inner = self.inner.lock();
        let state = self.state.load_full()?;
        Some(f(&state, &inner.slots))
    }

    pub(crate) fn arrivals<T>(&self, f: impl FnOnce(&Arrivals) -> T) -> Option<T> {
        let inner = self.inner.lock();
        inner.order.map(|_| f(&inner.arrivals))
    }

    /// The hive's offline event, once per silence; under the lock that a heartbeat takes.
    pub(crate) fn tell_offline(&self, core: &Core, is_silent: impl FnOnce(&Pulse) -> bool) {
        let mut inner = self.inner.lock();
        if inner.retired || inner.order.is_none() || inner.told_offline || !is_silent(&self.pulse) {
            return;
        }
        inner.told_offline = true;
        if core.feed.is_read() {
            core.feed.emit(&self.id, self.version(), vec![EventKind::HiveOffline]);
        }
    }
}

impl Inner {
    /// I3, I4: whether a heartbeat of this order is to be applied.
    fn supersedes(&self, new: &OrderKey) -> Result<bool, HeartbeatError> {
        let Some(old) = &self.order else {
            return Ok(true);
        };
        Ok(match (old.pair, new.pair) {
            (Some(old), Some(new)) => new > old,
            // The first pair of a hive that sent none: from now on pairs decide.
            (None, Some(_)) => true,
            (Some(_), None) => {
                return Err(invalid("epoch", "none", "epoch and seq, which this hive has sent before"));
            }
            (None, None) => {
                let behind = old.timestamp.signed_duration_since(new.timestamp);
                new.timestamp >= old.timestamp || behind.to_std().is_ok_and(|behind| behind > REORDER_WINDOW)
            }
        })
    }
}

// === applying ===

impl Core {
    pub(crate) fn read_clocks(&self) -> Now {
        Now { wall_ms: self.config.clock.wall_ms(), monotonic_ms: self.config.clock.monotonic_ms() }
    }

    pub(crate) fn cell(&self, hive_id: &str) -> Option<Arc<HiveCell>> {
        self.hives.read(hive_id, Arc::clone)
    }

    /// Applies an update whole or not at all. O(workers of the hive), each O(log n) where its key changed.
    /// None if `update_workers` must look at the hive again.
    pub(crate) fn apply(
        &self,
        hive_id: &str,
        update: Update<'_>,
    ) -> Result<Option<HeartbeatOutcome>, HeartbeatError> {
        loop {
            let now = self.read_clocks();
            // Before a cell is made, which takes room; and again under its lock.
            if self.cell(hive_id).is_none() && self.is_barred(hive_id, &update.source, now) {
                add(&self.counters.mine().removed);
                return Ok(Some(HeartbeatOutcome::Removed));
            }
            let cell = self.cell_or_new(hive_id)?;
            let mut inner = cell.inner.lock();
            if inner.retired {
                drop(inner);
                self.forget(&cell);
                continue;
            }
            let mut garbage = Garbage::default();
            let result = self.apply_locked(&cell, &mut inner, update, now, &mut garbage);
            // A cell made for a heartbeat that was not applied.
            let retires = inner.order.is_none();
            inner.retired = retires;
            drop(inner);
            if retires {
                self.forget(&cell);
            }
            drop(garbage);
            return result;
        }
    }

    /// L5: whether a tombstone keeps the heartbeat out. `update_workers` is called by hand and overrides it.
    fn is_barred(&self, hive_id: &str, source: &Source<'_>, now: Now) -> bool {
        match source {
            Source::Heartbeat { order, .. } => {
                self.tombstones.bars(hive_id, order, self.config.liveness, now.monotonic_ms)
            }
            Source::Call { .. } => false,
        }
    }

    fn cell_or_new(&self, hive_id: &str) -> Result<Arc<HiveCell>, HeartbeatError> {
        if let Some(cell) = self.cell(hive_id) {
            return Ok(cell);
        }
        let create = || {
            // Given back by `forget`.
            self.hive_room.take(1)?.keep();
            Ok(Arc::new(HiveCell::new(hive_id.into())))
        };
        self.hives.upsert(hive_id.into(), create, |cell| cell.clone())
    }

    /// Takes a retired cell out of the map, if it is still there.
    pub(crate) fn forget(&self, retired: &Arc<HiveCell>) {
        if self.hives.remove_if(retired.id.as_str(), |cell| Arc::ptr_eq(cell, retired)).is_some() {
            self.hive_room.give_back(1);
        }
    }

    fn apply_locked(
        &self,
        cell: &HiveCell,
        inner: &mut Inner,
        update: Update<'_>,
        now: Now,
        garbage: &mut Garbage,
    ) -> Result<Option<HeartbeatOutcome>, HeartbeatError> {
        let before = cell.state.load_full();
        if self.is_barred(&cell.id, &update.source, now) {
            add(&self.counters.mine().removed);
            return Ok(Some(HeartbeatOutcome::Removed));
        }
        let is_call = matches!(update.source, Source::Call { .. });
        let (order, info, capabilities) = match update.source {
            Source::Heartbeat { order, hive } => {
                if !inner.supersedes(&order)? {
                    self.hear(cell, inner, now);
                    add(&self.counters.mine().superseded);
                    return Ok(Some(HeartbeatOutcome::Superseded));
                }
                // A plain heartbeat says nothing of the hive, and what an older one said does not outlive it:
                // the state is the newest heartbeat's, whatever came before (I3).
                let before = before.as_deref();
                let info = hive.as_ref().map(|hive| hive.info(before.and_then(|state| state.hive.as_ref())));
                let capabilities = hive
                    .as_ref()
                    .and_then(|hive| hive.capabilities(before.and_then(|state| state.capabilities.as_ref())));
                (order, info, capabilities)
            }
            Source::Call { seen } => {
                let told = |state: &Option<Arc<HiveRuntimeState>>| {
                    let state = state.as_ref();
                    (
                        state.and_then(|state| state.hive.clone()),
                        state.and_then(|state| state.capabilities.clone()),
                    )
                };
                let (info, capabilities) = told(&before);
                if told(&seen) != (info.clone(), capabilities.clone()) {
                    return Ok(None);
                }
                let heard = wall_time(now.wall_ms);
                let order = OrderKey {
                    pair: inner.order.and_then(|order| order.pair),
                    timestamp: inner.order.map_or(heard, |order| order.timestamp.max(heard)),
                };
                (order, info, capabilities)
            }
        };
        let last_heartbeat_ms = match self.config.liveness {
            LivenessClock::Reported => order.timestamp.timestamp_millis().min(now.wall_ms),
            LivenessClock::Arrival => self.arrival_ms(now.monotonic_ms),
        };

        // Compute first: everything that can be refused is refused here.
        let seats = self.worker_room.take(update.workers.len().saturating_sub(inner.slots.len()))?;
        let plan = self.plan(cell, inner, before.as_deref(), update.workers)?;
        seats.keep();
        if is_call {
            self.tombstones.clear(&cell.id);
        }

        // Then apply, in an order that keeps every stored key at least as good as the truth.
        let version = self.versions.fetch_add(1, Relaxed) + 1;
        let mut events = self.feed.is_read().then(Vec::new);
        for slot in &plan.gone {
            self.counters.reservations(-i64::from(slot.end()));
        }
        for step in &plan.steps {
            if step.old.is_some() {
                garbage.records.push(step.slot.publish(step.new.clone()));
            }
        }
        let all = cell.pulse.beat(last_heartbeat_ms, info.as_ref().is_none_or(|info| info.serves()));
        cell.pulse.set_arrival(now.monotonic_ms);
        for slot in &plan.gone {
            self.unindex(slot);
        }
        for step in &plan.steps {
            self.index(step, all);
        }
        if let Some(events) = &mut events {
            plan.tell(before.is_none(), events);
        }

        inner.arrivals.arrived(now.monotonic_ms);
        inner.arrivals.added += plan.steps.iter().filter(|step| step.old.is_none()).count() as u64;
        inner.arrivals.removed += plan.gone.len() as u64;
        self.worker_room.give_back(inner.slots.len().saturating_sub(plan.steps.len()));
        inner.slots = plan.steps.iter().map(|step| step.slot.clone()).collect();
        inner.order = Some(order);
        let told_offline = std::mem::take(&mut inner.told_offline);
        let workers: Vec<_> = plan.steps.iter().map(|step| step.new.clone()).collect();
        let (vram_used_gb, ram_used_gb) = used_gb(&workers, &self.config);
        garbage.state = cell.state.swap(Some(Arc::new(HiveRuntimeState {
            hive_id: cell.id.clone(),
            worker_count: workers.len(),
            workers,
            last_heartbeat_ms,
            vram_used_gb,
            ram_used_gb,
            version,
            hive: info.clone(),
            capabilities: capabilities.clone(),
        })));
        let outcome = match &before {
            None => {
                self.registered.fetch_add(1, Relaxed);
                add(&self.counters.mine().registered);
                HeartbeatOutcome::Registered
            }
            Some(before) => {
                add(&self.counters.mine().updated);
                if let Some(events) = &mut events {
                    if !events.is_empty()
                        || told_offline
                        || before.hive != info
                        || before.capabilities != capabilities
                    {
                        events.push(EventKind::HiveUpdated);
                    }
                }
                HeartbeatOutcome::Updated
            }
        };
        if let Some(events) = events.filter(|events| !events.is_empty()) {
            self.feed.emit(&cell.id, version, events);
        }
        garbage.plan = Some(plan.into_parts());
        Ok(Some(outcome))
    }

    /// Sets the new workers beside the old ones, both ordered by id, and pins the rankings that will be joined.
    fn plan<'c>(
        &'c self,
        cell: &HiveCell,
        inner: &Inner,
        before: Option<&HiveRuntimeState>,
        drafts: Vec<Draft<'_>>,
    ) -> Result<Plan<'c>, HeartbeatError> {
        let mut plan =
            Plan { models: &self.models, steps: Vec::with_capacity(drafts.len()), gone: Vec::new() };
        // The state's workers and the slots run side by side.
        let mut known = before.map_or(&[][..], |state| &state.workers).iter().zip(&inner.slots).peekable();
        for draft in drafts {
            let id = draft.id.as_str();
            while let Some((_, slot)) = known.next_if(|(old, _)| *old.worker_id < *id) {
                plan.gone.push(slot.clone());
            }
            let found = known.next_if(|(old, _)| *old.worker_id == *id);
            let old = found.map(|(old, _)| old);
            let new_model = draft.model.as_ref().map(|model| model.as_str());
            let joins = match new_model {
                Some(model) if old.and_then(|old| old.model_id.as_deref()) != Some(model) => {
                    Some(self.models.pin(model)?)
                }
                _ => None,
            };
            let new = Arc::new(draft.record(&cell.id, old.map(Arc::as_ref)));
            let slot = match found {
                Some((_, slot)) => slot.clone(),
                None => {
                    let order = self.orders.fetch_add(1, Relaxed) + 1;
                    Arc::new(Slot::new(new.clone(), cell.pulse.clone(), order))
                }
            };
            plan.steps.push(Step { slot, old: old.cloned(), new, joins });
        }
        plan.gone.extend(known.map(|(_, slot)| slot.clone()));
        Ok(plan)
    }

    /// Puts one worker where its new record belongs.
    fn index(&self, step: &Step, all: bool) {
        let Step { slot, old, new, joins } = step;
        let old_model = old.as_ref().and_then(|old| old.model_id.as_deref());
        let is_new = old.is_none();
        let key_changed = all || old.as_ref().is_some_and(|old| key_differs(old, new));
        if old_model != new.model_id.as_deref() {
            if let Some(ranking) = old_model.and_then(|model| self.models.get(model)) {
                self.models.leave(&ranking, slot);
            }
            if let Some(ranking) = joins {
                ranking.join(slot);
            }
        } else if key_changed {
            if let Some(ranking) = old_model.and_then(|model| self.models.get(model)) {
                ranking.sync(slot);
            }
        }
        let was_idle = old.as_ref().is_some_and(|old| old.state == WorkerLifecycle::Idle);
        match (was_idle, new.state == WorkerLifecycle::Idle) {
            (false, true) => self.idle.join(slot),
            // The idle ranking is pinned for good.
            (true, false) => _ = self.idle.leave(slot),
            (true, true) if key_changed => self.idle.sync(slot),
            _ => {}
        }
        if is_new {
            self.workers.join(new, slot);
        }
    }

    /// Takes an ended slot out of every index.
    fn unindex(&self, slot: &Arc<Slot>) {
        let record = slot.record();
        if let Some(ranking) = record.model_id.as_deref().and_then(|model| self.models.get(model)) {
            self.models.leave(&ranking, slot);
        }
        if record.state == WorkerLifecycle::Idle {
            let _ = self.idle.leave(slot);
        }
        self.workers.leave(&record, slot);
    }

    /// A superseded heartbeat still shows that the hive is there: to eviction, and under the arrival clock to
    /// everyone (L1).
    fn hear(&self, cell: &HiveCell, inner: &mut Inner, now: Now) {
        inner.arrivals.arrived(now.monotonic_ms);
        cell.pulse.set_arrival(now.monotonic_ms);
        if self.config.liveness != LivenessClock::Arrival {
            return;
        }
        if cell.pulse.heard(self.arrival_ms(now.monotonic_ms)) {
            for slot in &inner.slots {
                self.sync(slot);
            }
        }
        if std::mem::take(&mut inner.told_offline) && self.feed.is_read() {
            self.feed.emit(&cell.id, cell.version(), vec![EventKind::HiveUpdated]);
        }
    }

    // === removing ===

    /// L5: takes the hive and its workers out of everything and leaves a tombstone.
    pub(crate) fn remove_hive(&self, hive_id: &str) -> bool {
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
                            epoch: inner.order.and_then(|order| order.pair).map(|(epoch, _)| epoch),
                        },
                    );
                },
            );
            match removed {
                Ended::Removed => return true,
                Ended::Kept => return false,
                Ended::Retired => {}
            }
        }
    }

    /// L3: takes the hive out if it is still silent, decided under the lock that a heartbeat takes.
    pub(crate) fn evict_hive(&self, cell: &Arc<HiveCell>, is_silent: impl FnOnce(&Pulse) -> bool) -> bool {
        matches!(self.end_hive(cell, is_silent, |_| ()), Ended::Removed)
    }

    fn end_hive(
        &self,
        cell: &Arc<HiveCell>,
        decide: impl FnOnce(&Pulse) -> bool,
        then: impl FnOnce(&Inner),
    ) -> Ended {
        let mut inner = cell.inner.lock();
        if inner.retired {
            drop(inner);
            self.forget(cell);
            return Ended::Retired;
        }
        if inner.order.is_none() || !decide(&cell.pulse) {
            return Ended::Kept;
        }
        inner.retired = true;
        then(&inner);
        let slots = std::mem::take(&mut inner.slots);
        // All first, so that no pick returns one of them from here on.
        for slot in &slots {
            self.counters.reservations(-i64::from(slot.end()));
        }
        for slot in &slots {
            self.unindex(slot);
        }
        self.worker_room.give_back(slots.len());
        self.registered.fetch_sub(1, Relaxed);
        let state = cell.state.swap(None);
        if let (Some(state), true) = (&state, self.feed.is_read()) {
            let mut events: Vec<_> = state.workers.iter().cloned().map(EventKind::WorkerRemoved).collect();
            events.push(EventKind::HiveRemoved);
            self.feed.emit(&cell.id, self.versions.fetch_add(1, Relaxed) + 1, events);
        }
        drop(inner);
        self.forget(cell);
        drop((state, slots));
        Ended::Removed
    }
}

enum Ended {
    Removed,
    Kept,
    /// Somebody else took it out; there may be another under its name.
    Retired,
}

// === impl Plan ===

impl Plan<'_> {
    fn tell(&self, is_new: bool, events: &mut Vec<EventKind>) {
        if is_new {
            events.push(EventKind::HiveRegistered);
        }
        for step in &self.steps {
            match &step.old {
                None => events.push(EventKind::WorkerAdded(step.new.clone())),
                Some(old) if old.differs_for_a_scheduler(&step.new) => {
                    events.push(EventKind::WorkerChanged(step.new.clone()));
                }
                Some(_) => {}
            }
        }
        events.extend(self.gone.iter().map(|slot| EventKind::WorkerRemoved(slot.record())));
    }

    /// Unpins; what is left is garbage.
    fn into_parts(mut self) -> (Vec<Step>, Vec<Arc<Slot>>) {
        self.unpin();
        (std::mem::take(&mut self.steps), std::mem::take(&mut self.gone))
    }

    fn unpin(&mut self) {
        for step in &mut self.steps {
            if let Some(ranking) = step.joins.take() {
                self.models.unpin(&ranking);
            }
        }
    }
}

impl Drop for Plan<'_> {
    /// A refused heartbeat leaves no model behind.
    fn drop(&mut self) {
        self.unpin();
    }
}

/// Whether two records of one worker may have different keys or room.
fn key_differs(old: &WorkerInfo, new: &WorkerInfo) -> bool {
    old.state != new.state
        || old.health_status != new.health_status
        || old.gpu_percent != new.gpu_percent
        || old.max_concurrency != new.max_concurrency
}
