//! How a heartbeat is applied to its hive: whole or not at all (I1), in order (I3).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::builder::LivenessClock;
use crate::core::Core;
use crate::error::HeartbeatError;
use crate::events::EventKind;
use crate::hive::{HeartbeatOutcome, HiveCell, Inner, Now};
use crate::index::models::Models;
use crate::index::ranking::Ranking;
use crate::lease::wall_time;
use crate::resources::used_gb;
use crate::slot::Slot;
use crate::state::{HiveRuntimeState, WorkerInfo, WorkerLifecycle};
use crate::stats::add;
use crate::wire::{Draft, Hive, OrderKey};

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
    plan: Option<(Vec<Step>, Vec<Arc<Slot>>)>,
}

impl Core {
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

        let workers: Vec<_> = plan.steps.iter().map(|step| step.new.clone()).collect();
        let (vram_used_gb, ram_used_gb) = used_gb(&workers, &self.config);
        let state = HiveRuntimeState {
            hive_id: cell.id.clone(),
            worker_count: workers.len(),
            workers,
            last_heartbeat_ms,
            vram_used_gb,
            ram_used_gb,
            version: self.versions.fetch_add(1, Relaxed) + 1,
            hive: info,
            capabilities,
        };
        inner.order = Some(order);
        Ok(Some(self.carry_out(cell, inner, state, plan, now, garbage)))
    }

    /// Nothing can be refused any more. In an order that keeps every stored key at least as good as the truth:
    /// what is gone goes first, what improves is written through last.
    fn carry_out(
        &self,
        cell: &HiveCell,
        inner: &mut Inner,
        state: HiveRuntimeState,
        plan: Plan<'_>,
        now: Now,
        garbage: &mut Garbage,
    ) -> HeartbeatOutcome {
        for slot in &plan.gone {
            self.counters.reservations(-i64::from(slot.end()));
        }
        for step in &plan.steps {
            if step.old.is_some() {
                // What it replaces is `old`, which outlives the locks.
                drop(step.slot.publish(step.new.clone()));
            }
        }
        let serves = state.hive.as_ref().is_none_or(|hive| hive.serves());
        let all = cell.pulse.beat(state.last_heartbeat_ms, serves);
        cell.pulse.set_arrival(now.monotonic_ms);
        for slot in &plan.gone {
            self.unindex(slot);
        }
        for step in &plan.steps {
            self.index(step, all);
        }

        inner.arrivals.arrived(now.monotonic_ms);
        let added = plan.steps.iter().filter(|step| step.old.is_none()).count();
        inner.arrivals.added += added as u64;
        inner.arrivals.removed += plan.gone.len() as u64;
        self.worker_room.give_back(inner.slots.len().saturating_sub(plan.steps.len()));
        if added > 0 || !plan.gone.is_empty() {
            inner.slots = plan.steps.iter().map(|step| step.slot.clone()).collect();
        }
        let told_offline = std::mem::take(&mut inner.told_offline);

        let state = Arc::new(state);
        let before = cell.state.swap(Some(state.clone()));
        if self.feed.is_read() {
            let events = plan.tell(before.as_deref(), &state, told_offline);
            if !events.is_empty() {
                self.feed.emit(&cell.id, state.version, events);
            }
        }
        let stripe = self.counters.mine();
        let outcome = if before.is_some() {
            add(&stripe.updated);
            HeartbeatOutcome::Updated
        } else {
            self.registered.fetch_add(1, Relaxed);
            add(&stripe.registered);
            HeartbeatOutcome::Registered
        };
        garbage.state = before;
        garbage.plan = Some(plan.into_parts());
        outcome
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
            (true, true) if key_changed => _ = self.idle.sync(slot),
            _ => {}
        }
        if is_new {
            self.workers.join(new, slot);
        }
    }

    /// Takes an ended slot out of every index.
    pub(crate) fn unindex(&self, slot: &Arc<Slot>) {
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
}

// === impl Plan ===

impl Plan<'_> {
    /// E1: what a scheduler would want to know, workers first.
    fn tell(
        &self,
        before: Option<&HiveRuntimeState>,
        after: &HiveRuntimeState,
        told_offline: bool,
    ) -> Vec<EventKind> {
        let mut events = Vec::new();
        if before.is_none() {
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
        if let Some(before) = before {
            let changed = before.hive != after.hive || before.capabilities != after.capabilities;
            if changed || told_offline || !events.is_empty() {
                events.push(EventKind::HiveUpdated);
            }
        }
        events
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
