//! The file: who may read it, who has it, what happens when it is not what it should be.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use hive_catalog::{AsyncCatalog, CatalogError, HiveCatalog, HiveFilter, served_by};

use crate::support::{Folder, HandClock, ann, at, by_hand, hive};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn folder_and_files_are_their_owners_only() {
    let folder = Folder::new();
    let path = folder.join("deep/er/c.db");
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    assert_eq!(mode(&folder.join("deep")), 0o700);
    for name in fs::read_dir(folder.join("deep/er")).unwrap() {
        let path = name.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_file_that_others_may_read_is_narrowed_on_opening() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    drop(at(&path));
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    drop(at(&path));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    at(&path).add_hive(&hive("a")).unwrap();
    let again = at(&path);
    assert_eq!(again.get_hive("a").unwrap().unwrap().host, hive("a").host);
    assert!(again.migrated().is_empty());
    assert_eq!(folder.names().iter().filter(|name| name.ends_with(".bak")).count(), 0);
}

#[test]
fn the_sqlite_that_is_linked_is_new_enough() {
    let found: Vec<u32> =
        hive_catalog::check_sqlite().unwrap().split('.').map(|part| part.parse().unwrap()).collect();
    assert!(found >= vec![3, 51, 3], "{found:?}");
}

#[test]
fn another_handle_sees_by_data_version_what_changed_and_by_the_audit_log_what() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let (service, tool) = (at(&path), at(&path));
    let before = service.data_version().unwrap();
    service.add_hive(&hive("mine")).unwrap();
    assert_eq!(service.data_version().unwrap(), before, "its own change");
    let (seen, _) = service.audit_head().unwrap().unwrap();
    tool.remove_hive("mine").unwrap();
    assert_ne!(service.data_version().unwrap(), before);
    let rows = service.audit(seen + 1..).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].what, rows[0].hive.as_deref()), ("remove_hive", Some("mine")));
}

#[test]
fn readers_do_not_wait_for_a_long_write_and_see_the_state_before_it() {
    let folder = Folder::new();
    let catalog = at(&folder.join("c.db"));
    catalog.add_hive(&hive("a")).unwrap();
    let (begun, told) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let writer = catalog.clone();
    let thread = thread::spawn(move || {
        writer.transaction(|changes| {
            changes.add_hive(&hive("b"))?;
            begun.send(()).unwrap();
            wait.recv_timeout(Duration::from_secs(30)).unwrap();
            Ok(())
        })
    });
    told.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(catalog.list_hives(&HiveFilter::default()).unwrap().hives.len(), 1);
    go_on.send(()).unwrap();
    thread.join().unwrap().unwrap();
    assert_eq!(catalog.list_hives(&HiveFilter::default()).unwrap().hives.len(), 2);
}

#[test]
fn more_readers_than_connections_take_turns() {
    let folder = Folder::new();
    let options = HandClock::new().options().readers(2);
    let catalog = HiveCatalog::open_with(folder.join("c.db"), options).unwrap().as_actor(ann());
    catalog.add_hive(&hive("a")).unwrap();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| (0..50).for_each(|_| assert!(catalog.get_hive("a").unwrap().is_some())));
        }
    });
}

#[test]
fn two_handles_write_at_once_and_no_audit_row_is_lost() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let options = || HandClock::new().options().patience(Duration::from_secs(30));
    let open = || HiveCatalog::open_with(&path, options()).unwrap().as_actor(ann());
    thread::scope(|scope| {
        for writer in 0..3 {
            let catalog = open();
            scope.spawn(move || {
                (0..20).for_each(|at| catalog.add_hive(&hive(&format!("{writer}-{at}"))).unwrap());
            });
        }
    });
    let catalog = open();
    assert_eq!(catalog.count_hives().unwrap().hives, 60);
    assert_eq!(catalog.audit_head().unwrap().unwrap().0, 60);
    assert!(catalog.verify(None).unwrap().is_whole());
}

#[test]
fn one_service_a_catalog_and_it_is_named() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let (first, second) = (at(&path), at(&path));
    assert_eq!(served_by(&path), None);
    let lock = first.serve_lock().unwrap();
    let pid = std::process::id();
    assert_eq!(served_by(&path), Some(pid));
    let Err(CatalogError::Locked { pids, .. }) = second.serve_lock() else { panic!("two services") };
    assert_eq!(pids, [pid]);
    drop(lock);
    assert_eq!(served_by(&path), None);
    second.serve_lock().unwrap();
}

#[test]
fn who_wants_it_alone_is_refused_while_another_has_it_and_told_who() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let user = at(&path);
    let alone = || HiveCatalog::open_with(&path, HandClock::new().options().exclusive(true));
    let Err(error) = alone() else { panic!("had by two") };
    let said = error.to_string();
    assert!(matches!(error, CatalogError::Locked { .. }), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    drop(user);
    let owner = alone().unwrap();
    assert!(matches!(
        HiveCatalog::open_with(&path, HandClock::new().options()),
        Err(CatalogError::Locked { .. })
    ));
    drop(owner);
    at(&path);
}

#[test]
fn a_lock_of_sqlite_is_an_error_and_the_next_write_works() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = catalog.add_hive(&hive("a")).unwrap_err();
    assert!(matches!(&error, CatalogError::Locked { path: named, .. } if *named == path), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    catalog.add_hive(&hive("a")).unwrap();
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let text = folder.join("text.db");
    fs::write(&text, "not a database, but long enough to be taken for one".repeat(40)).unwrap();
    assert!(matches!(HiveCatalog::open(&text), Err(CatalogError::NotACatalog { .. })));
    assert!(fs::read_to_string(&text).unwrap().starts_with("not a database"));
    let other = folder.join("other.db");
    by_hand(&other, "CREATE TABLE songs (name TEXT)");
    let error = HiveCatalog::open(&other).unwrap_err();
    assert!(error.to_string().contains("songs"), "{error}");
    let foreign = folder.join("foreign.db");
    by_hand(&foreign, "PRAGMA application_id = 77; CREATE TABLE beehives (node_name TEXT)");
    assert!(matches!(HiveCatalog::open(&foreign), Err(CatalogError::NotACatalog { .. })));
    assert!(matches!(
        HiveCatalog::open(folder.as_ref()),
        Err(CatalogError::NotACatalog { .. } | CatalogError::File { .. })
    ));
}

#[test]
fn a_folder_that_vanishes_is_an_error_and_all_is_well_when_it_is_back() {
    let folder = Folder::new();
    let path = folder.join("in/c.db");
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    fs::rename(folder.join("in"), folder.join("away")).unwrap();
    assert!(matches!(catalog.add_hive(&hive("b")), Err(CatalogError::Vanished { .. })));
    assert!(matches!(catalog.data_version(), Err(CatalogError::Vanished { .. })));
    fs::rename(folder.join("away"), folder.join("in")).unwrap();
    catalog.add_hive(&hive("b")).unwrap();
    assert_eq!(catalog.list_hives(&HiveFilter::default()).unwrap().hives.len(), 2);
}

#[test]
fn another_file_at_the_path_is_opened_without_a_restart() {
    let folder = Folder::new();
    let (path, other) = (folder.join("c.db"), folder.join("other.db"));
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    catalog.get_hive("a").unwrap();
    at(&other).add_hive(&hive("z")).unwrap();
    for name in ["c.db", "c.db-wal", "c.db-shm"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    assert!(matches!(catalog.add_hive(&hive("b")), Err(CatalogError::Vanished { .. })));
    fs::rename(&other, &path).unwrap();
    catalog.add_hive(&hive("b")).unwrap();
    let ids: Vec<_> =
        catalog.list_hives(&HiveFilter::default()).unwrap().hives.into_iter().map(|hive| hive.id).collect();
    assert_eq!(ids, ["b", "z"]);
}

#[test]
fn another_file_beside_the_wal_of_the_one_before_is_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    let other = at(&folder.join("other.db"));
    other.backup(folder.join("b.db")).unwrap();
    fs::rename(folder.join("b.db"), &path).unwrap();
    let refused = catalog.add_hive(&hive("b")).unwrap_err();
    assert!(refused.to_string().contains("the WAL of the one before"), "{refused}");
}

#[test]
fn a_link_to_nothing_is_refused_for_its_lock_would_have_two_names() {
    let folder = Folder::new();
    std::os::unix::fs::symlink(folder.join("there.db"), folder.join("c.db")).unwrap();
    let refused = HiveCatalog::open(folder.join("c.db")).unwrap_err();
    assert!(refused.to_string().contains("a link to a file that is not there"), "{refused}");
    drop(at(&folder.join("there.db")));
    assert!(HiveCatalog::open(folder.join("c.db")).is_ok());
}

#[test]
fn a_read_only_file_is_said_to_be_one() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    at(&path).add_hive(&hive("a")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    // Root may write it all the same.
    if fs::OpenOptions::new().write(true).open(&path).is_ok() {
        return;
    }
    assert!(matches!(HiveCatalog::open(&path), Err(CatalogError::ReadOnly { .. })));
}

#[tokio::test]
async fn the_async_face_makes_the_same_calls() {
    let folder = Folder::new();
    let catalog = AsyncCatalog::open(folder.join("c.db"), HandClock::new().options()).await.unwrap();
    let ann = catalog.as_actor(ann());
    ann.add_hive(hive("a")).await.unwrap();
    assert!(ann.update_status("a".to_owned(), hive_catalog::HiveStatus::Online, None).await.unwrap());
    assert_eq!(catalog.record_heartbeats(vec![("a".to_owned(), 7)]).await.unwrap(), 1);
    assert_eq!(catalog.get_hive("a".to_owned()).await.unwrap().unwrap().last_heartbeat_ms, Some(7));
    assert!(catalog.verify(None).await.unwrap().is_whole());
    assert!(ann.remove_hive("a".to_owned()).await.unwrap());
    assert!(matches!(
        ann.remove_secret("a".to_owned(), "x".to_owned()).await,
        Err(CatalogError::Unknown { .. })
    ));
}
