//! `cargo bench -p hive-catalog`: reads and batched writes beside bare rusqlite doing the same statements, in one run,
//! round by round; and what takes as long as it takes: to open, to migrate and to list 100,000 hives, and to flush the
//! times of as many.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use hive_catalog::{Actor, HeartbeatWriter, HiveCatalog, HiveFilter, HiveRecord, Operator, WriterLimits};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior, params};

const HIVES: usize = 100_000;
const ROUNDS: usize = 7;
const READS: usize = 20_000;
const BATCH: usize = 10_000;

fn main() {
    // `cargo test --benches` runs it, too, and has no use for it.
    if !env::args().any(|arg| arg == "--bench") {
        return;
    }
    let folder = env::temp_dir().join(format!("hive-catalog-bench-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder to work in");
    let path = folder.join("c.db");
    let catalog = filled(&path);

    reads(&catalog, &path);
    writes(&catalog, &path);
    flush(&catalog);
    let (listed, _) = timed(|| catalog.list_hives(&HiveFilter::default()).expect("a list").hives.len());
    row("list 100,000 hives", listed, "");
    drop(catalog);
    let (opened, _) = timed(|| HiveCatalog::open(&path).expect("it opens"));
    row("open 100,000 hives", opened, "");
    migrate(&folder);
    fs::remove_dir_all(&folder).expect("its folder goes");
}

fn timed<T>(call: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let answer = black_box(call());
    (begin.elapsed(), answer)
}

fn row(what: &str, time: Duration, more: &str) {
    println!("{what:<44} {:>10.3} ms  {more}", time.as_secs_f64() * 1e3);
}

/// The medians of both, and how they compare.
fn beside(what: &str, mut ours: Vec<Duration>, mut bare: Vec<Duration>) {
    ours.sort_unstable();
    bare.sort_unstable();
    let (ours, bare) = (ours[ours.len() / 2], bare[bare.len() / 2]);
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    row(what, ours, &format!("bare rusqlite {:.3} ms, {ratio:.2}x", bare.as_secs_f64() * 1e3));
}

fn id(number: usize) -> String {
    format!("hive-{number:06}")
}

fn filled(path: &Path) -> Operator {
    let catalog = HiveCatalog::open(path).expect("it opens").as_actor(Actor::cli("bench").expect("a name"));
    let (added, ()) = timed(|| {
        catalog
            .transaction(|changes| {
                (0..HIVES).try_for_each(|number| {
                    let host = Some(format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255));
                    changes.add_hive(&HiveRecord { host, ..HiveRecord::new(id(number)) })
                })
            })
            .expect("they are added");
    });
    row("add 100,000 hives, each with its audit row", added, "");
    catalog
}

/// The statements of `get_hive`, on a connection that is set up as the catalog's.
fn bare(path: &Path) -> Connection {
    let db = Connection::open(path).expect("it opens");
    for pragma in ["synchronous = FULL", "secure_delete = ON", "foreign_keys = ON", "trusted_schema = OFF"] {
        db.execute_batch(&format!("PRAGMA {pragma}")).expect("a pragma");
    }
    // Else SQLite plans each read anew, for a partial index has it look at parameters.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).expect("a setting");
    db.set_prepared_statement_cache_capacity(64);
    db
}

const SELECT: &str = "SELECT h.id, h.host, h.port, h.ssh_host, h.ssh_port, h.ssh_user, h.ssh_key_path, h.git_repo_url, \
     h.git_branch, h.install_path, h.binary_path, h.status, h.status_reason, b.ms, h.last_connected_unix, h.backends, \
     h.devices, h.labels, (SELECT json_group_object(c.worker, json_array(c.why, c.since_ms)) FROM cordons c \
     WHERE c.hive = h.key), h.adopted, h.created_at_ms, h.updated_at_ms \
     FROM hives h LEFT JOIN heartbeats b ON b.hive = h.key WHERE h.id = ?1";

fn reads(catalog: &Operator, path: &Path) {
    let db = bare(path);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(
            timed(|| {
                for number in 0..READS {
                    black_box(catalog.get_hive(&id(number * 7 % HIVES)).expect("a read"));
                }
            })
            .0,
        );
        others.push(
            timed(|| {
                for number in 0..READS {
                    let mut select = db.prepare_cached(SELECT).expect("a statement");
                    // Every column, as text where it is some.
                    let read = select.query_row([id(number * 7 % HIVES)], |row| {
                        (0..22)
                            .map(|at| row.get::<_, rusqlite::types::Value>(at))
                            .collect::<Result<Vec<_>, _>>()
                    });
                    black_box(read.expect("a read"));
                }
            })
            .0,
        );
    }
    beside("20,000 reads of a hive", ours, others);
}

fn writes(catalog: &Operator, path: &Path) {
    let mut db = bare(path);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    let mut ms = 1_000;
    for _ in 0..ROUNDS {
        ms += 1;
        let beats: Vec<(String, u64)> = (0..BATCH).map(|number| (id(number), ms)).collect();
        ours.push(timed(|| catalog.record_heartbeats(&beats).expect("a batch")).0);
        ms += 1;
        let beats: Vec<(String, u64)> = (0..BATCH).map(|number| (id(number), ms)).collect();
        others.push(timed(|| batch(&mut db, &beats)).0);
    }
    beside("a batch of 10,000 times", ours, others);
}

fn batch(db: &mut Connection, beats: &[(String, u64)]) {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).expect("a transaction");
    for (id, ms) in beats {
        let mut select = tx.prepare_cached("SELECT key FROM hives WHERE id = ?1").expect("a statement");
        let key: i64 = select.query_row([id], |row| row.get(0)).expect("a key");
        tx.prepare_cached(
            "INSERT INTO heartbeats (hive, ms) VALUES (?1, ?2) \
             ON CONFLICT (hive) DO UPDATE SET ms = excluded.ms WHERE excluded.ms > ms",
        )
        .and_then(|mut insert| insert.execute(params![key, ms]))
        .expect("a row");
    }
    tx.commit().expect("a commit");
}

fn flush(catalog: &Operator) {
    let writer = HeartbeatWriter::manual(catalog.clone(), WriterLimits::default()).expect("a writer");
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            (0..HIVES).for_each(|number| writer.beat(&id(number), 10_000 + round as u64).expect("it waits"));
            timed(|| writer.flush().expect("a flush")).0
        })
        .collect();
    times.sort_unstable();
    let longest = times[times.len() - 1].as_secs_f64() * 1e3;
    row("flush the times of 100,000 hives", times[times.len() / 2], &format!("longest {longest:.3} ms"));
}

/// A database as the older program wrote it.
fn migrate(folder: &Path) {
    let path: PathBuf = folder.join("older.db");
    let mut db = Connection::open(&path).expect("it opens");
    db.execute_batch(include_str!("../migrations/v1.sql")).expect("its table");
    let tx = db.transaction().expect("a transaction");
    for number in 0..HIVES {
        tx.prepare_cached(
            "INSERT INTO beehives (node_name, ssh_host, ssh_user, git_repo_url, git_branch, install_path, devices) \
             VALUES (?1, '10.0.0.1', 'ops', 'https://example.org/r.git', 'main', '/opt/hive', '{\"cuda\": 2}')",
        )
        .and_then(|mut insert| insert.execute([id(number)]))
        .expect("a row");
    }
    tx.commit().expect("a commit");
    drop(db);
    let (migrated, catalog) = timed(|| HiveCatalog::open(&path).expect("it is migrated"));
    assert_eq!(catalog.count_hives().expect("a count").hives, HIVES as u64);
    row("open and migrate 100,000 of the older program", migrated, "");
}
