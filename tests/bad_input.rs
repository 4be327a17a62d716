//! What is refused (I2): every bound, at it and one past it; each refusal names field, value and bound and
//! changes nothing. And bodies that are no heartbeats at all.
#![cfg(not(loom))]

mod common;

use std::time::Duration;

use common::*;
use hive_registry::{
    Capability, ConfigError, HeartbeatError, HeartbeatOutcome, HiveHealth, HiveHeartbeat,
    HiveHeartbeatPayload, HiveInfo, HiveRegistry, HiveRegistryBuilder, Limits, ProcessStats, WorkerLifecycle,
};

/// A field, and a heartbeat with a value there.
type With<T> = (&'static str, fn(T) -> Sent);

type Answer = Result<HeartbeatOutcome, HeartbeatError>;

/// Sends what must be refused; the registry must be exactly as before, but for the count of refusals.
#[track_caller]
fn refused(registry: &HiveRegistry, send: impl FnOnce() -> Answer) -> HeartbeatError {
    let all = || {
        let counts = (registry.hive_count(), registry.total_worker_count(), registry.count_available());
        let lists = (registry.list_all_hives(), names(registry.list_all_workers()));
        // The debug text tells how many models there are.
        (counts, lists, format!("{registry:?}"), registry.snapshot())
    };
    let (before, refusals) = (all(), registry.stats().heartbeats.refused);
    let error = send().expect_err("this must be refused");
    assert_eq!(all(), before, "{error}");
    assert_eq!(registry.stats().heartbeats.refused, refusals + 1, "{error}");
    error
}

/// The error names the field, the value and the bound.
#[track_caller]
fn assert_names(error: &HeartbeatError, field: &str, value: &str, bound: &str) {
    let words = error.to_string();
    let named = match error {
        HeartbeatError::Malformed { field, .. } | HeartbeatError::Invalid { field, .. } => field,
        HeartbeatError::OverLimit { limit, .. } => *limit,
        _ => panic!("a new kind of error: {words}"),
    };
    assert_eq!(named, field, "{words}");
    for part in [field, value, bound] {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
}

#[derive(Clone)]
enum Sent {
    Plain(HiveHeartbeatPayload),
    Told(HiveHeartbeat),
}

impl Sent {
    fn as_struct(&self, registry: &HiveRegistry) -> Answer {
        match self.clone() {
            Self::Plain(payload) => {
                let hive_id = payload.hive_id.clone();
                registry.update_hive_state(&hive_id, payload)
            }
            Self::Told(heartbeat) => registry.update_hive(heartbeat),
        }
    }

    fn as_json(&self, registry: &HiveRegistry) -> Answer {
        registry.ingest_json(self.json().as_bytes())
    }

    fn json(&self) -> String {
        let body = match self {
            Self::Plain(payload) => serde_json::to_string(payload),
            Self::Told(heartbeat) => serde_json::to_string(heartbeat),
        };
        body.expect("heartbeats serialize")
    }
}

/// A registry that knows a hive of each form, for a refusal to spoil.
fn furnished(limits: Limits) -> HiveRegistry {
    let (registry, _) = registry_with(|builder| builder.limits(limits));
    apply(&registry, beat("plain", T0, vec![worker("a", "m")]));
    registry.update_hive(telemetry("told", T0, vec![process("g", "80", "m")])).unwrap();
    registry
}

#[track_caller]
fn accepts(sent: &Sent) {
    for send in [Sent::as_struct, Sent::as_json] {
        if let Err(error) = send(sent, &furnished(Limits::default())) {
            panic!("{error}");
        }
    }
}

/// Refused both ways, with one answer.
#[track_caller]
fn refuses(sent: &Sent, field: &str, value: &str, bound: &str) {
    let registry = furnished(Limits::default());
    let error = refused(&registry, || sent.as_struct(&registry));
    assert_names(&error, field, value, bound);
    assert_eq!(refused(&registry, || sent.as_json(&registry)), error);
}

/// Applied both ways, with one complaint of this field (I7); the registries, and the heartbeat's own states.
#[track_caller]
fn complains(sent: &Sent, field: &str, value: &str) -> HiveRegistry {
    let by_json = furnished(Limits::default());
    sent.as_json(&by_json).unwrap();
    let registry = furnished(Limits::default());
    sent.as_struct(&registry).unwrap();
    for registry in [&by_json, &registry] {
        let known = ["plain", "told"].map(|hive| registry.hive_stats(hive).unwrap());
        let told: Vec<_> = known.iter().filter(|told| told.complaints > 0).collect();
        let [told] = &told[..] else { panic!("{field}: {known:?}") };
        let words = told.last_complaint.as_deref().unwrap();
        assert_eq!((told.complaints, told.refusals), (1, 0), "{words}");
        assert!(words.starts_with(&format!("{field}: {value}")), "{words}");
        assert!(words.contains(" counts as not reported: "), "{words}");
    }
    registry
}

/// A heartbeat of the known plain hive, changed.
fn plain(change: impl FnOnce(&mut HiveHeartbeatPayload)) -> Sent {
    let mut payload = beat("plain", T0 + 1, vec![worker("a", "m"), worker("b", "new")]);
    change(&mut payload);
    Sent::Plain(payload)
}

/// A heartbeat of the known telemetry hive, changed.
fn told(change: impl FnOnce(&mut HiveHeartbeat)) -> Sent {
    let mut heartbeat = telemetry("told", T0 + 1, vec![process("g", "80", "m"), process("g", "81", "new")]);
    heartbeat.hive.health_status = HiveHealth::Degraded { reason: "hot".into() };
    heartbeat.capabilities = Some(vec![Capability {
        id: "GPU-0".into(),
        name: "card".into(),
        device_type: "cuda".into(),
        vram_gb: Some(24.0),
        compute_capability: Some("8.9".into()),
    }]);
    change(&mut heartbeat);
    Sent::Told(heartbeat)
}

fn info() -> HiveInfo {
    HiveInfo { hostname: "n".into(), version: "1".into(), ..Default::default() }
}

fn processes(heartbeat: &mut HiveHeartbeat) -> &mut [ProcessStats] {
    heartbeat.workers.as_mut().expect("it has two")
}

fn device(heartbeat: &mut HiveHeartbeat) -> &mut Capability {
    &mut heartbeat.capabilities.as_mut().expect("it declares one")[0]
}

/// Field, longest value, bound as told, and a heartbeat with this value there.
type TextField = (&'static str, usize, usize, fn(&str) -> Sent);

const TEXTS: [TextField; 19] = [
    ("hive_id", 256, 256, |text| plain(|beat| beat.hive_id = text.into())),
    ("workers[1].worker_id", 256, 256, |text| plain(|beat| beat.workers[1].worker_id = text.into())),
    ("workers[1].state", 256, 256, |text| plain(|beat| beat.workers[1].state = text.into())),
    ("workers[1].health_status", 256, 256, |text| plain(|beat| beat.workers[1].health_status = text.into())),
    ("workers[1].url", 2_048, 2_048, |text| plain(|beat| beat.workers[1].url = Some(text.into()))),
    ("workers[1].model_id", 256, 256, |text| plain(|beat| beat.workers[1].model_id = Some(text.into()))),
    ("workers[1].backend", 256, 256, |text| plain(|beat| beat.workers[1].backend = Some(text.into()))),
    ("hive_info.hostname", 256, 256, |text| {
        plain(|beat| beat.hive_info = Some(HiveInfo { hostname: text.into(), ..info() }))
    }),
    ("hive.id", 256, 256, |text| told(|beat| beat.hive.id = text.into())),
    ("hive.hostname", 256, 256, |text| told(|beat| beat.hive.hostname = text.into())),
    ("hive.version", 256, 256, |text| told(|beat| beat.hive.version = text.into())),
    ("hive.health_status.reason", 256, 256, |text| {
        told(|beat| beat.hive.health_status = HiveHealth::Unhealthy { reason: text.into() })
    }),
    // "group-81" is the worker's id, whose bound it is.
    ("workers[1].group", 253, 256, |text| told(|beat| processes(beat)[1].group = text.into())),
    ("workers[1].instance", 254, 256, |text| told(|beat| processes(beat)[1].instance = text.into())),
    ("workers[1].model", 256, 256, |text| told(|beat| processes(beat)[1].model = Some(text.into()))),
    ("capabilities[0].id", 256, 256, |text| told(|beat| device(beat).id = text.into())),
    ("capabilities[0].name", 256, 256, |text| told(|beat| device(beat).name = text.into())),
    ("capabilities[0].device_type", 256, 256, |text| told(|beat| device(beat).device_type = text.into())),
    ("capabilities[0].compute_capability", 256, 256, |text| {
        told(|beat| device(beat).compute_capability = Some(text.into()))
    }),
];

// === strings ===

#[test]
fn i2_every_string_has_its_bound_in_bytes() {
    for (field, longest, bound, with) in TEXTS {
        let bound = format!("1 to {bound} bytes");
        accepts(&with("x"));
        accepts(&with(&"x".repeat(longest)));
        // Bytes are counted, not characters.
        let wide = "\u{e9}".repeat(longest / 2) + &"x".repeat(longest % 2);
        accepts(&with(&wide));
        // The id that group and instance make together is the value that is too long.
        let (long, wide) = (with(&"x".repeat(longest + 1)), with(&(wide + "x")));
        if field == "workers[1].instance" {
            refuses(&long, "workers[1].group", "xxx", &bound);
            refuses(&wide, "workers[1].group", "\u{e9}\u{e9}", &bound);
        } else {
            refuses(&long, field, "xxx", &bound);
            refuses(&wide, field, "\u{e9}\u{e9}", &bound);
        }
        let name = field.rsplit('.').next().unwrap_or(field);
        if ["url", "model_id", "backend", "model", "compute_capability"].contains(&name) {
            complains(&with(""), field, "\"\"");
        } else {
            refuses(&with(""), field, "\"\"", &bound);
        }
    }
}

#[test]
fn i2_no_string_holds_control_characters() {
    for (field, _, _, with) in TEXTS {
        for (control, shown) in [
            ("\0", "\\0"),
            ("\n", "\\n"),
            ("\u{1b}", "\\u{1b}"),
            ("\u{7f}", "\\u{7f}"),
            ("\u{85}", "\\u{85}"),
        ] {
            refuses(&with(&format!("a{control}b")), field, &format!("a{shown}b"), "no control characters");
        }
        // Format characters and separators are no control characters.
        accepts(&with("a\u{a0}b\u{200d}c\u{2028}d"));
    }
}

#[test]
fn i2_an_error_shows_a_long_value_cut() {
    let registry = furnished(Limits::default());
    let long = plain(|beat| beat.timestamp = "9".repeat(500_000));
    let error = refused(&registry, || long.as_struct(&registry));
    assert_names(&error, "timestamp", &format!("\"{}...\"", "9".repeat(64)), "1 to 256 bytes, not 500000");
    assert!(error.to_string().len() < 200);
}

#[test]
fn i2_timestamps_are_rfc_3339() {
    let fields: [With<&str>; 3] = [
        ("timestamp", |text| plain(|beat| beat.timestamp = text.into())),
        ("timestamp", |text| told(|beat| beat.timestamp = text.into())),
        ("workers[1].last_heartbeat", |text| plain(|beat| beat.workers[1].last_heartbeat = text.into())),
    ];
    // As long as other text, however exact.
    let [longest, longer] = [256, 257].map(|len| format!("2025-10-21T10:00:00.{}Z", "0".repeat(len - 21)));
    for (field, with) in fields {
        for good in
            ["2025-10-21T10:00:00Z", "2025-10-21t12:00:00.123456789+02:00", "2025-10-21T10:00:00-00:00"]
        {
            accepts(&with(good));
        }
        accepts(&with(&longest));
        refuses(&with(&longer), field, "2025-10-21T10:00:00.000", "1 to 256 bytes, not 257");
        for bad in [
            "",
            "noon",
            "1761040800000",
            "2025-10-21",
            "2025-10-21T10:00:00",
            "2025-10-21T10:00Z",
            "2025-13-21T10:00:00Z",
            "2025-02-29T10:00:00Z",
            "2025-10-21T24:00:00Z",
            "2025-10-21T10:00:00Z ",
            "2025-10-21T10:00:00+24:00",
            "Tue, 21 Oct 2025 10:00:00 GMT",
        ] {
            refuses(&with(bad), field, &format!("\"{bad}\""), "RFC 3339");
        }
    }
}

// === numbers ===

#[test]
fn i7_a_number_that_is_none_counts_as_not_reported() {
    let fields: [With<f32>; 6] = [
        ("workers[1].cpu_percent", |number| plain(|beat| beat.workers[1].cpu_percent = Some(number))),
        ("workers[1].gpu_percent", |number| plain(|beat| beat.workers[1].gpu_percent = Some(number))),
        ("workers[1].cpu_pct", |number| told(|beat| processes(beat)[1].cpu_pct = number)),
        ("workers[1].io_r_mb_s", |number| told(|beat| processes(beat)[1].io_r_mb_s = number)),
        ("workers[1].io_w_mb_s", |number| told(|beat| processes(beat)[1].io_w_mb_s = number)),
        ("workers[1].gpu_util_pct", |number| told(|beat| processes(beat)[1].gpu_util_pct = Some(number))),
    ];
    for (field, with) in fields {
        for good in [0.0, f32::MIN_POSITIVE, 100.0, f32::MAX] {
            accepts(&with(good));
        }
        for bad in [-1.0, -f32::MIN_POSITIVE, -1e10] {
            let registry = complains(&with(bad), field, "-");
            let worker = registry.list_all_workers().pop().unwrap().1;
            let told = [worker.cpu_percent, worker.gpu_percent].into_iter().flatten();
            assert!(told.into_iter().all(|percent| percent >= 0.0), "{worker:?}");
        }
        // JSON has no such numbers.
        for (bad, shown) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
            let registry = furnished(Limits::default());
            with(bad).as_struct(&registry).unwrap();
            let told = registry.stats().hives.into_iter().find_map(|told| told.last_complaint).unwrap();
            assert!(told.starts_with(&format!("{field}: {shown} counts")), "{told}");
            // Equal to itself, as everything is that is kept.
            assert_eq!(registry.snapshot(), registry.snapshot());
        }
        // It has numbers that no float holds, though; one that no double holds, the parser does not read.
        let name = field.split_once('.').unwrap().1;
        let body = with(77.0).json().replace(&format!("\"{name}\":77.0"), &format!("\"{name}\":@"));
        let registry = furnished(Limits::default());
        for huge in ["1e300", "-1e300"] {
            registry.ingest_json(body.replace('@', huge).as_bytes()).unwrap();
        }
        let complaints: u64 = registry.stats().hives.iter().map(|told| told.complaints).sum();
        assert_eq!(complaints, 2, "{field}");
        assert_names(
            &refused(&registry, || registry.ingest_json(body.replace('@', "1e999").as_bytes())),
            field,
            "",
            "",
        );
    }
}

#[test]
fn i7_whole_numbers_that_are_negative_or_fractions_count_as_not_reported() {
    let plain = plain(|beat| {
        let worker = &mut beat.workers[1];
        worker.device_id = Some(77);
        (worker.vram_bytes, worker.vram_total_bytes, worker.ram_bytes) = (Some(77), Some(77), Some(77));
        worker.max_concurrency = Some(77);
    });
    let told = told(|beat| {
        let process = &mut processes(beat)[1];
        (process.pid, process.rss_mb, process.uptime_s) = (77, 77, 77);
        (process.vram_mb, process.total_vram_mb) = (77, 77);
    });
    let of_worker = ["device_id", "vram_bytes", "vram_total_bytes", "ram_bytes", "max_concurrency"];
    let of_process = ["pid", "rss_mb", "uptime_s", "vram_mb", "total_vram_mb"];
    for (hive, sent, fields) in [("plain", &plain, of_worker), ("told", &told, of_process)] {
        for field in fields {
            let put = |value: &str| {
                let registry = furnished(Limits::default());
                let from = format!("\"{field}\":77");
                assert!(sent.json().contains(&from), "{field}");
                let body = sent.json().replace(&from, &format!("\"{field}\":{value}"));
                registry.ingest_json(body.as_bytes()).unwrap();
                let worker = registry.get_workers_on_hive(hive).pop().unwrap();
                let told = [worker.vram_bytes, worker.vram_total_bytes, worker.ram_bytes];
                let whole = [worker.device_id, worker.max_concurrency].map(|number| number.map(u64::from));
                let known = told.into_iter().chain(whole).flatten().count();
                (known, registry.hive_stats(hive).unwrap().complaints)
            };
            let (all, none) = put("77");
            assert_eq!(none, 0, "{field}");
            for odd in ["-1", "-9223372036854775808", "1.5", "-0.5"] {
                let is_workers = !["pid", "uptime_s"].contains(&field);
                assert_eq!(put(odd), (all - usize::from(is_workers), 1), "{field}: {odd}");
            }
            for whole in ["77.0", "7.7e1", "0.0077e4"] {
                assert_eq!(put(whole), (all, 0), "{field}: {whole}");
            }
            // What a worker need not say, null does not say; a process says all its numbers.
            assert_eq!(put("null").1, u64::from(hive == "told"), "{field}");
        }
    }
}

#[test]
fn i7_max_concurrency_0_counts_as_not_reported() {
    let with = |limit| plain(|beat| beat.workers[1].max_concurrency = Some(limit));
    accepts(&with(1));
    accepts(&with(u32::MAX));
    let registry = complains(&with(0), "workers[1].max_concurrency", "0");
    assert_eq!(registry.get_worker_on("plain", "b").unwrap().max_concurrency, None);
}

#[test]
fn i7_a_gpu_that_tells_no_utilisation_is_idle() {
    let sent = told(|beat| processes(beat)[1].gpu_util_pct = None);
    for send in [Sent::as_struct, Sent::as_json] {
        let registry = furnished(Limits::default());
        send(&sent, &registry).unwrap();
        let worker = registry.get_worker_on("told", "g-81").unwrap();
        assert_eq!((&worker.state, worker.gpu_percent), (&WorkerLifecycle::Idle, None));
        assert_eq!(worker.process.as_ref().unwrap().gpu_util_pct, None);
        // How a GPU in slices says so: nothing to complain of.
        assert_eq!(registry.hive_stats("told").unwrap().complaints, 0);
    }
}

#[test]
fn i7_a_host_that_makes_no_url_is_a_complaint() {
    for hostname in ["http://gpu-1", "gpu-1:7835", "gpu 1", "gpu-1/"] {
        let sent = told(|beat| beat.hive.hostname = hostname.into());
        let registry = complains(&sent, "hive.hostname", &format!("{hostname:?}"));
        assert_eq!(registry.get_worker_on("told", "g-80").unwrap().url, None);
    }
    let sent = told(|beat| beat.hive.hostname = "fe80::1%eth0".into());
    accepts(&sent);
    let registry = furnished(Limits::default());
    sent.as_json(&registry).unwrap();
    assert_eq!(registry.get_worker_url("g-80").as_deref(), Some("http://[fe80::1%25eth0]:80"));
    complains(&told(|beat| processes(beat)[1].instance = "gpu0".into()), "workers[1].instance", "\"gpu0\"");
}

#[test]
fn i7_refusals_of_a_known_hive_are_told_of_it() {
    let registry = furnished(Limits { heartbeat_bytes: 4_000, ..Default::default() });
    let told = |hive: &str| {
        let told = registry.hive_stats(hive).unwrap();
        (told.refusals, told.last_refusal.unwrap_or_default())
    };
    assert_eq!(told("plain"), (0, String::new()));
    let valid = plain(|_| ()).json();
    let mut count = 0;
    let mut refuses = |hive: &str, body: &str, field: &str| {
        let error = refused(&registry, || registry.ingest_json(body.as_bytes()));
        count += 1;
        assert_eq!(told(hive), (count, error.to_string()));
        assert!(error.to_string().starts_with(field), "{error}");
    };
    refuses("plain", &valid.replace("2025-10-21T10:00:00.001Z", "noon"), "timestamp: ");
    refuses(
        "plain",
        &valid.replace("\"gpu_percent\":10.0", "\"gpu_percent\":\"10\""),
        "workers[0].gpu_percent: ",
    );
    refuses("plain", &valid[..valid.len() / 2], "");
    refuses("plain", &format!("{valid}{}", " ".repeat(4_000)), "heartbeat_bytes: ");
    let other = registry.update_hive_state("plain", beat("other", T0, vec![])).unwrap_err();
    assert_eq!(told("plain"), (5, other.to_string()));
    // Of hives that are not known nothing is kept.
    let unknown = valid.replace("\"hive_id\":\"plain\"", "\"hive_id\":\"nobody\"").replace("Idle", "");
    registry.ingest_json(unknown.as_bytes()).unwrap_err();
    assert_eq!((registry.hive_stats("nobody"), told("plain").0, told("told").0), (None, 5, 0));
    registry.remove_hive("plain");
    apply(&registry, beat("plain", T0 + 1_000_000, vec![]));
    assert_eq!(told("plain").0, 0);
}

#[test]
fn i2_devices_per_hive_256_or_as_set_and_their_memory_is_bounded() {
    let card = |gib| Capability {
        id: "GPU".into(),
        name: "card".into(),
        device_type: "cuda".into(),
        vram_gb: Some(gib),
        ..Default::default()
    };
    let both = |cards: Vec<Capability>| {
        [
            plain(|beat| beat.capabilities = Some(cards.clone())),
            told(|beat| beat.capabilities = Some(cards.clone())),
        ]
    };
    both(vec![card(24.0); 256]).iter().for_each(accepts);
    for sent in both(vec![card(24.0); 257]) {
        refuses(&sent, "devices_per_hive", "257", "at most 256");
    }
    let registry = furnished(Limits { devices_per_hive: 2, ..Default::default() });
    for sent in both(vec![card(24.0); 3]) {
        assert_names(&refused(&registry, || sent.as_json(&registry)), "devices_per_hive", "3", "at most 2");
    }
    for good in [0.0, 0.5, 1_048_576.0] {
        both(vec![card(good)]).iter().for_each(accepts);
    }
    for bad in [-1.0, -f64::MIN_POSITIVE, 1_048_576.5, 1e300] {
        for sent in both(vec![card(24.0), card(bad)]) {
            refuses(&sent, "capabilities[1].vram_gb", "", "from 0 to 1048576");
        }
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for sent in both(vec![card(bad)]) {
            let error = refused(&registry, || sent.as_struct(&registry));
            assert_names(&error, "capabilities[0].vram_gb", "", "finite");
        }
    }
}

#[test]
fn i2_hive_info_is_of_the_hive_beside_it() {
    let with = |id: &str| plain(|beat| beat.hive_info = Some(HiveInfo { id: id.into(), ..info() }));
    accepts(&with("plain"));
    accepts(&with(""));
    refuses(&with("other"), "hive_info.id", "\"other\"", "\"plain\"");
    refuses(&with(&"x".repeat(1_000_000)), "hive_info.id", "xxx", "\"plain\"");
}

/// Not even one whose every part is as long as it can be.
#[test]
fn i2_no_error_is_longer_than_512_bytes() {
    let limits = Limits { heartbeat_bytes: 1 << 23, ..Default::default() };
    for unit in ["x", "\u{e9}", "\u{10ffff}", "\u{1}", "\"", "\\", "."] {
        let long = unit.repeat(1 << 19);
        let registry = furnished(limits);
        let check = |answer: Answer| {
            let error = answer.unwrap_err();
            let (words, parts) = (error.to_string(), format!("{error:?}"));
            assert!(words.len() <= 512, "{} bytes: {words}", words.len());
            assert!(parts.len() <= 4_096, "{parts}");
        };
        for (_, _, _, with) in TEXTS {
            check(with(&long).as_struct(&registry));
            check(with(&long).as_json(&registry));
        }
        check(registry.update_hive_state(&long, beat("plain", T0 + 1, vec![])));
        check(registry.update_hive_state(&long, beat(&format!("{long}x"), T0 + 1, vec![])));
        check(registry.update_workers(&long, vec![]));
        check(registry.model(&long).map(|_| HeartbeatOutcome::Updated));
        let text = serde_json::to_string(&long).unwrap();
        for body in [
            plain(|beat| beat.timestamp.clone_from(&long)).json(),
            plain(|beat| beat.workers[1].last_heartbeat.clone_from(&long)).json(),
            plain(|beat| beat.hive_info = Some(HiveInfo { id: long.clone(), ..info() })).json(),
            format!("{{{text}: 1e999}}"),
            format!("{{\"hive\": {{{text}: 1e999}}}}"),
            format!("{{\"hive\": {{\"operational_status\": {text}}}}}"),
            format!("{{\"hive_id\": \"plain\", \"workers\": [{{{text}: 1e999}}]}}"),
            format!("{{\"hive_id\": \"plain\", \"epoch\": {text}}}"),
            format!(
                "{{\"workers\": [{{\"state\": 5, {text}: {{{text}: 5}}}}], \"hive_id\": \"plain\", \"timestamp\": 5}}"
            ),
            format!(
                "{{\"type\": \"telemetry\", \"hive_id\": \"plain\", \"workers\": [{{\"pid\": {text}}}]}}"
            ),
            text.clone(),
        ] {
            check(registry.ingest_json(body.as_bytes()));
        }
        for hive in ["plain", "told"] {
            let told = registry.hive_stats(hive).unwrap();
            assert!(told.last_refusal.is_some_and(|words| words.len() <= 512));
        }
    }
}

#[test]
fn i2_megabytes_fit_in_64_bits_of_bytes() {
    let fields: [With<u64>; 3] = [
        ("workers[1].rss_mb", |mb| told(|beat| processes(beat)[1].rss_mb = mb)),
        ("workers[1].vram_mb", |mb| told(|beat| processes(beat)[1].vram_mb = mb)),
        ("workers[1].total_vram_mb", |mb| told(|beat| processes(beat)[1].total_vram_mb = mb)),
    ];
    let most = u64::MAX >> 20;
    for (field, with) in fields {
        accepts(&with(most));
        for beyond in [most + 1, u64::MAX] {
            refuses(&with(beyond), field, &beyond.to_string(), &most.to_string());
        }
    }
}

#[test]
fn i2_json_of_wrong_types_names_the_field() {
    let registry = furnished(Limits::default());
    let body = |sent: Sent| match sent {
        Sent::Plain(payload) => serde_json::to_value(payload).unwrap(),
        Sent::Told(heartbeat) => serde_json::to_value(heartbeat).unwrap(),
    };
    let plain = body(plain(|beat| (beat.epoch, beat.seq) = (Some(1), Some(1))));
    let told = body(told(|_| ()));
    let cases = [
        (&plain, "/workers/1/device_id", "4294967296", "workers[1].device_id", "u32"),
        (&plain, "/workers/1/max_concurrency", "4294967296", "workers[1].max_concurrency", "u32"),
        (&plain, "/workers/1/vram_bytes", "18446744073709551616", "workers[1].vram_bytes", "u64"),
        (&plain, "/workers/1/vram_total_bytes", "\"1\"", "workers[1].vram_total_bytes", "u64"),
        (&plain, "/workers/1/ram_bytes", "[1]", "workers[1].ram_bytes", "u64"),
        (&plain, "/workers/1/gpu_percent", "true", "workers[1].gpu_percent", "f32"),
        (&plain, "/epoch", "18446744073709551616", "epoch", "u64"),
        (&plain, "/seq", "-1", "seq", "u64"),
        (&plain, "/workers/1/url", "5", "workers[1].url", "string"),
        (&plain, "/workers/0/state", "null", "workers[0].state", "string"),
        (&plain, "/workers", "{}", "workers", "sequence"),
        (&told, "/workers/1/pid", "4294967296", "workers[1].pid", "u32"),
        (&told, "/workers/1/uptime_s", "18446744073709551616", "workers[1].uptime_s", "u64"),
        (&told, "/workers/1/vram_mb", "{}", "workers[1].vram_mb", "u64"),
        (&told, "/hive/port", "65536", "hive.port", "u16"),
        (&told, "/hive/operational_status", "\"sleeping\"", "hive.operational_status", "sleeping"),
        (&told, "/hive/operational_status", "\"Ready\"", "hive.operational_status", "Ready"),
        (&told, "/hive/health_status/status", "\"fine\"", "hive.health_status.status", "fine"),
        (&told, "/capabilities/0/vram_gb", "\"24\"", "capabilities[0].vram_gb", "f64"),
    ];
    for (body, pointer, value, field, expected) in cases {
        // Put in as text, for no `Value` holds 2^64.
        let mut body = body.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.into(), "@".into());
        let body = body.to_string().replace("\"@\"", value);
        let error = refused(&registry, || registry.ingest_json(body.as_bytes()));
        assert!(matches!(error, HeartbeatError::Malformed { .. }), "{error}");
        assert_names(&error, field, expected, "line 1 column");
    }
    let mut no_reason = told.clone();
    no_reason["hive"]["health_status"] = serde_json::json!({"status": "unhealthy"});
    let error = refused(&registry, || registry.ingest_json(no_reason.to_string().as_bytes()));
    assert_names(&error, "hive.health_status.reason", "none", "a reason");
}

// === the whole ===

#[test]
fn i2_the_hive_id_is_that_of_the_argument() {
    let registry = furnished(Limits::default());
    let payload = beat("plain", T0 + 1, vec![]);
    for argument in ["other", "Plain", ""] {
        let error = refused(&registry, || registry.update_hive_state(argument, payload.clone()));
        assert_names(&error, "hive_id", "\"plain\"", &format!("{argument:?}"));
    }
}

#[test]
fn i2_epoch_and_seq_come_together() {
    for (epoch, seq, missing) in [(Some(1), None, "seq"), (None, Some(1), "epoch")] {
        let both = "both of epoch and seq";
        refuses(&plain(|beat| (beat.epoch, beat.seq) = (epoch, seq)), missing, "none", both);
        refuses(&told(|beat| (beat.epoch, beat.seq) = (epoch, seq)), missing, "none", both);
    }
}

#[test]
fn i2_no_two_workers_have_one_id() {
    let once = "no two workers of one id";
    refuses(&plain(|beat| beat.workers[1].worker_id = "a".into()), "workers[].worker_id", "\"a\"", once);
    refuses(&told(|beat| processes(beat)[1].instance = "80".into()), "workers[].worker_id", "\"g-80\"", once);
    // Different parts, one id.
    let joined = told(|beat| beat.workers = Some(vec![process("a-b", "c", "m"), process("a", "b-c", "m")]));
    refuses(&joined, "workers[].worker_id", "\"a-b-c\"", once);
}

fn many(count: usize) -> Sent {
    plain(|beat| beat.workers = (0..count).map(|at| bare_worker(&at.to_string())).collect())
}

#[test]
fn i2_workers_per_hive_1024_or_as_set() {
    accepts(&many(1_024));
    refuses(&many(1_025), "workers_per_hive", "1025", "at most 1024");
    let registry = furnished(Limits { workers_per_hive: 2, ..Default::default() });
    let error = refused(&registry, || many(3).as_json(&registry));
    assert_names(&error, "workers_per_hive", "3", "at most 2");
    many(2).as_json(&registry).unwrap();
    let three = ["1", "2", "3"].map(|instance| process("g", instance, "m")).to_vec();
    let error = refused(&registry, || registry.update_workers("told", three.clone()));
    assert_names(&error, "workers_per_hive", "3", "at most 2");
    registry.update_workers("told", three[..2].to_vec()).unwrap();
}

#[test]
fn i2_limit_on_hives() {
    let registry = furnished(Limits { hives: 2, ..Default::default() });
    let third = |at: i64| Sent::Plain(beat("third", T0 + at, vec![worker("w", "n")]));
    for send in [Sent::as_struct, Sent::as_json] {
        assert_names(&refused(&registry, || send(&third(0), &registry)), "hives", "3", "at most 2");
    }
    let by_call = refused(&registry, || registry.update_workers("third", vec![]));
    assert_names(&by_call, "hives", "3", "at most 2");
    assert_eq!(apply(&registry, beat("plain", T0 + 1, vec![])), HeartbeatOutcome::Updated);
    assert!(registry.remove_hive("told"));
    // Not applied, hence without a place: the removed hive's late heartbeat.
    let late = registry.update_hive(telemetry("told", T0, vec![])).unwrap();
    assert_eq!(late, HeartbeatOutcome::Removed);
    assert_eq!(third(0).as_struct(&registry).unwrap(), HeartbeatOutcome::Registered);
    refused(&registry, || registry.update_hive(telemetry("fourth", T0, vec![])));
}

#[test]
fn i2_limit_on_workers_in_all() {
    let registry = furnished(Limits { workers: 4, ..Default::default() });
    assert_names(&refused(&registry, || many(4).as_struct(&registry)), "workers", "5", "at most 4");
    many(3).as_struct(&registry).unwrap();
    let other = |at: i64, count: &[&str]| {
        let workers = count.iter().map(|id| bare_worker(id)).collect();
        Sent::Plain(beat("other", T0 + at, workers))
    };
    let error = refused(&registry, || other(0, &["x"]).as_struct(&registry));
    assert_names(&error, "workers", "5", "at most 4");
    assert_eq!(registry.get_hive_state("other"), None);
    // As many others in their place are no more.
    let replaced = beat("plain", T0 + 2, ["x", "y", "z"].map(bare_worker).to_vec());
    assert_eq!(apply(&registry, replaced), HeartbeatOutcome::Updated);
    apply(&registry, beat("plain", T0 + 3, vec![bare_worker("x")]));
    other(0, &["x", "y"]).as_json(&registry).unwrap();
    assert_eq!(registry.total_worker_count(), 4);
}

#[test]
fn i2_limit_on_models() {
    let registry = furnished(Limits { models: 2, ..Default::default() });
    let loaded = |at: i64, models: &[&str]| {
        let workers = models.iter().enumerate().map(|(at, model)| worker(&at.to_string(), model)).collect();
        Sent::Plain(beat("plain", T0 + at, workers))
    };
    // One new one has room, the other has not: neither stays.
    let error = refused(&registry, || loaded(1, &["m", "n", "o"]).as_struct(&registry));
    assert_names(&error, "models", "3", "at most 2");
    loaded(2, &["m", "n", "n"]).as_struct(&registry).unwrap();
    let error = refused(&registry, || loaded(3, &["n", "o"]).as_json(&registry));
    assert_names(&error, "models", "3", "at most 2");
    loaded(4, &["m"]).as_struct(&registry).unwrap();
    loaded(5, &["o"]).as_struct(&registry).unwrap();
}

#[test]
fn i2_heartbeat_bytes() {
    let body = |bytes: usize| {
        let mut body = serde_json::to_vec(&beat("plain", T0 + 1, vec![worker("a", "m")])).unwrap();
        body.resize(bytes, b' ');
        body
    };
    let registry = furnished(Limits::default());
    let error = refused(&registry, || registry.ingest_json(&body((1 << 20) + 1)));
    assert_names(&error, "heartbeat_bytes", "1048577", "at most 1048576");
    assert_eq!(registry.ingest_json(&body(1 << 20)), Ok(HeartbeatOutcome::Updated));
    let registry = furnished(Limits { heartbeat_bytes: 400, ..Default::default() });
    let error = refused(&registry, || registry.ingest_json(&body(401)));
    assert_names(&error, "heartbeat_bytes", "401", "at most 400");
    assert_eq!(registry.ingest_json(&body(400)), Ok(HeartbeatOutcome::Updated));
}

#[test]
fn i2_update_workers_is_held_to_the_same_bounds() {
    let registry = furnished(Limits::default());
    let long = "h".repeat(257);
    for (hive_id, value, bound) in
        [("", "\"\"", "256"), (&*long, "hhh", "256"), ("a\nb", "a\\nb", "no control")]
    {
        let error = refused(&registry, || registry.update_workers(hive_id, vec![process("g", "1", "m")]));
        assert_names(&error, "hive_id", value, bound);
    }
    registry.update_workers(&long[1..], vec![]).unwrap();
    let mut process = process("g", "1", "new");
    process.total_vram_mb = u64::MAX;
    for hive_id in ["told", "unknown"] {
        let error = refused(&registry, || registry.update_workers(hive_id, vec![process.clone()]));
        assert_names(&error, "workers[0].total_vram_mb", &u64::MAX.to_string(), "at most");
    }
}

/// What Python's calls of those names send.
#[test]
fn i7_the_calls_for_one_form_take_what_ingest_takes() {
    let worker = r#"{"worker_id": "w", "state": "Idle", "last_heartbeat": "2025-10-21T10:00:00Z",
        "health_status": "healthy", "device_id": -1, "vram_bytes": 1.5, "max_concurrency": 0}"#;
    let process = r#"{"pid": -1, "group": "g", "instance": "1", "cpu_pct": -0.5, "rss_mb": null, "io_r_mb_s": 0,
        "io_w_mb_s": 0, "uptime_s": 1.5, "gpu_util_pct": 0, "vram_mb": 1, "total_vram_mb": 2, "model": null}"#;
    let hive = r#"{"id": "told", "hostname": "h", "port": 1, "operational_status": "ready",
        "health_status": {"status": "healthy"}, "version": "1"}"#;
    let at = r#""timestamp": "2025-10-21T10:00:00Z""#;
    let plain = format!(r#"{{"hive_id": "plain", {at}, "workers": [{worker}]}}"#);
    let told = format!(r#"{{"hive": {hive}, {at}, "workers": [{process}]}}"#);
    let event = format!(r#"{{"type": "telemetry", "hive_id": "event", {at}, "workers": [{process}]}}"#);
    let listed = format!("[{process}]");

    let ((ingested, _), (called, _)) = (registry(), registry());
    for body in [&plain, &told, &event] {
        ingested.ingest_json(body.as_bytes()).unwrap();
    }
    called.update_hive_state_json("plain", plain.as_bytes()).unwrap();
    called.update_hive_json(told.as_bytes()).unwrap();
    called.update_hive_json(format!("\u{feff}{event}").as_bytes()).unwrap();
    let complaints = |registry: &HiveRegistry, hive: &str| {
        let told = registry.hive_stats(hive).unwrap();
        (told.complaints, told.last_complaint)
    };
    for hive in ["plain", "told", "event"] {
        assert_eq!(called.get_workers_on_hive(hive), ingested.get_workers_on_hive(hive));
        assert_eq!(complaints(&called, hive), complaints(&ingested, hive));
        assert!(complaints(&called, hive).0 > 0);
    }
    assert_eq!(called.update_workers_json("call", listed.as_bytes()), Ok(HeartbeatOutcome::Registered));
    assert_eq!(complaints(&called, "call"), complaints(&called, "event"));
    assert_eq!(called.get_workers("call").unwrap()[0].rss_mb, 0);

    let refusals = |hive: &str| called.hive_stats(hive).unwrap().refusals;
    let long = " ".repeat(1 << 20);
    type Call<'c> = &'c dyn Fn() -> Answer;
    let refuses: [(&str, &str, Call<'_>); 10] = [
        ("plain", "hive_id: \"event\"", &|| {
            called.update_hive_state_json("plain", plain.replace("plain", "event").as_bytes())
        }),
        ("plain", "hive_id: missing", &|| called.update_hive_state_json("plain", told.as_bytes())),
        ("plain", "hive_id: missing", &|| called.update_hive_state_json("plain", event.as_bytes())),
        ("plain", ".: EOF", &|| called.update_hive_state_json("plain", b"")),
        ("plain", "heartbeat_bytes: ", &|| {
            called.update_hive_state_json("plain", format!("{long}{plain}").as_bytes())
        }),
        ("plain", "hive: missing", &|| called.update_hive_json(plain.as_bytes())),
        ("told", "heartbeat_bytes: ", &|| called.update_hive_json(format!("{told}{long}").as_bytes())),
        ("call", "[0].group: missing", &|| called.update_workers_json("call", b"[{}]")),
        ("call", "workers[].worker_id: ", &|| {
            called.update_workers_json("call", format!("[{process}, {process}]").as_bytes())
        }),
        ("call", "heartbeat_bytes: ", &|| {
            called.update_workers_json("call", format!("{listed}{long}").as_bytes())
        }),
    ];
    for (hive, words, call) in refuses {
        let before = refusals(hive);
        let error = refused(&called, call).to_string();
        assert!(error.starts_with(words), "{error}");
        assert_eq!(refusals(hive), before + 1, "{error}");
    }
}

// === no heartbeat at all ===

const BODIES: [&str; 3] = [
    r#"{"hive_id":"h1","timestamp":"2025-10-21T10:00:00.5Z","epoch":1,"seq":7,"workers":[{"worker_id":"a",
"state":"Idle","last_heartbeat":"2025-10-21T09:59:59Z","health_status":"healthy","url":"http://x:1","model_id":
"m","backend":"cuda","device_id":0,"vram_bytes":17179869184,"vram_total_bytes":25769803776,"ram_bytes":1,
"cpu_percent":99.5,"gpu_percent":0,"max_concurrency":4},{"worker_id":"b","state":"Busy","last_heartbeat":
"2025-10-21T10:00:00+00:00","health_status":"degraded","model_id":"n"}]}"#,
    r#"{"hive":{"id":"h2","hostname":"h2.example","port":8600,"operational_status":"ready","health_status":
{"status":"degraded","reason":"h\u00f6t"},"version":"1"},"timestamp":"2025-10-21T10:00:00Z","workers":[{"pid":1,
"group":"llm","instance":"8080","cpu_pct":1.5,"rss_mb":512,"io_r_mb_s":0.0,"io_w_mb_s":1e-3,"uptime_s":60,
"gpu_util_pct":0.0,"vram_mb":4096,"total_vram_mb":24576,"model":"m"}],"capabilities":[{"id":"GPU-0","name":
"card","device_type":"cuda","vram_gb":24,"compute_capability":"8.9"}]}"#,
    r#"{"workers":[{"worker_id":"c","state":"\u0049dle","health_status":"healthy","last_heartbeat":
"2025-10-21T10:00:00Z","x":{"y":[1,null,true]}}],"timestamp":"2025-10-21T10:00:01Z","hive_id":"h\u0033"}"#,
];

#[test]
fn mutated_bodies_never_panic_and_leave_the_registry_consistent() {
    let limits = Limits {
        hives: 12,
        workers: 20,
        workers_per_hive: 4,
        devices_per_hive: 2,
        models: 6,
        heartbeat_bytes: 2_000,
    };
    let (registry, _) = registry_with(|builder| builder.limits(limits));
    let mut rng = Rng::new(0x5eed);
    let (mut applied, mut refusals) = (0, 0);
    for round in 0..10_000 {
        let mut body = BODIES[rng.below(3)].as_bytes().to_vec();
        for _ in 0..=rng.below(2) {
            mutate(&mut body, &mut rng);
        }
        match registry.ingest_json(&body) {
            Ok(_) => applied += 1,
            Err(error) => {
                refusals += 1;
                assert!(!error.to_string().is_empty());
            }
        }
        let (hives, workers) = (registry.list_all_hives(), registry.list_all_workers());
        let told = String::from_utf8_lossy(&body);
        assert_eq!(registry.hive_count(), hives.len(), "round {round}: {told}");
        assert_eq!(registry.total_worker_count(), workers.len(), "round {round}: {told}");
        assert!(hives.len() <= limits.hives && workers.len() <= limits.workers, "round {round}: {told}");
        if round % 50 == 49 {
            hives.iter().for_each(|hive| assert!(registry.remove_hive(hive)));
            assert_eq!((registry.hive_count(), registry.total_worker_count()), (0, 0));
        }
    }
    // Both kinds were met, and each was counted.
    assert!(applied > 500 && refusals > 2_000, "{applied} applied, {refusals} refused");
    assert_eq!(registry.stats().heartbeats.refused, refusals);
    assert!(format!("{registry:?}").contains("models: 0"), "{registry:?}");
}

const PUNCTUATION: &[u8] = b"019{}[]\",:-.eE\\ \n";

/// One change, within lines or across them.
fn mutate(body: &mut Vec<u8>, rng: &mut Rng) {
    if body.is_empty() {
        return;
    }
    let at = rng.below(body.len());
    let to = at + rng.below((body.len() - at).min(80)) + 1;
    match rng.below(16) {
        // Of its own kind, so that many a body stays a heartbeat, of another hive, time or number.
        8.. => {
            let at = (at..body.len()).find(|&at| body[at].is_ascii_alphanumeric()).unwrap_or(at);
            match body[at] {
                b'0'..=b'9' => body[at] = b"0123456789"[rng.below(10)],
                _ => body[at] ^= 0x20,
            }
        }
        0 => body[at] = rng.next() as u8,
        1 => body[at] ^= 1 << rng.below(8),
        2 => body[at] = PUNCTUATION[rng.below(PUNCTUATION.len())],
        3 => body.truncate(at),
        4 => drop(body.drain(at..to)),
        5 => {
            let slice = body[at..to].to_vec();
            let into = rng.below(body.len());
            body.splice(into..into, slice);
        }
        // Tokens: what stands between commas and colons.
        _ => {
            let mut tokens: Vec<Vec<u8>> =
                body.split_inclusive(|byte| b",:".contains(byte)).map(<[u8]>::to_vec).collect();
            let (one, other) = (rng.below(tokens.len()), rng.below(tokens.len()));
            tokens.swap(one, other);
            *body = tokens.concat();
        }
    }
}

#[test]
fn nesting_of_any_depth_overflows_nothing() {
    const DEPTH: usize = 100_000;
    let registry = furnished(Limits::default());
    let members = r#""hive_id": "plain", "timestamp": "2025-10-21T10:00:01Z", "workers": []"#;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let opened = open.repeat(DEPTH);
        let closed = format!("{opened}1{}", close.repeat(DEPTH));
        for body in [
            opened.clone(),
            closed.clone(),
            format!("{{{members}, \"x\": {opened}"),
            format!("{{\"workers\": {opened}"),
            format!(
                "{{\"workers\": {closed}, \"hive_id\": \"plain\", \"timestamp\": \"2025-10-21T10:00:01Z\"}}"
            ),
            format!("{{\"hive\": {closed}}}"),
            format!("{{\"hive_id\": \"plain\", \"capabilities\": {opened}"),
        ] {
            refused(&registry, || registry.ingest_json(body.as_bytes()));
        }
        // Ignored where it is well formed and unknown, or refused: but nothing worse.
        for body in [format!("{{{members}, \"x\": {closed}}}"), format!("{{\"x\": {closed}, {members}}}")] {
            let _ = registry.ingest_json(body.as_bytes());
            assert_eq!((registry.hive_count(), registry.list_all_hives().len()), (2, 2));
        }
    }
}

#[test]
fn what_is_no_heartbeat_is_refused_in_words() {
    let registry = furnished(Limits::default());
    let valid = serde_json::to_string(&beat("plain", T0 + 1, vec![])).unwrap();
    let twice = format!("{valid}{valid}");
    let marked = format!("\u{feff}\u{feff}{valid}");
    for body in ["", " ", "null", "5", "\"x\"", "[]", "{}", "{\"hive_id\"", "NaN", &twice, &marked] {
        let error = refused(&registry, || registry.ingest_json(body.as_bytes()));
        assert!(matches!(error, HeartbeatError::Malformed { .. }), "{error}");
    }
    let not_utf8 = [&valid.as_bytes()[..valid.len() - 1], b",\"x\":\"\xff\"}"].concat();
    // A string that is ignored need not be read, but one that is kept must be UTF-8.
    let _ = registry.ingest_json(&not_utf8);
    let kept = [b"{\"hive_id\":\"\xff\",".as_slice(), &valid.as_bytes()[1..]].concat();
    refused(&registry, || registry.ingest_json(&kept));
}

// === configuration ===

#[test]
fn config_names_what_is_out_of_bounds() {
    let build = |configure: fn(HiveRegistryBuilder) -> HiveRegistryBuilder| {
        configure(HiveRegistry::builder()).build().map(|registry| registry.hive_count())
    };
    type Configure = fn(HiveRegistryBuilder) -> HiveRegistryBuilder;
    let accepted: [Configure; 8] = [
        |builder| builder,
        |builder| builder.shards(2),
        |builder| builder.shards(65_536),
        |builder| builder.liveness_window(Duration::from_millis(1)),
        |builder| builder.liveness_window(Duration::MAX),
        |builder| builder.assumed_worker_memory(0.0, 0.0),
        |builder| builder.assumed_worker_memory(f32::MAX, f32::MAX),
        |builder| {
            builder.limits(Limits {
                hives: 1,
                workers: 1,
                workers_per_hive: 1,
                devices_per_hive: 1,
                models: 1,
                heartbeat_bytes: 1,
            })
        },
    ];
    for configure in accepted {
        assert_eq!(build(configure), Ok(0));
    }
    let refused: [(&str, &str, Configure); 18] = [
        ("shards", "0", |builder| builder.shards(0)),
        ("shards", "1", |builder| builder.shards(1)),
        ("shards", "3", |builder| builder.shards(3)),
        ("shards", "131072", |builder| builder.shards(131_072)),
        ("liveness_window", "0", |builder| builder.liveness_window(Duration::ZERO)),
        ("liveness_window", "0", |builder| builder.liveness_window(Duration::from_micros(999))),
        ("vram_gb", "NaN", |builder| builder.assumed_worker_memory(f32::NAN, 1.0)),
        ("vram_gb", "inf", |builder| builder.assumed_worker_memory(f32::INFINITY, 1.0)),
        ("vram_gb", "-1", |builder| builder.assumed_worker_memory(-1.0, 1.0)),
        ("ram_gb", "NaN", |builder| builder.assumed_worker_memory(1.0, f32::NAN)),
        ("ram_gb", "inf", |builder| builder.assumed_worker_memory(1.0, f32::INFINITY)),
        ("ram_gb", "-1", |builder| builder.assumed_worker_memory(1.0, -1.0)),
        ("hives", "0", |builder| builder.limits(Limits { hives: 0, ..Default::default() })),
        ("workers", "0", |builder| builder.limits(Limits { workers: 0, ..Default::default() })),
        ("workers_per_hive", "0", |builder| {
            builder.limits(Limits { workers_per_hive: 0, ..Default::default() })
        }),
        ("devices_per_hive", "0", |builder| {
            builder.limits(Limits { devices_per_hive: 0, ..Default::default() })
        }),
        ("models", "0", |builder| builder.limits(Limits { models: 0, ..Default::default() })),
        ("heartbeat_bytes", "0", |builder| {
            builder.limits(Limits { heartbeat_bytes: 0, ..Default::default() })
        }),
    ];
    for (name, shown, configure) in refused {
        let error = build(configure).unwrap_err();
        let words = error.to_string();
        let ConfigError::Invalid { field, value, bound } = error else { panic!("{words}") };
        assert_eq!((field, &*value), (name, shown));
        assert!([field, &value, bound].iter().all(|part| words.contains(part)), "{words}");
    }
}
