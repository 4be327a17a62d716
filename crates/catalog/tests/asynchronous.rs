//! The face for services: calls that wait do not keep the runtime from going on.

use std::sync::mpsc;
use std::time::Duration;

use hive_catalog::{
    Actor, AsyncCatalog, CatalogError, HiveCatalog, HiveFilter, HivePatch, HiveRecord, HiveStatus,
};

fn hive(id: &str) -> HiveRecord {
    HiveRecord { host: Some("10.0.0.1".to_owned()), ..HiveRecord::new(id) }
}

#[tokio::test]
async fn the_same_calls_answer_as_they_do_without_a_runtime() {
    let catalog = AsyncCatalog::new(HiveCatalog::open_in_memory().unwrap());
    let ann = catalog.as_actor(Actor::token("ann").unwrap());
    ann.add_hive(hive("a")).await.unwrap();
    assert!(matches!(ann.add_hive(hive("a")).await, Err(CatalogError::Exists { .. })));
    let patch = HivePatch { ssh_user: Some(Some("ops".to_owned())), ..HivePatch::default() };
    assert_eq!(ann.update_hive("a".to_owned(), patch).await.unwrap().ssh_user.as_deref(), Some("ops"));
    assert!(ann.update_status("a".to_owned(), HiveStatus::Online, None).await.unwrap());
    let found =
        catalog.list_hives(HiveFilter { status: Some(HiveStatus::Online), ..HiveFilter::default() }).await;
    assert_eq!(found.unwrap().hives.len(), 1);
    assert_eq!(catalog.sync().audit(..).unwrap().last().unwrap().who, "token:ann");
    assert!(ann.remove_hive("a".to_owned()).await.unwrap());
    assert_eq!(catalog.get_hive("a".to_owned()).await.unwrap(), None);
}

/// One thread: a call that ran on it would wait for ever for the one that holds the writer.
#[tokio::test]
async fn a_call_that_waits_for_the_writer_lets_the_runtime_go_on() {
    let catalog = AsyncCatalog::new(HiveCatalog::open_in_memory().unwrap());
    let ann = catalog.as_actor(Actor::token("ann").unwrap());
    let (release, held) = mpsc::channel::<()>();
    let (began, begun) = mpsc::channel::<()>();
    let holder = {
        let ann = catalog.sync().as_actor(Actor::token("bob").unwrap());
        std::thread::spawn(move || {
            ann.transaction(|changes| {
                began.send(()).unwrap();
                held.recv().unwrap();
                changes.add_hive(&hive("first"))
            })
        })
    };
    begun.recv().unwrap();
    let waits = tokio::spawn(async move { ann.add_hive(hive("second")).await });
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!waits.is_finished());
    release.send(()).unwrap();
    waits.await.unwrap().unwrap();
    holder.join().unwrap().unwrap();
    let ids = catalog.list_hives(HiveFilter::default()).await.unwrap().hives.into_iter().map(|hive| hive.id);
    assert_eq!(ids.collect::<Vec<_>>(), ["first", "second"]);
}
