//! How a heartbeat is applied to its hive: whole or not at all (I1), in order (I3).

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use smallvec::SmallVec;

use crate::builder::LivenessClock;
use crate::clock::millis;
use crate::core::{Changed, Core, renew};
use crate::error::HeartbeatError;
use crate::events::{EventKind, Woken};
use crate::hive::{HeartbeatOutcome, HiveCell, Inner, Member, Now};
use crate::index::models::Models;
use crate::index::ranking::Ranking;
use crate::order::{MAX_RESET_AFTER, MIN_RESET_AFTER, OrderKey, RESET_INTERVALS};
use crate::resources::used_gb;
use crate::roster::WorkerList;
use crate::slot::Slot;
use crate::state::{HiveRuntimeState, WorkerHealth, WorkerInfo, WorkerLifecycle};
use crate::stats::add;
use crate::wire::{Draft, Hive};

/// A checked update on its way in.
pub(crate) struct Update<'a> {
    pub(crate) source: Source<'a>,
    /// Ordered by id; none leaves them as they are.
    pub(crate) workers: Option<Vec<Draft<'a>>>,
}

pub(crate) enum Source<'a> {
    Heartbeat {
        order: OrderKey,
        hive: Hive<'a>,
    },
    /// `update_workers` (I6), made for a hive with this state.
    Call {
        seen: Option<Arc<HiveRuntimeState>>,
    },
}

/// What a heartbeat does to the workers of its hive.
struct Plan<'c> {
    models: &'c Models,
    before: Option<Arc<HiveRuntimeState>>,
    /// Ordered by worker id, and beside them what happens to each.
    workers: WorkerList,
    steps: SmallVec<[Step; 8]>,
    /// The places of the members that go.
    gone: SmallVec<[usize; 8]>,
}

/// What happens to a worker that stays or comes.
struct Step {
    /// Its place among the members so far; none if it comes.
    stays: Option<usize>,
    /// The ranking of a model it did not have before, pinned.
    joins: Option<Arc<Ranking>>,
}

/// Replaced values, and readers of events to be woken: to be dropped once the locks are free (C5).
#[derive(Default)]
struct Garbage {
    state: Option<Arc<HiveRuntimeState>>,
    gone: Vec<Member>,
    left: Vec<Arc<Ranking>>,
    woken: Woken,
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
            let cell = match self.cell(hive_id) {
                Some(cell) => cell,
                // Before a cell is made, which takes room; and again under its lock.
                None if self.is_barred(hive_id, &update.source, now) => {
                    add(&self.counters.mine().removed);
                    return Ok(Some(HeartbeatOutcome::Removed));
                }
                None => self.new_cell(hive_id)?,
            };
            let mut inner = cell.inner.lock();
            if inner.retired {
                drop(inner);
                self.forget(&cell);
                continue;
            }
            let mut garbage = Garbage::default();
            let result = self.apply_locked(&cell, &mut inner, update, now, &mut garbage);
            // A cell made for a heartbeat that was not applied.
            let retires = !inner.is_registered();
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
        let before = cell.state();
        if self.is_barred(&cell.id, &update.source, now) {
            add(&self.counters.mine().removed);
            return Ok(Some(HeartbeatOutcome::Removed));
        }
        let mut health = None;
        let (order, info, capabilities) = match update.source {
            Source::Heartbeat { order, hive } => {
                let reset_after_ms = reset_after_ms(inner);
                if !inner.order.admits(order.place(), now.monotonic_ms, reset_after_ms) {
                    self.hear(cell, inner, &order, now, &mut garbage.woken);
                    add(&self.counters.mine().superseded);
                    return Ok(Some(HeartbeatOutcome::Superseded));
                }
                // What an older heartbeat said of the hive does not outlive it: the state is the newest one's,
                // whatever came before (I3).
                let before = before.as_deref();
                let info = hive.info(before.and_then(|state| state.hive.as_ref()));
                let capabilities = hive.capabilities(before.and_then(|state| state.capabilities.as_ref()));
                health = Some(hive.worker_health());
                (Some(order), info, capabilities)
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
                (None, info, capabilities)
            }
        };
        let last_heartbeat_ms = self.sent_ms(order.as_ref(), now);

        // Compute first: everything that can be refused is refused here.
        let count = update.workers.as_ref().map_or(inner.members.len(), Vec::len);
        let seats = self.worker_room.take(count.saturating_sub(inner.members.len()))?;
        let mut plan = match update.workers {
            Some(drafts) => self.plan(cell, inner, before, drafts)?,
            None => Plan::to_keep(&self.models, before, health.as_ref()),
        };
        seats.keep();
        match order {
            Some(order) => {
                inner.order.applied(order.place(), now.monotonic_ms);
                inner.arrivals.differs_by(skew_ms(&order, now));
            }
            // By hand.
            None => self.tombstones.clear(&cell.id),
        }

        let workers = std::mem::take(&mut plan.workers);
        self.enroll(cell, inner, &plan, &workers, garbage);
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
        Ok(Some(self.carry_out(cell, inner, state, plan, now, garbage)))
    }

    /// Nothing can be refused any more. In an order that keeps every stored key at least as good as the truth:
    /// what is gone goes first, what improves is written through last.
    fn carry_out(
        &self,
        cell: &HiveCell,
        inner: &mut Inner,
        state: HiveRuntimeState,
        mut plan: Plan<'_>,
        now: Now,
        garbage: &mut Garbage,
    ) -> HeartbeatOutcome {
        garbage.gone.iter().for_each(|member| self.end(&member.slot));
        let state = Arc::new(state);
        // What it replaces is the plan's `before`, which outlives the locks.
        drop(cell.swap_state(Some(state.clone())));
        for (member, new) in inner.members.iter().zip(&state.workers) {
            member.slot.set_limit(new);
        }
        let serves = state.hive.as_ref().is_none_or(|hive| hive.serves());
        // Every key is written below, whatever was parked.
        let _ = cell.pulse.beat(state.last_heartbeat_ms, self.now_of(now), serves);
        cell.pulse.set_arrival(now.monotonic_ms);
        for (member, at) in garbage.gone.iter().zip(&plan.gone) {
            self.unindex(member, &plan.known()[*at]);
        }
        self.index(inner, &plan, &state.workers, garbage);

        inner.arrivals.arrived(now.monotonic_ms);
        inner.arrivals.added += (plan.steps.len() + plan.gone.len() - plan.known().len()) as u64;
        inner.arrivals.removed += plan.gone.len() as u64;
        let comes_online = inner.comes_online(cell.pulse.is_live(&self.window_at(now)));

        if self.feed.is_read() {
            let events = plan.tell(&state, comes_online);
            if !events.is_empty() {
                self.feed.emit(&cell.id, state.version, events, &mut garbage.woken);
            }
        }
        let stripe = self.counters.mine();
        let outcome = if plan.before.is_some() {
            add(&stripe.updated);
            HeartbeatOutcome::Updated
        } else {
            self.registered.fetch_add(1, Relaxed);
            add(&stripe.registered);
            HeartbeatOutcome::Registered
        };
        garbage.state = plan.before.take();
        outcome
    }

    /// Sets the new workers beside the old ones, both ordered by id, and pins the rankings that will be joined.
    fn plan<'c>(
        &'c self,
        cell: &HiveCell,
        inner: &Inner,
        before: Option<Arc<HiveRuntimeState>>,
        drafts: Vec<Draft<'_>>,
    ) -> Result<Plan<'c>, HeartbeatError> {
        let known = workers_of(before.as_deref());
        fetch(known, &inner.members);
        let count = drafts.len();
        let mut plan = Plan {
            models: &self.models,
            before: before.clone(),
            workers: WorkerList::with_capacity(count),
            steps: SmallVec::with_capacity(count),
            gone: SmallVec::new(),
        };
        let mut known = known.iter().enumerate().peekable();
        for draft in drafts {
            let id = draft.id.as_str();
            while let Some((at, _)) = known.next_if(|(_, old)| *old.worker_id < *id) {
                plan.gone.push(at);
            }
            let found = known.next_if(|(_, old)| *old.worker_id == *id);
            let old = found.map(|(_, old)| &**old);
            let old_model = old.and_then(|old| old.model_id.as_ref());
            let joins = match draft.model {
                Some(model) if old_model.is_none_or(|old| *old != *model) => Some(self.models.pin(model)?),
                _ => None,
            };
            let model = joins.as_deref().map(Ranking::model).or(old_model.filter(|_| draft.model.is_some()));
            let record = draft.record(&cell.id, model, old);
            plan.steps.push(Step { stays: found.map(|(at, _)| at), joins });
            plan.workers.push(Arc::new(record));
        }
        plan.gone.extend(known.map(|(at, _)| at));
        Ok(plan)
    }

    /// Makes the members anew where some come or go, those into `garbage`.
    fn enroll(
        &self,
        cell: &HiveCell,
        inner: &mut Inner,
        plan: &Plan<'_>,
        workers: &[Arc<WorkerInfo>],
        garbage: &mut Garbage,
    ) {
        if plan.gone.is_empty() && plan.steps.len() == inner.members.len() {
            return;
        }
        self.worker_room.give_back(inner.members.len().saturating_sub(workers.len()));
        let mut old: Vec<_> = std::mem::take(&mut inner.members).into_vec().into_iter().map(Some).collect();
        let comes = |record: &WorkerInfo| Member {
            slot: Arc::new(Slot::new(record, cell.front.clone(), self.next_order())),
            ranking: None,
        };
        let member = |(step, record): (&Step, &Arc<WorkerInfo>)| {
            step.stays.and_then(|at| old[at].take()).unwrap_or_else(|| comes(record))
        };
        inner.members = plan.steps.iter().zip(workers).map(member).collect();
        garbage.gone = old.into_iter().flatten().collect();
    }

    /// Puts every worker where its new record belongs, and gives the record to each of its rankings.
    ///
    /// Who becomes idle joins the idle ones first, and who ceases to be leaves them last: a pick looks at its model,
    /// at the idle ones and at its model again, so it finds whoever goes from one to the other meanwhile (C2).
    fn index(&self, inner: &mut Inner, plan: &Plan<'_>, workers: &[Arc<WorkerInfo>], garbage: &mut Garbage) {
        let was_idle = |step: &Step| step.stays.is_some_and(|at| is_idle(&plan.known()[at]));
        let old_model = |step: &Step| plan.known()[step.stays?].model_id.as_deref();

        for (Member { slot, .. }, (step, new)) in inner.members.iter().zip(plan.steps.iter().zip(workers)) {
            if is_idle(new) && !was_idle(step) {
                self.idle.join(slot, new);
            }
        }
        for (Member { slot, ranking }, (step, new)) in
            inner.members.iter_mut().zip(plan.steps.iter().zip(workers))
        {
            if old_model(step) != new.model_id.as_deref() {
                slot.set_home(step.joins.as_ref());
                if let Some(left) = std::mem::replace(ranking, step.joins.clone()) {
                    self.models.leave(&left, slot);
                    garbage.left.push(left);
                }
                if let Some(joined) = ranking {
                    joined.join(slot, new);
                }
            }
            if step.stays.is_none() {
                self.workers.join(new, slot);
            }
        }
        let (mut of_model, mut of_idle) = (Changed::new(), Changed::new());
        for (member, (step, new)) in inner.members.iter().zip(plan.steps.iter().zip(workers)) {
            // Who joins has it.
            of_model.extend(member.ranked(new).filter(|_| step.joins.is_none()));
            of_idle.extend((was_idle(step) && is_idle(new)).then_some((&self.idle, &member.slot, new)));
        }
        renew(&of_model);
        renew(&of_idle);
        for (Member { slot, .. }, (step, new)) in inner.members.iter().zip(plan.steps.iter().zip(workers)) {
            if was_idle(step) && !is_idle(new) {
                // The idle ranking is pinned for good.
                let _ = self.idle.leave(slot);
            }
        }
    }

    /// Takes an ended slot out of every index.
    pub(crate) fn unindex(&self, member: &Member, record: &WorkerInfo) {
        let Member { slot, ranking } = member;
        if let Some(ranking) = ranking {
            self.models.leave(ranking, slot);
        }
        if is_idle(record) {
            let _ = self.idle.leave(slot);
        }
        self.workers.leave(record, slot);
    }

    /// A superseded heartbeat still shows that the hive is there: to eviction, and to everyone as of when it was sent
    /// (I3).
    fn hear(&self, cell: &HiveCell, inner: &mut Inner, order: &OrderKey, now: Now, woken: &mut Woken) {
        inner.arrivals.arrived(now.monotonic_ms);
        inner.arrivals.differs_by(skew_ms(order, now));
        cell.pulse.set_arrival(now.monotonic_ms);
        if cell.pulse.beat(self.sent_ms(Some(order), now), self.now_of(now), cell.pulse.serves()) {
            cell.sync(self, inner);
        }
        if inner.comes_online(cell.pulse.is_live(&self.window_at(now))) && self.feed.is_read() {
            self.feed.emit(&cell.id, cell.version(), vec![EventKind::HiveUpdated], woken);
        }
    }

    /// L1: when the hive was there, on the liveness clock: by its heartbeat's timestamp, never later than the arrival,
    /// or by the arrival. A call is of now.
    fn sent_ms(&self, order: Option<&OrderKey>, now: Now) -> i64 {
        match (self.config.liveness, order) {
            (LivenessClock::Reported, Some(order)) => order.timestamp.timestamp_millis().min(now.wall_ms),
            _ => self.now_of(now),
        }
    }
}

/// I3: how long ago the newest heartbeat must have arrived before an older one may begin anew.
fn reset_after_ms(inner: &Inner) -> i64 {
    let intervals_ms = inner.arrivals.intervals_ms(RESET_INTERVALS);
    intervals_ms.clamp(millis(MIN_RESET_AFTER), millis(MAX_RESET_AFTER))
}

/// How far the clock that stamped the heartbeat is ahead of ours.
fn skew_ms(order: &OrderKey, now: Now) -> i64 {
    order.timestamp.timestamp_millis().saturating_sub(now.wall_ms)
}

// === impl Plan ===

impl<'c> Plan<'c> {
    /// C1: all workers stay, with the very records they have; but that the health of a process is its hive's, which
    /// the heartbeat tells: a hive that has recovered would not be picked from else.
    fn to_keep(
        models: &'c Models,
        before: Option<Arc<HiveRuntimeState>>,
        health: Option<&WorkerHealth>,
    ) -> Self {
        let kept = |worker: &Arc<WorkerInfo>| match health {
            Some(health) if worker.process.is_some() && *health != worker.health_status => {
                Arc::new(WorkerInfo { health_status: health.clone(), ..(**worker).clone() })
            }
            _ => worker.clone(),
        };
        let workers: WorkerList = workers_of(before.as_deref()).iter().map(kept).collect();
        let steps = (0..workers.len()).map(|at| Step { stays: Some(at), joins: None }).collect();
        Self { models, before, workers, steps, gone: SmallVec::new() }
    }
}

impl Plan<'_> {
    /// The workers so far, as the members are.
    fn known(&self) -> &[Arc<WorkerInfo>] {
        workers_of(self.before.as_deref())
    }

    /// E1: what a scheduler would want to know, workers first.
    fn tell(&self, after: &HiveRuntimeState, comes_online: bool) -> Vec<EventKind> {
        let mut events = Vec::new();
        if self.before.is_none() {
            events.push(EventKind::HiveRegistered);
        }
        let known = self.known();
        for (step, new) in self.steps.iter().zip(&after.workers) {
            match step.stays.map(|at| &known[at]) {
                None => events.push(EventKind::WorkerAdded(new.clone())),
                Some(old) if old.differs_for_a_scheduler(new) => {
                    events.push(EventKind::WorkerChanged(new.clone()));
                }
                Some(_) => {}
            }
        }
        events.extend(self.gone.iter().map(|at| EventKind::WorkerRemoved(known[*at].clone())));
        if let Some(before) = &self.before {
            let changed = before.hive != after.hive || before.capabilities != after.capabilities;
            if changed || comes_online || !events.is_empty() {
                events.push(EventKind::HiveUpdated);
            }
        }
        events
    }
}

impl Drop for Plan<'_> {
    /// Refused or carried out: a model that nobody joined goes.
    fn drop(&mut self) {
        for ranking in self.steps.iter_mut().filter_map(|step| step.joins.take()) {
            self.models.unpin(&ranking);
        }
    }
}

fn workers_of(state: Option<&HiveRuntimeState>) -> &[Arc<WorkerInfo>] {
    state.map_or(&[], |state| &state.workers)
}

/// Loads what the plan will look at, and nothing else: the cache misses of several workers overlap, which they do
/// not with the making of a record between them. These fields are on as many cache lines.
fn fetch(known: &[Arc<WorkerInfo>], members: &[Member]) {
    for (old, member) in known.iter().zip(members) {
        let state = old.state == WorkerLifecycle::Idle;
        black_box((old.vram_bytes, old.gpu_percent, old.url.is_some(), state, old.process.is_some()));
        black_box(member.slot.word());
    }
}

/// Whether it is among those that take what no worker has the model for.
fn is_idle(record: &WorkerInfo) -> bool {
    record.state == WorkerLifecycle::Idle
}
