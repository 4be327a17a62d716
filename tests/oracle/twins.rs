//! The registry and the oracle, driven alike by one sequence of calls and asked the same after each.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use hive_registry::{
    Candidates, HeartbeatError, HeartbeatOutcome, HiveHeartbeat, HiveHeartbeatPayload, HiveId, HiveRegistry,
    LeastLoaded, LivenessClock, ManualClock, Policy, PowerOfChoices, Random, Reservation, RoundRobin,
    StaleMode, WorkerInfo,
};

use super::sent::{
    Fault, Key, MODELS, Process, Status, WORKERS, Worker, event, hive_name, plain, states, stats, telemetry,
    worker_name,
};
use super::{Evicted, Field, Oracle, Universe};

pub(crate) const START_MS: i64 = 1_761_040_800_000;
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Plain(Key, Option<Status>, Vec<Worker>, Option<Fault>),
    /// Without processes it says nothing of the workers.
    Telemetry(Key, Status, Option<Vec<Process>>),
    /// Likewise, as the event of a stream, which may say nothing of the hive, too.
    Event(Key, Option<Status>, Option<Vec<Process>>),
    /// A heartbeat that was sent before, again; with other workers under the same key if there are any.
    Again(usize, Option<Vec<Worker>>),
    /// All hives at once, with the same workers.
    Wave(Vec<Worker>),
    UpdateWorkers(usize, Vec<Process>),
    Remove(usize),
    Evict(i64),
    Advance(i64),
    JumpWall(i64),
    Reserve(&'static str),
    Release(usize),
    Detach(&'static str, i64),
    Renew(usize, i64),
    ReleaseLease(usize),
    PickWith(&'static str, Chooser),
    ReserveWith(&'static str, Chooser),
}

/// The policies, and three of a user's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Chooser {
    LeastLoaded,
    PowerOfChoices(usize),
    RoundRobin,
    Random,
    /// The last that is eligible.
    Last,
    /// Of all, the one with the greatest names.
    Greatest,
    Nobody,
}

impl Policy for Chooser {
    fn choose(&self, candidates: &Candidates<'_>) -> Option<usize> {
        match self {
            Self::LeastLoaded => LeastLoaded.choose(candidates),
            Self::PowerOfChoices(d) => PowerOfChoices { d: *d }.choose(candidates),
            Self::RoundRobin => RoundRobin.choose(candidates),
            Self::Random => Random.choose(candidates),
            Self::Last => (0..candidates.len()).rev().find(|at| candidates.get(*at).is_some()),
            Self::Greatest => {
                let all = candidates.iter();
                all.max_by(|(_, one), (_, other)| names(&one.worker).cmp(&names(&other.worker)))
                    .map(|(at, _)| at)
            }
            Self::Nobody => None,
        }
    }
}

fn names(worker: &WorkerInfo) -> (&str, &str) {
    (&worker.hive_id, &worker.worker_id)
}

// === both at once ===

/// The registry and the oracle, driven alike.
pub(crate) struct Twins {
    registry: HiveRegistry,
    clock: ManualClock,
    oracle: Oracle,
    names: Universe,
    sent: Vec<Sent>,
    /// With the oracle's numbers.
    guards: Vec<(Reservation, u64)>,
    leases: Vec<(u64, u64)>,
}

#[derive(Clone)]
enum Sent {
    Plain(HiveHeartbeatPayload),
    Telemetry(HiveHeartbeat),
    /// As sent, and what it says.
    Event(String, bool, HiveHeartbeat),
}

pub(crate) fn builder(liveness: LivenessClock, stale_mode: StaleMode, clock: &ManualClock) -> HiveRegistry {
    HiveRegistry::builder()
        .liveness_clock(liveness)
        .stale_mode(stale_mode)
        .clock(clock.clone())
        .seed(1)
        .shards(4)
        .build()
        .expect("the settings are in bounds")
}

fn field(result: Result<HeartbeatOutcome, HeartbeatError>) -> Result<HeartbeatOutcome, Field> {
    result.map_err(|error| match error {
        HeartbeatError::Malformed { field, .. } | HeartbeatError::Invalid { field, .. } => field,
        error => error.to_string(),
    })
}

fn agree<T: PartialEq + Debug>(what: &str, registry: T, oracle: T) -> Result<(), String> {
    if registry == oracle {
        return Ok(());
    }
    Err(format!("{what}:\n  registry {registry:?}\n  oracle   {oracle:?}"))
}

impl Twins {
    pub(crate) fn new(liveness: LivenessClock, stale_mode: StaleMode, hives: usize) -> Self {
        let clock = ManualClock::new(START_MS);
        Self {
            registry: builder(liveness, stale_mode, &clock),
            clock,
            oracle: Oracle::new(liveness, stale_mode, START_MS),
            names: Universe {
                hives: (0..hives).map(hive_name).collect(),
                workers: WORKERS.map(worker_name).to_vec(),
                models: MODELS.map(String::from).to_vec(),
            },
            sent: Vec::new(),
            guards: Vec::new(),
            leases: Vec::new(),
        }
    }

    fn hive(&self, hive: usize) -> String {
        self.names.hives[hive % self.names.hives.len()].clone()
    }

    fn send(&mut self, sent: Sent) -> Result<(), String> {
        match &sent {
            Sent::Plain(payload) => {
                let hive_id = payload.hive_id.trim_end_matches('x');
                agree(
                    "update_hive_state",
                    field(self.registry.update_hive_state(hive_id, payload.clone())),
                    self.oracle.update_hive_state(hive_id, payload),
                )?;
            }
            Sent::Telemetry(beat) => {
                let outcome = field(self.registry.update_hive(beat.clone()));
                agree("update_hive", outcome, self.oracle.update_hive(beat))?;
            }
            Sent::Event(json, tells, beat) => {
                let outcome = field(self.registry.ingest_json(json.as_bytes()));
                agree("ingest_json", outcome, self.oracle.event(*tells, beat))?;
            }
        }
        self.sent.push(sent);
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let wall = self.oracle.wall();
        match op {
            Op::Plain(key, status, workers, fault) => {
                let mut payload = plain(&self.hive(key.hive), key, wall, status.as_ref(), workers);
                if let Some(fault) = fault {
                    fault.spoil(&mut payload);
                }
                self.send(Sent::Plain(payload))
            }
            Op::Telemetry(key, status, processes) => {
                let processes = processes.as_deref();
                self.send(Sent::Telemetry(telemetry(&self.hive(key.hive), key, wall, status, processes)))
            }
            Op::Event(key, status, processes) => {
                let hive_id = self.hive(key.hive);
                let nothing = Status::default();
                let told = status.as_ref().unwrap_or(&nothing);
                let beat = telemetry(&hive_id, key, wall, told, processes.as_deref());
                let json = event(&hive_id, status.as_ref(), &beat);
                self.send(Sent::Event(json, status.is_some(), beat))
            }
            Op::Again(which, workers) => {
                if self.sent.is_empty() {
                    return Ok(());
                }
                let mut again = self.sent[which % self.sent.len()].clone();
                if let (Sent::Plain(payload), Some(workers)) = (&mut again, workers) {
                    payload.workers = states(workers, wall);
                }
                self.send(again)
            }
            Op::Wave(workers) => (0..self.names.hives.len()).try_for_each(|hive| {
                let key = Key { hive, skew_ms: 0, pair: None };
                self.send(Sent::Plain(plain(&hive_name(hive), &key, wall, None, workers)))
            }),
            Op::UpdateWorkers(hive, processes) => {
                let (hive_id, processes) = (self.hive(*hive), stats(processes));
                let outcome = field(self.registry.update_workers(&hive_id, processes.clone()));
                agree("update_workers", outcome, self.oracle.update_workers(&hive_id, &processes))
            }
            Op::Remove(hive) => {
                let hive_id = self.hive(*hive);
                agree("remove_hive", self.registry.remove_hive(&hive_id), self.oracle.remove_hive(&hive_id))
            }
            Op::Evict(age_ms) => {
                let told = self.registry.evict_stale(milliseconds(*age_ms));
                let told = Evicted { hives: told.hives, held: told.held, remaining: told.remaining };
                agree("evict_stale", told, self.oracle.evict_stale(*age_ms))
            }
            Op::Advance(by_ms) => {
                self.clock.advance(milliseconds(*by_ms));
                self.oracle.advance(*by_ms);
                Ok(())
            }
            Op::JumpWall(by_ms) => {
                self.clock.jump_wall(*by_ms);
                self.oracle.jump_wall(*by_ms);
                Ok(())
            }
            Op::Reserve(model) => self.reserve(model),
            Op::Release(which) => {
                if !self.guards.is_empty() {
                    let (guard, hold) = self.guards.swap_remove(which % self.guards.len());
                    guard.release();
                    self.oracle.release(hold);
                }
                Ok(())
            }
            Op::Detach(model, lease_ms) => self.detach(model, *lease_ms),
            Op::Renew(which, lease_ms) => {
                let (id, hold) = self.lease(*which);
                let renewed = self.registry.renew_lease(id, milliseconds(*lease_ms));
                agree("renew_lease", renewed.is_some(), self.oracle.renew(hold, *lease_ms))
            }
            Op::ReleaseLease(which) => {
                let (id, hold) = self.lease(*which);
                agree("release_lease", self.registry.release_lease(id), self.oracle.release(hold))
            }
            Op::PickWith(model, chooser) => {
                let chosen = self.registry.pick(model, chooser);
                self.choice("pick", model, *chooser, chosen.as_ref())
            }
            Op::ReserveWith(model, chooser) => {
                let guard = self.registry.reserve_with(model, chooser);
                let chosen =
                    guard.as_ref().map(|guard| (guard.hive_id().clone(), Arc::new(guard.worker().clone())));
                self.choice("reserve_with", model, *chooser, chosen.as_ref())?;
                let hold = chosen.and_then(|chosen| self.oracle.reserve_chosen(chosen));
                self.guards.extend(guard.zip(hold));
                Ok(())
            }
        }
    }

    /// Released ones too, to be released and renewed again; a number that was never given out, while there is
    /// none.
    fn lease(&self, which: usize) -> (u64, u64) {
        match self.leases.len() {
            0 => (u64::MAX, u64::MAX),
            leases => self.leases[which % leases],
        }
    }

    fn reserve(&mut self, model: &str) -> Result<(), String> {
        let guard = self.registry.reserve_worker_for_model(model);
        let (hold, chosen) = self.oracle.reserve(model, None).unzip();
        let got = guard.as_ref().map(|guard| (guard.hive_id().clone(), guard.worker().clone()));
        agree("reserve_worker_for_model", got, chosen.map(|(hive, worker)| (hive, (*worker).clone())))?;
        self.guards.extend(guard.zip(hold));
        Ok(())
    }

    /// S8: a policy has the choice among the eligible, and nobody else is chosen.
    fn choice(
        &mut self,
        what: &str,
        model: &str,
        chooser: Chooser,
        chosen: Option<&(HiveId, Arc<WorkerInfo>)>,
    ) -> Result<(), String> {
        self.oracle.count_pick(chosen.is_some());
        let (what, best) = (format!("{what}({model}, {chooser:?})"), self.oracle.pick(model));
        match chooser {
            Chooser::LeastLoaded => agree(&what, chosen, best.as_ref()),
            Chooser::Nobody => agree(&what, chosen, None),
            Chooser::Greatest => {
                let candidates = self.oracle.candidates(model);
                let greatest = candidates.iter().max_by(|(_, one), (_, other)| names(one).cmp(&names(other)));
                agree(&what, chosen, greatest)
            }
            _ => match chosen {
                None => agree(&what, None, best),
                Some(chosen) => {
                    let candidates = self.oracle.candidates(model);
                    agree(&format!("{what}: {chosen:?} is a candidate"), candidates.contains(chosen), true)
                }
            },
        }
    }

    fn detach(&mut self, model: &str, lease_ms: i64) -> Result<(), String> {
        let lease = self.registry.reserve_detached(model, milliseconds(lease_ms));
        let (hold, chosen) = self.oracle.reserve(model, Some(lease_ms)).unzip();
        let ends = chosen.is_some().then(|| self.oracle.wall() + TimeDelta::milliseconds(lease_ms));
        agree("expires_at", lease.as_ref().map(|lease| lease.expires_at), ends)?;
        let got = lease.as_ref().map(|lease| (lease.hive_id.clone(), lease.worker.clone()));
        agree("reserve_detached", got, chosen)?;
        let fresh = lease.map(|lease| lease.id);
        if fresh.is_some_and(|id| self.leases.iter().any(|(used, _)| *used == id)) {
            return Err(format!("lease {fresh:?} was given out twice"));
        }
        self.leases.extend(fresh.zip(hold));
        Ok(())
    }

    /// Every call, each followed by every question; then all that is held is given back or runs out.
    ///
    /// Picks are compared after each `picks_every`th call only, so that several changes add up before a pick
    /// has the occasion to correct what it finds.
    pub(crate) fn run(&mut self, ops: &[Op], picks_every: usize) -> Result<(), String> {
        for (at, op) in ops.iter().enumerate() {
            let picks = at % picks_every == 0 || at + 1 == ops.len();
            self.step(op)
                .and_then(|()| self.compare(picks))
                .map_err(|difference| format!("step {at}, {op:?}\n{difference}"))?;
        }
        for (guard, hold) in std::mem::take(&mut self.guards) {
            drop(guard);
            self.oracle.release(hold);
        }
        // Past the longest lease.
        self.step(&Op::Advance(60_000))?;
        self.compare(true).map_err(|difference| format!("at the end\n{difference}"))?;
        agree("reservations_open", self.registry.stats().reservations_open, 0)
    }

    /// Picks first: the other questions release leases that ran out, which a pick must do by itself.
    fn compare(&mut self, picks: bool) -> Result<(), String> {
        if picks {
            self.oracle.compare_picks(&self.registry, &self.names)?;
        }
        self.oracle.compare(&self.registry, &self.names)
    }
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}
