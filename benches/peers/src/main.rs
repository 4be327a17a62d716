//! The registry's pick against what people would use instead, on the same data in the same process.
//!
//! `cargo run --release -- [--quick] [--json FILE]`; what each peer is stands in the README.

mod cow;
mod dynamo;
mod fleet;
mod measure;
mod plain;
mod report;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cow::Cow;
use dynamo::{Dynamo, Prefixes};
use fleet::{Fleet, best_load, load};
use hive_registry::HiveRegistry;
use measure::Samples;
use plain::Plain;
use report::Row;

const USAGE: &str = "usage: hive-registry-peers [--quick] [--json FILE]

  --quick      a tenth of the time for each cell: to see that it runs, not to quote
  --json FILE  write the rows to FILE too, one JSON object on each line";

const MODELS: usize = 20;
const WORKERS_EACH: usize = 8;

/// Time for a peer's cell; ours has as much beside it, half before and half after.
const BUDGET: Duration = Duration::from_millis(500);
/// Beyond so many hives a scan that clones takes a good part of a second, and one model stands for the others
/// when choices are compared.
const MANY_HIVES: usize = 10_000;

type Selector = (&'static str, &'static str, Prefixes);
const LOAD_ONLY: Selector = ("dynamo", "dynamo-kv-router, load only", Prefixes::None);
const WITH_PREFIXES: Selector =
    ("dynamo-prefixes", "dynamo-kv-router, load and cached prefixes", Prefixes::Everywhere);

struct Options {
    budget: Duration,
    json: Option<PathBuf>,
}

/// One fleet, the registry of it, and what came out of the peers so far.
struct Bench<'r> {
    budget: Duration,
    rows: &'r mut Vec<Row>,
    fleet: Fleet,
    registry: HiveRegistry,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let rows = run(options.budget);
    if let Some(path) = options.json
        && let Err(error) = report::write_json(&path, &rows)
    {
        eprintln!("{}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn options() -> Result<Option<Options>, String> {
    let mut options = Options { budget: BUDGET, json: None };
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--quick") => options.budget = BUDGET / 10,
            Some("--json") => {
                options.json = Some(arguments.next().ok_or("--json needs a file")?.into());
            }
            Some("--help" | "-h") => return Ok(None),
            _ => return Err(format!("not known: {}", argument.display())),
        }
    }
    Ok(Some(options))
}

fn run(budget: Duration) -> Vec<Row> {
    let mut rows = Vec::new();
    report::head();
    // All on the same fleets.
    for hives in [10, 100, 1_000, 10_000, 100_000] {
        let mut bench = Bench::new(budget, &mut rows, Fleet::new(hives, WORKERS_EACH, MODELS));
        bench.plain();
        bench.cow();
        bench.dynamo(&[LOAD_ONLY]);
    }
    // (b) on one model: a handful, where a scan has little to do, and 4,000.
    for (hives, workers_each) in [(1, 4), (1, WORKERS_EACH), (5, WORKERS_EACH), (500, WORKERS_EACH)] {
        Bench::new(budget, &mut rows, Fleet::new(hives, workers_each, 1)).cow();
    }
    for (hives, workers_each) in [(1, 2), (4, 8), (128, 8), (1_250, 8)] {
        Bench::new(budget, &mut rows, Fleet::new(hives, workers_each, 1)).dynamo(&[LOAD_ONLY, WITH_PREFIXES]);
    }
    rows
}

impl<'r> Bench<'r> {
    fn new(budget: Duration, rows: &'r mut Vec<Row>, fleet: Fleet) -> Self {
        let registry = fleet.registry();
        Self { budget, rows, fleet, registry }
    }

    fn plain(&mut self) {
        let plain = Plain::new(&self.fleet);
        let gpu_percent =
            |picked: Option<(String, plain::Worker)>| picked.and_then(|(_, worker)| worker.gpu_percent);
        self.agree(|model| load(gpu_percent(plain.pick(model))));
        self.agree(|model| load(gpu_percent(plain.pick_in_place(model))));
        self.row("plain", "RwLock<HashMap>, a scan that clones every worker", |model| plain.pick(model));
        self.row("plain-in-place", "RwLock<HashMap>, a scan that clones the winner only", |model| {
            plain.pick_in_place(model)
        });
    }

    fn cow(&mut self) {
        let cow = Cow::new(&self.fleet);
        self.agree(|model| cow.pick(model).expect("it has workers").load());
        self.row("cow", "DashMap, a slice for each model, a scan of atomics", |model| cow.pick(model));
    }

    fn dynamo(&mut self, selectors: &[Selector]) {
        for &(peer, what, prefixes) in selectors {
            // It knows no models: its caller has looked up the workers of this one.
            let dynamo = Dynamo::new(&self.fleet, &self.fleet.models[0], prefixes);
            let picked = dynamo.gpu_percent(dynamo.pick().expect("it has workers"));
            assert_eq!(
                load(Some(picked)),
                best_load(&self.registry, &self.fleet.models[0]),
                "not the least loaded"
            );
            self.row(peer, what, |_| dynamo.pick());
        }
    }

    /// Before anything is timed: peer and registry choose equally well.
    fn agree(&self, picked: impl Fn(&str) -> u32) {
        let compared = if self.fleet.heartbeats.len() > MANY_HIVES { 1 } else { self.fleet.models.len() };
        for model in &self.fleet.models[..compared] {
            assert_eq!(picked(model), best_load(&self.registry, model), "{model}: not the least loaded");
        }
    }

    fn row<T>(&mut self, peer: &'static str, what: &str, pick: impl FnMut(&str) -> T) {
        let models = &self.fleet.models;
        let mut ours = in_turn(models, |model| self.registry.find_best_worker_for_model(model));
        let (mut our_samples, mut peer_samples) = (Samples::default(), Samples::default());
        our_samples.take(self.budget / 2, &mut ours);
        peer_samples.take(self.budget, in_turn(models, pick));
        our_samples.take(self.budget / 2, &mut ours);
        let (ours_ns, peer_ns) = (our_samples.median(), peer_samples.median());
        let row = Row {
            peer,
            what: what.to_owned(),
            workers: self.fleet.workers(),
            workers_of_model: self.fleet.workers_of_a_model(),
            ours_ns,
            peer_ns,
            ratio: peer_ns / ours_ns,
        };
        row.print();
        self.rows.push(row);
    }
}

/// Asks for the models one after another, so that no pick finds only what the last one left in the cache.
fn in_turn<T>(models: &[String], mut pick: impl FnMut(&str) -> T) -> impl FnMut() -> T {
    let mut turn = models.iter().cycle();
    move || pick(black_box(turn.next().expect("there are models")))
}
