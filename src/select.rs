//! The default rule (S2) and its explanation (S9).

use std::sync::Arc;

use crate::core::Core;
use crate::index::Entry;
use crate::index::ranking::{Best, Fit, Ranking};
use crate::liveness::View;
use crate::names::{HiveId, ModelId};
use crate::reservation::Hold;
use crate::slot::Slot;
use crate::state::{WorkerHealth, WorkerInfo, WorkerLifecycle};
use crate::wire::{HiveHealth, OperationalStatus};

/// Why a pick goes where it goes; from [`HiveRegistry::explain`](crate::HiveRegistry::explain).
///
/// Each worker with the model loaded is counted once, under the first reason that applies, in the order of
/// the fields from `stale` on, `stale_by_clock` aside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The model asked for.
    pub model: ModelId,
    /// Workers that have it loaded.
    pub workers: usize,
    /// Of these, workers that may be picked.
    pub eligible: usize,
    /// Their hive was not heard within the liveness window.
    pub stale: usize,
    /// Of the stale, those whose hive's last heartbeat arrived within the window: what its clock says, and it alone,
    /// makes them stale. See [`HiveStats::clock_skew_ms`](crate::HiveStats::clock_skew_ms).
    pub stale_by_clock: usize,
    /// They or their hive are unhealthy.
    pub unhealthy: usize,
    /// They are loading, or their hive is starting.
    pub loading: usize,
    /// They are draining, or their hive is stopping or stopped.
    pub draining: usize,
    /// They are in another state that takes no requests.
    pub other: usize,
    /// They hold as many reservations as they take.
    pub full: usize,
    /// Eligible idle workers of any model or none, among which a pick falls back when `eligible` is 0.
    pub idle_fallbacks: usize,
    /// What the pick would be.
    pub pick: Option<(HiveId, Arc<WorkerInfo>)>,
}

enum Standing {
    Eligible,
    Stale,
    Unhealthy,
    Loading,
    Draining,
    Other,
    Full,
}

impl Core {
    /// S2, S7: look at the winner, check it, done; what is found wrong is corrected under the ranking's lock.
    pub(crate) fn best(&self, model: &str, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let of_model =
            || self.found(view, || self.models.look(model, |it| it.best(view)).unwrap_or(Best::Nobody));
        // Who has gone over from the idle ones to the model meanwhile is there now (C2).
        of_model().or_else(|| self.found(view, || self.idle.best(view))).or_else(of_model)
    }

    /// [`best`](Self::best), the model's ranking known.
    pub(crate) fn best_of(&self, ranking: &Ranking, view: &View<'_>) -> Option<Arc<WorkerInfo>> {
        let of = |ranking: &Ranking| self.found(view, || ranking.best(view));
        of(ranking).or_else(|| of(&self.idle)).or_else(|| of(ranking))
    }

    /// S5: chooses by the same rule and counts in one step.
    pub(crate) fn reserve(&self, model: &str) -> Option<Hold> {
        self.reserve_of(|| self.models.get(model))
    }

    /// [`reserve`](Self::reserve), the model's ranking looked up by `ranking`: again, where it had nobody.
    pub(crate) fn reserve_of(&self, ranking: impl Fn() -> Option<Arc<Ranking>>) -> Option<Hold> {
        let view = self.view();
        let of = |ranking: &Ranking| self.found(&view, || ranking.reserve(&view, || self.next_turn()));
        let of_model = || {
            let ranking = ranking()?;
            let Fit { slot, record, .. } = of(&ranking)?;
            Some(Hold { slot, worker: record, ranking: Some(ranking) })
        };
        let of_idle = || Some(self.taken_idle(of(&self.idle)?));
        self.counters.reserved(of_model().or_else(of_idle).or_else(of_model))
    }

    /// What was reserved of an idle worker, whose own model is told at once: else a pick of that model would find out
    /// about any number of them, one after the other.
    pub(crate) fn taken_idle(&self, fit: Fit) -> Hold {
        let Fit { slot, record, .. } = fit;
        self.sync_model(&slot);
        Hold { slot, worker: record, ranking: None }
    }

    pub(crate) fn explain(&self, model: &str) -> Explanation {
        let view = self.view();
        let monotonic_ms = self.config.clock.monotonic_ms();
        let members = self.models.get(model).map_or_else(Vec::new, |ranking| ranking.members());
        let mut told = Explanation {
            model: model.into(),
            workers: 0,
            eligible: 0,
            stale: 0,
            stale_by_clock: 0,
            unhealthy: 0,
            loading: 0,
            draining: 0,
            other: 0,
            full: 0,
            idle_fallbacks: 0,
            pick: None,
        };
        for Entry { slot, record } in &members {
            told.workers += 1;
            let standing = standing(slot, record, &view);
            let arrived_lately = || monotonic_ms.saturating_sub(slot.pulse().arrival()) < view.window;
            told.stale_by_clock += usize::from(matches!(standing, Standing::Stale) && arrived_lately());
            *match standing {
                Standing::Eligible => &mut told.eligible,
                Standing::Stale => &mut told.stale,
                Standing::Unhealthy => &mut told.unhealthy,
                Standing::Loading => &mut told.loading,
                Standing::Draining => &mut told.draining,
                Standing::Other => &mut told.other,
                Standing::Full => &mut told.full,
            } += 1;
        }
        let is_fallback =
            |Entry { slot, record }: &&Entry| matches!(standing(slot, record, &view), Standing::Eligible);
        told.idle_fallbacks = self.idle.members().iter().filter(is_fallback).count();
        told.pick = self.best(model, &view).map(|worker| (worker.hive_id.clone(), worker));
        told
    }
}

fn standing(slot: &Slot, record: &WorkerInfo, view: &View<'_>) -> Standing {
    if !slot.pulse().is_live(view) {
        return Standing::Stale;
    }
    if record.health_status == WorkerHealth::Unhealthy {
        return Standing::Unhealthy;
    }
    if !slot.pulse().serves() {
        let state = slot.state();
        let hive = state.as_ref().and_then(|state| state.hive.as_deref());
        return match (hive.map(|hive| (&hive.health_status, hive.operational_status)), &record.state) {
            (Some((HiveHealth::Unhealthy { .. }, _)), _) => Standing::Unhealthy,
            (Some((_, OperationalStatus::Starting)), _) | (_, WorkerLifecycle::Loading) => Standing::Loading,
            _ => Standing::Draining,
        };
    }
    match record.state {
        WorkerLifecycle::Loading => Standing::Loading,
        WorkerLifecycle::Draining => Standing::Draining,
        WorkerLifecycle::Other(_) => Standing::Other,
        WorkerLifecycle::Idle | WorkerLifecycle::Busy if slot.word().is_full() => Standing::Full,
        WorkerLifecycle::Idle | WorkerLifecycle::Busy => Standing::Eligible,
    }
}
