//! What survives: a process that is killed, a WAL that is cut or garbled, a disk that is full.
//!
//! The processes are this test program itself, told by `CATALOG_CHILD` what to do.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use hive_catalog::{
    Actor, CatalogError, HeartbeatWriter, HiveCatalog, HiveFilter, HiveRecord, HiveStatus, Operator,
    WriterLimits,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod scratch;

use scratch::{Folder, size};

fn at(path: &Path) -> Operator {
    HiveCatalog::open(path).unwrap().as_actor(Actor::cli("ann").unwrap())
}

fn hive(number: usize) -> HiveRecord {
    HiveRecord { host: Some("10.0.0.1".to_owned()), ..HiveRecord::new(format!("h{number:06}")) }
}

/// Hives of that name alone: the others beat.
fn added(catalog: &HiveCatalog) -> Vec<String> {
    let all = catalog.list_hives(&HiveFilter::default()).unwrap().hives;
    all.into_iter().map(|hive| hive.id).filter(|id| id.starts_with('h')).collect()
}

/// The database is whole, and the hives are the first so many.
fn prefix(catalog: &HiveCatalog) -> usize {
    let found = catalog.verify(None).unwrap();
    assert!(found.is_whole(), "{found:?}");
    let ids = added(catalog);
    assert!(ids.iter().enumerate().all(|(at, id)| *id == format!("h{at:06}")), "{ids:?}");
    ids.len()
}

// === the processes ===

/// No test by itself: what the others start.
#[test]
fn child() {
    let Ok(what) = env::var("CATALOG_CHILD") else { return };
    let catalog = at(Path::new(&env::var_os("CATALOG_PATH").unwrap()));
    match &*what {
        "write" => write(&catalog),
        "fill" => fill(&catalog),
        other => panic!("{other}"),
    }
}

fn start(what: &str, path: &Path) -> Child {
    command(what, path, Command::new(env::current_exe().unwrap()))
}

fn command(what: &str, path: &Path, mut command: Command) -> Child {
    command.args(["child", "--exact", "--nocapture"]).env("CATALOG_CHILD", what).env("CATALOG_PATH", path);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Adds hives, and lets others beat, each acknowledged by a line.
fn write(catalog: &Operator) {
    let writer = HeartbeatWriter::manual(catalog.clone(), WriterLimits::default()).unwrap();
    for number in added(catalog).len().. {
        catalog.add_hive(&hive(number)).unwrap();
        println!("added {number}");
        let id = format!("b{}", number % 10);
        let beat = 1_000_000 + number as u64;
        writer.adopt(&id).unwrap();
        writer.beat(&id, beat).unwrap();
        writer.status(&id, HiveStatus::ALL[number % 4], None).unwrap();
        if number % 3 == 0 {
            writer.flush().unwrap();
            println!("beat {number}");
        }
    }
}

// === killed ===

#[test]
fn a_writer_that_is_killed_at_any_moment_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new("kill");
    let path = folder.catalog();
    let mut dice = 1_u64;
    let mut known = 0;
    for _ in 0..size("CATALOG_KILLS", 50) {
        let mut child = start("write", &path);
        let lines = BufReader::new(child.stdout.take().unwrap());
        let heard = thread::spawn(move || lines.lines().map_while(Result::ok).collect::<Vec<_>>());
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_millis(10 + (dice >> 33) % 90));
        child.kill().unwrap();
        child.wait().unwrap();
        // A line may be cut where the process was.
        let lines = heard.join().unwrap();
        let last = |word: &str| {
            let numbers =
                lines.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse::<usize>().ok());
            numbers.max()
        };
        let catalog = at(&path);
        let there = prefix(&catalog);
        let acknowledged = last("added ").map_or(known, |number| number + 1).max(known);
        assert!(there >= acknowledged, "{there} of {acknowledged}");
        // One may have been committed and not yet told.
        assert!(there <= acknowledged + 1, "{there}, {acknowledged} acknowledged");
        if let Some(flushed) = last("beat ") {
            let hive = catalog.get_hive(&format!("b{}", flushed % 10)).unwrap().unwrap();
            assert!(hive.last_heartbeat_ms >= Some(1_000_000 + flushed as u64), "{hive:?}");
        }
        known = there;
    }
    assert!(known > 0);
}

// === a WAL cut or garbled ===

/// Both files of a catalog that is in use: ten hives, each a transaction of its own, in the WAL.
fn in_use(folder: &Folder) -> (Vec<u8>, Vec<u8>) {
    let path = folder.catalog();
    let catalog = at(&path);
    (0..10).for_each(|number| catalog.add_hive(&hive(number)).unwrap());
    let read = |end: &str| fs::read(format!("{}{end}", path.display())).unwrap();
    (read(""), read("-wal"))
}

fn placed(folder: &Folder, name: &str, database: &[u8], wal: &[u8]) -> PathBuf {
    let path = folder.0.join(name).join("c.db");
    let _ = fs::remove_dir_all(path.parent().unwrap());
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, database).unwrap();
    fs::write(format!("{}-wal", path.display()), wal).unwrap();
    path
}

/// A header, and a page of 4,096 bytes.
const FRAME: usize = 24 + 4_096;

#[test]
fn a_wal_that_is_cut_anywhere_leaves_what_was_committed_before() {
    let folder = Folder::new("cut");
    let (database, wal) = in_use(&folder);
    let step = size("CATALOG_CUT_STEP", 211);
    let mut seen = Vec::new();
    for cut in (wal.len() - 8 * FRAME..=wal.len()).step_by(step) {
        let path = placed(&folder, "cut", &database, &wal[..cut]);
        seen.push(prefix(&at(&path)));
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen[0] < 10, "{seen:?}");
    let path = placed(&folder, "whole", &database, &wal);
    assert_eq!(prefix(&at(&path)), 10);
}

#[test]
fn a_wal_that_is_garbled_anywhere_leaves_what_was_committed_before() {
    let folder = Folder::new("garble");
    let (database, mut wal) = in_use(&folder);
    let step = size("CATALOG_CUT_STEP", 211);
    for byte in (wal.len() - 4 * FRAME..wal.len()).step_by(step) {
        wal[byte] ^= 0x55;
        let path = placed(&folder, "garbled", &database, &wal);
        assert!(prefix(&at(&path)) < 10, "byte {byte}");
        wal[byte] ^= 0x55;
    }
}

// === a disk that is full ===

/// Adds until there is no room, then reads, raises the limit, and goes on: without a restart.
fn fill(catalog: &Operator) {
    let mut number = 0;
    let error = loop {
        match catalog.add_hive(&hive(number)) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CatalogError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("nothing of this change was kept"), "{error}");
    assert_eq!(prefix(catalog), number);
    // Again: the same.
    assert!(catalog.add_hive(&hive(number)).is_err());
    assert_eq!(added(catalog).len(), number);
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: maximum, maximum }).unwrap();
    for more in number..number + 50 {
        catalog.add_hive(&hive(more)).unwrap();
    }
    println!("added {}", number + 49);
}

#[test]
fn a_full_disk_is_an_error_and_the_next_write_works_once_there_is_room() {
    let folder = Folder::new("full");
    let path = folder.catalog();
    drop(at(&path));
    let mut shell = Command::new("sh");
    // What is past the limit is an error then, and no signal that ends the process. In units of 512 bytes.
    shell.args(["-c", "trap '' XFSZ; ulimit -S -f 600; exec \"$0\" \"$@\""]).arg(env::current_exe().unwrap());
    let child = command("fill", &path, shell);
    let told = child.wait_with_output().unwrap();
    let said = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success(), "{said}");
    let last = said.lines().find_map(|line| line.strip_prefix("added ")?.parse::<usize>().ok());
    assert_eq!(Some(prefix(&at(&path))), last.map(|last| last + 1), "{said}");
}
