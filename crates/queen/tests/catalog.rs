//! `queen catalog`: backups, checks, keys, who changed what; and beside a service that runs.

mod support;

use std::fs;
use std::time::Duration;

use hive_catalog::{HiveCatalog, SCHEMA_VERSION};
use serde_json::json;
use support::Home;

/// As the older program wrote it.
fn older_database(home: &Home) {
    fs::create_dir_all(home.path(".rbee")).unwrap();
    let db = rusqlite::Connection::open(home.catalog()).unwrap();
    db.execute_batch(
        "CREATE TABLE beehives (node_name TEXT PRIMARY KEY, ssh_host TEXT NOT NULL, ssh_port INTEGER NOT NULL DEFAULT 22, \
         ssh_user TEXT NOT NULL, ssh_key_path TEXT, git_repo_url TEXT NOT NULL, git_branch TEXT NOT NULL, install_path \
         TEXT NOT NULL, last_connected_unix INTEGER, status TEXT NOT NULL DEFAULT 'unknown', backends TEXT, devices TEXT); \
         INSERT INTO beehives (node_name, ssh_host, ssh_user, git_repo_url, git_branch, install_path, backends, devices) \
         VALUES ('old-1', 'old.lan', 'ops', 'https://example.org/x', 'main', '/opt/x', '[\"cuda\"]', '{\"cuda\": 2}');",
    )
    .unwrap();
}

#[test]
fn a_backup_restores_what_was_there_and_keeps_what_is_set_aside() {
    let home = Home::with(&["a", "b"]);
    let ran = home.queen(&["catalog", "backup", "kept.db"]);
    // Run by the clock it has nothing to complain of.
    assert_eq!(ran.err, "");
    assert!(ran.did().starts_with("backed up to kept.db, "));
    let seen = home.on_terminal(80, &["catalog", "backup", "kept.db"]).did().join(" ");
    assert!(seen.contains("keep a copy of that"), "{seen}");
    home.queen(&["nodes", "remove", "a", "--yes"]).did();
    home.queen(&["nodes", "add", "c", "--host", "h"]).did();
    let restored = home.json(&["catalog", "restore", "kept.db"]);
    assert_eq!(restored["version"], SCHEMA_VERSION);
    assert_eq!(home.names(), ["a", "b"]);
    let before = restored["before"].as_str().unwrap().to_owned();
    let list = home.json(&["--catalog", &before, "nodes", "list"]);
    assert_eq!(list["hives"].as_array().unwrap().len(), 2, "b and c: {list}");
    let backup = home.json(&["catalog", "backup", "again.db"]);
    assert_eq!(backup["file"], "again.db");
    assert_eq!(backup["bytes"], fs::metadata(home.path("again.db")).unwrap().len());
    let words = home.queen(&["catalog", "restore", "again.db"]).did();
    assert!(words.contains("restored") && words.contains(".before-restore-"), "{words}");
    // Where there is no catalog yet, a restore makes it.
    let fresh = Home::new();
    assert_eq!(fresh.json(&["catalog", "restore", &home.file("kept.db")])["before"], json!(null));
    assert_eq!(fresh.names(), ["a", "b"]);
}

#[test]
fn a_backup_that_will_not_do_is_refused_and_nothing_changes() {
    let home = Home::with(&["a"]);
    home.queen(&["catalog", "backup", "kept.db"]).did();
    let mut bytes = fs::read(home.path("kept.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes.truncate(middle);
    fs::write(home.path("half.db"), bytes).unwrap();
    home.queen(&["catalog", "restore", "half.db"]).refused(&["half.db"]);
    home.queen(&["catalog", "restore", "none.db"]).refused(&["none.db", "cannot read"]);
    home.queen(&["catalog", "restore", "."]).refused(&["not a file"]);
    home.queen(&["catalog", "restore", ".rbee/beehives.db"]).refused(&["its own backup"]);
    home.queen(&["catalog", "backup", ".rbee/beehives.db"]).refused(&["its own catalog"]);
    home.queen(&["catalog", "backup", "no/such/folder/b"]).refused(&["no/such/folder"]);
    home.queen(&["catalog", "restore"]).misused(&["<FILE>"]);
    assert_eq!(home.names(), ["a"]);
}

#[test]
fn verify_says_what_is_whole_and_notes_the_head() {
    let home = Home::with(&["a", "b"]);
    let found = home.json(&["catalog", "verify"]);
    assert_eq!(
        (&found["whole"], &found["hives"], &found["head"]["seq"]),
        (&json!(true), &json!(2), &json!(2))
    );
    for fault in ["integrity", "foreign_keys", "schema", "values", "leftovers"] {
        assert_eq!(found[fault], json!([]), "{fault}");
    }
    assert_eq!(
        (&found["audit"], &found["secrets"], &found["secrets_fault"]),
        (&json!(null), &json!(0), &json!(null))
    );
    let head = format!("2:{}", found["head"]["hash"].as_str().unwrap());
    let words = home.queen(&["catalog", "verify"]).did();
    assert!(words.contains("whole: 2 hives") && words.contains(&head), "{words}");
    home.queen(&["nodes", "add", "c", "--host", "h"]).did();
    home.queen(&["catalog", "verify", "--head", &head]).did();
    // A head of later than the log's end: its tail was cut off.
    let later = format!("9{}", &head[1..]);
    let cut = home.queen(&["catalog", "verify", "--head", &later]);
    assert_eq!(cut.code, Some(1));
    assert!(cut.out.contains("the tail was cut off") && cut.err.contains("not whole"), "{cut:?}");
    let cut = home.queen(&["catalog", "verify", "--head", &later, "--json"]);
    assert_eq!(cut.code, Some(1));
    assert!(serde_json::from_str::<serde_json::Value>(&cut.out).unwrap()["audit"].is_string());
    for wrong in ["2", "x:00", "2:00", ":"] {
        home.queen(&["catalog", "verify", "--head", wrong]).misused(&["SEQ:HASH"]);
    }
}

#[test]
fn verify_finds_secrets_that_no_key_opens() {
    let home = Home::with(&["a"]);
    home.queen(&["catalog", "new-key"]).did();
    home.fed(&["nodes", "secret", "set", "a", "token"], b"x").did();
    assert_eq!(home.json(&["catalog", "verify"])["secrets"], 1);
    let keys = home.path(".rbee/beehives.db.keys");
    fs::rename(&keys, home.path("elsewhere")).unwrap();
    let found = home.queen(&["catalog", "verify"]);
    assert_eq!(found.code, Some(1), "{found:?}");
    assert!(found.out.contains("wrong: secrets: ") && found.err.contains("PATH.keys"), "{found:?}");
}

#[test]
fn the_audit_log_says_who_did_what_from_where_on() {
    let home = Home::with(&["a", "b", "c"]);
    home.queen(&["nodes", "remove", "b", "--yes"]).did();
    let log = |more: &[&str]| home.json(&[&["catalog", "audit"], more].concat());
    let seqs = |more: &[&str]| {
        let log = log(more);
        log["entries"].as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let last = &log(&[])["entries"][3];
    assert_eq!((&last["what"], &last["hive"]), (&json!("remove_hive"), &json!("b")));
    // Whoever runs the tests, by the system's list of users.
    let who = last["who"].as_str().unwrap();
    let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    assert_eq!(who, format!("cli:{}", String::from_utf8(user).unwrap().trim()));
    assert_eq!(seqs(&["--limit", "2"]), [3, 4]);
    assert_eq!(seqs(&["--since", "2"]), [2, 3, 4]);
    assert_eq!(seqs(&["--since", "2", "--limit", "2"]), [2, 3]);
    assert_eq!(log(&["--since", "2", "--limit", "2"])["next"], 4);
    assert_eq!(log(&["--since", "2"])["next"], json!(null));
    assert_eq!(log(&[])["head"]["seq"], 4);
    assert_eq!(seqs(&["--since", "1h"]), [1, 2, 3, 4]);
    assert_eq!(seqs(&["--since", "2020-01-01"]), [1, 2, 3, 4]);
    assert_eq!(seqs(&["--since", "2999-01-01"]), [0; 0]);
    let third = log(&[])["entries"][2]["at_ms"].as_i64().unwrap();
    let moment = chrono::DateTime::from_timestamp_millis(third).unwrap().to_rfc3339();
    assert_eq!(seqs(&["--since", &moment])[..1], [3]);
    let words = home.queen(&["catalog", "audit", "--limit", "1"]).did();
    assert!(words.starts_with("SEQ  WHEN ") && words.contains("remove_hive  b\n"), "{words}");
    home.queen(&["catalog", "audit", "--since", "yesterday"]).misused(&["an age (30m, 2h, 7d)"]);
    home.queen(&["catalog", "audit", "--limit", "0"]).misused(&["1..=1000000"]);
}

#[test]
fn keys_are_made_and_rotated() {
    let home = Home::with(&["a"]);
    let made = home.json(&["catalog", "new-key"]);
    assert_eq!(made["key_file"], home.file(".rbee/beehives.db.keys"));
    home.fed(&["nodes", "secret", "set", "a", "token"], b"abc").did();
    let rotated = home.json(&["catalog", "rotate-key"]);
    assert_eq!(rotated["secrets"], 1);
    assert_ne!(rotated["key_id"], made["key_id"]);
    let keys = fs::read_to_string(home.path(".rbee/beehives.db.keys")).unwrap();
    let ids: Vec<_> = keys.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(ids, [made["key_id"].as_str().unwrap(), rotated["key_id"].as_str().unwrap()]);
    let catalog = HiveCatalog::open(home.catalog()).unwrap();
    assert_eq!(catalog.reveal_secret("a", "token").unwrap().unwrap().expose(), b"abc");
    drop(catalog);
    // Of the keys no output says more than their ids.
    let words = home.queen(&["catalog", "rotate-key"]);
    for line in keys.lines() {
        let key = line.split(':').nth(1).unwrap();
        assert!(!words.out.contains(key) && !words.err.contains(key));
    }
}

#[test]
fn an_older_catalog_is_migrated_and_kept() {
    let home = Home::new();
    older_database(&home);
    let migrated = home.json(&["catalog", "migrate"]);
    assert_eq!(migrated["version"], SCHEMA_VERSION);
    let step = &migrated["migrated"][0];
    assert_eq!((&step["from"], &step["to"]), (&json!(1), &json!(2)));
    assert!(fs::exists(step["copy"].as_str().unwrap()).unwrap());
    assert_eq!(home.names(), ["old-1"]);
    assert_eq!(home.queen(&["catalog", "migrate"]).did(), "the schema is version 2 already\n");
    // Any other command does so, too, and says it.
    let home = Home::new();
    older_database(&home);
    let list = home.queen(&["nodes", "list"]);
    assert!(list.err.contains("migrated the catalog from version 1 to 2"), "{list:?}");
    assert!(list.did().contains("old-1"));
}

#[test]
fn beside_a_service_restore_migrate_and_rotate_key_are_refused_with_its_pid() {
    let home = Home::with(&["a"]);
    home.queen(&["catalog", "new-key"]).did();
    home.queen(&["catalog", "backup", "kept.db"]).did();
    let service = HiveCatalog::open(home.catalog()).unwrap();
    let lock = service.serve_lock().unwrap();
    let pid = format!("served by process {}", std::process::id());
    let link = home.file("link.db");
    std::os::unix::fs::symlink(home.catalog(), &link).unwrap();
    for command in [&["restore", "kept.db"][..], &["migrate"], &["rotate-key"]] {
        let command = [&["catalog"], command].concat();
        home.queen(&command).refused(&[&pid, "stop that service"]);
        home.queen(&[&command[..], &["--catalog", &link]].concat()).refused(&[&pid]);
    }
    // All else goes on, and the service sees it.
    let seen = service.data_version().unwrap();
    home.queen(&["nodes", "add", "b", "--host", "h"]).did();
    home.queen(&["nodes", "update", "b", "--host", "h2"]).did();
    home.fed(&["nodes", "secret", "set", "b", "token"], b"x").did();
    home.queen(&["catalog", "new-key"]).did();
    home.queen(&["catalog", "backup", "again.db"]).did();
    home.queen(&["catalog", "verify"]).did();
    home.queen(&["catalog", "audit"]).did();
    home.queen(&["nodes", "export", "all.json"]).did();
    home.queen(&["nodes", "remove", "a", "--yes"]).did();
    assert_eq!(home.names(), ["b"]);
    assert_ne!(service.data_version().unwrap(), seen);
    assert_eq!(service.get_hive("b").unwrap().unwrap().host.as_deref(), Some("h2"));
    drop(lock);
    drop(service);
    home.queen(&["catalog", "rotate-key"]).did();
    home.queen(&["catalog", "restore", "kept.db"]).did();
}

#[test]
fn who_uses_the_catalog_without_serving_it_is_waited_for_and_then_named_with_a_bar_meanwhile() {
    let home = Home::with(&["a"]);
    home.queen(&["catalog", "backup", "kept.db"]).did();
    let user = HiveCatalog::open(home.catalog()).unwrap();
    let mut session = home.on_terminal(80, &["catalog", "restore", "kept.db"]);
    session.sees("restoring, ");
    let (code, seen) = session.ends();
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains(&format!("in use by process {}", std::process::id())), "{seen}");
    drop(user);
    // Where nobody looks there is no bar, however long it takes.
    let user = HiveCatalog::open(home.catalog()).unwrap();
    let waiting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1_500));
        drop(user);
    });
    let ran = home.queen(&["catalog", "restore", "kept.db"]);
    waiting.join().unwrap();
    assert_eq!(ran.err, "");
    ran.did();
}

#[test]
fn two_processes_at_once_lose_nothing() {
    let home = Home::with(&[]);
    let all: Vec<String> = (0..40).map(|number| format!("gpu-{number:02}")).collect();
    std::thread::scope(|scope| {
        for part in all.chunks(20) {
            let home = &home;
            scope.spawn(move || {
                for name in part {
                    home.queen(&["nodes", "add", name, "--host", "h"]).did();
                }
            });
        }
    });
    assert_eq!(home.names(), all);
    assert_eq!(home.json(&["catalog", "verify"])["head"]["seq"], 40);
    // The same name twice at once: one adds, one is refused.
    let codes: Vec<_> = std::thread::scope(|scope| {
        let add = || home.queen(&["nodes", "add", "twice", "--host", "h"]).code;
        let both = [scope.spawn(add), scope.spawn(add)];
        let mut codes: Vec<_> = both.into_iter().map(|one| one.join().unwrap()).collect();
        codes.sort_unstable();
        codes
    });
    assert_eq!(codes, [Some(0), Some(1)]);
}
