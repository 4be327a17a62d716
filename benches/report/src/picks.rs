//! Picks: against others, by size, beside a writer, on threads, by policy, after a silence.

use crate::figures::{Figures, Missing, Peer};
use crate::table::Table;
use crate::unit::{ratio, time, whole};

/// As the peers' crate names them.
const PEERS: [&str; 4] = ["plain", "plain-in-place", "cow", "dynamo"];
pub(crate) const HIVES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// A comparison of one fleet with all peers that were measured on it.
pub(crate) struct Fleet<'f> {
    pub(crate) workers: usize,
    pub(crate) of_model: usize,
    /// The median of what was measured beside each peer.
    pub(crate) ours: f64,
    peers: Vec<&'f Peer>,
}

impl Fleet<'_> {
    pub(crate) fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.peer == name).copied()
    }
}

/// By size, those of 20 models before those of one.
pub(crate) fn fleets(figures: &Figures) -> Vec<Fleet<'_>> {
    let size = |peer: &Peer| (peer.workers == peer.workers_of_model, peer.workers, peer.workers_of_model);
    let mut sizes: Vec<_> = figures.peers().iter().map(size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let fleet = |wanted: (bool, usize, usize)| {
        let peers: Vec<_> = figures.peers().iter().filter(|peer| size(peer) == wanted).collect();
        let mut ours: Vec<_> = peers.iter().map(|peer| peer.ours_ns).collect();
        ours.sort_unstable_by(f64::total_cmp);
        Fleet { workers: wanted.1, of_model: wanted.2, ours: ours[ours.len() / 2], peers }
    };
    sizes.into_iter().map(fleet).collect()
}

pub(crate) fn against_others(figures: &Figures) -> Result<String, Missing> {
    let floor = figures.median("floor/pick/all")?;
    let mut table = Table::new(&[
        "workers / of the model",
        "ours",
        "floor",
        "ours / floor",
        "scan, clones all",
        "scan, clones one",
        "slice per model",
        "dynamo",
    ]);
    for fleet in fleets(figures) {
        let told = |name: &&str| fleet.peer(name).map_or(String::new(), cell);
        let size = format!("{} / {}", whole(fleet.workers as f64), whole(fleet.of_model as f64));
        let ours = [size, time(fleet.ours), time(floor), ratio(fleet.ours / floor)];
        table.row(ours.into_iter().chain(PEERS.iter().map(told)));
    }
    let lost: Vec<_> = figures.peers().iter().filter(|peer| peer.ratio < 1.0).map(loss).collect();
    let lost = if lost.is_empty() { " nowhere.".to_owned() } else { format!("\n\n{}", lost.join("\n")) };
    Ok(format!(
        "![Time of a pick by workers in the fleet, ours and others'](pick.svg)\n\n\
         In each cell a peer's time, and in brackets that time over ours; below 1 **we lose**. What each peer does, and \
         what was left out in its favour, stands in [benches/peers](../benches/peers/README.md).\n\n{}\n\
         Where we lose:{lost}\n",
        table.text()
    ))
}

fn cell(peer: &Peer) -> String {
    let told = format!("{} ({})", time(peer.peer_ns), ratio(peer.ratio));
    if peer.ratio < 1.0 { format!("{told} **we lose**") } else { told }
}

fn loss(peer: &Peer) -> String {
    let [ours, theirs] = [peer.ours_ns, peer.peer_ns].map(time);
    let [workers, of_model] = [peer.workers, peer.workers_of_model].map(|count| whole(count as f64));
    format!("- {}, {workers} workers, {of_model} of the model: {theirs} against our {ours}", peer.what)
}

/// Every function of criterion's group `pick`, whatever there is.
pub(crate) fn by_size(figures: &Figures) -> Result<String, Missing> {
    let mut functions = vec!["hit", "idle", "miss", "reserve"];
    for (id, _) in figures.medians() {
        let function = id.strip_prefix("pick/").and_then(|rest| rest.split_once('/'));
        if let Some((function, hives)) = function {
            if hives.parse::<usize>().is_ok() && !functions.contains(&function) {
                functions.push(function);
            }
        }
    }
    let floor = figures.median("floor/pick/all")?;
    let head = ["hives x 8"].into_iter().chain(functions.iter().copied()).chain(["hit / floor"]);
    let mut table = Table::new(&head.collect::<Vec<_>>());
    for hives in HIVES {
        let hit = figures.median(&format!("pick/hit/{hives}"))?;
        // Not every function is measured at every size.
        let told =
            |function| figures.median(&format!("pick/{function}/{hives}")).map(time).unwrap_or_default();
        let told = functions.iter().map(told);
        table.row([whole(hives as f64)].into_iter().chain(told).chain([ratio(hit / floor)]));
    }
    let parts = ["map/20", "published", "two-arcs", "clock"];
    let mut told = Vec::new();
    for part in parts {
        told.push(format!("{part} {}", time(figures.median(&format!("floor/pick/{part}"))?)));
    }
    let [small, large] = [figures.median("pick/hit/100")?, figures.median("pick/hit/100000")?];
    Ok(format!(
        "`hit`: a worker has the model. `idle`: nobody has, so an idle worker is taken. `miss`: nobody is idle \
         either. `reserve`: counted and given back.\n\n{}\n\
         The largest fleet costs {} of the smallest. The floor in a row takes {}; its parts alone: {}.\n",
        table.text(),
        ratio(large / small),
        time(floor),
        told.join(", ")
    ))
}

pub(crate) fn writer(figures: &Figures) -> Result<String, Missing> {
    let mut table = Table::new(&["", "p50", "p99", "p99.9", "longest", "measured"]);
    for row in figures.table("pick-writer")? {
        let told = [row.get("p50")?, row.get("p99")?, row.get("p99.9")?, row.get("longest")?].map(time);
        let count = whole(row.get("measured")?);
        table.row([row.what.clone()].into_iter().chain(told).chain([count]));
    }
    Ok(format!(
        "One thread applies heartbeats of 8 changed workers without pause. A single pick includes what measuring \
         adds; the longest ones are the system's, which takes the thread off its core.\n\n{}",
        table.text()
    ))
}

pub(crate) fn threads(figures: &Figures) -> Result<String, Missing> {
    let mut table = Table::new(&["for each thread", "1 thread", "2 threads", "2 / 1"]);
    for (name, what) in
        [("one-model", "all pick one model"), ("two-models", "each picks its own of two models")]
    {
        let median = |threads: usize| figures.median(&format!("pick/threads/{name}/{threads}"));
        let [one, two] = [median(1)?, median(2)?];
        table.row([what.to_owned(), time(one), time(two), ratio(two / one)]);
    }
    Ok(format!(
        "Two threads that pick one model count the same two references up and down, whose cache line goes back and \
         forth between the cores.\n\n{}",
        table.text()
    ))
}

pub(crate) fn policies(figures: &Figures) -> Result<String, Missing> {
    let mut table = Table::new(&["policy, 10,000 hives", "pick"]);
    let prefix = "pick/policy/";
    let mut policies: Vec<_> =
        figures.medians().filter_map(|(id, median)| Some((id.strip_prefix(prefix)?, median.ns))).collect();
    policies.sort_unstable_by(|one, other| one.1.total_cmp(&other.1));
    figures.median("pick/policy/LeastLoaded")?;
    policies.into_iter().for_each(|(name, ns)| table.row([format!("`{name}`"), time(ns)]));
    Ok(table.text())
}

pub(crate) fn silence(figures: &Figures) -> Result<String, Missing> {
    let mut table =
        Table::new(&["after half of 800,000 workers fell silent, the better half", "first", "second"]);
    for row in figures.table("pick-silence")? {
        table.row([row.what.clone(), time(row.get("first")?), time(row.get("second")?)]);
    }
    let mut later = Table::new(&["later", "before", "after", "after / before"]);
    for (name, what) in [("hit", "the model is there"), ("idle", "falls back to an idle worker")] {
        let median = |when: &str| figures.median(&format!("pick/silence/{name}/{when}"));
        let [before, after] = [median("before")?, median("after")?];
        later.row([what.to_owned(), time(before), time(after), ratio(after / before)]);
    }
    Ok(format!(
        "The first pick of a model finds out who is silent; each line was measured once.\n\n{}\n{}",
        table.text(),
        later.text()
    ))
}
