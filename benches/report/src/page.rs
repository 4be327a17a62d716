//! The page: what stands in it, in which order, and how it was measured.

use std::fmt::Write as _;

use crate::figures::{Figures, Missing};
use crate::table::Table;
use crate::unit::{bytes, time, whole};
use crate::{aims, heartbeats, machine, picks, reservations};

const METHOD: &str = "\
Fleets are of hives with 8 workers over 20 models, every field set, on the default clock. Times are medians: criterion's,
the least of three rounds some minutes apart, because what else a shared machine does only ever adds; and in the comparison
with others those of batches of at least 100 us, ours taken before and after each peer's in the same process. Percentiles
are of the last round. A *floor* is what no design of these parts goes below on this machine,
measured in the same run: `benches/floor.rs` tells what is in it.";

pub(crate) fn page(figures: &Figures) -> Result<String, Missing> {
    let mut page = String::new();
    page += "<!-- Written by `make bench`; what is changed here is lost. -->\n\n# Figures\n\n";
    page += &machine::table(figures);
    page = page + "\n" + METHOD + "\n";
    // A floor is part of what stands on it: above it, it was measured while something else ran.
    if figures.median("floor/pick/all")? > figures.median("pick/hit/100")? {
        page +=
            "\n**The machine was not at rest**: a floor came out above what stands on it. Measure again.\n";
    }
    for (title, section) in [
        ("What was aimed at", aims::section(figures)?),
        ("Picks", picks::against_others(figures)?),
        ("Picks by size of the fleet", picks::by_size(figures)?),
        ("Picks beside a writer", picks::writer(figures)?),
        ("Picks on two threads", picks::threads(figures)?),
        ("Picks by other policies", picks::policies(figures)?),
        ("Picks after a mass silence", picks::silence(figures)?),
        ("Heartbeats, parsed", heartbeats::parsed(figures)?),
        ("Heartbeats, from JSON", heartbeats::json(figures)?),
        ("Hives that join, models that come and go", heartbeats::join(figures)?),
        ("Reservations", reservations::section(figures)?),
        ("Leases", reservations::leases(figures)?),
        ("Waits", waits(figures)?),
        ("Memory", memory(figures)?),
        ("All medians", medians(figures)),
    ] {
        // Writing to a string does not fail.
        let _ = write!(page, "\n## {title}\n\n{section}");
    }
    Ok(page)
}

fn memory(figures: &Figures) -> Result<String, Missing> {
    let mut table = Table::new(&["bytes requested", "all", "each"]);
    for row in figures.table("memory")? {
        let each = if row.what.contains(':') { bytes(row.get("each")?) } else { String::new() };
        table.row([row.what.clone(), bytes(row.get("all")?), each]);
    }
    Ok(format!("As requested from the allocator; all indexes and statistics are in it.\n\n{}", table.text()))
}

fn waits(figures: &Figures) -> Result<String, Missing> {
    let mut table = Table::new(&["", "p50", "p99", "p99.9", "longest", "longest of its own", "measured"]);
    for row in figures.table("waits")? {
        let told = [row.get("p50")?, row.get("p99")?, row.get("p99.9")?, row.get("longest")?].map(time);
        // Means of many calls have none.
        let own = row.get("own, longest").map(time).unwrap_or_default();
        let count = whole(row.get("measured")?);
        table.row([row.what.clone()].into_iter().chain(told).chain([own, count]));
    }
    Ok(format!(
        "Single calls, beside one other thread where it does not say otherwise. The longest of its own is by the time that \
         the calling thread had of a core: it leaves out waiting, for a lock or for a core.\n\n{}",
        table.text()
    ))
}

fn medians(figures: &Figures) -> String {
    let mut table = Table::new(&["criterion's id", "median", "95 % between"]);
    for (id, median) in figures.medians() {
        let [low, high] = median.between.map(time);
        table.row([format!("`{id}`"), time(median.ns), format!("{low} and {high}")]);
    }
    let count = whole(figures.medians().count() as f64);
    let table = table.text();
    format!(
        "<details><summary>{count} functions, as criterion measured them</summary>\n\n{table}\n</details>\n"
    )
}
