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
const CONCURRENCY: u32 = 16;
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
    complaints: u64,
    refusals: u64,
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
    /// None says nothing of them.
    workers: Option<Vec<WorkerInfo>>,
    complaints: u64,
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
        self.count(hive_id, &result);
        result
    }

    pub(crate) fn update_hive(&mut self, beat: &HiveHeartbeat) -> Result<HeartbeatOutcome, Field> {
        self.event(true, beat)
    }

    /// The same flat: it need not tell of the hive.
    pub(crate) fn event(&mut self, tells: bool, beat: &HiveHeartbeat) -> Result<HeartbeatOutcome, Field> {
        let result = self.telemetry(tells.then_some(&beat.hive), beat);
        self.count(&beat.hive.id, &result);
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
        let made = made(hive_id, processes, info.as_ref(), capabilities.as_deref(), now);
        let beat = Beat {
            hive_id,
            key: None,
            timestamp: now,
            info: info.as_ref(),
            capabilities: capabilities.as_deref(),
            complaints: made.iter().map(|(_, complaints)| complaints).sum::<u64>()
                + is_odd_host(info.as_ref()),
            workers: Some(made.into_iter().map(|(worker, _)| worker).collect()),
        };
        let result = one_of_each(beat.workers.as_deref()).map(|()| {
            self.tombstones.remove(hive_id);
            self.apply(beat)
        });
        self.count(hive_id, &result);
        result
    }

    fn plain(&mut self, hive_id: &str, payload: &HiveHeartbeatPayload) -> Result<HeartbeatOutcome, Field> {
        if payload.hive_id != hive_id {
            return Err("hive_id".into());
        }
        let pair = pair(payload.epoch, payload.seq)?;
        let timestamp = time(&payload.timestamp).ok_or("timestamp")?;
        let key = Some(key(pair, timestamp));
        if payload.hive_info.as_ref().is_some_and(|info| !["", hive_id].contains(&info.id.as_str())) {
            return Err("hive_info.id".into());
        }
        let capabilities = payload.capabilities.as_deref();
        match capabilities.map_or(0, <[_]>::len) {
            0..=256 => {}
            many => return Err(format!("devices_per_hive: {many} refused: at most 256")),
        }
        for (at, device) in capabilities.into_iter().flatten().enumerate() {
            if device.vram_gb.is_some_and(|gib| !(0.0..=1_048_576.0).contains(&gib)) {
                return Err(format!("capabilities[{at}].vram_gb"));
            }
        }
        let (mut workers, mut complaints) = (Vec::new(), 0);
        for (at, worker) in payload.workers.iter().enumerate() {
            complaints += odd_things(worker);
            workers.push(of_state(hive_id, worker).ok_or(format!("workers[{at}].last_heartbeat"))?);
        }
        one_of_each(Some(&workers))?;
        let info = payload.hive_info.clone().map(|info| HiveInfo { id: hive_id.into(), ..info });
        let (info, workers) = (info.as_ref(), Some(workers));
        self.heartbeat(Beat { hive_id, key, timestamp, info, capabilities, workers, complaints })
    }

    fn telemetry(
        &mut self,
        info: Option<&HiveInfo>,
        beat: &HiveHeartbeat,
    ) -> Result<HeartbeatOutcome, Field> {
        let pair = pair(beat.epoch, beat.seq)?;
        let timestamp = time(&beat.timestamp).ok_or("timestamp")?;
        let key = Some(key(pair, timestamp));
        let (hive_id, capabilities) = (&*beat.hive.id, beat.capabilities.as_deref());
        let made =
            beat.workers.as_ref().map(|processes| made(hive_id, processes, info, capabilities, timestamp));
        let complaints = made.iter().flatten().map(|(_, complaints)| complaints).sum::<u64>()
            + if made.is_some() { is_odd_host(info) } else { 0 };
        let workers = made.map(|made| made.into_iter().map(|(worker, _)| worker).collect::<Vec<_>>());
        one_of_each(workers.as_deref())?;
        self.heartbeat(Beat { hive_id, key, timestamp, info, capabilities, workers, complaints })
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
                hive.complaints += beat.complaints;
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
            complaints: 0,
            refusals: 0,
            applied: 0,
        });
        let mut known = std::mem::take(&mut hive.workers);
        let info = beat.info;
        let as_they_were = || {
            let of = |worker: &Worker| {
                let mut record = (*worker.record).clone();
                if record.process.is_some() {
                    record.health_status = health_of(info);
                }
                record
            };
            known.values().map(of).collect()
        };
        let sent: BTreeMap<_, _> = beat
            .workers
            .unwrap_or_else(as_they_were)
            .into_iter()
            .map(|worker| (worker.worker_id.to_string(), worker))
            .collect();
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
        hive.complaints += beat.complaints;
        hive.applied = self.applied;
        self.hives.insert(beat.hive_id.into(), hive);
        outcome
    }

    fn count(&mut self, hive_id: &str, result: &Result<HeartbeatOutcome, Field>) {
        if let (Err(_), Some(hive)) = (result, self.hives.get_mut(hive_id)) {
            hive.refusals += 1;
        }
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
        serves && well && hive.serves() && self.is_live(hive) && !self.is_full(worker)
    }

    fn is_full(&self, worker: &Worker) -> bool {
        worker.record.max_concurrency.is_some_and(|max| self.held(worker) >= max)
    }

    /// S3.
    fn load(&self, worker: &Worker) -> u64 {
        let record = &worker.record;
        let unreported = if record.state == WorkerLifecycle::Idle { 0.0 } else { 100.0 };
        let gpu_percent = f64::from(record.gpu_percent.unwrap_or(unreported)).min(100.0);
        let limit = u64::from(record.max_concurrency.unwrap_or(CONCURRENCY));
        1_001 * ((1 << 20) * u64::from(self.held(worker)) / limit) + (10.0 * gpu_percent).floor() as u64
    }

    /// S2: the eligible workers that have the model, else the idle ones; and whether it is the latter.
    fn among(&self, model: &str) -> (Vec<(&Hive, &Worker)>, bool) {
        let eligible = || self.workers().filter(|(hive, worker)| self.is_eligible(hive, worker));
        let of_model: Vec<_> =
            eligible().filter(|(_, worker)| worker.record.model_id.as_deref() == Some(model)).collect();
        if !of_model.is_empty() {
            return (of_model, false);
        }
        (eligible().filter(|(_, worker)| worker.record.state == WorkerLifecycle::Idle).collect(), true)
    }

    /// Those a policy chooses from.
    pub(crate) fn candidates(&self, model: &str) -> Vec<Found> {
        self.among(model).0.into_iter().map(|(_, worker)| found(worker)).collect()
    }

    /// S2, S4.
    pub(crate) fn pick(&self, model: &str) -> Option<Found> {
        let (among, is_fallback) = self.among(model);
        let least = |(_, worker): &(&Hive, &Worker)| {
            let record = &worker.record;
            let degraded = record.health_status != WorkerHealth::Healthy;
            let second =
                if is_fallback { record.model_id.is_some() } else { record.state == WorkerLifecycle::Busy };
            (degraded, self.load(worker), second, worker.turn, worker.registration)
        };
        among.into_iter().min_by_key(least).map(|(_, worker)| found(worker))
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
            } else if record.state == WorkerLifecycle::Loading
                || hive.status() == Some(OperationalStatus::Starting)
            {
                &mut told.loading
            } else if record.state == WorkerLifecycle::Draining || !hive.serves() {
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

    /// C4: those of hives that may be given work, ordered as in `list`.
    fn find(&self, keep: impl Fn(&WorkerInfo) -> bool) -> Vec<Found> {
        let kept = self.workers().filter(|(hive, worker)| self.is_live(hive) && keep(&worker.record));
        kept.map(|(_, worker)| found(worker)).collect()
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

    /// S1, G3, its age aside.
    fn serves(&self) -> bool {
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
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let devices = self.devices();
        let known = || devices.values().filter(|(total, _)| *total > 0).map(|(total, _)| *total);
        let total = (known().count() > 0).then(|| gb(known().sum()));
        ResourceInfo {
            vram_used_gb: used(|worker| worker.vram_bytes, 4.0) as f32,
            ram_used_gb: used(|worker| worker.ram_bytes, 2.0) as f32,
            worker_count: self.workers.len(),
            vram_total_gb: declared(false).or(total).map(|gb| gb as f32),
            vram_free_gb: self.free().map(|free| gb(free) as f32),
            ram_total_gb: declared(true).map(|gb| gb as f32),
            workers_estimated: self
                .records()
                .filter(|worker| worker.vram_bytes.is_none() || worker.ram_bytes.is_none())
                .count(),
        }
    }

    /// Of the GPUs it declares: how many, and their bytes in all if any is told.
    fn gpus(&self) -> (usize, Option<u64>) {
        let devices = self.capabilities.iter().flatten();
        let gpus: Vec<_> = devices.filter(|device| !device.device_type.eq_ignore_ascii_case("cpu")).collect();
        let gib: Vec<f64> = gpus.iter().filter_map(|device| device.vram_gb).collect();
        (gpus.len(), (!gib.is_empty()).then(|| (gib.iter().sum::<f64>() * GIB) as u64))
    }

    /// G2: a name for the device that the worker is on.
    fn device(&self, worker: &WorkerInfo) -> String {
        match (worker.device_id, self.gpus().0) {
            (Some(id), _) => format!("{id} of {:?}", worker.backend),
            (None, 1) if worker.backend != Some(Backend::Cpu) => "the GPU".into(),
            _ => format!("that of {}", worker.worker_id),
        }
    }

    /// (total, used) bytes of each device.
    fn devices(&self) -> BTreeMap<String, (u64, u64)> {
        let mut devices: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for worker in self.records() {
            let device = devices.entry(self.device(worker)).or_default();
            device.0 = device.0.max(worker.vram_total_bytes.unwrap_or(0));
            device.1 += worker.vram_bytes.unwrap_or(0);
        }
        if let (Some(gpu), Some(total)) = (devices.get_mut("the GPU"), self.gpus().1) {
            gpu.0 = total;
        }
        devices
    }

    /// G2: bytes.
    fn free(&self) -> Option<u64> {
        let devices = self.devices();
        if let (_, Some(total)) = self.gpus() {
            return Some(total.saturating_sub(devices.values().map(|(_, used)| used).sum()));
        }
        let known: Vec<_> = devices.values().filter(|(total, _)| *total > 0).collect();
        (!known.is_empty()).then(|| known.iter().map(|(total, used)| total.saturating_sub(*used)).sum())
    }

    /// G2: bytes on the worker's device.
    fn free_for(&self, worker: &WorkerInfo) -> Option<u64> {
        let (total, used) = self.devices()[&self.device(worker)];
        let free = total.saturating_sub(used);
        let most = match worker.device_id {
            // A hive with one GPU has no other to be on.
            Some(_) if self.gpus().0 != 1 => free,
            _ => self.free()?,
        };
        (total > 0).then_some(free.min(most))
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

fn one_of_each(workers: Option<&[WorkerInfo]>) -> Result<(), Field> {
    let workers = workers.unwrap_or_default();
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
        url: worker.url.as_deref().filter(is_text).map(Into::into),
        model_id: worker.model_id.as_deref().filter(is_text).map(Into::into),
        backend: worker.backend.as_deref().filter(is_text).map(backend),
        device_id: worker.device_id,
        vram_bytes: worker.vram_bytes,
        vram_total_bytes: worker.vram_total_bytes,
        ram_bytes: worker.ram_bytes,
        cpu_percent: worker.cpu_percent.filter(is_number),
        gpu_percent: worker.gpu_percent.filter(is_number),
        max_concurrency: worker.max_concurrency.filter(|max| *max > 0),
        process: None,
    })
}

fn is_text(text: &&str) -> bool {
    !text.is_empty()
}

fn is_number(number: &f32) -> bool {
    number.is_finite() && *number >= 0.0
}

/// I7: what of the worker counts as not reported.
fn odd_things(worker: &WorkerState) -> u64 {
    let texts = [&worker.url, &worker.model_id, &worker.backend].map(|text| text.as_deref() == Some(""));
    let numbers =
        [worker.cpu_percent, worker.gpu_percent].map(|number| number.is_some_and(|it| !is_number(&it)));
    texts.into_iter().chain(numbers).chain([worker.max_concurrency == Some(0)]).filter(|odd| *odd).count()
        as u64
}

/// Of the names that hives have here.
fn is_odd_host(hive: Option<&HiveInfo>) -> u64 {
    hive.is_some_and(|hive| hive.hostname.contains([' ', '/'])).into()
}

/// Of the processes of a hive.
fn health_of(hive: Option<&HiveInfo>) -> WorkerHealth {
    match hive.map(|hive| &hive.health_status) {
        None | Some(HiveHealth::Healthy) => WorkerHealth::Healthy,
        Some(HiveHealth::Degraded { .. }) => WorkerHealth::Degraded,
        Some(HiveHealth::Unhealthy { .. }) => WorkerHealth::Unhealthy,
    }
}

/// The workers of a telemetry heartbeat, with what there is to complain of each.
fn made(
    hive_id: &str,
    processes: &[ProcessStats],
    hive: Option<&HiveInfo>,
    capabilities: Option<&[Capability]>,
    last_heartbeat: DateTime<Utc>,
) -> Vec<(WorkerInfo, u64)> {
    let made = |process: &ProcessStats| {
        let is_odd = process.gpu_util_pct.is_some_and(|it| !is_number(&it));
        let odd = [is_odd, !is_number(&process.cpu_pct), port(process).is_none()];
        let worker = of_process(hive_id, process, hive, capabilities, last_heartbeat);
        (worker, odd.into_iter().filter(|odd| *odd).count() as u64)
    };
    processes.iter().map(made).collect()
}

fn port(process: &ProcessStats) -> Option<u16> {
    let port = process.instance.parse::<u16>().ok();
    port.filter(|port| *port > 0 && port.to_string() == *process.instance)
}

fn of_process(
    hive_id: &str,
    process: &ProcessStats,
    hive: Option<&HiveInfo>,
    capabilities: Option<&[Capability]>,
    last_heartbeat: DateTime<Utc>,
) -> WorkerInfo {
    let ProcessStats { group, instance, .. } = process;
    let host =
        hive.filter(|hive| is_odd_host(Some(hive)) == 0).map(|hive| match hive.hostname.split_once('%') {
            Some((address, zone)) => format!("[{address}%25{zone}]"),
            None => hive.hostname.clone(),
        });
    let url = host.zip(port(process)).map(|(host, port)| format!("http://{host}:{port}"));
    let gpu_percent = process.gpu_util_pct.filter(is_number);
    let cpu_percent = Some(process.cpu_pct).filter(is_number);
    let kinds = capabilities.unwrap_or_default().iter().map(|device| backend(&device.device_type));
    let (cpus, mut gpus): (Vec<_>, Vec<_>) = kinds.partition(|kind| *kind == Backend::Cpu);
    gpus.dedup();
    WorkerInfo {
        hive_id: hive_id.into(),
        worker_id: format!("{group}-{instance}").into(),
        state: match gpu_percent {
            None | Some(0.0) => WorkerLifecycle::Idle,
            Some(_) => WorkerLifecycle::Busy,
        },
        last_heartbeat,
        health_status: health_of(hive),
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
        cpu_percent,
        gpu_percent,
        max_concurrency: None,
        process: Some(Arc::new(ProcessStats {
            cpu_pct: cpu_percent.unwrap_or(0.0),
            gpu_util_pct: gpu_percent,
            ..process.clone()
        })),
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
