//! What was aimed at, and whether it was reached: the design's table of speed and memory, row by row.

use crate::figures::{Figures, Missing};
use crate::reservations::floor_of_fleet;
use crate::table::Table;
use crate::unit::{bytes, ratio, time};

/// How much may lie between two that count as the same, or as linear: runs on one machine differ by as much.
const SAME: f64 = 1.25;

struct Aim {
    what: &'static str,
    target: &'static str,
    measured: String,
    /// What was measured, and what no design of these parts goes below; nanoseconds.
    floor: Option<[f64; 2]>,
    verdict: Verdict,
    /// What stands in the way, to be told where it was missed.
    why: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Met,
    Missed,
    /// There is no target.
    Reported,
    NotMeasured,
}

use Verdict::{NotMeasured, Reported};

impl Aim {
    fn new(what: &'static str, target: &'static str, measured: impl Into<String>, verdict: Verdict) -> Self {
        Self { what, target, measured: measured.into(), floor: None, verdict, why: "" }
    }

    /// Met where `measured` does not exceed `bound`.
    fn at_most(
        what: &'static str,
        target: &'static str,
        told: fn(f64) -> String,
        measured: f64,
        bound: f64,
    ) -> Self {
        Self::new(what, target, told(measured), met(measured <= bound))
    }

    fn over(self, floor: [f64; 2]) -> Self {
        Self { floor: Some(floor), ..self }
    }

    fn because(self, why: &'static str) -> Self {
        Self { why, ..self }
    }
}

fn met(is_met: bool) -> Verdict {
    if is_met { Verdict::Met } else { Verdict::Missed }
}

const HEARTBEAT: &str = "Beside 8 records it checks some 50 strings, reads 8 old records and slots and writes 16 keys \
    in two trees each, most of them out of the cache; dropping what was parsed is in it.";
const FEW: &str = "A scan of 4 words in the cache costs less than what its pick leaves out: it reads no clock, so that \
    somebody else must find out who is silent, counts no pick, and returns no hive's name beside the record.";
const LATE: &str = "A reservation through a model does not tell the idle ranking, whose lock all models would share; the first \
    fallback finds out about all of them, 64 at a time, and keeps nobody else waiting.";
const OWN: &str = "Judged is the longest by the thread's own time, interrupts included: the wall's has in it what the \
    machine gave to others.";
const TELEMETRY: &str = "What was sent is kept beside the record (`WorkerInfo::process`, 144 B a worker), and each \
    device that is declared (about 150 B; here one for each worker).";

pub(crate) fn section(figures: &Figures) -> Result<String, Missing> {
    let mut aims = picks(figures)?;
    aims.extend(changes(figures)?);
    aims.extend(waits(figures)?);
    aims.extend(sizes(figures)?);
    let mut table = Table::of_text(&["what", "target", "measured", "floor", "measured / floor", "met?"]);
    for aim in &aims {
        let told = aim.floor.map(|[measured, floor]| [time(floor), ratio(measured / floor)]);
        let [floor, over] = told.unwrap_or_default();
        let verdict = match aim.verdict {
            Verdict::Met => "met",
            Verdict::Missed => "**missed**",
            Reported => "no target",
            NotMeasured => "not measured",
        };
        table.row([aim.what, aim.target, &aim.measured, &floor, &over, verdict]);
    }
    let missed = aims.iter().filter(|aim| aim.verdict == Verdict::Missed);
    let told = |aim: &Aim| format!("- {}: {}, wanted {}. {}", aim.what, aim.measured, aim.target, aim.why);
    let missed: Vec<_> = missed.map(|aim| told(aim).trim_end().to_owned()).collect();
    let told = if missed.is_empty() {
        "Nothing was missed.".to_owned()
    } else {
        format!("Missed, {} of {}:\n\n{}", missed.len(), aims.len(), missed.join("\n"))
    };
    Ok(format!("{}\n{told}\n", table.text()))
}

fn picks(figures: &Figures) -> Result<Vec<Aim>, Missing> {
    let floor = figures.median("floor/pick/all")?;
    let hit = |hives: usize| figures.median(&format!("pick/hit/{hives}"));
    let [smallest, largest] = [hit(100)?, hit(100_000)?];
    let slowest = smallest.max(hit(1_000)?).max(hit(10_000)?).max(largest);
    let mut handle: f64 = 0.0;
    for hives in [100, 1_000, 10_000, 100_000] {
        handle = handle.max(figures.median(&format!("pick/handle/{hives}"))?);
    }
    let [plain, dynamo, cow] = [("plain", 80_000, 4_000), ("dynamo", 10_000, 10_000), ("cow", 80_000, 4_000)]
        .map(|(peer, workers, of_model)| Ok(figures.peer(peer, workers, of_model)?.ratio));
    let (plain, dynamo, cow) = (plain?, dynamo?, cow?);
    let few = |workers| Ok(figures.peer("cow", workers, workers)?.ratio);
    let [of_4, of_40] = [few(4)?, few(40)?];
    let writer = |words: [&str; 2], figure| figures.row("pick-writer", &words)?.get(figure);
    let [alone, beside] = [writer(["writer: none", "mean"], "p50")?, writer(["writer: one", "mean"], "p50")?];
    let single = writer(["writer: one", "single"], "p99.9")?;
    let thread = |id: &str| figures.median(&format!("pick/threads/{id}"));
    let [one, two, apart] = [thread("one-model/1")?, thread("one-model/2")?, thread("two-models/2")?];
    let told = format!("{}; of two models {}; alone {}", time(two), time(apart), time(one));
    Ok(vec![
        Aim::at_most("pick, 100 to 100,000 hives, the slowest", "<= 75 ns", time, slowest, 75.0)
            .over([slowest, floor])
            .because("The parts in a row take the most of it, see the floor."),
        Aim::at_most(
            "pick through a model handle, the slowest, against a pick",
            "about 0.5x",
            ratio,
            handle / slowest,
            0.65,
        )
        .over([handle, floor - figures.median("floor/pick/map/20")?])
        .because(
            "The lookup is a third of the floor, not half; what is left is the clock, the winner's load, a clone with its drop and a counter.",
        ),
        Aim::at_most("pick, largest fleet against smallest", "<= 1.5x", ratio, largest / smallest, 1.5),
        Aim::new(
            "pick against a locked map and a scan that clones, 10,000 hives",
            ">= 100,000x",
            ratio(plain),
            met(plain >= 100_000.0),
        ),
        Aim::new(
            "pick against dynamo-kv-router, 10,000 workers",
            ">= 2,000x",
            ratio(dynamo),
            met(dynamo >= 2_000.0),
        ),
        Aim::new(
            "pick against a copy-on-write slice, 4,000 workers of the model",
            "none; 200x was expected",
            ratio(cow),
            Reported,
        ),
        Aim::new(
            "pick against a copy-on-write slice, 4 and 40 workers of the model",
            "ahead",
            format!("{} and {}", ratio(of_4), ratio(of_40)),
            met(of_4.min(of_40) >= 1.0),
        )
        .because(FEW),
        Aim::at_most("pick beside a writer without pause, p50", "<= 2x", ratio, beside / alone, 2.0)
            .over([beside, floor]),
        Aim::at_most("pick beside a writer without pause, p99.9", "<= 5 us", time, single, 5_000.0),
        Aim::new("two threads picking one model, for each", "none", told, Reported).over([two, floor]),
    ])
}

fn changes(figures: &Figures) -> Result<Vec<Aim>, Missing> {
    let (mut first, mut fallback): (f64, f64) = (0.0, 0.0);
    for row in figures.table("pick-silence")? {
        let slowest = if row.what.contains("idle") { &mut fallback } else { &mut first };
        *slowest = slowest.max(row.get("first")?);
    }
    let silence = |id: &str| figures.median(&format!("pick/silence/{id}"));
    let later = silence("hit/after")? / silence("hit/before")?;
    let later = later.max(silence("idle/after")? / silence("idle/before")?);
    let reserve = figures.median("pick/reserve/10000")?;
    let parsed = |hives: usize| -> Result<[f64; 2], Missing> {
        let all = figures.median(&format!("heartbeat/parsed/8-of-8/{hives}"))?;
        Ok([all, figures.median(&format!("floor/heartbeat/records/{hives}"))?])
    };
    let [some, many] = [parsed(10_000)?, parsed(100_000)?];
    let json = |form: &str| -> Result<[f64; 2], Missing> {
        let part = |part: &str| figures.median(&format!("heartbeat/json/{form}/{part}"));
        Ok([part("ingest")?, part("parse")? + part("apply")?])
    };
    let [plain, telemetry] = [json("plain")?, json("telemetry")?];
    let join = |hives: usize| Ok(figures.median(&format!("heartbeat/join/{hives}"))? / hives as f64);
    let linear = join(10_000)? / join(2_500)?;
    let longest = |wave| figures.row("heartbeat-join", &["10000"])?.get(wave);
    let [median, worst] = [longest("longest, median wave")?, longest("longest, worst wave")?];
    let picks = |when| figures.row("heartbeat-join-picks", &[when])?.get("p50");
    let meanwhile = picks("while")? / picks("afterwards")?;
    let waves = format!("{} in the worst wave, {} in the median one", time(worst), time(median));
    Ok(vec![
        Aim::at_most(
            "first pick of a model after half of 800,000 workers fell silent, the slowest",
            "<= 10 ms",
            time,
            first,
            10e6,
        )
        .because("It looks once at the hive of each of the model's 100,000 workers, and parks half of them."),
        Aim::at_most(
            "first fallback to an idle worker after that",
            "<= 10 ms",
            time,
            fallback,
            10e6,
        )
        .because("All 800,000 are candidates: it looks once at the hive of each, far apart in memory, and parks 400,000."),
        Aim::at_most("later picks after the silence", "as before", ratio, later, SAME),
        Aim::at_most("reserve + release, 10,000 hives", "<= 150 ns", time, reserve, 150.0)
            .over([reserve, floor_of_fleet(figures, 10_000)?])
            .because(
                "A reservation goes to the one reserved longest ago among equals (S4), at this size out of every cache: \
                 its slot, hive, state, record and keys are read one after the other, under one lock taken twice.",
            ),
        Aim::at_most(
            "apply a parsed heartbeat, 8 of 8 changed, 10,000 hives",
            "<= 4 us",
            time,
            some[0],
            4_000.0,
        )
        .over(some)
        .because(HEARTBEAT),
        Aim::at_most(
            "apply a parsed heartbeat, 8 of 8 changed, 100,000 hives",
            "<= 8 us",
            time,
            many[0],
            8_000.0,
        )
        .over(many)
        .because(HEARTBEAT),
        Aim::at_most(
            "JSON to applied against parse + apply, plain",
            "<= 1.2x",
            ratio,
            plain[0] / plain[1],
            1.2,
        )
        .over([plain[0], figures.median("floor/heartbeat/json/plain")?]),
        Aim::at_most(
            "JSON to applied against parse + apply, telemetry",
            "<= 1.2x",
            ratio,
            telemetry[0] / telemetry[1],
            1.2,
        )
        .over([telemetry[0], figures.median("floor/heartbeat/json/telemetry")?]),
        Aim::at_most("10,000 hives join one model: each, against 2,500", "linear", ratio, linear, SAME),
        Aim::new("10,000 hives join one model: the longest heartbeat", "<= 1 ms", waves, met(median <= 1e6)),
        Aim::at_most("10,000 hives join one model: picks meanwhile, p50", "<= 2x", ratio, meanwhile, 2.0),
    ])
}

/// C7, and what is left behind by threads and leases. As the bench of waits measured it, in its last round.
fn waits(figures: &Figures) -> Result<Vec<Aim>, Missing> {
    let wait = |words: &[&str], figure| figures.row("waits", words)?.get(figure);
    let mut aims = Vec::new();
    for (what, call) in [
        ("heartbeat of 8, after 512 threads picked once", "heartbeat of 8, after "),
        ("reserve + pick + release, after 512 threads picked once", "reserve + pick + release, after "),
    ] {
        let alone = wait(&[call, "one thread"], "p50")?;
        let over = |after: &str| Ok::<_, Missing>(wait(&[call, after], "p50")? / alone);
        let [ended, live] = [over(" 512 threads that ended")?, over(" 512 threads that live")?];
        let many = over(" 2000 threads that ended")?.max(over(" 2000 threads that live")?);
        let told = format!("{} ended, {} live; of 2,000 {}", ratio(ended), ratio(live), ratio(many));
        aims.push(Aim::new(what, "<= 2x of after one", told, met(ended.max(live) <= 2.0)));
    }
    for (what, words) in [
        ("pick while 1,000,000 leases run out at once, the longest", "pick, 1000000 leases run out at once"),
        ("reserve meanwhile, the longest", "reserve, 1000000 leases run out at once"),
    ] {
        let words = [words];
        let [own, p999, wall] =
            [wait(&words, "own, longest")?, wait(&words, "p99.9")?, wait(&words, "longest")?];
        let told = format!("{}; on the wall p99.9 {}, longest {}", time(own), time(p999), time(wall));
        aims.push(Aim::new(what, "<= 100 us", told, met(own <= 100e3)).because(OWN));
    }
    let sweep = [wait(&["a sweep that gives back 1000000 leases"], "longest")?];
    aims.push(Aim::new("a sweep that gives back 1,000,000 leases", "none", time(sweep[0]), Reported));
    for (what, words, bound) in [
        (
            "heartbeat by which an id comes that 100,000 hives share, beside lookups of it, p99.9",
            "an id comes",
            100e3,
        ),
        (
            "heartbeat by which an id goes that 100,000 hives share, beside lookups of it, p99.9",
            "an id goes",
            1e6,
        ),
        (
            "heartbeat that brings a model, beside picks of it, p99.9",
            "brings a model, beside picks of it by 1",
            1e6,
        ),
        (
            "heartbeat that ends a model, beside picks of it, p99.9",
            "ends a model, beside picks of it by 1",
            1e6,
        ),
        ("heartbeat while a pick parks 400,000 silent workers, p99.9", "heartbeat while a pick parks", 1e6),
        ("heartbeat while `explain` walks 400,000 idle workers, p99.9", "while explain", 1e6),
        ("heartbeat while `find_idle_workers` walks 400,000, p99.9", "while find_idle_workers", 1e6),
        ("removal of a hive, 100,000 one after the other, p99.9", "removal of a hive", 1e6),
        ("heartbeat while 100,000 tombstones expire, p99.9", "tombstones expire", 1e6),
        ("get_available_resources of 1,024 devices, p99.9", "get_available_resources", 1e6),
        ("pick of a model after 100,000 reservations as idle ones", "pick of a model after", 1e6),
        ("fallback pick after 100,000 reservations through a model", "fallback pick after", 1e6),
    ] {
        let [p999, wall] = [wait(&[words], "p99.9")?, wait(&[words], "longest")?];
        let own = wait(&[words], "own, longest")?;
        let told = format!("{}; longest {}, of its own {}", time(p999), time(wall), time(own));
        let target = if bound < 1e6 { "<= 100 us" } else { "<= 1 ms" };
        aims.push(
            Aim::new(what, target, told, met(p999 <= bound)).because(if words.starts_with("fallback") {
                LATE
            } else {
                ""
            }),
        );
    }
    Ok(aims)
}

fn sizes(figures: &Figures) -> Result<Vec<Aim>, Missing> {
    let most = |form: &str, what: &str| -> Result<f64, Missing> {
        let rows = figures.table("memory")?.iter();
        let mut rows = rows.filter(|row| row.what.contains(form) && row.what.ends_with(what));
        rows.try_fold(0.0, |most: f64, row| Ok(most.max(row.get("each")?)))
    };
    let elsewhere = |what, target, told| Aim::new(what, target, told, NotMeasured);
    let (two, more) = ("a hive with two workers", "each worker more");
    Ok(vec![
        Aim::at_most(
            "memory of a hive with two workers, plain",
            "<= 1,536 B",
            bytes,
            most("plain", two)?,
            1_536.0,
        ),
        Aim::at_most("memory of each worker more, plain", "<= 600 B", bytes, most("plain", more)?, 600.0),
        Aim::at_most(
            "memory of a hive with two workers, telemetry",
            "<= 1,536 B",
            bytes,
            most("telemetry", two)?,
            1_536.0,
        )
        .because(TELEMETRY),
        Aim::at_most(
            "memory of each worker more, telemetry",
            "<= 600 B",
            bytes,
            most("telemetry", more)?,
            600.0,
        )
        .because(TELEMETRY),
        elsewhere("allocations of a pick", "0", "asserted by `tests/allocation.rs`"),
        elsewhere("a pick from C", "<= Rust + 20 ns", "by `make bench-c`"),
        elsewhere("a pick from Python", "<= 350 ns", "by `make bench-python`"),
    ])
}
