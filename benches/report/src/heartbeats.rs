//! Heartbeats: parsed, from JSON, and of hives and models that come and go.

use crate::figures::{Figures, Missing};
use crate::table::Table;
use crate::unit::{ratio, time, whole};

pub(crate) fn parsed(figures: &Figures) -> Result<String, Missing> {
    let head = ["changed", "10,000 hives", "floor", "ours / floor", "100,000 hives", "floor", "ours / floor"];
    let mut table = Table::new(&head);
    for (id, what) in [("0-of-8", "0 of 8"), ("1-of-8", "1 of 8"), ("8-of-8", "8 of 8")] {
        let mut cells = vec![what.to_owned()];
        for hives in [10_000, 100_000] {
            let ours = figures.median(&format!("heartbeat/parsed/{id}/{hives}"))?;
            let floor = figures.median(&format!("floor/heartbeat/records/{hives}"))?;
            cells.extend([time(ours), time(floor), ratio(ours / floor)]);
        }
        table.row(cells);
    }
    let drop = figures.median("heartbeat/parsed/drop/10000")?;
    Ok(format!(
        "Heartbeats of 8 workers, hive after hive far apart; `last_heartbeat` changes always, so 8 new records are \
         published always. The floor is that alone: 8 records allocated and put in the place of 8 others, which are \
         freed. Ours includes {} for freeing the heartbeat.\n\n{}",
        time(drop),
        table.text()
    ))
}

pub(crate) fn json(figures: &Figures) -> Result<String, Missing> {
    let head =
        ["form", "JSON to applied", "parse", "apply", "ours / (parse + apply)", "floor", "ours / floor"];
    let mut table = Table::new(&head);
    for form in ["plain", "telemetry"] {
        let part = |part: &str| figures.median(&format!("heartbeat/json/{form}/{part}"));
        let [ours, parse, apply] = [part("ingest")?, part("parse")?, part("apply")?];
        let floor = figures.median(&format!("floor/heartbeat/json/{form}"))?;
        let sum = ratio(ours / (parse + apply));
        let [told, parse, apply] = [ours, parse, apply].map(time);
        table.row([form.to_owned(), told, parse, apply, sum, time(floor), ratio(ours / floor)]);
    }
    Ok(format!(
        "10,000 hives, all 8 workers changed. The floor is serde_json into borrowed types and nothing else; `parse` is \
         the same, measured beside ours, and `apply` takes the heartbeat parsed.\n\n{}",
        table.text()
    ))
}

pub(crate) fn join(figures: &Figures) -> Result<String, Missing> {
    let head =
        ["hives x 8 joining one model", "all", "each", "longest, best wave", "median", "worst", "waves"];
    let mut table = Table::new(&head);
    for row in figures.table("heartbeat-join")? {
        let hives: f64 = row.what.parse().unwrap_or_default();
        let all = figures.median(&format!("heartbeat/join/{}", row.what))?;
        let longest = |wave: &str| row.get(&format!("longest, {wave} wave")).map(time);
        let longest = [longest("best")?, longest("median")?, longest("worst")?];
        let told = [whole(hives), time(all), time(all / hives)].into_iter().chain(longest);
        table.row(told.chain([whole(row.get("waves")?)]));
    }
    let mut picks = Table::new(&["picks", "p50", "p99", "p99.9", "longest"]);
    for row in figures.table("heartbeat-join-picks")? {
        let told = [row.get("p50")?, row.get("p99")?, row.get("p99.9")?, row.get("longest")?].map(time);
        picks.row([row.what.clone()].into_iter().chain(told));
    }
    let models = 100_000.0;
    let each = |what: &str| Ok(time(figures.median(&format!("heartbeat/models/{what}/100000"))? / models));
    Ok(format!(
        "The longest is the longest single heartbeat of a wave; in the worst of many waves the system takes the thread off its core meanwhile.\n\n{}\n{}\n\
         Of 100,000 models, one on each worker, each takes {} to appear and {} to go.\n",
        table.text(),
        picks.text(),
        each("appear")?,
        each("go")?
    ))
}
