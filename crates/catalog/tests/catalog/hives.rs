//! Each method on hives, and each refusal by field and bound.

use std::collections::BTreeMap;

use crate::support::{Folder, HandClock, START_MS, ann, hive, memory};
use hive_catalog::{
    Actor, BeehiveNode, CatalogError, CpuDevice, DeviceCapabilities, GpuDevice, HiveFilter, HivePatch,
    HiveRecord, HiveStatus, Upsert,
};
use hive_registry::Capability;

fn full() -> HiveRecord {
    let some = |text: &str| Some(text.to_owned());
    HiveRecord {
        host: some("gpu-1.lan"),
        port: 7000,
        ssh_host: some("fe80::1"),
        ssh_port: Some(2222),
        ssh_user: some("rbee"),
        ssh_key_path: some("/home/ann/.ssh/id_ed25519"),
        git_repo_url: some("git@github.com:ann/llama-orch.git"),
        git_branch: some("feature/x"),
        install_path: some("/opt/rbee"),
        binary_path: some("/opt/rbee/queen"),
        backends: vec!["cuda".to_owned(), "cpu".to_owned()],
        devices: DeviceCapabilities {
            cpu: Some(CpuDevice { cores: Some(64), ram_gb: Some(251.5) }),
            gpus: vec![GpuDevice {
                index: 0,
                name: some("RTX 4090"),
                vram_gb: Some(24.0),
                backend: "cuda".to_owned(),
            }],
            counts: BTreeMap::from([("cuda".to_owned(), 2)]),
        },
        labels: BTreeMap::from([("rack".to_owned(), "a \"3\"; drop".to_owned())]),
        ..HiveRecord::new("gpu-1")
    }
}

#[test]
fn a_hive_comes_back_as_it_was_added_and_a_known_id_is_refused() {
    let clock = HandClock::new();
    let catalog = hive_catalog::HiveCatalog::open_in_memory_with(clock.options()).unwrap().as_actor(ann());
    catalog.add_hive(&full()).unwrap();
    let stored = catalog.get_hive("gpu-1").unwrap().unwrap();
    assert_eq!(stored, HiveRecord { created_at_ms: START_MS, updated_at_ms: START_MS, ..full() });
    let error = catalog.add_hive(&full()).unwrap_err();
    assert!(matches!(&error, CatalogError::Exists { id } if id == "\"gpu-1\""), "{error}");
    assert_eq!(catalog.get_hive("gpu-2").unwrap(), None);
}

#[test]
fn one_host_given_alone_fills_both() {
    let catalog = memory();
    catalog.add_hive(&hive("a")).unwrap();
    let ssh = HiveRecord { ssh_host: Some("10.0.0.2".to_owned()), ..HiveRecord::new("b") };
    catalog.upsert_hive(&ssh).unwrap();
    catalog.add_hive(&HiveRecord::new("c")).unwrap();
    let hosts = |id: &str| {
        let hive = catalog.get_hive(id).unwrap().unwrap();
        (hive.host, hive.ssh_host)
    };
    let both = |host: &str| (Some(host.to_owned()), Some(host.to_owned()));
    assert_eq!(hosts("a"), both("10.0.0.1"));
    assert_eq!(hosts("b"), both("10.0.0.2"));
    assert_eq!(hosts("c"), (None, None));
    // A patch, too; what it takes away stays away.
    let patch: HivePatch = serde_json::from_str(r#"{"host": "h"}"#).unwrap();
    catalog.update_hive("c", &patch).unwrap();
    assert_eq!(hosts("c"), both("h"));
    let patch: HivePatch = serde_json::from_str(r#"{"host": "i", "ssh_host": null}"#).unwrap();
    catalog.update_hive("c", &patch).unwrap();
    assert_eq!(hosts("c"), (Some("i".to_owned()), None));
}

#[test]
fn an_upsert_keeps_what_is_seen_of_a_hive() {
    let catalog = memory();
    assert_eq!(catalog.upsert_hive(&full()).unwrap(), Upsert::Added);
    catalog.update_status("gpu-1", HiveStatus::Online, None).unwrap();
    catalog.update_heartbeat("gpu-1", 5).unwrap();
    catalog.cordon("gpu-1", None, "fan").unwrap();
    assert_eq!(catalog.upsert_hive(&full()).unwrap(), Upsert::Unchanged);
    assert_eq!(catalog.upsert_hive(&hive("gpu-1")).unwrap(), Upsert::Updated);
    let now = catalog.get_hive("gpu-1").unwrap().unwrap();
    assert_eq!(now.host.as_deref(), Some("10.0.0.1"));
    assert_eq!((now.ssh_user, now.labels), (None, BTreeMap::new()));
    assert_eq!((now.status, now.last_heartbeat_ms), (HiveStatus::Online, Some(5)));
    assert_eq!((now.backends, now.devices), (full().backends, full().devices));
    assert_eq!(now.cordoned.hive.unwrap().why, "fan");
}

#[test]
fn a_patch_changes_what_it_names_and_takes_away_what_it_says_is_null() {
    let catalog = memory();
    catalog.add_hive(&full()).unwrap();
    let text =
        r#"{"ssh_user": null, "port": null, "git_branch": "main", "labels": {"rack": null, "row": "3"}}"#;
    let patch: HivePatch = serde_json::from_str(text).unwrap();
    let now = catalog.update_hive("gpu-1", &patch).unwrap();
    assert_eq!((now.ssh_user, now.port, now.git_branch.as_deref()), (None, 7835, Some("main")));
    assert_eq!(now.labels, BTreeMap::from([("row".to_owned(), "3".to_owned())]));
    assert_eq!(now.ssh_host, full().ssh_host);
    assert!(matches!(catalog.update_hive("x", &patch), Err(CatalogError::Unknown { .. })));
    // Said and unsaid survive a round of JSON.
    assert_eq!(serde_json::from_str::<HivePatch>(&serde_json::to_string(&patch).unwrap()).unwrap(), patch);
    assert!(serde_json::from_str::<HivePatch>(r#"{"hots": "x"}"#).is_err());
}

#[test]
fn lists_are_ordered_by_id_filtered_and_paged() {
    let catalog = memory();
    for (at, id) in ["c", "a", "e", "b", "d"].into_iter().enumerate() {
        let labels = BTreeMap::from([("odd".to_owned(), (at % 2).to_string())]);
        let backends =
            if at < 3 { vec!["cuda".to_owned()] } else { vec!["cpu".to_owned(), "metal".to_owned()] };
        catalog.add_hive(&HiveRecord { labels, backends, ..hive(id) }).unwrap();
    }
    catalog.update_status("b", HiveStatus::Error, Some("no route")).unwrap();
    let ids = |filter: HiveFilter| -> Vec<String> {
        catalog.list_hives(&filter).unwrap().hives.into_iter().map(|hive| hive.id).collect()
    };
    let all = HiveFilter::default;
    assert_eq!(ids(all()), ["a", "b", "c", "d", "e"]);
    assert_eq!(ids(HiveFilter { status: Some(HiveStatus::Error), ..all() }), ["b"]);
    assert_eq!(ids(HiveFilter { backend: Some("metal".to_owned()), ..all() }), ["b", "d"]);
    let label = |value: Option<&str>| vec![("odd".to_owned(), value.map(str::to_owned))];
    assert_eq!(ids(HiveFilter { labels: label(Some("1")), ..all() }), ["a", "b"]);
    assert_eq!(ids(HiveFilter { labels: label(None), ..all() }).len(), 5);
    let (mut paged, mut page) = (Vec::new(), HiveFilter { limit: Some(2), ..all() });
    loop {
        let found = catalog.list_hives(&page).unwrap();
        assert!(found.hives.len() <= 2);
        paged.extend(found.hives.into_iter().map(|hive| hive.id));
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    assert_eq!(paged, ["a", "b", "c", "d", "e"]);
    assert_eq!(catalog.count_hives().unwrap().hives, 5);
}

#[test]
fn times_only_go_forward_and_leave_no_audit_row() {
    let catalog = memory();
    catalog.add_hive(&hive("a")).unwrap();
    let rows = catalog.audit(..).unwrap().len();
    catalog.update_heartbeat("a", 20).unwrap();
    catalog.update_heartbeat("a", 10).unwrap();
    assert_eq!(catalog.get_hive("a").unwrap().unwrap().last_heartbeat_ms, Some(20));
    assert_eq!(catalog.record_heartbeats(&[("a", 30), ("unknown", 40)]).unwrap(), 1);
    catalog.update_last_connected("a", 1_700_000_000).unwrap();
    let now = catalog.get_hive("a").unwrap().unwrap();
    assert_eq!((now.last_heartbeat_ms, now.last_connected_unix), (Some(30), Some(1_700_000_000)));
    assert_eq!(catalog.audit(..).unwrap().len(), rows);
    assert!(matches!(catalog.update_heartbeat("b", 1), Err(CatalogError::Unknown { .. })));
    assert!(matches!(catalog.update_last_connected("b", 1), Err(CatalogError::Unknown { .. })));
    assert!(matches!(catalog.update_last_connected("a", -1), Err(CatalogError::Invalid { .. })));
    assert!(matches!(catalog.record_heartbeats(&[("a", u64::MAX)]), Err(CatalogError::Invalid { .. })));
}

#[test]
fn a_status_leaves_a_transition_and_a_hundred_are_kept() {
    let catalog = memory();
    catalog.add_hive(&hive("a")).unwrap();
    assert!(!catalog.update_status("a", HiveStatus::Unknown, None).unwrap());
    assert!(catalog.update_status("a", HiveStatus::Online, None).unwrap());
    // Another reason is no transition; what another program printed is tidied.
    assert!(!catalog.update_status("a", HiveStatus::Online, Some("\x1b[31mbeats\n")).unwrap());
    assert_eq!(catalog.get_hive("a").unwrap().unwrap().status_reason.as_deref(), Some("[31mbeats"));
    for at in 0..120 {
        let status = if at % 2 == 0 { HiveStatus::Offline } else { HiveStatus::Online };
        assert!(catalog.update_status("a", status, Some(&format!("turn {at}"))).unwrap());
    }
    let all = catalog.transitions("a").unwrap();
    assert_eq!(all.len(), 100);
    assert_eq!((all[0].reason.as_deref(), all[99].reason.as_deref()), (Some("turn 119"), Some("turn 20")));
    assert_eq!((all[0].from, all[0].to, &*all[0].who), (HiveStatus::Offline, HiveStatus::Online, "cli:ann"));
    assert!(matches!(
        catalog.update_status("b", HiveStatus::Online, None),
        Err(CatalogError::Unknown { .. })
    ));
    assert!(catalog.transitions("b").unwrap().is_empty());
}

#[test]
fn capabilities_come_from_what_a_heartbeat_declares() {
    let device = |id: &str, name: &str, device_type: &str, vram_gb| Capability {
        id: id.to_owned(),
        name: name.to_owned(),
        device_type: device_type.to_owned(),
        vram_gb: Some(vram_gb),
        compute_capability: None,
    };
    let (backends, devices) = DeviceCapabilities::from_heartbeat(&[
        device("GPU-1", "RTX 3090\u{202e}", "CUDA", 24.0),
        device("GPU-0", "RTX 4090", "cuda", 24.0),
        device("CPU-0", "EPYC", "cpu", 251.0),
        device("GPU-x", "?", "-oProxyCommand", 1.0),
    ]);
    assert_eq!(backends, ["cuda", "cpu"]);
    assert_eq!(devices.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(devices.gpus[1].name.as_deref(), Some("RTX 3090"));
    assert_eq!(devices.cpu, Some(CpuDevice { cores: None, ram_gb: Some(251.0) }));
    let catalog = memory();
    catalog.add_hive(&hive("a")).unwrap();
    assert!(catalog.update_capabilities("a", &backends, &devices).unwrap());
    assert!(!catalog.update_capabilities("a", &backends, &devices).unwrap());
    assert_eq!(catalog.get_hive("a").unwrap().unwrap().devices, devices);
    assert!(matches!(
        catalog.update_capabilities("b", &backends, &devices),
        Err(CatalogError::Unknown { .. })
    ));
    let nan = DeviceCapabilities { cpu: Some(CpuDevice { cores: None, ram_gb: Some(f64::NAN) }), ..devices };
    assert!(matches!(catalog.update_capabilities("a", &backends, &nan), Err(CatalogError::Invalid { .. })));
}

#[test]
fn a_removal_is_known_for_a_day_across_restarts_until_the_hive_is_added_again() {
    let (folder, clock) = (Folder::new(), HandClock::new());
    let path = folder.join("c.db");
    let open = || hive_catalog::HiveCatalog::open_with(&path, clock.options()).unwrap().as_actor(ann());
    let catalog = open();
    catalog.add_hive(&hive("a")).unwrap();
    catalog.add_hive(&hive("b")).unwrap();
    assert!(catalog.remove_hive("a").unwrap());
    assert!(catalog.remove_hive("b").unwrap());
    assert!(!catalog.remove_hive("a").unwrap());
    assert_eq!(catalog.get_hive("a").unwrap(), None);
    drop(catalog);
    let catalog = open();
    clock.advance(hive_catalog::REMOVAL_MS - 1);
    assert_eq!(catalog.removed_since("a").unwrap(), Some(START_MS));
    assert_eq!(catalog.removals().unwrap().len(), 2);
    catalog.add_hive(&hive("a")).unwrap();
    assert_eq!(catalog.removed_since("a").unwrap(), None);
    clock.advance(1);
    assert_eq!(catalog.removed_since("b").unwrap(), None);
    assert!(catalog.removals().unwrap().is_empty());
}

#[test]
fn cordons_are_of_a_hive_or_of_its_workers_and_keep_their_time() {
    let clock = HandClock::new();
    let catalog = hive_catalog::HiveCatalog::open_in_memory_with(clock.options()).unwrap().as_actor(ann());
    catalog.add_hive(&hive("a")).unwrap();
    assert!(catalog.cordon("a", None, "fan").unwrap());
    clock.advance(5);
    assert!(!catalog.cordon("a", None, "still the \"fan\"").unwrap());
    assert!(catalog.cordon("a", Some("w\"1"), "").unwrap());
    let cordoned = catalog.get_hive("a").unwrap().unwrap().cordoned;
    let fan = cordoned.hive.unwrap();
    assert_eq!((&*fan.why, fan.since_ms), ("still the \"fan\"", START_MS));
    assert_eq!(cordoned.workers["w\"1"].since_ms, START_MS + 5);
    assert!(catalog.uncordon("a", None).unwrap());
    assert!(!catalog.uncordon("a", None).unwrap());
    assert!(catalog.uncordon("a", Some("w\"1")).unwrap());
    assert!(catalog.get_hive("a").unwrap().unwrap().cordoned.is_empty());
    assert!(matches!(catalog.cordon("b", None, "x"), Err(CatalogError::Unknown { .. })));
    assert!(matches!(catalog.cordon("a", None, "x\0"), Err(CatalogError::Invalid { .. })));
    assert!(matches!(catalog.cordon("a", Some("-w"), "x"), Err(CatalogError::Invalid { .. })));
}

/// Sets one field of a record to that text.
type Set = fn(&mut HiveRecord, String);

#[test]
fn hostile_text_in_any_field_is_refused_by_field_and_bound_and_nothing_is_kept() {
    let fields: [(&str, &str, Set); 12] = [
        ("id", "no control characters", |hive, text| hive.id = text),
        ("host", "^[A-Za-z0-9][A-Za-z0-9._:-]*$", |hive, text| hive.host = Some(text)),
        ("ssh_host", "^[A-Za-z0-9][A-Za-z0-9._:-]*$", |hive, text| hive.ssh_host = Some(text)),
        ("ssh_user", "^[A-Za-z_][A-Za-z0-9._-]*$", |hive, text| hive.ssh_user = Some(text)),
        ("ssh_key_path", "^/[A-Za-z0-9._/-]+$", |hive, text| hive.ssh_key_path = Some(text)),
        ("git_repo_url", "without ::", |hive, text| hive.git_repo_url = Some(text)),
        ("git_branch", "^[A-Za-z0-9_]", |hive, text| hive.git_branch = Some(text)),
        ("install_path", "^/[A-Za-z0-9._/-]+$", |hive, text| hive.install_path = Some(text)),
        ("binary_path", "^/[A-Za-z0-9._/-]+$", |hive, text| hive.binary_path = Some(text)),
        ("backends", "^[a-z]", |hive, text| hive.backends = vec![text]),
        ("labels[\"x\"]", "no control characters", |hive, text| {
            hive.labels = BTreeMap::from([("x".to_owned(), text)]);
        }),
        ("label's name", "^[A-Za-z0-9]", |hive, text| hive.labels = BTreeMap::from([(text, String::new())])),
    ];
    let catalog = memory();
    catalog.add_hive(&hive("known")).unwrap();
    let hostile = [
        "",
        "a\0b",
        "-oProxyCommand=sh",
        "a'; DROP TABLE hives",
        "\u{202e}gpj",
        "/a b",
        "/",
        "~/x",
        "/\u{e9}",
    ];
    let mut refused = 0;
    for (field, bound, set) in fields {
        for text in hostile.map(str::to_owned).into_iter().chain(["a".repeat(1 << 20)]) {
            let mut record = hive("h");
            set(&mut record, text.clone());
            let error = match catalog.add_hive(&record) {
                // What an id or a label's value may be is odd text; it comes back as it is.
                Ok(()) => {
                    assert!(["id", "labels[\"x\"]"].contains(&field), "{field} took {text:?}");
                    assert_eq!(catalog.get_hive(&record.id).unwrap().unwrap().labels, record.labels);
                    assert!(catalog.remove_hive(&record.id).unwrap());
                    continue;
                }
                Err(error) => error,
            };
            let said = error.to_string();
            assert!(said.len() <= 512, "{} bytes: {said}", said.len());
            assert!(!said.contains(['\0', '\u{202e}']), "{said:?}");
            let CatalogError::Invalid { field: named, bound: told, .. } = error else { panic!("{said}") };
            assert_eq!(named, field);
            assert!(
                told.contains(bound) || told.contains(" bytes, not ") || told.contains("beginning with"),
                "{field}: {told}"
            );
            assert_eq!(catalog.get_hive(&record.id).unwrap(), None);
            // The same door for a hive that is known.
            record.id = if field == "id" { record.id } else { "known".to_owned() };
            assert!(catalog.upsert_hive(&record).is_err(), "{field} took {text:?}");
            refused += 1;
        }
    }
    assert!(refused > 80, "{refused}");
    assert_eq!(catalog.get_hive("known").unwrap().unwrap().ssh_user, None);
}

#[test]
fn git_runs_no_program_by_an_address() {
    let catalog = memory();
    for url in ["ext::sh -c x", "ext::sh", "--upload-pack=x", "https://x/$(id)", "file:///x y"] {
        let record = HiveRecord { git_repo_url: Some(url.to_owned()), ..hive("a") };
        assert!(matches!(catalog.add_hive(&record), Err(CatalogError::Invalid { .. })), "{url}");
    }
}

#[test]
fn what_is_too_many_is_refused_by_its_bound() {
    let catalog = memory();
    let labels = (0..65).map(|at| (format!("l{at}"), String::new())).collect();
    let error = catalog.add_hive(&HiveRecord { labels, ..hive("a") }).unwrap_err();
    assert_eq!(error.to_string(), "hive \"a\": labels: 65 refused: at most 64");
    let backends = (0..17).map(|at| format!("b{at}")).collect();
    let error = catalog.add_hive(&HiveRecord { backends, ..hive("a") }).unwrap_err();
    assert_eq!(error.to_string(), "hive \"a\": backends: 17 refused: at most 16");
    let error = catalog.add_hive(&HiveRecord { port: 0, ..hive("a") }).unwrap_err();
    assert_eq!(error.to_string(), "hive \"a\": port: \"0\" refused: 1 to 65535");
    let error = catalog.add_hive(&HiveRecord { ssh_port: Some(0), ..hive("a") }).unwrap_err();
    assert_eq!(error.to_string(), "hive \"a\": ssh_port: \"0\" refused: 1 to 65535");
    assert!(Actor::cli("a b").is_err() && Actor::token("").is_err() && Actor::service("queen").is_ok());
}

#[test]
fn a_transaction_is_kept_whole_or_not_at_all() {
    let catalog = memory();
    let refused = catalog.transaction(|changes| {
        changes.add_hive(&hive("a"))?;
        assert!(changes.get_hive("a")?.is_some());
        changes.add_hive(&hive("-b"))
    });
    assert!(refused.is_err());
    assert_eq!(catalog.count_hives().unwrap().hives, 0);
    assert_eq!(catalog.audit_head().unwrap(), None);
    // Nor of a panic; and the catalog goes on.
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        catalog.transaction(|changes| -> hive_catalog::Result<()> {
            changes.add_hive(&hive("a"))?;
            panic!("a caller's own")
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(catalog.count_hives().unwrap().hives, 0);
    catalog.add_hive(&hive("a")).unwrap();
}

#[test]
fn the_older_words_do_what_they_did() {
    let catalog = memory();
    let node = BeehiveNode {
        node_name: "gpu-1".to_owned(),
        ssh_host: "192.168.1.100".to_owned(),
        ssh_port: 22,
        ssh_user: "rbee".to_owned(),
        last_connected_unix: Some(1_700_000_000),
        status: "online".to_owned(),
        backends: Some(r#"["cuda","cpu"]"#.to_owned()),
        devices: Some(r#"{"cuda":2}"#.to_owned()),
        ..BeehiveNode::default()
    };
    catalog.add_node(&node).unwrap();
    assert_eq!(catalog.get_node("gpu-1").unwrap(), Some(node.clone()));
    assert_eq!(catalog.get_hive("gpu-1").unwrap().unwrap().ssh_port, None);
    // It upserts, and leaves what it has no words for.
    let patch = HivePatch { host: Some(Some("10.0.0.9".to_owned())), ..HivePatch::default() };
    catalog.update_hive("gpu-1", &patch).unwrap();
    let other = BeehiveNode { ssh_port: 2222, status: "error".to_owned(), ..node.clone() };
    catalog.add_node(&other).unwrap();
    assert_eq!(catalog.list_nodes().unwrap(), [other]);
    assert_eq!(catalog.get_hive("gpu-1").unwrap().unwrap().host.as_deref(), Some("10.0.0.9"));
    for bad in [
        BeehiveNode { status: "gone".to_owned(), ..node.clone() },
        BeehiveNode { backends: Some("cuda".to_owned()), ..node.clone() },
        BeehiveNode { devices: Some("[2]".to_owned()), ..node.clone() },
        BeehiveNode { ssh_user: "-l".to_owned(), ..node.clone() },
    ] {
        assert!(matches!(catalog.add_node(&bad), Err(CatalogError::Invalid { .. })), "{bad:?}");
    }
    assert!(catalog.remove_node("gpu-1").unwrap());
    assert!(catalog.list_nodes().unwrap().is_empty());
}
