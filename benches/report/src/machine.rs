//! Where it was measured: what tells one machine from another, and no names.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::SystemTime;

use chrono::{DateTime, Utc};

use crate::figures::Figures;
use crate::table::Table;

pub(crate) fn table(figures: &Figures) -> String {
    let mut table = Table::of_text(&["machine", ""]);
    let cores = available_parallelism().map_or("unknown".to_owned(), |cores| cores.to_string());
    table.row(["CPU".to_owned(), field("/proc/cpuinfo", "model name").unwrap_or("unknown".to_owned())]);
    table.row(["cores".to_owned(), cores]);
    if let Some(kib) = cache_kib() {
        table.row(["L3 cache".to_owned(), format!("{:.0} MiB", kib / 1024.0)]);
    }
    if let Some(kib) = memory_kib() {
        table.row(["memory".to_owned(), format!("{:.0} GiB", kib / 1024.0 / 1024.0)]);
    }
    table.row(["system".to_owned(), system()]);
    table.row(["compiler".to_owned(), told("rustc", &["--version"]).unwrap_or("unknown".to_owned())]);
    table.row(["measured".to_owned(), when(figures.when)]);
    if let Some(commit) = commit() {
        table.row(["commit".to_owned(), commit]);
    }
    table.text()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of the first line that begins with `name`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path)?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn memory_kib() -> Option<f64> {
    field("/proc/meminfo", "MemTotal")?.strip_suffix(" kB")?.parse().ok()
}

fn cache_kib() -> Option<f64> {
    read("/sys/devices/system/cpu/cpu0/cache/index3/size")?.strip_suffix('K')?.parse().ok()
}

fn system() -> String {
    let name = read("/proc/sys/kernel/ostype").unwrap_or_else(|| std::env::consts::OS.to_owned());
    format!("{name}, {}", std::env::consts::ARCH)
}

fn told(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn when([first, last]: [SystemTime; 2]) -> String {
    let [first, last] = [first, last].map(DateTime::<Utc>::from);
    if first.date_naive() == last.date_naive() {
        return format!("{} to {} UTC", first.format("%Y-%m-%d, %H:%M"), last.format("%H:%M"));
    }
    format!("{} to {} UTC", first.format("%Y-%m-%d, %H:%M"), last.format("%Y-%m-%d, %H:%M"))
}

/// None without git. The report itself does not count as a change.
fn commit() -> Option<String> {
    let commit = told("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = told("git", &["status", "--porcelain", "--", ":/", ":(top,exclude)docs"])?;
    Some(commit + if changed.is_empty() { "" } else { ", with changes that are not committed" })
}
