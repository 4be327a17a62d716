//! Databases of earlier schemas, the older program's among them, and of later ones.

use std::fs;

use hive_catalog::{CatalogError, HiveCatalog, HiveStatus, Migration, SCHEMA_VERSION};

use crate::support::{Folder, HandClock, ann, at, by_hand};

/// As the older program made it.
const OLDER: &str = "CREATE TABLE beehives (
    node_name TEXT PRIMARY KEY, ssh_host TEXT NOT NULL, ssh_port INTEGER NOT NULL DEFAULT 22,
    ssh_user TEXT NOT NULL, ssh_key_path TEXT, git_repo_url TEXT NOT NULL, git_branch TEXT NOT NULL,
    install_path TEXT NOT NULL, last_connected_unix INTEGER, status TEXT NOT NULL DEFAULT 'unknown',
    backends TEXT, devices TEXT);
  INSERT INTO beehives VALUES
    ('gpu-1', '192.168.1.100', 22, 'rbee', '/home/ann/.ssh/id', 'https://github.com/a/b.git', 'main', '/opt/rbee',
     1700000000, 'online', '[\"cuda\",\"cpu\"]', '{\"cuda\": 2}'),
    ('gpu-2', '-oProxyCommand=sh', 2222, 'bad user', NULL, '', '', '~/rbee', -5, 'reachable', 'cuda', '[1]'),
    (NULL, 'nameless', 22, 'x', NULL, '', '', '', NULL, 'unknown', NULL, NULL),
    (x'00ff', 'bytes', 22, 'x', NULL, '', '', '', NULL, 'unknown', NULL, NULL),
    ('gpu-3', 'h', 'ssh', 'u', NULL, '', '', '', 'long ago', 'unknown', NULL, '{\"cuda\": -1}');";

#[test]
fn the_older_programs_database_is_migrated_and_nothing_is_lost() {
    let folder = Folder::new();
    let path = folder.join("beehives.db");
    by_hand(&path, OLDER);
    let old = fs::read(&path).unwrap();
    let catalog = at(&path);
    let [Migration { from: 1, to: SCHEMA_VERSION, copy }] = catalog.migrated() else {
        panic!("{:?}", catalog.migrated())
    };
    // The copy is the older program's own, row for row.
    let rows = |path: &std::path::Path| -> Vec<String> {
        let db = rusqlite::Connection::open(path).unwrap();
        let sql =
            "SELECT quote(node_name) || quote(ssh_host) || quote(ssh_port) || quote(devices) FROM beehives";
        let mut select = db.prepare(sql).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    fs::write(folder.join("old.db"), old).unwrap();
    assert_eq!(rows(copy), rows(&folder.join("old.db")));
    assert_eq!(rows(copy).len(), 5);

    let node = catalog.get_node("gpu-1").unwrap().unwrap();
    assert_eq!((&*node.ssh_host, node.ssh_port, &*node.ssh_user), ("192.168.1.100", 22, "rbee"));
    assert_eq!(
        (node.backends.as_deref(), node.devices.as_deref()),
        (Some(r#"["cuda","cpu"]"#), Some(r#"{"cuda":2}"#))
    );
    assert_eq!((&*node.status, node.last_connected_unix), ("online", Some(1_700_000_000)));
    let hive = catalog.get_hive("gpu-1").unwrap().unwrap();
    assert_eq!((hive.ssh_port, hive.host.as_deref()), (None, Some("192.168.1.100")), "22 is: not said");
    assert_eq!(hive.dialable(), Some(("192.168.1.100", 7835)));

    // Kept, listed, and nobody dials with it.
    let odd = catalog.get_hive("gpu-2").unwrap().unwrap();
    assert_eq!(odd.ssh_host.as_deref(), Some("-oProxyCommand=sh"));
    assert_eq!((odd.ssh_port, odd.last_connected_unix), (Some(2222), Some(-5)));
    assert_eq!(odd.status, HiveStatus::Unknown);
    assert_eq!(odd.dialable(), None);
    let found = catalog.verify(None).unwrap();
    assert!(found.is_whole());
    let faults: Vec<_> = found.values.iter().map(|fault| &*fault.id).collect();
    assert_eq!(faults, ["gpu-2"; 5], "host, ssh_host, ssh_user, install_path, last_connected_unix");
    let leftovers: Vec<_> = found
        .leftovers
        .iter()
        .map(|left| (left.id.as_deref().unwrap_or_default(), &*left.field, &*left.value))
        .collect();
    for wanted in [
        ("gpu-2", "status", "'reachable'"),
        ("gpu-2", "backends", "'cuda'"),
        ("gpu-2", "devices", "'[1]'"),
        ("", "ssh_host", "'nameless'"),
        ("", "node_name", "X'00FF'"),
        ("gpu-3", "ssh_port", "'ssh'"),
        ("gpu-3", "last_connected_unix", "'long ago'"),
        ("gpu-3", "devices", "'{\"cuda\": -1}'"),
    ] {
        assert!(leftovers.contains(&wanted), "{wanted:?} in {leftovers:?}");
    }
    assert_eq!(found.hives, 3);

    // Put right one by one: what was there before is not held against a change of something else.
    let patch = serde_json::from_str(r#"{"ssh_user": "ann"}"#).unwrap();
    catalog.update_hive("gpu-2", &patch).unwrap();
    let patch = serde_json::from_str(r#"{"host": "a", "ssh_host": "a", "install_path": null}"#).unwrap();
    assert!(catalog.update_hive("gpu-2", &patch).unwrap().dialable().is_some());
    let patch = serde_json::from_str(r#"{"host": "-x"}"#).unwrap();
    assert!(catalog.update_hive("gpu-2", &patch).is_err());
}

#[test]
fn an_older_database_without_later_columns_and_with_others_is_migrated() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    by_hand(
        &path,
        "CREATE TABLE beehives (node_name TEXT PRIMARY KEY, ssh_host TEXT, ssh_port INTEGER, ssh_user TEXT, \
         git_repo_url TEXT, git_branch TEXT, install_path TEXT, last_connected_unix INTEGER, note TEXT); \
         INSERT INTO beehives VALUES ('a', 'h', 22, 'u', '', '', '', NULL, 'mine')",
    );
    let catalog = at(&path);
    assert_eq!(catalog.list_nodes().unwrap().len(), 1);
    let left = catalog.verify(None).unwrap().leftovers;
    assert_eq!((left.len(), &*left[0].field, &*left[0].value), (1, "note", "'mine'"));
}

#[test]
fn a_table_of_that_name_and_other_columns_is_not_taken_for_one() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    by_hand(&path, "CREATE TABLE beehives (node_name TEXT PRIMARY KEY, honey REAL)");
    let error = HiveCatalog::open(&path).unwrap_err();
    assert!(error.to_string().contains("without ssh_host"), "{error}");
}

#[test]
fn a_newer_database_is_refused_with_both_versions_and_left_alone() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    drop(at(&path));
    by_hand(&path, "PRAGMA user_version = 9");
    let before = fs::read(&path).unwrap();
    let error = HiveCatalog::open(&path).unwrap_err();
    assert!(matches!(error, CatalogError::NewerSchema { found: 9, known: SCHEMA_VERSION, .. }), "{error}");
    assert!(
        error.to_string().contains("version 9")
            && error.to_string().contains(&format!("knows {SCHEMA_VERSION}"))
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn an_older_database_is_not_migrated_without_leave_or_while_another_has_it() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    by_hand(&path, OLDER);
    let without = HiveCatalog::open_with(&path, HandClock::new().options().migrate(false));
    let known = SCHEMA_VERSION;
    assert!(matches!(without, Err(CatalogError::OlderSchema { found: 1, known: told, .. }) if told == known));
    let lock = fs::OpenOptions::new().create(true).append(true).open(folder.join("c.db.lock")).unwrap();
    lock.lock_shared().unwrap();
    let blocked = HiveCatalog::open_with(&path, HandClock::new().options());
    assert!(matches!(blocked, Err(CatalogError::Locked { .. })));
    drop(lock);
    assert_eq!(at(&path).as_actor(ann()).migrated().len(), 1);
}
