//! Finds the GPU on which a model fits best: of those with room for it, the one with the least.
//!
//! ```text
//! placement MIB [FILE|-]
//!
//! placement 20000                    a small fleet that is built in
//! placement 20000 fleet.jsonl        as of the newest heartbeat in the file, one JSON heartbeat a line
//! ```
//!
//! Only what workers report counts: of a device that no worker reports, nothing is known. 1 MiB is 1,048,576
//! bytes. Exits with 0 where it fits, 1 where it does not or the file cannot be read, 2 on wrong usage.

#![cfg(not(loom))]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Parser;
use hive_registry::{HiveHeartbeatPayload, HiveId, HiveRegistry, ManualClock, WorkerInfo, WorkerState};
use serde::Deserialize;

#[derive(Parser)]
#[command(name = "placement", about = "Picks the GPU on which a model fits best")]
struct Args {
    /// VRAM that the model needs, MiB.
    mib: u64,
    /// Heartbeats, one JSON object a line; - is standard input. Without it a small fleet that is built in.
    file: Option<String>,
}

/// One device of a hive as its workers report it. Bytes.
#[derive(Debug, PartialEq)]
struct Device {
    hive_id: HiveId,
    name: DeviceName,
    total: u64,
    used: u64,
    /// Whether its hive is online and takes work.
    is_available: bool,
}

/// Workers that do not say which device they are on count as on one each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum DeviceName {
    Gpu(u32),
    Of(String),
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let closed = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
            if error.downcast_ref().is_some_and(closed) {
                return ExitCode::SUCCESS;
            }
            eprintln!("placement: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if the model fits somewhere.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let registry = match &args.file {
        None => built_in()?,
        Some(file) => from_file(file).map_err(|error| format!("{file}: {error}"))?,
    };
    let devices = devices(&registry);
    let mut out = io::stdout().lock();
    print(&devices, &mut out)?;
    let chosen = best_fit(&devices, &registry, args.mib);
    match chosen {
        Some(device) => writeln!(
            out,
            "\n{} MiB fit best on {} {}: {} MiB free, {} MiB left then",
            args.mib,
            device.hive_id,
            device.name.text(),
            device.free() >> 20,
            (device.free() >> 20) - args.mib
        )?,
        None => {
            match devices.iter().filter(|device| device.is_available).max_by_key(|device| device.free()) {
                Some(roomiest) => writeln!(
                    out,
                    "\n{} MiB fit nowhere: {} {} has the most free and {} MiB too little",
                    args.mib,
                    roomiest.hive_id,
                    roomiest.name.text(),
                    args.mib - (roomiest.free() >> 20)
                )?,
                None => writeln!(out, "\n{} MiB fit nowhere: no available hive reports a device", args.mib)?,
            }
        }
    }
    Ok(chosen.is_some())
}

/// The device with the least free memory of those with enough, on an available hive; the first among equals.
fn best_fit<'a>(devices: &'a [Device], registry: &HiveRegistry, mib: u64) -> Option<&'a Device> {
    let fitting: BTreeSet<_> = registry
        .find_workers_with_capacity(mib)
        .into_iter()
        .map(|(hive_id, worker)| (hive_id, DeviceName::of(&worker)))
        .collect();
    devices
        .iter()
        .filter(|device| {
            device.is_available && fitting.contains(&(device.hive_id.clone(), device.name.clone()))
        })
        .min_by_key(|device| device.free())
}

/// All devices of which enough is reported, by hive and name.
fn devices(registry: &HiveRegistry) -> Vec<Device> {
    let available = registry.list_available_hives();
    let mut devices: Vec<Device> = Vec::new();
    for (hive_id, worker) in registry.list_all_workers() {
        let (name, used) = (DeviceName::of(&worker), worker.vram_bytes.unwrap_or(0));
        let total = worker.vram_total_bytes.unwrap_or(0);
        match devices.iter_mut().find(|device| device.hive_id == hive_id && device.name == name) {
            Some(device) => {
                device.total = device.total.max(total);
                device.used += used;
            }
            None => {
                let is_available = available.binary_search(&hive_id).is_ok();
                devices.push(Device { hive_id, name, total, used, is_available });
            }
        }
    }
    devices.retain(|device| device.total > 0);
    devices.sort_by(|one, other| (&one.hive_id, &one.name).cmp(&(&other.hive_id, &other.name)));
    devices
}

impl Device {
    fn free(&self) -> u64 {
        self.total.saturating_sub(self.used)
    }
}

impl DeviceName {
    fn of(worker: &WorkerInfo) -> Self {
        worker.device_id.map_or_else(|| Self::Of(worker.worker_id.as_str().into()), Self::Gpu)
    }

    fn text(&self) -> String {
        match self {
            Self::Gpu(id) => format!("gpu {id}"),
            Self::Of(worker) => format!("gpu of {worker}"),
        }
    }
}

fn print(devices: &[Device], out: &mut impl Write) -> io::Result<()> {
    let widest = |text: fn(&Device) -> usize| devices.iter().map(text).max().unwrap_or(0).max(6);
    let hive = widest(|device| device.hive_id.chars().count());
    let name = widest(|device| device.name.text().chars().count());
    writeln!(
        out,
        "{:<hive$}  {:<name$}  {:>9}  {:>8}  {:>8}  MiB",
        "hive", "device", "total", "used", "free"
    )?;
    for device in devices {
        let [total, used, free] = [device.total, device.used, device.free()].map(|bytes| bytes >> 20);
        let note = if device.is_available { "" } else { "  not available" };
        let shown = (&device.hive_id, device.name.text());
        writeln!(out, "{:<hive$}  {:<name$}  {total:>9}  {used:>8}  {free:>8}{note}", shown.0, shown.1)?;
    }
    Ok(())
}

// === where the fleet comes from ===

/// The part of a heartbeat that tells the time, of either form.
#[derive(Deserialize)]
struct Stamp {
    timestamp: String,
}

/// The heartbeats of a file; it is as late as the newest of them.
fn from_file(file: &str) -> Result<HiveRegistry, Box<dyn Error>> {
    let mut bytes = Vec::new();
    if file == "-" {
        io::stdin().read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.read_to_end(&mut bytes)?;
    }
    let lines = || bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let time = |line: &[u8]| {
        let stamp: Stamp = serde_json::from_slice(line).ok()?;
        Some(DateTime::parse_from_rfc3339(&stamp.timestamp).ok()?.timestamp_millis())
    };
    // A line that will be refused tells no time.
    let trial = HiveRegistry::new();
    let newest =
        lines().filter(|(_, line)| trial.ingest_json(line).is_ok()).filter_map(|(_, line)| time(line)).max();
    let registry = HiveRegistry::builder().clock(ManualClock::new(newest.unwrap_or_default())).build()?;
    for (at, line) in lines().filter(|(_, line)| !line.is_empty()) {
        if let Err(error) = registry.ingest_json(line) {
            eprintln!("{file}:{}: {error}", at + 1);
        }
    }
    Ok(registry)
}

/// A worker that is built in: (device, MiB used, MiB in all).
type BuiltIn = (u32, u64, u64);

/// Three hives that beat now.
fn built_in() -> Result<HiveRegistry, Box<dyn Error>> {
    const FLEET: [(&str, &[BuiltIn]); 3] = [
        ("big", &[(0, 61_440, 81_920), (1, 20_480, 81_920), (1, 10_240, 81_920)]),
        ("desk", &[(0, 15_360, 24_576)]),
        ("small", &[(0, 6_144, 12_288), (0, 2_048, 12_288), (1, 1_024, 12_288)]),
    ];
    let registry = HiveRegistry::new();
    let timestamp = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    for (hive_id, workers) in FLEET {
        let worker = |(at, &(device, used, total)): (usize, &BuiltIn)| WorkerState {
            worker_id: format!("w{at}"),
            last_heartbeat: timestamp.clone(),
            device_id: Some(device),
            vram_bytes: Some(used << 20),
            vram_total_bytes: Some(total << 20),
            ..Default::default()
        };
        let workers = workers.iter().enumerate().map(worker).collect();
        registry.update_hive_state(
            hive_id,
            HiveHeartbeatPayload {
                hive_id: hive_id.into(),
                timestamp: timestamp.clone(),
                workers,
                ..Default::default()
            },
        )?;
    }
    Ok(registry)
}
