//! Gathers from the registry, its event feed and the board what is shown.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hive_registry::{
    EventKind, Explanation, FeedError, HiveId, HiveRegistry, Subscription, WorkerInfo, WorkerLifecycle,
};

use crate::board::{Board, Machine, Silence, Tied};
use crate::plan::{MODELS, Plan, WATCHED, WINDOW};

/// Events that are waited for at most 0.1 s; 10,000 hives make about 10,000 in that time.
const FEED: usize = 65_536;
/// Lines kept of what happened.
const LOG: usize = 50;

pub(crate) struct Watcher<'a> {
    pub(crate) registry: &'a HiveRegistry,
    pub(crate) plan: &'a Plan,
    board: &'a Board,
    feed: Subscription,
    /// Hives that the feed told offline and not yet back.
    offline: BTreeSet<HiveId>,
    log: VecDeque<Entry>,
    /// How many lines the log has had.
    logged: usize,
    /// (when, heartbeats by then), of the last second.
    beats: VecDeque<(Duration, u64)>,
    models: Vec<ModelRow>,
    models_due: Instant,
}

/// Something that happened.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) text: String,
}

#[derive(Clone)]
pub(crate) struct ModelRow {
    pub(crate) model: &'static str,
    pub(crate) eligible: usize,
    pub(crate) idle: usize,
    pub(crate) busy: usize,
}

/// One look at everything.
pub(crate) struct Picture<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) elapsed: Duration,
    pub(crate) online: usize,
    pub(crate) hives: usize,
    pub(crate) workers: usize,
    pub(crate) beats_a_second: f64,
    pub(crate) applied: Percentiles,
    pub(crate) picks: Percentiles,
    pub(crate) best: Option<(HiveId, Arc<WorkerInfo>)>,
    pub(crate) explanation: Explanation,
    pub(crate) models: Vec<ModelRow>,
    pub(crate) tied: Vec<Tied>,
    pub(crate) elsewhere: u64,
    pub(crate) missed: u64,
    pub(crate) silence: Silence,
    pub(crate) machine: Machine,
    pub(crate) log: Vec<Entry>,
    pub(crate) logged: usize,
}

/// Nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Percentiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
}

/// What the silent hive is doing.
#[derive(Clone, Copy)]
pub(crate) enum Standing {
    Beating,
    /// Not heard for so long, yet within the window.
    Silent(Duration),
    /// Not heard for so long, out of the picks.
    Out(Duration),
    Back(Duration),
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(registry: &'a HiveRegistry, plan: &'a Plan, board: &'a Board) -> Self {
        let mut watcher = Self {
            registry,
            plan,
            board,
            feed: registry.subscribe(FEED),
            offline: BTreeSet::new(),
            log: VecDeque::new(),
            logged: 0,
            beats: VecDeque::new(),
            models: Vec::new(),
            models_due: Instant::now(),
        };
        watcher.note(format!("{} hives registered", registry.hive_count()));
        watcher
    }

    pub(crate) fn look(&mut self) -> Picture<'a> {
        self.read_feed();
        self.count_models();
        let elapsed = self.board.elapsed();
        let beats_a_second = self.beats_a_second(elapsed);
        let explanation = self.registry.explain(WATCHED);
        let numbers = self.board.numbers();
        Picture {
            plan: self.plan,
            elapsed,
            online: self.registry.count_online(),
            hives: self.registry.hive_count(),
            workers: self.registry.total_worker_count(),
            beats_a_second,
            applied: Percentiles::of(&numbers.applied),
            picks: Percentiles::of(&numbers.picks),
            best: self.registry.find_best_worker_for_model(WATCHED),
            explanation,
            models: self.models.clone(),
            tied: numbers.tied.clone(),
            elsewhere: numbers.elsewhere,
            missed: numbers.missed,
            silence: numbers.silence,
            machine: numbers.machine.clone(),
            log: self.log.iter().cloned().collect(),
            logged: self.logged,
        }
    }

    fn read_feed(&mut self) {
        loop {
            let event = match self.feed.try_next() {
                Ok(event) => event,
                Err(FeedError::Lagged(lost)) => {
                    self.note(format!("{lost} events lost: read too slowly"));
                    continue;
                }
                Err(_) => return,
            };
            let hive = &event.hive_id;
            match event.kind {
                EventKind::HiveOffline => {
                    if **hive == *self.plan.silent_name() {
                        let at = self.board.elapsed();
                        self.board.numbers().silence.told_offline.get_or_insert(at);
                    }
                    self.note(format!("{hive} offline: silent {} s", WINDOW.as_secs()));
                    self.offline.insert(hive.clone());
                }
                // After an offline event the first heartbeat is told, whether or not it changes anything.
                EventKind::HiveUpdated if self.offline.remove(hive) => self.note(format!("{hive} is back")),
                EventKind::HiveRegistered => {
                    self.offline.remove(hive);
                    self.note(format!("{hive} registered"));
                }
                EventKind::HiveRemoved => self.note(format!("{hive} evicted")),
                _ => {}
            }
        }
    }

    fn note(&mut self, text: String) {
        if self.log.len() == LOG {
            self.log.pop_front();
        }
        self.log.push_back(Entry { at: self.board.elapsed(), text });
        self.logged += 1;
    }

    fn beats_a_second(&mut self, now: Duration) -> f64 {
        let counts = self.registry.stats().heartbeats;
        self.beats.push_back((now, counts.registered + counts.updated));
        // One that is a second old stays, to count from.
        while self.beats.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= Duration::from_secs(1)) {
            self.beats.pop_front();
        }
        let ((first, before), (last, after)) = (self.beats[0], self.beats[self.beats.len() - 1]);
        let span = last.saturating_sub(first).as_secs_f64();
        if span > 0.0 { (after - before) as f64 / span } else { 0.0 }
    }

    /// Goes through all workers of all models, so not for every picture.
    fn count_models(&mut self) {
        let start = Instant::now();
        if start < self.models_due {
            return;
        }
        let row = |&model: &&'static str| {
            let workers = self.registry.find_workers_by_model(model);
            let count = |state| workers.iter().filter(|(_, worker)| worker.state == state).count();
            ModelRow {
                model,
                eligible: self.registry.explain(model).eligible,
                idle: count(WorkerLifecycle::Idle),
                busy: count(WorkerLifecycle::Busy),
            }
        };
        self.models = MODELS.iter().map(row).collect();
        self.models_due = Instant::now() + (10 * start.elapsed()).max(Duration::from_millis(500));
    }
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
        }
    }
}

impl Picture<'_> {
    pub(crate) fn standing(&self) -> Standing {
        let silence = &self.silence;
        if let Some(back) = silence.beat_again {
            return Standing::Back(back);
        }
        let silent = self.elapsed.saturating_sub(silence.last_beat.unwrap_or_default());
        // A beat a second: before the silence is as long it may be none.
        if self.elapsed < self.plan.silent_from || silent < Duration::from_secs(1) {
            Standing::Beating
        } else if silent < WINDOW {
            Standing::Silent(silent)
        } else {
            Standing::Out(silent)
        }
    }

    /// "sim-001/w0"
    pub(crate) fn best_name(&self) -> String {
        self.best.as_ref().map_or("nobody".into(), |(hive, worker)| format!("{hive}/{}", worker.worker_id))
    }

    /// How many of the model's workers are what, leaving out what is none.
    pub(crate) fn explained(&self) -> String {
        let told = &self.explanation;
        let mut text = format!("{} have the model, {} eligible", told.workers, told.eligible);
        for (count, what) in [
            (told.stale, "stale"),
            (told.unhealthy, "unhealthy"),
            (told.loading, "loading"),
            (told.draining, "draining"),
            (told.other, "other"),
            (told.full, "full"),
        ] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        text
    }

    /// What this machine's workers are.
    pub(crate) fn machine_is(&self) -> String {
        let count = self.machine.workers.len();
        match (self.machine.is_serving, count) {
            (true, 1) => "1 inference server".into(),
            (true, _) => format!("{count} inference servers"),
            (false, _) => format!("{count} stand-ins"),
        }
    }
}

impl Standing {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Beating => "beating".into(),
            Self::Silent(age) => format!("silent {:.1} s, still picked", age.as_secs_f64()),
            Self::Out(age) => format!("silent {:.1} s, out of the picks", age.as_secs_f64()),
            Self::Back(at) => format!("back since {:.1} s", at.as_secs_f64()),
        }
    }
}
