//! Much of everything: a file whose size follows what is in it, flushes of 100,000 hives. Small here; `make verify`
//! sets `CATALOG_RECORDS`, `CATALOG_AUDIT_ROWS` and `CATALOG_BEATING`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hive_catalog::{
    Actor, HeartbeatWriter, HiveCatalog, HiveFilter, HivePatch, HiveRecord, Operator, Options, WriterLimits,
};

mod scratch;

use scratch::{Folder, size};

fn at(path: &Path, options: Options) -> Operator {
    HiveCatalog::open_with(path, options).unwrap().as_actor(Actor::cli("ann").unwrap())
}

fn id(number: usize) -> String {
    format!("hive-{number:07}")
}

/// In transactions of 1,000.
fn filled(catalog: &Operator, records: usize) {
    for first in (0..records).step_by(1_000) {
        let some = first..(first + 1_000).min(records);
        catalog
            .transaction(|changes| {
                some.clone().try_for_each(|number| {
                    let host = Some("10.0.0.1".to_owned());
                    changes.add_hive(&HiveRecord { host, ..HiveRecord::new(id(number)) })
                })
            })
            .unwrap();
    }
}

fn bytes(path: &Path) -> u64 {
    ["", "-wal"]
        .iter()
        .filter_map(|end| Some(fs::metadata(format!("{}{end}", path.display())).ok()?.len()))
        .sum()
}

/// What is left of the WAL after a checkpoint, and what one transaction of the sizes here adds to it.
const WAL: u64 = 64 << 20;

#[test]
fn a_million_records_are_listed_in_pages_and_take_a_bounded_file() {
    let folder = Folder::new("records");
    let path = folder.catalog();
    let catalog = at(&path, Options::new());
    let records = size("CATALOG_RECORDS", 5_000);
    filled(&catalog, records);
    let mut page = HiveFilter { limit: Some(1_000), ..HiveFilter::default() };
    let mut listed = 0;
    loop {
        let hives = catalog.list_hives(&page).unwrap();
        assert!(hives.hives.iter().enumerate().all(|(at, hive)| hive.id == id(listed + at)));
        listed += hives.hives.len();
        page.after = hives.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(listed, records);
    // A record, its place in two indexes, and its audit row.
    assert!(bytes(&path) < WAL + 700 * records as u64, "{} bytes", bytes(&path));
    assert!(catalog.verify(None).unwrap().is_whole());
}

#[test]
fn audit_rows_by_ten_in_a_transaction_take_a_bounded_file() {
    let folder = Folder::new("audit");
    let path = folder.catalog();
    let catalog = at(&path, Options::new());
    filled(&catalog, 10);
    let rows = size("CATALOG_AUDIT_ROWS", 5_000);
    for round in 0..rows / 10 {
        catalog
            .transaction(|changes| {
                (0..10).try_for_each(|number| {
                    let port = Some(Some(1 + u16::try_from(round % 60_000).unwrap()));
                    changes.update_hive(&id(number), &HivePatch { port, ..HivePatch::default() }).map(drop)
                })
            })
            .unwrap();
    }
    // The first round of each 60,000 changes the port from 7835, or back to what it was a round ago: no change, no row.
    let (last, _) = catalog.audit_head().unwrap().unwrap();
    assert!(last as usize > rows - 10, "{last}");
    assert!(bytes(&path) < WAL + 400 * rows as u64, "{} bytes", bytes(&path));
    assert_eq!(catalog.verify_audit(None).unwrap(), None);
}

#[test]
fn a_fleet_that_beats_for_a_minute_is_thirty_transactions() {
    let folder = Folder::new("beating");
    let path = folder.catalog();
    let now = Arc::new(AtomicU64::new(1_800_000_000_000));
    let clock = Arc::clone(&now);
    let catalog = at(&path, Options::new().clock(move || clock.load(Ordering::Relaxed)));
    let hives = size("CATALOG_BEATING", 2_000);
    filled(&catalog, hives);
    let before = bytes(&path);
    let writer = HeartbeatWriter::manual(catalog.clone(), WriterLimits::default()).unwrap();
    let ids: Vec<String> = (0..hives).map(id).collect();
    let mut rows = 0;
    for _ in 0..60 {
        let ms = now.fetch_add(1_000, Ordering::Relaxed) + 1_000;
        ids.iter().for_each(|id| writer.beat(id, ms).unwrap());
        rows += writer.poll().unwrap().map_or(0, |flush| flush.beats);
    }
    assert_eq!((writer.last_flush().written, rows), (30, 30 * hives));
    // Two numbers a hive, whatever the number of times.
    assert!(bytes(&path) < before + WAL + 60 * hives as u64, "{} bytes, {before} before", bytes(&path));
    let (last, _) = catalog.audit_head().unwrap().unwrap();
    assert_eq!(last, hives as u64, "a time is no change");
}
