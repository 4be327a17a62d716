//! What reaches a terminal, a pipe or a file: width, colour, times, hostile text, pages and completions.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Home, Ran, Session};
use unicode_width::UnicodeWidthStr as _;

/// A hive with something in each column.
const WIDE: &str = r#"{"hives": [
    {"id": "gpu-with-a-long-name-of-40-letters-at-all", "host": "gpu-1.department.example.org", "ssh_user": "operations",
     "ssh_port": 2222, "status": "offline", "backends": ["cuda", "cpu"], "last_heartbeat_ms": 1760000000000,
     "devices": {"counts": {"cuda": 8}, "cpu": {"cores": 128, "ram_gb": 1024}},
     "labels": {"rack": "a-very-long-label-that-takes-room", "zone": "north"}},
    {"id": "日本語の名前", "host": "h", "status": "online"}]}"#;

fn wide() -> Home {
    let home = Home::new();
    home.fed(&["nodes", "import", "-"], WIDE.as_bytes()).did();
    home
}

/// Without colours.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

#[test]
fn a_table_fits_every_terminal() {
    let home = wide();
    home.queen(&["nodes", "update", "日本語の名前", "--label", "rack=b"]).did();
    for columns in [20, 40, 60, 80, 100, 132, 200, 300] {
        for command in [&["nodes", "list"][..], &["catalog", "audit"]] {
            for line in home.on_terminal(columns, command).did() {
                assert!(plain(&line).width() <= usize::from(columns), "{columns}: {line}");
            }
        }
    }
    let at = |columns| plain(&home.on_terminal(columns, &["nodes", "list"]).did()[0]);
    let titles = |columns| {
        at(columns)
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(300), ["NAME", "STATUS", "HOST", "SSH", "BACKENDS", "DEVICES", "LAST HEARD", "LABELS"]);
    assert_eq!(titles(80), ["NAME", "STATUS", "HOST", "SSH", "BACKENDS", "LAST HEARD"]);
    assert_eq!(titles(55), ["NAME", "STATUS", "HOST", "LAST HEARD"]);
    assert_eq!(titles(20), ["NAME", "STATUS"]);
    let lines = home.on_terminal(80, &["nodes", "list"]).did();
    assert_eq!(plain(lines.last().unwrap()), "no room for LABELS, DEVICES; --json has all");
    assert!(plain(&lines[1]).contains('…'), "{lines:?}");
    // A pipe has room for all.
    let piped = home.queen(&["nodes", "list"]).did();
    assert!(
        piped.contains("gpu-with-a-long-name-of-40-letters-at-all") && piped.contains("zone=north"),
        "{piped}"
    );
    assert!(!piped.contains(['…', '\t', '\x1b']), "{piped}");
}

#[test]
fn times_are_told_as_who_reads_wants_them() {
    let home = Home::with(&["a"]);
    let seen = home.on_terminal(80, &["nodes", "show", "a"]).did().join("\n");
    assert!(seen.contains("just now") || seen.contains(" s ago"), "{seen}");
    let home = wide();
    let long_ago = home.on_terminal(300, &["nodes", "list"]).did().join("\n");
    assert!(long_ago.contains("2025-10-09"), "{long_ago}");
    assert!(home.queen(&["nodes", "list"]).did().contains("2025-10-09T08:53:20.000Z"));
}

#[test]
fn colours_are_where_they_are_wanted() {
    let home = wide();
    let coloured = |home: &Home, more: &[&str]| {
        home.on_terminal(80, &[&["nodes", "list"], more].concat()).did().join("\n").contains('\x1b')
    };
    assert!(coloured(&home, &[]));
    assert!(!coloured(&home, &["--color", "never"]));
    assert!(!coloured(&home, &["--json"]));
    assert!(home.queen(&["nodes", "list", "--color=always"]).did().contains('\x1b'));
    assert!(
        Ran::of(home.command(&["nodes", "list", "--color=always"]).env("NO_COLOR", "1"))
            .did()
            .contains('\x1b')
    );
    let refused = home.on_terminal(80, &["nodes", "show", "none"]).ends();
    assert!(refused.1.contains("\x1b[31merror:\x1b[0m"), "{refused:?}");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = home.command(&["nodes", "list"]);
        let session = Session::begin(command.env("TERM", "xterm").env(name, value), 80);
        assert!(!session.did().join("\n").contains('\x1b'), "{name}");
    }
    home.queen(&["nodes", "list", "--color", "pink"]).misused(&["pink"]);
}

#[test]
fn hostile_text_never_reaches_a_terminal_raw() {
    let home = Home::new();
    // The door for ids takes marks that turn text around: a heartbeat may bring them.
    let id = "gpu\u{202e}evil\u{200b}\u{feff}\u{e0041}\" '$(x)`;";
    let hives =
        json!({ "hives": [{ "id": id, "host": "h", "labels": { "note": "<b>'\"; DROP TABLE hives" } }] });
    home.fed(&["nodes", "import", "-"], hives.to_string().as_bytes()).did();
    assert_eq!(home.names(), [id]);
    let tricks = |text: &str| {
        let bad = |letter: &char| {
            matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
                || (letter.is_control() && !['\n', '\r'].contains(letter))
        };
        plain(text).chars().find(bad)
    };
    for command in [
        &["nodes", "list"][..],
        &["nodes", "list", "--json"],
        &["nodes", "show", id],
        &["nodes", "show", id, "--json"],
        &["nodes", "show", "none\u{202e}\x1b[2J"],
        &["nodes", "add", id, "--host", "h"],
        &["nodes", "add", "x", "--host", "h\x1b[2J\u{202e}"],
        &["nodes", "update", id, "--label", "rack=a"],
        &["nodes", "export", "-"],
        &["nodes", "secret", "list", id],
        &["catalog", "audit"],
        &["catalog", "audit", "--json"],
        &["catalog", "backup", "a\u{202e}b\x1b[2J/c"],
        &["nodes", "remove", id, "--yes"],
    ] {
        let ran = home.queen(command);
        assert_eq!(tricks(&ran.out), None, "{command:?}: {}", ran.out);
        assert_eq!(tricks(&ran.err), None, "{command:?}: {}", ran.err);
        if !command.contains(&"remove") {
            let (_, seen) = home.on_terminal(80, command).ends();
            assert_eq!(tricks(&seen), None, "{command:?}: {seen}");
        }
    }
}

#[test]
fn options_hidden_in_values_are_refused() {
    let home = Home::with(&["a"]);
    for (option, field) in [
        ("--host", "host"),
        ("--ssh-host", "ssh_host"),
        ("--ssh-user", "ssh_user"),
        ("--ssh-key", "ssh_key_path"),
        ("--git-repo", "git_repo_url"),
        ("--git-branch", "git_branch"),
        ("--install-path", "install_path"),
        ("--binary-path", "binary_path"),
    ] {
        for value in ["-oProxyCommand=touch x", "a b", "$(x)", "a;b", "", "\u{202e}x", "a'b\"c"] {
            let said = format!("{option}={value}");
            home.queen(&["nodes", "update", "a", &said]).refused(&["hive \"a\": ", field]);
        }
    }
    home.queen(&["nodes", "add", "--name=-oProxyCommand=x", "--host", "h"])
        .refused(&["not beginning with -"]);
    home.queen(&["nodes", "add", "--host", "h", "--", "-oProxyCommand=x"]).refused(&["not beginning with -"]);
    home.queen(&["nodes", "add", "--name=", "--host", "h"]).refused(&["id: \"\" refused: 1 to"]);
    let long = "x".repeat(100_000);
    home.queen(&["nodes", "add", &long, "--host", "h"]).refused(&["1 to 256 bytes"]);
    for command in [
        &["nodes", "show", &long][..],
        &["nodes", "update", "a", "--host", &long],
        &["nodes", "remove", &long, "--yes"],
        &["nodes", "secret", "remove", "a", &long],
        &["nodes", "secret", "list", &long],
    ] {
        let ran = home.queen(command);
        assert!(ran.err.len() < 600, "{}", ran.err.len());
        ran.refused(&[]);
    }
    assert_eq!(home.names(), ["a"]);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    let hives: Vec<Value> =
        (0..5_000).map(|number| json!({ "id": format!("gpu-{number}"), "host": "h" })).collect();
    home.fed(&["nodes", "import", "-"], json!({ "hives": hives }).to_string().as_bytes()).did();
    for command in [
        "nodes list",
        "nodes list --json",
        "nodes export -",
        "nodes export - --format csv",
        "completions bash",
        "man",
    ] {
        let script =
            format!("{{ {} {command}; echo $? >&2; }} | head -n 1 >/dev/null", env!("CARGO_BIN_EXE_queen"));
        let ran = Ran::of(Command::new("/bin/sh").args(["-c", &script]).env("HOME", &home.folder));
        assert_eq!(ran.err, "0\n", "{command}");
    }
    // A full disk is one.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child =
        home.command(&["nodes", "list"]).stdout(Stdio::from(full)).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output: cannot write"), "{output:?}");
}

#[test]
fn help_and_version_fit_eighty_columns() {
    let home = Home::new();
    let version = home.queen(&["--version"]).did();
    assert!(
        version.starts_with(concat!("queen ", env!("CARGO_PKG_VERSION"), " (catalog schema 2, SQLite 3.")),
        "{version}"
    );
    for command in [
        &["--help"][..],
        &["setup", "--help"],
        &["setup", "add-node", "--help"],
        &["nodes", "--help"],
        &["nodes", "list", "--help"],
        &["nodes", "update", "--help"],
        &["nodes", "import", "--help"],
        &["nodes", "secret", "set", "--help"],
        &["catalog", "--help"],
        &["catalog", "verify", "--help"],
        &["catalog", "audit", "--help"],
        &["completions", "--help"],
        &["man", "--help"],
    ] {
        let lines = home.on_terminal(80, command).did();
        for line in &lines {
            assert!(plain(line).width() <= 80, "{command:?}: {line}");
        }
        assert!(lines.len() > 5, "{command:?}");
    }
    assert!(home.queen(&["--help"]).did().contains("queen setup add-node --name gpu-1"));
    assert!(!home.on_terminal(80, &["--help", "--color", "never"]).did().join("").contains('\x1b'));
    home.queen(&[]).helped();
    home.queen(&["nodes"]).helped();
}

#[test]
fn completions_are_scripts_that_their_shells_take() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.queen(&["completions", shell]).did();
        assert!(script.contains("rotate-key") && script.contains("add-node"), "{shell}");
        fs::write(home.path(shell), script).unwrap();
        match Command::new(shell).arg("-n").arg(home.path(shell)).output() {
            Ok(output) => assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}"),
            Err(_) => eprintln!("skipped: no {shell} here to read its completions"),
        }
    }
    home.queen(&["completions", "elvish"]).misused(&["bash, zsh, fish"]);
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let home = Home::new();
    let page = home.queen(&["man"]).did();
    assert!(page.contains(".TH") && page.contains("catalog"), "{page}");
    home.queen(&["man", "pages/here"]).did();
    let mut names: Vec<_> = fs::read_dir(home.path("pages/here"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .inspect(|entry| assert!(entry.metadata().unwrap().len() > 200, "{entry:?}"))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    for name in
        ["queen.1", "queen-setup-add-node.1", "queen-nodes-secret-set.1", "queen-catalog-rotate-key.1"]
    {
        assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
    }
    assert_eq!(names.len(), 29, "{names:?}");
    fs::write(home.path("file"), "").unwrap();
    home.queen(&["man", "file"]).refused(&["file: cannot make the folder"]);
}
