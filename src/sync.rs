//! The one place that knows loom.
//!
//! In a normal build these names are `parking_lot`, `sdd` and the atomics of `std`. Under `--cfg loom` they
//! are stand-ins built from loom's primitives and no stronger than what ships, so that the hive, ranking,
//! reservation and liveness code explored by the model checker is the code that ships. The insides of sdd and
//! parking_lot are *not* explored. `Arc`, `Weak` and the statistics counters stay the standard ones: nothing is
//! decided by reading them.

pub(crate) use imp::{
    AtomicI64, AtomicU32, AtomicU64, Condvar, Mutex, MutexGuard, Pin, Published, flush, unlock_fair, wait_for,
};
pub(crate) use std::sync::atomic::Ordering;

use std::hash::BuildHasher;

use foldhash::{SharedSeed, fast::SeedableRandomState};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use imp::RwLock;

/// The hasher of every map: keyed, so that nobody outside can choose colliding ids, and fixed by a seed, so
/// that instruction counts repeat.
pub(crate) fn hasher(seed: Option<u64>) -> SeedableRandomState {
    match seed {
        Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
        None => SeedableRandomState::random(),
    }
}

/// So many shards that each has at most `each` entries when there are `entries`; no fewer than `least`, and at most
/// 65,536.
pub(crate) fn shards(entries: usize, each: usize, least: usize) -> usize {
    entries.div_ceil(each).min(1 << 16).next_power_of_two().max(least)
}

/// Bits of a hash that the tables within shards use neither to find a place nor to tell keys apart.
fn shard(hash: u64, shards: usize) -> usize {
    (hash >> 24) as usize & (shards - 1)
}

/// What a map holds, found by a name that it tells itself: tables have no room for keys that stand elsewhere too.
pub(crate) trait Named {
    fn name(&self) -> &str;
}

/// A lock-striped map whose guards never leave this file. Its locks are fair: readers do not keep a writer out.
pub(crate) struct Map<V> {
    shards: Box<[RwLock<HashTable<V>>]>,
    hasher: SeedableRandomState,
}

impl<V: Named> Map<V> {
    /// `shards` is a power of two.
    pub(crate) fn new(shards: usize, hasher: SeedableRandomState) -> Self {
        let (shards, hasher) = imp::explorable(shards, hasher);
        Self { shards: (0..shards).map(|_| RwLock::new(HashTable::new())).collect(), hasher }
    }

    /// Where a name belongs, and its hash.
    fn shard(&self, name: &str) -> (&RwLock<HashTable<V>>, u64) {
        let hash = self.hasher.hash_one(name);
        (&self.shards[shard(hash, self.shards.len())], hash)
    }

    /// `f` runs under the shard's read lock: it may look at atomics and clone, nothing more.
    pub(crate) fn read<O>(&self, name: &str, f: impl FnOnce(&V) -> O) -> Option<O> {
        let (shard, hash) = self.shard(name);
        shard.read().find(hash, |value| value.name() == name).map(f)
    }

    /// Creates the value under the shard's lock where there is none, or fails to; lets `f` change it, and
    /// returns what `f` returns.
    pub(crate) fn upsert<O, E>(
        &self,
        name: &str,
        create: impl FnOnce() -> Result<V, E>,
        f: impl FnOnce(&mut V) -> O,
    ) -> Result<O, E> {
        let (shard, hash) = self.shard(name);
        let rehash = |value: &V| self.hasher.hash_one(value.name());
        Ok(f(match shard.write().entry(hash, |value| value.name() == name, rehash) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(create()?).into_mut(),
        }))
    }

    /// Removes the value if `f`, which may change it, says so; returns it for a drop outside the shard.
    pub(crate) fn remove_if(&self, name: &str, f: impl FnOnce(&mut V) -> bool) -> Option<V> {
        let (shard, hash) = self.shard(name);
        let mut shard = shard.write();
        let mut entry = shard.find_entry(hash, |value| value.name() == name).ok()?;
        if !f(entry.get_mut()) {
            return None;
        }
        let (removed, _) = entry.remove();
        // C3: memory follows the live fleet, in each of many small shards. Paid for by the removals, so amortised O(1).
        if shard.capacity() > 4 * shard.len() + 2 {
            let kept = 2 * shard.len();
            shard.shrink_to(kept, |value| self.hasher.hash_one(value.name()));
        }
        Some(removed)
    }

    /// A copy of the values, shard by shard, in no order.
    pub(crate) fn values(&self) -> Vec<V>
    where
        V: Clone,
    {
        let mut values = Vec::new();
        for shard in &self.shards {
            values.extend(shard.read().iter().cloned());
        }
        values
    }
}

/// A map that is read without a lock, of entries that come and go rarely: who changes a shard publishes a copy of it.
pub(crate) struct Index<V: 'static> {
    shards: Box<[Copied<V>]>,
    hasher: SeedableRandomState,
}

struct Copied<V: 'static> {
    copy: Published<HashTable<V>>,
    writer: Mutex<()>,
}

/// Entries of one shard of an [`Index`], as a rule: a copy costs as much as a few heartbeats at most.
const COPIED: usize = 16;

impl<V: Clone + Named> Index<V> {
    /// For so many entries.
    pub(crate) fn new(entries: usize, hasher: SeedableRandomState) -> Self {
        let shards = entries.div_ceil(COPIED).min(1 << 16).next_power_of_two();
        let (shards, hasher) = imp::explorable(shards, hasher);
        let shard = || Copied { copy: Published::new(), writer: Mutex::new(()) };
        Self { shards: (0..shards).map(|_| shard()).collect(), hasher }
    }

    /// Where a name belongs, and its hash.
    fn shard(&self, name: &str) -> (&Copied<V>, u64) {
        let hash = self.hasher.hash_one(name);
        (&self.shards[shard(hash, self.shards.len())], hash)
    }

    /// `f` may look and clone; no lock is held.
    pub(crate) fn read<O>(&self, name: &str, f: impl FnOnce(&V) -> O) -> Option<O> {
        let (shard, hash) = self.shard(name);
        shard.copy.read(|table| table.find(hash, |value| value.name() == name).map(f))?
    }

    /// What is there; if nothing is, what `create` makes under the shard's lock, if it does not fail.
    pub(crate) fn get_or<E>(&self, name: &str, create: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let (shard, _) = self.shard(name);
        // Outlives the lock.
        let pin = Pin::new();
        let _writing = shard.writer.lock();
        if let Some(value) = self.read(name, V::clone) {
            return Ok(value);
        }
        let value = create()?;
        let more = |table: &HashTable<V>| self.table(table.iter().chain([&value]));
        let table = shard.copy.read(more).unwrap_or_else(|| self.table([&value].into_iter()));
        shard.copy.store(Some(table), &pin);
        Ok(value)
    }

    /// Removes the value if `f` says so; true if it did.
    pub(crate) fn remove_if(&self, name: &str, f: impl FnOnce(&V) -> bool) -> bool {
        let (shard, _) = self.shard(name);
        let pin = Pin::new();
        let _writing = shard.writer.lock();
        let removes = self.read(name, f).unwrap_or(false);
        if removes {
            let rest = |table: &HashTable<V>| self.table(table.iter().filter(|value| value.name() != name));
            shard.copy.store(shard.copy.read(rest).filter(|table| !table.is_empty()), &pin);
        }
        removes
    }

    /// Made anew each time, as large as it needs to be.
    fn table<'v>(&self, values: impl Iterator<Item = &'v V> + Clone) -> HashTable<V> {
        let rehash = |value: &V| self.hasher.hash_one(value.name());
        let mut table = HashTable::with_capacity(values.clone().count());
        values.for_each(|value| _ = table.insert_unique(rehash(value), value.clone(), rehash));
        table
    }
}

#[cfg(not(loom))]
mod imp {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use foldhash::fast::SeedableRandomState;
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    /// While it is held, nothing that a [`Published`] replaced meanwhile is freed; what was replaced before may be freed
    /// when it goes, so it is to outlive the locks.
    pub(crate) use sdd::Guard as Pin;
    use sdd::{AtomicOwned, Owned, Tag};
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

    /// Gives a lock up to whoever waits for it, if anybody does: between the steps of long work, which would otherwise
    /// get it again at once (C7).
    pub(crate) fn unlock_fair<T>(guard: MutexGuard<'_, T>) {
        MutexGuard::unlock_fair(guard);
    }

    pub(super) fn explorable(shards: usize, hasher: SeedableRandomState) -> (usize, SeedableRandomState) {
        (shards, hasher)
    }

    /// Frees what this thread has replaced so far, unless another thread looks at something at this moment.
    pub(crate) fn flush() {
        // A value is freed three epochs after it was replaced, and what it held in the end three after that: the copies of
        // an index hold rankings, and these their winners.
        for _ in 0..12 {
            Pin::new().accelerate();
        }
    }

    /// A value that readers look at without a lock and writers replace whole.
    ///
    /// What is replaced is freed a while later, by epochs: what a thread replaced last, some hundred values at most, may
    /// stay until that thread publishes or ends.
    pub(crate) struct Published<T: 'static>(AtomicOwned<T>);

    impl<T> Published<T> {
        pub(crate) fn new() -> Self {
            Self(AtomicOwned::null())
        }

        pub(crate) fn read<O>(&self, f: impl FnOnce(&T) -> O) -> Option<O> {
            let pin = Pin::new();
            self.0.load(Ordering::Acquire, &pin).as_ref().map(f)
        }

        /// Without a pin what is replaced would never be freed.
        pub(crate) fn store(&self, value: Option<T>, _pin: &Pin) {
            drop(self.0.swap((value.map(Owned::new), Tag::None), Ordering::AcqRel));
        }
    }
}

#[cfg(loom)]
mod imp {
    use std::sync::Arc;
    use std::time::Duration;

    use foldhash::fast::SeedableRandomState;
    pub(crate) use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
    use loom::sync::atomic::{AtomicUsize, Ordering};
    pub(crate) use loom::sync::{Condvar, MutexGuard};
    use loom::sync::{RwLockReadGuard, RwLockWriteGuard};

    /// `parking_lot`'s interface over loom's lock.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("loom's locks are never poisoned")
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    /// Likewise.
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect("loom's locks are never poisoned")
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect("loom's locks are never poisoned")
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

    /// Two shards, whatever number is asked for; and exploring needs every run to take the same way.
    pub(super) fn explorable(_shards: usize, _hasher: SeedableRandomState) -> (usize, SeedableRandomState) {
        (2, super::hasher(Some(0)))
    }

    /// Nothing is freed before the end.
    pub(crate) struct Pin;

    impl Pin {
        pub(crate) fn new() -> Self {
            Self
        }
    }

    /// Nothing is freed before the end.
    pub(crate) fn flush() {}

    /// An index, released and acquired like a pointer, into a vector that only grows: a reader may see any
    /// older value that the memory model allows. The inner lock is the standard one, invisible to loom, so it
    /// adds no ordering.
    pub(crate) struct Published<T> {
        current: AtomicUsize,
        values: std::sync::Mutex<Vec<Option<Arc<T>>>>,
    }

    impl<T> Published<T> {
        pub(crate) fn new() -> Self {
            Self { current: AtomicUsize::new(0), values: std::sync::Mutex::new(vec![None]) }
        }

        pub(crate) fn read<O>(&self, f: impl FnOnce(&T) -> O) -> Option<O> {
            let index = self.current.load(Ordering::Acquire);
            let value = self.values.lock().expect("never poisoned")[index].clone();
            value.as_deref().map(f)
        }

        pub(crate) fn store(&self, value: Option<T>, _pin: &Pin) {
            let index = {
                let mut values = self.values.lock().expect("never poisoned");
                values.push(value.map(Arc::new));
                values.len() - 1
            };
            self.current.swap(index, Ordering::AcqRel);
        }
    }
}
