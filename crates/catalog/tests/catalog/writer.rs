//! What heartbeats bring, written in batches.

use std::fs;
use std::time::{Duration, Instant};

use hive_catalog::{
    Actor, Adoption, CatalogError, CpuDevice, DeviceCapabilities, HeartbeatWriter, HiveCatalog, HiveStatus,
    Operator, REMOVAL_MS, WriterLimits,
};

use crate::support::{Folder, HandClock, START_MS, ann, hive};

fn queen(catalog: &HiveCatalog) -> Operator {
    catalog.as_actor(Actor::service("queen").unwrap())
}

fn open(folder: &Folder, clock: &HandClock) -> Operator {
    HiveCatalog::open_with(folder.join("c.db"), clock.options()).unwrap().as_actor(ann())
}

#[test]
fn hives_that_beat_each_second_are_one_transaction_every_two() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    let ids: Vec<String> = (0..100).map(|at| format!("h{at:03}")).collect();
    catalog.transaction(|changes| ids.iter().try_for_each(|id| changes.add_hive(&hive(id)))).unwrap();
    let writer = HeartbeatWriter::manual(queen(&catalog), WriterLimits::default()).unwrap();
    let (mut flushes, mut rows) = (0, 0);
    for second in 1..=60 {
        clock.advance(1_000);
        for id in &ids {
            writer.beat(id, START_MS + second * 1_000).unwrap();
        }
        if let Some(flush) = writer.poll().unwrap() {
            flushes += 1;
            rows += flush.beats;
        }
    }
    assert_eq!((flushes, rows), (30, 3_000));
    assert_eq!(writer.last_flush().written, 30);
    let last = catalog.get_hive("h099").unwrap().unwrap().last_heartbeat_ms;
    assert_eq!(last, Some(START_MS + 60_000));
}

#[test]
fn the_newest_of_each_is_written_and_transitions_have_their_audit_row() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    catalog.add_hive(&hive("a")).unwrap();
    let writer = HeartbeatWriter::manual(queen(&catalog), WriterLimits::default()).unwrap();
    writer.beat("a", 20).unwrap();
    writer.beat("a", 10).unwrap();
    writer.status("a", HiveStatus::Offline, Some("silent")).unwrap();
    writer.status("a", HiveStatus::Online, None).unwrap();
    let devices = DeviceCapabilities { cpu: Some(CpuDevice::default()), ..DeviceCapabilities::default() };
    writer.capabilities("a", vec!["cpu".to_owned()], devices).unwrap();
    writer.beat("gone", 1).unwrap();
    let flush = writer.flush().unwrap();
    assert_eq!((flush.beats, flush.transitions, flush.capabilities, flush.unknown), (1, 1, 1, 1));
    let now = catalog.get_hive("a").unwrap().unwrap();
    assert_eq!((now.last_heartbeat_ms, now.status), (Some(20), HiveStatus::Online));
    assert_eq!(now.backends, ["cpu"]);
    let whats: Vec<_> = catalog.audit(2..).unwrap().into_iter().map(|row| (row.who, row.what)).collect();
    let by_queen = |what: &str| ("service:queen".to_owned(), what.to_owned());
    assert_eq!(whats, [by_queen("update_status"), by_queen("update_capabilities")]);
    // Told again it is nothing new.
    writer.status("a", HiveStatus::Online, None).unwrap();
    assert_eq!(writer.flush().unwrap().transitions, 0);
}

#[test]
fn what_an_operator_decided_is_not_undone_by_what_was_seen_before() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    catalog.add_hive(&hive("a")).unwrap();
    let writer = HeartbeatWriter::manual(queen(&catalog), WriterLimits::default()).unwrap();
    writer.status("a", HiveStatus::Online, None).unwrap();
    clock.advance(10);
    assert!(catalog.update_status("a", HiveStatus::Offline, Some("stopped by ann")).unwrap());
    assert_eq!(writer.flush().unwrap().transitions, 0);
    assert_eq!(catalog.get_hive("a").unwrap().unwrap().status, HiveStatus::Offline);
    clock.advance(10);
    writer.status("a", HiveStatus::Online, None).unwrap();
    assert_eq!(writer.flush().unwrap().transitions, 1);
    assert_eq!(catalog.get_hive("a").unwrap().unwrap().status, HiveStatus::Online);
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_times_from_being_written() {
    let folder = Folder::new();
    let now = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(START_MS));
    let clock = now.clone();
    let options =
        hive_catalog::Options::new().clock(move || clock.load(std::sync::atomic::Ordering::Relaxed));
    let catalog = HiveCatalog::open_with(folder.join("c.db"), options).unwrap().as_actor(ann());
    catalog.add_hive(&hive("a")).unwrap();
    let writer = HeartbeatWriter::manual(queen(&catalog), WriterLimits::default()).unwrap();
    now.store(START_MS - 9_000_000, std::sync::atomic::Ordering::Relaxed);
    writer.beat("a", 5).unwrap();
    assert!(writer.poll().unwrap().is_some());
}

#[test]
fn what_a_hive_declares_is_read_as_it_was_written_and_changes_once() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    catalog.add_hive(&hive("a")).unwrap();
    for ram_gb in [3.814_701_133_407_652_4, 63.999_680_519_104_004] {
        let cpu = Some(CpuDevice { cores: Some(64), ram_gb: Some(ram_gb) });
        let devices = DeviceCapabilities { cpu, ..DeviceCapabilities::default() };
        let backends = ["cpu".to_owned()];
        assert!(catalog.update_capabilities("a", &backends, &devices).unwrap());
        assert!(!catalog.update_capabilities("a", &backends, &devices).unwrap());
    }
}

#[test]
fn unknown_hives_are_adopted_but_not_those_removed_nor_over_the_limit() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    catalog.add_hive(&hive("known")).unwrap();
    catalog.add_hive(&hive("removed")).unwrap();
    catalog.remove_hive("removed").unwrap();
    let limits = WriterLimits { adopted: 2, ..WriterLimits::default() };
    let writer = HeartbeatWriter::manual(queen(&catalog), limits).unwrap();
    assert_eq!(writer.adopt("known").unwrap(), Adoption::Known);
    assert_eq!(writer.adopt("removed").unwrap(), Adoption::Removed { at_ms: START_MS });
    assert_eq!(writer.adopt("x").unwrap(), Adoption::Adopted);
    assert_eq!(writer.adopt("x").unwrap(), Adoption::Adopted);
    writer.beat("x", 7).unwrap();
    writer.status("x", HiveStatus::Online, None).unwrap();
    assert_eq!(writer.adopt("y").unwrap(), Adoption::Adopted);
    assert!(matches!(
        writer.adopt("z"),
        Err(CatalogError::TooMany { what: "adopted hives", wanted: 3, bound: 2, .. })
    ));
    assert!(matches!(writer.adopt("-x"), Err(CatalogError::Invalid { .. })));
    assert_eq!(writer.flush().unwrap().adopted, 2);
    let x = catalog.get_hive("x").unwrap().unwrap();
    assert_eq!((x.adopted, x.host, x.status, x.last_heartbeat_ms), (true, None, HiveStatus::Online, Some(7)));
    // A restart counts those that are there; an operator's hand makes room.
    drop(writer);
    let writer = HeartbeatWriter::manual(queen(&catalog), limits).unwrap();
    assert!(matches!(writer.adopt("z"), Err(CatalogError::TooMany { .. })));
    catalog.upsert_hive(&hive("x")).unwrap();
    assert_eq!(writer.adopt("z").unwrap(), Adoption::Adopted);
    // Removed between the beat and the flush: it does not come back by it.
    catalog.add_hive(&hive("z")).unwrap();
    catalog.remove_hive("z").unwrap();
    writer.beat("z", 9).unwrap();
    let flush = writer.flush().unwrap();
    assert_eq!((flush.adopted, flush.unknown), (0, 1));
    assert_eq!(catalog.get_hive("z").unwrap(), None);
    clock.advance(REMOVAL_MS);
    assert_eq!(writer.adopt("z").unwrap(), Adoption::Adopted);
}

#[test]
fn as_many_wait_as_may_and_times_are_bounded() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    let limits = WriterLimits { pending: 2, ..WriterLimits::default() };
    let writer = HeartbeatWriter::manual(queen(&catalog), limits).unwrap();
    writer.beat("a", 1).unwrap();
    writer.beat("b", 1).unwrap();
    writer.beat("a", 2).unwrap();
    assert!(matches!(writer.beat("c", 1), Err(CatalogError::TooMany { wanted: 3, bound: 2, .. })));
    assert!(matches!(writer.beat("a", u64::MAX), Err(CatalogError::Invalid { .. })));
    assert_eq!(writer.pending(), 2);
}

#[test]
fn a_failed_flush_keeps_what_it_had_less_what_was_heard_anew() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    catalog.add_hive(&hive("a")).unwrap();
    let writer = HeartbeatWriter::manual(queen(&catalog), WriterLimits::default()).unwrap();
    writer.adopt("b").unwrap();
    writer.beat("a", 10).unwrap();
    writer.status("a", HiveStatus::Offline, Some("old")).unwrap();
    fs::rename(folder.join("c.db"), folder.join("away.db")).unwrap();
    assert!(matches!(writer.flush(), Err(CatalogError::Vanished { .. })));
    assert_eq!((writer.pending(), writer.last_flush().failed), (2, 1));
    assert!(writer.last_flush().error.unwrap().contains("gone"));
    writer.status("a", HiveStatus::Online, None).unwrap();
    fs::rename(folder.join("away.db"), folder.join("c.db")).unwrap();
    let flush = writer.flush().unwrap();
    assert_eq!((flush.beats, flush.adopted), (1, 1));
    assert_eq!((writer.pending(), writer.last_flush().error), (0, None));
    let now = catalog.get_hive("a").unwrap().unwrap();
    assert_eq!((now.last_heartbeat_ms, now.status), (Some(10), HiveStatus::Online));
}

#[test]
fn the_thread_writes_by_itself_and_what_waits_is_written_at_the_end() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let catalog = open(&folder, &clock);
    catalog.add_hive(&hive("a")).unwrap();
    let limits = WriterLimits { interval: Duration::from_millis(5), ..WriterLimits::default() };
    let writer = HeartbeatWriter::start(queen(&catalog), limits).unwrap();
    writer.beat("a", 1).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while writer.last_flush().written == 0 {
        assert!(Instant::now() < until, "never written");
        std::thread::yield_now();
    }
    drop(writer);
    let slow = WriterLimits { interval: Duration::from_secs(3_600), ..WriterLimits::default() };
    let writer = HeartbeatWriter::start(queen(&catalog), slow).unwrap();
    writer.beat("a", 2).unwrap();
    assert_eq!(writer.close().unwrap().beats, 1);
    let writer = HeartbeatWriter::start(queen(&catalog), slow).unwrap();
    writer.beat("a", 3).unwrap();
    drop(writer);
    assert_eq!(catalog.get_hive("a").unwrap().unwrap().last_heartbeat_ms, Some(3));
}
