//! `queen nodes` and `queen setup`: add, list, show, update, remove, secrets.

mod support;

use serde_json::json;
use support::Home;

const FULL: &[&str] = &[
    "--host",
    "192.168.1.100",
    "--port",
    "7900",
    "--ssh-host",
    "gpu-1.lan",
    "--ssh-port",
    "2222",
    "--ssh-user",
    "ops",
    "--ssh-key",
    "/home/ops/.ssh/id_ed25519",
    "--git-repo",
    "https://example.org/hive.git",
    "--git-branch",
    "main",
    "--install-path",
    "/opt/hive",
    "--binary-path",
    "/opt/hive/queen",
    "--label",
    "rack=a",
    "--label",
    "note=a=b c",
];

fn add(name: &'static str, more: &[&'static str]) -> Vec<&'static str> {
    [&["setup", "add-node", "--name", name], more].concat()
}

#[test]
fn the_three_commands_of_a_fresh_machine() {
    let home = Home::new();
    let out = home.queen(&["setup", "add-node", "--name", "test-node", "--host", "localhost"]).did();
    assert_eq!(out, "added test-node (localhost:7835)\n");
    let list = home.queen(&["setup", "list-nodes"]).did();
    assert_eq!(list, "NAME       STATUS   HOST\ntest-node  unknown  localhost:7835\n");
    let out = home.queen(&["setup", "remove-node", "--name", "test-node", "--yes"]).did();
    assert_eq!(out, "removed test-node\n");
    assert_eq!(home.names(), [""; 0]);
}

#[test]
fn every_field_is_kept_and_shown() {
    let home = Home::new();
    let added = home.json(&add("gpu-1", FULL));
    assert_eq!(added["outcome"], "added");
    let hive = &home.json(&["setup", "show-node", "gpu-1"])["hive"];
    assert_eq!(*hive, added["hive"]);
    let expected = json!({
        "id": "gpu-1", "host": "192.168.1.100", "port": 7900, "ssh_host": "gpu-1.lan", "ssh_port": 2222,
        "ssh_user": "ops", "ssh_key_path": "/home/ops/.ssh/id_ed25519",
        "git_repo_url": "https://example.org/hive.git", "git_branch": "main", "install_path": "/opt/hive",
        "binary_path": "/opt/hive/queen", "status": "unknown", "labels": { "rack": "a", "note": "a=b c" },
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(hive[field], *value, "{field}");
    }
    let sheet = home.queen(&["nodes", "show", "--name", "gpu-1"]).did();
    for words in
        ["gpu-1\n", "7900", "gpu-1.lan", "2222", "ops", "id_ed25519", "hive.git", "main", "/opt/hive/queen"]
    {
        assert!(sheet.contains(words), "{words}: {sheet}");
    }
    // Away from a terminal times are RFC 3339, and there is no colour.
    assert!(sheet.contains("Z\n") && !sheet.contains("ago") && !sheet.contains('\x1b'), "{sheet}");
}

#[test]
fn one_host_given_alone_fills_both() {
    let home = Home::new();
    for (name, option) in [("a", "--host"), ("b", "--ssh-host")] {
        let hive = &home.json(&["setup", "add-node", name, option, "h.lan"])["hive"];
        assert_eq!((&hive["host"], &hive["ssh_host"]), (&json!("h.lan"), &json!("h.lan")));
    }
    let home_of_none = home.queen(&["setup", "add-node", "--name", "c"]);
    home_of_none.misused(&["--host <HOST>|--ssh-host <HOST>"]);
}

#[test]
fn a_known_name_is_refused_unless_it_is_to_be_replaced() {
    let home = Home::new();
    home.queen(&add("gpu-1", FULL)).did();
    home.queen(&["nodes", "add", "gpu-1", "--host", "other"])
        .refused(&["\"gpu-1\" is in the catalog already", "--replace"]);
    assert_eq!(home.json(&["nodes", "show", "gpu-1"])["hive"]["host"], "192.168.1.100");
    let replace = ["nodes", "add", "gpu-1", "--host", "other", "--replace"];
    let replaced = home.json(&replace);
    assert_eq!(replaced["outcome"], "replaced");
    assert_eq!(replaced["hive"]["host"], "other");
    assert_eq!(replaced["hive"]["ssh_user"], json!(null));
    assert_eq!(home.json(&replace)["outcome"], "unchanged");
    assert_eq!(home.json(&["nodes", "add", "gpu-2", "--host", "h", "--replace"])["outcome"], "added");
}

#[test]
fn a_list_is_of_those_that_are_asked_for() {
    let home = Home::new();
    home.queen(&["nodes", "add", "a", "--host", "h", "--label", "rack=1"]).did();
    home.queen(&["nodes", "add", "b", "--host", "h", "--label", "rack=2"]).did();
    home.fed(
        &["nodes", "import", "-"],
        br#"{"hives": [{"id": "c", "status": "offline", "backends": ["cuda"]}]}"#,
    )
    .did();
    let names = |more: &[&str]| {
        let all = home.json(&[&["setup", "list-nodes"], more].concat());
        let hives = all["hives"].as_array().unwrap().clone();
        hives.iter().map(|hive| hive["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["a", "b", "c"]);
    assert_eq!(names(&["--label", "rack"]), ["a", "b"]);
    assert_eq!(names(&["--label", "rack=2"]), ["b"]);
    assert_eq!(names(&["--label", "rack=2", "--label", "none"]), [""; 0]);
    assert_eq!(names(&["--status", "offline"]), ["c"]);
    assert_eq!(names(&["--backend", "cuda"]), ["c"]);
    let none = home.queen(&["nodes", "list", "--backend", "rocm"]);
    assert!(none.err.contains("no such hive"), "{none:?}");
    assert_eq!(none.did(), "");
    home.queen(&["nodes", "list", "--status", "asleep"]).misused(&["unknown, online, offline or error"]);
}

#[test]
fn each_field_is_changed_and_taken_away() {
    let home = Home::new();
    home.queen(&add("gpu-1", FULL)).did();
    let fields = [
        ("--host", "host", "new.lan"),
        ("--ssh-host", "ssh_host", "new-ssh.lan"),
        ("--ssh-user", "ssh_user", "root"),
        ("--ssh-key", "ssh_key_path", "/k"),
        ("--git-repo", "git_repo_url", "https://new.example/x"),
        ("--git-branch", "git_branch", "next"),
        ("--install-path", "install_path", "/new"),
        ("--binary-path", "binary_path", "/new/queen"),
    ];
    for (option, field, value) in fields {
        let updated = home.json(&["setup", "update-node", "gpu-1", option, value]);
        assert_eq!(updated["outcome"], "updated", "{field}");
        assert_eq!(updated["hive"][field], value);
    }
    for (option, field, value) in [("--port", "port", 1), ("--ssh-port", "ssh_port", 65_535)] {
        let value_said = value.to_string();
        assert_eq!(home.json(&["setup", "update-node", "gpu-1", option, &value_said])["hive"][field], value);
    }
    for (option, field, _) in fields {
        let hive = &home.json(&["nodes", "update", "--name", "gpu-1", "--unset", &option[2..]])["hive"];
        assert_eq!(hive[field], json!(null), "{field}");
    }
    let hive = &home.json(&["nodes", "update", "gpu-1", "--unset", "port", "--unset", "ssh-port"])["hive"];
    assert_eq!((&hive["port"], &hive["ssh_port"]), (&json!(7835), &json!(null)));
    let labels = &home.json(&["nodes", "update", "gpu-1", "--label", "rack=b", "--unset-label", "note"])["hive"]
        ["labels"];
    assert_eq!(*labels, json!({ "rack": "b" }));
    assert_eq!(home.json(&["nodes", "update", "gpu-1", "--label", "rack=b"])["outcome"], "unchanged");
}

#[test]
fn wrong_usage_is_told_from_a_refusal() {
    let home = Home::with(&["a"]);
    home.queen(&["nodes", "update", "a"]).misused(&["nothing to change", "--unset FIELD"]);
    home.queen(&["nodes", "update", "a", "--host", "h", "--unset", "host"])
        .misused(&["--host and --unset host exclude"]);
    home.queen(&["nodes", "update", "a", "--label", "x=1", "--unset-label", "x"])
        .misused(&["exclude each other"]);
    home.queen(&["nodes", "update", "a", "--label", "x=1", "--label", "x=2"]).misused(&["twice"]);
    home.queen(&["nodes", "update", "a", "--unset", "id"]).misused(&["possible values: host, port"]);
    home.queen(&["nodes", "add", "b", "--host", "h", "--label", "rack"]).misused(&["NAME=VALUE"]);
    home.queen(&["nodes", "add", "b", "--host", "h", "--port", "0"]).misused(&["1..=65535"]);
    home.queen(&["nodes", "add", "b", "--name", "c", "--host", "h"]).misused(&["cannot be used with"]);
    home.queen(&["nodes", "add", "--host", "h"]).misused(&["NAME"]);
    home.queen(&["nodes", "remove"]).misused(&["NAME"]);
    home.queen(&["nodes", "frobnicate"]).misused(&["frobnicate"]);
    home.queen(&["nodes", "show", "b"]).refused(&["no hive \"b\" in the catalog", "queen nodes list"]);
    home.queen(&["nodes", "update", "b", "--host", "h"]).refused(&["no hive \"b\"", "queen nodes list"]);
    home.queen(&["nodes", "remove", "b", "--yes"]).refused(&["no hive \"b\"", "queen nodes list"]);
    assert_eq!(home.names(), ["a"]);
}

#[test]
fn without_a_terminal_nothing_is_removed_unless_yes_is_said() {
    let home = Home::with(&["a"]);
    home.queen(&["setup", "remove-node", "--name", "a"]).refused(&[
        "nothing removed",
        "no terminal",
        "--yes",
    ]);
    home.fed(&["setup", "remove-node", "--name", "a"], b"y\n").refused(&["no terminal"]);
    assert_eq!(home.names(), ["a"]);
    assert_eq!(home.json(&["nodes", "remove", "a", "--yes"]), json!({ "outcome": "removed", "id": "a" }));
    assert_eq!(home.names(), [""; 0]);
}

#[test]
fn on_a_terminal_a_removal_asks() {
    let home = Home::with(&["a"]);
    for (answer, code, left) in [("n", 1, 1), ("", 1, 1), ("yes", 0, 0)] {
        let mut session = home.on_terminal(80, &["setup", "remove-node", "--name", "a"]);
        session.sees("Remove a (localhost:7835), its secrets too? [y/N]").types(answer);
        let (ended, seen) = session.ends();
        assert_eq!(ended, Some(code), "{answer:?}: {seen}");
        assert_eq!(home.names().len(), left, "{answer:?}");
    }
}

#[test]
fn where_there_is_no_catalog_reading_finds_nothing_and_makes_none() {
    let home = Home::new();
    let list = home.queen(&["nodes", "list"]);
    assert!(list.err.contains("no catalog at") && list.err.contains("add-node"), "{list:?}");
    assert_eq!(list.did(), "");
    assert_eq!(home.json(&["nodes", "list"]), json!({ "hives": [] }));
    home.queen(&["nodes", "show", "a"]).refused(&["no hive \"a\""]);
    home.queen(&["nodes", "update", "a", "--host", "h"]).refused(&["no catalog at", "--catalog"]);
    home.queen(&["nodes", "remove", "a", "--yes"]).refused(&["no catalog at"]);
    home.fed(&["nodes", "secret", "set", "a", "token"], b"x").refused(&["no catalog at"]);
    for command in ["verify", "audit", "migrate", "rotate-key"] {
        home.queen(&["catalog", command]).refused(&["no catalog at", "--catalog"]);
    }
    home.queen(&["catalog", "backup", "b"]).refused(&["no catalog at"]);
    assert!(!home.path(".rbee").exists() && !home.path("b").exists());
}

#[test]
fn the_catalog_is_the_option_before_the_variable_before_the_home() {
    let home = Home::with(&["at-home"]);
    let (one, two) = (home.file("one.db"), home.file("two.db"));
    home.queen(&["--catalog", &one, "nodes", "add", "in-one", "--host", "h"]).did();
    home.queen(&["nodes", "add", "in-two", "--host", "h", "--catalog", &two]).did();
    let named = |variable: &str, option: &[&str]| {
        let mut command = home.command(&[&["nodes", "list", "--json"], option].concat());
        support::Ran::of(command.env("QUEEN_CATALOG", variable)).did()
    };
    assert!(named(&one, &[]).contains("in-one"));
    assert!(named(&one, &["--catalog", &two]).contains("in-two"));
    assert_eq!(home.names(), ["at-home"]);
    let mut homeless = home.command(&["nodes", "list"]);
    support::Ran::of(homeless.env_remove("HOME")).refused(&["HOME", "--catalog"]);
    let folder = home.file("");
    home.queen(&["--catalog", &folder, "nodes", "add", "x", "--host", "h"]).refused(&[]);
    std::fs::write(home.path("text"), "not a database at all, but a text that is long enough to be one")
        .unwrap();
    home.queen(&["--catalog", &home.file("text"), "nodes", "list"]).refused(&["text: not a catalog"]);
}

// === secrets ===

const SECRET: &str = "correct-horse-battery";

#[test]
fn a_secret_comes_from_the_standard_input_and_is_never_shown() {
    let home = Home::with(&["a"]);
    home.fed(&["nodes", "secret", "set", "a", "ssh_passphrase"], SECRET.as_bytes())
        .refused(&["queen catalog new-key"]);
    home.queen(&["catalog", "new-key"]).did();
    let set =
        home.fed(&["nodes", "secret", "set", "a", "ssh_passphrase"], format!("{SECRET}\r\n").as_bytes());
    assert_eq!(set.did(), "set ssh_passphrase of a\n");
    // What was stored is what was said, less the end of the line.
    let catalog = hive_catalog::HiveCatalog::open(home.catalog()).unwrap();
    let stored = catalog.reveal_secret("a", "ssh_passphrase").unwrap().unwrap();
    assert_eq!(stored.expose(), SECRET.as_bytes());
    drop(catalog);
    let listed = home.json(&["nodes", "secret", "list", "a"]);
    assert_eq!(listed, json!({ "id": "a", "secrets": ["ssh_passphrase"] }));
    for command in [
        &["nodes", "show", "a"][..],
        &["nodes", "show", "a", "--json"],
        &["nodes", "list", "--json"],
        &["nodes", "export", "-"],
        &["nodes", "secret", "list", "a"],
        &["catalog", "audit", "--json"],
        &["catalog", "verify", "--json"],
        &["catalog", "backup", "b"],
        &["catalog", "rotate-key"],
        &["nodes", "secret", "remove", "a", "ssh_passphrase"],
    ] {
        let ran = home.queen(command);
        assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET), "{command:?}");
        ran.did();
    }
    let mut files = vec![home.folder.clone()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{path:?}");
        }
    }
    home.queen(&["nodes", "secret", "remove", "a", "ssh_passphrase"])
        .refused(&["has no secret", "secret list"]);
}

#[test]
fn a_secret_is_refused_as_an_argument_and_out_of_bounds() {
    let home = Home::with(&["a"]);
    home.queen(&["catalog", "new-key"]).did();
    home.queen(&["nodes", "secret", "set", "a", "token", SECRET]).misused(&["unexpected argument"]);
    let set = |input: &[u8]| home.fed(&["nodes", "secret", "set", "a", "token"], input);
    set(b"").refused(&["1 to 65536 bytes"]);
    set(b"\n").refused(&["1 to 65536 bytes"]);
    set(&[b'x'; 65_537]).refused(&["1 to 65536 bytes"]);
    set(&[b'x'; 300_000]).refused(&["1 to 65536 bytes"]);
    set(&[b'x'; 65_536]).did();
    set(b"\0\xff\n\n").did();
    home.fed(&["nodes", "secret", "set", "b", "token"], b"x").refused(&["no hive \"b\""]);
    home.fed(&["nodes", "secret", "set", "a", "To ken"], b"x").refused(&["^[a-z][a-z0-9_]*$"]);
    home.queen(&["nodes", "secret", "list", "b"]).refused(&["no hive \"b\""]);
    home.queen(&["nodes", "secret", "reveal", "a", "token"]).misused(&["reveal"]);
}

#[test]
fn on_a_terminal_a_secret_is_asked_for_twice_and_not_shown() {
    let home = Home::with(&["a"]);
    home.queen(&["catalog", "new-key"]).did();
    let mut session = home.on_terminal(80, &["nodes", "secret", "set", "a", "token"]);
    session.sees("Secret token of a: ").types(SECRET).sees("Again, secret token of a: ").types("another");
    let (code, seen) = session.ends();
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("not the same") && !seen.contains(SECRET) && !seen.contains("another"), "{seen}");
    let mut session = home.on_terminal(80, &["nodes", "secret", "set", "a", "token"]);
    session.sees("Secret token of a: ").types(SECRET).sees("Again, secret token of a: ").types(SECRET);
    let (code, seen) = session.ends();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("set token of a") && !seen.contains(SECRET), "{seen}");
}
