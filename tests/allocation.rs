//! S7: a pick allocates nothing. Counted by the allocator, in a process of its own.
#![cfg(not(loom))]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{T0, apply, beat, registry_with, worker, worker_in};

/// The system's allocator, counting what this thread asks for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to `System`; counting touches only a thread-local that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
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
