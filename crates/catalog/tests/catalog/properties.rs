//! Random operations on a catalog and on a plain map, reopened at random: after each, every hive of both is the same,
//! so is what each operation answered; at the end the audit chain is whole and has a row for each change.

use std::collections::BTreeMap;

use hive_catalog::{HiveCatalog, HiveFilter, HivePatch, HiveRecord, HiveStatus, Operator, Upsert};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{Folder, HandClock, ann};

#[derive(Clone, Debug)]
enum Step {
    Add(u8, Option<String>),
    Upsert(u8, Option<String>, String),
    Patch(u8, Option<String>),
    Status(u8, HiveStatus),
    Beats(Vec<(u8, u64)>),
    Cordon(u8, bool),
    Remove(u8),
    Undone(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..6_u8;
    let host = || proptest::option::of("[a-z][a-z0-9.-]{0,8}");
    let step = prop_oneof![
        (id(), host()).prop_map(|(id, host)| Step::Add(id, host)),
        (id(), host(), "[^\\p{C}]{0,6}").prop_map(|(id, host, label)| Step::Upsert(id, host, label)),
        (id(), host()).prop_map(|(id, host)| Step::Patch(id, host)),
        (id(), 0..4_usize).prop_map(|(id, status)| Step::Status(id, HiveStatus::ALL[status])),
        vec((id(), 0..50_u64), 0..5).prop_map(Step::Beats),
        (id(), any::<bool>()).prop_map(|(id, on)| Step::Cordon(id, on)),
        id().prop_map(Step::Remove),
        id().prop_map(Step::Undone),
        Just(Step::Reopen),
    ];
    vec(step, 1..40)
}

fn record(id: u8, host: Option<String>) -> HiveRecord {
    HiveRecord { host: host.clone(), ssh_host: host, ..HiveRecord::new(format!("h{id}")) }
}

/// As the catalog has it, but for the times it writes itself.
fn plain(mut hive: HiveRecord) -> HiveRecord {
    (hive.created_at_ms, hive.updated_at_ms) = (0, 0);
    hive
}

#[derive(Default)]
struct Model {
    hives: BTreeMap<String, HiveRecord>,
    changes: u64,
}

impl Model {
    fn step(&mut self, catalog: &Operator, step: Step) {
        match step {
            Step::Add(id, host) => {
                let record = record(id, host);
                let added = catalog.add_hive(&record).is_ok();
                assert_eq!(added, !self.hives.contains_key(&record.id));
                if added {
                    self.changes += 1;
                    self.hives.insert(record.id.clone(), record);
                }
            }
            Step::Upsert(id, host, label) => {
                let labels = BTreeMap::from([("l".to_owned(), label)]);
                let mut record = HiveRecord { labels, ..record(id, host) };
                let did = catalog.upsert_hive(&record).unwrap();
                let old = self.hives.get(&record.id);
                if let Some(old) = old {
                    (record.status, record.last_heartbeat_ms) = (old.status, old.last_heartbeat_ms);
                    record.cordoned = old.cordoned.clone();
                }
                let wanted = match old {
                    None => Upsert::Added,
                    Some(old) if *old == record => Upsert::Unchanged,
                    Some(_) => Upsert::Updated,
                };
                assert_eq!(did, wanted);
                self.changes += u64::from(did != Upsert::Unchanged);
                self.hives.insert(record.id.clone(), record);
            }
            Step::Patch(id, user) => {
                let user = user.map(|user| user.replace(['.', '-'], "_"));
                let patch = HivePatch { ssh_user: Some(user.clone()), ..HivePatch::default() };
                let done = catalog.update_hive(&format!("h{id}"), &patch).is_ok();
                let hive = self.hives.get_mut(&format!("h{id}"));
                assert_eq!(done, hive.is_some());
                if let Some(hive) = hive {
                    self.changes += u64::from(hive.ssh_user != user);
                    hive.ssh_user = user;
                }
            }
            Step::Status(id, status) => {
                let done = catalog.update_status(&format!("h{id}"), status, None);
                match self.hives.get_mut(&format!("h{id}")) {
                    None => assert!(done.is_err()),
                    Some(hive) => {
                        assert_eq!(done.unwrap(), hive.status != status);
                        self.changes += u64::from(hive.status != status);
                        hive.status = status;
                    }
                }
            }
            Step::Beats(beats) => {
                let beats: Vec<_> = beats.into_iter().map(|(id, ms)| (format!("h{id}"), ms)).collect();
                let known = beats.iter().filter(|(id, _)| self.hives.contains_key(id)).count();
                assert_eq!(catalog.record_heartbeats(&beats).unwrap(), known);
                for (id, ms) in beats {
                    if let Some(hive) = self.hives.get_mut(&id) {
                        hive.last_heartbeat_ms = hive.last_heartbeat_ms.max(Some(ms));
                    }
                }
            }
            Step::Cordon(id, on) => {
                let id = format!("h{id}");
                let done = if on { catalog.cordon(&id, None, "") } else { catalog.uncordon(&id, None) };
                match self.hives.get_mut(&id) {
                    None => assert!(done.is_err()),
                    Some(hive) => {
                        let changes = hive.cordoned.hive.is_some() != on;
                        assert_eq!(done.unwrap(), changes);
                        self.changes += u64::from(changes);
                        if changes {
                            hive.cordoned = catalog.get_hive(&id).unwrap().unwrap().cordoned;
                            assert_eq!(hive.cordoned.hive.is_some(), on);
                        }
                    }
                }
            }
            Step::Remove(id) => {
                let removed = catalog.remove_hive(&format!("h{id}")).unwrap();
                assert_eq!(removed, self.hives.remove(&format!("h{id}")).is_some());
                self.changes += u64::from(removed);
            }
            Step::Undone(id) => {
                let undone = catalog.transaction(|changes| {
                    changes.upsert_hive(&record(id, Some("undone".to_owned())))?;
                    changes.remove_hive(&format!("h{}", (id + 1) % 6))?;
                    changes.add_hive(&HiveRecord::new(""))
                });
                assert!(undone.is_err());
            }
            Step::Reopen => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_catalog_is_a_map_that_survives(steps in steps()) {
        let (folder, clock) = (Folder::new(), HandClock::new());
        let open = || HiveCatalog::open_with(folder.join("c.db"), clock.options()).unwrap().as_actor(ann());
        let (mut catalog, mut model) = (open(), Model::default());
        for step in steps {
            clock.advance(1);
            if matches!(step, Step::Reopen) {
                drop(catalog);
                catalog = open();
            }
            model.step(&catalog, step);
            let hives = catalog.list_hives(&HiveFilter::default()).unwrap().hives;
            prop_assert_eq!(
                hives.into_iter().map(plain).collect::<Vec<_>>(),
                model.hives.values().cloned().collect::<Vec<_>>()
            );
        }
        let head = catalog.audit_head().unwrap();
        prop_assert_eq!(head.map_or(0, |(seq, _)| seq), model.changes);
        prop_assert!(catalog.verify(head).unwrap().is_whole());
    }
}
