//! The generic store of anything that beats.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use crate::builder::DEFAULT_SHARDS;
use crate::clock::{Clock, SystemClock};
use crate::names::Text;
use crate::sync::{Map, Named, hasher};

/// Something that sends heartbeats, as its last one left it.
pub trait HeartbeatItem: Send + Sync + 'static {
    /// What lists hand out.
    type Info;

    /// Its name, unique in a registry.
    fn id(&self) -> &str;

    /// What lists hand out.
    fn info(&self) -> Self::Info;

    /// Whether it was heard lately enough to count as online at `now_ms`, Unix milliseconds.
    fn is_recent(&self, now_ms: i64) -> bool;

    /// Whether it takes work, its age aside.
    fn is_available(&self) -> bool;
}

/// The newest heartbeat of each of many senders: one sharded map, no index, no order.
///
/// For things that beat and are only listed and counted: gateways, model stores, proxies. For machines with
/// workers that are to be picked by model use [`HiveRegistry`](crate::HiveRegistry), which orders late
/// heartbeats, keeps indexes and counts reservations; this keeps whatever came last.
///
/// Lists are ordered by id. No lock is held while an item's methods run.
///
/// ```
/// use hive_registry::{HeartbeatItem, HeartbeatRegistry};
///
/// struct Gateway { name: String, heard_ms: i64, open: bool }
///
/// impl HeartbeatItem for Gateway {
///     type Info = String;
///     fn id(&self) -> &str { &self.name }
///     fn info(&self) -> String { self.name.clone() }
///     fn is_recent(&self, now_ms: i64) -> bool { now_ms - self.heard_ms < 10_000 }
///     fn is_available(&self) -> bool { self.open }
/// }
///
/// let gateways = HeartbeatRegistry::new();
/// let now_ms = chrono::Utc::now().timestamp_millis();
/// gateways.update(Gateway { name: "eu".into(), heard_ms: now_ms, open: true });
/// gateways.update(Gateway { name: "us".into(), heard_ms: 0, open: true });
/// assert_eq!(gateways.list_available(), ["eu"]);
/// assert_eq!(gateways.cleanup_stale(), 1);
/// ```
pub struct HeartbeatRegistry<T> {
    items: Map<Kept<T>>,
    clock: Box<dyn Clock>,
}

/// An item beside its name, so that it is not asked for that under a lock.
struct Kept<T> {
    id: Text,
    item: Arc<T>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self { id: self.id.clone(), item: self.item.clone() }
    }
}

impl<T> Named for Kept<T> {
    fn name(&self) -> &str {
        &self.id
    }
}

impl<T: HeartbeatItem> Default for HeartbeatRegistry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: HeartbeatItem> HeartbeatRegistry<T> {
    /// An empty registry on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(SystemClock)
    }

    /// An empty registry on another clock.
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self { items: Map::new(DEFAULT_SHARDS, hasher(None)), clock: Box::new(clock) }
    }

    /// Keeps `item`, in place of an older one of its id, which is returned. O(1).
    pub fn update(&self, item: T) -> Option<Arc<T>> {
        let item = Arc::new(item);
        let mut is_new = false;
        let id = Text::from(item.id());
        let create = || {
            is_new = true;
            Ok::<_, Infallible>(Kept { id: id.clone(), item: item.clone() })
        };
        let Ok(old) = self.items.upsert(&id, create, |kept| std::mem::replace(&mut kept.item, item.clone()));
        if is_new { None } else { Some(old) }
    }

    /// O(1).
    pub fn get(&self, id: &str) -> Option<T::Info> {
        self.find(id).map(|item| item.info())
    }

    /// True if it was there. O(1).
    pub fn remove(&self, id: &str) -> bool {
        self.items.remove_if(id, |_| true).is_some()
    }

    /// Everything known, online or not. O(n log n), as all lists.
    pub fn list_all(&self) -> Vec<T::Info> {
        self.list(|_| true)
    }

    /// What was heard lately.
    pub fn list_online(&self) -> Vec<T::Info> {
        let now_ms = self.clock.wall_ms();
        self.list(|item| item.is_recent(now_ms))
    }

    /// What was heard lately and takes work.
    pub fn list_available(&self) -> Vec<T::Info> {
        let now_ms = self.clock.wall_ms();
        self.list(|item| item.is_recent(now_ms) && item.is_available())
    }

    /// O(n), as all counts.
    pub fn count_online(&self) -> usize {
        let now_ms = self.clock.wall_ms();
        self.items().iter().filter(|item| item.is_recent(now_ms)).count()
    }

    /// How many were heard lately and take work.
    pub fn count_available(&self) -> usize {
        let now_ms = self.clock.wall_ms();
        self.items().iter().filter(|item| item.is_recent(now_ms) && item.is_available()).count()
    }

    /// How many are known.
    pub fn count_total(&self) -> usize {
        self.items().len()
    }

    /// Whether it is known and was heard lately. O(1).
    pub fn is_online(&self, id: &str) -> bool {
        self.find(id).is_some_and(|item| item.is_recent(self.clock.wall_ms()))
    }

    /// Removes what was not heard lately and says how many that were. A heartbeat that comes meanwhile wins.
    /// O(n).
    pub fn cleanup_stale(&self) -> usize {
        let now_ms = self.clock.wall_ms();
        let stale = self.items().into_iter().filter(|item| !item.is_recent(now_ms));
        stale
            .filter(|item| self.items.remove_if(item.id(), |kept| Arc::ptr_eq(&kept.item, item)).is_some())
            .count()
    }

    /// The newest heartbeat of each sender.
    pub fn get_all_heartbeats(&self) -> Vec<Arc<T>> {
        self.sorted()
    }

    fn find(&self, id: &str) -> Option<Arc<T>> {
        self.items.read(id, |kept| kept.item.clone())
    }

    fn items(&self) -> Vec<Arc<T>> {
        self.items.values().into_iter().map(|kept| kept.item).collect()
    }

    fn sorted(&self) -> Vec<Arc<T>> {
        let mut items = self.items();
        items.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        items
    }

    fn list(&self, keep: impl Fn(&T) -> bool) -> Vec<T::Info> {
        self.sorted().iter().filter(|item| keep(item)).map(|item| item.info()).collect()
    }
}

impl<T> fmt::Debug for HeartbeatRegistry<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeartbeatRegistry").finish_non_exhaustive()
    }
}
