//! worker id -> the registrations of that id, on whatever hives (I5).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::liveness::View;
use crate::names::{HiveId, WorkerId};
use crate::slot::Slot;
use crate::state::WorkerInfo;
use crate::sync::{Map, hasher};

pub(crate) struct Workers(Map<WorkerId, Namesakes>);

/// All slots of one id. Mostly one; "llm-8080" may be on thousands of hives, hence a tree.
enum Namesakes {
    One(Arc<Slot>),
    Many(BTreeMap<HiveId, Arc<Slot>>),
}

impl Workers {
    pub(crate) fn new(shards: usize, seed: Option<u64>) -> Self {
        Self(Map::new(shards, hasher(seed)))
    }

    /// O(log k) in the number of namesakes.
    pub(crate) fn join(&self, record: &WorkerInfo, slot: &Arc<Slot>) {
        let create = || Ok::<_, Infallible>(Namesakes::One(slot.clone()));
        let Ok(()) = self.0.upsert(record.worker_id.clone(), create, |namesakes| {
            namesakes.insert(&record.hive_id, slot);
        });
    }

    /// O(log k).
    pub(crate) fn leave(&self, record: &WorkerInfo, slot: &Arc<Slot>) {
        drop(self.0.remove_if(record.worker_id.as_str(), |namesakes| match namesakes {
            Namesakes::One(one) => Arc::ptr_eq(one, slot),
            Namesakes::Many(many) => {
                // The caller holds the slot too, so nothing is freed here, under the shard's lock.
                if many.get(record.hive_id.as_str()).is_some_and(|one| Arc::ptr_eq(one, slot)) {
                    many.remove(record.hive_id.as_str());
                }
                if let (1, Some(last)) = (many.len(), many.values().next()) {
                    *namesakes = Namesakes::One(last.clone());
                    return false;
                }
                many.is_empty()
            }
        }));
    }

    /// The slot on the hive heard last among live hives, else among all; ties go to the lesser hive id. O(k),
    /// reading atomics only.
    pub(crate) fn get(&self, worker_id: &str, view: &View<'_>) -> Option<Arc<Slot>> {
        self.0.read(worker_id, |namesakes| match namesakes {
            Namesakes::One(one) => (!one.is_gone()).then(|| one.clone()),
            Namesakes::Many(many) => {
                let present = many.values().filter(|slot| !slot.is_gone());
                let rank = |slot: &Arc<Slot>| (slot.pulse().is_live(view), slot.pulse().last_heard());
                // In order of hive id, and only a greater rank displaces.
                let mut best: Option<((bool, i64), &Arc<Slot>)> = None;
                for slot in present {
                    let rank = rank(slot);
                    if best.is_none_or(|(least, _)| rank > least) {
                        best = Some((rank, slot));
                    }
                }
                best.map(|(_, slot)| slot.clone())
            }
        })?
    }
}

impl Namesakes {
    fn insert(&mut self, hive_id: &HiveId, slot: &Arc<Slot>) {
        match self {
            Self::One(one) if Arc::ptr_eq(one, slot) => {}
            Self::One(one) => {
                let both = [(one.hive_id().clone(), one.clone()), (hive_id.clone(), slot.clone())];
                *self = Self::Many(BTreeMap::from(both));
            }
            Self::Many(many) => {
                many.insert(hive_id.clone(), slot.clone());
            }
        }
    }
}
