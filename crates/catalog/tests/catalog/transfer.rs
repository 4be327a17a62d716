//! Hives out to JSON and CSV, and in again.

use std::collections::BTreeMap;

use hive_catalog::{CatalogError, Format, HiveFilter, HiveRecord};

use crate::support::{hive, memory};

fn fleet() -> hive_catalog::Operator {
    let catalog = memory();
    let labels = BTreeMap::from([("rack".to_owned(), "a, \"b\"; c=d".to_owned())]);
    let backends = vec!["cuda".to_owned(), "cpu".to_owned()];
    catalog.add_hive(&HiveRecord { labels, backends, ssh_port: Some(2222), ..hive("a") }).unwrap();
    // White space at its ends, too.
    catalog.add_hive(&HiveRecord::new(" b, \"the\" second ")).unwrap();
    catalog.cordon("a", None, "fan").unwrap();
    catalog
}

#[test]
fn what_is_exported_is_imported_as_it_was_by_either_format() {
    let from = fleet();
    for format in [Format::Json, Format::Csv] {
        let text = from.export(&HiveFilter::default(), format).unwrap();
        let to = memory();
        let plan = to.plan_import(&text, format).unwrap();
        assert_eq!(plan.added, [" b, \"the\" second ", "a"]);
        assert_eq!(to.count_hives().unwrap().hives, 0, "a plan changes nothing");
        assert_eq!(to.import(&plan).unwrap().added, plan.added);
        for id in &plan.added {
            let hives = [&from, &to].map(|catalog| {
                let mut hive = catalog.get_hive(id).unwrap().unwrap();
                (hive.created_at_ms, hive.updated_at_ms, hive.cordoned) = Default::default();
                hive
            });
            assert_eq!(hives[0], hives[1]);
        }
        let cordoned = to.get_hive("a").unwrap().unwrap().cordoned.hive.is_some();
        assert_eq!(cordoned, format == Format::Json);
        // Again: nothing to do.
        let plan = to.plan_import(&text, format).unwrap();
        assert!(plan.is_empty() && plan.unchanged == 2, "{plan:?}");
    }
}

#[test]
fn a_csv_by_hand_will_do_and_a_plan_names_the_fields_that_differ() {
    let catalog = fleet();
    let text = "id,host,labels,backends\nc,10.0.0.3,rack=x;row=2,cuda;cpu\na,10.0.0.9,,\n";
    let plan = catalog.plan_import(text, Format::Csv).unwrap();
    assert_eq!(plan.added, ["c"]);
    let fields = ["host", "labels", "ssh_host", "ssh_port"].map(str::to_owned).to_vec();
    assert_eq!(plan.changed, [("a".to_owned(), fields)]);
    catalog.import(&plan).unwrap();
    let c = catalog.get_hive("c").unwrap().unwrap();
    assert_eq!((c.labels["row"].as_str(), c.backends.len()), ("2", 2));
    assert!(catalog.get_hive("a").unwrap().unwrap().cordoned.hive.is_some());
}

#[test]
fn an_import_is_refused_whole_with_its_line_or_field() {
    let catalog = fleet();
    let refused = |text: &str, format| catalog.plan_import(text, format).unwrap_err().to_string();
    for (text, said) in [
        ("host\nx\n", "line 1: no column id"),
        ("id,hots\na,x\n", "line 1: column \"hots\" is none of"),
        ("id,id\na,b\n", "line 1: column id is there twice"),
        ("id,port\nx,1\ny,70000\n", "line 3: port: \"70000\" refused"),
        ("id,host\nx\n", "line 2"),
        ("id\nx\nx\n", "hive \"x\" is there twice"),
        ("id,host\nx,-oProxyCommand\n", "hive \"x\": host: \"-oProxyCommand\" refused"),
        ("id,status\nx,gone\n", "line 2: status: \"gone\" refused: unknown, online, offline or error"),
    ] {
        let error = refused(text, Format::Csv);
        assert!(error.contains(said) && error.len() <= 512, "{error}");
    }
    let error = refused("{\"hives\": [\n{\"id\": \"x\", \"hots\": 1}]}", Format::Json);
    assert!(error.starts_with("line 2: ") && error.contains("hots"), "{error}");
    // What was planned and no longer holds is undone whole.
    let plan = catalog.plan_import("id,host\nc,h\nd,h\n", Format::Csv).unwrap();
    let refused = catalog.transaction(|changes| {
        changes.add_hive(&hive("e"))?;
        changes.add_hive(&hive("a"))
    });
    assert!(matches!(refused, Err(CatalogError::Exists { .. })));
    assert_eq!(catalog.import(&plan).unwrap().added, ["c", "d"]);
    assert_eq!(catalog.get_hive("e").unwrap(), None);
}

#[test]
fn the_format_is_told_by_the_files_name() {
    assert_eq!(Format::of("a/b.JSON".as_ref()), Some(Format::Json));
    assert_eq!(Format::of("b.csv".as_ref()), Some(Format::Csv));
    assert_eq!(Format::of("b.txt".as_ref()), None);
}
