//! The generated hives: what they say, and when.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use hive_registry::{HiveHeartbeatPayload, HiveRegistry, WorkerState};

use crate::board::Board;
use crate::plan::{MODELS, Plan, WATCHED, WORKERS};

const GIB: u64 = 1 << 30;
const PERIOD: Duration = Duration::from_secs(1);

pub(crate) struct Fleet {
    hives: Vec<Hive>,
    dice: Dice,
}

struct Hive {
    name: String,
    /// Idle at load 0 for the watched model, with its first worker.
    is_tied: bool,
    workers: Vec<WorkerState>,
}

impl Fleet {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut dice = Dice(42);
        let hive = |(index, name): (usize, &String)| {
            let is_tied = plan.tied.contains(&index);
            Hive { name: name.clone(), is_tied, workers: workers(index, is_tied, &mut dice) }
        };
        let hives = plan.hives.iter().enumerate().map(hive).collect();
        Self { hives, dice }
    }

    pub(crate) fn beat_all(&mut self, registry: &HiveRegistry, board: &Board) {
        for hive in &mut self.hives {
            hive.beat(registry, board, &mut self.dice);
        }
    }

    /// Every hive once a second, each at its own phase, but for the silent one while it is silent.
    pub(crate) fn run(&mut self, registry: &HiveRegistry, plan: &Plan, board: &Board) {
        let silent = plan.tied[plan.silent];
        let fleet = self.hives.len();
        let first = board.elapsed();
        for turn in 0.. {
            for (index, hive) in self.hives.iter_mut().enumerate() {
                if !board.sleep_until(first + PERIOD * turn + PERIOD * index as u32 / fleet as u32) {
                    return;
                }
                let now = board.elapsed();
                if index != silent {
                    hive.beat(registry, board, &mut self.dice);
                } else if !plan.is_silent_at(now) {
                    hive.beat(registry, board, &mut self.dice);
                    let silence = &mut board.numbers().silence;
                    if now < plan.silent_from {
                        silence.last_beat = Some(now);
                    } else {
                        silence.beat_again.get_or_insert(now);
                    }
                }
            }
        }
    }
}

impl Hive {
    fn beat(&mut self, registry: &HiveRegistry, board: &Board, dice: &mut Dice) {
        let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        for (at, worker) in self.workers.iter_mut().enumerate() {
            worker.last_heartbeat.clone_from(&timestamp);
            if !(self.is_tied && at == 0) {
                live(worker, dice);
            }
        }
        let heartbeat = HiveHeartbeatPayload {
            hive_id: self.name.clone(),
            timestamp,
            workers: self.workers.clone(),
            ..Default::default()
        };
        let body = serde_json::to_vec(&heartbeat).expect("strings and finite numbers");
        let timer = Instant::now();
        let outcome = registry.ingest_json(&body);
        let took = timer.elapsed();
        debug_assert!(outcome.is_ok(), "{outcome:?}");
        board.numbers().applied.saturating_record(took.as_nanos() as u64);
    }
}

/// Eight workers, two on each of four devices.
fn workers(index: usize, is_tied: bool, dice: &mut Dice) -> Vec<WorkerState> {
    let worker = |at: usize| {
        let model = if is_tied && at == 0 { WATCHED } else { MODELS[(index * WORKERS + at) % MODELS.len()] };
        WorkerState {
            worker_id: format!("w{at}"),
            url: Some(format!("http://10.0.{}.{}:{}", index / 250, index % 250 + 1, 9300 + at)),
            model_id: Some(model.into()),
            backend: Some("cuda".into()),
            device_id: Some(at as u32 / 2),
            vram_bytes: Some((8 + dice.below(24)) * GIB),
            vram_total_bytes: Some(80 * GIB),
            ram_bytes: Some((2 + dice.below(6)) * GIB),
            gpu_percent: Some(0.0),
            max_concurrency: Some(8),
            ..Default::default()
        }
    };
    (0..WORKERS).map(worker).collect()
}

/// A second of a worker's life.
fn live(worker: &mut WorkerState, dice: &mut Dice) {
    // The watched model's other workers are so busy that the tied ones are better.
    let is_watched = worker.model_id.as_deref() == Some(WATCHED);
    let (state, percent) = match dice.below(100) {
        0..=1 => ("Loading", 0),
        2 => ("Draining", 5),
        _ if is_watched => ("Busy", 75 + dice.below(25)),
        3..40 => ("Idle", 0),
        _ => ("Busy", 20 + dice.below(80)),
    };
    worker.state = state.into();
    worker.gpu_percent = Some(percent as f32);
    worker.cpu_percent = Some(10.0 + percent as f32);
    worker.health_status = if dice.below(100) == 0 { "degraded" } else { "healthy" }.into();
}

/// Splitmix64: the same fleet on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
