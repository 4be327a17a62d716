//! S7: a pick allocates nothing; and no call gives back in one go what many left. Counted by the allocator, in a
//! process of its own.
#![cfg(not(loom))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{T0, apply, beat, registry_with, worker, worker_in};
use hive_registry::{HeartbeatOutcome, MAX_TOMBSTONES, TOMBSTONE_AGE};

/// The system's allocator, counting what this thread asks for and the bytes it gives back.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static FREED: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to `System`; counting touches only a thread-local that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE.set(LIVE.get() + layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        FREED.set(FREED.get() + layout.size());
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

#[test]
fn s7_a_pick_allocates_nothing() {
    let (registry, clock) = registry_with(|builder| builder);
    let long_model = "a-vendor-with-a-long-name/a-model-with-a-long-name-too";
    for hive in 0..50 {
        let id = format!("a-hive-with-quite-a-long-name-{hive}");
        let workers = vec![worker("w1", long_model), worker("w2", "m"), worker_in("Busy", "w3", "m")];
        apply(&registry, beat(&id, T0, workers));
    }
    assert!(allocations(|| drop(vec![1_u8; 100])) > 0, "the allocator counts");
    let pick = |model: &str| {
        // The first pick of a thread sets up its part of the machinery.
        assert!(registry.find_best_worker_for_model(model).is_some());
        allocations(|| {
            for _ in 0..1_000 {
                assert!(registry.find_best_worker_for_model(model).is_some());
            }
        })
    };
    assert_eq!(pick("m"), 0);
    assert_eq!(pick(long_model), 0);
    assert_eq!(pick("nobody has this one, so it falls back to an idle worker"), 0);

    // Nor while it finds out that the winner is dead and corrects the ranking.
    clock.advance(std::time::Duration::from_secs(29));
    apply(&registry, beat("fresh", T0 + 29_000, vec![worker("w1", long_model)]));
    clock.advance(std::time::Duration::from_secs(1));
    let reserved = registry.reserve_worker_for_model(long_model).expect("one is live");
    assert_eq!(reserved.hive_id(), "fresh");
    assert_eq!(allocations(|| drop(registry.find_best_worker_for_model(long_model))), 0);
    // A miss, and a reservation in a warm ranking.
    clock.advance(std::time::Duration::from_secs(600));
    assert!(registry.find_best_worker_for_model("m").is_none());
    assert_eq!(allocations(|| assert!(registry.find_best_worker_for_model("m").is_none())), 0);
}

/// 100,000 tombstones that expired were cleared by one heartbeat, under a lock that all heartbeats take, and their
/// maps shrunk; each call now clears a few. One that is not cleared yet bars nobody.
#[test]
fn l5_no_call_clears_all_the_tombstones_that_expired() {
    let (registry, clock) = registry_with(|builder| builder);
    let before = LIVE.get();
    for hive in 0..MAX_TOMBSTONES {
        let id = format!("h{hive}");
        apply(&registry, beat(&id, T0, vec![]));
        assert!(registry.remove_hive(&id));
    }
    let kept = LIVE.get() - before;
    clock.advance(TOMBSTONE_AGE);
    let freed = |f: &dyn Fn()| {
        let before = FREED.get();
        f();
        FREED.get() - before
    };
    let last = format!("h{}", MAX_TOMBSTONES - 1);
    let most = freed(&|| assert_eq!(apply(&registry, beat(&last, T0, vec![])), HeartbeatOutcome::Registered));
    assert!(most < 64 * 1_024, "one heartbeat gave back {most} bytes");
    for round in 0..MAX_TOMBSTONES as i64 / 64 {
        let most = freed(&|| _ = apply(&registry, beat("other", T0 + round, vec![])));
        assert!(most < 64 * 1_024, "one heartbeat gave back {most} bytes");
    }
    let left = LIVE.get() - before;
    assert!(left < kept / 10, "{left} of {kept} bytes are kept");
}
