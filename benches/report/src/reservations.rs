//! Reservations: in fleets, by workers of one model, on threads, and as leases.

use crate::figures::{Figures, Missing};
use crate::picks::HIVES;
use crate::table::Table;
use crate::unit::{ratio, time, whole};

/// In the fleets of the benches, one worker in so many has the least load of its model.
const LEAST_LOADED: usize = 20;

/// One reservation and its release, going round among so many workers.
fn floor(figures: &Figures, workers: usize) -> Result<f64, Missing> {
    figures.median(&format!("floor/reserve/all/{workers}"))
}

/// The floor beneath a fleet of hives with 8 workers.
pub(crate) fn floor_of_fleet(figures: &Figures, hives: usize) -> Result<f64, Missing> {
    floor(figures, hives * 8 / LEAST_LOADED)
}

pub(crate) fn section(figures: &Figures) -> Result<String, Missing> {
    let mut fleets =
        Table::new(&["hives x 8, 20 models in turn", "reserve + release", "floor", "ours / floor"]);
    for hives in HIVES {
        let ours = figures.median(&format!("pick/reserve/{hives}"))?;
        let floor = floor_of_fleet(figures, hives)?;
        fleets.row([whole(hives as f64), time(ours), time(floor), ratio(ours / floor)]);
    }
    let head = ["workers of one model", "tied", "floor", "tied / floor", "2 threads", "ranked", "2 threads"];
    let mut models = Table::new(&head);
    for workers in [1, 4, 400, 40_000] {
        let median = |kind: &str| figures.median(&format!("reserve/{kind}-threads/{workers}"));
        let (tied, floor) = (median("tied/1")?, floor(figures, workers)?);
        let mut cells = vec![whole(workers as f64), time(tied), time(floor), ratio(tied / floor)];
        cells.push(time(median("tied/2")?));
        // A single worker has nobody to be ranked against.
        if workers > 1 {
            cells.extend([time(median("ranked/1")?), time(median("ranked/2")?)]);
        }
        models.row(cells);
    }
    Ok(format!(
        "The floor is one reservation and its release without a ranking: clock, map, lock, one record, three handles, \
         three compare-and-swaps, two counters, on one worker after the other, far apart. It goes round among as many \
         as the reservations do: in the fleets one worker in {LEAST_LOADED} has the least load of its model.\n\n{}\n\
         `tied`: all have the same load, and reservations go round among all. `ranked`: one is best, and is taken again \
         and again. Times are for each thread.\n\n{}",
        fleets.text(),
        models.text()
    ))
}

pub(crate) fn leases(figures: &Figures) -> Result<String, Missing> {
    let mut table = Table::new(&["lease", "time"]);
    for (id, what) in [
        ("open-renew-release/0", "opened, renewed and released; none other open"),
        ("open-renew-release/10000", "the same beside 10,000 that are open"),
        ("run-out/10000", "run out, for each of 10,000"),
    ] {
        table.row([what.to_owned(), time(figures.median(&format!("reserve/lease/{id}"))?)]);
    }
    Ok(table.text())
}
