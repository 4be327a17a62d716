//! Backup and restore.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hive_catalog::{CatalogError, HiveCatalog, HiveFilter, SCHEMA_VERSION, Secret, verify_backup_audit};

use crate::support::{Folder, HandClock, ann, at, by_hand, hive, memory};

fn restore(folder: &Folder, from: &str) -> hive_catalog::Result<hive_catalog::Restored> {
    HiveCatalog::restore(folder.join("c.db"), folder.join(from), &ann(), HandClock::new().options())
}

fn ids(catalog: &HiveCatalog) -> Vec<String> {
    catalog.list_hives(&HiveFilter::default()).unwrap().hives.into_iter().map(|hive| hive.id).collect()
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_backup_during_writes_is_a_committed_prefix() {
    let folder = Folder::new();
    let catalog = at(&folder.join("c.db"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when this thread fails.
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let mut at = 0;
            while !stop.load(Ordering::Relaxed) {
                catalog.add_hive(&hive(&format!("{at:06}"))).unwrap();
                at += 1;
            }
        });
        while catalog.audit_head().unwrap().is_none() {
            thread::yield_now();
        }
        for number in 0..5 {
            let mut told = Vec::new();
            let made = catalog
                .backup_with(folder.join(&format!("b{number}.db")), |progress| told.push(progress))
                .unwrap();
            assert_eq!(fs::metadata(&made.path).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(told.last().is_some_and(|progress| progress.done == progress.total));
        }
    });
    assert!(folder.names().iter().all(|name| !name.ends_with(".tmp")));
    for number in 0..5 {
        let path = folder.join(&format!("b{number}.db"));
        assert_eq!(verify_backup_audit(&path, None).unwrap(), None);
        let copy = at(&path);
        assert!(copy.verify(None).unwrap().is_whole());
        let ids = ids(&copy);
        assert_eq!(copy.audit_head().unwrap().unwrap().0, ids.len() as u64);
        assert!(ids.iter().enumerate().all(|(at, id)| *id == format!("{at:06}")));
    }
}

#[test]
fn a_restore_puts_the_backup_in_place_and_keeps_the_old_database_aside() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    catalog.new_key().unwrap();
    catalog.set_secret("a", "token", &Secret::new("x").unwrap()).unwrap();
    catalog.backup(folder.join("b.db")).unwrap();
    catalog.add_hive(&hive("later")).unwrap();
    let Err(CatalogError::Locked { .. }) = restore(&folder, "b.db") else { panic!("restored under a user") };
    drop(catalog);
    let restored = restore(&folder, "b.db").unwrap();
    assert_eq!(restored.version, SCHEMA_VERSION);
    let catalog = at(&path);
    assert_eq!(ids(&catalog), ["a"]);
    assert_eq!(catalog.check_secrets().unwrap(), 1);
    let last = catalog.audit(..).unwrap().pop().unwrap();
    assert_eq!((&*last.what, &*last.who), ("restore", "cli:ann"));
    assert!(catalog.verify(None).unwrap().is_whole());
    // With what was only in its WAL.
    let aside = restored.before.unwrap();
    assert!(aside.file_name().unwrap().to_str().unwrap().starts_with("c.db.before-restore-"));
    let aside = HiveCatalog::open_with(&aside, HandClock::new().options().key_file(folder.join("c.db.keys")))
        .unwrap();
    assert_eq!(ids(&aside), ["a", "later"]);
}

#[test]
fn a_restore_refuses_what_is_no_good_and_changes_nothing() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    for at in 0..200 {
        catalog.add_hive(&hive(&format!("h{at}"))).unwrap();
    }
    catalog.backup(folder.join("good.db")).unwrap();
    drop(catalog);
    let make = |name: &str, sql: &str| {
        fs::copy(folder.join("good.db"), folder.join(name)).unwrap();
        by_hand(&folder.join(name), sql);
    };
    make("newer.db", "PRAGMA user_version = 99");
    make("cut-audit.db", "DROP TRIGGER audit_no_delete; DELETE FROM audit WHERE seq = 3");
    make(
        "other-key.db",
        "INSERT INTO secrets SELECT key, 'token', 'k0', zeroblob(24), x'00', 0 FROM hives LIMIT 1",
    );
    by_hand(&folder.join("other.db"), "CREATE TABLE songs (name TEXT)");
    fs::write(folder.join("text.db"), "text").unwrap();
    fs::write(folder.join("empty.db"), "").unwrap();
    let mut bytes = fs::read(folder.join("good.db")).unwrap();
    fs::write(folder.join("short.db"), &bytes[..bytes.len() / 2]).unwrap();
    let half = bytes.len() / 2;
    bytes[half..half + 8_192].fill(0x5a);
    fs::write(folder.join("garbled.db"), bytes).unwrap();
    fs::copy(folder.join("good.db"), folder.join("in-use.db")).unwrap();
    fs::write(folder.join("in-use.db-wal"), "x").unwrap();
    let before = fs::read(&path).unwrap();
    let refused = |name: &str| restore(&folder, name).unwrap_err();
    assert!(matches!(
        refused("newer.db"),
        CatalogError::NewerSchema { found: 99, known: SCHEMA_VERSION, .. }
    ));
    assert!(matches!(refused("cut-audit.db"), CatalogError::Damaged { .. }));
    assert!(matches!(refused("other-key.db"), CatalogError::NoKey));
    for name in ["other.db", "text.db", "empty.db", "in-use.db", "c.db"] {
        let error = refused(name);
        assert!(matches!(error, CatalogError::NotACatalog { .. }), "{name}: {error}");
    }
    for name in ["short.db", "garbled.db"] {
        let error = refused(name);
        assert!(matches!(error, CatalogError::Damaged { .. }), "{name}: {error}");
    }
    assert!(matches!(refused("absent.db"), CatalogError::File { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
    let left: Vec<_> = folder.names().into_iter().filter(|name| name.contains("restor")).collect();
    assert!(left.is_empty(), "{left:?}");
    at(&path).new_key().unwrap();
    assert!(matches!(refused("other-key.db"), CatalogError::UnknownKey { .. }));
}

#[test]
fn a_damaged_catalog_can_be_restored_over_and_is_kept() {
    let folder = Folder::new();
    let path = folder.join("c.db");
    let catalog = at(&path);
    catalog.add_hive(&hive("a")).unwrap();
    catalog.backup(folder.join("b.db")).unwrap();
    drop(catalog);
    fs::write(&path, "no database any more").unwrap();
    let restored = restore(&folder, "b.db").unwrap();
    assert_eq!(fs::read(restored.before.unwrap()).unwrap(), b"no database any more");
    assert_eq!(ids(&at(&path)), ["a"]);
    // And where there is none at all.
    fs::remove_file(&path).unwrap();
    assert_eq!(restore(&folder, "b.db").unwrap().before, None);
    assert_eq!(ids(&at(&path)), ["a"]);
}

#[test]
fn a_backup_takes_the_place_of_no_file_that_the_catalog_needs() {
    let folder = Folder::new();
    let catalog = at(&folder.join("c.db"));
    catalog.add_hive(&hive("a")).unwrap();
    catalog.new_key().unwrap();
    let keys = fs::read(folder.join("c.db.keys")).unwrap();
    for end in [".keys", "-wal", "-shm", ".lock", ".serve.lock"] {
        let refused = catalog.backup(folder.join(&format!("c.db{end}")));
        assert!(matches!(refused, Err(CatalogError::NotACatalog { .. })), "{end}");
    }
    let other = at(&folder.join("other.db"));
    other.add_hive(&hive("b")).unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    for name in ["c.db", "other.db", "folder"] {
        let refused = catalog.backup(folder.join(name));
        assert!(matches!(refused, Err(CatalogError::NotACatalog { .. })), "{name}: {refused:?}");
    }
    // A device is never replaced: looked at through a link, so that a test that fails harms none.
    std::os::unix::fs::symlink("/dev/null", folder.join("device")).unwrap();
    assert!(matches!(catalog.backup(folder.join("device")), Err(CatalogError::NotACatalog { .. })));
    assert!(folder.join("device").is_symlink());
    assert_eq!(fs::read(folder.join("c.db.keys")).unwrap(), keys);
    assert_eq!((ids(&catalog), ids(&other)), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

#[test]
fn a_catalog_in_memory_is_written_to_after_its_backup() {
    let folder = Folder::new();
    let catalog = memory();
    catalog.add_hive(&hive("a")).unwrap();
    catalog.backup(folder.join("b.db")).unwrap();
    catalog.add_hive(&hive("b")).unwrap();
    assert_eq!(ids(&at(&folder.join("b.db"))), ["a"]);
}

#[test]
fn what_a_killed_process_left_in_the_wal_is_kept_aside_with_the_old_database() {
    let (folder, killed) = (Folder::new(), Folder::new());
    let catalog = at(&folder.join("c.db"));
    catalog.backup(killed.join("b.db")).unwrap();
    catalog.add_hive(&hive("only in the WAL")).unwrap();
    // As it is on the disk while it is open.
    for name in ["c.db", "c.db-wal"] {
        fs::copy(folder.join(name), killed.join(name)).unwrap();
    }
    let restored = restore(&killed, "b.db").unwrap();
    assert!(ids(&at(&killed.join("c.db"))).is_empty());
    assert_eq!(ids(&at(&restored.before.unwrap())), ["only in the WAL"]);
}

#[test]
fn a_backup_that_cannot_be_written_leaves_the_one_before() {
    let folder = Folder::new();
    let catalog = at(&folder.join("c.db"));
    assert!(matches!(catalog.backup(folder.join("absent/b.db")), Err(CatalogError::File { .. })));
    assert!(matches!(catalog.backup(folder.join("c.db")), Err(CatalogError::NotACatalog { .. })));
    fs::create_dir(folder.join("b.db")).unwrap();
    assert!(catalog.backup(folder.join("b.db")).is_err());
    assert!(folder.names().iter().all(|name| !name.ends_with(".tmp")));
}
