//! worker id -> the registrations of that id, on whatever hives (I5).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::ranking::STEP;
use crate::liveness::View;
use crate::names::{HiveId, WorkerId};
use crate::slot::Slot;
use crate::state::WorkerInfo;
use crate::sync::{Map, Mutex, Named, hasher, unlock_fair};

pub(crate) struct Workers(Map<Id>);

struct Id {
    name: WorkerId,
    namesakes: Namesakes,
}

impl Named for Id {
    fn name(&self) -> &str {
        &self.name
    }
}

/// All slots of one id. Mostly one; "llm-8080" may be on thousands of hives.
#[derive(Clone)]
enum Namesakes {
    One(Arc<Slot>),
    Many(Arc<Many>),
}

/// Those of an id that several hives share, apart from the map, so that whoever walks over them keeps nobody out of it.
struct Many(Mutex<Hives>);

struct Hives {
    slots: BTreeMap<HiveId, Arc<Slot>>,
    /// One or none is left, and it is being taken out of the map; nobody joins or leaves any more.
    retired: bool,
}

/// What came of a change to one of [`Namesakes`].
enum Change {
    Done,
    Shared(Arc<Many>),
}

impl Workers {
    pub(crate) fn new(shards: usize, seed: Option<u64>) -> Self {
        Self(Map::new(shards, hasher(seed)))
    }

    /// O(log k) in the number of namesakes.
    pub(crate) fn join(&self, record: &WorkerInfo, slot: &Arc<Slot>) {
        loop {
            let one = || Namesakes::One(slot.clone());
            let create = || Ok::<_, Infallible>(Id { name: record.worker_id.clone(), namesakes: one() });
            let Ok(change) = self.0.upsert(&record.worker_id, create, |id| match &mut id.namesakes {
                Namesakes::One(one) if Arc::ptr_eq(one, slot) => Change::Done,
                Namesakes::One(one) => {
                    id.namesakes = Namesakes::Many(Many::new([one, slot]));
                    Change::Done
                }
                Namesakes::Many(many) => Change::Shared(many.clone()),
            });
            match change {
                Change::Done => return,
                Change::Shared(many) if many.join(&record.hive_id, slot) => return,
                Change::Shared(many) => self.part(&record.worker_id, &many),
            }
        }
    }

    /// O(log k).
    pub(crate) fn leave(&self, record: &WorkerInfo, slot: &Arc<Slot>) {
        loop {
            let mut shared = None;
            let gone = self.0.remove_if(&record.worker_id, |id| match &id.namesakes {
                Namesakes::One(one) => Arc::ptr_eq(one, slot),
                Namesakes::Many(many) => {
                    shared = Some(many.clone());
                    false
                }
            });
            drop(gone);
            let Some(many) = shared else { return };
            let left = many.leave(&record.hive_id, slot);
            if many.is_retired() {
                self.part(&record.worker_id, &many);
            }
            if left {
                return;
            }
        }
    }

    /// Puts the last of retired namesakes in their place, if nobody has yet.
    fn part(&self, worker_id: &WorkerId, retired: &Arc<Many>) {
        let last = retired.0.lock().slots.values().next().cloned();
        let is_it =
            |namesakes: &Namesakes| matches!(namesakes, Namesakes::Many(many) if Arc::ptr_eq(many, retired));
        let gone = self.0.remove_if(worker_id, |id| match &last {
            Some(last) if is_it(&id.namesakes) => {
                id.namesakes = Namesakes::One(last.clone());
                false
            }
            _ => is_it(&id.namesakes),
        });
        drop(gone);
    }

    /// The slot on the hive heard last among live hives, else among all; ties go to the lesser hive id. O(k),
    /// [`STEP`] at a time.
    pub(crate) fn get(&self, worker_id: &str, view: &View<'_>) -> Option<Arc<Slot>> {
        loop {
            match self.0.read(worker_id, |id| id.namesakes.clone())? {
                Namesakes::One(one) => return (!one.is_gone()).then_some(one),
                Namesakes::Many(many) => {
                    let heard_last = many.heard_last(view);
                    // Who was retired meanwhile may not know of those who came afterwards.
                    if heard_last.is_some() || !many.is_retired() {
                        return heard_last;
                    }
                    self.part(&worker_id.into(), &many);
                }
            }
        }
    }
}

impl Many {
    fn new(slots: [&Arc<Slot>; 2]) -> Arc<Self> {
        let slots = slots.map(|slot| (slot.hive_id().clone(), slot.clone()));
        Arc::new(Self(Mutex::new(Hives { slots: slots.into(), retired: false })))
    }

    fn is_retired(&self) -> bool {
        self.0.lock().retired
    }

    /// False if it is retired.
    fn join(&self, hive_id: &HiveId, slot: &Arc<Slot>) -> bool {
        let mut hives = self.0.lock();
        if !hives.retired {
            hives.slots.insert(hive_id.clone(), slot.clone());
        }
        !hives.retired
    }

    /// False if it is retired and must be left where its last one is by now.
    fn leave(&self, hive_id: &HiveId, slot: &Arc<Slot>) -> bool {
        let mut hives = self.0.lock();
        if hives.retired {
            return false;
        }
        // The caller holds the slot too, so nothing is freed here, under the lock.
        if hives.slots.get(hive_id).is_some_and(|one| Arc::ptr_eq(one, slot)) {
            hives.slots.remove(hive_id);
        }
        hives.retired = hives.slots.len() <= 1;
        true
    }

    fn heard_last(&self, view: &View<'_>) -> Option<Arc<Slot>> {
        // In order of hive id, and only a greater rank displaces.
        let mut best: Option<((bool, i64), Arc<Slot>)> = None;
        let mut hives = self.0.lock();
        let mut walk = hives.slots.range::<HiveId, _>(..);
        loop {
            let mut at = None;
            for (hive_id, slot) in walk.by_ref().take(STEP) {
                at = Some(hive_id);
                let rank = (slot.pulse().is_live(view), slot.pulse().last_heard());
                if !slot.is_gone() && best.as_ref().is_none_or(|(least, _)| rank > *least) {
                    best = Some((rank, slot.clone()));
                }
            }
            let Some(at) = at.cloned() else {
                return best.map(|(_, slot)| slot);
            };
            unlock_fair(hives);
            hives = self.0.lock();
            walk = hives.slots.range::<HiveId, _>((Excluded(&at), Unbounded));
        }
    }
}
