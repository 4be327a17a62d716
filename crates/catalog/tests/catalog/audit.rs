//! The audit log: what leaves a row, and that a row is neither changed, nor deleted, nor moved unseen.

use std::fs;
use std::path::PathBuf;

use hive_catalog::{Actor, AuditFault, HiveStatus, from_hex, hex};

use crate::support::{Folder, at, by_hand, hive};

const DROP_TRIGGERS: &str =
    "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete; DROP TRIGGER audit_only_append;";

/// A catalog with ten rows of audit, closed.
fn ten() -> (Folder, PathBuf) {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    for at in 0..10 {
        catalog.add_hive(&hive(&format!("h{at}"))).unwrap();
    }
    (folder, path)
}

/// What is found in a copy in which that was done by hand.
fn after(folder: &Folder, path: &PathBuf, sql: &str) -> Option<AuditFault> {
    let head = at(path).audit_head().unwrap();
    let copy = folder.join("copy.db");
    let _ = fs::remove_file(&copy);
    fs::copy(path, &copy).unwrap();
    by_hand(&copy, &format!("{DROP_TRIGGERS} {sql}"));
    at(&copy).verify_audit(head).unwrap()
}

#[test]
fn each_change_of_an_operator_leaves_a_row_with_who_and_digests_that_follow_each_other() {
    let (_folder, path) = ten();
    let catalog = at(&path);
    let queen = catalog.as_actor(Actor::service("queen").unwrap());
    queen.update_status("h0", HiveStatus::Error, Some("no route")).unwrap();
    catalog.cordon("h0", None, "fan").unwrap();
    catalog.update_heartbeat("h0", 5).unwrap();
    catalog.remove_hive("h0").unwrap();
    let rows = catalog.audit(..).unwrap();
    assert_eq!(rows.len(), 13);
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), (1..=13).collect::<Vec<_>>());
    let of_h0: Vec<_> = rows.iter().filter(|row| row.hive.as_deref() == Some("h0")).collect();
    let told: Vec<_> = of_h0.iter().map(|row| (&*row.who, &*row.what)).collect();
    let cli = "cli:ann";
    assert_eq!(
        told,
        [(cli, "add_hive"), ("service:queen", "update_status"), (cli, "cordon"), (cli, "remove_hive")]
    );
    assert_eq!(of_h0[1].detail.as_deref(), Some("unknown to error: no route"));
    assert_eq!((of_h0[0].before, of_h0[3].after), (None, None));
    for pair in of_h0.windows(2) {
        assert_eq!(pair[0].after, pair[1].before, "{pair:?}");
    }
    assert_eq!(catalog.audit(2..4).unwrap().len(), 2);
    assert_eq!(catalog.audit(12..=u64::MAX).unwrap().len(), 2);
    assert!(catalog.audit(0..0).unwrap().is_empty());
}

#[test]
fn what_changes_nothing_leaves_no_row() {
    let (_folder, path) = ten();
    let catalog = at(&path);
    let head = catalog.audit_head().unwrap();
    catalog.upsert_hive(&hive("h0")).unwrap();
    catalog.update_hive("h0", &hive_catalog::HivePatch::default()).unwrap();
    catalog.update_status("h0", HiveStatus::Unknown, None).unwrap();
    catalog.remove_hive("x").unwrap();
    catalog.uncordon("h0", None).unwrap();
    assert_eq!(catalog.audit_head().unwrap(), head);
}

#[test]
fn rows_are_appended_only() {
    let (_folder, path) = ten();
    let db = rusqlite::Connection::open(&path).unwrap();
    for sql in [
        "UPDATE audit SET who = 'cli:bob' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 3",
        "INSERT INTO audit SELECT -1, at_ms, who, what, hive, detail, before, after, hash FROM audit WHERE seq = 3",
    ] {
        assert!(db.execute_batch(sql).is_err(), "{sql}");
    }
    drop(db);
    assert_eq!(at(&path).verify_audit(None).unwrap(), None);
}

#[test]
fn an_edit_a_deletion_a_reorder_and_a_cut_tail_are_found_and_told_apart() {
    let (folder, path) = ten();
    let find = |sql: &str| after(&folder, &path, sql);
    assert_eq!(find(""), None);
    for column in ["at_ms = 1", "who = 'cli:bob'", "what = 'x'", "hive = 'x'", "detail = ''", "after = NULL"]
    {
        let sql = format!("UPDATE audit SET {column} WHERE seq = 4");
        assert_eq!(find(&sql), Some(AuditFault::Edited { seq: 4 }), "{column}");
    }
    assert_eq!(find("DELETE FROM audit WHERE seq = 4"), Some(AuditFault::Deleted { seq: 4 }));
    assert_eq!(find("DELETE FROM audit WHERE seq < 3"), Some(AuditFault::Deleted { seq: 1 }));
    let renumbered = "DELETE FROM audit WHERE seq = 4; UPDATE audit SET seq = seq - 1 WHERE seq > 4";
    assert_eq!(find(renumbered), Some(AuditFault::Deleted { seq: 4 }));
    let swap = |one: u64, other: u64| {
        format!(
            "UPDATE audit SET seq = 99 WHERE seq = {one}; UPDATE audit SET seq = {one} WHERE seq = {other}; \
             UPDATE audit SET seq = {other} WHERE seq = 99"
        )
    };
    assert_eq!(find(&swap(4, 5)), Some(AuditFault::Moved { seq: 4, was: 5 }));
    assert_eq!(find(&swap(3, 8)), Some(AuditFault::Moved { seq: 3, was: 8 }));
    assert_eq!(find("DELETE FROM audit WHERE seq > 7"), Some(AuditFault::CutTail { last: 7, head: 10 }));
    assert_eq!(find("DELETE FROM audit"), Some(AuditFault::CutTail { last: 0, head: 10 }));
}

#[test]
fn a_cut_tail_shows_against_a_head_only_and_a_tail_written_anew_as_well() {
    let (_folder, path) = ten();
    let catalog = at(&path);
    let (seq, hash) = catalog.audit_head().unwrap().unwrap();
    assert_eq!(from_hex(&hex(&hash)), Some(hash));
    assert_eq!(from_hex("zz"), None);
    drop(catalog);
    by_hand(&path, &format!("{DROP_TRIGGERS} DELETE FROM audit WHERE seq = 10"));
    let catalog = at(&path);
    assert_eq!(catalog.verify_audit(None).unwrap(), None);
    catalog.cordon("h1", None, "another tenth row").unwrap();
    assert_eq!(catalog.verify_audit(Some((seq, hash))).unwrap(), Some(AuditFault::OtherChain { seq: 10 }));
}

#[test]
fn verify_finds_dropped_triggers_and_rows_that_refer_to_none() {
    let (_folder, path) = ten();
    assert!(at(&path).verify(None).unwrap().is_whole());
    by_hand(
        &path,
        "DROP TRIGGER audit_no_delete; CREATE TABLE spy (x); PRAGMA foreign_keys = OFF; \
         INSERT INTO heartbeats VALUES (999, 1)",
    );
    let found = at(&path).verify(None).unwrap();
    assert!(!found.is_whole());
    assert_eq!(found.schema, ["audit_no_delete: not as made", "spy: not of the catalog"]);
    assert_eq!(found.foreign_keys.len(), 1);
    assert_eq!((found.hives, found.audit), (10, None));
}
