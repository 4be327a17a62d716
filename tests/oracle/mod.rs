//! What the registry should answer: a plain map of hives and a plain scan for every question.
//!
//! It follows the rules of the design and shares nothing with the registry but the types that go in and come
//! out. It keeps no index and no count that it could scan for; the order it knows is the number each
//! registration and each reservation was given. Time is what it is told.
#![cfg(not(loom))]

mod compare;
pub(crate) mod sent;
pub(crate) mod twins;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hive_registry::{
    Backend, Capability, HeartbeatCounts, HeartbeatOutcome, HiveHealth, HiveHeartbeat, HiveHeartbeatPayload,
    HiveId, HiveInfo, HiveRegistry, LivenessClock, ModelId, OperationalStatus, ProcessStats, ResourceInfo,
    StaleMode, WorkerHealth, WorkerInfo, WorkerLifecycle, WorkerState,
};

const WINDOW_MS: i64 = 30_000;
const SPACING_MS: i64 = 1_000;
const TOMBSTONE_MS: i64 = 600_000;
const GRACE_MS: i64 = 2_000;
const HOLD_MS: i64 = 300_000;
const MIB: u64 = 1_048_576;
const GIB: f64 = 1_073_741_824.0;

/// A worker as lists and picks hand it out.
pub(crate) type Found = (HiveId, Arc<WorkerInfo>);

/// The whole model.
pub(crate) struct Oracle {
    liveness: LivenessClock,
    stale_mode: StaleMode,
    wall_ms: i64,
    monotonic_ms: i64,
    /// Wall less monotonic time when the registry was built.
    origin_ms: i64,
    hives: BTreeMap<String, Hive>,
    tombstones: BTreeMap<String, Tombstone>,
    /// Every reservation that was not released, be its worker gone or its lease run out.
    holds: BTreeMap<u64, Hold>,
    registrations: u64,
    turns: u64,
    applied: u64,
    last_hold: u64,
    /// By the age asked for: when over half was first found silent, and when it was last looked.
    silences: BTreeMap<i64, (i64, i64)>,
    told: Told,
}

/// What the counters should show.
#[derive(Default)]
struct Told {
    heartbeats: HeartbeatCounts,
    picks: u64,
    misses: u64,
    evictions: u64,
    holds: u64,
}

/// I3. A timestamp is less than any pair.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Time(DateTime<Utc>),
    Pair(u64, u64),
}

struct Hive {
    /// Of the heartbeat last applied, with its arrival; none if there were only calls.
    newest: Option<(Key, i64)>,
    /// Of all that were superseded since, with their arrivals.
    superseded: Vec<(Key, i64)>,
    /// Of the heartbeat or call last applied, by the liveness clock.
    last_heartbeat_ms: i64,
    /// From which age is counted.
    heard_ms: i64,
    /// Monotonic times of all heartbeats heard, and of calls.
    arrivals: Vec<i64>,
    /// Timestamp less wall clock of each heartbeat heard.
    skews: Vec<i64>,
    info: Option<HiveInfo>,
    capabilities: Option<Vec<Capability>>,
    workers: BTreeMap<String, Worker>,
    added: u64,
    removed: u64,
    /// The number of the last change, over all hives.
    applied: u64,
}

struct Worker {
    /// Also the registration order (S4).
    registration: u64,
    /// 0 is never reserved.
    turn: u64,
    record: Arc<WorkerInfo>,
}

struct Tombstone {
    wall: DateTime<Utc>,
    monotonic_ms: i64,
    key: Option<Key>,
}

struct Hold {
    registration: u64,
    /// Monotonic; none for a guard.
    deadline: Option<i64>,
}

/// What an eviction pass should say.
#[derive(Debug, PartialEq)]
pub(crate) struct Evicted {
    pub(crate) hives: usize,
    pub(crate) held: bool,
    pub(crate) remaining: usize,
}

/// S9: why each worker of a model may be picked or not.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reasons {
    pub(crate) workers: usize,
    pub(crate) eligible: usize,
    pub(crate) stale: usize,
    pub(crate) stale_by_clock: usize,
    pub(crate) unhealthy: usize,
    pub(crate) loading: usize,
    pub(crate) draining: usize,
    pub(crate) other: usize,
    pub(crate) full: usize,
    pub(crate) idle_fallbacks: usize,
}

/// The names a test uses; others are asked for too.
pub(crate) struct Universe {
    pub(crate) hives: Vec<String>,
    pub(crate) workers: Vec<String>,
    pub(crate) models: Vec<String>,
}

/// A heartbeat in its parts.
struct Beat<'a> {
    hive_id: &'a str,
    /// None of a call.
    key: Option<Key>,
    timestamp: DateTime<Utc>,
    info: Option<&'a HiveInfo>,
    capabilities: Option<&'a [Capability]>,
    workers: Vec<WorkerInfo>,
}

/// The field that a refusal names.
pub(crate) type Field = String;

// === time ===

impl Oracle {
    /// Of a registry built at `wall_ms`, with the default window.
    pub(crate) fn new(liveness: LivenessClock, stale_mode: StaleMode, wall_ms: i64) -> Self {
        Self {
            liveness,
            stale_mode,
            wall_ms,
            monotonic_ms: 0,
            origin_ms: wall_ms,
            hives: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            holds: BTreeMap::new(),
            registrations: 0,
            turns: 0,
            applied: 0,
            last_hold: 0,
            silences: BTreeMap::new(),
            told: Told::default(),
        }
    }

    pub(crate) fn advance(&mut self, by_ms: i64) {
        self.wall_ms += by_ms;
        self.monotonic_ms += by_ms;
    }

    pub(crate) fn jump_wall(&mut self, by_ms: i64) {
        self.wall_ms += by_ms;
    }

    pub(crate) fn wall(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.wall_ms).expect("tests stay within years that exist")
    }

    /// On the liveness clock.
    fn now(&self) -> i64 {
        match self.liveness {
            LivenessClock::Reported => self.wall_ms,
            LivenessClock::Arrival => self.monotonic_ms + self.origin_ms,
        }
    }

    /// L1.
    fn is_heard_within(&self, hive: &Hive, max_age_ms: i64) -> bool {
        self.now() - hive.heard_ms < max_age_ms
    }

    fn is_online(&self, hive: &Hive) -> bool {
        self.is_heard_within(hive, WINDOW_MS)
    }

    /// L2: whether a pick minds the hive's age.
    fn is_live(&self, hive: &Hive) -> bool {
        self.stale_mode == StaleMode::Ignore || self.is_online(hive)
    }
}

// === intake ===

impl Oracle {
    pub(crate) fn update_hive_state(
        &mut self,
        hive_id: &str,
        payload: &HiveHeartbeatPayload,
    ) -> Result<HeartbeatOutcome, Field> {
        let result = self.plain(hive_id, payload);
        self.count(&result);
        result
    }

    pub(crate) fn update_hive(&mut self, beat: &HiveHeartbeat) -> Result<HeartbeatOutcome, Field> {
        let result = self.telemetry(beat);
        self.count(&result);
        result
    }

    /// I6.
    pub(crate) fn update_workers(
        &mut self,
        hive_id: &str,
        processes: &[ProcessStats],
    ) -> Result<HeartbeatOutcome, Field> {
        let now = self.wall();
        let known = self.hives.get(hive_id);
        let (info, capabilities) =
            known.map_or((None, None), |hive| (hive.info.clone(), hive.capabilities.clone()));
        let beat = Beat {
            hive_id,
            key: None,
            timestamp: now,
            info: info.as_ref(),
            capabilities: capabilities.as_deref(),
            workers: processes
                .iter()
                .map(|process| of_process(hive_id, process, info.as_ref(), capabilities.as_deref(), now))
                .collect(),
        };
        let result = one_of_each(&beat.workers).map(|()| {
            self.tombstones.remove(hive_id);
            self.apply(beat)
        });
        self.count(&result);
        result
    }

    fn plain(&mut self, hive_id: &str, payload: &HiveHeartbeatPayload) -> Result<HeartbeatOutcome, Field> {
        if payload.hive_id != hive_id {
            return Err("hive_id".into());
        }
        let pair = pair(payload.epoch, payload.seq)?;
        let timestamp = time(&payload.timestamp).ok_or("timestamp")?;
        let key = Some(key(pair, timestamp));
        let mut workers = Vec::new();
        for (at, worker) in payload.workers.iter().enumerate() {
            if worker.max_concurrency == Some(0) {
                return Err(format!("workers[{at}].max_concurrency"));
            }
            workers.push(of_state(hive_id, worker).ok_or(format!("workers[{at}].last_heartbeat"))?);
        }
        one_of_each(&workers)?;
        self.heartbeat(Beat { hive_id, key, timestamp, info: None, capabilities: None, workers })
    }

    fn telemetry(&mut self, beat: &HiveHeartbeat) -> Result<HeartbeatOutcome, Field> {
        let pair = pair(beat.epoch, beat.seq)?;
        let timestamp = time(&beat.timestamp).ok_or("timestamp")?;
        let key = Some(key(pair, timestamp));
        let (info, capabilities) = (Some(&beat.hive), beat.capabilities.as_deref());
        let made = |process: &ProcessStats| of_process(&beat.hive.id, process, info, capabilities, timestamp);
        let workers: Vec<_> = beat.workers.iter().map(made).collect();
        one_of_each(&workers)?;
        self.heartbeat(Beat { hive_id: &beat.hive.id, key, timestamp, info, capabilities, workers })
    }

    fn heartbeat(&mut self, beat: Beat<'_>) -> Result<HeartbeatOutcome, Field> {
        if self.is_barred(&beat) {
            return Ok(HeartbeatOutcome::Removed);
        }
        let (heard_ms, skew_ms) = (self.heard_by(&beat), self.skew_by(&beat));
        let (monotonic_ms, known) = (self.monotonic_ms, self.hives.get_mut(beat.hive_id));
        if let (Some(hive), Some(key)) = (known, beat.key) {
            if !hive.takes(key, monotonic_ms) {
                hive.superseded.push((key, monotonic_ms));
                hive.arrivals.push(monotonic_ms);
                hive.skews.push(skew_ms);
                hive.heard_ms = heard_ms;
                return Ok(HeartbeatOutcome::Superseded);
            }
        }
        Ok(self.apply(beat))
    }

    /// When the hive was there, by what was sent.
    fn sent_ms(&self, beat: &Beat<'_>) -> i64 {
        match self.liveness {
            LivenessClock::Reported => beat.timestamp.timestamp_millis().min(self.wall_ms),
            LivenessClock::Arrival => self.now(),
        }
    }

    /// I3, L1: from when age is counted once this has come.
    fn heard_by(&self, beat: &Beat<'_>) -> i64 {
        let before = self.hives.get(beat.hive_id).map_or(i64::MIN, |hive| hive.heard_ms.min(self.now()));
        before.max(self.sent_ms(beat))
    }

    fn skew_by(&self, beat: &Beat<'_>) -> i64 {
        beat.timestamp.timestamp_millis() - self.wall_ms
    }

    /// L5.
    fn is_barred(&self, beat: &Beat<'_>) -> bool {
        let Some(tombstone) = self.tombstones.get(beat.hive_id) else {
            return false;
        };
        let since = self.monotonic_ms - tombstone.monotonic_ms;
        let greater = tombstone.key.is_none() || beat.key > tombstone.key;
        let greater_epoch = match (beat.key, tombstone.key) {
            (Some(Key::Pair(epoch, _)), Some(Key::Pair(old, _))) => epoch > old,
            _ => false,
        };
        let later = match self.liveness {
            LivenessClock::Reported => beat.timestamp > tombstone.wall,
            LivenessClock::Arrival => since > GRACE_MS,
        };
        since < TOMBSTONE_MS && !(greater && (greater_epoch || later))
    }

    /// I1: what the heartbeat does not name is gone; what it names anew is a new registration (S6), numbered in
    /// order of worker id.
    fn apply(&mut self, beat: Beat<'_>) -> HeartbeatOutcome {
        let (last_heartbeat_ms, heard_ms) = (self.sent_ms(&beat), self.heard_by(&beat));
        let skew_ms = beat.key.map(|_| self.skew_by(&beat));
        let old = self.hives.remove(beat.hive_id);
        let outcome = match old {
            Some(_) => HeartbeatOutcome::Updated,
            None => HeartbeatOutcome::Registered,
        };
        let mut hive = old.unwrap_or_else(|| Hive {
            newest: None,
            superseded: Vec::new(),
            last_heartbeat_ms,
            heard_ms,
            arrivals: Vec::new(),
            skews: Vec::new(),
            info: None,
            capabilities: None,
            workers: BTreeMap::new(),
            added: 0,
            removed: 0,
            applied: 0,
        });
        let mut known = std::mem::take(&mut hive.workers);
        let sent: BTreeMap<_, _> =
            beat.workers.into_iter().map(|worker| (worker.worker_id.to_string(), worker)).collect();
        for (id, record) in sent {
            let (registration, turn) = known.remove(&id).map_or_else(
                || {
                    self.registrations += 1;
                    hive.added += 1;
                    (self.registrations, 0)
                },
                |worker| (worker.registration, worker.turn),
            );
            hive.workers.insert(id, Worker { registration, turn, record: Arc::new(record) });
        }
        self.applied += 1;
        // A call is of no order (I6).
        if let Some(key) = beat.key {
            hive.newest = Some((key, self.monotonic_ms));
            hive.superseded.clear();
        }
        hive.arrivals.push(self.monotonic_ms);
        hive.skews.extend(skew_ms);
        hive.last_heartbeat_ms = last_heartbeat_ms;
        hive.heard_ms = heard_ms;
        hive.info = beat.info.cloned();
        hive.capabilities = beat.capabilities.map(<[_]>::to_vec);
        hive.removed += known.len() as u64;
        hive.applied = self.applied;
        self.hives.insert(beat.hive_id.into(), hive);
        outcome
    }

    fn count(&mut self, result: &Result<HeartbeatOutcome, Field>) {
        let counts = &mut self.told.heartbeats;
        *match result {
            Ok(HeartbeatOutcome::Registered) => &mut counts.registered,
            Ok(HeartbeatOutcome::Updated) => &mut counts.updated,
            Ok(HeartbeatOutcome::Superseded) => &mut counts.superseded,
            Ok(HeartbeatOutcome::Removed) => &mut counts.removed,
            Ok(outcome) => unreachable!("an outcome that no rule knows: {outcome:?}"),
            Err(_) => &mut counts.refused,
        } += 1;
    }
}

// === removal and eviction ===

impl Oracle {
    /// L5.
    pub(crate) fn remove_hive(&mut self, hive_id: &str) -> bool {
        let Some(hive) = self.hives.remove(hive_id) else {
            return false;
        };
        let stands = |earlier: &&Tombstone| self.monotonic_ms - earlier.monotonic_ms < TOMBSTONE_MS;
        let earlier = self.tombstones.get(hive_id).filter(stands).and_then(|earlier| earlier.key);
        let tombstone = Tombstone {
            wall: self.wall(),
            monotonic_ms: self.monotonic_ms,
            // What was heard of before an earlier removal does not come back by a later one.
            key: hive.newest.map(|(key, _)| key).max(earlier),
        };
        self.tombstones.insert(hive_id.into(), tombstone);
        true
    }

    /// L3.
    pub(crate) fn evict_stale(&mut self, max_age_ms: i64) -> Evicted {
        let (now, fleet) = (self.monotonic_ms, self.hives.len());
        let last = |hive: &Hive| hive.arrivals.last().copied().expect("a hive is known by a heartbeat");
        let mut silent: Vec<(i64, String)> = self
            .hives
            .iter()
            .filter(|(_, hive)| now - last(hive) >= max_age_ms)
            .map(|(id, hive)| (last(hive), id.clone()))
            .collect();
        silent.sort();
        let guarded = fleet >= 8;
        if guarded && silent.len() * 2 > fleet {
            // A silence that nobody looked at for long is another one, unless most were not heard since that look.
            let still = |seen: i64| silent.iter().filter(|(last, _)| *last <= seen).count() * 2 > fleet;
            let known = self.silences.get(&max_age_ms).copied();
            let goes_on = known.filter(|(_, seen)| now - seen <= HOLD_MS || still(*seen));
            let since = goes_on.map_or(now, |(since, _)| since);
            self.silences.insert(max_age_ms, (since, now));
            if now - since < HOLD_MS {
                self.told.holds += 1;
                return Evicted { hives: 0, held: true, remaining: silent.len() };
            }
        } else {
            self.silences.remove(&max_age_ms);
        }
        let most = if guarded { (fleet * 15 / 100).max(1) } else { fleet };
        let taken = silent.len().min(most);
        for (_, id) in &silent[..taken] {
            self.hives.remove(id);
        }
        self.told.evictions += taken as u64;
        Evicted { hives: taken, held: false, remaining: silent.len() - taken }
    }
}

// === reservations ===

impl Oracle {
    /// S5. With `lease_ms` a detached one; the number is to release or renew it by.
    pub(crate) fn reserve(&mut self, model: &str, lease_ms: Option<i64>) -> Option<(u64, Found)> {
        let found = self.pick(model);
        self.count_pick(found.is_some());
        self.hold(found?, lease_ms)
    }

    /// S8: what a policy chose is among the candidates; the number is to release it by.
    pub(crate) fn reserve_chosen(&mut self, chosen: Found) -> Option<u64> {
        Some(self.hold(chosen, None)?.0)
    }

    fn hold(&mut self, (hive_id, record): Found, lease_ms: Option<i64>) -> Option<(u64, Found)> {
        self.turns += 1;
        self.last_hold += 1;
        let hive = self.hives.get_mut(hive_id.as_str())?;
        let worker = hive.workers.get_mut(record.worker_id.as_str())?;
        worker.turn = self.turns;
        let deadline = lease_ms.map(|lease_ms| self.monotonic_ms + lease_ms);
        self.holds.insert(self.last_hold, Hold { registration: worker.registration, deadline });
        Some((self.last_hold, (hive_id, record)))
    }

    /// S6: true if it still counted.
    pub(crate) fn release(&mut self, hold: u64) -> bool {
        let counted = self.holds.get(&hold).is_some_and(|hold| self.is_open(hold));
        self.holds.remove(&hold);
        counted
    }

    pub(crate) fn renew(&mut self, hold: u64, lease_ms: i64) -> bool {
        let counted = self.holds.get(&hold).is_some_and(|hold| self.is_open(hold));
        let deadline = self.monotonic_ms + lease_ms;
        if let (true, Some(hold)) = (counted, self.holds.get_mut(&hold)) {
            hold.deadline = Some(deadline);
        }
        counted
    }

    fn has_not_run_out(&self, hold: &Hold) -> bool {
        hold.deadline.is_none_or(|deadline| self.monotonic_ms < deadline)
    }

    fn is_open(&self, hold: &Hold) -> bool {
        self.has_not_run_out(hold)
            && self.workers().any(|(_, worker)| worker.registration == hold.registration)
    }

    fn open(&self) -> u64 {
        self.holds.values().filter(|hold| self.is_open(hold)).count() as u64
    }

    fn held(&self, worker: &Worker) -> u32 {
        let counts = |hold: &&Hold| hold.registration == worker.registration && self.has_not_run_out(hold);
        self.holds.values().filter(counts).count() as u32
    }

    pub(crate) fn count_pick(&mut self, found: bool) {
        *if found { &mut self.told.picks } else { &mut self.told.misses } += 1;
    }
}

// === selection ===

impl Oracle {
    fn workers(&self) -> impl Iterator<Item = (&Hive, &Worker)> {
        self.hives.values().flat_map(|hive| hive.workers.values().map(move |worker| (hive, worker)))
    }

    /// S1.
    fn is_eligible(&self, hive: &Hive, worker: &Worker) -> bool {
        let record = &worker.record;
        let serves = matches!(record.state, WorkerLifecycle::Idle | WorkerLifecycle::Busy);
        let well = record.health_status != WorkerHealth::Unhealthy;
        let up = !hive.is_unhealthy() && !hive.is_going_down();
        serves && well && up && self.is_live(hive) && !self.is_full(worker)
    }

    fn is_full(&self, worker: &Worker) -> bool {
        worker.record.max_concurrency.is_some_and(|max| self.held(worker) >= max)
    }

    /// S3.
    fn load(&self, worker: &Worker) -> u64 {
        let gpu_percent = f64::from(worker.record.gpu_percent.unwrap_or(100.0));
        let share =
            100.0 * f64::from(self.held(worker)) / f64::from(worker.record.max_concurrency.unwrap_or(1));
        (1_000.0 * (gpu_percent + share)).floor() as u64
    }

    /// S2: the eligible workers that have the model, else the idle ones.
    fn among(&self, model: &str) -> Vec<(&Hive, &Worker)> {
        let eligible = || self.workers().filter(|(hive, worker)| self.is_eligible(hive, worker));
        let of_model: Vec<_> =
            eligible().filter(|(_, worker)| worker.record.model_id.as_deref() == Some(model)).collect();
        if !of_model.is_empty() {
            return of_model;
        }
        eligible().filter(|(_, worker)| worker.record.state == WorkerLifecycle::Idle).collect()
    }

    /// Those a policy chooses from.
    pub(crate) fn candidates(&self, model: &str) -> Vec<Found> {
        self.among(model).into_iter().map(|(_, worker)| found(worker)).collect()
    }

    /// S2, S4.
    pub(crate) fn pick(&self, model: &str) -> Option<Found> {
        let least = |(_, worker): &(&Hive, &Worker)| {
            let record = &worker.record;
            let degraded = record.health_status != WorkerHealth::Healthy;
            let busy = record.state == WorkerLifecycle::Busy;
            (degraded, self.load(worker), busy, worker.turn, worker.registration)
        };
        self.among(model).into_iter().min_by_key(least).map(|(_, worker)| found(worker))
    }

    /// S9: each worker under the first reason that applies.
    fn reasons(&self, model: &str) -> Reasons {
        let mut told = Reasons::default();
        for (hive, worker) in self.workers() {
            let record = &worker.record;
            if record.state == WorkerLifecycle::Idle && self.is_eligible(hive, worker) {
                told.idle_fallbacks += 1;
            }
            if record.model_id.as_deref() != Some(model) {
                continue;
            }
            told.workers += 1;
            *if !self.is_live(hive) {
                let arrived = hive.arrivals.last().copied().expect("a hive is known by a heartbeat");
                told.stale_by_clock += usize::from(self.monotonic_ms - arrived < WINDOW_MS);
                &mut told.stale
            } else if record.health_status == WorkerHealth::Unhealthy || hive.is_unhealthy() {
                &mut told.unhealthy
            } else if record.state == WorkerLifecycle::Loading {
                &mut told.loading
            } else if record.state == WorkerLifecycle::Draining || hive.is_going_down() {
                &mut told.draining
            } else if matches!(record.state, WorkerLifecycle::Other(_)) {
                &mut told.other
            } else if self.is_full(worker) {
                &mut told.full
            } else {
                &mut told.eligible
            } += 1;
        }
        told
    }

    /// I5.
    fn worker(&self, worker_id: &str) -> Option<Found> {
        let namesakes = self.hives.iter().filter(|(_, hive)| hive.workers.contains_key(worker_id));
        // Of equal maxima the last, hence from the last hive to the first.
        let heard_last = namesakes.rev().max_by_key(|(_, hive)| (self.is_online(hive), hive.heard_ms));
        heard_last.map(|(_, hive)| found(&hive.workers[worker_id]))
    }

    /// Ordered by hive id, then worker id.
    fn list(&self, keep: impl Fn(&WorkerInfo) -> bool) -> Vec<Found> {
        self.workers().filter(|(_, worker)| keep(&worker.record)).map(|(_, worker)| found(worker)).collect()
    }

    fn hive_ids(&self, keep: impl Fn(&Hive) -> bool) -> Vec<HiveId> {
        self.hives.iter().filter(|(_, hive)| keep(hive)).map(|(id, _)| id.as_str().into()).collect()
    }
}

fn found(worker: &Worker) -> Found {
    (worker.record.hive_id.clone(), worker.record.clone())
}

// === impl Hive ===

impl Hive {
    /// I3.
    fn takes(&self, key: Key, now_ms: i64) -> bool {
        let Some((newest, applied_ms)) = self.newest else {
            return true;
        };
        if key >= newest {
            return key > newest || matches!(key, Key::Time(_));
        }
        let gaps: Vec<i64> = self.arrivals.windows(2).map(|two| two[1] - two[0]).collect();
        let three_means_ms = 3 * gaps.iter().sum::<i64>() / gaps.len().max(1) as i64;
        let is_old = now_ms - applied_ms >= three_means_ms.clamp(10_000, 60_000);
        is_old && self.superseded.iter().any(|(less, at_ms)| *less < key && now_ms - at_ms >= SPACING_MS)
    }

    /// E2: of the block of 8 heartbeats that is not full and the one before, or of the last two.
    fn clock_skew_ms(&self) -> i64 {
        let blocks: Vec<_> = self.skews.chunks(8).collect();
        let last = blocks.iter().rev().take(2).rev().copied().flatten();
        last.copied().min_by_key(|ms| ms.abs()).unwrap_or(0)
    }

    fn is_unhealthy(&self) -> bool {
        self.info.as_ref().is_some_and(|info| matches!(info.health_status, HiveHealth::Unhealthy { .. }))
    }

    fn is_going_down(&self) -> bool {
        self.status()
            .is_some_and(|status| matches!(status, OperationalStatus::Stopping | OperationalStatus::Stopped))
    }

    /// G3, its age aside.
    fn takes_work(&self) -> bool {
        !self.is_unhealthy()
            && self
                .status()
                .is_none_or(|status| matches!(status, OperationalStatus::Ready | OperationalStatus::Busy))
    }

    fn status(&self) -> Option<OperationalStatus> {
        self.info.as_ref().map(|info| info.operational_status)
    }

    fn records(&self) -> impl Iterator<Item = &WorkerInfo> {
        self.workers.values().map(|worker| &*worker.record)
    }

    /// G1, G2.
    fn resources(&self) -> ResourceInfo {
        let used = |field: fn(&WorkerInfo) -> Option<u64>, assumed: f64| {
            self.records()
                .map(|worker| field(worker).map_or(assumed, |bytes| bytes as f64 / 1e9))
                .sum::<f64>()
        };
        let declared = |is_cpu: bool| -> Option<f64> {
            let devices = self.capabilities.iter().flatten();
            let of_kind = devices.filter(|device| device.device_type.eq_ignore_ascii_case("cpu") == is_cpu);
            let gib: Vec<f64> = of_kind.filter_map(|device| device.vram_gb).collect();
            (!gib.is_empty()).then(|| gib.iter().sum::<f64>() * GIB / 1e9)
        };
        let devices = self.devices();
        let known = || devices.iter().filter(|(total, _)| *total > 0);
        let any = known().count() > 0;
        let total = any.then(|| known().map(|(total, _)| *total as f64 / 1e9).sum::<f64>());
        let free =
            any.then(|| known().map(|(total, used)| total.saturating_sub(*used) as f64 / 1e9).sum::<f64>());
        let reported: f64 =
            self.records().filter_map(|worker| worker.vram_bytes).map(|b| b as f64 / 1e9).sum();
        let declared_free = declared(false).map(|total| (total - reported).max(0.0));
        ResourceInfo {
            vram_used_gb: used(|worker| worker.vram_bytes, 4.0) as f32,
            ram_used_gb: used(|worker| worker.ram_bytes, 2.0) as f32,
            worker_count: self.workers.len(),
            vram_total_gb: declared(false).or(total).map(|gb| gb as f32),
            vram_free_gb: free.or(declared_free).map(|gb| gb as f32),
            ram_total_gb: declared(true).map(|gb| gb as f32),
            workers_estimated: self
                .records()
                .filter(|worker| worker.vram_bytes.is_none() || worker.ram_bytes.is_none())
                .count(),
        }
    }

    /// (total, used) bytes of each device; a worker that names none has one of its own.
    fn devices(&self) -> Vec<(u64, u64)> {
        let of = |worker: &WorkerInfo| (worker.vram_total_bytes.unwrap_or(0), worker.vram_bytes.unwrap_or(0));
        let mut named: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (id, worker) in self.records().filter_map(|worker| Some((worker.device_id?, worker))) {
            let device = named.entry(id).or_default();
            device.0 = device.0.max(of(worker).0);
            device.1 += of(worker).1;
        }
        let unnamed = self.records().filter(|worker| worker.device_id.is_none()).map(of);
        named.into_values().chain(unnamed).collect()
    }
}

// === what a heartbeat says ===

fn pair(epoch: Option<u64>, seq: Option<u64>) -> Result<Option<(u64, u64)>, Field> {
    match (epoch, seq) {
        (Some(epoch), Some(seq)) => Ok(Some((epoch, seq))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("seq".into()),
        (None, Some(_)) => Err("epoch".into()),
    }
}

fn key(pair: Option<(u64, u64)>, timestamp: DateTime<Utc>) -> Key {
    pair.map_or(Key::Time(timestamp), |(epoch, seq)| Key::Pair(epoch, seq))
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
}

fn one_of_each(workers: &[WorkerInfo]) -> Result<(), Field> {
    let twice = |at: usize| workers[..at].iter().any(|worker| worker.worker_id == workers[at].worker_id);
    if (0..workers.len()).any(twice) { Err("workers[].worker_id".into()) } else { Ok(()) }
}

fn of_state(hive_id: &str, worker: &WorkerState) -> Option<WorkerInfo> {
    Some(WorkerInfo {
        hive_id: hive_id.into(),
        worker_id: worker.worker_id.as_str().into(),
        state: match worker.state.to_ascii_lowercase().as_str() {
            "idle" | "ready" => WorkerLifecycle::Idle,
            "busy" => WorkerLifecycle::Busy,
            "loading" | "starting" => WorkerLifecycle::Loading,
            "draining" | "stopping" | "stopped" => WorkerLifecycle::Draining,
            _ => WorkerLifecycle::Other(worker.state.as_str().into()),
        },
        last_heartbeat: time(&worker.last_heartbeat)?,
        health_status: match worker.health_status.to_ascii_lowercase().as_str() {
            "healthy" => WorkerHealth::Healthy,
            "degraded" => WorkerHealth::Degraded,
            "unhealthy" => WorkerHealth::Unhealthy,
            _ => WorkerHealth::Other(worker.health_status.as_str().into()),
        },
        url: worker.url.as_deref().map(Into::into),
        model_id: worker.model_id.as_deref().map(Into::into),
        backend: worker.backend.as_deref().map(backend),
        device_id: worker.device_id,
        vram_bytes: worker.vram_bytes,
        vram_total_bytes: worker.vram_total_bytes,
        ram_bytes: worker.ram_bytes,
        cpu_percent: worker.cpu_percent,
        gpu_percent: worker.gpu_percent,
        max_concurrency: worker.max_concurrency,
        process: None,
    })
}

fn of_process(
    hive_id: &str,
    process: &ProcessStats,
    hive: Option<&HiveInfo>,
    capabilities: Option<&[Capability]>,
    last_heartbeat: DateTime<Utc>,
) -> WorkerInfo {
    let ProcessStats { group, instance, .. } = process;
    let port = instance.parse::<u16>().ok().filter(|port| *port > 0 && port.to_string() == **instance);
    let url = hive.zip(port).map(|(hive, port)| format!("http://{}:{port}", hive.hostname));
    let kinds = capabilities.unwrap_or_default().iter().map(|device| backend(&device.device_type));
    let (cpus, mut gpus): (Vec<_>, Vec<_>) = kinds.partition(|kind| *kind == Backend::Cpu);
    gpus.dedup();
    WorkerInfo {
        hive_id: hive_id.into(),
        worker_id: format!("{group}-{instance}").into(),
        state: if process.gpu_util_pct == 0.0 { WorkerLifecycle::Idle } else { WorkerLifecycle::Busy },
        last_heartbeat,
        health_status: match hive.map(|hive| &hive.health_status) {
            None | Some(HiveHealth::Healthy) => WorkerHealth::Healthy,
            Some(HiveHealth::Degraded { .. }) => WorkerHealth::Degraded,
            Some(HiveHealth::Unhealthy { .. }) => WorkerHealth::Unhealthy,
        },
        url: url.map(Into::into),
        model_id: process.model.as_ref().map(|model| ModelId::from(model.as_str())),
        // The one kind of GPU declared, or the CPU where there is nothing else.
        backend: match gpus.as_slice() {
            [] => cpus.first().cloned(),
            [one] => Some(one.clone()),
            _ => None,
        },
        device_id: None,
        vram_bytes: Some(process.vram_mb * MIB),
        vram_total_bytes: Some(process.total_vram_mb * MIB),
        ram_bytes: Some(process.rss_mb * MIB),
        cpu_percent: Some(process.cpu_pct),
        gpu_percent: Some(process.gpu_util_pct),
        max_concurrency: None,
        process: Some(Arc::new(process.clone())),
    }
}

fn backend(word: &str) -> Backend {
    match word.to_ascii_lowercase().as_str() {
        "cuda" => Backend::Cuda,
        "cpu" => Backend::Cpu,
        "metal" => Backend::Metal,
        other => Backend::Other(other.into()),
    }
}
