//! `queen nodes export` and `import`: JSON and CSV, all or nothing, and safe to open in a spreadsheet.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::Home;

/// Hives with whatever the catalog holds.
fn fleet() -> String {
    json!({ "hives": [
        { "id": "=1+1", "host": "a.lan", "labels": { "note": "=cmd|' /C calc'!A0, \"quoted\"" } },
        { "id": "+plus", "host": "a.lan" },
        { "id": "@at", "host": "a.lan", "status": "offline", "status_reason": "-no answer" },
        { "id": "'=quoted", "host": "a.lan" },
        { "id": "'plain", "host": "a.lan", "status": "error", "status_reason": "a 'word', \"two\"; three" },
        { "id": "日本", "ssh_host": "b.lan", "ssh_port": 2222, "ssh_user": "ops", "ssh_key_path": "/k",
          "git_repo_url": "https://example.org/x", "git_branch": "main", "install_path": "/opt", "port": 1,
          "binary_path": "/opt/queen", "backends": ["cuda", "cpu"], "last_heartbeat_ms": 1_760_000_000_000_u64,
          "last_connected_unix": 1_760_000_000, "adopted": true,
          "devices": { "cpu": { "cores": 8, "ram_gb": 32.0 }, "gpus": [{ "index": 0, "backend": "cuda" }] } },
    ] })
    .to_string()
}

fn filled() -> Home {
    let home = Home::new();
    home.fed(&["nodes", "import", "-"], fleet().as_bytes()).did();
    home
}

/// All hives, less the times that a catalog writes itself.
fn hives(home: &Home) -> Value {
    let mut all = home.json(&["nodes", "list"]);
    for hive in all["hives"].as_array_mut().unwrap() {
        let hive = hive.as_object_mut().unwrap();
        hive.remove("created_at_ms");
        hive.remove("updated_at_ms");
    }
    all
}

#[test]
fn what_goes_out_comes_back_the_same_in_both_forms() {
    let home = filled();
    for file in ["all.json", "all.csv"] {
        let out = home.queen(&["nodes", "export", file]).did();
        assert_eq!(out, format!("exported to {file}; secrets are not in it\n"));
        let other = Home::new();
        let out = other.queen(&["nodes", "import", &home.file(file)]).did();
        assert!(out.ends_with("added 6, changed 0, left 0\n"), "{out}");
        assert_eq!(hives(&other), hives(&home), "{file}");
        let again = other.json(&["nodes", "import", &home.file(file)]);
        assert_eq!(again, json!({ "dry_run": false, "added": [], "changed": [], "unchanged": 6 }));
    }
}

#[test]
fn a_spreadsheet_finds_no_formula() {
    let home = filled();
    let table = home.queen(&["nodes", "export", "-", "--format", "csv"]).did();
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let mut ids = Vec::new();
    for row in rows.records() {
        let row = row.unwrap();
        for cell in &row {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?}");
        }
        ids.push(row[0].to_owned());
    }
    ids.sort_unstable();
    assert_eq!(ids, ["''=quoted", "'+plus", "'=1+1", "'@at", "'plain", "日本"]);
}

#[test]
fn export_goes_by_the_name_the_format_and_the_filter() {
    let home = filled();
    home.queen(&["nodes", "export", "all.txt"]).misused(&["--format"]);
    let told = home.json(&["nodes", "export", "all.txt", "--format", "csv"]);
    let bytes = fs::metadata(home.path("all.txt")).unwrap().len();
    assert_eq!(told, json!({ "file": "all.txt", "format": "csv", "bytes": bytes }));
    let out = home.queen(&["nodes", "export", "-", "--status", "offline"]).json();
    assert_eq!(out["hives"].as_array().unwrap().len(), 1);
    home.queen(&["nodes", "export", "no/folder/all.json"]).refused(&["no/folder/all.json: cannot write"]);
    // What is there is replaced whole, and nothing is left beside it.
    fs::write(home.path("all.json"), "x".repeat(100_000)).unwrap();
    home.queen(&["nodes", "export", "all.json"]).did();
    serde_json::from_slice::<Value>(&fs::read(home.path("all.json")).unwrap()).unwrap();
    let left = fs::read_dir(&home.folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
    // What a list prints may be brought in.
    let list = home.queen(&["nodes", "list", "--json"]).did();
    let other = Home::new();
    other.fed(&["nodes", "import", "-"], list.as_bytes()).did();
    assert_eq!(hives(&other), hives(&home));
}

#[test]
fn a_dry_run_says_what_would_change_and_changes_nothing() {
    let home = Home::with(&["a", "b"]);
    home.queen(&["nodes", "add", "x", "--host", "h"]).did();
    fs::write(home.path("in.csv"), "id,host,labels\na,other.lan,rack=1\nb,localhost,\nnew,h,\n").unwrap();
    let before = fs::read(home.catalog()).unwrap();
    let words = home.queen(&["nodes", "import", "in.csv", "--dry-run"]).did();
    assert!(words.contains("+ new\n") && words.contains("~ a: ") && words.contains("host"), "{words}");
    assert!(words.ends_with("would add 1, change 1, leave 1; nothing was changed\n"), "{words}");
    let plan = home.json(&["nodes", "import", "in.csv", "--dry-run"]);
    assert_eq!(
        (&plan["dry_run"], &plan["added"], &plan["unchanged"]),
        (&json!(true), &json!(["new"]), &json!(1))
    );
    assert_eq!(plan["changed"][0]["id"], "a");
    assert_eq!(fs::read(home.catalog()).unwrap(), before);
    assert_eq!(home.json(&["catalog", "verify"])["head"]["seq"], 3);
    let done = home.json(&["nodes", "import", "in.csv"]);
    assert_eq!((&done["dry_run"], &done["changed"]), (&json!(false), &plan["changed"]));
    assert_eq!(home.names(), ["a", "b", "new", "x"]);
    // Of a catalog that is not there it makes none.
    let fresh = Home::new();
    fresh.queen(&["nodes", "import", &home.file("in.csv"), "--dry-run"]).did();
    assert!(!fresh.path(".rbee").exists());
}

#[test]
fn an_import_is_made_whole_or_not_at_all() {
    let home = Home::with(&["a"]);
    let refused = |format: &str, text: &[u8], words: &[&str]| {
        home.fed(&["nodes", "import", "-", "--format", format], text).refused(words);
        home.fed(&["nodes", "import", "-", "--dry-run", "--format", format], text).refused(words);
        assert_eq!(home.names(), ["a"]);
    };
    refused("csv", b"id,host\ngood,h\n-bad,h\n", &["\"-bad\"", "not beginning with -"]);
    refused("csv", b"id,host\ngood,h\nbad,-oProxyCommand=x\n", &["hive \"bad\": host", "-oProxyCommand=x"]);
    refused("csv", b"id,hostess\ngood,h\n", &["hostess"]);
    refused("csv", b"host\nh\n", &["no column id"]);
    refused("csv", b"id,port\ngood,99999\n", &["line 2", "99999"]);
    refused("csv", b"id,host\ngood,h,more\n", &["line 2"]);
    refused("csv", b"id,host\ngood,h\ngood,h2\n", &["twice"]);
    refused("json", b"{\"hives\": [{\"id\": \"good\"}, {\"id\": \"\"}]}", &["1 to"]);
    refused("json", b"{\"hives\": [{\"id\": \"nul\\u0000\"}]}", &["\\0", "no control characters"]);
    refused("json", b"{\"hives\": [{\"id\": \"x\", \"ssh_user\": \"-oProxyCommand=x\"}]}", &["ssh_user"]);
    refused(
        "json",
        b"{\"hives\": [{\"id\": \"x\", \"password\": \"y\"}]}",
        &["unknown field `password`", "line 1"],
    );
    refused("json", b"{\"hives\": [", &["line 1"]);
    refused("json", b"", &["line"]);
    refused("json", b"\xff\xfe", &["not UTF-8 from byte 0"]);
    home.queen(&["nodes", "import", "none.json"]).refused(&["none.json: cannot read"]);
    home.queen(&["nodes", "import", "."]).misused(&["--format"]);
    home.queen(&["nodes", "import", ".", "--format", "csv"]).refused(&["cannot read"]);
    home.queen(&["nodes", "import", "in.txt"]).misused(&[".json or .csv"]);
    // A mark at the beginning, as spreadsheets write it, is none of the text.
    home.fed(&["nodes", "import", "-", "--format", "csv"], "\u{feff}id,host\nb,h\n".as_bytes()).did();
    assert_eq!(home.names(), ["a", "b"]);
}
