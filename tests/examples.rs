//! The examples do what they say: each is run as a user runs it.

#![cfg(not(loom))]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// `cargo test` builds the examples beside the tests; where only this test was built, cargo builds them now.
fn command(example: &str) -> Command {
    let this = env::current_exe().expect("the path of this test");
    let built = this
        .parent()
        .and_then(Path::parent)
        .map(|profile| profile.join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX)));
    match built.filter(|path| path.exists()) {
        Some(path) => Command::new(path),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
            cargo.args(["run", "--quiet", "--manifest-path", manifest, "--example", example, "--"]);
            cargo
        }
    }
}

fn run(example: &str, args: &[&str]) -> Ran {
    let output = command(example).args(args).stdin(Stdio::null()).output().expect("the example starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).expect("the folder for temporary files is writable");
    path
}

/// The lines of the answer that starts with this line, without it.
fn answer<'a>(out: &'a str, head: &str) -> Vec<&'a str> {
    let after = out.lines().skip_while(|line| *line != head).skip(1);
    after.take_while(|line| !line.is_empty()).collect()
}

// === fleet ===

#[test]
fn fleet_ends_by_itself_with_a_summary() {
    let ran = run("fleet", &["--seconds", "3", "--plain", "--hives", "20"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(!ran.out.contains('\x1b'), "{}", ran.out);
    for told in [
        "20 generated hives of 8 workers",
        " * 21 hives registered",
        " 21/21 hives online",
        "heartbeats ",
        ", 0 refused; ",
        "reservations ",
        " made of Qwen/Qwen2.5-Coder-7B, 0 open, 0 missed",
        "silent hive   sim-",
    ] {
        assert!(ran.out.contains(told), "{told:?} in\n{}", ran.out);
    }
}

#[test]
fn fleet_leaves_the_silent_hive_out_and_takes_it_back() {
    // Silent from 2.5 s to 6.7 s: longer than the 3 s after which it is out of the picks.
    let ran = run("fleet", &["--seconds", "10", "--plain", "--hives", "20"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    for told in ["offline: silent 3 s", " is back", "reserved while out 0 times", ", reserved again at "] {
        assert!(ran.out.contains(told), "{told:?} in\n{}", ran.out);
    }
}

#[test]
fn fleet_ends_quietly_when_nobody_reads_it() {
    let mut child = command("fleet")
        .args(["--seconds", "60", "--plain", "--hives", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

// === replay ===

/// Hive a: 50 % busy, and one that loads. Hive b: 30 % busy, heard once.
const A: &str = r#""hive_id": "a", "workers": [
    {"worker_id": "w1", "state": "Busy", "last_heartbeat": "2025-10-31T09:00:00Z", "health_status": "healthy",
     "url": "http://a:1", "model_id": "m", "gpu_percent": 50, "max_concurrency": 4},
    {"worker_id": "w2", "state": "Loading", "last_heartbeat": "2025-10-31T09:00:00Z", "health_status": "healthy",
     "model_id": "m"}]"#;
const B: &str = r#""hive_id": "b", "workers": [
    {"worker_id": "w1", "state": "Idle", "last_heartbeat": "2025-10-31T09:00:00Z", "health_status": "healthy",
     "model_id": "m", "gpu_percent": 30, "max_concurrency": 4}]"#;

fn beat(hive: &str, time: &str) -> String {
    format!(r#"{{"timestamp": "{time}", {hive}}}"#).replace('\n', " ")
}

fn recording() -> Vec<u8> {
    let lines: [Vec<u8>; 7] = [
        beat(A, "2025-10-31T09:00:00Z").into(),
        beat(A, "noon").into(),
        Vec::new(),
        beat(B, "2025-10-31T09:00:01Z").into(),
        b"\xff\xfe".into(),
        beat(A, "2025-10-31T09:00:20Z").into(),
        beat(A, "2025-10-31T09:00:40Z").into(),
    ];
    lines.join(&b'\n')
}

#[test]
fn replay_answers_as_of_the_recording_and_goes_on_after_bad_lines() {
    let path = file("replay.jsonl", &recording());
    let path = path.to_str().expect("a path in UTF-8");
    let words = ["--every", "20", path, "hives", "pick", "m", "explain", "m", "reserve", "m", "reserve", "m"];
    let ran = run("replay", &words);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);

    // At load 30,000 b is better; one reservation adds 25,000, and a is better at 50,000.
    assert_eq!(
        answer(&ran.out, "at 2025-10-31T09:00:20.000Z"),
        [
            "hive           last heard  workers  VRAM used",
            "a     online       20.0 s        2     8.0 GB",
            "b     online       19.0 s        1     4.0 GB",
            "pick m: b/w1, Idle, 30 % gpu",
            "explain m: 3 loaded: 2 eligible, 0 stale, 0 unhealthy, 1 loading, 0 draining, 0 other, 0 full; \
             1 idle fallbacks; pick b/w1",
            "reserve m: b/w1, Idle, 30 % gpu",
            "reserve m: a/w1 at http://a:1, Busy, 50 % gpu",
        ]
    );
    // At 40 s b is silent for 39 s. The answer of the moment comes before a's heartbeat of that moment.
    let rest = &ran.out[ran.out.find("\n\nat ").expect("a second answer") + 2..];
    let first = answer(rest, "at 2025-10-31T09:00:40.000Z");
    assert_eq!(first[1], "a     online       20.0 s        2     8.0 GB");
    assert_eq!(first[2], "b     silent       39.0 s        1     4.0 GB");
    let last = &rest[rest.find("\n\nat ").expect("a third answer") + 2..];
    assert_eq!(
        answer(last, "at 2025-10-31T09:00:40.000Z")[1..],
        [
            "a     online        0.0 s        2     8.0 GB",
            "b     silent       39.0 s        1     4.0 GB",
            "pick m: a/w1 at http://a:1, Busy, 50 % gpu",
            "explain m: 3 loaded: 1 eligible, 1 stale, 0 unhealthy, 1 loading, 0 draining, 0 other, 0 full; \
             0 idle fallbacks; pick a/w1",
            "reserve m: a/w1 at http://a:1, Busy, 50 % gpu",
            "reserve m: a/w1 at http://a:1, Busy, 50 % gpu",
        ]
    );
    assert_eq!(
        ran.out.lines().last(),
        Some("7 lines read: 2 registered, 2 updated, 0 superseded, 0 removed, 2 refused, 1 blank")
    );

    let refused: Vec<_> = ran.err.lines().collect();
    assert_eq!(refused.len(), 2, "{}", ran.err);
    assert_eq!(
        refused[0],
        format!("{path}:2: timestamp: \"noon\" refused: RFC 3339, as 2025-10-21T10:00:00Z")
    );
    assert!(refused[1].starts_with(&format!("{path}:5: ")), "{}", ran.err);
}

#[test]
fn replay_on_arrival_finds_everybody_online() {
    let path = file("arrival.jsonl", &recording());
    let ran = run("replay", &["--clock", "arrival", path.to_str().expect("UTF-8"), "pick", "m"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("\npick m: b/w1, Idle, 30 % gpu\n"), "{}", ran.out);
    assert!(ran.out.ends_with("2 registered, 2 updated, 0 superseded, 0 removed, 2 refused, 1 blank\n"));
}

#[test]
fn replay_goes_on_after_a_line_of_any_length() {
    let mut lines = vec![b'x'; 2_000_000];
    lines.push(b'\n');
    lines.extend(recording());
    let path = file("long.jsonl", &lines);
    let ran = run("replay", &[path.to_str().expect("UTF-8"), "pick", "m"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.err.contains(":1: heartbeat_bytes: 2000000 refused: at most 1048576\n"), "{}", ran.err);
    assert!(ran.out.contains("\npick m: a/w1 at http://a:1, Busy, 50 % gpu\n"), "{}", ran.out);
    assert!(ran.out.contains("8 lines read: 2 registered, 2 updated, "), "{}", ran.out);
}

#[test]
fn replay_tells_wrong_usage_from_a_missing_file() {
    for words in
        [&["x.jsonl"][..], &["x.jsonl", "pick"], &["x.jsonl", "pik", "m"], &["--every", "0", "x", "hives"]]
    {
        let ran = run("replay", words);
        assert_eq!(ran.code, Some(2), "{words:?}: {}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.err.contains("--help"), "{}", ran.err);
    }
    let ran = run("replay", &["does/not/exist.jsonl", "hives"]);
    assert_eq!((ran.code, &*ran.out), (Some(1), ""));
    assert!(ran.err.starts_with("replay: does/not/exist.jsonl: "), "{}", ran.err);
}

// === placement ===

#[test]
fn placement_takes_the_least_room_that_is_enough() {
    // Free: big 20,480 and 51,200, desk 9,216, small 4,096 and 11,264 MiB.
    for (mib, code, told) in [
        ("5000", 0, "5000 MiB fit best on desk gpu 0: 9216 MiB free, 4216 MiB left then"),
        ("9216", 0, "9216 MiB fit best on desk gpu 0: 9216 MiB free, 0 MiB left then"),
        ("9217", 0, "9217 MiB fit best on small gpu 1: 11264 MiB free, 2047 MiB left then"),
        ("51201", 1, "51201 MiB fit nowhere: big gpu 1 has the most free and 1 MiB too little"),
    ] {
        let ran = run("placement", &[mib]);
        assert_eq!(ran.code, Some(code), "{}{}", ran.out, ran.err);
        assert_eq!(ran.out.lines().last(), Some(told));
        assert!(ran.out.contains("\nbig     gpu 1       81920     30720     51200\n"), "{}", ran.out);
    }
}

#[test]
fn placement_leaves_silent_hives_out() {
    let worker = |gib: u64| {
        format!(
            r#""workers": [{{"worker_id": "w", "state": "Idle", "last_heartbeat": "2025-10-31T09:00:00Z",
            "health_status": "healthy", "device_id": 0, "vram_bytes": 0, "vram_total_bytes": {}}}]"#,
            gib << 30
        )
    };
    let (snug, roomy) =
        (format!(r#""hive_id": "snug", {}"#, worker(8)), format!(r#""hive_id": "roomy", {}"#, worker(80)));
    let lines =
        [beat(&snug, "2025-10-31T09:00:00Z"), "{".into(), beat(&roomy, "2025-10-31T09:00:30Z")].join("\n");
    let path = file("placement.jsonl", lines.as_bytes());
    let path = path.to_str().expect("UTF-8");
    let ran = run("placement", &["8192", path]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(
        ran.out.ends_with("\n8192 MiB fit best on roomy gpu 0: 81920 MiB free, 73728 MiB left then\n"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("\nsnug    gpu 0        8192         0      8192  not available\n"),
        "{}",
        ran.out
    );
    assert!(ran.err.starts_with(&format!("{path}:2: ")), "{}", ran.err);
}
