//! The one place that knows loom.
//!
//! In a normal build these names are `parking_lot`, `dashmap`, `arc-swap` and the atomics of `std`. Under
//! `--cfg loom` they are stand-ins built from loom's primitives and no stronger than what ships, so that the
//! hive, ranking, reservation and liveness code explored by the model checker is the code that ships. The
//! insides of dashmap and arc-swap are *not* explored. `Arc`, `Weak` and the statistics counters stay the
//! standard ones: nothing is decided by reading them.

pub(crate) use imp::{
    AtomicI64, AtomicU32, AtomicU64, Condvar, Map, Mutex, MutexGuard, Published, unlock_fair, wait_for,
};
pub(crate) use std::sync::atomic::Ordering;

use foldhash::{SharedSeed, fast::SeedableRandomState};

/// The hasher of every map: keyed, so that nobody outside can choose colliding ids, and fixed by a seed, so
/// that instruction counts repeat.
pub(crate) fn hasher(seed: Option<u64>) -> SeedableRandomState {
    match seed {
        Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
        None => SeedableRandomState::random(),
    }
}

#[cfg(not(loom))]
mod imp {
    use std::borrow::Borrow;
    use std::hash::Hash;
    use std::ops::Deref;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use arc_swap::{ArcSwapAny, RefCnt};
    use dashmap::DashMap;
    use dashmap::mapref::entry::Entry;
    use foldhash::fast::SeedableRandomState;
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};

    /// Waits at most `timeout` for a notification, giving the lock up meanwhile.
    pub(crate) fn wait_for<'a, T>(
        condvar: &Condvar,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        condvar.wait_for(&mut guard, timeout);
        guard
    }

    /// Gives the lock up; to whoever waits for it, if anybody does.
    pub(crate) fn unlock_fair<T>(guard: MutexGuard<'_, T>) {
        MutexGuard::unlock_fair(guard);
    }

    /// A value that readers take without a lock and writers replace whole.
    pub(crate) struct Published<R: RefCnt>(ArcSwapAny<R>);

    impl<R: RefCnt> Published<R> {
        pub(crate) fn new(value: R) -> Self {
            Self(ArcSwapAny::new(value))
        }

        /// For a look that ends with the statement: no reference count is touched.
        pub(crate) fn load(&self) -> impl Deref<Target = R> + use<R> {
            self.0.load()
        }

        pub(crate) fn load_full(&self) -> R {
            self.0.load_full()
        }

        /// Returns what was there, so that the caller can drop it once its locks are free (C5).
        #[must_use = "drop the old value after the locks are released"]
        pub(crate) fn swap(&self, value: R) -> R {
            self.0.swap(value)
        }
    }

    /// A lock-striped map whose guards never leave this file.
    pub(crate) struct Map<K, V> {
        shards: DashMap<K, V, SeedableRandomState>,
        /// Removals since the map last shrank.
        removed: AtomicUsize,
    }

    /// Removals that must pile up before a shrink is thought about; keeps small maps from shrinking at all.
    const SHRINK_AFTER: usize = 1_024;

    impl<K: Eq + Hash, V> Map<K, V> {
        pub(crate) fn new(shards: usize, hasher: SeedableRandomState) -> Self {
            Self {
                shards: DashMap::with_hasher_and_shard_amount(hasher, shards),
                removed: AtomicUsize::new(0),
            }
        }

        /// `f` runs under the shard's read lock: it may look at atomics and clone, nothing more.
        pub(crate) fn read<Q, O>(&self, key: &Q, f: impl FnOnce(&V) -> O) -> Option<O>
        where
            K: Borrow<Q>,
            Q: Hash + Eq + ?Sized,
        {
            self.shards.view(key, |_, value| f(value))
        }

        /// Creates the value under the shard's lock where there is none, or fails to; lets `f` change it, and
        /// returns what `f` returns.
        pub(crate) fn upsert<O, E>(
            &self,
            key: K,
            create: impl FnOnce() -> Result<V, E>,
            f: impl FnOnce(&mut V) -> O,
        ) -> Result<O, E> {
            match self.shards.entry(key) {
                Entry::Occupied(mut entry) => Ok(f(entry.get_mut())),
                Entry::Vacant(entry) => Ok(f(entry.insert(create()?).value_mut())),
            }
        }

        /// Removes the value if `f`, which may change it, says so; returns it for a drop outside the shard.
        pub(crate) fn remove_if<Q>(&self, key: &Q, f: impl FnOnce(&mut V) -> bool) -> Option<V>
        where
            K: Borrow<Q>,
            Q: Hash + Eq + ?Sized,
        {
            let (_, value) = self.shards.remove_if_mut(key, |_, value| f(value))?;
            // Looking at the length takes every shard's lock, so it is done once in many removals.
            if self.removed.fetch_add(1, Ordering::Relaxed) % SHRINK_AFTER == SHRINK_AFTER - 1 {
                self.shrink();
            }
            Some(value)
        }

        /// C3: memory follows the live fleet. Paid for by the removals, so amortised O(1) each.
        #[cold]
        fn shrink(&self) {
            let removed = self.removed.load(Ordering::Relaxed);
            if removed > SHRINK_AFTER + self.shards.len()
                && self.removed.compare_exchange(removed, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                self.shards.shrink_to_fit();
            }
        }

        /// A copy of the values, shard by shard, in no order.
        pub(crate) fn values(&self) -> Vec<V>
        where
            V: Clone,
        {
            self.shards.iter().map(|entry| entry.value().clone()).collect()
        }
    }
}

#[cfg(loom)]
mod imp {
    use std::borrow::Borrow;
    use std::collections::HashMap;
    use std::collections::hash_map::Entry;
    use std::hash::{BuildHasher, Hash};
    use std::ops::Deref;
    use std::time::Duration;

    use foldhash::fast::SeedableRandomState;
    pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
    use loom::sync::atomic::{AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Condvar, MutexGuard};

    /// `parking_lot`'s interface over loom's lock.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("loom's locks are never poisoned")
        }
    }

    /// Loom has no time: a wait ends with a notification.
    pub(crate) fn wait_for<'a, T>(
        condvar: &Condvar,
        guard: MutexGuard<'a, T>,
        _timeout: Duration,
    ) -> MutexGuard<'a, T> {
        condvar.wait(guard).expect("loom's locks are never poisoned")
    }

    /// Loom tries every order by itself.
    pub(crate) fn unlock_fair<T>(guard: MutexGuard<'_, T>) {
        drop(guard);
    }

    /// An index, released and acquired like a pointer, into a vector that only grows: a reader may see any
    /// older value that the memory model allows. The inner lock is the standard one, invisible to loom, so it
    /// adds no ordering.
    pub(crate) struct Published<R> {
        current: AtomicUsize,
        values: std::sync::Mutex<Vec<R>>,
    }

    impl<R: Clone> Published<R> {
        pub(crate) fn new(value: R) -> Self {
            Self { current: AtomicUsize::new(0), values: std::sync::Mutex::new(vec![value]) }
        }

        pub(crate) fn load(&self) -> impl Deref<Target = R> + use<R> {
            Box::new(self.load_full())
        }

        pub(crate) fn load_full(&self) -> R {
            self.at(self.current.load(Ordering::Acquire))
        }

        #[must_use = "drop the old value after the locks are released"]
        pub(crate) fn swap(&self, value: R) -> R {
            let index = {
                let mut values = self.values.lock().expect("never poisoned");
                values.push(value);
                values.len() - 1
            };
            self.at(self.current.swap(index, Ordering::AcqRel))
        }

        fn at(&self, index: usize) -> R {
            self.values.lock().expect("never poisoned")[index].clone()
        }
    }

    /// Two shards behind loom's locks, whatever number is asked for.
    pub(crate) struct Map<K, V> {
        shards: [Mutex<HashMap<K, V, SeedableRandomState>>; 2],
        hasher: SeedableRandomState,
    }

    impl<K: Eq + Hash, V> Map<K, V> {
        pub(crate) fn new(_shards: usize, _hasher: SeedableRandomState) -> Self {
            // Exploring needs every run to take the same way.
            let hasher = super::hasher(Some(0));
            Self { shards: [(); 2].map(|()| Mutex::new(HashMap::with_hasher(hasher.clone()))), hasher }
        }

        fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> &Mutex<HashMap<K, V, SeedableRandomState>> {
            &self.shards[(self.hasher.hash_one(key) >> 63) as usize]
        }

        pub(crate) fn read<Q, O>(&self, key: &Q, f: impl FnOnce(&V) -> O) -> Option<O>
        where
            K: Borrow<Q>,
            Q: Hash + Eq + ?Sized,
        {
            self.shard(key).lock().get(key).map(f)
        }

        pub(crate) fn upsert<O, E>(
            &self,
            key: K,
            create: impl FnOnce() -> Result<V, E>,
            f: impl FnOnce(&mut V) -> O,
        ) -> Result<O, E> {
            let mut shard = self.shard(&key).lock();
            Ok(f(match shard.entry(key) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(create()?),
            }))
        }

        pub(crate) fn remove_if<Q>(&self, key: &Q, f: impl FnOnce(&mut V) -> bool) -> Option<V>
        where
            K: Borrow<Q>,
            Q: Hash + Eq + ?Sized,
        {
            let mut shard = self.shard(key).lock();
            if f(shard.get_mut(key)?) { shard.remove(key) } else { None }
        }

        pub(crate) fn values(&self) -> Vec<V>
        where
            V: Clone,
        {
            let mut values = Vec::new();
            for shard in &self.shards {
                values.extend(shard.lock().values().cloned());
            }
            values
        }
    }
}
