//! What the catalog knows of hives, as a table of many or a sheet of one.

use std::collections::BTreeMap;

use hive_catalog::{Cordon, HiveFilter, HiveRecord, HiveStatus, Transition};
use serde::Serialize;
use serde_json::json;

use crate::cli::{Filter, Global, List, Node};
use crate::failure::Failure;
use crate::open;
use crate::table::{Cell, Column, lines};
use crate::terminal::{Style, Terminal, clean};
use crate::time::told;

impl From<Filter> for HiveFilter {
    fn from(filter: Filter) -> Self {
        let Filter { status, backend, labels } = filter;
        Self { status, backend, labels, ..Self::default() }
    }
}

// === list ===

/// The order in which they go is told in the help of `nodes list`.
const COLUMNS: [Column; 8] = [
    Column { title: "NAME", goes: 0, least: 12 },
    Column { title: "STATUS", goes: 0, least: 7 },
    Column { title: "HOST", goes: 2, least: 15 },
    Column { title: "SSH", goes: 4, least: 10 },
    Column { title: "BACKENDS", goes: 3, least: 8 },
    Column { title: "DEVICES", goes: 5, least: 8 },
    Column { title: "LAST HEARD", goes: 1, least: 11 },
    Column { title: "LABELS", goes: 6, least: 8 },
];

pub(crate) fn list(list: List, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::looked_at(global, terminal)?;
    let filter = HiveFilter::from(list.filter);
    let hives = catalog.list_hives(&filter)?.hives;
    if global.json {
        return terminal.json(&json!({ "hives": hives }));
    }
    if hives.is_empty() {
        if filter != HiveFilter::default() {
            terminal.note("no such hive; `queen nodes list` shows all");
        } else if catalog.path().is_some() {
            terminal.note("no hives yet: `queen setup add-node --name gpu-1 --host 192.168.1.100` adds one");
        }
        return Ok(());
    }
    let now_ms = catalog.now_ms();
    let rows: Vec<_> = hives.iter().map(|hive| row(hive, now_ms, terminal)).collect();
    terminal.say_all(&lines(&COLUMNS, &rows, terminal))
}

fn row(hive: &HiveRecord, now_ms: u64, terminal: &Terminal) -> Vec<Cell> {
    let heard = hive.last_heartbeat_ms.map(|ms| told(ms, now_ms, terminal.is_terminal()));
    vec![
        Cell::of(&hive.id),
        Cell::styled(hive.status.as_str(), style(hive.status)),
        Cell::of(hive.host.as_ref().map(|host| format!("{host}:{}", hive.port)).unwrap_or_default()),
        Cell::of(ssh(hive)),
        Cell::of(hive.backends.join(",")),
        Cell::of(devices(hive)),
        Cell::of(heard.unwrap_or_default()),
        Cell::of(labels(hive)),
    ]
}

fn style(status: HiveStatus) -> Style {
    match status {
        HiveStatus::Online => Style::Green,
        HiveStatus::Offline => Style::Yellow,
        HiveStatus::Error => Style::Red,
        HiveStatus::Unknown => Style::Dim,
    }
}

/// "ops@gpu-1.lan:2222", as far as it says more than the host.
fn ssh(hive: &HiveRecord) -> String {
    if hive.ssh_host == hive.host && hive.ssh_user.is_none() && hive.ssh_port.is_none() {
        return String::new();
    }
    let user = hive.ssh_user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let port = hive.ssh_port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{user}{}{port}", hive.ssh_host.as_deref().unwrap_or_default())
}

/// "2 cuda, 64 cores, 256 GiB".
fn devices(hive: &HiveRecord) -> String {
    // GPUs that are known one by one are more than a count of them.
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for gpu in &hive.devices.gpus {
        *seen.entry(&gpu.backend).or_default() += 1;
    }
    for (backend, count) in &hive.devices.counts {
        seen.entry(backend).or_insert(*count);
    }
    let mut told: Vec<String> = seen.iter().map(|(backend, count)| format!("{count} {backend}")).collect();
    let cpu = hive.devices.cpu.unwrap_or_default();
    told.extend(cpu.cores.map(|cores| format!("{cores} cores")));
    told.extend(cpu.ram_gb.map(|gib| format!("{gib:.0} GiB")));
    told.join(", ")
}

fn labels(hive: &HiveRecord) -> String {
    hive.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

// === show ===

/// All that is known of a hive.
#[derive(Serialize)]
struct Shown {
    hive: HiveRecord,
    /// Names only.
    secrets: Vec<String>,
    /// The last 100 changes of status, the newest first.
    transitions: Vec<Transition>,
    /// What an older program wrote and nothing dials with.
    faults: Vec<String>,
}

/// Changes of status on a sheet; `--json` has a hundred.
const CHANGES: usize = 10;

pub(crate) fn show(node: &Node, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let catalog = open::looked_at(global, terminal)?;
    let id = node.name();
    let hive = catalog.get_hive(id)?.ok_or_else(|| Failure::unknown(id))?;
    let shown = Shown {
        secrets: catalog.secret_names(id)?,
        transitions: catalog.transitions(id)?,
        faults: hive.faults().iter().map(ToString::to_string).collect(),
        hive,
    };
    if global.json {
        return terminal.json(&shown);
    }
    terminal.say_all(&sheet(&shown, catalog.now_ms(), terminal))
}

fn sheet(shown: &Shown, now_ms: u64, terminal: &Terminal) -> Vec<String> {
    let hive = &shown.hive;
    let time = |ms: u64| told(ms, now_ms, terminal.is_terminal());
    let because = |why: &str| if why.is_empty() { String::new() } else { format!(": {}", clean(why)) };
    let line = |name: &str, value: &str| format!("  {name:<14}{value}");
    let status = terminal.paint(style(hive.status), hive.status.as_str());
    let reason = because(hive.status_reason.as_deref().unwrap_or_default());
    let mut sheet =
        vec![terminal.paint(Style::Bold, &clean(&hive.id)), line("status", &format!("{status}{reason}"))];
    let told = facts(hive, &time).into_iter().filter(|(_, value)| !value.is_empty());
    sheet.extend(told.map(|(name, value)| line(name, &clean(&value))));
    let cordon = |what: &str, cordon: &Cordon| {
        line("cordoned", &format!("{}, since {}{}", clean(what), time(cordon.since_ms), because(&cordon.why)))
    };
    sheet.extend(hive.cordoned.hive.iter().map(|it| cordon("the hive", it)));
    sheet.extend(hive.cordoned.workers.iter().map(|(worker, it)| cordon(worker, it)));
    if !shown.secrets.is_empty() {
        sheet.push(line("secrets", &clean(&shown.secrets.join(", "))));
    }
    for fault in &shown.faults {
        sheet.push(terminal.paint(Style::Yellow, &line("not dialled", &clean(fault))));
    }
    for (place, change) in shown.transitions.iter().take(CHANGES).enumerate() {
        let became = terminal.paint(style(change.to), change.to.as_str());
        let why = because(change.reason.as_deref().unwrap_or_default());
        let (when, who) = (time(change.at_ms), clean(&change.who));
        let change = format!("{when}: {} to {became} by {who}{why}", change.from);
        sheet.push(line(if place == 0 { "changes" } else { "" }, &change));
    }
    sheet
}

fn facts(hive: &HiveRecord, time: &dyn Fn(u64) -> String) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let reached = hive.last_connected_unix.and_then(|unix| u64::try_from(unix).ok());
    let how = if hive.adopted { ", by its heartbeat" } else { "" };
    vec![
        ("host", text(&hive.host)),
        ("port", hive.port.to_string()),
        ("ssh host", text(&hive.ssh_host)),
        ("ssh port", hive.ssh_port.map(|port| port.to_string()).unwrap_or_default()),
        ("ssh user", text(&hive.ssh_user)),
        ("ssh key", text(&hive.ssh_key_path)),
        ("git repo", text(&hive.git_repo_url)),
        ("git branch", text(&hive.git_branch)),
        ("install path", text(&hive.install_path)),
        ("binary path", text(&hive.binary_path)),
        ("backends", hive.backends.join(", ")),
        ("devices", devices(hive)),
        ("labels", labels(hive)),
        ("last heard", hive.last_heartbeat_ms.map(time).unwrap_or_default()),
        ("last reached", reached.map(|unix| time(unix.saturating_mul(1_000))).unwrap_or_default()),
        ("added", format!("{}{how}", time(hive.created_at_ms))),
        ("changed", time(hive.updated_at_ms)),
    ]
}
