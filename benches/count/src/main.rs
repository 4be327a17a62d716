//! Counts the instructions of the calls in `benches/calls.rs` and compares them with `benches/counts.json`:
//! `make bench-count`. With `--record` it writes that file anew: `make bench-count-record`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use hive_registry_count::CALLS;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Percent. Two runs of one build count the same to the instruction, so this is room for changes that are meant.
const BOUND: f64 = 5.0;
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../counts.json");
const RECORD: &str = "To record anew: make bench-count-record, then commit benches/counts.json.";

#[derive(Deserialize, Serialize)]
struct Counts {
    counted_with: Machine,
    /// By function of `benches/calls.rs`: instructions of one call.
    instructions: BTreeMap<String, u64>,
}

#[derive(Deserialize, Serialize)]
struct Machine {
    rustc: String,
    /// Its name only. glibc chooses how to copy and compare by what the CPU can do, but valgrind shows it no more
    /// than valgrind itself can emulate: taking AVX2 away moves no count by 0.5 %.
    cpu: String,
    /// Told, not compared: what it could change is what it emulates.
    valgrind: String,
}

impl Machine {
    fn here() -> Result<Self, Box<dyn Error>> {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            rustc: output(Command::new("rustc").arg("-V"))?.trim().into(),
            // Not every architecture has a name there.
            cpu: name.map_or(env::consts::ARCH, |(_, name)| name.trim()).into(),
            valgrind: output(Command::new("valgrind").arg("--version"))?.trim().into(),
        })
    }

    /// What makes counts of the two incomparable.
    fn other_than(&self, committed: &Self) -> Option<&'static str> {
        match (self.rustc == committed.rustc, self.cpu == committed.cpu) {
            (true, true) => None,
            (false, true) => Some("rustc is another"),
            (true, false) => Some("the CPU is another"),
            (false, false) => Some("rustc and the CPU are others"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}; {}", self.rustc, self.cpu, self.valgrind)
    }
}

fn output(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let run = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !run.status.success() {
        return Err(format!("{command:?}: {}", run.status).into());
    }
    Ok(String::from_utf8(run.stdout)?)
}

fn count() -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut bench = Command::new(cargo);
    bench.args(["bench", "--locked", "--bench", "calls", "--manifest-path", manifest]);
    let lines = output(bench.args(["--", "--output-format=json"]))?;
    lines.lines().map(|line| one(line).ok_or_else(|| format!("not a count: {line}").into())).collect()
}

/// Of a line of gungraun's output.
fn one(line: &str) -> Option<(String, u64)> {
    let told: Value = serde_json::from_str(line).ok()?;
    let counted = told.pointer("/profiles/0/summaries/total/summary/Callgrind/Ir/metrics")?;
    // Beside that of an earlier run, if there was one.
    let now = counted.pointer("/Left/Int").or_else(|| counted.pointer("/Both/0/Int"))?.as_u64()?;
    Some((told["function_name"].as_str()?.into(), (now + u64::from(CALLS) / 2) / u64::from(CALLS)))
}

/// Prints both, and what is to be said about them: what is wrong, and what got better.
fn compare(now: &Counts, committed: &Counts) -> (Vec<String>, Vec<String>) {
    println!("\n{:<11}{}\n{:<11}{}\n", "here:", now.counted_with, "committed:", committed.counted_with);
    let row = |what: &str, now: &str, committed: &str, difference: &str| {
        println!("| {what:<28} | {now:>9} | {committed:>9} | {difference:>10} |");
    };
    row("instructions of one call", "now", "committed", "difference");
    println!("|{}|", [30, 11, 11, 12].map(|width| "-".repeat(width)).join("|"));
    let (mut wrong, mut better) = (Vec::new(), Vec::new());
    let names: BTreeSet<_> = now.instructions.keys().chain(committed.instructions.keys()).collect();
    for name in names {
        match (now.instructions.get(name), committed.instructions.get(name)) {
            (Some(now), Some(committed)) => {
                let percent = (*now as f64 / *committed as f64 - 1.0) * 100.0;
                row(name, &now.to_string(), &committed.to_string(), &format!("{percent:+.1} %"));
                if percent > BOUND {
                    wrong.push(format!("{name}: {percent:+.1} %, past +{BOUND} %"));
                } else if percent < -BOUND {
                    better.push(format!("{name}: {percent:+.1} %, better than committed"));
                }
            }
            (now, committed) => {
                let text = |count: Option<&u64>| count.map_or("none".into(), ToString::to_string);
                row(name, &text(now), &text(committed), "");
                wrong.push(format!("{name}: not on both sides"));
            }
        }
    }
    println!();
    (wrong, better)
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let now = Counts { counted_with: Machine::here()?, instructions: count()? };
    if env::args().any(|argument| argument == "--record") {
        fs::write(COMMITTED, serde_json::to_string_pretty(&now)? + "\n")?;
        println!("Recorded in benches/counts.json.");
        return Ok(ExitCode::SUCCESS);
    }
    let committed: Counts = serde_json::from_str(&fs::read_to_string(COMMITTED)?)?;
    let (wrong, better) = compare(&now, &committed);
    // A machine of another name may count the same, but nobody knows: a failure there could be nobody's fault.
    if let Some(other) = now.counted_with.other_than(&committed.counted_with) {
        println!("Not judged, {other}. {RECORD}");
        return Ok(ExitCode::SUCCESS);
    }
    wrong.iter().chain(&better).for_each(|line| println!("{line}"));
    if !(wrong.is_empty() && better.is_empty()) {
        println!("{RECORD}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
